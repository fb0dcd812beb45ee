"""Verdicts laid over the records: what the log says of each that changed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.schema import DECISION, MOVED, OUTCOME, RECORD, SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver import params
    from dedupver.history.judge import Decided
    from dedupver.history.present import Mask, Present, Seen

STATE: Final = (
    *("role", "bytes", *SIZES, "source", "split", "time", "quality", "label", "code"),
    *(f.name for f in OUTCOME if f.name not in {"decided", "decided_at"}),
)
"""What a record's row in the log must say to be its state; where it lies is told apart."""

PART: Final = 1 << 17
"""Decisions that are laid out at a time: some tens of MiB."""


def written(decided: Decided, present: Present, version: params.Version) -> Iterator[tuple[str, pa.Table]]:
    """Give what changed, by action (schema DECISION) or `moved` (schema MOVED): some at a time, each sorted by id."""
    before = 0
    for begin in range(0, len(decided.kept), PART):
        dropped = decided.dropped[begin : begin + PART]
        count = int(np.count_nonzero(dropped))
        part = dataclasses.replace(
            decided,
            seen=decided.seen.slice(begin, PART),
            kept=decided.kept[begin : begin + PART],
            dropped=dropped,
            representative=decided.representative.slice(before, count),
            said=decided.said.slice(before, count),
        )
        before += count
        decisions = _decisions(part, version)
        changed = ~part.seen.unaltered | ~part.seen.same(decisions, *STATE)
        yield from _by_action(decisions.filter(pa.array(changed)))
        if not present.appended:
            moved = ~changed & ~part.seen.same(decisions, "path", "row")
            yield "moved", decisions.select(MOVED.names).filter(pa.array(moved))
    yield "gone", _gone(present.base.state(DECISION.names, present.gone).sort_by("id"), version)


def _by_action(decisions: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    actions = pc.unique(decisions["action"]).to_pylist()
    for action in actions:
        yield action, decisions if len(actions) == 1 else decisions.filter(pc.field("action") == action)


def _decisions(decided: Decided, version: params.Version) -> pa.Table:
    """Lay the verdicts over the records; where the outcome is the base's, its words and its version stay."""
    seen, kept, dropped = decided.seen, decided.kept, decided.dropped
    records, count = seen.records, len(kept)
    laid = pa.array(np.maximum(np.cumsum(dropped) - 1, 0), mask=~dropped)
    said = decided.said.take(laid)
    unreadable = records["code"].is_valid().to_numpy()
    reference = pc.equal(records["role"], "reference").to_numpy()
    fresh = {
        **{name: said[name] for name in said.column_names},
        "action": _chosen({"quarantine": unreadable, "keep": kept, "drop": dropped}),
        "reason": pc.coalesce(
            records["code"],
            _chosen({"restored": kept & seen.did("drop"), "reference": kept & reference, "kept": kept}),
            said["reason"],
        ),
        "representative": decided.representative.take(laid),
        "decided": pa.repeat(version.name, count),
        "decided_at": pa.repeat(version.time, count),
    }
    known = dict(zip(records.column_names, records.columns, strict=True))
    return _with_base_words(seen, pa.table({**known, **fresh}))


def _with_base_words(seen: Seen, fresh: pa.Table) -> pa.Table:
    """Where nothing changed for a carried record, take the base's outcome as it was written."""
    if not seen.told.num_rows:
        return fresh.select(DECISION.names).cast(DECISION)
    unsaid = fresh["action"].is_null().to_numpy()  # settled: nobody judged it again
    kept = pc.fill_null(pc.equal(fresh["action"], "keep"), fill_value=False).to_numpy()
    same = seen.same(fresh, "action", "representative") & (kept | seen.same(fresh, "rule", "evidence"))
    quarantined = seen.same(fresh, "code") & fresh["code"].is_valid().to_numpy() & (seen.at >= 0)
    carry = pa.array(unsaid | (seen.carried & same) | quarantined)
    takes = {name: carry for name in DECISION.names if name not in RECORD.names}
    takes["version"] = pa.array(seen.carried | quarantined)
    columns = {name: fresh[name] for name in DECISION.names}
    for name, carried in takes.items():
        columns[name] = pc.if_else(carried, seen.old(name), fresh[name])
    return pa.table(columns).cast(DECISION)


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


def _chosen(words: dict[str, Mask]) -> pa.Array:
    """Return for each row the first word whose mask holds, or null."""
    return pc.case_when(pc.make_struct(*map(pa.array, words.values())), *words)
