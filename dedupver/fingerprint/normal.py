"""The normal form of texts, one by one in plain Python, and of whole columns in compiled code."""

from __future__ import annotations

import functools
import unicodedata
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.fingerprint.strings import Strings

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPACE: Final = 32
_ASCII: Final = np.array([_SPACE if c.isspace() else ord(c.lower()) for c in map(chr, range(128))], np.uint8)
_PLANES: Final = 0x20000  # characters beyond are left to `normalize`, as are those that need a look at their neighbours
_HARD: Final = -1
_JAMO: Final = range(0x1100, 0x1200)  # letters of Hangul, which compose into syllables


def normalize(text: str) -> str:
    """Return the text's normal form: NFC, case-folded, runs of white space as one space, none at the ends.

    Idempotent. Source: Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145), in NFC.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    # folding decomposes some letters (j with caron), so the result is composed again
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())


def normal_forms(texts: Strings) -> tuple[Strings, npt.NDArray[np.int64]]:
    """Return the UTF-8 of `normalize` of each text of UTF-8, and the number of its characters, shape (n,).

    Raises UnicodeDecodeError.
    """
    room = np.append(0, np.cumsum(texts.sizes))
    out = np.empty(room[-1], np.uint8)
    sizes, chars = _fold_all(texts.buffer, texts.starts, texts.stops, _folded(), out)
    forms = Strings(out, room[:-1], room[:-1] + sizes)
    hard = np.flatnonzero(sizes < 0)
    if not len(hard):
        return forms, chars
    others = [normalize(str(text, "utf-8")) for text in texts.take(hard)]
    chars[hard] = [len(text) for text in others]
    return forms.replace(hard, Strings.of_list(text.encode() for text in others)), chars


@functools.cache
def _folded() -> npt.NDArray[np.int32]:
    """Return what each character becomes in whatever text: its case-folded form, a space for white space, or _HARD."""
    characters = list(map(chr, range(_PLANES)))
    folds = np.array([ord(fold) if len(fold) == 1 else _HARD for fold in map(str.casefold, characters)], np.int32)
    alone = np.array([unicodedata.is_normalized("NFC", character) for character in characters])
    alone &= np.array(list(map(unicodedata.combining, characters))) == 0
    alone[_composing(characters)] = alone[0xD800:0xE000] = False
    widths = np.searchsorted([0x80, 0x800, 0x10000], range(_PLANES), side="right")
    folded = np.where((folds >= 0) & alone & alone[folds] & (widths[folds] <= widths), folds, np.int32(_HARD))
    folded[list(map(str.isspace, characters))] = _SPACE
    return folded


def _composing(characters: Iterable[str]) -> list[int]:
    """Return the characters that may compose with the one before: the second of a canonical pair, and Hangul's."""
    forms = [form.split() for form in map(unicodedata.decomposition, characters) if form]
    return [int(form[1], 16) for form in forms if len(form) == 2 and not form[0].startswith("<")] + list(_JAMO)


@njit(cache=True)
def _fold_all(
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    folded: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Write each text's normal form where its bytes would stand if the texts were joined.

    Return the sizes of the forms in bytes, -1 where it takes more than folding each character, and in characters.
    """
    sizes, chars = np.empty(len(starts), np.int64), np.empty(len(starts), np.int64)
    begin = 0
    for i in range(len(starts)):
        text = buffer[starts[i] : stops[i]]
        place = out[begin : begin + len(text)]
        if _is_ascii(text):
            sizes[i] = chars[i] = _fold_ascii(text, place)
        else:
            sizes[i], chars[i] = _fold(text, folded, place)
        begin += len(text)
    return sizes, chars


@njit(cache=True)
def _is_ascii(text: npt.NDArray[np.uint8]) -> bool:
    every = np.uint8(0)
    for byte in text:
        every |= byte
    return bool(every < 128)


@njit(cache=True)
def _fold_ascii(text: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> int:
    size, last = 0, np.uint8(_SPACE)
    for byte in text:
        code = _ASCII[byte]
        out[size] = code
        size += (code != _SPACE) | (last != _SPACE)  # without a branch: where a word ends is hard to foresee
        last = code
    return size - 1 if size and last == _SPACE else size


@njit(cache=True)
def _fold(text: npt.NDArray[np.uint8], folded: npt.NDArray[np.int32], out: npt.NDArray[np.uint8]) -> tuple[int, int]:
    at = size = more = 0  # more: bytes of characters beyond their first
    code: int | np.int64 = _SPACE
    while at < len(text):
        last = code
        if text[at] < 128:
            code, width = folded[text[at]], 1
        else:
            code, width = decode(text, at)
            code = folded[code] if code < _PLANES else _HARD
            if code == _HARD:
                return -1, -1
        at += width
        if code < 128:
            out[size] = code
            size += (code != _SPACE) | (last != _SPACE)
        else:
            width = _encode(code, out[size:])
            size += width
            more += width - 1
    if size and code == _SPACE:
        size -= 1
    return size, size - more


@njit(cache=True)
def decode(text: npt.NDArray[np.uint8], at: int) -> tuple[int | np.int64, int]:
    """Return the character that begins at a byte beyond ASCII, and its width; _PLANES where it is no UTF-8."""
    lead = np.int64(text[at])
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or at + width > len(text):
        return _PLANES, 1
    code = lead & (0x7F >> width)
    for byte in text[at + 1 : at + width]:
        if byte & 0xC0 != 0x80:
            return _PLANES, 1
        code = code << 6 | byte & 0x3F
    return (code if _width(code) == width else _PLANES), width


@njit(cache=True)
def _encode(code: int | np.int64, out: npt.NDArray[np.uint8]) -> int:
    """Write a character beyond ASCII and return its width."""
    width = _width(code)
    for k in range(width - 1, 0, -1):
        out[k] = 0x80 | code & 0x3F
        code >>= 6
    out[0] = (0xF00 >> width) & 0xFF | code
    return width


@njit(cache=True)
def _width(code: int | np.int64) -> int:
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
