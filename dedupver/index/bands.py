"""The bands of a segment's MinHash signatures as tables, sorted by key: equal keys are a bucket of banded LSH.

Source of the banding: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4. Two sets of Jaccard
similarity s share a bucket with probability 1 - (1 - s^rows)^bands.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver import store
from dedupver.compiled import njit, threads
from dedupver.index.minhash import EMPTY, lower, permutations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver.fingerprint.text import Sets

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.uint32]
Values = npt.NDArray[np.uint32]

KEYS, ROWS = "bands.keys", "bands.rows"
"""How the two arrays of a modality's bands end."""

_TOGETHER: Final = 16  # bands made in one pass over the sets
_BLOCK: Final = 1 << 12  # sets that a thread hashes at a time: threads that meet less often wait less on a busy machine


@dataclass(frozen=True, eq=False)
class Band:
    """One band of a segment: its keys, ascending, and the content row of each; equal keys by row."""

    keys: Keys  # (n,)
    rows: Places  # (n,)


def make(sets: Sets, count: int, rows: int, seed: int) -> Iterator[Band]:
    """Give each of the `count` bands of the sets that are not empty.

    A key is the 64-bit hash of a band's ordinal and its `rows` values of the MinHash signature, so equal values in
    different bands have different keys. No signature is kept: each is made, some permutations at a time, where its band
    is hashed, which takes less time than to write and read it. Memory is that of some bands.
    """
    contents = np.flatnonzero(sets.sizes).astype(np.uint32)
    a, b = permutations(count * rows, seed)
    for first in range(0, count, _TOGETHER):
        some = slice(first * rows, min(first + _TOGETHER, count) * rows)
        yield from _some_bands(sets, contents, a[some], b[some], first, rows)


def write(out: Path, modality: str, made: Iterator[Band], shape: tuple[int, int]) -> None:
    """Write the bands of a segment; `shape` says how many there are, and how many contents each has."""
    with (
        store.appending(out / f"{modality}.{KEYS}.npy", shape, np.uint64) as keys,
        store.appending(out / f"{modality}.{ROWS}.npy", shape, np.uint32) as rows,
        ThreadPoolExecutor(1) as pool,
    ):
        for band in made:
            written = pool.submit(rows, band.rows)  # beside the keys: a file's pages are filled on one core
            keys(band.keys)
            written.result()
            del band  # or it would hold some bands while the next are made


def _some_bands(  # noqa: PLR0913, PLR0917 - the sets, and what they are hashed with
    sets: Sets, contents: Places, a: Values, b: Values, first: int, rows: int
) -> Iterator[Band]:
    """Give the bands some permutations make, of which the first is number `first`, each as soon as it is sorted."""
    keys = np.empty((len(a) // rows, len(contents)), np.uint64)

    def hash_block(at: int) -> None:
        block = slice(at, at + _BLOCK)
        _hash(sets.offsets, sets.values, contents[block], a, b, first, keys[:, block])

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(hash_block, range(0, len(contents), _BLOCK)))
        yield from pool.map(lambda band: in_order(band, contents), keys)


def in_order(keys: Keys, contents: Places) -> Band:
    """Sort a band's keys in place and place the content of each beside it, equal keys in the order of `contents`."""
    rows = np.empty_like(contents)
    _sort(keys, contents, rows, np.empty_like(keys), np.empty_like(rows))  # numpy asks for large pages, numba does not
    return Band(keys, rows)


@njit(cache=True, nogil=True)
def _hash(  # noqa: PLR0913, PLR0917 - the sets, and what they are hashed with
    offsets: Rows, values: Values, contents: Places, a: Values, b: Values, first: int, keys: Keys
) -> None:
    """Hash the bands of some sets; a set's signature lives only until its bands are hashed."""
    signature, rows = np.empty(len(a), np.uint32), len(a) // len(keys)
    for i in range(len(contents)):
        signature[:] = EMPTY
        lower(signature, values[offsets[contents[i]] : offsets[contents[i] + 1]], a, b)
        for k in range(len(keys)):
            key = mix(np.uint64(first + k + 1))
            for row in range(rows):
                key = mix(key ^ np.uint64(signature[k * rows + row]))
            keys[k, i] = key


@njit(cache=True, nogil=True)
def mix(x: np.uint64) -> np.uint64:
    """Return a step of splitmix64 (Steele, Lea and Flood, 2014): a bijection, so it adds no collision of its own."""
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def _sort(keys: Keys, contents: Places, rows: Places, others: Keys, their_rows: Places) -> None:
    """Sort by leading bits, then each part by some more, and then by insertion: hashes are nearly in order by then."""
    bits = 4
    while 1 << bits < len(keys):
        bits += 1
    first = max(bits // 2 - 2, 1)  # parts that a core's cache holds
    ends, ends_within = np.empty(1 << first, np.int64), np.empty(1 << (bits - first), np.int64)
    _by_digit(keys, contents, others, their_rows, np.uint64(64 - first), ends)
    start = np.int64(0)
    for end in ends:
        part = slice(start, end)
        _by_digit(others[part], their_rows[part], keys[part], rows[part], np.uint64(64 - bits), ends_within)
        start = end
    _by_insertion(keys, rows)


@njit(cache=True, nogil=True)
def _by_digit(  # noqa: PLR0913, PLR0917 - two pairs of arrays
    keys: Keys, rows: Places, to: Keys, rows_to: Places, shift: np.uint64, ends: Rows
) -> None:
    """Move to the order of the bits above `shift` that number `ends`, and write there where each value's keys end."""
    mask = np.uint64(len(ends) - 1)
    ends[:] = 0
    for key in keys:
        ends[(key >> shift) & mask] += 1
    total = 0
    for digit in range(len(ends)):
        ends[digit], total = total, total + ends[digit]
    for i in range(len(keys)):
        digit = (keys[i] >> shift) & mask
        to[ends[digit]], rows_to[ends[digit]] = keys[i], rows[i]
        ends[digit] += 1


@njit(cache=True, nogil=True)
def _by_insertion(keys: Keys, rows: Places) -> None:
    for i in range(1, len(keys)):
        key, row, j = keys[i], rows[i], i
        while j > 0 and keys[j - 1] > key:
            keys[j], rows[j] = keys[j - 1], rows[j - 1]
            j -= 1
        keys[j], rows[j] = key, row
