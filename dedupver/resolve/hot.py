"""Hot buckets: too large for all their pairs to be listed, so only who is in them is known."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dedupver.digests import Lookup, Rows, of_column
from dedupver.index.lsh import distinct
from dedupver.resolve.evidence import Keys, Mask, by_kind, by_number
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import pyarrow as pa

COMPARED: Final = 1_000
"""So many comparisons a member, on average, may one hot bucket cost: all pairs of 2,000 that are mutually unlike."""

Small = npt.NDArray[np.int32]


class Buckets(NamedTuple):
    """Which nodes share hot buckets, both ways in CSR form; members are in ascending order."""

    starts: Rows
    members: Small
    node_starts: Rows
    of_node: Small

    @classmethod
    def of(cls, packed: Keys, buckets: int, nodes: int) -> Self:
        """Take memberships in any order and as often as they come: `bucket << 32 | node`, shape (m,)."""
        half = np.uint64(32)
        packed = distinct(packed)
        turned = np.sort((packed << half) | (packed >> half))
        return cls(*_csr(packed, buckets), *_csr(turned, nodes))


def gather(  # noqa: PLR0913, PLR0917 - all that is known of the nodes
    batches: Iterable[pa.RecordBatch],
    lookup: Lookup,
    nodes: Rows,
    modalities: Sequence[str],
    kinds: Collection[str],
    others: tuple[Keys, int] = (np.empty(0, np.uint64), 0),
) -> tuple[dict[str, Mask], Buckets]:
    """Return by kind which contents are hot, and the buckets of some kinds, beside `others` and their number.

    `batches` have the schema HOT, `lookup` numbers contents, `nodes` holds these numbers, shape (n, parts), and
    `modalities` says what each part is. A bucket of texts is one of bodies and one of captions: the two are never
    compared.
    """
    hot: dict[str, Mask] = {}
    numbers: dict[tuple[str, int, int], int] = {}
    holders = functools.cache(lambda part: _Holders(nodes[:, part]))
    packed: list[Keys] = []
    for batch in batches:
        content = lookup.find(of_column(batch["content"]))
        for kind, rows in by_kind(batch, content >= 0):
            hot.setdefault(kind, np.zeros(len(lookup), bool))[content[rows]] = True
            groups, inverse = np.unique(batch["group"].to_numpy()[rows], return_inverse=True)
            for part in _parts(kind, modalities) if kind in kinds else []:
                number = [numbers.setdefault((kind, part, group), len(numbers)) for group in groups.tolist()]
                at, node = holders(part).of(content[rows])
                packed.append((np.array(number, np.uint64)[inverse[at]] << np.uint64(32)) | node.astype(np.uint64))
    found = _renumbered(np.concatenate([np.empty(0, np.uint64), *packed]), list(numbers), others[1])
    return hot, Buckets.of(np.concatenate([others[0], found]), others[1] + len(numbers), len(nodes))


def _renumbered(packed: Keys, buckets: list[tuple[str, int, int]], first: int) -> Keys:
    """Number buckets by what they are, from `first` on: when they are met depends on how the index is cut."""
    order, place = sorted(range(len(buckets)), key=buckets.__getitem__), np.empty(len(buckets), np.uint64)
    place[order] = np.arange(first, first + len(buckets), dtype=np.uint64)
    half = np.uint64(32)
    return (place[packed >> half] << half) | (packed & np.uint64(0xFFFFFFFF)) if len(packed) else packed


class _Holders:
    """Answers which nodes hold a content in one part."""

    def __init__(self, column: Rows) -> None:
        self._node = by_number(column)
        self._content = column[self._node]

    def of(self, content: Rows) -> tuple[Rows, Rows]:
        """Return the places in `content` and the nodes that hold what is there, shape (m,) each."""
        start = np.searchsorted(self._content, content)
        count = np.searchsorted(self._content, content, side="right") - start
        place = np.repeat(np.arange(len(content)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return place, self._node[start[place] + within]


def _parts(kind: str, modalities: Sequence[str]) -> list[int]:
    return [part for part, modality in enumerate(modalities) if modality == EVIDENCE[kind].modality]


def _csr(packed: Keys, count: int) -> tuple[Rows, Small]:
    """Return where each of `count` rows starts, and the columns, of `row << 32 | column` in ascending order."""
    starts = np.searchsorted(packed, np.arange(count + 1, dtype=np.uint64) << np.uint64(32))
    return starts, (packed & np.uint64(0xFFFFFFFF)).astype(np.int32)
