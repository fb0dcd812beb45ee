"""Seeds: where two sequences have nearly the same code, which is where they are compared.

The table of a segment holds a key of 32 bits for each half of each code (a code of 32 bits is one half), in order, and
where it is from. It is asked for each key of a new sequence and for those that differ from it in one bit, as in
Haitsma and Kalker, "A highly robust audio fingerprinting system", 2002. From each seed the two sequences are followed
along their common offset both ways until they differ too much (an extension without gaps, as in BLAST: Altschul et al.,
"Basic local alignment search tool", 1990): what lies between is a span. A seed also proposes the pair of wholes.

Nothing that is common makes this more than linear: silence has no key, of a run of equal codes the first alone has one,
a key is kept for its first places in a row, and of a key's places in a segment only the first `cap` are looked at.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads
from dedupver.index.sequences import HEARD, popcount, score_at, sounding
from dedupver.schema import DedupverError

if TYPE_CHECKING:
    from dedupver.fingerprint.ragged import Ragged

Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint32]
Codes = npt.NDArray[Any]  # uint32 or uint64
Found = npt.NDArray[np.int64]  # columns: see the functions that return it

REPEATS: Final = 4
"""So many places of a key in one row are kept: what sounds again and again is found by the first of it."""

_SPREAD: Final = 0x9E3779B1  # odd, so that no two keys become one; 2^32 / the golden ratio
_HALVES: Final = 0x7F4A7C15  # sets the keys of the second half apart
_CHUNK: Final = 256  # codes of a row whose seeds are held at a time
_DROP: Final = 4  # codes that differ in all bits: an extension ends when it has lost so much
_NEAR: Final = 0.1  # by which a score at a seed's offset may be below the floor: the best offset may be the next
_MOST: Final = 16  # spans of a pair
_ZERO: Final = 1 << 31  # added to an offset, so that it is a number without a sign


class Seeds(NamedTuple):
    """The table of a segment: keys in ascending order, and the place of each among the segment's codes; shapes (m,)."""

    keys: Keys
    places: npt.NDArray[np.uint32]


class Asked(NamedTuple):
    """What is looked for."""

    cap: int  # places of a key that are looked at
    floor: float  # of the score of wholes
    codes: int  # of a span, at least
    similarity: float  # share of the bits that agree in a span, at least


class Hits(NamedTuple):
    """What was found, by row of the new sequences."""

    pairs: Found  # (m, 3): row, the other's row, whether a key had more places than were looked at
    spans: Found  # (k, 7): row, the other's row, first code, last + 1, the other's first code, bits agreed, codes heard


def make(codes: Ragged) -> Seeds:
    """Return the table of some rows of codes.

    Raises DedupverError for 2³² codes or more.
    """
    if len(codes.values) >= 1 << 32:
        raise DedupverError(f"a version holds at most {1 << 32} codes of sound or video, not {len(codes.values)}")
    packed = np.sort(_packed(codes.offsets, codes.values))
    keys, places = (packed >> np.uint64(32)).astype(np.uint32), packed.astype(np.uint32)
    rows = np.searchsorted(codes.offsets, places, side="right")
    again = np.zeros(len(keys), np.bool_)
    again[REPEATS:] = (keys[REPEATS:] == keys[:-REPEATS]) & (rows[REPEATS:] == rows[:-REPEATS])
    return Seeds(keys[~again], places[~again])


def search(new: Ragged, old: Ragged, seeds: Seeds, asked: Asked, *, same: bool = False) -> Hits:
    """Return the pairs of a new row and an old one whose score may reach the floor, and the spans that they share.

    `seeds` is the table of `old`. With `same` the two are one, and only pairs of a row and a smaller row count. Spans
    of a pair are those that agree in most bits first; those that lie mostly within one before are left out, and so are
    more than 16.
    """
    directory, news, olds = _directory(seeds.keys), sounding(new), sounding(old)
    blocks = _blocks(new.offsets)

    def block(edges: tuple[int, int]) -> tuple[Found, Found]:
        found: tuple[Found, Found] = _search(
            edges[0],
            edges[1],
            new.offsets,
            new.values,
            news,
            old.offsets,
            old.values,
            olds,
            *seeds,
            directory,
            asked,
            same,
        )
        return found

    with ThreadPoolExecutor(threads()) as pool:
        parts = [(np.empty((0, 3), np.int64), np.empty((0, 7), np.int64)), *pool.map(block, blocks)]
    pairs, spans = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Hits(_each_once(pairs), spans)


def _each_once(pairs: Found) -> Found:
    """Return each pair once, in order: chunks of a row propose it again."""
    pairs = pairs[np.lexsort((-pairs[:, 2], pairs[:, 1], pairs[:, 0]))]
    first = np.ones(len(pairs), np.bool_)
    first[1:] = (pairs[1:, :2] != pairs[:-1, :2]).any(axis=1)
    return pairs[first]


def _blocks(offsets: Rows) -> list[tuple[int, int]]:
    """Cut rows into blocks of about 65,536 codes, which threads share."""
    edges = np.searchsorted(offsets, np.arange(0, offsets[-1], 1 << 16), side="right") - 1
    edges = np.unique(np.append(edges, len(offsets) - 1))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


def _directory(keys: Keys) -> Rows:
    """Return where the keys with each value of their first bits begin; there are about eight of each."""
    bits = min(max(len(keys).bit_length() - 3, 1), 24)
    return np.append(0, np.cumsum(np.bincount(keys >> np.uint32(32 - bits), minlength=1 << bits)))


@njit(cache=True, nogil=True)
def _key(code: np.uint64, half: int) -> np.uint32:
    """Return the key of a half of a code, spread evenly over all numbers of 32 bits."""
    part = (code >> np.uint64(32 * half)) + np.uint64(half * _HALVES)
    return np.uint32(part * np.uint64(_SPREAD) & np.uint64(0xFFFFFFFF))


@njit(cache=True, nogil=True)
def _speaks(values: Codes, begin: int, k: int) -> bool:
    """Whether the code at a place says something, and something else than the one before in its row."""
    return bool(values[k] != 0 and (k == begin or values[k] != values[k - 1]))


@njit(cache=True, nogil=True)
def _packed(offsets: Rows, values: Codes) -> npt.NDArray[np.uint64]:
    """Return key and place of every half of every code that speaks."""
    halves, n = values.itemsize // 4, 0
    packed = np.empty(len(values) * halves, np.uint64)
    for row in range(len(offsets) - 1):
        for k in range(offsets[row], offsets[row + 1]):
            for half in range(halves if _speaks(values, offsets[row], k) else 0):
                packed[n] = np.uint64(_key(np.uint64(values[k]), half)) << np.uint64(32) | np.uint64(k)
                n += 1
    return packed[:n]


@njit(cache=True, nogil=True)
def _search(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    first: int,
    last: int,
    new: Rows,
    mine: Codes,
    news: Rows,
    old: Rows,
    theirs: Codes,
    olds: Rows,
    keys: Keys,
    places: Keys,
    directory: Rows,
    asked: Asked,
    same: bool,
) -> tuple[Found, Found]:
    """Search for the rows from `first` to `last`."""
    pairs, n = np.empty((64, 3), np.int64), 0
    spans, m = np.empty((64, 7), np.int64), 0
    for row in range(first, last):
        a, begin = mine[new[row] : new[row + 1]], n
        met, fresh = np.empty((64, 7), np.int64), 0
        for start in range(0, len(a), _CHUNK):
            before = old[row] if same else len(theirs)
            seeds, cut = _collect(a, start, keys, places, directory, old, before, asked.cap)
            met, fresh, pairs, n = _follow(row, a, news[row], seeds, old, theirs, olds, asked, met, fresh, pairs, n)
            pairs[begin:n, 2] |= cut
        spans, m = _longest(met[:fresh], spans, m)
    return pairs[:n], spans[:m]


@njit(cache=True, nogil=True)
def _collect(  # noqa: PLR0913, PLR0917 - as above
    a: Codes, start: int, keys: Keys, places: Keys, directory: Rows, old: Rows, before: int, cap: int
) -> tuple[Found, bool]:
    """Return the seeds of a chunk of a row, (other's row, offset, code), in order; and whether a key had too many."""
    where, at, n, cut = np.empty(256, np.uint64), np.empty(256, np.int64), 0, False
    for i in range(start, min(start + _CHUNK, len(a))):
        for probe in range(33 * (a.itemsize // 4) if _speaks(a, 0, i) else 0):
            half, bit = probe // 33, probe % 33
            code = np.uint64(a[i])
            if bit < 32:
                code ^= np.uint64(1) << np.uint64(32 * half + bit)
            key = _key(code, half)
            first = _first(keys, directory, key)
            for k in range(first, len(keys)):
                if keys[k] != key or places[k] >= before:
                    break
                if k - first == cap:
                    cut = True
                    break
                if n == len(at):
                    where, at = np.concatenate((where, where)), np.concatenate((at, at))
                row = np.searchsorted(old, places[k], side="right") - 1
                where[n] = np.uint64(row) << np.uint64(32) | np.uint64(places[k] - old[row] - i + _ZERO)
                at[n] = i
                n += 1
    return _sorted(where[:n], at[:n]), cut


@njit(cache=True, nogil=True)
def _first(keys: Keys, directory: Rows, key: np.uint32) -> int:
    """Return the first place of a key, or of a greater one."""
    shift = 32
    while len(directory) - 1 > 1 << (32 - shift):
        shift -= 1
    slot = key >> np.uint32(shift)
    low, high = directory[slot], directory[slot + np.uint32(1)]
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _sorted(where: npt.NDArray[np.uint64], at: Rows) -> Found:
    """Return (other's row, offset, code) in this order."""
    order = np.argsort(where, kind="mergesort")  # stable: codes ascend already
    seeds = np.empty((len(at), 3), np.int64)
    for k in range(len(at)):
        seeds[k, 0] = np.int64(where[order[k]] >> np.uint64(32))
        seeds[k, 1] = np.int64(where[order[k]] & np.uint64(0xFFFFFFFF)) - _ZERO
        seeds[k, 2] = at[order[k]]
    return seeds


@njit(cache=True, nogil=True)
def _follow(  # noqa: PLR0913, PLR0917 - as above
    row: int,
    a: Codes,
    sounds: int,
    seeds: Found,
    old: Rows,
    theirs: Codes,
    olds: Rows,
    asked: Asked,
    spans: Found,
    m: int,
    pairs: Found,
    n: int,
) -> tuple[Found, int, Found, int]:
    """Extend seeds along their offsets into spans, and add the pairs whose wholes may reach the floor."""
    end, begin = 0, n  # of the last extension at the offset; of this chunk's pairs
    for k in range(len(seeds)):
        other, offset, at = seeds[k]
        fresh = k == 0 or other != seeds[k - 1, 0] or offset != seeds[k - 1, 1]
        if not fresh and at < end:
            continue
        b = theirs[old[other] : old[other + 1]]
        start, end, agreed, heard = _extended(a, b, offset, at, asked.similarity)
        if heard >= asked.codes and agreed >= asked.similarity * 8 * a.itemsize * heard:
            spans = spans if m < len(spans) else _grown(spans)
            spans[m] = (row, other, start, end, start + offset, agreed, heard)
            m += 1
        proposed = n > begin and pairs[n - 1, 1] == other
        if fresh and not proposed and _reaches(a, b, offset, sounds, olds[other], asked.floor):
            pairs = pairs if n < len(pairs) else _grown(pairs)
            pairs[n] = (row, other, 0)
            n += 1
    return spans, m, pairs, n


@njit(cache=True, nogil=True)
def _reaches(  # noqa: PLR0913, PLR0917 - as above
    a: Codes, b: Codes, offset: int, left: int, right: int, floor: float
) -> bool:
    """Whether the wholes are alike enough at an offset, or one beside it, for all their offsets to be tried."""
    most = min(len(a), len(b) - offset) - max(0, -offset)
    if min(most + 1, left, right) < (floor - _NEAR) * HEARD * max(left, right):
        return False
    for near in range(max(offset - 1, 1 - len(a)), min(offset + 2, len(b))):
        if score_at(a, b, near, left, right) >= floor - _NEAR:
            return True
    return False


@njit(cache=True, nogil=True)
def _extended(a: Codes, b: Codes, offset: int, at: int, similarity: float) -> tuple[int, int, int, int]:
    """Return first code, last + 1, bits that agree, and codes that both say, of the span around a seed."""
    stop, agreed, heard = _way(a, b, offset, at, 1, similarity)
    start, more, further = _way(a, b, offset, at - 1, -1, similarity)
    return start + 1, stop, agreed + more, heard + further


@njit(cache=True, nogil=True)
def _way(  # noqa: PLR0913, PLR0917 - as above
    a: Codes, b: Codes, offset: int, at: int, step: int, similarity: float
) -> tuple[int, int, int]:
    """Follow two sequences one way to where they have agreed most; return the code after that, and the counts."""
    bits, gain, most, end = 8 * a.itemsize, 0.0, 0.0, at
    agreed = heard = best_agreed = best_heard = 0
    allowed = bits * (1 - similarity)
    i = at
    while max(0, -offset) <= i < min(len(a), len(b) - offset) and gain >= most - _DROP * bits:
        x, y = np.uint64(a[i]), np.uint64(b[i + offset])
        i += step
        if x != 0 and y != 0:
            differ = popcount(x ^ y)
            agreed, heard = agreed + bits - differ, heard + 1
            gain += allowed - differ
        elif x != 0 or y != 0:
            gain += allowed - bits / 2  # like unlike sounds
        if gain > most:
            most, end, best_agreed, best_heard = gain, i, agreed, heard
    return end, best_agreed, best_heard


@njit(cache=True, nogil=True)
def _longest(met: Found, spans: Found, m: int) -> tuple[Found, int]:
    """Add the spans of one row to those before: of each other row those that agree in most bits and lie mostly apart.

    Not the longest: where little changes, a span at a wrong offset can be a code longer.
    """
    order = np.argsort(met[:, 1] * _ZERO - met[:, 5], kind="mergesort")
    begin = m
    for k in order:
        begin = begin if m > begin and spans[begin, 1] == met[k, 1] else m
        if m - begin < _MOST and not _within(met[k], spans[begin:m]):
            spans = spans if m < len(spans) else _grown(spans)
            spans[m] = met[k]
            m += 1
    return spans, m


@njit(cache=True, nogil=True)
def _within(span: Found, spans: Found) -> bool:
    """Whether half of a span or more lies within one of some others, on either side."""
    length = span[3] - span[2]
    for other in spans:
        ours = min(span[3], other[3]) - max(span[2], other[2])
        size = other[3] - other[2]
        theirs = min(span[4] + length, other[4] + size) - max(span[4], other[4])
        if 2 * min(ours, theirs) >= length:
            return True
    return False


@njit(cache=True, nogil=True)
def _grown(rows: Found) -> Found:
    more = np.empty((2 * len(rows), rows.shape[1]), np.int64)
    more[: len(rows)] = rows
    return more
