"""Formats made of lines: where their records end, found block by block, and their bytes, one record at a time.

A record of CSV may hold line ends in quotes, so each byte is read in the state that those before it leave.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt
from numba import njit

from dedupver.records.paths import BOM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK: Final = 4 << 20
_NEWLINE, _COMMA, _QUOTE = 10, 44, 34
_FIELD, _BARE, _QUOTED, _AFTER_QUOTE = (
    0,
    1,
    2,
    3,
)  # at the start of a field, within one, in quotes, after a quote in quotes


class Format(Protocol):
    """What a format made of lines has to say."""

    quoted: bool
    """Whether a line end within quotes is part of a field."""

    def blank(self, line: bytes) -> bool:
        """Return whether a line holds no record."""

    def parse(self, line: bytes) -> dict[str, object]:
        """Return a row by column, or raise Unreadable."""


def after_bom(path: Path) -> int:
    """Return the offset of the first record: a byte order mark is none of it. Raises OSError."""
    with path.open("rb") as file:
        return len(BOM) if file.read(len(BOM)) == BOM else 0


def records(path: Path, start: int, stop: int, limit: int, *, quoted: bool) -> Iterator[bytes | None]:
    """Yield the records between two offsets with their line ends; None for one longer than `limit` bytes.

    Raises OSError.
    """
    at = start
    with path.open("rb") as scanned, path.open("rb") as file:
        file.seek(start)
        for found in ends(scanned, start, stop, quoted=quoted):
            for end in found.tolist():
                if end - at > limit:
                    file.seek(end)
                    yield None
                else:
                    yield file.read(end - at)
                at = end


def cuts(path: Path, start: int, size: int, rows: int, *, quoted: bool) -> Iterator[tuple[int, int, int]]:
    """Cut a file into chunks of whole records; yield the offsets of each and the number of its first record.

    A chunk ends with the record that makes it reach `size` bytes or `rows` records. Raises OSError.
    """
    begin, first, seen = start, 0, 0  # the chunk's offset and first record; the records before this block
    end = start
    with path.open("rb") as file:
        for found in ends(file, start, os.fstat(file.fileno()).st_size, quoted=quoted):
            while (last := min(first + rows - 1 - seen, int(np.searchsorted(found, begin + size)))) < len(found):
                yield begin, int(found[last]), first
                begin, first = int(found[last]), seen + last + 1
            seen += len(found)
            end = int(found[-1])
    if begin < end:
        yield begin, end, first


def ends(file: BinaryIO, start: int, stop: int, *, quoted: bool) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the offsets just past each record, ascending, an array for each block that has any.

    The last record may lack a line end.
    """
    file.seek(start)
    at, last, state = start, start, _FIELD
    while at < stop and (block := file.read(min(BLOCK, stop - at))):
        data = np.frombuffer(block, np.uint8)
        if quoted:
            found, state = _quoted_ends(data, state)
        else:
            found = np.flatnonzero(data == _NEWLINE)
        if len(found):
            yield found + (at + 1)
            last = at + int(found[-1]) + 1
        at += len(block)
    if last < at:
        yield np.array([at])


@njit(cache=True, nogil=True)
def _quoted_ends(data: npt.NDArray[np.uint8], state: int) -> tuple[npt.NDArray[np.int64], int]:
    """Return the places of line ends outside quotes and the state at the end of the block.

    The states are those of CPython's _csv.c: a quote within a bare field is a character like any other.
    """
    found = np.empty(np.count_nonzero(data == _NEWLINE), np.int64)
    n = 0
    for i in range(len(data)):
        c = data[i]
        if state == _QUOTED:
            if c == _QUOTE:
                state = _AFTER_QUOTE
        elif c == _NEWLINE:
            found[n] = i
            n += 1
            state = _FIELD
        elif c == _COMMA:
            state = _FIELD
        elif c == _QUOTE and state != _BARE:
            state = _QUOTED
        else:
            state = _BARE
    return found[:n], state
