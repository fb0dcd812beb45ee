"""Exact Jaccard similarity of shingle sets: of pairs, and of a few sets with all sets of a segment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads

if TYPE_CHECKING:
    from dedupver.fingerprint.text import Sets

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint32]
Scores = npt.NDArray[np.float32]

_BLOCK: Final = 10_000  # pairs that a thread scores at a time
_PRESENT: Final = 20  # first bits of a value that tell most that are not among the chosen
_ROUNDING: Final = 1e-6  # by which a score may miss `at_least` in exact arithmetic, and reach it as float32


def jaccard(a: Sets, ai: Rows, b: Sets, bi: Rows, at_least: float = 0) -> Scores:
    """Return |A ∩ B| / |A ∪ B| of set `ai[i]` of `a` and set `bi[i]` of `b`, shape (m,); 0 where both are empty.

    For a pair that does not reach `at_least` 0 may stand: most are told by their sizes or by their first values.
    """
    scores = np.empty(len(ai), np.float32)
    share = share_of(at_least)

    def score(begin: int) -> None:
        here = slice(begin, begin + _BLOCK)
        _jaccard(a.offsets, a.values, ai[here], b.offsets, b.values, bi[here], share, scores[here])

    ai, bi = np.ascontiguousarray(ai), np.ascontiguousarray(bi)
    if len(ai) <= _BLOCK:
        score(0)
    else:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(score, range(0, len(ai), _BLOCK)))
    return scores


def share_of(at_least: float) -> float:
    """Return the share of the values of two sets that they must have in common to be so similar."""
    return at_least / (1 + at_least) * (1 - _ROUNDING)


@dataclass(frozen=True, eq=False)
class Postings:
    """The values of a few sets, ascending, and which set holds each."""

    values: Values  # (m,)
    owner: Rows  # (m,), place of the set
    sizes: Rows  # (sets,)
    directory: Rows  # (2^bits + 1,), where the values with equal first bits begin
    present: Values  # (2^15,), a bit for each 20 first bits: whether a value begins with them; fits into a near cache

    @classmethod
    def of(cls, sets: Sets, rows: Rows) -> Postings:
        """Invert the sets in some rows."""
        parts = [sets.values[sets.offsets[row] : sets.offsets[row + 1]] for row in rows]
        values = np.concatenate([np.empty(0, np.uint32), *parts])
        order = np.argsort(values, kind="stable")
        sizes = np.array([len(part) for part in parts], np.int64)
        bits = min(len(values).bit_length() + 1, 24)
        first = np.arange((1 << bits) + 1, dtype=np.uint64) << np.uint64(32 - bits)
        owner = np.repeat(np.arange(len(rows)), sizes)
        present = np.zeros(1 << (_PRESENT - 5), np.uint32)
        np.bitwise_or.at(present, values >> (32 - _PRESENT + 5), np.uint32(1) << (values >> (32 - _PRESENT)) % 32)
        return cls(values[order], owner[order], sizes, np.searchsorted(values[order], first), present)


def neighbours(chosen: Postings, sets: Sets, floor: float, cap: int, own: Rows | None) -> tuple[Rows, Rows, Scores]:
    """Return (place, row of `sets`, Jaccard) of each pair at or above `floor`, ascending, by brute force.

    Pairs that share no value do not count. Of each chosen set come the first `cap` rows but its own, where `own`, shape
    (chosen,), says which that is. The values of `sets` are read once, and each is looked up among those of the chosen.
    """
    count = len(chosen.sizes)
    found = np.zeros(count, np.int64)
    rows = np.empty((count, min(cap, len(sets))), np.int64)
    scores = np.empty(rows.shape, np.float32)
    own = np.full(count, -1) if own is None else own
    postings = chosen.present, chosen.directory, chosen.values, chosen.owner, chosen.sizes
    _neighbours(sets.offsets, sets.values, *postings, own, np.float32(floor), found, rows, scores)
    listed = np.arange(rows.shape[1]) < found[:, None]
    return np.repeat(np.arange(count), found), rows[listed], scores[listed]


@njit(cache=True, nogil=True)
def _jaccard(  # noqa: PLR0913, PLR0917 - two sets of arrays and the result
    a_offsets: Rows,
    a_values: Values,
    ai: Rows,
    b_offsets: Rows,
    b_values: Values,
    bi: Rows,
    share: float,
    scores: Scores,
) -> None:
    for k in range(len(ai)):
        scores[k] = of_pair(a_offsets, a_values, ai[k], b_offsets, b_values, bi[k], share)


@njit(cache=True, nogil=True)
def of_pair(  # noqa: PLR0913, PLR0917 - as above
    a_offsets: Rows, a_values: Values, i: int, b_offsets: Rows, b_values: Values, j: int, share: float
) -> float:
    """Return the Jaccard similarity of two sets; 0 where it is told early that they share too little."""
    a = a_values[a_offsets[i] : a_offsets[i + 1]]
    b = b_values[b_offsets[j] : b_offsets[j + 1]]
    common = _common(a, b, int(share * (len(a) + len(b))))
    union = len(a) + len(b) - common
    return common / union if union else 0.0


@njit(cache=True, nogil=True)
def _common(a: Values, b: Values, wanted: int) -> int:
    """Return how many values two ascending, distinct arrays share; 0 as soon as `wanted` are out of reach."""
    i = j = common = 0
    while i < len(a) and j < len(b):
        if i - common > len(a) - wanted or j - common > len(b) - wanted:
            return 0
        common += a[i] == b[j]
        smaller = a[i] <= b[j]
        j += b[j] <= a[i]
        i += smaller
    return common


@njit(cache=True, nogil=True)
def shift_of(directory: Rows) -> int:
    """Return how many bits of a value follow those that the directory is by."""
    shift = 32
    while len(directory) - 1 > 1 << (32 - shift):
        shift -= 1
    return shift


@njit(cache=True, nogil=True)
def may_hold(present: Values, value: np.uint32) -> bool:
    """Return whether a value of Postings begins with the first bits of a value."""
    first = value >> np.uint32(32 - _PRESENT)
    return bool((present[first >> np.uint32(5)] >> (first & np.uint32(31))) & np.uint32(1))


@njit(cache=True, nogil=True)
def _neighbours(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    offsets: Rows,
    values: Values,
    present: Values,
    directory: Rows,
    wanted: Values,
    owner: Rows,
    sizes: Rows,
    own: Rows,
    floor: np.float32,
    found: Rows,
    rows: Rows,
    scores: Scores,
) -> None:
    """Count what each set shares with the chosen ones."""
    shift = shift_of(directory)
    common, touched, full = np.zeros(len(sizes), np.int64), np.empty(len(sizes), np.int64), 0
    for row in range(len(offsets) - 1):
        size, n = offsets[row + 1] - offsets[row], 0
        for value in values[offsets[row] : offsets[row + 1]]:
            if not may_hold(present, value):
                continue
            slot = value >> np.uint32(shift)
            for k in range(directory[slot], directory[slot + np.uint32(1)]):
                if wanted[k] == value:
                    if common[owner[k]] == 0:
                        touched[n] = owner[k]
                        n += 1
                    common[owner[k]] += 1
        for place in touched[:n]:
            score = np.float32(common[place] / (size + sizes[place] - common[place]))
            common[place] = 0
            if score >= floor and own[place] != row and found[place] < rows.shape[1]:
                rows[place, found[place]], scores[place, found[place]] = row, score
                found[place] += 1
                full += found[place] == rows.shape[1]
        if full == len(sizes):
            return
