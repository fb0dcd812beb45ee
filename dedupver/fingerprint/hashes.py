"""Sets of 32-bit hashes: mixed, sorted and made distinct, in compiled code."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit

_FEW: Final = 16  # up to this many, sorting by insertion alone is fastest
SOME: Final = 1024
"""Up to so many, one pass by leading bits and one of insertion beat four by digits; `counts` has room for so many."""


@njit(cache=True)
def mix64(x: np.uint64) -> np.uint64:
    """Return 64 bits that each depend on all of x: murmur3's finaliser."""
    x ^= x >> np.uint64(33)
    x *= np.uint64(0xFF51AFD7ED558CCD)
    x ^= x >> np.uint64(33)
    x *= np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


@njit(cache=True)
def sort(values: npt.NDArray[np.uint32], scratch: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]) -> None:
    """Sort hashes in place; `scratch` has their room at least."""
    if len(values) > SOME:
        for shift in (0, 16):  # an even number of passes: the result ends where it began
            _by_digit(values, scratch[: len(values)], counts[:256], np.uint32(shift))
            _by_digit(scratch[: len(values)], values, counts[:256], np.uint32(shift + 8))
        return
    if len(values) > _FEW:
        _by_leading_bits(values, scratch[: len(values)], counts)
    _by_insertion(values)


@njit(cache=True)
def _by_leading_bits(
    values: npt.NDArray[np.uint32], scratch: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]
) -> None:
    """Bring hashes nearly in order: with as many buckets as values, one holds few."""
    bits = 0
    while 1 << bits < len(values):
        bits += 1
    scratch[:] = values
    _by_digit(scratch, values, counts[: 1 << bits], np.uint32(32 - bits))


@njit(cache=True)
def _by_digit(
    values: npt.NDArray[np.uint32], out: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64], shift: np.uint32
) -> None:
    """Sort by the bits above `shift` that number the buckets of `counts`, a power of two; the sort is stable."""
    mask = np.uint32(len(counts) - 1)
    counts[:] = 0
    for value in values:
        counts[(value >> shift) & mask] += 1
    total = 0
    for digit in range(len(counts)):
        counts[digit], total = total, total + counts[digit]
    for value in values:
        digit = (value >> shift) & mask
        out[counts[digit]] = value
        counts[digit] += 1


@njit(cache=True)
def _by_insertion(values: npt.NDArray[np.uint32]) -> None:
    for i in range(1, len(values)):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@njit(cache=True)
def drop_repeats(values: npt.NDArray[np.uint32]) -> int:
    """Move the distinct ones of ascending values to the front; return their number."""
    kept = 0
    for value in values:
        if kept == 0 or values[kept - 1] != value:
            values[kept] = value
            kept += 1
    return kept
