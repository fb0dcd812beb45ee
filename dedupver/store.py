"""Read and write tables, arrays, JSON and whole directories: atomic, digested, never unverified.

The order of a write is: temporary name in the same directory, fsync, rename, fsync of the directory. A directory is
built under a temporary name and renamed when its `files.json` — the sha256 of each of its files — is on disk.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dedupver import links
from dedupver.schema import FORMAT, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow.compute as pc

LISTING: Final = "files.json"
HASHERS: Final = 4
"""Threads that hash files; more would wait for the disk."""

PART: Final = 1 << 18
"""Rows of a table in memory at a time: some tens of MiB."""

Array = np.ndarray[Any, Any]
Item = TypeVar("Item")


def canonical_json(value: object) -> bytes:
    """One line of JSON with sorted keys and no NaN: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n"


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(directory: Path) -> str:
    """Hex sha256 of the names and bytes of all files below `directory`."""
    return hashlib.sha256(canonical_json(_digests(directory, _names(directory, hidden=True)))).hexdigest()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends well it becomes `path`, else it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.tmp*"):  # by a run that was killed
        left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: object) -> None:
    """Write canonical JSON atomically."""
    write_bytes(path, canonical_json(value))


def write_table(path: Path, table: pa.Table | Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write a table, or a stream of tables, as Parquet; return the number of rows.

    Raises `pyarrow.ArrowInvalid` when a table does not fit the schema.
    """
    rows = 0
    with writing(path, schema) as write:
        for each in [table] if isinstance(table, pa.Table) else table:
            write(each)
            rows += each.num_rows
    return rows


@contextlib.contextmanager
def writing(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Give a function that appends to a Parquet table; atomic as a whole.

    It raises `pyarrow.ArrowInvalid` when a table does not fit the schema.
    """
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

        def write(table: pa.Table) -> None:
            if table.num_rows:
                writer.write_table(table.select(schema.names).cast(schema))

        yield write


def rows_of(path: Path) -> int:
    """Return the number of rows of a Parquet table of ours."""
    return int(pq.read_metadata(path).num_rows)


def read_table(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, where: pc.Expression | None = None
) -> pa.Table:
    """Read a Parquet table of ours, or some of its columns and rows. Its directory was opened with `verified`."""
    table = pq.read_table(path, schema=schema, columns=columns and list(columns), filters=where)
    pa.default_memory_pool().release_unused()  # half as much as the table holds, which Arrow would keep
    return table


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Give a temporary directory; when the block ends well it replaces `path`.

    For what this run alone reads: nothing is forced to disk or digested, since no later run trusts it.
    """
    temporary = path.with_name(f".{path.name}.scratch")
    _remove(temporary)
    temporary.mkdir(parents=True)
    yield temporary
    _remove(path)
    temporary.replace(path)


def write_scratch(path: Path, table: pa.Table) -> None:
    """Write a table for this run alone: in Arrow's own format, which costs next to nothing."""
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


def read_batches(path: Path, schema: pa.Schema, rows: int = 1 << 16) -> Iterator[pa.RecordBatch]:
    """Read a Parquet table of ours `rows` rows at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(rows):
            yield batch.cast(schema)


def ahead(items: Iterator[Item]) -> Generator[Item]:
    """Give what an iterator gives, the next one made by a thread while this one is used.

    For what Arrow makes and uses: it leaves Python's lock to others meanwhile.
    """
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield cast("Item", item)


def read_scratch(path: Path) -> pa.Table:
    """Map a table of `write_scratch` into memory."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        return reader.read_all()


def write_array(path: Path, array: np.ndarray[Any, Any]) -> None:
    """Write a dense array in numpy's own format, without pickle."""
    with appending(path, array.shape, array.dtype) as append:
        append(array)


@contextlib.contextmanager
def appending(
    path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> Iterator[Callable[[np.ndarray[Any, Any]], object]]:
    """Give a function that appends to a dense array of this shape, in numpy's own format; atomic as a whole."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield lambda part: file.write(np.ascontiguousarray(part, dtype).data)


def write_blocks(path: Path, blocks: Iterable[Array], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Write a dense array, a block of rows in memory at a time; the bytes are those of `write_array`."""
    with appending(path, shape, dtype) as append:
        for block in blocks:
            append(block)


def read_array(path: Path) -> np.ndarray[Any, Any]:
    """Map a dense array into memory, read-only. No file stays open: an index may have thousands."""
    with pa.memory_map(str(path)) as file:
        shape, dtype = _header(file)
        return np.frombuffer(file.read_buffer(), dtype).reshape(shape)


class Stored:
    """A dense array on disk of which some rows are read at a time: none of its pages stays in memory."""

    def __init__(self, path: Path) -> None:
        """Read where the rows begin."""
        self._path = path
        with path.open("rb") as file:
            self.shape, self.dtype = _header(file)
            self._start = file.tell()
        self._width = math.prod(self.shape[1:])

    def rows(self, start: int, stop: int) -> Array:
        """Return a copy of rows `start` to `stop`."""
        offset = self._start + start * self._width * self.dtype.itemsize
        values = np.fromfile(self._path, self.dtype, (stop - start) * self._width, offset=offset)
        return values.reshape(stop - start, *self.shape[1:])


def _header(file: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


@contextlib.contextmanager
def building(path: Path, stated: Mapping[str, str] | None = None) -> Iterator[Path]:
    """Give a temporary directory; when the block ends well it replaces `path`, with a listing of digests.

    `stated` holds digests that need not be computed again, by path below the directory: of files that `share` linked.
    """
    temporary = path.with_name(f".{path.name}.building")
    _remove(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        seal(temporary, stated)
        _remove(path)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        _remove(temporary)


def seal(directory: Path, stated: Mapping[str, str] | None = None) -> None:
    """Write the listing: the sha256 of every file below `directory`, of some as they are stated."""
    known = stated or {}
    names = _names(directory)
    digests = {name: known[name] for name in names if name in known}
    digests |= _digests(directory, [name for name in names if name not in known])
    write_json(directory / LISTING, {"format": FORMAT, "sha256": digests})


class Sealed:
    """A directory with its listing, of which each file is checked against its digest before it is opened."""

    def __init__(self, directory: Path) -> None:
        """Read the listing.

        Raises IntegrityError that names a file which is missing or not listed, or an unknown format.
        """
        listing = directory / LISTING
        if not listing.is_file():
            raise IntegrityError(f"{listing} is missing: run `dvc checkout`, or `dvc repro` to build {directory} again")
        stated = read_json(listing)
        if stated.get("format") != FORMAT:
            raise IntegrityError(f"{directory} has format {stated.get('format')}, this release reads format {FORMAT}")
        self.path, self.sha256, self._checked = directory, cast("dict[str, str]", stated["sha256"]), set[str]()
        found = set(_names(directory))
        for name in sorted(self.sha256.keys() ^ found):
            _refuse(directory / name, listed=name in self.sha256)

    def file(self, name: str) -> Path:
        """Return the path of a file, which is checked when it is first asked for.

        Raises IntegrityError where it is damaged.
        """
        self.check([name])
        return self.path / name

    def check(self, names: Iterable[str] | None = None) -> None:
        """Check some files, or all, those that were not yet; IntegrityError names the first that is damaged."""
        open_ = sorted((self.sha256.keys() if names is None else set(names)) - self._checked)
        for name, found in _digests(self.path, open_).items():
            if found != self.sha256[name]:
                raise _damaged(self.path / name, found, self.sha256[name])
        self._checked |= set(open_)

    def share(self, names: Iterable[str], target: Path) -> dict[str, str]:
        """Link files below `target`, which must never be changed in place; return their digests, by name."""
        for name in names:
            links.link(self.path / name, target / name, "share")
        return {name: self.sha256[name] for name in names}


def verified(directory: Path) -> Path:
    """Check every file below `directory` against its listing, then return it.

    Raises IntegrityError that names the first file which is missing, added or altered, or an unknown format.
    """
    Sealed(directory).check()
    return directory


def read_json(path: Path) -> Any:
    """Read JSON that dedupver wrote.

    Raises IntegrityError where it is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise IntegrityError(f"{path} is damaged ({error}): run `dvc checkout {path.parent}`") from error


def _digests(directory: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of files by their path below `directory`: hashing and reading leave Python's lock to others."""
    if len(names) == 1:
        return {name: sha256_file(directory / name) for name in names}
    with ThreadPoolExecutor(HASHERS) as pool:
        return dict(zip(names, pool.map(lambda name: sha256_file(directory / name), names), strict=True))


def _refuse(path: Path, *, listed: bool) -> NoReturn:
    if listed:
        raise IntegrityError(f"{path} is missing: run `dvc checkout`")
    raise IntegrityError(f"{path} is not in its directory's {LISTING}: remove it, or run `dvc checkout`")


def _damaged(path: Path, found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"{path} is damaged: sha256 {found[:12]}…, expected {expected[:12]}…. Remove its copy from DVC's cache and "
        "`dvc pull`, or rebuild it with `dvc repro --force`"
    )


def _names(directory: Path, *, hidden: bool = False) -> list[str]:
    """Return the paths of all files below a directory, relative to it, sorted; `hidden`: the listing as well."""
    found = [p for p in directory.rglob("*") if p.is_file()]
    return sorted(str(p.relative_to(directory)) for p in found if hidden or p != directory / LISTING)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
