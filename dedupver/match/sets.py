"""Sets of hashes: what shares a bucket of a band of MinHash is compared exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dedupver.index import bands
from dedupver.match import banded
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from dedupver.match.found import Findings, Job


def search(kind: str, job: Job) -> Findings:
    """Return the verified matches of a kind, and the members of hot buckets."""
    lsh, sets = job.settings.lsh, job.new.sets(EVIDENCE[kind].modality)
    shape = lsh.bands, int(np.count_nonzero(sets.sizes))
    made = bands.make(sets, lsh.bands, lsh.rows, lsh.seed)
    return banded.search(kind, job, banded.Bands(made, shape, [None] * len(job.base.segments)))
