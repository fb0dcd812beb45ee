"""Vectors: small segments are compared with whole, large ones are searched by their graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dedupver.index import vectors
from dedupver.index.structures import derive
from dedupver.match import exact, graph
from dedupver.match.found import Findings
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from dedupver.digests import Rows
    from dedupver.index.codes import Scan
    from dedupver.match.found import Job


def search(kind: str, job: Job) -> Findings:
    """Return the verified matches of a kind, and the crowded vectors, with their neighbours."""
    derive(kind, job.new, job.settings)
    floor, cap = job.settings.floor.of(kind), job.settings.bucket_cap

    def scan(new: vectors.Vectors, old: vectors.Vectors, found: Rows, triangle: bool) -> Scan:
        return vectors.scan(new, old, floor, cap, found, triangle=triangle)

    near, crowded = graph.search(kind, job)
    others, more = exact.search(kind, job, lambda segment: segment.vectors(EVIDENCE[kind]), scan)
    return Findings(near + others, crowded + more)
