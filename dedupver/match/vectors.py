"""Vectors: a graph proposes each one's nearest, exact cosines decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dedupver.index import hnsw
from dedupver.match.found import SELF, Findings, Job, one_group
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver.digests import Rows
    from dedupver.index.segment import Segment, Vectors


def search(kind: str, job: Job) -> Findings:
    """Return the verified matches of a kind, and the crowded vectors, with their neighbours."""
    what = EVIDENCE[kind]
    return search_graph(kind, job, lambda segment: segment.vectors(what))


def search_graph(kind: str, job: Job, vectors: Callable[[Segment], tuple[Vectors, Rows]]) -> Findings:
    """Write the graph of the new segment's vectors and look these up in every segment's; `vectors` gives them."""
    new, rows = vectors(job.new)
    graph, floor = job.settings.hnsw, job.settings.floor.of(kind)
    if len(new):
        hnsw.build(job.new.graph(kind), new, graph.m, graph.ef_construction, graph.seed)
    found, hot = [], []
    for ordinal, segment in job.everything():
        old, old_rows = vectors(segment)
        if not len(new) or not len(old):
            continue
        wanted = graph.neighbours + (ordinal == SELF)  # each finds itself first
        near, score = hnsw.search(segment.graph(kind), old.shape[1], new, wanted, graph.ef)
        left, place = np.nonzero((near >= 0) & (score >= floor - 1e-3))
        right = near[left, place]
        full = near.shape[1] == wanted and len(old) > wanted
        last = score[:, -1] if near.shape[1] else np.zeros(len(new), np.float32)
        crowded = np.flatnonzero(full & (last >= floor))
        hot += one_group(SELF, rows[crowded])
        hot += one_group(ordinal, old_rows[np.unique(near[crowded][near[crowded] >= 0])])
        if ordinal == SELF:
            left, right = _each_once(left, right)
        found.append(job.verified(kind, ordinal, rows[left], old_rows[right]))
    return Findings(found, hot)


def _each_once(left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """Return the pairs of one segment with itself once each, the greater row left, without (x, x)."""
    pairs = np.stack([np.maximum(left, right), np.minimum(left, right)], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return pairs[:, 0], pairs[:, 1]
