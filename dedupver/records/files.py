"""Whole files as records: one part each, or an image and the caption beside it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from dedupver.records.paths import BOM, content, inside, printable, role_of, source_of, split_of
from dedupver.records.record import Raw, Task
from dedupver.schema import MODALITIES, Unreadable

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from dedupver import params

TABLES: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
SIDECARS: Final = (".txt", ".caption")
CAPTION: Final = "caption"
"""The part that is beside an image."""


def kind_of(path: str, source: params.Source) -> str | None:
    """Return how a file is read: a modality, jsonl, csv or parquet, by its suffix; None where it is unknown."""
    suffix = PurePosixPath(path).suffix.lower()
    modality = next((m for m in MODALITIES if suffix in source.suffixes(m)), None)
    return modality or TABLES.get(suffix) or ("text" if "*" in source.text_suffixes else None)


def is_file(kind: str | None) -> bool:
    """Return whether a file of this kind is a record, rather than a table of them; one of no known kind is."""
    return kind not in TABLES.values()


def sidecar(path: str, exists: Container[str], source: params.Source) -> str | None:
    """Return the path of the caption beside an image, if params ask for captions and `exists` holds one."""
    if source.captions == "none" or CAPTION not in source.parts or kind_of(path, source) != "image":
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
    part = next(iter(source.parts_of(kind)), None) if kind else None
    if kind is None or part is None:
        inside(root, path)
        suffix = PurePosixPath(path).suffix
        why = f"source.parts has no part of modality {kind}" if kind else f"no known suffix: {suffix!r}"
        raise Unreadable("unsupported_file", why)
    if kind == "text":
        raw.parts[part] = _text(root, path, source, part)
        return
    raw.parts[part] = content(root, path, source.limit(kind), f"huge_{kind}")
    if caption:
        raw.parts[CAPTION] = _text(root, caption, source, CAPTION)


def _text(root: Path, path: str, source: params.Source, what: str) -> bytes:
    return checked_text(content(root, path, source.max_text_bytes, "huge_text").removeprefix(BOM), what)
