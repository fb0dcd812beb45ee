"""The bands of rows of tables: buckets of rows that agree in several fields, or nearly do.

A band takes fields, in an order drawn for it, until they tell enough: how many unlike rows agree with a row in all of
them is then bounded, whatever their number. In a field with a set two rows agree when some MinHashes of it are equal,
which equal values always are; in one with numbers when both are in one cell of a grid, twice the tolerance wide and
shifted at random (Datar et al., "Locality-sensitive hashing scheme based on p-stable distributions", 2004). A row that
lacks one of a band's fields is in no bucket of it.

How much a field tells is measured: in bits, of which n are told by fields in which one of 2^n pairs of rows agrees. A
plan of bands is made for so many rows, and stays until there are GROWTH times as many.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads
from dedupver.fingerprint.fields import HASH_BITS
from dedupver.index.bands import Band, in_order, mix
from dedupver.index.minhash import EMPTY, lower, permutations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver import params
    from dedupver.index.fields import Comparison, Fields

Keys = npt.NDArray[np.uint64]
Values = npt.NDArray[np.uint32]
Places = npt.NDArray[np.uint32]
Fielding = npt.NDArray[np.int8]
"""The fields of each band in their order, shape (bands, fields); -1: no more."""

GROWTH: Final = 8
_TOGETHER: Final = 16  # bands whose keys are in memory at once
_BLOCK: Final = 1 << 12  # rows that a thread hashes at a time
_SAMPLE: Final = 1 << 16  # rows that tell how much a field says
_DRAWS: Final = 8  # times that they are hashed for it ...
_PAIRS: Final = 1 << 17  # ... and that so many pairs of them are looked at
_TRIES: Final = 8  # for a band with other fields than the bands before it
_FAR: Final = 2.0**62  # cells further out are one
_SPREAD: Final = 2.0  # bands by which chance may favour a field over one that is used less


class Plan(NamedTuple):
    """The fields of each band, and the number of rows that they were chosen for."""

    fields: list[list[int]]
    rows: int

    def suits(self, rows: int) -> bool:
        """Return whether it still serves for so many rows."""
        return rows <= GROWTH * self.rows

    def array(self, fields: int) -> Fielding:
        """Return it for the kernel, shape (bands, fields)."""
        found = np.full((len(self.fields), fields), -1, np.int8)
        for band, chosen in zip(found, self.fields, strict=True):
            band[: len(chosen)] = chosen
        return found


class Hashing(NamedTuple):
    """What is drawn for the places of fields in bands; `hashes` permutations for each."""

    a: Values  # (bands, fields, hashes)
    b: Values
    shift: npt.NDArray[np.float64]  # (bands, fields), of the grid, in cells

    @classmethod
    def draw(cls, bands: int, fields: int, settings: params.RowLsh) -> Self:
        """Return the draws of a seed."""
        a, b = permutations(bands * fields * settings.hashes, settings.seed)
        shape = bands, fields, settings.hashes
        shift = np.random.RandomState(settings.seed).random_sample((bands, fields))
        return cls(a.reshape(shape), b.reshape(shape), shift)

    def of(self, bands: slice) -> Self:
        """Return what is drawn for some bands."""
        return type(self)(self.a[bands], self.b[bands], self.shift[bands])


def plan(rows: Fields, count: int, how: Comparison, settings: params.RowLsh) -> Plan:
    """Return a plan for `count` rows, by what the first of some rows, which are as good as random, tell of the fields.

    Of the fields that tell enough together those come first that the bands before used least, in proportion to how
    many rows have them; chance decides among the nearly equal.
    """
    bits, present = _told(rows, how, settings)
    enough = np.log2(settings.bands * GROWTH * max(count, 1) / settings.unlike)
    draw = np.random.RandomState(settings.seed)
    used = np.zeros(len(bits))
    found: list[list[int]] = []
    for _ in range(settings.bands):
        for _ in range(_TRIES):
            order = np.argsort((used + _SPREAD * draw.random_sample(len(bits))) / present, kind="stable")
            chosen = order[: int(np.searchsorted(np.cumsum(bits[order]), enough)) + 1].tolist()
            if all(set(chosen) != set(band) for band in found):
                break
        used[chosen] += 1
        found.append(chosen)
    return Plan(found, count)


def make(  # noqa: PLR0913, PLR0917 - the rows, and what they are hashed with
    rows: Fields, own: Keys, contents: Places, how: Comparison, planned: Plan, settings: params.RowLsh
) -> Iterator[Band]:
    """Give each band of some rows, `contents`; `own`, shape (n,), is a number that no other row has.

    Where a row is in no bucket, its key is made of this number.
    """
    fields = planned.array(len(how.weight))
    drawn = Hashing.draw(len(fields), len(how.weight), settings)
    for first in range(0, len(fields), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        keys = np.empty((len(fields[some]), len(contents)), np.uint64)
        _fill(keys, rows, own, contents, how, fields[some], drawn.of(some), first)
        with ThreadPoolExecutor(threads()) as pool:
            yield from pool.map(lambda band: in_order(band, contents), keys)


def _fill(  # noqa: PLR0913, PLR0917 - as above
    keys: Keys,
    rows: Fields,
    own: Keys,
    contents: Places,
    how: Comparison,
    planned: Fielding,
    drawn: Hashing,
    first: int,
) -> None:
    def hash_block(at: int) -> None:
        block = slice(at, at + _BLOCK)
        _hash(rows, own, contents[block], how, planned, drawn, first, keys[:, block])

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(hash_block, range(0, len(contents), _BLOCK)))


def _told(
    rows: Fields, how: Comparison, settings: params.RowLsh
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return how many bits a field tells where two unlike rows agree in it, and the share of the rows that have it.

    Among random pairs of rows, of which those that agree in most fields are not unlike.
    """
    fields = len(how.weight)
    contents = np.arange(min(len(rows.offsets) - 1, _SAMPLE), dtype=np.uint32)
    alone = np.full((fields, fields), -1, np.int8)
    alone[:, 0] = range(fields)
    agree, among = np.zeros(fields), np.zeros(fields)
    drawn = Hashing.draw(_DRAWS * fields, fields, settings)
    keys, own = np.empty((fields, len(contents)), np.uint64), np.zeros(len(contents), np.uint64)
    nothing = np.array([[no_bucket(np.uint64(0), field)] for field in range(fields)])  # for all rows that lack it
    pairs = np.random.RandomState(settings.seed).randint(0, max(len(contents), 1), (_DRAWS, 2, _PAIRS))
    for draw, (left, right) in enumerate(pairs):
        _fill(keys, rows, own, contents, how, alone, drawn.of(slice(draw * fields, (draw + 1) * fields)), 0)
        different = left != right
        a, b = keys[:, left[different]], keys[:, right[different]]
        both = (a != nothing) & (b != nothing)
        same = both & (a == b)
        agree += (same & (2 * same.sum(axis=0) <= both.sum(axis=0))).sum(axis=1)
        among += both.sum(axis=1)
    present = np.maximum((keys != nothing).mean(axis=1), 1 / max(len(contents), 1))
    return np.log2((among + 1) / (agree + 1)), present


@njit(cache=True, nogil=True)
def no_bucket(own: np.uint64, band: int) -> np.uint64:
    """Return the key of a row that is in no bucket of a band."""
    return mix(own ^ mix(~np.uint64(band)))


@njit(cache=True, nogil=True)
def _hash(  # noqa: PLR0913, PLR0917 - as above
    rows: Fields,
    own: Keys,
    contents: Places,
    how: Comparison,
    planned: Fielding,
    drawn: Hashing,
    first: int,
    keys: Keys,
) -> None:
    """Hash some rows into some bands, of which the first is number `first`."""
    bounds = np.empty(len(how.weight) + 1, np.int64)
    signature = np.empty(drawn.a.shape[2], np.uint32)
    for i in range(len(contents)):
        row = contents[i]
        values = rows.values[rows.offsets[row] : rows.offsets[row + 1]]
        _bounds(values, bounds)
        for k in range(len(planned)):
            key = mix(np.uint64(first + k + 1))
            for slot in range(len(how.weight)):
                field = planned[k, slot]
                if field < 0:
                    break
                column = how.number[field]
                if bounds[field] < bounds[field + 1]:
                    signature[:] = EMPTY
                    lower(signature, values[bounds[field] : bounds[field + 1]], drawn.a[k, slot], drawn.b[k, slot])
                    for value in signature:
                        key = mix(key ^ np.uint64(value))
                elif column >= 0 and not np.isnan(rows.numbers[row, column]):
                    cell = rows.numbers[row, column] / (2 * how.tolerance[field]) + drawn.shift[k, slot]
                    key = mix(key ^ np.uint64(np.int64(np.floor(min(max(cell, -_FAR), _FAR)))))
                else:
                    key = no_bucket(own[row], first + k)
                    break
            keys[k, i] = key


@njit(cache=True, nogil=True)
def _bounds(values: Values, bounds: npt.NDArray[np.int64]) -> None:
    """Write where the hashes of each field begin, and the last ones end."""
    at = 0
    for field in range(len(bounds)):
        while at < len(values) and values[at] >> np.uint32(HASH_BITS) < field:
            at += 1
        bounds[field] = at
