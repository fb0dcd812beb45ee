"""Rows of tables as records: which columns hold what, and what can be wrong with a row."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np

from dedupver.records import objects
from dedupver.records.paths import beside, role_of, source_of, split_in
from dedupver.records.payload import of_bytes, of_file
from dedupver.records.record import Raw
from dedupver.records.remote import remote
from dedupver.records.samples import kind_of
from dedupver.schema import MODALITIES, SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.records.payload import Payload

    Row = Mapping[Any, object]  # by name of the column; a field that params leave null asks for the column None

LONGEST_FACTOR: Final = 16
r"""A line may have so many times the bytes of the largest text: two texts, each byte written as `\u00xx`, and more."""

FOLDER: Final = "file_name"
"""The column of metadata.jsonl and metadata.csv that names a file, in Hugging Face's ImageFolder and its like.

There `image_file_name` names the file of a part `image`, where a row has several.
"""

VECTOR: Final = "vector"
BLOBS: Final = tuple(modality for modality in MODALITIES if modality not in {"text", "row", VECTOR})
"""Modalities of which a value is bytes, or the name of a file that holds them."""


NO_NUMBERS: Final = frozenset({"nan", "inf", "infinity"})
"""What a Number may say that is none, in lower case and less its sign."""


class Number(str):
    """A number as it was written: 23 digits stay 23 digits."""

    __slots__ = ()


class Numbers(NamedTuple):
    """The numbers of a vector."""

    data: bytes  # float32, little-endian


class Table:
    """How the rows of one file become records.

    A row is a mapping of column names to values: None, str, Number, bool, bytes (an image), a mapping of `bytes` and
    `path` (an image as Hugging Face stores it), a list of Number or Numbers (a vector), or anything else, which no
    field of ours takes. `texts`, `blobs` and `vectors` map the columns of parts, which a file may or may not have, to
    these parts; the column FOLDER has no part of its own: the name in it says which. `rows` maps parts that are made of
    several columns to these.
    """

    def __init__(self, root: Path, path: str, source: params.Source) -> None:
        """Note what the path says of all rows of the file."""
        self.root, self.path, self.params = root, path, source
        self.file = root / path
        self.columns = source.columns
        self.longest = max(LONGEST_FACTOR * source.max_text_bytes, 1 << 20)
        self.rows = {part: several for part in source.parts_of("row") if (several := self.columns.of_row(part))}
        single = (part for part in source.parts if source.parts[part] != "row")
        columns = {part: column for part in single if (column := self.columns.of(part)) is not None}
        self.texts = {column: part for part, column in columns.items() if source.parts[part] == "text"}
        self.blobs = {column: part for part, column in columns.items() if source.parts[part] in BLOBS}
        self.vectors = {column: part for part, column in columns.items() if source.parts[part] == VECTOR}
        stem = PurePosixPath(path).name.partition(".")[0].lower()
        if self.blobs and stem == "metadata":
            for part in source.parts_of(*BLOBS):
                self.blobs.setdefault(f"{part}_{FOLDER}", part)
            self.blobs.setdefault(FOLDER, "")
        self.role = role_of(path, source)
        self.source = source_of(path)
        self.split = split_in(path, source)

    @classmethod
    def bare(cls, root: Path, path: str, source: params.Source) -> Self:
        """Return a table of which no column is a part: each is what is written in it."""
        table = cls(root, path, source)
        table.rows, table.texts, table.blobs, table.vectors = {}, {}, {}, {}
        return table

    def check(self, columns: Collection[str]) -> None:
        """Raise SourceError where the columns of the file hold no part, or lack the id that params name."""
        listed = ", ".join(map(repr, columns)) or "none"
        if not self.parts() & set(columns):
            wanted = ", ".join(map(repr, sorted(self.parts()))) or "none"
            raise SourceError(
                f"{self.path} has no column of a text, an image or another part: it has {listed}, "
                f"params name {wanted}. Set source.columns.text, .image or another part's to the name in the file, "
                "or source.columns.fields to a list of columns that are to be compared one by one"
            )
        for part, wanted_columns in self.rows.items():
            lacking = ", ".join(repr(name) for name in wanted_columns if name not in columns)
            if lacking and not set(wanted_columns).isdisjoint(columns):  # with none of them it has no such part
                raise SourceError(
                    f"{self.path} has no column {lacking}, which source.columns.{part} names: it has {listed}. "
                    f"Add it, or take it out of source.columns.{part} (a change needs `version.base: none`)"
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
        return {*self.texts, *self.blobs, *self.vectors, *itertools.chain.from_iterable(self.rows.values())}

    def used(self) -> set[str]:
        """Return the names of all columns that are read."""
        columns = self.columns
        names = {columns.id, columns.source, columns.split, columns.time, columns.quality, columns.label}
        return self.parts() | {name for name in names if name is not None}

    def blob_paths(self, row: Row) -> Iterator[str]:
        """Yield where the files that a row names are, relative to the root; those of them that exist."""
        for column in self.blobs:
            with contextlib.suppress(Unreadable):
                name = _blob(row.get(column), column)
                place = _existing(self.root, self.path, name) if isinstance(name, str) else None
                if place is not None:
                    yield place

    def record(self, number: int, row: Row) -> Raw:
        """Return the record that a row holds, quarantined if something is wrong with it."""
        raw = Raw(self.path, number, self.role, source=self.source, split=self.split)
        raw.outside = self._points(row) or None
        try:
            if self.columns.id is not None:
                raw.id = _id(row.get(self.columns.id))
            _attributes(raw, row, self.params)
            self._payload(raw, row)
        except Unreadable as verdict:
            raw.quarantine(verdict)
        return raw

    def quarantined(self, number: int, verdict: Unreadable) -> Raw:
        """Return the record of a row of which nothing can be read; number -1: of the file."""
        return Raw(self.path, number, self.role, source=self.source, split=self.split).quarantine(verdict)

    def _points(self, row: Row) -> bool:
        """Return whether a row may name files or objects elsewhere."""
        blobs, texts = map(row.get, self.blobs), map(row.get, self.texts)
        return any(_place_of(value) is not None for value in blobs) or any(isinstance(text, dict) for text in texts)

    def _payload(self, raw: Raw, row: Row) -> None:
        for column, part in self.texts.items():
            if not self._put_remote(raw, part, row.get(column)):
                raw.put(part, _text(row.get(column), part, self.params.max_text_bytes))
        for column, part in self.vectors.items():
            raw.put(part, vector_of(row.get(column), part, self.params.max_vector_bytes))
        for column, part in self.blobs.items():
            if not self._put_remote(raw, part, row.get(column)):
                self._put_blob(raw, part, _blob(row.get(column), part or column))
        for part, columns in self.rows.items():
            raw.put(part, _line({name: row.get(name) for name in columns}, part, self.params.max_row_bytes))
        if not raw.parts and not raw.remote:
            held = self.parts() & row.keys() or self.parts()
            raise Unreadable("no_content", f"no value in any of {', '.join(sorted(held))}")

    def _put_remote(self, raw: Raw, part: str, value: object) -> bool:
        """Put the object elsewhere that a value names; return whether it is about one, or about none."""
        if not part or not isinstance(value, dict) or "url" not in value:
            return False
        if value.get("bytes") is not None or value.get("path") is not None:
            return False
        found = remote(value, part, self.params)
        if found:
            raw.remote = [*(raw.remote or ()), found._asdict()]
        return True

    def _put_blob(self, raw: Raw, part: str, value: bytes | str | None) -> None:
        if value is None or part in raw.parts:
            return
        part = part or self._part_of(str(value))
        if part in raw.parts:  # the column of its own counts
            return
        modality = self.params.parts[part]
        if isinstance(value, str):
            raw.parts[part] = self._file(value, modality)
        else:
            raw.parts[part] = of_bytes(value, modality, self.params)

    def _part_of(self, name: str) -> str:
        """Return the part that a named file is, by its suffix; an image where that says nothing."""
        kind = kind_of(name, self.params)
        wanted = kind if kind in BLOBS else "image"
        return next(iter([*self.params.parts_of(wanted), *self.params.parts_of(*BLOBS)]))

    def _file(self, name: str, modality: str) -> Payload:
        path = _existing(self.root, self.path, name)
        if path is None:
            raise Unreadable(f"missing_{modality}", f"{name!r} is no file of the source")
        try:
            return of_file(self.root, path, modality, self.params)
        except Unreadable as verdict:
            if verdict.code == "link_outside":
                raise Unreadable("path_escape", f"{name!r} is {verdict.reason}") from verdict
            raise


def describe(raw: Raw, row: Row, source: params.Source, parts: Container[str]) -> None:
    """Put what a row says of a record that files make: attributes, and texts of which no file is among `parts`.

    Raises Unreadable: bad_utf8, wrong_type, huge_text, empty_text.
    """
    names = source.columns
    if names.id is not None and row.get(names.id) is not None:
        raw.id = _id(row[names.id])
    _attributes(raw, row, source)
    for part in source.parts_of("text"):
        text = None if part in parts else _text(row.get(names.of(part)), part, source.max_text_bytes)
        if text is not None:
            raw.parts[part] = text


def _attributes(raw: Raw, row: Row, given: params.Source) -> None:
    """Put what a row says of where a record comes from; what it does not say stays as the path has it."""
    names = given.columns
    raw.source = _string(row.get(names.source), "source") or raw.source
    split = _string(row.get(names.split), "split")
    raw.split = given.split_names.get(split.lower(), split) if split else raw.split
    raw.time = _string(row.get(names.time), "time") or None
    raw.quality = as_float(row.get(names.quality))
    raw.label = _string(row.get(names.label), "label") or None


def _blob(value: object, field: str) -> bytes | str | None:
    """Return the bytes of an image or its like, or the name of the file that has them."""
    if isinstance(value, dict):
        value = value.get("path") if value.get("bytes") is None else value["bytes"]
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        return value
    return _unicode(value, field)


def _place_of(value: object) -> object:
    """Return what may say where bytes are that a value does not hold."""
    if isinstance(value, dict):
        return None if value.get("bytes") is not None else value
    return None if isinstance(value, bytes) else value or None


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


def vector_of(value: object, field: str, limit: int) -> bytes | None:
    """Return the numbers of a list, or of a string that is one in JSON, as float32; what they are is judged later."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value, parse_int=Number, parse_float=Number, parse_constant=Number)
    if isinstance(value, list) and all(isinstance(number, Number) for number in value):
        with np.errstate(over="ignore"):  # beyond float32 is not finite
            value = Numbers(np.array(value, np.float64).astype("<f4").tobytes())
    if not isinstance(value, Numbers):
        raise Unreadable("wrong_type", f"{field}: a {_type(value)}, not a list of numbers")
    if len(value.data) > limit:
        raise Unreadable("huge_vector", f"{field}: {len(value.data)} bytes as float32, the limit is {limit}")
    return value.data


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


def _value(value: object, field: str) -> str:
    """Return what a field of a row says, as it is written; empty where it says nothing."""
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if not isinstance(value, str | bytes):
        raise Unreadable("wrong_type", f"{field}: a {_type(value)}, not a string, a number or a boolean")
    if isinstance(value, Number) and value.lower().lstrip("-") in NO_NUMBERS:
        raise Unreadable("bad_number", f"{field}: {value} is no finite number")
    return _valid(value, field)


def _line(row: Row, part: str, limit: int) -> bytes | None:
    """Return the columns of a part as one string of bytes, None where none says anything."""
    values = {name: said for name, value in row.items() if (said := _value(value, name))}
    data = objects.line(values) if values else None
    if data and len(data) > limit:
        raise Unreadable("huge_row", f"{part}: {len(data)} bytes, the limit is {limit}")
    return data


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
    names = {Number: "number", dict: "object", list: "list", Numbers: "list", bool: "boolean"}
    return names.get(type(value), "value of another type")
