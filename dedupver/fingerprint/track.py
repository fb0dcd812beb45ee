"""The sound track of a video, decoded beside its pictures → the codes that a sound of its own would have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import av
import numpy as np

from dedupver.fingerprint import audio, spectrum

if TYPE_CHECKING:
    import numpy.typing as npt
    from av.container import InputContainer


class Sound(NamedTuple):
    """What is heard of a video."""

    codes: npt.NDArray[np.uint32]  # shape (n,); none where there is no sound, or nothing but silence
    start: float  # seconds, on the clock that its pictures have


NO_SOUND = Sound(np.empty(0, np.uint32), 0.0)


class Track:
    """The first sound track of a container, as one channel at the spectrum's rate: at most so many seconds."""

    def __init__(self, container: InputContainer, most: float) -> None:
        """Look for a track that can be decoded; that there is none is no fault of a video."""
        self._most, self._start, self._seconds = most, 0.0, 0.0
        self._parts: list[npt.NDArray[np.int16]] = []
        self._down = av.AudioResampler("s16", "mono", spectrum.RATE)
        self._stream = next((each for each in container.streams.audio if _is_sane(each)), None)
        self.index = self._stream.index if self._stream else None

    def take(self, packet: Any) -> None:
        """Decode a packet of the track; of one that is damaged nothing is heard."""
        if self._seconds >= self._most:
            return
        try:
            for frame in packet.decode():
                self._hear(frame)
        except (av.FFmpegError, ValueError):  # another layout than before, among others
            return

    def sound(self) -> Sound:
        """Return what was heard."""
        samples = np.concatenate([*self._parts, np.empty(0, np.int16)])
        if not len(samples) or np.abs(samples.astype(np.int32)).max() < audio.SILENT:
            return NO_SOUND
        return Sound(spectrum.codes(samples), self._start)

    def _hear(self, frame: Any) -> None:
        if not self._parts:
            self._start = frame.time or 0.0
        self._seconds += frame.samples / frame.sample_rate
        frame.pts = None  # gaps in time are no sound
        self._parts += [np.ravel(each.to_ndarray()) for each in self._down.resample(frame)]


def _is_sane(stream: Any) -> bool:
    context = stream.codec_context
    if context is None:
        return False
    return audio.RATES[0] <= context.sample_rate <= audio.RATES[1] and 1 <= context.channels <= audio.CHANNELS
