"""Formats made of lines: where their records end, found block by block, and the records, as arrays of their bytes.

A record of CSV may hold line ends in quotes, so each byte is read in the state that those before it leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedupver.records.cells import NONE, decoded, marks, raw
from dedupver.records.paths import BOM
from dedupver.records.record import BATCH_ROWS
from dedupver.records.scan_csv import START, record_ends
from dedupver.records.streams import END, DamagedError, opened
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from dedupver.records.cells import Cells, Mask, Rows
    from dedupver.records.streams import Stream
    from dedupver.records.tables import Table

BLOCK: Final = 4 << 20
_NEWLINE: Final = ord("\n")
_SPACE: Final = marks(b" \t\n\r\v\f")  # one of which a blank line begins with


class Format(Protocol):
    """What a format made of lines has to say."""

    delimiter: int
    """The byte between fields, in which a line end within quotes is none; 0 where lines are not made of fields."""

    def blank(self, line: bytes) -> bool:
        """Return whether a line holds no record."""

    def parse(self, line: bytes) -> dict[str, object]:
        """Return a row by column, or raise Unreadable."""

    def scan(self, lines: pa.LargeBinaryArray, plain: Mask, names: Sequence[str]) -> dict[str, Cells]:
        """Return columns of the lines that `plain` marks, as `parse` gives them; unmark those that it has to see."""


def after_bom(path: Path) -> int:
    """Return the offset of the first record: a byte order mark is none of it. Raises OSError."""
    with opened(path, 0) as file:
        return len(BOM) if file.read(len(BOM)) == BOM else 0


@dataclass(frozen=True)
class Lines:
    """Some records of one file with their line ends (formats.Block); null stands for one that is too long."""

    table: Table
    form: Format
    lines: pa.LargeBinaryArray

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.lines)

    def columns(self, names: Collection[str]) -> tuple[dict[str, Cells], Mask]:
        """Return columns by name, and which records are plain."""
        plain = decoded(self.lines)[1] & self.lines.is_valid().to_numpy(zero_copy_only=False)
        return self.form.scan(self.lines, plain, list(names)), plain

    def rows(self, places: Rows) -> Iterator[Mapping[str, object] | Unreadable | None]:
        """Yield the rows at some places, a verdict, or None for a blank line."""
        for line in self.lines.take(pa.array(places)).to_pylist():
            if line is None:
                yield Unreadable("huge_text", f"the row has more than {self.table.longest} bytes")
            else:
                yield None if self.form.blank(line) else self._parsed(line)

    def naming(self) -> Iterator[Mapping[str, object] | Unreadable | None]:
        """Yield the rows that may name a file, and those that are not plain."""
        if not self.table.blobs:
            return iter(())
        found, plain = self.columns(self.table.blobs)
        for cells in found.values():
            plain &= cells.kinds == NONE
        return self.rows(np.flatnonzero(~plain))

    def blank(self) -> Mask:
        """Return which lines hold no record."""
        data, edges = raw(self.lines)
        found = np.zeros(len(self), np.bool_)
        begins = np.flatnonzero(np.diff(edges))
        for i in begins[_SPACE[data[edges[begins]]] > 0]:
            line = self.lines[i].as_py()
            found[i] = line is not None and self.form.blank(line)
        return found

    def only(self, chosen: Mask) -> Lines:
        """Return some of the records, without those that are too long."""
        chosen = chosen & self.lines.is_valid().to_numpy(zero_copy_only=False)
        return Lines(self.table, self.form, self.lines.filter(pa.array(chosen)))

    def data(self) -> memoryview:
        """Return the bytes of all records."""
        data, edges = raw(self.lines)
        return data[edges[0] : edges[-1]].data

    def _parsed(self, line: bytes) -> Mapping[str, object] | Unreadable:
        try:
            return self.form.parse(line)
        except Unreadable as verdict:
            return verdict


def records(table: Table, start: int, stop: int, form: Format) -> Iterator[Lines]:
    """Yield the records between two offsets, some at a time.

    Memory is that of a block and of the largest record within the limit. Raises OSError.
    """
    limit = table.params.max_unpacked_bytes
    held: list[bytes] = []  # of the record that has not ended yet
    size = 0  # its bytes so far; beyond the limit they are not held
    with opened(table.file, start, limit) as file:
        for block, found in _blocks(file, stop - start, form.delimiter):
            if len(found):
                end = int(found[-1])
                arrays = _arrays([*held, block[:end]], np.concatenate([[0], found + size]), table.longest)
                yield from (Lines(table, form, array) for array in arrays)
                held, size, block = [], 0, block[end:]  # noqa: PLW2901 - what is left of it
            held.append(block)
            size += len(block)
            if size > table.longest:
                held.clear()


def cuts(  # noqa: PLR0913, PLR0917 - where to begin, and how much a chunk may have
    table: Table, start: int, first: int, size: int, rows: int, delimiter: int
) -> Iterator[tuple[int, int, int, int]]:
    """Cut a file, from an offset and the number of the record there, into chunks of whole records.

    Yields the offsets of each, the number of its first record and how many it has. A chunk ends with the record that
    makes it reach `size` bytes or `rows` records; the last one of a file that can't be unpacked to its end goes on to
    the damage. Raises OSError.
    """
    begin, seen = start, first  # the chunk's offset; the records before this block
    end = start
    try:
        for found in ends(table.file, start, END, delimiter, table.params.max_unpacked_bytes):
            while (last := min(first + rows - 1 - seen, int(np.searchsorted(found, begin + size)))) < len(found):
                yield begin, int(found[last]), first, seen + last + 1 - first
                begin, first = int(found[last]), seen + last + 1
            seen += len(found)
            end = int(found[-1])
    except DamagedError:
        end = END
    if begin < end:
        yield begin, end, first, seen - first


def ends(path: Path, start: int, stop: int, delimiter: int, limit: int = END) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the offsets just past each record, ascending, an array for each block that has any.

    The last record may lack a line end. Raises OSError.
    """
    at = start
    with opened(path, start, limit) as file:
        for block, found in _blocks(file, stop - start, delimiter):
            if len(found):
                yield found + at
            at += len(block)


def _blocks(file: Stream, size: int, delimiter: int) -> Iterator[tuple[bytes, npt.NDArray[np.int64]]]:
    """Yield a file's bytes, and the places in them just past each record; for an end that is missing, none and 0."""
    state, open_ = START, False
    while size and (block := file.read(min(BLOCK, size))):
        data = np.frombuffer(block, np.uint8)
        if delimiter:
            found, state = record_ends(data, state, delimiter)
        else:
            found = np.flatnonzero(data == _NEWLINE)
        yield block, found + 1
        size -= len(block)
        open_ = not len(found) or int(found[-1]) + 1 < len(block)
    if open_:
        yield b"", np.zeros(1, np.int64)


def _arrays(pieces: list[bytes], edges: npt.NDArray[np.int64], limit: int) -> Iterator[pa.LargeBinaryArray]:
    """Yield records of which record i lies between edges i and i + 1, and the beginning of the first may be missing."""
    data = b"".join(pieces)
    huge = np.diff(edges) > limit
    valid = pa.py_buffer(np.packbits(~huge, bitorder="little")) if huge.any() else None
    offsets = np.maximum(edges - (int(edges[-1]) - len(data)), 0)
    lines = pa.Array.from_buffers(pa.large_binary(), len(huge), [valid, pa.py_buffer(offsets), pa.py_buffer(data)])
    for i in range(0, len(lines), BATCH_ROWS):
        yield lines[i : i + BATCH_ROWS]
