"""The greedy pass over a graph of which some pairs are listed and some share a hot bucket, against plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.fingerprint.ragged import Ragged
from dedupver.index.sets import jaccard
from dedupver.resolve import greedy as module
from dedupver.resolve.caps import Caps
from dedupver.resolve.greedy import Outcome, sweep
from dedupver.resolve.hot import Buckets
from dedupver.resolve.rules import Edges

if TYPE_CHECKING:
    from dedupver.digests import Rows

NO_CAPS = Caps(*(np.empty(shape, np.int64) for shape in (0, (0, 0), 0, (0, 0), (0, 0))))
Scored = dict[tuple[int, int], float]  # by pair, the smaller node first


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Scored, list[set[int]], list[bool]]:
    """Draw the edges of up to 12 nodes, up to five buckets of them, and who is forced."""
    count = draw(st.integers(1, 12))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    edges = {pair: score for pair in pairs if (score := draw(st.sampled_from([0, 0, 0.5, 0.75])))}
    buckets = draw(st.lists(st.sets(st.integers(0, count - 1)), max_size=5))
    return edges, buckets, draw(st.lists(st.sampled_from([False, False, True]), min_size=count, max_size=count))


def edges_of(scored: Scored) -> Edges:
    """Return edges as `greedy` takes them."""
    left, right = (np.array([pair[end] for pair in scored], np.int64) for end in (0, 1))
    none = np.zeros(len(scored), np.int64)
    return Edges(left, right, np.array(list(scored.values()), np.float32), np.ones(len(scored), np.float32), none, none)


def run(scored: Scored, groups: list[set[int]], forced: list[bool]) -> tuple[Outcome, list[tuple[int, int]]]:
    """Judge with the pairs that share a group left out; return the outcome and the pairs asked for."""
    asked: list[tuple[int, int]] = []

    def judge(left: Rows, right: Rows) -> Edges:
        pairs = list(zip(left.tolist(), right.tolist(), strict=True))
        asked.extend(pairs)
        return edges_of({pair: scored[pair] for pair in pairs if pair in scored})

    packed = [(number << 32) | node for number, group in enumerate(groups) for node in group]
    buckets = Buckets.of(np.array(packed, np.uint64), len(groups), len(forced))
    listed = {pair: score for pair, score in scored.items() if not any(set(pair) <= group for group in groups)}
    return sweep(edges_of(listed), np.array(forced), buckets, NO_CAPS, judge), asked


def by_definition(scored: Scored, forced: list[bool]) -> list[bool]:
    """Return who stays: in order, whom no kept node matches."""
    kept: list[bool] = []
    for node, must in enumerate(forced):
        kept.append(must or not any(kept[other] and (other, node) in scored for other in range(node)))
    return kept


@settings(deadline=None, max_examples=200)
@given(graphs(), st.sampled_from([1, 3, 1000]))
def test_the_kept_are_those_of_the_whole_graph(graph: tuple[Scored, list[set[int]], list[bool]], wave: int) -> None:
    """Whatever is in buckets and however much is compared at once; each goes for its best, and no pair is asked twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WAVE", wave)
        outcome, asked = run(*graph)
    scored, _, forced = graph
    expected = by_definition(scored, forced)
    assert (outcome.by < 0).tolist() == expected
    for node in np.flatnonzero(outcome.by >= 0).tolist():
        near = {other: scored[other, node] for other in range(node) if expected[other] and (other, node) in scored}
        at = outcome.by[node]
        assert outcome.edges.right[at] == node
        assert outcome.edges.left[at] == max(near, key=lambda other: (near[other], -other))
    assert len(set(asked)) == len(asked)
    assert outcome.unverified == 0


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=12),
    st.data(),
    st.sampled_from([(1000, 100), (2, 1), (1, 0)]),
)
def test_sets_are_compared_in_the_same_pass_with_the_same_outcome(
    sets: list[set[int]], data: st.DataObject, bounds: tuple[int, int]
) -> None:
    """As in waves: who goes for whom, at what score, and how many were not compared, also where comparisons run out."""
    count, floor = len(sets), 0.4
    groups = data.draw(st.lists(st.sets(st.integers(0, count - 1)), min_size=1, max_size=4))
    forced = np.array(data.draw(st.lists(st.sampled_from([False, False, True]), min_size=count, max_size=count)))
    rows = Ragged.of_rows([np.array(sorted(each), np.uint32) for each in sets])

    def judge(left: Rows, right: Rows) -> Edges:
        score = jaccard(rows, left, rows, right, floor)
        pairs = zip(left.tolist(), right.tolist(), score.tolist(), strict=True)
        return edges_of({(a, b): s for a, b, s in pairs if s >= np.float32(floor)})

    every = [(a, b) for b in range(count) for a in range(b)]
    apart = np.array([p for p in every if not any(set(p) <= g for g in groups)], np.int64).reshape(-1, 2)
    packed = np.array([(number << 32) | node for number, group in enumerate(groups) for node in group], np.uint64)
    alike = module.Alike(rows, np.arange(count), floor, 0)
    buckets = Buckets.of(packed, len(groups), count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COMPARED", bounds[0])
        patch.setattr(module, "BETTER", bounds[1])
        waves, passed = (sweep(judge(*apart.T), forced, buckets, NO_CAPS, judge, how) for how in (None, alike))
    assert waves.unverified == passed.unverified
    assert ((waves.by < 0) == (passed.by < 0)).all()
    for outcome in (waves, passed):
        assert (outcome.edges.right[outcome.by[outcome.by >= 0]] == np.flatnonzero(outcome.by >= 0)).all()
    for column in ("left", "score"):
        a, b = (getattr(o.edges, column)[o.by[o.by >= 0]] for o in (waves, passed))
        assert a.tolist() == b.tolist()


def test_of_equal_scores_the_first_wins() -> None:
    """Node 2 matches 0 and 1 at one score."""
    outcome, _ = run({(1, 2): 0.75, (0, 2): 0.75}, [], [False] * 3)
    assert outcome.edges.left[outcome.by[2]] == 0


def test_a_better_match_wins_over_an_earlier_one() -> None:
    """Node 2 matches 0 as listed, and 1 better."""
    outcome, _ = run({(0, 2): 0.5, (1, 2): 0.75}, [], [False] * 3)
    assert outcome.edges.left[outcome.by[2]] == 1


def test_the_dropped_are_compared_with_other_kept_nodes_while_the_bucket_has_comparisons_to_spare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """0 drops 2 and 3, which match 1 better: both go for 1, or 2 alone, or neither."""
    scored = {(0, 2): 0.5, (0, 3): 0.5, (1, 2): 0.75, (1, 3): 0.75}
    for spare, goes_for in ((2, [1, 1]), (1, [1, 1]), (0, [0, 0])):
        monkeypatch.setattr(module, "BETTER", spare)
        outcome, _ = run(scored, [set(range(4))], [False] * 4)
        assert outcome.edges.left[outcome.by[2:]].tolist() == goes_for


def test_separate_buckets_are_compared_at_once() -> None:
    """Three buckets of two take one call."""
    calls = 0

    def judge(left: Rows, right: Rows) -> Edges:
        nonlocal calls
        calls += 1
        return edges_of(dict.fromkeys(zip(left.tolist(), right.tolist(), strict=True), 0.5))

    packed = np.array([(number << 32) | node for node, number in enumerate([0, 1, 2, 0, 1, 2])], np.uint64)
    outcome = sweep(edges_of({}), np.zeros(6, bool), Buckets.of(packed, 3, 6), NO_CAPS, judge)
    assert (outcome.by < 0).tolist() == [True] * 3 + [False] * 3
    assert calls == 1


def test_a_bucket_of_unlike_members_costs_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten that are all unlike, two comparisons a member: 9 + 8 are made, and the other eight are counted."""
    monkeypatch.setattr(module, "COMPARED", 2)
    outcome, asked = run({}, [set(range(10))], [False] * 10)
    assert len(asked) == 17
    assert outcome.unverified == 8


def test_no_node_at_all() -> None:
    """Nothing is judged."""
    outcome, _ = run({}, [], [])
    assert (len(outcome.by), outcome.unverified) == (0, 0)
