"""Vectors that came with the records: their numbers are their content; they themselves, at length 1, are compared."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.digests import of_list
from dedupver.fingerprint.rows import Found
from dedupver.fingerprint.strings import Strings
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.look import Look, Sink

Numbers = npt.NDArray[np.float32]

WIDTH: Final = 4
"""Bytes of a number."""

_NOT_FINITE: Final = Unreadable("not_finite_vector", "a number that is NaN, infinite, or beyond 32 bits")
_ZERO: Final = Unreadable("zero_vector", "zeros alone point nowhere")


def look(settings: params.Vector, sink: Sink) -> Look:
    """Return the look at vectors; they have as many numbers as `settings` say, or as the first one has."""
    not_finite, zero = sink.verdict(_NOT_FINITE), sink.verdict(_ZERO)
    dims = [settings.dim] if settings.dim else []

    @functools.cache
    def wrong(size: int) -> int:
        said = f"{size // WIDTH} numbers; the index holds vectors of {dims[0]}"
        return sink.verdict(Unreadable("wrong_dimension", said))

    def at(strings: Strings) -> Found:
        found, sizes = Found.nothing(len(strings)), strings.sizes
        if not dims:
            dims.append(int(next(filter(None, sizes.tolist()), WIDTH)) // WIDTH)
        fits = sizes == WIDTH * dims[0]
        found.verdict[~fits] = [wrong(size) for size in sizes[~fits].tolist()]
        rows = np.flatnonzero(fits)
        if not len(rows):
            return found
        numbers = _numbers(strings.take(rows), dims[0])
        found.verdict[rows[~numbers.any(axis=1)]] = zero
        found.verdict[rows[~np.isfinite(numbers).all(axis=1)]] = not_finite
        sound = found.verdict[rows] < 0
        rows, numbers = rows[sound], numbers[sound]
        found.content[rows] = of_list(Strings.of_list(map(bytes, numbers)).sha256())
        fresh = sink.lacking(found.content, rows)
        if len(fresh):
            sink.add({"cosine": at_length_1(numbers[np.searchsorted(rows, fresh)])})
        return found

    return at


def at_length_1(numbers: Numbers) -> Numbers:
    """Return vectors, shape (n, dim), at length 1; a length is a sum in 64 bits."""
    wide = numbers.astype(np.float64)
    unit: Numbers = (wide / np.sqrt((wide * wide).sum(axis=1, keepdims=True))).astype(np.float32)
    return unit


def _numbers(strings: Strings, dim: int) -> Numbers:
    """Return the numbers of strings that all have `dim`, shape (n, dim); there is one zero."""
    joined = np.frombuffer(b"".join(bytes(string) for string in strings), "<f4").reshape(-1, dim)
    numbers: Numbers = joined.astype(np.float32) + np.float32(0)
    return numbers
