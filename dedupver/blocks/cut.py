"""Files → blocks whose ends follow from the bytes around them, so that what is put in or taken out moves few of them.

Source: Xia et al., "The design of fast content-defined chunking for data deduplication based storage systems", 2020
(FastCDC), as the library pyfastcdc has it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver.schema import ModelError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SIZE: Final = 4096
"""Bytes of a block on average; a library of its own cuts blocks from a quarter of it to four times as many."""

DIGEST: Final = 16  # bytes of a digest: of 2^40 blocks two collide by a chance of 1 in 2^48
_READERS: Final = 4


@dataclass(frozen=True, eq=False)
class File:
    """A file: its path as it was asked for, its content, and its blocks."""

    path: Path
    held: int  # bytes that it adds to what is stored: none where another path has led to it
    content: bytes  # digest of its blocks' digests
    digests: npt.NDArray[np.uint64]  # shape (blocks, 2)
    sizes: npt.NDArray[np.int64]  # shape (blocks,)


def read(paths: Sequence[Path], size: int) -> tuple[list[File], dict[Path, str], dict[str, str]]:
    """Return all files below some paths, in order of path; links to folders and where to; what can't be read and why.

    Links to files are read as what they lead to. Raises SourceError for a path that is not there, ModelError without
    the library.
    """
    cutter = _cutter()
    unreadable: dict[str, str] = {}
    links: dict[Path, str] = {}
    found = sorted(set(_walk(paths, links, unreadable)))
    with ThreadPoolExecutor(_READERS) as pool:  # hashing and reading leave Python's lock to others
        read = list(pool.map(lambda path: _read(path, cutter(size)), found))
    met: set[tuple[int, int]] = set()
    files = []
    for path, each in zip(found, read, strict=True):
        if isinstance(each, str):
            unreadable[str(path)] = each
            continue
        inode, digests, sizes = each
        held = 0 if inode in met else int(sizes.sum())
        met.add(inode)
        files.append(File(path, held, hashlib.sha256(digests.tobytes()).digest(), digests, sizes))
    return files, links, dict(sorted(unreadable.items()))


def _cutter() -> Any:
    try:
        from pyfastcdc import FastCDC  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ModelError("blocks are cut by pyfastcdc, which is not installed: pip install dedupver[blocks]") from error
    return FastCDC


def _walk(paths: Iterable[Path], links: dict[Path, str], unreadable: dict[str, str]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise SourceError(f"{path} is not there")
        if not path.is_dir():
            yield path
            continue
        for folder, below, names in os.walk(path, onerror=lambda error: _note(error, unreadable)):
            links |= {at: str(at.readlink()) for at in map(Path(folder).joinpath, below) if at.is_symlink()}
            yield from map(Path(folder).joinpath, names)


def _note(error: OSError, unreadable: dict[str, str]) -> None:
    unreadable[str(error.filename)] = error.strerror or "can't be listed"


def _read(path: Path, cutter: Any) -> tuple[tuple[int, int], npt.NDArray[np.uint64], npt.NDArray[np.int64]] | str:
    """Return a file's inode, and the digests and sizes of its blocks; or why it can't be read."""
    digests, sizes = [], []
    try:
        # without O_NONBLOCK a pipe would wait for someone to write
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb", buffering=0) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                return "no regular file"
            for block in cutter.cut_stream(file):
                digests.append(hashlib.sha256(block.data).digest()[:DIGEST])
                sizes.append(block.length)
    except OSError as error:
        return error.strerror or "can't be read"
    words = np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)
    return (about.st_dev, about.st_ino), words, np.array(sizes, np.int64)
