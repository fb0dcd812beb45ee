"""What still leads to erased records is removed: experiments, caches, remotes, git's objects; then all is searched."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Final

from dedupver import replay
from dedupver.erase import objects, refs
from dedupver.repository import dvc, git
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from dedupver.erase.search import Search

JOURNAL: Final = ("tmp", "erasure")
"""Where, below .dvc, an erasure keeps what it needs to be finished."""


def journal(root: Path) -> Path:
    """Return the folder of an erasure that is not finished."""
    return root.joinpath(".dvc", *JOURNAL)


def settle(root: Path) -> None:
    """Turn the workspace into what the branch holds."""
    git(root, "reset", "--hard", "--quiet")
    dvc(root, "checkout", "--force", "--quiet")


def push(root: Path, remotes: Sequence[str]) -> None:
    """Give the remotes what the new versions use."""
    for name in remotes:
        dvc(root, "push", "--quiet", "--all-commits", "--remote", name)


def remove(root: Path, remotes: Sequence[str], projects: Sequence[Path], old: Collection[str]) -> list[str]:
    """Remove all that no commit uses; return the names of other repositories' commits that were let go.

    It can be done again after it was broken off. `old` are commits that held the records, `projects` others that use
    the same cache or remotes.
    """
    cache = objects.cache_of(root)
    replay.sweep(root)
    with contextlib.suppress(StateError):  # where there never was one
        dvc(root, "queue", "remove", "--all", "--quiet")
    dvc(root, "exp", "remove", "--all-commits", "--quiet")
    elsewhere = refs.drop_old(root, old)
    for path in (cache / "runs", objects.site_cache(root), *_temporary(root)):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    also = [word for project in projects for word in ("--projects", str(project))]
    keep = ("gc", "--workspace", "--all-commits", "--force", "--quiet")
    dvc(root, *keep, *also)
    for name in remotes:
        dvc(root, *keep, "--cloud", "--remote", name, *also)
    refs.forget(root)
    return elsewhere


def search(root: Path, found: Search, remotes: Sequence[str], say: Callable[[str], None]) -> None:
    """Look through every object of the cache, the remotes and git, and every file of the workspace."""
    cache, git_folder = objects.cache_of(root), root / ".git"
    say("searching the cache")
    if cache.is_dir():
        objects.search_files(found, "cache", cache, set())
    for name in remotes:
        say(f"searching the remote {name}")
        objects.search_remote(found, root, name)
    say("searching git's objects")
    objects.search_git(found, root)
    say("searching the workspace")
    objects.search_files(found, "workspace", root, {cache, git_folder, journal(root)})
    site = objects.site_cache(root)
    if site.is_dir():
        objects.search_files(found, "DVC's notes", site, set())


def _temporary(root: Path) -> list[Path]:
    """Return what lies in DVC's folder for temporary files, but for its locks and the erasure's own."""
    kept = {journal(root), *(root / ".dvc" / "tmp" / name for name in ("lock", "rwlock", "rwlock.lock", "btime"))}
    return [path for path in sorted((root / ".dvc" / "tmp").glob("*")) if path not in kept]
