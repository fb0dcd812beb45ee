"""What came for a version beside the base's records, and which of all these have to be looked at whole."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Rows, equal_parts
from dedupver.history import unread as unread_
from dedupver.schema import BROUGHT, DECISION, INVALID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver import params
    from dedupver.history.unread import Unread
    from dedupver.manifest import Log

Mask = npt.NDArray[np.bool_]

OLD: Final = [name for name in DECISION.names if name not in {"parts", "detail"}]
"""What is asked of the base's rows."""


@dataclass(frozen=True)
class Present:
    """What came for this version, beside the base's records, which are numbered as `Log.state` gives them."""

    came: pa.Table  # schema BROUGHT, its version never null, sorted by id
    at: Rows  # of each its row in the base, -1: not there
    carried: Mask  # in the base with the same content
    unaltered: Mask  # in the base with the same bytes
    base: Log
    known: pa.Table  # id, action and representative of the base's records
    resting: Mask  # which of them did not come, and are there
    gone: Rows  # and which are there no more
    appended: bool  # to the base's, whose records do not move
    version: str

    def did(self, action: str) -> Mask:
        """Return what the base decided so."""
        decided: Mask = pc.equal(self.known["action"], action).to_numpy()
        return decided


def assemble(read: pa.Table, unread: Unread, base: Log, given: params.Params) -> Present:
    """Join what was read (schema BROUGHT, no version null, sorted by id) with the base's records.

    In a snapshot those of the base's that were not read, but for those in `unread` rows, are there no more. In mode
    append a batch is added to the base; a record of it that came with the content that it had is what it was, where it
    was. Raises SourceError for ids that several records of a snapshot share.
    """
    snapshot = given.source.mode == "snapshot"
    known = base.state(("id", "action", "representative"))
    came, rests = read, np.full(known.num_rows, not snapshot)
    if snapshot:
        came, rests = unread_.apart(read, unread, base, given)
    at = unread_.rows_of(came["id"], known["id"])
    there = np.flatnonzero(at >= 0)
    before, rows = base.state(("parts",), at[there])["parts"], np.arange(len(there))
    carried, unaltered = (
        mask_of(len(at), there[equal_parts(came["parts"], there, before, rows, digest)])
        for digest in ("content", "sha256")
    )
    judged = np.append(pc.is_in(known["action"], pa.array(["keep", "drop"])).to_numpy(), np.False_)
    carried &= judged[at] & came["code"].is_null().to_numpy()
    if not snapshot:
        came = came.filter(pa.array(~carried))
        at, unaltered, carried = at[~carried], unaltered[~carried], carried[~carried]
    met = mask_of(known.num_rows, at[at >= 0])
    gone = np.flatnonzero(~(met | rests))
    return Present(came, at, carried, unaltered, base, known, rests & ~met, gone, not snapshot, given.version.name)


def everyone(present: Present, columns: Sequence[str]) -> pa.Table:
    """Return columns (of BROUGHT) of all records of the version, and whether the base published each; sorted by id.

    What an earlier version said of the validity of one is left out.
    """
    kept, rests = np.append(present.did("keep"), np.False_), np.flatnonzero(present.resting)
    held = pa.array(np.append(kept[present.at], kept[rests]))
    every = pa.concat_tables([present.came.select(columns), present.base.state(columns, rests).cast(_only(columns))])
    return _readable(every).append_column("held", held).sort_by("id")


def quarantine(present: Present, verdicts: pa.Table) -> Present:
    """Return what there is where the records that `verdicts` name (id, code, detail) are quarantined, and no others.

    One of the base's that did not come comes again if this is news of it: a rule of before may be there no more.
    """
    was, now = _judged(present.base.state(("code",))["code"]), _codes(present.known["id"], verdicts, "code")
    if not verdicts.num_rows and was.null_count == len(was):
        return present
    again = np.flatnonzero(present.resting & ~_equal(was, now))
    more = present.base.state(BROUGHT.names, again).cast(BROUGHT)
    if not present.appended:  # as if it had been read; in batches the version says where it lies
        more = more.set_column(more.num_columns - 1, BROUGHT.field(-1), pa.repeat(present.version, len(again)))
    came = _readable(pa.concat_tables([present.came, more]))
    order = pc.sort_indices(came["id"])
    came, rows = _with_codes(came.take(order), verdicts), order.to_numpy()
    carried = np.append(present.carried, np.zeros(len(again), np.bool_))[rows] & came["code"].is_null().to_numpy()
    return dataclasses.replace(
        present,
        came=came,
        at=np.append(present.at, again)[rows],
        carried=carried,
        unaltered=np.append(present.unaltered, np.ones(len(again), np.bool_))[rows],
        resting=present.resting & ~mask_of(len(present.resting), again),
    )


class Seen(NamedTuple):
    """The records that are looked at whole, sorted by id."""

    records: pa.Table  # schema BROUGHT
    at: Rows  # as Present has them
    carried: Mask
    unaltered: Mask
    told: pa.Table  # columns OLD of the base's rows in `at` ...
    place: Rows  # ... and the row of each record there, -1: none

    def old(self, name: str) -> pa.ChunkedArray:
        """Return a column of the base, a row for each record; null where the base has no such record."""
        return self.told[name].take(pa.array(np.maximum(self.place, 0), mask=self.place < 0))

    def did(self, action: str) -> Mask:
        """Return of which the base decided so."""
        return np.append(pc.equal(self.told["action"], action).to_numpy(), np.False_)[self.place]

    def same(self, now: pa.Table, *names: str) -> Mask:
        """Return for each record whether it says what the base says; two nulls are equal."""
        return np.logical_and.reduce([_equal(now[name], self.old(name)) for name in names])

    def slice(self, begin: int, count: int) -> Seen:
        """Return some of them."""
        here = slice(begin, begin + count)
        return Seen(
            self.records.slice(begin, count),
            self.at[here],
            self.carried[here],
            self.unaltered[here],
            self.told,
            self.place[here],
        )


def look(present: Present, again: Rows) -> Seen:
    """Look at what came, and at some of the base's records, which are judged again."""
    at = np.concatenate([present.at, again])
    known = at >= 0
    told, place = present.base.state(OLD, at[known]), np.where(known, np.cumsum(known) - 1, -1)
    if not len(again):
        return Seen(present.came, at, present.carried, present.unaltered, told, place)
    records = pa.concat_tables([present.came, present.base.state(BROUGHT.names, again).cast(BROUGHT)])
    order = pc.sort_indices(records["id"])
    rows, whole = order.to_numpy(), np.ones(len(again), np.bool_)
    carried, unaltered = (np.append(mask, whole)[rows] for mask in (present.carried, present.unaltered))
    return Seen(records.take(order), at[rows], carried, unaltered, told, place[rows])


def mask_of(count: int, rows: Rows) -> Mask:
    """Return where some rows are."""
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask


def _only(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([BROUGHT.field(name) for name in columns])


def _judged(codes: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the codes for which validation quarantined, null for others."""
    return pc.if_else(pc.is_in(codes, pa.array(INVALID)), codes, pa.scalar(None, pa.string()))


def _readable(records: pa.Table) -> pa.Table:
    """Return records without what validation said of them before."""
    invalid = pc.is_in(records["code"], pa.array(INVALID))
    for name in {"code", "detail"} & set(records.column_names) if pc.any(invalid).as_py() else ():
        told = pc.if_else(invalid, pa.scalar(None, pa.string()), records[name])
        records = records.set_column(records.schema.get_field_index(name), BROUGHT.field(name), told)
    return records


def _with_codes(records: pa.Table, verdicts: pa.Table) -> pa.Table:
    """Say of records what is wrong with those that can be read."""
    fails = pc.and_(pc.is_null(records["code"]), pc.is_valid(_codes(records["id"], verdicts, "code")))
    for name in ("code", "detail"):
        told = pc.if_else(fails, _codes(records["id"], verdicts, name), records[name])
        records = records.set_column(records.schema.get_field_index(name), BROUGHT.field(name), told)
    return records


def _codes(ids: pa.ChunkedArray, verdicts: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a column of verdicts for each record, null where there is none."""
    rows, at = unread_.rows_of(verdicts["id"], ids), np.full(len(ids), -1)
    there = np.flatnonzero(rows >= 0)
    at[rows[there]] = there
    return verdicts[name].take(pa.array(np.maximum(at, 0), mask=at < 0))


def _equal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> Mask:
    """Compare null-safe: two nulls are equal."""
    both = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.or_(pc.fill_null(pc.equal(left, right), fill_value=False), both).to_numpy()
