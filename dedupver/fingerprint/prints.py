"""Fingerprints of distinct contents as arrays, in ascending order of content: those of a chunk, and those of all."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver import store
from dedupver.digests import Rows, first_of_each, leading, of_list, order
from dedupver.fingerprint.ragged import Ragged
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

Arrays = dict[str, npt.NDArray[Any] | Ragged]

OFFSETS, VALUES = "offsets", "values"
"""How the two arrays of rows of different lengths end."""

BLOCK_ROWS: Final = 1 << 15
CHUNK_ROWS: Final = 128
"""A block of a merge has so many rows, and on average so many of each chunk, that opening its files is worth it."""


@dataclass
class Prints:
    """Fingerprints of a chunk's distinct contents of one modality, in the order in which they are met.

    `number` holds n content digests; each batch maps a name (sets, phash, embedding) to the values of some consecutive
    rows: an array, or rows of different lengths.
    """

    number: dict[bytes, int] = field(default_factory=dict)
    batches: list[Arrays] = field(default_factory=list)

    def add(self, arrays: Arrays) -> None:
        """Append rows, whose contents `number` has already."""
        self.batches.append(arrays)

    def write(self, out: Path, modality: str) -> None:
        """Write an array for each name, two for rows of different lengths, and let the rows go."""
        if not self.batches:
            return
        content = of_list(list(self.number))
        rows = order(content)
        np.save(out / f"{modality}.content.npy", content[rows])
        for name, first in list(self.batches[0].items()):
            path = f"{modality}.{name}"
            values: list[Any] = [batch.pop(name) for batch in self.batches]
            if isinstance(first, Ragged):
                ragged = Ragged.joined(values).take(rows)
                np.save(out / f"{path}.{OFFSETS}.npy", ragged.offsets)
                np.save(out / f"{path}.{VALUES}.npy", ragged.values)
            else:
                np.save(out / f"{path}.npy", np.concatenate(values)[rows])


def merge_prints(chunks: Sequence[Path], out: Path, modality: str, leave: Collection[str] = ()) -> int:
    """Merge what `Prints.write` has written for each chunk, one row for each distinct content; return their number.

    A block of the result is made at a time, from the rows of a range of digests: these are consecutive in each chunk.
    Arrays that have no row for each content are to be left, by name.
    """
    holders = [_Holder(chunk, modality) for chunk in chunks if (chunk / f"{modality}.content.npy").exists()]
    holders = [holder for holder in holders if holder.array("content").shape[0]]
    if not holders:
        return 0
    blocks = _blocks(holders)
    count = sum(len(block.rows) for block in blocks)
    for name in sorted(set(holders[0].names()) - set(leave)):
        base, _, kind = name.rpartition(".")
        if kind == OFFSETS:
            _merge_ragged(blocks, out / f"{modality}.{base}", base)
        elif kind != VALUES:
            like = _alike(holders, name)
            made = (block.dense(name) for block in blocks)
            store.write_blocks(out / f"{modality}.{name}.npy", made, (count, *like.shape[1:]), like.dtype)
    return count


def _alike(holders: Sequence[_Holder], name: str) -> store.Stored:
    """Return an array whose rows are like those of all."""
    widths = sorted({holder.array(name).shape[1:] for holder in holders})
    if len(widths) > 1:
        sizes = " and ".join(str(width[-1]) for width in widths)
        raise SourceError(f"there are vectors of {sizes} numbers: set fingerprint.vector.dim to what is to be indexed")
    return holders[0].array(name)


def _merge_ragged(blocks: Sequence[_Block], path: Path, name: str) -> None:
    sizes = np.concatenate([block.sizes(name) for block in blocks])
    offsets = np.append(0, np.cumsum(sizes))
    store.write_array(path.with_name(f"{path.name}.{OFFSETS}.npy"), offsets)
    dtype = blocks[0].slices[0][0].array(f"{name}.{VALUES}").dtype
    values = (block.ragged(name).values for block in blocks)
    store.write_blocks(path.with_name(f"{path.name}.{VALUES}.npy"), values, (int(offsets[-1]),), dtype)


class _Holder:
    """The arrays of a chunk."""

    def __init__(self, path: Path, modality: str) -> None:
        self._path, self._modality = path, modality
        self.array = functools.cache(self._open)

    def names(self) -> list[str]:
        """Return what they are called."""
        begin = len(self._modality) + 1
        return [path.stem[begin:] for path in sorted(self._path.glob(f"{self._modality}.*.npy"))]

    def _open(self, name: str) -> store.Stored:
        return store.Stored(self._path / f"{self._modality}.{name}.npy")

    def ragged(self, name: str, start: int, stop: int) -> Ragged:
        """Return rows `start` to `stop`."""
        offsets = self.array(f"{name}.{OFFSETS}").rows(start, stop + 1)
        return Ragged(offsets - offsets[0], self.array(f"{name}.{VALUES}").rows(int(offsets[0]), int(offsets[-1])))


@dataclass(frozen=True, eq=False)
class _Block:
    """The rows of a range of digests: from where to where each chunk has them, and which of all those to take."""

    slices: Sequence[tuple[_Holder, int, int]]
    rows: Rows

    def dense(self, name: str) -> npt.NDArray[Any]:
        return _joined(self.slices, name)[self.rows]

    def sizes(self, name: str) -> npt.NDArray[np.int64]:
        offsets = f"{name}.{OFFSETS}"
        held = [np.diff(holder.array(offsets).rows(start, stop + 1)) for holder, start, stop in self.slices]
        return np.concatenate(held)[self.rows]

    def ragged(self, name: str) -> Ragged:
        return Ragged.joined([holder.ragged(name, start, stop) for holder, start, stop in self.slices]).take(self.rows)


def _blocks(holders: Sequence[_Holder]) -> list[_Block]:
    """Cut the range of digests, which are spread evenly, into blocks."""
    contents = [leading(holder.array("content").rows(0, holder.array("content").shape[0])) for holder in holders]
    count = -(-sum(map(len, contents)) // max(BLOCK_ROWS, CHUNK_ROWS * len(holders)))
    edges = np.array([k * 2**64 // count for k in range(1, count)], np.uint64)
    cuts = [[0, *np.searchsorted(content, edges).tolist(), len(content)] for content in contents]
    blocks = []
    for k in range(count):
        slices = [(holder, cut[k], cut[k + 1]) for holder, cut in zip(holders, cuts, strict=True)]
        blocks.append(_Block(slices, first_of_each(_joined(slices, "content"))))
    return blocks


def _joined(slices: Sequence[tuple[_Holder, int, int]], name: str) -> npt.NDArray[Any]:
    return np.concatenate([holder.array(name).rows(start, stop) for holder, start, stop in slices])
