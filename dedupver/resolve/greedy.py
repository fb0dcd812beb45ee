"""Greedy by direct match, in one pass: a node is kept unless one that is already kept matches it.

Nodes are numbered in the order in which they are judged. Pairs within a hot bucket are not listed: a kept node is
compared with those after it in its buckets when its turn has come. So each pair is compared at most once, a bucket of
near copies costs one comparison for each of them, and no verdict is ever taken back.

Comparisons are made many at a time, by whatever the rules ask for; where one kind of set is all they ask for, by the
same compiled pass that takes the nodes in turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dedupver.compiled import interpreted, njit
from dedupver.index.sets import of_pair, share_of
from dedupver.resolve import caps as caps_
from dedupver.resolve.caps import drops
from dedupver.resolve.hot import COMPARED
from dedupver.resolve.rules import Edges, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from dedupver.digests import Rows
    from dedupver.fingerprint.ragged import Ragged
    from dedupver.resolve.caps import Caps
    from dedupver.resolve.evidence import Mask, Scores
    from dedupver.resolve.hot import Buckets, Small

    Hashes = npt.NDArray[np.uint32]

BETTER: Final = 100
"""So many of them a member, on average, may be with one that is dropped already, to find the best it goes for."""

WAVE: Final = 1 << 18
"""Pairs compared at once."""


FEW: Final = 20_000
"""Nodes and edges that Python has judged before it has loaded numba."""


@dataclass(frozen=True)
class Alike:
    """Sets that alone say whether two nodes of a hot bucket are duplicates."""

    sets: Ragged
    row: Rows  # of each node that is in a bucket; shape (n,)
    at_least: float
    kind: int  # as Edges has it


@dataclass(frozen=True)
class Outcome:
    """`by`, shape (n,), is the edge that each dropped node goes by, -1 for the kept.

    `unverified` counts the kept that were not compared with all of a hot bucket.
    """

    by: Rows
    edges: Edges
    unverified: int


def sweep(  # noqa: PLR0913, PLR0917 - all that the outcome depends on
    edges: Edges,
    forced: Mask,
    buckets: Buckets,
    caps: Caps,
    judge: Callable[[Rows, Rows], Edges],
    alike: Alike | None = None,
) -> Outcome:
    """Judge every node: dropped for the best of the kept that are known to match it, of equals for the first.

    `forced`, shape (n,), says which stay whatever matches them; `judge` returns the edges among some pairs of nodes,
    which are those of the only rule where `alike` is given. A node that nothing matches goes all the same where enough
    are kept that share a part with it.
    """
    edges = edges.at(np.argsort(edges.left, kind="stable"))
    state = _start(edges, forced, buckets, caps)
    if alike is not None and len(buckets.members):
        found = _by_sets(edges, state, alike)
    else:
        with interpreted(len(forced) + len(edges.left) < FEW and not len(buckets.members)):
            found = _by_waves(edges, state, judge)
    over, by_caps = caps_.edges(state.by, state.goes_for)
    state.by[over] = len(found.left) + np.arange(len(over))
    return Outcome(state.by, joined([found, by_caps]), int(state.unverified[0]))


def _by_waves(edges: Edges, state: _State, judge: Callable[[Rows, Rows], Edges]) -> Edges:
    """Judge; return all edges that were met."""
    found, count, node, number = [edges], len(edges.left), 0, 0
    while node < len(state.forced):
        number += 1
        node, pairs = _wave(node, number, state)
        for start in range(0, pairs, WAVE):
            here = slice(start, min(start + WAVE, pairs))
            found.append(judge(state.left[here].astype(np.int64), state.right[here].astype(np.int64)))
            _drop(found[-1].left, found[-1].right, found[-1].score, count, state)
            count += len(found[-1].left)
    return joined(found)


def _by_sets(edges: Edges, state: _State, alike: Alike) -> Edges:
    """Judge; return the edges, of the pairs compared those that decide."""
    floor, share = np.float32(alike.at_least), share_of(alike.at_least)
    _compare(alike.sets.offsets, alike.sets.values, alike.row, share, floor, state)
    late = np.flatnonzero(state.by >= len(edges.left))
    state.by[late] = len(edges.left) + np.arange(len(late))
    same = np.zeros(len(late), np.int64)
    found = Edges(state.goes_for[late], late, state.best[late], same + floor, same + alike.kind, same)
    return joined([edges, found])


class _State(NamedTuple):
    """What is known while nodes are judged: arrays, for the kernels."""

    forced: Mask
    by: Rows  # edge that drops a node, -1: none so far
    best: Scores  # its score
    goes_for: Rows  # its kept end
    first: Rows  # listed edges of a node, by its number, to those after it
    early: Rows
    late: Rows
    score: Scores
    buckets: Buckets
    caps: Caps
    ends: Rows  # of a bucket's members that are still compared
    budget: Rows  # comparisons left to a bucket
    spare: Rows  # those left to it with members that are dropped already
    led: Rows  # the last wave in which a member of a bucket was compared with it
    met: Small  # the last node that a node was listed for
    left: Small  # pairs to be compared
    right: Small
    unverified: Rows


def _start(edges: Edges, forced: Mask, buckets: Buckets, caps: Caps) -> _State:
    count, sizes = len(forced), np.diff(buckets.starts)
    room = max(WAVE, count) if len(buckets.members) else 0
    return _State(
        forced,
        by=np.full(count, -1, np.int64),
        best=np.zeros(count, np.float32),
        first=np.searchsorted(edges.left, np.arange(count + 1)),
        goes_for=np.full(count, -1, np.int64),
        early=edges.left,
        late=edges.right,
        score=edges.score,
        buckets=buckets._replace(members=buckets.members.copy()),
        caps=caps,
        ends=buckets.starts[1:].copy(),
        budget=COMPARED * sizes,
        spare=BETTER * sizes,
        led=np.zeros(len(sizes), np.int64),
        met=np.full(count, -1, np.int32),
        left=np.empty(room, np.int32),
        right=np.empty(room, np.int32),
        unverified=np.zeros(1, np.int64),
    )


@njit(cache=True)
def _wave(node: int, number: int, state: _State) -> tuple[int, int]:
    """Judge nodes up to one that comparisons not made yet may drop; return it, and how many pairs to compare.

    Members of different buckets can be compared at once: only those that share a bucket wait for each other.
    """
    pairs = 0
    while node < len(state.by):
        if state.by[node] < 0:
            mine = state.buckets.of_node[state.buckets.node_starts[node] : state.buckets.node_starts[node + 1]]
            if not _may_go_on(mine, number, pairs, state):
                break
            if not drops(node, state.caps, state.forced, state.by, state.goes_for):
                listed = slice(state.first[node], state.first[node + 1])
                _drop(state.early[listed], state.late[listed], state.score[listed], state.first[node], state)
                pairs = _meet(node, mine, number, pairs, state)
        node += 1
    return node, pairs


@njit(cache=True)
def _compare(  # noqa: PLR0913, PLR0917 - the sets, and what is known
    offsets: Rows, values: Hashes, row: Rows, share: float, floor: np.float32, state: _State
) -> None:
    """Judge all nodes; one that goes for a member of its buckets gets an edge by its own number, after those listed."""
    for node in range(len(state.by)):
        if state.by[node] >= 0 or drops(node, state.caps, state.forced, state.by, state.goes_for):
            continue
        listed = slice(state.first[node], state.first[node + 1])
        _drop(state.early[listed], state.late[listed], state.score[listed], state.first[node], state)
        mine = state.buckets.of_node[state.buckets.node_starts[node] : state.buckets.node_starts[node + 1]]
        for other in state.right[: _meet(node, mine, node + 1, 0, state)]:
            score = np.float32(of_pair(offsets, values, row[node], offsets, values, row[other], share))
            if score >= floor and score > state.best[other]:  # of equals the first is before this
                state.best[other], state.goes_for[other] = score, node
                state.by[other] = len(state.early) + other


@njit(cache=True)
def _may_go_on(mine: Small, number: int, pairs: int, state: _State) -> bool:
    size = 0
    for bucket in mine:
        if state.led[bucket] == number:
            return False
        size += state.ends[bucket] - state.buckets.starts[bucket]
    return pairs == 0 or pairs + size <= len(state.left)


@njit(cache=True)
def _drop(early: Rows, late: Rows, score: Scores, first: int, state: _State) -> None:
    """Drop nodes by edges of kept ones, numbered from `first` on, unless they are dropped by better ones."""
    for at in range(len(late)):
        node, best = late[at], state.best[late[at]]
        better = score[at] > best or (score[at] == best and early[at] < state.goes_for[node])
        if better and not state.forced[node]:
            state.best[node], state.goes_for[node], state.by[node] = score[at], early[at], first + at


@njit(cache=True)
def _meet(node: int, mine: Small, number: int, pairs: int, state: _State) -> int:
    """List a kept node's pairs with those after it in its buckets, once each, and forget there who is before it."""
    whole = True
    for bucket in mine:
        start, end = state.buckets.starts[bucket], state.ends[bucket]
        if end - start > state.budget[bucket]:
            whole = False
            continue
        state.ends[bucket], before = start, pairs
        for other in state.buckets.members[start:end]:
            if other <= node or state.forced[other] or (state.by[other] >= 0 and state.spare[bucket] == 0):
                continue
            state.buckets.members[state.ends[bucket]] = other
            state.ends[bucket] += 1
            if state.met[other] != node:
                state.met[other] = node
                state.left[pairs], state.right[pairs] = node, other
                state.spare[bucket] -= state.by[other] >= 0
                pairs += 1
        state.budget[bucket] -= pairs - before
        state.led[bucket] = number
    state.unverified[0] += not whole
    return pairs
