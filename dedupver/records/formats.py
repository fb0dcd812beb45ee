"""The formats of tables under one interface: the rows of a task, the records that they hold, the files they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from dedupver.records import arrow, columns, lines, parquet, separated
from dedupver.records.jsonl import JsonLines
from dedupver.records.paths import reason
from dedupver.records.record import batches, filled
from dedupver.records.tables import Table
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

    from dedupver import params
    from dedupver.records.cells import Cells, Mask, Rows
    from dedupver.records.record import Raw, Task

    Row = Mapping[str, object] | Unreadable | None


class Block(Protocol):
    """Some rows of a table, to be seen as columns or one by one."""

    def __len__(self) -> int:
        """Return the number of rows, blank lines included."""

    def columns(self, names: Collection[str]) -> tuple[dict[str, Cells], Mask]:
        """Return the columns that are there, by name, and which rows are plain: `rows` has to say of the others."""

    def rows(self, places: Rows) -> Iterator[Row]:
        """Yield the rows at some places: a mapping of columns to values, a verdict, or None for a blank line."""

    def naming(self) -> Iterator[Row]:
        """Yield the rows that may name a file, and those of which nothing can be read."""


def read(root: Path, task: Task, source: params.Source) -> Iterator[pa.RecordBatch]:
    """Yield a record for each row that is not blank; one for all the rest where the file turns out to be damaged."""
    table = Table(root, task.paths[0], source)
    number = task.first_row
    try:
        for block in blocks(table, task, table.used()):
            yield from _records(table, number, block)
            number += len(block)
    except parquet.DAMAGED as error:
        verdict = Unreadable("unreadable_file", f"damaged from this row on: {reason(error)}")
        yield from batches([table.quarantined(number, verdict)], source.parts)


def blocks(table: Table, task: Task, names: Collection[str]) -> Iterator[Block]:
    """Yield the rows of a task, some at a time; of Parquet and Arrow, the columns named alone.

    Raises one of parquet.DAMAGED.
    """
    if task.format == "parquet":
        return parquet.batches(table, task.start, task.stop, names)
    if task.format == "arrow":
        return arrow.read(table, task, names)
    form = line_format(table, task.format, task.header, names)
    return lines.records(table, task.start, task.stop, form)


def line_format(table: Table, name: str, header: bytes, names: Collection[str]) -> lines.Format:
    """Return how the lines of a table are read; of JSON Lines, some of the names may be paths."""
    if name in separated.DELIMITERS:
        return separated.Separated(table, header, separated.DELIMITERS[name])
    return JsonLines(table.params.max_json_depth, names)


def rows(table: Table, task: Task) -> Iterator[Row]:
    """Yield the rows of a task one by one.

    Raises one of parquet.DAMAGED.
    """
    for block in blocks(table, task, table.used()):
        yield from block.rows(np.arange(len(block)))


def naming(table: Table, task: Task) -> Iterator[Row]:
    """Yield the rows of a task that may name a file; all those of a Parquet file with its first task.

    Raises one of parquet.DAMAGED.
    """
    if task.format == "parquet":
        yield from parquet.naming(table) if task.start == 0 else ()
    elif task.format not in separated.DELIMITERS or table.blobs.keys() & set(_columns(task)):
        for block in blocks(table, task, table.blobs):
            yield from block.naming()


def _columns(task: Task) -> list[str]:
    return separated.cells(task.header, separated.DELIMITERS[task.format])


def _records(table: Table, number: int, block: Block) -> Iterator[pa.RecordBatch]:
    found, plain = block.columns(table.used())
    batch = columns.records(table, number, found, plain)
    places = np.flatnonzero(~plain)
    rows = zip(places.tolist(), block.rows(places), strict=True)
    return filled(batch, ((at, _record(table, number + at, row)) for at, row in rows))


def _record(table: Table, number: int, row: Row) -> Raw | None:
    if row is None:
        return None
    return table.quarantined(number, row) if isinstance(row, Unreadable) else table.record(number, row)
