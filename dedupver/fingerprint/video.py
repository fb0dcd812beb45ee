"""Bytes of a video → the codes of its pictures and of its sound, and what else is known of it.

Containers are told by what they hold, whatever their name says, and nothing but the bytes given is ever read: formats
that name other files (playlists) are not among FORMATS. Whatever is wrong with a video ends in `Unreadable`.
Decoding is FFmpeg's, by PyAV, in one pass over the file; see `sandbox` for where it runs.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import av
import numpy as np

from dedupver.fingerprint.pictures import Ticks
from dedupver.fingerprint.pieces import Piece
from dedupver.fingerprint.track import NO_SOUND, Sound, Track
from dedupver.records.paths import reason
from dedupver.records.payload import Handle
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from dedupver import params

FORMATS: Final = (
    "mov", "matroska", "avi", "asf", "flv", "mpeg", "mpegts", "mpegvideo", "ogg", "mxf", "ivf", "dv", "rm", "m4v",
    "h264", "hevc", "yuv4mpegpipe",
)  # fmt: skip
"""Demuxers that read one file alone."""

WORK: Final = 1920 * 1080 * 60
"""Pixels decoded for each second of `max_seconds`; a video that has more is looked at for a shorter time."""

BAD_SHARE: Final = 0.05
"""A video is corrupt when more than this share of its packets can't be decoded, and truncated when more than this share
of the time that its header states is missing."""

SLACK: Final = 1.0
"""Seconds that may be missing in any case: headers count what players round."""

_STREAMS: Final = 32
"""Streams whose decoders are kept from pictures that are too large while a container is opened."""

_OPTIONS: Final = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}


class Film(NamedTuple):
    """What is in a video."""

    codes: npt.NDArray[np.uint64]  # one a tick, 0 where the picture says too little; (n,)
    pixels: int  # of a picture, without black bars
    millis: int
    sound: Sound = NO_SOUND
    frames: tuple[Piece, ...] = ()


def watch(handle: Handle, how: params.Video, frames: int = 0) -> Film:
    """Look at a video from its start, for `max_seconds` at most; hand out so many of its pictures.

    Raises Unreadable: `unreadable_video`, `no_video`, `unsupported_codec`, `encrypted_video`, `pixel_bomb`,
    `truncated_video` or `corrupt_video`.
    """
    try:
        with handle.open() as file, _opened(file, how) as container:
            return _Watch(container, how, frames).film()
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # hostile bytes make demuxers raise nearly anything
        raise Unreadable("unreadable_video", f"no video in a known container: {_reason(error)}") from error


def asked(handle: Handle, how: params.Video, frames: int = 0) -> bytes:
    """Return the request for a look at a video, which `answer` takes."""
    head = {"path": handle.path, "how": how.model_dump(mode="json"), "frames": frames}
    return json.dumps(head).encode() + b"\n" + (handle.data or b"")


def answer(request: bytes) -> bytes:
    """Reply to `asked`: what `replied` reads. The whole look at one video, for a process of its own."""
    from dedupver.params import Video  # noqa: PLC0415 - in that process alone

    head, _, data = request.partition(b"\n")
    given = json.loads(head)
    try:
        film = watch(Handle(given["path"], data, 0, b""), Video.model_validate(given["how"]), given["frames"])
    except Unreadable as verdict:
        return json.dumps({"code": verdict.code, "reason": verdict.reason}).encode()
    except MemoryError:
        return json.dumps({"code": "video_bomb", "reason": "decoding takes too much memory"}).encode()
    said = {
        "pixels": film.pixels,
        "millis": film.millis,
        "codes": len(film.codes),
        "heard": len(film.sound.codes),
        "start": film.sound.start,
        "frames": [(frame.millis, *frame.data.shape[:2]) for frame in film.frames],
    }
    pictures = (frame.data.tobytes() for frame in film.frames)
    return b"".join([json.dumps(said).encode(), b"\n", film.codes.tobytes(), film.sound.codes.tobytes(), *pictures])


def replied(reply: bytes) -> Film:
    """Return what is in a video. Raises Unreadable: what `watch` raises, or `video_bomb`."""
    head, _, codes = reply.partition(b"\n")
    said = json.loads(head)
    if "code" in said:
        raise Unreadable(said["code"], said["reason"])
    shown = np.frombuffer(codes, np.uint64, said["codes"])
    sound = Sound(np.frombuffer(codes, np.uint32, said["heard"], shown.nbytes), said["start"])
    frames, at = [], shown.nbytes + sound.codes.nbytes
    for millis, height, width in said["frames"]:
        pixels = np.frombuffer(codes, np.uint8, height * width * 3, at).reshape(height, width, 3)
        frames.append(Piece(millis, pixels))
        at += pixels.nbytes
    return Film(shown, said["pixels"], said["millis"], sound, tuple(frames))


class _Watch:
    """One pass over a container."""

    def __init__(self, container: InputContainer, how: params.Video, frames: int) -> None:
        self.container, self.how = container, how
        self.stream = _picture_stream(container, how)
        self.ticks = Ticks(how, frames)
        self.track = Track(container, how.max_seconds if how.sound else 0)
        self.begin = 0.0  # of the pictures, on the container's clock
        self.end, self.cut = 0.0, False  # of what was read so far
        self.packets, self.bad, self.work = 0, 0, 0

    def film(self) -> Film:
        seconds = self._show()
        if not self.ticks.codes:
            raise Unreadable("unreadable_video", "no picture can be decoded")
        if self.bad > BAD_SHARE * self.packets:
            raise Unreadable("corrupt_video", f"{self.bad} of {self.packets} packets can't be decoded")
        if self._stopped:
            seconds = max(seconds, self._stated())
        else:
            self._check_end()
        sound = self.track.sound()
        sound = sound._replace(start=sound.start - self.begin)
        frames = self.ticks.frames.spread(1000 / self.how.rate)
        return Film(np.array(self.ticks.codes, np.uint64), self.ticks.pixels, round(seconds * 1000), sound, frames)

    @property
    def _stopped(self) -> bool:
        """Whether the rest was not looked at."""
        return self.ticks.full or self.work > WORK * self.how.max_seconds

    def _show(self) -> float:
        """Show every picture until the next; return when the last one ends, in seconds from the first."""
        shown: VideoFrame | None = None
        at = 0.0
        length = float(1 / (self.stream.average_rate or 25))
        for number, frame in enumerate(self._frames()):
            time = number * length if frame.time is None else frame.time
            if shown is None:
                self.begin = time
            else:
                self.ticks.show(shown, time - self.begin)
            shown, at = frame, max(at, time - self.begin)
            if self._stopped:
                break
        if shown is not None:
            self.ticks.show(shown, max(at + length, 1 / self.how.rate))
        return at + length

    def _frames(self) -> Iterator[VideoFrame]:
        """Yield the pictures that others refer to: those that none does are most of the work, and just after them."""
        for packet in self.container.demux():
            if packet.pts is not None and packet.time_base:
                self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            self.cut = packet.is_corrupt if packet.size else self.cut
            if packet.stream.index == self.track.index:
                self.track.take(packet)
            if packet.stream.index != self.stream.index:
                continue
            self.packets += packet.size > 0
            if packet.has_sidedata("encryption_info"):
                raise Unreadable("encrypted_video", "pictures that only a key opens")
            for frame in self._decoded(packet):
                self.work += frame.width * frame.height
                yield frame

    def _decoded(self, packet: Any) -> list[VideoFrame]:
        try:
            frames: list[VideoFrame] = packet.decode()
        except av.FFmpegError:
            self.bad += 1
            return []
        return frames

    def _stated(self) -> float:
        """Return how many seconds the header states, 0 if it does not."""
        return (self.container.duration or 0) / av.time_base

    def _check_end(self) -> None:
        stated, start = self._stated(), (self.container.start_time or 0) / av.time_base
        missing = stated - (self.end - start)
        if missing > max(SLACK, BAD_SHARE * stated):
            raise Unreadable("truncated_video", f"{missing:.1f} of {stated:.1f} seconds are missing")
        if self.cut:
            raise Unreadable("truncated_video", "the file ends within a packet")


def _opened(file: BinaryIO, how: params.Video) -> InputContainer:
    """Open a container; its first pictures may be decoded for what its header does not say."""
    each: Any = [_limits(how)] * _STREAMS  # PyAV's stubs have strings in the list
    with contextlib.suppress(ValueError):  # MPEG and FLV tell their streams as they come, and take no such options
        return av.open(file, "r", options=_OPTIONS, stream_options=each, metadata_errors="replace")
    file.seek(0)
    return av.open(file, "r", options=_OPTIONS, metadata_errors="replace")


def _limits(how: params.Video) -> dict[str, str]:
    """Return the options of a decoder that refuses pictures that are too large, whatever a header said of them."""
    return {"max_pixels": str(how.max_pixels)}


def _picture_stream(container: InputContainer, how: params.Video) -> VideoStream:
    """Return the first stream that is no cover picture, ready to be decoded."""
    still = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    stream = next((each for each in container.streams.video if not each.disposition & still), None)
    if stream is None:
        kinds = ", ".join(sorted({each.type for each in container.streams})) or "none"
        raise Unreadable("no_video", f"no moving pictures; streams: {kinds}")
    context = stream.codec_context
    if context is None:
        raise Unreadable("unsupported_codec", "pictures in a codec that is not known here")
    if context.width * context.height > how.max_pixels:
        pixels = f"{context.width} x {context.height} pixels"
        raise Unreadable("pixel_bomb", f"{pixels}; fingerprint.video.max_pixels is {how.max_pixels}")
    context.thread_count = 1  # workers are processes
    context.skip_frame = "NONREF"
    context.options = _limits(how)
    return stream


def _reason(error: Exception) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, av.FFmpegError) else reason(error)
