"""n-grams of words, and how much of a text stands in another, against plain Python."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.digests import of_list
from dedupver.fingerprint.strings import Strings
from dedupver.fingerprint.text import ngrams
from dedupver.index.ngrams import overlaps, share

if TYPE_CHECKING:
    from dedupver.digests import Digests
    from dedupver.fingerprint.ragged import Ragged

SOME = settings(deadline=None, max_examples=60)
TEXTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=14).map(" ".join), min_size=1, max_size=8, unique=True)


def plain(text: str, size: int) -> set[tuple[str, ...]]:
    """Return the distinct runs of words."""
    words = text.split()
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def digests(texts: list[str]) -> Digests:
    """Return what stands for each text."""
    return of_list([hashlib.sha256(text.encode()).digest() for text in texts])


class Known:
    """An index that knows some texts."""

    def __init__(self, texts: list[str], size: int) -> None:
        self._row = {bytes(each): at for at, each in enumerate(digests(texts))}
        self._ngrams = ngrams(Strings.of_list(text.encode() for text in texts), size)

    def ngrams(self, contents: Digests) -> Ragged:
        """Return those of some texts."""
        return self._ngrams.take(np.array([self._row[bytes(each)] for each in contents], np.int64))


@SOME
@given(TEXTS, st.integers(2, 4))
def test_as_many_as_there_are_distinct_runs(texts: list[str], size: int) -> None:
    """Equal runs have equal hashes in whatever text, and others have others; too short a text has none."""
    found = ngrams(Strings.of_list(text.encode() for text in texts), size)
    rows = [found.values[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)]
    for text, row in zip(texts, rows, strict=True):
        assert row == sorted(set(row))
        assert len(row) == len(plain(text, size))
        for other, its in zip(texts, rows, strict=True):
            assert len({*row} & {*its}) == len(plain(text, size) & plain(other, size))


@SOME
@given(TEXTS, st.integers(2, 3), st.integers(0, 8), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_overlaps_are_those_of_all_pairs(texts: list[str], size: int, cut: int, at_least: float) -> None:
    """Every pair that reaches the share, and no other, with the share of the protected text's runs."""
    index: Any = Known(texts, size)
    protected, others = texts[:cut], texts[cut // 2 :]  # some are on both sides
    expected = {}
    for one in protected:
        for other in others:
            common = len(plain(one, size) & plain(other, size))
            if one != other and common and common / len(plain(one, size)) >= at_least:
                expected[bytes(digests([other])[0]), bytes(digests([one])[0])] = common / len(plain(one, size))
    found = overlaps(index, digests(protected), digests(others), at_least)
    pairs = {(row["left"], row["right"]): row["score"] for row in found.to_pylist()}
    assert pairs == pytest.approx(expected)
    assert len(pairs) == found.num_rows
    if pairs:
        ends = [of_list([pair[end] for pair in pairs]) for end in (1, 0)]
        assert share(index, *ends).tolist() == pytest.approx(list(pairs.values()))


def test_a_share_worked_out_by_hand() -> None:
    """Of the eight runs of 13 words that a question of 20 has, three are in a page that quotes its first 15 words."""
    question = " ".join(f"w{number}" for number in range(20))
    page = " ".join(["before", *question.split()[:15], "after"])
    found = overlaps(Known([question, page], 13), digests([question]), digests([page]), 0.0)
    assert found["score"].to_pylist() == [3 / 8]


def test_signs_and_case_make_no_difference() -> None:
    """A text in its normal form is cut into words as shingles are."""
    texts = Strings.of_list([b"one two, three (four)", b"one two three four"])
    found = ngrams(texts, 3)
    assert found.values[:2].tolist() == found.values[2:].tolist()


def test_more_pairs_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found in several turns, each pair once."""
    monkeypatch.setattr("dedupver.index.ngrams._ROOM", 4)
    monkeypatch.setattr("dedupver.index.ngrams.TOGETHER", 3)
    texts = [f"a b c {number}" for number in range(10)]
    found = overlaps(Known(texts, 3), digests(texts[:4]), digests(texts[4:]), 0.5)
    assert found.num_rows == len({(row["left"], row["right"]) for row in found.to_pylist()}) == 24
