"""How alike rows of tables are, field by field: of pairs, and of a few rows with all rows of a segment.

The similarity of two rows is the weighted mean of their fields' similarities, each in [0, 1]:

- of fields with sets of hashes, Dice's coefficient, 2 |A ∩ B| / (|A| + |B|) (Dice, "Measures of the amount of ecologic
  association between species", 1945); of `exact` ones whether the sets are equal;
- of numbers with a tolerance t at distance d, 1 up to t, 0 from 2 t on, and on a line between: 2 - d / t.

A field that one row lacks is left out of the mean, or counts as its `missing` says; one that both lack is left out.
Rows that have too little of the weight in common are not alike at all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads
from dedupver.fingerprint.fields import HASH_BITS

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.text import Sets

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]

_BLOCK: Final = 10_000  # pairs that a thread compares at a time
_LEFT_OUT: Final = -1.0
_ROUNDING: Final = 1e-6  # by which a score may miss `at_least` in exact arithmetic, and reach it as float32


class Comparison(NamedTuple):
    """How the k fields of rows are compared, in the order of their names; arrays of shape (k,), for the kernels."""

    weight: Numbers
    missing: Numbers  # what counts where one row lacks a field; NaN: it is left out
    number: Rows  # the field's column among the numbers; -1: it has a set
    tolerance: Numbers
    exact: npt.NDArray[np.bool_]
    whole: float  # all the weight
    least: float  # of it two rows must have in common

    @classmethod
    def of(cls, settings: params.Row) -> Self:
        """Return what the settings of all fields say."""
        fields = [settings.fields[name] for name in sorted(settings.fields)]
        measured = np.array([field.tolerance > 0 for field in fields], np.bool_)
        weight = np.array([field.weight for field in fields], np.float64)
        return cls(
            weight,
            missing=np.array([np.nan if field.missing is None else field.missing for field in fields], np.float64),
            number=np.where(measured, np.cumsum(measured) - 1, -1),
            tolerance=np.array([field.tolerance for field in fields], np.float64),
            exact=np.array([field.compare != "text" for field in fields], np.bool_),
            whole=float(weight.sum()),
            least=float(settings.min_compared * weight.sum()),
        )


class Fields(NamedTuple):
    """The fingerprints of n rows."""

    offsets: Rows  # (n + 1,), of the sets, in CSR form
    values: Values
    numbers: Numbers  # (n, j)

    @classmethod
    def of(cls, sets: Sets, numbers: Numbers) -> Self:
        """Take a segment's arrays."""
        return cls(sets.offsets, sets.values, numbers)


def similarity(  # noqa: PLR0913, PLR0917 - rows of two segments
    a: Fields, ai: Rows, b: Fields, bi: Rows, how: Comparison, at_least: float = 0
) -> Scores:
    """Return the similarity of row `ai[i]` of `a` and row `bi[i]` of `b`, shape (m,).

    For a pair that does not reach `at_least` 0 may stand.
    """
    scores = np.empty(len(ai), np.float32)

    def score(begin: int) -> None:
        here = slice(begin, begin + _BLOCK)
        _similarity(a, ai[here], b, bi[here], how, at_least, scores[here])

    if len(ai) <= _BLOCK:
        score(0)
    else:
        with ThreadPoolExecutor(threads()) as pool:
            list(pool.map(score, range(0, len(ai), _BLOCK)))
    return scores


def by_field(a: Fields, i: int, b: Fields, j: int, how: Comparison) -> list[float | None]:
    """Return the similarity of each field of two rows; None where one of them lacks it."""
    each = np.empty(len(how.weight))
    _fields(a, i, b, j, how, 0.0, each)
    return [None if value == _LEFT_OUT else value for value in each.tolist()]


def comparable(fields: Fields, how: Comparison) -> Rows:
    """Return the rows that have enough of the weight to be compared at all."""
    return np.flatnonzero(_weights(fields, how) >= how.least)


@njit(cache=True, nogil=True)
def _similarity(  # noqa: PLR0913, PLR0917 - rows of two segments
    a: Fields, ai: Rows, b: Fields, bi: Rows, how: Comparison, at_least: float, scores: Scores
) -> None:
    each = np.empty(len(how.weight))
    for k in range(len(ai)):
        scores[k] = _fields(a, ai[k], b, bi[k], how, at_least, each)


@njit(cache=True, nogil=True)
def _fields(  # noqa: PLR0913, PLR0917 - as above
    a: Fields, i: int, b: Fields, j: int, how: Comparison, at_least: float, each: Numbers
) -> float:
    """Return the similarity of two rows, and write that of each field; 0 as soon as `at_least` is out of reach."""
    mine = a.values[a.offsets[i] : a.offsets[i + 1]]
    other = b.values[b.offsets[j] : b.offsets[j + 1]]
    total = weight = common = 0.0
    open_ = how.whole
    at = to = 0
    for f in range(len(how.weight)):
        if how.number[f] < 0:
            end, stop = _end(mine, at, f), _end(other, to, f)
            each[f] = _dice(mine[at:end], other[to:stop], how.exact[f])
            lacking = (at == end) + (to == stop)
            at, to = end, stop
        else:
            x, y = a.numbers[i, how.number[f]], b.numbers[j, how.number[f]]
            each[f] = min(max(2 - abs(x - y) / how.tolerance[f], 0.0), 1.0)
            lacking = np.isnan(x) + np.isnan(y)
        open_ -= how.weight[f]
        if lacking == 0:
            common += how.weight[f]
            weight += how.weight[f]
            total += how.weight[f] * each[f]
        else:
            each[f] = _LEFT_OUT
            if lacking == 1 and not np.isnan(how.missing[f]):
                weight += how.weight[f]
                total += how.weight[f] * how.missing[f]
        if common + open_ < how.least or total + open_ < at_least * (weight + open_) * (1 - _ROUNDING):
            return 0.0
    return total / weight if common >= how.least and weight > 0 else 0.0


@njit(cache=True, nogil=True)
def _end(values: Values, at: int, field: int) -> int:
    """Return where the hashes of a field end that begin at a place."""
    while at < len(values) and values[at] >> np.uint32(HASH_BITS) == field:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _dice(a: Values, b: Values, exact: bool) -> float:
    i = j = common = 0
    while i < len(a) and j < len(b):
        common += a[i] == b[j]
        smaller = a[i] <= b[j]
        j += b[j] <= a[i]
        i += smaller
    if exact:
        return 1.0 if common == len(a) and common == len(b) else 0.0
    return 2 * common / max(len(a) + len(b), 1)


@njit(cache=True, nogil=True)
def _weights(fields: Fields, how: Comparison) -> Numbers:
    """Return the weight of the fields that each row has."""
    found = np.zeros(len(fields.offsets) - 1)
    for row in range(len(found)):
        values, at = fields.values[fields.offsets[row] : fields.offsets[row + 1]], 0
        for f in range(len(how.weight)):
            if how.number[f] < 0:
                begin, at = at, _end(values, at, f)
                found[row] += how.weight[f] * (begin < at)
            elif not np.isnan(fields.numbers[row, how.number[f]]):
                found[row] += how.weight[f]
    return found
