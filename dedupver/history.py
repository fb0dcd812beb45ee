"""A version's records beside the base's: who is new, edited, carried over, gone; and what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Lookup, Rows, first_of_each, of_parts
from dedupver.resolve import Case, Verdicts, resolve
from dedupver.schema import BROUGHT, DECISION, OUTCOME, PARTS, RECORD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dedupver import params
    from dedupver.digests import Digests

Mask = npt.NDArray[np.bool_]

SAID: Final = [f.name for f in OUTCOME if f.name not in {"version", "decided", "decided_at"}]
STATE: Final = ("role", "bytes", "pixels", "chars", "source", "split", "time", "quality", "code", "version", *SAID)


@dataclass(frozen=True)
class Present:
    """The records of this version, sorted by id, and the row of each in the base's live table (-1: not there)."""

    records: pa.Table  # schema BROUGHT, its version never null
    base: pa.Table  # schema DECISION: the base's live records
    at: Rows
    carried: Mask  # in the base with the same content


def assemble(now: pa.Table, base: pa.Table, mode: str) -> Present:
    """Join what the source holds now (schema BROUGHT, no version null) with the base's live records.

    In mode append what the source lacks is still there; in mode snapshot it is gone.
    """
    if mode == "append":
        now = _appended(now, base)
    now = now.combine_chunks()
    return Present(now, base, *_joined(now, base))


def _joined(now: pa.Table, base: pa.Table) -> tuple[Rows, Mask]:
    """Return for each record its row in the base, -1 where it has none, and whether it is carried over."""
    at = pc.fill_null(pc.index_in(now["id"], base["id"].combine_chunks()), -1).to_numpy().astype(np.int64)
    same = _same_parts(now["parts"], base["parts"], at, "content")
    judged = np.append(pc.is_in(base["action"], pa.array(["keep", "drop"])).to_numpy(), np.False_)
    return at, same & judged[at] & now["code"].is_null().to_numpy()


def _appended(now: pa.Table, base: pa.Table) -> pa.Table:
    """Add the base's records to a batch; one that came again with the same content is what it was, where it was."""
    _, carried = _joined(now, base)
    now = now.filter(pa.array(~carried))
    rest = base.filter(pc.invert(pc.is_in(base["id"], now["id"].combine_chunks())))
    return pa.concat_tables([now, rest.select(BROUGHT.names).cast(BROUGHT)]).sort_by("id")


def decide(  # noqa: PLR0913, PLR0917 - all that is known of a version meets here
    present: Present,
    matches: pa.Table,
    hot: pa.Table,
    reviews: Sequence[tuple[str, str, str]],
    score: Callable[[str, Digests, Digests], npt.NDArray[np.float32]],
    given: params.Params,
) -> tuple[pa.Table, Verdicts]:
    """Decide every record; return the decisions (schema DECISION, sorted by id) and the verdicts."""
    records = present.records
    judged = _to_judge(present, frozen=given.dedup.history == "frozen")
    rows = np.flatnonzero(judged)
    reference = pc.equal(records["role"], "reference").to_numpy()[rows]
    kept_before = present.carried[rows] & _base_action(present, "keep")[rows]
    forced = reference | (kept_before & (given.dedup.history == "frozen"))
    rank = np.where(forced, 0, np.where(present.carried[rows], 1, 2)).astype(np.int64)
    verdicts = resolve(Case(records.take(pa.array(rows)), rank, forced, matches, hot, reviews, score), given.dedup)
    return _decisions(present, rows, verdicts, given.version), verdicts


def events(decisions: pa.Table, present: Present, version: params.Version) -> pa.Table:
    """Return what changed: decisions that differ from the base's, and the records that are gone (schema DECISION)."""
    if not present.base.num_rows:
        return decisions
    changed = present.at < 0
    old = present.base.take(pa.array(np.maximum(present.at, 0)))
    for name in STATE:
        changed |= ~_equal(decisions[name], old[name])
    changed |= ~_same_parts(decisions["parts"], present.base["parts"], present.at, "sha256")
    gone = present.base.filter(pc.invert(pc.is_in(present.base["id"], decisions["id"].combine_chunks())))
    return pa.concat_tables([decisions.filter(pa.array(changed)), _gone(gone, version)]).sort_by("id")


def _to_judge(present: Present, *, frozen: bool) -> Mask:
    """Everything readable; frozen history leaves out who was dropped for a record that is still kept."""
    readable = present.records["code"].is_null().to_numpy()
    return readable & ~_settled(present) if frozen else readable


def _settled(present: Present) -> Mask:
    dropped = present.carried & _base_action(present, "drop")
    kept = present.records["id"].filter(pa.array(present.carried & _base_action(present, "keep")))
    old = present.base["representative"].take(pa.array(np.maximum(present.at, 0))) if present.base.num_rows else None
    return dropped & pc.is_in(old, kept.combine_chunks()).to_numpy() if old is not None else dropped


def _base_action(present: Present, action: str) -> Mask:
    return np.append(pc.equal(present.base["action"], action).to_numpy(), np.False_)[present.at]


def _decisions(present: Present, rows: Rows, verdicts: Verdicts, version: params.Version) -> pa.Table:
    """Lay the verdicts over the records; where the outcome is the base's, its words and its version stay."""
    records, count = present.records, present.records.num_rows
    said: dict[str, list[object]] = {name: [None] * count for name in SAID}
    ids = records["id"]
    for place, row in enumerate(rows.tolist()):
        kept = bool(verdicts.keep[place])
        said["action"][row] = "keep" if kept else "drop"
        said["reason"][row] = verdicts.reason[place]
        if not kept:
            said["representative"][row] = ids[int(rows[verdicts.representative[place]])].as_py()
            for name in ("method", "score", "threshold", "evidence", "rule"):
                said[name][row] = getattr(verdicts, name)[place]
    was_dropped = _base_action(present, "drop")
    codes = records["code"].to_pylist()
    for row, code in enumerate(codes):
        if code is not None:
            said["action"][row], said["reason"][row] = "quarantine", code
        elif said["action"][row] == "keep" and was_dropped[row]:
            said["reason"][row] = "restored"
        if said["reason"][row] == "kept" and records["role"][row].as_py() == "reference":
            said["reason"][row] = "reference"
    fresh = pa.table(
        {
            **{name: records[name] for name in RECORD.names},
            "version": records["version"],
            **{name: pa.array(values, DECISION.field(name).type) for name, values in said.items()},
            "decided": [version.name] * count,
            "decided_at": [version.time] * count,
        }
    )
    return _with_base_words(present, fresh.select(DECISION.names))


def _with_base_words(present: Present, fresh: pa.Table) -> pa.Table:
    """Where nothing changed for a carried record, take the base's outcome as it was written."""
    if not present.base.num_rows:
        return fresh.cast(DECISION)
    old = present.base.take(pa.array(np.maximum(present.at, 0)))
    unsaid = ~fresh["action"].is_valid().to_numpy()  # settled: nobody judged it again
    same = _equal(fresh["action"], old["action"]) & _equal(fresh["representative"], old["representative"])
    kept = pc.fill_null(pc.equal(fresh["action"], "keep"), fill_value=False).to_numpy()
    same &= kept | (_equal(fresh["rule"], old["rule"]) & _equal(fresh["evidence"], old["evidence"]))
    quarantined = _equal(fresh["code"], old["code"]) & fresh["code"].is_valid().to_numpy() & (present.at >= 0)
    carry = unsaid | (present.carried & same) | quarantined
    takes = {name: carry for name in DECISION.names if name not in RECORD.names} | {
        "version": present.carried | quarantined
    }
    columns = [
        pc.if_else(pa.array(takes[name]), old[name], fresh[name]) if name in takes else fresh[name]
        for name in DECISION.names
    ]
    return pa.table(columns, names=DECISION.names).cast(DECISION)


def _gone(rows: pa.Table, version: params.Version) -> pa.Table:
    """Turn live rows into the record of their leaving."""
    said = {"action": "gone", "reason": "left_source", "decided": version.name, "decided_at": version.time}
    empty = ("representative", "method", "score", "threshold", "evidence", "rule")
    columns = []
    for name in DECISION.names:
        if name in said:
            columns.append(pa.array([said[name]] * rows.num_rows, pa.string()))
        elif name in empty:
            columns.append(pa.nulls(rows.num_rows, DECISION.field(name).type))
        else:
            columns.append(rows[name])
    return pa.table(columns, names=DECISION.names).cast(DECISION)


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """Compare null-safe: two nulls are equal."""
    both = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.or_(pc.fill_null(pc.equal(left, right), fill_value=False), both).to_numpy()


def _same_parts(now: pa.ChunkedArray, base: pa.ChunkedArray, at: Rows, digest: str) -> Mask:
    """Return for each record whether it has the same parts, by a digest, as the base's row `at`."""
    mine, theirs = of_parts(now, digest), of_parts(base, digest)
    everything = np.concatenate([mine[0], theirs[0]])
    lookup = Lookup(everything[first_of_each(everything)])
    here, there = (
        _laid_out(lookup, parts, count) for parts, count in ((mine, len(now)), (theirs, len(base) + 1))
    )  # the row after the base's last is empty: where `at` is -1
    return np.asarray((here == there[at]).all(axis=1)) & (at >= 0)


def _laid_out(lookup: Lookup, parts: tuple[Digests, Rows, Rows], count: int) -> Rows:
    digests, record, part = parts
    table = np.full((count, len(PARTS)), -1, np.int64)
    table[record, part] = lookup.find(digests)
    return table
