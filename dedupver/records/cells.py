"""Columns of values as every format hands them over: the text of each, and what kind of value it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.compiled import njit

if TYPE_CHECKING:
    from collections.abc import Sequence

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NONE, STRING, NUMBER, OTHER, BOOLEAN, VECTOR = range(6)
"""No value; a string; a number as it is written; a value of a type that no field takes; true or false in letters;
float32 numbers as bytes."""

INT: Any = np.int64  # in compiled code, where int() would leave a number unsigned
_ONE: Final = np.uint64(1)


class Cells(NamedTuple):
    """n values of one column."""

    values: pa.LargeStringArray  # null where the kind is NONE or OTHER; of vectors a LargeBinaryArray
    kinds: npt.NDArray[np.uint8]  # (n,)

    def lengths(self) -> Offsets:
        """Return the bytes of each value, 0 where there is none."""
        return np.diff(raw(self.values)[1]) * ((self.kinds == STRING) | (self.kinds == NUMBER))

    def without_vectors(self) -> Cells:
        """Return the column of a field that takes no vector."""
        if not (self.kinds == VECTOR).any():
            return self
        kinds = np.where(self.kinds == VECTOR, np.uint8(OTHER), self.kinds)
        return Cells(pa.nulls(len(kinds), pa.large_string()), kinds)

    def without(self, rows: Mask) -> Cells:
        """Return the column without the values of some rows."""
        if not rows.any():
            return self
        values = pc.if_else(pa.array(rows), pa.scalar(None, self.values.type), self.values)
        return Cells(values, np.where(rows, np.uint8(NONE), self.kinds))


class Sink(NamedTuple):
    """Where a compiled scan writes c columns of r values, the bytes of each column one after the other.

    Row c of `data` takes what nobody asked for.
    """

    data: Bytes  # (c + 1, as many bytes as are scanned)
    size: Offsets  # (c + 1,) bytes of each column so far
    offsets: Offsets  # (c, r + 1)
    kinds: npt.NDArray[np.uint8]  # (r, c + 1)

    @classmethod
    def of(cls, columns: int, rows: int, size: int) -> Sink:
        """Return an empty one. The system gives memory as it is written to, so that most of `data` costs none."""
        data = np.empty((columns + 1, size), np.uint8)
        offsets, kinds = np.zeros((columns, rows + 1), np.int64), np.zeros((rows, columns + 1), np.uint8)
        return cls(data, np.zeros(columns + 1, np.int64), offsets, kinds)

    def cells(self, names: Sequence[str]) -> dict[str, Cells]:
        """Return the columns that have a value, by name."""
        return {name: self._column(i) for i, name in enumerate(names) if self.kinds[:, i].any()}

    def _column(self, i: int) -> Cells:
        kinds = np.ascontiguousarray(self.kinds[:, i])
        given = (kinds != NONE) & (kinds != OTHER)
        valid = None if given.all() else pa.py_buffer(np.packbits(given, bitorder="little"))
        buffers = [valid, pa.py_buffer(self.offsets[i]), pa.py_buffer(self.data[i])]
        return Cells(pa.Array.from_buffers(pa.large_string(), len(kinds), buffers), kinds)


def raw(values: pa.LargeBinaryArray) -> tuple[Bytes, Offsets]:
    """Return the bytes of all values and where each begins and the last ends, shape (n + 1,); nothing is copied."""
    _, offsets, data = values.buffers()
    edges = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data or b"", np.uint8), edges


def decoded(values: pa.LargeBinaryArray) -> tuple[pa.LargeStringArray, Mask]:
    """Return the values as strings, and which are null or UTF-8; those that are not become null."""
    try:
        return values.cast(pa.large_string()), np.ones(len(values), np.bool_)
    except pa.ArrowInvalid:
        good = np.array([value is None or _is_utf8(value) for value in values.to_pylist()], np.bool_)
        return pc.if_else(pa.array(good), values, pa.scalar(None, values.type)).cast(pa.large_string()), good


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def marks(characters: bytes, values: bytes | None = None) -> Bytes:
    """Return a table of 256 entries that are 0 but for some characters: 1 for each, or the value that is given."""
    table = np.zeros(256, np.uint8)
    table[list(characters)] = 1 if values is None else list(values)
    return table


@njit(cache=True, nogil=True)
def copy_run(data: Bytes, i: int, out: Bytes, o: int, stops: Bytes) -> tuple[int, int]:
    """Copy from place i on to place o, up to a character that `stops` marks; return both places after it."""
    source, target = np.uint64(i), np.uint64(o)  # what can't be negative is not looked at for it: twice the speed
    while not stops[data[source]]:
        out[target] = data[source]
        source += _ONE
        target += _ONE
    return INT(source), INT(target)
