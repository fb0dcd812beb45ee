"""Texts: shingles against a plain implementation, signatures against datasketch."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.fingerprint import hashes, text, tokens
from dedupver.fingerprint.strings import Strings
from dedupver.fingerprint.text import Sets
from dedupver.index.minhash import minhash

MASK = (1 << 64) - 1
GOLDEN_SET = [1520118161, 1999537592, 4008535320]
GOLDEN_SIGNATURE = [129722282, 331658048, 202631684, 23465075]
MIXED = "ab1_ .é\u0301你好ひカーไทย\u0e49ខ្ម\u200b\u200d\ufe0f\u00ad-=한글ж۱🔥🏽𠀀\U000e0101\n"
TEXTS = st.lists(st.text(MIXED, max_size=40), max_size=40)
UNSPACED = (
    *(
        "THAI",
        "LAO",
        "MYANMAR",
        "KHMER",
        "TAI LE",
        "NEW TAI LUE",
        "TAI THAM",
        "TAI VIET",
        "BALINESE",
        "JAVANESE",
        "AHOM",
    ),
    *("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC", "HANGZHOU", "VERTICAL KANA"),
    *(
        "HIRAGANA",
        "KATAKANA",
        "HALFWIDTH KATAKANA",
        "BOPOMOFO",
        "MASU",
        "VERTICAL IDEO",
        "OLD CHINESE ITERATION",
        "TANGUT",
        "KHITAN",
        "NUSHU",
        "HENTAIGANA",
    ),
)


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


def role(c: str, tokens: str) -> str:
    """Return what a character is to a token, by its category and its name."""
    category, name = unicodedata.category(c), unicodedata.name(c, "TANGUT")  # to which Python gives no names
    if category[0] == "M":
        return "hidden" if name.startswith("VARIATION SELECTOR") else "mark"
    if category == "Cf" and c != "\u200b":
        return "hidden"
    if c.isascii() and c.isprintable() and not c.isalnum() and c not in "_ ":
        return "alone" if tokens == "code" else "gap"
    if name.startswith("EMOJI MODIFIER"):
        return "mark"
    drawn = "\U0001f000" <= c < "\U0001fb00" or name.startswith(("CJK RADICAL", "KANGXI"))
    unspaced = (category == "So" and drawn) or (category in {"Lo", "Lm", "Nl"} and name.startswith(UNSPACED))
    if not unspaced and category[0] not in "LN" and c != "_":
        return "gap"
    return "alone" if tokens == "characters" else "paired" if unspaced else "word"


def tokens_of(text: str, tokens: str) -> list[tuple[bytes, ...]]:
    """Return a text's tokens: of scripts without spaces (the letter, the one before it)."""
    found: list[tuple[bytes, ...]] = []
    open_, before = "", b""
    for c in text:
        what, data = role(c, tokens), c.encode()
        if what == "hidden" or (what == "mark" and not open_):
            continue
        if what == "gap":
            open_, before = "", b""
        elif what == "mark" or what == open_ == "word":
            found[-1] = (found[-1][0] + data, *found[-1][1:])
        else:
            before = found[-1][0] if open_ == what == "paired" else b""
            found.append((data, before) if what == "paired" else (data,))
            open_ = what
    return found


def hash_of(token: tuple[bytes, ...]) -> int:
    """Return the hash of a token."""
    h = token_hash(token[0])
    if len(token) == 1:
        return h
    before = token_hash(token[1]) if token[1] else 0
    return mixed((before * 0x9E3779B97F4A7C15 + h) & MASK)


def plain(text: str, size: int, min_tokens: int, how: str = "words") -> list[int]:
    """Return a text's shingle set the slow way."""
    tokens = [hash_of(token) for token in tokens_of(text, how)]
    if len(tokens) < max(min_tokens, 1):
        return []
    runs = [tokens[i : i + size] for i in range(max(1, len(tokens) - size + 1))]
    base = 0x9E3779B97F4A7C15
    values = (sum(t * pow(base, k, 1 << 64) for k, t in enumerate(reversed(run))) & MASK for run in runs)
    return sorted({mixed(v) >> 32 for v in values})


def as_lists(sets: Sets) -> list[list[int]]:
    """Return each set as a list."""
    return [sets.values[a:b].tolist() for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]


def shingle_sets(texts: list[str], size: int, min_tokens: int, how: str = "words") -> Sets:
    """Return the sets of a list of texts."""
    return text.shingle_sets(Strings.of_list(t.encode() for t in texts), size, min_tokens, how)


def by_datasketch(values: list[int], num_perm: int, seed: int) -> list[int]:
    """Return the signature that datasketch gives."""
    oracle = MinHash(num_perm, seed=seed, scheme="affine32", hashfunc=lambda value: value)
    oracle.update_batch(values)
    return [int(v) for v in oracle.hashvalues]


@settings(deadline=None)
@given(TEXTS, st.integers(1, 6), st.integers(0, 6), st.sampled_from(["words", "characters", "code"]))
def test_shingle_sets_equal_the_plain_way(texts: list[str], size: int, min_tokens: int, how: str) -> None:
    """For any texts of many scripts, shingle size, minimum of tokens and kind of token."""
    assert as_lists(shingle_sets(texts, size, min_tokens, how)) == [plain(t, size, min_tokens, how) for t in texts]


@pytest.mark.parametrize("how", ["words", "characters", "code"])
def test_the_class_of_each_character_follows_from_its_name(how: str) -> None:
    """Of every character that this Python knows; Unicode's names say the script."""
    words = {"gap": tokens.GAP, "word": tokens.WORD, "alone": tokens.ALONE, "paired": tokens.PAIRED}
    words |= {"mark": tokens.MARK, "hidden": tokens.HIDDEN}
    known = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in {"Cn", "Co", "Cs", "Cc"}]
    table = tokens.classes(how)
    strings = np.frombuffer("".join(known).encode(), np.uint8)
    starts = np.cumsum([0, *(len(c.encode()) for c in known)])
    wrong = [
        (hex(ord(c)), unicodedata.name(c, ""), role(c, how))
        for c, at in zip(known, starts, strict=False)
        if (table[ord(c)] if c.isascii() else tokens.class_at(strings, at, table)) != words[role(c, how)]
    ]
    assert wrong == []


@pytest.mark.parametrize("count", [2, 16, 17, 1023, 1024, 1025, 3000])
def test_sets_of_any_size_are_sorted_and_distinct(count: int) -> None:
    """Few shingles are sorted by insertion, some by their leading bits, many by digits; here each comes twice."""
    words = " ".join(f"w{i % count}" for i in range(2 * count))
    sets = shingle_sets([words, "a b"], 1, 1)
    assert as_lists(sets) == [plain(words, 1, 1), plain("a b", 1, 1)]
    assert sets.offsets.tolist() == [0, count, count + 2]
    assert sets.offsets.dtype == np.int64
    assert sets.values.dtype == np.uint32


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 9), max_size=80), st.integers(0, 30))
def test_values_are_sorted_however_they_are_spread(values: list[int], bits: int) -> None:
    """Also where all of them share their leading bits, which hashes hardly do."""
    array = np.array(values, np.uint32) >> np.uint32(bits)
    found = array.copy()
    hashes.sort(found, np.empty(len(found), np.uint32), np.empty(hashes.SOME, np.int64))
    assert found.tolist() == sorted(array.tolist())


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
    """Whatever texts stand beside it, and wherever in the buffer it lies."""
    texts = [f"{i} " * (i % 90) + "x y z" for i in range(100)]
    strings = Strings.of_list(t.encode() for t in texts)
    together = as_lists(text.shingle_sets(strings, 3, 1))
    assert [as_lists(shingle_sets([t], 3, 1))[0] for t in texts] == together
    some = np.array([70, 3, 3, 99])
    assert as_lists(text.shingle_sets(strings.take(some), 3, 1)) == [together[i] for i in some]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6), st.data())
def test_sets_are_taken_and_joined_like_lists(lists: list[list[int]], data: st.DataObject) -> None:
    """Some rows of several sets put together, in any order and repeated."""
    csr = Sets(np.cumsum([0, *map(len, lists)]), np.array([v for each in lists for v in each], np.uint32))
    rows = data.draw(st.lists(st.integers(0, 2 * len(lists) - 1), max_size=9)) if lists else []
    found = Sets.joined([csr, csr]).take(np.array(rows, np.int64))
    assert as_lists(found) == [(lists + lists)[row] for row in rows]
    assert found.sizes.tolist() == [len((lists + lists)[row]) for row in rows]


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
