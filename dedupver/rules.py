"""Rules: which evidence makes two records duplicates, as alternatives of conjunctions over their parts.

Records are *nodes* here, one row of content numbers each (a column a part, -1 where the record has no such part), and
evidence is a sparse list of scored pairs of content numbers for each kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver import params
from dedupver.schema import EVIDENCE, PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dedupver.digests import Rows

Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

NAMES: Final = tuple(PARTS)
BLOCK: Final = 2_000_000  # pairs judged at once


@dataclass(frozen=True)
class Term:
    """What two records must share in one part: equal content, or a kind of evidence at its threshold."""

    part: int
    at_least: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """A conjunction. `text` is how params wrote it; `same_parts`: for records that have exactly these parts."""

    text: str
    terms: tuple[Term, ...]
    same_parts: bool


@dataclass(frozen=True)
class Edges:
    """Pairs of nodes that a rule calls duplicates; every array has shape (m,).

    `kind` is an index into EVIDENCE of the weakest part, or -1 where every part is equal.
    """

    left: Rows
    right: Rows
    score: Scores
    threshold: Scores
    kind: Rows
    rule: Rows


def parse(settings: params.Dedup, parts_met: set[tuple[int, ...]]) -> list[Rule]:
    """Return the conjunctions that params' rules stand for, given the sets of parts that records have."""
    rules = []
    for given in settings.rules:
        text = "{" + ", ".join(f"{term}: {value}" for term, value in given.items()) + "}"
        whole = [value for term, value in given.items() if term in {"every", "content"}]
        named = [_term(term, value, settings) for term, value in given.items() if term not in {"every", "content"}]
        if not whole:
            rules.append(Rule(text, tuple(named), same_parts=False))
        for parts in sorted(parts_met) if whole else []:
            if {t.part for t in named} <= set(parts):
                every = [_part_term(part, whole[0], settings) for part in parts]
                rules.append(Rule(text, (*every, *named), same_parts=True))
    return rules


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


class Evidence:
    """Scored pairs of content numbers, by kind, for look-up in both directions."""

    def __init__(self, score: Callable[[str, Rows, Rows], Scores]) -> None:
        """Start empty; `score` verifies pairs of hot contents, which were never listed."""
        self._keys: dict[str, npt.NDArray[np.uint64]] = {k: np.empty(0, np.uint64) for k in EVIDENCE}
        self._scores: dict[str, Scores] = {k: np.empty(0, np.float32) for k in EVIDENCE}
        self._score = score
        self.hot: dict[str, Rows] = {k: np.empty(0, np.int64) for k in EVIDENCE}

    def add(self, kind: str, left: Rows, right: Rows, score: Scores) -> int:
        """Add pairs; return how many were new."""
        keys = _key(left, right)
        keys, first = np.unique(keys, return_index=True)
        fresh = ~_in_sorted(keys, self._keys[kind])
        merged = np.concatenate([self._keys[kind], keys[fresh]])
        order = np.argsort(merged)
        self._scores[kind] = np.concatenate([self._scores[kind], score[first][fresh]])[order]
        self._keys[kind] = merged[order]
        return int(fresh.sum())

    def lists(self, kind: str, left: Rows, right: Rows) -> Mask:
        """Return for each pair whether it was added."""
        return _in_sorted(_key(left, right), self._keys[kind])

    def pairs(self, kind: str, at_least: float) -> tuple[Rows, Rows]:
        """Return the pairs of a kind at or above a score."""
        keys = self._keys[kind][self._scores[kind] >= np.float32(at_least)]
        return (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def of(self, kind: str, left: Rows, right: Rows) -> Scores:
        """Return the score of each pair, 0 where there is no match; pairs of hot contents are verified now."""
        keys = _key(left, right)
        place = np.searchsorted(self._keys[kind], keys)
        place[place == len(self._keys[kind])] = 0
        listed = self._keys[kind][place] == keys if len(self._keys[kind]) else np.zeros(len(keys), bool)
        scores = np.zeros(len(keys), np.float32)
        scores[listed] = self._scores[kind][place[listed]]
        if len(self.hot[kind]):
            open_ = np.flatnonzero(~listed & _in_sorted(left, self.hot[kind]) & _in_sorted(right, self.hot[kind]))
            if len(open_):
                scores[open_] = self._score(kind, left[open_], right[open_])
        return scores


def edges(rules: list[Rule], nodes: Rows, evidence: Evidence) -> Edges:
    """Return every pair of nodes that a rule calls duplicates, once each, by its strongest rule.

    `nodes` has shape (n, parts) of content numbers.
    """
    found = [
        _judge(rule, number, nodes, left, right, evidence)
        for number, rule in enumerate(rules)
        for left, right in _candidates(rule, nodes, evidence)
    ]
    if not found:
        empty = np.empty(0, np.int64)
        return Edges(empty, empty, empty.astype(np.float32), empty.astype(np.float32), empty, empty)
    columns = [np.concatenate([getattr(e, name) for e in found]) for name in Edges.__dataclass_fields__]
    left, right, score, _, _, rule = columns
    order = np.lexsort((rule, -score, right, left))
    first = np.ones(len(order), bool)
    first[1:] = (left[order][1:] != left[order][:-1]) | (right[order][1:] != right[order][:-1])
    return Edges(*(column[order[first]] for column in columns))


def describe(rule: Rule, left: Rows, right: Rows, evidence: Evidence) -> list[str]:
    """Return the evidence between nodes, shapes (m, parts), under a rule: `image.phash=0.969,caption=exact`."""
    said: list[list[str]] = [[] for _ in left]
    for term in rule.terms:
        a, b = left[:, term.part], right[:, term.part]
        for at in np.flatnonzero(a == b):
            said[at].append(f"{NAMES[term.part]}=exact")
        for kind, floor in term.at_least.items():
            score = evidence.of(kind, a, b)
            for at in np.flatnonzero((a != b) & (score >= np.float32(floor))):
                said[at].append(f"{NAMES[term.part]}.{EVIDENCE[kind][1]}={score[at]:.6g}")
    return [",".join(dict.fromkeys(words)) for words in said]


def _term(term: str, value: float | str, settings: params.Dedup) -> Term:
    part = NAMES.index(term.partition(".")[0])
    kind = params.evidence_of(term)
    if isinstance(value, float) and kind:
        return Term(part, {kind: value})
    return _part_term(part, str(value), settings)


def _part_term(part: int, value: float | str, settings: params.Dedup) -> Term:
    if value == "exact":
        return Term(part)
    modality = PARTS[NAMES[part]]
    return Term(part, {k: settings.thresholds.of(k) for k in settings.similar if EVIDENCE[k][0] == modality})


def _candidates(rule: Rule, nodes: Rows, evidence: Evidence) -> Iterator[tuple[Rows, Rows]]:
    """Yield blocks of node pairs that the rule's most selective term allows."""
    have = nodes[:, [t.part for t in rule.terms]] >= 0
    able = have.all(axis=1)
    if rule.same_parts:
        able &= (nodes >= 0).sum(axis=1) == len({t.part for t in rule.terms})
    members = np.flatnonzero(able)
    if len(members) < 2:
        return
    plans = [_plan(term, nodes[members, term.part], evidence) for term in rule.terms]
    best = min(plans, key=lambda plan: plan.cost)
    for left, right in best.expand():
        yield members[left], members[right]


@dataclass(frozen=True)
class _Plan:
    """How to list the pairs one term allows: pairs of groups of nodes with equal content."""

    order: Rows  # nodes, grouped by content
    starts: Rows
    sizes: Rows
    left: Rows  # group
    right: Rows  # group

    @property
    def cost(self) -> int:
        return int((self.sizes[self.left] * self.sizes[self.right]).sum())

    def expand(self) -> Iterator[tuple[Rows, Rows]]:
        counts = self.sizes[self.left] * self.sizes[self.right]
        ends = np.cumsum(counts)
        for start in range(0, int(ends[-1]) if len(ends) else 0, BLOCK):
            flat = np.arange(start, min(start + BLOCK, int(ends[-1])))
            pair = np.searchsorted(ends, flat, side="right")
            within = flat - (ends[pair] - counts[pair])
            width = self.sizes[self.right[pair]]
            a = self.order[self.starts[self.left[pair]] + within // width]
            b = self.order[self.starts[self.right[pair]] + within % width]
            once = (self.left[pair] != self.right[pair]) | (a < b)
            yield a[once], b[once]


def _plan(term: Term, contents: Rows, evidence: Evidence) -> _Plan:
    distinct, inverse, sizes = np.unique(contents, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    lefts, rights = [np.flatnonzero(sizes > 1)], [np.flatnonzero(sizes > 1)]
    keys = [_key(*evidence.pairs(kind, floor)) for kind, floor in term.at_least.items()]
    pairs = np.unique(np.concatenate([*keys, np.empty(0, np.uint64)]))
    a, b = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    here = _in_sorted(a, distinct) & _in_sorted(b, distinct)
    lefts.append(np.searchsorted(distinct, a[here]))
    rights.append(np.searchsorted(distinct, b[here]))
    return _Plan(order, np.cumsum(sizes) - sizes, sizes, np.concatenate(lefts), np.concatenate(rights))


def _judge(  # noqa: PLR0913, PLR0917 - pairs, and what to judge them by
    rule: Rule, number: int, nodes: Rows, left: Rows, right: Rows, evidence: Evidence
) -> Edges:
    """Judge node pairs under a rule: the weakest part's best evidence is the score."""
    count = len(left)
    score, threshold = np.full(count, 1, np.float32), np.full(count, 1, np.float32)
    kind, good = np.full(count, -1, np.int64), np.ones(count, bool)
    for term in rule.terms:
        a, b = nodes[left, term.part], nodes[right, term.part]
        best = np.where(a == b, np.float32(2), np.float32(0))  # 2: equal, beyond every score
        best_kind, best_floor = np.full(count, -1, np.int64), np.ones(count, np.float32)
        for name, floor in term.at_least.items():
            found = np.where(a == b, np.float32(0), evidence.of(name, a, b))
            better = (found >= np.float32(floor)) & (found > best)
            best[better], best_kind[better], best_floor[better] = found[better], list(EVIDENCE).index(name), floor
        good &= best > 0
        weaker = (best < score) | ((kind < 0) & (best_kind >= 0))
        score[weaker], kind[weaker], threshold[weaker] = best[weaker], best_kind[weaker], best_floor[weaker]
    return Edges(left[good], right[good], score[good], threshold[good], kind[good], np.full(int(good.sum()), number))


def _key(left: Rows, right: Rows) -> npt.NDArray[np.uint64]:
    low, high = np.minimum(left, right).astype(np.uint64), np.maximum(left, right).astype(np.uint64)
    return (low << np.uint64(32)) | high


def _in_sorted(values: npt.NDArray[np.generic], ordered: npt.NDArray[np.generic]) -> Mask:
    if not len(ordered):
        return np.zeros(len(values), bool)
    place = np.searchsorted(ordered, values)
    place[place == len(ordered)] = 0
    return np.asarray(ordered[place] == values)
