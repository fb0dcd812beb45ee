"""Columns of parts that are opened where they lie: what `Strings` is to parts that are held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from dedupver.records.payload import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from dedupver.digests import Rows


@dataclass(frozen=True, eq=False)
class Streams:
    """Rows of the struct STREAM, none of them null."""

    rows: pa.StructArray

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Stream]:
        """Yield each stream."""
        return (Stream(**row.as_py()) for row in self.rows)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of bytes of each stream, shape (n,)."""
        sizes: npt.NDArray[np.int64] = self.rows.field("size").to_numpy()
        return sizes

    def take(self, rows: Rows) -> Self:
        """Return the streams of some rows."""
        return type(self)(self.rows.take(pa.array(rows)))

    def sha256(self) -> list[bytes]:
        """Return the digest (32 bytes) of each stream, made when it was read."""
        digests: list[bytes] = self.rows.field("sha256").to_pylist()
        return digests
