"""One record against all others: who drops it and what would change that, held to the rules in plain Python."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from oracle import World, greedy, similarity
from test_resolve import policies, worlds

from dedupver.remedies import droppers, followers, opposite
from dedupver.resolve.rivals import rivals
from dedupver.resolve.rules import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver import params

SOME = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


def asked(world: World, policy: params.Dedup) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Give each record with what `rivals_of` would return of it."""
    items = sorted(world.items, key=lambda item: item.name)
    kept = {name for name, near in greedy(world, policy).items() if not near}
    for row, item in enumerate(items):
        reviews = {(set(pair) - {item.name}).pop(): label for pair, label in world.reviews.items() if item.name in pair}
        also = [at for at, other in enumerate(items) if other.name in reviews]
        found = rivals(world.case(), policy, row, also)
        yield (
            item.name,
            [
                {"id": items[r.row].name, "action": "keep" if items[r.row].name in kept else "drop"}
                | {"review": reviews.get(items[r.row].name)}
                | {name: getattr(r, name) for name in ("before", "known", "rule", "away", "near")}
                for r in found
            ],
        )


def changed(policy: params.Dedup, bounds: dict[str, float], by: float) -> params.Dedup:
    """Return the policy with thresholds and numbers of rules at these values, or a little beyond."""
    thresholds, rules = {}, {text_of(rule): dict(rule) for rule in policy.rules}
    across, leakage = dict(policy.leakage.thresholds), {}
    for setting, value in bounds.items():
        if setting.startswith("dedup.thresholds."):
            thresholds[setting.rpartition(".")[2]] = value + by
        elif setting.startswith("dedup.leakage.thresholds."):
            across[setting.rpartition(".")[2]] = value + by
        elif setting == "dedup.leakage.ngrams":
            leakage["ngrams"] = value + by
        else:
            term, _, rule = setting.partition(" of the rule ")
            rules[rule][term] = value + by
    there = policy.thresholds.model_copy(update=thresholds)
    leaks = policy.leakage.model_copy(update={**leakage, "thresholds": across})
    return policy.model_copy(update={"thresholds": there, "rules": tuple(rules.values()), "leakage": leaks})


@SOME
@given(worlds(hot=True), policies())
def test_a_rule_that_calls_two_duplicates_is_named_and_only_then(world: World, policy: params.Dedup) -> None:
    """For every pair of records, whichever way round."""
    items, plain = {item.name: item for item in world.items}, dataclasses.replace(world, reviews={})
    for name, found in asked(world, policy):
        named = {each["id"]: each for each in found}
        for other in items.keys() - {name}:
            duplicates = similarity(plain, policy, items[name], items[other]) > 0
            assert duplicates == bool(other in named and named[other]["rule"])


@SOME
@given(worlds(hot=True), policies())
def test_settings_beyond_the_bounds_part_two_and_at_the_bounds_join_them(world: World, policy: params.Dedup) -> None:
    """`away` is exact: above it no rule holds, and at it one does; so is `near`."""
    items, plain = {item.name: item for item in world.items}, dataclasses.replace(world, reviews={})
    for name, found in asked(world, policy):
        for each in found:
            pair = items[name], items[each["id"]]
            if each["rule"] and each["away"]:
                assert similarity(plain, changed(policy, each["away"], 1e-4), *pair) == 0
                assert similarity(plain, changed(policy, each["away"], 0), *pair) > 0
            if each["near"]:
                assert not each["rule"]
                assert similarity(plain, changed(policy, each["near"], 0), *pair) > 0
                assert similarity(plain, changed(policy, each["near"], 1e-4), *pair) == 0


@SOME
@given(worlds(hot=True), policies())
def test_the_droppers_are_whom_the_greedy_order_meets(world: World, policy: params.Dedup) -> None:
    """All kept ones that match it when its turn comes, by rules and reviews; and none where it is kept."""
    policy = policy.model_copy(update={"caps": {}})
    outcome, forced = greedy(world, policy), {item.name for item in world.items if item.forced}
    for name, found in asked(world, policy):
        if name not in forced:
            assert {each["id"] for each in droppers(found)} == outcome[name].keys()
            if not outcome[name]:
                assert {each["id"] for each in followers(found)} <= forced | set(outcome)


@SOME
@given(worlds(hot=True), policies(), st.data())
def test_what_would_change_a_drop_changes_it(world: World, policy: params.Dedup, data: st.DataObject) -> None:
    """The reviews restore it; so do thresholds above those that are told, whatever becomes of the others."""
    policy = policy.model_copy(update={"caps": {}, "captions": "all"})
    outcome = greedy(world, policy)
    assume(any(outcome.values()))
    name = data.draw(st.sampled_from([name for name, near in outcome.items() if near]))
    found = opposite({"id": name, "action": "drop"}, dict(asked(world, policy))[name])
    told = {tuple(sorted(pair)): "different" for pair in found["reviews"]}
    said = {pair: label for pair, label in world.reviews.items() if tuple(sorted(pair)) not in told}
    assert not greedy(dataclasses.replace(world, reviews=said | told), policy)[name]
    if found["thresholds_alone"]:
        assert not greedy(world, changed(policy, found["thresholds_alone"], 1e-4))[name]
    if found["thresholds"]:
        items = {item.name: item for item in world.items}
        raised = changed(policy, found["thresholds"], 1e-4)
        for each in found["for"]:
            assert similarity(world, raised, items[name], items[each["id"]]) == 0
