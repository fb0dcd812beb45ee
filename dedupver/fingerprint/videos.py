"""Videos: perceptual hashes of the pictures they show, tick by tick, are their fingerprint.

Two encodings of a film have no decoded picture in common, so a video's content is its bytes: what was only put into
another container is found by its pictures, all of which are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

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
    return partial(one_by_one, sink=sink, see=lambda stream: _Video(stream, video.watch(stream, settings)))


@dataclass(frozen=True)
class _Video:
    """A video that can be read (look.Seen)."""

    stream: Stream
    film: Film

    @property
    def content(self) -> bytes:
        """Return the digest of the bytes."""
        return self.stream.sha256

    @property
    def sizes(self) -> dict[str, int]:
        """Return the pixels of a picture, and the length."""
        return {"pixels": self.film.pixels, "millis": self.film.millis}

    def arrays(self) -> Arrays:
        """Return the codes."""
        return {"frames": Ragged.of_rows([self.film.codes])}
