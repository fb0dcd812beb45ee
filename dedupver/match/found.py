"""What a search works on, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.index.structures import similarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.index.segment import Index, Segment

SELF: Final = -1
"""Ordinal that stands for the new segment among the segments searched."""


@dataclass(frozen=True)
class Found:
    """Verified matches of one kind: rows of the new segment with rows of one segment."""

    segment: int  # ordinal in the base, or SELF
    left: Rows
    right: Rows
    score: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Hot:
    """Members of hot buckets: rows of one segment."""

    segment: int
    group: npt.NDArray[np.uint64]
    row: Rows


class Span(NamedTuple):
    """What rows of the new segment share with rows of one segment for a while; every array has shape (m,)."""

    segment: int
    left: Rows
    right: Rows
    millis: npt.NDArray[np.int64]  # (m, 4): from and to of the left, from and to of the right
    score: npt.NDArray[np.float32]


class Findings(NamedTuple):
    """What a search returns."""

    matches: list[Found]
    hot: list[Hot]
    spans: Sequence[Span] = ()


@dataclass(frozen=True)
class Job:
    """The segment being made, which holds its fingerprints already, the base and the settings."""

    new: Segment
    base: Index
    settings: params.Match

    def everything(self) -> list[tuple[int, Segment]]:
        """Return every segment to search, with its ordinal; the new one last."""
        return [*enumerate(self.base.segments), (SELF, self.new)]

    def segment(self, ordinal: int) -> Segment:
        """Return a segment by its ordinal."""
        return self.new if ordinal == SELF else self.base.segments[ordinal]

    def verified(self, kind: str, ordinal: int, left: Rows, right: Rows) -> Found:
        """Return those candidates, rows of the new segment and of another, that reach the floor."""
        floor = self.settings.floor.of(kind)
        score = similarity(kind, self.new, left, self.segment(ordinal), right, floor)
        good = score >= np.float32(floor)
        return Found(ordinal, left[good], right[good], score[good])


def one_group(ordinal: int, rows: Rows) -> list[Hot]:
    """Return some rows as members of the one hot bucket of their kind."""
    return [Hot(ordinal, np.zeros(len(rows), np.uint64), rows)] if len(rows) else []
