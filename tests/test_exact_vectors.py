"""Exact cosine and the exact scan, against every pair."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.index import vectors

if TYPE_CHECKING:
    from dedupver.index.codes import Scan

Vectors = npt.NDArray[np.float32]

SIZES = st.integers(0, 60)


def some(n: int, dim: int = 8, seed: int = 0) -> Vectors:
    """Return n random vectors."""
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def around(n: int, seed: int) -> Vectors:
    """Return n unit vectors near one of five directions, so that neighbours are many."""
    random = np.random.default_rng(seed)
    made = some(5, 8, 0)[random.integers(0, 5, n)] + 0.4 * some(n, 8, seed)
    unit: Vectors = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit


def check(found: Scan, counts: npt.NDArray[np.int64], near: npt.NDArray[np.bool_], cap: int, met: int) -> None:
    """Compare a scan with the neighbours that all cosines say, of queries that have met some before."""
    want, beyond = [], np.zeros(near.shape[1], np.bool_)
    for query, row in enumerate(near):
        rows, room = np.flatnonzero(row), max(cap - met, 0)
        want += [(query, int(other)) for other in rows[:room]]
        beyond[rows[room:]] = True
        true = met + len(rows)
        assert counts[query] == true if true <= cap else cap < counts[query] <= true
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == want
    assert found.beyond.tolist() == beyond.tolist()


@settings(deadline=None, max_examples=60)
@given(SIZES, SIZES, st.sampled_from([1, 3, 1000]), st.sampled_from([0, 2, 4]), st.sampled_from([7, 1024]))
def test_scan_equals_brute_force(q: int, n: int, cap: int, met: int, block: int) -> None:
    """Pairs, counts and marks, for any sizes, caps and blocks, and whatever was met before."""
    queries, others = around(q, 1), around(n, 2)
    counts, grid = np.full(q, met), np.indices((q, n)).reshape(2, -1)
    near = (vectors.cosine(queries, grid[0], others, grid[1]) >= np.float32(0.8)).reshape(q, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_BLOCK", block)
        check(vectors.scan(queries, others, 0.8, cap, counts), counts, near, cap, met)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.sampled_from([1, 3, 1000]), st.sampled_from([7, 1024]))
def test_triangle_is_the_pairs_with_smaller_rows(n: int, cap: int, block: int) -> None:
    """Of a segment with itself."""
    mine, counts = around(n, 1), np.zeros(n, np.int64)
    grid = np.indices((n, n)).reshape(2, -1)
    near = (vectors.cosine(mine, grid[0], mine, grid[1]) >= np.float32(0.8)).reshape(n, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_BLOCK", block)
        check(vectors.scan(mine, mine, 0.8, cap, counts, triangle=True), counts, np.tril(near, -1), cap, 0)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread and four give equal arrays."""
    mine, found = around(2000, 1), []
    for threads in ("1", "4"):
        monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
        found.append(vectors.scan(mine, mine, 0.8, 5, np.zeros(2000, np.int64), triangle=True))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_a_large_cluster_costs_few_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3,000 equal vectors each is compared with as many as are listed, one more, and those not marked yet."""
    asked = []

    def counted(*arguments: object) -> None:
        found = arguments[6].copy()
        usual(*arguments)
        asked.append(int((arguments[6] - found).sum()))

    usual = vectors._decide
    monkeypatch.setattr(vectors, "_decide", counted)
    everything = np.repeat(around(1, 1), 3000, axis=0)
    counts = np.zeros(3000, np.int64)
    found = vectors.scan(everything, everything, 0.9, 4, counts)
    assert len(found.left) == 4 * 3000
    assert found.beyond[4:].all()
    assert sum(asked) < 3000 * 1024 * 2  # 9 million pairs; the first block of queries marks the rest


def test_cosine_by_hand() -> None:
    """(3, 4) with itself 1, with (4, 3) 24/25, with its opposite 0, with the zero vector and with NaN 0."""
    a = np.array([[3, 4]], np.float32)
    b = np.array([[3, 4], [4, 3], [-3, -4], [0, 0], [math.nan, 1]], np.float32)
    got = vectors.cosine(a, np.zeros(5, np.int64), b, np.arange(5))
    assert got.tolist() == [1.0, np.float32(24 / 25), 0.0, 0.0, 0.0]


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 50))
def test_cosine_equals_numpy_and_is_symmetric(n: int, dim: int) -> None:
    """In 64 bits, within a rounding of the 32-bit result; a vector with itself is exactly 1."""
    a, b, rows = some(n, dim, 1), some(n, dim, 2), np.arange(n)
    x, y = a.astype(np.float64), b.astype(np.float64)
    want = np.clip((x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1), 0, 1)
    assert vectors.cosine(a, rows, b, rows) == pytest.approx(want, abs=1e-7)
    assert np.array_equal(vectors.cosine(a, rows, b, rows), vectors.cosine(b, rows, a, rows))
    assert (vectors.cosine(a, rows, a, rows) == 1).all()


@pytest.mark.parametrize(("q", "n"), [(3, 5), (0, 5), (3, 0), (1100, 1030)])
def test_exact_neighbours_are_all_pairs_at_the_floor(q: int, n: int) -> None:
    """Against every cosine, in order, across blocks; vectors need not be of unit length."""
    queries, others = 3 * some(q, 8, 1), some(n, 8, 2)
    grid = np.indices((q, n)).reshape(2, -1)
    everything = vectors.cosine(queries, grid[0], others, grid[1])
    near = everything >= 0.6
    left, right, scores = vectors.neighbours(queries, others, 0.6)
    assert left.tolist() == grid[0][near].tolist()
    assert right.tolist() == grid[1][near].tolist()
    assert scores.tolist() == everything[near].tolist()
