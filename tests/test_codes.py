"""The popcount scan against brute force: pairs, caps and hot marks, for codes of one word and of several."""

from __future__ import annotations

import imagehash
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.index import codes
from dedupver.index.codes import scan

Codes = npt.NDArray[np.uint64]

SIZES = st.integers(0, 300)


def distances(queries: Codes, others: Codes) -> npt.NDArray[np.int64]:
    """Return all Hamming distances, shape (q, n), bit by bit."""
    a, b = (np.unpackbits(x.view(np.uint8), axis=1) for x in (queries, others))
    far: npt.NDArray[np.int64] = (a[:, None] != b[None]).sum(axis=2)
    return far


def some(n: int, words: int, seed: int) -> Codes:
    """Return n codes a few bits away from one of five centres, so that neighbours are many."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).integers(0, 2**64, (5, words), dtype=np.uint64)
    flips = np.uint64(1) << random.integers(0, 64, (n, words, 4), dtype=np.uint64)
    near: Codes = centres[random.integers(0, 5, n)] ^ np.bitwise_xor.reduce(flips, axis=2)
    return near


def pairs(found: codes.Scan) -> list[tuple[int, int]]:
    """Return (left, right) of every pair, in order."""
    return list(zip(found.left.tolist(), found.right.tolist(), strict=True))


def check(found: codes.Scan, far: npt.NDArray[np.int64], radius: int, cap: int) -> None:
    """Compare a scan with what all distances say; a distance of a pair that must not count is given as -1."""
    want, hot_codes = [], np.zeros(far.shape[1], np.bool_)
    for query, row in enumerate(far):
        near = np.flatnonzero((row >= 0) & (row <= radius))
        want += [(query, int(c)) for c in near[:cap]]
        assert found.hot_queries[query] == (len(near) > cap)
        hot_codes[near[: len(near) if len(near) > cap else 0]] = True
    assert pairs(found) == want
    assert found.hot_codes.tolist() == hot_codes.tolist()


def test_scan_by_hand() -> None:
    """Against 0b0000, 0b0111 and 0b1111, the query 0b0011 is 2, 1 and 2 bits away."""
    found = scan(np.array([[0b0011]], np.uint64), np.array([[0b0000], [0b0111], [0b1111]], np.uint64), radius=1, cap=9)
    assert pairs(found) == [(0, 1)]
    assert not found.hot_queries.any()
    assert not found.hot_codes.any()


def test_over_the_cap_the_first_pairs_stay_and_both_ends_are_hot() -> None:
    """Query 0 has three neighbours and a cap of 2: two are listed, all three are marked; query 1 has one."""
    found = scan(np.array([[0], [255]], np.uint64), np.array([[0], [1], [2], [254]], np.uint64), radius=1, cap=2)
    assert pairs(found) == [(0, 0), (0, 1), (1, 3)]
    assert found.hot_queries.tolist() == [True, False]
    assert found.hot_codes.tolist() == [True, True, True, False]


@settings(deadline=None, max_examples=40)
@given(SIZES, SIZES, st.sampled_from([1, 2, 4]), st.integers(0, 20), st.sampled_from([0, 1, 5, 1000]))
def test_scan_equals_brute_force(q: int, n: int, words: int, radius: int, cap: int) -> None:
    """For any sizes (tiles of 64 codes and less), words, radius and cap."""
    queries, others = some(q, words, 1), some(n, words, 2)
    check(scan(queries, others, radius, cap), distances(queries, others), radius, cap)


@settings(deadline=None, max_examples=40)
@given(SIZES, st.sampled_from([1, 2]), st.integers(0, 20), st.sampled_from([0, 1, 5, 1000]))
def test_triangle_is_the_pairs_with_smaller_rows(n: int, words: int, radius: int, cap: int) -> None:
    """A row's neighbours are then those before it: each pair comes once, none with itself."""
    rows = some(n, words, 3)
    far = np.where(np.tri(n, k=-1, dtype=np.bool_), distances(rows, rows), -1)
    check(scan(rows, rows, radius, cap, triangle=True), far, radius, cap)


@pytest.mark.parametrize("words", [1, 2])
def test_queries_beyond_one_block_are_scanned(words: int) -> None:
    """5,000 queries are two blocks; the triangle crosses them as well."""
    rows = some(5000, words, 4)
    far = np.bitwise_count(rows[4900:, None] ^ rows[None]).sum(axis=2, dtype=np.int64)
    check(scan(rows[4900:], rows, 3, 50), far, 3, 50)
    full, part = scan(rows, rows, 3, 5000, triangle=True), scan(rows[4900:], rows, 3, 5000)
    want = [(q + 4900, c) for q, c in pairs(part) if c < q + 4900]
    assert [t for t in pairs(full) if t[0] >= 4900] == want


def test_no_pair_is_lost_unmarked() -> None:
    """With a cap of 3, each true pair is listed or has both ends marked hot."""
    rows = some(400, 1, 5)
    found = scan(rows, rows, 6, 3, triangle=True)
    listed = set(pairs(found))
    true = np.argwhere(np.tri(400, k=-1, dtype=np.bool_) & (distances(rows, rows) <= 6)).tolist()
    assert len(true) > len(listed)
    assert all((a, b) in listed or (found.hot_queries[a] and found.hot_codes[b]) for a, b in true)


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread and four give equal arrays."""
    rows = some(3000, 1, 6)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    many = scan(rows, rows, 5, 20, triangle=True)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    one = scan(rows, rows, 5, 20, triangle=True)
    assert all(np.array_equal(getattr(many, name), getattr(one, name)) for name in many.__dataclass_fields__)


def test_read_only_codes_are_accepted() -> None:
    """Arrays that were mapped from a file can't be written to."""
    rows = some(10, 1, 7)
    rows.flags.writeable = False
    assert len(scan(rows, rows, 64, 100).left) == 100


@pytest.mark.parametrize(("q", "n"), [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_scan_gives_nothing(q: int, n: int) -> None:
    """Empty queries or codes are no special case."""
    found = scan(some(q, 1, 8), some(n, 1, 8), 64, 10)
    assert pairs(found) == []
    assert (len(found.hot_queries), len(found.hot_codes)) == (q, n)


@given(st.integers(0, 50), st.integers(1, 4))
def test_hamming_equals_unpacked_bits(n: int, words: int) -> None:
    """Row by row."""
    a, b = some(n, words, 9), some(n, words, 10)
    assert codes.hamming(a, b).tolist() == np.diagonal(distances(a, b)).tolist()


def test_hamming_equals_imagehash() -> None:
    """The difference of two 8 × 8 hashes of imagehash is the distance of their packed bits."""
    bits = np.random.default_rng(11).integers(0, 2, (2, 20, 8, 8)).astype(bool)
    packed = [np.packbits(side.reshape(20, 64), axis=1).view(np.uint64) for side in bits]
    want = [imagehash.ImageHash(a) - imagehash.ImageHash(b) for a, b in zip(*bits, strict=True)]
    assert codes.hamming(packed[0], packed[1]).tolist() == want


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 30), st.integers(1, 2), st.sampled_from([0.0, 0.8, 1.0]))
def test_neighbours_are_all_pairs_at_the_floor(q: int, n: int, words: int, floor: float) -> None:
    """By brute force, in order, with the share of bits that agree."""
    a, b = some(q, words, 12), some(n, words, 13)
    left, right, score = codes.neighbours(a, b, floor)
    share = (1 - distances(a, b) / (64 * words)).astype(np.float32)
    assert [left.tolist(), right.tolist()] == [axis.tolist() for axis in np.nonzero(share >= np.float32(floor))]
    assert score.tolist() == share[left, right].tolist()
