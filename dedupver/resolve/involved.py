"""Which records have to be judged: those of which something is known besides what they hold.

A newcomer that shares no content, match, hot bucket or review with another record is kept: no rule can speak of it. One
that was judged before has to be there only where a newcomer may be dropped for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Digests, Lookup, Rows, first_of_each, of_column, of_parts, ranked
from dedupver.resolve.evidence import Mask, by_kind, strong

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


Batches = Callable[[], Iterable[pa.RecordBatch]]

NONE: Final = np.empty((0, 32), np.uint8)


class Ties(NamedTuple):
    """What is known of pairs of contents and of records; the batches may be asked for more than once."""

    matches: Batches  # schema MATCH
    hot: Batches  # schema HOT
    reviews: Sequence[tuple[str, str, str]]


def involved(
    records: pa.Table, new: Mask, names: Sequence[str], ties: Ties, bounds: tuple[Mapping[str, float], set[str]]
) -> Mask:
    """Return which records have to be judged.

    `records` has the columns id and parts, `new`, shape (n,), says which are newcomers; `bounds` is what `least` says.
    """
    digests, record, _ = of_parts(records["parts"], "content", names)
    fresh = new[record]
    contents, number = ranked(digests[fresh])
    search = _Search(contents)
    search.busy |= np.bincount(number, minlength=len(contents)) > 1
    for batch in strong(ties.matches(), bounds[0]):
        search.meet(batch)
    search.gather(ties.hot, bounds[1])
    wanted = _reviewed(records["id"], ties.reviews)
    theirs = digests[~fresh]
    place = search.lookup.find(theirs)
    search.busy[place[place >= 0]] = True
    wanted[record[fresh][search.busy[number]]] = True
    wanted[record[~fresh][(place >= 0) | search.beyond().has(theirs)]] = True
    return wanted


class _Search:
    """The contents of the newcomers; which of them are tied to another, and to which that no newcomer holds."""

    def __init__(self, contents: Digests) -> None:
        self.lookup = Lookup(contents)
        self.busy = np.zeros(len(contents), np.bool_)
        self._others: list[Digests] = [NONE]

    def beyond(self) -> Lookup:
        """Return the contents of others."""
        others = np.concatenate(self._others)
        return Lookup(others[first_of_each(others)])

    def meet(self, batch: pa.RecordBatch) -> None:
        """Take in some matches."""
        ends = [of_column(batch[end]) for end in ("left", "right")]
        places = [self.lookup.find(end) for end in ends]
        known = (places[0] >= 0) | (places[1] >= 0)
        for end, place in zip(ends, places, strict=True):
            self._tie(end[known], place[known])

    def gather(self, hot: Batches, kinds: set[str]) -> None:
        """Take in the hot buckets that have a newcomer's content."""
        groups: dict[str, Any] = {}
        for batch in hot():
            for kind, rows in by_kind(batch, self.lookup.has(of_column(batch["content"]))):
                if kind in kinds:
                    mine = batch["group"].to_numpy()[rows]
                    groups[kind] = np.union1d(groups.get(kind, mine), mine)
        for batch in hot() if groups else ():
            for kind, rows in by_kind(batch, np.ones(batch.num_rows, np.bool_)):
                if kind in groups:
                    members = of_column(batch["content"])[rows[np.isin(batch["group"].to_numpy()[rows], groups[kind])]]
                    self._tie(members, self.lookup.find(members))

    def _tie(self, contents: Digests, place: Rows) -> None:
        self.busy[place[place >= 0]] = True
        self._others.append(contents[place < 0])


def _reviewed(ids: pa.ChunkedArray, reviews: Sequence[tuple[str, str, str]]) -> Mask:
    names = sorted({name for left, right, _ in reviews for name in (left, right)})
    named: Mask = pc.is_in(ids, pa.array(names, pa.string())).to_numpy()
    return np.array(named)  # to be written to
