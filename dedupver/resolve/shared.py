"""Parts that several kept records share: a caption of many pictures, a logo beside many texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dedupver.digests import to_column
from dedupver.schema import SHARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.digests import Digests, Rows


def shared(parts: Rows, names: Sequence[str], contents: Digests, ids: pa.ChunkedArray) -> pa.Table:
    """Return the contents that two or more records have in one part (schema SHARED).

    Of each part the most frequent come first. `parts` holds the number of each part's content among `contents`, -1 for
    none, shape (records, names).
    """
    tables = [_of_part(column, name, contents, ids) for column, name in zip(parts.T, names, strict=True)]
    return pa.concat_tables([SHARED.empty_table(), *tables])


def _of_part(column: Rows, name: str, contents: Digests, ids: pa.ChunkedArray) -> pa.Table:
    rows = np.flatnonzero(column >= 0)
    counts = np.bincount(column[rows], minlength=len(contents))
    often = np.flatnonzero(counts > 1)
    often = often[np.argsort(-counts[often], kind="stable")]
    example = np.empty(len(contents), np.int64)
    example[column[rows[::-1]]] = rows[::-1]  # the first is written last
    columns = {
        "what": pa.repeat(name, len(often)),
        "content": to_column(contents[often]).cast(pa.binary()),
        "records": counts[often],
        "chars": pa.nulls(len(often), pa.int64()),
        "example": ids.take(pa.array(example[often])),
    }
    return pa.table(columns, schema=SHARED)
