"""What shares a bucket of a band of LSH is compared exactly: the search of all kinds that make bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dedupver.index import lsh
from dedupver.index.segment import groups
from dedupver.index.structures import similarity
from dedupver.match.found import SELF, Findings, Found, Hot, Job
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dedupver.digests import Rows
    from dedupver.index.bands import Band, Keys

Scores = npt.NDArray[np.float32]


def search(kind: str, job: Job, count: int, others: Sequence[Iterator[Band] | None]) -> Findings:
    """Return the verified matches of a kind, and the members of hot buckets.

    There are `count` bands. `others` are those of the base's segments, oldest first, that are not as written there;
    None: they are.
    """
    return _Search(kind, job, count, others).run()


class Verified:
    """Matches verified so far: packed pairs, ascending, and their scores."""

    def __init__(self) -> None:
        """Begin with none."""
        self.pairs, self.scores = np.empty(0, np.uint64), np.empty(0, np.float32)

    def missing(self, pairs: Keys) -> Keys:
        """Return those of some ascending pairs that are not among them."""
        if not len(self.pairs):
            return pairs
        place = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        return pairs[self.pairs[place] != pairs]

    def add(self, pairs: Keys, scores: Scores) -> None:
        """Take in pairs that were missing."""
        pairs, scores = np.concatenate([self.pairs, pairs]), np.concatenate([self.scores, scores])
        order = np.argsort(pairs, kind="stable")  # linear: there are two ascending runs
        self.pairs, self.scores = pairs[order], scores[order]


class _Search:
    """Contents are numbered through: the base's segments one after the other, then the new one."""

    def __init__(self, kind: str, job: Job, count: int, others: Sequence[Iterator[Band] | None]) -> None:
        self.kind, self.job, self.modality, self.count, self.others = kind, job, EVIDENCE[kind].modality, count, others
        self.sizes = [segment.size(self.modality) for segment in job.base.segments]
        self.first = np.cumsum([0, *self.sizes])

    def run(self) -> Findings:
        verified, hot = Verified(), [Hot(SELF, np.empty(0, np.uint64), np.empty(0, np.int64))]
        for pairs in lsh.batched(self._candidates(hot)):
            verified.add(*self._good(verified.missing(pairs)))
        left, right = lsh.unpacked(verified.pairs)
        found = [Found(s, left[at] - self.first[-1], row, verified.scores[at]) for s, at, row in self._rows(right)]
        return Findings(found, hot)

    def _candidates(self, hot: list[Hot]) -> Iterator[Keys]:
        """Give the pairs of all bands, band by band, and add the members of hot buckets to `hot`."""
        anew = [number for number, other in enumerate(self.others, start=1) if other is not None]
        since = int(self.first[max(anew, default=0)])
        for number in range(self.count):
            base = [
                segment.band(self.modality, number) if other is None else next(other)
                for segment, other in zip(self.job.base.segments, self.others, strict=True)
            ]
            mine = self.job.new.band(self.modality, number)
            found = lsh.candidates(mine, base, self.sizes, self.job.settings.bucket_cap, since)
            yield from found.pairs
            hot += [Hot(segment, found.group[at], row) for segment, at, row in self._rows(found.member)]

    def _good(self, pairs: Keys) -> tuple[Keys, Scores]:
        """Return the pairs at or above the floor, and their scores."""
        left, right = lsh.unpacked(pairs)
        scores, floor = np.empty(len(pairs), np.float32), self.job.settings.floor.of(self.kind)
        for segment, at, row in self._rows(right):
            mine, theirs = left[at] - self.first[-1], self.job.segment(segment)
            scores[at] = similarity(self.kind, self.job.new, mine, theirs, row, floor)
        good = scores >= np.float32(floor)
        return pairs[good], scores[good]

    def _rows(self, numbers: Rows) -> Iterator[tuple[int, Rows, Rows]]:
        """Give (segment, places in `numbers`, rows of the segment) of contents."""
        owner = np.searchsorted(self.first, numbers, side="right") - 1
        for at in groups(owner):
            ordinal = int(owner[at[0]])
            segment = SELF if ordinal == len(self.job.base.segments) else ordinal
            yield segment, at, numbers[at] - self.first[ordinal]
