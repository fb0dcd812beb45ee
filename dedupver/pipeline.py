"""One function for each stage: load → one pure step → save. Read this first.

    fingerprint   data/raw, base        → build/fingerprint
    match         build/fingerprint     → index, build/match
    validate      records, data/raw     → build/validate
    dedup         matches, records      → build/dedup
    gates         decisions             → passes, or an error
    manifest      decisions, data/raw   → manifest, clean
    split         manifest, index       → splits
    card          manifest, clean       → DATASET.md, croissant.json

Each stage is a function of files and params; `stages/*.py`, which dvc.yaml runs, call `main`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import __version__, leakage, manifest, report, reviews, store
from dedupver.index.segment import Index, write_header
from dedupver.project import LOCK, UNREAD, Project, running
from dedupver.resolve import joint, met, spans, words
from dedupver.resolve.shared import shared
from dedupver.schema import (
    CAPTIONED,
    DECISION,
    FAILURE,
    FORMAT,
    LEAK,
    MATCH,
    MOVED,
    RECALL,
    REPEATED,
    REPORTED,
    REVIEW,
    SHARED,
    DedupverError,
    GateError,
    IntegrityError,
    StateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver import params
    from dedupver.gates import Judged

# ruff: noqa: PLC0415 - a stage imports what it runs itself: a process runs one stage, and starts in half the time


def fingerprint(project: Project) -> dict[str, Any]:
    """Read what is new in the source, and fingerprint the contents that the base does not know."""
    from dedupver import chunks, engine
    from dedupver.fingerprint import batch, merge
    from dedupver.reading import Reading

    given = project.params
    base = project.base_index(project.printed_with())
    reading = Reading.of(project.batches(), given.source, project.read_before())
    with store.building(project.build / "fingerprint") as out, reading.written(out) as write:
        plan = chunks.planned(project, base, reading, out / "parts")
        work = [chunk for each in plan.values() for chunk in each]
        batch.require(work)
        sizes = chunks.sizes(work)
        engine.map(
            batch.fingerprint,
            work,
            asked=given.engine.workers or (1 if sum(sizes) < SMALL else 0),
            label="fingerprint",
            name=chunks.name,
            sizes=sizes,
            counting="records",
        )
        counts = merge.merge({version: [chunk.out for chunk in each] for version, each in plan.items()}, out)
        store.write_json(out / UNREAD, reading.unread())
        write([chunk.task for chunk in work if not chunk.beside and (chunk.out / batch.OUTSIDE).exists()])
        shutil.rmtree(out / "parts", ignore_errors=True)
    return counts | {"unchanged_pieces": sum(map(len, reading.unchanged.values()))}


def match_(project: Project) -> dict[str, Any]:
    """Find verified matches of what is new, and write the index: the base's segments and one more."""
    from dedupver import match

    given = project.params
    built_with = project.built_with()
    base = project.base_index(built_with)
    prints = store.Sealed(project.build / "fingerprint")
    prints.check(name for name in prints.sha256 if name != "records.parquet")
    stated = {f"segments/{given.version.name}/{name}": digest for name, digest in prints.sha256.items()}
    with store.building(project.index, stated) as out, store.building(project.build / "match") as measured:
        stated |= base.share(out, base.segments)
        if any(given.version.name in {s.name, *base.versions(s)} for s in base.segments):
            raise StateError(f"the base already holds {given.version.name}: name this version with `dedupver next`")
        place = out / "segments" / given.version.name
        counts, recall = match.write_segment(prints.path, base, given.match, place, built_with)
        names = [*(s.name for s in base.segments), given.version.name]
        write_header(out, names, built_with, base.merged)
        store.write_table(measured / "recall.parquet", recall, RECALL)
    matches = store.read_table(project.index / "segments" / given.version.name / "matches.parquet", MATCH)
    report.write_plot(
        project.plots / "similarity.csv", ("kind", "score", "matches"), report.similarity_histogram(matches)
    )
    return {**counts, "recall": report.recall(recall, given.match.floor)}


def validate(project: Project) -> dict[str, Any]:
    """Judge the records by the rules of `validate`: who fails one, and how many."""
    from dedupver import validation

    failed, counts = validated(project) if project.params.validation.rules else validation.nothing()
    validation.require(failed)
    with store.building(project.build / "validate") as out:
        store.write_table(out / "failed.parquet", failed, FAILURE)
        store.write_json(out / "counts.json", counts)
    report.write_plot(project.plots / "validate.csv", ("rule", "code", "records"), validation.rows(counts))
    return validation.metrics(counts, failed)


def dedup(project: Project) -> dict[str, Any]:
    """Turn matches into decisions under the thresholds and rules."""
    given = project.params
    index, base = Index.open(project.index), project.base_log()
    measured = store.read_table(store.Sealed(project.build / "match").file("recall.parquet"), RECALL)
    with store.building(project.build / "dedup") as out:
        reported, unverified = _decide(project, base, index, out)
        log = base.then(given.version.name, lambda name: out / f"{name}.parquet")
        captioned, across = _across(log, given, index)
        reported = pa.concat_tables([reported, across]).sort_by([(name, "ascending") for name in REPORTED.names])
        store.write_table(out / "reported.parquet", reported, REPORTED)
        store.write_table(out / "captions.parquet", captioned, CAPTIONED)
        common, repeated = _in_common(log, given.source, index)
        live = log.state(TOLD)
        leaked, remaining = leakage.certify(log, index, said(project), given)
        leaked |= {"recall": leakage.measured(measured, given)}
        store.write_json(out / manifest.LEAKS, leaked)
        store.write_table(out / "leaks.parquet", remaining, LEAK)
        store.write_table(out / "shared.parquet", report.most_shared(common), SHARED)
        store.write_table(out / "repeated.parquet", repeated, REPEATED)
    report.write_plot(project.plots / "reasons.csv", ("reason", "method", "records"), report.reasons(live))
    report.write_plot(project.plots / "quarantine.csv", ("code", "records"), report.quarantine_codes(live))
    report.write_plot(project.plots / "clusters.csv", ("size", "clusters"), report.cluster_sizes(live))
    report.write_plot(project.plots / "shared.csv", ("what", "records", "contents"), report.shared_sizes(common))
    counted = {r["values"]: r["counts"] for r in reported["case"].value_counts().to_pylist()}
    cases = [*words.cases(given.source.parts, given.dedup), words.CONFLICT]
    cases += joint.cases(given.source.parts, joint.spaces(given.fingerprint.joint))
    return {
        **manifest.counts(live),
        "across_versions": report.across_versions(live),
        "hot_unverified": unverified,
        "leaks": leakage.counts(leaked),
        "caption_fit": report.spread(captioned["score"]),
        "reported": {name: counted.get(name, 0) for name in cases},
        "shared": report.shared(common),
        "repeated": spans.counted(repeated),
        "recall": report.recall(measured, given.dedup.thresholds),
    }


def gates_(project: Project) -> dict[str, Any]:
    """Judge what was decided; raise GateError, with the metrics written, where the version must not be.

    A stage of its own, as DVC takes away what a stage writes before it runs it: the old version would be gone.
    """
    from dedupver import gates

    found = judged(project)
    store.write_json(project.metrics / "gates.json", gates.metrics(found))
    gates.require(found)
    return gates.metrics(found)


def judged(project: Project) -> Judged:
    """Return every gate of the version whose decisions are in build/dedup."""
    from dedupver import gates

    if not (project.build / "dedup").is_dir():
        raise StateError("nothing is decided here yet: run `dvc repro dedup`")
    recall = store.read_table(store.Sealed(project.build / "match").file("recall.parquet"), RECALL)
    return gates.judge(project.decided(), project.base_log(), recall, project.params)


def manifest_(project: Project) -> dict[str, Any]:
    """Write the version: the log of decisions, the header, and the clean data."""
    _require_passed(project)
    prints, decided = (store.Sealed(project.build / name) for name in ("fingerprint", "dedup"))
    live = project.decided().state(PLACED)
    _require_sound(live)
    _remove(project.clean)
    project.clean.mkdir()
    written = _publish(project, live)
    stated: dict[str, str] = {}
    with store.building(project.manifest, stated) as out:
        _tell_validation(project, live, out)
        stated |= manifest.write(out, project.base_log(), prints, decided, _header(project, live))
    report.write_plot(project.plots / "versions.csv", ("version", "action", "records"), report.by_version(live))
    changed = {name: store.rows_of(decided.file(f"{name}.parquet")) for name in manifest.FILES.values()}
    return {"written": written, "changed": changed}


def split_(project: Project) -> dict[str, Any]:
    """Give each kept record a split that it keeps; nothing that is alike lies in two."""
    from dedupver import split

    given = project.params
    log, stated = manifest.open_manifest(project.manifest), dict[str, str]()
    before = project.root / "base" / "splits"
    earlier = split.Earlier.open(before) if given.split.history == "stable" else split.NOTHING
    if given.version.name in earlier.versions:
        raise StateError(
            f"the base's splits are {given.version.name}'s already: name this version with `dedupver next`"
        )
    divided = split.of(log, partial(Index.open, project.index), said(project), earlier, given)
    found = split.told(divided.kept, divided.exceptions, given.split.ratios)
    split.judge(found, given.split.gates)
    with store.building(project.splits, stated) as out:
        header = {
            "manifest": store.sha256_file(project.manifest / store.LISTING),
            "params": given.split.model_dump(mode="json"),
            "told": found,
        }
        stated |= split.write(out, given.version.name, earlier, divided, header)
    report.write_plot(project.plots / "splits.csv", ("stratum", "split", "records"), split.bars(found))
    return split.scalars(found, divided)


def card(project: Project) -> dict[str, Any]:
    """Write what the version says of itself: a page for people, Croissant for programs."""
    from dedupver import card as cards

    facts = cards.write(project, manifest.open_manifest(project.manifest))
    return {"bytes": facts.totals["bytes"], "files": sum(form.files for form in facts.forms)}


SMALL: Final = 32 << 20
"""Bytes of a source that are fingerprinted by one process: its start takes as long as this many of text."""

TOLD: Final = ("id", "role", "version", "action", "reason", "method", "representative")
"""The columns of decisions that the metrics and plots of dedup need."""

PLACED: Final = ("id", "path", "row", "role", "version", "action", "representative")
"""The columns of decisions that publishing them needs."""

STEPS: Final[dict[str, Callable[[Project], dict[str, Any]]]] = {
    "fingerprint": fingerprint,
    "match": match_,
    "validate": validate,
    "dedup": dedup,
    "gates": gates_,
    "manifest": manifest_,
    "split": split_,
    "card": card,
}
STAGES: Final = tuple(STEPS)
DECIDING: Final = STAGES[: STAGES.index("dedup") + 1]
"""What runs until every record has a decision; nothing of the version is written by then."""


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


def validated(project: Project) -> tuple[pa.Table, dict[str, Any]]:
    """Return who fails the rules of params (schema FAILURE), and how many were asked."""
    from dedupver import validation
    from dedupver.history.present import assemble, everyone

    given = project.params
    present = assemble(*project.read(), project.base_log(), given)
    records = everyone(present, [*validation.needed(given), "version"])
    if given.source.mode == "snapshot":
        records = records.set_column(
            records.column_names.index("version"), "version", pa.repeat(given.version.name, records.num_rows)
        )
    roots = {version: project.batch(version) for version in pc.unique(records["version"]).to_pylist()}
    found = validation.validate(records.rename_columns({"version": "batch"}), roots, project.catalogues, given)
    return found.failed, found.counts


def _decide(project: Project, base: manifest.Log, index: Index, out: Path) -> tuple[pa.Table, int]:
    """Write below `out` what is decided; return what is reported (REPORTED), and how many pairs were not verified.

    Whatever was read for that is let go.
    """
    from dedupver import history

    given = project.params
    present = history.quarantine(history.assemble(*project.read(), base, given), project.invalid())
    heard = said(project)
    columns = zip(*heard, strict=True) if heard else ((), (), ())
    store.write_table(out / manifest.REVIEWS, pa.table(list(columns), schema=REVIEW), REVIEW)
    decided = history.decide(present, index, history.Said(heard, base.reviews()), given)
    with contextlib.ExitStack() as files:
        write = {action: _opened(files, out, name, DECISION) for action, name in manifest.FILES.items()}
        write[manifest.PLACES] = _opened(files, out, manifest.PLACES, MOVED)
        for action, rows in history.written(decided, present, given.version):
            write[action](rows)
    return decided.reported, decided.unverified


def said(project: Project) -> list[tuple[str, str, str]]:
    """Return what people said of pairs: two ids, and `same` or `different`."""
    path = project.root / project.params.dedup.reviews
    return [(each.left, each.right, each.label) for each in reviews.read(path)]


def _opened(files: contextlib.ExitStack, out: Path, name: str, schema: pa.Schema) -> Callable[[pa.Table], None]:
    return files.enter_context(store.writing(out / f"{name}.parquet", schema))


def _in_common(log: manifest.Log, source: params.Source, index: Index) -> tuple[pa.Table, pa.Table]:
    """Return which parts and passages (schema SHARED), and which spans (schema REPEATED), several kept records have."""
    from dedupver import passages

    there = log.state(("id", "parts", "action", "role"))
    kept, data = (pc.equal(there[name], word).to_numpy() for name, word in (("action", "keep"), ("role", "data")))
    parts = shared(there, kept & data, list(met(source.parts, there["parts"])))
    return pa.concat_tables([parts, passages.shared(index, there)]), spans.repeated(there, kept, index.spans())


def _across(log: manifest.Log, given: params.Params, index: Index) -> tuple[pa.Table, pa.Table]:
    """Return how well captions fit (schema CAPTIONED), and what else the joint space tells of the kept (REPORTED)."""
    from dedupver.index.joint import best

    if not given.fingerprint.joint.any:
        return CAPTIONED.empty_table(), REPORTED.empty_table()
    live = log.live(("id", "parts", "action", "decided"))
    kept = live.filter(pc.equal(live["action"], "keep"))
    every = given.dedup.history != "frozen"
    fresh = pc.or_(pc.equal(kept["decided"], given.version.name), every)
    fits = joint.Fits(partial(best, index), index.fits(), given.dedup.thresholds.joint)
    return joint.across(kept.append_column("fresh", fresh), met(given.source.parts, kept["parts"]), fits)


def _publish(project: Project, decisions: pa.Table) -> int:
    from dedupver import publish

    given = project.params
    kept = decisions.filter(pc.and_(pc.equal(decisions["action"], "keep"), pc.equal(decisions["role"], "data")))
    if given.source.mode == "snapshot":
        return publish.publish(project.raw, project.clean, kept, given.source, given.manifest.link)
    written = 0
    for version in pc.unique(kept["version"]).to_pylist():  # each batch apart: their files may share names
        mine = kept.filter(pc.equal(kept["version"], version))
        target = project.clean / version
        target.mkdir()
        written += publish.publish(project.batch(version), target, mine, given.source, given.manifest.link)
    return written


def _tell_validation(project: Project, live: pa.Table, out: Path) -> None:
    """Write the figures of validation, where anything is asked: before and after."""
    from dedupver import validation

    if rules := project.params.validation.rules:
        found = store.Sealed(project.build / "validate")
        failed = store.read_table(found.file("failed.parquet"), FAILURE)
        told = validation.told(store.read_json(found.file("counts.json")), failed, live, rules)
        store.write_json(out / f"{project.params.version.name}.{manifest.VALIDATION}", {"format": FORMAT, **told})


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
        "version": given.version.name,
        "time": given.version.time,
        "parent": parent,
        "mode": given.source.mode,
        "counts": manifest.counts(decisions),
        "digests": {
            "index": store.sha256_file(project.index / store.LISTING),
            "source": store.sha256_file(project.build / "fingerprint" / store.LISTING),
            "reviews": store.Sealed(project.build / "dedup").sha256[manifest.REVIEWS],
        },
        "params": given.deciding(),
        "tools": {"dedupver": __version__, "pyarrow": pa.__version__},
    }


def _require_passed(project: Project) -> None:
    """Refuse to write a version that no gates have let pass."""
    path = project.metrics / "gates.json"
    if not path.exists():
        raise StateError(f"{path} is missing: run `dvc repro`, which judges a version before it writes it")
    if store.read_json(path)["failed"]:
        raise GateError("gates failed, and nothing was written: see `dedupver gates`")


def _require_sound(decisions: pa.Table) -> None:
    """Refuse to publish what breaks the first two invariants."""
    counted = manifest.counts(decisions)
    if counted["n_in"] != counted["kept"] + counted["dropped"] + counted["quarantined"]:
        raise IntegrityError(f"records without a decision: {counted}. This is a fault of dedupver; nothing was written")
    dropped = decisions.filter(pc.equal(decisions["action"], "drop"))
    wanted = pc.unique(dropped["representative"])  # looked for among the ids: the other way all ids were in a table
    kept = decisions["id"].filter(pc.and_(pc.equal(decisions["action"], "keep"), pc.is_in(decisions["id"], wanted)))
    lost = dropped.filter(pc.invert(pc.is_in(dropped["representative"], kept)))
    if lost.num_rows:
        raise IntegrityError(
            f"{lost['id'][0].as_py()!r} was dropped for a record that is not kept. Nothing was written"
        )


class _alone:  # noqa: N801 - reads as a statement: with _alone(root)
    """Refuse a second run in the same project."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / LOCK

    def __enter__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            if owner := running(self.root):
                raise StateError(f"another run works here (process {owner}): wait for it to end") from None
            self.path.unlink()  # its process was killed
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(handle, str(os.getpid()).encode())
        os.close(handle)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
