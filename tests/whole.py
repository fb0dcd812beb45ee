"""All of history joined, judged and compared as whole tables: what looking at the few that changed must come to."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Rows, equal_parts
from dedupver.index.joint import fit
from dedupver.resolve import Case, Verdicts, leaks, met, resolve
from dedupver.resolve.evidence import across
from dedupver.resolve.nodes import order_of
from dedupver.schema import BROUGHT, DECISION, INVALID, OUTCOME, RECORD, SIZES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dedupver import params
    from dedupver.index.segment import Index

Mask = npt.NDArray[np.bool_]

JUDGED: Final = ["id", "role", "parts", "bytes", *SIZES, "source", "split", "time", "quality", "label"]
"""What a record is judged by."""

STATE: Final = (
    *("role", "bytes", *SIZES, "source", "split", "time", "quality", "label", "code"),
    *(f.name for f in OUTCOME if f.name not in {"decided", "decided_at"}),
)
"""What a record's row in the log must say to be its state; where it lies is not of it."""


@dataclass(frozen=True)
class Present:
    """The records of this version, sorted by id, and the row of each in the base's live table (-1: not there)."""

    records: pa.Table  # schema BROUGHT, its version never null
    base: pa.Table  # the base's live records: schema DECISION but for their parts, which are a third of it
    at: Rows
    carried: Mask  # in the base with the same content
    unaltered: Mask  # in the base with the same bytes
    gone: pa.Table  # schema DECISION: the base's records that are not there

    def old(self, name: str) -> pa.ChunkedArray:
        """Return a column of the base, a row for each record; where a record is not in the base it says nothing."""
        return self.base[name].take(pa.array(np.maximum(self.at, 0)))

    def same(self, now: pa.Table, *names: str) -> Mask:
        """Return for each record whether it says what the base says; two nulls are equal."""
        return np.logical_and.reduce([_equal(now[name], self.old(name)) for name in names])


def assemble(now: pa.Table, base: pa.Table, mode: str, failed: Mapping[str, str] | None = None) -> Present:
    """Join what the source holds now (schema BROUGHT, no version null) with the base's live records.

    In mode append what the source lacks is still there; in mode snapshot it is gone. What can be read and is in
    `failed` has the code that this says, and nothing else has one of INVALID.
    """
    if mode == "append":
        now = _appended(now, base)
    now = _validated(now, failed or {})
    at, carried = _joined(now, base)
    unaltered = _same_parts(now["parts"], base["parts"], at, "sha256")
    there = _mask(base.num_rows, at[at >= 0])
    gone = base.filter(pa.array(~there))
    return Present(now, base.drop_columns(["parts"]), at, carried, unaltered, gone)


def _joined(now: pa.Table, base: pa.Table) -> tuple[Rows, Mask]:
    """Return for each record its row in the base, -1 where it has none, and whether it is carried over."""
    at = pc.fill_null(pc.index_in(now["id"], base["id"]), -1).to_numpy().astype(np.int64)
    same = _same_parts(now["parts"], base["parts"], at, "content")
    judged = np.append(pc.is_in(base["action"], pa.array(["keep", "drop"])).to_numpy(), np.False_)
    return at, same & judged[at] & now["code"].is_null().to_numpy()


def _appended(now: pa.Table, base: pa.Table) -> pa.Table:
    """Add the base's records to a batch; one that came again with the same content is what it was, where it was."""
    _, carried = _joined(now, base)
    now = now.filter(pa.array(~carried))
    rest = base.filter(pc.invert(pc.is_in(base["id"], now["id"])))
    return pa.concat_tables([now, rest.select(BROUGHT.names).cast(BROUGHT)]).sort_by("id")


def _validated(now: pa.Table, failed: Mapping[str, str]) -> pa.Table:
    rows = now.to_pylist()
    for row in rows:
        if row["code"] in INVALID:
            row["code"] = row["detail"] = None
        if row["code"] is None and row["id"] in failed:
            row["code"], row["detail"] = failed[row["id"]], "why"
    return pa.Table.from_pylist(rows, schema=BROUGHT)


def decide(
    present: Present,
    index: Index,
    reviews: Sequence[tuple[str, str, str]],
    given: params.Params,
    before: Sequence[tuple[str, str, str]] = (),
) -> tuple[pa.Table, Verdicts]:
    """Decide every record; return the decisions (schema DECISION, sorted by id) and the verdicts."""
    opened = _reopened(present, reviews, before, given.dedup)
    judged = _to_judge(present, opened, frozen=given.dedup.history == "frozen")
    verdicts = resolve(_case(present, judged, opened, index, reviews, given), given.dedup)
    return _decisions(present, np.flatnonzero(judged), verdicts, given.version), verdicts


def _reopened(
    present: Present,
    now: Sequence[tuple[str, str, str]],
    before: Sequence[tuple[str, str, str]],
    settings: params.Dedup,
) -> Mask:
    """Return who is judged again for what was said, or for one who is: record by record."""
    same, was_same = ({frozenset(r[:2]) for r in each if r[2] == "same"} for each in (now, before))
    apart, was_apart = ({frozenset(r[:2]) for r in each} - those for each, those in ((now, same), (before, was_same)))
    base = {row["id"]: row for row in present.base.to_pylist()}
    ids = present.records["id"].to_pylist()
    there = {name for name, carried in zip(ids, present.carried.tolist(), strict=True) if carried}
    opened = {
        name
        for name in there
        if base[name]["action"] == "drop"
        and frozenset((name, base[name]["representative"])) in apart | (was_same - same)
        and base[name]["representative"] in there
    }
    order = present.base.select([name for name in JUDGED if name != "parts"])
    data, sides = pc.equal(order["role"], "data").to_numpy(), leaks.sides(order, settings)
    placed = order_of(order, data.astype(np.int64), sides, settings)
    turn = {order["id"][int(row)].as_py(): at for at, row in enumerate(placed)}
    for pair in same | (was_apart - apart - same):
        if len(pair) == 2 and all(name in there and base[name]["action"] == "keep" for name in pair):
            later = max(pair, key=lambda name: turn[name])
            opened |= {later} if base[later]["role"] == "data" else set()
    opened |= {name for name in there if base[name]["action"] == "drop" and base[name]["representative"] in opened}
    return np.array([name in opened for name in ids], np.bool_)


def _case(
    present: Present,
    judged: Mask,
    opened: Mask,
    index: Index,
    reviews: Sequence[tuple[str, str, str]],
    given: params.Params,
) -> Case:
    records = present.records.select(JUDGED)
    reference = pc.equal(present.records["role"], "reference").to_numpy()
    kept_before = present.carried & _base_action(present, "keep")
    held = kept_before & (given.dedup.history == "frozen") & ~opened
    forced = (reference | held)[judged]
    records = records.filter(pa.array(judged))
    return Case(
        parts=met(given.source.parts, records["parts"]),
        records=records,
        rank=np.where(forced, 0, np.where(present.carried[judged], 1, 2)).astype(np.int64),
        forced=forced,
        counted=~reference[judged],
        matches=itertools.chain(index.matches(), across(index.fits()), _overlaps(records, index, given).to_batches()),
        hot=index.hot(),
        reviews=reviews,
        scorer=index.scorer,
        fit=partial(fit, index),
        sets=index.sets,
        fresh=~held[judged],
    )


def _overlaps(records: pa.Table, index: Index, given: params.Params) -> pa.Table:
    return leaks.overlaps(records, met(given.source.parts, records["parts"]), index, given.dedup)


def events(decisions: pa.Table, present: Present, version: params.Version) -> pa.Table:
    """Return what changed: decisions that differ from the base's, and the records that are gone (schema DECISION)."""
    if not present.base.num_rows:
        return decisions
    changed = decisions.filter(pa.array(~(present.unaltered & present.same(decisions, *STATE))))
    return pa.concat_tables([changed, _gone(present.gone, version)]).sort_by("id")


def _to_judge(present: Present, opened: Mask, *, frozen: bool) -> Mask:
    """Everything readable; frozen history leaves out who was dropped for a record that is still kept, unless opened."""
    readable = present.records["code"].is_null().to_numpy()
    return readable & (~_settled(present) | opened) if frozen else readable


def _settled(present: Present) -> Mask:
    dropped = present.carried & _base_action(present, "drop")
    kept = present.records["id"].filter(pa.array(present.carried & _base_action(present, "keep")))
    if not present.base.num_rows:
        return dropped
    return dropped & pc.is_in(present.old("representative"), kept).to_numpy()


def _base_action(present: Present, action: str) -> Mask:
    return np.append(pc.equal(present.base["action"], action).to_numpy(), np.False_)[present.at]


def _decisions(present: Present, rows: Rows, verdicts: Verdicts, version: params.Version) -> pa.Table:
    """Lay the verdicts over the records; where the outcome is the base's, its words and its version stay."""
    records, count = present.records, present.records.num_rows
    kept, dropped = (_mask(count, rows[mine]) for mine in (verdicts.keep, ~verdicts.keep))
    representatives = rows[verdicts.representative[~verdicts.keep]]
    said = verdicts.said.take(_laid(dropped, np.arange(len(representatives))))
    unreadable = _mask(count, np.flatnonzero(records["code"].is_valid()))
    reference = pc.equal(records["role"], "reference").to_numpy()
    fresh = {
        **{name: said[name] for name in said.column_names},
        "action": _chosen({"quarantine": unreadable, "keep": kept, "drop": dropped}),
        "reason": pc.coalesce(
            records["code"],
            _chosen({"restored": kept & _base_action(present, "drop"), "reference": kept & reference, "kept": kept}),
            said["reason"],
        ),
        "representative": records["id"].take(_laid(dropped, representatives)),
        "decided": pa.repeat(version.name, count),
        "decided_at": pa.repeat(version.time, count),
    }
    known = dict(zip(records.column_names, records.columns, strict=True))
    return _with_base_words(present, pa.table({**known, **fresh}))


def _mask(count: int, rows: Rows) -> Mask:
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask


def _chosen(words: dict[str, Mask]) -> pa.Array:
    """Return for each row the first word whose mask holds, or null."""
    return pc.case_when(pc.make_struct(*map(pa.array, words.values())), *words)


def _laid(where: Mask, rows: Rows) -> pa.Array:
    """Return indices that take `rows`, one after the other, to where the mask holds, and null elsewhere."""
    at = np.zeros(len(where), np.int64)
    at[where] = rows
    return pa.array(at, mask=~where)


def _with_base_words(present: Present, fresh: pa.Table) -> pa.Table:
    """Where nothing changed for a carried record, take the base's outcome as it was written."""
    if not present.base.num_rows:
        return fresh.select(DECISION.names).cast(DECISION)
    unsaid = fresh["action"].is_null().to_numpy()  # settled: nobody judged it again
    kept = pc.fill_null(pc.equal(fresh["action"], "keep"), fill_value=False).to_numpy()
    same = present.same(fresh, "action", "representative") & (kept | present.same(fresh, "rule", "evidence"))
    quarantined = present.same(fresh, "code") & fresh["code"].is_valid().to_numpy() & (present.at >= 0)
    carry = pa.array(unsaid | (present.carried & same) | quarantined)
    takes = {name: carry for name in DECISION.names if name not in RECORD.names}
    takes["version"] = pa.array(present.carried | quarantined)
    columns = {name: fresh[name] for name in DECISION.names}
    for name, carried in takes.items():
        columns[name] = pc.if_else(carried, present.old(name), fresh[name])
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


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """Compare null-safe: two nulls are equal."""
    both = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.or_(pc.fill_null(pc.equal(left, right), fill_value=False), both).to_numpy()


def _same_parts(now: pa.ChunkedArray, base: pa.ChunkedArray, at: Rows, digest: str) -> Mask:
    """Return for each record whether it has the same parts, by a digest, as the base's row `at`."""
    same = at >= 0
    rows = np.flatnonzero(same)
    same[rows] = equal_parts(now, rows, base, at[rows], digest)
    return same
