"""Sounds: their samples or packets are their content; codes of their spectrum over time are their fingerprints."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint import audio, spectrum
from dedupver.fingerprint.look import Look, Sink, one_by_one
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.sandbox import Killed, Sandbox
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.prints import Arrays
    from dedupver.records.payload import Handle


def look(settings: params.Audio, sink: Sink) -> Look:
    """Return the look at sounds."""
    return functools.partial(one_by_one, sink=sink, see=functools.partial(_see, settings=settings))


@dataclass(frozen=True)
class _Audio:
    """A sound that can be decoded (look.Seen)."""

    codes: npt.NDArray[np.uint32]
    content: bytes
    sizes: dict[str, int]

    def arrays(self) -> Arrays:
        """Return the codes, and when they are."""
        clock = np.array([[-spectrum.STEP / 2, spectrum.STEP]], np.float32)  # a code is the middle of its slot
        return {"spectrum": Ragged.of_rows([self.codes]), "spectrum.clock": clock}


def _see(handle: Handle, settings: params.Audio) -> _Audio:
    suffix = PurePosixPath(handle.path or "").suffix.lower()
    seconds = 60 + settings.max_seconds // 20
    try:
        reply = _decoder(seconds).ask(audio.asked(handle.read(), suffix, settings.max_seconds))
    except Killed as killed:
        if killed.limit:
            raise Unreadable("audio_bomb", f"decoding takes more than {seconds} s of processor time") from killed
        raise Unreadable("unreadable_audio", "it crashes the decoder") from killed
    content, millis, codes = audio.replied(reply)
    return _Audio(codes, content, {"millis": millis})


@functools.cache
def _decoder(seconds: int) -> Sandbox:
    """Return the process that decodes, one for each worker."""
    return Sandbox(audio.answer, seconds, audio.MEMORY)
