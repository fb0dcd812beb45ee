"""Sets of hashes: what shares a bucket of a band of MinHash is compared exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dedupver.index.structures import derive
from dedupver.match import banded

if TYPE_CHECKING:
    from dedupver.match.found import Findings, Job


def search(kind: str, job: Job) -> Findings:
    """Write the bands of the new segment; return the verified matches of a kind, and the members of hot buckets."""
    derive(kind, job.new, job.settings)
    return banded.search(kind, job, job.settings.lsh.bands, [None] * len(job.base.segments))
