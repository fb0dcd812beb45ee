"""Across modalities: how well records' own captions fit, and texts that say what another record's image shows.

Nothing here decides: how alike an image and a text are is a matter of degree, and of the model. What a rule drops
for it is not among the kept, and so not told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa

from dedupver.digests import Digests, Lookup, Rows, numbered, of_column
from dedupver.resolve.captions import CAPTION, IMAGE
from dedupver.schema import CAPTIONED, REPORTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt

    from dedupver.resolve.evidence import Scores

LOWEST: Final = 20
"""So many captions that fit their image worst are reported."""

UNLIKE: Final = "caption_unlike_image"


class Fits(NamedTuple):
    """What is known of images and texts that fit each other."""

    of: Callable[[Digests, Digests], Scores]  # pairs of an image and a text, shapes (m, 32)
    close: Iterable[pa.RecordBatch]  # schema FIT
    at_least: float


def across(kept: pa.Table, names: Mapping[str, str], fits: Fits) -> tuple[pa.Table, pa.Table]:
    """Return how well captions fit their images (schema CAPTIONED), and what else is to be reported (schema REPORTED).

    `kept` are all kept records, sorted by id (columns id, parts and fresh): a pair is told of once, in the version to
    which one of the two is new.
    """
    contents, parts = numbered(kept["parts"], list(names))
    fit = captioned(kept["id"], parts, names, lambda image, text: fits.of(contents[image], contents[text]))
    found = elsewhere(kept, parts, names, contents, fits)
    return fit, pa.concat_tables([unlike(fit), found])


def captioned(
    ids: pa.ChunkedArray, parts: Rows, names: Mapping[str, str], fit: Callable[[Rows, Rows], Scores]
) -> pa.Table:
    """Return how well the image and the caption of each record fit (schema CAPTIONED), the worst first.

    `parts`, shape (n, parts), has the numbers of contents. Records that lack one, or a vector of one, are not
    listed.
    """
    if not {IMAGE, CAPTION} <= names.keys():
        return CAPTIONED.empty_table()
    image, caption = (parts[:, list(names).index(part)] for part in (IMAGE, CAPTION))
    rows = np.flatnonzero((image >= 0) & (caption >= 0))
    score = fit(image[rows], caption[rows]).astype(np.float64)
    rows, score = rows[~np.isnan(score)], score[~np.isnan(score)]
    order = np.argsort(score, kind="stable")
    return pa.table([ids.take(pa.array(rows[order])), pa.array(score[order])], schema=CAPTIONED)


def unlike(fits: pa.Table) -> pa.Table:
    """Return the captions that fit their image worst (schema REPORTED): both sides are the one record."""
    worst = fits.slice(0, LOWEST)
    case, kind = (pa.array([word] * worst.num_rows, pa.string()) for word in (UNLIKE, "joint"))
    return pa.table([case, worst["id"], worst["id"], kind, worst["score"]], schema=REPORTED)


def cases(names: Mapping[str, str]) -> dict[str, str]:
    """Return what is reported of each part that is a text: that it says what another record's image shows."""
    return {f"{name}_fits_other_image": name for name, modality in names.items() if modality == "text"}


def elsewhere(kept: pa.Table, parts: Rows, names: Mapping[str, str], contents: Digests, fits: Fits) -> pa.Table:
    """Return images and texts of different records that fit each other (schema REPORTED): left the image's record.

    Of records that share an image or a text the first stands for all. A text that stands beside the same image, or an
    image beside the same text, tells nothing new.
    """
    ids, fresh = kept["id"], kept["fresh"].to_numpy()
    lookup, tables = Lookup(contents), [REPORTED.empty_table()]
    images = _first_holders(parts, [n for n, its in enumerate(names.values()) if its == "image"], len(contents))
    own = _Pairs(parts, names)
    for batch in fits.close:
        image, text = (lookup.find(of_column(batch[side])) for side in ("image", "text"))
        score = batch["score"].to_numpy()
        good = (image >= 0) & (text >= 0) & (score >= np.float32(fits.at_least))
        image, text, score = image[good], text[good], score[good]
        for case, name in cases(names).items():
            left, right = images[image], _first_holders(parts, [list(names).index(name)], len(contents))[text]
            told = (left >= 0) & (right >= 0) & (left != right) & ~own.have(image, text)
            told &= fresh[left] | fresh[right]
            ends = (ids.take(pa.array(end[told])) for end in (left, right))
            words = (pa.array([word] * int(told.sum()), pa.string()) for word in (case, "joint"))
            first, kind = words
            tables.append(pa.table([first, *ends, kind, score[told].astype(np.float64)], schema=REPORTED))
    return pa.concat_tables(tables)


def _first_holders(parts: Rows, columns: list[int], count: int) -> Rows:
    """Return for each of `count` contents the first row that holds it in one of some columns, -1 for none."""
    found = np.full(count + 1, -1)
    for column in columns[::-1]:
        found[parts[::-1, column]] = np.arange(len(parts))[::-1]
    return found[:count]


class _Pairs:
    """The images and texts that are beside each other in a record."""

    def __init__(self, parts: Rows, names: Mapping[str, str]) -> None:
        images, texts = ([n for n, its in enumerate(names.values()) if its == wanted] for wanted in ("image", "text"))
        keys = [(parts[:, i] << 32) | parts[:, t] for i in images for t in texts]
        both = [(parts[:, i] >= 0) & (parts[:, t] >= 0) for i in images for t in texts]
        self._keys = np.unique(
            np.concatenate([np.empty(0, np.int64), *(k[b] for k, b in zip(keys, both, strict=True))])
        )

    def have(self, image: Rows, text: Rows) -> npt.NDArray[np.bool_]:
        return np.isin((image << 32) | text, self._keys)
