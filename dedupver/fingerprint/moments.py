"""A sound as it is decoded → moments of some seconds, spread evenly over it, at the rate that a model listens at."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint.pieces import Piece, Pieces

SECONDS: Final = 10
"""The length of a moment: CLAP listens to so many; the last one, or the only one, is shorter."""


class Moments:
    """The moments that are held, and the samples of the one that is not over."""

    def __init__(self, wanted: int, rate: int) -> None:
        """Say how many are wanted, 0 for none, of one channel at so many samples a second."""
        import av  # noqa: PLC0415 - an extra

        self._pieces, self._size, self._number = Pieces(wanted), SECONDS * rate, 0
        self._down = av.AudioResampler("s16", "mono", rate) if wanted else None
        self._open = np.empty(0, np.int16)

    def hear(self, frame: Any) -> None:
        """Take a frame in; None: that was all."""
        if self._down is None:
            return
        samples = (np.ravel(each.to_ndarray()) for each in self._down.resample(frame))
        self._open = np.concatenate([self._open, *samples])
        while len(self._open) >= self._size:
            self._close(self._open[: self._size])
            self._open = self._open[self._size :]

    def spread(self, silent: int) -> tuple[Piece, ...]:
        """Return as many as are wanted; a moment that is nowhere louder than `silent` is none."""
        if len(self._open):
            self._close(self._open)
        found = self._pieces.spread(1000 * SECONDS)
        return tuple(each for each in found if np.abs(each.data.astype(np.int32)).max() >= silent)

    def _close(self, samples: npt.NDArray[np.int16]) -> None:
        if self._pieces.wants(self._number):
            self._pieces.take(self._number, samples.copy())
        self._number += 1
