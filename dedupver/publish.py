"""The clean dataset in the form that it came in: files are linked, tables are written with their kept rows alone."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import posixpath
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dedupver import links, rewrite, store
from dedupver.records import arrow, lines, parquet, saved, separated, streams, values
from dedupver.records.formats import line_format
from dedupver.records.paths import inside, reason
from dedupver.records.samples import Folders, kind_of
from dedupver.records.tables import Table
from dedupver.schema import IntegrityError, SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver import params
    from dedupver.records.formats import Block, Row

GROUP_BYTES: Final = 64 << 20
"""A row group of Parquet is written when it holds so many bytes in memory."""

Rows = npt.NDArray[np.int64]


def publish(root: Path, target: Path, kept: pa.Table, source: params.Source, link: str) -> int:
    """Write the records that `kept` names below `target`, an empty folder.

    `kept` has the columns path and row; row -1 stands for a whole file. What a row or a file brings along — the file
    that it names, the others of a sample — is linked too. Returns the number of records.
    Raises SourceError where the source is no longer what was read, IntegrityError for a path that leaves the source.
    """
    folder = _Folder(root.resolve(), target, source, link)
    for path, rows in _by_path(kept):
        folder.put(path, rows)
    folder.complete()
    pa.default_memory_pool().release_unused()
    return int(kept.num_rows)


class _Folder:
    """The target, and what it holds already."""

    def __init__(self, root: Path, target: Path, source: params.Source, how: str) -> None:
        self._root, self._target, self._source, self._how = root, target, source, how
        self._folders = Folders(root, source)
        self._linked: set[str] = set()
        self._arrow: dict[str, str] = {}  # digests of the rows kept, by path

    def put(self, path: str, rows: Rows) -> None:
        try:
            place = self._place(path)
            inside(self._root, path)
            if rows[0] < 0:
                self._put_file(path)
            else:
                self._put_rows(path, place, rows)
        except Unreadable as verdict:
            raise _changed(path, str(verdict)) from verdict
        except parquet.DAMAGED as error:
            if isinstance(error, OSError) and error.errno:  # of the disk, not of the data
                raise
            raise _changed(path, reason(error)) from error

    def complete(self) -> None:
        """Put what saved datasets need beside their tables."""
        done: set[str] = set()
        for path in self._arrow:
            folder = posixpath.dirname(path)
            splits = [] if folder in done else saved.splits(self._root, folder)
            done |= {folder, *(split.folder for split in splits)}
            rewrite.complete_dataset(self._root, self._target, splits, self._arrow)
            for other in (other for split in splits for other in saved.beside(self._root, split)):
                if posixpath.basename(other) != saved.STATE:
                    self._link(other)

    def _put_file(self, path: str) -> None:
        for each in self._folders.sample(path).files():
            self._link(each)

    def _put_rows(self, path: str, place: Path, rows: Rows) -> None:
        kind = kind_of(path, self._source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if kind == "tar":
            count = rewrite.write_tar(self._root / path, place, set(rows.tolist()), self._source)
        else:
            count = self._put_table(path, kind, place, rows)
        if count != len(rows):
            raise _changed(path, f"it has {count} of the {len(rows)} rows to keep")

    def _put_table(self, path: str, kind: str | None, place: Path, rows: Rows) -> int:
        if kind == "arrow":
            self._arrow[path] = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
        table = Table(self._root, path, self._source)
        count = 0
        for block in write_table(table, kind, place, rows):
            count += len(block)
            for row in block.naming():
                for named in _paths(table, row):
                    self._link(named)
        return count

    def _link(self, path: str) -> None:
        if path not in self._linked:
            self._linked.add(path)
            links.link(inside(self._root, path), self._place(path), self._how)

    def _place(self, path: str) -> Path:
        if path.startswith("/") or "\0" in path or not path or ".." in PurePosixPath(path).parts:
            raise IntegrityError(
                f"{path!r} is no path within the source: the manifest is damaged, run `dedupver check`"
            )
        return self._target / path


def _by_path(kept: pa.Table) -> Iterator[tuple[str, Rows]]:
    """Yield each path, in order, with its rows, ascending."""
    kept = kept.select(["path", "row"]).sort_by([("path", "ascending"), ("row", "ascending")]).combine_chunks()
    if not kept.num_rows:
        return
    codes = kept["path"].combine_chunks().dictionary_encode().indices.to_numpy()
    rows = kept["row"].to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), kept.num_rows]
    for begin, end in itertools.pairwise(edges):
        yield kept["path"][begin].as_py(), rows[begin:end]


def write_table(table: Table, kind: str | None, place: Path, rows: Rows) -> Iterator[Block]:
    """Write some rows of a table, ascending, in the form that it has; yield them."""
    return _WRITE.get(str(kind), _write_lines)(table, kind, place, rows)


def _write_lines(table: Table, kind: str | None, place: Path, rows: Rows) -> Iterator[Block]:
    """Copy what precedes the rows, the kept rows and blank lines, byte for byte; yield the kept rows."""
    begin = lines.after_bom(table.file)
    delimiter = separated.DELIMITERS.get(kind or "")
    header = separated.header(table.file, begin, delimiter) if delimiter else b""
    begin += len(header)
    form = line_format(table, kind or "jsonl", header, table.used())
    at = 0
    with (
        streams.opened(table.file, 0) as file,
        streams.packing(place) as out,
        contextlib.suppress(streams.DamagedError),
    ):
        out.write(file.read(begin))
        for block in lines.records(table, begin, streams.END, form):
            kept = np.zeros(len(block), np.bool_)
            kept[_within(rows, at, len(block))] = True
            out.write(block.only(kept | block.blank()).data())
            yield block.only(kept)
            at += len(block)


def _paths(table: Table, row: Row) -> Iterator[str]:
    if row is None:
        raise Unreadable("bad_row", "a blank line")
    if isinstance(row, Unreadable):
        raise row
    return table.blob_paths(row)


def _write_arrow(table: Table, _: str | None, place: Path, rows: Rows) -> Iterator[Block]:
    """Write the kept rows with the form, schema, metadata and compression of the source; yield them."""
    with arrow.writer_like(table.file, place) as writer:
        for batch in arrow.compacted(table.file, arrow.kept(table.file, rows)):
            writer.write_batch(batch)
            yield parquet.Batch(table, batch)


def _write_parquet(table: Table, _: str | None, place: Path, rows: Rows) -> Iterator[Block]:
    """Write the kept rows with the schema, metadata and compression of the source; yield them."""
    with (
        parquet.open_file(table.file) as file,
        place.open("xb") as out,
        pq.ParquetWriter(out, file.schema_arrow, **_like(file)) as writer,
        contextlib.closing(store.ahead(_groups(_kept_batches(file, rows)))) as groups,
    ):
        for held in groups:
            writer.write_table(values.compacted(pa.Table.from_batches(held)))
            yield from (parquet.Batch(table, batch) for batch in held)


def _groups(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Put batches together that make a row group."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.nbytes
        if size >= GROUP_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _kept_batches(file: pq.ParquetFile, rows: Rows) -> Iterator[pa.RecordBatch]:
    at = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if len(_within(rows, at, count)):
            begin = at
            for batch in file.iter_batches(parquet.batch_rows(file), row_groups=[group]):
                wanted = _within(rows, begin, batch.num_rows)
                begin += batch.num_rows
                if len(wanted):
                    yield values.taken(batch, wanted)
        at += count


def _within(rows: Rows, begin: int, count: int) -> Rows:
    first, last = np.searchsorted(rows, [begin, begin + count])
    return rows[first:last] - begin


def _like(file: pq.ParquetFile) -> dict[str, Any]:
    """Return the writer's options that the file was written with."""
    group = file.metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    return {
        "compression": {c.path_in_schema: c.compression.replace("UNCOMPRESSED", "NONE") for c in columns},
        "use_deprecated_int96_timestamps": any(c.physical_type == "INT96" for c in columns),
        "store_schema": b"ARROW:schema" in (file.metadata.metadata or {}),
    }


_WRITE: Final = {"arrow": _write_arrow, "parquet": _write_parquet}


def _changed(path: str, why: str) -> SourceError:
    return SourceError(f"{path} can't be published: {why}. Restore what was read, or run `dvc repro` again")
