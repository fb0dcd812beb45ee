"""Whether a version is what it says: digests, lineage, decisions and the clean dataset, from files alone."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import leakage, params, store
from dedupver.divided import divided
from dedupver.history.unread import apart
from dedupver.index.segment import Index
from dedupver.invariants import INVARIANTS, REBUILD, RESTORE, Finding, Version, equal, evidence
from dedupver.manifest import ANEW, EMPTY, LEAKS, audit, job_of, open_manifest, told
from dedupver.project import UNREAD, brought
from dedupver.published import difference, published
from dedupver.records.samples import Folders
from dedupver.schema import RECORD, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver.manifest import Log

READ: Final = (
    *("id", "path", "row", "role", "parts", "version"),
    *("action", "reason", "representative", "score", "threshold", "evidence"),
)
"""The columns that the checks need."""

WHERE: Final = ("id", "path", "row", "parts")

PRINTS: Final = "build/fingerprint"
"""What was read for a version; not there where the version was built elsewhere."""


def check(root: Path) -> list[Finding]:
    """Check the version in `root`: files against digests, then the decisions. An empty list means that all holds."""
    damaged = list(_digests(root))
    if any(finding.subject == "manifest" for finding in damaged):
        return damaged
    version = _open(root, {finding.subject for finding in damaged})
    checks = [_lineage, _append_only, _trail, *INVARIANTS, _published]
    if "index" not in {finding.subject for finding in damaged}:
        checks += [evidence, _leaks]
    if not {"index", "splits", "base/splits"} & {finding.subject for finding in damaged}:
        checks.append(divided)
    return [*damaged, *itertools.chain.from_iterable(each(version) for each in checks)]


def _digests(root: Path) -> Iterator[Finding]:
    """Check every sealed directory; the base has none before the second version, an old project no splits."""
    for name in ("manifest", "index", "splits", "base/manifest", "base/index", "base/splits"):
        if name.startswith(("base/", "splits")) and not (root / name).exists():
            continue
        try:
            store.verified(root / name)
        except IntegrityError as error:
            yield Finding("digest", name, str(error), RESTORE)
    if (root / PRINTS).exists():
        try:
            store.Sealed(root / PRINTS).check(("records.parquet", UNREAD))
        except IntegrityError as error:
            yield Finding("digest", PRINTS, str(error), RESTORE)


def _open(root: Path, damaged: set[str]) -> Version:
    log, base = open_manifest(root / "manifest"), EMPTY
    if _base_is_parent(root, log) and "base/manifest" not in damaged:
        base = open_manifest(root / "base" / "manifest")
    live = base.live(READ)
    read = RECORD.empty_table() if PRINTS in damaged else _read(root, log, base)
    kept = live.filter(pc.equal(live["action"], "keep"))
    return Version(root, log, log.live(READ), kept, read.select(WHERE), base.reviews())


def _read(root: Path, log: Log, base: Log) -> pa.Table:
    """Return what was read for the version, and what of its base did not have to be; empty where that is not here."""
    listing = root / PRINTS / store.LISTING
    if not listing.is_file() or store.sha256_file(listing) != log.header["digests"]["source"]:
        return RECORD.empty_table()
    given = params.Params.model_validate(log.header["params"])
    read, rows = brought(root / PRINTS, given.version.name)
    if not rows:
        return read
    if base is EMPTY:
        return RECORD.empty_table()
    read, rests = apart(read, rows, base, given)
    return pa.concat_tables([read.select(WHERE), base.state(WHERE, np.flatnonzero(rests))])


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
    if (root / PRINTS / store.LISTING).is_file():
        stated[f"{PRINTS}/{store.LISTING}"] = header["digests"]["source"]
    if _base_is_parent(root, version.log):
        stated["base/manifest/files.json"] = header["parent"]["manifest"]
    elif header["parent"] and _base_version(root) != header["version"]:  # else: `next` has moved the base already
        yield Finding("lineage", "base", f"is not {header['parent']['version']}, the parent", RESTORE)
    for name, digest in stated.items():
        if not (root / name).is_file() or store.sha256_file(root / name) != digest:
            yield Finding("lineage", name, f"is not what the manifest was written for ({digest[:12]}…)", RESTORE)


def _append_only(version: Version) -> Iterator[Finding]:
    """Check that what earlier versions wrote is, byte for byte, what the base has of them."""
    if not _base_is_parent(version.root, version.log) or version.log.sealed is None:
        return
    listing = version.root / "base" / "manifest" / store.LISTING
    before = store.read_json(listing)["sha256"] if listing.is_file() else {}
    for name in sorted(before.keys() - ANEW):
        if before[name] != version.log.sealed.sha256.get(name):
            yield Finding("append_only", f"manifest/{name}", "is not what the version before wrote", RESTORE)


def _trail(version: Version) -> Iterator[Finding]:
    """Check that the audit trail tells what the tables tell, and the names of the runs."""
    header, sealed = version.log.header, version.log.sealed
    jobs = header.get("jobs", {})  # earlier releases named none
    if jobs.get(header["version"], job_of(header)) != job_of(header):
        yield Finding("audit", "manifest.json", "its job is not that of its inputs", REBUILD)
    for volume in version.log.volumes:
        digest = hashlib.sha256()
        for line in audit(told(volume), jobs.get(volume.version)):
            digest.update(line.encode())
        name = f"{volume.version}.audit.jsonl"
        if sealed is not None and sealed.sha256.get(name) != digest.hexdigest():
            yield Finding("audit", f"manifest/{name}", "is not what the tables of the version tell", RESTORE)


def _leaks(version: Version) -> Iterator[Finding]:
    """Check that the leak certificate says what is found again, and that what remains was published before."""
    name = f"{version.log.header['version']}.{LEAKS}"
    if name not in (version.log.sealed.sha256 if version.log.sealed else ()):
        return
    given = params.Params.model_validate(version.log.header["params"])
    stated = leakage.certificate(version.log)
    found, left = leakage.certify(version.log, Index.open(version.root / "index"), version.log.reviews(), given)
    for key in leakage.difference(stated, found):
        yield Finding("leaks", name, f"what it says of {key!r} is not what the decisions and the index say", REBUILD)
    if given.dedup.leakage.action == "remove" and (version.base.num_rows or not version.log.header["parent"]):
        held = version.base["id"] if given.dedup.history == "frozen" else version.base["id"].slice(0, 0)
        for row in left.filter(pc.invert(pc.is_in(left["id"], pc.unique(held)))).to_pylist():
            yield Finding("leak", row["id"], f"kept, and leaks from {row['from']!r} ({row['protected']})", REBUILD)


def _published(version: Version) -> Iterator[Finding]:
    """Check the clean dataset: the kept records and no other, in mode append one folder for each version's batch."""
    clean = version.root / "clean"
    kept = _placed(version, version.live.filter(pa.array(version.kept & equal(version.live, "role", "data"))))
    whole = pc.less(kept["row"], 0)
    source = params.Source.model_validate(version.log.header["params"]["source"])
    yield from _altered(clean, kept.filter(whole), source)
    for folder in (
        sorted({path.name for path in clean.glob("*")} | _names(kept["folder"])) if _appended(version) else [""]
    ):
        mine = pc.equal(kept["folder"], folder)
        files = _names(kept.filter(pc.and_(mine, whole))["path"])
        tables = _by_path(kept.filter(pc.and_(mine, pc.invert(whole))))
        for path, problem in published(clean / folder, source, files, tables):
            yield Finding("clean", f"{folder}/{path}" if folder else path, problem, RESTORE)


def _altered(clean: Path, files: pa.Table, source: params.Source) -> Iterator[Finding]:
    """Compare the parts of each sample of files with what was judged."""
    folders = {name: Folders((clean / name).resolve(), source) for name in _names(files["folder"])}
    for row in files.select(["id", "folder", "path", "parts"]).to_pylist():
        there = folders[row["folder"]]
        if (there.root / row["path"]).is_file():  # else it is missing, which is said elsewhere
            problem = difference(there, row["path"], {part["part"]: part["sha256"] for part in row["parts"]})
            if problem:
                yield Finding("clean", row["id"], problem, RESTORE)


def _placed(version: Version, kept: pa.Table) -> pa.Table:
    """Say of records in which folder they lie."""
    return kept.append_column("folder", pc.if_else(_appended(version), kept["version"], ""))


def _by_path(rows: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the parts of the rows of each path."""
    rows = rows.select(["path", "parts"]).sort_by("path")
    counts = rows["path"].value_counts().to_pylist()  # in the order in which they are met
    edges = itertools.accumulate((each["counts"] for each in counts), initial=0)
    return {
        each["values"]: rows["parts"].slice(begin, each["counts"]) for each, begin in zip(counts, edges, strict=False)
    }


def _appended(version: Version) -> bool:
    return bool(version.log.header["mode"] == "append")


def _names(column: pa.ChunkedArray) -> set[str]:
    return set(pc.unique(column).to_pylist())
