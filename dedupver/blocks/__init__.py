"""What files and folders share: equal folders, equal files, and blocks that differing files have in common.

A question about files as they lie, before or beside the pipeline: it knows no records, needs no project and changes
nothing. Three steps: files are cut into blocks (`cut`), equal trees are told (`trees`), shared blocks are counted for
pairs of files (`pairs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dedupver.blocks import cut, pairs, trees

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.blocks.pairs import Pair
    from dedupver.blocks.trees import Equal


@dataclass(frozen=True)
class Shared:
    """What is the same below some paths; sizes in bytes, lists by what they would save, the most first."""

    files: int
    bytes: int  # of all files; a further hard link to a file adds none
    distinct: int  # bytes if each content were stored once
    blocks: int  # bytes if each block were stored once
    folders: list[Equal]  # equal trees, none within a copy of another
    copies: list[Equal]  # equal files, none within a copy of a folder
    pairs: list[Pair]  # of files that differ and share blocks
    left_out: int  # pairs that are not listed
    crowded: int  # bytes of blocks that are in too many files to list each pair of these
    unreadable: dict[str, str]  # path → why


def shared(paths: Sequence[Path], size: int = cut.SIZE) -> Shared:
    """Return what the files below `paths` share; blocks have `size` bytes on average.

    Raises ModelError without the library that cuts blocks, SourceError for a path that is not there.
    """
    files, links, unreadable = cut.read(paths, size)
    others = {path: f"link {target}" for path, target in links.items()}
    others |= {Path(path): f"unreadable {path}" for path in unreadable}  # which equals nothing
    folders, copies = trees.equal(files, others, frozenset(paths))
    found = pairs.shared(files)
    return Shared(
        files=len(files),
        bytes=sum(file.held for file in files),
        distinct=found.distinct,
        blocks=found.blocks,
        folders=folders,
        copies=copies,
        pairs=found.pairs,
        left_out=found.left_out,
        crowded=found.crowded,
        unreadable=unreadable,
    )
