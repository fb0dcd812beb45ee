"""Fields of rows: their values in normal form, and what these are compared by: sets of hashes, or numbers.

All fields of a row make one set. The first bits of a hash say its field, so that a field's hashes lie side by side.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.compiled import njit
from dedupver.fingerprint.hashes import SOME, drop_repeats, mix64, sort
from dedupver.fingerprint.normal import decode
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.strings import Strings
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from dedupver.fingerprint.text import Sets
    from dedupver.params import RowField

FIELD_BITS: Final = 6
HASH_BITS: Final = 32 - FIELD_BITS
_EDGE: Final = np.uint64(0x1FFFFF)  # stands before and after a word; no character has this number
_SPACE: Final = np.uint64(0x20)  # the only white space of the normal form
_CHARACTER: Final = np.uint64(21)  # bits of a character
_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)

_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,6})?", re.ASCII)
_LARGEST: Final = 400  # decimal places on either side of the point: beyond what a number of 64 bits can be
_PLAIN: Final = r"^(0|-?[1-9][0-9]{0,17}|-?(0|[1-9][0-9]{0,17})\.[0-9]{0,17}[1-9])$"  # is canonical as it is


class Canonical(NamedTuple):
    """The values of a column of n numbers or dates."""

    forms: Strings  # as they are written canonically: 12.5, 2024-01-31; empty where there is no value, or a wrong one
    numbers: npt.NDArray[np.float64]  # (n,), of dates the days; NaN where there is no value
    wrong: dict[int, Unreadable]  # by row


def canonical(forms: Strings, how: RowField) -> Canonical:
    """Return values in normal form as numbers or dates; a number keeps all its digits.

    Each distinct value is parsed once, and one that is written as numbers mostly are by Arrow.
    """
    encoded = forms.column().cast(pa.large_string()).dictionary_encode()
    values, at = encoded.dictionary, encoded.indices.to_numpy()
    texts, numbers = values.to_pylist(), np.full(len(values), np.nan)
    plain = np.zeros(len(values), np.bool_)
    if how.compare == "number":
        plain = pc.match_substring_regex(values, _PLAIN).to_numpy(zero_copy_only=False)
        numbers[plain] = values.filter(pa.array(plain)).cast(pa.float64()).to_numpy()
    wrong: dict[int, Unreadable] = {}
    parse = _number if how.compare == "number" else functools.partial(_day, form=how.format)
    for place in np.flatnonzero(~plain).tolist():
        if texts[place]:
            try:
                texts[place], numbers[place] = parse(texts[place])
            except ValueError as error:
                said = f"{_shown(texts[place])} is no {how.compare}: {error}"
                wrong[place], texts[place] = Unreadable(f"bad_{how.compare}", said), ""
    rows = np.flatnonzero(np.isin(at, list(wrong))).tolist() if wrong else []
    written = pa.array(texts, pa.large_binary()).take(encoded.indices)
    return Canonical(Strings.of_column(written), numbers[at], {row: wrong[at[row]] for row in rows})


def bigrams(forms: Strings, field: int) -> Sets:
    """Return the pairs of neighbouring characters of each value's words, with their two ends; repeats count again.

    So the order of words says nothing. Source: Ukkonen, "Approximate string matching with q-grams and maximal matches",
    1992: the profile of a string.
    """
    offsets = np.zeros(len(forms) + 1, np.int64)
    values = np.empty(int((forms.sizes + (forms.sizes > 0)).sum()), np.uint32)
    scratch = np.empty(int(forms.sizes.max(initial=0)) + 1, np.uint32)
    _bigram_all(forms.buffer, forms.starts, forms.stops, field, offsets, values, scratch)
    return Ragged(offsets, values[: offsets[-1]].copy())


def wholes(forms: Strings, field: int) -> Sets:
    """Return two hashes of each value: 52 bits in all, by which equal ones are told."""
    offsets = np.zeros(len(forms) + 1, np.int64)
    values = np.empty(2 * len(forms), np.uint32)
    _whole_all(forms.buffer, forms.starts, forms.stops, field, offsets, values)
    return Ragged(offsets, values[: offsets[-1]].copy())


def _number(text: str) -> tuple[str, float]:
    if not _NUMBER.fullmatch(text):
        raise ValueError("a sign, digits, a point and an exponent are known")
    value = Decimal(text)
    if (value and abs(value.adjusted()) > _LARGEST) or not math.isfinite(float(value)):
        raise ValueError("too large, or too small")
    whole, _, part = f"{value:f}".partition(".")
    part = part.rstrip("0")
    return (f"{whole}.{part}" if part else whole) if value else "0", float(value)


def _day(text: str, form: str | None) -> tuple[str, float]:
    """Return the day of a date, or of a date and a time; without `form` ISO 8601's, whose zone is not looked at."""
    try:
        day = dt.datetime.strptime(text, form) if form else dt.datetime.fromisoformat(text.upper())  # noqa: DTZ007 - a day
    except ValueError:
        raise ValueError(f"{form or 'ISO 8601'} is known, `format` says another") from None
    return day.date().isoformat(), float(day.toordinal())


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


@njit(cache=True)
def _bigram_all(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    field: int,
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.uint32],
    scratch: npt.NDArray[np.uint32],
) -> None:
    counts = np.empty(SOME, np.int64)
    for i in range(len(starts)):
        found = values[offsets[i] :]
        found = found[: _bigrams(buffer[starts[i] : stops[i]], found)]
        sort(found, scratch, counts)
        if _tell_repeats_apart(found):
            sort(found, scratch, counts)
        size = drop_repeats(found)
        for k in range(size):
            found[k] = _of_field(field, found[k])
        offsets[i + 1] = offsets[i] + size


@njit(cache=True)
def _bigrams(text: npt.NDArray[np.uint8], out: npt.NDArray[np.uint32]) -> int:
    """Write a hash of HASH_BITS leading bits of each pair of characters; return how many there are."""
    if len(text) == 0:
        return 0
    at = n = 0
    before = _EDGE
    while at < len(text):
        if text[at] < 128:
            code, width = np.uint64(text[at]), 1
        else:
            character, width = decode(text, at)
            code = np.uint64(character)
        if code == _SPACE:
            code = _EDGE
        out[n] = _leading(mix64(before << _CHARACTER | code))
        at, n, before = at + width, n + 1, code
    out[n] = _leading(mix64(before << _CHARACTER | _EDGE))
    return n + 1


@njit(cache=True)
def _tell_repeats_apart(values: npt.NDArray[np.uint32]) -> bool:
    """Give each but the first of equal, ascending hashes another one, by its number; return whether there are any."""
    any_, times, last = False, np.uint64(0), np.uint32(0)
    for k in range(len(values)):
        value = values[k]
        times = times + np.uint64(1) if k and value == last else np.uint64(0)
        last = value
        if times:
            values[k] = _leading(mix64(times << np.uint64(32) | np.uint64(value)))
            any_ = True
    return any_


@njit(cache=True)
def _whole_all(  # noqa: PLR0913, PLR0917 - as above
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    field: int,
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.uint32],
) -> None:
    for i in range(len(starts)):
        at = offsets[i]
        offsets[i + 1] = at
        if starts[i] < stops[i]:
            hashed = _FNV_OFFSET
            for byte in buffer[starts[i] : stops[i]]:
                hashed = (hashed ^ np.uint64(byte)) * _FNV_PRIME
            hashed = mix64(hashed)
            one, other = _leading(hashed), _leading(hashed << np.uint64(HASH_BITS))
            values[at] = _of_field(field, min(one, other))
            if one != other:
                values[at + 1] = _of_field(field, max(one, other))
            offsets[i + 1] = at + 1 + (one != other)


@njit(cache=True)
def _leading(hashed: np.uint64) -> np.uint32:
    """Return the first HASH_BITS bits in the first bits of 32."""
    return np.uint32(hashed >> np.uint64(64 - HASH_BITS)) << np.uint32(FIELD_BITS)


@njit(cache=True)
def _of_field(field: int, leading: np.uint32) -> np.uint32:
    return np.uint32(field) << np.uint32(HASH_BITS) | leading >> np.uint32(FIELD_BITS)
