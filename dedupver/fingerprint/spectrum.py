"""Samples of sound → a code of 32 bits each 23 ms, which survives codecs, gain and noise.

The sub-fingerprint of Haitsma and Kalker, "A highly robust audio fingerprinting system", 2002: the energies of 33
bands, spaced evenly on a logarithmic scale from 300 to 2000 Hz, in a window of 0.37 s; a bit says whether the
difference of two neighbouring bands has grown until the next code. A window stands around its time, and reaches over
the ends of the sound into silence, so that the shortest sound has codes; a moment far below the loudest has the code 0:
nothing is heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

RATE: Final = 5512  # samples a second
HOP: Final = 128  # samples from a code to the next
STEP: Final = 1000 * HOP / RATE  # milliseconds
WINDOW: Final = 2048  # samples
BANDS: Final = 33
LOWEST, HIGHEST = 300.0, 2000.0  # Hz
QUIET: Final = 0.003
"""Of the loudest moment's root mean square: 50 dB below it nothing is heard."""

_BLOCK: Final = 512  # windows transformed at a time


def codes(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.uint32]:
    """Return the codes of samples of one channel at RATE, shape (len(samples) / HOP + 1,); code i is at i · STEP ms."""
    count = len(samples) // HOP + 1
    sound = np.pad(samples, (WINDOW // 2, WINDOW // 2 + 2 * HOP))
    energy = np.concatenate([_energies(sound, at, min(at + _BLOCK, count + 1)) for at in range(0, count + 1, _BLOCK)])
    difference = energy[:, :-1] - energy[:, 1:]
    grown = difference[1:] > difference[:-1]
    packed: npt.NDArray[np.uint32] = np.ascontiguousarray(np.packbits(grown, axis=1)).view(">u4").ravel().astype("u4")
    packed[packed == 0] = 1  # 0 is silence
    loudness = _loudness(sound, count)
    packed[loudness < QUIET * loudness.max()] = 0
    return packed


def _energies(sound: npt.NDArray[np.int16], first: int, last: int) -> npt.NDArray[np.float64]:
    """Return the energy in each band of the windows `first` to `last`, shape (windows, BANDS)."""
    part = sound[first * HOP : (last - 1) * HOP + WINDOW].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(part, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.square(np.abs(np.fft.rfft(windows, axis=1)))
    below = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1) * WINDOW / RATE
    whole = edges.astype(np.int64)
    share = edges - whole  # of the bin in which an edge lies
    energies: npt.NDArray[Any] = np.diff(below[:, whole] * (1 - share) + below[:, whole + 1] * share, axis=1)
    return energies


def _loudness(sound: npt.NDArray[np.int16], count: int) -> npt.NDArray[np.float64]:
    """Return the root mean square of the two hops around each code's time, shape (count,)."""
    hops = sound[WINDOW // 2 - HOP :][: (count + 1) * HOP].reshape(-1, HOP)
    blocks = (hops[at : at + _BLOCK].astype(np.int64) for at in range(0, len(hops), _BLOCK))
    sums = np.concatenate([np.square(block).sum(axis=1) for block in blocks])
    return np.sqrt((sums[1:] + sums[:-1]) / (2 * HOP))
