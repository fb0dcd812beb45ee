"""Which files that differ have blocks in common, and what storing each block once would save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dedupver.blocks.cut import File

MOST: Final = 10_000
"""So many pairs of files are listed."""

CROWD: Final = 64
"""Of a block that is in more files no pairs are counted: their number grows with its square."""

_BATCH: Final = 1 << 22  # pairs of files and blocks held at a time

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two files that differ and have blocks in common; a block that both have several times counts as often."""

    left: str
    right: str
    blocks: int
    bytes: int
    of_left: float  # share of the bytes
    of_right: float


@dataclass(frozen=True)
class Found:
    """See blocks.Shared."""

    distinct: int
    blocks: int
    pairs: list[Pair]
    left_out: int
    crowded: int


def shared(files: Sequence[File]) -> Found:
    """Compare distinct contents; each stands under the path of the first file that has it."""
    firsts = list({file.content: file for file in reversed(files)}.values())[::-1]
    firsts.sort(key=lambda file: file.path)
    owner, block, size, times = _holdings(firsts)
    held = np.bincount(block, minlength=len(size)) if len(block) else np.zeros(0, np.int64)
    crowded = int(size[held > CROWD].sum())
    few = (held[block] > 1) & (held[block] <= CROWD)
    keys, blocks, total = _added(owner[few], block[few], size, times[few], len(firsts))
    order = np.lexsort((keys, -total))
    sizes = [int(file.sizes.sum()) for file in firsts]
    pairs = []
    for at in order[:MOST].tolist():
        left, right = divmod(int(keys[at]), len(firsts))
        shares = total[at] / sizes[left], total[at] / sizes[right]
        ends = str(firsts[left].path), str(firsts[right].path)
        pairs.append(Pair(*ends, int(blocks[at]), int(total[at]), *(round(float(share), 6) for share in shares)))
    return Found(sum(sizes), int(size.sum()), pairs, max(len(keys) - MOST, 0), crowded)


def _holdings(files: Sequence[File]) -> tuple[Ints, Ints, Ints, Ints]:
    """Return who holds which block and how often, by block and then by file, shapes (m,); and each block's size."""
    digests = np.concatenate([np.empty((0, 2), np.uint64), *(file.digests for file in files)])
    sizes = np.concatenate([np.empty(0, np.int64), *(file.sizes for file in files)])
    owner = np.repeat(np.arange(len(files)), [len(file.sizes) for file in files])
    order = np.lexsort((owner, digests[:, 1], digests[:, 0]))
    digests, owner = digests[order], owner[order]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (digests[1:] != digests[:-1]).any(axis=1)
    block = np.cumsum(fresh) - 1
    first = fresh.copy()
    first[1:] |= owner[1:] != owner[:-1]
    times = np.diff(np.append(np.flatnonzero(first), len(order)))
    return owner[first], block[first], sizes[order][fresh], times


def _added(owner: Ints, block: Ints, size: Ints, times: Ints, files: int) -> tuple[Ints, Ints, Ints]:
    """Return the pairs of files, packed as left · files + right, with the number and the bytes of their blocks."""
    added = tuple(np.empty(0, np.int64) for _ in range(3))
    for left, right in _pairs(block):
        common = np.minimum(times[left], times[right])
        more = owner[left] * files + owner[right], common, common * size[block[left]]
        keys, *amounts = (np.concatenate(both) for both in zip(added, more, strict=True))
        keys, place = np.unique(keys, return_inverse=True)
        added = keys, *(np.bincount(place, of).astype(np.int64) for of in amounts)
    keys, blocks, total = added
    return keys, blocks, total


def _pairs(block: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Give the pairs of places of equal numbers in an ascending array, some at a time, the first place left."""
    for step in range(0, len(block), _BATCH // CROWD):
        here = np.arange(step, min(step + _BATCH // CROWD, len(block)))
        lefts = [np.empty(0, np.int64)]
        rights = [np.empty(0, np.int64)]
        for apart in range(1, CROWD):
            here = here[here + apart < len(block)]
            here = here[block[here] == block[here + apart]]
            lefts.append(here)
            rights.append(here + apart)
        yield np.concatenate(lefts), np.concatenate(rights)
