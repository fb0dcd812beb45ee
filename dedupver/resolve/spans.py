"""Which kept records share a span: a sound that is in several of them, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Lookup, first_of_each, of_column, of_parts, parts_in
from dedupver.schema import EVIDENCE, REPEATED, SPAN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dedupver.digests import Digests
    from dedupver.resolve.evidence import Mask


def repeated(records: pa.Table, among: Mask, spans: Iterable[pa.Table]) -> pa.Table:
    """Return the spans (schema SPAN) between contents of two records, by the records' ids (schema REPEATED).

    `records` has the columns id and parts, `among`, shape (records,), says which of them count. Of several with one
    content the first by id stands for all.
    """
    found = pa.concat_tables([SPAN.empty_table(), *spans])
    if not found.num_rows:
        return REPEATED.empty_table()
    ends = [of_column(found[end]) for end in ("left", "right")]
    contents, holders = _holders(records, among, Lookup(_distinct(np.concatenate(ends))))
    lookup = Lookup(contents)
    left, right = (lookup.find(end) for end in ends)
    rows = np.flatnonzero((left >= 0) & (right >= 0))
    ids = {name: holders.take(pa.array(at[rows])) for name, at in (("left", left), ("right", right))}
    found = found.take(pa.array(rows))
    found = pa.table([ids.get(name, found[name]) for name in REPEATED.names], REPEATED.names).cast(REPEATED)
    found = found.filter(pc.not_equal(found["left"], found["right"]))
    return found.sort_by([(name, "ascending") for name in REPEATED.names])


def _holders(records: pa.Table, among: Mask, wanted: Lookup) -> tuple[Digests, pa.ChunkedArray]:
    """Return those of the wanted contents that records hold, and of each the first id."""
    digests, record, _ = of_parts(records["parts"], "content", parts_in(records["parts"]))
    rows = np.flatnonzero(among[record] & wanted.has(digests))
    ids = records["id"].take(pa.array(record[rows]))
    order = pc.sort_indices(ids).to_numpy()
    digests = digests[rows[order]]
    first = first_of_each(digests)
    return digests[first], ids.take(pa.array(order[first]))


def _distinct(digests: Digests) -> Digests:
    return digests[first_of_each(digests)]


def counted(table: pa.Table) -> dict[str, dict[str, int]]:
    """Count by kind the spans, and the records that share one."""
    counts = {}
    for kind in (name for name, kind in EVIDENCE.items() if kind.structure == "sequences"):
        mine = table.filter(pc.equal(table["kind"], kind))
        records = len(pc.unique(pa.chunked_array([*mine["left"].chunks, *mine["right"].chunks], pa.string())))
        counts[kind] = {"spans": mine.num_rows, "records": records}
    return counts
