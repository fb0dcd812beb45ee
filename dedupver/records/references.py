"""Benchmarks beside the source: tables and files as in the source, and texts with a record a line or paragraph."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from dedupver.records.files import checked_text
from dedupver.records.paths import BOM, opened, printable
from dedupver.records.plan import plan
from dedupver.records.record import Raw, Task
from dedupver.schema import SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

    from dedupver import params

PASSAGES: Final = frozenset({"line", "paragraph"})
"""Formats of tasks: what of a text file is a record."""


def references(root: Path, source: params.Source) -> list[Task]:
    """Cut the benchmarks below `root` into tasks; `source` is what `Source.beside` says of them.

    Raises SourceError where there is no folder, or nothing in it: a benchmark that is lacking protects from nothing.
    """
    if not root.is_dir():
        raise SourceError(f"source.reference.path: {root} is no folder: run `dvc checkout`, or `dvc add` it")
    tasks = [cut for task in plan(root, source) for cut in _cut(task, source)]
    if not tasks:
        raise SourceError(f"source.reference.path: {root} is empty: put the benchmarks there, or set it to null")
    return tasks


def read_passages(root: Path, task: Task, source: params.Source) -> Iterator[Raw]:
    """Yield a record for each line, or each run of lines between blank ones, of a text file."""
    path = task.paths[0]
    try:
        with opened(root, path, source.max_unpacked_bytes, "huge_text") as file:
            lines = _lines(file, source.max_text_bytes)
            if task.format == "paragraph":
                lines = _paragraphs(lines, source.max_text_bytes)
            for row, data in enumerate(each for each in lines if each != b""):
                yield _record(path, row, data, source)
    except Unreadable as verdict:
        yield Raw(printable(path), -1, "reference").quarantine(verdict)


def _cut(task: Task, source: params.Source) -> Iterator[Task]:
    """Take the files that hold nothing but a text out of a task, if they hold a record a line or paragraph."""
    how = source.reference.records
    if task.format != "file" or how == "file":
        yield task
        return
    texts = [s for s in task.samples if s.files() == [s.path] and set(s.parts) & set(source.parts_of("text"))]
    yield from (Task((sample.path,), how, 0, 0, 0) for sample in texts)
    others = tuple(sample for sample in task.samples if sample not in texts)
    if others:
        yield dataclasses.replace(task, samples=others, paths=tuple(sample.path for sample in others))


def _record(path: str, row: int, data: bytes | None, source: params.Source) -> Raw:
    raw = Raw(path, row, "reference")
    if data is None:
        return raw.quarantine(Unreadable("huge_text", f"more than {source.max_text_bytes} bytes"))
    try:
        raw.parts[source.parts_of("text")[0]] = checked_text(data)
    except Unreadable as verdict:
        raw.quarantine(verdict)
    return raw


def _lines(file: BufferedReader, limit: int) -> Iterator[bytes | None]:
    """Yield the lines of a file, empty for blank ones; None for one that is longer than the limit."""
    first = True
    while piece := file.readline(limit + 1):
        huge = len(piece) > limit
        line = b"" if not piece.strip() else piece.rstrip(b"\r\n").removeprefix(BOM if first else b"")
        first = False
        while huge and piece and not piece.endswith(b"\n"):
            piece = file.readline(limit + 1)
        yield None if huge else line


def _paragraphs(lines: Iterator[bytes | None], limit: int) -> Iterator[bytes | None]:
    held: list[bytes] = []
    size, huge = 0, False
    for line in lines:
        if line == b"":
            if held or huge:
                yield None if huge else b"\n".join(held)
            held, size, huge = [], 0, False
            continue
        size += len(line or b"") + 1
        huge |= line is None or size > limit
        held = [] if huge else held
        held.append(line or b"")
    if held or huge:
        yield None if huge else b"\n".join(held)
