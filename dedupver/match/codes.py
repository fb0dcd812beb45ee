"""Bit codes: every pair within a radius by an exact scan, or by a graph where params ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dedupver.index import codes
from dedupver.match import vectors
from dedupver.match.found import SELF, Findings, Job, one_group
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from dedupver.digests import Rows
    from dedupver.index.segment import Segment, Vectors
    from dedupver.schema import Kind


def search(kind: str, job: Job) -> Findings:
    """Return the verified matches of a kind, and the codes with more neighbours than are listed, with these."""
    what = EVIDENCE[kind]
    if job.settings.image_index == "hnsw":
        return vectors.search_graph(kind, job, lambda segment: _as_vectors(segment, what))
    new, rows = job.new.codes(what)
    radius = int((1 - job.settings.floor.of(kind)) * 64 * new.shape[1] + 1e-9)
    found, hot = [], []
    for ordinal, segment in job.everything():
        old, old_rows = segment.codes(what)
        if not len(new) or not len(old):
            continue
        scan = codes.scan(new, old, radius, job.settings.bucket_cap, triangle=ordinal == SELF)
        found.append(job.verified(kind, ordinal, rows[scan.left], old_rows[scan.right]))
        hot += one_group(SELF, rows[scan.hot_queries]) + one_group(ordinal, old_rows[scan.hot_codes])
    return Findings(found, hot)


def _as_vectors(segment: Segment, what: Kind) -> tuple[Vectors, Rows]:
    """Return the bits of codes as ±1, at length 1: their cosine grows as their distance shrinks."""
    packed, rows = segment.codes(what)
    return codes.signs(packed), rows
