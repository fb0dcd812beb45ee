"""Evidence: a sparse list of scored pairs of contents for each kind, and what is verified only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params
from dedupver.digests import Rows
from dedupver.schema import ACROSS, EVIDENCE, MATCH, NGRAM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Scores = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]
Score = Callable[[Rows, Rows, float], Scores]
"""Gives the exact similarity of pairs of contents, named by their numbers, shapes (m,); 0 may stand for any below."""

SCORED: Final = EVIDENCE | {"joint": ACROSS["image"][1], "ngram": NGRAM}
"""All that pairs of contents are scored by: kinds within a modality, a text with what is none, a text in another."""


class Hot(NamedTuple):
    """Which of all contents are in hot buckets, so that no pair of them is listed, and what verifies such pairs."""

    among: Mask
    score: Score


class Evidence:
    """Scored pairs of content numbers, by kind, for look-up in both directions."""

    def __init__(self, hot: dict[str, Hot]) -> None:
        """Start with none listed."""
        self._keys: dict[str, Keys] = {k: np.empty(0, np.uint64) for k in SCORED}
        self._scores: dict[str, Scores] = {k: np.empty(0, np.float32) for k in SCORED}
        self._hot = hot

    def add(self, kind: str, left: Rows, right: Rows, score: Scores) -> None:
        """Add pairs; of a pair that was added before the first score stays."""
        keys = np.concatenate([self._keys[kind], pair_key(left, right)])
        self._keys[kind], first = np.unique(keys, return_index=True)
        self._scores[kind] = np.concatenate([self._scores[kind], score])[first]

    def pairs(self, kind: str, at_least: float) -> tuple[Rows, Rows]:
        """Return the pairs of a kind at or above a score."""
        keys = self._keys[kind][self._scores[kind] >= np.float32(at_least)]
        return (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def of(self, kind: str, left: Rows, right: Rows, at_least: float) -> Scores:
        """Return the score of each pair, 0 where there is none; pairs of hot contents are verified now."""
        keys = pair_key(left, right)
        place = np.searchsorted(self._keys[kind], keys)
        place[place == len(self._keys[kind])] = 0
        listed = self._keys[kind][place] == keys if len(self._keys[kind]) else np.zeros(len(keys), bool)
        scores = np.zeros(len(keys), np.float32)
        scores[listed] = self._scores[kind][place[listed]]
        if hot := self._hot.get(kind):
            open_ = np.flatnonzero(hot.among[left] & hot.among[right] & ~listed & (left != right))
            scores[open_] = hot.score(left[open_], right[open_], at_least)
        return scores


def least(settings: params.Dedup, parts: Mapping[str, str]) -> tuple[dict[str, float], set[str]]:
    """Return for each kind of evidence the least score that means anything, and the kinds that drop anything."""
    found = {kind: settings.thresholds.of(kind) for kind in EVIDENCE} | {"joint": 1.0}  # what fits is told elsewhere
    drops: set[str] = set(settings.similar)
    for rule in settings.rules:
        for term, value in rule.items():
            kind = params.evidence_of(term, parts)
            if kind and isinstance(value, float):
                found[kind] = min(found[kind], value)
                drops.add(kind)
    found |= {kind: min(found[kind], value) for kind, value in settings.leakage.thresholds.items()}
    return found | {"ngram": settings.leakage.ngrams or 0.0}, drops | {*settings.leakage.thresholds}


def across(fits: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Give contents and texts that fit each other (schema FIT) as matches (schema MATCH): the text is right."""
    for batch in fits:
        kind = pa.repeat(pa.scalar("joint"), batch.num_rows)
        yield pa.RecordBatch.from_arrays([kind, *(batch[name] for name in ("media", "text", "score"))], schema=MATCH)


def strong(matches: Iterable[pa.RecordBatch], bounds: Mapping[str, float]) -> Iterator[pa.RecordBatch]:
    """Give the matches (schema MATCH) that reach what is said of their kind, before anything is looked up for them."""
    for batch in matches:
        score, mask = batch["score"].to_numpy(), np.zeros(batch.num_rows, np.bool_)
        for kind, rows in by_kind(batch, np.ones(batch.num_rows, np.bool_)):
            mask[rows] = score[rows] >= np.float32(bounds[kind])
        yield batch.filter(pa.array(mask))


def by_kind(batch: pa.RecordBatch, among: Mask) -> Iterator[tuple[str, Rows]]:
    """Yield the kinds in a batch of matches or of hot members, and the rows of each among those wanted."""
    for kind in pc.unique(batch["kind"]).to_pylist():
        yield kind, np.flatnonzero(among & pc.equal(batch["kind"], kind).to_numpy(zero_copy_only=False))


def pair_key(left: Rows, right: Rows) -> Keys:
    """Return one number for each pair, the same whichever way round it is given."""
    low, high = np.minimum(left, right).astype(np.uint64), np.maximum(left, right).astype(np.uint64)
    return (low << np.uint64(32)) | high


def by_number(numbers: Rows) -> Rows:
    """Return the places of numbers, each an int32, in ascending order, equal ones as they come.

    Number and place are sorted as one word, for that is several times faster than argsort.
    """
    words = (numbers << 32) | np.arange(len(numbers))
    words.sort()
    return words & 0xFFFFFFFF


def in_sorted(values: npt.NDArray[np.generic], ordered: npt.NDArray[np.generic]) -> Mask:
    """Return which values are among the ascending `ordered`."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    place = np.searchsorted(ordered, values)
    place[place == len(ordered)] = 0
    return np.asarray(ordered[place] == values)
