"""Rows of tables as records: which columns hold what, and what can be wrong with a row."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from dedupver.records.paths import SPLITS, beside, content, role_of, source_of, split_of
from dedupver.records.record import Raw
from dedupver.schema import SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from dedupver import params

    Row = Mapping[Any, object]  # by name of the column; a field that params leave null asks for the column None

LONGEST_FACTOR: Final = 16
r"""A line may have so many times the bytes of the largest text: two texts, each byte written as `\u00xx`, and more."""

IMAGEFOLDER: Final = "file_name"
"""The column of metadata.jsonl and metadata.csv that names an image, in the layout of Hugging Face's ImageFolder."""


class Number(str):
    """A number as it was written: 23 digits stay 23 digits."""

    __slots__ = ()


class Table:
    """How the rows of one file become records.

    A row is a mapping of column names to values: None, str, Number, bytes (an image), a mapping of `bytes` and `path`
    (an image as Hugging Face stores it), or anything else, which no field of ours takes.
    """

    def __init__(self, root: Path, path: str, source: params.Source) -> None:
        """Note what the path says of all rows of the file."""
        self.root, self.path, self.params = root, path, source
        self.file = root / path
        self.columns = source.columns
        self.longest = max(LONGEST_FACTOR * source.max_text_bytes, 1 << 20)
        self._is_metadata = PurePosixPath(path).stem == "metadata"
        self._images = self.image_columns()
        self.role = role_of(path, source)
        self.source = source_of(path)
        self.split = split_of(path) or SPLITS.get(PurePosixPath(path).stem.lower())

    def check(self, columns: Collection[str]) -> None:
        """Raise SourceError where the columns of the file hold no part, or lack the id that params name."""
        listed = ", ".join(map(repr, columns)) or "none"
        if not self.parts() & set(columns):
            wanted = ", ".join(map(repr, sorted(self.parts()))) or "none"
            raise SourceError(
                f"{self.path} has no column of a text, image or caption: it has {listed}, params name {wanted}. "
                "Set source.columns.text, .image or .caption to the names in the file"
            )
        if self.columns.id is not None and self.columns.id not in columns:
            raise SourceError(
                f"{self.path} has no column {self.columns.id!r}, which source.columns.id names: it has {listed}. "
                "Add it, or set source.columns.id: null to name records after their content"
            )
        twice = sorted({name for name in self.used() if list(columns).count(name) > 1})
        if twice:
            raise SourceError(f"{self.path} has several columns {', '.join(map(repr, twice))}: rename all but one")

    def parts(self) -> set[str]:
        """Return the names of columns that may hold a part."""
        names = {self.columns.text, self.columns.caption, *self.image_columns()}
        return {name for name in names if name is not None}

    def used(self) -> set[str]:
        """Return the names of all columns that are read."""
        columns = self.columns
        names = {columns.id, columns.source, columns.split, columns.time, columns.quality}
        return self.parts() | {name for name in names if name is not None}

    def image_columns(self) -> list[str]:
        """Return the names that the column of images may have, the first that is present counts."""
        names = [self.columns.image] if self.columns.image is not None else []
        return [*names, IMAGEFOLDER] if names and self._is_metadata else names

    def image_path(self, row: Row) -> str | None:
        """Return where the image that a row names is, relative to the root; None where it names none that exists."""
        try:
            name = _image_of(self._image(row))
            return _existing(self.root, self.path, name) if isinstance(name, str) else None
        except Unreadable:
            return None

    def record(self, number: int, row: Row) -> Raw:
        """Return the record that a row holds, quarantined if something is wrong with it."""
        raw = Raw(self.path, number, self.role, source=self.source, split=self.split)
        try:
            if self.columns.id is not None:
                raw.id = _id(row.get(self.columns.id))
            self._attributes(raw, row)
            self._payload(raw, row)
        except Unreadable as verdict:
            raw.quarantine(verdict)
        return raw

    def quarantined(self, number: int, verdict: Unreadable) -> Raw:
        """Return the record of a row of which nothing can be read; number -1: of the file."""
        return Raw(self.path, number, self.role, source=self.source, split=self.split).quarantine(verdict)

    def _payload(self, raw: Raw, row: Row) -> None:
        names, limit = self.columns, self.params.max_text_bytes
        raw.text = _text(row.get(names.text), "text", limit)
        raw.caption = _text(row.get(names.caption), "caption", limit)
        raw.image = self._image_bytes(row)
        if raw.text is None and raw.image is None and raw.caption is None:
            raise Unreadable("no_content", f"no value in any of {', '.join(sorted(self.parts()))}")

    def _attributes(self, raw: Raw, row: Row) -> None:
        names = self.columns
        raw.source = _string(row.get(names.source), "source") or self.source
        split = _string(row.get(names.split), "split")
        raw.split = SPLITS.get(split.lower(), split) if split else self.split
        raw.time = _string(row.get(names.time), "time") or None
        raw.quality = as_float(row.get(names.quality))

    def _image(self, row: Row) -> object:
        return next((row[name] for name in self._images if name in row), None)

    def _image_bytes(self, row: Row) -> bytes | None:
        value = _image_of(self._image(row))
        limit = self.params.max_image_bytes
        if isinstance(value, str):
            return self._image_file(value, limit)
        if value is not None and len(value) > limit:
            raise Unreadable("huge_image", f"{len(value)} bytes, the limit is {limit}")
        return value

    def _image_file(self, name: str, limit: int) -> bytes:
        path = _existing(self.root, self.path, name)
        if path is None:
            raise Unreadable("missing_image", f"{name!r} is no file of the source")
        try:
            return content(self.root, path, limit, "huge_image")
        except Unreadable as verdict:
            if verdict.code == "link_outside":
                raise Unreadable("path_escape", f"{name!r} is {verdict.reason}") from verdict
            raise


def _image_of(value: object) -> bytes | str | None:
    """Return an image's bytes or its path."""
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        return value
    return _unicode(value, "image")


def _existing(root: Path, table: str, name: str) -> str | None:
    for place in beside(table, name):
        try:
            if (root / place).is_file():
                return place
        except (OSError, ValueError):  # a name that no file can have
            continue
    return None


def _text(value: object, field: str, limit: int) -> bytes | None:
    if value is None:
        return None
    text = _unicode(value, field)
    data = text.encode()
    if len(data) > limit:
        raise Unreadable("huge_text", f"{field}: {len(data)} bytes, the limit is {limit}")
    if not text or text.isspace():
        raise Unreadable("empty_text", f"{field}: nothing but white space")
    return data


def _unicode(value: object, field: str) -> str:
    if isinstance(value, Number) or not isinstance(value, str | bytes):
        raise Unreadable("wrong_type", f"{field}: a {_type(value)}, not a string")
    return _valid(value, field)


def _valid(value: str | bytes, field: str) -> str:
    """Return a string that is Unicode; bytes are those of a Parquet string that is not marked as one."""
    try:
        if isinstance(value, bytes):
            return value.decode()
        if not value.isascii():
            value.encode()
    except UnicodeError as error:
        raise Unreadable("bad_utf8", f"{field}: a byte that is no UTF-8, or a lone surrogate") from error
    return str(value)


def _id(value: object) -> str:
    if value is None or value == "" or value == b"":  # noqa: PLR1714 - a set would have to hash the value
        raise Unreadable("no_id", f"the id is {'null' if value is None else 'empty'}")
    if not isinstance(value, str | bytes):
        raise Unreadable("wrong_type", f"id: a {_type(value)}, not a string or a number")
    return _valid(value, "id")


def _string(value: object, field: str) -> str | None:
    return _valid(value, field) if isinstance(value, str | bytes) else None


def as_float(value: object) -> float | None:
    """Return the finite number that a string or a Number says, None where it says none."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _type(value: object) -> str:
    return {Number: "number", dict: "object", list: "list", bool: "boolean"}.get(type(value), "value of another type")
