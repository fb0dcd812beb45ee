"""One raw record, the description of a chunk of them, and how they are gathered into Arrow batches."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa

from dedupver.records import payload
from dedupver.records.paths import printable, role_of
from dedupver.schema import RAW, Unreadable, raw_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dedupver import params
    from dedupver.records.samples import Sample

BATCH_ROWS: Final = 8_000
BATCH_BYTES: Final = 64 << 20
DETAIL: Final = 200  # characters of a reason that are kept
_FIELDS: Final = operator.attrgetter(*RAW.names)


@dataclass(frozen=True)
class Task:
    """One chunk of the source.

    `start` and `stop` are row numbers for Parquet and Arrow, and else offsets in what a file holds, unpacked; files are
    named by `samples` alone, and `paths` are those that records are called after. `first_row` is the number of the
    first row; `rows` says how many there are, blank lines included, where a table is made of lines. `header` is CSV's
    first record, `repeated` are rows of an archive that are called like earlier ones, `batch` is the number of Arrow's
    record batch in which it begins, and of that batch's first row. `code` and `detail` are set where a table can't be
    read at all.
    """

    paths: tuple[str, ...]
    format: str  # file, or a value of samples.TABLES
    start: int
    stop: int
    first_row: int
    rows: int = 0
    header: bytes = b""
    code: str = ""
    detail: str = ""
    samples: tuple[Sample, ...] = ()
    repeated: tuple[int, ...] = ()
    batch: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Raw:
    """A row of the schema RAW, under the same names, and its parts."""

    path: str
    row: int
    role: str
    id: str | None = None
    source: str | None = None
    split: str | None = None
    time: str | None = None
    quality: float | None = None
    label: str | None = None
    code: str | None = None
    detail: str | None = None
    remote: list[dict[str, object]] | None = None  # rows of schema.REMOTE
    outside: bool | None = None
    parts: dict[str, payload.Payload] = field(default_factory=dict)

    def size(self) -> int:
        """Return how many bytes of the payload are held."""
        return sum(map(payload.held, self.parts.values()))

    def put(self, part: str, held: payload.Payload | None) -> None:
        """Take a part; None: there is none."""
        if held is not None:
            self.parts[part] = held

    def quarantine(self, verdict: Unreadable) -> Self:
        """Let the payload go, keep the reason, and make sure that the record has a name."""
        self.parts, self.remote = {}, None
        self.code, self.detail = verdict.code, printable(verdict.reason)[:DETAIL]
        if self.id is None:
            self.id = self.path if self.row < 0 else f"{self.path}#{self.row}"
        return self

    @classmethod
    def broken(cls, path: str, source: params.Source, code: str, detail: str) -> Self:
        """Return the one record that stands for a file which can't be read."""
        return cls(printable(path), -1, role_of(path, source)).quarantine(Unreadable(code, detail))


def batches(rows: Iterable[Raw], parts: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """Gather records into batches (schema.raw_schema) of at most BATCH_ROWS rows and about BATCH_BYTES bytes held."""
    schema = raw_schema(parts)
    held: list[Raw] = []
    size = 0
    for row in rows:
        held.append(row)
        size += row.size()
        if len(held) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield _batch(held, schema)
            held, size = [], 0
    if held:
        yield _batch(held, schema)


def filled(batch: pa.RecordBatch, rows: Iterable[tuple[int, Raw | None]]) -> Iterator[pa.RecordBatch]:
    """Put records into some rows of a batch, given by row ascending, and leave out those for which None is given.

    The batch is cut where what is put in reaches BATCH_BYTES bytes.
    """
    begin = size = 0
    held: dict[int, Raw | None] = {}
    for at, raw in rows:
        held[at - begin] = raw
        size += raw.size() if raw else 0
        if size >= BATCH_BYTES:
            yield from _filled(batch[begin : at + 1], held)
            begin, size, held = at + 1, 0, {}
    yield from _filled(batch[begin:], held)


def _filled(batch: pa.RecordBatch, rows: Mapping[int, Raw | None]) -> Iterator[pa.RecordBatch]:
    given = {at: raw for at, raw in rows.items() if raw}
    order = np.arange(batch.num_rows)
    order[list(rows)] = -1
    order[list(given)] = range(batch.num_rows, batch.num_rows + len(given))
    order = order[order >= 0]
    if not len(order):
        return
    if not rows:
        yield batch
    elif len(given) == len(order):
        yield _batch(list(given.values()), batch.schema)
    else:
        yield pa.concat_batches([batch, _batch(list(given.values()), batch.schema)]).take(pa.array(order))


def _batch(rows: Sequence[Raw], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*map(_FIELDS, rows), strict=True) if rows else [()] * len(RAW)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, RAW, strict=True)]
    arrays += [pa.array([row.parts.get(part.name) for row in rows], part.type) for part in list(schema)[len(RAW) :]]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
