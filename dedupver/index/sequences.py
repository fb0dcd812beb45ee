"""Sequences: codes over time, a row each content; how alike two are as wholes, exactly, at their best offset.

A code is 32 or 64 bits of what is heard or seen at a time; 0 says that there is nothing. Codes of a row follow each
other at a fixed step. At an offset, where both say something the bits that agree are counted; what one says while the
other is silent counts neither for nor against, as long as it is no more than a third of the longer one; what lies
beyond the other's ends counts against. The score is the highest of all offsets:

    bits that agree / (bits of a code * max(a's codes heard, b's codes heard, 2/3 of the larger number of codes))

"Heard" are a row's codes but for those that meet silence. Unlike sounds agree in half of their bits.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads

if TYPE_CHECKING:
    from dedupver.fingerprint.ragged import Ragged

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]
Codes = npt.NDArray[Any]  # uint32 or uint64

HEARD: Final = 2 / 3
"""A score is out of at least this share of the larger number of codes, however much of them meets silence."""

_LONG: Final = 256  # codes of an overlap beyond which a look at some of them comes first
_LOOK: Final = 64  # so many
_UNLIKE: Final = 0.4  # of their bits differ: no score above 0.6 is to be had (32 * 64 bits: nine standard deviations)
_BLOCK: Final = 512  # pairs that a thread scores at a time
_WORK: Final = 1 << 34  # comparisons of two codes: some ten seconds
_ROUNDING: Final = 1e-6


class Sequences(NamedTuple):
    """Rows of codes, and when they are."""

    codes: Ragged  # uint32 or uint64
    clock: npt.NDArray[np.float32]  # (n, 2) milliseconds: when the first code begins, from one to the next


def similarity(a: Ragged, ai: Rows, b: Ragged, bi: Rows, at_least: float = 0.0) -> Scores:
    """Return the score of row `ai[i]` of `a` and row `bi[i]` of `b`, shape (m,); 0 where one has no code.

    For a pair that does not reach `at_least` 0 may stand. Time is that of a look at 64 codes for each offset at which
    the pair can reach it, and of a full comparison where these are not unlike.
    """
    scores = np.empty(len(ai), np.float32)
    lefts, rights = sounding(a), sounding(b)
    ai, bi = np.ascontiguousarray(ai), np.ascontiguousarray(bi)

    def score(begin: int) -> None:
        here = slice(begin, begin + _BLOCK)
        _score(
            a.offsets, a.values, lefts, ai[here], b.offsets, b.values, rights, bi[here], float(at_least), scores[here]
        )

    if len(ai) <= _BLOCK:
        score(0)
    else:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(score, range(0, len(ai), _BLOCK)))
    return scores


def neighbours(mine: Ragged, chosen: Rows, theirs: Ragged, floor: float) -> tuple[Rows, Rows, Scores]:
    """Return every pair (place in `chosen`, row of `theirs`, score) at or above `floor`, in order, without any table.

    At all their offsets; of `chosen` the first, as long as they take no more than _WORK comparisons, or the first four.
    """
    work = _LOOK * (len(theirs) * mine.sizes[chosen] + len(theirs.values)).cumsum()
    lefts, rights = sounding(mine), sounding(theirs)
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for at in range(max(int(np.searchsorted(work, _WORK, side="right")), min(4, len(chosen)))):
        left = lefts[chosen[at]]
        row = np.flatnonzero(np.minimum(left, rights) >= floor * HEARD * np.maximum(left, rights) * (1 - _ROUNDING))
        score = similarity(mine, np.full(len(row), chosen[at]), theirs, row, floor)
        good = score >= np.float32(floor)
        parts.append((np.full(good.sum(), at), row[good], score[good]))
    place, row, score = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return place, row, score


def sharing(mine: Ragged, chosen: Rows, theirs: Ragged, length: int, share: float) -> tuple[Rows, Rows]:
    """Return (place in `chosen`, row of `theirs`) of each row that has the middle of a chosen one, without any table.

    The middle is of `length` codes; it is there where at some offset `share` of the bits agree, and both say something
    in half of it. Of `chosen` the first, as in `neighbours`.
    """
    work = (length * len(theirs.values)) * np.arange(1, len(chosen) + 1)
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for place in range(max(int(np.searchsorted(work, _WORK, side="right")), min(4, len(chosen)))):
        start, stop = mine.offsets[chosen[place]], mine.offsets[chosen[place] + 1]
        if stop - start >= length:
            begin = start + (stop - start - length) // 2
            rows = np.flatnonzero(_holding(mine.values[begin : begin + length], theirs.offsets, theirs.values, share))
            parts.append((np.full(len(rows), place), rows))
    places, rows = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return places, rows


@njit(cache=True, nogil=True)
def _holding(window: Codes, offsets: Rows, values: Codes, share: float) -> npt.NDArray[np.bool_]:
    """Return which rows have a window somewhere."""
    found = np.zeros(len(offsets) - 1, np.bool_)
    for row in range(len(found)):
        for start in range(offsets[row], offsets[row + 1] - len(window) + 1):
            if _agrees(window, values[start : start + len(window)], share):
                found[row] = True
                break
    return found


@njit(cache=True, nogil=True)
def _agrees(a: Codes, b: Codes, share: float) -> bool:
    """Whether a share of the bits agree where both say something, which is in half of their codes or more."""
    bits, both, differ = 8 * a.itemsize, 0, 0
    allowed = (1 - share) * bits * len(a)
    for i in range(len(a)):
        x, y = np.uint64(a[i]), np.uint64(b[i])
        if x != 0 and y != 0:
            both += 1
            differ += popcount(x ^ y)
            if differ > allowed:
                return False
    return bool(2 * both >= len(a) and differ <= (1 - share) * bits * both)


def sounding(codes: Ragged) -> Rows:
    """Return how many codes of each row say something, shape (n,)."""
    counts = np.zeros(len(codes), np.int64)
    _count(codes.offsets, codes.values, counts)
    return counts


@njit(cache=True, nogil=True)
def _count(offsets: Rows, values: Codes, counts: Rows) -> None:
    for row in range(len(counts)):
        for k in range(offsets[row], offsets[row + 1]):
            counts[row] += values[k] != 0


@njit(cache=True, nogil=True)
def _score(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    a_offsets: Rows,
    a_values: Codes,
    lefts: Rows,
    ai: Rows,
    b_offsets: Rows,
    b_values: Codes,
    rights: Rows,
    bi: Rows,
    at_least: float,
    scores: Scores,
) -> None:
    for k in range(len(ai)):
        a = a_values[a_offsets[ai[k]] : a_offsets[ai[k] + 1]]
        b = b_values[b_offsets[bi[k]] : b_offsets[bi[k] + 1]]
        scores[k] = _best(a, b, lefts[ai[k]], rights[bi[k]], at_least)


@njit(cache=True, nogil=True)
def _best(a: Codes, b: Codes, left: int, right: int, at_least: float) -> float:
    """Return the highest score of any offset; those that can't reach `at_least`, or the best so far, are left out."""
    best, reach = 0.0, at_least * (1 - _ROUNDING)
    for offset in range(1 - len(a), len(b)):
        most = min(len(a), len(b) - offset) - max(0, -offset)
        wanted = max(best, reach) * HEARD * max(left, right)
        if min(most, left, right) >= wanted and most:
            best = max(best, score_at(a, b, offset, left, right))
    return best


@njit(cache=True, nogil=True)
def score_at(a: Codes, b: Codes, offset: int, left: int, right: int) -> float:
    """Return the score at an offset, code i of `a` being beside code i + offset of `b`, or 0 where they are unlike.

    `left` and `right` are the numbers of their codes that say something.
    """
    start, stop = max(0, -offset), min(len(a), len(b) - offset)
    if stop - start > _LONG and _unlike(a, b, offset, start, stop):
        return 0.0
    bits, agreed, alone_a, alone_b = 8 * a.itemsize, 0, 0, 0
    for i in range(start, stop):
        x, y = np.uint64(a[i]), np.uint64(b[i + offset])
        if x != 0 and y != 0:
            agreed += bits - popcount(x ^ y)
        else:
            alone_a += x != 0
            alone_b += y != 0
    heard = max(left - alone_a, right - alone_b, HEARD * max(left, right))
    return agreed / (bits * heard) if heard else 0.0


@njit(cache=True, nogil=True)
def _unlike(a: Codes, b: Codes, offset: int, start: int, stop: int) -> bool:
    """Whether codes at even distances differ in too many bits for a look at all of them."""
    bits, both, differ = 8 * a.itemsize, 0, 0
    for k in range(_LOOK):
        i = start + k * (stop - start) // _LOOK
        x, y = np.uint64(a[i]), np.uint64(b[i + offset])
        if x != 0 and y != 0:
            both += 1
            differ += popcount(x ^ y)
    return bool(2 * both >= _LOOK and differ > _UNLIKE * bits * both)


@njit(cache=True, nogil=True)
def popcount(word: np.uint64) -> np.int64:
    """Return how many bits are set: a form that LLVM knows for the processor's own instruction."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))
