"""Rules as written in params → conjunctions, and the pairs of nodes that they call duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dedupver.params import Dedup
from dedupver.resolve.evidence import Evidence, Hot
from dedupver.resolve.rules import Edges, Term, describe, edges, judge, lowest, parse
from dedupver.schema import EVIDENCE, PARTS

TEXT, IMAGE, CAPTION = 0, 1, 2


def rules_of(*rules: dict[str, Any], met: set[tuple[int, ...]] | None = None) -> list[Any]:
    """Parse rules for records of a text, of an image, and of an image with a caption."""
    return parse(Dedup.model_validate({"rules": rules}), PARTS, met or {(TEXT,), (IMAGE,), (IMAGE, CAPTION)})


def evidence(**pairs: list[tuple[int, int, float]]) -> Evidence:
    """List scored pairs of contents by kind; none is hot."""
    found = Evidence({})
    for kind, rows in pairs.items():
        left, right, score = (np.array(column) for column in zip(*rows, strict=True))
        found.add(kind, left, right, score.astype(np.float32))
    return found


def pairs_of(found: Edges) -> list[tuple[int, int]]:
    """Return the pairs of nodes, the smaller first."""
    return sorted((min(a, b), max(a, b)) for a, b in zip(found.left.tolist(), found.right.tolist(), strict=True))


def test_every_stands_for_one_rule_for_each_set_of_parts() -> None:
    """`every: similar` speaks of records with the same parts, each by the evidence of its modality."""
    found = rules_of({"every": "similar"})
    image = Term(IMAGE, {"image": 0.92, "image_embedding": 0.98})
    assert [rule.terms for rule in found] == [
        (Term(TEXT, {"text": 0.8}),),
        (image,),
        (image, Term(CAPTION, {"text": 0.8})),
    ]
    assert all(rule.same_parts and rule.text == "{every: similar}" for rule in found)


def test_numbers_name_their_evidence() -> None:
    """A bare part means its verified hash, `part.kind` that kind, and `exact` nothing but equality."""
    (rule,) = rules_of({"image": 0.9, "caption.embedding": 0.97, "text": "exact"})
    assert rule.terms == (Term(IMAGE, {"image": 0.9}), Term(CAPTION, {"text_embedding": 0.97}), Term(TEXT))
    assert not rule.same_parts


def test_every_with_a_named_part_needs_records_that_have_it() -> None:
    """{every, caption} is a rule for captioned images alone."""
    (rule,) = rules_of({"every": "similar", "caption": "exact"})
    assert [term.part for term in rule.terms] == [IMAGE, CAPTION, CAPTION]


def test_lowest_is_what_hot_pairs_must_reach() -> None:
    """For each kind in use the least demanding rule."""
    assert lowest(rules_of({"text": 0.9}, {"text": 0.7, "image": 0.95})) == {"text": 0.7, "image": pytest.approx(0.95)}


def test_scores_are_found_in_both_directions_and_added_once() -> None:
    """A pair turned round is the same pair; the first score stays."""
    found = evidence(text=[(5, 2, 0.9)])
    found.add("text", np.array([2, 1]), np.array([5, 0]), np.array([0.1, 0.8], np.float32))
    scores = found.of("text", np.array([2, 5, 0, 1]), np.array([5, 2, 1, 2]), 0.5)
    np.testing.assert_allclose(scores, [0.9, 0.9, 0.8, 0])
    assert [a.tolist() for a in found.pairs("text", 0.85)] == [[2], [5]]
    assert found.of("image", np.array([2]), np.array([5]), 0.5).tolist() == [0]


def test_hot_pairs_are_verified_when_asked_for() -> None:
    """Only where both are hot and the pair is not listed."""
    asked: list[tuple[int, int]] = []

    def score(left: Any, right: Any, _: float) -> Any:
        asked.extend(zip(left.tolist(), right.tolist(), strict=True))
        return np.full(len(left), 0.5, np.float32)

    found = Evidence({"text": Hot(np.array([False, True, True, True, False]), score)})
    found.add("text", np.array([1]), np.array([2]), np.array([0.9], np.float32))
    np.testing.assert_allclose(found.of("text", np.array([1, 1, 1]), np.array([2, 3, 4]), 0.5), [0.9, 0.5, 0])
    assert asked == [(1, 3)]


def test_a_conjunction_needs_all_of_its_parts() -> None:
    """Nodes 0 and 1 share picture and caption by evidence; 2 has the picture alone; 3 has no caption at all."""
    nodes = np.array([[-1, 10, 20], [-1, 11, 21], [-1, 10, 29], [-1, 10, -1]])
    seen = evidence(image=[(10, 11, 0.95)], text=[(20, 21, 0.85)])
    found = edges(rules_of({"image": 0.92, "caption": 0.8}), nodes, seen)
    assert pairs_of(found) == [(0, 1)]
    assert (found.score[0], found.threshold[0], found.kind[0]) == (np.float32(0.85), np.float32(0.8), 0)


def test_alternatives_give_a_pair_once_by_its_strongest_rule() -> None:
    """Of {text: .8} and {text.embedding: .9} the one with the higher score is told."""
    nodes = np.array([[1, -1, -1], [2, -1, -1]])
    found = edges(
        rules_of({"text": 0.8}, {"text.embedding": 0.9}),
        nodes,
        evidence(text=[(1, 2, 0.85)], text_embedding=[(1, 2, 0.99)]),
    )
    assert pairs_of(found) == [(0, 1)]
    assert (found.rule[0], list(EVIDENCE)[found.kind[0]]) == (1, "text_embedding")


def test_a_threshold_is_met_by_its_own_value() -> None:
    """0.8 stored as float32 is at least 0.8 as params read it; just below is not."""
    nodes = np.array([[1, -1, -1], [2, -1, -1], [3, -1, -1]])
    below = float(np.nextafter(np.float32(0.8), np.float32(0)))
    assert pairs_of(edges(rules_of({"text": 0.8}), nodes, evidence(text=[(1, 2, 0.8), (1, 3, below)]))) == [(0, 1)]


def test_same_parts_keeps_an_image_apart_from_an_image_with_a_caption() -> None:
    """`every` never matches records that have different parts, a rule that names the image does."""
    nodes = np.array([[-1, 10, -1], [-1, 10, 20]])
    assert pairs_of(edges(rules_of({"every": "similar"}), nodes, evidence())) == []
    assert pairs_of(edges(rules_of({"image": "exact"}), nodes, evidence())) == [(0, 1)]


def test_evidence_is_described_part_by_part() -> None:
    """Equal parts are exact, others by every kind that meets its threshold; a part that is named twice is said once."""
    (rule,) = rules_of({"every": "similar", "image": 0.95}, met={(IMAGE, CAPTION)})
    left, right = np.array([[-1, 10, 20], [-1, 10, 20]]), np.array([[-1, 11, 20], [-1, 10, 21]])
    seen = evidence(image=[(10, 11, 0.953125)], image_embedding=[(10, 11, 0.99)], text=[(20, 21, 0.8123456789)])
    assert describe(rule, list(PARTS), left, right, seen).to_pylist() == [
        "image.phash=0.953125,image.embedding=0.99,caption=exact",
        "image=exact,caption.minhash=0.812346",
    ]


def test_a_rule_across_modalities_is_one_for_each_image_and_text() -> None:
    """The number of an image may be the lesser or the greater; nobody is beside itself; the best of two ways is said."""
    every = rules_of({"joint": 0.9})
    across = [(rule.terms[0].part, rule.terms[0].other) for rule in every]
    place = {name: at for at, name in enumerate(PARTS)}
    media = [place[name] for name in ("image", "audio", "video")]
    assert across == [(part, text) for part in media for text in (TEXT, CAPTION)]
    found = every[:2]
    nodes = np.array([[-1, 10, 20], [-1, 11, 21], [9, -1, -1], [-1, 11, 20]])
    nodes = np.hstack([nodes, np.full((4, len(PARTS) - 3), -1)])
    seen = evidence(joint=[(10, 20, 1.0), (11, 20, 0.9375), (11, 21, 0.95), (9, 11, 0.96875), (9, 10, 0.5)])
    pairs = edges(found, nodes, seen)
    assert pairs_of(pairs) == [(0, 1), (0, 3), (1, 2), (1, 3), (2, 3)]  # 0 and 3 share a caption that fits 0's image
    scores = dict(zip(pairs_of(pairs), pairs.score.tolist(), strict=True))
    assert scores == {
        (0, 1): 0.9375,
        (0, 3): 1.0,
        (1, 2): 0.96875,
        (1, 3): pytest.approx(0.95),
        (2, 3): 0.96875,
    }
    assert pairs_of(judge(found, nodes, *np.triu_indices(4, 1), seen)) == []  # which all are listed
    ends = (nodes[pairs.left], nodes[pairs.right])
    text, caption = (
        describe(rule, list(PARTS), *(end[pairs.rule == number] for end in ends), seen).to_pylist()
        for number, rule in enumerate(found)
    )
    assert text == ["image~text.joint=0.96875", "image~text.joint=0.96875"]
    assert caption == [f"image~caption.joint={score}" for score in ("0.9375", "1", "0.95")]
