"""The popcount scan against brute force: pairs, caps and hot marks, for codes of one word and of several."""

from __future__ import annotations

import imagehash
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.index import codes

Codes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

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


def scan(
    queries: Codes, others: Codes, radius: int, cap: int, *, met: int = 0, triangle: bool = False
) -> tuple[codes.Scan, Rows]:
    """Return the scan of queries that have met some neighbours before, and their counts after it."""
    counts = np.full(len(queries), met)
    return codes.scan(queries, others, radius, cap, counts, triangle=triangle), counts


def check(found: tuple[codes.Scan, Rows], far: Rows, radius: int, cap: int, met: int = 0) -> None:
    """Compare a scan with what all distances say; a distance of a pair that must not count is given as -1."""
    want, beyond = [], np.zeros(far.shape[1], np.bool_)
    for query, row in enumerate(far):
        near, room = np.flatnonzero((row >= 0) & (row <= radius)), max(cap - met, 0)
        want += [(query, int(c)) for c in near[:room]]
        assert found[1][query] == met + len(near)
        beyond[near[room:]] = True
    assert pairs(found[0]) == want
    assert found[0].beyond.tolist() == beyond.tolist()


def test_scan_by_hand() -> None:
    """Against 0b0000, 0b0111 and 0b1111, the query 0b0011 is 2, 1 and 2 bits away."""
    others = np.array([[0b0000], [0b0111], [0b1111]], np.uint64)
    found, counts = scan(np.array([[0b0011]], np.uint64), others, radius=1, cap=9)
    assert pairs(found) == [(0, 1)]
    assert counts.tolist() == [1]
    assert not found.beyond.any()


def test_over_the_cap_the_first_pairs_stay_and_the_others_are_marked() -> None:
    """Query 0 has three neighbours and a cap of 2: two are listed, the third is marked; query 1 has one."""
    others = np.array([[0], [1], [2], [254]], np.uint64)
    found, counts = scan(np.array([[0], [255]], np.uint64), others, radius=1, cap=2)
    assert pairs(found) == [(0, 0), (0, 1), (1, 3)]
    assert counts.tolist() == [3, 1]
    assert found.beyond.tolist() == [False, False, True, False]


@settings(deadline=None, max_examples=40)
@given(
    SIZES,
    SIZES,
    st.sampled_from([1, 2, 4]),
    st.integers(0, 20),
    st.sampled_from([0, 1, 5, 1000]),
    st.sampled_from([0, 3]),
)
def test_scan_equals_brute_force(q: int, n: int, words: int, radius: int, cap: int, met: int) -> None:
    """For any sizes (tiles of 64 codes and less), words, radius and cap, and whatever was met before."""
    queries, others = some(q, words, 1), some(n, words, 2)
    check(scan(queries, others, radius, cap, met=met), distances(queries, others), radius, cap, met)


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
    full, part = scan(rows, rows, 3, 5000, triangle=True)[0], scan(rows[4900:], rows, 3, 5000)[0]
    want = [(q + 4900, c) for q, c in pairs(part) if c < q + 4900]
    assert [t for t in pairs(full) if t[0] >= 4900] == want


def test_the_number_of_threads_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread and four give equal arrays."""
    rows = some(3000, 1, 6)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "4")
    many, counts = scan(rows, rows, 5, 20, triangle=True)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "1")
    one, again = scan(rows, rows, 5, 20, triangle=True)
    assert all(np.array_equal(a, b) for a, b in zip((*many, counts), (*one, again), strict=True))


def test_read_only_codes_are_accepted() -> None:
    """Arrays that were mapped from a file can't be written to."""
    rows = some(10, 1, 7)
    rows.flags.writeable = False
    assert len(scan(rows, rows, 64, 100)[0].left) == 100


@pytest.mark.parametrize(("q", "n"), [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_scan_gives_nothing(q: int, n: int) -> None:
    """Empty queries or codes are no special case."""
    found, counts = scan(some(q, 1, 8), some(n, 1, 8), 64, 10)
    assert pairs(found) == []
    assert (len(counts), len(found.beyond)) == (q, n)


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
