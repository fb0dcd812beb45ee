"""Bands of score as strata, how many labels each is to have, and in which order its pairs are drawn.

Within a stratum pairs come in the order of permanent random numbers (Ohlsson 1995), which depend on the ids and a seed
alone. So each drawing goes on where the one before ended, and what is labelled of a stratum so far is a simple random
sample of it.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.digests import Rows

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.uint64]

STEPS: Final = (0.005, 0.01, 0.025, 0.05, 0.1)
MOST_BANDS: Final = 16
LEAST: Final = 3
"""So many labels each stratum has before another has more than it needs."""

EVENT: Final = 0.5
"""What a stratum without labels is taken to have seen of each sort (Jeffreys' prior)."""


def edges(floor: float) -> list[float]:
    """Return the lower edge of each band of scores from a floor up to 1: the floor, then multiples of a round step."""
    step = next((s for s in STEPS if (1 - floor) / s <= MOST_BANDS + 1e-9), STEPS[-1])
    first, last = math.floor(floor / step + 1e-9) + 1, math.ceil(1 / step - 1e-9)
    return [floor, *(round(n * step, 6) for n in range(first, last))]


def band_of(scores: npt.NDArray[np.float32], lower: Sequence[float]) -> Rows:
    """Return the band of each score, shape (m,); a score is compared with an edge as with a threshold."""
    return np.searchsorted(np.array(lower, np.float32), scores, side="right").astype(np.int64) - 1


def permanent(ids: Sequence[str], left: Rows, right: Rows, seed: int) -> Numbers:
    """Return a random number for each pair of ids, given by their places, shape (m,): the same in every version."""
    own = np.array([int.from_bytes(hashlib.sha256(i.encode()).digest()[:8], "little") for i in ids], np.uint64)
    start = np.array([seed % (1 << 64)], np.uint64)
    first, second = np.minimum(own[left], own[right]), np.maximum(own[left], own[right])  # whichever way round
    return _mixed(_mixed(_mixed(start) ^ first) ^ second)


def allocate(  # noqa: PLR0913 - what a stratum is, has and may still give
    band: Rows, size: Floats, labelled: Rows, same: Rows, room: Rows, *, present: float, count: int
) -> list[int]:
    """Return the strata of the next `count` labels, one after the other, the most informative first.

    Of each stratum, shapes (k,): its band, how many pairs it stands for, how many are labelled, and as same, and how
    many are left to draw. Each stratum first gets LEAST; then the next label goes where it takes most from the variance
    of precision and recall over all thresholds, those near band `present` before others (Neyman allocation, greedily).
    """
    share = (same + EVENT) / (labelled + 2 * EVENT)
    worth = _importance(band, size, share, present) * share * (1 - share)
    taken, left = labelled.astype(np.int64), room.astype(np.int64)
    chosen: list[int] = []
    for _ in range(min(count, int(left.sum()))):
        gain = np.where(taken < LEAST, 1e9 / (1 + taken), 0) + worth / np.maximum(taken * (taken + 1), EVENT)
        best = int(np.argmax(np.where(left > 0, gain, -1)))
        taken[best] += 1
        left[best] -= 1
        chosen.append(best)
    return chosen


def _importance(band: Rows, size: Floats, share: Floats, present: float) -> Floats:
    """Return what the variance of a stratum's share counts in those of precision and recall, over all thresholds."""
    true = max(float(size @ share), 1e-9)
    found = np.zeros(len(size))
    for at in np.unique(band).tolist():
        above = band >= at
        focus = 1 / (1 + abs(at - present))
        recall = float(size[above] @ share[above]) / true
        found += focus * (np.where(above, size, 0) / max(size[above].sum(), 1e-9)) ** 2
        found += focus * (size * (above - recall) / true) ** 2
    return found


def _mixed(values: Numbers) -> Numbers:
    """Return 64 bits for each 64 bits (splitmix64)."""
    with np.errstate(over="ignore"):
        z: npt.NDArray[Any] = values + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
