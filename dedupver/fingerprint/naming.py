"""Names for records without an id, made of what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.fingerprint.strings import Strings
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from dedupver.digests import Rows

DIGITS: Final = 16
"""Of a name that is made of a content."""

_BATCH: Final = 1 << 16
_ORDER: Final = ("source", "split", "time", "quality", "label", "path", "row")


def name_after_content(records: pa.Table) -> pa.Table:
    """Name each record without an id after the bytes of its parts: 16 hex digits; `-2`, `-3` … for its exact copies.

    Copies are numbered in the order of source, split, time, quality, label and place, nulls last: which of two equal
    rows has which name says nothing. One without a readable part is named after its place.
    """
    if not records["id"].null_count:
        return records
    ids = records["id"].combine_chunks()
    unnamed = records.select([*_ORDER, "parts"]).filter(ids.is_null())
    keys = pa.concat_arrays([_keys(batch) for batch in unnamed.to_batches(_BATCH)])
    table = unnamed.select(_ORDER).append_column("key", keys)
    rows = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in ("key", *_ORDER)]).to_numpy()
    names = pc.binary_join_element_wise(keys, _suffixes(keys, rows), "")
    return records.set_column(0, records.schema.field("id"), pc.replace_with_mask(ids, ids.is_null(), names))


def not_unique(records: pa.Table, repeated: pa.ChunkedArray | pa.Array) -> SourceError:
    """Return the error that names ids which several records share, and where these are."""
    shown = []
    for name in repeated[:5].to_pylist():
        places = records.filter(pc.equal(records["id"], name)).select(["path", "row"]).to_pylist()
        shown.append(
            f"  {name!r}: " + ", ".join(p["path"] + (f" row {p['row']}" if p["row"] >= 0 else "") for p in places[:3])
        )
    return SourceError(
        f"{len(repeated)} ids stand for more than one record:\n" + "\n".join(shown) + "\nMake them unique, or set "
        "`source.columns.id: null` to name records after their content"
    )


def _keys(records: pa.RecordBatch) -> pa.StringArray:
    """Return what each record is named after: its bytes, or its place."""
    parts = records["parts"]
    flat = parts.flatten()
    held = pc.binary_join_element_wise(
        flat.field("part").cast(pa.binary()), flat.field("sha256").cast(pa.binary()), b"\0"
    )
    joined = pc.binary_join(pa.ListArray.from_arrays(pc.subtract(parts.offsets, parts.offsets[0]), held), b"").cast(
        pa.large_binary()
    )
    digests = pa.array([digest.hex()[:DIGITS] for digest in Strings.of_column(joined).sha256()], pa.string())
    places = pc.binary_join_element_wise(records["path"], records["row"].cast(pa.string()), "#")
    return pc.if_else(pc.equal(pc.list_value_length(parts), 0), places, digests)


def _suffixes(keys: pa.StringArray, rows: Rows) -> pa.StringArray:
    """Return what tells equal keys apart: nothing for the first in order, `-2` for the second, and so on."""
    ordered = keys.take(pa.array(rows))
    at = np.arange(len(rows))
    fresh = np.ones(len(rows), np.bool_)
    fresh[1:] = pc.not_equal(ordered[1:], ordered[:-1]).to_numpy(zero_copy_only=False)
    copy = np.empty(len(rows), np.int64)
    copy[rows] = at - np.maximum.accumulate(np.where(fresh, at, 0)) + 1
    numbers = pc.binary_join_element_wise("-", pa.array(copy).cast(pa.string()), "")
    return pc.if_else(pa.array(copy == 1), "", numbers)
