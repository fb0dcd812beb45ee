"""Matches → decisions: greedy by direct match, in an order that is a property of the records.

In that order a record is kept unless a record that is already kept matches it under a rule; then it is dropped for the
best of those. Nothing is ever dropped for a chain of matches. Where params cap how many may share a part, a record
beyond is dropped for the first that is kept with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Digests, Lookup, Rows, numbered, of_column, parts_in
from dedupver.index.lsh import distinct
from dedupver.resolve import captions, leaks, rules, words
from dedupver.resolve.caps import Caps
from dedupver.resolve.evidence import (
    SCORED,
    Evidence,
    Hot,
    Keys,
    Mask,
    Score,
    Scores,
    across,
    by_kind,
    in_sorted,
    least,
    pair_key,
    strong,
)
from dedupver.resolve.greedy import Alike, Outcome, sweep
from dedupver.resolve.hot import Buckets, gather
from dedupver.resolve.linked import Links
from dedupver.resolve.nodes import Nodes, order_of, place_in
from dedupver.resolve.rules import REVIEW, Edges, Rule
from dedupver.schema import LEAK, REPORTED, SAID, ParamsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dedupver import params
    from dedupver.fingerprint.ragged import Ragged
    from dedupver.index.segment import Index


@dataclass(frozen=True)
class Verdicts:
    """One row a record; `representative` is a row, -1 for the kept."""

    keep: Mask
    representative: Rows
    said: pa.Table  # schema SAID: of the dropped, in the order of their rows
    reported: pa.Table  # schema REPORTED
    unverified: int

    @classmethod
    def none(cls) -> Self:
        """Return the verdicts on nobody."""
        rows = np.empty(0, np.int64)
        return cls(rows < 0, rows, SAID.empty_table(), REPORTED.empty_table(), 0)


def no_fit(images: Digests, _: Digests) -> Scores:
    """Return that nobody knows how an image fits a caption: there is no space in which both are."""
    return np.full(len(images), np.nan, np.float32)


@dataclass(frozen=True)
class Case:
    """All that is judged at once."""

    parts: Mapping[str, str]  # those that records have: name → modality, in the order of params
    records: pa.Table  # columns of RECORD
    rank: Rows  # lower goes first: 0 the protected
    forced: Mask  # kept whatever matches them
    counted: Mask  # of the dataset: the caps of params speak of them
    matches: Iterable[pa.RecordBatch]  # schema MATCH
    hot: Iterable[pa.RecordBatch]  # schema HOT
    reviews: Sequence[tuple[str, str, str]]
    scorer: Callable[[str, Digests], Score]  # of a kind and among some contents
    fit: Callable[[Digests, Digests], Scores] = no_fit  # of images and captions, pair by pair
    sets: Callable[[str, Digests], Ragged] | None = None  # of a kind and of some contents, where they are at hand
    fresh: Mask | None = None  # who is new to this version, pairs of others were reported before; None: everyone

    @classmethod
    def unjudged(
        cls,
        parts: Mapping[str, str],
        records: pa.Table,
        index: Index,
        reviews: Sequence[tuple[str, str, str]],
        settings: params.Dedup,
    ) -> Self:
        """Return records that are compared, and of which nobody is judged, with all that the index knows of them."""
        nobody = np.zeros(records.num_rows, np.bool_)
        asked = any("joint" in rule for rule in settings.rules)
        return cls(
            parts=parts,
            records=records,
            rank=np.zeros(records.num_rows, np.int64),
            forced=nobody,
            counted=nobody,
            matches=chain(index.matches(), across(index.fits()) if asked else ()),
            hot=index.hot(),
            reviews=reviews,
            scorer=index.scorer,
        )


def resolve(case: Case, settings: params.Dedup) -> Verdicts:
    """Judge every record; see the module's docstring for the order and the rule."""
    names = case.parts
    contents, parts = numbered(case.records["parts"], list(names))
    reviewed = {name for left, right, _ in case.reviews for name in (left, right)}
    apart = pc.is_in(case.records["id"], pa.array(sorted(reviewed), pa.string())).to_numpy()
    sides = leaks.sides(case.records, settings)
    order, policy = in_order(case, settings, contents, parts), captions.applies(names, settings)
    nodes = Nodes.of(parts, order, apart, sides)
    side = sides[nodes.head]
    reviews = _Reviews.of(case.reviews, case.records["id"], nodes)
    conjunctions = rules.parse(settings, names, nodes.part_sets())
    if case.reviews:  # reviewed records are nodes of their own, so their equals must be found
        conjunctions += rules.exact(nodes.part_sets())
    if leaks.several(side):
        conjunctions += leaks.rules_beside(conjunctions, settings, names, nodes.part_sets())
    pictures = captions.pictures(nodes.contents, names) if policy else np.full(len(nodes), -1)
    evidence, buckets, hot = evidence_among(
        case, names, contents, nodes, conjunctions, captions.buckets(pictures), least(settings, names)[0]
    )

    def judge(left: Rows, right: Rows) -> Edges:
        found = rules.judge(conjunctions, nodes.contents, left, right, evidence, side)
        return reviews.over(captions.beside(found, len(conjunctions), pictures, left, right))

    listed = rules.joined([reviews.over(rules.edges(conjunctions, nodes.contents, evidence, side)), reviews.same])
    forced = np.zeros(len(nodes), bool)
    forced[nodes.of_record[case.forced]] = True
    caps = Caps.of(settings.caps, list(names), nodes, case.forced, case.counted)
    outcome = sweep(listed, forced, buckets, caps, judge, _alike(case, contents, nodes, conjunctions, hot))
    representative = _representatives(nodes, outcome, case.forced)
    named = [*conjunctions, *([captions.rule(names, settings)] if policy else [])]
    fresh = np.ones(len(parts), bool) if case.fresh is None else case.fresh
    judged = words.Judged(
        names, case.records, fresh, sides, nodes, representative, outcome, named, settings.caps, evidence
    )
    said = words.said(judged)
    reported = words.reported(judged, said, settings)
    return Verdicts(representative < 0, representative, said, reported, outcome.unverified)


def remaining(case: Case, settings: params.Dedup) -> tuple[pa.Table, int]:
    """Return which of some kept records match one of an earlier side, with the one they resemble most (schema LEAK).

    Ranks and what is forced say nothing here: every two of different sides are compared, but for some in hot buckets:
    how many were not compared with all of one is returned as well.
    """
    sides = leaks.sides(case.records, settings)
    if not leaks.several(sides):
        return LEAK.empty_table(), 0
    names = case.parts
    contents, parts = numbered(case.records["parts"], list(names))
    reviewed = {name for left, right, _ in case.reviews for name in (left, right)}
    apart = pc.is_in(case.records["id"], pa.array(sorted(reviewed), pa.string())).to_numpy()
    nodes = Nodes.of(parts, order_of(case.records, np.ones(len(parts), np.int64), sides, settings), apart, sides)
    side, met_ = sides[nodes.head], nodes.part_sets()
    reviews = _Reviews.of(case.reviews, case.records["id"], nodes)
    usual = [*rules.parse(settings, names, met_), *rules.exact(met_), *leaks.of_params(settings, names, met_)]
    asked = [replace(rule, leak=True) for rule in usual]
    none = np.empty(0, np.uint64), 0
    evidence, buckets, _ = evidence_among(case, names, contents, nodes, asked, none, least(settings, names)[0])
    said = reviews.same.at(side[reviews.same.left] != side[reviews.same.right])
    found = [rules.edges(asked, nodes.contents, evidence, side), said]
    together, left_out = leaks.in_buckets(buckets, side)
    for one, others in together:
        found.append(rules.judge(asked, nodes.contents, np.repeat(one, len(others)), others, evidence, side))
    listed = rules.joined(found)
    differ = ~in_sorted(pair_key(listed.left, listed.right), reviews.different)
    return words.leaks(case.records, nodes, sides, asked, listed.at(differ)), left_out


def links_of(case: Case, settings: params.Dedup) -> Links:
    """Return which records are tied by a rule or by a person's word; nobody is judged, so no order counts."""
    names = case.parts
    contents, parts = numbered(case.records["parts"], list(names))
    reviewed = sorted({name for left, right, _ in case.reviews for name in (left, right)})
    apart = pc.is_in(case.records["id"], pa.array(reviewed, pa.string())).to_numpy()
    nodes = Nodes.of(parts, np.arange(len(parts)), apart)
    reviews = _Reviews.of(case.reviews, case.records["id"], nodes)
    conjunctions = [*rules.parse(settings, names, nodes.part_sets()), *rules.exact(nodes.part_sets())]
    none, bounds = (np.empty(0, np.uint64), 0), least(settings, names)[0]
    evidence, buckets, _ = evidence_among(case, names, contents, nodes, conjunctions, none, bounds)

    def judge(left: Rows, right: Rows) -> Edges:
        return reviews.over(rules.judge(conjunctions, nodes.contents, left, right, evidence))

    listed = rules.joined([reviews.over(rules.edges(conjunctions, nodes.contents, evidence)), reviews.same])
    return Links(nodes.of_record, len(nodes), listed.left, listed.right, buckets, judge)


def in_order(case: Case, settings: params.Dedup, contents: Digests, parts: Rows) -> Rows:
    """Return the rows of the records in the order in which they are judged; `parts` are numbers of contents."""
    order = order_of(case.records, case.rank, leaks.sides(case.records, settings), settings)
    if not captions.applies(case.parts, settings):
        return order
    return _captions_first(case, settings, case.parts, contents, parts, order)


def met(parts: Mapping[str, str], column: pa.ChunkedArray) -> dict[str, str]:
    """Return those of params' parts that records have, with their modalities.

    Raises ParamsError for a part that params do not name.
    """
    found = parts_in(column)
    if unknown := [name for name in found if name not in parts]:
        raise ParamsError(f"records have the part {unknown[0]!r}, which source.parts does not name: name it there")
    return {name: modality for name, modality in parts.items() if name in found}


class _Reviews(NamedTuple):
    """What people said of pairs of nodes."""

    pairs: Keys
    same: Edges
    different: Keys

    @classmethod
    def of(cls, reviews: Sequence[tuple[str, str, str]], ids: pa.ChunkedArray, nodes: Nodes) -> Self:
        """Take those that speak of two of the records."""
        lefts, rights, labels = zip(*reviews, strict=True) if reviews else ((), (), ())
        left, right = _rows_of(lefts, ids), _rows_of(rights, ids)
        known = (left >= 0) & (right >= 0) & (left != right)
        left, right = nodes.of_record[left[known]], nodes.of_record[right[known]]
        low, high = np.minimum(left, right), np.maximum(left, right)
        same = pc.equal(pa.array(labels, pa.string()), "same").to_numpy(zero_copy_only=False)[known]
        one, none = np.ones(same.sum(), np.float32), np.full(same.sum(), REVIEW)
        edges = Edges(low[same], high[same], one, one, none, none)
        return cls(distinct(pair_key(left, right)), edges, distinct(pair_key(left[~same], right[~same])))

    def over(self, edges: Edges) -> Edges:
        """Take out the pairs that a person spoke of."""
        return edges.at(~in_sorted(pair_key(edges.left, edges.right), self.pairs))


def _captions_first(  # noqa: PLR0913, PLR0917 - what an order depends on
    case: Case, settings: params.Dedup, names: Mapping[str, str], contents: Digests, parts: Rows, order: Rows
) -> Rows:
    """Return the order in which the best caption of a picture goes before its others."""

    def fit(image: Rows, caption: Rows) -> Scores:
        return case.fit(contents[image], contents[caption])

    split = place_in(case.records["split"], settings.splits).astype(np.int64)
    sides = leaks.sides(case.records, settings) * (case.rank > 0)
    before = (sides * (int(case.rank.max(initial=0)) + 1) + case.rank) * (len(settings.splits) + 1) + split
    worth = captions.worth(case.records, parts, names, settings, fit)
    return captions.best_first(order, captions.pictures(parts, names), before, worth)


def evidence_among(  # noqa: PLR0913, PLR0917 - all that is known of the nodes
    case: Case,
    names: Mapping[str, str],
    contents: Digests,
    nodes: Nodes,
    conjunctions: list[Rule],
    others: tuple[Keys, int],
    bounds: Mapping[str, float],
) -> tuple[Evidence, Buckets, dict[str, Mask]]:
    """Return the matches of the contents, and the buckets whose pairs are verified only where they are needed.

    And which contents are in these, by kind.
    """
    lookup = Lookup(contents)
    kinds = rules.lowest(conjunctions)
    hot, buckets = gather(case.hot, lookup, nodes.contents, list(names.values()), kinds, others)
    evidence = Evidence({kind: _scorer(case, kind, contents, is_hot) for kind, is_hot in hot.items()})
    found: dict[str, list[tuple[Rows, Rows, Scores]]] = {kind: [] for kind in SCORED}
    for batch in strong(case.matches, bounds):
        left, right = (lookup.find(of_column(batch[end])) for end in ("left", "right"))
        for kind, rows in by_kind(batch, (left >= 0) & (right >= 0)):
            found[kind].append((left[rows], right[rows], batch["score"].to_numpy()[rows]))
    for kind, blocks in found.items():
        if blocks:
            evidence.add(kind, *(np.concatenate(column) for column in zip(*blocks, strict=True)))
    return evidence, buckets, hot


def _alike(
    case: Case, contents: Digests, nodes: Nodes, conjunctions: list[Rule], hot: Mapping[str, Mask]
) -> Alike | None:
    """Return the sets that members of hot buckets are compared by, where nothing else counts."""
    terms = conjunctions[0].terms if len(conjunctions) == 1 else ()
    kinds = terms[0].at_least if len(terms) == 1 else {}
    kind = next(iter(kinds), "")
    alone = len(kinds) == 1 and SCORED[kind].structure == "sets" and nodes.contents.shape[1] == 1
    if case.sets is None or case.reviews or not alone or kind not in hot:
        return None
    row = (np.cumsum(hot[kind]) - 1)[nodes.contents[:, 0]]
    return Alike(case.sets(kind, contents[hot[kind]]), row, kinds[kind], list(SCORED).index(kind))


def _scorer(case: Case, kind: str, contents: Digests, is_hot: Mask) -> Hot:
    score, number = case.scorer(kind, contents[is_hot]), np.cumsum(is_hot) - 1
    return Hot(is_hot, lambda left, right, at_least: score(number[left], number[right], at_least))


def _representatives(nodes: Nodes, outcome: Outcome, forced: Mask) -> Rows:
    """From nodes back to records: the first record of a kept node stays, its equals go for it."""
    kept, rows = outcome.by < 0, np.arange(len(nodes.of_record))
    stays = kept[nodes.of_record] & ((nodes.head[nodes.of_record] == rows) | forced)
    goes_for = np.where(kept, np.arange(len(kept)), np.append(outcome.edges.left, -1)[outcome.by])
    return np.where(stays, -1, nodes.head[goes_for[nodes.of_record]])


def _rows_of(names: Sequence[str], ids: pa.ChunkedArray) -> Rows:
    if not names:  # Arrow would put all ids into a table first
        return np.empty(0, np.int64)
    at = pc.index_in(pa.array(names, pa.string()), ids)
    return pc.fill_null(at, -1).to_numpy(zero_copy_only=False).astype(np.int64)
