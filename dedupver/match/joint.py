"""Across modalities: new images, videos and sounds among the texts of every segment, and new texts among these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import pyarrow as pa

from dedupver.digests import to_column
from dedupver.index import vectors
from dedupver.index.joint import Fit, between
from dedupver.index.structures import derive_joint
from dedupver.schema import ACROSS, FIT, RECALL

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.index.segment import Segment
    from dedupver.index.vectors import Scores, Vectors
    from dedupver.match.found import Job
    from dedupver.schema import Kind

_TOGETHER: Final = 256
"""Queries whose neighbours are listed at once: of a floor as low as this space's there are many."""


class _Side(NamedTuple):
    """The vectors of a kind in a segment, and whose each is."""

    segment: Segment
    kind: Kind
    vectors: Vectors
    content: Rows  # of each vector

    @classmethod
    def of(cls, segment: Segment, kind: Kind) -> Self:
        found, rows = segment.vectors(kind)
        return cls(segment, kind, found, rows // segment.vectors_each(kind))

    def first(self, count: int) -> Self:
        """Return the vectors of the contents of the smallest digests, so many."""
        return self._replace(vectors=self.vectors[self.content < count], content=self.content[self.content < count])


def search(job: Job) -> pa.Table:
    """Write the graphs of the new segment; return what fits across modalities (schema FIT), sorted, each pair once."""
    derive_joint(job.new, job.settings)
    found = [FIT.empty_table()]
    for kinds in ACROSS.values():
        for _, segment in job.everything():
            found.append(_between(job, kinds, job.new, segment))
            if segment is not job.new:
                found.append(_between(job, kinds, segment, job.new))
    table = pa.concat_tables(found).combine_chunks()
    return table.sort_by([("media", "ascending"), ("text", "ascending")])


def _between(job: Job, kinds: tuple[Kind, Kind], media: Segment, texts: Segment) -> pa.Table:
    """Look what is new among the contents of one segment and the texts of another up among the others."""
    sides = _Side.of(media, kinds[0]), _Side.of(texts, kinds[1])
    pairs = [_proposed(*sides, job.settings)] if media is job.new else []
    pairs += [_proposed(*sides[::-1], job.settings)[::-1]] if texts is job.new else []
    left, right = np.unique(np.concatenate([np.stack(each, axis=1) for each in pairs]), axis=0).T
    found = between(kinds, media, texts, left, right)
    good = found.score >= np.float32(job.settings.floor.of("joint"))
    return _table(sides, left[good], right[good], Fit(found.score[good], found.millis[good]))


def _table(sides: tuple[_Side, _Side], left: Rows, right: Rows, fit: Fit) -> pa.Table:
    contents = (side.segment.content(side.kind.modality)[rows] for side, rows in zip(sides, (left, right), strict=True))
    millis = pa.array(fit.millis, mask=fit.millis < 0)
    return pa.table([*map(to_column, contents), pa.array(fit.score), millis], schema=FIT)


def _proposed(mine: _Side, theirs: _Side, settings: params.Match) -> tuple[Rows, Rows]:
    """Return contents of a side and those of the other that are among their nearest, each pair once."""
    name, floor, most = f"{theirs.kind.modality}_{theirs.kind.measure}", settings.floor.of("joint"), settings.hnsw
    if not len(mine.vectors) or not len(theirs.vectors):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    if not theirs.segment.has_graph(name):
        return _nearest(mine, theirs, floor, most.neighbours)[:2]
    from dedupver.index import hnsw  # noqa: PLC0415 - loads faiss, which small segments do not need

    wanted = most.neighbours * theirs.segment.vectors_each(theirs.kind)
    near, score = hnsw.search(theirs.segment.graph(name), theirs.vectors, mine.vectors, wanted, most.ef)
    left, place = np.nonzero((near >= 0) & (score >= floor - 1e-3))
    return _best(mine.content[left], theirs.content[near[left, place]], score[left, place], most.neighbours)[:2]


def recall(job: Job, found: pa.Table) -> pa.Table:
    """Return the true neighbours of some new contents among all texts, and whether each was found (schema RECALL).

    The sample is the contents with the smallest digests; each counts with the texts that a search asks for.
    """
    floor, most = job.settings.floor.of("joint"), job.settings.hnsw.neighbours
    listed = set(zip(found["media"].to_pylist(), found["text"].to_pylist(), strict=True))
    tables = [RECALL.empty_table()]
    for media, said in ACROSS.values():
        new = _Side.of(job.new, media).first(job.settings.recall_sample)
        for _, segment in job.everything():
            left, right, score = _nearest(new, _Side.of(segment, said), floor, most)
            lefts, rights = job.new.content(media.modality)[left], segment.content("text")[right]
            hit = [pair in listed for pair in zip(map(bytes, lefts), map(bytes, rights), strict=True)]
            ends = to_column(lefts), to_column(rights)
            columns = [pa.repeat("joint", len(hit)), *ends, pa.array(score), pa.array(hit, pa.bool_())]
            tables.append(pa.Table.from_arrays(columns, schema=RECALL))
    return pa.concat_tables(tables)


def _nearest(mine: _Side, theirs: _Side, floor: float, most: int) -> tuple[Rows, Rows, Scores]:
    """Return exactly the nearest of each content, at most so many, at or above the floor."""
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for start in range(0, len(mine.vectors) if len(theirs.vectors) else 0, _TOGETHER):
        place, row, score = vectors.neighbours(mine.vectors[start : start + _TOGETHER], theirs.vectors, floor)
        parts.append(_best(mine.content[start + place], theirs.content[row], score, most))
    left, right, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _best(left, right, scores, most)


def _best(left: Rows, right: Rows, score: Scores, most: int) -> tuple[Rows, Rows, Scores]:
    """Return each pair once, with its highest score, and of each left at most so many, the best."""
    order = np.lexsort((-score, right, left))
    once = np.ones(len(order), np.bool_)
    once[1:] = (np.diff(left[order]) != 0) | (np.diff(right[order]) != 0)
    order = order[once]
    order = order[np.lexsort((right[order], -score[order], left[order]))]
    order = order[np.arange(len(order)) - np.searchsorted(left[order], left[order]) < most]
    return left[order], right[order], score[order]
