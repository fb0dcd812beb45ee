"""The records: where they come from, how they are cut, and the files the tools read.

Nothing of them is committed. A task's data are Parquet parts with the columns id and text, one part for each thread.
Records of fewer than five words are left out: what a tool does with a text shorter than a shingle is not compared here.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PIECE: Final = 24  # lines
FEWEST: Final = 5  # words
_SCHEMA: Final = pa.schema([("id", pa.string()), ("text", pa.string())])


@dataclass(frozen=True)
class Source:
    """A package whose archive is downloaded once; `command` is run where it is to be put."""

    package: str
    command: tuple[str, ...]

    def fetch(self, work: Path) -> Path:
        """Return the archive."""
        place = work / "downloads" / self.package
        if not place.exists() or not any(place.iterdir()):
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run([*self.command, self.package], cwd=place, check=True, stdout=sys.stderr)
        return next(place.iterdir())


@dataclass(frozen=True)
class Task:
    """Records of a source; `most` is how many bytes of text the subset and the full benchmark take."""

    name: str
    about: str
    source: Source
    records: Callable[[Path], Iterator[tuple[str, str]]]
    most: dict[str, int]


def pieces(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield the source files in runs of 24 lines."""
    for name, text in files(archive):
        lines = text.split("\n")
        for first in range(0, len(lines), PIECE):
            yield f"{name}:{first + 1}", "\n".join(lines[first : first + PIECE])


def files(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of the source tree that lies, as a compressed archive, in a Debian package."""
    for _, inner in _members(archive, r".*/linux-source-[^/]*\.tar\.xz"):
        with tarfile.open(fileobj=inner, mode="r|xz") as tree:
            yield from _texts((m.name.partition("/")[2], _read(tree, m)) for m in tree if m.isfile())


def pages(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield the HTML pages on Rust's core library in a Debian package, as they are: much of each is in all."""
    yield from _texts((name, inner.read()) for name, inner in _members(archive, r".*/html/core/.*\.html"))


def rules(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield the licence texts and notices of a wheel, without their front matter."""
    with zipfile.ZipFile(archive) as wheel:
        for name in sorted(n for n in wheel.namelist() if re.fullmatch(r"licensedcode/data/rules/[^/]+\.RULE", n)):
            yield (
                name.rpartition("/")[2],
                re.split(r"^---\s*?\n", wheel.read(name).decode(), maxsplit=2, flags=re.MULTILINE)[2],
            )


def _members(archive: Path, pattern: str) -> Iterator[tuple[str, Any]]:
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpack:
        with tarfile.open(fileobj=unpack.stdout, mode="r|") as package:
            for member in package:
                if member.isfile() and re.fullmatch(pattern, member.name):
                    yield member.name, package.extractfile(member)
        unpack.kill()  # what follows is not wanted


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    inner = archive.extractfile(member)
    return inner.read() if inner else b""


def _texts(found: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
    for name, data in found:
        if b"\0" not in data:
            try:
                yield name, data.decode()
            except UnicodeDecodeError:
                continue


_APT: Final = ("apt-get", "-q", "download")
_LINUX: Final = Source("linux-source-6.1", _APT)
TASKS: Final = (
    Task("pieces", "the Linux source, 24 lines a record", _LINUX, pieces, {"subset": 16 << 20, "full": 104 << 20}),
    Task("files", "the Linux source, a file a record", _LINUX, files, {"subset": 16 << 20, "full": 104 << 20}),
    Task(
        "licences",
        "licence texts and notices of ScanCode",
        Source(
            "scancode-toolkit-mini==32.5.0",
            (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"),
        ),
        rules,
        {"subset": 4 << 20, "full": 104 << 20},
    ),
    Task(
        "pages",
        "HTML pages on Rust's core library",
        Source("rust-doc", _APT),
        pages,
        {"subset": 8 << 20, "full": 32 << 20},
    ),
)


def prepare(task: Task, size: str, parts: int, work: Path) -> Path:
    """Return the directory of the task's parts, written when it is not there yet."""
    place = work / "data" / f"{task.name}-{size}-{parts}"
    if not place.exists():
        found = list(_up_to(task.most[size], task.records(task.source.fetch(work))))
        building = place.with_name(f".{place.name}")
        building.mkdir(parents=True, exist_ok=True)
        for part in range(parts):
            rows = found[part * len(found) // parts : (part + 1) * len(found) // parts]
            table = pa.table(list(map(list, zip(*rows, strict=True))), schema=_SCHEMA)
            pq.write_table(table, building / f"part-{part}.parquet", compression="zstd")
        building.rename(place)
    return place


def _up_to(most: int, found: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    taken = 0
    for name, text in found:
        if len(truth.TOKENS["words"](text)) < FEWEST:
            continue
        if taken >= most:
            return
        taken += len(text.encode())
        yield name, text


def texts(data: Path) -> list[str]:
    """Return the texts of a task's parts."""
    return [text for part in sorted(data.glob("*.parquet")) for text in pq.read_table(part)["text"].to_pylist()]


def describe(task: Task, data: Path, work: Path) -> dict[str, Any]:
    """Return what the records are: their source's file, count, bytes and sha256 (of ids and texts, each ended by 0)."""
    digest, count, size = hashlib.sha256(), 0, 0
    for part in sorted(data.glob("*.parquet")):
        for batch in pq.ParquetFile(part).iter_batches():
            for name, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                digest.update(f"{name}\0{text}\0".encode())
                count, size = count + 1, size + len(text.encode())
    return {
        "about": task.about,
        "source": task.source.fetch(work).name,
        "records": count,
        "bytes": size,
        "sha256": digest.hexdigest(),
    }


def head(data: Path, rows: int, place: Path) -> Path:
    """Return a directory with the first rows of each part, for a run that warms up."""
    place.mkdir(parents=True, exist_ok=True)
    for part in data.glob("*.parquet"):
        pq.write_table(pa.Table.from_batches(islice(pq.ParquetFile(part).iter_batches(rows), 1)), place / part.name)
    return place
