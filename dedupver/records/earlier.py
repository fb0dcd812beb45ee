"""What a version before has read of tables: a piece of a file whose bytes are still there is not read again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from dedupver import __version__
from dedupver.records import lines, separated, streams
from dedupver.store import HASHERS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dedupver import params
    from dedupver.records.record import Task
    from dedupver.records.tables import Table

BLOCK: Final = 1 << 20
LINES: Final = frozenset({"jsonl", *separated.DELIMITERS})


class Piece(NamedTuple):
    """Rows of a table with the numbers `first` up to `end`, and the bytes that they were read from.

    Those end at the offset `stop` and begin where those of the piece before it end, the first at 0.
    """

    stop: int
    first: int
    end: int
    sha256: str | None  # of the bytes, in hex; None: a row names what lies elsewhere, and is to be read again


Pieces = Mapping[str, Sequence[Piece]]
"""By path, in order."""


def stated(source: params.Source, found: Pieces) -> dict[str, Any]:
    """Return what a version says of what it has read, for canonical JSON."""
    return {"read_with": _read_with(source), "tables": {path: [list(p) for p in each] for path, each in found.items()}}


def unchanged(root: Path, told: Mapping[str, Any], source: params.Source) -> Pieces:
    """Return those of the pieces that a version has `stated` which are there, up to the first of a file that is not.

    None are where it was read with other settings, or by another release.
    """
    if told.get("read_with") != _read_with(source):
        return {}
    before = {path: [Piece(*piece) for piece in each] for path, each in told["tables"].items()}
    now = digests(root, before)
    found: dict[str, list[Piece]] = {}
    for path, each in before.items():
        for piece in each:
            if piece.sha256 is None or now[path, piece.stop] != piece.sha256:
                break
            found.setdefault(path, []).append(piece)
    return found


def resumed(table: Table, kind: str, kept: Sequence[Piece]) -> list[Piece]:
    """Return the pieces after which a table is read on: all of its bytes, or lines to which others were added.

    Raises OSError.
    """
    size = table.file.stat().st_size
    if not kept or kept[-1].stop == size:
        return list(kept)
    if not in_lines(table.path, kind) or kept[-1].stop > size:
        return []
    begin, stop = kept[-2].stop if len(kept) > 1 else 0, kept[-1].stop
    ends = lines.ends(table.file, begin, stop + 1, separated.DELIMITERS.get(kind, 0))
    return list(kept if any(stop in found for found in ends) else kept[:-1])  # else its last record goes on


def in_lines(path: str, kind: str) -> bool:
    """Return whether a table can be read from the middle on; the others are one piece."""
    return kind in LINES and not streams.suffixes(path)[1]


def pieces(root: Path, tasks: Iterable[Task]) -> dict[str, list[Piece]]:
    """Return what tasks read of each table, not yet digested; without what can't be read at all."""
    found: dict[str, dict[int, Piece]] = {}
    for task in tasks:
        if task.format != "file" and not task.code:
            path = task.paths[0]
            piece = _piece(root / path, task)
            found.setdefault(path, {})[piece.stop] = piece
    return {path: list(each.values()) for path, each in found.items()}


def digests(root: Path, found: Pieces, begin: Mapping[str, int] | None = None) -> dict[tuple[str, int], str | None]:
    """Return the sha256 of the bytes of each piece, by path and `stop`; None where the file has fewer bytes.

    The first piece of a path begins where `begin` says.
    """
    spans = []
    for path, each in found.items():
        at = (begin or {}).get(path, 0)
        for piece in each:
            spans.append((path, at, piece.stop))
            at = piece.stop
    with ThreadPoolExecutor(HASHERS) as pool:
        told = pool.map(lambda span: _sha256(root / span[0], span[1], span[2]), spans)
        return {(path, stop): digest for (path, _, stop), digest in zip(spans, told, strict=True)}


def _read_with(source: params.Source) -> dict[str, Any]:
    """Return all that decides what is read of given bytes."""
    settings = source.model_dump(mode="json", exclude={"path", "mode"})
    return {"source": settings, "dedupver": __version__, "pyarrow": pa.__version__}


def _piece(file: Path, task: Task) -> Piece:
    if in_lines(file.name, task.format):
        return Piece(task.stop, task.first_row, task.first_row + task.rows, None)
    return Piece(file.stat().st_size, -1, streams.END, None)


def _sha256(file: Path, begin: int, stop: int) -> str | None:
    digest = hashlib.sha256()
    with contextlib.suppress(OSError), file.open("rb") as bytes_:
        bytes_.seek(begin)
        while begin < stop and (block := bytes_.read(min(BLOCK, stop - begin))):
            digest.update(block)
            begin += len(block)
    return digest.hexdigest() if begin == stop else None
