"""Who is judged, beside whom, and what becomes of each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.history.present import Mask, Present, Seen, look, mask_of
from dedupver.history.reviewed import Said, reopened
from dedupver.index.joint import fit
from dedupver.resolve import Case, Verdicts, leaks, met, resolve
from dedupver.resolve.evidence import across, least
from dedupver.resolve.involved import Batches, Ties, involved
from dedupver.schema import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.index.segment import Index

TIED: Final = ["id", "parts", "role", "split"]
"""What says which records there is something to judge of."""

JUDGED: Final = ["id", "role", "parts", "bytes", *SIZES, "source", "split", "time", "quality", "label"]
"""What a record is judged by."""


@dataclass(frozen=True)
class Decided:
    """What became of those that are seen, a row each."""

    seen: Seen
    kept: Mask
    dropped: Mask
    representative: pa.ChunkedArray  # ids, of the dropped in their order
    said: pa.Table  # schema SAID, likewise
    reported: pa.Table  # schema REPORTED
    unverified: int


def decide(present: Present, index: Index, said: Said, given: params.Params) -> Decided:
    """Decide on every record that is new or that something happened to; all others stay as they were."""
    frozen = given.dedup.history == "frozen"
    kept = present.did("keep")
    stays = present.resting | mask_of(len(kept), present.at[present.carried])
    again = reopened(present, stays, said, given.dedup) if frozen else present.resting & (kept | present.did("drop"))
    lost = present.known["id"].filter(pa.array(kept & (~stays | again & frozen))).combine_chunks()
    if frozen and len(lost):  # no more what was kept, or perhaps not
        again |= present.did("drop") & pc.is_in(present.known["representative"], lost).to_numpy()
    seen = look(present, np.flatnonzero(present.resting & again))
    mine = np.append(again, np.False_)[seen.at]
    settled = frozen & seen.carried & seen.did("drop") & ~mine
    bench = _Bench(
        seen,
        judged=np.flatnonzero(seen.records["code"].is_null().to_numpy() & ~settled),
        held=frozen & seen.carried & seen.did("keep") & ~mine,
        others=np.flatnonzero(present.resting & kept & ~again) if frozen else np.empty(0, np.int64),
    )
    return _judge(present, bench, index, said.now, given)


class _Bench(NamedTuple):
    """Who is there when judgement is passed."""

    seen: Seen
    judged: Rows  # of those seen
    held: Mask  # which of those seen were published, and stay whatever comes
    others: Rows  # rows of the base that were published, and did not come


def _judge(
    present: Present, bench: _Bench, index: Index, reviews: Sequence[tuple[str, str, str]], given: params.Params
) -> Decided:
    """Judge those that something is known of; the rest of the judged are kept."""
    seen, judged = bench.seen, bench.judged
    mine, theirs, names, matches = _involved(present, bench, index, reviews, given)
    records = pa.concat_tables([seen.records.select(JUDGED).take(pa.array(mine)), present.base.state(JUDGED, theirs)])
    held, counted = bench.held[mine], pc.equal(records["role"], "data").to_numpy()
    always = np.ones(len(theirs), np.bool_)
    forced = np.append(held | ~counted[: len(mine)], always)
    case = Case(
        parts=names,
        records=records,
        rank=np.where(forced, 0, np.where(np.append(seen.carried[mine], always), 1, 2)).astype(np.int64),
        forced=forced,
        counted=counted,
        fresh=np.append(~held, ~always),
        matches=matches(),
        hot=index.hot(),
        reviews=reviews,
        scorer=index.scorer,
        fit=partial(fit, index),
        sets=index.sets,
    )
    verdicts = resolve(case, given.dedup) if len(mine) else Verdicts.none()
    goes = mine[~verdicts.keep[: len(mine)]]
    dropped = mask_of(len(seen.at), goes)
    representative = records["id"].take(pa.array(verdicts.representative[~verdicts.keep]))
    kept = mask_of(len(seen.at), judged) & ~dropped
    return Decided(seen, kept, dropped, representative, verdicts.said, verdicts.reported, verdicts.unverified)


def _involved(
    present: Present, bench: _Bench, index: Index, reviews: Sequence[tuple[str, str, str]], given: params.Params
) -> tuple[Rows, Rows, Mapping[str, str], Batches]:
    """Return whom of those seen, and of the others, there is something to judge of; all parts they have; matches."""
    new = ~bench.held[bench.judged]
    if not new.any():
        return np.empty(0, np.int64), np.empty(0, np.int64), {}, tuple
    seen = bench.seen.records.select(TIED).take(pa.array(bench.judged))
    others = present.base.state(TIED, bench.others)
    records = pa.concat_tables([seen, others])
    names = met(given.source.parts, records["parts"])
    overlaps = leaks.overlaps(records, names, index, given.dedup)
    matches = partial(_matches, index, given.dedup, overlaps)
    ties, bounds = Ties(matches, index.hot, reviews), least(given.dedup, given.source.parts)
    wanted = involved(records, np.append(new, np.zeros(others.num_rows, np.bool_)), list(names), ties, bounds)
    return bench.judged[wanted[: len(new)]], bench.others[wanted[len(new) :]], names, matches


def _matches(index: Index, settings: params.Dedup, overlaps: pa.Table) -> Iterator[pa.RecordBatch]:
    """Return what is known of pairs of contents, across modalities only where a rule asks for it (schema MATCH)."""
    asked = any("joint" in rule for rule in settings.rules)
    return itertools.chain(index.matches(), across(index.fits()) if asked else (), overlaps.to_batches())
