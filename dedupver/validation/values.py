"""Values that rules are about: as cells of columns, and as people are shown them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.records.cells import NONE, NUMBER, STRING, Cells
from dedupver.records.columns import SOLID

if TYPE_CHECKING:
    from collections.abc import Sequence

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

SOURCES: Final = {"folder": ("path",), "seconds": ("millis",)}
"""Attributes that are made of a column of another name."""
FOLDER: Final = r"(?s)^(?P<folder>.*)/[^/]*$"
SHOWN: Final = 60
"""So many characters of a value are shown."""


class Value(NamedTuple):
    """A column that a rule is about, and whether its format tells numbers from strings; CSV does not."""

    cells: Cells
    typed: bool

    def missing(self) -> Mask:
        """Return where there is nothing: null, empty, or white space alone."""
        blank = self.cells.kinds == STRING
        if blank.any():
            solid = pc.fill_null(pc.match_substring_regex(self.cells.values, SOLID), fill_value=False)
            blank &= ~solid.to_numpy(zero_copy_only=False)
        return blank | (self.cells.kinds == NONE)


def attribute(records: pa.Table, name: str) -> Cells:
    """Return what is said of each record that is no column: one of params.RECORD_ATTRIBUTES."""
    if name == "folder":
        values = pc.struct_field(pc.extract_regex(records["path"], FOLDER), "folder")
    elif name == "seconds":
        values = pc.divide(records["millis"].cast(pa.float64()), 1000.0)
    else:
        values = records[name]
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    kind = STRING if pa.types.is_string(values.type) else NUMBER
    given = values.is_valid().to_numpy(zero_copy_only=False)
    return Cells(values.cast(pa.large_string()), np.where(given, np.uint8(kind), np.uint8(NONE)))


def part(records: pa.Table, name: str) -> Cells:
    """Return the name of a part where a record has it."""
    parts, has = records["parts"].combine_chunks(), np.zeros(records.num_rows, np.bool_)
    named = pc.equal(parts.flatten().field("part"), name).to_numpy(zero_copy_only=False)
    has[pc.list_parent_indices(parts).to_numpy()[named]] = True
    values = pc.if_else(pa.array(has), pa.scalar(name, pa.large_string()), pa.scalar(None, pa.large_string()))
    return Cells(values, np.where(has, np.uint8(STRING), np.uint8(NONE)))


def some(cells: Cells, places: Rows) -> Cells:
    """Return the values at some places."""
    if len(places) == len(cells.kinds):
        return cells
    return Cells(cells.values.take(pa.array(places)), cells.kinds[places])


def nothing(count: int) -> Cells:
    """Return no values."""
    return Cells(pa.nulls(count, pa.large_string()), np.full(count, NONE, np.uint8))


def without(cells: Cells, gone: Mask) -> pa.LargeStringArray:
    """Return what is written, null where there is nothing."""
    return pc.if_else(pa.array(gone), pa.scalar(None, pa.large_string()), cells.values)


def shown(columns: Sequence[pa.Array]) -> list[str]:
    """Return values for people: quoted, what is not printable escaped, and cut."""
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return [" ".join(short(repr(value[: 2 * SHOWN])) for value in row if value is not None) for row in rows]


def short(text: str) -> str:
    """Return a text cut to what is shown."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
