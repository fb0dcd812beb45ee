"""Banded LSH: candidates against a dictionary of buckets, incremental against at once, hot buckets."""

from __future__ import annotations

import itertools
from collections import defaultdict
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.fingerprint.text import Sets
from dedupver.index import bands, lsh
from dedupver.index.minhash import minhash
from dedupver.index.sets import jaccard

Keys = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]
Pairs = set[tuple[int, int]]
Hot = set[tuple[int, int]]

NONE = np.empty(0, np.uint64)
COLUMNS = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), max_size=24)


def as_sets(sets: list[set[int]]) -> Sets:
    """Return python sets in CSR form."""
    values = [v for s in sets for v in sorted(s)]
    return Sets(np.cumsum([0, *map(len, sets)]), np.array(values, np.uint32))


def as_keys(columns: list[list[int]]) -> Keys:
    """Return band keys, shape (3, n), that no two bands share."""
    return np.array(columns, np.uint64).reshape(-1, 3).T + np.array([[0], [100], [200]], np.uint64)


def band_of(keys: Keys, valid: Mask | None = None) -> bands.Band:
    """Return the band of some keys, shape (n,), that are all valid by default."""
    rows = np.flatnonzero(np.ones(len(keys), np.bool_) if valid is None else valid)
    rows = rows[np.argsort(keys[rows], kind="stable")].astype(np.uint32)
    return bands.Band(keys[rows], rows)


def key_of(values: list[int], band: int) -> int:
    """Return the key of a band's values: splitmix64 over the band's ordinal and each of them."""
    key = mixed(band + 1)
    for value in values:
        key = mixed(key ^ value)
    return key


def mixed(x: int) -> int:
    """Return one step of splitmix64, in whole numbers."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def search_band(new: bands.Band, base: list[bands.Band], sizes: list[int], cap: int) -> tuple[Pairs, Hot]:
    """Return the candidates of one band; no pair or member may come twice."""
    found = lsh.candidates(new, base, sizes, cap)
    batches = list(found.pairs)
    pairs = list(zip(*(part.tolist() for part in lsh.unpacked(np.concatenate([NONE, *batches]))), strict=True))
    hot = list(zip(found.group.tolist(), found.member.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert len(set(hot)) == len(hot)
    return set(pairs), set(hot)


def search(parts: list[Keys], cap: int) -> tuple[Pairs, Hot]:
    """Return the candidates of the last part against all before it, in any band."""
    sizes = [p.shape[1] for p in parts[:-1]]
    found = [
        search_band(band_of(band[-1]), [band_of(b) for b in band[:-1]], sizes, cap) for band in zip(*parts, strict=True)
    ]
    return set().union(*(pairs for pairs, _ in found)), set().union(*(hot for _, hot in found))


def oracle(parts: list[Keys], cap: int) -> tuple[Pairs, Hot]:
    """Return what `candidates` must return, by a dictionary of buckets."""
    known = sum(p.shape[1] for p in parts[:-1])
    buckets = defaultdict(set)
    for number, column in enumerate(np.concatenate(parts, axis=1).T.tolist()):
        for key in column:
            buckets[key].add(number)
    found: Pairs = set()
    members: Hot = set()
    for key, bucket in buckets.items():
        new, old = {m for m in bucket if m >= known}, {m for m in bucket if m < known}
        if new and len(bucket) <= cap:
            found |= {(a, b) for a, b in itertools.product(new, bucket) if a > b}
        elif new:
            members |= {(key, m) for m in (bucket if len(old) <= cap else new)}
    return found, members


@given(st.lists(st.sets(st.integers(0, 2**32 - 1), max_size=3), max_size=12), st.integers(1, 9), st.integers(1, 3))
def test_bands_are_those_of_the_signatures_sorted_by_key_and_then_by_row(
    sets: list[set[int]], count: int, rows: int
) -> None:
    """However many sets and bands are made at a time; the empty set is in none. The key knows its band."""
    csr = as_sets(sets * 2)  # so that each key comes twice
    signatures = minhash(csr, count * rows, 7).reshape(-1, count, rows)
    valid = csr.sizes > 0
    with mock.patch.multiple(bands, _TOGETHER=4, _BLOCK=5):
        made = list(bands.make(csr, count, rows, seed=7))
    assert len(made) == count
    for number, band in enumerate(made):
        keys = [key_of(values, number) for values in signatures[:, number].tolist()]
        expected = band_of(np.array(keys, np.uint64), valid)
        assert band.keys.tolist() == expected.keys.tolist()
        assert band.rows.tolist() == expected.rows.tolist()
        assert (band.keys.dtype, band.rows.dtype) == (np.uint64, np.uint32)


def test_many_keys_are_sorted() -> None:
    """100,000 random keys, of which some repeat, as numpy sorts them."""
    random = np.random.default_rng(3)
    values = np.where(np.arange(100_000) % 7 > 0, random.permutation(100_000), 5).astype(np.uint32)
    (band,) = bands.make(Sets(np.arange(100_001), values), 1, 2, seed=1)
    assert (np.diff(band.keys.astype(object)) >= 0).all()
    assert (np.diff(band.rows.astype(np.int64))[band.keys[1:] == band.keys[:-1]] > 0).all()
    assert sorted(band.rows.tolist()) == list(range(100_000))


def test_candidates_by_hand() -> None:
    """Base rows 0, 1 and new rows 2, 3: all but row 1 share a key of band 0; 1 and 3 share one of band 1."""
    base, new = np.array([[8, 9], [20, 21]], np.uint64), np.array([[8, 8], [22, 21]], np.uint64)
    assert search([base, new], cap=10) == ({(2, 0), (3, 0), (3, 1), (3, 2)}, set())


def test_a_bucket_over_the_cap_gives_its_members_once() -> None:
    """The base's members come with the version that makes the bucket hot and not with the one after."""
    one = np.array([[8, 8]], np.uint64)
    assert search([one, one], cap=3) == (set(), {(8, 0), (8, 1), (8, 2), (8, 3)})
    assert search([one, one, one], cap=3)[1] == {(8, 4), (8, 5)}


def test_rows_left_out_of_a_band_still_count_in_the_numbering() -> None:
    """The number of a new content is the size of the base plus its row, whatever the bands lack."""
    base = band_of(np.array([8, 8, 8], np.uint64), np.array([False, True, False]))
    new = band_of(np.array([8, 8], np.uint64), np.array([False, True]))
    assert search_band(new, [base], [3], cap=9) == ({(4, 1)}, set())


@pytest.mark.parametrize("parts", [[0], [0, 0], [2, 0], [0, 2]])
def test_empty_segments_are_no_special_case(parts: list[int]) -> None:
    """Neither an empty new segment nor an empty base one fails or invents a pair."""
    assert search([np.arange(n, dtype=np.uint64).reshape(1, n) for n in parts], cap=5) == (set(), set())


@settings(deadline=None)
@given(COLUMNS, COLUMNS, COLUMNS, st.integers(1, 8))
def test_candidates_equal_a_dictionary_of_buckets(
    first: list[list[int]], second: list[list[int]], new: list[list[int]], cap: int
) -> None:
    """Pairs and hot members, for any two base segments, new segment and cap."""
    parts = [as_keys(columns) for columns in (first, second, new)]
    assert search(parts, cap) == oracle(parts, cap)


def test_a_small_batch_finds_its_buckets_in_a_large_base_and_the_other_way_round() -> None:
    """3 contents of one side among 5,000 of the other, at the ends and in the middle."""
    large = np.sort(np.random.default_rng(5).choice(10**6, 5000, replace=False).astype(np.uint64))
    small = large[[0, 2500, 4999]]
    assert search([large[None], small[None]], cap=9)[0] == {(5000, 0), (5001, 2500), (5002, 4999)}
    assert search([small[None], large[None]], cap=9)[0] == {(3, 0), (2503, 1), (5002, 2)}


def test_pairs_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets of 3, 1 and 3 pairs with batches of 4: each batch holds whole buckets, and no pair is lost."""
    monkeypatch.setattr(lsh, "_BATCH", 4)
    keys = np.array([1, 1, 1, 2, 2, 3, 3, 3, 4], np.uint64)
    found = lsh.candidates(band_of(keys), [], [], cap=9)
    assert [len(batch) for batch in found.pairs] == [4, 3]
    assert len(search([keys[None]], cap=9)[0]) == 7


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=6)), st.integers(1, 9))
def test_many_arrays_of_pairs_become_few_without_repeats(parts: list[list[int]], batch: int) -> None:
    """Each is ascending and distinct, only the last may come from fewer pairs than a batch, and none is lost."""
    with mock.patch.object(lsh, "_BATCH", batch):
        made = [array.tolist() for array in lsh.batched(np.array(part, np.uint64) for part in parts)]
    assert all(array == sorted(set(array)) for array in made)
    assert {pair for array in made for pair in array} == {pair for part in parts for pair in part}
    assert (len(made) - 1) * batch <= sum(map(len, parts))


@settings(deadline=None)
@given(st.lists(COLUMNS, min_size=1, max_size=4))
def test_versions_one_by_one_find_the_pairs_of_all_at_once(versions: list[list[list[int]]]) -> None:
    """However the contents are cut into segments, while no bucket is hot."""
    parts = [as_keys(columns) for columns in versions]
    steps = [search(parts[: i + 1], cap=1000)[0] for i in range(len(parts))]
    assert set().union(*steps) == search([np.concatenate(parts, axis=1)], cap=1000)[0]
    assert sum(map(len, steps)) == len(set().union(*steps))


def test_every_member_of_a_bucket_that_is_hot_at_last_is_listed_or_paired() -> None:
    """Versions of 3, 3 and 3 with cap 4: each two members either came as a pair or are both listed as hot."""
    part = np.full((1, 3), 8, np.uint64)
    steps = [search([part] * (i + 1), cap=4) for i in range(3)]
    paired = set().union(*(pairs for pairs, _ in steps))
    listed = {member for _, hot in steps for _, member in hot}
    assert all((a, b) in paired or {a, b} <= listed for a, b in itertools.product(range(9), repeat=2) if a > b)


def test_a_bucket_of_100_000_costs_its_size() -> None:
    """100,000 identical contents give 100,000 members and no pair."""
    band = band_of(np.full(100_000, 8, np.uint64))
    found = lsh.candidates(band, [band], [100_000], cap=100)
    assert list(found.pairs) == []
    assert sorted(found.member.tolist()) == list(range(100_000, 200_000))


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8])
def test_recall_of_planted_pairs_is_what_theory_says(similarity: float) -> None:
    """Of 1,000 planted pairs of Jaccard s, a share of 1 - (1 - s^r)^b becomes candidates, within 4 standard errors."""
    random, count_of_bands, rows, count, size = np.random.default_rng(7), 16, 5, 1000, 90
    common = round(2 * size * similarity / (1 + similarity))
    true = common / (2 * size - common)
    universe = [random.choice(2**32, 2 * size - common, replace=False).tolist() for _ in range(count)]
    left = as_sets([set(u[:size]) for u in universe])
    right = as_sets([set(u[-size:]) for u in universe])
    assert jaccard(left, np.arange(count), right, np.arange(count)) == pytest.approx(true)
    old, new = (bands.make(s, count_of_bands, rows, seed=1) for s in (left, right))
    found = set().union(*(search_band(b, [a], [count], 50)[0] for a, b in zip(old, new, strict=True)))
    recall = len(found & {(count + i, i) for i in range(count)}) / count
    theory = 1 - (1 - true**rows) ** count_of_bands
    assert recall == pytest.approx(theory, abs=4 * (theory * (1 - theory) / count) ** 0.5 + 0.002)
