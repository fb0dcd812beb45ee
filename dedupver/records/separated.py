"""Comma-separated values (RFC 4180): the first record names the columns; rows are numbered from the one after it."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver.records import lines, scan_csv
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


class Separated:
    """How the records of one file are read (`lines.Format`)."""

    quoted = True

    def __init__(self, table: Table, header: bytes) -> None:
        """Take the names of the columns from the header."""
        self._names = cells(header)
        self._blobs, self._texts = table.blobs, table.texts

    def blank(self, line: bytes) -> bool:
        """Return whether a record is an empty line."""
        return not line.rstrip(b"\r\n")

    def parse(self, line: bytes) -> dict[str, object]:
        """Return the fields of a record by column.

        CSV has no null: an empty text is left out where the row has another part, but for the caption of an image. Any
        other empty text is an empty one. Raises Unreadable: bad_utf8, bad_row.
        """
        fields = cells(line)
        if len(fields) != len(self._names):
            raise Unreadable("bad_row", f"{len(fields)} fields, the header has {len(self._names)}")
        row: dict[str, object] = dict(zip(self._names, fields, strict=True))
        blob = any(row.get(name) for name in self._blobs)
        if blob or any(row.get(name) for name in self._texts):
            for name, part in self._texts.items():
                if not row.get(name) and not (blob and part == CAPTION):
                    row.pop(name, None)
        return row

    def scan(self, lines: pa.LargeBinaryArray, plain: Mask, names: Sequence[str]) -> dict[str, Cells]:
        """Return columns of the records that `plain` marks; unmark those that are not plainly well."""
        found = scan_csv.scan(*raw(lines), plain, self._names, names)
        for name in found.keys() & self._blobs.keys():
            found[name] = found[name].without(found[name].lengths() == 0)
        texts = [name for name in self._texts if name in found]
        filled = np.logical_or.reduce([np.zeros(len(plain), np.bool_), *(found[name].lengths() > 0 for name in texts)])
        for name in texts:  # rows with a blob are `parse`'s business
            found[name] = found[name].without((found[name].lengths() == 0) & filled)
        return found


def header(path: Path, start: int) -> bytes:
    """Return the first record, empty for an empty file.

    Raises OSError, or Unreadable where it names no columns.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        found = next(lines.ends(file, start, min(size, LONGEST_HEADER), quoted=True), None)
        if found is None:
            return b""
        file.seek(start)
        line = file.read(int(found[0]) - start)
    cells(line)
    return line


def cells(line: bytes) -> list[str]:
    """Return the fields of one record.

    Raises Unreadable: bad_utf8, bad_row.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(line)))  # it is the process's; ours is on the whole row
    try:
        return next(csv.reader((line.decode(),), strict=True), [])
    except UnicodeDecodeError as error:
        raise Unreadable("bad_utf8", f"byte {error.start} of the row is no UTF-8") from error
    except csv.Error as error:
        raise Unreadable("bad_row", f"no CSV: {error}") from error
