"""Paths of the source: how they are walked, confined to its root, and what they say of a record."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import posixpath
import re
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from dedupver.schema import SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from dedupver import params

BOM: Final = b"\xef\xbb\xbf"
_PIECE: Final = re.compile(r"[-_]?[0-9]+(-of-[0-9]+)?$")
"""How the name of one of several files of a table ends."""

_DVC_OBJECT: Final = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")


def walk(root: Path) -> Iterator[str]:
    """Yield what is below `root` and not hidden, as relative POSIX paths, sorted.

    Files, links to folders (which are not followed), and folders that can't be listed.
    Raises SourceError where `root` is no folder.
    """
    if not root.is_dir():
        raise SourceError(f"source.path: {root} is no folder")
    found: list[str] = []
    failed: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=failed.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        found += (os.path.join(folder, name) for name in [*files, *links] if not name.startswith("."))  # noqa: PTH118 - hot
    found += (error.filename for error in failed)
    below = len(str(root)) + 1
    yield from sorted(path[below:].replace(os.sep, "/") for path in found)


def inside(root: Path, path: str) -> Path:
    """Return the regular file at a path relative to `root`, which is resolved itself, with all links resolved.

    Raises Unreadable: `unreadable_file`, `link_outside`, or `unsupported_file` for what is no regular file. Links that
    DVC makes into its cache are no links out of the source.
    """
    if path != printable(path):
        raise Unreadable("unreadable_file", "the name of the file is no UTF-8")
    try:
        info = (root / path).stat()
        real = (root / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise Unreadable("unreadable_file", reason(error)) from error
    if not real.is_relative_to(root) and not _DVC_OBJECT.search(real.as_posix()):
        raise Unreadable("link_outside", "a link out of the source")
    if stat.S_ISDIR(info.st_mode):
        raise _folder(root / path)
    if not stat.S_ISREG(info.st_mode):
        raise Unreadable("unsupported_file", "no regular file")
    return real


@contextlib.contextmanager
def opened(root: Path, path: str, limit: int, huge: str) -> Iterator[BufferedReader]:
    """Open a file below `root`.

    Raises Unreadable: what `inside` raises, the code `huge` for more than `limit` bytes, or `unreadable_file` where the
    body of the `with` can't read it.
    """
    real = inside(root, path)
    try:
        size = real.stat().st_size
        if size > limit:
            raise Unreadable(huge, f"{size} bytes, the limit is {limit}")
        with real.open("rb") as file:
            yield file
    except OSError as error:
        raise Unreadable("unreadable_file", reason(error)) from error


def content(root: Path, path: str, limit: int, huge: str) -> bytes:
    """Return the bytes of a file below `root`. Raises Unreadable: what `opened` raises."""
    with opened(root, path, limit, huge) as file:
        return file.read()


def beside(table: str, name: str) -> list[str]:
    """Return where the file that a row of `table` names may be: beside the table, or counted from the root.

    Raises Unreadable with `path_escape` for a name that leaves the root.
    """
    if name.startswith("/") or "\0" in name:
        raise Unreadable("path_escape", f"{name!r} is no relative path")
    places = [posixpath.normpath(posixpath.join(posixpath.dirname(table), name)), posixpath.normpath(name)]
    places = [place for place in places if place != ".." and not place.startswith("../")]
    if not places:
        raise Unreadable("path_escape", f"{name!r} leaves the source")
    return places


def role_of(path: str, source: params.Source) -> str:
    """Return `reference` for a path that one of `source.references` matches (`**/` also no folder), else `data`."""
    globs = (g for glob in source.references for g in (glob, glob.replace("**/", "")))
    return "reference" if any(fnmatch.fnmatchcase(path, glob) for glob in globs) else "data"


def source_of(path: str) -> str | None:
    """Return the first folder of a path."""
    first, slash, _ = path.partition("/")
    return first if slash else None


def split_of(path: str, source: params.Source) -> str | None:
    """Return the split that the innermost folder named like one says."""
    names = (source.split_names.get(part.lower()) for part in reversed(PurePosixPath(path).parts[:-1]))
    return next((name for name in names if name), None)


def split_in(path: str, source: params.Source) -> str | None:
    """Return the split that the folders of a table or an archive say, or else its name: also `train-00000-of-00002`."""
    stem = posixpath.basename(path).partition(".")[0].lower()
    names = source.split_names
    return split_of(path, source) or names.get(stem) or names.get(_PIECE.sub("", stem))


def printable(text: str) -> str:
    r"""Return valid Unicode: what is none — undecodable bytes, lone surrogates — is shown as `\x…` or `\u…`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def reason(error: Exception) -> str:
    """Return the first line of what went wrong; nothing that holds an absolute path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = str(error).partition("\n")[0]
    return type(error).__name__ if not message or "/" in message else message


def _folder(path: Path) -> Unreadable:
    if path.is_symlink():
        return Unreadable("unsupported_file", "a link to a folder; its files are read where they are")
    return Unreadable("unreadable_file", "a folder that can't be listed")
