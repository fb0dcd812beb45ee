"""Several captions of one picture: records that differ in their caption alone, of which a policy keeps the best.

A policy is an order and a rule. In the order in which records are judged, those of one picture change places with each
other so that the best caption comes first; a record of a protected kind, or of another split, stays before the others.
The rule makes all of them duplicates. So what is kept is kept as ever: by direct match with one that is kept already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from dedupver.digests import Rows
from dedupver.resolve.evidence import Keys, Scores, in_sorted, pair_key
from dedupver.resolve.rules import Edges, Rule, Term, joined

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from dedupver import params

IMAGE: Final = "image"
CAPTION: Final = "caption"
REASON: Final = "other_caption_of"

Fit = Callable[[Rows, Rows], Scores]
"""Gives how well images and captions fit each other, by the numbers of their contents, shapes (m,)."""


def applies(names: Mapping[str, str], settings: params.Dedup) -> bool:
    """Return whether there are captioned pictures, and a policy for them."""
    return settings.captions != "all" and {IMAGE, CAPTION} <= names.keys()


def rule(names: Mapping[str, str], settings: params.Dedup) -> Rule:
    """Return what stands for the policy where decisions say by which rule they were made."""
    terms = (Term(list(names).index(IMAGE)),)
    return Rule(f"captions: {settings.captions}", terms, same_parts=False, reason=REASON)


def pictures(parts: Rows, names: Mapping[str, str]) -> Rows:
    """Return for each row of content numbers, shape (n, parts), the number of its picture: equal but for the caption.

    It is -1 where a picture or a caption is lacking.
    """
    image, caption = (list(names).index(part) for part in (IMAGE, CAPTION))
    number = _numbered(np.delete(parts, caption, axis=1))
    return np.where((parts[:, image] >= 0) & (parts[:, caption] >= 0), number, -1)


def best_first(order: Rows, pictures_: Rows, before: Rows, worth: npt.NDArray[Any]) -> Rows:
    """Return the order in which those of one picture that have the same `before` go by their worth, the best first.

    All but `order`, which lists the rows, have shape (n,) by row. Equals stay in order.
    """
    place = np.flatnonzero(pictures_[order] >= 0)
    rows = order[place]
    group = _numbered(np.stack([pictures_[rows], before[rows]], axis=1))
    changed = order.copy()
    changed[place[np.lexsort((place, group))]] = rows[np.lexsort((place, -worth[rows], group))]
    return changed


def worth(
    records: pa.Table, parts: Rows, names: Mapping[str, str], settings: params.Dedup, fit: Fit
) -> npt.NDArray[Any]:
    """Return what a record's caption is worth under the policy, more is better; shape (n,)."""
    if settings.captions == "longest":
        return records["chars"].to_numpy()
    if settings.captions == "quality":
        return pc.fill_null(records["quality"], -np.inf).to_numpy()
    image, caption = (parts[:, list(names).index(part)] for part in (IMAGE, CAPTION))
    found = np.zeros(len(parts), np.float32)
    both = (image >= 0) & (caption >= 0)
    found[both] = np.nan_to_num(fit(image[both], caption[both]))
    return found


def buckets(pictures_: Rows) -> tuple[Keys, int]:
    """Return nodes that share their picture, as `bucket << 32 | node`, and the number of buckets."""
    nodes = np.flatnonzero(pictures_ >= 0)
    number, bucket, size = np.unique(pictures_[nodes], return_inverse=True, return_counts=True)
    shared = size[bucket] > 1
    packed = (bucket[shared].astype(np.uint64) << np.uint64(32)) | nodes[shared].astype(np.uint64)
    return packed, len(number)


def beside(usual: Edges, number: int, pictures_: Rows, left: Rows, right: Rows) -> Edges:
    """Add to what rules say of pairs of nodes those that share their picture, by rule `number`, if no rule has them."""
    same = (pictures_[left] >= 0) & (pictures_[left] == pictures_[right])
    same &= ~in_sorted(pair_key(left, right), np.sort(pair_key(usual.left, usual.right)))
    low, high = np.minimum(left, right)[same], np.maximum(left, right)[same]
    one, none = np.ones(len(low), np.float32), np.full(len(low), -1)
    return joined([usual, Edges(low, high, one, one, none, np.full(len(low), number))])


def _numbered(rows: Rows) -> Rows:
    """Number distinct rows."""
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)
