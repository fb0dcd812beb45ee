"""Sequences over time: seeds propose pairs, scored exactly at their best offset, and give the spans they share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.compute as pc

from dedupver.digests import leading
from dedupver.index import seeds, sequences
from dedupver.index.structures import derive
from dedupver.match.found import SELF, Findings, Found, Hot, Job, Span
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from dedupver.digests import Rows
    from dedupver.index.sequences import Sequences
    from dedupver.schema import Kind

NAMED: Final = 8
"""A sequence whose keys have more places than are looked at is in the hot buckets of so many of its matches."""


def search(kind: str, job: Job) -> Findings:
    """Write the new segment's table of seeds; return the verified matches of a kind, its hot buckets and its spans."""
    derive(kind, job.new, job.settings)
    what = EVIDENCE[kind]
    new = job.new.sequences(what)
    found, spans, parts = [], [], [np.empty((0, 3), np.int64)]
    for ordinal, segment in job.everything():
        old = segment.sequences(what)
        if not len(new.codes.values) or not len(old.codes.values):
            continue
        asked = _asked(job, kind, float(new.clock[0, 1]))
        hits = seeds.search(new.codes, old.codes, segment.seeds(what), asked, same=ordinal == SELF)
        found.append(job.verified(kind, ordinal, hits.pairs[:, 0], hits.pairs[:, 1]))
        spans.append(_span(ordinal, hits.spans, new, old, 8 * new.codes.values.itemsize))
        parts.append(_crowded(found[-1], hits.pairs))
    return Findings(found, _hot(np.concatenate(parts), job, what), spans)


def span_recall(kind: str, job: Job) -> float | None:
    """Return the share of spans around the middles of a sample that the search found; None where there are none.

    The sample is that of `index.recall`; brute force lays the middle of each beside every place of every other content,
    of which the first `bucket_cap` of a segment count.
    """
    what, found = EVIDENCE[kind], 0
    new, listed = job.new.sequences(what), _listed(kind, job)
    chosen = np.flatnonzero(new.codes.sizes)[: job.settings.recall_sample]
    true = 0
    for _, segment in job.everything() if len(chosen) else []:
        asked = _asked(job, kind, float(new.clock[0, 1]))
        old = segment.sequences(what).codes
        place, row = sequences.sharing(new.codes, chosen, old, asked.codes, asked.similarity)
        if segment is job.new:
            place, row = place[row != chosen[place]], row[row != chosen[place]]
        first = np.arange(len(place)) - np.searchsorted(place, place) < job.settings.bucket_cap
        left, right = job.new.content(what.modality)[chosen[place[first]]], segment.content(what.modality)[row[first]]
        pairs = [frozenset(map(bytes, pair)) for pair in zip(left, right, strict=True)]
        true, found = true + len(pairs), found + sum(pair in listed for pair in pairs)
    return round(found / true, 6) if true else None


def _listed(kind: str, job: Job) -> set[frozenset[bytes]]:
    spans = job.new.spans()
    rows = spans.filter(pc.equal(spans["kind"], kind))
    return set(map(frozenset, zip(rows["left"].to_pylist(), rows["right"].to_pylist(), strict=True)))


def _asked(job: Job, kind: str, step: float) -> seeds.Asked:
    """Return what is looked for in sequences of so many milliseconds a code."""
    floor, span = job.settings.floor.of(kind), job.settings.spans.of(kind)
    return seeds.Asked(job.settings.bucket_cap, floor, max(math.ceil(span.seconds * 1000 / step), 1), span.similarity)


def _span(ordinal: int, spans: Rows, new: Sequences, old: Sequences, bits: int) -> Span:
    """Turn codes into milliseconds."""
    left, right, start, stop, other, agreed, heard = spans.T
    edges = [(new.clock[left], start), (new.clock[left], stop)]
    edges += [(old.clock[right], other), (old.clock[right], other + stop - start)]
    millis = [np.rint(clock[:, 0] + code * clock[:, 1].astype(np.float64)) for clock, code in edges]
    whole = np.maximum(np.stack(millis, axis=1).astype(np.int64), 0)
    return Span(ordinal, left, right, whole, (agreed / (bits * heard)).astype(np.float32))


def _crowded(found: Found, pairs: Rows) -> Rows:
    """Return (row, segment, its row) of the matches of rows whose keys had more places than were looked at."""
    cut = np.isin(found.left, pairs[pairs[:, 2] > 0, 0])
    left, right = found.left[cut], found.right[cut]
    return np.stack([left, np.full(len(left), found.segment), right], axis=1)


def _hot(crowded: Rows, job: Job, what: Kind) -> list[Hot]:
    """Make a bucket of each match that comes first to some crowded row: it, and those rows."""
    ordinal = np.where(crowded[:, 1] == SELF, len(job.base.segments), crowded[:, 1])
    crowded = crowded[np.lexsort((crowded[:, 2], ordinal, crowded[:, 0]))]
    first = np.arange(len(crowded)) - np.searchsorted(crowded[:, 0], crowded[:, 0]) < NAMED
    hot = []
    for ordinal in np.unique(crowded[first, 1]).tolist():
        left, _, right = crowded[first & (crowded[:, 1] == ordinal)].T
        group = leading(job.segment(ordinal).content(what.modality)[right])  # the same in every version
        hot += [Hot(SELF, group, left), Hot(ordinal, group, right)]
    return hot
