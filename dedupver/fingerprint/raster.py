"""Compiled passes over pixels: their luma and their size as Pillow has them, bit for bit, and whether they vary.

`resize` makes two passes, each sample a sum of 8-bit samples weighed by fixed-point numbers of 22 bits, rounded to
8 bits after each pass. The weights are computed in float64 as Pillow computes them, so that results are the same to
the last bit; the sums are of 32-bit integers that the compiler can add eight at a time, and no copy of the image in
Pillow's own layout is made. Source: Pillow 13, `src/libImaging/Resample.c` and `Convert.c`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dedupver.compiled import njit

if TYPE_CHECKING:
    import numpy.typing as npt

BICUBIC: Final = 2
LANCZOS: Final = 3
"""A filter is named by its reach: so many samples to each side, of the input or of the output, whichever are larger."""

_BITS: Final = 22
_HALF: Final = 1 << (_BITS - 1)


def resize(samples: npt.NDArray[np.uint8], side: int, reach: int) -> npt.NDArray[np.uint8]:
    """Return samples of shape (height, width, channels) as (side, side, channels), whatever their proportions were."""
    height, width, _ = samples.shape
    if height > side and height - side > 2 * (width - side):  # the order of Pillow 13; before it, never
        return _across(_down(samples, side, reach), side, reach)
    return _down(_across(samples, side, reach), side, reach)


@njit(cache=True, nogil=True)
def grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the luma of RGB pixels of shape (height, width, 3), as (height, width, 1): ITU-R 601-2, to 16 bits."""
    height, width, _ = pixels.shape
    out = np.empty((height, width, 1), np.uint8)
    for y in range(height):
        line, given = out[y].reshape(-1), pixels[y].reshape(-1)  # flat: a stride known to the compiler
        for x in range(width):
            red, green, blue = np.uint32(given[3 * x]), np.uint32(given[3 * x + 1]), np.uint32(given[3 * x + 2])
            luma = red * np.uint32(19595) + green * np.uint32(38470) + blue * np.uint32(7471)
            line[x] = np.uint32(luma + np.uint32(0x8000)) >> np.uint32(16)
    return out


def _across(samples: npt.NDArray[np.uint8], side: int, reach: int) -> npt.NDArray[np.uint8]:
    height, width, channels = samples.shape
    out = np.empty((height, side, channels), np.uint8)
    first, last, weights = _weights(width, side, reach)
    _sum_columns(samples, first, last, weights, out)
    return out


def _down(samples: npt.NDArray[np.uint8], side: int, reach: int) -> npt.NDArray[np.uint8]:
    height, width, channels = samples.shape
    out = np.empty((side, width * channels), np.uint8)
    first, last, weights = _weights(height, side, reach)
    _sum_lines(samples.reshape(height, -1), first, last, weights, out)
    return out.reshape(side, width, channels)


@njit(cache=True, nogil=True)
def deviates(pixels: npt.NDArray[np.uint8], least: float) -> bool:
    """Whether the standard deviation of a channel is `least` or more; looks no further than it must."""
    height, width, channels = pixels.shape
    sums, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for y in range(height):
        given, seen = pixels[y].reshape(-1), float((y + 1) * width)
        for channel in range(channels):
            for x in range(width):
                value = np.int64(given[channels * x + channel])
                sums[channel] += value
                squares[channel] += value * value
            # The variance of all is at least that of the lines seen, times their share.
            if seen * squares[channel] - float(sums[channel]) ** 2 >= least * least * seen * (height * width):
                return True
    return False


@njit(cache=True, nogil=True)
def _weights(size: int, side: int, reach: int) -> Any:
    """From where to where each of `side` outputs takes its inputs, and the weights, shape (side, most inputs)."""
    scale = size / side
    wide = max(scale, 1.0)
    support = reach * wide
    first, last = np.empty(side, np.int64), np.empty(side, np.int64)
    weights = np.zeros((side, 2 * math.ceil(support) + 1), np.int32)
    row = np.empty(weights.shape[1], np.float64)
    for i in range(side):
        centre = (i + 0.5) * scale
        first[i], last[i] = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), size)
        total = 0.0
        for j in range(last[i] - first[i]):
            row[j] = _filter((j + first[i] - centre + 0.5) * (1.0 / wide), reach)
            total += row[j]
        for j in range(last[i] - first[i]):
            weight = row[j] / total if total != 0 else row[j]
            weights[i, j] = int((-0.5 if weight < 0 else 0.5) + weight * (1 << _BITS))
    return first, last, weights


@njit(cache=True, nogil=True)
def _filter(x: float, reach: int) -> float:
    if reach == LANCZOS:
        return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2.0 else 0.0


@njit(cache=True, nogil=True)
def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(x * math.pi) / (x * math.pi)


@njit(cache=True, nogil=True)
def _sum_columns(samples: Any, first: Any, last: Any, weights: Any, out: Any) -> None:
    height, width, channels = samples.shape
    line = np.empty(width, np.int32)
    for y in range(height):
        given = samples[y].reshape(-1)
        for channel in range(channels):
            for x in range(width):
                line[x] = given[channels * x + channel]
            for i in range(out.shape[1]):
                out[y, i, channel] = _dot(line[first[i] : last[i]], weights[i])


@njit(cache=True, nogil=True)
def _dot(line: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]) -> np.uint8:
    total = np.int32(_HALF)
    for j in range(len(line)):
        total = np.int32(total + np.int32(line[j] * weights[j]))  # the casts keep numba from widening to 64 bits
    return _to_8_bits(total)


@njit(cache=True, nogil=True)
def _sum_lines(lines: Any, first: Any, last: Any, weights: Any, out: Any) -> None:
    totals = np.empty(lines.shape[1], np.int32)
    for i in range(len(out)):
        totals[:] = _HALF
        for j in range(last[i] - first[i]):
            line, weight = lines[first[i] + j], weights[i, j]
            for x in range(len(totals)):
                totals[x] = np.int32(totals[x] + np.int32(np.int32(line[x]) * weight))
        for x in range(len(totals)):
            out[i, x] = _to_8_bits(totals[x])


@njit(cache=True, nogil=True)
def _to_8_bits(total: Any) -> np.uint8:
    return np.uint8(min(max(total >> _BITS, 0), 255))
