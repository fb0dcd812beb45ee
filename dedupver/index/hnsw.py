"""A graph of vectors for approximate neighbours, for segments too large to be compared with whole.

Source of the graph: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical
Navigable Small World graphs", 2018; built as in Dobson et al., "Scaling graph-based ANNS algorithms to billion-size
datasets", 2023, in rounds whose outcome does not depend on threads; both as faiss implements them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import faiss
import numpy as np

from dedupver.schema import DedupverError, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver.digests import Rows
    from dedupver.index.vectors import Scores, Vectors

_BLOCK: Final = 1024  # rows that are looked through at a time
_NUDGE: Final = 1e-4  # equal vectors link to each other alone, an island that traps searches for all others
_LINKS: Final = faiss.IO_FLAG_SKIP_STORAGE  # the segment holds the vectors already: links are an eighth of them


def build(path: Path, vectors: Vectors, m: int, ef_construction: int, seed: int) -> None:
    """Write the graph of the rows of `vectors`, unit vectors of shape (n, dim), to `path`; equal input, equal bytes.

    The file holds the links alone. They are made of vectors whose coordinates are nudged by up to 1 in 10,000, which no
    threshold notices and which keeps equal vectors from forming an island. `m` is the number of links a node,
    `ef_construction` the width of the search for them. DedupverError names the first row that is not finite or is zero.
    """
    _require_directions(vectors)
    graph = faiss.IndexHNSWFlat(vectors.shape[1], m, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = ef_construction
    graph.hnsw.rng = faiss.RandomGenerator(seed)
    random = np.random.RandomState(seed)  # the one generator whose stream numpy froze
    told_apart = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        told_apart[start : start + _BLOCK] = block * random.uniform(1 - _NUDGE, 1 + _NUDGE, block.shape)
    if len(vectors):
        graph.add(told_apart)
    faiss.write_index(graph, str(path), _LINKS)


def search(path: Path, vectors: Vectors, queries: Vectors, k: int, ef: int) -> tuple[Rows, Scores]:
    """Return the rows and the cosines of each query's nearest vectors, best first, shapes (q, min(k, n)).

    `vectors` are those that the graph was built of, `ef` is the width of the search, k at least. Approximate: verify
    with `vectors.cosine`. Where the graph reaches fewer, the rest is row -1 and cosine 0. The caller must have checked
    the file's sha256: a damaged graph can be read without an error. IntegrityError for a file that is no graph, or of
    other vectors; DedupverError for a query that is not finite or is zero.
    """
    _require_directions(queries)
    graph = _read(path, vectors)
    k = min(k, len(vectors))
    if not k or not len(queries):
        return np.full((len(queries), k), -1, np.int64), np.zeros((len(queries), k), np.float32)
    graph.hnsw.efSearch = max(ef, k)
    scores, rows = graph.search(np.ascontiguousarray(queries), k)
    return rows, np.where(rows < 0, np.float32(0), np.clip(scores, 0, 1))


def _read(path: Path, vectors: Vectors) -> faiss.IndexHNSWFlat:
    try:
        graph = faiss.read_index(str(path), _LINKS)
    except RuntimeError as error:
        raise IntegrityError(f"{path} is no graph; restore it with `dvc checkout`") from error
    if not isinstance(graph, faiss.IndexHNSWFlat) or (graph.ntotal, graph.d) != vectors.shape:
        raise IntegrityError(f"{path} is no graph of vectors of shape {vectors.shape}; restore it with `dvc checkout`")
    stored = faiss.IndexFlatIP(graph.d)
    stored.add(np.ascontiguousarray(vectors))
    graph.storage, graph.own_fields = stored, True
    stored.this.disown()  # the graph frees it
    return graph


def _require_directions(vectors: Vectors) -> None:
    right = np.empty(len(vectors), np.bool_)
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        right[start : start + _BLOCK] = np.isfinite(block).all(axis=1) & block.any(axis=1)
    wrong = np.flatnonzero(~right)
    if len(wrong):
        raise DedupverError(f"vector {wrong[0]} is zero or not finite ({len(wrong)} such); drop it before the index")
