"""Batches of records laid over each other: all of history, where it is read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import numbered, parts_in
from dedupver.schema import BROUGHT, RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping


def overlay(batches: Mapping[str, pa.Table]) -> pa.Table:
    """Return each record once, as it is after the last batch that changed it (schema BROUGHT), sorted by id.

    `batches` maps versions, oldest first, to what each brought (schema RECORD, one record an id). A record that a
    batch repeats with the same content stays as it was.
    """
    table = pa.concat_tables([_brought(records, version) for version, records in batches.items()]).combine_chunks()
    ids = pc.rank(table["id"], sort_keys="ascending", tiebreaker="dense").to_numpy()
    order = np.lexsort((np.arange(len(ids)), ids))  # the batches of an id one below the other
    ids, contents = ids[order], numbered(table["parts"], parts_in(table["parts"]))[1][order]
    changes = np.ones(len(ids), np.bool_)
    changes[1:] = (ids[1:] != ids[:-1]) | (contents[1:] != contents[:-1]).any(axis=1)
    rows = np.flatnonzero(changes)
    last = np.append(ids[rows[1:]] != ids[rows[:-1]], True)[: len(rows)]
    return table.take(pa.array(order[rows[last]])).combine_chunks()


def _brought(records: pa.Table, version: str) -> pa.Table:
    column = pa.array([version] * records.num_rows, pa.string())
    return records.cast(RECORD).append_column(BROUGHT.field("version"), column)
