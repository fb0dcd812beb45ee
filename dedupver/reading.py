"""What is read of the source for a version: all but the pieces of tables that its base has read as they are."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from dedupver import records, store
from dedupver.manifest import READ
from dedupver.records import earlier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.records import Task
    from dedupver.records.earlier import Piece, Pieces


@dataclass(frozen=True)
class Reading:
    """What there is to read of each batch of the source, and which pieces of its only one there are not to read."""

    source: params.Source
    batches: Mapping[str, Path]
    tasks: Mapping[str, list[Task]]
    unchanged: Pieces

    @classmethod
    def of(cls, batches: Mapping[str, Path], source: params.Source, told: Mapping[str, Any]) -> Self:
        """Plan; `told` is what the base says of what it has read.

        In mode append the base has read other files: nothing is unchanged. Raises what `records.plan` raises.
        """
        tasks: dict[str, list[Task]] = {}
        kept: Pieces = {}
        for version, root in batches.items():
            before = earlier.unchanged(root, told, source) if source.mode == "snapshot" else {}
            tasks[version], kept = records.remaining(root, source, before)
        return cls(source, batches, tasks, kept)

    def unread(self) -> dict[str, list[tuple[int, int]]]:
        """Return the rows that are not read: by path the first, and the one after the last, of each piece."""
        return {path: [(piece.first, piece.end) for piece in each] for path, each in self.unchanged.items()}

    @contextlib.contextmanager
    def written(self, out: Path) -> Iterator[Callable[[Iterable[Task]], None]]:
        """Digest what is read, beside what the block does, and give what writes down below `out` what was read.

        It is to be told the tasks whose records do not depend on their tables alone.
        """
        new: dict[str, list[Piece]] = {}
        root, tasks = next((self.batches[version], tasks) for version, tasks in self.tasks.items())
        if self.source.mode == "snapshot":
            new = earlier.pieces(root, tasks)
        begin = {path: each[-1].stop for path, each in self.unchanged.items()}
        with ThreadPoolExecutor(1) as beside:
            digests = beside.submit(earlier.digests, root, new, begin)

            def write(outside: Iterable[Task]) -> None:
                again = {(path, p.stop) for path, each in earlier.pieces(root, outside).items() for p in each}
                read = {path: list(each) for path, each in self.unchanged.items()}
                for path, each in new.items():
                    sha256 = [None if (path, p.stop) in again else digests.result()[path, p.stop] for p in each]
                    read.setdefault(path, []).extend(
                        piece._replace(sha256=digest) for piece, digest in zip(each, sha256, strict=True)
                    )
                store.write_json(out / READ, earlier.stated(self.source, read))

            yield write
