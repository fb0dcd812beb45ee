"""How many numbers the vectors of a source have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dedupver.records import formats, parquet, separated
from dedupver.records.tables import VECTOR, Table

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver import params
    from dedupver.records.record import Task


def dimension(root: Path, task: Task, source: params.Source) -> int | None:
    """Return how many numbers the first vector of a task has; None where there is none.

    Of a table that has no such column nothing is read.
    """
    if task.format == "file" or task.code or not _may_hold(Table(root, task.paths[0], source), task):
        return None
    for batch in formats.read(root, task, source):
        columns = [pc.binary_length(batch.column(part)).to_pylist() for part in source.parts_of(VECTOR)]
        first = next((size for row in zip(*columns, strict=True) for size in row if size), 0)
        if first:
            return int(first) // 4
    return None


def _may_hold(table: Table, task: Task) -> bool:
    if not table.vectors:
        return False
    if task.format == "csv":
        return not table.vectors.keys().isdisjoint(separated.cells(task.header))
    if task.format == "parquet":
        with parquet.open_file(table.file) as file:
            return not table.vectors.keys().isdisjoint(file.schema_arrow.names)
    names = [f'"{column}"'.encode() for column in table.vectors]
    with pa.memory_map(str(table.file)) as file:
        data = memoryview(file.read_buffer())[task.start : task.stop].tobytes()
    return any(name in data for name in names)
