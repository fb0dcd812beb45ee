"""Components that lie in two splits already: whoever ties them is put aside, and those that were there stay.

Vertices come in an order: first those that an earlier version assigned, then the earlier before the later and the kept
before the dropped. Each joins what is there and tied to it, unless that lies in two splits: then it is put aside, and
ties nobody. So of a bridge the newest record goes, and what remains lies in one split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dedupver.digests import Rows
    from dedupver.split.ties import Held

Mask = npt.NDArray[np.bool_]

NONE: Final = -1
"""The split of what has none."""

MIXED: Final = -2
"""The split of what earlier versions put into several: it can't be mended without moving a record."""

_ANY: Final = 1 << 40


@dataclass(frozen=True)
class Settled:
    """The component of each vertex, the split of each component by its number, and who was put aside."""

    component: Rows
    split: Rows
    aside: Mapping[int, set[int]]  # vertex → the splits that it would have tied
    unverified: int  # contents of hot buckets that were not compared with all of their bucket


def settled(held: Held, before: Rows, said: Rows, order: Callable[[Rows], Rows]) -> Settled:
    """Return what lies in which split.

    `before`, shape (n,), is the split that each record had, NONE: it is new; `said` is the one that the data gives it;
    `order` puts rows of records in the order in which they join.
    """
    component, unverified = held.components(np.empty(0, np.int64))
    own, stays = _of_vertices(held, before, said)
    split, torn = _of_components(component, own)
    vertices = np.flatnonzero(torn[component])
    if not len(vertices):
        return Settled(component, split, {}, unverified)
    left, right, open_ = held.among(vertices)
    own[open_[~stays[open_]]] = MIXED  # not compared with all that it may be alike to: put aside
    groups, rows = vertices[vertices >= held.links.count], order(np.flatnonzero(torn[component[held.node]]))
    joins = [*groups.tolist(), *dict.fromkeys(held.node[rows].tolist())]
    found = settle(joins, _at(own, joins), _at(stays, joins), _near(joins, left, right))
    split[vertices], component[vertices] = NONE, vertices
    for vertex, root in found.component.items():
        component[vertex] = root
    for root, its in found.split.items():
        split[root] = its
    return Settled(component, split, found.aside, unverified)


class Joined(NamedTuple):
    """What became of the vertices of some components."""

    component: dict[int, int]  # of those that joined: one of its vertices stands for it
    split: dict[int, int]  # of each such component
    aside: dict[int, set[int]]  # of those put aside: the splits that they would have tied


def settle(
    order: Sequence[int], own: Mapping[int, int], stays: Mapping[int, int], near: Mapping[int, Sequence[int]]
) -> Joined:
    """Let vertices join in their order; `own` is the split of each, `stays` says who joins in any case."""
    parent: dict[int, int] = {}
    split: dict[int, int] = {}
    aside: dict[int, set[int]] = {}
    for vertex in order:
        tied = {_find(parent, other) for other in near[vertex] if other in parent}
        found = {own[vertex], *(split[root] for root in tied)} - {NONE}
        if (len(found) > 1 or MIXED in found) and not stays[vertex]:
            aside[vertex] = found
            continue
        parent[vertex] = vertex
        for root in tied:
            parent[root] = vertex
            del split[root]
        split[vertex] = MIXED if len(found) > 1 else next(iter(found), NONE)
    return Joined({vertex: _find(parent, vertex) for vertex in parent}, split, aside)


def _find(parent: dict[int, int], vertex: int) -> int:
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex


def _at(values: npt.NDArray[np.generic], vertices: Sequence[int]) -> dict[int, int]:
    return dict(zip(vertices, values[np.array(vertices, np.int64)].tolist(), strict=True))


def _near(vertices: Sequence[int], left: Rows, right: Rows) -> dict[int, list[int]]:
    near: dict[int, list[int]] = {vertex: [] for vertex in vertices}
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        near[a].append(b)
        near[b].append(a)
    return near


def _of_vertices(held: Held, before: Rows, said: Rows) -> tuple[Rows, Mask]:
    """Return the split of each vertex, and which of them stay where they are: groups, and what was assigned before.

    A content whose records were in several is MIXED; where the data gives several, the first counts.
    """
    stays = np.zeros(held.vertices, np.bool_)
    stays[held.node[before != NONE]] = True
    low, high = _extremes(held.node, np.where(stays[held.node], before, said), held.vertices)
    own = np.where(high == NONE, NONE, np.where((low == high) | ~stays, low, MIXED))
    stays[held.links.count :] = True
    return own, stays


def _of_components(component: Rows, own: Rows) -> tuple[Rows, Mask]:
    """Return the split of each component, by its number, and which of them lie in several."""
    low, high = _extremes(component, own, len(component))
    mixed = np.zeros(len(component), np.bool_)
    mixed[component[own == MIXED]] = True
    torn = mixed | ((low != high) & (high != NONE))
    return np.where((high == NONE) | torn, NONE, low), torn


def _extremes(of: Rows, split: Rows, count: int) -> tuple[Rows, Rows]:
    """Return the least and the greatest split that is said of each of `count` places; greatest NONE: none is."""
    low, high = np.full(count, _ANY, np.int64), np.full(count, NONE, np.int64)
    there = np.flatnonzero(split >= 0)
    np.minimum.at(low, of[there], split[there])
    np.maximum.at(high, of[there], split[there])
    return low, high
