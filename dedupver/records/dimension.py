"""How many numbers the vectors of a source have."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver.records import formats, parquet
from dedupver.records.tables import VECTOR, Table, vector_of
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver import params
    from dedupver.records.record import Task

LOOKED_AT: Final = 1_000
"""So many rows of each task say what its vectors are like."""


def dimension(root: Path, task: Task, source: params.Source) -> int | None:
    """Return how many numbers the first vector of a task has, by row; None where its first rows have none."""
    if task.code or task.format in {"file", "tar"} or not source.parts_of(VECTOR):
        return None
    try:
        sizes = _sizes(Table(root.resolve(), task.paths[0], source), task)
        return next(filter(None, itertools.islice(sizes, LOOKED_AT)), None)
    except parquet.DAMAGED:  # `read` says so
        return None


def _sizes(table: Table, task: Task) -> Iterator[int]:
    """Yield how many numbers the vector of each row has, 0 where it is none."""
    for block in formats.blocks(table, task, table.vectors):
        for row in block.rows(np.arange(min(len(block), LOOKED_AT))):
            values = [row.get(column) for column in table.vectors] if isinstance(row, dict) else []
            yield next(filter(None, map(_size, values)), 0)


def _size(value: object) -> int:
    try:
        return len(vector_of(value, "", 1 << 30) or b"") // 4
    except Unreadable:
        return 0
