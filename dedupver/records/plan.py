"""The source cut into tasks of fixed size, so that no output depends on how many workers there are."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import functools
import itertools
import operator
import posixpath
from typing import TYPE_CHECKING, Final

from dedupver.records import arrow, earlier, formats, lines, parquet, saved, separated, shards, values
from dedupver.records.paths import inside, reason, walk
from dedupver.records.record import Task
from dedupver.records.samples import TABLES, Scheme, kind_of
from dedupver.records.streams import DamagedError
from dedupver.records.tables import BLOBS, Table
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dedupver import params
    from dedupver.records.earlier import Piece, Pieces
    from dedupver.records.samples import Sample

TASK_BYTES: Final = 64 << 20
TASK_FILES: Final = 2_000
TASK_ROWS: Final = 50_000
SAMPLE: Final = 1_000
"""So many rows of JSON Lines say which columns a file has."""


def plan(root: Path, source: params.Source) -> list[Task]:
    """Cut the source into tasks, sorted by path and place; each record is in exactly one.

    Raises SourceError where `root` is no folder, or where the columns of a table are not those that params name.
    """
    return remaining(root, source, {})[0]


def remaining(root: Path, source: params.Source, unchanged: Pieces) -> tuple[list[Task], Pieces]:
    """Return the tasks that are left where some pieces of tables are unchanged, and those of them that stay.

    Raises what `plan` raises.
    """
    root = root.resolve()
    paths = list(walk(root))
    kinds = {path: kind_of(path, source) for path in paths}
    datasets = _datasets(root, kinds)
    tasks: list[Task] = []
    kept: dict[str, list[Piece]] = {}
    for path in (p for p in paths if kinds[p] in TABLES.values()):
        fault = _fault(path, datasets.get(posixpath.dirname(path)))
        table = Table(root, path, source)
        more, stay = (
            ([_refused(path, kinds[path], fault)], []) if fault else _table_tasks(table, kinds[path], unchanged)
        )
        tasks += more
        kept |= {path: stay} if stay else {}
    taken = {path for each in datasets.values() for path in saved.beside(root, each)}
    paths = [path for path in paths if path not in taken]
    bound = named(root, tasks, source) if any(kind in BLOBS for kind in kinds.values()) else set()
    tasks += _file_tasks(root, _samples(paths, bound, source))
    return sorted(tasks, key=lambda task: (task.paths[0], task.start)), kept


def _samples(paths: Iterable[str], bound: Container[str], source: params.Source) -> list[Sample]:
    """Return the samples of files, by path, without those called after a file that a row names."""
    scheme = Scheme(source)
    free: list[Sample] = []
    left: set[str] = set()
    for sample in scheme.gathered(paths):
        if sample.path in bound:
            left.update(path for path in sample.files() if path not in bound)
        else:
            free.append(sample)
    left.difference_update(*(sample.files() for sample in free) if left else ())
    return sorted([*free, *map(scheme.alone, left)], key=operator.attrgetter("path"))


def _file_tasks(root: Path, samples: Iterable[Sample]) -> Iterator[Task]:
    held: list[Sample] = []
    size = 0
    for sample in samples:
        held.append(sample)
        size += sum(_size(root / path) for path in sample.files())
        if len(held) >= TASK_FILES or size >= TASK_BYTES:
            yield _file_task(held)
            held, size = [], 0
    if held:
        yield _file_task(held)


def _file_task(samples: Sequence[Sample]) -> Task:
    return Task(tuple(sample.path for sample in samples), "file", 0, 0, -1, samples=tuple(samples))


def _datasets(root: Path, kinds: Mapping[str, str | None]) -> dict[str, saved.Saved]:
    """Return the datasets saved by Hugging Face's library, by folder."""
    folders = {posixpath.dirname(path) for path, kind in kinds.items() if kind == "arrow"}
    found = (saved.saved(root, folder) for folder in sorted(folders))
    return {each.folder: each for each in found if each}


def _fault(path: str, dataset: saved.Saved | None) -> Unreadable | None:
    """Return why an Arrow file of a saved dataset holds none of its rows."""
    if dataset is None or not path.endswith(".arrow"):
        return None
    if dataset.indexed:
        return Unreadable("unsupported_file", "indices choose its rows: save it again, after `flatten_indices()`")
    return (
        None if path in dataset.files else Unreadable("unsupported_file", f"{saved.STATE} does not list it: a cache?")
    )


def _table_tasks(table: Table, kind: str | None, unchanged: Pieces) -> tuple[list[Task], list[Piece]]:
    """Return the tasks of a table, or the one that says why it can't be read, and the pieces that stay."""
    try:
        inside(table.root, table.path)
        kept = earlier.resumed(table, str(kind), unchanged.get(table.path, ()))
        if kept and kept[-1].stop == table.file.stat().st_size:
            return [], kept
        return list(_CUT[str(kind)](table, kept[-1] if kept else None)), kept
    except Unreadable as verdict:
        return [_refused(table.path, kind, verdict)], []
    except parquet.DAMAGED as error:
        return [_refused(table.path, kind, Unreadable("unreadable_file", reason(error)))], []


def _refused(path: str, kind: str | None, verdict: Unreadable) -> Task:
    return Task((path,), str(kind), 0, 0, -1, code=verdict.code, detail=verdict.reason)


def _jsonl(table: Table, last: Piece | None) -> Iterator[Task]:
    begin, first = (last.stop, last.end) if last else (lines.after_bom(table.file), 0)
    cuts = lines.cuts(table, begin, first, TASK_BYTES, TASK_ROWS, 0)
    tasks = [Task((table.path,), "jsonl", *cut) for cut in cuts]
    rows = (row for task in tasks for row in formats.rows(table, task) if isinstance(row, dict))
    names: dict[str, None] = {}
    with contextlib.suppress(DamagedError):  # `read` says so
        for row in itertools.islice(rows, 0 if last else SAMPLE):
            names |= dict.fromkeys(row)
    if names:
        table.check(list(names))
    yield from tasks


def _separated(table: Table, last: Piece | None, name: str) -> Iterator[Task]:
    delimiter = separated.DELIMITERS[name]
    begin = lines.after_bom(table.file)
    header = separated.header(table.file, begin, delimiter)
    if header:
        table.check(separated.cells(header, delimiter))
        begin, first = (last.stop, last.end) if last else (begin + len(header), 0)
        for cut in lines.cuts(table, begin, first, TASK_BYTES, TASK_ROWS, delimiter):
            yield Task((table.path,), name, *cut, header=header)


def _parquet(table: Table, _: Piece | None) -> Iterator[Task]:
    with parquet.open_file(table.file) as file:
        table.check(values.named(file.schema_arrow, table.used()))
    for start, stop in parquet.cuts(table.file, TASK_BYTES, TASK_ROWS):
        yield Task((table.path,), "parquet", start, stop, start)


def _arrow(table: Table, _: Piece | None) -> Iterator[Task]:
    table.check(values.named(arrow.columns(table.file), table.used()))
    yield from arrow.cut(table, TASK_BYTES, TASK_ROWS)


def _tar(table: Table, _: Piece | None) -> Iterator[Task]:
    return shards.cut(table.path, table.file, table.params, TASK_BYTES, TASK_FILES)


_CUT: Final[dict[str, Callable[[Table, Piece | None], Iterator[Task]]]] = {
    "jsonl": _jsonl,
    "csv": functools.partial(_separated, name="csv"),
    "tsv": functools.partial(_separated, name="tsv"),
    "parquet": _parquet,
    "arrow": _arrow,
    "tar": _tar,
}


def holding(tasks: Iterable[Task], wanted: Collection[tuple[str, int]]) -> Iterator[Task]:
    """Yield what of a plan is to be read for the records at some places (path, row).

    That is some files, and the chunks of tables that hold a row.
    """
    rows: dict[str, list[int]] = {}
    for path, row in wanted:
        rows.setdefault(path, []).append(row)
    tables: dict[str, list[Task]] = {}
    for task in tasks:
        if task.format == "file":
            samples = tuple(sample for sample in task.samples if sample.path in rows)
            if samples:
                yield dataclasses.replace(task, samples=samples, paths=tuple(sample.path for sample in samples))
        elif task.paths[0] in rows:
            tables.setdefault(task.paths[0], []).append(task)
    for path, chunks in tables.items():
        firsts = [task.first_row for task in chunks]
        yield from (chunks[at] for at in sorted({max(bisect.bisect(firsts, row) - 1, 0) for row in rows[path]}))


def named(root: Path, tasks: Iterable[Task], source: params.Source) -> set[str]:
    """Return the files that rows name: they are parts of those records and none of their own."""
    found: set[str] = set()
    for task in tasks:
        if not task.code and task.format not in {"tar", "file"}:
            table = Table(root, task.paths[0], source)
            with contextlib.suppress(*parquet.DAMAGED):  # `read` says so
                rows = (row for row in formats.naming(table, task) if isinstance(row, dict))
                found.update(path for row in rows for path in table.blob_paths(row))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
