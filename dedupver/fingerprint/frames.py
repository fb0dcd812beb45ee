"""Some pictures of a video, spread evenly over what was shown of it: what a model is to see of it.

How long a video is shows only at its end, so pictures are held at every so many ticks, twice as many as are wanted at
most; where there are more, every other one is let go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Pixels = npt.NDArray[np.uint8]

SIDE: Final = 512
"""Pixels of the longer side at most: models look at 224 to 448."""


class Frame(NamedTuple):
    """A picture, and when it is shown."""

    millis: int  # from the first picture on
    pixels: Pixels  # RGB, shape (height, width, 3)


class Frames:
    """The pictures that are held."""

    def __init__(self, wanted: int) -> None:
        """Say how many are wanted; 0: none is held."""
        self._wanted, self._every = wanted, 1
        self._held: dict[int, Pixels] = {}  # by tick, ascending

    def wants(self, first: int, count: int) -> bool:
        """Return whether a picture is to be held that is shown at some ticks."""
        return self._wanted > 0 and -first % self._every < count

    def take(self, tick: int, pixels: Pixels) -> None:
        """Hold a picture that is shown from a tick on."""
        tick += -tick % self._every
        self._held[tick] = pixels
        while len(self._held) > 2 * self._wanted:
            self._every *= 2
            self._held = {at: held for at, held in self._held.items() if at % self._every == 0}

    def spread(self, rate: float) -> tuple[Frame, ...]:
        """Return as many as are wanted, or all; there are `rate` ticks in a second."""
        ticks = list(self._held)
        count = min(len(ticks), self._wanted)
        chosen = [ticks[(2 * k + 1) * len(ticks) // (2 * count)] for k in range(count)]
        return tuple(Frame(round(1000 * tick / rate), self._held[tick]) for tick in chosen)


def colours(frame: VideoFrame, bars: tuple[int, int], turn: int) -> Pixels:
    """Return a picture in colours, without its black bars and upright, no side longer than SIDE.

    `bars` and `turn` are as in `pictures.code`.
    """
    shrunk = min(1.0, SIDE / max(frame.width, frame.height))
    width, height = (max(1, round(side * shrunk)) for side in (frame.width, frame.height))
    small = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    lines, columns = (int(bar * shrunk) for bar in bars)
    upright = np.rot90(small[lines : height - lines, columns : width - columns], turn)
    return np.ascontiguousarray(upright)
