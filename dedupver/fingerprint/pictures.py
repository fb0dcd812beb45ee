"""The pictures of a video → a perceptual hash of what is shown at each tick, without black bars and upright.

A tick is every 1/rate seconds from the first picture on; what is shown there is the last picture that came before it,
so that a slide show of a picture every ten seconds and its copy of thirty a second have the same codes. A picture is
hashed by its luma, which decoders hand out as it is.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint import image
from dedupver.fingerprint.pieces import Pieces

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from dedupver import params

Grey = npt.NDArray[np.uint8]

BLACK_MEAN, BLACK_MOST = 24.0, 48
"""Levels of luma: a line is part of a black bar where it is below the one on average, and everywhere below the other.

Black is 16 in nearly all videos; compression leaves a few levels of noise, and some light beside the picture."""

SIDE: Final = 512
"""Pixels of the longer side of a picture that is handed out, at most: models look at 224 to 448."""

BORDER_TICKS: Final = 8
"""A bar is as wide as what stayed black in so many ticks: a dark scene has none."""


def code(grey: Grey, bars: tuple[int, int], turn: int) -> tuple[int, bool]:
    """The perceptual hash of a picture of shape (height, width), without its black bars; 0 where it says too little.

    And whether there is anything to see: more than one colour.

    `bars` is how many lines and columns each bar has, `turn` how many quarter turns to the left make it upright.
    """
    (height, width), (lines, columns) = grey.shape, bars
    inside = grey[lines : height - lines, columns : width - columns]
    information, found = image.look_at_luma(np.ascontiguousarray(inside), turn)
    return int(found[0]) if information == "ok" else 0, information != "blank"


def border(grey: Grey) -> tuple[int, int] | None:
    """How many lines at the top and bottom, and columns at the left and right, are black bars; None if all is black.

    Both bars of a pair have the same width, as letterboxes do: a night sky above a street is none.
    """
    lines, columns = _black(grey, 1), _black(grey, 0)
    if lines.all() or columns.all():
        return None
    return _both_ends(lines), _both_ends(columns)


def colours(frame: VideoFrame, bars: tuple[int, int], turn: int) -> Grey:
    """Return a picture as RGB, shape (height, width, 3), without its bars and upright, no side longer than SIDE."""
    shrunk = min(1.0, SIDE / max(frame.width, frame.height))
    width, height = (max(1, round(side * shrunk)) for side in (frame.width, frame.height))
    small = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    lines, columns = (int(bar * shrunk) for bar in bars)
    upright = np.rot90(small[lines : height - lines, columns : width - columns], turn)
    return np.ascontiguousarray(upright)


class Ticks:
    """The codes so far, the bars of the last ticks, and some of the pictures."""

    def __init__(self, how: params.Video, frames: int = 0) -> None:
        self.rate, self.most = how.rate, math.ceil(how.max_seconds * how.rate)
        self.codes: list[int] = []
        self.frames = Pieces(frames)
        self.pixels = 0  # of the largest picture so far, without its bars
        self._borders: deque[tuple[int, int]] = deque(maxlen=BORDER_TICKS)
        self._shape: tuple[int, int] | None = None

    @property
    def full(self) -> bool:
        """Whether there is a code for each tick that is asked for."""
        return len(self.codes) >= self.most

    def show(self, frame: VideoFrame, until: float) -> None:
        """Take a picture that stays until a time, in seconds."""
        count = min(math.ceil(until * self.rate), self.most) - len(self.codes)
        if count > 0:
            self.codes += [self._code(frame, count)] * count

    def _code(self, frame: VideoFrame, count: int) -> int:
        grey = luma(frame)
        if grey.shape != self._shape:
            self._shape = grey.shape
            self._borders.clear()
        bars = border(grey)
        if bars is None:
            return 0
        self._borders.append(bars)
        lines, columns = (min(sides) for sides in zip(*self._borders, strict=True))
        self.pixels = max(self.pixels, (grey.shape[0] - 2 * lines) * (grey.shape[1] - 2 * columns))
        turn = (frame.rotation // 90) % 4
        found, seen = code(grey, (lines, columns), turn)
        if seen and self.frames.wants(len(self.codes), count):
            self.frames.take(len(self.codes), colours(frame, (lines, columns), turn))
        return found


def luma(frame: VideoFrame) -> Grey:
    """Return the luma of a picture, shape (height, width), where the decoder has put it if that is possible."""
    first = frame.format.components[0]
    if not (frame.format.is_planar and first.is_luma and first.bits == 8):
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def _black(grey: Grey, axis: int) -> npt.NDArray[np.bool_]:
    """Return which lines (axis 1) or columns (axis 0) are black."""
    return np.asarray((grey.mean(axis) <= BLACK_MEAN) & (grey.max(axis) <= BLACK_MOST))


def _both_ends(black: npt.NDArray[np.bool_]) -> int:
    return int(min(np.argmin(black), np.argmin(black[::-1])))
