"""Tar archives as a row of members: forward, a header at a time, in bounded memory. Nothing is extracted.

POSIX's ustar and pax formats and GNU's long names. An archive ends with a block of zeros, and nothing but zeros after.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Final, NamedTuple

from dedupver.records.paths import printable
from dedupver.records.streams import END
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.records.streams import Stream

BLOCK: Final = 512
LONGEST: Final = 1 << 20
"""Bytes of an extended header; a longer one is damage."""

LONGEST_NUMBER: Final = 18
"""Digits of a number in an extended header."""

_ZEROS: Final = bytes(BLOCK)
_PIECE: Final = 1 << 20
_EXTENDED: Final = (
    tarfile.XHDTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_WITHOUT_DATA: Final = (b"1", b"2", b"3", b"4", b"5", b"6")
_KINDS: Final = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe"}
_SPARSE_FIRST, _SPARSE_FURTHER = 482, 504
"""Where GNU's old header of a sparse file says that a further block follows, and where that block does."""


class Member(NamedTuple):
    """What an archive holds at one place that is no folder."""

    name: str  # without `./`; empty for what follows the end of the archive
    start: int  # of its headers
    data: int  # of its bytes
    size: int
    stop: int  # of its last block
    fault: Unreadable | None = None  # why it can't be taken


class BadArchiveError(OSError):
    """An archive that can't be read on: `truncated_archive` or `bad_archive`."""

    def __init__(self, code: str, why: str) -> None:
        """Keep what the rest is quarantined for."""
        super().__init__(why)
        self.code = code


def members(file: Stream, start: int, stop: int) -> Iterator[Member]:
    """Yield what lies between two offsets, by where headers begin; `file` may be read on within a member meanwhile.

    Raises BadArchiveError, or another OSError, where a header is damaged or there is no end.
    """
    at = start
    while at < stop:
        headers = _Headers(file, at)
        info = headers.next()
        if info is None:
            yield from _beyond(file, headers.begin)
            return
        size = info.size if info.type not in _WITHOUT_DATA else 0
        at = headers.at + -(-size // BLOCK) * BLOCK
        if not info.isdir():
            yield Member(_named(info.name), headers.begin, headers.at, size, at, _fault(info, headers))
    if stop >= END:
        raise BadArchiveError("truncated_archive", "it has no end")


def escapes(name: str) -> bool:
    """Return whether the name of a member is none within the folder that an archive is unpacked to."""
    return not name or name.startswith("/") or "\0" in name or ".." in name.split("/")


class _Headers:
    """The headers of one member, read one after the other."""

    def __init__(self, file: Stream, at: int) -> None:
        self._file, self.at = file, at
        self.begin = at  # of those that are the member's own
        self.said: dict[str, str] = {}  # by extended headers
        self.sparse = False
        file.seek(at)

    def next(self) -> tarfile.TarInfo | None:
        """Return the header of a member, with its name and size as extended headers say; None at the end."""
        while (block := self._take(BLOCK, end="it has no end")) != _ZEROS:
            try:
                info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError as error:
                raise BadArchiveError("bad_archive", f"a header that is none: {error}") from error
            if info.size < 0:
                raise BadArchiveError("bad_archive", "a member of a negative size")
            if info.type not in _EXTENDED:
                return self._completed(info, block)
            self._extend(info)
        self.begin = self.at - BLOCK
        return None

    def _completed(self, info: tarfile.TarInfo, block: bytes) -> tarfile.TarInfo:
        info.name = self.said.get("path", info.name)
        if "size" in self.said:
            info.size = _number(self.said["size"])
        self.sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in self.said)
        more = info.type == tarfile.GNUTYPE_SPARSE and block[_SPARSE_FIRST]
        while more:
            more = self._take(BLOCK)[_SPARSE_FURTHER]
        return info

    def _extend(self, info: tarfile.TarInfo) -> None:
        """Take what an extended header says."""
        if info.size > LONGEST:
            raise BadArchiveError("bad_archive", f"an extended header of {info.size} bytes")
        data = self._take(-(-info.size // BLOCK) * BLOCK)[: info.size]
        if info.type == tarfile.XGLTYPE:
            odd = {"path", "size"} & _records(data).keys()
            if odd:
                raise BadArchiveError("bad_archive", f"a global header that names the {min(odd)} of every member")
            self.begin = self.at
        elif info.type == tarfile.GNUTYPE_LONGNAME:
            self.said["path"] = data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
        elif info.type != tarfile.GNUTYPE_LONGLINK:
            self.said |= _records(data)

    def _take(self, size: int, end: str = "it ends within a header") -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise BadArchiveError("truncated_archive", end if not data else "it ends within a header")
        self.at += size
        return data


def _records(data: bytes) -> dict[str, str]:
    """Return the records of an extended header of pax: each is `LENGTH KEY=VALUE` and a line feed."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        size, space, _ = data[at : at + 20].partition(b" ")
        stop = at + _number(size.decode("latin-1"))
        key, equals, value = data[at + len(size) + 1 : stop - 1].partition(b"=")
        if not space or not equals or stop > len(data) or data[stop - 1 : stop] != b"\n":
            raise BadArchiveError("bad_archive", "an extended header that is none")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at = stop
    return found


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > LONGEST_NUMBER:
        raise BadArchiveError("bad_archive", "an extended header whose number is none")
    return int(text)


def _named(name: str) -> str:
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _fault(info: tarfile.TarInfo, headers: _Headers) -> Unreadable | None:
    shown = printable(info.name)
    if escapes(info.name):
        return Unreadable("path_escape", f"{shown!r} is no path within the archive")
    if shown != info.name:
        return Unreadable("bad_utf8", f"the name {shown!r} is no UTF-8")
    if headers.sparse or info.type not in tarfile.REGULAR_TYPES or info.type == tarfile.GNUTYPE_SPARSE:
        what = "a sparse file" if headers.sparse else _KINDS.get(info.type, "no file")
        return Unreadable("unsupported_file", f"{shown!r} is {what}")
    return None


def _beyond(file: Stream, end: int) -> Iterator[Member]:
    """Yield a member without a name for what is not zero after the end."""
    size = dirty = 0
    while piece := file.read(_PIECE):
        size += len(piece)
        dirty += len(piece) - piece.count(0)
    if dirty:
        fault = Unreadable("bad_archive", f"{size} bytes after its end, such as a second archive")
        yield Member("", end, end, size, END, fault)
