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
_PARTS: Final = 2
"""How the delimiter is marked among what ends a bare field."""
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'
_STOPS_QUOTED: Final = marks(b'"')


def scan(  # noqa: PLR0913, PLR0917 - as marks and names of a table's columns come apart
    data: Bytes, offsets: Offsets, plain: Mask, header: Sequence[str], names: Sequence[str], delimiter: int
) -> dict[str, Cells]:
    """Return the fields of the records that `plain` marks, by name; unmark those that are not plainly well.

    Record i, with its line end, is `data[offsets[i] : offsets[i + 1]]`.
    """
    places = {name: place for place, name in enumerate(header)}
    names = [name for name in names if name in places]
    columns = np.full(len(header), len(names))  # what nobody asked for goes to the last row of the sink
    columns[[places[name] for name in names]] = range(len(names))
    if len(plain):  # the last record of a file may be open: no loop would find its end
        plain[-1] &= record_ends(data[offsets[-2] : offsets[-1]], START, delimiter)[1] == START
    sink = Sink.of(len(names), len(plain), int(offsets[-1] - offsets[0]))
    _records(data, offsets, plain, columns, marks(bytes([delimiter, *b"\r\n"]), bytes([_PARTS, 1, 1])), sink)
    return sink.cells(names)


@njit(cache=True, nogil=True)
def record_ends(data: Bytes, state: int, delimiter: int) -> tuple[Offsets, int]:
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
        elif c == delimiter:
            state = START
        elif c == _QUOTE and state != _BARE:
            state = _QUOTED
        else:
            state = _BARE
    return found[:n], state


@njit(cache=True, nogil=True)
def _records(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    data: Bytes, offsets: Offsets, plain: Mask, columns: Offsets, stops: Bytes, sink: Sink
) -> None:
    for row in range(len(plain)):
        begin, end = offsets[row], offsets[row + 1]
        # no loop goes beyond a line end outside quotes, and none needs to look for it
        plain[row] = plain[row] and end > begin and data[end - 1] == _NEWLINE
        plain[row] = plain[row] and _record(data, begin, columns, stops, sink, row) == end
        for f in range(len(sink.offsets)):
            if not plain[row]:
                sink.size[f] = sink.offsets[f, row]
            sink.offsets[f, row + 1] = sink.size[f]


@njit(cache=True, nogil=True)
def _record(  # noqa: PLR0913, PLR0917 - as above
    data: Bytes, i: int, columns: Offsets, stops: Bytes, sink: Sink, row: int
) -> int:
    """Write the fields of a record to the sink; return the place after it."""
    for place in range(len(columns)):
        if place:
            if stops[data[i]] != _PARTS:
                return _FAIL
            i += 1
        f = columns[place]
        i, size = _field(data, i, stops, sink.data[f], sink.size[f])
        sink.kinds[row, f] = STRING
        if f < len(sink.offsets):
            sink.size[f] = size
    if data[i] == _RETURN:
        i += 1
    return i + 1 if data[i] == _NEWLINE else _FAIL


@njit(cache=True, nogil=True)
def _field(data: Bytes, i: int, stops: Bytes, out: Bytes, o: int) -> tuple[int, int]:
    """Write a field to `out`; return the places after it."""
    if data[i] != _QUOTE:
        return copy_run(data, i, out, o, stops)
    while True:
        i, o = copy_run(data, i + 1, out, o, _STOPS_QUOTED)
        i += 1
        if data[i] != _QUOTE:
            return i, o
        out[o] = _QUOTE
        o += 1
