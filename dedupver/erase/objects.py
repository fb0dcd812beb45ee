"""Where the bytes of a project lie: the objects of DVC's cache and remotes, git's, and the workspace."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import posixpath
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dedupver import repository
from dedupver.repository import dvc, git
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.erase.search import Search

DIRECTORY: Final = ".dir"
HASH: Final = 32
"""Hex digits of an object's name."""


@functools.cache
def cache_of(root: Path) -> Path:
    """Return the folder of DVC's cache."""
    return Path(dvc(root, "cache", "dir").strip())


def listing(cache: Path, digest: str) -> dict[str, str]:
    """Return the path → digest of the files below an output; of a single file, its own under the empty path.

    Raises StateError where the cache lacks the listing.
    """
    if not digest.endswith(DIRECTORY):
        return {"": digest}
    try:
        return {each["relpath"]: each["md5"] for each in json.loads(place(cache, digest).read_bytes())}
    except FileNotFoundError as error:
        raise StateError(f"the cache lacks {digest}: run `dvc fetch --all-tags`") from error


def place(cache: Path, digest: str) -> Path:
    """Return where an object is, in the layout of today or of DVC before 3."""
    path = cache / "files" / "md5" / digest[:2] / digest[2:]
    return path if path.exists() else cache / digest[:2] / digest[2:]


def search_used(found: Search, root: Path, commit: str, cache: Path, seen: set[str]) -> None:
    """Look through the objects that a commit uses, under the names that they have there, each once."""
    for path, digest in sorted(repository.outputs(root, commit).items()):
        if not place(cache, digest).exists():  # what git tracks, such as metrics
            continue
        for below, each in listing(cache, digest).items():
            name = posixpath.join(path, below) if below else path
            found.name("data", name, name)
            if each not in seen:
                seen.add(each)
                found.name("data", name, each)
                with place(cache, each).open("rb") as file:
                    found.object("data", name, file)


def search_tree(found: Search, root: Path, commit: str, seen: set[str]) -> None:
    """Look through the files that a commit holds, and what it says, each once."""
    found.object("git", commit[:12], _Text(git(root, "cat-file", "commit", commit)))
    for line in filter(None, git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0")):
        meta, _, path = line.partition("\t")
        kind, oid = meta.split()[1:3]
        if kind == "blob" and oid not in seen:
            seen.add(oid)
            for _, _, stream in _objects(root, ["--batch"], f"{oid}\n"):
                found.object("git", path, stream)


def search_git(found: Search, root: Path) -> None:
    """Look through every object that git has, reachable or not, and the other files of its folder."""
    for oid, kind, stream in _objects(root, ["--batch-all-objects", "--batch", "--buffer"], None):
        found.object("git", f"{kind} {oid}", stream)
    folder = Path(git(root, "rev-parse", "--path-format=absolute", "--git-common-dir").strip())
    search_files(found, "git", folder, {folder / "objects"})


def search_files(found: Search, where: str, folder: Path, left_out: set[Path]) -> None:
    """Look through every file below a folder, hidden ones too, but for what is below some."""
    for above, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if Path(above, name) not in left_out and not (Path(above, name) / "pyvenv.cfg").exists()
        )
        for name in sorted(files):
            path = Path(above, name)
            if path in left_out:
                continue
            shown = path.relative_to(folder).as_posix()
            found.name(where, shown, path.parent.name + name)
            with contextlib.suppress(FileNotFoundError):
                if path.is_symlink():
                    found.object(where, shown, _Text(str(path.readlink())))
                elif path.is_file():
                    with path.open("rb") as file:
                        found.object(where, shown, file)


def search_remote(found: Search, root: Path, name: str) -> None:
    """Look through every object of a remote, on whatever file system it lies.

    Raises StateError where it can't be read.
    """
    from dvc.repo import Repo  # noqa: PLC0415 - takes a second

    try:
        with Repo(str(root)) as repo:
            remote = repo.cloud.get_remote(name)
            fs, top = remote.fs, remote.path
            for path in sorted(fs.find(top)) if fs.exists(top) else ():
                found.name(name, path, "".join(path.split("/")[-2:]))
                with fs.open(path, "rb") as file:
                    found.object(name, path[len(top) :].lstrip("/"), file)
    except Exception as error:
        raise StateError(f"the remote {name} can't be searched: {error}") from error


def remotes(root: Path) -> list[str]:
    """Return the names of the remotes that DVC has, the default one first."""
    names = [line.split()[0] for line in dvc(root, "remote", "list").splitlines() if line.strip()]
    with contextlib.suppress(StateError):
        default = dvc(root, "remote", "default").strip()
        names.sort(key=lambda name: name != default)
    return names


def site_cache(root: Path) -> Path:
    """Return the folder outside of the project where DVC keeps what it knows of its files, by their paths."""
    from dvc.repo import Repo  # noqa: PLC0415 - takes a second

    with Repo(str(root)) as repo:
        return Path(repo.site_cache_dir)


class _Text:
    """A text as a stream."""

    def __init__(self, text: str) -> None:
        self._left = text.encode("utf-8", "surrogateescape")

    def read(self, size: int) -> bytes:
        piece, self._left = self._left[:size], self._left[size:]
        return piece


class _Part:
    """The next so many bytes of a stream."""

    def __init__(self, stream: Any, size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int) -> bytes:
        piece: bytes = self._stream.read(min(size, self._left))
        self._left -= len(piece)
        return piece


def _objects(root: Path, options: list[str], asked: str | None) -> Iterator[tuple[str, str, _Part]]:
    """Yield the name, the type and the bytes of git's objects; what is not read of one is passed over."""
    with subprocess.Popen(  # noqa: S603 - no shell; the arguments are ours
        ["git", "cat-file", *options],  # noqa: S607 - whichever git the user has
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise StateError("`git cat-file` can't be read")
        process.stdin.write((asked or "").encode())
        process.stdin.close()
        while line := process.stdout.readline():
            oid, kind, size = line.decode().split()
            part = _Part(process.stdout, int(size))
            yield oid, kind, part
            while part.read(1 << 20):
                pass
            process.stdout.read(1)
    if process.returncode:
        raise StateError(f"`git cat-file` ended with {process.returncode}: run `git fsck`")
