"""Leaks: records of a split that resemble one of a split, or of a benchmark, that is to be measured on.

Records stand on sides: references, then each protected split, then all others. Of two on different sides that match,
the one of the later side leaks from the other and goes. They are compared by what makes duplicates, and part by part:
a picture in two splits is a leak whatever its captions are.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.compute as pc

from dedupver.digests import of_parts
from dedupver.index import ngrams
from dedupver.resolve import rules
from dedupver.resolve.hot import COMPARED
from dedupver.resolve.nodes import place_in
from dedupver.resolve.rules import Rule, Term
from dedupver.schema import MATCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.index.segment import Index
    from dedupver.resolve.hot import Buckets

LEAKS_FROM: Final = "leaks_from"
"""Why a record goes for one of a side before its own."""

SAID: Final = "leakage: "
"""How the text of a rule about leaks begins."""

LEAKS_INTO: Final = "leaks_into"
"""Why a protected record goes all the same: what it matches was published, and stays."""


def sides(records: pa.Table, settings: params.Dedup) -> Rows:
    """Return the side of each record (columns role and split), the first is of references; shape (n,)."""
    side = 1 + place_in(records["split"], settings.protected).astype(np.int64)
    side[pc.equal(records["role"], "reference").to_numpy()] = 0
    return side


def several(side: Rows) -> bool:
    """Return whether there is anything to leak, and anything to leak into."""
    return bool((side != side[:1]).any())


def rules_beside(
    usual: Sequence[Rule], settings: params.Dedup, names: Mapping[str, str], parts_met: set[tuple[int, ...]]
) -> list[Rule]:
    """Return what calls records of different sides a leak, besides the rules that call any two duplicates.

    Equal records of different sides are nodes of their own: where no rule says so, equal in every part is one.
    """
    equal = (dataclasses.replace(rule, leak=True) for rule in rules.exact(parts_met))
    found = [rule for rule in equal if not any(_holds_for_equals(each, rule) for each in usual)]
    if settings.leakage.action == "remove":
        found += [rule for rule in of_params(settings, names, parts_met) if not _said(rule, usual, parts_met)]
    return found


def of_params(settings: params.Dedup, names: Mapping[str, str], parts_met: set[tuple[int, ...]]) -> list[Rule]:
    """Return the rules about leaks that params ask for: each part alone, and what makes duplicates, more strictly."""
    given = settings.leakage
    found = []
    for part, (name, modality) in enumerate(names.items()):
        if name in given.parts:
            found.append(
                Rule(f"{SAID}{{{name}: similar}}", (Term(part, given.at_least(modality, settings)),), same_parts=False)
            )
    if given.thresholds:
        thresholds = settings.thresholds.model_copy(update=given.stricter)
        similar = tuple(dict.fromkeys([*settings.similar, *given.thresholds]))
        stricter = settings.model_copy(update={"thresholds": thresholds, "similar": similar})
        again = (rule for rule in rules.parse(stricter, names, parts_met) if not rule.across)
        found += [dataclasses.replace(rule, text=f"{SAID}{rule.text}") for rule in again]
    return [dataclasses.replace(rule, leak=True) for rule in found]


def overlaps(records: pa.Table, names: Mapping[str, str], index: Index, settings: params.Dedup) -> pa.Table:
    """Return which texts have so many n-grams of a text of an earlier side that params call it a leak (schema MATCH).

    `records` has the columns parts, role and split; `names` are the parts that they have.
    """
    at_least, texts = settings.leakage.ngrams, [name for name, its in names.items() if its == "text"]
    asked = [place for place, name in enumerate(names) if name in texts and name in settings.leakage.parts]
    if at_least is None or not asked:
        return MATCH.empty_table()
    digests, record, part = of_parts(records["parts"], "content", list(names))
    side = sides(records, settings)[record]
    read = np.isin(part, asked)
    return ngrams.overlaps(
        index, digests[read & (side < side.max(initial=0))], digests[read & (side > side.min(initial=0))], at_least
    )


def in_buckets(buckets: Buckets, side: Rows) -> tuple[list[tuple[Rows, Rows]], int]:
    """Return nodes and those of later sides that share a hot bucket with them, and for how many there was no room.

    A bucket may cost so many comparisons as where records are judged; `side` has shape (nodes,).
    """
    found, left_out = [], 0
    for begin, end in zip(buckets.starts[:-1], buckets.starts[1:], strict=True):
        members = buckets.members[begin:end].astype(np.int64)
        members = members[np.argsort(side[members], kind="stable")]
        later = np.searchsorted(side[members], side[members], side="right")
        able = np.flatnonzero(later < len(members))
        fits = np.cumsum(len(members) - later[able]) <= COMPARED * len(members)
        found += [(members[at : at + 1], members[later[at] :]) for at in able[fits].tolist()]
        left_out += int(np.count_nonzero(~fits))
    return found, left_out


def _holds_for_equals(rule: Rule, equal: Rule) -> bool:
    """Return whether a rule holds for any two records that are equal, and have the parts that `equal` speaks of."""
    parts, wanted = {term.part for term in rule.terms}, {term.part for term in equal.terms}
    return not rule.across and (parts == wanted if rule.same_parts else parts <= wanted)


def _said(rule: Rule, usual: Sequence[Rule], parts_met: set[tuple[int, ...]]) -> bool:
    """Return whether a rule that speaks of any two records says as much already."""
    parts = {term.part for term in rule.terms}
    alone = all(set(met) == parts for met in parts_met if parts <= set(met))
    return any(each.terms == rule.terms and (alone or not each.same_parts) for each in usual)
