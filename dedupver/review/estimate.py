"""Precision and recall at each threshold from labels of a stratified sample, with intervals.

Precision is a stratified share. Its interval is Clopper and Pearson's for the effective size of the sample (Korn and
Graubard 1998): as many independent labels as would tell as much. Recall is A / (A + B), of the true pairs at or above a
threshold and those below it; its interval is put together of theirs (MOVER, Zou and Donner 2008), for the two are
estimated from different strata. True pairs below the floor are known to nobody here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from scipy.special import betaincinv

if TYPE_CHECKING:
    import numpy.typing as npt

    from dedupver.digests import Rows

    Floats = npt.NDArray[np.float64]

LEVEL: Final = 0.95
"""How often an interval is to hold the truth."""

MOST: Final = 1 << 24
"""More labels than this are never asked for."""


class Strata(NamedTuple):
    """What is known of each stratum; every array has shape (k,)."""

    band: Rows
    size: Floats  # how many pairs it has
    labelled: Rows
    same: Rows

    def where(self, mask: npt.NDArray[np.bool_]) -> Strata:
        """Return some strata."""
        return Strata._make(column[mask] for column in self)


class Share(NamedTuple):
    """A share with its interval, and how many independent labels would tell as much."""

    value: float | None
    low: float
    high: float
    labels: float

    @property
    def known(self) -> tuple[float, float, float]:
        """Return value, low and high; of a value that nothing is known of the middle."""
        return (self.low + self.high) / 2 if self.value is None else self.value, self.low, self.high


class Row(NamedTuple):
    """What is known of one threshold."""

    threshold: float
    pairs: float  # at or above
    labels: int  # of these
    precision: Share
    recall: Share


def table(edges: list[float], strata: Strata, level: float = LEVEL) -> list[Row]:
    """Return precision and recall at each lower edge of a band, ascending."""
    return [_row(edge, strata, strata.band >= band, level) for band, edge in enumerate(edges)]


def share(strata: Strata, level: float = LEVEL) -> Share:
    """Return the share of true pairs among all of some strata.

    A stratum of which nothing is labelled widens the interval by all of its pairs.
    """
    full = float(strata.size.sum())
    if not full:
        return Share(None, 0, 1, 0)
    seen = strata.where((strata.labelled > 0) & (strata.size > 0))
    known = float(seen.size.sum()) / full
    if not known:
        return Share(None, 0, 1, 0)
    value, low, high, labels = _interval(seen, level)
    return Share(value, low * known, high * known + 1 - known, labels)


def propose(rows: list[Row], wished: float) -> Row | None:
    """Return the lowest threshold from which on precision reaches a wish; None where labels do not say so of any.

    The lower bound reaches it there, and the estimate at each threshold above.
    """
    found = None
    for row in reversed(rows):
        if row.precision.value is None or row.precision.value < wished:
            break
        found = row if row.precision.low >= wished else found
    return found


def missing(row: Row, wished: float, level: float = LEVEL) -> int | None:
    """Return how many more labels, were they like those there are, would lift a lower bound to a wish.

    None where the estimate is below the wish, or nothing is labelled.
    """
    value, labels = row.precision.value, row.precision.labels
    if value is None or value <= wished or not labels:
        return None
    if math.isinf(labels):  # all are labelled
        return 0
    enough = labels
    while clopper_pearson(value, enough, level)[0] < wished and enough < MOST:
        enough *= 1.01
    return math.ceil(row.labels * (enough / labels - 1))


def clopper_pearson(value: float, labels: float, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a binomial share; the number of labels, and of true ones, need not be whole."""
    if math.isinf(labels):
        return value, value
    tail, true = (1 - level) / 2, value * labels
    low = float(betaincinv(true, labels - true + 1, tail)) if true > 0 else 0.0
    high = float(betaincinv(true + 1, labels - true, 1 - tail)) if true < labels else 1.0
    return min(low, value), max(high, value)


def _row(edge: float, strata: Strata, above: npt.NDArray[np.bool_], level: float) -> Row:
    over, under = strata.where(above), strata.where(~above)
    precision = share(over, level)
    recall = _recall(float(over.size.sum()), precision, float(under.size.sum()), share(under, level))
    return Row(edge, float(over.size.sum()), int(over.labelled.sum()), precision, recall)


def _interval(strata: Strata, level: float) -> Share:
    """Return the share in strata that all have labels. Those of which every pair is labelled add no doubt."""
    weight, sampled = strata.size / strata.size.sum(), np.minimum(strata.labelled / strata.size, 1)
    each = strata.same / strata.labelled
    value, doubt = float(weight @ each), weight**2 * (sampled < 1) / strata.labelled
    if not doubt.any():
        return Share(value, value, value, math.inf)
    labels = 1 / float(doubt.sum())
    spread = float(doubt @ (each * (1 - each) * strata.labelled / np.maximum(strata.labelled - 1, 1)))
    if spread:
        labels = min(labels, value * (1 - value) / spread)
    return Share(value, *clopper_pearson(value, labels, level), labels)


def _recall(above: float, precision: Share, below: float, rest: Share) -> Share:
    """Return A / (A + B) of two independent numbers of true pairs, each a share of a known number of pairs."""
    (a, a_low, a_high), (b, b_low, b_high) = ([n * x for x in s.known] for n, s in ((above, precision), (below, rest)))
    if not below:
        return Share(1.0 if a else None, 1.0 if a_low else 0.0, 1.0, precision.labels)
    value = None if precision.value is None or rest.value is None or not a + b else a / (a + b)
    down, up = a - a_low, b_high - b
    least = a * a - down * down
    low = least / (a * b + _root(a, b, down, up)) if least > 0 and up + b else 0.0
    up, down = a_high - a, b - b_low
    high = (a * b + _root(a, b, up, down)) / (b * b - down * down) if b * b > down * down else math.inf
    low, high = (1.0 if math.isinf(odds) else odds / (1 + odds) for odds in (low, high))
    return Share(value, low, high, 0)


def _root(a: float, b: float, of_a: float, of_b: float) -> float:
    return math.sqrt(max((a * b) ** 2 - (b * b - of_b * of_b) * (a * a - of_a * of_a), 0))
