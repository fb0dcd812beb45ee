"""Whole files as records: a text, an image, or an image and the caption beside it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from dedupver.records.paths import BOM, content, inside, printable, role_of, source_of, split_of
from dedupver.records.record import Raw, Task
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from dedupver import params

TABLES: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
SIDECARS: Final = (".txt", ".caption")


def kind_of(path: str, source: params.Source) -> str | None:
    """Return how a file is read — text, image, jsonl, csv, parquet — by its suffix, None where it is unknown."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in source.image_suffixes:
        return "image"
    if suffix in source.text_suffixes:
        return "text"
    return TABLES.get(suffix) or ("text" if "*" in source.text_suffixes else None)


def sidecar(path: str, exists: Container[str], source: params.Source) -> str | None:
    """Return the path of the caption beside an image, if params ask for captions and `exists` holds one."""
    if source.captions == "none" or kind_of(path, source) != "image":
        return None
    places = (str(PurePosixPath(path).with_suffix(suffix)) for suffix in SIDECARS)
    return next((place for place in places if place in exists), None)


class Present:
    """The files below a root, asked one at a time: the counterpart on disk of a set of walked paths."""

    def __init__(self, root: Path) -> None:
        """Look below `root`."""
        self._root = root

    def __contains__(self, path: object) -> bool:
        """Return whether the path is something else than a folder; a dangling link is."""
        place = self._root / str(path)
        return place.is_symlink() or (place.exists() and not place.is_dir())


def read(root: Path, task: Task, source: params.Source) -> Iterator[Raw]:
    """Yield one record for each path of the task."""
    present = Present(root)
    for path in task.paths:
        name = printable(path)
        raw = Raw(name, -1, role_of(name, source), name, source=source_of(name), split=split_of(name))
        try:
            _fill(raw, root, path, sidecar(path, present, source), source)
        except Unreadable as verdict:
            raw.quarantine(verdict)
        yield raw


def checked_text(data: bytes, what: str = "text") -> bytes:
    """Return the bytes of a text.

    Raises Unreadable: `bad_utf8`, or `empty_text` where there is nothing but white space.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("bad_utf8", f"{what}: byte {error.start} is no UTF-8") from error
    if not text or text.isspace():
        raise Unreadable("empty_text", f"{what}: nothing but white space")
    return data


def _fill(raw: Raw, root: Path, path: str, caption: str | None, source: params.Source) -> None:
    kind = kind_of(path, source)
    if kind == "image":
        raw.image = content(root, path, source.max_image_bytes, "huge_image")
        raw.caption = _text(root, caption, source, "caption") if caption else None
    elif kind == "text":
        raw.text = _text(root, path, source, "text")
    else:
        inside(root, path)
        raise Unreadable("unsupported_file", f"no known suffix: {PurePosixPath(path).suffix!r}")


def _text(root: Path, path: str, source: params.Source, what: str) -> bytes:
    return checked_text(content(root, path, source.max_text_bytes, "huge_text").removeprefix(BOM), what)
