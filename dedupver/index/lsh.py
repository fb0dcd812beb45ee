"""Banded LSH over MinHash signatures as sorted tables: band keys, candidates of a new segment, exact Jaccard.

Source of the banding: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4. Two sets of Jaccard
similarity s share a bucket with probability 1 - (1 - s^rows)^bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from dedupver.schema import DedupverError, ParamsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.fingerprint.text import Sets

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MOST: Final = 1 << 32  # a pair of content numbers is packed into 64 bits


@dataclass(frozen=True, eq=False)
class BandTable:
    """A segment's band keys, ascending within each band, and the content row of each; equal keys by row."""

    keys: Keys  # (bands, n)
    rows: npt.NDArray[np.uint32]  # (bands, n)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs that share a bucket, and the members of hot buckets; contents by number, both lists distinct and sorted."""

    left: Rows  # (m,), the greater number: a new content
    right: Rows  # (m,)
    group: Keys  # (h,), the hot bucket's band key
    member: Rows  # (h,)


@dataclass(frozen=True, eq=False)
class _Span:
    """The members of some of a band's buckets in one table: bucket `bucket[i]` holds `rows[low[i]:high[i]]`."""

    bucket: Rows
    low: Rows
    high: Rows
    rows: npt.NDArray[np.uint32]
    first: int  # number of the table's content row 0


def band_keys(signatures: npt.NDArray[np.uint32], bands: int, rows: int) -> Keys:
    """Return the 64-bit hash of each band's `rows` values, shape (bands, n), for signatures of shape (n, num_perm).

    The band's ordinal is hashed along, so equal values in different bands have different keys. ParamsError when the
    signatures have fewer than bands · rows values.
    """
    if bands * rows > signatures.shape[1]:
        wanted = f"{bands} bands of {rows} rows need {bands * rows} permutations"
        raise ParamsError(f"match.lsh: {wanted}, num_perm is {signatures.shape[1]}; use fewer bands or rows")
    keys = np.empty((bands, len(signatures)), np.uint64)
    _hash_bands(np.ascontiguousarray(signatures), rows, keys)
    return keys


def build(keys: Keys, valid: Mask) -> BandTable:
    """Return the sorted table of band keys, shape (bands, n), of the contents whose `valid`, shape (n,), is true."""
    rows = np.flatnonzero(valid).astype(np.uint32)
    chosen = keys[:, rows]
    order = np.argsort(chosen, axis=1, kind="stable")  # stable, so that equal keys stay in the order of rows
    return BandTable(np.take_along_axis(chosen, order, axis=1), rows[order])


def candidates(query: BandTable, tables: Sequence[BandTable], sizes: Sequence[int], cap: int) -> Candidates:
    """Return what shares a bucket with a new content: pairs of small buckets, members of hot ones.

    `query` is the new segment's table, `tables` those of the base's segments, oldest first, with `sizes` contents each.
    Contents are numbered through: the base's segments one after the other, then the new one. Of a bucket of more than
    `cap` members no pairs come, but all its new members, and the base's too unless they alone were already more than
    `cap` (then they were listed for an earlier version). Memory is that of one band and of the distinct pairs; time is
    linear in a hot bucket's size. DedupverError for 2³² contents or more.
    """
    first = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    _require_packable(int(first[-1]) + int(query.rows.max(initial=0)) + 1)
    pairs: Keys = np.empty(0, np.uint64)
    groups, members = [pairs], [np.empty(0, np.int64)]
    for band, keys in enumerate(query.keys):
        starts = _starts(keys)
        base = [_find(keys[starts], t, band, int(at)) for t, at in zip(tables, first[:-1], strict=True)]
        new = _Span(np.arange(len(starts)), starts, np.append(starts[1:], len(keys)), query.rows[band], int(first[-1]))
        found, hot, listed = _candidates_of_band(base, new, cap)
        pairs = _union(pairs, np.sort(found))
        groups.append(keys[starts][hot])
        members.append(listed)
    group, member = _distinct(np.concatenate(groups), np.concatenate(members))
    left, right = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(_MOST - 1)).astype(np.int64)
    return Candidates(left, right, group, member)


def jaccard(a: Sets, ai: Rows, b: Sets, bi: Rows) -> npt.NDArray[np.float32]:
    """Return |A ∩ B| / |A ∪ B| of set `ai[i]` of `a` and set `bi[i]` of `b`, shape (m,); 0 where both are empty."""
    scores = np.empty(len(ai), np.float32)
    _jaccard(a.offsets, a.values, np.ascontiguousarray(ai), b.offsets, b.values, np.ascontiguousarray(bi), scores)
    return scores


def _require_packable(contents: int) -> None:
    if contents > _MOST:
        raise DedupverError(f"an index holds at most {_MOST} distinct texts, not {contents}; split it by source")


def _starts(keys: Keys) -> Rows:
    """Return where each run of equal keys begins."""
    fresh = np.ones(len(keys), dtype=np.bool_)
    fresh[1:] = keys[1:] != keys[:-1]
    return np.flatnonzero(fresh)


def _find(wanted: Keys, table: BandTable, band: int, first: int) -> _Span:
    """Return the members that a table has in the buckets `wanted`; buckets it lacks take no memory."""
    keys = table.keys[band]
    low = np.searchsorted(keys, wanted)
    bucket = np.flatnonzero(low < len(keys))
    bucket = bucket[keys[low[bucket]] == wanted[bucket]]
    high = np.searchsorted(keys, wanted[bucket], side="right")
    return _Span(bucket, low[bucket], high, table.rows[band], first)


def _candidates_of_band(base: list[_Span], new: _Span, cap: int) -> tuple[Keys, Rows, Rows]:
    """Return the packed pairs of the band's small buckets; the bucket and the number of each member of its hot ones."""
    fresh, old = _count([new], len(new.low)), _count(base, len(new.low))
    total = fresh + old
    small = (total > 1) & (total <= cap)
    bounds, members = _members([*base, new], small)
    pairs = _pairs(bounds, members, np.where(small, fresh, 0))
    hot, known = total > cap, old > cap
    parts = [_members([*base, new], hot & ~known), _members([new], hot & known)]
    buckets = [np.repeat(np.arange(len(hot)), np.diff(bounds)) for bounds, _ in parts]
    return pairs, np.concatenate(buckets), np.concatenate([members for _, members in parts])


def _count(spans: list[_Span], buckets: int) -> Rows:
    counts = np.zeros(buckets, np.int64)
    for span in spans:
        counts[span.bucket] += span.high - span.low  # a bucket occurs once in a span
    return counts


def _members(spans: list[_Span], chosen: Mask) -> tuple[Rows, Rows]:
    """Return the members of the chosen buckets in CSR form, ascending within each bucket."""
    counts = np.where(chosen, _count(spans, len(chosen)), 0)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    members, cursor = np.empty(bounds[-1], np.int64), bounds[:-1].copy()
    for span in spans:
        _append(span.bucket, span.low, span.high, np.ascontiguousarray(span.rows), span.first, chosen, cursor, members)
    return bounds, members


def _pairs(bounds: Rows, members: Rows, fresh: Rows) -> Keys:
    """Return each bucket's pairs (new, any before it), packed; its `fresh` last members are the new ones."""
    counts = np.diff(bounds)
    places = np.concatenate([[0], np.cumsum(fresh * (counts - fresh) + fresh * (fresh - 1) // 2)])
    pairs = np.empty(places[-1], np.uint64)
    _fill_pairs(bounds, members, fresh, places, pairs)
    return pairs


def _distinct(group: Keys, member: Rows) -> tuple[Keys, Rows]:
    order = np.lexsort((member, group))
    group, member = group[order], member[order]
    fresh = np.ones(len(group), dtype=np.bool_)
    fresh[1:] = (group[1:] != group[:-1]) | (member[1:] != member[:-1])
    return group[fresh], member[fresh]


@njit(cache=True, nogil=True, parallel=True)
def _hash_bands(signatures: npt.NDArray[np.uint32], rows: int, keys: Keys) -> None:
    for i in prange(keys.shape[1]):
        for band in range(keys.shape[0]):
            key = _mix(np.uint64(band + 1))
            for k in range(band * rows, (band + 1) * rows):
                key = _mix(key ^ np.uint64(signatures[i, k]))
            keys[band, i] = key


@njit(cache=True, nogil=True)
def _mix(x: np.uint64) -> np.uint64:
    # a step of splitmix64 (Steele, Lea and Flood, 2014): a bijection, so it adds no collision of its own
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(cache=True, nogil=True)
def _append(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    bucket: Rows,
    low: Rows,
    high: Rows,
    rows: npt.NDArray[np.uint32],
    first: int,
    chosen: Mask,
    cursor: Rows,
    members: Rows,
) -> None:
    for i in range(len(bucket)):
        if chosen[bucket[i]]:
            for j in range(low[i], high[i]):
                members[cursor[bucket[i]]] = first + rows[j]
                cursor[bucket[i]] += 1


@njit(cache=True, nogil=True, parallel=True)
def _fill_pairs(bounds: Rows, members: Rows, fresh: Rows, places: Rows, pairs: Keys) -> None:
    for bucket in prange(len(fresh)):
        at = places[bucket]
        for i in range(bounds[bucket + 1] - fresh[bucket], bounds[bucket + 1]):
            for j in range(bounds[bucket], i):
                pairs[at] = (np.uint64(members[i]) << np.uint64(32)) | np.uint64(members[j])
                at += 1


@njit(cache=True, nogil=True)
def _union(a: Keys, b: Keys) -> Keys:
    """Return the ascending union of two ascending, distinct arrays."""
    out = np.empty(len(a) + len(b), np.uint64)
    i = j = n = 0
    while i < len(a) or j < len(b):
        take_a = j == len(b) or (i < len(a) and a[i] <= b[j])
        value = a[i] if take_a else b[j]
        if n == 0 or out[n - 1] != value:
            out[n] = value
            n += 1
        i, j = (i + 1, j) if take_a else (i, j + 1)
    return out[:n].copy()


@njit(cache=True, nogil=True, parallel=True)
def _jaccard(  # noqa: PLR0913, PLR0917 - two sets of arrays and the result
    a_offsets: Rows,
    a_values: npt.NDArray[np.uint32],
    ai: Rows,
    b_offsets: Rows,
    b_values: npt.NDArray[np.uint32],
    bi: Rows,
    scores: npt.NDArray[np.float32],
) -> None:
    for k in prange(len(ai)):
        a = a_values[a_offsets[ai[k]] : a_offsets[ai[k] + 1]]
        b = b_values[b_offsets[bi[k]] : b_offsets[bi[k] + 1]]
        common = _common(a, b)
        union = len(a) + len(b) - common
        scores[k] = common / union if union else 0.0


@njit(cache=True, nogil=True)
def _common(a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> int:
    """Return how many values two ascending, distinct arrays share."""
    i = j = common = 0
    while i < len(a) and j < len(b):
        common += a[i] == b[j]
        smaller = a[i] <= b[j]
        j += b[j] <= a[i]
        i += smaller
    return common
