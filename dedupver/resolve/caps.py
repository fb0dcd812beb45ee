"""How many records may share a part: beyond, they are dropped for the first that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np

from dedupver.compiled import njit
from dedupver.resolve.rules import REVIEW, Edges

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Mask
    from dedupver.resolve.nodes import Nodes

CAPPED: Final = REVIEW - 1
"""Stands for the rule of an edge that the first cap drew, CAPPED - 1 for the second's, and so on."""


class Caps(NamedTuple):
    """What is counted while nodes are judged; one row for each of `capped`."""

    most: Rows  # records that may share a content of the part, shape (caps,)
    content: Rows  # of each node, -1 where it has no such part; shape (caps, nodes)
    weight: Rows  # how many records count if a node is kept, shape (nodes,)
    kept: Rows  # how many records of a content are kept so far, shape (caps, contents)
    first: Rows  # the first node of these, shape (caps, contents)

    @classmethod
    def of(cls, caps: Mapping[str, int], names: Sequence[str], nodes: Nodes, forced: Mask, counted: Mask) -> Self:
        """Take the caps of parts that records have; `forced` and `counted` speak of records, shapes (n,)."""
        parts = [names.index(name) for name in capped(caps, names)]
        weight = np.bincount(nodes.of_record[forced & counted], minlength=len(nodes))
        stays = np.bincount(nodes.of_record[forced], minlength=len(nodes))
        shape = len(parts), int(nodes.contents.max(initial=-1)) + 1 if parts else 0
        most = np.array([caps[names[part]] for part in parts], np.int64)
        content = np.ascontiguousarray(nodes.contents[:, parts].T)
        return cls(most, content, np.where(stays > 0, weight, 1), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


def capped(caps: Mapping[str, int], names: Sequence[str]) -> list[str]:
    """Return the capped parts that records have, in alphabetical order."""
    return [name for name in sorted(caps) if name in names]


def edges(by: Rows, goes_for: Rows) -> tuple[Rows, Edges]:
    """Return the nodes that caps have dropped, and for each the edge from the first that is kept with their part."""
    nodes = np.flatnonzero(by <= CAPPED)
    one = np.ones(len(nodes), np.float32)
    return nodes, Edges(goes_for[nodes], nodes, one, one, np.full(len(nodes), -1), by[nodes])


@njit(cache=True)
def drops(node: int, caps: Caps, forced: Mask, by: Rows, goes_for: Rows) -> bool:
    """Return whether a node that no rule drops goes because of a cap, and note it; else count it."""
    for cap in range(len(caps.most)):
        content = caps.content[cap, node]
        if content >= 0 and caps.kept[cap, content] >= caps.most[cap] and not forced[node]:
            by[node], goes_for[node] = CAPPED - cap, caps.first[cap, content]
            return True
    for cap in range(len(caps.most)):
        content = caps.content[cap, node]
        if content >= 0:
            if caps.kept[cap, content] == 0:
                caps.first[cap, content] = node
            caps.kept[cap, content] += caps.weight[node]
    return False
