"""Who resembles a record, asked of the index: all that would drop it, and what comes next to doing so.

The order in which two are judged is the one of the run that comes next: what the base kept first, newcomers last.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params
from dedupver.index.joint import fit
from dedupver.index.segment import Index
from dedupver.manifest import EMPTY, latest
from dedupver.resolve import Case, met
from dedupver.resolve.evidence import SCORED, across
from dedupver.resolve.involved import Ties, involved
from dedupver.resolve.rivals import rivals
from dedupver.schema import EVIDENCE, SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dedupver.manifest import Log
    from dedupver.project import Project
    from dedupver.resolve.rivals import Rival

JUDGED: Final = ("id", "role", "parts", "bytes", *SIZES, "source", "split", "time", "quality", "label", "action")
"""What a record is judged by, and what became of it."""


def rivals_of(project: Project, log: Log, name: str, said: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Return the records that resemble a live one, kept or dropped, those that drop it first.

    `said` is what people say of pairs: left, right and label. Each has id, action, review (its label, or null), and the
    fields of `Rival`.
    """
    given, index = params.Params.model_validate(log.header["params"]), Index.open(project.index)
    said = [each for each in said if name in each[:2]]
    records = _around(log, index, given, name, said)
    case, ids = _case(project, records, index, given), records["id"].to_pylist()
    labels = {left if left != name else right: label for left, right, label in said}
    also = [at for at, other in enumerate(ids) if other in labels]
    found = rivals(case, given.dedup, ids.index(name), also)
    return [_told(rival, records, labels.get(ids[rival.row])) for rival in found]


def _told(rival: Rival, records: pa.Table, review: str | None) -> dict[str, Any]:
    told = {name: records[name][rival.row].as_py() for name in ("id", "action")}
    return {
        **told,
        "review": review,
        "before": rival.before,
        "known": rival.known,
        "rule": rival.rule,
        "away": rival.away,
        "near": rival.near,
    }


def _around(log: Log, index: Index, given: params.Params, name: str, said: Sequence[tuple[str, str, str]]) -> pa.Table:
    """Return a record and all that anything ties it to (columns JUDGED)."""
    state = log.state(("id", "action", "parts"))
    there = np.flatnonzero(pc.is_in(state["action"], pa.array(["keep", "drop"])).to_numpy())
    few = state.take(pa.array(there)).select(["id", "parts"])
    mine = pc.equal(few["id"], name).to_numpy()
    names = list(met(given.source.parts, few["parts"]))
    ties = Ties(partial(_matches, index, given.dedup), index.hot, said)
    wanted = involved(few, mine, names, ties, (dict.fromkeys(SCORED, 0.0), set(EVIDENCE)))
    return log.state(JUDGED, there[wanted | mine])


def _case(project: Project, records: pa.Table, index: Index, given: params.Params) -> Case:
    """Return what is judged, in the order of the next run."""
    before = {row["id"]: row for row in _base(project, records["id"]).to_pylist()}
    counted = pc.equal(records["role"], "data").to_numpy()
    carried = np.zeros(records.num_rows, np.bool_)
    forced = ~counted
    for at, (name, parts) in enumerate(zip(records["id"].to_pylist(), records["parts"].to_pylist(), strict=True)):
        if name in before and _contents(before[name]["parts"]) == _contents(parts):
            carried[at] = before[name]["action"] in {"keep", "drop"}
            forced[at] |= before[name]["action"] == "keep" and given.dedup.history == "frozen"
    return Case(
        parts=met(given.source.parts, records["parts"]),
        records=records,
        rank=np.where(forced, 0, np.where(carried, 1, 2)).astype(np.int64),
        forced=forced,
        counted=counted,
        matches=_matches(index, given.dedup),
        hot=index.hot(),
        reviews=(),
        scorer=index.scorer,
        fit=partial(fit, index),
        sets=index.sets,
    )


def _base(project: Project, ids: pa.ChunkedArray) -> pa.Table:
    log = project.base_log()
    if log is EMPTY:
        return pa.table({"id": [], "action": [], "parts": []})
    return latest(log.events(["id", "action", "parts"], pc.field("id").isin(ids.combine_chunks())))


def _contents(parts: list[dict[str, Any]]) -> set[tuple[str, bytes]]:
    return {(part["part"], part["content"]) for part in parts}


def _matches(index: Index, settings: params.Dedup) -> Iterator[pa.RecordBatch]:
    asked = any("joint" in rule for rule in settings.rules)
    return itertools.chain(index.matches(), across(index.fits()) if asked else ())
