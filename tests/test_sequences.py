"""Sequences of codes: exact scores against plain Python, planted copies and snippets found, common codes bounded."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedupver.fingerprint.ragged import Ragged
from dedupver.index import seeds
from dedupver.index.sequences import neighbours, popcount, sharing, similarity

Codes = npt.NDArray[Any]
WIDTHS = (np.uint32, np.uint64)
ASKED = seeds.Asked(cap=128, floor=0.7, codes=40, similarity=0.75)


def ragged(*rows: list[int] | Codes, width: Any = np.uint32) -> Ragged:
    """Return rows of codes."""
    return Ragged.of_rows([np.array(row, width) for row in rows])


def score(a: list[int], b: list[int], bits: int) -> float:
    """Return the score by its definition, at every offset."""
    most, best = max(sum(map(bool, a)), sum(map(bool, b))), 0.0
    for offset in range(1 - len(a), len(b)):
        beside = [(a[i], b[i + offset]) for i in range(len(a)) if 0 <= i + offset < len(b)]
        agreed = sum(bits - (x ^ y).bit_count() for x, y in beside if x and y)
        left = sum(map(bool, a)) - sum(1 for x, y in beside if x and not y)
        right = sum(map(bool, b)) - sum(1 for x, y in beside if y and not x)
        if most:
            best = max(best, agreed / (bits * max(left, right, 2 / 3 * most)))
    return best


def noisy(codes: Codes, share: float, seed: int) -> Codes:
    """Flip a share of the bits."""
    bits = np.random.default_rng(seed).random((len(codes), 8 * codes.itemsize)) < share
    return codes ^ np.ascontiguousarray(np.packbits(bits, axis=1)).view(codes.dtype).ravel()


def sounds(count: int, seed: int, width: Any = np.uint32, least: int = 60, most: int = 200) -> list[Codes]:
    """Return unlike rows of random codes."""
    random = np.random.default_rng(seed)
    return [random.integers(1, np.iinfo(width).max, random.integers(least, most), dtype=width) for _ in range(count)]


CODE = st.integers(0, 2**32 - 1) | st.just(0)
ROW = st.lists(CODE, max_size=12)


@given(st.lists(st.tuples(ROW, ROW), max_size=8), st.sampled_from(WIDTHS))
def test_the_score_is_that_of_plain_python(couples: list[tuple[list[int], list[int]]], width: Any) -> None:
    """At the best of all offsets; silence counts neither way, what lies beyond the other's ends against."""
    a, b = (ragged(*side, width=width) for side in (zip(*couples, strict=True) if couples else ([], [])))
    rows, bits = np.arange(len(couples)), 8 * np.dtype(width).itemsize
    got = similarity(a, rows, b, rows)
    assert got == pytest.approx([score(*couple, bits) for couple in couples], abs=1e-6)


@given(ROW, ROW, st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_a_score_below_what_is_asked_may_be_0(a: list[int], b: list[int], at_least: float) -> None:
    """One at or above it is exact."""
    full = float(similarity(ragged(a), np.array([0]), ragged(b), np.array([0]))[0])
    asked = float(similarity(ragged(a), np.array([0]), ragged(b), np.array([0]), at_least)[0])
    assert asked == full if full >= at_least else asked <= full


def test_scores_by_hand() -> None:
    """Four codes of which one is cut off: 3/4; padded with silence: 1; a code that met silence does not count."""
    first, one = [0xF, 0xFF, 0xFFF, 0xFFFF], np.array([0])
    for other, wanted in (
        (first, 1.0),
        (first[1:], 0.75),
        ([0, 0, *first, 0], 1.0),
        ([0xF, 0, 0xFFF, 0xFFFF], 1.0),
        ([0xF, 0, 0, 0], 0.375),  # one of at least 2/3 of four
        ([0], 0.0),
        ([], 0.0),
    ):
        assert similarity(ragged(first), one, ragged(other), one)[0] == pytest.approx(wanted), other


def test_long_sequences_are_scored_exactly_where_they_are_alike() -> None:
    """Beyond 256 codes a look comes first; it changes no score of what resembles."""
    a = sounds(1, 1, least=2000, most=2001)[0]
    b = noisy(a, 0.2, 2)[100:1900]
    agreed = sum(32 - (int(x) ^ int(y)).bit_count() for x, y in zip(a[100:1900], b, strict=True))
    assert similarity(ragged(a), np.array([0]), ragged(b), np.array([0]))[0] == pytest.approx(agreed / 32 / 2000)
    other = sounds(1, 3, least=2000, most=2001)[0]
    assert similarity(ragged(a), np.array([0]), ragged(other), np.array([0]))[0] < 0.6


@given(st.integers(0, 2**64 - 1))
def test_bits_are_counted(word: int) -> None:
    """Of any word of 64 bits."""
    assert popcount(np.uint64(word)) == word.bit_count()


@pytest.mark.parametrize("width", WIDTHS)
def test_noisy_copies_are_proposed_and_brute_force_finds_no_more(width: Any) -> None:
    """A tenth of the bits differ, as after a narrow codec; of 300 rows each third has a copy."""
    rows = sounds(300, 4, width)
    rows += [noisy(row, 0.1, n) for n, row in enumerate(rows[::3])]
    codes = ragged(*rows, width=width)
    table = seeds.make(codes)
    hits = seeds.search(codes, codes, table, ASKED, same=True)
    assert (hits.pairs[:, 1] < hits.pairs[:, 0]).all()
    score = similarity(codes, hits.pairs[:, 0], codes, hits.pairs[:, 1], 0.7)
    found = {(int(a), int(b)) for a, b in hits.pairs[score >= 0.7, :2]}
    place, row, _ = neighbours(codes, np.arange(400), codes, 0.7)
    true = {(max(a, b), min(a, b)) for a, b in zip(place.tolist(), row.tolist(), strict=True) if a != b}
    assert true == {(300 + n, 3 * n) for n in range(100)}
    assert found == true
    apart = seeds.search(ragged(*rows[300:], width=width), codes, table, ASKED)
    assert {(int(a), int(b)) for a, b, _ in apart.pairs if b < 300} >= {(n, 3 * n) for n in range(100)}


@pytest.mark.parametrize("width", WIDTHS)
def test_a_snippet_in_two_unlike_rows_is_a_span_with_its_places(width: Any) -> None:
    """80 codes from place 30 of one row and 120 of another, noisy: found to a code or two, and nothing else."""
    rows = sounds(50, 5, width, 250, 300)
    snippet = sounds(1, 6, width, 80, 81)[0]
    rows[7][30:110] = snippet
    rows[33][120:200] = noisy(snippet, 0.08, 7)
    codes = ragged(*rows, width=width)
    hits = seeds.search(codes, codes, seeds.make(codes), ASKED, same=True)
    assert len(hits.spans) == 1
    row, other, start, stop, there, agreed, heard = hits.spans[0].tolist()
    assert (row, other) == (33, 7)
    assert abs(start - 120) <= 2
    assert abs(stop - 200) <= 2
    assert start - there == 90
    assert agreed / heard / (8 * np.dtype(width).itemsize) == pytest.approx(0.92, abs=0.02)
    assert len(hits.pairs) == 0  # as wholes they are unlike


def test_the_middle_of_a_row_is_found_wherever_it_is() -> None:
    """By brute force: in a noisy copy inside another row, not in unlike ones; a row that is too short has none."""
    rows = sounds(20, 14, least=150, most=200)
    middle = (len(rows[3]) - 60) // 2
    rows[8][5:65] = noisy(rows[3][middle : middle + 60], 0.1, 15)
    codes = ragged(*rows, rows[0][:59])
    place, row = sharing(codes, np.array([3, 20, 5]), codes, 60, 0.75)
    assert list(zip(place.tolist(), row.tolist(), strict=True)) == [(0, 3), (0, 8), (2, 5)]


def test_a_loop_gives_one_span_where_it_is_played_once_more() -> None:
    """Four turns of a loop beside three: the longest stays, its shifts by a turn lie within it."""
    turn = sounds(1, 8, least=60, most=61)[0]
    codes = ragged(np.tile(turn, 4), np.concatenate([sounds(1, 9)[0], np.tile(turn, 3)]))
    spans = seeds.search(codes, codes, seeds.make(codes), ASKED, same=True).spans
    assert spans[0, 3] - spans[0, 2] == 180
    assert len(spans) <= 2


def test_silence_and_constant_tones_have_no_seeds() -> None:
    """0 has no key, of a run of equal codes the first has one, and a key has four in one row at most."""
    codes = ragged(np.zeros(1000), np.full(1000, 7), np.tile([8, 9], 500))
    table = seeds.make(codes)
    assert sorted(table.places.tolist()) == [1000, *range(2000, 2008)]


def test_common_codes_cost_linear_time() -> None:
    """Rows of two codes that all share take no more than four times as long where there are four times as many."""
    random, spent = np.random.default_rng(10), []
    for count in (200, 1000, 4000):  # the first compiles
        rows = [np.where(random.random(100) < 0.5, 8, 9).astype(np.uint32) for _ in range(count)]
        codes, started = ragged(*rows), time.monotonic()
        hits = seeds.search(codes, codes, seeds.make(codes), ASKED, same=True)
        spent.append(time.monotonic() - started)
        assert len(hits.pairs) <= 128 * 33 * count
    assert spent[2] < 10 * max(spent[1], 0.05)


def test_copies_beyond_the_cap_are_marked() -> None:
    """Of 300 copies each is paired with the first few; those with more before them say so."""
    row = sounds(1, 11)[0]
    codes = ragged(*([row] * 300))
    pairs = seeds.search(codes, codes, seeds.make(codes), ASKED, same=True).pairs
    counts = np.bincount(pairs[:, 0], minlength=300)
    assert counts.tolist() == [min(n, 128) for n in range(300)]
    assert set(pairs[pairs[:, 2] > 0, 0]) == set(range(129, 300))


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread and four give equal arrays."""
    rows = sounds(2000, 12)
    rows += [noisy(row, 0.1, 13) for row in rows[:200]]
    codes = ragged(*rows)
    found = []
    for count in (1, 4):
        monkeypatch.setattr(seeds, "threads", lambda count=count: count)
        found.append(seeds.search(codes, codes, seeds.make(codes), ASKED, same=True))
    assert len(codes.values) > 2 << 16
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_nothing_has_no_seeds() -> None:
    """No rows, and rows without a code."""
    for codes in (ragged(), ragged([], [])):
        assert [len(array) for array in seeds.make(codes)] == [0, 0]
        assert len(seeds.search(codes, codes, seeds.make(codes), ASKED, same=True).pairs) == 0
        assert similarity(codes, np.empty(0, np.int64), codes, np.empty(0, np.int64)).tolist() == []
