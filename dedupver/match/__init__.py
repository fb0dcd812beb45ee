"""New fingerprints against the base's segments and among themselves → verified matches, and one new segment.

Nothing here depends on a threshold: every verified match at or above the floor is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedupver import links, store
from dedupver.digests import Digests, Rows, order, to_column
from dedupver.index import recall
from dedupver.index.segment import TABLES, Index, Segment
from dedupver.match import codes, fields, joint, sequences, sets, vectors
from dedupver.match.found import Findings, Found, Hot, Job, Span
from dedupver.schema import EVIDENCE, FIT, HOT, JOINT, MATCH, RECALL, SPAN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dedupver import params

SEARCHES: Final[dict[str, Callable[[str, Job], Findings]]] = {
    "sets": sets.search,
    "codes": codes.search,
    "vectors": vectors.search,
    "sequences": sequences.search,
    "fields": fields.search,
}
"""What finds the matches of a kind, by the structure of its fingerprints."""


def write_segment(
    prints: Path, base: Index, settings: params.Match, out: Path, built_with: Mapping[str, Any]
) -> tuple[dict[str, Any], pa.Table]:
    """Make `out` the segment of the fingerprints in `prints`; return counts and the measured recall (RECALL).

    `built_with` holds the settings of the index that it is to be part of.
    """
    out.mkdir(parents=True)
    for path in sorted(prints.glob("*.npy")):
        links.link(path, out / path.name, "share")
    links.link(prints / "contents.parquet", out / "contents.parquet", "share")
    job = Job(Segment(out, built_with=built_with), base, settings)
    counts = _write_matches(job)
    measured = _recall(job)
    if any(job.new.size(kind.modality) and len(job.new.every(kind)) for kind in JOINT):
        fits = joint.search(job)
        store.write_table(out / "joint.parquet", fits, FIT)
        counts["fits"], measured = fits.num_rows, pa.concat_tables([measured, joint.recall(job, fits)])
    return counts, measured


def _write_matches(job: Job) -> dict[str, Any]:
    """Write what the searches find, tables and graphs; return counts by kind."""
    counts, spans = {}, {}
    tables: dict[str, list[pa.Table]] = {"matches": [], "hot": [], "spans": []}
    for kind in sorted(EVIDENCE):  # tables are sorted by kind first
        if not job.new.size(EVIDENCE[kind].modality):
            counts[kind] = 0
            continue
        found = SEARCHES[EVIDENCE[kind].structure](kind, job)
        tables["matches"].append(_match_table(kind, job, found.matches))
        tables["hot"].append(_hot_table(kind, job, found.hot))
        counts[kind] = tables["matches"][-1].num_rows
        if EVIDENCE[kind].structure == "sequences":
            tables["spans"].append(_span_table(kind, job, found.spans))
            spans[kind] = tables["spans"][-1].num_rows
    rows = {name: _write(job, name, tables[name], schema) for name, schema in TABLES.items() if name in tables}
    recalled = {kind: sequences.span_recall(kind, job) for kind in spans}
    return {"matches": counts, "hot_members": rows["hot"], "spans": spans, "span_recall": recalled}


def _write(job: Job, name: str, tables: list[pa.Table], schema: pa.Schema) -> int:
    table = pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
    return store.write_table(job.new.path / f"{name}.parquet", table, schema)


def _recall(job: Job) -> pa.Table:
    """Measure each kind's search on a fixed sample (schema RECALL)."""
    sample, cap, floor = job.settings.recall_sample, job.settings.bucket_cap, job.settings.floor
    tables = [
        recall.measure(kind, job.new, job.base.segments, floor=floor.of(kind), sample=sample, cap=cap)
        for kind in EVIDENCE
    ]
    return pa.concat_tables([*tables, RECALL.empty_table()])


def _match_table(kind: str, job: Job, found: list[Found]) -> pa.Table:
    """Return the matches (schema MATCH), sorted; rows of the new segment are in order of digest already."""
    if not found:
        return MATCH.empty_table()
    left, score = np.concatenate([f.left for f in found]), np.concatenate([f.score for f in found])
    right = _contents(kind, job, found, [f.right for f in found])
    rows = _by(left, right)
    columns = [to_column(job.new.content(EVIDENCE[kind].modality)[left[rows]]), to_column(right[rows])]
    return _table(MATCH, kind, [*columns, pa.array(score[rows])])


def _hot_table(kind: str, job: Job, hot: list[Hot]) -> pa.Table:
    """Return the members of hot buckets (schema HOT), sorted."""
    if not hot:
        return HOT.empty_table()
    group = np.concatenate([h.group for h in hot])
    content = _contents(kind, job, hot, [h.row for h in hot])
    rows = _by(group, content)
    return _table(HOT, kind, [pa.array(group[rows]), to_column(content[rows])])


def _span_table(kind: str, job: Job, spans: Sequence[Span]) -> pa.Table:
    """Return the spans (schema SPAN), sorted."""
    if not spans:
        return SPAN.empty_table()
    left, score = np.concatenate([s.left for s in spans]), np.concatenate([s.score for s in spans])
    right, millis = _contents(kind, job, spans, [s.right for s in spans]), np.concatenate([s.millis for s in spans])
    rows = np.lexsort(millis.T[::-1])
    rows = rows[_by(left[rows], right[rows])]
    digests = [to_column(job.new.content(EVIDENCE[kind].modality)[left[rows]]), to_column(right[rows])]
    return _table(SPAN, kind, [*digests, *map(pa.array, millis[rows].T), pa.array(score[rows])])


def _contents(kind: str, job: Job, parts: Sequence[Found | Hot | Span], rows: list[Rows]) -> Digests:
    contents = [job.segment(p.segment).content(EVIDENCE[kind].modality) for p in parts]
    return np.concatenate([content[r] for content, r in zip(contents, rows, strict=True)])


def _by(first: npt.NDArray[Any], digests: Digests) -> Rows:
    """Return the rows in order of a number and then of a digest."""
    rows = order(digests)
    return rows[np.argsort(first[rows], kind="stable")]


def _table(schema: pa.Schema, kind: str, columns: list[pa.Array]) -> pa.Table:
    return pa.Table.from_arrays([pa.repeat(kind, len(columns[0])), *columns], schema=schema)
