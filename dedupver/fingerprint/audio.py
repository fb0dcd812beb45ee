"""Bytes of a sound → the digest of what is in it, its length, and its codes over time.

What a decoder gives as integers (PCM, FLAC, ALAC, G.722, GSM …) is known by its samples: sha256 of rate, channels and
samples, each widened to 32 bits, so that a WAV and a FLAC of one recording are equal. What a decoder computes in
floating point (MP3, AAC, Opus, Vorbis) differs between processors in the last bit; it is known by its packets, whatever
tags and container are around them. Decoding is FFmpeg's, by PyAV; see `sandbox` for where it runs.
"""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint import spectrum
from dedupver.fingerprint.moments import Moments
from dedupver.fingerprint.pieces import Piece
from dedupver.schema import Unreadable

FORMATS: Final = (
    *("aac", "aiff", "amr", "asf", "au", "caf", "flac", "g722", "gsm", "matroska", "mov", "mp3", "ogg", "w64", "wav"),
    "webm",
)
"""Demuxers that may open a file. Others follow links to further files and hosts (HLS, concat), or are no sound."""

HEADERLESS: Final = {".g722": "g722", ".gsm": "gsm"}
"""Suffix → demuxer of what does not begin with what it is."""

SIGNATURES: Final = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd")
"""How a file begins that has a header, whatever its suffix is."""

STATED: Final = ("aiff", "au", "caf", "flac", "mov", "w64", "wav")
"""Demuxers whose length is read from a header, and not guessed from a part of the stream."""

RATES: Final = (1_000, 768_000)  # samples a second
CHANNELS: Final = 64
SILENT: Final = 32
"""Of 32768: a sound that is nowhere louder than 60 dB below full scale is silence."""

DAMAGED: Final = 0.01  # of the packets may be undecodable: junk between and behind frames is common
LACKING: Final = 0.002  # of the length that the header states may be missing
MEMORY: Final = 4 << 30  # bytes that the decoding process may address; idle it addresses one GiB


def answer(request: bytes) -> bytes:
    """Reply to `asked`: what `replied` reads. The whole look at one sound, for a process of its own."""
    head, _, data = request.partition(b"\n")
    given = json.loads(head)
    try:
        heard = _see(data, Asked(**given))
    except Unreadable as verdict:
        return json.dumps({"code": verdict.code, "reason": verdict.reason}).encode()
    except MemoryError:
        return json.dumps({"code": "audio_bomb", "reason": f"decoding takes more than {MEMORY >> 30} GiB"}).encode()
    said = {
        "content": heard.content.hex(),
        "millis": heard.millis,
        "codes": len(heard.codes),
        "moments": [(moment.millis, len(moment.data)) for moment in heard.moments],
    }
    moments = (moment.data.tobytes() for moment in heard.moments)
    return b"".join([json.dumps(said).encode(), b"\n", heard.codes.tobytes(), *moments])


class Asked(NamedTuple):
    """What is asked of a sound, whose file has a suffix: so many moments at a rate, beside what is always told."""

    suffix: str
    max_seconds: int
    moments: int = 0
    rate: int = spectrum.RATE


class Heard(NamedTuple):
    """What is in a sound."""

    content: bytes  # its digest
    millis: int
    codes: npt.NDArray[np.uint32]
    moments: tuple[Piece, ...] = ()


def asked(data: bytes, how: Asked) -> bytes:
    """Return the request for a look at a sound."""
    return json.dumps(how._asdict()).encode() + b"\n" + data


def replied(reply: bytes) -> Heard:
    """Return what is in a sound.

    Raises Unreadable: `unreadable_audio`, `no_audio`, `empty_audio`, `silent_audio`, `corrupt_audio`,
    `truncated_audio`, `absurd_audio` (rate or channels) or `audio_bomb`.
    """
    head, _, arrays = reply.partition(b"\n")
    said = json.loads(head)
    if "code" in said:
        raise Unreadable(said["code"], said["reason"])
    codes = np.frombuffer(arrays, np.uint32, said["codes"])
    moments, at = [], codes.nbytes
    for millis, count in said["moments"]:
        moments.append(Piece(millis, np.frombuffer(arrays, np.int16, count, at)))
        at += moments[-1].data.nbytes
    return Heard(bytes.fromhex(said["content"]), said["millis"], codes, tuple(moments))


def _see(data: bytes, how: Asked) -> Heard:
    import av  # noqa: PLC0415 - an extra

    av.logging.set_level(av.logging.PANIC)
    if not data:
        raise Unreadable("empty_audio", "no bytes")
    try:
        with _opened(data, how.suffix) as container:
            return _of_stream(container, _stream(container), data, how)
    except (Unreadable, MemoryError):
        raise
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and "memory" in str(error).lower():
            raise MemoryError from error
        raise Unreadable("unreadable_audio", _reason(error)) from error
    except Exception as error:  # hostile bytes make decoders raise nearly anything
        raise Unreadable("unreadable_audio", _reason(error)) from error


def _opened(data: bytes, suffix: str) -> Any:
    """Open a sound by what its bytes say; where they say nothing, by its suffix."""
    import av  # noqa: PLC0415 - an extra

    allowed = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    name = None if data.startswith(SIGNATURES) else HEADERLESS.get(suffix)
    return av.open(io.BytesIO(data), format=name, options=allowed, metadata_errors="ignore")


def _stream(container: Any) -> Any:
    if not container.streams.audio:
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise Unreadable("no_audio", f"it holds {', '.join(kinds)}")
    stream = container.streams.audio[0]
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    if not RATES[0] <= rate <= RATES[1] or not 1 <= channels <= CHANNELS:
        raise Unreadable("absurd_audio", f"{rate} samples a second in {channels} channels")
    return stream


def _of_stream(container: Any, stream: Any, data: bytes, how: Asked) -> Heard:
    import av  # noqa: PLC0415 - an extra

    digest, heard = hashlib.sha256(), _Ear(how)
    by_packet = stream.codec_context.format.name.startswith(("flt", "dbl")) and "pcm" not in stream.codec_context.name
    if by_packet:
        digest.update(f"{stream.codec_context.name}\0".encode())
    packets = damaged = 0
    for packet in container.demux(stream):
        packets += 1
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            damaged, frames, reason = damaged + 1, [], _reason(error)
        if by_packet and packet.size:
            digest.update(bytes(packet))
        for frame in frames:
            heard.add(frame)
            if not by_packet:
                digest.update(_canonical(frame))
    if damaged > max(1, DAMAGED * packets) or (damaged and not heard.seconds):
        raise Unreadable("corrupt_audio", f"{damaged} of {packets} packets can't be decoded: {reason}")
    _require_all(container, stream, data, heard.seconds)
    samples = heard.samples()
    if not by_packet:
        digest.update(heard.shape())
    moments = heard.moments.spread(SILENT)
    return Heard(digest.digest(), round(1000 * heard.seconds), spectrum.codes(samples), moments)


def _require_all(container: Any, stream: Any, data: bytes, seconds: float) -> None:
    """Raise Unreadable where more sound was begun than there is."""
    kinds = set(container.format.name.split(","))
    if stream.duration and (kinds & set(STATED) or ("mp3" in kinds and _counts_frames(data))):
        stated = float(stream.duration * stream.time_base)
        if stated - seconds > max(LACKING * stated, 0.1):
            raise Unreadable("truncated_audio", f"{seconds:.2f} s of the {stated:.2f} s that the header states")
    if "ogg" in kinds and not data[data.rfind(b"OggS") + 5] & 4:
        raise Unreadable("truncated_audio", "the last page is not marked as the last")
    if "wav" in kinds and (lacking := _lacking_of_wav(data)) > 0:
        raise Unreadable("truncated_audio", f"{lacking} bytes of the samples are not there")


def _counts_frames(data: bytes) -> bool:
    """Whether the first frame of an MP3 is a header that says how many follow."""
    start = 0
    if data.startswith(b"ID3") and len(data) > 10:
        start = 10 + sum((byte & 127) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    return any(data.find(name, start, start + 4096) >= 0 for name in (b"Xing", b"Info"))


def _lacking_of_wav(data: bytes) -> int:
    """Return how many bytes a RIFF file's samples lack; a size of 0 or of all ones was never filled in."""
    place = 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"data":
            return 0 if size in {0, 0xFFFFFFFF} else place + 8 + size - len(data)
        place += 8 + size + size % 2
    return 0


class _Ear:
    """What was decoded so far: its length, and its samples as one channel at the spectrum's rate."""

    def __init__(self, how: Asked) -> None:
        import av  # noqa: PLC0415 - an extra

        self._most, self._parts = how.max_seconds, [np.empty(0, np.int16)]
        self.moments = Moments(how.moments, how.rate)
        self._down = av.AudioResampler("s16", "mono", spectrum.RATE)
        self._rate = self._channels = 0
        self.seconds = 0.0

    def add(self, frame: Any) -> None:
        """Take a frame in. Raises Unreadable beyond the longest sound."""
        self._rate, self._channels = frame.sample_rate, len(frame.layout.channels)
        self.seconds += frame.samples / frame.sample_rate
        if self.seconds > self._most:
            raise Unreadable("audio_bomb", f"longer than {self._most} s, which is fingerprint.audio.max_seconds")
        frame.pts = None  # gaps in time are no sound
        self._take(frame)

    def shape(self) -> bytes:
        """Return rate and channels."""
        return f"{self._rate} {self._channels}".encode()

    def samples(self) -> npt.NDArray[np.int16]:
        """Return all samples. Raises Unreadable where there is none, or nothing but silence."""
        if self.seconds:
            with suppress(ValueError):  # nothing is left in it
                self._take(None)
        samples = np.concatenate(self._parts)
        if not len(samples):
            raise Unreadable("empty_audio", "no sound at all")
        if np.abs(samples.astype(np.int32)).max() < SILENT:
            raise Unreadable("silent_audio", f"nothing louder than {SILENT} of 32768 in {self.seconds:.2f} s")
        return samples

    def _take(self, frame: Any) -> None:
        self._parts += [np.ravel(each.to_ndarray()) for each in self._down.resample(frame)]
        self.moments.hear(frame)


def _canonical(frame: Any) -> bytes:
    """Return a frame's samples, interleaved, as 32-bit integers whose highest bits are the samples'."""
    planes: npt.NDArray[Any] = frame.to_ndarray()
    samples = planes.T if frame.format.is_planar else planes.reshape(-1, len(frame.layout.channels))
    return np.ascontiguousarray(_widened(samples)).astype("<i4", copy=False).tobytes()


def _widened(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if samples.dtype.kind == "f":  # of PCM: exact up to 24 bits
        return np.rint(np.clip(np.nan_to_num(samples.astype(np.float64)) * 2**31, -(2**31), 2**31 - 1))
    if samples.dtype == np.uint8:
        return (samples.astype(np.int32) - 128) << 24
    return samples.astype(np.int32) << (32 - 8 * samples.itemsize) if samples.itemsize < 4 else samples


def _reason(error: Exception) -> str:
    """Return what a library says, without addresses of objects, which differ from run to run."""
    said = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {said}".partition(" at 0x")[0][:200]
