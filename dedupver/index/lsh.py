"""Banded LSH over MinHash signatures: the bands of a segment as sorted tables, and candidates of a new segment.

Source of the banding: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4. Two sets of Jaccard
similarity s share a bucket with probability 1 - (1 - s^rows)^bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dedupver.fingerprint.text import Sets, least, permutations
from dedupver.schema import DedupverError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Places = npt.NDArray[np.uint32]
Signatures = npt.NDArray[np.uint32]

_MOST: Final = 1 << 32  # a pair of content numbers is packed into 64 bits
_TOGETHER: Final = 8  # bands made in one pass over the sets
_BLOCK: Final = 1 << 15  # sets whose signatures are made at a time: 4 MiB of 8 bands of 4 values
_BATCH: Final = 1 << 22  # pairs listed at a time: 32 MiB


@dataclass(frozen=True, eq=False)
class Band:
    """One band of a segment: its keys, ascending, and the content row of each; equal keys by row."""

    keys: Keys  # (n,)
    rows: Places  # (n,)


@dataclass(frozen=True, eq=False)
class Candidates:
    """What shares a bucket of one band with a new content; contents by number."""

    pairs: Iterator[Keys]  # batches of packed pairs, ascending: a new content, and one of a smaller number
    group: Keys  # (h,), the key of a hot bucket ...
    member: Rows  # (h,), ... and a member of it


def bands(sets: Sets, count: int, rows: int, seed: int) -> Iterator[Band]:
    """Give each of the `count` bands of the sets that are not empty.

    A key is the 64-bit hash of a band's ordinal and its `rows` values of the MinHash signature, so equal values in
    different bands have different keys. No signature is kept: each is made, some permutations at a time, where its band
    is hashed, which takes less time than to write and read it. Memory is that of some bands.
    """
    contents = np.flatnonzero(sets.sizes).astype(np.uint32)
    a, b = permutations(count * rows, seed)
    for first in range(0, count, _TOGETHER):
        stop = min(first + _TOGETHER, count)
        keys = np.empty((stop - first, len(contents)), np.uint64)
        some = slice(first * rows, stop * rows)
        at = 0
        for begin in range(0, len(sets), _BLOCK):
            block = Sets(sets.offsets[begin : begin + _BLOCK + 1], sets.values)
            mine = np.flatnonzero(block.sizes)
            _hash_bands(least(block, a[some], b[some]), mine, first, keys[:, at : at + len(mine)])
            at += len(mine)
        placed = np.empty(keys.shape, np.uint32)
        _sort_bands(keys, contents, placed)
        yield from map(Band, keys, placed)


def candidates(new: Band, base: Sequence[Band], sizes: Sequence[int], cap: int) -> Candidates:
    """Return what shares a bucket of a band with a new content: pairs of small buckets, members of hot ones.

    `new` is the band of the new segment, `base` that of the base's segments, oldest first, with `sizes` contents each.
    Contents are numbered through: the base's segments one after the other, then the new one. Of a bucket of more than
    `cap` members no pairs come, but all its new members, and the base's too unless they alone were already more than
    `cap` (then they were listed for an earlier version). Time is linear in the new segment, in the smaller of it and a
    base's, and in a hot bucket's size. DedupverError for 2³² contents or more.
    """
    first = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    _require_packable(int(first[-1]) + int(new.rows.max(initial=0)) + 1)
    starts = _starts(new.keys)
    bounds = np.append(starts, len(new.keys))
    bucket, member = _of_base(new.keys[starts], base, first)
    old, fresh = np.bincount(bucket, minlength=len(starts)), np.diff(bounds)
    hot, known = old + fresh > cap, old > cap
    sizes_of_pairs = np.where(hot, 0, fresh * old + fresh * (fresh - 1) // 2)
    pairs = _batches(sizes_of_pairs, np.append(0, np.cumsum(old)), member, bounds, int(first[-1]), new.rows)
    mine, theirs = np.flatnonzero(np.repeat(hot, fresh)), (hot & ~known)[bucket]
    group = np.concatenate([new.keys[mine], new.keys[starts[bucket[theirs]]]])
    return Candidates(pairs, group, np.concatenate([first[-1] + new.rows[mine].astype(np.int64), member[theirs]]))


def unpacked(pairs: Keys) -> tuple[Rows, Rows]:
    """Return the two contents of each packed pair, shapes (m,)."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(_MOST - 1)).astype(np.int64)


def _require_packable(contents: int) -> None:
    if contents > _MOST:
        raise DedupverError(f"an index holds at most {_MOST} distinct texts, not {contents}; split it by source")


def _starts(keys: Keys) -> Rows:
    """Return where each run of equal keys begins."""
    fresh = np.ones(len(keys), dtype=np.bool_)
    fresh[1:] = keys[1:] != keys[:-1]
    return np.flatnonzero(fresh)


def _of_base(wanted: Keys, base: Sequence[Band], first: Rows) -> tuple[Rows, Rows]:
    """Return the base's members of the buckets `wanted`, by bucket and then by number: places in `wanted`, numbers."""
    buckets, members = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for band, number in zip(base, first[:-1], strict=True):
        bucket, row = _members(wanted, band.keys, band.rows)
        buckets.append(bucket)
        members.append(row + number)
    bucket, member = np.concatenate(buckets), np.concatenate(members)
    order = np.argsort(bucket, kind="stable")
    return bucket[order], member[order]


def _batches(  # noqa: PLR0913, PLR0917 - the buckets, and the members of each side
    sizes: Rows, old: Rows, member: Rows, bounds: Rows, number: int, rows: Places
) -> Iterator[Keys]:
    """Give the pairs of buckets of `sizes` pairs each, about _BATCH at a time."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    begin = 0
    while begin < len(sizes) and ends[begin] < ends[-1]:
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + _BATCH, side="right")) - 1)
        pairs = np.empty(ends[end] - ends[begin], np.uint64)
        _fill_pairs(begin, ends[begin : end + 1], old, member, bounds, number, rows, pairs)
        pairs.sort()
        yield pairs
        begin = end


@njit(cache=True, nogil=True, parallel=True)
def _hash_bands(signatures: Signatures, contents: Rows, first: int, keys: Keys) -> None:
    """Hash the bands that signatures consist of, of which the first is number `first`."""
    rows = signatures.shape[1] // len(keys)
    for i in prange(len(contents)):
        signature = signatures[contents[i]]
        for k in range(len(keys)):
            key = _mix(np.uint64(first + k + 1))
            for value in signature[k * rows : (k + 1) * rows]:
                key = _mix(key ^ np.uint64(value))
            keys[k, i] = key


@njit(cache=True, nogil=True)
def _mix(x: np.uint64) -> np.uint64:
    # a step of splitmix64 (Steele, Lea and Flood, 2014): a bijection, so it adds no collision of its own
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True, parallel=True)
def _sort_bands(keys: Keys, contents: Places, rows: Places) -> None:
    """Sort each band's keys in place and write the content of each, equal keys in the order of `contents`."""
    for band in prange(len(keys)):
        rows[band] = contents
        _sort(keys[band], rows[band])


@njit(cache=True, nogil=True)
def _sort(keys: Keys, rows: Places) -> None:
    """Sort by the first 32 bits, eight at a time, and then by insertion: few keys share these bits and differ."""
    counts = np.zeros((4, 257), np.int64)
    for key in keys:
        for digit in range(4):
            counts[digit, ((key >> np.uint64(32 + 8 * digit)) & np.uint64(255)) + np.uint64(1)] += 1
    others, their_rows = np.empty_like(keys), np.empty_like(rows)
    for digit in range(4):  # an even number of moves: what is sorted ends in `keys`
        places = np.cumsum(counts[digit])
        for i in range(len(keys)):
            value = (keys[i] >> np.uint64(32 + 8 * digit)) & np.uint64(255)
            others[places[value]], their_rows[places[value]] = keys[i], rows[i]
            places[value] += 1
        keys, others, rows, their_rows = others, keys, their_rows, rows
    for i in range(1, len(keys)):
        key, row, j = keys[i], rows[i], i
        while j > 0 and keys[j - 1] > key:
            keys[j], rows[j] = keys[j - 1], rows[j - 1]
            j -= 1
        keys[j], rows[j] = key, row


@njit(cache=True, nogil=True)
def _members(wanted: Keys, keys: Keys, rows: Places) -> tuple[Rows, Rows]:
    """Return (place in `wanted`, row) of every key that is in both of two ascending arrays, `wanted` distinct."""
    bucket, row, n = np.empty(64, np.int64), np.empty(64, np.int64), 0
    i = j = 0
    while i < len(wanted) and j < len(keys):
        if wanted[i] < keys[j]:
            i = _gallop(wanted, i, keys[j])
        elif keys[j] < wanted[i]:
            j = _gallop(keys, j, wanted[i])
        else:
            if n == len(bucket):
                bucket, row = np.concatenate((bucket, bucket)), np.concatenate((row, row))
            bucket[n], row[n] = i, rows[j]
            j, n = j + 1, n + 1
    return bucket[:n].copy(), row[:n].copy()


@njit(cache=True, nogil=True)
def _gallop(keys: Keys, at: int, key: np.uint64) -> int:
    """Return the first place after `at`, whose key is below `key`, with one that is not: logarithmic in the way."""
    step = 1
    while at + step < len(keys) and keys[at + step] < key:
        at += step
        step *= 2
    high = min(at + step, len(keys))
    while at + 1 < high:
        middle = (at + high) // 2
        if keys[middle] < key:
            at = middle
        else:
            high = middle
    return high


@njit(cache=True, nogil=True)
def _fill_pairs(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    first: int, ends: Rows, old: Rows, member: Rows, bounds: Rows, number: int, rows: Places, pairs: Keys
) -> None:
    """Write the pairs of the buckets from `first` on: each new member with the base's and with the new before it."""
    for k in range(len(ends) - 1):
        at, bucket = ends[k] - ends[0], first + k
        if ends[k] < ends[k + 1]:
            for i in range(bounds[bucket], bounds[bucket + 1]):
                left = np.uint64(number + rows[i]) << np.uint64(32)
                for j in range(old[bucket], old[bucket + 1]):
                    pairs[at] = left | np.uint64(member[j])
                    at += 1
                for j in range(bounds[bucket], i):
                    pairs[at] = left | np.uint64(number + rows[j])
                    at += 1
