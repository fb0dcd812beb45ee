"""How much a search finds: some of the new contents against everything by brute force, beside what was listed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Digests, Rows, to_column
from dedupver.index import codes, hnsw, sets
from dedupver.schema import EVIDENCE, MATCH, RECALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dedupver.index.segment import Segment

Scores = npt.NDArray[np.float32]
Pairs = tuple[Rows, Rows, Scores]
"""(place in the sample, row of a segment, score) of pairs at or above the floor, ascending."""
Search = Callable[["Segment"], Pairs]
"""Lists the pairs of the sample with a segment, by brute force; of each place the first `cap` but its own."""

_TOGETHER: Final = 16  # vectors compared with all others in one pass


def measure(  # noqa: PLR0913 - a measurement has this many settings
    kind: str, new: Segment, base: Sequence[Segment], *, floor: float, sample: int, cap: int
) -> pa.Table:
    """Return the true matches of `sample` new contents, and whether each was found (schema RECALL).

    The sample is the contents with the smallest digests, which are as good as random. Each counts with at most `cap`
    contents of a segment: a hot bucket would list the whole of itself.
    """
    chosen = _comparable(kind, new)[:sample]
    if not len(chosen):
        return RECALL.empty_table()
    near = (
        _by_value(new, chosen, floor, cap)
        if EVIDENCE[kind][1] == "minhash"
        else _by_pair(kind, new, chosen, floor, cap)
    )
    lefts, rights, scores = [], [], []
    for segment in [*base, new]:
        place, row, score = near(segment)
        lefts.append(new.content(EVIDENCE[kind][0])[chosen[place]])
        rights.append(segment.content(EVIDENCE[kind][0])[row])
        scores.append(score)
    left, right = np.concatenate(lefts), np.concatenate(rights)
    found = known_pairs(kind, new.matches(), [s.hot() for s in [new, *base]], left, right)
    columns = [pa.repeat(kind, len(left)), to_column(left), to_column(right), np.concatenate(scores), found]
    return pa.Table.from_arrays([pa.array(c) for c in columns], schema=RECALL)


def known_pairs(
    kind: str, matches: pa.Table, hot: Iterable[pa.Table], left: Digests, right: Digests
) -> npt.NDArray[np.bool_]:
    """Return for each pair whether it was found: it is among the matches, or both are in one hot bucket."""
    wanted = pa.array({bytes(d) for d in left} | {bytes(d) for d in right}, type=MATCH.field("left").type)
    of_sample = pc.and_(pc.is_in(matches["left"], wanted), pc.is_in(matches["right"], wanted))
    rows = matches.filter(pc.and_(pc.equal(matches["kind"], kind), of_sample))
    pairs = set(zip(rows["left"].to_pylist(), rows["right"].to_pylist(), strict=True))
    groups: dict[bytes, set[int]] = {}
    for table in hot:
        mine = table.filter(pc.and_(pc.equal(table["kind"], kind), pc.is_in(table["content"], wanted)))
        for group, content in zip(mine["group"].to_pylist(), mine["content"].to_pylist(), strict=True):
            groups.setdefault(content, set()).add(group)
    found = [
        (a, b) in pairs or (b, a) in pairs or bool(groups.get(a, set()) & groups.get(b, set()))
        for a, b in zip(map(bytes, left), map(bytes, right), strict=True)
    ]
    return np.array(found, dtype=np.bool_)


def _comparable(kind: str, segment: Segment) -> Rows:
    """Return the rows that have a fingerprint of the kind."""
    if EVIDENCE[kind][1] == "minhash":
        return np.flatnonzero(np.diff(segment.sets().offsets) > 0)
    return _values(kind, segment)[1]


def _values(kind: str, segment: Segment) -> tuple[npt.NDArray[Any], Rows]:
    """Return the codes or vectors of a kind, and their rows."""
    modality, measured = EVIDENCE[kind]
    return segment.codes() if measured == "phash" else segment.vectors(modality)


def _by_value(new: Segment, chosen: Rows, floor: float, cap: int) -> Search:
    postings = sets.Postings.of(new.sets(), chosen)
    return lambda segment: sets.neighbours(postings, segment.sets(), floor, cap, chosen if segment is new else None)


def _by_pair(kind: str, new: Segment, chosen: Rows, floor: float, cap: int) -> Search:
    near = codes.neighbours if EVIDENCE[kind][1] == "phash" else hnsw.exact_neighbours
    values, numbers = _values(kind, new)
    mine = values[np.searchsorted(numbers, chosen)]

    def search(segment: Segment) -> Pairs:
        (theirs, rows), own = _values(kind, segment), chosen if segment is new else None
        parts = []
        for start in range(0, len(mine), _TOGETHER):
            place, at, score = near(mine[start : start + _TOGETHER], theirs, floor)
            parts.append(_first_others(own, start + place, rows[at], score, cap))
        place, row, score = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return place, row, score

    return search


def _first_others(own: Rows | None, place: Rows, row: Rows, score: Scores, cap: int) -> Pairs:
    """Return the first `cap` pairs of each place, without those of a row with itself."""
    if own is not None:
        other = row != own[place]
        place, row, score = place[other], row[other], score[other]
    first = np.arange(len(place)) - np.searchsorted(place, place) < cap
    return place[first], row[first], score[first]
