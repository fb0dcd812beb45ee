"""Exact Jaccard: of pairs against Python's sets, and of a sample with everything against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.fingerprint.text import Sets
from dedupver.index.sets import Postings, jaccard, neighbours

COUPLES = st.lists(st.tuples(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), max_size=20)
SOME = st.lists(st.sets(st.integers(0, 9)), max_size=12)


def as_sets(sets: list[set[int]]) -> Sets:
    """Return python sets in CSR form; values are spread over all 32 bits."""
    values = [v for s in sets for v in sorted(s)]
    return Sets(np.cumsum([0, *map(len, sets)]), np.array(values, np.uint32) * np.uint32(400_000_000))


def similar(a: set[int], b: set[int]) -> np.float32:
    """Return the Jaccard similarity of two sets; 0 for two empty ones."""
    return np.float32(len(a & b) / len(a | b) if a | b else 0)


@settings(deadline=None)
@given(COUPLES)
def test_jaccard_equals_python_sets(couples: list[tuple[set[int], set[int]]]) -> None:
    """|A ∩ B| / |A ∪ B| of every couple; 0 for two empty sets."""
    rows = np.arange(len(couples))
    got = jaccard(as_sets([a for a, _ in couples]), rows, as_sets([b for _, b in couples]), rows)
    assert got.dtype == np.float32
    assert got.tolist() == [similar(a, b) for a, b in couples]


@settings(deadline=None)
@given(COUPLES, st.sampled_from([0.3, 1 / 3, 0.5, 0.6, 2 / 3, 0.8, 1.0]))
def test_a_score_below_a_threshold_may_be_0(couples: list[tuple[set[int], set[int]]], at_least: float) -> None:
    """What reaches the threshold, if only just, is exact; what does not is exact or 0."""
    rows = np.arange(len(couples))
    got = jaccard(as_sets([a for a, _ in couples]), rows, as_sets([b for _, b in couples]), rows, at_least)
    for (a, b), score in zip(couples, got.tolist(), strict=True):
        exact = similar(a, b)
        assert score == exact or (score == 0 and exact < np.float32(at_least))


def test_jaccard_takes_rows_in_any_order() -> None:
    """{1, 2, 3} with {2, 3, 4} is 2 of 4; with itself 1."""
    sets = as_sets([{1, 2, 3}, {2, 3, 4}])
    assert jaccard(sets, np.array([1, 0]), sets, np.array([0, 0])).tolist() == [0.5, 1.0]


def test_many_pairs_are_scored_as_few_are() -> None:
    """Twenty thousand pairs, which several threads share, and the same ones by a thousand."""
    random = np.random.default_rng(1)
    sets = as_sets([set(random.integers(0, 10, 6).tolist()) for _ in range(50)])
    left, right = random.integers(0, 50, (2, 20_000))
    few = [jaccard(sets, left[i : i + 1000], sets, right[i : i + 1000]) for i in range(0, 20_000, 1000)]
    assert jaccard(sets, left, sets, right).tolist() == np.concatenate(few).tolist()


@settings(deadline=None)
@given(SOME, SOME, st.sampled_from([0.1, 0.5, 1.0]), st.integers(1, 5))
def test_neighbours_are_all_pairs_at_the_floor(a: list[set[int]], b: list[set[int]], floor: float, cap: int) -> None:
    """Of every second set with all others, in order, the first `cap` of each; none with itself among the same sets."""
    chosen = np.arange(0, len(a), 2)
    for others, same in ((b, False), (a, True)):
        want = []
        for place, row in enumerate(chosen):
            near = [(place, j, similar(a[row], s)) for j, s in enumerate(others) if not (same and j == row)]
            want += [pair for pair in near if pair[2] >= np.float32(floor)][:cap]
        got = neighbours(Postings.of(as_sets(a), chosen), as_sets(others), floor, cap, chosen if same else None)
        assert list(zip(*(part.tolist() for part in got), strict=True)) == want


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_neighbours_of_sets_without_a_common_value_are_none(count: int) -> None:
    """However many values there are to look up."""
    own = np.arange(count)
    sets = Sets(np.arange(count + 1), np.arange(count, dtype=np.uint32) * np.uint32(800_000))
    assert [len(part) for part in neighbours(Postings.of(sets, own), sets, 0.5, 9, own)] == [0, 0, 0]
