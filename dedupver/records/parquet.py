"""Parquet: tables with types, read a batch of rows at a time."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dedupver.records import values
from dedupver.records.record import BATCH_BYTES, BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from dedupver.records.cells import Cells, Mask, Rows
    from dedupver.records.tables import Table

DAMAGED: Final = (pa.ArrowException, OSError, UnicodeDecodeError)
STEP_ROWS: Final = 2_000
"""Rows that are read and published at a time: the row groups of what is published depend on it."""
WIDE: Final = BATCH_ROWS // STEP_ROWS
PIECES: Final = 4
"""At most so many chunks of one row group: each but the first decodes those before it once more. Eight decoded for as
long as the fingerprints take."""

_BUFFER: Final = 1 << 20


@dataclass(frozen=True)
class Batch:
    """Some rows of one file (formats.Block)."""

    table: Table
    batch: pa.RecordBatch

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.batch.num_rows)

    def columns(self, names: Collection[str]) -> tuple[dict[str, Cells], Mask]:
        """Return columns by name, and which rows are plain."""
        plain = np.ones(len(self), np.bool_)
        found = {name: self._cells(name, plain) for name in self.batch.schema.names if name in names}
        return found, plain

    def rows(self, places: Rows) -> Iterator[Mapping[str, object]]:
        """Yield the rows at some places with the values that `Table.record` takes."""
        columns = [values.one_by_one(column, places) for column in self.batch.columns]
        for row in zip(*columns, strict=True):
            yield dict(zip(self.batch.schema.names, row, strict=True))

    def naming(self) -> Iterator[Mapping[str, object]]:
        """Yield the rows that may name a file, without the other columns."""
        images = values.columns(self.batch, _naming(self.batch.schema, self.table))
        named = np.zeros(len(self), np.bool_)
        for column in images.columns:
            named |= values.may_name(column)
        return Batch(self.table, images).rows(np.flatnonzero(named))

    def _cells(self, name: str, plain: Mask) -> Cells:
        column = values.unwrapped(self.batch[name])
        if name in self.table.blobs or (
            name == self.table.columns.quality and values.is_bytes(column.type)  # a string may say a number, bytes not
        ):
            return values.opaque(column)
        cells, good = values.cells(column)
        plain &= good
        return cells


def open_file(path: Path) -> pq.ParquetFile:
    """Open a file so that its column chunks are streamed.

    Raises one of DAMAGED.
    """
    return pq.ParquetFile(path, buffer_size=_BUFFER, memory_map=False)


def cuts(path: Path, size: int, rows: int) -> Iterator[tuple[int, int]]:
    """Cut a file into ranges of about `size` bytes or `rows` rows: groups of small row groups, pieces of a large one.

    Raises one of DAMAGED.
    """
    begin = end = 0
    weight = 0.0  # of the range so far; 1 is a full one
    for count, more in _pieces(path, size, rows):
        if begin < end and weight + more > 1:
            yield begin, end
            begin, weight = end, 0.0
        end += count
        weight += more
    if begin < end:
        yield begin, end


def batches(table: Table, start: int, stop: int, names: Collection[str]) -> Iterator[Batch]:
    """Yield the rows of a range, some at a time, with the columns that are named.

    Where a file is damaged it is read again in small steps, for what precedes the damage. Raises one of DAMAGED.
    """
    with open_file(table.file) as file:
        columns = [name for name in names if values.leaf(file.schema_arrow, name) is not None]
        for times in (WIDE, 1):
            try:
                for batch in _range(file, start, stop, columns, batch_rows(file, times)):
                    yield Batch(table, values.columns(batch, names))
                    start += batch.num_rows
            except DAMAGED:
                if times == 1:
                    raise
            else:
                return


def _range(file: pq.ParquetFile, start: int, stop: int, columns: list[str], step: int) -> Iterator[pa.RecordBatch]:
    edges = [0, *itertools.accumulate(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))]
    groups = [i for i, (begin, end) in enumerate(itertools.pairwise(edges)) if begin < stop and end > start]
    at = edges[groups[0]]
    for batch in file.iter_batches(step, row_groups=groups, columns=columns, use_threads=False):
        chosen = batch[max(0, start - at) : max(0, stop - at)]
        if chosen.num_rows:
            yield chosen
        at += batch.num_rows
        if at >= stop:
            return


def naming(table: Table) -> Iterator[Mapping[str, object]]:
    """Yield the rows of a file that may name a file, without the other columns.

    Row groups all of whose images are there as bytes are not read. Raises one of DAMAGED.
    """
    with open_file(table.file) as file:
        names = _naming(file.schema_arrow, table)
        groups = [i for i in range(file.num_row_groups) if not all(_complete(file, i, name) for name in names)]
        if groups:
            for batch in file.iter_batches(batch_rows(file), row_groups=groups, columns=names):
                yield from Batch(table, batch).naming()


def batch_rows(file: pq.ParquetFile, times: int = 1) -> int:
    """Return how many rows of a file are taken at a time, by the row group with the largest rows.

    At most STEP_ROWS rows of about BATCH_BYTES bytes, or so many times these rows if they have no more bytes than that.
    """
    groups = (file.metadata.row_group(i) for i in range(file.num_row_groups))
    widest = max((group.total_byte_size // group.num_rows for group in groups if group.num_rows), default=1)
    fit = max(1, BATCH_BYTES // max(1, widest))
    step = min(STEP_ROWS, fit)
    return step * max(1, min(times, fit // step))


def _naming(schema: pa.Schema, table: Table) -> list[str]:
    """Return the columns of images and their like, except those that hold nothing but bytes."""
    kinds = {name: values.leaf(schema, name) for name in table.blobs}
    return [name for name, kind in kinds.items() if kind is not None and not values.is_bytes(kind)]


def _complete(file: pq.ParquetFile, group: int, name: str) -> bool:
    """Return whether the statistics of a row group tell that no image in it lacks its bytes."""
    kind = values.leaf(file.schema_arrow, name)
    if kind is None or not values.holds_bytes(kind):
        return False
    metadata = file.metadata.row_group(group)
    chunks = (metadata.column(i) for i in range(metadata.num_columns))
    leaf = next((chunk for chunk in chunks if chunk.path_in_schema == f"{name}.bytes"), None)
    statistics = leaf and leaf.statistics
    return bool(statistics and statistics.has_null_count and statistics.null_count == 0)


def _pieces(path: Path, size: int, rows: int) -> Iterator[tuple[int, float]]:
    """Yield the number of rows and the weight of each row group, or of each piece of a large one."""
    with open_file(path) as file:
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    for group in groups:
        weight = max(group.num_rows / rows, group.total_byte_size / size)
        pieces = max(1, min(PIECES, math.ceil(weight), group.num_rows))
        edges = [group.num_rows * i // pieces for i in range(pieces + 1)]
        yield from ((end - begin, weight / pieces) for begin, end in itertools.pairwise(edges))
