"""Arrow's own formats: Feather and other IPC files, and the streams in which Hugging Face's datasets are saved."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from dedupver.records import values
from dedupver.records.parquet import Batch
from dedupver.records.record import BATCH_BYTES, BATCH_ROWS, Task
from dedupver.records.streams import END
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from dedupver.records.cells import Rows
    from dedupver.records.tables import Table

_MAGIC: Final = b"ARROW1"
_SCHEMA_AT: Final = 8  # of a file; a stream begins with it
_PREFIX, _SIGNED = 8, 12  # where a compressed buffer begins, after its size, and where the magic of the frame ends
_PACKED: Final = {b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}
"""How the frame of each compression begins."""

_LISTS: Final = {pa.types.is_list: pa.list_, pa.types.is_large_list: pa.large_list}


class Held(NamedTuple):
    """A record batch, its number in the file, and that of its first row."""

    number: int
    row: int
    batch: pa.RecordBatch


def batches(path: Path, number: int = 0, row: int = 0) -> Iterator[Held]:
    """Yield the record batches, of a file from one on whose first row is known, without reading those before.

    The file is mapped into memory: of what is not compressed, what nobody looks at is not read. Raises ArrowException
    or OSError, also for bytes after the end of a stream. What a batch holds is not to be trusted: see `sound`.
    """
    with pa.memory_map(str(path)) as mapped:
        if is_file(path):
            with pa.ipc.open_file(mapped) as file:
                yield from _placed((file.get_batch(i) for i in range(number, file.num_record_batches)), number, row)
            return
        with pa.ipc.open_stream(mapped) as stream:
            yield from _placed(stream, 0, 0)
        if mapped.tell() < mapped.size():
            raise pa.ArrowInvalid(f"{mapped.size() - mapped.tell()} bytes after the end, such as a second stream")


def is_file(path: Path) -> bool:
    """Return whether this is an IPC file, which lists its batches, or a stream of them. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def sound(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose parts fit together: offsets lie within what they point into.

    A string may still be no UTF-8. Raises ArrowException.
    """
    for field, column in zip(batch.schema, batch.columns, strict=True):
        column.view(_of_bytes(column.type)).validate(full=True)
        if column.null_count and not field.nullable:
            raise pa.ArrowInvalid(f"column {field.name!r} has nulls, which its schema rules out")
    return batch


def cut(table: Table, size: int, rows: int) -> Iterator[Task]:
    """Cut a file into chunks of about so many bytes or rows; the last one goes on to the damage where there is any.

    Raises ArrowException or OSError where not even a schema can be read, Unreadable for a column that can't be
    published in part.
    """
    _check_types(table)
    begin, start, stop, weight = (0, 0), 0, 0, 0.0  # of the chunk so far: its first batch, its rows; 1 is a full one
    try:
        for held in batches(table.file):
            count = held.batch.num_rows
            full = max(count / rows, held.batch.nbytes / size)
            pieces = max(1, min(math.ceil(full), count))
            for i in range(pieces):
                if start < stop and weight + full / pieces > 1:
                    yield Task((table.path,), "arrow", start, stop, start, batch=begin)
                    begin, start, weight = (held.number, held.row), stop, 0.0
                stop = held.row + count * (i + 1) // pieces
                weight += full / pieces
    except (pa.ArrowException, OSError):
        stop = END
    if start < stop:
        yield Task((table.path,), "arrow", start, stop, start, batch=begin)


def read(table: Table, task: Task, names: Collection[str]) -> Iterator[Batch]:
    """Yield the rows of a chunk, some at a time, with the columns that are named.

    Raises ArrowException or OSError.
    """
    for held in batches(table.file, *task.batch):
        if held.row >= task.stop:
            return
        chosen = sound(held.batch)[max(0, task.start - held.row) : task.stop - held.row]
        chosen = values.columns(chosen, names)
        step = max(1, min(BATCH_ROWS, BATCH_BYTES * chosen.num_rows // max(1, chosen.nbytes)))
        for at in range(0, chosen.num_rows, step):
            yield Batch(table, chosen[at : at + step])


def kept(path: Path, rows: Rows) -> Iterator[pa.RecordBatch]:
    """Yield the rows with some numbers, ascending, in the batches that have any.

    Raises ArrowException or OSError.
    """
    for held in batches(path):
        first, last = np.searchsorted(rows, [held.row, held.row + held.batch.num_rows])
        if last - first == held.batch.num_rows > 0:
            yield sound(held.batch)
        elif first < last:
            yield values.taken(sound(held.batch), rows[first:last] - held.row)
        if last == len(rows):
            return


def compacted(path: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches of a file whose dictionaries hold no value that no row has.

    An IPC file has one dictionary for all its batches, so that all of them are held; a stream has one for each.
    """
    kinds = columns(path).types
    if not any(map(values.is_coded, kinds)):
        yield from batches
    elif is_file(path):
        held = list(batches)
        yield from values.compacted(pa.Table.from_batches(held)).to_batches() if held else ()
    else:
        for batch in batches:
            yield from values.compacted(pa.Table.from_batches([batch])).to_batches()


@contextlib.contextmanager
def writer_like(path: Path, out: Path) -> Iterator[Any]:
    """Create a file of the same form, schema, metadata and compression, to which batches can be written.

    Raises ArrowException or OSError.
    """
    with pa.memory_map(str(path)) as mapped, pa.OSFile(str(out), "wb") as sink:
        options = pa.ipc.IpcWriteOptions(compression=_compression(mapped))
        mapped.seek(0)
        if is_file(path):
            with pa.ipc.open_file(mapped) as file:
                made = pa.ipc.new_file(sink, file.schema, options=options, metadata=file.metadata)
        else:
            with pa.ipc.open_stream(mapped) as stream:
                made = pa.ipc.new_stream(sink, stream.schema, options=options)
        with made as writer:
            yield writer


def columns(path: Path) -> pa.Schema:
    """Return the names and types of the columns. Raises ArrowException or OSError."""
    opened = pa.ipc.open_file if is_file(path) else pa.ipc.open_stream
    with pa.memory_map(str(path)) as mapped, opened(mapped) as reader:
        return reader.schema


def _placed(found: Iterable[pa.RecordBatch], number: int, row: int) -> Iterator[Held]:
    for place, batch in enumerate(found, number):
        yield Held(place, row, batch)
        row += batch.num_rows


def _compression(mapped: pa.MemoryMappedFile) -> str | None:
    """Return how the first batch that has any bytes is compressed."""
    mapped.seek(_SCHEMA_AT if mapped.read(len(_MAGIC)) == _MAGIC else 0)
    with contextlib.suppress(StopIteration, pa.ArrowException, OSError):  # which who reads the rows meets
        for message in iter(pa.ipc.MessageReader.open_stream(mapped).read_next_message, None):
            if message.type == "record batch" and message.body.size > _SIGNED:
                return _PACKED.get(message.body[_PREFIX:_SIGNED].to_pybytes())
    return None


def _check_types(table: Table) -> None:
    """Raise Unreadable for a type of which Arrow can't take some values."""
    for field in columns(table.file):
        try:
            values.taken(pa.record_batch({"": pa.array([], field.type)}), np.zeros(0, np.int64))
        except (pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise Unreadable("unsupported_file", f"column {field.name!r} is of type {field.type}") from error


def _of_bytes(kind: pa.DataType) -> pa.DataType:
    """Return a type of the same layout without strings, which would have to be UTF-8."""
    if values.is_string(kind):
        return {"string": pa.binary(), "large_string": pa.large_binary()}.get(str(kind), pa.binary_view())
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_of_bytes(field.type)) for field in kind])
    for is_list, of in _LISTS.items():
        if is_list(kind):
            return of(kind.value_field.with_type(_of_bytes(kind.value_type)))
    return kind
