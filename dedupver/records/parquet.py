"""Parquet: tables with types, read a batch of rows at a time."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from dedupver.records.record import BATCH_BYTES, BATCH_ROWS
from dedupver.records.tables import Number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dedupver.records.tables import Table

DAMAGED: Final = (pa.ArrowException, OSError, UnicodeDecodeError)
PIECES: Final = 8
"""At most so many chunks of one row group: each but the first decodes those before it once more."""

_STRINGS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARIES: Final = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_BUFFER: Final = 1 << 20
_WRONG: Final = object()
"""A value of a type that no field takes."""


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


def rows(table: Table, start: int, stop: int) -> Iterator[dict[str, object]]:
    """Yield the rows of a range with the values that `Table.record` takes.

    Raises one of DAMAGED.
    """
    with open_file(table.file) as file:
        columns = [name for name in file.schema_arrow.names if name in table.used()]
        edges = [0, *itertools.accumulate(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))]
        groups = [i for i, (begin, end) in enumerate(itertools.pairwise(edges)) if begin < stop and end > start]
        at = edges[groups[0]]
        for batch in file.iter_batches(batch_rows(file), row_groups=groups, columns=columns):
            yield from rows_of(batch[max(0, start - at) : max(0, stop - at)])
            at += batch.num_rows
            if at >= stop:
                return


def images(table: Table) -> Iterator[dict[str, object]]:
    """Yield the column of images alone, if it can name files, a row at a time.

    Raises one of DAMAGED.
    """
    with open_file(table.file) as file:
        names = naming_images(file.schema_arrow, table)
        if names:
            for batch in file.iter_batches(batch_rows(file), columns=names):
                yield from rows_of(batch)


def naming_images(schema: pa.Schema, table: Table) -> list[str]:
    """Return the columns of images, except those that hold nothing but bytes."""
    return [name for name in table.image_columns() if name in schema.names and not _is_bytes(schema.field(name).type)]


def batch_rows(file: pq.ParquetFile) -> int:
    """Return how many rows of a file fill a batch of bounded size, by the row group with the largest rows."""
    groups = (file.metadata.row_group(i) for i in range(file.num_row_groups))
    widest = max((group.total_byte_size // group.num_rows for group in groups if group.num_rows), default=1)
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, widest)))


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, object]]:
    """Yield the rows of a batch with the values that `Table.record` takes."""
    columns = [_values(column) for column in batch.columns]
    for row in zip(*columns, strict=True) if columns else [()] * batch.num_rows:
        yield dict(zip(batch.schema.names, row, strict=True))


def _pieces(path: Path, size: int, rows: int) -> Iterator[tuple[int, float]]:
    """Yield the number of rows and the weight of each row group, or of each piece of a large one."""
    with open_file(path) as file:
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    for group in groups:
        weight = max(group.num_rows / rows, group.total_byte_size / size)
        pieces = max(1, min(PIECES, math.ceil(weight), group.num_rows))
        edges = [group.num_rows * i // pieces for i in range(pieces + 1)]
        yield from ((end - begin, weight / pieces) for begin, end in itertools.pairwise(edges))


def _values(array: pa.Array) -> Sequence[object]:
    """Return the values of a column as `Table.record` takes them: a string that is no UTF-8 has lone surrogates."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _values(array.storage)
    if pa.types.is_dictionary(kind):
        return _values(array.dictionary_decode())
    if _is_string(kind):
        return [value and value.decode("utf-8", "surrogateescape") for value in _as_bytes(array)]
    if _is_bytes(kind):
        return _as_bytes(array)
    if pa.types.is_struct(kind):
        return _structs(array)
    return _numbers(array)


def _as_bytes(array: pa.Array) -> list[bytes | None]:
    values: list[bytes | None] = array.cast(pa.large_binary()).to_pylist()
    return values


def _structs(array: pa.StructArray) -> list[object]:
    names = [array.type.field(i).name for i in range(array.type.num_fields)]
    if not {"bytes", "path"} & set(names):
        return _wrong(array)
    children = dict(zip(names, array.flatten(), strict=True))
    columns = {name: _values(children[name]) for name in ("bytes", "path") if name in children}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _numbers(array: pa.Array) -> list[object]:
    """Numbers and times as they are written; what has no such form is _WRONG."""
    if pa.types.is_nested(array.type) or pa.types.is_boolean(array.type):
        return _wrong(array)
    try:
        return [None if value is None else Number(value) for value in array.cast(pa.string()).to_pylist()]
    except pa.ArrowException:
        return _wrong(array)


def _wrong(array: pa.Array) -> list[object]:
    return [_WRONG if valid else None for valid in array.is_valid().to_pylist()]


def _is_string(kind: pa.DataType) -> bool:
    return any(of(kind) for of in _STRINGS)


def _is_bytes(kind: pa.DataType) -> bool:
    return any(of(kind) for of in _BINARIES)
