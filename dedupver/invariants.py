"""What always holds of a version's decisions, each as a check that names the records which break it."""

from __future__ import annotations

import csv
import functools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dedupver import params, store
from dedupver.digests import of_list
from dedupver.index.segment import Index
from dedupver.manifest import FILES
from dedupver.query import evidence_of
from dedupver.schema import DECISION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dedupver.manifest import Log

ROUNDING: Final = 1e-5
"""Evidence is written with six digits."""

RERUN: Final = "dvc repro"
REBUILD: Final = "dvc repro --force"
RESTORE: Final = "dvc checkout --force, or dvc repro"

Row = dict[str, Any]
Contents = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be."""

    check: str  # a stable word
    subject: str  # the record or file
    message: str
    fix: str


@dataclass(frozen=True)
class Version:
    """All that the checks read."""

    root: Path
    log: Log
    live: dict[str, Row]  # by id
    base: dict[str, Row]  # the records the base kept, by id; empty where `base/` is not this version's parent
    read: dict[str, Row]  # what the fingerprint stage read for this version, by id; empty where that is not here

    @functools.cached_property
    def settings(self) -> params.Dedup:
        """Return the params that the version was resolved with."""
        return params.Dedup.model_validate(self.log.header["params"]["dedup"])


def _one_decision(version: Version) -> Iterator[Finding]:
    """Check that a version's files name a record once, in the file of its action."""
    for name in version.log.versions:
        ids = Counter(version.log.of_version(name)["id"].to_pylist())
        yield from (
            Finding("one_decision", i, f"{name} decides on it more than once", REBUILD) for i, n in ids.items() if n > 1
        )
        for action, outcome in FILES.items():
            path = version.log.path / f"{name}.{outcome}.parquet"
            rows = store.read_table(path, DECISION).select(["id", "action"]).to_pylist()
            wrong = (row["id"] for row in rows if row["action"] != action)
            yield from (Finding("one_decision", i, f"its action is not that of {path.name}", REBUILD) for i in wrong)


def _counts(version: Version) -> Iterator[Finding]:
    """Check that n_in = kept + dropped + quarantined, and the manifest's own counts say the same."""
    actions = Counter(row["action"] for row in version.live.values() if row["role"] == "data")
    found = {"kept": actions["keep"], "dropped": actions["drop"], "quarantined": actions["quarantine"]}
    found["n_in"] = sum(found.values())
    stated = version.log.header["counts"]
    for name, value in found.items():
        if name in stated and stated[name] != value:
            yield Finding("counts", name, f"the manifest says {stated[name]}, its tables hold {value}", REBUILD)
    for name in sorted(actions.keys() - set(FILES)):
        yield Finding("counts", name, "no known action", REBUILD)


def _inputs(version: Version) -> Iterator[Finding]:
    """Check that every record that was read has its decision, on the content that was read; none is made up."""
    for name, record in version.read.items():
        row = version.live.get(name)
        if row is None:
            yield Finding("inputs", name, "was read, and has no decision", RERUN)
        elif contents(row) != contents(record):
            yield Finding("inputs", name, "the decision is on other content than was read", RERUN)
    if version.read and version.log.header["mode"] == "snapshot":
        for name in sorted(version.live.keys() - version.read.keys()):
            yield Finding("inputs", name, "has a decision, and was not read", RERUN)


def _representatives(version: Version) -> Iterator[Finding]:
    """Check that a dropped record names a kept one that it matches at or above the threshold."""
    for name, row in version.live.items():
        if row["action"] != "drop":
            continue
        kept = version.live.get(row["representative"] or "")
        if kept is None or kept["action"] != "keep":
            yield Finding("representative", name, f"dropped for {row['representative']!r}, which is not kept", REBUILD)
        elif row["threshold"] is not None and (row["score"] is None or row["score"] < row["threshold"] - 1e-6):
            yield Finding("threshold", name, f"score {row['score']} is below its threshold {row['threshold']}", REBUILD)
        elif row["reason"] != "reviewed_same_as":
            yield from _equal_parts(name, row, kept)


def _equal_parts(name: str, row: Row, kept: Row) -> Iterator[Finding]:
    mine, theirs = dict(contents(row)), dict(contents(kept))
    terms = evidence_of(row["evidence"])
    exact = (
        mine.keys() | theirs.keys()
        if row["reason"] == "exact_duplicate_of"
        else {p for p, kind, _ in terms if not kind}
    )
    for part in sorted(exact):
        if mine.get(part) != theirs.get(part) or part not in mine:
            yield Finding("evidence", name, f"its {part} is not that of {kept['id']!r}", REBUILD)
    if not terms:
        yield Finding("evidence", name, "dropped without evidence", REBUILD)


def evidence(version: Version) -> Iterator[Finding]:
    """Check that scores, computed again from the index's fingerprints, are those that the decisions state."""
    claims: dict[str, list[tuple[str, bytes, bytes, float]]] = {}
    for name, row in version.live.items():
        kept = version.live.get(row["representative"] or "") if row["action"] == "drop" else None
        for part, kind, score in evidence_of(row["evidence"]) if kept else []:
            if kind and kept:
                left, right = (dict(contents(each)).get(part, bytes(32)) for each in (row, kept))
                claims.setdefault(kind, []).append((name, left, right, score))
    index = Index.open(version.root / "index")
    for kind, rows in sorted(claims.items()):
        names, lefts, rights, stated = zip(*rows, strict=True)
        found = index.score(kind, of_list(lefts), of_list(rights))
        for at in np.flatnonzero(np.abs(found - np.array(stated)) > ROUNDING):
            yield Finding(
                "evidence", names[at], f"{kind}: states {stated[at]:.6g}, the index says {found[at]:.6g}", REBUILD
            )


def _never_evicted(version: Version) -> Iterator[Finding]:
    """Check that what the base kept stays, unless it left, was edited, or all history was judged again."""
    if version.settings.history == "rejudge":
        return
    for name, old in version.base.items():
        row = version.live.get(name)
        same = row is not None and contents(row) == contents(old)
        if row and same and row["action"] != "keep":
            yield Finding("evicted", name, f"kept in the base, now {row['action']}", REBUILD)


def _whole(version: Version) -> Iterator[Finding]:
    """Check that a record that was judged has its parts, each once."""
    for name, row in version.live.items():
        parts = [part["part"] for part in row["parts"]]
        if row["action"] in {"keep", "drop"} and (not parts or len(set(parts)) < len(parts)):
            yield Finding("parts", name, f"has the parts {parts}", REBUILD)


def _no_twins(version: Version) -> Iterator[Finding]:
    """Check that kept records differ in content, unless both were published before or a person said so."""
    groups: dict[Contents, list[str]] = {}
    for name, row in version.live.items():
        if row["action"] == "keep":
            groups.setdefault(contents(row), []).append(name)
    different = _reviewed(version)
    for names in (sorted(names) for names in groups.values() if len(names) > 1):
        for name in (n for n in names if _judged(version, n)):
            twins = [other for other in names if other != name and frozenset((name, other)) not in different]
            if twins:
                yield Finding("twins", name, f"kept with the content of {twins[0]!r}", REBUILD)


def _judged(version: Version, name: str) -> bool:
    """Return whether this version judged the record: no reference, and not carried over from a frozen base."""
    row, old = version.live[name], version.base.get(name)
    frozen = version.settings.history == "frozen" and old is not None and contents(old) == contents(row)
    return row["role"] == "data" and not frozen


def _reviewed(version: Version) -> set[frozenset[str]]:
    path = version.root / version.settings.reviews
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {frozenset((r["left"], r["right"])) for r in csv.DictReader(file) if r.get("label") == "different"}


def contents(row: Row) -> Contents:
    """Return the parts of a record with their normalised contents, ordered by part."""
    return tuple(sorted((part["part"], part["content"]) for part in row["parts"]))


INVARIANTS: Final[tuple[Callable[[Version], Iterable[Finding]], ...]] = (
    _one_decision,
    _counts,
    _inputs,
    _representatives,
    _never_evicted,
    _whole,
    _no_twins,
)
"""The checks that need no more than the decisions."""
