"""Files that may be compressed (.gz, .zst), read forward in bounded memory. Offsets are those of what is unpacked."""

from __future__ import annotations

import contextlib
import gzip
import posixpath
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

END: Final = 1 << 62
"""An offset that no file reaches: up to the end, or to the damage."""

LEVEL: Final = 6
"""At which gzip packs by default; zstd is packed at Arrow's default."""

_CODECS: Final = {".gz": "gzip", ".zst": "zstd"}
_SHORT: Final = {".tgz": ".tar.gz", ".tzst": ".tar.zst"}
_PIECE: Final = 1 << 13
"""Bytes that are unpacked at a time: of those before damage at most so many are lost."""


class Stream(Protocol):
    """What reading forward needs of a file."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer at the end."""

    def seek(self, offset: int, /) -> int:
        """Go to an offset."""

    def tell(self) -> int:
        """Return where the next byte is."""


class Writable(Protocol):
    """What writing needs of a file."""

    def write(self, data: Any, /) -> Any:
        """Write bytes."""


class DamagedError(OSError):
    """A compressed file can't be unpacked any further."""


def suffixes(path: str) -> tuple[str, str]:
    """Return the last suffix of a path in lower case, and that of its compression: `.jsonl`, `.gz`; none is empty."""
    name = posixpath.basename(path).lower()
    for short, long in _SHORT.items():
        name = name.removesuffix(short) + long if name.endswith(short) else name
    bare, last = posixpath.splitext(name)
    return (posixpath.splitext(bare)[1], last) if last in _CODECS else (last, "")


@contextlib.contextmanager
def opened(path: Path, start: int, limit: int = END) -> Iterator[Stream]:
    """Open a file at an offset, to be read forward; what is unpacked has at most `limit` bytes.

    Raises OSError, DamagedError among them.
    """
    codec = _CODECS.get(suffixes(path.name)[1])
    if codec is None:
        with path.open("rb") as file:
            file.seek(start)
            yield file
        return
    info = path.stat()
    key = (path, info.st_ino, info.st_mtime_ns, info.st_size)
    # a worker does the chunks of a file in their order: it goes on where it was, instead of unpacking all before again
    unpacked = _LEFT.pop(key, None)
    if unpacked is None or unpacked.tell() > start:
        unpacked = _Unpacked(path, codec, limit)
    unpacked.seek(start)
    yield unpacked
    _LEFT.clear()
    _LEFT[key] = unpacked


@contextlib.contextmanager
def packing(path: Path) -> Iterator[Writable]:
    """Create a file, compressed as its suffix says; the bytes depend on what is written alone."""
    codec = suffixes(path.name)[1]
    with path.open("xb") as file:
        if codec == ".gz":
            with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:
                yield packed
        elif codec == ".zst":
            with pa.CompressedOutputStream(file, "zstd") as packed:
                yield packed
        else:
            yield file


class _Unpacked:
    """What a compressed file holds, read forward."""

    def __init__(self, path: Path, codec: str, limit: int) -> None:
        self._file = pa.CompressedInputStream(pa.OSFile(str(path)), codec)
        self._at, self._limit, self._packed = 0, limit, path.stat().st_size
        self._damage = "" if self._packed else "an empty file"

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int) -> int:
        while self._at < offset and self.read(min(_PIECE, offset - self._at)):
            pass
        return self._at

    def read(self, size: int) -> bytes:
        """Return what precedes damage before it is an error."""
        pieces: list[bytes] = []
        wanted = size
        while wanted and not self._damage:
            piece = self._piece(min(wanted, _PIECE))
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
        if self._damage and not pieces and size:
            raise DamagedError(self._damage)
        return b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        try:
            piece: bytes = self._file.read(size)
        except (OSError, pa.ArrowException) as error:
            self._damage = str(error).partition("\n")[0]
            return b""
        self._at += len(piece)
        if self._at > self._limit:
            self._damage = f"it unpacks to more than {self._limit} bytes (source.max_unpacked_bytes)"
        return piece


_LEFT: Final[dict[tuple[object, ...], _Unpacked]] = {}
"""The compressed file that this process read last, where it left it."""
