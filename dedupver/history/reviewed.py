"""What people said of records that were published: who of them is judged again for it, though history is frozen.

A line that is there is heard, and so is one that was taken away since the base. Nobody else is judged again, but for
those who had been dropped for one who is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.history.present import Mask, Present, mask_of
from dedupver.history.unread import rows_of
from dedupver.resolve import leaks
from dedupver.resolve.nodes import order_of
from dedupver.schema import SIZES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dedupver import params
    from dedupver.digests import Rows

    Pair = frozenset[str]

ORDERED: Final = ["id", "role", "bytes", *SIZES, "source", "split", "time", "quality"]
"""What says which of two records goes first."""


class Said(NamedTuple):
    """What people say of pairs of records (left, right, label), and what they had said at the base."""

    now: Sequence[tuple[str, str, str]]
    before: Sequence[tuple[str, str, str]] = ()

    def pairs(self) -> tuple[set[Pair], set[Pair]]:
        """Return the pairs that can part a dropped record from the one it went for, and that can join two kept ones."""
        now, before = _labelled(self.now), _labelled(self.before)
        apart = now["different"] | (before["same"] - now["same"])
        return apart, now["same"] | (before["different"] - now["different"])


def reopened(present: Present, stays: Mask, said: Said, settings: params.Dedup) -> Mask:
    """Return which of the base's records, that are there as they were (`stays`), are judged again for what was said.

    A dropped one, where the pair that it makes with its representative may be one no more; and of two kept ones that
    may be a pair now the later, by splits and the keep policy.
    """
    opened = np.zeros(len(stays), np.bool_)
    apart, together = said.pairs()
    if not apart and not together:
        return opened
    ids, went_for = present.known["id"], present.known["representative"]
    left, right = _rows(apart, ids, stays)
    for mine, its in ((left, right), (right, left)):
        same = pc.equal(went_for.take(pa.array(mine)), ids.take(pa.array(its)))
        opened[mine[pc.fill_null(same, fill_value=False).to_numpy()]] = True
    opened &= present.did("drop")
    opened[_later(present, *_rows(together, ids, stays & present.did("keep")), settings)] = True
    return opened


def _labelled(said: Sequence[tuple[str, str, str]]) -> dict[str, set[Pair]]:
    """Return the pairs of each label; of a pair that has both it is `same` that counts."""
    same = {frozenset((left, right)) for left, right, label in said if label == "same"}
    return {"same": same, "different": {frozenset((left, right)) for left, right, _ in said} - same}


def _rows(pairs: Collection[Pair], ids: pa.ChunkedArray, among: Mask) -> tuple[Rows, Rows]:
    """Return the rows of pairs of which both records are among some."""
    two = sorted(tuple(sorted(pair)) for pair in pairs if len(pair) == 2)
    names = sorted({name for pair in two for name in pair})
    row = rows_of(pa.chunked_array([names], pa.string()), ids)
    row[(row >= 0) & ~np.append(among, np.False_)[row]] = -1
    place = {name: at for name, at in zip(names, row.tolist(), strict=True) if at >= 0}
    found = [(place[a], place[b]) for a, b in two if a in place and b in place]
    left, right = np.array(found, np.int64).reshape(-1, 2).T
    return left, right


def _later(present: Present, left: Rows, right: Rows, settings: params.Dedup) -> Rows:
    """Return of each pair of rows the later in the order of judging; a reference is none."""
    rows, place = np.unique(np.concatenate([left, right]), return_inverse=True)
    records = present.base.state(ORDERED, rows)
    data = pc.equal(records["role"], "data").to_numpy()
    turn = np.empty(len(rows), np.int64)
    turn[order_of(records, data.astype(np.int64), leaks.sides(records, settings), settings)] = np.arange(len(rows))
    first, second = place[: len(left)], place[len(left) :]
    later = np.where(turn[first] > turn[second], first, second)
    return rows[mask_of(len(rows), later) & data]
