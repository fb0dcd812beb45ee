"""The formats of tables under one interface: the rows of a task, and the records that they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dedupver.records import lines, parquet
from dedupver.records.jsonl import JsonLines
from dedupver.records.paths import reason
from dedupver.records.separated import Separated
from dedupver.records.tables import Table
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.records.record import Raw, Task


def read(root: Path, task: Task, source: params.Source) -> Iterator[Raw]:
    """Yield one record for each row that is not blank; one for all the rest where the file turns out to be damaged."""
    table = Table(root, task.paths[0], source)
    number = task.first_row
    try:
        for row in rows(table, task):
            if isinstance(row, Unreadable):
                yield table.quarantined(number, row)
            elif row is not None:
                yield table.record(number, row)
            number += 1
    except parquet.DAMAGED as error:
        yield table.quarantined(number, Unreadable("unreadable_file", f"damaged from this row on: {reason(error)}"))


def rows(table: Table, task: Task) -> Iterator[Mapping[str, object] | Unreadable | None]:
    """Yield the rows of a task: a mapping of columns to values, a verdict, or None for a blank line.

    Raises one of parquet.DAMAGED.
    """
    if task.format == "parquet":
        yield from parquet.rows(table, task.start, task.stop)
        return
    form = line_format(table, task.format, task.header)
    for line in lines.records(table.file, task.start, task.stop, table.longest, quoted=form.quoted):
        if line is None:
            yield Unreadable("huge_text", f"the row has more than {table.longest} bytes")
        else:
            yield None if form.blank(line) else _parsed(form, line)


def line_format(table: Table, name: str, header: bytes) -> lines.Format:
    """Return how the lines of a table are read."""
    return Separated(table, header) if name == "csv" else JsonLines(table.params.max_json_depth)


def _parsed(form: lines.Format, line: bytes) -> Mapping[str, object] | Unreadable:
    try:
        return form.parse(line)
    except Unreadable as verdict:
        return verdict
