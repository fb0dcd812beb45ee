"""What a clean dataset holds, read the way a source is read, against what it should hold."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from dedupver.records import formats, parquet, plan
from dedupver.records.files import read_sample
from dedupver.records.tables import Table
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.records import Task
    from dedupver.records.samples import Folders


def published(root: Path, source: params.Source, files: set[str], tables: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Yield each path below `root` that is not as it should be, and how.

    `files` are the paths of whole-file records, `tables` the number of rows of each table. The other files of
    a sample, and those that a row names, are part of those records.
    """
    if not root.is_dir():
        if files or tables:
            yield root.name, "is missing"
        return
    try:
        tasks = plan(root, source)
    except SourceError as error:
        yield root.name, str(error)
        return
    present = {path for task in tasks if task.format == "file" for path in task.paths}
    yield from ((path, "is kept, and not in the clean dataset") for path in sorted(files - present))
    yield from ((path, "is in the clean dataset, and no kept record") for path in sorted(present - files))
    rows = _row_counts(root, source, [task for task in tasks if task.format != "file"])
    for path in sorted(rows.keys() | tables.keys()):
        if rows[path] != tables.get(path, 0):
            yield path, f"has {rows[path]} rows, {tables.get(path, 0)} are kept"


def difference(folders: Folders, path: str, judged: Mapping[str, bytes]) -> str | None:
    """Return how the sample called after a file differs from what was judged, the sha256 of each part."""
    found = read_sample(folders.root, folders.sample(path), folders.source)
    if found.code:
        return f"it can't be read any more ({found.code}: {found.detail})"
    parts = {part: hashlib.sha256(data).digest() for part, data in found.parts.items()}
    other = [part for part in sorted({*judged, *parts}) if parts.get(part) != judged.get(part)]
    return f"not what was judged: {', '.join(other)}" if other else None


def _row_counts(root: Path, source: params.Source, tasks: list[Task]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for task in tasks:
        path = task.paths[0]
        if not task.code:
            counts[path] += _rows_in(Table(root.resolve(), path, source), task)
    return counts


def _rows_in(table: Table, task: Task) -> int:
    try:
        return formats.count(table, task)
    except parquet.DAMAGED:
        return -1
