"""Which kept records share a span: a sound that is in several of them, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Lookup, first_of_each, of_column, of_parts, parts_in
from dedupver.schema import EVIDENCE, REPEATED

if TYPE_CHECKING:
    from collections.abc import Iterable


def repeated(decisions: pa.Table, spans: Iterable[pa.Table]) -> pa.Table:
    """Return the spans (schema SPAN) between contents of two kept records, by the records' ids (schema REPEATED).

    Of several kept records with one content the first by id stands for all.
    """
    kept = decisions.select(["id", "parts"]).filter(pc.equal(decisions["action"], "keep"))
    digests, record, _ = of_parts(kept["parts"], "content", parts_in(kept["parts"]))
    first = first_of_each(digests)
    lookup, holder = Lookup(digests[first]), record[first]
    tables = [REPEATED.empty_table()]
    for table in spans:
        left, right = (lookup.find(of_column(table[end])) for end in ("left", "right"))
        rows = np.flatnonzero((left >= 0) & (right >= 0))
        rows = rows[holder[left[rows]] != holder[right[rows]]]
        found = table.take(pa.array(rows))
        ids = {name: kept["id"].take(pa.array(holder[at[rows]])) for name, at in (("left", left), ("right", right))}
        tables.append(pa.table([ids.get(name, found[name]) for name in REPEATED.names], REPEATED.names).cast(REPEATED))
    return pa.concat_tables(tables).sort_by([(name, "ascending") for name in REPEATED.names])


def counted(table: pa.Table) -> dict[str, dict[str, int]]:
    """Count by kind the spans, and the records that share one."""
    counts = {}
    for kind in (name for name, kind in EVIDENCE.items() if kind.structure == "sequences"):
        mine = table.filter(pc.equal(table["kind"], kind))
        records = len(pc.unique(pa.chunked_array([*mine["left"].chunks, *mine["right"].chunks], pa.string())))
        counts[kind] = {"spans": mine.num_rows, "records": records}
    return counts
