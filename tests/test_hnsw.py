"""The vector graph: its bytes, its recall on real embeddings, what it refuses."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pytest
import wordllama
from safetensors.numpy import load_file

from dedupver.index import hnsw
from dedupver.schema import DedupverError, IntegrityError

Vectors = npt.NDArray[np.float32]

BUILD = """
import sys, faiss, numpy as np
from pathlib import Path
from dedupver.index import hnsw
faiss.omp_set_num_threads(int(sys.argv[3]))
hnsw.build(Path(sys.argv[2]), np.load(sys.argv[1]), 16, 100, 3)
"""


@pytest.fixture(scope="module")
def embeddings() -> Vectors:
    """Return 5,000 unit vectors of wordllama's table of tokens."""
    file = Path(wordllama.__file__).parent / "weights" / "l2_supercat_256.safetensors"
    everything = load_file(file)["embedding.weight"]
    rows = everything[np.random.default_rng(0).choice(len(everything), 5000, replace=False)].astype(np.float32)
    return unit(rows)


def unit(vectors: Vectors) -> Vectors:
    """Return vectors of length 1."""
    made: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return made


def some(n: int, dim: int = 8, seed: int = 0) -> Vectors:
    """Return n random vectors of length 1."""
    return unit(np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32))


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recall(path: Path, vectors: Vectors, queries: Vectors) -> float:
    """Return the share of the ten nearest that the graph finds, equals being as good as each other."""
    exact = queries @ vectors.T
    tenth = np.sort(exact, axis=1)[:, -10:-9]
    rows, _ = hnsw.search(path, vectors, queries, k=10, ef=100)
    return float((np.take_along_axis(exact, rows, axis=1) >= tenth - 1e-5).mean())


def test_recall_on_real_embeddings_is_at_least_99_percent(tmp_path: Path, embeddings: Vectors) -> None:
    """At k = 10 with m = 16, ef_construction = 200 and ef = 100, against brute force (measured: 0.998)."""
    hnsw.build(tmp_path / "graph", embeddings, m=16, ef_construction=200, seed=7)
    assert recall(tmp_path / "graph", embeddings, embeddings[:1000]) >= 0.99


@pytest.mark.parametrize(("count", "spread"), [(3000, 0.0), (3000, 0.045), (15_000, 0.045)])
def test_many_near_copies_do_not_hide_the_others(
    tmp_path: Path, embeddings: Vectors, count: int, spread: float
) -> None:
    """Copies of one vector among 5,000 others, equal or of cosine .998 (measured: .99, .99, .95)."""
    copies = unit(embeddings[:1] + spread * some(count, embeddings.shape[1], 5))
    crowded = np.concatenate([embeddings, copies])[np.random.default_rng(0).permutation(5000 + count)]
    hnsw.build(tmp_path / "graph", crowded, m=32, ef_construction=200, seed=7)
    assert recall(tmp_path / "graph", crowded, embeddings[1:500]) >= 0.9


def test_the_same_vectors_give_the_same_bytes(tmp_path: Path, embeddings: Vectors) -> None:
    """In this process, in others, on one thread and on several; a file holds the links and no vector."""
    np.save(tmp_path / "vectors.npy", embeddings)
    hnsw.build(tmp_path / "a", embeddings, 16, 100, 3)
    for name, threads in (("b", "1"), ("c", "2"), ("d", "5")):
        names = [str(tmp_path / name) for name in ("vectors.npy", name)]
        subprocess.run([sys.executable, "-c", BUILD, *names, threads], check=True)
    assert len({digest(tmp_path / name) for name in "abcd"}) == 1
    assert (tmp_path / "a").stat().st_size < embeddings.nbytes / 5


def test_another_seed_gives_another_graph(tmp_path: Path) -> None:
    """The seed decides on which levels a vector is."""
    for seed in (1, 2):
        hnsw.build(tmp_path / str(seed), some(500), 16, 100, seed)
    assert digest(tmp_path / "1") != digest(tmp_path / "2")


def test_searches_do_not_depend_on_threads(tmp_path: Path, embeddings: Vectors) -> None:
    """A search on one thread equals a search on all, ties included."""
    doubled = np.concatenate([embeddings[:1000], embeddings[:1000]])
    hnsw.build(tmp_path / "graph", doubled, 16, 100, 3)
    threads = faiss.omp_get_max_threads()
    found = []
    try:
        for count in (1, 4):
            faiss.omp_set_num_threads(count)
            found.append(hnsw.search(tmp_path / "graph", doubled, embeddings, 20, 50))
    finally:
        faiss.omp_set_num_threads(threads)
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def test_search_by_hand(tmp_path: Path) -> None:
    """The query (1, 1) is nearest to its own direction, cosine 1, then to (0, 1), cosine 1/√2."""
    vectors = unit(np.array([[-1, 0], [0, 1], [2, 2]], np.float32))
    hnsw.build(tmp_path / "graph", vectors, 16, 100, 3)
    rows, scores = hnsw.search(tmp_path / "graph", vectors, unit(np.array([[1, 1]], np.float32)), k=2, ef=10)
    assert rows.tolist() == [[2, 1]]
    assert scores[0] == pytest.approx([1, 1 / math.sqrt(2)], abs=1e-6)


@pytest.mark.parametrize(("n", "q"), [(0, 3), (3, 0), (3, 3)])
def test_no_more_neighbours_than_vectors(tmp_path: Path, n: int, q: int) -> None:
    """Columns are min(k, n), for an empty graph and for no queries too."""
    hnsw.build(tmp_path / "graph", some(n), 16, 100, 3)
    rows, scores = hnsw.search(tmp_path / "graph", some(n), some(q), k=10, ef=5)
    assert rows.shape == scores.shape == (q, n)
    assert all(sorted(row) == list(range(n)) for row in rows.tolist())


def test_places_that_a_search_could_not_fill_are_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row -1 and cosine 0 where the graph reaches fewer than asked; the others lose nothing."""
    answer = np.array([[0.5, 0.25], [1.5, -3e38]], np.float32), np.array([[1, 0], [2, -1]], np.int64)
    hnsw.build(tmp_path / "graph", some(3), 16, 100, 3)
    monkeypatch.setattr(faiss.IndexHNSWFlat, "search", lambda *_: answer)
    rows, scores = hnsw.search(tmp_path / "graph", some(3), some(2), 2, 10)
    assert rows.tolist() == [[1, 0], [2, -1]]
    assert scores.tolist() == [[0.5, 0.25], [1, 0]]


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
        hnsw.search(tmp_path / "graph", some(4), vectors, 1, 10)


@pytest.mark.parametrize("vectors", [some(4, 7), some(4, 16), some(5, 8)])
def test_a_graph_of_other_vectors_is_refused(tmp_path: Path, vectors: Vectors) -> None:
    """Of another dimension or another number."""
    hnsw.build(tmp_path / "graph", some(4), 16, 100, 3)
    with pytest.raises(IntegrityError, match="no graph of vectors of shape"):
        hnsw.search(tmp_path / "graph", vectors, vectors[:1], 1, 10)


@pytest.mark.parametrize("data", [b"", b"\0" * 20, b"IHNf", b"IxFI" + b"\0" * 64])
def test_what_is_no_graph_is_refused(tmp_path: Path, data: bytes) -> None:
    """An error names the file."""
    (tmp_path / "graph").write_bytes(data)
    with pytest.raises(IntegrityError, match="graph is no graph"):
        hnsw.search(tmp_path / "graph", some(4), some(1), 1, 10)
