"""Columns of tables as records: what `tables` says of a row, said of many at once where nothing is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.records import objects
from dedupver.records.cells import NONE, NUMBER, OTHER, STRING, VECTOR
from dedupver.records.tables import NO_NUMBERS, as_float
from dedupver.schema import raw_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupver.records.cells import Cells, Mask
    from dedupver.records.tables import Table

SOLID: Final = r"[^\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
"""Any character that Python does not call white space."""

_UNSAID: Final = pa.array([sign + word for sign in ("", "-") for word in sorted(NO_NUMBERS)], pa.large_string())
"""As Arrow spells numbers that are none; JSON Lines with such are not plain."""


def records(table: Table, first: int, found: Mapping[Any, Cells], plain: Mask) -> pa.RecordBatch:
    """Return the records (schema.raw_schema) of the rows from number `first` on; `found` holds columns by name.

    Unmarks in `plain` the rows that are to be quarantined or have more than texts: what is returned for those means
    nothing, `Table.record` has to see them.
    """
    n, names = len(plain), table.columns
    found = {name: cells if name in table.vectors else cells.without_vectors() for name, cells in found.items()}
    for column in table.blobs:
        plain &= _missing(found.get(column), n)
    rows = {
        part: _row({name: found.get(name) for name in columns}, table, plain) for part, columns in table.rows.items()
    }
    nothing = [_missing(found.get(column), n) for column in (*table.texts, *table.vectors)]
    nothing += [row.is_null().to_numpy(zero_copy_only=False) for row in rows.values()]
    plain &= ~np.logical_and.reduce(nothing, initial=True)
    fields = {
        **rows,
        "path": pa.repeat(table.path, n),
        "row": pa.array(np.arange(first, first + n)),
        "role": pa.repeat(table.role, n),
        "source": _strings(found.get(names.source), table.source, n),
        "split": _splits(found.get(names.split), table, n),
        "time": _strings(found.get(names.time), None, n),
        "quality": _numbers(found.get(names.quality)),
        "label": _strings(found.get(names.label), None, n),
    }
    for column, part in table.texts.items():
        fields[part] = _text(found.get(column), table.params.max_text_bytes, plain)
    for column, part in table.vectors.items():
        fields[part] = _vectors(found.get(column), table.params.max_vector_bytes, plain)
    if names.id is not None:
        fields["id"] = _ids(found.get(names.id), plain)
    schema = raw_schema(table.params.parts)
    nulls = (pa.nulls(n, field.type) if (array := fields.get(field.name)) is None else array for field in schema)
    return pa.RecordBatch.from_arrays(list(nulls), schema=schema)


def _missing(cells: Cells | None, n: int) -> Mask:
    return np.ones(n, np.bool_) if cells is None else cells.kinds == NONE


def _ids(cells: Cells | None, plain: Mask) -> pa.Array | None:
    plain &= cells is not None and cells.lengths() > 0
    return cells and cells.values.cast(pa.string())


def _text(cells: Cells | None, limit: int, plain: Mask) -> pa.Array | None:
    if cells is None:
        return None
    solid = pc.match_substring_regex(cells.values, SOLID).fill_null(False).to_numpy(zero_copy_only=False)
    plain &= (cells.kinds == NONE) | ((cells.kinds == STRING) & solid & (cells.lengths() <= limit))
    return cells.values.cast(pa.large_binary())


def _row(found: Mapping[str, Cells | None], table: Table, plain: Mask) -> pa.LargeBinaryArray:
    """Return the objects made of some columns, null where none has a value."""
    n, columns = len(plain), {}
    for name, cells in found.items():
        if cells is not None:
            plain &= cells.kinds != OTHER
            if (number := cells.kinds == NUMBER).any():
                plain &= ~(number & _in(cells.values, _UNSAID))
            columns[name] = objects.spans(cells, cells.kinds != NONE)
    data, edges = objects.lines(columns, n)
    sizes = np.diff(edges)
    plain &= sizes <= table.params.max_row_bytes
    valid = pa.py_buffer(np.packbits(sizes > 0, bitorder="little"))
    return pa.Array.from_buffers(pa.large_binary(), n, [valid, pa.py_buffer(edges), pa.py_buffer(data)])


def _in(values: pa.LargeStringArray, words: pa.Array) -> Mask:
    return pc.is_in(values, words).to_numpy(zero_copy_only=False)


def _vectors(cells: Cells | None, limit: int, plain: Mask) -> pa.Array | None:
    if cells is None:
        return None
    sizes = pc.fill_null(pc.binary_length(cells.values), 0).to_numpy()
    plain &= (cells.kinds == NONE) | ((cells.kinds == VECTOR) & (sizes <= limit))
    return cells.values.cast(pa.large_binary())


def _strings(cells: Cells | None, otherwise: str | None, n: int) -> pa.Array:
    """Return the values, and what stands for those that are missing or empty."""
    default = pa.scalar(otherwise, pa.string())
    if cells is None:
        return pa.repeat(default, n)
    return pc.if_else(pa.array(cells.lengths() > 0), cells.values.cast(pa.string()), default)


def _splits(cells: Cells | None, table: Table, n: int) -> pa.Array:
    if cells is not None:
        words = cells.values.dictionary_encode()
        known = [table.params.split_names.get(word.lower(), word) for word in words.dictionary.to_pylist()]
        cells = cells._replace(values=pa.array(known, pa.large_string()).take(words.indices))
    return _strings(cells, table.split, n)


def _numbers(cells: Cells | None) -> pa.Array | None:
    return cells and pa.array(map(as_float, cells.values.to_pylist()), pa.float64(), size=len(cells.values))
