"""How alike rows are: by hand, against plain Python, by the inverted sample; and which of them share a bucket."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fields import profile

from dedupver.fingerprint import fielded, fields
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.strings import Strings
from dedupver.index import blocks, sample
from dedupver.index.fields import Comparison, Fields, by_field, comparable, similarity
from dedupver.params import Row, RowField, RowLsh

Record = dict[str, Any]

PEOPLE = Row(
    fields={
        "born": RowField(compare="number", tolerance=10),
        "city": RowField(missing=0.25),
        "name": RowField(weight=2),
        "zip": RowField(compare="exact", weight=0.5),
    }
)
WORDS = st.sampled_from([None, "ann", "anna", "hanna", "bob", "a"])
RECORDS = st.fixed_dictionaries(
    {
        "born": st.none() | st.integers(0, 40),
        "city": WORDS,
        "name": WORDS,
        "zip": st.sampled_from([None, "1", "2"]),
    }
)


def prints(records: list[Record], settings_: Row = PEOPLE) -> Fields:
    """Return the fingerprints of records, made as `fielded` makes them."""
    sets, numbers = [], []
    for number, (name, how) in enumerate(sorted(settings_.fields.items())):
        if how.tolerance:
            numbers.append([math.nan if r[name] is None else r[name] for r in records])
        forms = Strings.of_list(str(r[name] or "").encode() for r in records)
        sets.append(fielded._sets(forms, number, how))
    found = Ragged.beside(sets)
    return Fields.of(found, np.array(numbers, np.float64).T.reshape(len(records), -1).copy())


def by_hand(a: Record, b: Record, settings_: Row = PEOPLE) -> float:
    """Return the similarity of two records by the definition, in plain Python."""
    total = weight = common = 0.0
    for name, how in settings_.fields.items():
        x, y = a[name], b[name]
        if x is None or y is None:
            if how.missing is not None and (x is None) != (y is None):
                total, weight = total + how.weight * how.missing, weight + how.weight
            continue
        if how.compare == "exact":
            alike = float(x == y)
        elif how.tolerance:
            alike = min(max(2 - abs(x - y) / how.tolerance, 0), 1)
        else:
            alike = 2 * (profile(x) & profile(y)).total() / (profile(x).total() + profile(y).total())
        total, weight, common = total + how.weight * alike, weight + how.weight, common + how.weight
    whole = sum(how.weight for how in settings_.fields.values())
    return total / weight if weight and common >= settings_.min_compared * whole else 0.0


def scores(records: list[Record], settings_: Row = PEOPLE, at_least: float = 0) -> np.ndarray:
    """Return the similarity of all pairs."""
    found, how = prints(records, settings_), Comparison.of(settings_)
    left, right = (side.ravel() for side in np.indices((len(records), len(records))))
    return similarity(found, left, found, right, how, at_least).reshape(len(records), -1)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        # born 1, city 1, name 2 * 1, zip .5 * 1 of a weight of 4.5
        ({"born": 1, "city": "oslo", "name": "ann", "zip": "1"}, {}, 1.0),
        # born 15 apart: 2 - 15 / 10 = .5
        ({"born": 16}, {"born": 1}, (0.5 + 1 + 2 + 0.5) / 4.5),
        # within the tolerance, and beyond twice of it
        ({"born": 11}, {"born": 1}, 1.0),
        ({"born": 22}, {"born": 1}, (1 + 2 + 0.5) / 4.5),
        # ·a an nn n· and ·a an nn na a·: 3 of 4 and 5 in common, 2 · 3 / 9
        ({"name": "ann"}, {"name": "anna"}, (1 + 1 + 2 * 6 / 9 + 0.5) / 4.5),
        ({"zip": "1"}, {"zip": "2"}, (1 + 1 + 2) / 4.5),
        # a city on one side counts as .25, on neither it is left out
        ({"city": None}, {}, (1 + 0.25 + 2 + 0.5) / 4.5),
        ({"city": None}, {"city": None}, 1.0),
        # a name on one side is left out: 2.5 of 4.5 are in common, at least half
        ({"name": None}, {}, 1.0),
        # without name and zip 2 of 4.5 are in common: too little to say anything
        ({"name": None, "zip": None}, {}, 0.0),
    ],
)
def test_the_similarity_is_a_weighted_mean(left: Record, right: Record, expected: float) -> None:
    """Cases that a reader can compute."""
    usual = {"born": 1, "city": "oslo", "name": "ann", "zip": "1"}
    assert scores([usual | left, usual | right])[0, 1] == pytest.approx(expected, abs=1e-7)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=8), st.sampled_from([0.0, 0.5, 0.8]))
def test_similarity_is_that_of_plain_python(records: list[Record], at_least: float) -> None:
    """Symmetric; below what is asked for it may be 0, and at or above it is exact."""
    found = scores(records, at_least=at_least)
    for i, a in enumerate(records):
        for j, b in enumerate(records):
            expected = by_hand(a, b)
            if expected >= at_least or at_least == 0:
                assert found[i, j] == pytest.approx(expected, abs=1e-6)
            else:
                assert found[i, j] == pytest.approx(expected, abs=1e-6) or found[i, j] == 0
    assert (found == found.T).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=9), st.integers(1, 3), st.sampled_from([0.3, 0.75]))
def test_the_inverted_sample_lists_all_pairs_at_the_same_scores(records: list[Record], cap: int, floor: float) -> None:
    """To the last bit those of `similarity`, the first of each in order, without a row itself; however rows are cut."""
    found, how = prints(records), Comparison.of(PEOPLE)
    chosen = comparable(found, how)
    every = scores(records)
    with mock.patch.object(sample, "_BLOCK", 4):
        inverted = sample.Sample.of(found, chosen, how)
        place, row, score = sample.neighbours(inverted, found, how, floor=floor, cap=cap, own=chosen)
    expected = []
    for at, one in enumerate(chosen.tolist()):
        near = [(at, r, every[one, r]) for r in range(len(records)) if r != one and every[one, r] >= np.float32(floor)]
        expected += near[:cap]
    assert list(zip(place.tolist(), row.tolist(), score, strict=True)) == expected


def test_rows_with_too_little_weight_are_not_comparable() -> None:
    """Half of 4.5: a name and a city do, a city and a year do not."""
    nothing = dict.fromkeys(PEOPLE.fields)
    records = [nothing | given for given in ({"name": "x", "city": "y"}, {"born": 1, "city": "y"}, {})]
    assert comparable(prints(records), Comparison.of(PEOPLE)).tolist() == [0]


def test_each_field_is_shown() -> None:
    """None where one of the two lacks it."""
    a = {"born": 16, "city": None, "name": "ann", "zip": "1"}
    b = {"born": 1, "city": "oslo", "name": "anna", "zip": "2"}
    found = prints([a, b])
    assert by_field(found, 0, found, 1, Comparison.of(PEOPLE)) == [0.5, None, pytest.approx(2 / 3), 0.0]


NAMES = [
    f"{first} {last}"
    for first in ("ann", "bob", "cleo", "dan", "eve", "finn")
    for last in ("ash", "birch", "cedar", "elm", "fir")
]


def many(count: int, seed: int) -> list[Record]:
    """Return records with names, a few cities and years, each at random."""
    draw = np.random.default_rng(seed)
    return [
        {
            "born": int(draw.integers(0, 40_000)),
            "city": ["oslo", "rome", "lima", None][draw.integers(4)],
            "name": NAMES[draw.integers(len(NAMES))] + str(draw.integers(1000)),
            "zip": str(draw.integers(1000)),
        }
        for _ in range(count)
    ]


def banded(records: list[Record], lsh: RowLsh) -> tuple[list[list[int]], list[dict[int, int]]]:
    """Return the fields and the key of each row in each band."""
    found, how = prints(records), Comparison.of(PEOPLE)
    plan = blocks.plan(found, len(records), how, lsh)
    rows = np.arange(len(records), dtype=np.uint32)
    own = rows.astype(np.uint64) + np.uint64(1 << 40)
    made = blocks.make(found, own, rows, how, plan, lsh)
    return plan.fields, [dict(zip(band.rows.tolist(), band.keys.tolist(), strict=True)) for band in made]


def test_rows_share_the_buckets_of_fields_in_which_they_agree() -> None:
    """Equal values always do, numbers within half a cell mostly; a field that one row lacks does not."""
    lsh = RowLsh(bands=24)
    records = many(400, 1)
    records += [records[0] | {"name": "someone else"}, records[0] | {"born": records[0]["born"] + 2}]
    plan, bands = banded([*records, records[0] | {"zip": None}], lsh)
    other, moved, lacking = 400, 401, 402
    within = []
    for fields_of, keys in zip(plan, bands, strict=True):
        used = {sorted(PEOPLE.fields)[f] for f in fields_of}
        assert (keys[0] == keys[other]) == ("name" not in used)
        assert (keys[0] == keys[lacking]) == ("zip" not in used)
        if "born" in used:
            within.append(keys[0] == keys[moved])
        else:
            assert keys[0] == keys[moved]
    assert sum(within) > len(within) / 2  # each by 9 chances in 10: 2 of a cell of 20


def test_rows_without_a_field_of_a_band_are_alone_in_it() -> None:
    """Two rows that lack the same field are not in one bucket for that."""
    records = many(300, 2)
    for record in records:
        record["city"] = None
    records[7]["city"] = "oslo"
    plan, bands = banded(records, RowLsh(bands=16))
    city = sorted(PEOPLE.fields).index("city")
    for fields_of, keys in zip(plan, bands, strict=True):
        if city in fields_of:
            assert len(set(keys.values())) == len(records)


def test_a_plan_takes_fields_until_they_tell_enough() -> None:
    """A field of few values needs others; each field is used; the same rows give the same plan, another seed another."""
    found, how = prints(many(2000, 3)), Comparison.of(PEOPLE)
    lsh = RowLsh(unlike=8)
    enough = math.log2(32 * 8 * 2000 / 8)
    plan = blocks.plan(found, 2000, how, lsh)
    bits, present = blocks._told(found, how, lsh)
    assert bits[1] == pytest.approx(math.log2(3), abs=0.3)  # three cities
    assert bits[3] == pytest.approx(math.log2(1000), abs=0.5)
    assert present.tolist() == pytest.approx([1, 0.75, 1, 1], abs=0.05)
    assert len(plan.fields) == 32
    for chosen in plan.fields:
        told = [bits[f] for f in chosen]
        assert sum(told) >= enough or len(told) == 4
        assert sum(told[:-1]) < enough
    assert {field for chosen in plan.fields for field in chosen} == {0, 1, 2, 3}
    assert plan == blocks.plan(found, 2000, how, lsh)
    assert plan != blocks.plan(found, 2000, how, RowLsh(unlike=8, seed=2))
    assert all(len(chosen) == 1 for chosen in blocks.plan(found, 1, how, RowLsh(unlike=4096)).fields)
    assert plan.suits(16_000)
    assert not plan.suits(16_001)


@pytest.mark.parametrize("count", [200, 2_000])
def test_a_row_shares_buckets_with_about_as_many_unlike_rows_as_asked(count: int) -> None:
    """An eighth of it at first, whatever the number of rows: the rest is room for later versions."""
    records = many(count, 4)
    _, bands = banded(records, RowLsh(unlike=64))
    shared = sum(n * (n - 1) for keys in bands for n in np.unique(list(keys.values()), return_counts=True)[1])
    assert shared / count < 2 * 64 / 8


def test_threads_and_groups_change_no_band() -> None:
    """However rows and bands are cut; and rows hashed alone have the keys that they have among others."""
    records, lsh = many(50, 5), RowLsh(bands=20)
    _, bands = banded(records, lsh)
    with mock.patch.multiple(blocks, _TOGETHER=3, _BLOCK=7):
        assert banded(records, lsh)[1] == bands
    found, how = prints(records), Comparison.of(PEOPLE)
    plan = blocks.plan(found, 50, how, lsh)
    some = np.array([3, 17], np.uint32)
    own = np.arange(50, dtype=np.uint64) + np.uint64(1 << 40)
    for band, keys in zip(blocks.make(found, own, some, how, plan, lsh), bands, strict=True):
        assert dict(zip(band.rows.tolist(), band.keys.tolist(), strict=True)) == {row: keys[row] for row in (3, 17)}


def test_numbers_of_any_size_have_a_cell() -> None:
    """Beyond 2^62 cells they share the last one."""
    records = [{"born": value, "city": "x", "name": "y", "zip": "1"} for value in (1e300, 1e301, -1e300, 0.0)]
    _, bands = banded(records, RowLsh(bands=4))
    assert all(keys[0] == keys[1] for keys in bands)
    assert scores(records)[0, 1] < 1


def test_hashes_of_a_field_fit_into_their_bits() -> None:
    """64 fields, none of which reaches into another."""
    for field in (0, 63):
        sets = fields.bigrams(Strings.of_list([b"some words"]), field)
        assert (sets.values >> fields.HASH_BITS == field).all()
