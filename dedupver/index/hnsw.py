"""Vectors: a persisted HNSW graph for approximate neighbours, exact cosine to verify them, exact search to measure it.

Source of the graph: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs", 2018, as hnswlib implements it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import hnswlib
import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads
from dedupver.schema import DedupverError, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

_HEADER: Final = 48  # bytes: six 64-bit numbers, of which the fifth and the last bound a vector
_BLOCK: Final = 1024  # rows of a block of the exact search: 4 MiB of products
_PAIRS: Final = 1 << 13  # pairs that a thread scores at a time
_NUDGE: Final = 1e-4  # many equal vectors link to each other alone, an island that traps searches for all others
_SLACK: Final = 1e-3  # more than float32 products of unit vectors can be wrong by


def build(path: Path, vectors: Vectors, m: int, ef_construction: int, seed: int) -> None:
    """Write the graph of the rows of `vectors`, shape (n, dim), to `path`; equal input gives equal bytes.

    One thread inserts the rows in order: on more, links depend on timing. The graph holds each vector with its
    coordinates nudged by up to 1 in 10,000, which no threshold notices and which keeps equal vectors from forming an
    island. `m` is the number of links a node, `ef_construction` the width of the search for them. DedupverError names
    the first row that is not finite or is zero.
    """
    _require_directions(vectors)
    index = hnswlib.Index(space="cosine", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=m, ef_construction=ef_construction, random_seed=seed)
    random = np.random.RandomState(seed)  # the one generator whose stream numpy froze
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        told_apart = block * random.uniform(1 - _NUDGE, 1 + _NUDGE, block.shape).astype(np.float32)
        index.add_items(told_apart, np.arange(start, start + len(block)), num_threads=1)
    index.save_index(str(path))


def search(path: Path, dim: int, queries: Vectors, k: int, ef: int) -> tuple[Rows, Scores]:
    """Return the rows and the cosines of each query's nearest vectors, best first, shapes (q, min(k, n)).

    `ef` is the width of the search, k at least. Approximate: verify with `cosine`. Where the graph reaches fewer, the
    rest is row -1 and cosine 0. The caller must have checked the file's sha256: hnswlib reads a damaged graph without
    an error, or dies. IntegrityError for a file of another dimension; DedupverError for a query that is not finite or
    is zero.
    """
    _require_directions(queries)
    _require_dimension(path, dim)
    index = hnswlib.Index(space="cosine", dim=dim)
    index.load_index(str(path))
    k = min(k, index.get_current_count())
    rows, scores = np.full((len(queries), k), -1, np.int64), np.zeros((len(queries), k), np.float32)
    if k and len(queries):
        index.set_ef(max(ef, k))
        _query(index, queries, rows, scores)
    return rows, scores


def cosine(a: Vectors, ai: Rows, b: Vectors, bi: Rows) -> Scores:
    """Return the cosine of row `ai[i]` of `a` and row `bi[i]` of `b`, shape (m,), negative ones as 0.

    Summed in order in 64 bits, so that it is the same on every machine; 0 where a vector is zero or not finite.
    """
    scores = np.empty(len(ai), np.float32)
    a, b, ai, bi = map(np.ascontiguousarray, (a, b, ai, bi))

    def score(begin: int) -> None:
        here = slice(begin, begin + _PAIRS)
        _cosine(a, ai[here], b, bi[here], scores[here])

    if len(ai) <= _PAIRS:
        score(0)
    else:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(score, range(0, len(ai), _PAIRS)))
    return scores


def exact_neighbours(queries: Vectors, vectors: Vectors, floor: float) -> tuple[Rows, Rows, Scores]:
    """Return every pair (query row, vector row, cosine) at or above `floor`, in order, by brute force; shapes (m,).

    Blocked products of matrices propose the pairs and `cosine` decides, so the result does not depend on the machine's
    way to multiply. Time is q · n · dim: for a sample of queries.
    """
    proposed = [np.empty((0, 2), np.int64)]
    for start in range(0, len(queries), _BLOCK):
        block = _unit(queries[start : start + _BLOCK])
        for other in range(0, len(vectors), _BLOCK):
            near = np.argwhere(block @ _unit(vectors[other : other + _BLOCK]).T >= floor - _SLACK)
            proposed.append(near + np.array([start, other]))
    left, right = np.concatenate(proposed).T
    scores = cosine(queries, left, vectors, right)
    order = np.lexsort((right, left))
    order = order[scores[order] >= np.float32(floor)]
    return left[order], right[order], scores[order]


def _require_directions(vectors: Vectors) -> None:
    right = np.empty(len(vectors), np.bool_)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        right[start : start + _BLOCK] = np.isfinite(block).all(axis=1) & block.any(axis=1)
    wrong = np.flatnonzero(~right)
    if len(wrong):
        raise DedupverError(f"vector {wrong[0]} is zero or not finite ({len(wrong)} such); drop it before the index")


def _require_dimension(path: Path, dim: int) -> None:
    # hnswlib opens a graph with any dimension and then answers wrongly; a node is links, then vector, then label
    with path.open("rb") as file:
        header = np.frombuffer(file.read(_HEADER).ljust(_HEADER, b"\0"), np.uint64)
    if header[4] - header[5] != 4 * dim:
        raise IntegrityError(f"{path} is no graph of vectors of dimension {dim}; restore it with `dvc checkout`")


def _query(index: hnswlib.Index, queries: Vectors, rows: Rows, scores: Scores) -> None:
    """Fill `rows` and `scores`; queries that reach fewer vectors than asked are told apart by halving."""
    k = rows.shape[1]
    try:
        labels, distances = index.knn_query(queries, k)
    except RuntimeError:  # one query reached fewer than k, and hnswlib gives up on all
        half = len(queries) // 2
        if half:
            _query(index, queries[:half], rows[:half], scores[:half])
            _query(index, queries[half:], rows[half:], scores[half:])
        elif k > 1:
            _query(index, queries, rows[:, : k // 2], scores[:, : k // 2])
        return
    rows[:] = labels
    scores[:] = np.clip(1 - distances, 0, 1)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    unit: Vectors = vectors / lengths
    return unit


@njit(cache=True, nogil=True)
def _cosine(a: Vectors, ai: Rows, b: Vectors, bi: Rows, scores: Scores) -> None:
    for i in range(len(ai)):
        x, y = a[ai[i]], b[bi[i]]
        dot = xx = yy = 0.0
        for k in range(len(x)):
            p, q = np.float64(x[k]), np.float64(y[k])
            dot += p * q
            xx += p * p
            yy += q * q
        value = dot / np.sqrt(xx * yy) if dot > 0 else 0.0  # false for NaN as well
        scores[i] = min(value, 1.0)
