"""Source formats → batches of raw records (schema.raw_schema): `plan` cuts the source into tasks, `read` reads one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dedupver.records import files, formats, shards
from dedupver.records.dimension import dimension
from dedupver.records.files import checked_text
from dedupver.records.plan import plan, remaining
from dedupver.records.record import Raw, Task, batches
from dedupver.records.references import PASSAGES, read_passages, references

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa

    from dedupver import params

__all__ = ["Task", "checked_text", "dimension", "plan", "read", "references", "remaining"]


def read(root: Path, task: Task, source: params.Source) -> Iterator[pa.RecordBatch]:
    """Read the records of one task, in the order of the source, as batches of bounded size (schema.raw_schema).

    What can't be read is a record as well, without a payload: its `code` and `detail` say why.
    """
    if task.code:
        return batches([Raw.broken(task.paths[0], source, task.code, task.detail)], source.parts)
    if task.format == "file":
        return batches(files.read(root.resolve(), task, source), source.parts)
    if task.format in PASSAGES:
        return batches(read_passages(root.resolve(), task, source), source.parts)
    if task.format == "tar":
        return batches(shards.read(root.resolve() / task.paths[0], task, source), source.parts)
    return formats.read(root.resolve(), task, source)
