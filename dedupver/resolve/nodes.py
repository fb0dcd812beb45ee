"""Who is judged, and in which order: records with equal contents are one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.resolve.evidence import Mask


_MOST: Final = 1 << 63


@dataclass(frozen=True)
class Nodes:
    """Nodes, numbered in the order in which they are judged."""

    parts: Rows  # of each record the number of each part's content, -1 where it has no such part; shape (n, parts)
    of_record: Rows  # shape (n,)
    head: Rows  # the first record of each node, shape (m,)
    contents: Rows  # parts of the head, shape (m, parts)

    @classmethod
    def of(cls, parts: Rows, order: Rows, apart: Mask, sides: Rows | None = None) -> Self:
        """Join records of one side with equal parts, but for those to stay `apart`; `order` lists all records."""
        sides = np.zeros(len(order), np.int64) if sides is None else sides
        first = int(sides.max(initial=0)) + 1
        group, span = np.where(apart, np.arange(first, len(order) + first), sides), len(order) + first
        for column in parts.T:
            width = int(column.max(initial=-1)) + 2
            if span * width > _MOST:  # number the groups anew, so that the next numbers fit
                group, span = _as_they_come(group), len(order)
            group, span = group * width + column + 1, span * width
        number = _as_they_come(group[order])
        node = np.empty(len(order), np.int64)
        node[order] = number
        head = order[np.append(-1, np.maximum.accumulate(number))[:-1] < number]
        return cls(parts, node, head, parts[head])

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.head)

    def part_sets(self) -> set[tuple[int, ...]]:
        """Return the sets of parts that nodes have."""
        places = range(self.contents.shape[1])
        bits = np.unique((self.contents >= 0) @ (1 << np.arange(len(places))))
        return {tuple(part for part in places if bit >> part & 1) for bit in bits.tolist()}


def order_of(records: pa.Table, rank: Rows, sides: Rows, settings: params.Dedup) -> Rows:
    """Return the rows in the order they are judged: who stays whatever comes, side, rank, split, keep policy, id."""
    keys = [rank > 0, sides, rank, place_in(records["split"], settings.splits)]
    for name in settings.keep:
        keys += _criterion(records, name, settings)
    rows = _by_id(records["id"])
    for key in reversed(keys):
        if (key != key[:1]).any():  # most of them say the same of all records
            rows = rows[np.argsort(key[rows], kind="stable")]
    return rows


def _by_id(ids: pa.ChunkedArray) -> Rows:
    """Return the rows in the order of their ids, which they are in already unless a caller has others."""
    if pc.all(pc.less(ids.slice(0, max(len(ids) - 1, 0)), ids.slice(1))).as_py():
        return np.arange(len(ids))
    return pc.sort_indices(ids).to_numpy().astype(np.int64)


def _as_they_come(values: Rows) -> Rows:
    """Number values in the order in which they first come: by hashing, which takes no sorting."""
    return pa.array(values).dictionary_encode().indices.to_numpy().astype(np.int64)


def _criterion(records: pa.Table, name: str, settings: params.Dedup) -> list[npt.NDArray[Any]]:
    """Return the sort keys of a keep policy, smaller first; ids always decide last, which is all that `first` asks."""
    pixels, millis, size = (records[column].to_numpy() for column in ("pixels", "millis", "bytes"))
    if name == "largest":
        return [-pixels, np.where((pixels > 0) | (millis > 0), -size, 0)]  # of two of one size the less compressed
    if name == "longest":
        return [-records["chars"].to_numpy(), -millis]
    if name == "quality":
        return [-pc.fill_null(records["quality"], -np.inf).to_numpy()]
    if name == "newest":
        filled = pc.fill_null(records["time"], "")
        return [-pc.rank(filled, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)]
    return [place_in(records["source"], settings.sources)] if name == "source" else []


def place_in(column: pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the place of each value among some names, which comes after all of them for any other."""
    place = pc.index_in(column, pa.array(names, pa.string()))
    return pc.fill_null(place, len(names)).to_numpy().astype(np.float64)
