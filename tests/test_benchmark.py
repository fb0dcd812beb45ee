"""The benchmark's exact truth and its scores, and a guard on the speed of the kernels."""

from __future__ import annotations

import hashlib
import itertools
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import readme, score, truth
from dedupver.fingerprint import text
from dedupver.fingerprint.strings import Strings
from dedupver.index import codes, vectors
from dedupver.index.minhash import minhash

SETS = st.lists(st.frozensets(st.integers(0, 11), min_size=1), max_size=20, unique=True)


def brute_force(sets, threshold):
    """Compare all with all."""
    return [
        [i, j]
        for (i, a), (j, b) in itertools.combinations(enumerate(sets), 2)
        if len(a & b) / len(a | b) >= threshold - 1e-12
    ]


def three_words(text):
    """Return the text's runs of three words."""
    words = text.split()
    return frozenset(zip(words, words[1:], words[2:], strict=False))


@settings(deadline=None)  # it compiles
@given(sets=SETS, threshold=st.sampled_from([0.5, 0.6, 0.8, 0.9, 1.0]))
def test_join_is_brute_force(sets, threshold):
    """The prefix-filtered join finds the pairs that comparing all with all finds."""
    assert truth.join([np.array(sorted(s)) for s in sets], threshold).tolist() == brute_force(sets, threshold)


def test_truth_of_texts_is_brute_force():
    """Of edited texts, too, and equal shingle sets are one node."""
    draw = random.Random(1)
    words = [f"w{i}" for i in range(40)]
    base = [draw.choices(words, k=30) for _ in range(20)]
    edited = [[draw.choice(words) if draw.random() < 0.03 else w for w in draw.choice(base)] for _ in range(60)]
    texts = [" ".join(t) for t in [*base, *edited, base[0]]]
    found = truth.find(texts, truth.TOKENS["words"], 3, 0.8)
    sets = dict(zip(found.node, map(three_words, texts), strict=True))
    assert found.node[0] == found.node[-1]
    assert found.pairs.tolist() == brute_force([sets[n] for n in sorted(sets)], 0.8)
    assert len(found.pairs) > 10


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("words", ["a_b", "c", "é"]),
        ("scripts", ["a_b", "c", "é"]),
        ("punctuation", ["a", "b", "c", "é"]),
        ("non-words", ["a_b", "", "c", "é"]),
    ],
)
def test_tokens(tokens, expected):
    """Each notion of a token, on a text where they differ."""
    assert truth.TOKENS[tokens]("A_b, c É") == expected


def test_tokens_of_scripts_without_spaces():
    """A letter with its marks, after the one before it; signs and spaces part."""
    assert truth.TOKENS["scripts"]("C言語、の ที่x") == ["c", " 言", "言 語", " の", " ที่", "x"]


def test_scores_by_hand():
    """Of a chain a–b–c, a copy of a, and two alone: drop b, c and one that has no partner; the copy is missed."""
    right = truth.Truth(np.array([0, 1, 2, 0, 3, 4]), np.array([[0, 1], [1, 2]]))
    found = score.records(right, np.array([1, 2, 4]))
    assert (found["dropped"], found["missed"]) == (3, 1)
    assert found["recall"] == 2 / 3  # b and c, of those and the copy
    assert found["precision"] == 2 / 3
    assert found["justified"] == 1 / 3  # of c's partners none is kept
    told = score.pairs(right, np.array([[1, 0], [0, 3], [3, 1], [5, 4]]))
    assert (told["pairs"], told["pair_recall"], told["pair_precision"]) == (2, 0.5, 0.5)


def test_nothing_to_find_has_no_recall():
    """Where the truth is empty, recall is not a number that flatters."""
    assert score.records(truth.Truth(np.array([0, 1]), np.empty((0, 2), np.int64)), np.array([], int))["recall"] is None


def texts():
    """Return a thousand texts of 200 words."""
    draw = random.Random(1)
    words = [draw.randbytes(draw.randrange(1, 6)).hex() for _ in range(5000)]
    return [" ".join(draw.choices(words, k=200)).encode() for _ in range(1000)]


def shingles():
    """Cut texts into sets of shingles; against sha256 of the same bytes."""
    given = texts()
    strings = Strings.of_list(given)
    return lambda: text.shingle_sets(strings, 3, 5), lambda: [hashlib.sha256(t).digest() for t in given]


def signatures():
    """Make MinHash signatures of their sets; against sha256 of the same bytes."""
    given = texts()
    sets = text.shingle_sets(Strings.of_list(given), 3, 5)
    return lambda: minhash(sets, 128, 1), lambda: [hashlib.sha256(t).digest() for t in given]


def popcounts():
    """Compare all codes with all; against numpy's count of bits of the same pairs."""
    given = np.random.default_rng(1).integers(0, 1 << 64, (6000, 1), dtype=np.uint64)

    def scan():
        codes.scan(given, given, 8, 128, np.zeros(len(given), np.int64))

    def numpy():
        for start in range(0, len(given), 50):
            (np.bitwise_count(given[start : start + 50] ^ given[:, 0]) <= 8).sum()

    return scan, numpy


def cosines():
    """Compare all vectors with all; against numpy's products of the same matrices alone."""
    given = np.random.default_rng(1).standard_normal((2000, 256)).astype(np.float32)
    given /= np.linalg.norm(given, axis=1, keepdims=True)

    def scan():
        vectors.scan(given, given, 0.85, 128, np.zeros(len(given), np.int64))

    return scan, lambda: [(given[start : start + 1024] @ given.T >= 0.85).sum() for start in (0, 1024)]


@pytest.mark.parametrize(("kernel", "most"), [(shingles, 20), (signatures, 10), (popcounts, 1), (cosines, 5)])
def test_kernels_are_fast(kernel, most):
    """Each takes at most a generous multiple of the CPU time of something known, in one run on one machine."""
    ours, known = kernel()
    mine = theirs = float("inf")
    for _ in range(100):  # until the machine leaves both alone: the quickest of each counts
        mine, theirs = min(mine, seconds(ours)), min(theirs, seconds(known))
        if mine <= most * theirs:
            return
    pytest.fail(f"{mine / theirs:.1f} times the time")


def seconds(work):
    """Return the CPU time of a call, of all threads: other processes count little."""
    began = time.process_time()
    work()
    return time.process_time() - began


def test_the_readme_shows_the_committed_results():
    """Its tables are what `python -m benchmarks.readme` makes of benchmarks/results."""
    text = readme.README.read_text(encoding="utf-8")
    assert "| dedupver |" in text
    assert readme.filled(text) == text
