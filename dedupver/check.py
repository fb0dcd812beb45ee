"""Whether a version is what it says: the digests of its files, and the invariants of its decisions, from files alone."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dedupver import params, store
from dedupver.digests import of_list
from dedupver.index.segment import Index
from dedupver.manifest import FILES, open_manifest
from dedupver.published import published
from dedupver.query import evidence_of
from dedupver.schema import DECISION, RECORD, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from dedupver.manifest import Log

ROUNDING: Final = 1e-5
"""Evidence is written with six digits."""

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
    base: dict[str, Row]  # the records the base kept, by id

    @property
    def settings(self) -> params.Dedup:
        """Return the params that the version was resolved with."""
        return params.Dedup.model_validate(self.log.header["params"]["dedup"])


def check(root: Path) -> list[Finding]:
    """Check the version in `root`: files against digests, then the decisions. An empty list means that all holds."""
    damaged = list(_digests(root))
    if any(finding.subject == "manifest" for finding in damaged):
        return damaged
    version = _open(root, usable={finding.subject for finding in damaged})
    checks: list[Callable[[Version], Iterable[Finding]]] = [
        _lineage, _one_decision, _counts, _inputs, _representatives, _never_evicted, _whole, _no_twins, _published,
    ]  # fmt: skip
    if not any(finding.subject == "index" for finding in damaged):
        checks.append(_evidence)
    return [*damaged, *itertools.chain.from_iterable(each(version) for each in checks)]


def _digests(root: Path) -> Iterator[Finding]:
    """Check every sealed directory; the base has none before the second version."""
    for name in ("manifest", "index", "base/manifest", "base/index"):
        if name.startswith("base/") and not (root / name).exists():
            continue
        try:
            store.verified(root / name)
        except IntegrityError as error:
            yield Finding("digest", name, str(error), f"dvc checkout --force {name.partition('/')[0]}, or dvc repro")


def _open(root: Path, usable: set[str]) -> Version:
    log = open_manifest(root / "manifest")
    base: dict[str, Row] = {}
    if (root / "base" / "manifest").exists() and "base/manifest" not in usable and log.header.get("parent"):
        base = {row["id"]: row for row in open_manifest(root / "base" / "manifest").live().to_pylist() if row["action"] == "keep"}
    return Version(root, log, {row["id"]: row for row in log.live().to_pylist()}, base)


def _lineage(version: Version) -> Iterator[Finding]:
    """The index and the parent are those that the manifest was written for."""
    parent = version.log.header.get("parent") or {}
    stated = {"index": version.log.header["digests"].get("index"), "base/manifest": parent.get("manifest")}
    for name, digest in stated.items():
        listing = version.root / name / store.LISTING
        if digest and not listing.is_file():
            yield Finding("lineage", name, "the manifest names it, and it is missing", "dvc checkout, or dvc pull")
        elif digest and store.sha256_file(listing) != digest:
            yield Finding("lineage", name, f"not the one the manifest was written for ({digest[:12]}…)", "dvc checkout, or dvc repro")


def _one_decision(version: Version) -> Iterator[Finding]:
    """A version's files name a record once, in the file of its action."""
    fix = "dvc repro --force manifest"
    for name in version.log.versions:
        ids = Counter(version.log.of_version(name)["id"].to_pylist())
        yield from (Finding("one_decision", i, f"{name} decides on it more than once", fix) for i, n in ids.items() if n > 1)
        for action, outcome in FILES.items():
            path = version.log.path / f"{name}.{outcome}.parquet"
            rows = store.read_table(path, DECISION).select(["id", "action"]).to_pylist()
            wrong = (row["id"] for row in rows if row["action"] != action)
            yield from (Finding("one_decision", i, f"its action is not that of {path.name}", fix) for i in wrong)


def _counts(version: Version) -> Iterator[Finding]:
    """n_in = kept + dropped + quarantined, and the manifest's own counts say the same."""
    actions = Counter(row["action"] for row in version.live.values() if row["role"] == "data")
    found = {"kept": actions["keep"], "dropped": actions["drop"], "quarantined": actions["quarantine"]}
    found["n_in"] = sum(found.values())
    stated = version.log.header["counts"]
    for name, value in found.items():
        if name in stated and stated[name] != value:
            yield Finding("counts", name, f"the manifest says {stated[name]}, its tables hold {value}", "dvc repro --force manifest")
    for name in sorted(actions.keys() - set(FILES)):
        yield Finding("counts", name, "no known action", "dvc repro --force manifest")


def _inputs(version: Version) -> Iterator[Finding]:
    """Every record that was read has its decision, on the content that was read."""
    path = version.root / "build" / "fingerprint" / "records.parquet"
    if not path.is_file():
        return
    records = store.read_table(path, RECORD).select(["id", "parts"]).to_pylist()
    for record in records:
        row = version.live.get(record["id"])
        if row is None:
            yield Finding("inputs", record["id"], "was read, and has no decision", "dvc repro")
        elif contents(row) != contents(record):
            yield Finding("inputs", record["id"], "the decision is on other content than was read", "dvc repro")


def _representatives(version: Version) -> Iterator[Finding]:
    """A dropped record names a kept one that it matches at or above the threshold."""
    for name, row in version.live.items():
        if row["action"] != "drop":
            continue
        kept = version.live.get(row["representative"] or "")
        if kept is None or kept["action"] != "keep":
            yield Finding("representative", name, f"dropped for {row['representative']!r}, which is not kept", "dvc repro --force dedup manifest")
        elif row["threshold"] is not None and (row["score"] is None or row["score"] < row["threshold"] - 1e-6):
            yield Finding("threshold", name, f"score {row['score']} is below its threshold {row['threshold']}", "dvc repro --force dedup manifest")
        elif row["reason"] != "reviewed_same_as":
            yield from _equal_parts(name, row, kept)


def _equal_parts(name: str, row: Row, kept: Row) -> Iterator[Finding]:
    mine, theirs = dict(contents(row)), dict(contents(kept))
    terms = evidence_of(row["evidence"])
    exact = mine.keys() | theirs.keys() if row["reason"] == "exact_duplicate_of" else {p for p, kind, _ in terms if not kind}
    for part in sorted(exact):
        if mine.get(part) != theirs.get(part) or part not in mine:
            yield Finding("evidence", name, f"its {part} is not that of {kept['id']!r}", "dvc repro --force dedup manifest")
    if not terms:
        yield Finding("evidence", name, "dropped without evidence", "dvc repro --force dedup manifest")


def _evidence(version: Version) -> Iterator[Finding]:
    """Scores, computed again from the index's fingerprints, are those that the decisions state."""
    claims: dict[str, list[tuple[str, bytes, bytes, float]]] = {}
    for name, row in version.live.items():
        kept = version.live.get(row["representative"] or "") if row["action"] == "drop" else None
        for part, kind, score in evidence_of(row["evidence"]) if kept else []:
            if kind and kept:
                pair = [dict(contents(each)).get(part, bytes(32)) for each in (row, kept)]
                claims.setdefault(kind, []).append((name, *pair, score))
    index = Index.open(version.root / "index")
    for kind, rows in sorted(claims.items()):
        names, left, right, stated = zip(*rows, strict=True)
        found = index.score(kind, of_list(left), of_list(right))
        for at in np.flatnonzero(np.abs(found - np.array(stated)) > ROUNDING):
            yield Finding("evidence", names[at], f"{kind}: states {stated[at]:.6g}, the index says {found[at]:.6g}", "dvc repro --force dedup manifest")


def _never_evicted(version: Version) -> Iterator[Finding]:
    """What the base kept stays, unless it left, was edited, a person said so, or all history was judged again."""
    if version.settings.history == "rejudge":
        return
    for name, old in version.base.items():
        row = version.live.get(name)
        same = row is not None and contents(row) == contents(old)
        if row and same and row["action"] != "keep" and row["reason"] != "reviewed_same_as":
            yield Finding("evicted", name, f"kept in the base, now {row['action']}", "dvc repro --force dedup manifest")


def _whole(version: Version) -> Iterator[Finding]:
    """A record that was judged has its parts, each once."""
    for name, row in version.live.items():
        parts = [part["part"] for part in row["parts"]]
        if row["action"] in {"keep", "drop"} and (not parts or len(set(parts)) < len(parts)):
            yield Finding("parts", name, f"has the parts {parts}", "dvc repro --force fingerprint")


def _no_twins(version: Version) -> Iterator[Finding]:
    """No kept record has the whole content of another, unless both were published before or a person said so."""
    groups: dict[Contents, list[str]] = {}
    for name, row in version.live.items():
        if row["action"] == "keep":
            groups.setdefault(contents(row), []).append(name)
    different = _reviewed(version)
    for names in (sorted(names) for names in groups.values() if len(names) > 1):
        for name in (n for n in names if _judged(version, n)):
            twins = [other for other in names if other != name and frozenset((name, other)) not in different]
            if twins:
                yield Finding("twins", name, f"kept with the content of {twins[0]!r}", "dvc repro --force dedup manifest")


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


def _published(version: Version) -> Iterator[Finding]:
    """The clean dataset holds the kept records and no other."""
    kept = Counter((row["path"], row["row"] < 0) for row in version.live.values() if row["action"] == "keep" and row["role"] == "data")
    files = {path for path, whole in kept if whole}
    tables = {path: n for (path, whole), n in kept.items() if not whole}
    source = params.Source.model_validate(version.log.header["params"]["source"])
    for path, problem in published(version.root / "clean", source, files, tables):
        yield Finding("clean", path, problem, "dvc checkout --force clean, or dvc repro --force manifest")


def contents(row: Row) -> Contents:
    """Return the parts of a record with their normalised contents, ordered by part."""
    return tuple(sorted((part["part"], part["content"]) for part in row["parts"]))
