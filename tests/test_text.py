"""Texts: the normal form, shingles against a plain implementation, signatures against datasketch."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import numba
import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.fingerprint.text import Sets, content_digest, minhash, normalize, shingle_sets

MASK = (1 << 64) - 1
GOLDEN_SET = [1520118161, 1999537592, 4008535320]
GOLDEN_SIGNATURE = [129722282, 331658048, 202631684, 23465075]
TEXTS = st.lists(st.text("ab1_ .é你\n", max_size=40), max_size=40)


def mixed(x: int) -> int:
    """Return murmur3's 64-bit finaliser of x."""
    x = ((x ^ x >> 33) * 0xFF51AFD7ED558CCD) & MASK
    x = ((x ^ x >> 33) * 0xC4CEB9FE1A85EC53) & MASK
    return x ^ x >> 33


def token_hash(token: bytes) -> int:
    """Return the mixed FNV-1a hash of a token."""
    h = 0xCBF29CE484222325
    for byte in token:
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return mixed(h)


def plain(text: str, size: int, min_tokens: int) -> list[int]:
    """Return a text's shingle set the slow way."""
    tokens = [token_hash(t) for t in re.findall(rb"[A-Za-z0-9_\x80-\xff]+", text.encode())]
    if len(tokens) < max(min_tokens, 1):
        return []
    runs = [tokens[i : i + size] for i in range(max(1, len(tokens) - size + 1))]
    base = 0x9E3779B97F4A7C15
    values = (sum(t * pow(base, k, 1 << 64) for k, t in enumerate(reversed(run))) & MASK for run in runs)
    return sorted({mixed(v) >> 32 for v in values})


def as_lists(sets: Sets) -> list[list[int]]:
    """Return each set as a list."""
    return [sets.values[a:b].tolist() for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]


def by_datasketch(values: list[int], num_perm: int, seed: int) -> list[int]:
    """Return the signature that datasketch gives."""
    oracle = MinHash(num_perm, seed=seed, scheme="affine32", hashfunc=lambda value: value)
    oracle.update_batch(values)
    return [int(v) for v in oracle.hashvalues]


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  Hello,\n\tWORLD  ", "hello, world"),
        ("Straße", "strasse"),
        ("e\u0301", "é"),
        ("Ｅ", "ｅ"),
        ("J\u030c", "ǰ"),
        ("a\u00a0\u2003b", "a b"),
        ("\u212b", "å"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_normal_form_by_hand(text: str, normal: str) -> None:
    """Case is folded, composed forms win, any white space is one space; compatibility forms stay apart."""
    assert normalize(text) == normal


@given(st.text() | st.text("ßİıǰΐᾳ\u0345\u0301\u030cA\u1e9eΣςK\u0130 \u3000\x85\u1fb7ﬀ"))
def test_normalize_is_idempotent(text: str) -> None:
    """The normal form of a normal form is itself."""
    assert normalize(normalize(text)) == normalize(text)


@given(st.text())
def test_canonically_equal_texts_have_one_normal_form(text: str) -> None:
    """Whether they come composed or decomposed; and white space around them is nothing."""
    assert normalize(unicodedata.normalize("NFD", text)) == normalize(text)
    assert normalize(f"\n {text}\t") == normalize(text)


@given(st.text("abcXYZ \t\n09.", max_size=20))
def test_ascii_is_normalised_as_any_other_text(text: str) -> None:
    """The shorter way that ASCII takes leads to the same place."""
    assert normalize(text) + " é" == normalize(text.strip() + " é") or not text.strip()


def test_content_digest_is_the_sha256_of_utf8() -> None:
    """32 bytes."""
    assert content_digest("é") == hashlib.sha256(b"\xc3\xa9").digest()


def test_a_lone_surrogate_has_no_digest() -> None:
    """It is for the caller to quarantine; nothing is replaced."""
    with pytest.raises(UnicodeEncodeError):
        content_digest("\ud800")


@settings(deadline=None)
@given(TEXTS, st.integers(1, 6), st.integers(0, 6))
def test_shingle_sets_equal_the_plain_way(texts: list[str], size: int, min_tokens: int) -> None:
    """For any texts, shingle size and minimum of tokens."""
    assert as_lists(shingle_sets(texts, size, min_tokens)) == [plain(t, size, min_tokens) for t in texts]


def test_long_texts_are_sorted_and_distinct() -> None:
    """2,000 tokens take the sort by digits; half of them repeat."""
    words = [f"w{i % 1000}" for i in range(2000)]
    sets = shingle_sets([" ".join(words), "a b"], 3, 1)
    assert as_lists(sets) == [plain(" ".join(words), 3, 1), plain("a b", 3, 1)]
    assert sets.offsets.tolist() == [0, 1000, 1001]
    assert sets.offsets.dtype == np.int64
    assert sets.values.dtype == np.uint32


def test_short_texts() -> None:
    """Below the minimum nothing; below the shingle size one shingle; "ab c" is not "a bc"."""
    sets = as_lists(shingle_sets(["a b", "a b c", "ab c d", "a bc d", "a. b, c!"], 5, 3))
    assert [len(s) for s in sets] == [0, 1, 1, 1, 1]
    assert sets[1] == sets[4]
    assert sets[2] != sets[3]


def test_shingles_keep_the_order_of_words() -> None:
    """A permutation of the words is another set."""
    one, other = as_lists(shingle_sets(["dog bites man", "man bites dog"], 3, 1))
    assert one != other


def test_a_set_depends_on_its_own_text_alone() -> None:
    """Whatever texts stand beside it and however many threads run."""
    texts = [f"{i} " * (i % 90) + "x y z" for i in range(500)]
    threads = numba.get_num_threads()
    together = as_lists(shingle_sets(texts, 3, 1))
    numba.set_num_threads(1)
    assert as_lists(shingle_sets(texts, 3, 1)) == together
    numba.set_num_threads(threads)
    assert [as_lists(shingle_sets([t], 3, 1))[0] for t in texts[:50]] == together[:50]


def test_no_texts_give_no_sets() -> None:
    """An empty batch is no special case."""
    sets = shingle_sets([], 3, 1)
    assert len(sets) == 0
    assert minhash(sets, 16, 1).shape == (0, 16)


def test_hashes_do_not_collide_more_than_chance() -> None:
    """Of 100,000 distinct shingles about n²/2³³ = 1.2 pairs collide."""
    sets = shingle_sets([" ".join(str(i) for i in range(100_002))], 3, 1)
    assert 100_000 - 8 <= len(sets.values) <= 100_000


@settings(deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 2**32 - 1), max_size=30), max_size=8),
    st.integers(1, 200),
    st.integers(0, 2**32 - 1),
)
def test_minhash_is_datasketch_bit_for_bit(sets: list[set[int]], num_perm: int, seed: int) -> None:
    """For any sets, number of permutations and seed; the empty set gives all ones."""
    ordered = [sorted(s) for s in sets]
    csr = Sets(np.cumsum([0, *map(len, ordered)]), np.array([v for s in ordered for v in s], np.uint32))
    got = minhash(csr, num_perm, seed)
    assert got.dtype == np.uint32
    assert got.tolist() == [by_datasketch(s, num_perm, seed) for s in ordered]
    assert all((row == 0xFFFFFFFF).all() for row, s in zip(got, ordered, strict=True) if not s)


def test_shingles_and_signatures_have_golden_values() -> None:
    """A change of these breaks every index that was written before it."""
    sets = shingle_sets(["the quick brown fox jumps"], 3, 1)
    assert sets.values.tolist() == plain("the quick brown fox jumps", 3, 1) == GOLDEN_SET
    assert minhash(sets, 4, 1).tolist() == [GOLDEN_SIGNATURE]
