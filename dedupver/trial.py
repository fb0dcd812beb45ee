"""What the rules of `validate` say of the records as they lie: before any stage runs again, or of one file alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import pipeline, records, validation
from dedupver.params import Validate
from dedupver.records import asked
from dedupver.records.samples import kind_of
from dedupver.schema import RAW, SourceError, StateError
from dedupver.validation import keys

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver.params import Rule
    from dedupver.project import Project

LIVE: Final = ("id", "role", "action")
"""The columns of decisions that say who remains."""


def tried(project: Project, most: int, source: Path | None = None) -> dict[str, Any]:
    """Return the figures of `validation.told`, and for each rule the first records that fail it, at most so many.

    Of one table of rows alone where `source` names it: nobody of it remains or goes yet. Raises StateError where there
    is no rule, or nothing has been read, and what the stage raises but for records that fail.
    """
    rules = project.params.validation.rules
    if not rules:
        raise StateError("params.yaml has no rule: write some below `validate.rules`, see docs/validation.md")
    failed, counts = _of_file(project, source) if source else _of_project(project)
    decided = (project.build / "dedup").is_dir() and source is None
    live = project.decided().state(LIVE) if decided else None
    told = validation.told(counts, failed, live, rules)
    for name, each in told["rules"].items():
        mine = failed.filter(pc.equal(failed["rule"], name)).slice(0, most)
        each["first"] = mine.select(["id", "path", "row", "code", "detail"]).to_pylist()
    return told


def _of_project(project: Project) -> tuple[pa.Table, dict[str, Any]]:
    if not (project.build / "fingerprint").is_dir():
        raise StateError("nothing has been read yet: run `dvc repro fingerprint`, or name a table with --source")
    return pipeline.validated(project)


def _of_file(project: Project, file: Path) -> tuple[pa.Table, dict[str, Any]]:
    given, file, raw = project.params, file.resolve(), project.raw.resolve()
    root = raw if file.is_relative_to(raw) else file.parent
    path = file.relative_to(root).as_posix()
    if kind_of(path, given.source) not in keys.FORMATS or not file.is_file():
        raise SourceError(f"{file} is no table: --source takes one of {', '.join(keys.FORMATS)}")
    asks = {name: rule for name, rule in given.validation.rules.items() if _is_told(rule)}
    if not asks:
        raise SourceError("every rule is about sizes or parts, which are known when a file has been fingerprinted")
    given = given.model_copy(update={"validation": Validate(rules=asks)})
    try:
        batches = map(_row, records.read(root, asked.whole(root, path, given.source), given.source))
        rows = pa.concat_tables(batches).sort_by("id")
    except pa.ArrowInvalid as error:
        raise SourceError(f"{file} holds no record") from error
    found = validation.validate(rows, {"": root}, project.catalogues, given)
    return found.failed, found.counts


def _is_told(rule: Rule) -> bool:
    """Return whether a rule asks nothing that fingerprint finds out."""
    return not rule.part and rule.attribute not in {"bytes", "pixels", "chars", "seconds"}


def _row(batch: pa.RecordBatch) -> pa.Table:
    """Return what is known of records of which nothing has been fingerprinted."""
    names = [name for name in RAW.names if name not in {"remote", "outside"}]
    place = pc.binary_join_element_wise(batch.column("path"), batch.column("row").cast(pa.string()), "#")
    told = {name: batch.column(name) for name in names} | {"id": pc.coalesce(batch.column("id"), place)}
    count = batch.num_rows
    return pa.table({**told, "batch": pa.repeat("", count), "held": pa.repeat(pa.scalar(False), count)})
