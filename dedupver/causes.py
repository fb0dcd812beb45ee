"""Why two versions differ in a record: new data, or thresholds, rules and reviews; told from the two manifests alone.

A cause is told where the two logs and headers show that it suffices. Where several do, or none, that is what is said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params
from dedupver.query import COMPARED, evidence_of, parts_of
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dedupver.manifest import Log

CAUSES: Final = (
    *("new_data", "source_edited", "left_source", "representative_left", "representative_moved"),
    *("threshold", "rules", "review", "reading", "several", "unknown"),
)
"""`representative_left`: gone, unreadable or edited; `representative_moved`: dropped in one of the two; `rules`: all
else of `dedup` in params; `reading`: what says how records are read."""

READ: Final = (*COMPARED, "evidence", "rule")
"""The columns of DECISION that the causes need."""

NOT_READING: Final = frozenset({"version", "match", "dedup", "gates", "manifest", "split", "card"})
"""The sections of params that say nothing of how a record is read."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two versions."""

    live: pa.Table  # columns READ, sorted by id
    header: Mapping[str, Any]
    reviews: list[tuple[str, str, str]]

    @classmethod
    def of(cls, log: Log) -> Self:
        """Read what is needed of a manifest."""
        return cls(log.live(READ), log.header, log.reviews())

    @cached_property
    def settings(self) -> params.Dedup:
        """Return what decided."""
        given: Mapping[str, Any] = self.header.get("params", {}).get("dedup", {})
        return params.Dedup.model_validate({name: its for name, its in given.items() if name in KNOWN})

    @cached_property
    def reading(self) -> dict[str, Any]:
        """Return what says how a record is read."""
        given = self.header.get("params", {})
        return {name: its for name, its in given.items() if name not in NOT_READING} | {"": self.header.get("tools")}

    @cached_property
    def parts(self) -> dict[str, str]:
        """Return the parts of records, with their modalities."""
        return parts_of(self.header)

    def pairs(self, label: str) -> set[frozenset[str]]:
        """Return the pairs of which people say something; of a pair that has both labels it is `same` that counts."""
        same = {frozenset((a, b)) for a, b, said in self.reviews if said == "same"}
        return same if label == "same" else {frozenset((a, b)) for a, b, _ in self.reviews} - same

    def rows(self, ids: Iterable[str]) -> dict[str, Row]:
        """Return some of the live records, by id."""
        wanted = pa.array(sorted(set(ids)), pa.string())
        return {row["id"]: row for row in self.live.filter(pc.is_in(self.live["id"], wanted)).to_pylist()}


KNOWN: Final = frozenset(params.Dedup.model_fields)


def with_causes(changes: pa.Table, old: Side, new: Side) -> pa.Table:
    """Return changes (query.CHANGE) with a column `cause`, one of CAUSES, after the kind."""
    added = pc.and_(pc.is_null(changes["before"]), pc.is_valid(changes["after"]))
    plain = pc.case_when(
        pc.make_struct(added, pc.equal(changes["kind"], "gone")),
        pa.scalar("new_data"),
        pa.scalar("left_source"),
        pa.scalar(None, pa.string()),
    )
    open_ = changes.filter(pc.is_null(plain))
    found = iter(_Comparison(open_["id"].to_pylist(), old, new).causes(open_["kind"].to_pylist()))
    causes = [each if each is not None else next(found) for each in plain.to_pylist()]
    return changes.add_column(1, "cause", pa.array(causes, pa.string()))


def count(changes: pa.Table) -> dict[str, int]:
    """Return the number of changes by cause, of those that occurred."""
    counted = Counter(changes["cause"].to_pylist())
    return {cause: counted[cause] for cause in CAUSES if counted[cause]}


class _Comparison:
    """Records that are in both versions, and those that they went for."""

    def __init__(self, ids: list[str], old: Side, new: Side) -> None:
        self.ids, self.old, self.new = ids, old, new
        self.was, self.now = old.rows(ids), new.rows(ids)
        others = {row["representative"] for side in (self.was, self.now) for row in side.values()} - {None}
        self.was, self.now = (mine | side.rows(others) for mine, side in ((self.was, old), (self.now, new)))
        self.same = {"old": old.pairs("same"), "new": new.pairs("same")}
        self.different = {"old": old.pairs("different"), "new": new.pairs("different")}

    def causes(self, kinds: list[str]) -> list[str]:
        """Return the cause of each change."""
        return [_one(self._of(kind, name)) for kind, name in zip(kinds, self.ids, strict=True)]

    def _of(self, kind: str, name: str) -> set[str]:
        was, now = self.was[name], self.now[name]
        if kind in {"edited", "quarantined"}:
            return self._edited(was, now)
        if kind == "dropped":
            return self._arrival(now) or self._others()
        if kind == "restored":
            return self._departure(was) or self._others()
        return self._departure(was) or self._better(was, now) or self._others()

    def _better(self, was: Row, now: Row) -> set[str]:
        """Return why another is preferred to one that is still there: it is nearer, or the order has changed."""
        found = self._arrival(now)
        if (now["score"] or 0.0) >= (was["score"] or 0.0):
            return found
        return found | self._others() if self._others() else set()

    def _edited(self, was: Row, now: Row) -> set[str]:
        """Return why a record is read as something else: it is, or it is read in another way."""
        bytes_ = [{(part["part"], part["sha256"]) for part in row["parts"]} for row in (was, now)]
        same_way = self.old.reading == self.new.reading
        if all(bytes_):
            return {"reading" if bytes_[0] == bytes_[1] else "source_edited"}
        return {"source_edited"} if same_way else set()

    def _departure(self, was: Row) -> set[str]:
        """Return why a record is no more dropped for whom it was."""
        name, its = was["id"], was["representative"]
        pair, found = frozenset((name, its)), set[str]()
        joined = was["reason"] == "reviewed_same_as"
        if pair in self.different["new"] - self.different["old"] or (joined and pair not in self.same["new"]):
            found.add("review")
        there = self.now.get(its)
        if there is None or there["action"] == "quarantine" or _contents(there) != _contents(self.was.get(its)):
            found.add("representative_left")
        elif there["action"] == "drop":
            found.add("representative_moved")
        return found | self._unruled(was, self.old, self.new)

    def _arrival(self, now: Row) -> set[str]:
        """Return why a record is dropped for whom it was not."""
        name, its = now["id"], now["representative"]
        pair, found = frozenset((name, its)), set[str]()
        parted = pair in self.different["old"] - self.different["new"]
        if parted or (now["reason"] == "reviewed_same_as" and pair not in self.same["old"]):
            found.add("review")
        there = self.was.get(its)
        if there is None:
            found.add("new_data")
        elif there["action"] == "quarantine" or _contents(there) != _contents(self.now.get(its)):
            found.add("source_edited")
        elif there["action"] == "drop":
            found.add("representative_moved")
        return found | self._unruled(now, self.new, self.old)

    def _unruled(self, row: Row, mine: Side, its: Side) -> set[str]:
        """Return which settings of the other version do not call a record a duplicate of whom it went for in one."""
        if mine.settings == its.settings or row["reason"] == "reviewed_same_as":
            return set()
        if row["reason"] in {"repeated_part", "other_caption_of"}:
            name = "caps" if row["reason"] == "repeated_part" else "captions"
            return {"rules"} if getattr(mine.settings, name) != getattr(its.settings, name) else set()
        if row["reason"] == "exact_duplicate_of":  # equal contents are, whatever the rules
            return set()
        thresholds, rules = _apart(mine.settings, its.settings)
        cases = {"threshold": thresholds, "rules": rules}
        if holds(row["evidence"], mine, its.settings) is not False:
            return set()
        found = {cause for cause, settings in cases.items() if holds(row["evidence"], mine, settings) is False}
        return found or {"several"}  # neither does it alone

    def _others(self) -> set[str]:
        """Return what is left: the order, or what history protects, where these settings differ."""
        return {"rules"} if self.old.settings != self.new.settings else set()


def holds(evidence: str | None, side: Side, settings: params.Dedup) -> bool | None:
    """Return whether settings call two records duplicates by the evidence by which those of a side did.

    None: it can't be told, for the evidence names only what reached that side's thresholds.
    """
    terms = evidence_of(evidence, side.parts)
    if not terms:
        return None
    found = [_rule_holds(rule, terms, side, settings) for rule in settings.rules]
    return True if True in found else None if None in found else False


def _rule_holds(
    rule: Mapping[str, float | str], terms: list[tuple[str, str | None, float]], side: Side, settings: params.Dedup
) -> bool | None:
    found: list[bool | None] = []
    for term, value in rule.items():
        name, _, measure = term.partition(".")
        across = [score for _, kind, score in terms if kind == "joint"]
        if term == "joint":
            found.append(across[0] >= float(value) - ROUNDING if across else None)
        elif term in {"every", "content"}:
            parts = {part for part, _, _ in terms}
            found += [_part_holds(part, str(value), "", terms, side, settings) for part in sorted(parts)]
            found += [None] if across else []
        else:
            found.append(_part_holds(name, value, measure, terms, side, settings))
    return False if False in found else None if None in found else True


ROUNDING: Final = 1e-6
"""Evidence is written with six digits."""


def _part_holds(  # noqa: PLR0913, PLR0917 - a term, and what is known
    part: str,
    value: float | str,
    measure: str,
    terms: list[tuple[str, str | None, float]],
    side: Side,
    settings: params.Dedup,
) -> bool | None:
    mine = {kind: score for its, kind, score in terms if its == part}
    if not mine:
        return None
    if None in mine:
        return True
    if value == "exact":
        return False
    kinds = _kinds(part, value, measure, side, settings)
    verdicts = [_reached(kind, at_least, mine, side.settings) for kind, at_least in kinds.items()]
    return True if True in verdicts else None if None in verdicts else False


def _kinds(part: str, value: float | str, measure: str, side: Side, settings: params.Dedup) -> dict[str, float]:
    """Return the kinds of evidence that a term takes, with the score that each needs."""
    if not isinstance(value, str):
        kind = params.evidence_of(f"{part}.{measure}" if measure else part, side.parts)
        return {kind: value} if kind else {}
    mine = (kind for kind in settings.similar if EVIDENCE[kind].modality == side.parts.get(part))
    return {kind: settings.thresholds.of(kind) for kind in mine}


def _reached(kind: str, at_least: float, scores: Mapping[str | None, float], decided: params.Dedup) -> bool | None:
    if kind in scores:
        return scores[kind] >= at_least - ROUNDING
    below = decided.thresholds.of(kind) if kind in decided.similar else None  # else it was never compared with one
    return False if below is not None and at_least >= below else None


def _apart(mine: params.Dedup, its: params.Dedup) -> tuple[params.Dedup, params.Dedup]:
    """Return one side's settings with the other's thresholds alone, and with the other's rules alone.

    A number in a rule is a threshold where both have the same rules but for numbers.
    """
    rules = {"rules": its.rules, "similar": its.similar}
    if _shape(mine) == _shape(its):
        return mine.model_copy(update={"thresholds": its.thresholds, "rules": its.rules}), mine.model_copy(
            update={"similar": its.similar}
        )
    return mine.model_copy(update={"thresholds": its.thresholds}), mine.model_copy(update=rules)


def _shape(settings: params.Dedup) -> list[list[tuple[str, str]]]:
    return [
        [(term, value if isinstance(value, str) else "") for term, value in rule.items()] for rule in settings.rules
    ]


def _contents(row: Row | None) -> set[tuple[str, bytes]]:
    return {(part["part"], part["content"]) for part in row["parts"]} if row else set()


def _one(found: set[str]) -> str:
    if not found:
        return "unknown"
    return next(iter(found)) if len(found) == 1 else "several"
