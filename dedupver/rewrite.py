"""Archives and saved datasets written again with some of their records: what stays as it came, and in its order."""

from __future__ import annotations

import hashlib
import json
import posixpath
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from dedupver.records import arrow, saved, shards, streams, tar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from dedupver import params

PIECE: Final = 1 << 20
FINGERPRINT: Final = 16
"""Hex digits of a saved dataset's fingerprint."""
END_OF_TAR: Final = bytes(2 * tar.BLOCK)


def write_tar(file: Path, place: Path, rows: Collection[int], source: params.Source) -> int:
    """Write the archive without the members of other samples, of hidden ones, and of what follows damage.

    Folders, global headers and the blocks at the end stay; an end that is missing is written. Returns the number of
    samples written. Raises OSError.
    """
    found: set[int] = set()
    left_out: list[tuple[int, int]] = []
    at = 0
    with streams.opened(file, 0, source.max_unpacked_bytes) as archive:
        try:
            for row, start, at in shards.spans(archive, source):
                if row in rows:
                    found.add(row)
                elif left_out and left_out[-1][1] == start:
                    left_out[-1] = left_out[-1][0], at
                else:
                    left_out.append((start, at))
        except (tar.BadArchiveError, streams.DamagedError):
            left_out.append((at, streams.END))
    ends = not (left_out and left_out[-1][1] == streams.END)
    without(file, place, left_out, source.max_unpacked_bytes, b"" if ends else END_OF_TAR)
    return len(found)


def without(file: Path, place: Path, left_out: Sequence[tuple[int, int]], limit: int, end: bytes = b"") -> None:
    """Write what a file holds, packed as it is, less some ranges of its bytes, ascending; `end` is put at its end.

    Offsets are those of what is unpacked, of which there are at most `limit` bytes. Raises OSError.
    """
    with streams.opened(file, 0, limit) as source, streams.packing(place) as out:
        for start, stop in _between(left_out):
            source.seek(start)
            while start < stop and (piece := source.read(min(PIECE, stop - start))):
                out.write(piece)
                start += len(piece)  # noqa: PLW2901 - where it goes on
        out.write(end)


def complete_dataset(root: Path, target: Path, splits: Sequence[saved.Saved], kept: Mapping[str, str]) -> None:
    """Write what a saved dataset needs beside its tables that hold kept rows: empty tables, and the state.

    `kept` are digests of the rows kept, by path. The fingerprint of the state is another one, for by it the library
    that loads the dataset finds what it computed of it before. Raises OSError or ArrowException.
    """
    for split in splits:
        files = [path for path in split.files if (target / path).exists() or _write_empty(root / path, target / path)]
        told = json.dumps([split.state["_fingerprint"], [kept.get(path) for path in files]]).encode()
        state = split.state | {
            "_data_files": [{"filename": posixpath.basename(path)} for path in files],
            "_fingerprint": hashlib.sha256(told).hexdigest()[:FINGERPRINT],
        }
        text = json.dumps(state, indent=2, sort_keys=True)
        (target / split.path(saved.STATE)).write_text(text, encoding="utf-8")


def _write_empty(file: Path, place: Path) -> bool:
    """Write a table of the same columns without rows; return whether the file can be read."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with arrow.writer_like(file, place):
            return True
    except (pa.ArrowException, OSError):
        place.unlink(missing_ok=True)
        return False


def _between(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what lies between ascending ranges, from 0 to the end."""
    at = 0
    for start, stop in ranges:
        if at < start:
            yield at, start
        at = stop
    if at < streams.END:
        yield at, streams.END
