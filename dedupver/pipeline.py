"""One function for each stage: load → one pure step → save. Read this first.

    fingerprint   data/raw, base        → build/fingerprint
    match         build/fingerprint     → index, build/match
    dedup         matches, records      → build/dedup
    manifest      decisions, data/raw   → manifest, clean

Each stage is a function of files and params; `stages/*.py`, which dvc.yaml runs, call `main`.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import __version__, engine, history, manifest, match, params, publish, records, report, store
from dedupver.fingerprint import batch, merge
from dedupver.fingerprint.encoder import open_encoder
from dedupver.index.segment import Index, write_header
from dedupver.schema import (
    DECISION,
    HOT,
    MATCH,
    RECALL,
    RECORD,
    DedupverError,
    IntegrityError,
    ParamsError,
    SourceError,
    StateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

REPORTED: Final = pa.schema(
    [
        ("case", pa.string()),
        ("left", pa.string()),
        ("right", pa.string()),
        ("kind", pa.string()),
        ("score", pa.float64()),
    ]
)
"""Pairs of kept records that resemble each other in a way that drops neither."""


class Project:
    """The paths of a project and its params."""

    def __init__(self, root: Path) -> None:
        """Read params.yaml below `root`."""
        self.root = root
        self.params = params.load(root / "params.yaml")
        self.build, self.index = root / "build", root / "index"
        self.manifest, self.clean = root / "manifest", root / "clean"
        self.metrics, self.plots = root / "metrics", root / "plots"
        self.raw = root / self.params.source.path

    @property
    def base(self) -> Path | None:
        """The released version that this one is compared with; None for the first, or where params say so."""
        stated = self.root / "base" / "base.json"
        if not stated.exists():
            raise StateError(f"{stated} is missing: run `dvc checkout base`, or `dedupver init` in a new repository")
        if self.params.version.base == "none" or store.read_json(stated)["version"] is None:
            return None
        return stated.parent

    def base_index(self, wanted: dict[str, Any]) -> Index:
        """Open the base's index, checked and built with the `wanted` settings; an empty one where there is no base."""
        forget = self.params.version.base == "none"
        index = Index((), {}) if forget else Index.open(self.root / "base" / "index")
        index.require(wanted)
        return index

    def printed_with(self) -> dict[str, Any]:
        """Return the settings and the models that decide what a fingerprint is."""
        models = {
            name: open_encoder(spec).digest if spec else None
            for name, spec in (
                ("text", self.params.fingerprint.text.encoder),
                ("image", self.params.fingerprint.image.encoder),
            )
        }
        return {"fingerprint": self.params.fingerprint.model_dump(mode="json"), "models": models}

    def built_with(self) -> dict[str, Any]:
        """Return all the settings that must not change under an index."""
        settings = self.params.match.model_dump(mode="json", exclude={"recall_sample"})
        for name in ("ef", "neighbours"):  # these change no file of it
            del settings["hnsw"][name]
        return {**self.printed_with(), "match": settings}

    def base_live(self) -> pa.Table:
        """Return the base's live records (schema DECISION)."""
        return manifest.open_manifest(self.base / "manifest").live() if self.base else DECISION.empty_table()


def fingerprint(project: Project) -> dict[str, Any]:
    """Read the source and fingerprint the contents that the base does not know."""
    given = project.params
    if not project.raw.is_dir():
        raise SourceError(f"{project.raw} is no directory: run `dvc checkout`, or put the data there and `dvc add` it")
    if given.source.mode == "append" and given.version.base == "none" and (project.root / "base" / "raw").exists():
        raise ParamsError(
            "version.base: none reads all history from the source: set source.mode: snapshot and put all data there"
        )
    base = project.base_index(project.printed_with())
    known = tuple(segment.path / "contents.parquet" for segment in base.segments)
    with store.building(project.build / "fingerprint") as out:
        parts = out / "parts"
        tasks = records.plan(project.raw, given.source)
        chunks = [
            batch.Chunk(project.raw, t, given.source, given.fingerprint, known, parts / f"{i:06}")
            for i, t in enumerate(tasks)
        ]
        engine.map(batch.fingerprint, chunks, asked=given.engine.workers, label="fingerprint", name=_chunk_name)
        counts = merge.merge([store.verified(c.out) for c in chunks], out)
        shutil.rmtree(parts, ignore_errors=True)
        codes = report.quarantine_codes(store.read_table(out / "records.parquet", RECORD))
    report.write_plot(project.plots / "quarantine.csv", ("code", "records"), codes)
    return counts


def match_(project: Project) -> dict[str, Any]:
    """Find verified matches of what is new, and write the index: the base's segments and one more."""
    given = project.params
    base = project.base_index(project.built_with())
    prints = store.verified(project.build / "fingerprint")
    with store.building(project.index) as out, store.building(project.build / "match") as measured:
        for segment in base.segments:
            store.link_tree(segment.path, out / "segments" / segment.name, "copy")
        if any(segment.name == given.version.name for segment in base.segments):
            raise StateError(f"the base already holds {given.version.name}: name this version with `dedupver next`")
        counts, recall = match.write_segment(prints, base, given.match, out / "segments" / given.version.name)
        names = [*(s.name for s in base.segments), given.version.name]
        write_header(out, names, project.built_with())
        store.write_table(measured / "recall.parquet", recall, RECALL)
    matches = store.read_table(project.index / "segments" / given.version.name / "matches.parquet", MATCH)
    report.write_plot(
        project.plots / "similarity.csv", ("kind", "score", "matches"), report.similarity_histogram(matches)
    )
    return {**counts, "recall": report.recall(recall, given.match.floor)}


def dedup(project: Project) -> dict[str, Any]:
    """Turn matches into decisions under the thresholds and rules."""
    given = project.params
    index = Index.open(project.index)
    now = store.read_table(store.verified(project.build / "fingerprint") / "records.parquet", RECORD)
    measured = store.read_table(store.verified(project.build / "match") / "recall.parquet", RECALL)
    present = history.assemble(now, project.base_live(), given.source.mode)
    matches = pa.concat_tables([MATCH.empty_table(), *(s.matches() for s in index.segments)])
    hot = pa.concat_tables([HOT.empty_table(), *(s.hot() for s in index.segments)])
    decisions, verdicts = history.decide(present, matches, hot, _reviews(project), index.score, given)
    events = history.events(decisions, present, given.version)
    with store.building(project.build / "dedup") as out:
        store.write_table(out / "decisions.parquet", decisions, DECISION)
        store.write_table(out / "events.parquet", events, DECISION)
        reported = pa.Table.from_pylist(verdicts.reported, schema=REPORTED).sort_by(
            [(n, "ascending") for n in REPORTED.names]
        )
        store.write_table(out / "reported.parquet", reported, REPORTED)
    report.write_plot(project.plots / "reasons.csv", ("reason", "method", "records"), report.reasons(decisions))
    report.write_plot(project.plots / "clusters.csv", ("size", "clusters"), report.cluster_sizes(decisions))
    cases = {r["values"]: r["counts"] for r in reported["case"].value_counts().to_pylist()}
    return {
        **manifest.counts(decisions),
        "across_versions": report.across_versions(decisions),
        "hot_unverified": verdicts.unverified,
        "reported": {name: cases.get(name, 0) for name in ("same_image_other_caption", "similar_text")},
        "recall": report.recall(measured, given.dedup.thresholds),
    }


def manifest_(project: Project) -> dict[str, Any]:
    """Write the version: the log of decisions, the header, and the clean data."""
    given = project.params
    decided = store.verified(project.build / "dedup")
    decisions = store.read_table(decided / "decisions.parquet", DECISION)
    events = store.read_table(decided / "events.parquet", DECISION)
    _require_sound(decisions)
    _remove(project.clean)
    project.clean.mkdir()
    written = _publish(project, decisions)
    base = project.base / "manifest" if project.base else None
    with store.building(project.manifest) as out:
        manifest.write(out, base, given.version.name, events, _header(project, decisions))
    report.write_plot(project.plots / "versions.csv", ("version", "action", "records"), report.by_version(decisions))
    changed = {r["values"]: r["counts"] for r in events["action"].value_counts().to_pylist()}
    return {"written": written, "changed": {name: changed.get(action, 0) for action, name in manifest.FILES.items()}}


STEPS: Final[dict[str, Callable[[Project], dict[str, Any]]]] = {
    "fingerprint": fingerprint,
    "match": match_,
    "dedup": dedup,
    "manifest": manifest_,
}
STAGES: Final = tuple(STEPS)


def run(stage: str, root: Path) -> None:
    """Run one stage in the project at `root` and write its metrics; its time goes to build/timings."""
    project = Project(root)
    started = time.monotonic()
    with _alone(root):
        store.write_json(project.metrics / f"{stage}.json", STEPS[stage](project))
    spent = round(time.monotonic() - started, 3)
    store.write_json(root / "build" / "timings" / f"{stage}.json", {"seconds": spent})


def main(stage: str, release: str) -> None:
    """Run a stage from its script, in the current directory; end with the error's exit code.

    The script names the release it was written for: another release may compute other bytes, and DVC sees the script.
    """
    try:
        if release != __version__:
            raise StateError(
                f"stages/{stage}.py is of dedupver {release}, installed is {__version__}: run `dedupver init --upgrade`"
            )
        run(stage, Path.cwd())
    except DedupverError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


def _publish(project: Project, decisions: pa.Table) -> int:
    given = project.params
    kept = decisions.filter(pc.and_(pc.equal(decisions["action"], "keep"), pc.equal(decisions["role"], "data")))
    if given.source.mode == "snapshot":
        return publish.publish(project.raw, project.clean, kept, given.source, given.manifest.link)
    base = project.base_live()
    written = 0
    for version in pc.unique(kept["version"]).to_pylist():  # each batch apart: their files may share names
        mine = kept.filter(pc.equal(kept["version"], version))
        raw = project.raw
        if version != given.version.name:
            raw = project.root / "base" / "raw" / version
            mine = base.filter(pc.is_in(base["id"], mine["id"].combine_chunks()))
        target = project.clean / version
        target.mkdir()
        written += publish.publish(raw, target, mine, given.source, given.manifest.link)
    return written


def _header(project: Project, decisions: pa.Table) -> dict[str, Any]:
    given = project.params
    parent = None
    if project.base:
        listing = project.base / "manifest" / store.LISTING
        parent = {
            "version": store.read_json(project.base / "base.json")["version"],
            "manifest": store.sha256_file(listing),
        }
    return {
        "time": given.version.time,
        "parent": parent,
        "mode": given.source.mode,
        "counts": manifest.counts(decisions),
        "digests": {
            "index": store.sha256_file(project.index / store.LISTING),
            "source": store.sha256_file(project.build / "fingerprint" / "records.parquet"),
        },
        "params": given.model_dump(mode="json", exclude={"engine"}),
        "tools": {"dedupver": __version__, "pyarrow": pa.__version__},
    }


def _require_sound(decisions: pa.Table) -> None:
    """Refuse to publish what breaks the first two invariants."""
    counted = manifest.counts(decisions)
    if counted["n_in"] != counted["kept"] + counted["dropped"] + counted["quarantined"]:
        raise IntegrityError(f"records without a decision: {counted}. This is a fault of dedupver; nothing was written")
    kept = decisions.filter(pc.equal(decisions["action"], "keep"))["id"].combine_chunks()
    dropped = decisions.filter(pc.equal(decisions["action"], "drop"))
    lost = dropped.filter(pc.invert(pc.is_in(dropped["representative"], kept)))
    if lost.num_rows:
        raise IntegrityError(
            f"{lost['id'][0].as_py()!r} was dropped for a record that is not kept. Nothing was written"
        )


def _reviews(project: Project) -> list[tuple[str, str, str]]:
    """Read what people said of pairs.

    Raises SourceError that names the line of a label which is neither `same` nor `different`.
    """
    path = project.root / project.params.dedup.reviews
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, start=2):
        if row.get("label") not in {"same", "different"} or not row.get("left") or not row.get("right"):
            raise SourceError(f"{path} line {number}: needs left, right and a label `same` or `different`, has {row}")
    return [(row["left"], row["right"], row["label"]) for row in rows]


class _alone:  # noqa: N801 - reads as a statement: with _alone(root)
    """Refuse a second run in the same project."""

    def __init__(self, root: Path) -> None:
        self.path = root / "build" / ".running"

    def __enter__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            owner = self.path.read_text(encoding="ascii").strip() or "0"
            if owner != "0" and Path(f"/proc/{owner}").exists() and int(owner) != os.getpid():
                raise StateError(f"another run works here (process {owner}): wait for it to end") from None
            self.path.unlink()  # its process was killed
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(handle, str(os.getpid()).encode())
        os.close(handle)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def _chunk_name(chunk: batch.Chunk) -> str:
    paths = chunk.task.paths
    return f"{paths[0]} and {len(paths) - 1} more files" if len(paths) > 1 else paths[0]


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
