"""What was found in the parts of raw records → records without their payload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import WIDTH, Digests, Rows, to_column
from dedupver.schema import PART, RECORD, SIZES, UNNAMED, Unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class Found:
    """What n strings of bytes hold."""

    content: Digests  # normalised, (n, 32)
    size: npt.NDArray[np.int64]  # in each of SIZES, (n, sizes)
    verdict: npt.NDArray[np.int64]  # the number of the reason why it can't be read, or -1; (n,)

    @classmethod
    def nothing(cls, count: int) -> Self:
        """Return rows to be filled."""
        return cls(np.zeros((count, WIDTH), np.uint8), np.zeros((count, len(SIZES)), np.int64), np.full(count, -1))

    def take(self, rows: Rows) -> Found:
        """Return some rows."""
        return Found(self.content.take(rows, axis=0), self.size.take(rows, axis=0), self.verdict[rows])

    def put(self, rows: Rows, other: Found) -> None:
        """Fill some rows."""
        self.content[rows], self.size[rows], self.verdict[rows] = other.content, other.size, other.verdict

    def joined(self, other: Found) -> Found:
        """Return the rows of both."""
        return Found(
            np.concatenate([self.content, other.content]),
            np.concatenate([self.size, other.size]),
            np.concatenate([self.verdict, other.verdict]),
        )


@dataclass(frozen=True, eq=False)
class Part:
    """One part of those m records of a batch that have it, in ascending order of record."""

    name: str
    modality: str
    record: Rows
    sha256: Digests
    bytes: npt.NDArray[np.int64]
    found: Found

    def with_other(self, other: Part) -> Part:
        """Return the same part of these records and of others."""
        record = np.concatenate([self.record, other.record])
        order = np.argsort(record)
        sha256 = np.concatenate([self.sha256, other.sha256])[order]
        size = np.concatenate([self.bytes, other.bytes])[order]
        found = self.found.joined(other.found).take(order)
        return Part(self.name, self.modality, record[order], sha256, size, found)

    def where(self, wanted: npt.NDArray[np.bool_]) -> Part:
        """Return the wanted rows."""
        if wanted.all():
            return self
        rows = np.flatnonzero(wanted)
        found = self.found.take(rows)
        return Part(self.name, self.modality, self.record[rows], self.sha256[rows], self.bytes[rows], found)


def unnamed(raw: pa.RecordBatch, parts: Sequence[Part], verdicts: Sequence[Unreadable]) -> pa.Table:
    """Return a batch of raw records (schema.raw_schema) without their payload (schema UNNAMED), with `parts` in order.

    A record of which a part can't be read is quarantined for the first such part, and has no parts.
    """
    readable = [part.where(part.found.verdict < 0) for part in parts]
    verdict, part = _first_verdicts(raw, parts)
    sound = (verdict < 0) & raw.column("code").is_null().to_numpy(zero_copy_only=False)
    columns = {
        **{name: raw.column(name) for name in UNNAMED.names if name in raw.schema.names},
        **_sums(raw.num_rows, readable),
        **_reasons(raw, verdict, verdicts, _words([part.name for part in parts], part)),
        "parts": _lists(raw.num_rows, [part.where(sound[part.record]) for part in readable]),
    }
    return pa.table([columns[name] for name in UNNAMED.names], schema=UNNAMED)


def _first_verdicts(raw: pa.RecordBatch, parts: Sequence[Part]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return for each record the number of the reason why it can't be read, and of the part.

    -1: there is none, or it has one already.
    """
    verdict, place = np.full(raw.num_rows, -1), np.full(raw.num_rows, -1)
    for number, part in reversed(list(enumerate(parts))):
        bad = part.found.verdict >= 0
        verdict[part.record[bad]], place[part.record[bad]] = part.found.verdict[bad], number
    verdict[raw.column("code").is_valid().to_numpy(zero_copy_only=False)] = -1
    return verdict, place


def _reasons(
    raw: pa.RecordBatch, verdict: npt.NDArray[np.int64], verdicts: Sequence[Unreadable], part: pa.StringArray
) -> dict[str, pa.Array]:
    """Return the columns `code` and `detail`: what the readers have said, or the verdict on a part."""
    codes, reasons = [v.code for v in verdicts], [v.reason for v in verdicts]
    said = pc.binary_join_element_wise(part, _words(reasons, verdict), ": ")
    return {
        "code": pc.coalesce(raw.column("code"), _words(codes, verdict)),
        "detail": pc.coalesce(raw.column("detail"), said),
    }


def _sums(count: int, parts: Sequence[Part]) -> dict[str, npt.NDArray[np.int64]]:
    size, sums = np.zeros(count, np.int64), np.zeros((count, len(SIZES)), np.int64)
    for part in parts:
        size[part.record] += part.bytes
        sums[part.record] += part.found.size
    return {"bytes": size, **dict(zip(SIZES, sums.T, strict=True))}


def _lists(count: int, parts: Sequence[Part]) -> pa.ListArray:
    """Return the column of parts: those of a record beside each other, in the order of `parts`."""
    record = np.concatenate([part.record for part in parts])
    rows = np.argsort(record, kind="stable")
    which = np.repeat(np.arange(len(parts)), [len(part.record) for part in parts])[rows]
    columns = [
        _words([part.name for part in parts], which),
        _words([part.modality for part in parts], which),
        to_column(np.concatenate([part.sha256 for part in parts])[rows]),
        to_column(np.concatenate([part.found.content for part in parts])[rows]),
    ]
    offsets = np.append(0, np.cumsum(np.bincount(record, minlength=count)))
    structs = pa.StructArray.from_arrays(columns, fields=list(PART))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=RECORD.field("parts").type)


def _words(words: Sequence[str], which: npt.NDArray[np.int64]) -> pa.StringArray:
    """Return the word that each number stands for; null for -1."""
    return pa.array(words, pa.string()).take(pa.array(which, mask=which < 0))
