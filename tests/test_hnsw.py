"""The vector graph: its bytes, its recall on real embeddings, what it refuses; exact cosine and exact search."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
import numpy.typing as npt
import pytest
import wordllama
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from dedupver.index import hnsw
from dedupver.schema import DedupverError, IntegrityError

Vectors = npt.NDArray[np.float32]

BUILD = """
import sys, numpy as np
from pathlib import Path
from dedupver.index import hnsw
hnsw.build(Path(sys.argv[2]), np.load(sys.argv[1]), 16, 100, 3)
"""


@pytest.fixture(scope="module")
def embeddings() -> Vectors:
    """Return 5,000 unit vectors of wordllama's table of tokens."""
    file = Path(wordllama.__file__).parent / "weights" / "l2_supercat_256.safetensors"
    everything = load_file(file)["embedding.weight"]
    rows = everything[np.random.default_rng(0).choice(len(everything), 5000, replace=False)].astype(np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def some(n: int, dim: int = 8, seed: int = 0) -> Vectors:
    """Return n random vectors."""
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recall(path: Path, vectors: Vectors, queries: Vectors) -> float:
    """Return the share of the ten nearest that the graph finds, equals being as good as each other."""
    exact = queries @ vectors.T
    tenth = np.sort(exact, axis=1)[:, -10:-9]
    rows, _ = hnsw.search(path, vectors.shape[1], queries, k=10, ef=100)
    return float((np.take_along_axis(exact, rows, axis=1) >= tenth - 1e-5).mean())


def test_recall_on_real_embeddings_is_at_least_99_percent(tmp_path: Path, embeddings: Vectors) -> None:
    """At k = 10 with m = 16, ef_construction = 200 and ef = 100, against brute force (measured: 0.996)."""
    hnsw.build(tmp_path / "graph", embeddings, m=16, ef_construction=200, seed=7)
    assert recall(tmp_path / "graph", embeddings, embeddings[:1000]) >= 0.99


def test_many_equal_vectors_do_not_hide_the_others(tmp_path: Path, embeddings: Vectors) -> None:
    """3,000 copies of one vector among 5,000 others (measured: 0.99; a graph of the bare vectors has 0.38 here)."""
    order = np.random.default_rng(0).permutation(8000)
    crowded = np.concatenate([embeddings, np.repeat(embeddings[:1], 3000, axis=0)])[order]
    hnsw.build(tmp_path / "graph", crowded, m=16, ef_construction=200, seed=7)
    assert recall(tmp_path / "graph", crowded, embeddings[1:500]) >= 0.95


def test_the_same_vectors_give_the_same_bytes(tmp_path: Path, embeddings: Vectors) -> None:
    """In this process, and in another."""
    np.save(tmp_path / "vectors.npy", embeddings[:2000])
    for name in ("a", "b"):
        hnsw.build(tmp_path / name, embeddings[:2000], 16, 100, 3)
    names = [str(tmp_path / name) for name in ("vectors.npy", "c")]
    subprocess.run([sys.executable, "-c", BUILD, *names], check=True)
    assert len({digest(tmp_path / name) for name in "abc"}) == 1


def test_searches_do_not_depend_on_threads(
    tmp_path: Path, embeddings: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search on one thread equals a search on all, ties included."""
    doubled = np.concatenate([embeddings[:1000], embeddings[:1000]])
    hnsw.build(tmp_path / "graph", doubled, 16, 100, 3)
    many = hnsw.search(tmp_path / "graph", 256, embeddings, 20, 50)

    usual = hnswlib.Index

    def single(**options: Any) -> Any:
        index = usual(**options)
        index.set_num_threads(1)
        return index

    monkeypatch.setattr(hnswlib, "Index", single)
    one = hnsw.search(tmp_path / "graph", 256, embeddings, 20, 50)
    assert np.array_equal(many[0], one[0])
    assert np.array_equal(many[1], one[1])


def test_search_by_hand(tmp_path: Path) -> None:
    """The query (1, 1) is nearest to (2, 2), cosine 1, then to (0, 1), cosine 1/√2."""
    hnsw.build(tmp_path / "graph", np.array([[-1, 0], [0, 1], [2, 2]], np.float32), 16, 100, 3)
    rows, scores = hnsw.search(tmp_path / "graph", 2, np.array([[1, 1]], np.float32), k=2, ef=10)
    assert rows.tolist() == [[2, 1]]
    assert scores[0] == pytest.approx([1, 1 / math.sqrt(2)], abs=1e-3)


@pytest.mark.parametrize(("n", "q"), [(0, 3), (3, 0), (3, 3)])
def test_no_more_neighbours_than_vectors(tmp_path: Path, n: int, q: int) -> None:
    """Columns are min(k, n), for an empty graph and for no queries too."""
    hnsw.build(tmp_path / "graph", some(n), 16, 100, 3)
    rows, scores = hnsw.search(tmp_path / "graph", 8, some(q), k=10, ef=5)
    assert rows.shape == scores.shape == (q, n)
    assert all(sorted(row) == list(range(n)) for row in rows.tolist())


class Broken:
    """An index whose vectors are cut off from each other: query 1 reaches two, the others four."""

    def knn_query(self, queries: Vectors, k: int) -> tuple[npt.NDArray[np.uint64], Vectors]:
        """Answer like hnswlib."""
        if k > 2 and (queries == 1).any():
            raise RuntimeError("Cannot return the results in a contiguous 2D array. Probably ef or M is too small")
        return np.tile(np.arange(k, dtype=np.uint64), (len(queries), 1)), np.zeros((len(queries), k), np.float32)


def test_a_query_that_reaches_too_few_is_padded_alone() -> None:
    """It has row -1 and cosine 0 in the places it could not fill; the other queries lose nothing."""
    rows, scores = np.full((3, 4), -1, np.int64), np.zeros((3, 4), np.float32)
    hnsw._query(Broken(), np.array([[0], [1], [2]], np.float32), rows, scores)
    assert rows.tolist() == [[0, 1, 2, 3], [0, 1, -1, -1], [0, 1, 2, 3]]
    assert scores.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_vectors_without_a_direction_are_refused(tmp_path: Path, value: float) -> None:
    """The error names the first such row, and nothing is written; so for queries."""
    vectors = some(4)
    vectors[2] = value
    with pytest.raises(DedupverError, match="vector 2 is zero or not finite"):
        hnsw.build(tmp_path / "graph", vectors, 16, 100, 3)
    assert list(tmp_path.iterdir()) == []
    hnsw.build(tmp_path / "graph", some(4), 16, 100, 3)
    with pytest.raises(DedupverError, match="vector 2"):
        hnsw.search(tmp_path / "graph", 8, vectors, 1, 10)


@pytest.mark.parametrize("dim", [7, 16])
def test_a_graph_of_another_dimension_is_refused(tmp_path: Path, dim: int) -> None:
    """Left to itself, hnswlib would answer, wrongly."""
    hnsw.build(tmp_path / "graph", some(4), 16, 100, 3)
    with pytest.raises(IntegrityError, match=f"no graph of vectors of dimension {dim}"):
        hnsw.search(tmp_path / "graph", dim, some(1, dim), 1, 10)


def test_a_truncated_header_is_refused(tmp_path: Path) -> None:
    """Fewer bytes than a header are no graph."""
    (tmp_path / "graph").write_bytes(b"\0" * 20)
    with pytest.raises(IntegrityError):
        hnsw.search(tmp_path / "graph", 8, some(1), 1, 10)


def test_cosine_by_hand() -> None:
    """(3, 4) with itself 1, with (4, 3) 24/25, with its opposite 0, with the zero vector and with NaN 0."""
    a = np.array([[3, 4]], np.float32)
    b = np.array([[3, 4], [4, 3], [-3, -4], [0, 0], [math.nan, 1]], np.float32)
    got = hnsw.cosine(a, np.zeros(5, np.int64), b, np.arange(5))
    assert got.tolist() == [1.0, np.float32(24 / 25), 0.0, 0.0, 0.0]


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 50))
def test_cosine_equals_numpy_and_is_symmetric(n: int, dim: int) -> None:
    """In 64 bits, within a rounding of the 32-bit result; a vector with itself is exactly 1."""
    a, b, rows = some(n, dim, 1), some(n, dim, 2), np.arange(n)
    x, y = a.astype(np.float64), b.astype(np.float64)
    want = np.clip((x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1), 0, 1)
    assert hnsw.cosine(a, rows, b, rows) == pytest.approx(want, abs=1e-7)
    assert np.array_equal(hnsw.cosine(a, rows, b, rows), hnsw.cosine(b, rows, a, rows))
    assert (hnsw.cosine(a, rows, a, rows) == 1).all()


@pytest.mark.parametrize(("q", "n"), [(3, 5), (0, 5), (3, 0), (1100, 1030)])
def test_exact_neighbours_are_all_pairs_at_the_floor(q: int, n: int) -> None:
    """Against every cosine, in order, across blocks; vectors need not be of unit length."""
    queries, vectors = 3 * some(q, 8, 1), some(n, 8, 2)
    grid = np.indices((q, n)).reshape(2, -1)
    everything = hnsw.cosine(queries, grid[0], vectors, grid[1])
    near = everything >= 0.6
    left, right, scores = hnsw.exact_neighbours(queries, vectors, 0.6)
    assert left.tolist() == grid[0][near].tolist()
    assert right.tolist() == grid[1][near].tolist()
    assert scores.tolist() == everything[near].tolist()
