"""The joint space: vectors of images and of texts in one space, a row each content, in the segments like all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dedupver.index import vectors
from dedupver.index.segment import groups
from dedupver.schema import JOINT

if TYPE_CHECKING:
    from dedupver.digests import Digests
    from dedupver.index.segment import Index

Scores = npt.NDArray[np.float32]


def fit(index: Index, images: Digests, texts: Digests) -> Scores:
    """Return the cosine of each image with its text, shape (m,), negative ones as 0; NaN where one has no vector."""
    (image_segment, image), (text_segment, text) = (index.locate(m, d) for m, d in (("image", images), ("text", texts)))
    scores = np.full(len(images), np.nan, np.float32)
    known = (image_segment >= 0) & (text_segment >= 0)
    for at in groups(np.where(known, image_segment * len(index.segments) + text_segment, -1)):
        if not known[at[0]]:
            continue
        a = index.segments[image_segment[at[0]]].every(JOINT["image"])
        b = index.segments[text_segment[at[0]]].every(JOINT["text"])
        if len(a) and len(b):
            there = ~(np.isnan(a[image[at], 0]) | np.isnan(b[text[at], 0]))
            scores[at[there]] = vectors.cosine(a, image[at[there]], b, text[at[there]])
    return scores
