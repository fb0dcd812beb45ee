"""Columns of 32-byte digests as arrays, and look-up in them by binary search: millions cost no Python object each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.schema import DIGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH: Final = 32
BLOCK: Final = 1 << 17
"""Records whose digests are compared at once."""

Rows = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint8]
"""Shape (n, 32), one digest a row."""


def of_list(digests: Sequence[bytes]) -> Digests:
    """Return the (n, 32) array of a list of digests."""
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, WIDTH)


def of_column(column: pa.ChunkedArray | pa.Array) -> Digests:
    """Return the (n, 32) array of an Arrow column of type DIGEST without nulls."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # no chunk at all
        return np.empty((0, WIDTH), np.uint8)
    if len(array) == 0:
        return np.empty((0, WIDTH), np.uint8)
    values = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    start = array.offset * WIDTH
    return values[start : start + len(array) * WIDTH].reshape(-1, WIDTH)


def parts_in(*columns: pa.ChunkedArray) -> list[str]:
    """Return the names of the parts that `parts` columns hold, in alphabetical order."""
    found: set[str] = set()
    for chunk in itertools.chain.from_iterable(column.chunks for column in columns):
        found.update(chunk.flatten().field("part").unique().to_pylist())
    return sorted(found)


def of_parts(column: pa.ChunkedArray, digest: str, names: Sequence[str]) -> tuple[Digests, Rows, Rows]:
    """Return one digest (`sha256` or `content`) of every part in a `parts` column, with its record and its part.

    Shapes (m, 32), (m,) row of the record, (m,) place in `names`, which hold all that the column has.
    """
    digests, records, parts = [np.empty((0, WIDTH), np.uint8)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    order, before = pa.array(names, pa.string()), 0
    for chunk in column.chunks:
        flat = chunk.flatten()
        digests.append(of_column(flat.field(digest)))
        records.append(pc.list_parent_indices(chunk).to_numpy() + before)
        parts.append(pc.index_in(flat.field("part"), order).to_numpy(zero_copy_only=False).astype(np.int64))
        before += len(chunk)
    return np.concatenate(digests), np.concatenate(records), np.concatenate(parts)


def laid_out(column: pa.ChunkedArray, digest: str, names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return one digest of each part of each record, shape (n, names, 32); zeros where a record has no such part."""
    digests, record, part = of_parts(column, digest, names)
    table = np.zeros((len(column), len(names), WIDTH), np.uint8)
    table[record, part] = digests
    return table


def numbered(column: pa.ChunkedArray, names: Sequence[str]) -> tuple[Digests, Rows]:
    """Number the distinct contents of a `parts` column in ascending order.

    Returns their digests, and for each record the number of each part's content, -1 where it has no such part: shape
    (n, names).
    """
    digests, record, part = of_parts(column, "content", names)
    distinct, number = ranked(digests)
    table = np.full((len(column), len(names)), -1, np.int64)
    table[record, part] = number
    return distinct, table


def ranked(digests: Digests) -> tuple[Digests, Rows]:
    """Return the distinct digests, ascending, and the number of each among them."""
    rows = order(digests)
    fresh = _fresh(digests, rows)
    number = np.empty(len(rows), np.int64)
    number[rows] = np.cumsum(fresh) - 1
    return np.take(digests, rows[fresh], axis=0), number


def equal_parts(left: pa.ChunkedArray, a: Rows, right: pa.ChunkedArray, b: Rows, digest: str) -> npt.NDArray[np.bool_]:
    """Return for rows `a` of one `parts` column and rows `b` of another whether their parts are equal by a digest."""
    names = parts_in(left, right)
    same = np.ones(len(a), np.bool_)
    for at in range(0, len(a), BLOCK):
        here = slice(at, at + BLOCK)
        mine, theirs = (laid_out(c.take(pa.array(rows[here])), digest, names) for c, rows in ((left, a), (right, b)))
        same[here] = (mine == theirs).all(axis=(1, 2))
    return same


def to_column(digests: Digests) -> pa.Array:
    """Return the Arrow column of an (n, 32) array."""
    flat = np.ascontiguousarray(digests)
    return pa.Array.from_buffers(DIGEST, len(flat), [None, pa.py_buffer(flat)])


def leading(digests: Digests) -> npt.NDArray[np.uint64]:
    """Return the first 8 bytes of each digest as a number: ordered like the digests."""
    return np.ascontiguousarray(digests[:, :8]).view(">u8").ravel().astype(np.uint64)


def order(digests: Digests) -> Rows:
    """Return the rows in ascending order of digest; equal digests keep their order.

    A digest's first bits and its row are sorted as one word, for that is several times faster than argsort.
    """
    first = leading(digests)
    if (first[1:] > first[:-1]).all():
        return np.arange(len(digests))
    below = np.uint64(len(digests).bit_length())
    packed = first >> below << below | np.arange(len(digests), dtype=np.uint64)
    packed.sort()
    first, rows = packed >> below, (packed & ((np.uint64(1) << below) - np.uint64(1))).astype(np.int64)
    same = np.append(first[1:] == first[:-1], False)[: len(rows)]
    tied = np.flatnonzero(same | np.roll(same, 1))  # few, but for equal digests
    words = _words(digests[rows[tied]])
    rows[tied] = rows[tied][np.lexsort(tuple(words[:, i] for i in (3, 2, 1, 0)))]
    return rows


def first_of_each(digests: Digests) -> Rows:
    """Return, in ascending order of digest, the first row that holds each distinct digest."""
    rows = order(digests)
    return rows[_fresh(digests, rows)]


class Lookup:
    """A fixed column of distinct digests that answers "in which row?"."""

    def __init__(self, digests: Digests) -> None:
        """Sort `digests`, shape (n, 32), for look-up."""
        self._rows = order(digests)
        self._words = np.take(_words(digests), self._rows, axis=0)
        self._prefix = np.ascontiguousarray(self._words[:, 0])

    def __len__(self) -> int:
        """Return the number of digests."""
        return len(self._rows)

    def find(self, wanted: Digests) -> Rows:
        """Return for each row of `wanted`, shape (m, 32), its row in this column, or -1."""
        found = np.full(len(wanted), -1, dtype=np.int64)
        if not len(self) or not len(wanted):
            return found
        first = leading(wanted)
        place = np.searchsorted(self._prefix, first)
        open_ = np.arange(len(wanted))
        while len(open_):  # one pass, but for digests that share their first 8 bytes
            open_ = open_[place[open_] < len(self)]
            open_ = open_[self._prefix[place[open_]] == first[open_]]
            equal = (self._words[place[open_]] == _words(wanted[open_])).all(axis=1)
            found[open_[equal]] = self._rows[place[open_[equal]]]
            open_ = open_[~equal]
            place[open_] += 1
        return found

    def has(self, wanted: Digests) -> npt.NDArray[np.bool_]:
        """Return for each row of `wanted` whether it is in this column."""
        return self.find(wanted) >= 0


def _fresh(digests: Digests, rows: Rows) -> npt.NDArray[np.bool_]:
    """Return for each of some rows whether it differs from the row listed before it."""
    listed = np.take(digests, rows, axis=0).view(f"V{WIDTH}").ravel()
    fresh = np.ones(len(rows), dtype=np.bool_)
    fresh[1:] = listed[1:] != listed[:-1]
    return fresh


def _words(digests: Digests) -> npt.NDArray[np.uint64]:
    # big-endian words compare like the bytes they are made of
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 4).astype(np.uint64)
