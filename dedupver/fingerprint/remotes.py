"""Parts that lie elsewhere, and a look at those that nobody has met: they are fetched for it, and not kept."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from dedupver.fingerprint.handles import Handles
from dedupver.fingerprint.rows import Found
from dedupver.fingerprint.strings import Strings
from dedupver.records import checked_text, remote
from dedupver.records.payload import Handle
from dedupver.records.remote import Remote
from dedupver.schema import HANDLE, STREAMED, Unreadable

if TYPE_CHECKING:
    import numpy.typing as npt

    from dedupver.digests import Rows
    from dedupver.fingerprint.look import Look, Sink


@dataclass(frozen=True, eq=False)
class Remotes:
    """Objects that are one part of some records of a batch."""

    rows: Rows  # (n,) of the batch, ascending
    objects: list[Remote]

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.objects)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of bytes of each, shape (n,)."""
        return np.array([each.size for each in self.objects], np.int64)

    def take(self, rows: Rows) -> Self:
        """Return some of them."""
        return type(self)(self.rows[rows], [self.objects[row] for row in rows])

    def sha256(self) -> list[bytes]:
        """Return the digest (32 bytes) of each, as it was listed."""
        return [each.sha256 for each in self.objects]


def remotes(batch: pa.RecordBatch) -> dict[str, Remotes]:
    """Return the objects elsewhere that a batch of raw records (schema.raw_schema) names, by part."""
    column = batch.column("remote")
    found: dict[str, dict[int, Remote]] = {}
    for row in np.flatnonzero(column.is_valid()).tolist():
        for each in column[row].as_py():
            found.setdefault(each["part"], {})[row] = Remote(**each)
    return {part: Remotes(np.array(list(of)), list(of.values())) for part, of in found.items()}


def fetched(wanted: Remotes, modality: str, look: Look, sink: Sink) -> Found:
    """Return what there is to see in objects: some are in memory at a time, or one in a file where they are streamed.

    Raises SourceError for one that can't be fetched.
    """
    found = Found.nothing(len(wanted))
    if modality in STREAMED:
        for row, each in enumerate(wanted.objects):
            found.put(np.array([row]), _in_a_file(each, look))
        return found
    at = 0
    for group in remote.fetched(wanted.objects):
        held: dict[int, bytes] = {}
        for row, data in enumerate(group, at):
            try:
                held[row] = checked_text(data) if modality == "text" else data
            except Unreadable as verdict:
                found.verdict[row] = sink.verdict(verdict)
        if held:
            found.put(np.array(list(held)), look(Strings.of_list(held.values())))
        at += len(group)
    return found


def _in_a_file(wanted: Remote, look: Look) -> Found:
    suffix = PurePosixPath(wanted.url.partition("::")[0]).suffix
    with tempfile.TemporaryDirectory(prefix="dedupver-") as folder:
        path = Path(folder, f"object{suffix}")
        with path.open("xb") as file:
            remote.fetch(wanted, file)
        row = Handle(str(path), None, wanted.size, wanted.sha256)._asdict()
        return look(Handles(pa.array([row], HANDLE)))
