"""Scalars and small tables for `dvc metrics`, `dvc exp show` and `dvc plots`; reproducible, so times are apart."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import store
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dedupver import params

BIN: Final = 0.02
MOST: Final = 10_000
"""So many contents of each part are listed that kept records share."""


def write_plot(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a small table as CSV for `dvc plots`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    store.write_bytes(path, text.getvalue().encode())


def quarantine_codes(decisions: pa.Table) -> list[tuple[str, int]]:
    """Count the quarantined by code, the most frequent first."""
    return _counted(decisions["reason"].filter(pc.equal(decisions["action"], "quarantine")))


def similarity_histogram(matches: pa.Table) -> list[tuple[str, float, int]]:
    """Count matches by kind and score, in bins of 0.02."""
    rows = []
    for kind in EVIDENCE:
        scores = matches.filter(pc.equal(matches["kind"], kind))["score"].to_numpy()
        bins, count = np.unique(np.minimum(np.floor(scores / BIN + 1e-6), round(1 / BIN) - 1), return_counts=True)
        rows += [(kind, round(float(b) * BIN, 2), int(c)) for b, c in zip(bins, count, strict=True)]
    return rows


def recall(table: pa.Table, thresholds: params.ByEvidence) -> dict[str, float | None]:
    """Return for each kind the share of the sample's true matches that the search found; null where there were none."""
    found: dict[str, float | None] = {}
    for kind in (*EVIDENCE, "joint"):
        mine = table.filter(
            pc.and_(
                pc.equal(table["kind"], kind),
                pc.greater_equal(table["score"], pa.scalar(thresholds.of(kind), pa.float32())),
            )
        )
        found[kind] = round(pc.mean(mine["found"].cast(pa.float64())).as_py(), 6) if mine.num_rows else None
    return found


def spread(scores: pa.ChunkedArray) -> dict[str, float | int | None]:
    """Count scores, and say where the lowest twentieth and the middle of them are; null where there is none."""
    low, middle = np.quantile(scores.to_numpy(), [0.05, 0.5]).round(6).tolist() if len(scores) else (None, None)
    return {"records": len(scores), "lowest_twentieth": low, "median": middle}


def reasons(decisions: pa.Table) -> list[tuple[str, str, int]]:
    """Count the dropped by reason and method."""
    dropped = decisions.select(["reason", "method"]).filter(pc.equal(decisions["action"], "drop"))
    rows = dropped.group_by(["reason", "method"]).aggregate([([], "count_all")]).to_pylist()
    return sorted((r["reason"], r["method"], r["count_all"]) for r in rows)


def shared(table: pa.Table) -> dict[str, dict[str, int]]:
    """Count for each part, and for passages, what kept records share, and how much of it is repeated.

    Contents, the records that hold them, once for each, those of the most frequent, and characters if they are known.
    """
    counted = table.group_by("what").aggregate(
        [([], "count_all"), ("records", "sum"), ("records", "max"), ("chars", "sum")]
    )
    words = {"contents": "count_all", "records": "records_sum", "most": "records_max", "chars": "chars_sum"}
    return {
        row["what"]: {name: row[column] for name, column in words.items() if row[column] is not None}
        for row in counted.to_pylist()
    }


def most_shared(table: pa.Table) -> pa.Table:
    """Return of each part the first MOST shared contents, which are the most frequent."""
    tables = [table.filter(pc.equal(table["what"], what)).slice(0, MOST) for what in pc.unique(table["what"])]
    return pa.concat_tables([table.slice(0, 0), *tables])


def shared_sizes(table: pa.Table) -> list[tuple[str, int, int]]:
    """Count the shared contents by part and by how many records share one."""
    rows = table.group_by(["what", "records"]).aggregate([([], "count_all")]).to_pylist()
    return sorted((r["what"], r["records"], r["count_all"]) for r in rows)


def cluster_sizes(decisions: pa.Table) -> list[tuple[int, int]]:
    """Count the clusters by size: a representative and those dropped for it."""
    sizes = decisions["representative"].drop_null().value_counts().field("counts").to_numpy() + 1
    values, count = np.unique(sizes, return_counts=True)
    return [(int(v), int(c)) for v, c in zip(values, count, strict=True)]


def across_versions(decisions: pa.Table) -> int:
    """Count the dropped whose representative came with another version."""
    if pc.count_distinct(decisions["version"]).as_py() < 2:
        return 0
    dropped = decisions.select(["representative", "version"]).filter(pc.equal(decisions["action"], "drop"))
    at = pc.index_in(dropped["representative"], decisions["id"])
    return int(pc.sum(pc.not_equal(decisions["version"].take(at), dropped["version"])).as_py() or 0)


def by_version(decisions: pa.Table) -> list[tuple[str, str, int]]:
    """Count the records by the version that brought them and by action."""
    rows = decisions.group_by(["version", "action"]).aggregate([([], "count_all")]).to_pylist()
    return sorted((r["version"], r["action"], r["count_all"]) for r in rows)


def _counted(column: pa.ChunkedArray) -> list[tuple[str, int]]:
    rows = column.value_counts().to_pylist()
    return sorted(((r["values"], r["counts"]) for r in rows), key=lambda r: (-r[1], r[0]))
