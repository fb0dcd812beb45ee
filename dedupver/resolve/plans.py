"""Plans: how the pairs of nodes are listed that one term of a rule allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from dedupver.resolve.evidence import by_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Mask

BLOCK: Final = 1 << 18
"""Pairs listed at once."""


class Groups(NamedTuple):
    """Nodes by their content in one part: a group is a content's, and has its number."""

    nodes: Rows
    contents: Rows  # of each of them
    sizes: Rows  # by content

    @classmethod
    def of(cls, nodes: Rows, able: Mask, part: int) -> Self:
        """Take those that are able and have the part; `nodes` has shape (n, parts) of content numbers."""
        rows = np.flatnonzero(able & (nodes[:, part] >= 0))
        return cls(rows, nodes[rows, part], np.bincount(nodes[rows, part]))

    def have(self, contents: Rows) -> Mask:
        """Return which contents some node has."""
        here = contents < len(self.sizes)
        here[here] = self.sizes[contents[here]] > 0
        return here

    def laid_out(self) -> tuple[Rows, Rows]:
        """Return the nodes, group by group, and where each group starts."""
        return self.nodes[by_number(self.contents)], np.cumsum(self.sizes) - self.sizes


@dataclass(frozen=True)
class Plan:
    """Pairs of groups, of whose nodes all pairs are to be listed."""

    lefts: Groups
    rights: Groups
    left: Rows  # group
    right: Rows

    @classmethod
    def within(cls, groups: Groups, low: Rows, high: Rows) -> Self:
        """Take the pairs of contents of one part that are given, and equal ones."""
        here = groups.have(low) & groups.have(high)
        equal = np.flatnonzero(groups.sizes > 1)
        return cls(groups, groups, np.concatenate([equal, low[here]]), np.concatenate([equal, high[here]]))

    @classmethod
    def between(cls, lefts: Groups, rights: Groups, low: Rows, high: Rows) -> Self:
        """Take the pairs of contents of two parts that are given; the lower number may be of either part."""
        left, right = np.concatenate([low, high]), np.concatenate([high, low])
        here = lefts.have(left) & rights.have(right)
        return cls(lefts, rights, left[here], right[here])

    @classmethod
    def apart(cls, lefts: Groups, rights: Groups, low: Rows, high: Rows) -> Self:
        """Take the pairs of contents that are given, and equal ones, of nodes here and of others there."""
        count = min(len(lefts.sizes), len(rights.sizes))
        equal = np.flatnonzero((lefts.sizes[:count] > 0) & (rights.sizes[:count] > 0))
        left, right = np.concatenate([equal, low, high]), np.concatenate([equal, high, low])
        here = lefts.have(left) & rights.have(right)
        return cls(lefts, rights, left[here], right[here])

    @property
    def counts(self) -> Rows:
        """Return how many pairs of nodes each pair of groups has."""
        return self.lefts.sizes[self.left] * self.rights.sizes[self.right]

    @property
    def cost(self) -> int:
        """Return how many pairs there are to list."""
        return int(self.counts.sum())

    def expand(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield blocks of pairs of nodes, a node never with itself; within a group each pair once."""
        counts = self.counts
        ends = np.cumsum(counts)
        lefts, left_starts = self.lefts.laid_out()
        rights, right_starts = (lefts, left_starts) if self.rights is self.lefts else self.rights.laid_out()
        for start in range(0, int(ends[-1]) if len(ends) else 0, BLOCK):
            flat = np.arange(start, min(start + BLOCK, int(ends[-1])))
            pair = np.searchsorted(ends, flat, side="right")
            within = flat - (ends[pair] - counts[pair])
            width = self.rights.sizes[self.right[pair]]
            a = lefts[left_starts[self.left[pair]] + within // width]
            b = rights[right_starts[self.right[pair]] + within % width]
            once = a != b
            if self.rights is self.lefts:
                once &= (a < b) | (self.left[pair] != self.right[pair])
            yield a[once], b[once]
