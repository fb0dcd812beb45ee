"""What the fingerprint stage does, cut into what one worker does at a time."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from dedupver import records
from dedupver.fingerprint.batch import Chunk
from dedupver.fingerprint.encoders.probe import ANSWERS
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dedupver.index.segment import Index
    from dedupver.project import Project
    from dedupver.reading import Reading
    from dedupver.records import Task


def planned(project: Project, base: Index, reading: Reading, out: Path) -> dict[str, list[Chunk]]:
    """Return the chunks of each version's batch, and with the present one those of the references beside the source.

    What each finds goes to a folder of its own below `out`. Raises SourceError where references are not there,
    StateError where DVC would not see that they change.
    """
    plan = {
        version: _of_folder(project, base, reading.batches[version], tasks, out / version)
        for version, tasks in reading.tasks.items()
    }
    plan[project.params.version.name] += _benchmarks(project, base, out / ".references")
    return _dimensioned(plan, base)


def sizes(chunks: Sequence[Chunk]) -> list[int]:
    """Return about how many bytes each chunk has: of a file that is cut, each has an equal share."""
    places = [[chunk.root / path for path in chunk.task.paths] for chunk in chunks]
    shares = Counter(path for each in places for path in each)
    return [sum(path.lstat().st_size // shares[path] for path in each) for each in places]


def name(chunk: Chunk) -> str:
    """Return what a chunk is called where something is told of it."""
    paths = chunk.task.paths
    return f"{paths[0]} and {len(paths) - 1} more files" if len(paths) > 1 else paths[0]


def _of_folder(project: Project, base: Index, root: Path, tasks: Sequence[Task], out: Path) -> list[Chunk]:
    """Return what one worker does at a time of a batch of the source."""
    given = project.params
    known = tuple(segment.file("contents.parquet") for segment in base.segments)
    answers = tuple(segment.file(path.name) for segment in base.segments for path in sorted(segment.path.glob(ANSWERS)))
    return [
        Chunk(root, task, given.source, given.fingerprint, known, out / f"{number:06}", answers)
        for number, task in enumerate(tasks)
    ]


def _benchmarks(project: Project, base: Index, out: Path) -> list[Chunk]:
    """Return what one worker does at a time of the references beside the source.

    Raises SourceError where they are not there, StateError where DVC would not see that they change.
    """
    beside = project.params.source.reference.path
    if not beside:
        return []
    project.require_dep("fingerprint", beside)
    source = project.params.source.beside()
    chunks = _of_folder(project, base, project.root / beside, records.references(project.root / beside, source), out)
    return [dataclasses.replace(chunk, source=source, beside=beside) for chunk in chunks]


def _dimensioned(plan: dict[str, list[Chunk]], base: Index) -> dict[str, list[Chunk]]:
    """Settle how many numbers vectors have, where params do not: as many as the base's, or as the first."""
    chunks = [chunk for each in plan.values() for chunk in each]
    if not chunks or chunks[0].settings.vector.dim or not chunks[0].source.parts_of("vector"):
        return plan
    known = [segment.every(EVIDENCE["vector"]).shape[1] for segment in base.segments if segment.size("vector")]
    first = (records.dimension(chunk.root, chunk.task, chunk.source) for chunk in chunks)
    dim = known[-1] if known else next(filter(None, first), None)
    settings = chunks[0].settings.model_copy(
        update={"vector": chunks[0].settings.vector.model_copy(update={"dim": dim})}
    )
    return {
        version: [dataclasses.replace(chunk, settings=settings) for chunk in each] for version, each in plan.items()
    }
