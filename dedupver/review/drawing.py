"""A kind's strata in a version: which pairs are drawn next, and what the labels so far say of each stratum."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dedupver.resolve.evidence import pair_key
from dedupver.review import strata
from dedupver.review.estimate import Strata

if TYPE_CHECKING:
    import numpy.typing as npt

    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Mask
    from dedupver.review.population import Pairs, Population
    from dedupver.reviews import Review

DRAWN_BY: str = "kind"
"""The column of reviews that says for which kind a pair was drawn."""


class Drawn(NamedTuple):
    """A pair that is drawn: its place among the pairs, its stratum, and how many pairs it stands for."""

    pair: int
    stratum: str
    weight: float


class _Labels(NamedTuple):
    """The labels of pairs of the population; every array has shape (n,)."""

    pair: Rows
    said: Mask  # false: it is being asked for
    same: Mask
    drawn: Mask  # for this kind
    seed: Rows


@dataclass(frozen=True)
class Drawing:
    """The pairs of one kind, by band of score; those that stand for others of hot buckets are strata of their own."""

    kind: str
    people: Population
    pairs: Pairs
    reviews: list[Review]
    seed: int

    @functools.cached_property
    def edges(self) -> list[float]:
        """Return the lower edge of each band."""
        return strata.edges(self.people.given.match.floor.of(self.kind))

    @functools.cached_property
    def stratum(self) -> Rows:
        """Return the stratum of each pair: its band, and beyond the bands those of hot buckets."""
        return strata.band_of(self.pairs.score, self.edges) + len(self.edges) * self.pairs.drawn

    @functools.cached_property
    def known(self) -> Strata:
        """Return each stratum, with the labels of its sample.

        That is its first pairs by their random numbers, up to the last that was drawn for this kind and labelled. So a
        pair that has a label anyway, drawn for another kind or written by hand, counts where it would have been drawn.
        """
        labels, count = self._labels, 2 * len(self.edges)
        sampled = np.zeros(len(labels.pair), np.bool_)
        for seed in np.unique(labels.seed[labels.drawn]).tolist():
            number, last = self._numbers(seed)[labels.pair], np.zeros(count, np.uint64)
            mine = labels.drawn & (labels.seed == seed)
            np.maximum.at(last, self.stratum[labels.pair[mine]], number[mine])
            any_ = np.bincount(self.stratum[labels.pair[mine]], minlength=count) > 0
            sampled |= labels.said & any_[self.stratum[labels.pair]] & (number <= last[self.stratum[labels.pair]])
        at = self.stratum[labels.pair[sampled]]
        size = np.bincount(self.stratum, minlength=count) * np.repeat([1.0, self.pairs.each], len(self.edges))
        same = np.bincount(at[labels.same[sampled]], minlength=count)
        return Strata(np.tile(np.arange(len(self.edges)), 2), size, np.bincount(at, minlength=count), same)

    def next(self, count: int) -> list[Drawn]:
        """Return the next pairs to label, the most informative first."""
        known, free = self.known, np.ones(len(self.stratum), np.bool_)
        free[self._labels.pair] = False
        room = np.bincount(self.stratum[free], minlength=len(known.size))
        threshold = self.people.given.dedup.thresholds.of(self.kind)
        present = float(strata.band_of(np.array([threshold], np.float32), self.edges)[0])
        chosen = strata.allocate(*known, room, present=present, count=count)
        number = self._numbers(self.seed)
        order = np.flatnonzero(free)[np.lexsort((number[free], self.stratum[free]))]
        starts = np.cumsum(room) - room
        has = known.labelled + np.bincount(np.array(chosen, np.int64), minlength=len(room))
        taken = np.zeros(len(room), np.int64)
        drawn = []
        for at in chosen:
            drawn.append(Drawn(int(order[starts[at] + taken[at]]), self.name(at), float(known.size[at] / has[at])))
            taken[at] += 1
        return drawn

    def name(self, stratum: int) -> str:
        """Return how a stratum is called: its kind and band, as `text 0.8-0.825`, and `hot` for its own sort."""
        band, bounds = stratum % len(self.edges), [*self.edges, 1.0]
        return f"{self.kind} {bounds[band]:g}-{bounds[band + 1]:g}" + (" hot" if stratum >= len(self.edges) else "")

    @functools.cached_property
    def _labels(self) -> _Labels:
        left, right = (self.people.find([getattr(r, end) for r in self.reviews]) for end in ("left", "right"))
        there = (left >= 0) & (right >= 0) & (left != right)
        keys = pair_key(self.pairs.left, self.pairs.right)
        order = np.argsort(keys)
        wanted = pair_key(left[there], right[there])
        place = np.minimum(np.searchsorted(keys[order], wanted), max(len(keys) - 1, 0))
        found = keys[order][place] == wanted if len(keys) else np.zeros(len(wanted), np.bool_)
        rows = np.flatnonzero(there)[found]
        pair, first = np.unique(order[place[found]], return_index=True) if len(keys) else (rows, rows)
        said = [self.reviews[row] for row in rows[first].tolist()]
        return _Labels(
            pair.astype(np.int64),
            np.array([bool(r.label) for r in said], np.bool_),
            np.array([r.label == "same" for r in said], np.bool_),
            np.array([r.more.get(DRAWN_BY) == self.kind and _is_seed(r.more.get("seed")) for r in said], np.bool_),
            np.array([int(s) if _is_seed(s := r.more.get("seed")) else 0 for r in said], np.int64),
        )

    def _numbers(self, seed: int) -> npt.NDArray[np.uint64]:
        return strata.permanent(self.people.ids, self.pairs.left, self.pairs.right, seed)


def _is_seed(word: str | None) -> bool:
    return bool(word) and str(word).isascii() and str(word).isdigit() and len(str(word)) < 19
