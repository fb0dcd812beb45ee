"""The exact truth: all pairs of records whose shingle sets have a Jaccard similarity at or above a threshold.

A prefix-filtered set-similarity join. Source: Xiao et al., "Efficient similarity joins for near-duplicate detection",
2011 (PPJoin's prefix and size filters, with the count carried out by a merge that stops early). It shares no code with
the tools it judges; tests/test_benchmark.py compares it with brute force.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

Ints = npt.NDArray[np.int64]

_GAPS: Final = {c: " " for c in range(128) if not (chr(c).isalnum() or chr(c) == "_")}
_PUNCTUATION: Final = re.compile(r"[!-/:-@\[-`{-~\s]+")
_NON_WORD: Final = re.compile(r"\W")


def _words(text: str) -> list[str]:
    return text.lower().translate(_GAPS).split()


def _between_punctuation(text: str) -> list[str]:
    return [word for word in _PUNCTUATION.split(text.lower()) if word]


def _between_non_words(text: str) -> list[str]:
    return _NON_WORD.split(text.lower())


_NO_SPACES: Final = ("CJK ", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI ", "LAO ", "MYANMAR", "KHMER")


def _by_script(text: str) -> list[str]:
    """Return words, and of scripts without spaces each letter with its marks, after the one before it."""
    pattern, hidden = _scripts()
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).translate(hidden)
    found, end, before = [], 0, ""
    for match in pattern.finditer(text):
        letter, word = match.groups()
        found.append(word or f"{before if match.start() == end else ''} {letter}")
        end, before = match.end(), letter or ""
    return found


@functools.cache
def _scripts() -> tuple[re.Pattern[str], dict[int, None]]:
    """Return what finds letters and words, and the characters that are passed over."""
    every = [c for c in map(chr, range(0x20000)) if unicodedata.category(c) not in {"Cs", "Cn"}]
    of = {c: unicodedata.category(c) for c in every}
    alone = [c for c in every if of[c] in {"Lo", "Lm", "Nl"} and unicodedata.name(c, "").startswith(_NO_SPACES)]
    alone += [c for c in every if of[c] == "So" and "\U0001f000" <= c < "\U0001fb00"]
    variants = {c for c in every if unicodedata.name(c, "").startswith("VARIATION SELECTOR")}
    marks = "".join(c for c in every if of[c][0] == "M" and c not in variants)
    words = "".join({"_", *(c for c in every if of[c][0] in "LN")} - set(alone))
    hidden = [c for c in every if c in variants or (of[c] == "Cf" and c != "\u200b")]
    return re.compile(f"([{''.join(alone)}][{marks}]*)|([{words}][{words}{marks}]*)"), dict.fromkeys(map(ord, hidden))


# What the tools call a token; each tool is judged by the truth of its own.
TOKENS: Final[dict[str, Callable[[str], list[str]]]] = {
    "words": _words,  # runs of letters, digits, _ and non-ASCII
    "scripts": _by_script,  # dedupver's
    "punctuation": _between_punctuation,  # gaoya's: what is between ASCII punctuation (so _ splits) or white space
    "non-words": _between_non_words,  # text-dedup's: as words, but two separators in a row enclose an empty token
}


@dataclass(frozen=True, eq=False)
class Truth:
    """Records with equal shingle sets are one node; the pairs are of nodes."""

    node: Ints  # (records,)
    pairs: Ints  # (m, 2), the lesser node first, in ascending order


def load(texts: Callable[[], list[str]], tokens: str, size: int, threshold: float, cache: Path) -> Truth:
    """Return the truth of the texts, found or read from where it was written before."""
    if not cache.exists():
        found = find(texts(), TOKENS[tokens], size, threshold)
        cache.parent.mkdir(parents=True, exist_ok=True)
        np.savez(cache, node=found.node, pairs=found.pairs)
    with np.load(cache) as arrays:
        return Truth(arrays["node"], arrays["pairs"])


def find(texts: Iterable[str], tokens: Callable[[str], list[str]], size: int, threshold: float) -> Truth:
    """Return all pairs of texts whose sets of `size` consecutive tokens have Jaccard similarity `threshold` or more."""
    sets: dict[bytes, int] = {}
    node = np.array([sets.setdefault(_set(tokens(text), size).tobytes(), len(sets)) for text in texts], np.int64)
    members = [np.frombuffer(key, np.int64) for key in sets]
    return Truth(node, join(members, threshold))


def _set(tokens: list[str], size: int) -> Ints:
    runs = zip(*(tokens[i:] for i in range(size)), strict=False)
    return np.unique(np.fromiter(map(hash, runs), np.int64))


def join(sets: list[Ints], threshold: float) -> Ints:
    """Return the pairs (i, j), i < j, of sets with |A ∩ B| / |A ∪ B| ≥ threshold; shape (m, 2), ascending."""
    order = np.argsort([len(s) for s in sets], kind="stable")
    offsets = np.cumsum([0, *(len(sets[i]) for i in order)])
    ranks = _rare_first(np.concatenate([np.empty(0, np.int64), *(sets[i] for i in order)]), offsets)
    exact = Fraction(str(threshold))
    found = order[_join(offsets, ranks, exact.numerator, exact.denominator)].reshape(-1, 2)
    found.sort(axis=1)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def _rare_first(values: Ints, offsets: Ints) -> Ints:
    """Return the values as ranks by how many sets hold them, ascending within each set."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    ranks = rank[inverse]
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return ranks[np.lexsort((ranks, owner))]


@njit(cache=True)
def _join(offsets: Ints, ranks: Ints, num: int, den: int) -> Any:
    """Return the pairs of sets in ascending order of size; each set's rarest values alone are looked up."""
    n = len(offsets) - 1
    ends = _postings(offsets, ranks, num, den)
    low, high = ends[:-1].copy(), ends[:-1].copy()  # a value's postings so far that are large enough: low … high
    posting = np.empty(ends[-1], np.int64)
    seen = np.full(n, -1, np.int64)
    pairs, count = np.empty((1024, 2), np.int64), 0
    for x in range(n):
        size = offsets[x + 1] - offsets[x]
        least = -(-num * size // den)
        prefix = ranks[offsets[x] : offsets[x] + size - least + 1]
        for value in prefix:
            while low[value] < high[value] and _size(offsets, posting[low[value]]) < least:
                low[value] += 1
            for y in posting[low[value] : high[value]]:
                if seen[y] == x:
                    continue
                seen[y] = x
                if _similar(ranks[offsets[y] : offsets[y + 1]], ranks[offsets[x] : offsets[x + 1]], num, den):
                    if count == len(pairs):
                        pairs = np.concatenate((pairs, np.empty_like(pairs)))
                    pairs[count] = y, x
                    count += 1
        for value in prefix:
            posting[high[value]] = x
            high[value] += 1
    return pairs[:count]


@njit(cache=True)
def _postings(offsets: Ints, ranks: Ints, num: int, den: int) -> Any:
    """Return where each value's postings begin: as many as sets have it among their rarest."""
    ends = np.zeros(ranks.max() + 2 if len(ranks) else 1, np.int64)
    for x in range(len(offsets) - 1):
        size = offsets[x + 1] - offsets[x]
        for value in ranks[offsets[x] : offsets[x] + size - -(-num * size // den) + 1]:
            ends[value + 1] += 1
    return np.cumsum(ends)


@njit(cache=True)
def _size(offsets: Ints, x: int) -> Any:
    return offsets[x + 1] - offsets[x]


@njit(cache=True)
def _similar(a: Ints, b: Ints, num: int, den: int) -> Any:
    need = -(-num * (len(a) + len(b)) // (num + den))  # |A ∩ B| of sets that are just similar enough
    i = j = common = 0
    while i < len(a) and j < len(b):
        if common + min(len(a) - i, len(b) - j) < need:
            return False
        if a[i] == b[j]:
            common += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return common >= need
