"""Datasets as Hugging Face's `save_to_disk` lays them out: a folder of Arrow files and a state.json, or one a split."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dedupver.records.paths import content
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATE: Final = "state.json"
INFO: Final = "dataset_info.json"
SPLITS: Final = "dataset_dict.json"
LARGEST: Final = 16 << 20
"""Bytes of a file of JSON; there is none that large."""


class Saved(NamedTuple):
    """A folder that state.json makes a dataset."""

    folder: str
    state: dict[str, Any]
    files: tuple[str, ...]  # the paths of its Arrow files

    @property
    def indexed(self) -> bool:
        """Whether its rows are chosen by a further file, which nobody reads."""
        return bool(self.state.get("_indices_data_files"))

    def path(self, name: str) -> str:
        """Return the path of a file in the folder."""
        return posixpath.join(self.folder, name)


def saved(root: Path, folder: str) -> Saved | None:
    """Return the dataset that a folder below `root` is; None where it is none."""
    state = _object(root, posixpath.join(folder, STATE))
    listed = state.get("_data_files")
    names = [each.get("filename") for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if not names or not all(map(_is_name, names)):
        return None
    if not isinstance(state.get("_fingerprint"), str) or not _object(root, posixpath.join(folder, INFO)):
        return None
    return Saved(folder, state, tuple(posixpath.join(folder, str(name)) for name in names))


def splits(root: Path, folder: str) -> list[Saved]:
    """Return a dataset's splits, of which a folder is one: those that the folder above lists, or itself alone."""
    above, name = posixpath.split(folder)
    listed = _object(root, posixpath.join(above, SPLITS)).get("splits") if folder else None
    names = listed if isinstance(listed, list) and name in listed else [name]
    places = [posixpath.join(above, each) for each in names if _is_name(each)]
    return [found for place in places if (found := saved(root, place))]


def beside(root: Path, each: Saved) -> Iterator[str]:
    """Yield the paths of a dataset's files that are no tables."""
    yield from (each.path(STATE), each.path(INFO))
    above, name = posixpath.split(each.folder)
    if each.folder and name in (_object(root, posixpath.join(above, SPLITS)).get("splits") or ()):
        yield posixpath.join(above, SPLITS)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name == posixpath.basename(name) and name not in {"", ".", ".."}


def _object(root: Path, path: str) -> dict[str, Any]:
    """Return the object in a file of JSON, an empty one where there is none."""
    try:
        found = json.loads(content(root, path, LARGEST, "huge_text"))
    except (Unreadable, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
