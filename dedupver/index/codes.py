"""Bit codes (perceptual hashes): every pair within a Hamming radius, by an exact compiled scan."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.compiled import threads

Codes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BLOCK: Final = 4096  # queries a thread takes at a time: beside them, a tile's table costs little


class Scan(NamedTuple):
    """Pairs of a query's row and a row of what is searched, sorted, and which of those searched are beyond the cap."""

    left: Rows  # (m,)
    right: Rows  # (m,)
    beyond: Mask  # (n,)


def scan(  # noqa: PLR0913 - two sides, and what counts
    queries: Codes, codes: Codes, radius: int, cap: int, found: Rows, *, triangle: bool = False
) -> Scan:
    """Return the pairs of a query and a code that differ in at most `radius` bits, exactly.

    `queries` has shape (q, words), `codes` (n, words). `found`, shape (q,), counts the neighbours of each query that
    were met before, and goes on counting: up to `cap` they are listed, by row; those beyond are marked. With `triangle`
    the queries are the codes, and only pairs of a row and a smaller row count. Time is q · n · words; memory is that of
    the codes and of the pairs listed.
    """
    from dedupver.index import tiles  # noqa: PLC0415 - loads numba, which texts alone may not need

    queries, codes = np.ascontiguousarray(queries), np.ascontiguousarray(codes)
    planes, beyond = tiles.planes(codes), np.zeros(len(codes), np.bool_)

    def block(first: int) -> tuple[Rows, Rows]:
        some = slice(first, first + _BLOCK)
        pairs: tuple[Rows, Rows] = tiles.scan(
            queries[some], first, codes, planes, radius, cap, triangle, found[some], beyond
        )
        return pairs

    with ThreadPoolExecutor(threads()) as pool:
        parts = [(np.empty(0, np.int64),) * 2, *pool.map(block, range(0, len(queries), _BLOCK))]
    left, right = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Scan(left, right, beyond)


def hamming(a: Codes, b: Codes) -> npt.NDArray[np.int32]:
    """Return in how many bits row i of `a` and row i of `b` differ, shape (m,), for shapes (m, words)."""
    bits: npt.NDArray[np.int32] = np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int32)
    return bits


def neighbours(queries: Codes, codes: Codes, floor: float) -> tuple[Rows, Rows, npt.NDArray[np.float32]]:
    """Return every pair (query row, code row, similarity) at or above `floor`, in order, by brute force; shapes (m,).

    It shares no code with `scan`, which it measures.
    """
    left, right, scores = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for row, query in enumerate(queries):
        score = similarity(query[None], codes)
        near = np.flatnonzero(score >= np.float32(floor))
        left.append(np.full(len(near), row))
        right.append(near)
        scores.append(score[near])
    return np.concatenate(left), np.concatenate(right), np.concatenate(scores)


def similarity(a: Codes, b: Codes) -> npt.NDArray[np.float32]:
    """Return the share of bits in which row i of `a` and row i of `b` agree, shape (m,), for shapes (m, words)."""
    agreed: npt.NDArray[np.float32] = (1 - hamming(a, b) / (64 * a.shape[1])).astype(np.float32)
    return agreed


def signs(codes: Codes) -> npt.NDArray[np.float32]:
    """Return the bits of codes, shape (n, words), as ±1 in vectors of length 1, shape (n, 64 · words)."""
    bits = np.unpackbits(codes.astype("<u8").view(np.uint8), axis=1).astype(np.float32)
    return (bits * 2 - 1) / np.float32(np.sqrt(max(bits.shape[1], 1)))
