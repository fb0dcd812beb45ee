"""Values of Arrow columns of every type: as cells, and one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.records.cells import BOOLEAN, NONE, NUMBER, OTHER, STRING, VECTOR, Cells, decoded
from dedupver.records.tables import Number, Numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dedupver.records.cells import Mask, Rows

_STRINGS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARIES: Final = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
_VIEWS: Final = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
"""Types of which Arrow can't take some values → types of the same values of which it can."""

_OF_IMAGES: Final = ("bytes", "path", "url", "size", "sha256")
_LISTS: Final = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
_WRONG: Final = object()
"""A value of a type that no field takes."""


def cells(array: pa.Array) -> tuple[Cells, Mask]:
    """Return a column, and which of its values are not strings that fail to be UTF-8."""
    array = unwrapped(array)
    if is_string(array.type) or is_bytes(array.type):
        strings, good = decoded(array.cast(pa.large_binary()))
        return Cells(strings, _kinds(_valid(array), STRING)), good
    everything = np.ones(len(array), np.bool_)
    if pa.types.is_boolean(array.type):
        return Cells(array.cast(pa.large_string()), _kinds(_valid(array), BOOLEAN)), everything
    if is_vector(array.type):
        return Cells(_numbers(array), _kinds(_valid(array), VECTOR)), everything
    try:
        return Cells(_spelled(array).cast(pa.large_string()), _kinds(_valid(array), NUMBER)), everything
    except pa.ArrowException:
        # a null among images is an object without values
        given = everything if is_image(array.type) else _valid(array)
        return Cells(pa.nulls(len(array), pa.large_string()), _kinds(given, OTHER)), everything


def opaque(array: pa.Array) -> Cells:
    """Return a column of which nothing is told but where it has values."""
    array = unwrapped(array)
    return Cells(pa.nulls(len(array), pa.large_string()), _kinds(_valid(array), OTHER))


def one_by_one(array: pa.Array, places: Rows) -> Sequence[object]:
    """Return the values at some places as `Table.record` takes them: a string that is no UTF-8 has lone surrogates."""
    array = unwrapped(array)
    if len(places) == len(array):
        return _each(array)
    try:
        return _each(array.take(pa.array(places)))
    except pa.ArrowNotImplementedError:  # of string_view
        each = _each(array)
        return [each[i] for i in places]


def may_name(array: pa.Array) -> Mask:
    """Return which images are not there as bytes: those may be names of files."""
    array = unwrapped(array)
    if is_bytes(array.type):
        return np.zeros(len(array), np.bool_)
    if holds_bytes(array.type):
        return _valid(array) & ~_valid(array.flatten()[array.type.get_field_index("bytes")])
    return _valid(array)


def columns(batch: pa.RecordBatch, names: Collection[str]) -> pa.RecordBatch:
    """Return the columns of some names that are there; `meta.label` is also the field `label` of objects in `meta`."""
    found = {name: batch.column(name) for name in batch.schema.names if name in names}
    for name in sorted(set(names) - found.keys()):
        top, _, path = name.partition(".")
        if path and leaf(batch.schema, name) is not None:
            found[name] = _within(unwrapped(batch.column(top)), path)
    schema = pa.schema([(name, array.type) for name, array in found.items()])
    return pa.RecordBatch.from_arrays(list(found.values()), schema=schema) if found else batch.select([])


def leaf(schema: pa.Schema, name: str) -> pa.DataType | None:
    """Return the type of a column, or of a field of objects as `columns` finds it; None where there is none."""
    if name in schema.names:
        return schema.field(name).type
    top, _, path = name.partition(".")
    return _leaf(schema.field(top).type, path) if path and schema.names.count(top) == 1 else None


def named(schema: pa.Schema, names: Collection[str]) -> list[str]:
    """Return the names of all columns, and those of `names` that are fields of objects."""
    return [*schema.names, *(n for n in names if n not in schema.names and leaf(schema, n) is not None)]


def taken(batch: pa.RecordBatch, rows: Rows) -> pa.RecordBatch:
    """Return some rows of a batch.

    Raises ArrowNotImplementedError for some nested types.
    """
    plain = pa.schema([field.with_type(_VIEWS.get(field.type, field.type)) for field in batch.schema])
    return batch.cast(plain).take(pa.array(rows)).cast(batch.schema)


def compacted(table: pa.Table) -> pa.Table:
    """Return a table whose columns of dictionaries hold those values alone that rows have; one within a type stays."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and table.num_rows:
            table = table.set_column(at, field, _used(table.column(at).unify_dictionaries()))
    return table


def _used(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    codes = pa.chunked_array([chunk.indices for chunk in column.chunks], kind.index_type)
    used = pc.unique(codes).drop_null().sort()
    values = column.chunk(0).dictionary.take(used)
    places = pc.index_in(codes, used).cast(kind.index_type)
    chunks = [pa.DictionaryArray.from_arrays(chunk, values, ordered=kind.ordered) for chunk in places.chunks]
    return pa.chunked_array(chunks, kind)


def is_coded(kind: pa.DataType) -> bool:
    """Return whether values are of a dictionary."""
    return bool(pa.types.is_dictionary(kind))


def holds_coded(kind: pa.DataType) -> bool:
    """Return whether values of a type hold others that are of a dictionary."""
    within = (kind.field(at).type for at in range(kind.num_fields))
    return any(is_coded(each) or holds_coded(each) for each in within)


def unwrapped(array: pa.Array) -> pa.Array:
    """Return the values themselves of an extension type or a dictionary."""
    if isinstance(array, pa.ExtensionArray):
        return unwrapped(array.storage)
    return unwrapped(array.dictionary_decode()) if pa.types.is_dictionary(array.type) else array


def is_string(kind: pa.DataType) -> bool:
    """Return whether values are marked as strings."""
    return any(of(kind) for of in _STRINGS)


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether values are bytes: an image, or a string that is not marked as one."""
    return any(of(kind) for of in _BINARIES)


def is_image(kind: pa.DataType) -> bool:
    """Return whether values are objects such as those in which Hugging Face stores images, or name a URL."""
    return pa.types.is_struct(kind) and not {"bytes", "path", "url"}.isdisjoint(kind.names)


def holds_bytes(kind: pa.DataType) -> bool:
    """Return whether those objects hold bytes."""
    return pa.types.is_struct(kind) and kind.names.count("bytes") == 1 and is_bytes(kind.field("bytes").type)


def _within(array: pa.StructArray, path: str) -> pa.Array:
    """Return a field of objects; that of an object which is null is null."""
    name, _, rest = path.partition(".")
    values = array.flatten()[array.type.get_field_index(name)]
    return _within(unwrapped(values), rest) if rest else values


def _leaf(kind: pa.DataType, path: str) -> pa.DataType | None:
    name, _, rest = path.partition(".")
    if not pa.types.is_struct(kind) or kind.names.count(name) != 1:
        return None
    return _leaf(kind.field(name).type, rest) if rest else kind.field(name).type


def is_vector(kind: pa.DataType) -> bool:
    """Return whether values are lists of numbers."""
    if not any(of(kind) for of in _LISTS):
        return False
    return any(of(kind.value_type) for of in (pa.types.is_floating, pa.types.is_integer))


def _numbers(array: pa.Array) -> pa.LargeBinaryArray:
    """Return lists of numbers as float32, little-endian, in bytes; a null among the numbers is not a number."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy().astype(np.int64)
    flat = pc.fill_null(array.flatten().cast(pa.float64(), safe=False), np.nan).to_numpy()
    with np.errstate(over="ignore"):  # beyond float32 is not finite
        data = flat.astype("<f4")
    valid = pa.py_buffer(np.packbits(_valid(array), bitorder="little"))
    buffers = [valid, pa.py_buffer(np.append(0, 4 * np.cumsum(lengths))), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_binary(), len(array), buffers)


def _each(array: pa.Array) -> Sequence[object]:
    array = unwrapped(array)
    if is_vector(array.type):
        return [None if value is None else Numbers(value) for value in _numbers(array).to_pylist()]
    if is_string(array.type):
        return [value and value.decode("utf-8", "surrogateescape") for value in _as_bytes(array)]
    if is_bytes(array.type) or pa.types.is_boolean(array.type):
        return array.to_pylist()
    if is_image(array.type):
        return _images(array)
    try:
        return [None if value is None else Number(value) for value in _spelled(array).to_pylist()]
    except pa.ArrowException:
        return [_WRONG if valid else None for valid in _valid(array)]


def _as_bytes(array: pa.Array) -> list[bytes | None]:
    values: list[bytes | None] = array.cast(pa.large_binary()).to_pylist()
    return values


def _images(array: pa.StructArray) -> list[object]:
    children = dict(zip(array.type.names, array.flatten(), strict=True))
    columns = {name: _each(children[name]) for name in _OF_IMAGES if name in children}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _spelled(array: pa.Array) -> pa.StringArray:
    """Return numbers and times as they are written. Raises ArrowException for what has no such form."""
    if pa.types.is_nested(array.type) or pa.types.is_boolean(array.type):
        raise pa.ArrowInvalid(f"{array.type} has no spelling")
    return array.cast(pa.string())


def _kinds(valid: Mask, kind: int) -> npt.NDArray[np.uint8]:
    return np.where(valid, np.uint8(kind), np.uint8(NONE))


def _valid(array: pa.Array) -> Mask:
    valid: Mask = array.is_valid().to_numpy(zero_copy_only=False)
    return valid
