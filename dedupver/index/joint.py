"""The joint spaces: vectors of what is seen or heard and of texts, in the segments like all others.

An image and a sound have one vector, a video one for each of some pictures: it fits a text as its best picture does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.index import vectors
from dedupver.index.segment import groups
from dedupver.schema import ACROSS

if TYPE_CHECKING:
    from dedupver.digests import Digests, Rows
    from dedupver.index.segment import Index, Segment
    from dedupver.schema import Kind

Scores = npt.NDArray[np.float32]

MILLIS: Final = "millis"
"""How the array ends that says when each vector is of what a video shows."""


class Fit(NamedTuple):
    """How well pairs fit, shapes (m,)."""

    score: Scores  # the cosine, negative ones as 0; NaN where one has no vector
    millis: Rows  # when a video shows what fits best; -1: it is no video


def fit(index: Index, media: Digests, texts: Digests) -> Scores:
    """Return how well each image, video or sound fits its text, shape (m,); NaN where one has no vector."""
    return best(index, media, texts).score


def best(index: Index, media: Digests, texts: Digests) -> Fit:
    """Return how well each image, video or sound fits its text, and when."""
    found = Fit(np.full(len(media), np.nan, np.float32), np.full(len(media), -1))
    text_segment, text = index.locate("text", texts)
    for modality, kinds in ACROSS.items():
        segment, row = index.locate(modality, media)
        known = (segment >= 0) & (text_segment >= 0)
        for at in groups(np.where(known, segment * len(index.segments) + text_segment, -1)):
            if known[at[0]]:
                a, b = (index.segments[each[at[0]]] for each in (segment, text_segment))
                found.score[at], found.millis[at] = between(kinds, a, b, row[at], text[at])
    return found


def between(kinds: tuple[Kind, Kind], a: Segment, b: Segment, media: Rows, texts: Rows) -> Fit:
    """Return how well contents of one segment fit texts of another, by rows."""
    seen, said = a.every(kinds[0]), b.every(kinds[1])
    if not len(seen) or not len(said):
        return Fit(np.full(len(media), np.nan, np.float32), np.full(len(media), -1))
    several = a.vectors_each(kinds[0])
    flat, rows = seen.reshape(-1, seen.shape[-1]), media[:, None] * several + np.arange(several)
    scores = vectors.cosine(flat, rows.ravel(), said, np.repeat(texts, several)).reshape(rows.shape)
    there = ~np.isnan(flat[rows, 0]) & ~np.isnan(said[texts, 0])[:, None]
    first = np.where(there, scores, -1).argmax(axis=1)
    pair = np.arange(len(media))
    times = a.array(f"{kinds[0].modality}.{kinds[0].measure}.{MILLIS}", np.full((len(seen), 1), -1))
    score = np.where(there[pair, first], scores[pair, first], np.float32(np.nan))
    return Fit(score, np.where(np.isnan(score), -1, times[media, first]))
