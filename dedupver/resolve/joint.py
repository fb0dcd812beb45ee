"""Across modalities: how well records' own captions fit, and texts that say what another record shows or lets hear.

Nothing here decides: how alike a text and what is none are is a matter of degree, and of the model. What a rule drops
for it is not among the kept, and so not told of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Digests, Lookup, Rows, numbered, of_column
from dedupver.resolve.captions import CAPTION
from dedupver.schema import ACROSS, CAPTIONED, REPORTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from dedupver import params
    from dedupver.index.joint import Fit

LOWEST: Final = 20
"""So many captions that fit what they are of worst are reported, of images, of videos and of sounds."""

CAPTIONS: Final = (*ACROSS,)
"""The parts that a caption may be of: those that are called like their modality."""


class Fits(NamedTuple):
    """What is known of contents and texts that fit each other."""

    of: Callable[[Digests, Digests], Fit]  # pairs of what is no text and a text, shapes (m, 32)
    close: Iterable[pa.RecordBatch]  # schema FIT
    at_least: float


def across(kept: pa.Table, names: Mapping[str, str], fits: Fits) -> tuple[pa.Table, pa.Table]:
    """Return how well captions fit (schema CAPTIONED), and what else is to be reported (schema REPORTED).

    `kept` are all kept records, sorted by id (columns id, parts and fresh): a pair is told of once, in the version to
    which one of the two is new.
    """
    contents, parts = numbered(kept["parts"], list(names))
    fit = captioned(kept["id"], parts, names, lambda media, text: fits.of(contents[media], contents[text]))
    found = elsewhere(kept, parts, names, contents, fits)
    return fit, pa.concat_tables([unlike(fit), found])


def captioned(
    ids: pa.ChunkedArray, parts: Rows, names: Mapping[str, str], fit: Callable[[Rows, Rows], Fit]
) -> pa.Table:
    """Return how well the caption of each record fits its image, video or sound (schema CAPTIONED), the worst first.

    `parts`, shape (n, parts), has the numbers of contents. Records that lack one, or a vector of one, are not
    listed.
    """
    tables = [CAPTIONED.empty_table()]
    for part in [part for part in CAPTIONS if {part, CAPTION} <= names.keys()]:
        media, caption = (parts[:, list(names).index(name)] for name in (part, CAPTION))
        rows = np.flatnonzero((media >= 0) & (caption >= 0))
        found = fit(media[rows], caption[rows])
        there = ~np.isnan(found.score)
        rows, score, millis = rows[there], found.score[there].astype(np.float64), found.millis[there]
        its = pa.array([part] * len(rows), pa.string())
        columns = [ids.take(pa.array(rows)), its, pa.array(score), pa.array(millis, pa.int64(), mask=millis < 0)]
        tables.append(pa.table(columns, schema=CAPTIONED))
    return pa.concat_tables(tables).sort_by([(name, "ascending") for name in ("score", "id", "part")])


def unlike(fits: pa.Table) -> pa.Table:
    """Return the captions that fit worst (schema REPORTED): both sides are the one record."""
    tables = [REPORTED.empty_table()]
    for part in CAPTIONS:
        worst = fits.filter(pc.equal(fits["part"], part)).slice(0, LOWEST)
        case, kind = (pa.array([word] * worst.num_rows, pa.string()) for word in (unlike_case(part), "joint"))
        columns = [case, worst["id"], worst["id"], kind, worst["score"], worst["millis"]]
        tables.append(pa.table(columns, schema=REPORTED))
    return pa.concat_tables(tables)


def unlike_case(part: str) -> str:
    """Return what a caption is called that is among those that fit such a part worst."""
    return f"caption_unlike_{part}"


def spaces(settings: params.Joint) -> list[str]:
    """Return the modalities that texts can be compared with."""
    asked = {"image": settings.encoder, "video": settings.encoder, "audio": settings.sounds}
    return [modality for modality, encoder in asked.items() if encoder]


def cases(names: Mapping[str, str], modalities: Sequence[str]) -> list[str]:
    """Return what is reported where records may have some parts: all cases, those too of which there are none."""
    there = [modality for modality in modalities if modality in names.values()]
    texts = [name for name, modality in names.items() if modality == "text"]
    captions = [unlike_case(part) for part in there if part in names and CAPTION in names]
    return captions + [_case(text, modality) for modality in there for text in texts]


def _case(text: str, modality: str) -> str:
    return f"{text}_fits_other_{modality}"


def elsewhere(kept: pa.Table, parts: Rows, names: Mapping[str, str], contents: Digests, fits: Fits) -> pa.Table:
    """Return texts that fit what another record holds (schema REPORTED): left the record of what is no text.

    Of records that share a content or a text the first stands for all. A text that stands beside the same content
    anywhere, or a content beside the same text, tells nothing new.
    """
    lookup, tables = Lookup(contents), [REPORTED.empty_table()]
    holders = {
        which: _first_holders(parts, [n for n, its in enumerate(names.values()) if its == which], len(contents))
        for which in ACROSS
    }
    texts = {
        name: _first_holders(parts, [n], len(contents)) for n, (name, its) in enumerate(names.items()) if its == "text"
    }
    own = _Pairs(parts, names)
    for batch in fits.close:
        media, text = (lookup.find(of_column(batch[side])) for side in ("media", "text"))
        good = (media >= 0) & (text >= 0) & (batch["score"].to_numpy() >= np.float32(fits.at_least))
        good[good] = ~own.have(media[good], text[good])
        rows = np.flatnonzero(good)
        for modality, of_media in holders.items():
            for name, of_text in texts.items():
                ends = of_media[media[rows]], of_text[text[rows]]
                tables += _told(kept, _case(name, modality), ends, batch.take(pa.array(rows)))
    return pa.concat_tables(tables)


def _told(kept: pa.Table, case: str, ends: tuple[Rows, Rows], fits: pa.RecordBatch) -> Iterator[pa.Table]:
    """Yield the pairs of two kept records of which one is new."""
    fresh, (left, right) = kept["fresh"].to_numpy(), ends
    told = (left >= 0) & (right >= 0) & (left != right) & (fresh[left] | fresh[right])
    if told.any():
        first, kind = (pa.array([word] * int(told.sum()), pa.string()) for word in (case, "joint"))
        said = fits.filter(pa.array(told))
        ids = (kept["id"].take(pa.array(end[told])) for end in ends)
        columns: list[Any] = [first, *ids, kind, said["score"].cast(pa.float64()), said["millis"]]
        yield pa.table(columns, schema=REPORTED)


def _first_holders(parts: Rows, columns: list[int], count: int) -> Rows:
    """Return for each of `count` contents the first row that holds it in one of some columns, -1 for none."""
    found = np.full(count + 1, -1)
    for column in columns[::-1]:
        found[parts[::-1, column]] = np.arange(len(parts))[::-1]
    return found[:count]


class _Pairs:
    """The contents and texts that are beside each other in a record."""

    def __init__(self, parts: Rows, names: Mapping[str, str]) -> None:
        media, texts = ([n for n, its in enumerate(names.values()) if its in which] for which in (ACROSS, {"text"}))
        keys = [(parts[:, m] << 32) | parts[:, t] for m in media for t in texts]
        both = [(parts[:, m] >= 0) & (parts[:, t] >= 0) for m in media for t in texts]
        self._keys = np.unique(
            np.concatenate([np.empty(0, np.int64), *(k[b] for k, b in zip(keys, both, strict=True))])
        )

    def have(self, media: Rows, text: Rows) -> npt.NDArray[np.bool_]:
        return np.isin((media << 32) | text, self._keys)
