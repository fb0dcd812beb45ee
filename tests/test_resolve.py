"""Greedy by direct match: agrees with plain Python over all pairs, and with cases worked out by hand."""

from __future__ import annotations

import dataclasses
import resource
import time
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracle import Item, World, digest, leak, side, similarity
from oracle import greedy as by_definition

from dedupver.params import Dedup, Similar
from dedupver.resolve import Case, Verdicts, remaining, resolve
from dedupver.resolve.shared import shared
from dedupver.schema import EVIDENCE, HOT, PARTS, RECORD, SAID

if TYPE_CHECKING:
    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Scores

SOME = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
POOL = {part: [f"{modality}{n}" for n in range(4)] for part, modality in PARTS.items()}
SIMILAR = sorted(get_args(Similar))
LEVELS = [0.75, 0.875, 0.9375, 1.0]  # exact in float32
RULES: list[tuple[dict[str, Any], ...]] = [
    ({"every": "similar"},),
    ({"image": 0.875, "caption": 0.875}, {"text": 0.9375}),
    ({"image": "exact"}, {"text": "similar", "image": "similar"}),
    ({"text.embedding": 0.9375}, {"caption.embedding": 0.875, "caption": 0.75}),
    ({"content": "exact"},),
    ({"vector": 0.875}, {"image": 0.75, "vector": 0.75}, {"vector.cosine": 0.9375, "text": "similar"}),
    ({"every": "similar", "image": 0.9375}, {"caption": "exact", "image.embedding": 0.75}),
    ({"joint": 0.875},),
    ({"every": "similar"}, {"joint": 0.9375}, {"image": 0.875}, {"joint": 0.75}),
]


@st.composite
def worlds(draw: st.DrawFn, *, hot: bool = False) -> World:
    """Draw up to nine records of one to three parts over few contents, so that most of them touch."""
    items = []
    for at in range(draw(st.integers(1, 9))):
        parts = draw(st.sets(st.sampled_from(sorted(POOL)), min_size=1))
        forced = draw(st.integers(0, 4)) == 0
        fields = {
            "role": "reference" if forced and draw(st.booleans()) else "data",
            "split": draw(st.sampled_from(["test", "validation", "train", None])),
            "source": draw(st.sampled_from(["a", "b", None])),
            "quality": draw(st.sampled_from([0.5, 2.0, None])),
            "time": draw(st.sampled_from(["2024", "2025-01", None])),
            "pixels": draw(st.integers(0, 2)),
            "bytes": draw(st.integers(1, 2)),
            "chars": draw(st.integers(0, 2)),
            "millis": draw(st.integers(0, 2)),
        }
        chosen = {p: draw(st.sampled_from(POOL[p])) for p in sorted(parts)}
        items.append(Item(f"r{at}", chosen, 0 if forced else draw(st.integers(1, 2)), forced, fields))
    pairs = [(k, a, b) for k, (m, *_) in EVIDENCE.items() for a in POOL.get(m, []) for b in POOL[m] if a < b]
    pairs += [("ngram", a, b) for a in POOL["text"] for b in POOL["text"] if a < b]
    scores = {pair: score for pair in pairs if (score := draw(st.sampled_from([0, *LEVELS])))}
    across = [(a, b) for a in POOL["image"] for b in POOL["text"]]
    fits = {pair: score for pair in across if (score := draw(st.sampled_from([0, 0, 0, *LEVELS])))}
    names = [item.name for item in items]
    reviews = {}
    if len(names) > 1 and draw(st.booleans()):
        reviews = {
            tuple(sorted(draw(st.permutations(names))[:2])): draw(st.sampled_from(["same", "different"]))
            for _ in range(2)
        }
    groups = {}
    if hot:
        groups = {
            k: draw(st.lists(st.sets(st.sampled_from(POOL[m]), min_size=2), max_size=2))
            for k, (m, *_) in EVIDENCE.items()
            if m in POOL
        }
    return World(items, scores, groups, reviews, fits)


@st.composite
def policies(draw: st.DrawFn) -> Dedup:
    """Draw thresholds, rules, what is similar and a keep policy."""
    return Dedup.model_validate(
        {
            "thresholds": {kind: draw(st.sampled_from(LEVELS)) for kind in EVIDENCE},
            "similar": draw(st.sets(st.sampled_from(sorted(EVIDENCE)))),
            "rules": draw(st.sampled_from(RULES)),
            "keep": draw(
                st.lists(st.sampled_from(["largest", "longest", "newest", "source", "quality", "first"]), unique=True)
            ),
            "sources": ["b", "a"],
            "caps": draw(st.dictionaries(st.sampled_from(sorted(POOL)), st.integers(1, 3), max_size=2)),
            "captions": draw(st.sampled_from(["all", "all", "longest", "quality"])),
            "leakage": {
                "protected": draw(st.sampled_from([None, [], ["test"], ["validation", "test"], ["train"]])),
                "action": draw(st.sampled_from(["remove", "remove", "report"])),
                "parts": draw(st.sets(st.sampled_from(sorted(POOL)))),
                "thresholds": draw(st.dictionaries(st.sampled_from(SIMILAR), st.sampled_from(LEVELS), max_size=2)),
                "ngrams": draw(st.sampled_from([None, 0.75, 1.0])),
            },
        }
    )


def judged(world: World, policy: Dedup) -> tuple[dict[str, str | None], Verdicts]:
    """Return each record's representative by name (None: kept), and the verdicts."""
    verdicts = resolve(world.case(), policy)
    names = sorted(item.name for item in world.items)
    at = verdicts.representative.tolist()
    assert [a < 0 for a in at] == verdicts.keep.tolist()
    return {name: names[a] if a >= 0 else None for name, a in zip(names, at, strict=True)}, verdicts


def said(verdicts: Verdicts, row: int) -> dict[str, Any]:
    """Return what is said of a record that was dropped, named by its row."""
    assert verdicts.said.schema == SAID
    return verdicts.said.slice(int((~verdicts.keep[:row]).sum()), 1).to_pylist()[0]


@SOME
@given(worlds() | worlds(hot=True), policies())
def test_agrees_with_plain_python_over_all_pairs(world: World, policy: Dedup) -> None:
    """The same records stay, and each dropped one goes for a best match among the kept, with its score.

    Pairs within a hot group are verified only as needed; the outcome is that of all of them.
    """
    expected = by_definition(world, policy)
    found, verdicts = judged(world, policy)
    items = {item.name: item for item in world.items}
    for at, (name, representative) in enumerate(sorted(found.items())):
        assert (representative is None) == (not expected[name]), name
        if representative is not None:
            best = max(expected[name].values())
            assert expected[name][representative] == best
            words = said(verdicts, at)
            assert words["score"] == pytest.approx(best)
            across = words["evidence"].startswith("image~")
            assert (words["method"] == "joint") == across
            leaks = side(items[name], policy) - side(items[representative], policy)
            plain = words["reason"] in {"repeated_part", "reviewed_same_as"}
            assert plain or words["reason"] == "leaks_from" or leaks <= 0
            assert plain or words["reason"] == "leaks_into" or leaks >= 0
            assert not across or leaks or words["reason"] == "cross_modal_match_of"
            assert not across or words["evidence"].endswith(f".joint={best:.6g}")
    assert verdicts.unverified == 0


@SOME
@given(worlds(), policies())
def test_no_two_kept_match_unless_both_are_forced(world: World, policy: Dedup) -> None:
    """Separation holds by definition of the rules, not only by agreement with another greedy."""
    found, _ = judged(world, policy)
    stay = [item for item in world.items if found[item.name] is None]
    touching = [(a, b) for a in stay for b in stay if a.name < b.name and similarity(world, policy, a, b)]
    assert all(a.forced and b.forced for a, b in touching)


@SOME
@given(worlds() | worlds(hot=True), policies())
def test_no_leak_remains_but_between_those_that_stay_whatever_comes(world: World, policy: Dedup) -> None:
    """And those that do are found, with the one each resembles most; by brute force over the kept, hot groups too."""
    found, _ = judged(world, policy)
    stay = [item for item in world.items if found[item.name] is None]
    expected = {}
    for item in stay:
        near = {
            other.name: score
            for other in stay
            if side(other, policy) < side(item, policy) and (score := _leaks(world, policy, item, other))
        }
        if near:
            expected[item.name] = near
    if policy.leakage.action == "remove":
        forced = {item.name for item in stay if item.forced}
        assert all(forced >= {name, *near} for name, near in expected.items())
    case = dataclasses.replace(world, items=stay).case()
    table, left_out = remaining(case, policy)
    assert left_out == 0
    rows = {row["id"]: row for row in table.to_pylist()}
    assert rows.keys() == expected.keys()
    for name, row in rows.items():
        assert expected[name][row["from"]] == max(expected[name].values()) == row["score"]


def _leaks(world: World, policy: Dedup, a: Item, b: Item) -> float:
    """How alike two records are by what makes duplicates, or leaks; a person's word goes before all."""
    label = world.reviews.get((a.name, b.name)) or world.reviews.get((b.name, a.name))
    if label:
        return float(label == "same")
    plain = policy.model_copy(update={"captions": "all"})  # which of a picture's captions stays is no leak
    return max(similarity(world, plain, a, b), leak(world, policy, a, b))


@SOME
@given(worlds(), policies(), st.randoms())
def test_input_order_changes_nothing(world: World, policy: Dedup, random: Any) -> None:
    """Matches and reviews in another order, and turned round, give the same verdicts."""
    scores = list(world.scores.items())
    random.shuffle(scores)
    turned = {(b, a): label for (a, b), label in reversed(world.reviews.items())}
    assert (
        judged(world, policy)[0] == judged(dataclasses.replace(world, scores=dict(scores), reviews=turned), policy)[0]
    )


@SOME
@given(worlds(), policies())
def test_what_the_kept_share_is_counted(world: World, policy: Dedup) -> None:
    """Of each part the contents that two and more of the kept hold, references apart, the most frequent first."""
    found, _ = judged(world, policy)
    kept = [item for item in sorted(world.items, key=lambda item: item.name) if found[item.name] is None]
    expected = []
    for part in PARTS:
        holders: dict[str, list[str]] = {}
        for item in kept:
            if part in item.parts and item.counted:
                holders.setdefault(item.parts[part], []).append(item.name)
        common = [(part, digest(c), len(names), names[0]) for c, names in holders.items() if len(names) > 1]
        expected += sorted(common, key=lambda row: (-row[2], row[1]))
    records = world.case().records
    stay = np.array([found[row["id"]] is None and row["role"] == "data" for row in records.to_pylist()])
    rows = shared(records, stay, list(PARTS)).to_pylist()
    assert [(r["what"], r["content"], r["records"], r["example"]) for r in rows] == expected


def captioned(**captions: str) -> list[Item]:
    """Return records of an image of their own and a caption."""
    return [Item(name, {"image": f"I{name}", "caption": caption}) for name, caption in captions.items()]


def test_of_those_that_share_a_caption_the_first_so_many_stay() -> None:
    """The last two go for a, which has their caption and stays; c has another."""
    items = captioned(a="A", b="A", c="C", d="A", e="A")
    found, verdicts = judged(World(items), Dedup(keep=("first",), caps={"caption": 2}))
    assert found == {"a": None, "b": None, "c": None, "d": "a", "e": "a"}
    assert said(verdicts, 3) == {
        "reason": "repeated_part",
        "method": "content",
        "score": 1.0,
        "threshold": 1.0,
        "evidence": "caption=exact",
        "rule": "{caps.caption: 2}",
    }


def test_whom_a_cap_drops_no_other_goes_for() -> None:
    """As b is over the cap, c, which resembles b alone, stays."""
    items = captioned(a="A", b="A", c="C")
    scores = {("image", "Ib", "Ic"): 0.9375, ("text", "A", "C"): 0.9375}
    found, _ = judged(World(items, scores), Dedup(keep=("first",), caps={"caption": 1}))
    assert found == {"a": None, "b": "a", "c": None}


def test_a_duplicate_is_no_matter_for_a_cap() -> None:
    """The second goes for a, whose picture it resembles, and takes no place: c is the second of two."""
    items = captioned(a="A", b="A", c="A")
    found, verdicts = judged(World(items, {("image", "Ia", "Ib"): 0.9375}), Dedup(keep=("first",), caps={"caption": 2}))
    assert found == {"a": None, "b": "a", "c": None}
    assert said(verdicts, 1)["reason"] == "near_duplicate_of"


def test_references_do_not_count_and_the_forced_stay() -> None:
    """Two that were published before stay though the cap is one; the reference is not of the dataset."""
    items = captioned(a="A", b="A", c="A", r="A")
    items = [
        dataclasses.replace(item, rank=0 if item.name != "c" else 1, forced=item.name != "c", fields={"role": role})
        for item, role in zip(items, ["data", "data", "data", "reference"], strict=True)
    ]
    assert judged(World(items), Dedup(caps={"caption": 1}))[0] == {"a": None, "b": None, "c": "a", "r": None}
    assert judged(World(items), Dedup(caps={"caption": 3}))[0]["c"] is None


def texts(*names: str, **fields: dict[str, Any]) -> list[Item]:
    """Return records of one text each, named like their content."""
    return [Item(n, {"text": n}, fields=fields.get(n, {})) for n in names]


def near(*pairs: str, score: float = 0.9375) -> dict[tuple[str, str, str], float]:
    """Return text matches: `AB` is A with B."""
    return {("text", a, b): score for a, b in pairs}


def test_a_chain_keeps_both_of_its_ends() -> None:
    """A~B~C without A~C: B goes for A, and C stays, for nothing kept resembles it."""
    found, _ = judged(World(texts("A", "B", "C"), near("AB", "BC")), Dedup(keep=("first",)))
    assert found == {"A": None, "B": "A", "C": None}


def test_the_best_of_the_kept_represents() -> None:
    """C matches kept A and kept B, B better: it goes for B."""
    world = World(texts("A", "B", "C"), near("AC", score=0.875) | near("BC", score=0.9375))
    found, verdicts = judged(world, Dedup(keep=("first",)))
    assert found == {"A": None, "B": None, "C": "B"}
    assert said(verdicts, 2) == {
        "reason": "near_duplicate_of",
        "method": "minhash",
        "score": 0.9375,
        "threshold": 0.8,
        "evidence": "text.minhash=0.9375",
        "rule": "{every: similar}",
    }


def test_a_picture_with_another_caption_is_another_pair() -> None:
    """Under {image, caption} the same picture stays with another caption and goes with a similar one; the former is reported."""
    items = [
        Item("a", {"image": "I", "caption": "A"}),
        Item("b", {"image": "I", "caption": "B"}),
        Item("c", {"image": "J", "caption": "C"}),
    ]
    scores = {("image", "I", "J"): 0.9375, ("text", "A", "C"): 0.875}
    found, verdicts = judged(
        World(items, scores), Dedup.model_validate({"rules": [{"image": 0.92, "caption": 0.8}], "keep": ["first"]})
    )
    assert found == {"a": None, "b": None, "c": "a"}
    words = said(verdicts, 2)
    assert words["evidence"] == "image.phash=0.9375,caption.minhash=0.875"
    assert (words["score"], words["method"], words["threshold"]) == (0.875, "minhash", 0.8)  # of the weaker part
    assert verdicts.reported.to_pylist() == [
        {"case": "same_image_other_caption", "left": "a", "right": "b", "kind": "exact", "score": 1.0, "millis": None}
    ]


def test_an_image_and_a_text_of_two_records_match_across() -> None:
    """The text goes for the picture that it fits; a caption that fits its own picture alone drops nothing."""
    items = [
        Item("a", {"image": "I"}),
        Item("b", {"text": "T"}),
        Item("c", {"image": "J", "caption": "C"}),
        Item("d", {"text": "U"}),
    ]
    fits = {("I", "T"): 0.9375, ("J", "C"): 1.0, ("J", "U"): 0.75}
    policy = Dedup.model_validate({"rules": [{"joint": 0.9}], "keep": ["first"]})
    found, verdicts = judged(World(items, fits=fits), policy)
    assert found == {"a": None, "b": "a", "c": None, "d": None}
    assert said(verdicts, 1) == {
        "reason": "cross_modal_match_of",
        "method": "joint",
        "score": 0.9375,
        "threshold": 0.9,
        "evidence": "image~text.joint=0.9375",
        "rule": "{joint: 0.9}",
    }
    turned = [dataclasses.replace(item, rank=0, forced=True) if item.name == "b" else item for item in items]
    assert judged(World(turned, fits=fits), policy)[0] == {"a": "b", "b": None, "c": None, "d": None}
    assert judged(World(items, fits=fits), Dedup())[0] == dict.fromkeys("abcd")  # by no rule but its own


def test_one_image_of_many_records_is_listed_in_blocks() -> None:
    """Two thousand captioned copies of a picture, and its text alone: each of them fits it, and no two each other."""
    items = [Item(f"r{n:04}", {"image": "I", "caption": f"C{n}"}) for n in range(2000)]
    policy = Dedup.model_validate({"rules": [{"joint": 0.9}], "keep": ["first"]})
    found, _ = judged(World([*items, Item("a", {"text": "T"})], fits={("I", "T"): 0.9375}), policy)
    assert found == {"a": None} | {item.name: "a" for item in items}


def test_exact_copies_go_for_the_first() -> None:
    """Of equal records the first in order stays, whatever the rules are, and the evidence names every part."""
    items = [Item(name, {"text": "T", "image": "I"}) for name in ("c", "a", "b")]
    found, verdicts = judged(World(items), Dedup.model_validate({"rules": [{"caption": 0.9}]}))
    assert found == {"a": None, "b": "a", "c": "a"}
    assert verdicts.said["reason"].to_pylist() == ["exact_duplicate_of", "exact_duplicate_of"]
    words = said(verdicts, 1)
    assert (words["evidence"], words["method"], words["score"]) == ("text=exact,image=exact", "sha256", 1.0)


def test_equal_in_one_part_is_not_said_to_be_equal_in_all() -> None:
    """Under {image: exact} the evidence names the image alone."""
    items = [Item("a", {"image": "I", "caption": "A"}), Item("b", {"image": "I", "caption": "B"})]
    found, verdicts = judged(World(items), Dedup.model_validate({"rules": [{"image": "exact"}]}))
    assert found == {"a": None, "b": "a"}
    assert said(verdicts, 1) == {
        "reason": "near_duplicate_of",
        "method": "content",
        "score": 1.0,
        "threshold": 1.0,
        "evidence": "image=exact",
        "rule": "{image: exact}",
    }


def test_reviews_override_rules_both_ways() -> None:
    """`different` keeps a match and an exact copy, `same` drops what nothing matches."""
    items = [*texts("A", "B", "C"), Item("A2", {"text": "A"})]
    reviews = {("A", "B"): "different", ("C", "A"): "same", ("A2", "A"): "different"}
    found, verdicts = judged(World(items, near("AB"), reviews=reviews), Dedup(keep=("first",)))
    assert found == {"A": None, "A2": None, "B": "A2", "C": "A"}  # B still matches A2, of which nobody said a word
    assert said(verdicts, 3) == {
        "reason": "reviewed_same_as",
        "method": "review",
        "score": 1.0,
        "threshold": None,
        "evidence": "review=same",
        "rule": "review",
    }


def test_a_review_of_a_record_with_itself_says_nothing() -> None:
    """A line `A,A,same` does not drop A for itself."""
    found, _ = judged(World(texts("A", "B"), reviews={("A", "A"): "same"}), Dedup())
    assert found == {"A": None, "B": None}


@pytest.mark.parametrize(
    ("policy", "fields", "stays"),
    [
        ("first", {}, "A"),
        ("largest", {"A": {"pixels": 1}, "B": {"pixels": 2}}, "B"),
        ("largest", {"A": {"pixels": 2, "bytes": 5}, "B": {"pixels": 2, "bytes": 9}}, "B"),
        ("longest", {"A": {"chars": 1}, "B": {"chars": 2}}, "B"),
        ("longest", {"A": {"millis": 1}, "B": {"millis": 2}}, "B"),
        ("largest", {"A": {"millis": 2, "bytes": 5}, "B": {"millis": 2, "bytes": 9}}, "B"),
        ("newest", {"A": {"time": "2024-01-01"}, "B": {"time": "2024-01-02"}}, "B"),
        ("newest", {"B": {"time": "2024-01-02"}}, "B"),
        ("quality", {"A": {"quality": 0.1}, "B": {"quality": 0.2}}, "B"),
        ("quality", {"B": {"quality": -5.0}}, "B"),
        ("source", {"A": {"source": "poor"}, "B": {"source": "good"}}, "B"),
        ("source", {"B": {"source": "poor"}}, "B"),
    ],
)
def test_keep_policies(policy: str, fields: dict[str, dict[str, Any]], stays: str) -> None:
    """Of two duplicates the policy's stays; a record without the field goes last."""
    found, _ = judged(
        World(texts("A", "B", **fields), near("AB")),
        Dedup.model_validate({"keep": [policy], "sources": ["good", "poor"]}),
    )
    assert {n for n, r in found.items() if r is None} == {stays}


def test_the_test_split_goes_before_the_keep_policy() -> None:
    """A training record that resembles a test record goes, however long it is."""
    fields = {
        "A": {"split": "train", "chars": 99},
        "B": {"split": "test", "chars": 1},
        "C": {"split": None, "chars": 999},
    }
    found, _ = judged(World(texts("A", "B", "C", **fields), near("AB", "BC")), Dedup())
    assert found == {"A": "B", "B": None, "C": "B"}


def test_the_forced_stay_and_still_drop_others() -> None:
    """References and what was published are kept though they match each other; newcomers go for them."""
    items = [Item("x", {"text": "A"}, 0, forced=True), Item("y", {"text": "B"}, 0, forced=True), *texts("C")]
    found, _ = judged(World(items, near("AB", "BC")), Dedup())
    assert found == {"x": None, "y": None, "C": "y"}


def test_forced_members_of_a_hot_group_that_match_each_other_all_drop_newcomers() -> None:
    """X~Y are both forced, and C resembles Y alone: it is verified against Y though Y is close to the leader X."""
    items = [Item("X", {"text": "X"}, 0, forced=True), Item("Y", {"text": "Y"}, 0, forced=True), *texts("C")]
    found, _ = judged(World(items, near("XY") | {("text", "C", "Y"): 0.9375}, {"text": [{"X", "Y", "C"}]}), Dedup())
    assert found == {"X": None, "Y": None, "C": "Y"}


def test_nothing_to_judge() -> None:
    """No record gives no verdict."""
    verdicts = resolve(World([]).case(), Dedup())
    assert len(verdicts.keep) == 0
    assert (verdicts.said.num_rows, verdicts.reported.num_rows) == (0, 0)


def test_a_hot_bucket_costs_linear_time_and_bounded_memory() -> None:
    """100,000 near-identical contents in one bucket are judged by one comparison each."""
    count = 100_000
    names = [f"{i:06}" for i in range(count)]
    rows = pa.Table.from_pylist([Item(name, {"text": name}).row() for name in names], schema=RECORD)
    hot = pa.table(
        {
            "kind": ["text"] * count,
            "group": np.zeros(count, np.uint64),
            "content": pa.array([digest(n) for n in names], HOT.field("content").type),
        }
    )
    compared = 0

    def score(left: Rows, _: Rows, __: float) -> Scores:
        nonlocal compared
        compared += len(left)
        return np.full(len(left), 0.9, np.float32)

    none = np.zeros(count, np.int64)
    case = Case(
        PARTS, rows, none, none.astype(bool), none == 0, (), hot.cast(HOT).to_batches(), (), lambda _, __: score
    )
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    verdicts = resolve(case, Dedup())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert verdicts.keep.sum() == 1
    assert compared == 2 * count - 2  # once to be judged, once to be described
    assert grown < 4_000 * count  # all pairs would be 400,000 bytes for each
    assert time.monotonic() - started < 60


def of_pictures(**captions: str) -> list[Item]:
    """Return records of the picture I, or of the one that a caption names before a colon; as long as their captions."""
    found = []
    for name, caption in captions.items():
        picture, _, words = caption.rpartition(":")
        fields = {"pixels": 9, "bytes": 100 - len(words), "chars": len(words)}
        found.append(Item(name, {"image": picture or "I", "caption": words}, fields=fields))
    return found


def test_the_longest_caption_of_a_picture_stays() -> None:
    """The others go for it, with a reason of their own; another picture's, and pictures without one, are left alone."""
    items = [*of_pictures(a="a cat", b="a cat on a mat", c="cat", d="J:cat"), Item("e", {"image": "I"})]
    found, verdicts = judged(World(items), Dedup(captions="longest"))
    assert found == {"a": "b", "b": None, "c": "b", "d": None, "e": None}
    assert said(verdicts, 0) == {
        "reason": "other_caption_of",
        "method": "content",
        "score": 1.0,
        "threshold": 1.0,
        "evidence": "image=exact",
        "rule": "captions: longest",
    }
    assert judged(World(items), Dedup())[0] == dict.fromkeys("abcde")


def test_a_caption_that_a_rule_calls_a_duplicate_is_one() -> None:
    """Between one picture's captions the rules go first: the reason says what is so without any policy."""
    items = of_pictures(a="a cat on a mat!", b="a cat on a mat")
    world = World(items, {("text", "a cat on a mat", "a cat on a mat!"): 0.875})
    found, verdicts = judged(world, Dedup(captions="longest"))
    assert found == {"a": None, "b": "a"}
    assert (said(verdicts, 1)["reason"], said(verdicts, 1)["score"]) == ("near_duplicate_of", 0.875)


def test_the_policy_never_reorders_across_what_is_protected() -> None:
    """A record that is kept whatever comes, and one of the test split, represent better captions of their picture."""
    a, b, c = of_pictures(a="cat", b="a cat on a mat", c="a cat")
    a, c = dataclasses.replace(a, rank=0, forced=True), dataclasses.replace(c, fields={**c.fields, "split": "test"})
    assert judged(World([a, b]), Dedup(captions="longest"))[0] == {"a": None, "b": "a"}
    assert judged(World([b, c]), Dedup(captions="longest"))[0] == {"b": "c", "c": None}


def test_the_keep_policy_rules_between_pictures() -> None:
    """The larger picture stays though the smaller has the longer caption; of its own captions the longest does."""
    small, large, again = of_pictures(s="J:a cat on the mat", x="a cat", y="a cat!")
    large, again = (dataclasses.replace(i, fields={**i.fields, "pixels": 16}) for i in (large, again))
    scores = {("image", "I", "J"): 1.0}
    policy = Dedup.model_validate({"captions": "longest", "rules": [{"image": 0.92}]})
    assert judged(World([small, large, again], scores), policy)[0] == {"s": "y", "x": "y", "y": None}


def test_many_captions_of_a_picture_cost_one_comparison_each() -> None:
    """All go for the best at once: 5,000 captions have 12 million pairs."""
    items = of_pictures(**{f"r{i:04}": "x" * (1 + i % 4999) for i in range(5000)})
    found, verdicts = judged(World(items), Dedup(captions="longest"))
    assert {name for name, by in found.items() if by is None} == {"r4998"}
    assert verdicts.unverified == 0


def test_a_review_goes_before_the_policy() -> None:
    """A person said that two captions are to stay: both do, and a third goes for the better one."""
    items = of_pictures(a="a cat", b="a cat on a mat", c="cat")
    found, _ = judged(World(items, reviews={("a", "b"): "different"}), Dedup(captions="longest"))
    assert found == {"a": None, "b": None, "c": "b"}


def labelled(labels: dict[str, str | None], **contents: str) -> list[Item]:
    """Return texts with labels; equal letters are equal contents."""
    return [Item(n, {"text": contents.get(n, n)}, fields={"label": label}) for n, label in labels.items()]


def test_records_alike_with_different_labels_are_reported() -> None:
    """Dropped or kept, exact or near; a label that is lacking conflicts with none, and equal labels do not."""
    labels = {"a": "cat", "b": "dog", "c": "dog", "d": None, "e": "cat"}
    world = World(labelled(labels, c="a", d="a", e="a"), near("ab"))
    found, verdicts = judged(world, Dedup(keep=("first",)))
    assert found == {"a": None, "b": "a", "c": "a", "d": "a", "e": "a"}
    conflict = [row for row in verdicts.reported.to_pylist() if row["case"] == "label_conflict"]
    assert [(row["left"], row["right"], row["kind"], row["score"]) for row in conflict] == [
        ("b", "a", "text", 0.9375),
        ("c", "a", "exact", 1.0),
    ]


def test_kept_records_alike_in_one_part_conflict_too() -> None:
    """The same picture with another caption stays by the rules, and its label is still in doubt."""
    a, b = of_pictures(a="a cat", b="hello")
    a, b = (dataclasses.replace(i, fields={**i.fields, "label": label}) for i, label in ((a, "cat"), (b, "dog")))
    _, verdicts = judged(World([a, b]), Dedup())
    rows = [tuple(row.values()) for row in verdicts.reported.to_pylist()]
    assert ("label_conflict", "a", "b", "exact", 1.0, None) in rows
    assert ("same_image_other_caption", "a", "b", "exact", 1.0, None) in rows
