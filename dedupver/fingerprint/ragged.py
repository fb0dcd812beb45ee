"""Rows of different lengths in two arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.digests import Rows


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows in CSR form: row i is `values[offsets[i]:offsets[i + 1]]`."""

    offsets: npt.NDArray[np.int64]  # (n + 1,)
    values: npt.NDArray[Any]  # (m,), uint32 unless something else is said

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of values in each row, shape (n,)."""
        return np.diff(self.offsets)

    @classmethod
    def of_rows(cls, rows: Sequence[npt.NDArray[Any]]) -> Self:
        """Return rows that are arrays of their own."""
        values = np.concatenate(rows) if rows else np.empty(0, np.uint32)
        return cls(np.cumsum([0, *map(len, rows)]), values)

    @classmethod
    def joined(cls, several: Sequence[Ragged]) -> Self:
        """Return the rows of each, one after the other."""
        sizes = [np.zeros(1, np.int64), *(each.sizes for each in several)]
        values = [each.values for each in several] or [np.empty(0, np.uint32)]
        return cls(np.cumsum(np.concatenate(sizes)), np.concatenate(values))

    @classmethod
    def beside(cls, several: Sequence[Ragged]) -> Self:
        """Return the rows of each beside each other: row i has the values of every row i, in the order given."""
        offsets = np.sum([each.offsets for each in several], axis=0)
        values, at = np.empty(offsets[-1], several[0].values.dtype), offsets[:-1].copy()
        for each in several:
            _put(each.offsets, each.values, at, values)
        return cls(offsets, values)

    def take(self, rows: Rows) -> Ragged:
        """Return some rows."""
        offsets = np.append(0, np.cumsum(self.sizes[rows]))
        values = np.empty(offsets[-1], self.values.dtype)
        _take(self.offsets, self.values, rows, offsets, values)
        return Ragged(offsets, values)


@njit(cache=True)
def _put(offsets: npt.NDArray[np.int64], values: npt.NDArray[Any], at: Rows, out: npt.NDArray[Any]) -> None:
    """Copy each row to its place, and move the place on."""
    for i in range(len(at)):
        size = offsets[i + 1] - offsets[i]
        out[at[i] : at[i] + size] = values[offsets[i] : offsets[i + 1]]
        at[i] += size


@njit(cache=True)
def _take(
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    rows: Rows,
    places: npt.NDArray[np.int64],
    out: npt.NDArray[Any],
) -> None:
    for i in range(len(rows)):
        out[places[i] : places[i + 1]] = values[offsets[rows[i]] : offsets[rows[i] + 1]]
