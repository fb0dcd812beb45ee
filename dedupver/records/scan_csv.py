"""Compiled scans of CSV: where records end, and some fields of many records, without a Python object for any.

The states are those of CPython's _csv.c: a quote within a bare field is a character like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver.compiled import njit
from dedupver.records.cells import STRING, Sink, copy_run, marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.records.cells import Bytes, Cells, Mask, Offsets

START: Final = 0
"""The state at the start of a field; the others are within a bare one, in quotes, and after a quote in quotes."""

_BARE, _QUOTED, _AFTER_QUOTE = 1, 2, 3
_FAIL: Final = -1
_NEWLINE, _RETURN, _QUOTE, _COMMA = b'\n\r",'
_STOPS_BARE: Final = marks(b",\r\n")
_STOPS_QUOTED: Final = marks(b'"')


def scan(data: Bytes, offsets: Offsets, plain: Mask, header: Sequence[str], names: Sequence[str]) -> dict[str, Cells]:
    """Return the fields of the records that `plain` marks, by name; unmark those that are not plainly well.

    Record i, with its line end, is `data[offsets[i] : offsets[i + 1]]`.
    """
    places = {name: place for place, name in enumerate(header)}
    names = [name for name in names if name in places]
    columns = np.full(len(header), len(names))  # what nobody asked for goes to the last row of the sink
    columns[[places[name] for name in names]] = range(len(names))
    if len(plain):  # the last record of a file may be open: no loop would find its end
        plain[-1] &= record_ends(data[offsets[-2] : offsets[-1]], START)[1] == START
    sink = Sink.of(len(names), len(plain), int(offsets[-1] - offsets[0]))
    _records(data, offsets, plain, columns, sink)
    return sink.cells(names)


@njit(cache=True, nogil=True)
def record_ends(data: Bytes, state: int) -> tuple[Offsets, int]:
    """Return the places of line ends outside quotes, and the state at the end of the block."""
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
            state = START
        elif c == _COMMA:
            state = START
        elif c == _QUOTE and state != _BARE:
            state = _QUOTED
        else:
            state = _BARE
    return found[:n], state


@njit(cache=True, nogil=True)
def _records(data: Bytes, offsets: Offsets, plain: Mask, columns: Offsets, sink: Sink) -> None:
    for row in range(len(plain)):
        begin, end = offsets[row], offsets[row + 1]
        # no loop goes beyond a line end outside quotes, and none needs to look for it
        plain[row] = plain[row] and end > begin and data[end - 1] == _NEWLINE
        plain[row] = plain[row] and _record(data, begin, columns, sink, row) == end
        for f in range(len(sink.offsets)):
            if not plain[row]:
                sink.size[f] = sink.offsets[f, row]
            sink.offsets[f, row + 1] = sink.size[f]


@njit(cache=True, nogil=True)
def _record(data: Bytes, i: int, columns: Offsets, sink: Sink, row: int) -> int:
    """Write the fields of a record to the sink; return the place after it."""
    for place in range(len(columns)):
        if place:
            if data[i] != _COMMA:
                return _FAIL
            i += 1
        f = columns[place]
        i, size = _field(data, i, sink.data[f], sink.size[f])
        sink.kinds[row, f] = STRING
        if f < len(sink.offsets):
            sink.size[f] = size
    if data[i] == _RETURN:
        i += 1
    return i + 1 if data[i] == _NEWLINE else _FAIL


@njit(cache=True, nogil=True)
def _field(data: Bytes, i: int, out: Bytes, o: int) -> tuple[int, int]:
    """Write a field to `out`; return the places after it."""
    if data[i] != _QUOTE:
        return copy_run(data, i, out, o, _STOPS_BARE)
    while True:
        i, o = copy_run(data, i + 1, out, o, _STOPS_QUOTED)
        i += 1
        if data[i] != _QUOTE:
            return i, o
        out[o] = _QUOTE
        o += 1
