"""How much of a text stands in another: the share of its n-grams that the other has, however long that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedupver.compiled import njit
from dedupver.digests import Digests, Rows, first_of_each, to_column
from dedupver.schema import MATCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.fingerprint.ragged import Ragged
    from dedupver.index.segment import Index

Hashes = npt.NDArray[np.uint64]
Scores = npt.NDArray[np.float32]

TOGETHER: Final = 1 << 14
"""Texts whose n-grams are looked up at a time."""

_PRESENT: Final = 22  # first bits of a hash that tell most that are not among the protected; 512 KiB, a near cache
_ROOM: Final = 1 << 16  # pairs found at a time


def overlaps(index: Index, protected: Digests, others: Digests, at_least: float) -> pa.Table:
    """Return which of other texts have at least that share of a protected text's n-grams (schema MATCH), kind `ngram`.

    The protected one is right. Of two that leak into each other either way there is the greater share. Every pair is
    there: the n-grams of the protected are put into a table, and all others are looked up in it.
    """
    protected, others = protected[first_of_each(protected)], others[first_of_each(others)]
    grams = index.ngrams(protected)
    table = _Table.of(grams)
    found = [(np.empty((0, 32), np.uint8), np.empty((0, 32), np.uint8), np.empty(0, np.float32))]
    for begin in range(0, len(others) if len(table.values) else 0, TOGETHER):
        some = others[begin : begin + TOGETHER]
        for row, place, score in _found(table, grams.sizes, index.ngrams(some), at_least):
            apart = (some[row] != protected[place]).any(axis=1)
            found.append((some[row][apart], protected[place][apart], score[apart]))
    left, right, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(-scores, kind="stable")  # of a pair the first counts
    columns = [pa.repeat("ngram", len(order)), to_column(left[order]), to_column(right[order]), pa.array(scores[order])]
    return pa.table(columns, schema=MATCH)


def share(index: Index, protected: Digests, others: Digests) -> Scores:
    """Return for each pair of texts the share of the first one's n-grams that the other has; shape (m,)."""
    a, b = index.ngrams(protected), index.ngrams(others)
    scores = np.zeros(len(protected), np.float32)
    for i in np.flatnonzero(a.sizes):
        mine, its = (each.values[each.offsets[i] : each.offsets[i + 1]] for each in (a, b))
        scores[i] = np.float32(len(np.intersect1d(mine, its, assume_unique=True))) / np.float32(len(mine))
    return scores


class _Table:
    """The n-grams of the protected, ascending, and which text has each."""

    def __init__(self, values: Hashes, owner: Rows) -> None:
        self.values, self.owner = values, owner
        self.present = np.zeros(1 << (_PRESENT - 5), np.uint32)
        first = values >> np.uint64(64 - _PRESENT)
        np.bitwise_or.at(
            self.present,
            (first >> np.uint64(5)).astype(np.int64),
            np.uint32(1) << (first % np.uint64(32)).astype(np.uint32),
        )
        bits = min(max(len(values), 1).bit_length() + 1, 24)
        edges = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
        self.directory = np.append(np.searchsorted(values, edges), len(values))

    @classmethod
    def of(cls, grams: Ragged) -> _Table:
        order = np.argsort(grams.values, kind="stable")
        return cls(grams.values[order], np.repeat(np.arange(len(grams)), grams.sizes)[order])


def _found(table: _Table, sizes: Rows, texts: Ragged, at_least: float) -> Iterator[tuple[Rows, Rows, Scores]]:
    """Yield (row, place of the protected, share) of each pair that reaches `at_least`, some at a time."""
    room = max(_ROOM, len(sizes))
    row, place, score = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.float32)
    counts, met, begin = np.zeros(len(sizes), np.int64), np.empty(len(sizes), np.int64), 0
    while begin < len(texts):
        begin, count = _look_up(
            table.values, table.owner, table.directory, table.present, sizes, texts.offsets, texts.values,
            np.float32(at_least), begin, counts, met, row, place, score,
        )  # fmt: skip
        yield row[:count].copy(), place[:count].copy(), score[:count].copy()


@njit(cache=True)
def _look_up(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    values: Hashes,
    owner: Rows,
    directory: Rows,
    present: npt.NDArray[np.uint32],
    sizes: Rows,
    offsets: Rows,
    grams: Hashes,
    at_least: np.float32,
    begin: int,
    counts: Rows,
    met: Rows,
    row: Rows,
    place: Rows,
    score: Scores,
) -> tuple[int, int]:
    """Write the pairs of texts from `begin` on while there is room; return the next text and how many there are."""
    shift = np.uint64(64 - int(np.round(np.log2(len(directory) - 1))))
    written, text = 0, begin
    while text < len(offsets) - 1 and written + len(sizes) <= len(row):
        touched = 0
        for gram in grams[offsets[text] : offsets[text + 1]]:
            first = gram >> np.uint64(64 - _PRESENT)
            if not present[first >> np.uint64(5)] >> (first & np.uint64(31)) & 1:
                continue
            bucket = gram >> shift
            for at in range(directory[bucket], directory[bucket + np.uint64(1)]):
                if values[at] == gram:
                    if counts[owner[at]] == 0:
                        met[touched] = owner[at]
                        touched += 1
                    counts[owner[at]] += 1
        for one in met[:touched]:
            part = np.float32(counts[one]) / np.float32(sizes[one])
            if part >= at_least:
                row[written], place[written], score[written] = text, one, part
                written += 1
            counts[one] = 0
        text += 1
    return text, written
