"""Units get splits so that every stratum's proportions are as close to the ratios as integers allow.

Units of several records go first, the largest before the others, each to where the sum of squared deviations grows
least, over its strata and over all records; then units move as long as that sum falls. Units of one record fill what is
left: in a stratum of such units alone each split gets ratio × n, rounded down or up, never further off. What rounding
took from a split is handed on to the next stratum, so that a thousand strata of one record keep the proportions too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.compiled import interpreted, njit

if TYPE_CHECKING:
    from dedupver.digests import Rows

Shares = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

PASSES: Final = 20
"""So often at most every unit is looked at again; on real data the sum stops falling after two to five."""

FEW: Final = 20_000
"""Units that Python has placed before it has loaded numba."""

SLACK: Final = 1e-9


class Units(NamedTuple):
    """Units of records: how many of each stratum, in CSR form, and a number each that says who goes first."""

    starts: Rows
    stratum: Rows
    records: Rows
    rank: npt.NDArray[np.uint64]  # keyed hashes: no order of the input says anything

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.starts) - 1

    @property
    def sizes(self) -> Rows:
        """Return how many records each has."""
        total = np.append(0, np.cumsum(self.records))
        return total[self.starts[1:]] - total[self.starts[:-1]]


def balance(units: Units, before: Rows, ratios: Shares) -> Rows:
    """Return the split of each unit, shape (n,).

    `before`, shape (strata, splits), counts the records that have theirs already; `ratios`, shape (splits,), sum to 1.
    """
    free = np.bincount(units.stratum, units.records, minlength=len(before))
    quotas = ratios * (before.sum(axis=1) + free)[:, None]
    counts, split = before.astype(np.float64), np.full(len(units), -1, np.int64)
    sizes = units.sizes
    several = np.flatnonzero(sizes > 1)
    several = several[np.lexsort((units.rank[several], -sizes[several]))]
    with interpreted(len(several) < FEW):
        _place(several, units.starts, units.stratum, units.records.astype(np.float64), quotas, counts, split)
    _fill(units, np.flatnonzero(sizes == 1), counts, ratios, split)
    return split


@njit(cache=True)
def _place(  # noqa: PLR0913, PLR0917 - the units, and where records are
    several: Rows, starts: Rows, stratum: Rows, records: Shares, quotas: Shares, counts: Shares, split: Rows
) -> None:
    """Place units of several records, in their order; write their splits, and what they add to the counts.

    The last row of what is over, by stratum and split, is that of all records.
    """
    strata, splits = counts.shape
    over = np.zeros((strata + 1, splits))
    over[:strata] = counts - quotas
    for at in range(strata):
        over[strata] += over[at]
    for _ in range(PASSES):
        moved = False
        for unit in several:
            here = slice(starts[unit], starts[unit + 1])
            best = _best(stratum[here], records[here], over, split[unit])
            if best != split[unit]:
                _move(stratum[here], records[here], over, counts, split[unit], best)
                split[unit], moved = best, True
        if not moved:
            break


@njit(cache=True)
def _best(stratum: Rows, records: Shares, over: Shares, own: int) -> int:
    """Return the split where a unit adds least to the sum of squares; its own, -1: none yet, unless one is better."""
    best, least = own, np.inf if own < 0 else -SLACK
    for other in range(over.shape[1]):
        if other == own:
            continue
        cost, size = 0.0, 0.0
        for at in range(len(stratum)):
            there = over[stratum[at], other]
            if own >= 0:
                there -= over[stratum[at], own] - records[at]
            cost += records[at] * there
            size += records[at]
        whole = over[-1, other]
        if own >= 0:
            whole -= over[-1, own] - size
        cost += size * whole
        if cost < least - SLACK:
            best, least = other, cost
    return best


@njit(cache=True)
def _move(  # noqa: PLR0913, PLR0917 - a unit, and where records are
    stratum: Rows, records: Shares, over: Shares, counts: Shares, own: int, best: int
) -> None:
    for at in range(len(stratum)):
        for row in (stratum[at], len(counts)):
            over[row, best] += records[at]
            if own >= 0:
                over[row, own] -= records[at]
        counts[stratum[at], best] += records[at]
        if own >= 0:
            counts[stratum[at], own] -= records[at]


def _fill(units: Units, single: Rows, counts: Shares, ratios: Shares, split: Rows) -> None:
    """Place units of one record: of each stratum as many as each split still needs, in the order of their ranks."""
    stratum = units.stratum[units.starts[single]]
    order = np.lexsort((units.rank[single], stratum))
    single, free = single[order], np.bincount(stratum, minlength=len(counts))
    wanted, none = np.zeros(counts.shape, np.int64), free == 0
    carry = ratios * counts[none].sum() - counts[none].sum(axis=0)
    for at in np.flatnonzero(~none).tolist():
        wanted[at] = needed(counts[at], int(free[at]), ratios, carry)
        carry += ratios * (counts[at].sum() + free[at]) - counts[at] - wanted[at]
    split[single] = np.repeat(np.tile(np.arange(len(ratios)), len(counts)), wanted.ravel())


def needed(counts: Shares, free: int, ratios: Shares, carry: Shares) -> Rows:
    """Return how many of `free` records each split gets, where it has `counts`; shapes (splits,).

    Each gets ratio × n, rounded down or up, up where the most is lacking, what was lacking before (`carry`) included. A
    split that has more than that gets none, and the others share what is left in their proportions.
    """
    total = counts.sum() + free
    quota = ratios * total
    least = np.maximum(counts, np.floor(quota + SLACK))
    rest = round(float(total - least.sum()))
    up = least < np.ceil(quota - SLACK)
    if rest < 0 or rest > up.sum():
        quota, full = _shared(counts, total, ratios)
        least = np.maximum(counts, np.floor(quota + SLACK))
        rest = round(float(total - least.sum()))
        up = ~full
    lacking = np.where(up, quota - least + carry, -np.inf)
    least[np.argsort(-lacking, kind="stable")[:rest]] += 1
    return (least - counts).round().astype(np.int64)


def _shared(counts: Shares, total: float, ratios: Shares) -> tuple[Shares, Mask]:
    """Return what each split is to have, none less than it has, and which have more than their share.

    These leave the others less.
    """
    quota, full = ratios * total, np.zeros(len(ratios), np.bool_)
    while (more := ~full & (counts > quota + SLACK)).any():
        full |= more
        open_ = ratios[~full].sum()
        quota = np.where(full, counts, ratios * (total - counts[full].sum()) / open_ if open_ else counts)
    return quota, full
