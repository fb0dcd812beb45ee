"""What a clean dataset holds, read the way a source is read, against what it should hold."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dedupver.digests import WIDTH, Lookup, first_of_each, laid_out, of_list, parts_in
from dedupver.fingerprint.handles import payloads
from dedupver.fingerprint.remotes import remotes
from dedupver.records import plan, read
from dedupver.records.files import read_sample
from dedupver.records.payload import digest
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from dedupver import params
    from dedupver.digests import Digests
    from dedupver.records import Task
    from dedupver.records.samples import Folders


def published(
    root: Path, source: params.Source, files: set[str], tables: Mapping[str, pa.ChunkedArray]
) -> Iterator[tuple[str, str]]:
    """Yield each path below `root` that is not as it should be, and how.

    `files` are the paths of whole-file records, `tables` the column `parts` of the rows of each table or archive. The
    other files of a sample, and those that a row names, are part of those records.
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
    chunks = {path: list(each) for path, each in itertools.groupby(tasks, lambda task: task.paths[0])}
    rows = {path: each for path, each in chunks.items() if each[0].format != "file"}
    names = sorted({*source.parts, *parts_in(*tables.values())})
    for path in sorted(rows.keys() | tables.keys()):
        problem = _of_rows(_rows_in(root, rows.get(path, []), source, names), tables.get(path), names)
        if problem:
            yield path, problem


def difference(folders: Folders, path: str, judged: Mapping[str, bytes]) -> str | None:
    """Return how the sample called after a file differs from what was judged, the sha256 of each part."""
    found = read_sample(folders.root, folders.sample(path), folders.source)
    if found.code:
        return f"it can't be read any more ({found.code}: {found.detail})"
    parts = {part: digest(payload) for part, payload in found.parts.items()}
    other = [part for part in sorted({*judged, *parts}) if parts.get(part) != judged.get(part)]
    return f"not what was judged: {', '.join(other)}" if other else None


def _of_rows(found: Digests, parts: pa.ChunkedArray | None, names: Sequence[str]) -> str | None:
    """Return how the rows of a table differ from those that are kept; they may be in another order."""
    count = 0 if parts is None else len(parts)
    if len(found) != count:
        return f"has {len(found)} rows, {count} are kept"
    if parts is None:
        return None
    judged = _of_records(laid_out(parts, "sha256", names))
    strange = len(found) - int(Lookup(judged[first_of_each(judged)]).has(found).sum())
    return f"{strange} of its {count} rows are not what was judged" if strange else None


def _rows_in(root: Path, tasks: Iterable[Task], source: params.Source, names: Sequence[str]) -> Digests:
    """Return a digest of the parts of each row that a table or an archive holds."""
    batches = (batch for task in tasks for batch in read(root, task, source))
    return np.concatenate([np.empty((0, WIDTH), np.uint8), *(_of_batch(batch, names) for batch in batches)])


def _of_batch(batch: pa.RecordBatch, names: Sequence[str]) -> Digests:
    table = np.zeros((batch.num_rows, len(names), WIDTH), np.uint8)
    far = remotes(batch)
    for place, name in enumerate(names):
        if name in far:
            table[far[name].rows, place] = of_list(far[name].sha256())
        if name in batch.schema.names:
            column = batch.column(name)
            rows = np.flatnonzero(column.is_valid())
            table[rows, place] = of_list(payloads(column).take(rows).sha256())
    return _of_records(table)


def _of_records(parts: npt.NDArray[np.uint8]) -> Digests:
    """Return one digest for the parts of each record, shape (n, names, 32)."""
    return of_list([hashlib.sha256(record).digest() for record in parts])
