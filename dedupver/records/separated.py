"""Comma-separated values (RFC 4180), or tab-separated: the first record names the columns, and row 0 follows it."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver.records import lines, scan_csv, streams
from dedupver.records.cells import raw
from dedupver.records.samples import CAPTION
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from dedupver.records.cells import Cells, Mask
    from dedupver.records.tables import Table

LONGEST_HEADER: Final = 1 << 20
DELIMITERS: Final = {"csv": ord(","), "tsv": ord("\t")}
"""Format → the byte between fields; quotes are those of CSV in both."""


class Separated:
    """How the records of one file are read (`lines.Format`)."""

    def __init__(self, table: Table, header: bytes, delimiter: int) -> None:
        """Take the names of the columns from the header."""
        self.delimiter = delimiter
        self._names = cells(header, delimiter)
        self._blobs, self._texts = table.blobs, table.texts
        self._other = [*table.texts, *itertools.chain.from_iterable(table.rows.values())]

    def blank(self, line: bytes) -> bool:
        """Return whether a record is an empty line."""
        return not line.rstrip(b"\r\n")

    def parse(self, line: bytes) -> dict[str, object]:
        """Return the fields of a record by column.

        CSV has no null: an empty text is left out where the row has another part, but for the caption of an image. Any
        other empty text is an empty one. Raises Unreadable: bad_utf8, bad_row.
        """
        fields = cells(line, self.delimiter)
        if len(fields) != len(self._names):
            raise Unreadable("bad_row", f"{len(fields)} fields, the header has {len(self._names)}")
        row: dict[str, object] = dict(zip(self._names, fields, strict=True))
        blob = any(row.get(name) for name in self._blobs)
        if blob or any(row.get(name) for name in self._other):
            for name, part in self._texts.items():
                if not row.get(name) and not (blob and part == CAPTION):
                    row.pop(name, None)
        return row

    def scan(self, lines: pa.LargeBinaryArray, plain: Mask, names: Sequence[str]) -> dict[str, Cells]:
        """Return columns of the records that `plain` marks; unmark those that are not plainly well."""
        found = scan_csv.scan(*raw(lines), plain, self._names, names, self.delimiter)
        for name in found.keys() & self._blobs.keys():
            found[name] = found[name].without(found[name].lengths() == 0)
        texts = [name for name in self._texts if name in found]
        others = [found[name].lengths() > 0 for name in self._other if name in found]
        filled = np.logical_or.reduce([np.zeros(len(plain), np.bool_), *others])
        for name in texts:  # rows with a blob are `parse`'s business
            found[name] = found[name].without((found[name].lengths() == 0) & filled)
        return found


def header(path: Path, start: int, delimiter: int) -> bytes:
    """Return the first record, empty for an empty file.

    Raises OSError, or Unreadable where it names no columns.
    """
    found = next(lines.ends(path, start, LONGEST_HEADER, delimiter), None)
    if found is None:
        return b""
    with streams.opened(path, start) as file:
        line = file.read(int(found[0]) - start)
    cells(line, delimiter)
    return line


def cells(line: bytes, delimiter: int) -> list[str]:
    """Return the fields of one record.

    Raises Unreadable: bad_utf8, bad_row.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(line)))  # it is the process's; ours is on the whole row
    try:
        return next(csv.reader((line.decode(),), delimiter=chr(delimiter), strict=True), [])
    except UnicodeDecodeError as error:
        raise Unreadable("bad_utf8", f"byte {error.start} of the row is no UTF-8") from error
    except csv.Error as error:
        raise Unreadable("bad_row", f"no CSV: {error}") from error
