"""Small videos made by PyAV: scenes of moving blots, which no two seeds share, in any container and codec."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from scipy.ndimage import zoom

from dedupver.records.payload import Handle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

WIDTH, HEIGHT = 192, 128
TICKS = 20  # of the clock, in a second: codecs and containers of old count pictures

Picture = np.ndarray[Any, np.dtype[np.uint8]]


def scene(seed: int, seconds: float, rate: int = 10) -> Iterator[tuple[float, Picture]]:
    """Yield times and pictures of shape (height, width): a window that moves over blots of light."""
    blots = np.random.default_rng(seed).uniform(30, 230, (9, 17))
    ground = zoom(blots, (HEIGHT / 8, 2 * WIDTH / 16), order=1).clip(0, 255).astype(np.uint8)
    for n in range(round(seconds * rate)):
        left = n * 6 % (ground.shape[1] - WIDTH)
        yield n / rate, ground[:HEIGHT, left : left + WIDTH]


def cut(*scenes: Iterable[tuple[float, Picture]], rate: int = 10) -> Iterator[tuple[float, Picture]]:
    """Yield scenes one after the other."""
    start = 0.0
    for each in scenes:
        last = start
        for at, picture in each:
            last = start + at
            yield last, picture
        start = last + 1 / rate


def encode(
    path: Path,
    pictures: Iterable[tuple[float, Picture]],
    *,
    codec: str = "libx264",
    crf: int = 20,
    turn: int = 0,
    change: Callable[[Picture], Picture] = lambda picture: picture,
    sound: np.ndarray[Any, Any] | None = None,
    **options: str,
) -> Path:
    """Write a video with the time of each picture, each changed by `change`; `turn` is the rotation that players make."""
    with av.open(str(path), "w", options=options) as out:
        stream: Any = None
        ear = _ear(out, sound)
        for at, picture in pictures:
            grey = np.ascontiguousarray(change(picture))
            if stream is None:
                stream = out.add_stream(codec, rate=25)
                stream.height, stream.width = grey.shape[:2]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                stream.codec_context.time_base = Fraction(1, TICKS)
                stream.codec_context.options = {"crf": str(crf)} if codec.startswith("lib") else {}
                if turn:
                    stream.set_display_rotation(turn)
            frame = av.VideoFrame.from_ndarray(grey, "gray" if grey.ndim == 2 else "rgb24").reformat(
                format=stream.pix_fmt
            )
            frame.pts, frame.time_base = round(at * TICKS), Fraction(1, TICKS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if ear is not None and sound is not None:
            _hear(out, ear, sound)
    return path


def remux(source: Path, target: Path, **options: str) -> Path:
    """Put the packets of a video into another container."""
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as out:
        streams = {each.index: out.add_stream_from_template(each) for each in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return target


def stream(path: Path) -> Handle:
    """Return a file as records hand it on."""
    data = path.read_bytes()
    return Handle.of_bytes(data)._replace(path=str(path), data=None)


def still(seed: int = 1) -> Picture:
    """Return a picture that says enough."""
    return next(scene(seed, 1))[1]


def y4m(path: Path, width: int, height: int, frames: Iterable[bytes]) -> None:
    """Write an uncompressed video of these frames."""
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{width} H{height} F10:1 C420\n".encode())
        out.writelines(b"FRAME\n" + frame for frame in frames)


def _ear(out: Any, sound: np.ndarray[Any, Any] | None) -> Any:
    return None if sound is None else out.add_stream("aac", rate=44_100, layout="mono")


def _hear(out: Any, ear: Any, sound: np.ndarray[Any, Any]) -> None:
    for start in range(0, len(sound), 1024):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, start, Fraction(1, 44_100)
        out.mux(ear.encode(frame))
    out.mux(ear.encode(None))
