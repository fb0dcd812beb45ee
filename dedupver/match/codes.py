"""Bit codes: every pair within a radius by an exact scan; large segments by their graph, where params ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dedupver.index import codes
from dedupver.index.structures import derive
from dedupver.match import exact, graph
from dedupver.match.found import Findings
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from dedupver.digests import Rows
    from dedupver.match.found import Job


def search(kind: str, job: Job) -> Findings:
    """Return the verified matches of a kind, and the codes with more neighbours than are listed, with these."""
    derive(kind, job.new, job.settings)
    what, cap = EVIDENCE[kind], job.settings.bucket_cap
    radius = int((1 - job.settings.floor.of(kind)) * 64 * job.new.every(what).shape[1] + 1e-9)

    def scan(new: codes.Codes, old: codes.Codes, found: Rows, triangle: bool) -> codes.Scan:
        return codes.scan(new, old, radius, cap, found, triangle=triangle)

    near, crowded = graph.search(kind, job)
    others, more = exact.search(kind, job, lambda segment: segment.codes(what), scan)
    return Findings(near + others, crowded + more)
