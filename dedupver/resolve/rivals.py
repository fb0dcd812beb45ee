"""One record against each of some others: what is known of the two, and which settings call them duplicates.

The rules are those of `resolve`, asked of every pair instead of in an order.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dedupver.digests import numbered
from dedupver.resolve import Case, captions, evidence_among, in_order, leaks, rules
from dedupver.resolve.evidence import SCORED
from dedupver.resolve.nodes import Nodes
from dedupver.schema import NGRAM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Evidence, Mask, Scores
    from dedupver.resolve.rules import Rule, Term

Bounds = dict[str, float]
"""A value for each of some settings: thresholds (`dedup.thresholds.text`) and numbers of rules."""


@dataclass(frozen=True)
class Rival:
    """What one record is to another."""

    row: int
    before: bool  # whether it is judged before the other
    known: dict[str, float]  # evidence: `text.minhash` → score; a part alone: equal, 1.0
    rule: str | None  # the first rule that calls the two duplicates
    away: Bounds | None  # no rule does so with each of these above its value; None: whatever thresholds are
    near: Bounds | None  # a rule does so with each of these at its value; None: whatever thresholds are

    @property
    def score(self) -> float:
        """Return the best score of all that is known."""
        return max(self.known.values(), default=0.0)


class _Pair(NamedTuple):
    """One term of a rule, asked of two records."""

    equal: bool
    scores: Mapping[str, tuple[str, float, float]]  # kind → setting, its threshold, score

    @property
    def holds(self) -> bool:
        return self.equal or any(score >= _f32(at_least) for _, at_least, score in self.scores.values())

    def away(self) -> Bounds | None:
        """Return above what the settings must be for this not to hold; None: no setting can be."""
        found = {setting: score for setting, at_least, score in self.scores.values() if score >= _f32(at_least)}
        if self.equal or max(found.values(), default=0.0) >= 1:
            return None
        return {setting: _at_least(score) for setting, score in found.items()}

    def near(self) -> Bounds | None:
        """Return at what the setting that lacks least must be for this to hold."""
        if self.holds:
            return {}
        known = [(at_least - score, setting, score) for setting, at_least, score in self.scores.values() if score > 0]
        return {setting: _at_most(score) for _, setting, score in [min(known)]} if known else None


def rivals(case: Case, settings: params.Dedup, row: int, also: Collection[int] = ()) -> list[Rival]:
    """Return what other records of a case are to the one in `row`: those of which something is known, and some rows.

    Those that a rule calls duplicates come first, of these the ones that are judged before it.
    """
    names = case.parts
    contents, parts = numbered(case.records["parts"], list(names))
    everyone = np.arange(len(parts))
    nodes = Nodes.of(parts, everyone, np.ones(len(parts), np.bool_))
    turn = np.empty(len(parts), np.int64)
    turn[in_order(case, settings, contents, parts)] = everyone
    conjunctions = [*rules.parse(settings, names, nodes.part_sets()), *rules.exact(nodes.part_sets())]
    sides = leaks.sides(case.records, settings)
    if settings.leakage.action == "remove":  # also those that say no more than another rule does now
        conjunctions += leaks.of_params(settings, names, nodes.part_sets())
    nothing = (np.empty(0, np.uint64), 0)
    evidence, _, _ = evidence_among(case, names, contents, nodes, conjunctions, nothing, dict.fromkeys(SCORED, 0.0))
    others = np.delete(everyone, row)
    pictures = captions.pictures(parts, names) if captions.applies(names, settings) else np.full(len(parts), -1)
    policy = captions.rule(names, settings).text if (pictures >= 0).any() else ""
    asked = _Asked(settings, list(names), evidence, parts[[row]].repeat(len(others), axis=0), parts[others])
    known = asked.known(list(names.values()))
    known |= {at: {} for at in np.flatnonzero(np.isin(others, list(also))).tolist() if at not in known}
    found = [
        asked.of(
            at,
            [rule for rule in conjunctions if not rule.leak or sides[others[at]] != sides[row]],
            known[at],
            int(others[at]),
            before=bool(turn[others[at]] < turn[row]),
        )
        for at in known
    ]
    same = (pictures[others] == pictures[row]) & (pictures[row] >= 0)  # captions of one picture, by the policy
    found = [
        dataclasses.replace(each, rule=each.rule or policy, away=None, near=None) if same[at] else each
        for at, each in zip(known, found, strict=True)
    ]
    return sorted(found, key=lambda rival: (rival.rule is None, not rival.before, -rival.score, turn[rival.row]))


class _Asked:
    """Pairs of records by the numbers of their contents, shapes (m, parts), and the scores that were asked of them."""

    def __init__(self, settings: params.Dedup, names: list[str], evidence: Evidence, mine: Rows, its: Rows) -> None:
        self.settings, self.names, self.evidence, self.mine, self.its = settings, names, evidence, mine, its
        self._scores: dict[tuple[str, int, int], Scores] = {}

    def known(self, modalities: list[str]) -> dict[int, dict[str, float]]:
        """Return for each pair of which something is known what that is."""
        found: dict[int, dict[str, float]] = {}
        for part, name in enumerate(self.names):
            for at in np.flatnonzero(self._equal(part, part)).tolist():
                found.setdefault(at, {})[name] = 1.0
            kinds = [(kind, part, f"{name}.{what.measure}") for kind, what in SCORED.items() if kind != "joint"]
            pairs = [each for each in kinds if SCORED[each[0]].modality == modalities[part]]
            pairs += [
                ("joint", other, f"{name}~{self.names[other]}.joint")
                for other, its in enumerate(modalities)
                if (modalities[part], its) == ("image", "text")
            ]
            for kind, other, word in pairs:
                scores = self.score(kind, part, other)
                for at in np.flatnonzero(scores > 0).tolist():
                    found.setdefault(at, {})[word] = _rounded(scores[at])
        return found

    def of(self, at: int, conjunctions: list[Rule], known: dict[str, float], row: int, *, before: bool) -> Rival:
        """Return what the other record of a pair is."""
        asked = [(rule, list(self._terms(rule, at))) for rule in conjunctions if self._able(rule, at)]
        holding = [(rule, terms) for rule, terms in asked if all(term.holds for term in terms)]
        away: Bounds | None = {}
        for _, terms in holding:
            away = _joined(away, _simplest([term.away() for term in terms]))
        near = None if holding else self._near([terms for _, terms in asked])
        return Rival(row, before, known, holding[0][0].text if holding else None, away, near)

    def score(self, kind: str, part: int, other: int) -> Scores:
        """Return the score of each pair, 0 where none is known."""
        key = (kind, part, other)
        if key not in self._scores:
            ends = [(self.mine[:, part], self.its[:, other])]
            ends += [(self.mine[:, other], self.its[:, part])] if other != part else []
            self._scores[key] = np.maximum.reduce([self._of(kind, *pair) for pair in ends])
        return self._scores[key]

    def _of(self, kind: str, a: Rows, b: Rows) -> Scores:
        found = np.zeros(len(a), np.float32)
        rows = np.flatnonzero((a >= 0) & (b >= 0) & (a != b))
        found[rows] = self.evidence.of(kind, a[rows], b[rows], 0.0)
        return found

    def _equal(self, part: int, other: int) -> Mask:
        return np.asarray((self.mine[:, part] == self.its[:, other]) & (self.mine[:, part] >= 0))

    def _able(self, rule: Rule, at: int) -> bool:
        """Return whether both records have the parts that a rule speaks of."""
        if rule.across:
            return True
        wanted = {term.part for term in rule.terms}
        have = [set(np.flatnonzero(side[at] >= 0).tolist()) for side in (self.mine, self.its)]
        return all(wanted == parts if rule.same_parts else wanted <= parts for parts in have)

    def _terms(self, rule: Rule, at: int) -> Iterator[_Pair]:
        for term in rule.terms:
            scores = {
                kind: (self._setting(rule, term, kind), at_least, float(self.score(kind, term.part, term.other)[at]))
                for kind, at_least in term.at_least.items()
            }
            yield _Pair(term.across is None and bool(self._equal(term.part, term.part)[at]), scores)

    def _setting(self, rule: Rule, term: Term, kind: str) -> str:
        """Return what a threshold is called in params."""
        text = rule.text.removeprefix(leaks.SAID)
        given = next((each for each in self.settings.rules if rules.text_of(each) == text), {})
        name, measure = self.names[term.part], SCORED[kind].measure
        first = next(each for each, what in SCORED.items() if what.modality == SCORED[kind].modality)
        asked = [f"{name}.{measure}", *([name] if kind == first else []), *(["joint"] if kind == "joint" else [])]
        alone = len(term.at_least) == 1  # of the rule's own terms each has one; `similar` may have more
        own = next((t for t in asked if alone and given.get(t) == term.at_least[kind]), None)
        if kind == NGRAM.measure:
            return "dedup.leakage.ngrams"
        section = "leakage.thresholds" if rule.leak and kind in self.settings.leakage.stricter else "thresholds"
        return f"{own} of the rule {text}" if own else f"dedup.{section}.{kind}"

    def _near(self, asked: list[list[_Pair]]) -> Bounds | None:
        options = []
        for terms in asked:
            bounds: Bounds | None = {}
            for term in terms:
                bounds = _joined(bounds, term.near(), least=True)
            options.append(bounds)
        return _simplest(options, least=True)


def _rounded(score: np.float32) -> float:
    """Undo what float32 does to a score: 0.8 became 0.800000012."""
    return round(float(score), 6)


def _f32(value: float) -> float:
    """Return a threshold as scores are compared with it."""
    return float(np.float32(value))


def _at_least(score: float) -> float:
    """Return a score with six digits that is not below it."""
    return _rounded(np.float32(score)) if _f32(_rounded(np.float32(score))) >= score else round(score + 1e-6, 6)


def _at_most(score: float) -> float:
    """Return a score with six digits that is not above it."""
    return _rounded(np.float32(score)) if _f32(_rounded(np.float32(score))) <= score else round(score - 1e-6, 6)


def _joined(one: Bounds | None, other: Bounds | None, *, least: bool = False) -> Bounds | None:
    """Return what meets both, None where either can't be met."""
    if one is None or other is None:
        return None
    pick = min if least else max
    return {name: pick(each[name] for each in (one, other) if name in each) for name in {**one, **other}}


def _simplest(options: list[Bounds | None], *, least: bool = False) -> Bounds | None:
    """Return the option with the fewest settings; of equals the one that goes least far."""
    known = [bounds for bounds in options if bounds]
    return min(known, key=lambda bounds: (len(bounds), max(bounds.values()) * (-1 if least else 1)), default=None)
