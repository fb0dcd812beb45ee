"""One chunk of the source → records, the contents they hold, and the fingerprints of contents the base lacks."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import records, store
from dedupver.digests import of_list, to_column
from dedupver.fingerprint import audios, fielded, images, texts, vectors, videos
from dedupver.fingerprint.handles import payloads
from dedupver.fingerprint.known import open_known
from dedupver.fingerprint.look import Look, Payloads, Sink, number
from dedupver.fingerprint.passages import passages
from dedupver.fingerprint.prints import Prints
from dedupver.fingerprint.remotes import Remotes, fetched, remotes
from dedupver.fingerprint.rows import Found, Part, unnamed
from dedupver.fingerprint.strings import Strings
from dedupver.schema import CONTENT, PASSAGES, SIZES, UNNAMED, ModelError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dedupver import params
    from dedupver.digests import Rows


DECODED: Final = {"audio": "sounds", "video": "videos"}
"""Modalities that PyAV decodes, and what they are called: an extra of each name brings it."""
OUTSIDE: Final = "outside"
"""The file that is in a chunk's directory if what its records hold lies elsewhere too."""


@dataclass(frozen=True)
class Chunk:
    """What one worker needs: a part of the source, the settings, what the base knows, where results go."""

    root: Path
    task: records.Task
    source: params.Source
    settings: params.Fingerprint
    known: tuple[Path, ...]  # contents.parquet of each segment of the base
    out: Path
    answers: tuple[Path, ...] = ()  # of the base's models to their probes, oldest first
    beside: str = ""  # where `root` lies in the repository, if that is not the source


@dataclass
class Met:
    """The distinct payloads of one modality, in the order in which this chunk has them."""

    number: dict[bytes, int] = field(default_factory=dict)  # by sha256
    found: Found = field(default_factory=lambda: Found.nothing(0))


def fingerprint(chunk: Chunk) -> int:
    """Fingerprint one chunk into the directory `chunk.out`; return the number of records read."""
    work = _Work(chunk)
    with store.scratch(chunk.out) as out:
        tables = [work.take(batch) for batch in records.read(chunk.root, chunk.task, chunk.source)]
        taken = _placed(pa.concat_tables([UNNAMED.empty_table(), *tables]), chunk.beside)
        store.write_scratch(out / "records.arrow", taken)
        contents = [CONTENT.empty_table(), *map(work.contents, work.met)]
        store.write_scratch(out / "contents.arrow", pa.concat_tables(contents))
        for modality, sink in work.sinks.items():
            sink.write(out, modality)
        work.passages.write(out, PASSAGES)
        if work.outside:
            (out / OUTSIDE).touch()
    return taken.num_rows


def _placed(records: pa.Table, beside: str) -> pa.Table:
    """Name records that do not lie in the source after where they lie in the repository."""
    if not beside:
        return records
    path = pc.binary_join_element_wise(beside, records["path"], "/")
    row = pc.binary_join_element_wise(path, records["row"].cast(pa.string()), "#")
    named = pc.if_else(pc.less(records["row"], 0), path, row)
    return records.set_column(0, UNNAMED.field("id"), named).set_column(1, UNNAMED.field("path"), path)


def require(chunks: Iterable[Chunk]) -> None:
    """Raise ModelError where a file can't be decoded by any package that is installed, before anything is read.

    What tables and archives hold shows when they are read.
    """
    for chunk in chunks:
        for sample in chunk.task.samples:
            for part, path in sample.parts.items():
                _require(chunk.source.parts[part], f"{path}: ")


def _require(modality: str, where: str = "") -> None:
    if modality in DECODED and importlib.util.find_spec("av") is None:
        what = f"{where}{DECODED[modality]} need the package av"
        raise ModelError(f"{what}: pip install 'dedupver[{modality}]', or leave such files out of the source")


def open_look(modality: str, settings: params.Fingerprint, sink: Sink) -> Look:
    """Return the look at the payloads of a modality. Raises ModelError where its package is not installed."""
    _require(modality)
    if modality == "text":
        return texts.look(settings.text, sink, settings.joint)
    if modality == "audio":
        return audios.look(settings.audio, sink, settings.joint)
    if modality == "video":
        return videos.look(settings.video, sink, settings.joint)
    if modality == "row":
        return fielded.look(settings.row, sink)
    if modality == "vector":
        return vectors.look(settings.vector, sink)
    return images.look(settings.image, sink, settings.joint.encoder)


class _Work:
    """The contents met so far in this chunk."""

    def __init__(self, chunk: Chunk) -> None:
        self.settings, self.parts = chunk.settings, chunk.source.parts
        self.known, self.answers = open_known(chunk.known), chunk.answers
        self.verdicts: list[Unreadable] = []
        self.met: dict[str, Met] = {}
        self.sinks: dict[str, Sink] = {}
        self.looks: dict[str, Look] = {}
        self.passages = Prints()
        self.outside = False

    def take(self, batch: pa.RecordBatch) -> pa.Table:
        """Fingerprint the new contents of a batch of raw records and return the records without payload."""
        self.outside |= batch.column("outside").null_count < batch.num_rows
        far = remotes(batch)
        parts = [self._part(name, modality, batch.column(name), far.get(name)) for name, modality in self.parts.items()]
        return unnamed(batch, parts, self.verdicts)

    def contents(self, modality: str) -> pa.Table:
        """Return the payloads that can be read and that the base lacks (schema CONTENT)."""
        met = self.met[modality]
        sha256 = of_list(list(met.number))
        rows = np.flatnonzero((met.found.verdict < 0) & ~self.known.bytes[modality].has(sha256))
        found = met.found.take(rows)
        columns = {
            "modality": pa.repeat(modality, len(rows)),
            "sha256": to_column(sha256[rows]),
            "content": to_column(found.content),
            **dict(zip(SIZES, found.size.T, strict=True)),
        }
        return pa.table([columns[name] for name in CONTENT.names], schema=CONTENT)

    def _part(self, name: str, modality: str, column: pa.Array, far: Remotes | None) -> Part:
        rows = np.flatnonzero(column.is_valid())
        here = self._part_of(name, modality, rows, payloads(column).take(rows))
        return here if far is None else here.with_other(self._part_of(name, modality, far.rows, far))

    def _part_of(self, name: str, modality: str, rows: Rows, parts: Payloads[Any] | Remotes) -> Part:
        sha256 = parts.sha256()
        found = self._meet(modality, sha256, parts) if len(rows) else Found.nothing(0)
        return Part(name, modality, rows, of_list(sha256), parts.sizes, found)

    def _meet(self, modality: str, sha256: list[bytes], parts: Payloads[Any] | Remotes) -> Found:
        """Return what is known of each payload, after a look at those that are new."""
        met = self.met.setdefault(modality, Met())
        numbers, new = number(met.number, sha256)
        if len(new):
            met.found = met.found.joined(self._look(modality, [sha256[row] for row in new], parts.take(new)))
        return met.found.take(numbers)

    def _look(self, modality: str, sha256: list[bytes], parts: Payloads[Any] | Remotes) -> Found:
        """Return what the base knows of payloads, or what there is to see."""
        known = self.known.bytes[modality].find(of_list(sha256))
        carried, fresh = np.flatnonzero(known >= 0), np.flatnonzero(known < 0)
        found = Found.nothing(len(parts))
        found.put(carried, self.known.found(modality, known[carried]))
        if modality not in self.looks:
            self.sinks[modality] = Sink(self.known, self.verdicts, self.answers)
            self.looks[modality] = open_look(modality, self.settings, self.sinks[modality])
        look, new = self.looks[modality], parts.take(fresh)
        found.put(fresh, fetched(new, modality, look, self.sinks[modality]) if isinstance(new, Remotes) else look(new))
        if modality == "text" and isinstance(parts, Strings):  # remote ones are let go by now
            readable = fresh[found.verdict[fresh] < 0]
            self._count_passages([sha256[row] for row in readable], parts.take(readable))
        return found

    def _count_passages(self, sha256: list[bytes], texts: Strings) -> None:
        least = self.settings.text.passages
        if least:
            number(self.passages.number, sha256)
            self.passages.add(dict(passages(texts, least)._asdict()))
