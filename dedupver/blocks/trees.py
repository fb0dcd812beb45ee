"""Equal folders and equal files, each told once: at the top of what is equal."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from dedupver.blocks.cut import File


@dataclass(frozen=True)
class Equal:
    """Paths of equal files, or of folders that hold equal files by the same names; the first is the original."""

    paths: list[str]
    files: int  # of each
    bytes: int  # that the others would save


@dataclass
class _Folder:
    """What lies in a folder; its content is known when all of it is."""

    names: dict[str, bytes] = field(default_factory=dict)  # → what the file or folder is
    files: int = 0
    size: int = 0
    height: int = 1
    content: bytes = b""

    def close(self) -> None:
        """Tell the content from the names."""
        said = (os.fsencode(name) + b"\0%d\0" % len(what) + what for name, what in sorted(self.names.items()))
        self.content = hashlib.sha256(b"".join(said)).digest()


def equal(
    files: Sequence[File], others: Mapping[Path, str], roots: Collection[Path]
) -> tuple[list[Equal], list[Equal]]:
    """Return groups of equal folders and of equal files, those that would save most first.

    `others` says what else lies in folders; no folder above the `roots` counts, for not all of it was read. What lies
    in a copy, that is in a folder which equals one before it, is not told again.
    """
    folders = _folders(files, others, roots)
    copies: set[Path] = set()
    trees = []
    for members in _groups((folder.content, path) for path, folder in folders.items()):
        outside = [path for path in members if copies.isdisjoint(path.parents)]
        copies.update(outside[1:])
        saved = sum(folders[path].size for path in outside[1:])
        trees.append(Equal([str(path) for path in outside], folders[members[0]].files, saved))
    size = {file.path: file.held for file in files}
    alike = []
    for members in _groups((file.content, file.path) for file in files if len(file.sizes)):
        outside = [path for path in members if copies.isdisjoint(path.parents)]
        alike.append(Equal([str(path) for path in outside], 1, sum(size[path] for path in outside[1:])))
    return _most_first(trees), _most_first(alike)


def _groups(contents: Iterable[tuple[bytes, Path]]) -> list[list[Path]]:
    """Return the paths of each content, in the order in which the contents come first."""
    found: dict[bytes, list[Path]] = defaultdict(list)
    for content, path in contents:
        found[content].append(path)
    return [members for members in found.values() if len(members) > 1]


def _most_first(groups: Iterable[Equal]) -> list[Equal]:
    return sorted((group for group in groups if len(group.paths) > 1), key=lambda group: (-group.bytes, group.paths))


def _folders(files: Sequence[File], others: Mapping[Path, str], roots: Collection[Path]) -> dict[Path, _Folder]:
    """Return the folders that hold files, at whatever depth: the highest trees first, then in order of path."""
    found: dict[Path, _Folder] = defaultdict(_Folder)
    what = {file.path: b"file " + file.content for file in files}
    what |= {path: os.fsencode(said) for path, said in others.items()}
    for path in what:
        for folder in _within(path.parent, roots)[:1]:
            found[folder].names[path.name] = what[path]
    for file in files:
        for folder in _within(file.path.parent, roots):
            found[folder].files += 1
            found[folder].size += file.held
    for path in sorted(found, key=lambda path: (-len(path.parts), path)):  # the deepest first
        found[path].close()
        for above in _within(path, roots)[1:2]:
            found[above].names[path.name] = b"folder " + found[path].content
            found[above].height = max(found[above].height, found[path].height + 1)
    return dict(sorted(found.items(), key=lambda item: (-item[1].height, item[0])))


def _within(folder: Path, roots: Collection[Path]) -> list[Path]:
    """Return a folder and those above it, up to the highest of the roots that hold it; none where none does."""
    chain = [folder, *folder.parents]
    last = max((at for at, path in enumerate(chain) if path in roots), default=-1)
    return chain[: last + 1]
