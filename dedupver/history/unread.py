"""The base's records in files that were not read again, for they are as they were: which these are, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.fingerprint.naming import DIGITS, name_after_content, not_unique
from dedupver.schema import BROUGHT

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.manifest import Log

Mask = npt.NDArray[np.bool_]
Unread = Mapping[str, Sequence[tuple[int, int]]]
"""By path the first row, and the one after the last, of each piece that was not read."""

MOST_ROWS: Final = 1 << 40
NAMED: Final = rf"^[0-9a-f]{{{DIGITS}}}(-[0-9]+)?$"
"""What a row of a table is called whose name was made of its content."""


def apart(read: pa.Table, unread: Unread, base: Log, given: params.Params) -> tuple[pa.Table, Mask]:
    """Return what came (schema BROUGHT, sorted by id), and which of the base's records are where they were.

    Copies of one content are numbered in an order of their own: the base's records that have a copy among those that
    were read or that are gone come again, for they may have another number now. Raises SourceError for ids that
    several records share.
    """
    rests = _in_pieces(unread, base)
    ids = base.state(("id",))["id"]
    if given.source.columns.id is None and rests.any():
        again = rests & _copies(read, base, ids, rests)
        if again.any():
            read, rests = _named_again(read, base, np.flatnonzero(again), given.version.name), rests & ~again
    at = rows_of(read["id"], ids)
    twice = np.flatnonzero(np.append(rests, np.False_)[at])
    if len(twice):
        places = ("id", "path", "row")
        both = pa.concat_tables([read.select(places).take(pa.array(twice)), base.state(places, at[twice])])
        raise not_unique(both, read["id"].take(pa.array(twice)))
    return read, rests


def rows_of(wanted: pa.ChunkedArray, ids: pa.ChunkedArray) -> Rows:
    """Return the row of each of some distinct ids among others, -1 where it is not there; what is wanted is hashed."""
    found = pc.fill_null(pc.index_in(ids, wanted.combine_chunks()), -1).to_numpy()
    rows, there = np.full(len(wanted), -1), np.flatnonzero(found >= 0)
    rows[found[there]] = there
    return rows


def _in_pieces(unread: Unread, base: Log) -> Mask:
    """Return which of the base's records lie in rows that were not read."""
    if not unread:
        return np.zeros(base.state(("id",)).num_rows, np.bool_)
    places = base.state(("path", "row"))
    paths = sorted(unread)
    code = pc.fill_null(pc.index_in(places["path"], pa.array(paths, pa.string())), -1).to_numpy().astype(np.int64)
    place = code * MOST_ROWS + places["row"].to_numpy() + 1
    pieces = [(at, first, min(end, MOST_ROWS - 2)) for at, path in enumerate(paths) for first, end in unread[path]]
    at, first, end = np.array(pieces, np.int64).T
    piece = np.searchsorted(at * MOST_ROWS + first + 1, place, side="right") - 1
    within: Mask = (code >= 0) & (piece >= 0) & (place < (at * MOST_ROWS + end + 1)[piece])
    return within


def _copies(read: pa.Table, base: Log, ids: pa.ChunkedArray, rests: Mask) -> Mask:
    """Return which of the base's records are named after a content of those that were read, or that are gone."""
    made = _is_made(ids, base.state(("row",))["row"])
    mine = read["id"].filter(pa.array(_is_made(read["id"], read["row"])))
    lost = ids.filter(pa.array(made & ~rests))
    contents = pc.unique(_content(pa.chunked_array([*mine.chunks, *lost.chunks], pa.string())))
    found: Mask = made & pc.is_in(_content(ids), contents).to_numpy()
    return found


def _named_again(read: pa.Table, base: Log, again: Rows, version: str) -> pa.Table:
    """Return what was read, and some of the base's records beside it, named as if all were read."""
    theirs = base.state(BROUGHT.names, again)
    theirs = theirs.set_column(theirs.num_columns - 1, "version", pa.repeat(version, len(again)))
    every = pa.concat_tables([read, theirs.cast(BROUGHT)])
    unnamed = pc.if_else(pa.array(_is_made(every["id"], every["row"])), pa.scalar(None, pa.string()), every["id"])
    named = name_after_content(every.set_column(0, pa.field("id", pa.string()), unnamed))
    return named.cast(BROUGHT).sort_by("id")


def _is_made(ids: pa.ChunkedArray, rows: pa.ChunkedArray) -> Mask:
    made: Mask = pc.and_(pc.match_substring_regex(ids, NAMED), pc.greater_equal(rows, 0)).to_numpy()
    return made


def _content(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_slice_codeunits(ids, 0, DIGITS)
