"""How much a search finds: some of the new contents against everything by brute force, beside what was listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Digests, to_column
from dedupver.index.structures import STRUCTURES
from dedupver.schema import EVIDENCE, MATCH, RECALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dedupver.index.segment import Segment


def measure(  # noqa: PLR0913 - a measurement has this many settings
    kind: str, new: Segment, base: Sequence[Segment], *, floor: float, sample: int, cap: int
) -> pa.Table:
    """Return the true matches of `sample` new contents, and whether each was found (schema RECALL).

    The sample is the contents with the smallest digests, which are as good as random. Each counts with at most `cap`
    contents of a segment: a hot bucket would list the whole of itself.
    """
    what = EVIDENCE[kind]
    structure = STRUCTURES[what.structure]
    chosen = structure.comparable(what, new)[:sample]
    if not len(chosen):
        return RECALL.empty_table()
    near = structure.nearest(what, new, chosen, floor, cap)
    lefts, rights, scores = [], [], []
    for segment in [*base, new]:
        place, row, score = near(segment)
        lefts.append(new.content(what.modality)[chosen[place]])
        rights.append(segment.content(what.modality)[row])
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
