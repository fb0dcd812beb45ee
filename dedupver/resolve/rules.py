"""Rules: which evidence makes two records duplicates, as alternatives of conjunctions over their parts.

Records are *nodes* here, one row of content numbers each: a column a part, -1 where the record has no such part.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params
from dedupver.index.lsh import distinct
from dedupver.resolve.evidence import SCORED, pair_key
from dedupver.resolve.plans import Groups, Plan
from dedupver.schema import ACROSS, EVIDENCE, NGRAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Evidence, Mask, Scores

REVIEW: Final = -1
"""Stands for the rule of an edge that a person drew."""

NO_WORD: Final = pa.scalar(None, pa.string())


@dataclass(frozen=True)
class Term:
    """What two records must share in one part: equal content, or a kind of evidence at its threshold.

    Or a part of the one and another part, `across`, of the other: a kind that two modalities have in common.
    """

    part: int
    at_least: dict[str, float] = field(default_factory=dict)
    across: int | None = None

    @property
    def other(self) -> int:
        """Return the part of the other record."""
        return self.part if self.across is None else self.across


@dataclass(frozen=True)
class Rule:
    """A conjunction. `text` is how params wrote it; `same_parts`: for records that have exactly these parts."""

    text: str
    terms: tuple[Term, ...]
    same_parts: bool
    reason: str = "near_duplicate_of"
    leak: bool = False  # it speaks only of records on different sides: see `leaks`

    @property
    def across(self) -> bool:
        """Return whether it speaks of different parts of the two records: then it has this term alone."""
        return any(term.across is not None for term in self.terms)


class Edges(NamedTuple):
    """Pairs of nodes that a rule calls duplicates, the smaller node left; every array has shape (m,).

    `kind` is an index into SCORED of the weakest part, or -1 where every part is equal.
    """

    left: Rows
    right: Rows
    score: Scores
    threshold: Scores
    kind: Rows
    rule: Rows

    def at(self, rows: Rows | Mask) -> Self:
        """Return the edges of some rows."""
        return type(self)._make(column[rows] for column in self)


NO_EDGES: Final = Edges._make(np.empty(0, t) for t in (np.int64, np.int64, np.float32, np.float32, np.int64, np.int64))


def parse(settings: params.Dedup, names: Mapping[str, str], parts_met: set[tuple[int, ...]]) -> list[Rule]:
    """Return the conjunctions that params' rules stand for, given the parts that records have, and the sets of these.

    `names` maps the parts to their modalities. A rule that speaks of another part holds for no record.
    """
    rules: list[Rule] = []
    for given in settings.rules:
        text = text_of(given)
        if "joint" in given:
            rules += _across(text, float(given["joint"]), names)
        if not {term.partition(".")[0] for term in given} <= {*names, "every", "content"}:
            continue
        whole = [value for term, value in given.items() if term in {"every", "content"}]
        named = [
            _term(term, value, names, settings) for term, value in given.items() if term not in {"every", "content"}
        ]
        if not whole:
            rules.append(Rule(text, tuple(named), same_parts=False))
        for parts in sorted(parts_met) if whole else []:
            if {t.part for t in named} <= set(parts):
                every = [_part_term(part, whole[0], names, settings) for part in parts]
                rules.append(Rule(text, (*every, *named), same_parts=True))
    return rules


def text_of(given: Mapping[str, float | str]) -> str:
    """Return a rule of params as decisions name it."""
    return "{" + ", ".join(f"{term}: {value}" for term, value in given.items()) + "}"


def exact(parts_met: set[tuple[int, ...]]) -> list[Rule]:
    """Return the rule that no params can switch off: equal in every part."""
    return [
        Rule("{content: exact}", tuple(Term(part) for part in parts), same_parts=True) for parts in sorted(parts_met)
    ]


def lowest(rules: list[Rule]) -> dict[str, float]:
    """Return for each kind of evidence that a rule uses the lowest threshold it is used at."""
    found: dict[str, float] = {}
    for rule in rules:
        for term in rule.terms:
            for kind, value in term.at_least.items():
                found[kind] = min(value, found.get(kind, 1.0))
    return found


def edges(rules: list[Rule], nodes: Rows, evidence: Evidence, sides: Rows | None = None) -> Edges:
    """Return every pair of nodes that a rule calls duplicates by listed evidence, once each, by its strongest rule.

    `nodes` has shape (n, parts) of content numbers, `sides` (n,), which rules about leaks ask for. Pairs of
    which the most selective term is in a hot bucket are not listed: `judge` finds them among those that share one.
    """
    return _strongest(
        _judge(rule, number, nodes, left, right, evidence)
        for number, rule in enumerate(rules)
        for left, right in _candidates(rule, nodes, evidence, sides)
    )


def joined(parts: Iterable[Edges]) -> Edges:
    """Return the edges of several lists as one."""
    return Edges._make(np.concatenate(column) for column in zip(*parts, strict=True))


def judge(  # noqa: PLR0913, PLR0917 - pairs, and what to judge them by
    rules: list[Rule], nodes: Rows, left: Rows, right: Rows, evidence: Evidence, sides: Rows | None = None
) -> Edges:
    """Return those of the given pairs of nodes that a rule calls duplicates, once each, by its strongest rule.

    Rules across parts say nothing here: no pair of theirs is hot, all are listed.
    """
    found = [NO_EDGES]
    for number, rule in enumerate(rules):
        if rule.across:
            continue
        able = _able(rule, nodes[left]) & _able(rule, nodes[right])
        if rule.leak and sides is not None:
            able &= sides[left] != sides[right]
        found.append(_judge(rule, number, nodes, left[able], right[able], evidence))
    return _strongest(found)


def describe(rule: Rule, names: Sequence[str], left: Rows, right: Rows, evidence: Evidence) -> pa.Array:
    """Return the evidence between nodes, shapes (m, names), under a rule: `image.phash=0.969,caption=exact`."""
    said: dict[str, Mask] = {}
    words = []

    def say(what: str, where: Mask, scores: pa.Array) -> None:
        fresh = where & ~said.get(what, np.zeros(len(left), bool))  # a rule may name a part twice
        said[what] = fresh | said.get(what, fresh)
        words.append(pc.if_else(pa.array(fresh), pc.binary_join_element_wise(what, scores, "="), NO_WORD))

    for term in rule.terms:
        name = names[term.part] if term.across is None else f"{names[term.part]}~{names[term.across]}"
        a, b = left[:, term.part], right[:, term.other]
        same = (a == b) & (a >= 0)
        say(name, same, pa.scalar("exact"))
        for kind, floor in term.at_least.items():
            score = evidence.of(kind, a, b, floor)
            if term.across is not None:  # whose text it is has been forgotten
                score = np.maximum(score, evidence.of(kind, left[:, term.across], right[:, term.part], floor))
            say(f"{name}.{SCORED[kind].measure}", ~same & (score >= np.float32(floor)), six_digits(score))
    return pc.binary_join_element_wise(*words, ",", null_handling="skip")


def six_digits(scores: Scores) -> pa.Array:
    """Return scores as text, `%.6g`; each distinct one is formatted once."""
    distinct, inverse = np.unique(scores, return_inverse=True)
    return pa.array([f"{score:.6g}" for score in distinct.tolist()], pa.string()).take(pa.array(inverse))


def _term(term: str, value: float | str, names: Mapping[str, str], settings: params.Dedup) -> Term:
    part = list(names).index(term.partition(".")[0])
    kind = params.evidence_of(term, names)
    if isinstance(value, float) and kind:
        return Term(part, {kind: value})
    return _part_term(part, str(value), names, settings)


def _across(text: str, at_least: float, names: Mapping[str, str]) -> Iterator[Rule]:
    """Yield a rule for each image, video or sound and each text: that of one record fits that of another."""
    media, texts = ([part for part, its in enumerate(names.values()) if its in wanted] for wanted in (ACROSS, {"text"}))
    for part, caption in itertools.product(media, texts):
        term = Term(part, {"joint": at_least}, across=caption)
        yield Rule(text, (term,), same_parts=False, reason="cross_modal_match_of")


def _part_term(part: int, value: float | str, names: Mapping[str, str], settings: params.Dedup) -> Term:
    if value == "exact":
        return Term(part)
    modality = list(names.values())[part]
    return Term(part, {k: settings.thresholds.of(k) for k in settings.similar if EVIDENCE[k].modality == modality})


def _strongest(found: Iterable[Edges]) -> Edges:
    """Join edges; of those between the same two nodes the one with the highest score stays, then the first rule's."""
    edges = joined([NO_EDGES, *found])
    order = np.lexsort((edges.rule, -edges.score, edges.right, edges.left))
    left, right = edges.left[order], edges.right[order]
    first = np.ones(len(order), bool)
    first[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return edges.at(order[first])


def _able(rule: Rule, nodes: Rows) -> Mask:
    """Return which nodes have the parts that a rule speaks of."""
    parts = sorted({t.part for t in rule.terms if t.across is None})
    able = (nodes[:, parts] >= 0).all(axis=1)
    exactly = (nodes >= 0).sum(axis=1) == len(parts)
    return np.asarray(able & exactly if rule.same_parts else able)


def _candidates(rule: Rule, nodes: Rows, evidence: Evidence, sides: Rows | None) -> Iterator[tuple[Rows, Rows]]:
    """Yield blocks of node pairs that the rule's most selective term allows."""
    able = _able(rule, nodes)
    if np.count_nonzero(able) < 2:
        return
    if rule.leak and sides is not None and not rule.across:
        for side in np.unique(sides[able])[1:]:
            before, here = able & (sides < side), able & (sides == side)
            plans = [_plan(term, nodes, before, evidence, here) for term in rule.terms]
            yield from min(plans, key=lambda plan: plan.cost).expand()
        return
    plans = [_plan(term, nodes, able, evidence) for term in rule.terms]
    for left, right in min(plans, key=lambda plan: plan.cost).expand():
        apart = sides[left] != sides[right] if rule.leak and sides is not None else slice(None)
        yield left[apart], right[apart]


def _plan(term: Term, nodes: Rows, able: Mask, evidence: Evidence, others: Mask | None = None) -> Plan:
    """Plan the pairs of able nodes, or those of one with one of `others`."""
    keys = [pair_key(*evidence.pairs(kind, floor)) for kind, floor in term.at_least.items()]
    pairs = distinct(np.concatenate([*keys, np.empty(0, np.uint64)]))
    low, high = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    groups = Groups.of(nodes, able, term.part)
    if others is not None:
        return Plan.apart(groups, Groups.of(nodes, others, term.part), low, high)
    if term.across is None:
        return Plan.within(groups, low, high)
    return Plan.between(groups, Groups.of(nodes, able, term.across), low, high)


def _judge(  # noqa: PLR0913, PLR0917 - pairs, and what to judge them by
    rule: Rule, number: int, nodes: Rows, left: Rows, right: Rows, evidence: Evidence
) -> Edges:
    """Judge node pairs under a rule: the weakest part's best evidence is the score."""
    count = len(left)
    score, threshold = np.full(count, 1, np.float32), np.full(count, 1, np.float32)
    kind, good = np.full(count, -1, np.int64), np.ones(count, bool)
    for term in rule.terms:
        a, b = nodes[left, term.part], nodes[right, term.other]
        best = np.where(a == b, np.float32(2), np.float32(0))  # 2: equal, beyond every score
        best_kind, best_floor = np.full(count, -1, np.int64), np.ones(count, np.float32)
        for name, floor in term.at_least.items():
            found = np.where(a == b, np.float32(0), evidence.of(name, a, b, floor))
            better = (found >= np.float32(floor)) & (found > best)
            if name == NGRAM.measure:
                better &= best == 0  # how alike the wholes are says more
            best[better], best_kind[better], best_floor[better] = found[better], list(SCORED).index(name), floor
        good &= best > 0
        weaker = (best < score) | ((kind < 0) & (best_kind >= 0))
        score[weaker], kind[weaker], threshold[weaker] = best[weaker], best_kind[weaker], best_floor[weaker]
    low, high = np.minimum(left, right)[good], np.maximum(left, right)[good]
    return Edges(low, high, score[good], threshold[good], kind[good], np.full(len(low), number))
