"""Across modalities: new images among the texts of every segment, and new texts among the images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from dedupver.digests import to_column
from dedupver.index import vectors
from dedupver.index.structures import derive_joint
from dedupver.schema import FIT, JOINT, RECALL

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver import params
    from dedupver.digests import Digests, Rows
    from dedupver.index.segment import Segment
    from dedupver.index.vectors import Scores, Vectors
    from dedupver.match.found import Job

_TOGETHER: Final = 256
"""Queries whose neighbours are listed at once: of a floor as low as this space's there are many."""

OTHER = {"image": "text", "text": "image"}


def search(job: Job) -> pa.Table:
    """Write the graphs of the new segment; return what fits across modalities (schema FIT), sorted, each pair once."""
    derive_joint(job.new, job.settings)
    found = [FIT.empty_table()]
    for modality in JOINT:
        for _, segment in job.everything():
            found.append(_between(job, modality, segment))
    table = pa.concat_tables(found).combine_chunks()
    return (
        table.group_by(["image", "text"])
        .aggregate([("score", "max")])
        .rename_columns(FIT.names)
        .cast(FIT)
        .sort_by([("image", "ascending"), ("text", "ascending")])
    )


def _between(job: Job, modality: str, segment: Segment) -> pa.Table:
    """Look the new contents of a modality up among those of the other in a segment."""
    (new, rows), (old, old_rows) = job.new.vectors(JOINT[modality]), segment.vectors(JOINT[OTHER[modality]])
    if not len(new) or not len(old):
        return FIT.empty_table()
    floor, most = job.settings.floor.of("joint"), job.settings.hnsw.neighbours
    name = f"{OTHER[modality]}_joint"
    if segment.has_graph(name):
        left, right, score = _approximate(segment.graph(name), new, old, job.settings)
    else:
        left, right, score = _nearest(new, old, floor, most)
    good = score >= np.float32(floor)
    mine = job.new.content(modality)[rows[left[good]]]
    theirs = segment.content(OTHER[modality])[old_rows[right[good]]]
    return _table({modality: mine, OTHER[modality]: theirs}, score[good])


def _approximate(path: Path, queries: Vectors, old: Vectors, settings: params.Match) -> tuple[Rows, Rows, Scores]:
    """Return what a graph proposes as the nearest of each query, with exact cosines."""
    from dedupver.index import hnsw  # noqa: PLC0415 - loads faiss, which small segments do not need

    near, score = hnsw.search(path, old, queries, settings.hnsw.neighbours, settings.hnsw.ef)
    left, place = np.nonzero((near >= 0) & (score >= settings.floor.of("joint") - 1e-3))
    right = near[left, place]
    return left, right, vectors.cosine(queries, left, old, right)


def _table(contents: dict[str, Digests], score: Any) -> pa.Table:
    return pa.table([to_column(contents["image"]), to_column(contents["text"]), pa.array(score)], schema=FIT)


def recall(job: Job, found: pa.Table) -> pa.Table:
    """Return the true neighbours of some new images among all texts, and whether each was found (schema RECALL).

    The sample is the images with the smallest digests; each counts with the texts that a search asks for.
    """
    new, rows = job.new.vectors(JOINT["image"])
    sample, floor, most = job.settings.recall_sample, job.settings.floor.of("joint"), job.settings.hnsw.neighbours
    listed = set(zip(found["image"].to_pylist(), found["text"].to_pylist(), strict=True))
    tables = [RECALL.empty_table()]
    for segment in [*job.base.segments, job.new] if len(new) and sample else []:
        texts, text_rows = segment.vectors(JOINT["text"])
        place, row, score = _nearest(new[:sample], texts, floor, most)
        lefts, rights = job.new.content("image")[rows[place]], segment.content("text")[text_rows[row]]
        hit = [pair in listed for pair in zip(map(bytes, lefts), map(bytes, rights), strict=True)]
        columns = [pa.repeat("joint", len(hit)), to_column(lefts), to_column(rights), score, np.array(hit, np.bool_)]
        tables.append(pa.Table.from_arrays([pa.array(column) for column in columns], schema=RECALL))
    return pa.concat_tables(tables)


def _nearest(queries: Vectors, others: Vectors, floor: float, most: int) -> tuple[Rows, Rows, Scores]:
    """Return exactly the nearest of each query, at most so many, at or above the floor."""
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for start in range(0, len(queries) if len(others) else 0, _TOGETHER):
        place, row, score = vectors.neighbours(queries[start : start + _TOGETHER], others, floor)
        best = np.lexsort((-score, place))
        place, row, score = place[best], row[best], score[best]
        first = np.arange(len(place)) - np.searchsorted(place, place) < most
        parts.append((start + place[first], row[first], score[first]))
    left, right, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return left, right, scores
