"""Files that hold the same bytes: copied, shared by the file system until one is written to, or one under two names."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from typing import TYPE_CHECKING, Final

if sys.platform == "linux":
    import fcntl

if TYPE_CHECKING:
    from pathlib import Path

_FICLONE: Final = 0x40049409
"""Linux's request to share blocks, which btrfs, XFS and others grant."""


def link(source: Path, target: Path, how: str = "hardlink") -> None:
    """Make `target` hold `source`'s bytes.

    - `copy`: of its own; where the file system can, the blocks are shared until one of the two is written to.
    - `hardlink`: one file under two names, or else a copy: a change in place is seen under both.
    - `share`: what costs least of these, for files that nobody changes in place.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if how != "hardlink" and _cloned(source, target):
        return
    if how == "copy" or not _linked(source, target):
        shutil.copyfile(source, target)


def link_tree(source: Path, target: Path, how: str = "hardlink") -> None:
    """`link` every file below `source` to the same place below `target`."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            link(path, target / path.relative_to(source), how)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source.resolve(), target)  # one to the file that a symbolic link stands for
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
            raise
        return False
    return True


def _cloned(source: Path, target: Path) -> bool:
    """Let `target` share the blocks of `source`; return whether the file system can."""
    if sys.platform != "linux":
        return False
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new, _FICLONE, old.fileno())
        except OSError:
            target.unlink()
            return False
    return True
