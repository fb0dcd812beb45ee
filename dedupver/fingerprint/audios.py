"""Sounds: their samples or packets are their content; codes of their spectrum over time are their fingerprints."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from dedupver.fingerprint import audio, spectrum
from dedupver.fingerprint.encoders.model import rate_of
from dedupver.fingerprint.look import Look, Sink, encoder, one_by_one
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.sandbox import Killed, Sandbox
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.prints import Arrays
    from dedupver.records.payload import Handle


def look(settings: params.Audio, sink: Sink, joint: params.Joint) -> Look:
    """Return the look at sounds."""
    see = functools.partial(_see, settings=settings, sink=sink, joint=joint)
    return functools.partial(one_by_one, sink=sink, see=see)


@dataclass(frozen=True)
class _Audio:
    """A sound that can be decoded (look.Seen)."""

    heard: audio.Heard
    joint: params.Joint
    sink: Sink

    @property
    def content(self) -> bytes:
        """Return the digest of its samples or packets."""
        return self.heard.content

    @property
    def sizes(self) -> dict[str, int]:
        """Return its length."""
        return {"millis": self.heard.millis}

    def arrays(self) -> Arrays:
        """Return the codes, and when they are; the vectors of moments, and when these are."""
        clock = np.array([[-spectrum.STEP / 2, spectrum.STEP]], np.float32)  # a code is the middle of its slot
        arrays: Arrays = {"spectrum": Ragged.of_rows([self.heard.codes]), "spectrum.clock": clock}
        if self.joint.sounds:
            model = encoder(self.joint.sounds, "audio")
            arrays |= self.sink.encode_pieces("heard", model, self.heard.moments, self.joint.frames)
        return arrays


def _see(handle: Handle, settings: params.Audio, sink: Sink, joint: params.Joint) -> _Audio:
    suffix = PurePosixPath(handle.path or "").suffix.lower()
    seconds = 60 + settings.max_seconds // 20
    how = audio.Asked(suffix, settings.max_seconds)
    if joint.sounds:
        how = how._replace(moments=joint.frames, rate=rate_of(encoder(joint.sounds, "audio")))
    try:
        reply = _decoder(seconds).ask(audio.asked(handle.read(), how))
    except Killed as killed:
        if killed.limit:
            raise Unreadable("audio_bomb", f"decoding takes more than {seconds} s of processor time") from killed
        raise Unreadable("unreadable_audio", "it crashes the decoder") from killed
    return _Audio(audio.replied(reply), joint, sink)


@functools.cache
def _decoder(seconds: int) -> Sandbox:
    """Return the process that decodes, one for each worker."""
    return Sandbox(audio.answer, seconds, audio.MEMORY)
