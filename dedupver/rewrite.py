"""Archives written again with some of their samples: all other bytes as they came, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dedupver.records import shards, streams, tar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from dedupver import params

PIECE: Final = 1 << 20
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
    with streams.opened(file, 0, source.max_unpacked_bytes) as archive, streams.packing(place) as out:
        for start, stop in _between(left_out):
            archive.seek(start)
            while start < stop and (piece := archive.read(min(PIECE, stop - start))):
                out.write(piece)
                start += len(piece)  # noqa: PLW2901 - where it goes on
        if left_out and left_out[-1][1] == streams.END:
            out.write(END_OF_TAR)
    return len(found)


def _between(ranges: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield what lies between ascending ranges, from 0 to the end."""
    at = 0
    for start, stop in ranges:
        if at < start:
            yield at, start
        at = stop
    if at < streams.END:
        yield at, streams.END
