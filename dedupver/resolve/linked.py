"""What is tied to what, without judging anybody: the pairs that rules call duplicates, and those within hot buckets.

A hot bucket has too many pairs for all of them to be compared. Which of its members hang together is asked for between
those alone that are not tied already, so a bucket of near copies costs nothing beyond what its decisions say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Mask
    from dedupver.resolve.hot import Buckets
    from dedupver.resolve.rules import Edges

COMPARED: Final = 1_000
"""So many comparisons a member, on average, may one hot bucket cost; beyond, its decisions alone tie it."""

WAVE: Final = 1 << 18
"""Pairs compared at once."""


@dataclass(frozen=True)
class Links:
    """Records as nodes of equal content, and the pairs of nodes that are tied; shapes (n,) and (m,)."""

    of_record: Rows
    count: int  # of nodes
    left: Rows
    right: Rows
    buckets: Buckets
    judge: Callable[[Rows, Rows], Edges]

    def tied(self, left: Rows, right: Rows, vertices: int, without: Rows) -> tuple[Rows, int]:
        """Return the component of each vertex, numbered in the order of their first, and how many were not compared.

        Vertices are the nodes, and others after them that `left` and `right` tie to nodes, shapes (m,). Nodes `without`
        tie nobody.
        """
        left, right = np.concatenate([self.left, left]), np.concatenate([self.right, right])
        there = np.ones(vertices, np.bool_)
        there[without] = False
        stays = there[left] & there[right]
        found = Components(components(left[stays], right[stays], vertices))
        unverified = 0
        for members in self._members(there):
            pairs = _across(members, found.of(members))
            if pairs is None:
                unverified += len(members)
                continue
            for a, b in _waves(pairs):
                apart = found.of(a) != found.of(b)
                edges = self.judge(a[apart], b[apart])
                found.join(edges.left, edges.right)
        return found.of(np.arange(vertices)), unverified

    def among(self, nodes: Rows) -> tuple[Rows, Rows, Rows]:
        """Return every pair that ties two of some nodes, shapes (m,), and the nodes that were not compared with all."""
        there = np.zeros(self.count, np.bool_)
        there[nodes] = True
        stays = there[self.left] & there[self.right]
        lefts, rights, unverified = [self.left[stays]], [self.right[stays]], [np.empty(0, np.int64)]
        for members in self._members(there):
            pairs = _across(members, members)
            if pairs is None:
                unverified.append(members)
                continue
            for a, b in _waves(pairs):
                edges = self.judge(a, b)
                lefts.append(edges.left)
                rights.append(edges.right)
        return np.concatenate(lefts), np.concatenate(rights), np.unique(np.concatenate(unverified))

    def _members(self, there: Mask) -> Iterator[Rows]:
        """Yield the nodes of each hot bucket that are there, where these are two and more."""
        for start, stop in zip(self.buckets.starts[:-1], self.buckets.starts[1:], strict=True):
            members = self.buckets.members[start:stop].astype(np.int64)
            members = members[there[members]]
            if len(members) > 1:
                yield members


class Components:
    """Components that are joined as ties come to light; the number of each is that of its first vertex's."""

    def __init__(self, label: Rows) -> None:
        """Take the component of each vertex, shape (n,)."""
        self._label = label
        self._root = np.arange(label.max(initial=-1) + 1)

    def of(self, vertices: Rows) -> Rows:
        """Return the component of each of some vertices."""
        return self._root[self._label[vertices]]

    def join(self, left: Rows, right: Rows) -> None:
        """Join the components of pairs of vertices, shapes (m,)."""
        if len(left):
            self._root = components(self.of(left), self.of(right), len(self._root))[self._root]


def components(left: Rows, right: Rows, count: int) -> Rows:
    """Return the component of each of `count` vertices, given pairs of them: the least vertex that it holds."""
    from scipy.sparse import coo_array  # noqa: PLC0415 - takes a second, and only splits ask
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    label = connected_components(graph, directed=False)[1].astype(np.int64)
    least = np.full(label.max(initial=-1) + 1, count, np.int64)
    np.minimum.at(least, label, np.arange(count))
    return least[label]


def _across(members: Rows, label: Rows) -> Iterator[tuple[Rows, Rows]] | None:
    """Give the pairs of members with different labels, a label's with all after it; None: they are too many."""
    order = np.argsort(label, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(label[order]) != 0))
    sizes = np.diff(np.append(starts, len(members)))
    if (len(members) ** 2 - int((sizes**2).sum())) // 2 > COMPARED * len(members):
        return None
    order = order[np.argsort(np.repeat(sizes, sizes), kind="stable")]  # the small ones first
    sizes = np.sort(sizes)
    ends = np.cumsum(sizes)
    ordered = members[order]
    return (
        (np.repeat(ordered[end - size : end], len(ordered) - end), np.tile(ordered[end:], size))
        for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)
        if end < len(ordered)
    )


def _waves(pairs: Iterator[tuple[Rows, Rows]]) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs about WAVE at a time."""
    held: list[tuple[Rows, Rows]] = []
    count = 0
    for pair in pairs:
        held.append(pair)
        count += len(pair[0])
        if count >= WAVE:
            yield _joined(held)
            held, count = [], 0
    if held:
        yield _joined(held)


def _joined(pairs: list[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    return np.concatenate([left for left, _ in pairs]), np.concatenate([right for _, right in pairs])
