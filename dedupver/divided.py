"""Whether a version's splits are what they say: each record in one, nothing alike in two, none that was moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params, pipeline, store
from dedupver.index.segment import Index
from dedupver.invariants import REBUILD, RERUN, RESTORE, Finding, ids_at
from dedupver.project import Project
from dedupver.split.assigned import EXCEPTIONS, HEADER, Earlier, read_exceptions
from dedupver.split.divide import READ, judged, kept_of
from dedupver.split.ties import held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver.digests import Rows
    from dedupver.invariants import Version
    from dedupver.manifest import Log

SPLITS: Final = "splits"


def divided(version: Version) -> Iterator[Finding]:
    """Check the splits beside a version's manifest, where there are any."""
    root = version.root
    if not (root / SPLITS / HEADER).is_file():
        return
    header = store.read_json(root / SPLITS / HEADER)
    if header["manifest"] != store.sha256_file(root / "manifest" / store.LISTING):
        yield Finding("lineage", SPLITS, "is not of the manifest that is here", RERUN)
        return
    yield from _unchanged(root, header)
    assigned = Earlier.open(root / SPLITS)
    ids = assigned.table["id"].value_counts()
    for name in ids.filter(pc.greater(ids.field("counts"), 1)).field("values").sort().to_pylist():
        yield Finding("split", name, "is assigned more than once", REBUILD)
    if header["params"]["ratios"]:
        yield from _whole(root, version.log, header, assigned)


def _unchanged(root: Path, header: dict[str, Any]) -> Iterator[Finding]:
    """Check that what the version before assigned is there as it was, unless all was assigned anew."""
    before = root / "base" / SPLITS
    if header["params"]["history"] == "anew" or not (before / HEADER).is_file():
        return
    mine, its = (store.Sealed(place).sha256 for place in (root / SPLITS, before))
    for version in store.read_json(before / HEADER)["versions"]:
        name = f"{version}.parquet"
        if mine.get(name) != its[name]:
            yield Finding("split", f"{SPLITS}/{name}", "is not what was assigned before", RESTORE)


def _whole(root: Path, log: Log, header: dict[str, Any], assigned: Earlier) -> Iterator[Finding]:
    """Check that each kept record has a split, or is named for tying two, and that no two alike have different ones."""
    live = judged(log.live(READ))
    listed = read_exceptions(root / SPLITS / EXCEPTIONS)
    aside, apart = (
        pc.is_in(live["id"], pa.array([row["id"] for row in listed if row["case"] == case], pa.string())).to_numpy()
        for case in ("bridge", "straddles")
    )
    kept, split = kept_of(live), assigned.by_id(live["id"])
    has = pc.is_valid(split).to_numpy()
    yield from (Finding("split", i, "is kept, and has no split", RERUN) for i in ids_at(live, kept & ~has & ~aside))
    yield from (Finding("split", i, "has a split, and ties two", REBUILD) for i in ids_at(live, kept & has & aside))
    given = params.Params.model_validate({**log.header["params"], "split": header["params"]})
    together = held(live, Index.open(root / "index"), pipeline.said(Project(root)), given)
    component = together.components(np.unique(together.node[aside]))[0][together.node]
    yield from _straddling(live, split, np.flatnonzero(kept & has & ~apart), component)


def _straddling(live: pa.Table, split: pa.ChunkedArray, rows: Rows, component: Rows) -> Iterator[Finding]:
    """Name a record of each component that has another split than the first one of it."""
    code = split.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    order = rows[np.argsort(component[rows], kind="stable")]
    first = order[np.searchsorted(component[order], component[order])]
    for row, one in zip(order.tolist(), first.tolist(), strict=True):
        if code[row] != code[one]:
            name, its, other = live["id"][one].as_py(), split[one].as_py(), split[row].as_py()
            yield Finding("split", live["id"][row].as_py(), f"is in {other}, and {name!r}, alike, in {its}", REBUILD)
