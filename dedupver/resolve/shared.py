"""Parts that several kept records share: a caption of many pictures, a logo beside many texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dedupver.digests import of_parts, ranked, to_column
from dedupver.schema import SHARED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver.digests import Digests, Rows
    from dedupver.resolve.evidence import Mask


def shared(records: pa.Table, among: Mask, names: Sequence[str]) -> pa.Table:
    """Return the contents that two or more records have in one part (schema SHARED).

    `records` has the columns id and parts, `among`, shape (records,), says which of them count; `names` are their
    parts, in the order of which they are listed. Of each part the most frequent come first.
    """
    digests, record, part = of_parts(records["parts"], "content", names)
    tables = [SHARED.empty_table()]
    for at, name in enumerate(names):
        rows = np.flatnonzero((part == at) & among[record])
        tables.append(_of_part(name, digests[rows], record[rows], records["id"]))
    return pa.concat_tables(tables)


def _of_part(name: str, digests: Digests, record: Rows, ids: pa.ChunkedArray) -> pa.Table:
    contents, number = ranked(digests)
    counts = np.bincount(number, minlength=len(contents))
    often = np.flatnonzero(counts > 1)
    often = often[np.argsort(-counts[often], kind="stable")]
    columns = {
        "what": pa.repeat(name, len(often)),
        "content": to_column(contents[often]).cast(pa.binary()),
        "records": counts[often],
        "chars": pa.nulls(len(often), pa.int64()),
        "example": _examples(often, counts, number, ids.take(pa.array(record[counts[number] > 1]))),
    }
    return pa.table(columns, schema=SHARED)


def _examples(often: Rows, counts: Rows, number: Rows, ids: pa.ChunkedArray) -> pa.Array:
    """Return the first id, in the order of ids, of each content in `often`; `ids` are of records that share one."""
    place = np.zeros(len(counts), np.int64)
    place[often] = np.arange(len(often))
    pairs = pa.table({"content": place[number[counts[number] > 1]], "id": ids})
    firsts = pairs.group_by("content").aggregate([("id", "min")]).sort_by("content")
    return firsts["id_min"].cast(pa.string()).combine_chunks()
