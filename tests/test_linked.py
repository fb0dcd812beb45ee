"""What is tied to what, against all pairs in plain Python and networkx's components."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
from hypothesis import given
from oracle import similarity
from test_resolve import policies, worlds

from dedupver.resolve import linked as module
from dedupver.resolve import links_of, met
from dedupver.resolve.hot import Buckets
from dedupver.resolve.linked import Links, components
from dedupver.resolve.rules import NO_EDGES, Edges

if TYPE_CHECKING:
    import pytest
    from oracle import World

    from dedupver.digests import Rows
    from dedupver.params import Dedup
    from dedupver.resolve import Case

NONE = np.empty(0, np.int64)


def case_of(world: World) -> Case:
    """Return it with the parts that its records have."""
    case = world.case()
    return replace(case, parts=met(case.parts, case.records["parts"]))


@given(worlds() | worlds(hot=True), policies())
def test_ties_are_those_of_all_pairs(world: World, policy: Dedup) -> None:
    """Listed or in hot buckets: components are networkx's over the pairs that rules and reviews call duplicates."""
    leakage = policy.leakage.model_copy(update={"action": "report"})  # leaks tie nothing: `split.together` does
    policy = policy.model_copy(update={"captions": "all", "leakage": leakage})
    items = sorted(world.items, key=lambda item: item.name)
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(items)))
    for a, b in itertools.combinations(range(len(items)), 2):
        if similarity(world, policy, items[a], items[b]) > 0:
            graph.add_edge(a, b)
    links = links_of(case_of(world), policy)
    label, unverified = links.tied(NONE, NONE, links.count, NONE)
    found: dict[int, set[int]] = {}
    for row, each in enumerate(label[links.of_record].tolist()):
        found.setdefault(each, set()).add(row)
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, nx.connected_components(graph)))
    assert unverified == 0
    left, right, open_ = links.among(np.arange(links.count))
    pairs = {frozenset((a, b)) for a, b in zip(left.tolist(), right.tolist(), strict=True)}
    heads = {int(node): row for row, node in reversed(list(enumerate(links.of_record.tolist())))}
    assert {frozenset(heads[node] for node in pair) for pair in pairs} <= {frozenset(e) for e in graph.edges}
    ends = {frozenset((int(links.of_record[a]), int(links.of_record[b]))) for a, b in graph.edges}
    assert {end for end in ends if len(end) == 2} == pairs
    assert len(open_) == 0


def bucket(size: int, near: set[tuple[int, int]]) -> tuple[Links, list[int]]:
    """Return nodes that share one hot bucket, of which some pairs are duplicates, and how many pairs were asked for."""
    asked: list[int] = []

    def judge(left: Rows, right: Rows) -> Edges:
        asked.append(len(left))
        mask = np.array([(min(p), max(p)) in near for p in zip(left.tolist(), right.tolist(), strict=True)], bool)
        blank = np.zeros(int(mask.sum()), np.int64)
        return Edges(left[mask], right[mask], blank.astype(np.float32), blank.astype(np.float32), blank, blank)

    members = Buckets.of(np.arange(size, dtype=np.uint64), 1, size)
    return Links(np.arange(size), size, NO_EDGES.left, NO_EDGES.right, members, judge), asked


def test_near_copies_cost_nothing_where_decisions_tie_them() -> None:
    """A bucket that is one component already is not looked at."""
    links, asked = bucket(500, set())
    star = np.zeros(499, np.int64), np.arange(1, 500)
    assert set(links.tied(*star, 500, NONE)[0].tolist()) == {0}
    assert asked == []
    label, _ = links.tied(star[0][:-1], star[1][:-1], 500, NONE)  # one is outside: compared with all others
    assert (label[499], sum(asked)) == (499, 499)


def test_a_bucket_of_too_many_unlike_is_counted_and_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparisons are bounded."""
    monkeypatch.setattr(module, "COMPARED", 3)
    links, asked = bucket(20, {(0, 1)})
    label, unverified = links.tied(NONE, NONE, 20, NONE)
    assert (label.tolist(), unverified, asked) == (list(range(20)), 20, [])
    assert links.among(np.arange(20))[2].tolist() == list(range(20))


def test_who_is_left_out_ties_nobody() -> None:
    """A chain falls apart where its middle is left out; in a hot bucket too."""
    links, _ = bucket(3, {(0, 1), (1, 2)})
    assert links.tied(NONE, NONE, 3, NONE)[0].tolist() == [0, 0, 0]
    assert links.tied(NONE, NONE, 3, np.array([1]))[0].tolist() == [0, 1, 2]


def test_components_are_named_by_their_least() -> None:
    """By hand."""
    assert components(np.array([4, 2]), np.array([2, 1]), 6).tolist() == [0, 1, 1, 3, 1, 5]
