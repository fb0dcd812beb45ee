"""Precision and recall from labels: against scipy's exact intervals, by hand, and how often intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from dedupver.review import estimate, strata
from dedupver.review.estimate import Strata


def of(*rows: tuple[int, float, int, int]) -> Strata:
    """Return strata of (band, size, labelled, same)."""
    return Strata(*(np.array(column) for column in zip(*rows, strict=True)))


@pytest.mark.parametrize(("same", "labelled"), [(0, 12), (7, 40), (40, 40), (199, 200)])
def test_one_stratum_is_a_binomial_share(same: int, labelled: int) -> None:
    """Of a large stratum the interval is Clopper and Pearson's."""
    found = estimate.share(of((0, 1e9, labelled, same)))
    exact = binomtest(same, labelled).proportion_ci(method="exact")
    assert found.value == same / labelled
    spread = labelled if same in {0, labelled} else labelled - 1  # the sample's own variance
    assert found.labels == pytest.approx(spread)
    if same in {0, labelled}:
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    else:
        assert found.low <= exact.low
        assert found.high >= exact.high


def test_strata_count_by_their_size() -> None:
    """By hand: 100 pairs of which half are true, and 300 of which all are: 350 of 400."""
    whole = of((0, 100, 10, 5), (1, 300, 10, 10))
    rows = estimate.table([0.6, 0.8], whole)
    assert [row.precision.value for row in rows] == [0.875, 1.0]
    assert [row.recall.value for row in rows] == [1.0, pytest.approx(300 / 350)]
    assert [row.pairs for row in rows] == [400, 300]
    assert [row.labels for row in rows] == [20, 10]
    assert rows[1].precision.low < 0.75  # ten labels say no more


def test_what_is_labelled_as_a_whole_is_known() -> None:
    """No interval is left where every pair has its label."""
    rows = estimate.table([0.6, 0.8], of((0, 4, 4, 1), (1, 6, 6, 5)))
    assert rows[0].precision[:3] == pytest.approx((0.6, 0.6, 0.6))
    assert rows[1].precision[:3] == pytest.approx((5 / 6, 5 / 6, 5 / 6))
    assert rows[1].recall[:3] == pytest.approx((5 / 6, 5 / 6, 5 / 6))


def test_a_stratum_without_labels_may_be_anything() -> None:
    """It widens the interval by its share; where nothing is labelled nothing is known."""
    known, half = estimate.share(of((0, 100, 50, 25))), estimate.share(of((0, 100, 50, 25), (1, 100, 0, 0)))
    assert half.low == pytest.approx(known.low / 2)
    assert half.high == pytest.approx(known.high / 2 + 0.5)
    assert estimate.share(of((0, 100, 0, 0)))[:3] == (None, 0, 1)
    rows = estimate.table([0.6, 0.8], of((0, 100, 0, 0), (1, 100, 50, 50)))
    assert rows[1].recall.value is None
    assert rows[1].recall.low <= 0.5


@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 30), st.floats(0, 1)).filter(lambda t: t[0] >= t[1]), min_size=1
    )
)
@example([(2, 1, 0.0), (1, 0, 0.0)])
def test_an_estimate_is_within_its_interval(drawn: list[tuple[int, int, float]]) -> None:
    """Whatever the strata: 0 ≤ low ≤ value ≤ high ≤ 1; and all true pairs are at or above the floor."""
    whole = of(*((band, n, m, round(m * p)) for band, (n, m, p) in enumerate(drawn)))
    rows = estimate.table([band / len(drawn) for band in range(len(drawn))], whole)
    for row in rows:
        for share in (row.precision, row.recall):
            value, low, high = share.known
            assert 0 <= low <= value + 1e-9
            assert value - 1e-9 <= high <= 1 + 1e-9
        assert (estimate.missing(row, 0.99) or 0) >= 0
    assert rows[0].recall.high == 1


def _labelled(size: np.ndarray, truth: np.ndarray, rng: np.random.Generator, labels: int, rounds: int) -> Strata:
    """Draw labels as `Drawing.next` does, each round in the light of the one before."""
    band = np.arange(len(size))
    pairs = [rng.permutation(np.arange(n) < k) for n, k in zip(size, truth, strict=True)]
    labelled = same = np.zeros(len(size), np.int64)
    for _ in range(rounds):
        chosen = strata.allocate(
            band, size.astype(float), labelled, same, size - labelled, present=8, count=labels // rounds
        )
        labelled = labelled + np.bincount(chosen, minlength=len(size))
        same = np.array([each[:n].sum() for each, n in zip(pairs, labelled, strict=True)])
    return Strata(band, size.astype(float), labelled, same)


CASES = {
    "as many everywhere": (np.full(16, 1500), 1 / (1 + np.exp(-np.linspace(-3, 4, 16)))),
    "most are false": (
        (40_000 * np.exp(-np.arange(16) / 2)).astype(int) + 50,
        1 / (1 + np.exp(-np.linspace(-3, 4, 16))),
    ),
    "few false": (np.full(16, 1000), np.r_[0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.97, 0.98, np.full(8, 0.996)]),
    "few pairs": (np.full(16, 25), 1 / (1 + np.exp(-np.linspace(-3, 4, 16)))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rounds", [1, 2])
def test_intervals_hold_the_truth_as_often_as_they_say(case: str, rounds: int) -> None:
    """Over 250 drawings each interval of 95 % holds the truth in 91.5 % and more: 95 % less 2.5 standard errors."""
    size, chance = CASES[case]
    truth = np.round(size * chance).astype(int)
    precision = truth[::-1].cumsum()[::-1] / size[::-1].cumsum()[::-1]
    recall = truth[::-1].cumsum()[::-1] / truth.sum()
    held, wrong = np.zeros((16, 2)), 0
    edges = strata.edges(0.6)
    for seed in range(250):
        rows = estimate.table(edges, _labelled(size, truth, np.random.default_rng(seed), 300, rounds))
        for at, row in enumerate(rows):
            pair = ((precision[at], row.precision), (recall[at], row.recall))
            held[at] += [share.low - 1e-9 <= true <= share.high + 1e-9 for true, share in pair]
        row = estimate.propose(rows, 0.9)
        wrong += row is not None and precision[edges.index(row.threshold)] < 0.9
    assert (held / 250).min() >= 0.915
    assert wrong / 250 <= 0.05  # one side of the interval, and many thresholds to choose from


def test_the_proposal_is_the_lowest_threshold_whose_bound_reaches_the_wish() -> None:
    """And no lower one whose bound does by chance, above which an estimate fails the wish."""
    rows = estimate.table([0.6, 0.7, 0.8], of((0, 1e4, 400, 100), (1, 1e4, 400, 396), (2, 1e4, 400, 400)))
    assert estimate.propose(rows, 0.98).threshold == 0.7
    assert estimate.propose(rows, 0.99).threshold == 0.8
    assert estimate.propose(rows, 0.999) is None
    more = estimate.missing(rows[2], 0.999)
    enough = 400 + more
    assert estimate.clopper_pearson(1, enough)[0] >= 0.999 > estimate.clopper_pearson(1, enough * 0.98)[0]
    assert estimate.missing(rows[0], 0.99) is None  # more labels would say the same


@given(st.floats(0, 0.99))
def test_bands_begin_at_the_floor_and_go_on_in_round_steps(floor: float) -> None:
    """At most 18 of them, ascending, none beyond 1; scores fall between the edges that thresholds would."""
    edges = strata.edges(floor)
    assert edges[0] == floor
    assert edges == sorted(set(edges))
    assert edges[-1] < 1
    assert len(edges) <= strata.MOST_BANDS + 2
    scores = np.array([*edges, 1.0], np.float32)
    assert strata.band_of(scores, edges).tolist() == [*range(len(edges)), len(edges) - 1]


def test_the_edges_of_the_defaults() -> None:
    """Thresholds that people set are edges."""
    assert strata.edges(0.6) == pytest.approx([0.6 + n / 40 for n in range(16)])
    assert strata.edges(0.9) == pytest.approx([0.9 + n / 100 for n in range(10)])
    assert strata.edges(1.0) == [1.0]


def test_random_numbers_are_those_of_the_pair_and_even() -> None:
    """Whichever way round, wherever in the list; and spread evenly over 64 bits."""
    ids = [f"record {n}" for n in range(300)]
    left, right = np.triu_indices(300, 1)
    numbers = strata.permanent(ids, left, right, 7)
    assert (numbers == strata.permanent(ids, right, left, 7)).all()
    assert (numbers != strata.permanent(ids, left, right, 8)).all()
    turned = strata.permanent(ids[::-1], 299 - left, 299 - right, 7)
    assert (numbers == turned).all()
    shares = np.bincount((numbers >> np.uint64(60)).astype(int), minlength=16) / len(numbers)
    assert np.abs(shares - 1 / 16).max() < 5 * math.sqrt(15 / 256 / len(numbers))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=20), st.integers(1, 200))
def test_every_stratum_gets_labels_before_any_gets_many(room: list[int], count: int) -> None:
    """No more than it has; all have LEAST, or all that they have, where that is possible."""
    size = np.array(room, float)
    none = np.zeros(len(room), np.int64)
    chosen = strata.allocate(np.arange(len(room)), size, none, none, np.array(room), present=3, count=count)
    taken = np.bincount(np.array(chosen, np.int64), minlength=len(room))
    assert len(chosen) == min(count, sum(room))
    assert (taken <= room).all()
    if count >= strata.LEAST * len(room):
        assert (taken >= np.minimum(room, strata.LEAST)).all()


def test_labels_go_where_the_doubt_is() -> None:
    """A stratum of which all labels agree gets fewer than one, as large, of which they do not."""
    labelled, same = np.array([20, 20]), np.array([20, 10])
    chosen = strata.allocate(np.arange(2), np.full(2, 1e3), labelled, same, np.full(2, 900), present=0, count=40)
    assert chosen[0] == 1
    assert chosen.count(1) > 2 * chosen.count(0)
