"""Whole files as records: each sample of one file or of several beside each other."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dedupver.records.jsonl import JsonLines
from dedupver.records.paths import BOM, content, inside, printable, role_of, source_of, split_of
from dedupver.records.payload import of_file
from dedupver.records.record import Raw, Task
from dedupver.records.samples import kind_of
from dedupver.records.tables import describe
from dedupver.schema import ATTRIBUTES, Unreadable

if TYPE_CHECKING:
    from collections.abc import Container, Iterator
    from pathlib import Path

    from dedupver import params
    from dedupver.records.samples import Sample


def read(root: Path, task: Task, source: params.Source) -> Iterator[Raw]:
    """Yield one record for each sample of the task."""
    for sample in task.samples:
        yield read_sample(root, sample, source)


def read_sample(root: Path, sample: Sample, source: params.Source) -> Raw:
    """Return the record that a sample is, quarantined if one of its files can't be read."""
    name = printable(sample.path)
    raw = Raw(name, -1, role_of(name, source), name, source=source_of(name), split=split_of(name, source))
    try:
        _fill(raw, root, sample, source)
    except Unreadable as verdict:
        raw.quarantine(verdict)
    return raw


def checked_text(data: bytes) -> bytes:
    """Return the bytes of a text without a byte order mark.

    Raises Unreadable: `bad_utf8`, or `empty_text` where there is nothing but white space.
    """
    data = data.removeprefix(BOM)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("bad_utf8", f"byte {error.start} is no UTF-8") from error
    if not text or text.isspace():
        raise Unreadable("empty_text", "nothing but white space")
    return data


@contextlib.contextmanager
def naming(part: str) -> Iterator[None]:
    """Say of which part of a record something can't be read."""
    try:
        yield
    except Unreadable as verdict:
        raise Unreadable(verdict.code, f"{part}: {verdict.reason}") from verdict


def put_attributes(raw: Raw, data: bytes, source: params.Source, parts: Container[str]) -> None:
    """Put what an object of JSON says of a record, and the texts of it that are not among its `parts`.

    Raises Unreadable: what jsonl and tables.describe raise.
    """
    with naming(ATTRIBUTES):
        describe(raw, JsonLines(source.max_json_depth).parse(data.removeprefix(BOM)), source, parts)


def unknown(path: str, source: params.Source) -> Unreadable:
    """Return why a file is no part of a record."""
    kind = kind_of(path, source)
    suffix = PurePosixPath(path).suffix
    why = f"source.parts has no part of modality {kind}" if kind else f"no known suffix: {suffix!r}"
    return Unreadable("unsupported_file", why)


def _fill(raw: Raw, root: Path, sample: Sample, source: params.Source) -> None:
    if not sample.parts:
        inside(root, sample.path)
        raise unknown(sample.path, source)
    if sample.attributes:
        with naming(ATTRIBUTES):
            data = content(root, sample.attributes, source.max_text_bytes, "huge_text")
        put_attributes(raw, data, source, sample.parts)
    for part, path in sample.parts.items():
        modality = source.parts[part]
        with naming(part):
            payload = of_file(root, path, modality, source)
            raw.parts[part] = checked_text(payload) if modality == "text" and isinstance(payload, bytes) else payload
    for path in sample.others:
        with naming(PurePosixPath(path).name):
            inside(root, path)
