"""Whether a version is what it says: digests, lineage, decisions and the clean dataset, from files alone."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

from dedupver import params, store
from dedupver.invariants import INVARIANTS, RESTORE, Finding, Row, Version, evidence
from dedupver.manifest import open_manifest
from dedupver.published import published
from dedupver.records.paths import BOM
from dedupver.schema import RECORD, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from dedupver.manifest import Log

READ: Final = (
    *("id", "path", "row", "role", "parts", "version"),
    *("action", "reason", "representative", "score", "threshold", "evidence"),
)
"""The columns that the checks need."""

RECORDS: Final = "build/fingerprint/records.parquet"


def check(root: Path) -> list[Finding]:
    """Check the version in `root`: files against digests, then the decisions. An empty list means that all holds."""
    damaged = list(_digests(root))
    if any(finding.subject == "manifest" for finding in damaged):
        return damaged
    version = _open(root, {finding.subject for finding in damaged})
    checks = [_lineage, *INVARIANTS, _published]
    if "index" not in {finding.subject for finding in damaged}:
        checks.append(evidence)
    return [*damaged, *itertools.chain.from_iterable(each(version) for each in checks)]


def _digests(root: Path) -> Iterator[Finding]:
    """Check every sealed directory; the base has none before the second version."""
    for name in ("manifest", "index", "base/manifest", "base/index"):
        if name.startswith("base/") and not (root / name).exists():
            continue
        try:
            store.verified(root / name)
        except IntegrityError as error:
            yield Finding("digest", name, str(error), RESTORE)


def _open(root: Path, damaged: set[str]) -> Version:
    log = open_manifest(root / "manifest")
    base: dict[str, Row] = {}
    if _base_is_parent(root, log) and "base/manifest" not in damaged:
        base = _by_id(open_manifest(root / "base" / "manifest").live())
    records = root / RECORDS
    same = records.is_file() and store.sha256_file(records) == log.header["digests"]["source"]
    read = _by_id(store.read_table(records, RECORD)) if same else {}
    return Version(root, log, _by_id(log.live()), {i: row for i, row in base.items() if row["action"] == "keep"}, read)


def _by_id(table: pa.Table) -> dict[str, Row]:
    rows: list[Row] = table.select([name for name in READ if name in table.schema.names]).to_pylist()
    return {row["id"]: row for row in rows}


def _base_is_parent(root: Path, log: Log) -> bool:
    parent = log.header["parent"]
    return bool(parent) and _base_version(root) == parent["version"]


def _base_version(root: Path) -> str | None:
    stated = root / "base" / "base.json"
    name: str | None = store.read_json(stated)["version"] if stated.is_file() else None
    return name


def _lineage(version: Version) -> Iterator[Finding]:
    """Check that the index, the parent and the records read are those that the manifest was written for."""
    root, header = version.root, version.log.header
    stated = {"index/files.json": header["digests"]["index"]}
    if (root / RECORDS).is_file():
        stated[RECORDS] = header["digests"]["source"]
    if _base_is_parent(root, version.log):
        stated["base/manifest/files.json"] = header["parent"]["manifest"]
    elif header["parent"] and _base_version(root) != header["version"]:  # else: `next` has moved the base already
        yield Finding("lineage", "base", f"is not {header['parent']['version']}, the parent", RESTORE)
    for name, digest in stated.items():
        if not (root / name).is_file() or store.sha256_file(root / name) != digest:
            yield Finding("lineage", name, f"is not what the manifest was written for ({digest[:12]}…)", RESTORE)


def _published(version: Version) -> Iterator[Finding]:
    """Check the clean dataset: the kept records and no other, in mode append one folder for each version's batch."""
    clean = version.root / "clean"
    append = version.log.header["mode"] == "append"
    places: dict[str, Counter[tuple[str, bool]]] = {"": Counter()}
    if append:
        places = {path.name: Counter() for path in sorted(clean.glob("*"))}
    for row in version.live.values():
        if row["action"] == "keep" and row["role"] == "data":
            place = _place(version, row)
            places.setdefault(row["version"] if append else "", Counter())[place["path"], place["row"] < 0] += 1
            yield from _altered(clean / (row["version"] if append else ""), place, row)
    source = params.Source.model_validate(version.log.header["params"]["source"])
    for folder, kept in places.items():
        files = {path for path, whole in kept if whole}
        tables = {path: n for (path, whole), n in kept.items() if not whole}
        for path, problem in published(clean / folder, source, files, tables):
            subject = f"{folder}/{path}" if folder else path
            yield Finding("clean", subject, problem, RESTORE)


def _altered(folder: Path, place: Row, row: Row) -> Iterator[Finding]:
    """Compare a whole file with what was judged: its first part is the file's own, a caption lies beside it."""
    path = folder / place["path"]
    if place["row"] < 0 and path.is_file():
        judged = next((p["sha256"] for p in row["parts"] if p["part"] != "caption"), None)
        found = hashlib.sha256(path.read_bytes().removeprefix(BOM)).digest()
        if found != judged:
            yield Finding("clean", row["id"], "its bytes are not those that were judged", RESTORE)


def _place(version: Version, row: Row) -> Row:
    """Return the row that says where a record lies now: the log does not repeat one that merely moved."""
    here = version.log.header["mode"] == "snapshot" or row["version"] == version.log.header["version"]
    return version.read.get(row["id"], row) if here else row
