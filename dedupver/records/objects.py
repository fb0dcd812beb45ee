"""Some columns of a row as one string of bytes: an object on a line of canonical JSON, of strings as they are written.

The keys are sorted and what has no value is left out, so a row has the same bytes in CSV, JSON Lines and Parquet.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from dedupver.compiled import njit
from dedupver.records.cells import Cells, marks
from dedupver.records.scan_json import scan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dedupver.records.cells import Bytes, Mask, Offsets

_QUOTE, _BACKSLASH, _BRACE, _BRACE_END, _NEWLINE, _ZERO, _U = b'"\\{}\n0u'
_SHORT: Final = marks(b'"\\\b\f\n\r\t', b'"\\bfnrt')  # what follows a backslash
_MORE: Final = np.where(_SHORT > 0, 1, 5 * (np.arange(256) < 32)).astype(np.int64)  # bytes that a backslash adds
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_EDGES: Final = 2  # bytes of a line beside its pairs of key and value: the first one's comma becomes a brace


def line(values: Mapping[str, str]) -> bytes:
    """Return the line of one row; `values` has no empty string. It is the oracle of `lines`."""
    return json.dumps(dict(values), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def lines(columns: Mapping[str, tuple[Bytes, Offsets, Offsets]], count: int) -> tuple[Bytes, Offsets]:
    """Return the lines of some rows, one after the other, and where each begins and the last ends, shape (count + 1,).

    `columns` maps names to bytes and where each row's value starts and stops in them; a row without values has no line.
    """
    written = {name: f',{json.dumps(name, ensure_ascii=False)}:"'.encode() for name in columns}
    leads = {name: np.frombuffer(lead, np.uint8) for name, lead in written.items()}
    sizes = np.zeros(count, np.int64)
    for name, column in columns.items():
        _measure(*column, len(leads[name]), sizes)
    edges = np.append(0, np.cumsum(sizes + _EDGES * (sizes > 0)))
    out, at = np.empty(edges[-1], np.uint8), edges[:-1].copy()
    for name in sorted(columns):
        _write(*columns[name], leads[name], at, out)
    given = np.flatnonzero(sizes)
    out[edges[given]], out[at[given]], out[at[given] + 1] = _BRACE, _BRACE_END, _NEWLINE
    return out, edges


def columns(data: Bytes, edges: Offsets, names: Sequence[str]) -> dict[str, pa.LargeStringArray]:
    """Return the values in some lines by name, null where there is none; of names that no line has, nothing."""
    plain = np.ones(len(edges) - 1, np.bool_)
    found = {name: cells.values for name, cells in scan(data, edges, plain, names, 1).items()}
    odd = np.flatnonzero(~plain)  # a key that is escaped
    if not len(odd):
        return found
    rows = {row: json.loads(data[edges[row] : edges[row + 1]].tobytes()) for row in odd.tolist()}
    return {name: _with(found.get(name), rows, name, len(plain)) for name in names}


def _with(values: pa.LargeStringArray | None, rows: Mapping[int, Mapping[str, str]], name: str, n: int) -> pa.Array:
    each: list[str | None] = [None] * n if values is None else values.to_pylist()
    for row, held in rows.items():
        each[row] = held.get(name)
    return pa.array(each, pa.large_string())


def spans(cells: Cells, given: Mask) -> tuple[Bytes, Offsets, Offsets]:
    """Return the bytes of a column, and where each value starts and stops; empty where none is `given`."""
    _, offsets, held = cells.values.buffers()
    edges = np.frombuffer(offsets, np.int64)[cells.values.offset :][: len(given) + 1]
    return np.frombuffer(held or b"", np.uint8), edges[:-1], np.where(given, edges[1:], edges[:-1])


@njit(cache=True, nogil=True)
def _measure(data: Bytes, starts: Offsets, stops: Offsets, lead: int, sizes: Offsets) -> None:
    """Add to each row's size that of its pair of key and value."""
    for row in range(len(starts)):
        if starts[row] < stops[row]:
            sizes[row] += lead + 1 + stops[row] - starts[row]
            for byte in data[starts[row] : stops[row]]:
                sizes[row] += _MORE[byte]


@njit(cache=True, nogil=True)
def _write(  # noqa: PLR0913, PLR0917 - a column, and where it goes
    data: Bytes, starts: Offsets, stops: Offsets, lead: Bytes, at: Offsets, out: Bytes
) -> None:
    """Write each row's pair of key and value at its place, and move the place on."""
    for row in range(len(starts)):
        if starts[row] == stops[row]:
            continue
        place = at[row]
        out[place : place + len(lead)] = lead
        place += len(lead)
        for byte in data[starts[row] : stops[row]]:
            if _MORE[byte]:
                place = _escape(byte, out, place)
            else:
                out[place] = byte
                place += 1
        out[place] = _QUOTE
        at[row] = place + 1


@njit(cache=True, nogil=True)
def _escape(byte: np.uint8, out: Bytes, place: int) -> int:
    """Write a character as JSON has it; return the place after it."""
    out[place] = _BACKSLASH
    if _SHORT[byte]:
        out[place + 1] = _SHORT[byte]
        return place + 2
    out[place + 1], out[place + 2], out[place + 3] = _U, _ZERO, _ZERO
    out[place + 4], out[place + 5] = _HEX[byte >> 4], _HEX[byte & 15]
    return place + 6
