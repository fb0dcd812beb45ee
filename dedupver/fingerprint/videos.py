"""Videos: perceptual hashes of the pictures they show, tick by tick, are their fingerprint.

Two encodings of a film have no decoded picture in common, so a video's content is its bytes: what was only put into
another container is found by its pictures, all of which are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint.look import Look, Sink, one_by_one
from dedupver.fingerprint.ragged import Ragged
from dedupver.schema import ModelError

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.prints import Arrays
    from dedupver.fingerprint.video import Film
    from dedupver.records.payload import Stream


def look(settings: params.Video, sink: Sink) -> Look:
    """Return the look at videos.

    Raises ModelError where PyAV is missing.
    """
    try:
        from dedupver.fingerprint import video  # noqa: PLC0415 - PyAV is for those who have videos
    except ImportError as error:
        raise ModelError(f"videos are read by PyAV ({error}): pip install 'dedupver[video]'") from error
    return partial(one_by_one, sink=sink, see=lambda stream: _Video(stream, video.watch(stream, settings), settings.rate))


def clock(rate: float) -> npt.NDArray[np.float32]:
    """Return when the first code of a video begins and how far apart they are, in milliseconds, shape (1, 2)."""
    return np.array([[0, 1000 / rate]], np.float32)


@dataclass(frozen=True)
class _Video:
    """A video that can be read (look.Seen)."""

    stream: Stream
    film: Film
    rate: float

    @property
    def content(self) -> bytes:
        """Return the digest of the bytes."""
        return self.stream.sha256

    @property
    def sizes(self) -> dict[str, int]:
        """Return the pixels of a picture, and the length."""
        return {"pixels": self.film.pixels, "millis": self.film.millis}

    def arrays(self) -> Arrays:
        """Return the codes, and when they are."""
        return {"frames": Ragged.of_rows([self.film.codes]), "frames.clock": clock(self.rate)}
