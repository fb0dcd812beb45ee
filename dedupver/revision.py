"""The manifest, and other outputs, of any git revision, read from DVC's cache or remote without a checkout."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dedupver import store
from dedupver.manifest import open_manifest
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.manifest import Log


@contextlib.contextmanager
def at_revision(root: Path, revision: str | None) -> Iterator[Log]:
    """Open the manifest of a git revision for the length of a block, without a checkout; None: of the working tree.

    Raises StateError where the revision has no manifest, or where neither the cache nor a remote holds its files.
    """
    if revision in {None, "workspace"}:
        if not (root / "manifest").is_dir():
            raise StateError(f"{root / 'manifest'} is missing: run `dvc repro` to build it, or `dvc checkout`")
        yield open_manifest(root / "manifest")
        return
    with tempfile.TemporaryDirectory(prefix="dedupver-") as folder:
        _fetch(root, str(revision), Path(folder) / "manifest")
        yield open_manifest(Path(folder) / "manifest")


def fetch(root: Path, revision: str, name: str, target: Path) -> None:
    """Copy a file or folder that DVC tracks, as it is in a git revision, to `target`.

    Raises StateError where the revision has none of that name, or where neither the cache nor a remote holds it.
    """
    from dvc.api import DVCFileSystem  # noqa: PLC0415 - takes a second, and only a revision needs it
    from dvc.exceptions import DvcException  # noqa: PLC0415
    from dvc_data.index import DataIndexDirError  # noqa: PLC0415

    try:
        files = DVCFileSystem(repo=str(root), rev=revision)
        if not (files.isdir(f"/{name}") or files.isfile(f"/{name}")):  # `exists` hides errors
            raise StateError(f"revision {revision} has no {name}: name one where `dvc repro` had run and was committed")
        files.get(f"/{name}", str(target), recursive=True)
    except (DvcException, DataIndexDirError, OSError) as error:
        raise StateError(_unavailable(name, revision, error)) from error
    if not target.exists():
        raise StateError(_unavailable(name, revision, FileNotFoundError("its files are in no cache")))


def _fetch(root: Path, revision: str, target: Path) -> None:
    fetch(root, revision, "manifest", target)
    if not (target / store.LISTING).is_file():
        raise StateError(_unavailable("manifest", revision, FileNotFoundError("its files are in no cache")))


def _unavailable(name: str, revision: str, error: Exception) -> str:
    if type(error).__name__ == "RevError":
        return f"revision {revision!r} is not known to git: `git tag` and `git log` list those that are"
    return (
        f"the {name} of {revision} can't be read ({error}). Its data may be in no cache: run `dvc fetch -T` for all "
        "tags, or check the revision out and run `dvc pull`"
    )
