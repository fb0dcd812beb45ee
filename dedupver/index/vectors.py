"""Vectors: exact cosine, and every pair at or above a floor.

Blocked products of matrices propose pairs, as in faiss's flat index (Douze et al., "The Faiss library", 2024), and
exact cosines decide: what is found does not depend on the machine's way to multiply.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads
from dedupver.index.codes import Scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dedupver.digests import Rows

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_BLOCK: Final = 1024  # rows of a block: 4 MiB of products
_PAIRS: Final = 1 << 13  # pairs that a thread scores at a time
_QUERIES: Final = 64  # and queries whose pairs it decides
_SLACK: Final = 1e-3  # more than float32 products of unit vectors can be wrong by


def scan(  # noqa: PLR0913 - two sides, and what counts
    queries: Vectors, vectors: Vectors, floor: float, cap: int, found: Rows, *, triangle: bool = False
) -> Scan:
    """Return the pairs of a query and a vector whose cosine is at or above `floor`, exactly.

    `queries` has shape (q, dim), `vectors` (n, dim), all of length 1. `found`, shape (q,), counts the neighbours of
    each query that were met before, and goes on counting: up to `cap` they are listed, by row; those beyond are marked.
    A count above the cap may stay short of the true one. With `triangle` the queries are the vectors, and only pairs of
    a row and a smaller row count. Time is that of q · n products, memory that of blocks and of the pairs listed.
    """
    queries, vectors = np.ascontiguousarray(queries), np.ascontiguousarray(vectors)
    beyond, listed = np.zeros(len(vectors), np.bool_), [np.empty((0, 2), np.int64)]
    for start in range(0, len(queries), _BLOCK):
        block, counts = queries[start : start + _BLOCK], found[start : start + _BLOCK]
        for first, left, right in _proposed(block, vectors[: start + len(block)] if triangle else vectors, floor):
            if triangle:
                left, right = (side[first + right < start + left] for side in (left, right))  # noqa: PLW2901
            good = _decided(block, vectors[first:], (left, right), np.float32(floor), cap, counts, beyond[first:])
            listed.append(np.stack([start + left[good], first + right[good]], axis=1))
    pairs = np.concatenate(listed)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return Scan(pairs[:, 0], pairs[:, 1], beyond)


def cosine(a: Vectors, ai: Rows, b: Vectors, bi: Rows) -> Scores:
    """Return the cosine of row `ai[i]` of `a` and row `bi[i]` of `b`, shape (m,), negative ones as 0.

    Summed in order in 64 bits, so that it is the same on every machine; 0 where a vector is zero or not finite.
    """
    scores = np.empty(len(ai), np.float32)
    a, b, ai, bi = map(np.ascontiguousarray, (a, b, ai, bi))
    _shared(len(ai), _PAIRS, lambda at: _cosines(a, ai[at], b, bi[at], scores[at]))
    return scores


def neighbours(queries: Vectors, vectors: Vectors, floor: float) -> tuple[Rows, Rows, Scores]:
    """Return every pair (query row, vector row, cosine) at or above `floor`, in order, by brute force; shapes (m,).

    Time is q · n · dim: for a sample of queries.
    """
    proposed = [np.empty((0, 2), np.int64)]
    for start in range(0, len(queries), _BLOCK):
        block = _unit(queries[start : start + _BLOCK])
        for first in range(0, len(vectors), _BLOCK):
            for _, left, right in _proposed(block, _unit(vectors[first : first + _BLOCK]), floor):
                proposed.append(np.stack([start + left, first + right], axis=1))
    left, right = np.concatenate(proposed).T
    scores = cosine(queries, left, vectors, right)
    order = np.lexsort((right, left))
    order = order[scores[order] >= np.float32(floor)]
    return left[order], right[order], scores[order]


def _proposed(block: Vectors, vectors: Vectors, floor: float) -> Iterator[tuple[int, Rows, Rows]]:
    """Give (first row, rows of the block, rows after the first) of pairs that may reach the floor, in order."""
    for first in range(0, len(vectors), _BLOCK):
        products = block @ vectors[first : first + _BLOCK].T
        near = np.flatnonzero(products >= floor - _SLACK)
        if len(near):
            yield first, *np.divmod(near, products.shape[1])


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: Vectors = vectors / lengths
    return unit


def _decided(  # noqa: PLR0913, PLR0917 - as its kernel
    queries: Vectors, vectors: Vectors, pairs: tuple[Rows, Rows], floor: np.float32, cap: int, found: Rows, beyond: Mask
) -> Mask:
    """Return which of the proposed pairs, in order of queries, are to be listed; count and mark."""
    left, right = pairs
    good, starts = np.zeros(len(left), np.bool_), np.searchsorted(left, np.arange(len(queries) + 1))

    def decide(some: slice) -> None:
        _decide(queries[some], vectors, starts[some.start :], right, floor, cap, found[some], beyond, good)

    _shared(len(queries), _QUERIES if len(left) > _PAIRS else len(queries), decide)
    return good


def _shared(count: int, size: int, work: Callable[[slice], None]) -> None:
    """Do some work, `size` at a time, on several threads."""
    parts = [slice(start, start + size) for start in range(0, count, size)]
    if len(parts) == 1:
        work(parts[0])
    elif parts:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(work, parts))


@njit(cache=True, nogil=True)
def _decide(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    queries: Vectors,
    vectors: Vectors,
    starts: Rows,
    right: Rows,
    floor: np.float32,
    cap: int,
    found: Rows,
    beyond: Mask,
    good: Mask,
) -> None:
    """Count each query's neighbours among those proposed: `good` are those to be listed, `beyond` those too many.

    Once a query has too many, only vectors that no query has marked yet are looked at. Several threads may mark one,
    all with the same value.
    """
    for i in range(len(queries)):
        for k in range(starts[i], starts[i + 1]):
            row = right[k]
            if (found[i] > cap and beyond[row]) or _cosine(queries[i], vectors[row]) < floor:
                continue
            if found[i] < cap:
                good[k] = True
            else:
                beyond[row] = True
            found[i] += 1


@njit(cache=True, nogil=True)
def _cosines(a: Vectors, ai: Rows, b: Vectors, bi: Rows, scores: Scores) -> None:
    for i in range(len(ai)):
        scores[i] = _cosine(a[ai[i]], b[bi[i]])


@njit(cache=True, nogil=True)
def _cosine(x: Scores, y: Scores) -> np.float32:
    dot = xx = yy = 0.0
    for k in range(len(x)):
        p, q = np.float64(x[k]), np.float64(y[k])
        dot += p * q
        xx += p * p
        yy += q * q
    value = dot / np.sqrt(xx * yy) if dot > 0 else 0.0  # false for NaN as well
    return np.float32(min(value, 1.0))
