"""Rows of tables: what nearly agrees in several fields is compared in all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dedupver.index import blocks
from dedupver.index.structures import band_rows, derive, fielded
from dedupver.match import banded
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from dedupver.index.blocks import Plan
    from dedupver.match.found import Findings, Job


def search(kind: str, job: Job) -> Findings:
    """Write the new segment's bands and their plan; return the verified matches of a kind, and hot buckets' members.

    Segments of another plan than the newest one, which hold few of all rows, are hashed anew.
    """
    what = EVIDENCE[kind]
    plans = [segment.plan(what.modality) for segment in job.base.segments]
    planned = _plan(kind, job, [plan for plan in plans if plan])
    job.new.write_plan(what.modality, planned)
    derive(kind, job.new, job.settings)
    others = [
        band_rows(what, segment, planned, job.settings.row_lsh) if plan and plan != planned else None
        for plan, segment in zip(plans, job.base.segments, strict=True)
    ]
    return banded.search(kind, job, len(planned.fields), others)


def _plan(kind: str, job: Job, known: list[Plan]) -> Plan:
    """Return the newest plan, or a new one where that no longer serves; by the largest segment."""
    what, segments = EVIDENCE[kind], [*job.base.segments, job.new]
    sizes = [segment.size(what.modality) for segment in segments]
    if known and known[-1].suits(sum(sizes)):
        return known[-1]
    rows, how = fielded(what, segments[int(np.argmax(sizes))])
    return blocks.plan(rows, sum(sizes), how, job.settings.row_lsh)
