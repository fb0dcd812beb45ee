"""Videos: hashes of the pictures they show, and the codes of their sound, tick by tick, are their fingerprints.

Two encodings of a film have no decoded picture in common, so a video's content is its bytes: what was only put into
another container is found by its pictures, all of which are equal.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint import spectrum
from dedupver.fingerprint.look import Look, Sink, encoder, one_by_one
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.sandbox import Killed, Sandbox
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.prints import Arrays
    from dedupver.fingerprint.video import Film
    from dedupver.records.payload import Handle

MEMORY: Final = 4 << 30
"""Bytes that the decoding process may address; idle it addresses two GiB."""


def look(settings: params.Video, sink: Sink, joint: params.Joint) -> Look:
    """Return the look at videos."""
    see = functools.partial(_see, settings=settings, sink=sink, joint=joint)
    return functools.partial(one_by_one, sink=sink, see=see)


@dataclass(frozen=True)
class _Video:
    """A video that can be decoded (look.Seen)."""

    content: bytes
    film: Film
    rate: float
    joint: params.Joint
    sink: Sink

    @property
    def sizes(self) -> dict[str, int]:
        """Return the pixels of a picture, and the length."""
        return {"pixels": self.film.pixels, "millis": self.film.millis}

    def arrays(self) -> Arrays:
        """Return the codes of pictures and sound, and when they are."""
        heard = 1000 * self.film.sound.start - spectrum.STEP / 2  # a code is the middle of its slot
        arrays: Arrays = {
            "frames": Ragged.of_rows([self.film.codes]),
            "frames.clock": _clock(0, 1000 / self.rate),
            "sound": Ragged.of_rows([self.film.sound.codes]),
            "sound.clock": _clock(heard, spectrum.STEP),
        }
        if self.joint.encoder:
            model = encoder(self.joint.encoder, "image")
            arrays |= self.sink.encode_pieces("joint", model, self.film.frames, self.joint.frames)
        return arrays


def _clock(begin: float, step: float) -> npt.NDArray[np.float32]:
    return np.array([[begin, step]], np.float32)


def _see(handle: Handle, settings: params.Video, sink: Sink, joint: params.Joint) -> _Video:
    from dedupver.fingerprint import video  # noqa: PLC0415 - PyAV is for those who have videos

    seconds = 60 + settings.max_seconds // 4
    try:
        reply = _decoder(seconds).ask(video.asked(handle, settings, joint.frames if joint.encoder else 0))
    except Killed as killed:
        if killed.limit:
            raise Unreadable("video_bomb", f"decoding takes more than {seconds} s of processor time") from killed
        raise Unreadable("unreadable_video", "it crashes the decoder") from killed
    return _Video(handle.sha256, video.replied(reply), settings.rate, joint, sink)


@functools.cache
def _decoder(seconds: int) -> Sandbox:
    """Return the process that decodes, one for each worker."""
    from dedupver.fingerprint import video  # noqa: PLC0415 - as above

    return Sandbox(video.answer, seconds, MEMORY)
