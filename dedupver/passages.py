"""Lines and paragraphs that stand in the texts of several kept records: boilerplate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.compiled import njit
from dedupver.digests import Digests, Lookup, Rows, of_parts, parts_in
from dedupver.fingerprint.passages import PARAGRAPH, Hashes
from dedupver.schema import PASSAGES, SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.fingerprint.ragged import Ragged
    from dedupver.index.segment import Index

_SLOTS: Final = 4  # in the table of what is met once and twice, for each passage

Tally = npt.NDArray[np.uint8]


def shared(index: Index, decisions: pa.Table) -> pa.Table:
    """Return the passages that two or more of the kept have (schema SHARED), by what is decided of each record.

    Those come first of which most characters are repeated. Memory is a few bytes a passage, and some tens for each that
    is repeated.
    """
    if not any(segment.size(PASSAGES) for segment in index.segments):
        return SHARED.empty_table()
    stays = pc.and_(pc.equal(decisions["action"], "keep"), pc.equal(decisions["role"], "data"))
    records = decisions.select(["id", "parts"]).filter(stays).sort_by("id")
    holders = list(_holders(index, records["parts"]))
    count = sum(int(hashes.sizes[rows].sum()) for hashes, _, rows, _ in holders)
    tally = np.zeros(1 << (_SLOTS * count).bit_length(), np.uint8)
    for hashes, _, rows, _ in holders:
        _count(hashes.offsets, hashes.values, rows, tally)
    found = [(np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint32))]
    for hashes, chars, rows, record in holders:
        found.append(_gather(hashes.offsets, hashes.values, chars.values, rows, record, tally))
    columns: list[npt.NDArray[Any]] = [np.concatenate(column) for column in zip(*found, strict=True)]
    return _table(records["id"], *columns)


def _holders(index: Index, parts: pa.ChunkedArray) -> Iterator[tuple[Ragged, Ragged, Rows, Rows]]:
    """Give each segment's passages, and which of its rows belong to which records."""
    sha256, record, _ = of_parts(parts, "sha256", parts_in(parts))
    for segment in index.segments:
        digests: Digests = segment.content(PASSAGES)
        rows = Lookup(digests).find(sha256) if len(digests) else np.empty(0, np.int64)
        mine = np.flatnonzero(rows >= 0)
        if len(mine):
            yield segment.ragged(f"{PASSAGES}.hash"), segment.ragged(f"{PASSAGES}.chars"), rows[mine], record[mine]


def _table(ids: pa.ChunkedArray, hashes: Hashes, record: Rows, chars: npt.NDArray[np.uint32]) -> pa.Table:
    order = np.lexsort((record, hashes))
    hashes, record, chars = hashes[order], record[order], chars[order]
    once = np.ones(len(hashes), np.bool_)  # a record may have a passage in two of its parts
    once[1:] = (hashes[1:] != hashes[:-1]) | (record[1:] != record[:-1])
    hashes, record, chars = hashes[once], record[once], chars[once]
    firsts = np.flatnonzero(np.append(True, hashes[1:] != hashes[:-1])[: len(hashes)])
    counts = np.diff(np.append(firsts, len(hashes)))
    firsts, counts = firsts[counts > 1], counts[counts > 1]
    repeated = chars[firsts].astype(np.int64) * (counts - 1)
    order = np.lexsort((hashes[firsts], -repeated))
    firsts = firsts[order]
    names = pa.array(["line", "paragraph"]).take(pa.array((hashes[firsts] & PARAGRAPH).astype(np.int64)))
    columns = {
        "what": names,
        "content": _bytes(hashes[firsts]),
        "records": counts[order],
        "chars": repeated[order],
        "example": ids.take(pa.array(record[firsts])),
    }
    return pa.table(columns, schema=SHARED)


def _bytes(hashes: Hashes) -> pa.Array:
    """Return each hash as 8 bytes, the highest first."""
    ordered = np.ascontiguousarray(hashes.astype(">u8"))
    return pa.Array.from_buffers(pa.binary(8), len(ordered), [None, pa.py_buffer(ordered)]).cast(pa.binary())


@njit(cache=True)
def _count(offsets: Rows, hashes: Hashes, rows: Rows, tally: Tally) -> None:
    """Note what is met once, and what twice; some are taken for each other."""
    mask = np.uint64(len(tally) - 1)
    for row in rows:
        for value in hashes[offsets[row] : offsets[row + 1]]:
            slot = (value >> np.uint64(1)) & mask
            tally[slot] = min(tally[slot] + 1, 2)


@njit(cache=True)
def _gather(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    offsets: Rows, hashes: Hashes, chars: npt.NDArray[np.uint32], rows: Rows, record: Rows, tally: Tally
) -> tuple[Hashes, Rows, npt.NDArray[np.uint32]]:
    """Return the passages that may be met twice, their records and their characters."""
    mask, count = np.uint64(len(tally) - 1), 0
    for row in rows:
        for value in hashes[offsets[row] : offsets[row + 1]]:
            count += tally[(value >> np.uint64(1)) & mask] > 1
    found, owner, sizes = np.empty(count, np.uint64), np.empty(count, np.int64), np.empty(count, np.uint32)
    at = 0
    for i in range(len(rows)):
        for k in range(offsets[rows[i]], offsets[rows[i] + 1]):
            if tally[(hashes[k] >> np.uint64(1)) & mask] > 1:
                found[at], owner[at], sizes[at] = hashes[k], record[i], chars[k]
                at += 1
    return found, owner, sizes
