"""A search for needles in streams of bytes: as they lie, and in what containers hold, in bounded memory."""

from __future__ import annotations

import contextlib
import io
import tarfile
import tempfile
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from ahocorasick_rs import BytesAhoCorasick

from dedupver.erase.needles import SHORTEST_ID, Needle
from dedupver.records import parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

PIECE: Final = 4 << 20
SPOOLED: Final = 32 << 20
"""Bytes of an object that can only be read forward are held in memory; of a larger one in a temporary file."""

DEEPEST: Final = 4
"""Containers within containers."""

HEAD: Final = 512
_LETTERS: Final = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")


class Hit(NamedTuple):
    """A needle, and the object that holds it."""

    place: str  # cache | a remote's name | git | workspace …
    name: str
    needle: Needle
    within: str  # the containers that it is in; empty: it lies there as it is


class Unsearched(NamedTuple):
    """An object of which not all was seen."""

    place: str
    name: str
    why: str


class Search:
    """Needles, and what was found of them where; objects and bytes are counted by place."""

    def __init__(self, needles: Iterable[Needle], others: Sequence[str] = ()) -> None:
        """Prepare to look for needles; `others` are ids and paths of records that stay, some of which hold an id."""
        self.needles = list(dict.fromkeys(needles))
        self.hits: dict[Hit, None] = {}
        self.unsearched: list[Unsearched] = []
        self.objects: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self._excuses = _excuses(self.needles, others)
        self._found = BytesAhoCorasick([n.data for n in self.needles]) if self.needles else None
        longest = [len(n.data) for n in self.needles] + [len(o) for each in self._excuses.values() for o, _ in each]
        self._longest = max(longest, default=1)

    def object(self, place: str, name: str, stream: Any) -> None:
        """Look through an object, which is read from its start; where it is a container, also through what it holds."""
        self.objects[place] += 1
        self._text(place, name, name.encode("utf-8", "surrogateescape"), "its name")
        self._stream(place, name, stream, ())

    def name(self, place: str, name: str, called: str) -> None:
        """Look through what else an object is called, such as its digest."""
        self._text(place, name, called.encode("utf-8", "surrogateescape"), "its name")

    def _stream(self, place: str, name: str, stream: Any, within: tuple[str, ...]) -> None:
        head = stream.read(HEAD)
        opener = None if len(within) >= DEEPEST else _opener(head)
        if opener is None:
            self._raw(place, name, _Chained(head, stream), within)
            return
        with _seekable(head, stream) as file:
            self._raw(place, name, file, within)
            file.seek(0)
            try:
                for inner, what in opener(file):
                    if isinstance(what, bytes):
                        self._text(place, name, what, "/".join((*within, inner)))
                    else:
                        self._stream(place, name, what, (*within, inner))
            except (OSError, EOFError, ValueError, RuntimeError, tarfile.TarError, zipfile.BadZipFile) as error:
                why = str(error).partition("\n")[0]
                self.unsearched.append(Unsearched(place, name, f"{'/'.join(within)} {why}".strip()))

    def _raw(self, place: str, name: str, stream: Any, within: tuple[str, ...]) -> None:
        # a hit near the end is judged with what follows, and one near the beginning was judged with what went before
        data, first, piece = b"", 0, stream.read(PIECE)
        while piece:
            self.bytes[place] += len(piece)
            data += piece
            piece = stream.read(PIECE)
            last = len(data) - self._longest if piece else len(data)
            self._text(place, name, data, "/".join(within), first, last)
            if len(data) > 3 * self._longest:
                data, first = data[-3 * self._longest :], self._longest

    def _text(self, place: str, name: str, data: bytes, within: str, first: int = 0, last: int | None = None) -> None:  # noqa: PLR0913, PLR0917 - where it is, and how much of it
        """Look for needles that begin at `first` or after and end at `last` or before."""
        last = len(data) if last is None else last
        if self._found is None:
            return
        for number, start, stop in self._found.find_matches_as_indexes(data, overlapping=True):
            needle = self.needles[number]
            if first <= start and stop <= last and (needle.kind != "id" or self._stands(needle, data, start, stop)):
                self.hits[Hit(place, name, needle, within)] = None

    def _stands(self, needle: Needle, data: bytes, start: int, stop: int) -> bool:
        """Return whether an id stands for itself: it is not a piece of a longer word, nor of another record's id."""
        if _is_word(data, start, stop):
            return False
        return not any(
            start >= at and data[start - at : start - at + len(other)] == other
            for other, at in self._excuses.get(needle.data, ())
        )


def _is_word(data: bytes, start: int, stop: int) -> bool:
    """Return whether a letter, a digit or _ goes before or after: in a text it is of a longer word then."""
    return (start > 0 and data[start - 1] in _LETTERS) or (stop < len(data) and data[stop] in _LETTERS)


def _excuses(needles: Iterable[Needle], others: Sequence[str]) -> dict[bytes, list[tuple[bytes, int]]]:
    """Return for each id the ids of others that it is a piece of, and where in them it begins."""
    ids = [n.data for n in needles if n.kind == "id"]
    found: dict[bytes, list[tuple[bytes, int]]] = {}
    if not ids:
        return found
    pieces = BytesAhoCorasick(ids)
    for other in {form for name in others for form in (name.encode(),) if len(form) > SHORTEST_ID}:
        for number, at, _ in pieces.find_matches_as_indexes(other, overlapping=True):
            if other != ids[number]:
                found.setdefault(ids[number], []).append((other, at))
    return found


def _opener(head: bytes) -> Callable[[Any], Iterator[tuple[str, Any]]] | None:
    """Return what opens a container that begins so."""
    for magic, opener in _MAGIC.items():
        if head.startswith(magic):
            return opener
    return _tar if head[257:262] == b"ustar" else None


def _packed(codec: str) -> Callable[[Any], Iterator[tuple[str, Any]]]:
    def opened(file: Any) -> Iterator[tuple[str, Any]]:
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) as unpacked:
            yield codec, unpacked

    return opened


def _tar(file: Any) -> Iterator[tuple[str, Any]]:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            data = archive.extractfile(member) if member.isreg() else None
            yield "tar", f"{member.name}\n{member.linkname}".encode("utf-8", "surrogateescape")
            if data is not None:
                yield "tar", data


def _zip(file: Any) -> Iterator[tuple[str, Any]]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            yield "zip", member.filename.encode("utf-8", "surrogateescape")
            with archive.open(member) as data:
                yield "zip", data


def _parquet(file: Any) -> Iterator[tuple[str, Any]]:
    with pq.ParquetFile(file) as opened:
        rows, coded = parquet.batch_rows(opened), _coded(opened)
    for columns in (coded, []) if coded else ([],):
        file.seek(0)
        try:  # as dictionaries: also the values of a dictionary that no row has
            with pq.ParquetFile(file, read_dictionary=columns) as opened:
                for batch in opened.iter_batches(rows):
                    yield from (("parquet", cells) for column in batch.columns for cells in _cells(column))
        except pa.ArrowNotImplementedError:
            if not columns:
                raise
        else:
            return


def _coded(file: pq.ParquetFile) -> list[str]:
    """Return the columns of strings that have a dictionary in each row group."""
    groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    columns = ([group.column(i) for group in groups] for i in range(len(file.schema)))
    return [
        each[0].path_in_schema
        for each in columns
        if each and all(c.physical_type == "BYTE_ARRAY" and c.has_dictionary_page for c in each)
    ]


def _arrow_file(file: Any) -> Iterator[tuple[str, Any]]:
    with pa.ipc.open_file(pa.PythonFile(file, "r")) as opened:
        for i in range(opened.num_record_batches):
            yield from _batch(opened.get_batch(i))


def _arrow_stream(file: Any) -> Iterator[tuple[str, Any]]:
    with pa.ipc.open_stream(pa.PythonFile(file, "r")) as opened:
        for batch in opened:
            yield from _batch(batch)


def _batch(batch: pa.RecordBatch) -> Iterator[tuple[str, Any]]:
    yield from (("arrow", cells) for column in batch.columns for cells in _cells(column))


def _cells(array: pa.Array) -> Iterator[bytes]:
    """Yield the bytes that an array holds, at any depth, values of strings apart from each other."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        yield from _cells(array.dictionary)
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            yield from _cells(array.field(i))
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _cells(array.flatten())
    elif pa.types.is_map(kind):
        yield from _cells(array.keys)
        yield from _cells(array.items)
    else:
        with contextlib.suppress(pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
            cells = (each for each in _as_bytes(array).to_pylist() if each is not None)
            yield from cells if array.nbytes > PIECE else (b"\0".join(cells),)


def _as_bytes(array: pa.Array) -> pa.Array:
    """Return each value as bytes: as it is, and a number as it is written."""
    kind = array.type
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return array
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return array.cast(pa.large_binary())
    return array.cast(pa.large_string()).cast(pa.large_binary())


_MAGIC: Final[dict[bytes, Callable[[Any], Iterator[tuple[str, Any]]]]] = {
    b"\x1f\x8b": _packed("gzip"),
    b"\x28\xb5\x2f\xfd": _packed("zstd"),
    b"BZh": _packed("bz2"),
    b"\x04\x22\x4d\x18": _packed("lz4"),
    b"PK\x03\x04": _zip,
    b"PAR1": _parquet,
    b"ARROW1": _arrow_file,
    b"\xff\xff\xff\xff": _arrow_stream,
}
"""How containers begin: objects in a cache have no suffix."""


class _Chained:
    """Bytes that were read already, and the rest of a stream."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int) -> bytes:
        piece, self._head = self._head[:size], self._head[size:]
        return piece or bytes(self._rest.read(size))


@contextlib.contextmanager
def _seekable(head: bytes, stream: Any) -> Iterator[Any]:
    """Give a file at its start: the stream itself where it can be wound back, else a copy."""
    if not isinstance(stream, pa.NativeFile) and getattr(stream, "seekable", lambda: False)():
        stream.seek(0)
        yield stream
        return
    with tempfile.SpooledTemporaryFile(SPOOLED) as copy:
        copy.write(head)
        while piece := stream.read(PIECE):
            copy.write(piece)
        copy.seek(0)
        yield copy


def of_bytes(data: bytes) -> io.BytesIO:
    """Return bytes as a stream."""
    return io.BytesIO(data)
