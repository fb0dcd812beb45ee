"""Parts that lie elsewhere: a row of a table names an object by its URL and its digest, and the bytes must be those.

What a version holds so depends on its files alone. An object whose digest the base knows is not fetched.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TypeVar

from dedupver.schema import SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dedupver import params

Result = TypeVar("Result")

FETCHES: Final = 16
"""Objects that one process fetches at a time."""
GROUP_BYTES: Final = 64 << 20
"""Bytes of objects that are held at a time, if one alone has not more."""
TRIES: Final = 3
WAIT: Final = 1.0
"""Seconds before the second try; before each further one twice as many."""
PIECE: Final = 1 << 20

_LASTING: Final = (PermissionError, ImportError, NotImplementedError, ValueError)
"""What another try does not mend. That a file is not found may be a server's way of not answering."""

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PROTOCOL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://.*", re.DOTALL)


class Remote(NamedTuple):
    """A row of schema.REMOTE."""

    part: str
    url: str
    size: int
    sha256: bytes


def remote(value: Mapping[str, object], part: str, source: params.Source) -> Remote | None:
    """Return the object that a value names; None where it names none.

    Raises Unreadable: `bad_url` for a URL, a size or a digest that is none, and `huge_MODALITY`.
    """
    url, size, sha256 = (value.get(name) for name in ("url", "size", "sha256"))
    if url is None:
        return None
    if not isinstance(url, str) or not url.isprintable():
        raise Unreadable("bad_url", f"{part}: the URL is no string of printable characters")
    unknown = set(map(protocol, url.split("::"))) - set(source.protocols)
    if unknown:
        raise Unreadable("bad_url", f"{part}: {min(unknown) or 'no protocol'!r} of {url} is not in source.protocols")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256) or not str(size).isdigit():
        why = "needs `size` and `sha256`, its digest in lower-case hex: `dedupver list` writes them"
        raise Unreadable("bad_url", f"{part}: {url} {why}")
    modality = source.parts[part]
    if int(str(size)) > source.limit(modality):
        raise Unreadable(f"huge_{modality}", f"{part}: {size} bytes, the limit is {source.limit(modality)}")
    return Remote(part, url, int(str(size)), bytes.fromhex(sha256))


def protocol(url: str) -> str:
    """Return the protocol of a URL, or of one in a chain of them: `zip` of `zip://a.png::s3://bucket/a.zip`."""
    found = _PROTOCOL.fullmatch(url)
    return found.group(1) if found else ""


def fetched(objects: Iterable[Remote]) -> Iterator[list[bytes]]:
    """Yield the bytes of objects in their order, some at a time.

    Raises SourceError for the first one that can't be fetched, or is not what was listed.
    """
    for group in _groups(objects):
        yield list(_pool().map(_in_memory, group))


def fetch(wanted: Remote, out: BinaryIO) -> None:
    """Write the bytes of an object.

    Raises SourceError that names it: nothing is left out because a network or a server failed.
    """

    def once() -> None:
        out.seek(0)
        digest, left = hashlib.sha256(), wanted.size + 1
        with opened(wanted.url) as file:
            while left and (piece := file.read(min(left, PIECE))):
                digest.update(piece)
                out.write(piece)
                left -= len(piece)
        if digest.digest() != wanted.sha256:
            raise OSError("it is not what was listed: `dedupver list` lists it again")
        out.truncate()

    attempted(once, wanted.url)


def attempted(action: Callable[[], Result], url: str) -> Result:
    """Return what an action on an object returns, tried again where it fails.

    Raises SourceError that names the object.
    """
    for attempt in range(1, TRIES + 1):
        try:
            return action()
        except Exception as error:  # each file system raises its own
            if attempt == TRIES or isinstance(error, _LASTING):
                why = f"{type(error).__name__}: {error}"
                raise SourceError(f"{url} can't be read: {why}. Nothing was left out: run again when it can") from error
        time.sleep(WAIT * 2 ** (attempt - 1))
    raise AssertionError


def opened(url: str) -> Any:
    """Open an object, to be read from the start; a context manager."""
    files, path = file_system(url)
    if protocol(url) in {"http", "https"}:
        return files.open(path, "rb", block_size=0, size=1)  # as one answer to one question, whose size nobody asks for
    return files.open(path, "rb")


def file_system(url: str) -> tuple[Any, str]:
    """Return the file system that a URL is in, and its path there."""
    import fsspec  # noqa: PLC0415 - who has no such part needs not wait for it

    found: tuple[Any, str] = fsspec.url_to_fs(url)
    return found


def _in_memory(wanted: Remote) -> bytes:
    with io.BytesIO() as out:
        fetch(wanted, out)
        return out.getvalue()


def _groups(objects: Iterable[Remote]) -> Iterator[list[Remote]]:
    held: list[Remote] = []
    for each in objects:
        if held and sum(one.size for one in held) + each.size > GROUP_BYTES:
            yield held
            held = []
        held.append(each)
    if held:
        yield held


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(FETCHES)
