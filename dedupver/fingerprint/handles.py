"""Columns of parts that are opened where they lie: what `Strings` is to parts that are held in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from dedupver.fingerprint.strings import Strings
from dedupver.records.payload import Handle

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from dedupver.digests import Rows
    from dedupver.fingerprint.look import Payloads


def payloads(column: pa.Array) -> Payloads[Any]:
    """Return a column of parts as raw records have it (schema.raw_schema): Handles, or Strings of what is held."""
    return Handles(column) if pa.types.is_struct(column.type) else Strings.of_column(column)


@dataclass(frozen=True, eq=False)
class Handles:
    """Rows of the struct HANDLE, none of them null."""

    rows: pa.StructArray

    def __len__(self) -> int:
        """Return the number of handles."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Handle]:
        """Yield each handle."""
        return (Handle(**row.as_py()) for row in self.rows)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of bytes of each part, shape (n,)."""
        sizes: npt.NDArray[np.int64] = self.rows.field("size").to_numpy()
        return sizes

    def take(self, rows: Rows) -> Self:
        """Return the handles of some rows."""
        return type(self)(self.rows.take(pa.array(rows)))

    def sha256(self) -> list[bytes]:
        """Return the digest (32 bytes) of each part, made when it was read."""
        digests: list[bytes] = self.rows.field("sha256").to_pylist()
        return digests
