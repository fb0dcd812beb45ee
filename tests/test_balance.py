"""Proportions: exact where units are single records, and no worse than scikit-learn's where they are groups."""

from __future__ import annotations

import hashlib
from typing import Any

import airportsdata
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedGroupKFold

from dedupver.compiled import interpreted
from dedupver.split.balance import Units, balance, needed

RATIOS = np.array([0.8, 0.1, 0.1])


def units_of(label: Any, group: Any) -> tuple[Any, Any, Units]:
    """Return strata and groups by number, and the units."""
    stratum = np.unique(np.array(label), return_inverse=True)[1]
    unit = np.unique(np.array(group), return_inverse=True)[1]
    cells, records = np.unique(unit * (stratum.max() + 1) + stratum, return_counts=True)
    owner = cells // (stratum.max() + 1)
    hashes = [hashlib.blake2b(str(at).encode(), digest_size=8).digest() for at in range(unit.max() + 1)]
    rank = np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64)
    starts = np.searchsorted(owner, np.arange(unit.max() + 2))
    return stratum, unit, Units(starts, cells % (stratum.max() + 1), records, rank)


def counts_of(stratum: Any, split: Any, splits: int = 3) -> Any:
    """Return how many records of each stratum are in each split."""
    counts = np.zeros((stratum.max() + 1, splits), np.int64)
    np.add.at(counts, (stratum, split), 1)
    return counts


def off(counts: Any, ratios: Any = RATIOS) -> Any:
    """Return the deviation from the ratios by stratum and split, in records."""
    return counts - counts.sum(axis=1)[:, None] * ratios


ratios_drawn = st.lists(st.integers(1, 20), min_size=1, max_size=5).map(lambda parts: np.array(parts) / sum(parts))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), ratios_drawn)
def test_single_records_are_split_exactly(sizes: list[int], ratios: Any) -> None:
    """In every stratum each split has ratio × n, rounded down or up; and of all records it has that but for one or two."""
    sizes = [*sizes, 1]
    label = np.repeat(np.arange(len(sizes)), sizes)
    stratum, unit, units = units_of(label, np.arange(len(label)))
    split = balance(units, np.zeros((stratum.max() + 1, len(ratios)), np.int64), ratios)[unit]
    counts = counts_of(stratum, split, len(ratios))
    assert (counts.sum(axis=1) == np.bincount(stratum)).all()
    assert np.abs(off(counts, ratios)).max() < 1
    assert np.abs(counts.sum(axis=0) - len(label) * ratios).max() < 2


def test_a_thousand_strata_of_one_record_keep_the_proportions() -> None:
    """What rounding takes is handed on: else the largest split had them all."""
    _, unit, units = units_of(np.arange(1000), np.arange(1000))
    assert np.bincount(balance(units, np.zeros((1000, 3), np.int64), RATIOS)[unit]).tolist() == [800, 100, 100]


@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=3),
    st.integers(0, 80),
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
)
def test_newcomers_go_where_they_are_wanted(before: list[int], free: int, carry: list[float]) -> None:
    """All find a place; a split that has more than its share gets none; where none has, all are within one."""
    counts = np.array(before, np.float64)
    found = needed(counts, free, RATIOS, np.array(carry))
    quota = RATIOS * (counts.sum() + free)
    assert found.sum() == free
    assert (found >= 0).all()
    assert not found[counts >= np.ceil(quota)].any() or (counts <= np.ceil(quota)).all()
    if (counts <= np.floor(quota)).all():
        assert (np.abs(counts + found - quota) < 1).all()


def test_what_is_needed_by_hand() -> None:
    """10 records: 8, 1, 1; of 4 more the one that has too much gets none, and the others share 8 to 1."""
    nothing = np.zeros(3)
    assert needed(np.zeros(3), 10, RATIOS, nothing).tolist() == [8, 1, 1]
    assert needed(np.array([8.0, 1, 1]), 5, RATIOS, nothing).tolist() == [4, 1, 0]
    assert needed(np.array([0.0, 0, 10]), 9, RATIOS, nothing).tolist() == [8, 1, 0]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60))
def test_compiled_and_interpreted_place_alike(records: list[tuple[int, int]]) -> None:
    """The kernel gives what the same lines give in Python, and a unit is never divided."""
    stratum, unit, units = units_of([a for a, _ in records], [b for _, b in records])
    before = np.zeros((stratum.max() + 1, 3), np.int64)
    with interpreted(when=True):
        plain = balance(units, before, RATIOS)
    assert (balance(units, before, RATIOS) == plain).all()
    assert len(plain) == unit.max() + 1


def airports(most: int | None = None) -> list[dict[str, Any]]:
    """Return the airports of the package, of the largest countries alone if asked for."""
    rows = list(airportsdata.load("IATA").values())
    names, sizes = np.unique([row["country"] for row in rows], return_counts=True)
    largest = set(names[np.argsort(-sizes, kind="stable")[:most]])
    return [row for row in rows if row["country"] in largest]


def cases() -> dict[str, tuple[Any, Any]]:
    """Return real labels and groups."""
    digits = load_digits()
    near = KMeans(300, n_init=1, random_state=0).fit_predict(digits.data)
    few = airports(20)
    return {
        "digits, alone": (digits.target, np.arange(len(digits.target))),
        "digits, in clusters": (digits.target, near),
        "countries by region": ([r["country"] for r in few], [r["country"] + r["subd"] for r in few]),
        "countries by time zone": ([r["country"] for r in airports()], [r["tz"] for r in airports()]),
        "continents by country": ([r["tz"].partition("/")[0] for r in airports()], [r["country"] for r in airports()]),
    }


@pytest.mark.parametrize(
    "name",
    ["digits, alone", "digits, in clusters", "countries by region", "countries by time zone", "continents by country"],
)
@pytest.mark.filterwarnings("ignore")
def test_no_worse_than_scikit_learn(name: str) -> None:
    """Against StratifiedGroupKFold with ten folds, of which one each is validation and test."""
    label, group = cases()[name]
    stratum, unit, units = units_of(label, group)
    ours = off(counts_of(stratum, balance(units, np.zeros((stratum.max() + 1, 3), np.int64), RATIOS)[unit]))
    fold = np.zeros(len(stratum), np.int64)
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=0).split(np.zeros(len(stratum)), stratum, unit)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    theirs = off(counts_of(stratum, np.where(fold == 0, 1, np.where(fold == 1, 2, 0))))
    assert np.abs(ours).sum() <= np.abs(theirs).sum() + 1e-9
    assert (ours**2).sum() <= (theirs**2).sum() + 1e-9
    assert np.abs(ours).max() <= np.abs(theirs).max() + 1e-9
