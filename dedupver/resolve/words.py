"""What is said of the dropped, from reason to rule, and what is reported besides."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import equal_parts
from dedupver.resolve import rules
from dedupver.resolve.caps import CAPPED, capped
from dedupver.resolve.evidence import SCORED
from dedupver.resolve.leaks import LEAKS_FROM, LEAKS_INTO
from dedupver.resolve.rules import Edges, Rule, Term
from dedupver.schema import EVIDENCE, LEAK, REPORTED, SAID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Evidence, Mask
    from dedupver.resolve.greedy import Outcome
    from dedupver.resolve.nodes import Nodes

KINDS: Final = [*SCORED, "exact"]
"""An edge's kind in words; -1, where every part is equal, is the last."""

METHODS: Final = [*(kind.measure for kind in SCORED.values()), "content", "sha256", "review"]
CONTENT: Final = METHODS.index("content")
CONFLICT: Final = "label_conflict"


@dataclass(frozen=True)
class Judged:
    """Records and nodes, and what became of them."""

    names: Mapping[str, str]  # of the parts, with their modalities
    records: pa.Table  # columns of RECORD
    fresh: Mask  # as Case has it
    sides: Rows  # of each record
    nodes: Nodes
    representative: Rows  # of each record: a row, or -1
    outcome: Outcome
    rules: list[Rule]
    caps: Mapping[str, int]  # part → how many may share it
    evidence: Evidence


def said(judged: Judged) -> pa.Table:
    """Return what is said of the dropped records, in the order of their rows (schema SAID)."""
    edges = judged.outcome.edges
    rows = np.flatnonzero(judged.representative >= 0)
    kept, edge = judged.representative[rows], judged.outcome.by[judged.nodes.of_record[rows]]
    rule = np.append(edges.rule, 0)[edge]
    equal = (rule >= 0) & (judged.nodes.parts[rows] == judged.nodes.parts[kept]).all(axis=1)
    near, reviewed, over = ~equal & (rule >= 0), rule == rules.REVIEW, rule <= CAPPED
    score, threshold, method = np.ones(len(rows)), np.ones(len(rows)), np.full(len(rows), METHODS.index("review"))
    score[near] = edges.score[edge[near]]
    threshold[near] = _rounded(edges.threshold[edge[near]])
    method[near], method[over] = edges.kind[edge[near]] % len(KINDS), CONTENT
    method[equal] = CONTENT + _same_bytes(judged.records["parts"], rows[equal], kept[equal])
    reasons = ["exact_duplicate_of", "reviewed_same_as", "repeated_part", *(each.reason for each in judged.rules)]
    reasons += [LEAKS_FROM, LEAKS_INTO]
    sides = judged.sides[rows] - judged.sides[kept]
    leaks = (sides != 0) & ~reviewed & ~over
    leak = len(reasons) - 1 - (sides > 0)
    reason = np.select([leaks, equal, reviewed, over], [leak, 0, 1, 2], 3 + rule)
    cap = np.where(over, CAPPED - rule, -1)
    texts = [*(r.text for r in judged.rules), "{content: exact}", "review", *_caps(judged, "{{caps.{}: {}}}")]
    rule[equal], rule[reviewed], rule[over] = (
        len(judged.rules),
        len(judged.rules) + 1,
        len(judged.rules) + 2 + cap[over],
    )
    columns: dict[str, pa.Array] = {
        "reason": _named(reasons, reason),
        "method": _named(METHODS, method),
        "score": pa.array(score),
        "threshold": pa.array(threshold, mask=reviewed),
        "evidence": _evidence(judged, rows, edge, near, equal, cap),
        "rule": _named(texts, rule),
    }
    return pa.table(columns, schema=SAID)


def reported(judged: Judged, said_: pa.Table, settings: params.Dedup) -> pa.Table:
    """Return pairs of kept records that resemble each other by evidence that drops nothing by itself, and conflicts.

    One of a pair is new to this version: the others were reported in an earlier one.
    """
    place = {name: at for at, name in enumerate(judged.names)}
    tables = [
        _reported(judged, case, [place[part] for part in parts], Term(place[parts[0]], at_least))
        for case, (parts, at_least) in cases(judged.names, settings).items()
    ]
    found = pa.concat_tables([REPORTED.empty_table(), *tables, conflicts(judged, said_, settings)])
    return found.sort_by([(name, "ascending") for name in REPORTED.names])


def leaks(records: pa.Table, nodes: Nodes, sides: Rows, asked: list[Rule], edges: Edges) -> pa.Table:
    """Return the records of a later side that edges are of, each with the one that it resembles most (schema LEAK)."""
    side = sides[nodes.head]
    later = np.where(side[edges.left] > side[edges.right], edges.left, edges.right)
    earlier = edges.left + edges.right - later
    order = np.lexsort((earlier, -edges.score, later))
    first = order[np.append(np.True_, later[order][1:] != later[order][:-1])[: len(order)]]
    by = np.full(len(nodes), -1, np.int64)
    by[later[first]] = first
    rows = np.flatnonzero(by[nodes.of_record] >= 0)
    edge = by[nodes.of_record[rows]]
    source = nodes.head[earlier[edge]]
    method = np.where(edges.rule[edge] == rules.REVIEW, METHODS.index("review"), edges.kind[edge] % len(KINDS))
    protected = pc.if_else(pc.equal(records["role"], "reference"), "reference", pc.fill_null(records["split"], ""))
    columns = {
        "id": records["id"].take(pa.array(rows)),
        "split": records["split"].take(pa.array(rows)),
        "from": records["id"].take(pa.array(source)),
        "protected": protected.take(pa.array(source)),
        "method": _named(METHODS, method),
        "score": pa.array(edges.score[edge].astype(np.float64)),
        "rule": _named([*(rule.text for rule in asked), "review"], edges.rule[edge] % (len(asked) + 1)),
    }
    return pa.table(columns, schema=LEAK).sort_by("id")


def conflicts(judged: Judged, said_: pa.Table, settings: params.Dedup) -> pa.Table:
    """Return pairs of records that are alike and have different labels (schema REPORTED).

    Such are a dropped record and the one it goes for, and kept ones that have a part alike by what `similar` names: the
    first of each modality. Their evidence is that of the decision, or of the part.
    """
    label = _coded(judged.records["label"])
    rows = np.flatnonzero(judged.representative >= 0)
    kept = judged.representative[rows]
    differ = (label[rows] >= 0) & (label[kept] >= 0) & (label[rows] != label[kept])
    ends = (judged.records["id"].take(pa.array(each[differ])) for each in (rows, kept))
    edge = np.append(judged.outcome.edges.kind, 0)[judged.outcome.by[judged.nodes.of_record[rows[differ]]]]
    said_of = said_.filter(pa.array(differ))
    exact, reviewed = (pc.equal(said_of["reason"], word) for word in ("exact_duplicate_of", "reviewed_same_as"))
    kind = pc.if_else(reviewed, "review", pc.if_else(exact, "exact", _named(KINDS, edge % len(KINDS))))
    case = _named([CONFLICT], np.zeros(differ.sum(), int))
    never = pa.nulls(said_of.num_rows, pa.int64())
    tables = [pa.table([case, *ends, kind, said_of["score"], never], schema=REPORTED)]
    if label.max(initial=-1) > 0:  # two labels at least
        tables += [_kept_conflicts(judged, name, label, settings) for name in _firsts(judged.names).values()]
    return pa.concat_tables(tables)


def _kept_conflicts(judged: Judged, name: str, label: Rows, settings: params.Dedup) -> pa.Table:
    part, at_least = list(judged.names).index(name), _at_least(judged.names[name], settings, similar=True)
    found, members = _alike(judged, CONFLICT, [part], Term(part, at_least))
    a, b = (label[judged.nodes.head[members[end]]] for end in (found.left, found.right))
    return _table(judged, CONFLICT, found.at((a >= 0) & (b >= 0) & (a != b)), members)


def cases(names: Mapping[str, str], settings: params.Dedup) -> dict[str, tuple[list[str], dict[str, float]]]:
    """Return what is reported of records with some parts: the parts they must have, and how alike the first must be.

    The same image with another caption; and of each modality the first part, alike by what `similar` leaves out.
    """
    found: dict[str, tuple[list[str], dict[str, float]]] = {}
    if {"image", "caption"} <= names.keys():
        found["same_image_other_caption"] = ["image", "caption"], _at_least("image", settings, similar=True)
    for modality, name in _firsts(names).items():
        if at_least := _at_least(modality, settings, similar=False):
            found[f"similar_{name}"] = [name], at_least
    return found


def _firsts(names: Mapping[str, str]) -> dict[str, str]:
    """Return the first part of each modality."""
    return {modality: name for name, modality in [*names.items()][::-1]}


def _at_least(modality: str, settings: params.Dedup, *, similar: bool) -> dict[str, float]:
    """Return the thresholds of the kinds that `similar` names, or of the others."""
    kinds = [k for k, kind in EVIDENCE.items() if kind.modality == modality and (k in settings.similar) == similar]
    return {kind: settings.thresholds.of(kind) for kind in kinds}


def _reported(judged: Judged, case: str, parts: list[int], term: Term) -> pa.Table:
    return _table(judged, case, *_alike(judged, case, parts, term))


def _alike(judged: Judged, case: str, parts: list[int], term: Term) -> tuple[Edges, Rows]:
    """Return the pairs of kept nodes with some parts that a term holds for, and the nodes that their ends count."""
    stays = judged.representative[judged.nodes.head] < 0
    members = np.flatnonzero((judged.nodes.contents[:, parts] >= 0).all(axis=1) & stays)
    found = rules.edges([Rule(case, (term,), same_parts=False)], judged.nodes.contents[members], judged.evidence)
    fresh = judged.fresh[judged.nodes.head[members]]
    return found.at(fresh[found.left] | fresh[found.right]), members


def _table(judged: Judged, case: str, found: Edges, members: Rows) -> pa.Table:
    left, right = (
        judged.records["id"].take(pa.array(judged.nodes.head[members[end]])) for end in (found.left, found.right)
    )
    columns: list[Any] = [
        _named([case], np.zeros(len(left), int)),
        left,
        right,
        _named(KINDS, found.kind % len(KINDS)),
        found.score.astype(np.float64),
        pa.nulls(len(left), pa.int64()),
    ]
    return pa.table(columns, schema=REPORTED)


def _same_bytes(parts: pa.ChunkedArray, a: Rows, b: Rows) -> Mask:
    """Return whether records `a` and `b` have the same bytes; the parts of all others are left where they are."""
    wanted = np.zeros(len(parts), np.bool_)
    wanted[a] = wanted[b] = True
    few, place = parts.filter(pa.array(wanted)), np.cumsum(wanted) - 1
    return equal_parts(few, place[a], few, place[b], "sha256")


def _evidence(  # noqa: PLR0913, PLR0917 - what is dropped by what
    judged: Judged, rows: Rows, edge: Rows, near: Mask, equal: Mask, cap: Rows
) -> pa.Array:
    """Return the evidence of each dropped record; that of an edge is written once. `cap` is -1 for those of none."""
    used, place = np.unique(edge[near], return_inverse=True)
    others = [*_equal(judged.names), "review=same", *_caps(judged, "{}=exact")]
    words = pa.concat_arrays([_of_edges(judged, used), pa.array(others)])
    at = len(used) + others.index("review=same") + 1 + cap
    at[near] = place
    highest_first = 1 << np.arange(len(judged.names))[::-1]
    at[equal] = len(used) + (judged.nodes.parts[rows[equal]] >= 0) @ highest_first
    return words.take(pa.array(at))


def _equal(names: Mapping[str, str]) -> list[str]:
    """Return the evidence between equal records, by the bits that say which parts they have, the first highest."""
    every = itertools.product((0, 1), repeat=len(names))
    return [",".join(f"{name}=exact" for name in itertools.compress(names, bits)) for bits in every]


def _caps(judged: Judged, words: str) -> list[str]:
    """Return words of each cap: its part, and how many may share it."""
    return [words.format(part, judged.caps[part]) for part in capped(judged.caps, list(judged.names))]


def _of_edges(judged: Judged, used: Rows) -> pa.Array:
    edges = judged.outcome.edges
    by_rule, words = [np.empty(0, np.int64)], [pa.array([], pa.string())]
    for number, rule in enumerate(judged.rules):
        mine = np.flatnonzero(edges.rule[used] == number)
        left, right = (judged.nodes.contents[end[used[mine]]] for end in (edges.left, edges.right))
        by_rule.append(mine)
        words.append(rules.describe(rule, list(judged.names), left, right, judged.evidence))
    return pa.concat_arrays(words).take(pa.array(np.argsort(np.concatenate(by_rule))))


def _rounded(thresholds: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Undo what float32 does to a threshold of params: 0.8 became 0.800000012."""
    distinct, inverse = np.unique(thresholds, return_inverse=True)
    return np.array([round(value, 6) for value in distinct.tolist()])[inverse]


def _named(names: list[str], number: np.ndarray[Any, Any]) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(number))


def _coded(column: pa.ChunkedArray) -> Rows:
    """Return a number for each distinct value, -1 for null."""
    return pc.fill_null(column.combine_chunks().dictionary_encode().indices, -1).to_numpy().astype(np.int64)
