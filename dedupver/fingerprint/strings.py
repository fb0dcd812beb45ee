"""Columns of byte strings where Arrow has put them: millions of texts without a Python object each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.compiled import njit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dedupver.digests import Rows


@dataclass(frozen=True, eq=False)
class Strings:
    """Byte strings in one buffer: string i is `buffer[starts[i]:stops[i]]`; strings may overlap and leave gaps."""

    buffer: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]  # (n,)
    stops: npt.NDArray[np.int64]  # (n,)

    def __post_init__(self) -> None:
        """Protect the buffer; kernels are compiled once, for arrays that are read alone."""
        self.buffer.flags.writeable = False

    @classmethod
    def of_list(cls, strings: Iterable[bytes]) -> Self:
        """Return the strings of a list, one after the other."""
        held = list(strings)
        edges = np.cumsum([0, *map(len, held)])
        return cls(np.frombuffer(b"".join(held), np.uint8), edges[:-1], edges[1:])

    @classmethod
    def of_column(cls, column: pa.LargeBinaryArray) -> Self:
        """Return the strings of an Arrow array, without a copy; that of a null is empty."""
        _, offsets, data = column.buffers()
        edges = np.frombuffer(offsets, np.int64)[column.offset :][: len(column) + 1].copy()
        return cls(np.frombuffer(data or b"", np.uint8), edges[:-1], edges[1:])

    @classmethod
    def joined(cls, columns: Sequence[Strings]) -> Strings:
        """Return the strings of some columns side by side, with a space between those that are not empty."""
        first, *others = columns
        space, nothing = (pa.scalar(each, pa.large_binary()) for each in (b" ", b""))
        whole, given = first.column(), first.sizes > 0
        for other in others:
            more = other.sizes > 0
            between = pc.if_else(pa.array(given & more), space, nothing)
            whole = pc.binary_join_element_wise(whole, between, other.column(), nothing)
            given |= more
        return cls.of_column(whole) if others else first

    def packed(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Return the bytes of all strings, one after the other, and where each begins and the last ends: (n + 1,)."""
        edges = np.append(0, np.cumsum(self.sizes))
        out = np.empty(edges[-1], np.uint8)
        _copy(self.buffer, self.starts, self.stops, edges, out)
        out.flags.writeable = False
        return out, edges

    def column(self) -> pa.LargeBinaryArray:
        """Return the strings as an Arrow array."""
        data, edges = self.packed()
        return pa.Array.from_buffers(pa.large_binary(), len(self), [None, pa.py_buffer(edges), pa.py_buffer(data)])

    def __len__(self) -> int:
        """Return the number of strings."""
        return len(self.starts)

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the bytes of each string, without a copy."""
        whole = self.buffer.data
        for start, stop in zip(self.starts.tolist(), self.stops.tolist(), strict=True):
            yield whole[start:stop]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of bytes of each string, shape (n,)."""
        return self.stops - self.starts

    def take(self, rows: Rows) -> Self:
        """Return the strings of some rows, without a copy of their bytes."""
        return type(self)(self.buffer, self.starts[rows], self.stops[rows])

    def replace(self, rows: Rows, others: Strings) -> Self:
        """Return the strings with `others`, of the same number, in place of those of some rows."""
        starts, stops = self.starts.copy(), self.stops.copy()
        starts[rows], stops[rows] = (edges + len(self.buffer) for edges in (others.starts, others.stops))
        return type(self)(np.concatenate([self.buffer, others.buffer]), starts, stops)

    def sha256(self) -> list[bytes]:
        """Return the digest (32 bytes) of each string."""
        return [hashlib.sha256(string).digest() for string in self]


@njit(cache=True)
def _copy(
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    edges: npt.NDArray[np.int64],
    out: npt.NDArray[np.uint8],
) -> None:
    for i in range(len(starts)):
        out[edges[i] : edges[i + 1]] = buffer[starts[i] : stops[i]]
