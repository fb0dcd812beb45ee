"""Raw data without some records: their files deleted, their rows and members left out, all else byte for byte."""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from dedupver import publish, records, rewrite, store
from dedupver.records import arrow, formats, lines, parquet, saved, separated, shards, streams, values
from dedupver.records.paths import inside, reason
from dedupver.records.plan import holding, named
from dedupver.records.samples import Folders, kind_of
from dedupver.records.tables import Table
from dedupver.schema import SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.records import Task

    Places = Mapping[str, Collection[int]]
    Spans = list[tuple[int, int]]

COLUMNAR: Final = frozenset({"parquet", "arrow"})


@dataclass
class Held:
    """What raw data holds of one record."""

    path: str
    row: int
    parts: dict[str, Any] = field(default_factory=dict)  # bytes, or a mapping with the keys of schema.HANDLE
    files: list[str] = field(default_factory=list)  # of a sample, or those that a row names
    urls: list[str] = field(default_factory=list)  # of objects elsewhere
    line: bytes = b""  # of a table made of lines


@dataclass
class Taken:
    """What was taken out of raw data; paths are relative to it."""

    deleted: list[str] = field(default_factory=list)
    rewritten: list[str] = field(default_factory=list)


def read(root: Path, source: params.Source, places: Places) -> Iterator[Held]:
    """Yield what is held of the records at some places: path → rows, -1 for a whole file."""
    wanted = {(path, row) for path, rows in places.items() for row in rows}
    tasks = list(holding(records.plan(root, source), wanted))
    named_files = {place: files for task in tasks for place, files in _named(root, source, task, wanted)}
    folders = Folders(root.resolve(), source)
    found: dict[tuple[str, int], Held] = {}
    for task in tasks:
        for batch in records.read(root, task, source):
            for at, place in enumerate(zip(batch["path"].to_pylist(), batch["row"].to_pylist(), strict=True)):
                if place in wanted:
                    held = found.setdefault(place, Held(*place))
                    held.parts |= {n: v for n in source.parts if (v := batch[n][at].as_py()) is not None}
                    held.urls += [each["url"] for each in batch["remote"][at].as_py() or ()]
    for place in sorted(wanted):
        held = found.get(place, Held(*place))
        held.files = folders.sample(held.path).files() if held.row < 0 else named_files.get(place, [])
        if held.row >= 0 and kind_of(held.path, source) not in {*COLUMNAR, "tar"}:
            (span,) = _spans(Table(root.resolve(), held.path, source), [held.row])
            held.line = _bytes(root / held.path, span)
        yield held


def remove(root: Path, source: params.Source, places: Places, named_files: Collection[str]) -> Taken:
    """Take the records at some places (path → rows, -1 for a whole file) out of the raw data below `root`.

    With a file go the others of its sample that no other sample has, with a row the files that it names (`named_files`)
    and no other row does. Raises SourceError, before anything is changed of that file, for a table that can't be
    written again.
    """
    taken = Taken()
    whole = sorted(path for path, rows in places.items() if -1 in rows)
    for path in _of_samples(root, source, whole):
        (root / path).unlink(missing_ok=True)
        taken.deleted.append(path)
    for path, rows in sorted(places.items()):
        if -1 not in rows:
            _rewrite(Table(root.resolve(), path, source), sorted(rows))
            taken.rewritten.append(path)
    _complete(root, taken.rewritten)
    left = named(root.resolve(), records.plan(root, source), source) if named_files else set()
    for path in sorted({*named_files} - left):
        (root / path).unlink(missing_ok=True)
        taken.deleted.append(path)
    _drop_empty(root, taken.deleted)
    return taken


def _of_samples(root: Path, source: params.Source, paths: Collection[str]) -> list[str]:
    """Return the files of some samples that no other sample has."""
    folders, going = Folders(root.resolve(), source), {*paths}
    files: set[str] = set()
    stay: set[str] = set()
    for path in paths:
        files.update(folders.sample(path).files())
        stay.update(f for each in folders.beside(path) if each.path not in going for f in each.files())
    return sorted(files - stay)


def _drop_empty(root: Path, deleted: Collection[str]) -> None:
    """Remove the folders that are empty now: their names can be a person's."""
    for path in deleted:
        folder = (root / path).parent
        while folder != root and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _named(
    root: Path, source: params.Source, task: Task, wanted: Collection[tuple[str, int]]
) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Yield the places of the wanted rows of a task that name files, and those files."""
    if task.code or task.format in {"tar", "file"}:
        return
    table = Table(root.resolve(), task.paths[0], source)
    for number, row in enumerate(formats.rows(table, task), task.first_row):
        if (table.path, number) in wanted and row is not None and not isinstance(row, Unreadable):
            yield (table.path, number), list(table.blob_paths(row))


def _rewrite(table: Table, rows: list[int]) -> None:
    kind = kind_of(table.path, table.params)
    inside(table.root, table.path)
    with store.replacing(table.file) as building:
        place = building.with_name(f"{building.name}.{table.file.name}")  # how it is packed stands in its suffix
        try:
            if kind in COLUMNAR:
                _write_columnar(table, str(kind), place, rows)
            else:
                spans = _members(table, rows) if kind == "tar" else _spans(table, rows)
                rewrite.without(table.file, place, spans, table.params.max_unpacked_bytes)
            place.replace(building)
        except parquet.DAMAGED as error:
            raise SourceError(
                f"{table.path} can't be written again without the record: {reason(error)}. Mend the file, or erase all "
                "of its records and delete it"
            ) from error
        finally:
            place.unlink(missing_ok=True)


def _write_columnar(table: Table, kind: str, place: Path, rows: list[int]) -> None:
    schema = arrow.columns(table.file) if kind == "arrow" else parquet.open_file(table.file).schema_arrow
    if nested := [each.name for each in schema if values.holds_coded(each.type)]:
        raise pa.ArrowInvalid(f"column {nested[0]!r} holds a dictionary within another type, which keeps its values")
    count = _count(table, kind)
    if rows[-1] >= count:
        raise pa.ArrowInvalid(f"it has {count} rows, the record was row {rows[-1]}")
    kept = np.setdiff1d(np.arange(count), rows)
    written = sum(map(len, publish.write_table(table, kind, place, kept)))
    if written != len(kept):
        raise pa.ArrowInvalid(f"{written} of {len(kept)} rows can be read")


def _count(table: Table, kind: str) -> int:
    if kind == "parquet":
        return int(parquet.open_file(table.file).metadata.num_rows)
    return sum(held.batch.num_rows for held in arrow.batches(table.file))


def _spans(table: Table, rows: list[int]) -> Spans:
    """Return where the lines of some rows, ascending, lie. Raises OSError where the file is damaged or has fewer."""
    begin = lines.after_bom(table.file)
    delimiter = separated.DELIMITERS.get(str(kind_of(table.path, table.params)), 0)
    at = begin + (len(separated.header(table.file, begin, delimiter)) if delimiter else 0)
    found: Spans = []
    number, left = 0, list(rows)
    for ends in lines.ends(table.file, at, streams.END, delimiter, table.params.max_unpacked_bytes):
        while left and left[0] < number + len(ends):
            i = left.pop(0) - number
            found.append((int(ends[i - 1]) if i else at, int(ends[i])))
        number, at = number + len(ends), int(ends[-1])
    if left:
        raise OSError(f"it has {number} rows, the record was row {left[0]}")
    return found


def _members(table: Table, rows: Collection[int]) -> Spans:
    """Return where the members of some samples lie. Raises OSError where the archive is damaged or has fewer."""
    with streams.opened(table.file, 0, table.params.max_unpacked_bytes) as archive:
        found = [(row, start, stop) for row, start, stop in shards.spans(archive, table.params) if row in rows]
    if {row for row, _, _ in found} != {*rows}:
        raise OSError("it has fewer samples than there were")
    return [(start, stop) for _, start, stop in found]


def _bytes(file: Path, span: tuple[int, int]) -> bytes:
    with streams.opened(file, span[0]) as opened:
        return opened.read(span[1] - span[0])


def _complete(root: Path, paths: Collection[str]) -> None:
    """Give the datasets that tables are of another fingerprint: by it their library finds what it computed before."""
    for folder in sorted({posixpath.dirname(path) for path in paths if path.endswith(".arrow")}):
        dataset = saved.saved(root, folder)
        if dataset is not None:
            told = json.dumps([dataset.state["_fingerprint"], [store.sha256_file(root / f) for f in dataset.files]])
            fingerprint = hashlib.sha256(told.encode()).hexdigest()[: rewrite.FINGERPRINT]
            text = json.dumps(dataset.state | {"_fingerprint": fingerprint}, indent=2, sort_keys=True)
            store.write_bytes(root / dataset.path(saved.STATE), text.encode())
