"""Banded LSH: what shares a bucket of a band with a new segment's contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.schema import DedupverError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dedupver.index.bands import Band, Keys, Places

Rows = npt.NDArray[np.int64]

_MOST: Final = 1 << 32  # a pair of content numbers is packed into 64 bits
_BATCH: Final = 1 << 22  # pairs listed at a time: 32 MiB


@dataclass(frozen=True, eq=False)
class Candidates:
    """What shares a bucket of one band with a new content; contents by number."""

    pairs: Iterator[Keys]  # batches of packed pairs, each once: a new content, and one of a smaller number
    group: Keys  # (h,), the key of a hot bucket ...
    member: Rows  # (h,), ... and a member of it


def candidates(new: Band, base: Sequence[Band], sizes: Sequence[int], cap: int, since: int = 0) -> Candidates:
    """Return what shares a bucket of a band with a new content: pairs of small buckets, members of hot ones.

    `new` is the band of the new segment, `base` that of the base's segments, oldest first, with `sizes` contents each.
    Contents are numbered through: the base's segments one after the other, then the new one. Of a bucket of more than
    `cap` members no pairs come, but all its new members, and the base's too unless they alone were already more than
    `cap`, from number `since` on (then they were listed for an earlier version). Time is linear in the new segment, in
    the smaller of it and a base's, and in a hot bucket's size. DedupverError for 2³² contents or more.
    """
    first = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    _require_packable(int(first[-1]) + int(new.rows.max(initial=0)) + 1)
    met, member = _of_base(new.keys, base, first)
    starts, stops = _runs(new.keys, met)
    bucket = np.searchsorted(starts, met)
    old, fresh = np.bincount(bucket, minlength=len(starts)), stops - starts
    hot = old + fresh > cap
    known = np.bincount(bucket[member >= since], minlength=len(starts)) > cap
    sizes_of_pairs = np.where(hot, 0, fresh * old + fresh * (fresh - 1) // 2)
    pairs = _batches(sizes_of_pairs, np.append(0, np.cumsum(old)), member, starts, stops, int(first[-1]), new.rows)
    mine, theirs = _places(starts[hot], stops[hot]), (hot & ~known)[bucket]
    group = new.keys[np.concatenate([mine, met[theirs]])]
    return Candidates(pairs, group, np.concatenate([first[-1] + new.rows[mine].astype(np.int64), member[theirs]]))


def batched(parts: Iterable[Keys]) -> Iterator[Keys]:
    """Give many arrays of packed pairs again as few of at least _BATCH, each ascending and without repeats."""
    some: list[Keys] = []
    for part in parts:
        some.append(part)
        if sum(map(len, some)) >= _BATCH:
            yield distinct(np.concatenate(some))
            some = []
    yield distinct(np.concatenate([np.empty(0, np.uint64), *some]))


def distinct(keys: Keys) -> Keys:
    """Return the distinct keys in ascending order: by sorting, for np.unique's hash table is slow on millions."""
    keys = np.sort(keys)
    fresh = np.ones(len(keys), np.bool_)
    fresh[1:] = keys[1:] != keys[:-1]
    return keys[fresh]


def unpacked(pairs: Keys) -> tuple[Rows, Rows]:
    """Return the two contents of each packed pair, shapes (m,)."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(_MOST - 1)).astype(np.int64)


def _require_packable(contents: int) -> None:
    if contents > _MOST:
        raise DedupverError(f"an index holds at most {_MOST} distinct texts, not {contents}; split it by source")


def _of_base(keys: Keys, base: Sequence[Band], first: Rows) -> tuple[Rows, Rows]:
    """Return the base's members of the buckets `keys`: where in `keys` each bucket begins, and their numbers."""
    starts, members = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for band, number in zip(base, first[:-1], strict=True):
        start, row = _members(keys, band.keys, band.rows)
        starts.append(start)
        members.append(row + number)
    start, member = np.concatenate(starts), np.concatenate(members)
    order = np.argsort(start, kind="stable")
    return start[order], member[order]


def _places(starts: Rows, stops: Rows) -> Rows:
    """Return all places from each start to its stop, one range after the other."""
    sizes = stops - starts
    return np.repeat(starts - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())


def _batches(  # noqa: PLR0913, PLR0917 - the buckets, and the members of each side
    sizes: Rows, old: Rows, member: Rows, starts: Rows, stops: Rows, number: int, rows: Places
) -> Iterator[Keys]:
    """Give the pairs of buckets of `sizes` pairs each, about _BATCH at a time."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    begin = 0
    while begin < len(sizes) and ends[begin] < ends[-1]:
        end = max(begin + 1, int(np.searchsorted(ends, ends[begin] + _BATCH, side="right")) - 1)
        pairs = np.empty(ends[end] - ends[begin], np.uint64)
        _fill_pairs(begin, ends[begin : end + 1], old, member, starts, stops, number, rows, pairs)
        yield pairs
        begin = end


@njit(cache=True, nogil=True)
def _runs(keys: Keys, met: Rows) -> tuple[Rows, Rows]:
    """Return where runs of equal keys begin and end: those of two or more, and those that begin at a place in `met`."""
    starts, stops, n = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64), 0
    start = at = 0
    while start < len(keys):
        stop = start + 1
        while stop < len(keys) and keys[stop] == keys[start]:
            stop += 1
        while at < len(met) and met[at] < start:
            at += 1
        if stop > start + 1 or (at < len(met) and met[at] == start):
            starts[n], stops[n] = start, stop
            n += 1
        start = stop
    return starts[:n].copy(), stops[:n].copy()


@njit(cache=True, nogil=True)
def _members(wanted: Keys, keys: Keys, rows: Places) -> tuple[Rows, Rows]:
    """Return (first place in `wanted`, row) of every key of `keys` that is among `wanted`; both ascend."""
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
    first: int,
    ends: Rows,
    old: Rows,
    member: Rows,
    starts: Rows,
    stops: Rows,
    number: int,
    rows: Places,
    pairs: Keys,
) -> None:
    """Write the pairs of the buckets from `first` on: each new member with the base's and with the new before it."""
    for k in range(len(ends) - 1):
        at, bucket = ends[k] - ends[0], first + k
        if ends[k] < ends[k + 1]:
            for i in range(starts[bucket], stops[bucket]):
                left = np.uint64(number + rows[i]) << np.uint64(32)
                for j in range(old[bucket], old[bucket + 1]):
                    pairs[at] = left | np.uint64(member[j])
                    at += 1
                for j in range(starts[bucket], i):
                    pairs[at] = left | np.uint64(number + rows[j])
                    at += 1
