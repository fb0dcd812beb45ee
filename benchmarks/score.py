"""Decisions and pairs against the truth.

Of records, over the graph whose edges are the pairs at or above the threshold:

- true drops: dropped records that have any partner in the graph; precision = true drops / drops.
- misses: kept records that would have to go for no two kept ones to be partners (the later of two, greedily).
  recall = true drops / (true drops + misses).
- justified: the share of drops that have a partner which is kept, so that what they said is still in the data.

Of pairs, each pair of distinct shingle sets once (copies would outvote all others): precision and recall as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from numba import njit

if TYPE_CHECKING:
    from benchmarks.truth import Ints, Truth

Scores = dict[str, float | int | None]


def records(truth: Truth, dropped: Ints) -> Scores:
    """Return counts, recall, precision and the justified share of the dropped rows."""
    gone = np.zeros(len(truth.node), np.bool_)
    gone[dropped] = True
    members = np.bincount(truth.node, minlength=1)
    kept = np.bincount(truth.node[~gone], minlength=len(members))
    near, near_kept = _neighbours(truth.pairs, kept)
    partner = (members > 1) | near
    true = int(partner[truth.node[gone]].sum())
    missed = _missed(truth.pairs, kept)
    justified = int(((kept > 0) | near_kept)[truth.node[gone]].sum())
    return {
        "records": len(gone),
        "dropped": int(gone.sum()),
        "missed": missed,
        "recall": _share(true, true + missed),
        "precision": _share(true, int(gone.sum())),
        "justified": _share(justified, int(gone.sum())),
    }


def pairs(truth: Truth, found: Ints) -> Scores:
    """Return recall and precision of the pairs of rows, shape (m, 2)."""
    told, true = _keys(truth.node[found], truth), _keys(truth.pairs, truth)
    hits = len(np.intersect1d(told, true, assume_unique=True))
    return {
        "pairs": len(told),
        "true_pairs": len(true),
        "pair_recall": _share(hits, len(true)),
        "pair_precision": _share(hits, len(told)),
    }


def _keys(found: Ints, truth: Truth) -> Ints:
    left, right = found.min(axis=1), found.max(axis=1)
    return np.unique((left * len(truth.node) + right)[left != right])


def _neighbours(found: Ints, kept: Ints) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return of each node whether it has a neighbour, and one with a kept record."""
    any_, with_kept = np.zeros(len(kept), np.bool_), np.zeros(len(kept), np.bool_)
    for here, there in ((0, 1), (1, 0)):
        any_[found[:, here]] = True
        with_kept[found[kept[found[:, there]] > 0, here]] = True
    return any_, with_kept


def _missed(found: Ints, kept: Ints) -> int:
    both = found[(kept[found] > 0).all(axis=1)]
    copies = int(np.maximum(kept - 1, 0).sum())
    return copies + int(_greedy(both[np.argsort(both[:, 1], kind="stable")], len(kept)))


@njit(cache=True)
def _greedy(found: Ints, nodes: int) -> int:
    """Return how many nodes go when each goes that has an earlier neighbour which stays; pairs by the later node."""
    gone = np.zeros(nodes, np.bool_)
    for earlier, later in found:
        if not gone[earlier]:
            gone[later] = True
    return gone.sum()


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
