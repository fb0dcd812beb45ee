"""A compiled scan of JSON Lines: some fields of the objects on many lines, without a Python object for any.

It knows the plain case alone and tells of which lines it is sure. The others — what is no JSON, keys that are escaped
or come twice, lone surrogates, NaN, nesting beyond a limit — are left to a parser that can say what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.records.cells import BOOLEAN, INT, NONE, NUMBER, OTHER, STRING, Sink, copy_run, marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.records.cells import Bytes, Cells, Mask, Offsets

DEPTH: Final = 128
"""Lines that are nested deeper are not plain ..."""
KEYS: Final = 512
"""... nor are those with more keys in the objects that are open at one place."""

_FAIL: Final = -1
_NEWLINE, _QUOTE, _COMMA, _MINUS, _DOT, _ZERO, _COLON = b'\n",-.0:'
_BRACKET, _BACKSLASH, _BRACE, _BRACE_END = b"[\\{}"
_N, _T, _U = b"ntu"
_TO_CLOSE: Final = 2  # from { to } and from [ to ]
_SPACE: Final = marks(b" \t\r")  # a line feed ends the line
_DIGIT: Final = marks(b"0123456789")
_EXPONENT: Final = marks(b"eE")
_SIGN: Final = marks(b"+-")
_STOPS: Final = marks(bytes([*range(32), _QUOTE, _BACKSLASH]))  # what can't be in a string as it is
_HEX: Final = marks(b"0123456789abcdefABCDEF", bytes([*range(1, 17), *range(11, 17)]))  # one more than its value
_ESCAPED: Final = marks(b'"\\/bfnrt', b'"\\/\b\f\n\r\t')
_NULL, _TRUE, _FALSE = (np.frombuffer(word, np.uint8) for word in (b"null", b"true", b"false"))
_HIGH, _LOW, _NO_SURROGATE = 0xD800, 0xDC00, 0xE000
_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)


class _Names(NamedTuple):
    """The names of the fields that are asked for."""

    text: Bytes  # one after the other
    bounds: Offsets  # (fields + 1,)
    hashes: npt.NDArray[np.uint64]  # (fields,)


class _Open(NamedTuple):
    """The objects and arrays around a place, outermost first."""

    ends: Bytes  # (DEPTH,) the character that ends each
    first: Offsets  # (DEPTH,) the number of keys before its own
    keys: npt.NDArray[np.uint64]  # (KEYS,) the hash of each key so far


def scan(data: Bytes, offsets: Offsets, plain: Mask, names: Sequence[str], max_depth: int) -> dict[str, Cells]:
    """Return the fields of the lines that `plain` marks, by name; unmark those that are not plainly well.

    Line i, with its line end, is `data[offsets[i] : offsets[i + 1]]`, and UTF-8 where it is marked.
    """
    sink = Sink.of(len(names), len(plain), int(offsets[-1] - offsets[0]))
    encoded = [name.encode("utf-8", "surrogatepass") for name in names]
    text = np.frombuffer(b"".join([*encoded, b"\0"]), np.uint8)
    wanted = _Names(text, np.cumsum([0, *map(len, encoded)]), np.empty(len(names), np.uint64))
    _lines(data, offsets, plain, wanted, min(max_depth, DEPTH), sink)
    return sink.cells(names)


@njit(cache=True, nogil=True)
def _lines(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    data: Bytes, offsets: Offsets, plain: Mask, names: _Names, limit: int, sink: Sink
) -> None:
    for f in range(len(names.hashes)):
        names.hashes[f] = _hash(names.text[names.bounds[f] : names.bounds[f + 1]])
    around = _Open(np.empty(DEPTH, np.uint8), np.empty(DEPTH, np.int64), np.empty(KEYS, np.uint64))
    for row in range(len(plain)):
        begin, end = offsets[row], offsets[row + 1]
        # no loop goes beyond a line end, and none needs to look for it
        plain[row] = plain[row] and end > begin and data[end - 1] == _NEWLINE
        plain[row] = plain[row] and _line(data, begin, names, limit, around, sink, row)
        for f in range(len(sink.offsets)):
            if not plain[row]:
                sink.size[f], sink.kinds[row, f] = sink.offsets[f, row], NONE
            sink.offsets[f, row + 1] = sink.size[f]


@njit(cache=True, nogil=True)
def _line(  # noqa: C901, PLR0913, PLR0917 - as above; every token has its turn
    data: Bytes, i: int, names: _Names, limit: int, around: _Open, sink: Sink, row: int
) -> bool:
    """Write the fields of a line to the sink; return whether it is a plain object."""
    unwanted = len(names.hashes)
    field, depth, keys = unwanted, 0, 0
    i = _skip(data, i)
    if data[i] != _BRACE:
        return False
    while True:  # here is a value
        opens = data[i] == _BRACE or data[i] == _BRACKET
        if not opens:
            i = _scalar(data, i, sink, row, field)
        elif depth < limit:
            sink.kinds[row, field] = OTHER
            around.ends[depth], around.first[depth] = data[i] + _TO_CLOSE, keys
            depth, field, i = depth + 1, unwanted, _skip(data, i + 1)
        else:
            return False
        while i != _FAIL and data[i] == around.ends[depth - 1]:
            opens, depth, i = False, depth - 1, _skip(data, i + 1)
            keys = around.first[depth]
            if depth == 0:
                return data[i] == _NEWLINE
        if i != _FAIL and not opens:
            i = _skip(data, i + 1) if data[i] == _COMMA else _FAIL
        if i != _FAIL and around.ends[depth - 1] == _BRACE_END:
            name = i + 1
            i = _key(data, i, around.keys, around.first[depth - 1], keys)
            if i != _FAIL and depth == 1:
                field = _field(data, name, around.keys[keys], names)
            keys += 1
        if i == _FAIL:
            return False


@njit(cache=True, nogil=True)
def _key(data: Bytes, i: int, keys: npt.NDArray[np.uint64], first: int, count: int) -> int:
    """Add a key to those from `first` on; return where its value begins."""
    if data[i] != _QUOTE or count == len(keys):
        return _FAIL
    end = i + 1
    while not _STOPS[data[end]]:
        end += 1
    if data[end] != _QUOTE:
        return _FAIL
    keys[count] = _hash(data[i + 1 : end])
    for k in range(first, count):
        if keys[k] == keys[count]:
            return _FAIL
    i = _skip(data, end + 1)
    return _skip(data, i + 1) if data[i] == _COLON else _FAIL


@njit(cache=True, nogil=True)
def _field(data: Bytes, i: int, hashed: np.uint64, names: _Names) -> int:
    """Return the number of the field whose name, and then a quote, is at `i`; the number of fields where none is."""
    for f in range(len(names.hashes)):
        if names.hashes[f] == hashed:
            k, end = names.bounds[f], names.bounds[f + 1]
            begin = i - k
            while k < end and data[begin + k] == names.text[k]:
                k += 1
            if k == end and data[begin + k] == _QUOTE:
                return f
    return len(names.hashes)


@njit(cache=True, nogil=True)
def _scalar(data: Bytes, i: int, sink: Sink, row: int, field: int) -> int:
    """Write what is no object and no array to the sink; return where the next token is."""
    size = sink.size[field]
    if data[i] == _QUOTE:
        kind = STRING
        i, size = _string(data, i + 1, sink.data[field], size)
    elif data[i] == _N:
        kind, i = NONE, _word(data, i, _NULL)
    else:
        kind, begin = NUMBER, i
        if data[i] == _MINUS or _DIGIT[data[i]]:
            i = _number(data, i)
        else:
            kind, i = BOOLEAN, _word(data, i, _TRUE if data[i] == _T else _FALSE)
        for k in range(begin, i):
            sink.data[field, size] = data[k]
            size += 1
    if i == _FAIL:
        return _FAIL
    sink.kinds[row, field] = kind
    if field < len(sink.offsets):
        sink.size[field] = size
    return _skip(data, i)


@njit(cache=True, nogil=True)
def _string(data: Bytes, i: int, out: Bytes, o: int) -> tuple[int, int]:
    """Decode the string from after its quote on; return the places after it in the line and in `out`."""
    while True:
        i, o = copy_run(data, i, out, o, _STOPS)
        if data[i] == _QUOTE:
            return i + 1, o
        if data[i] != _BACKSLASH:
            return _FAIL, o
        if data[i + 1] == _U:
            i, character = _escaped_unicode(data, i)
            if i == _FAIL:
                return _FAIL, o
            o = _encode(character, out, o)
        elif _ESCAPED[data[i + 1]]:
            out[o] = _ESCAPED[data[i + 1]]
            i, o = i + 2, o + 1
        else:
            return _FAIL, o


@njit(cache=True, nogil=True)
def _escaped_unicode(data: Bytes, i: int) -> tuple[int, int]:
    r"""Return the place after \uXXXX, or after a pair of surrogates, and the character."""
    high = _unit(data, i)
    if high < _HIGH or high >= _NO_SURROGATE:
        return (i + 6 if high != _FAIL else _FAIL), high
    low = _unit(data, i + 6) if high < _LOW else _FAIL
    if low < _LOW or low >= _NO_SURROGATE:
        return _FAIL, 0
    return i + 12, 0x10000 + ((high - _HIGH) << 10) + (low - _LOW)


@njit(cache=True, nogil=True)
def _unit(data: Bytes, i: int) -> int:
    if data[i] != _BACKSLASH or data[i + 1] != _U:
        return _FAIL
    value = 0
    for k in range(i + 2, i + 6):
        digit = INT(_HEX[data[k]])
        if digit == 0:
            return _FAIL
        value = value * 16 + digit - 1
    return value


@njit(cache=True, nogil=True)
def _encode(character: int, out: Bytes, o: int) -> int:
    """Write a character as UTF-8; return the place after it."""
    if character < 0x80:
        out[o] = character
        return o + 1
    more = 1 + (character >= 0x800) + (character >= 0x10000)
    out[o] = (0xFF00 >> more + 1) & 0xFF | character >> 6 * more
    for k in range(1, more + 1):
        out[o + k] = 0x80 | character >> 6 * (more - k) & 0x3F
    return o + more + 1


@njit(cache=True, nogil=True)
def _number(data: Bytes, i: int) -> int:
    """Return the place after a number."""
    if data[i] == _MINUS:
        i += 1
    i = i + 1 if data[i] == _ZERO else _digits(data, i)
    if i != _FAIL and data[i] == _DOT:
        i = _digits(data, i + 1)
    if i != _FAIL and _EXPONENT[data[i]]:
        i = _digits(data, i + 1 + (_SIGN[data[i + 1]] != 0))
    return i


@njit(cache=True, nogil=True)
def _digits(data: Bytes, i: int) -> int:
    if not _DIGIT[data[i]]:
        return _FAIL
    while _DIGIT[data[i]]:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _word(data: Bytes, i: int, word: Bytes) -> int:
    """Return the place after a word."""
    for letter in word:
        if data[i] != letter:
            return _FAIL
        i += 1
    return i


@njit(cache=True, nogil=True)
def _skip(data: Bytes, i: int) -> int:
    while _SPACE[data[i]]:
        i += 1
    return i


@njit(cache=True, nogil=True)
def _hash(data: Bytes) -> np.uint64:
    """FNV-1a. Two keys with one hash make a line that is not plain, so a collision costs time and nothing else."""
    value = _FNV_OFFSET
    for byte in data:
        value = (value ^ np.uint64(byte)) * _FNV_PRIME
    return value
