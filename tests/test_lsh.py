"""Banded LSH: candidates against a dictionary of buckets, incremental against at once, hot buckets, exact Jaccard."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.fingerprint.text import Sets, minhash
from dedupver.index import lsh
from dedupver.schema import ParamsError

Keys = npt.NDArray[np.uint64]
Pairs = set[tuple[int, int]]
Hot = set[tuple[int, int]]

COLUMNS = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), max_size=24)


def as_sets(sets: list[set[int]]) -> Sets:
    """Return python sets in CSR form."""
    values = [v for s in sets for v in sorted(s)]
    return Sets(np.cumsum([0, *map(len, sets)]), np.array(values, np.uint32))


def as_keys(columns: list[list[int]]) -> Keys:
    """Return band keys, shape (3, n), that no two bands share."""
    return np.array(columns, np.uint64).reshape(-1, 3).T + np.array([[0], [100], [200]], np.uint64)


def table(keys: Keys, valid: npt.NDArray[np.bool_] | None = None) -> lsh.BandTable:
    """Return the table of keys that are all valid by default."""
    return lsh.build(keys, np.ones(keys.shape[1], np.bool_) if valid is None else valid)


def search(parts: list[Keys], cap: int) -> lsh.Candidates:
    """Return the candidates of the last part against all before it."""
    return lsh.candidates(table(parts[-1]), [table(p) for p in parts[:-1]], [p.shape[1] for p in parts[:-1]], cap)


def pairs(found: lsh.Candidates) -> Pairs:
    """Return the pairs as a set."""
    return set(zip(found.left.tolist(), found.right.tolist(), strict=True))


def hot(found: lsh.Candidates) -> Hot:
    """Return the members of hot buckets as a set."""
    return set(zip(found.group.tolist(), found.member.tolist(), strict=True))


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


def test_band_keys_are_equal_where_the_band_is_and_differ_between_bands() -> None:
    """Two signatures that agree in band 1 alone share the key of band 1 alone; equal values in two bands do not."""
    keys = lsh.band_keys(np.array([[1, 2, 7, 7], [3, 4, 7, 7], [7, 7, 0, 0]], np.uint32), bands=2, rows=2)
    assert keys.shape == (2, 3)
    assert keys.dtype == np.uint64
    assert keys[1, 0] == keys[1, 1]
    assert len(set(keys.ravel().tolist())) == 5


def test_band_keys_depend_on_the_order_of_values() -> None:
    """A band is a sequence, not a set."""
    keys = lsh.band_keys(np.array([[1, 2], [2, 1]], np.uint32), bands=1, rows=2)
    assert keys[0, 0] != keys[0, 1]


def test_more_bands_than_permutations_are_refused() -> None:
    """The message names the params and the numbers."""
    with pytest.raises(ParamsError, match="3 bands of 2 rows need 6 permutations, num_perm is 4"):
        lsh.band_keys(np.zeros((1, 4), np.uint32), bands=3, rows=2)


def test_build_sorts_by_key_then_row_and_leaves_out_the_invalid() -> None:
    """Keys [5, 3, 5, 3] without row 1 become [3, 5, 5] of rows [3, 0, 2]."""
    built = table(np.array([[5, 3, 5, 3]], np.uint64), np.array([True, False, True, True]))
    assert built.keys.tolist() == [[3, 5, 5]]
    assert built.rows.tolist() == [[3, 0, 2]]
    assert built.rows.dtype == np.uint32


def test_candidates_by_hand() -> None:
    """Base rows 0, 1 and new rows 2, 3: all but row 1 share a key of band 0; 1 and 3 share one of band 1."""
    base, new = np.array([[8, 9], [20, 21]], np.uint64), np.array([[8, 8], [22, 21]], np.uint64)
    found = search([base, new], cap=10)
    assert found.left.tolist() == [2, 3, 3, 3]
    assert found.right.tolist() == [0, 0, 1, 2]
    assert hot(found) == set()


def test_a_bucket_over_the_cap_gives_its_members_once() -> None:
    """The base's members come with the version that makes the bucket hot and not with the one after."""
    one = np.array([[8, 8]], np.uint64)
    first = search([one, one], cap=3)
    assert pairs(first) == set()
    assert hot(first) == {(8, 0), (8, 1), (8, 2), (8, 3)}
    assert hot(search([one, one, one], cap=3)) == {(8, 4), (8, 5)}


def test_rows_left_out_of_a_table_still_count_in_the_numbering() -> None:
    """The number of a new content is the size of the base plus its row, whatever the tables lack."""
    base = table(np.array([[8, 8, 8]], np.uint64), np.array([False, True, False]))
    new = table(np.array([[8, 8]], np.uint64), np.array([False, True]))
    assert pairs(lsh.candidates(new, [base], [3], cap=9)) == {(4, 1)}


@pytest.mark.parametrize("parts", [[0], [0, 0], [2, 0], [0, 2]])
def test_empty_segments_are_no_special_case(parts: list[int]) -> None:
    """Neither an empty new segment nor an empty base one fails or invents a pair."""
    found = search([np.arange(n, dtype=np.uint64).reshape(1, n) for n in parts], cap=5)
    assert [len(a) for a in (found.left, found.right, found.group, found.member)] == [0, 0, 0, 0]


@settings(deadline=None)
@given(COLUMNS, COLUMNS, COLUMNS, st.integers(1, 8))
def test_candidates_equal_a_dictionary_of_buckets(
    first: list[list[int]], second: list[list[int]], new: list[list[int]], cap: int
) -> None:
    """Pairs and hot members, sorted and without repeats, for any two base segments, new segment and cap."""
    parts = [as_keys(columns) for columns in (first, second, new)]
    found = search(parts, cap)
    want_pairs, want_hot = oracle(parts, cap)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == sorted(want_pairs)
    assert list(zip(found.group.tolist(), found.member.tolist(), strict=True)) == sorted(want_hot)


@settings(deadline=None)
@given(st.lists(COLUMNS, min_size=1, max_size=4))
def test_versions_one_by_one_find_the_pairs_of_all_at_once(versions: list[list[list[int]]]) -> None:
    """However the contents are cut into segments, while no bucket is hot."""
    parts = [as_keys(columns) for columns in versions]
    steps = [pairs(search(parts[: i + 1], cap=1000)) for i in range(len(parts))]
    assert set().union(*steps) == pairs(search([np.concatenate(parts, axis=1)], cap=1000))
    assert sum(map(len, steps)) == len(set().union(*steps))


def test_every_member_of_a_bucket_that_is_hot_at_last_is_listed_or_paired() -> None:
    """Versions of 3, 3 and 3 with cap 4: each two members either came as a pair or are both listed as hot."""
    part = np.full((1, 3), 8, np.uint64)
    steps = [search([part] * (i + 1), cap=4) for i in range(3)]
    paired = set().union(*map(pairs, steps))
    listed = {m for step in steps for _, m in hot(step)}
    assert all((a, b) in paired or {a, b} <= listed for a, b in itertools.product(range(9), repeat=2) if a > b)


def test_a_bucket_of_100_000_costs_its_size() -> None:
    """100,000 identical contents give 100,000 members a band and no pair."""
    keys = np.repeat(np.arange(4, dtype=np.uint64)[:, None], 100_000, axis=1)
    found = lsh.candidates(table(keys), [table(keys)], [100_000], cap=100)
    assert len(found.left) == 0
    assert len(found.member) == 400_000
    assert found.member.min() == 100_000


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8])
def test_recall_of_planted_pairs_is_what_theory_says(similarity: float) -> None:
    """Of 1,000 planted pairs of Jaccard s, a share of 1 - (1 - s^r)^b becomes candidates, within 4 standard errors."""
    random, bands, rows, count, size = np.random.default_rng(7), 16, 5, 1000, 90
    common = round(2 * size * similarity / (1 + similarity))
    true = common / (2 * size - common)
    universe = [random.choice(2**32, 2 * size - common, replace=False).tolist() for _ in range(count)]
    left = as_sets([set(u[:size]) for u in universe])
    right = as_sets([set(u[-size:]) for u in universe])
    assert lsh.jaccard(left, np.arange(count), right, np.arange(count)) == pytest.approx(true)
    keys = [lsh.band_keys(minhash(s, bands * rows, seed=1), bands, rows) for s in (left, right)]
    recall = len(pairs(search(keys, cap=50)) & {(count + i, i) for i in range(count)}) / count
    theory = 1 - (1 - true**rows) ** bands
    assert recall == pytest.approx(theory, abs=4 * (theory * (1 - theory) / count) ** 0.5 + 0.002)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9))), max_size=20))
def test_jaccard_equals_python_sets(couples: list[tuple[set[int], set[int]]]) -> None:
    """|A ∩ B| / |A ∪ B| of every couple; 0 for two empty sets."""
    rows = np.arange(len(couples))
    got = lsh.jaccard(as_sets([a for a, _ in couples]), rows, as_sets([b for _, b in couples]), rows)
    want = [len(a & b) / len(a | b) if a | b else 0.0 for a, b in couples]
    assert got.dtype == np.float32
    assert got.tolist() == np.array(want, np.float32).tolist()


def test_jaccard_takes_rows_in_any_order() -> None:
    """{1, 2, 3} with {2, 3, 4} is 2 of 4; with itself 1."""
    sets = as_sets([{1, 2, 3}, {2, 3, 4}])
    assert lsh.jaccard(sets, np.array([1, 0]), sets, np.array([0, 0])).tolist() == [0.5, 1.0]
