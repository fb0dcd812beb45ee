"""Bit codes (perceptual hashes): every pair within a Hamming radius, by an exact compiled scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, prange, types
from numba.extending import intrinsic

Codes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BLOCK: Final = 64  # queries a thread takes at a time ...
_TILE: Final = 2048  # ... through codes that fit a core's fastest cache


@dataclass(frozen=True, eq=False)
class Scan:
    """Pairs of a query row and a code row, sorted, and the rows whose pairs are not all listed."""

    left: Rows  # (m,), query row
    right: Rows  # (m,), code row
    distance: npt.NDArray[np.int32]  # (m,), bits
    hot_queries: Mask  # (q,), has more neighbours than the cap
    hot_codes: Mask  # (n,), is a neighbour of a hot query


def scan(queries: Codes, codes: Codes, radius: int, cap: int, *, triangle: bool = False) -> Scan:
    """Return the pairs of a query and a code that differ in at most `radius` bits, exactly.

    `queries` has shape (q, words), `codes` (n, words). A query of more than `cap` neighbours lists the first `cap` by
    code row; it is marked hot, and so is each of its neighbours: any pair that is not listed has both ends marked. With
    `triangle` the queries are the codes, and only pairs of a row and a smaller row count. Time is q · n · words; memory
    is that of the pairs listed.
    """
    by_word = np.ascontiguousarray(codes.T)  # tiles of one word at a time become vector instructions
    queries = np.ascontiguousarray(queries)
    found = np.zeros(len(queries), np.int64)
    _count_all(queries, by_word, radius, triangle, found)
    bounds = np.concatenate([[0], np.cumsum(np.minimum(found, cap))])
    right, distance = np.empty(bounds[-1], np.int64), np.empty(bounds[-1], np.int32)
    hot_codes = np.zeros(len(codes), np.bool_)
    _fill_all(queries, by_word, radius, triangle, found, bounds, right, distance, hot_codes)
    left = np.repeat(np.arange(len(queries)), np.diff(bounds))
    return Scan(left, right, distance, found > cap, hot_codes)


def hamming(a: Codes, b: Codes) -> npt.NDArray[np.int32]:
    """Return in how many bits row i of `a` and row i of `b` differ, shape (m,), for shapes (m, words)."""
    bits: npt.NDArray[np.int32] = np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int32)
    return bits


def _ctpop(_context: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(word), generate


_popcount: Any = intrinsic(_ctpop)  # LLVM's own population count, which becomes the machine's best instructions


@njit(cache=True, nogil=True, parallel=True)
def _count_all(queries: Codes, by_word: Codes, radius: int, triangle: bool, found: Rows) -> None:
    n, limit = by_word.shape[1], np.uint64(radius)
    for block in prange((len(queries) + _BLOCK - 1) // _BLOCK):
        scratch = np.empty(_TILE, np.uint64)
        first = block * _BLOCK
        last = min(len(queries), first + _BLOCK)
        stop = first if triangle else n
        for start in range(0, stop, _TILE):
            _count_tile(queries, first, last, by_word, start, min(start + _TILE, stop), limit, scratch, found)
        if triangle:  # what is left: the block against itself
            for i in range(first, last):
                found[i] += _count(queries[i], by_word, first, i, limit, scratch)


@njit(cache=True, nogil=True, parallel=True)
def _fill_all(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    queries: Codes,
    by_word: Codes,
    radius: int,
    triangle: bool,
    found: Rows,
    bounds: Rows,
    right: Rows,
    distance: npt.NDArray[np.int32],
    hot_codes: Mask,
) -> None:
    n = by_word.shape[1]
    for i in prange(len(queries)):
        if found[i]:
            scratch = np.empty(_TILE, np.uint64)
            at, seen, stop = bounds[i], 0, i if triangle else n
            for start in range(0, stop, _TILE):
                end = min(start + _TILE, stop)
                here = _count(queries[i], by_word, start, end, np.uint64(radius), scratch)
                if here:
                    at = _list(queries[i], by_word, start, end, radius, at, bounds[i + 1], right, distance)
                    if found[i] > bounds[i + 1] - bounds[i]:
                        _mark(queries[i], by_word, start, end, radius, hot_codes)
                    seen += int(here)
                    if seen == found[i]:
                        break


@njit(cache=True, nogil=True)
def _count_tile(  # noqa: PLR0913, PLR0917
    queries: Codes,
    first: int,
    last: int,
    by_word: Codes,
    start: int,
    end: int,
    radius: np.uint64,
    scratch: Codes,
    found: Rows,
) -> None:
    i = first
    if by_word.shape[0] == 1:
        while i + 4 <= last:  # a code that was loaded serves four queries: 1.7 times as fast
            _count_four(queries[i : i + 4, 0], by_word[0], start, end, radius, found[i : i + 4])
            i += 4
    while i < last:
        found[i] += _count(queries[i], by_word, start, end, radius, scratch)
        i += 1


@njit(cache=True, nogil=True)
def _count_four(  # noqa: PLR0913, PLR0917
    query: Codes, codes: Codes, start: int, end: int, radius: np.uint64, found: Rows
) -> None:
    a = b = c = d = np.uint64(0)
    p, q, r, s = query[0], query[1], query[2], query[3]
    for j in range(start, end):
        code = codes[j]
        a += np.uint64(_popcount(p ^ code) <= radius)
        b += np.uint64(_popcount(q ^ code) <= radius)
        c += np.uint64(_popcount(r ^ code) <= radius)
        d += np.uint64(_popcount(s ^ code) <= radius)
    found[0] += np.int64(a)
    found[1] += np.int64(b)
    found[2] += np.int64(c)
    found[3] += np.int64(d)


@njit(cache=True, nogil=True)
def _count(  # noqa: PLR0913, PLR0917
    query: Codes, by_word: Codes, start: int, end: int, radius: np.uint64, scratch: Codes
) -> np.int64:
    """Count the codes of a tile within the radius, without a branch in the innermost loop."""
    near = np.uint64(0)
    if len(query) == 1:
        word, codes = query[0], by_word[0, start:end]
        for j in range(len(codes)):
            near += np.uint64(_popcount(word ^ codes[j]) <= radius)
        return np.int64(near)
    total = scratch[: end - start]
    total[:] = 0
    for k in range(len(query)):
        word, codes = query[k], by_word[k, start:end]
        for j in range(len(total)):
            total[j] += _popcount(word ^ codes[j])
    for distance in total:
        near += np.uint64(distance <= radius)
    return np.int64(near)


@njit(cache=True, nogil=True)
def _distance(query: Codes, by_word: Codes, row: int) -> np.int64:
    bits = np.uint64(0)
    for k in range(len(query)):
        bits += _popcount(query[k] ^ by_word[k, row])
    return np.int64(bits)


@njit(cache=True, nogil=True)
def _list(  # noqa: PLR0913, PLR0917
    query: Codes,
    by_word: Codes,
    start: int,
    end: int,
    radius: int,
    at: int,
    stop: int,
    right: Rows,
    distance: npt.NDArray[np.int32],
) -> int:
    """Write the tile's neighbours from place `at` on, up to `stop`; return the place after the last."""
    for row in range(start, end):
        if at == stop:
            break
        bits = _distance(query, by_word, row)
        if bits <= radius:
            right[at], distance[at] = row, bits
            at += 1
    return at


@njit(cache=True, nogil=True)
def _mark(  # noqa: PLR0913, PLR0917
    query: Codes, by_word: Codes, start: int, end: int, radius: int, hot_codes: Mask
) -> None:
    # several threads may mark one row, all with the same value
    for row in range(start, end):
        if not hot_codes[row] and _distance(query, by_word, row) <= radius:
            hot_codes[row] = True
