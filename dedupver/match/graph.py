"""Approximate search: a graph proposes each vector's nearest, exact cosines decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dedupver.match.found import SELF, Found, Hot, Job, one_group

if TYPE_CHECKING:
    from dedupver.digests import Rows


def search(kind: str, job: Job) -> tuple[list[Found], list[Hot]]:
    """Return the verified matches with the segments that have a graph, and the crowded contents with their neighbours.

    A content whose list is full is crowded: it and those in its list are in the one hot bucket.
    """
    some = [(ordinal, segment) for ordinal, segment in job.everything() if segment.has_graph(kind)]
    if not some:
        return [], []
    from dedupver.index import hnsw  # noqa: PLC0415 - loads faiss, which small segments do not need

    new, rows = job.new.graphed(kind)
    settings, floor = job.settings.hnsw, job.settings.floor.of(kind)
    found, hot = [], []
    for ordinal, segment in some:
        old, old_rows = segment.graphed(kind)
        wanted = settings.neighbours + (ordinal == SELF)  # each finds itself first
        near, score = hnsw.search(segment.graph(kind), old, new, wanted, settings.ef)
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
    return found, hot


def _each_once(left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """Return the pairs of one segment with itself once each, the greater row left, without (x, x)."""
    pairs = np.stack([np.maximum(left, right), np.minimum(left, right)], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return pairs[:, 0], pairs[:, 1]
