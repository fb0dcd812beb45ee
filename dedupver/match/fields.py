"""Rows of tables: what nearly agrees in several fields is compared in all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver import store
from dedupver.digests import leading
from dedupver.index import blocks, fields
from dedupver.index.structures import fielded
from dedupver.match import banded
from dedupver.match.banded import Bands
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.index.bands import Band
    from dedupver.index.blocks import Plan
    from dedupver.index.segment import Segment
    from dedupver.match.found import Findings, Job

PLAN: Final = "bands.json"
"""What a segment's plan is called, after its modality."""


def search(kind: str, job: Job) -> Findings:
    """Return the verified matches of a kind, and the members of hot buckets.

    Segments of another plan than the newest one, which hold few of all rows, are hashed anew.
    """
    plans = [_plan_of(kind, segment) for segment in job.base.segments]
    planned = _plan(kind, job, [plan for plan in plans if plan])
    store.write_json(job.new.path / f"{EVIDENCE[kind].modality}.{PLAN}", planned._asdict())
    others = [
        _made(kind, job, segment, planned) if plan and plan != planned else None
        for plan, segment in zip(plans, job.base.segments, strict=True)
    ]
    bands = len(planned.fields), len(_contents(kind, job.new))
    return banded.search(kind, job, Bands(_made(kind, job, job.new, planned), bands, others))


def _plan(kind: str, job: Job, known: list[Plan]) -> Plan:
    """Return the newest plan, or a new one where that no longer serves; by the largest segment."""
    what, segments = EVIDENCE[kind], [*job.base.segments, job.new]
    sizes = [segment.size(what.modality) for segment in segments]
    if known and known[-1].suits(sum(sizes)):
        return known[-1]
    rows, how = fielded(what, segments[int(np.argmax(sizes))])
    return blocks.plan(rows, sum(sizes), how, job.settings.row_lsh)


def _plan_of(kind: str, segment: Segment) -> Plan | None:
    """Return the plan that a segment's bands were made by; None: it has no rows."""
    name = f"{EVIDENCE[kind].modality}.{PLAN}"
    return blocks.Plan(**store.read_json(segment.file(name))) if (segment.path / name).exists() else None


def _made(kind: str, job: Job, segment: Segment, planned: Plan) -> Iterator[Band]:
    """Give the bands of a segment by a plan."""
    rows, how = fielded(EVIDENCE[kind], segment)
    own = leading(segment.content(EVIDENCE[kind].modality))
    return blocks.make(rows, own, _contents(kind, segment), how, planned, job.settings.row_lsh)


def _contents(kind: str, segment: Segment) -> blocks.Places:
    """Return the rows of a segment that can be compared."""
    return fields.comparable(*fielded(EVIDENCE[kind], segment)).astype(np.uint32)
