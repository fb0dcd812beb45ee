"""Columns of the source by name, whether they are a record's or not: of tables row by row, of JSON beside files."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.records import arrow, formats, lines, parquet, separated, shards, streams
from dedupver.records.cells import BOOLEAN, NONE, NUMBER, OTHER, STRING, Cells
from dedupver.records.jsonl import JsonLines
from dedupver.records.paths import BOM, content, inside
from dedupver.records.record import Task
from dedupver.records.samples import Folders, kind_of
from dedupver.records.tables import Number, Table
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dedupver import params
    from dedupver.records.cells import Rows
    from dedupver.records.formats import Block

SAMPLE: Final = 1_000
"""So many rows of JSON Lines say which names there are."""
OBJECTS: Final = 10_000
"""So many objects of JSON are laid out as columns at a time."""


class Asked(NamedTuple):
    """Some rows of a table, or samples: their numbers, ascending, and those of the columns that have values."""

    rows: Rows
    columns: dict[str, Cells]
    faults: dict[int, Unreadable]  # why nothing of a row can be read


def of_table(root: Path, path: str, source: params.Source, names: Collection[str]) -> Iterator[Asked]:
    """Yield columns of all rows of a table, or of the objects of JSON in an archive.

    A value is as it is written; `meta.label` is also the field `label` of an object `meta`. Blank rows, and rows of
    which nothing can be read, have no values. Raises Unreadable for a file that can't be opened, one of parquet.DAMAGED
    for one that can't be read on.
    """
    kind = str(kind_of(path, source))
    inside(root, path)
    if kind == "tar":
        found = shards.attributes(root / path, source)
        yield from _of_objects(((row, _object(data, source, names)) for row, data in found), names)
        return
    table, at = Table.bare(root, path, source), 0
    for block in formats.blocks(table, _whole(table, kind), names):
        columns, faults = _columns(block, names)
        yield Asked(np.arange(at, at + len(block)), columns, {at + place: fault for place, fault in faults.items()})
        at += len(block)


def of_files(root: Path, paths: Sequence[str], source: params.Source, names: Collection[str]) -> Iterator[Asked]:
    """Yield columns of the JSON beside files, numbered as in `paths`; of those alone that have any."""
    folders = Folders(root, source)
    beside = ((at, folders.sample(path).attributes) for at, path in enumerate(paths))
    yield from _of_objects(((at, _beside(root, path, source, names)) for at, path in beside if path), names)


def named(root: Path, path: str, source: params.Source) -> list[str]:
    """Return the names that the columns of a table have; of JSON Lines, in its first rows."""
    kind, table = str(kind_of(path, source)), Table.bare(root, path, source)
    with contextlib.suppress(Unreadable, *parquet.DAMAGED):
        if kind in separated.DELIMITERS:
            return separated.cells(_whole(table, kind).header, separated.DELIMITERS[kind])
        if kind == "parquet":
            with parquet.open_file(table.file) as file:
                return list(file.schema_arrow.names)
        if kind == "arrow":
            return list(arrow.columns(table.file).names)
        if kind == "jsonl":
            blocks = formats.blocks(table, _whole(table, kind), ())
            rows = itertools.chain.from_iterable(block.rows(np.arange(len(block))) for block in blocks)
            return list(
                dict.fromkeys(n for row in itertools.islice(rows, SAMPLE) if isinstance(row, dict) for n in row)
            )
    return []


def whole(root: Path, path: str, source: params.Source) -> Task:
    """Return the task that is all of a table. Raises one of parquet.DAMAGED, or Unreadable."""
    return _whole(Table.bare(root, path, source), str(kind_of(path, source)))


def _whole(table: Table, kind: str) -> Task:
    """Return the task that is all of a table."""
    if kind == "parquet":
        with parquet.open_file(table.file) as file:
            return Task((table.path,), kind, 0, file.metadata.num_rows, 0)
    if kind == "arrow":
        return Task((table.path,), kind, 0, streams.END, 0)
    begin = lines.after_bom(table.file)
    header = separated.header(table.file, begin, separated.DELIMITERS[kind]) if kind in separated.DELIMITERS else b""
    return Task((table.path,), kind, begin + len(header), streams.END, 0, header=header)


def _columns(block: Block, names: Collection[str]) -> tuple[dict[str, Cells], dict[int, Unreadable]]:
    found, plain = block.columns(names)
    found = {name: cells.without_vectors() for name, cells in found.items()}
    odd = np.flatnonzero(~plain)
    if not len(odd):
        return found, {}
    rows = list(block.rows(odd))
    faults = {int(at): row for at, row in zip(odd, rows, strict=True) if isinstance(row, Unreadable)}
    given = [row if isinstance(row, dict) else {} for row in rows]
    put = {name: _patched(found.get(name), len(block), odd, [row.get(name) for row in given]) for name in names}
    return {name: cells for name, cells in put.items() if cells.kinds.any()}, faults


def _patched(cells: Cells | None, count: int, places: Rows, given: Iterable[object]) -> Cells:
    """Return a column with other values in some places."""
    put = _cells(given)
    kinds = np.full(count, NONE, np.uint8) if cells is None else cells.kinds.copy()
    kinds[places] = put.kinds
    told = pa.nulls(count, pa.large_string()) if cells is None else cells.values
    mask = np.zeros(count, np.bool_)
    mask[places] = True
    return Cells(pc.replace_with_mask(told, pa.array(mask), put.values), kinds)


def _cells(given: Iterable[object]) -> Cells:
    """Return values of Python as a column."""
    pairs = [_cell(value) for value in given]
    return Cells(
        pa.array([text for text, _ in pairs], pa.large_string()), np.array([kind for _, kind in pairs], np.uint8)
    )


def _cell(value: object) -> tuple[str | None, int]:
    if value is None:
        return None, NONE
    if isinstance(value, bool):
        return str(value).lower(), BOOLEAN
    if isinstance(value, Number):
        return str(value), NUMBER
    if isinstance(value, str) and value == value.encode("utf-8", "replace").decode():
        return value, STRING
    return None, OTHER


def _of_objects(objects: Iterable[tuple[int, Mapping[str, object]]], names: Collection[str]) -> Iterator[Asked]:
    for some in _batched(objects):
        rows, each = np.array([row for row, _ in some], np.int64), [fields for _, fields in some]
        columns = {name: _cells(fields.get(name) for fields in each) for name in names}
        yield Asked(rows, {name: cells for name, cells in columns.items() if cells.kinds.any()}, {})


def _batched(objects: Iterable[tuple[int, Mapping[str, object]]]) -> Iterator[list[tuple[int, Mapping[str, object]]]]:
    every = iter(objects)
    while some := list(itertools.islice(every, OBJECTS)):
        yield some


def _beside(root: Path, path: str, source: params.Source, names: Collection[str]) -> Mapping[str, object]:
    try:
        return _object(content(root, path, source.max_text_bytes, "huge_text"), source, names)
    except Unreadable:
        return {}


def _object(data: bytes, source: params.Source, names: Collection[str]) -> Mapping[str, object]:
    """Return the fields of an object of JSON; none where it can't be read, which its record is quarantined for."""
    try:
        return JsonLines(source.max_json_depth, names).parse(data.removeprefix(BOM))
    except Unreadable:
        return {}
