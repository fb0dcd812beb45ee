"""Chunks of fingerprints → one directory, in an order that depends on the contents alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import store
from dedupver.digests import Rows, first_of_each, of_column
from dedupver.fingerprint.overlay import overlay
from dedupver.schema import BROUGHT, CONTENT, RECORD, UNNAMED, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MODALITIES: Final = ("text", "image")


def merge(batches: Mapping[str, Sequence[Path]], out: Path) -> dict[str, int]:
    """Merge the chunk directories of each version's batch, oldest first, into `out`; return counts for the metrics.

    Raises SourceError that names ids which several records of a batch share.
    """
    chunks = [chunk for each in batches.values() for chunk in each]
    read = {version: _named(_all(each, "records.parquet", UNNAMED)) for version, each in batches.items()}
    records = overlay(read) if len(read) > 1 else read.popitem()[1]
    store.write_table(out / "records.parquet", records, BROUGHT if len(batches) > 1 else RECORD)
    contents = _all(chunks, "contents.parquet", CONTENT)
    contents = contents.take(pa.array(first_of_each(of_column(contents["sha256"]))))
    store.write_table(out / "contents.parquet", contents, CONTENT)
    prints = {modality: _merge_prints(chunks, out, modality) for modality in MODALITIES}
    quarantined = records.num_rows - records["code"].null_count
    return {
        "records": records.num_rows,
        "quarantined": quarantined,
        **{f"new_{m}_contents": n for m, n in prints.items()},
    }


def _all(chunks: Sequence[Path], name: str, schema: pa.Schema) -> pa.Table:
    tables = [store.read_table(chunk / name, schema) for chunk in chunks]
    return pa.concat_tables([*tables, schema.empty_table()]).combine_chunks()


def _named(records: pa.Table) -> pa.Table:
    """Give records without an id one that is made of their content, then sort by id."""
    if records["id"].null_count:
        records = _name_after_content(records)
    records = records.sort_by("id")
    ids = records["id"].combine_chunks()
    if len(ids) > 1:
        repeated = pc.unique(ids[1:].filter(pc.equal(ids[1:], ids[:-1])))
        if len(repeated):
            raise SourceError(_duplicates(records, repeated))
    return records


def _name_after_content(records: pa.Table) -> pa.Table:
    """Name a record after the bytes of its parts: the first 16 hex digits, and `-2`, `-3` … for its exact copies.

    Copies are numbered by their attributes and then by place: which of two equal rows has which name says nothing.
    """
    unnamed = records["id"].is_null().to_numpy()
    keys = _content_keys(records)
    names = records["id"].to_pylist() if not unnamed.all() else [None] * len(keys)
    attributes = [records[name].to_pylist() for name in ("source", "split", "time", "quality", "path", "row")]
    seen: dict[str, int] = {}
    for at in sorted(
        np.flatnonzero(unnamed),
        key=lambda i: (keys[i], *(("" if a[i] is None else str(a[i])).rjust(20) for a in attributes)),
    ):
        key = keys[at]
        seen[key] = seen.get(key, 0) + 1
        names[at] = key if seen[key] == 1 else f"{key}-{seen[key]}"
    return records.set_column(0, UNNAMED.field("id"), pa.array(names, pa.string()))


def _content_keys(records: pa.Table) -> list[str]:
    """Return a name for each record: of its bytes, or of its place where those are quarantined."""
    places = zip(records["path"].to_pylist(), records["row"].to_pylist(), strict=True)
    return [
        hashlib.sha256(b"".join(p["part"].encode() + b"\0" + p["sha256"] for p in parts)).hexdigest()[:16]
        if parts
        else f"{path}#{row}"
        for parts, (path, row) in zip(records["parts"].to_pylist(), places, strict=True)
    ]


def _duplicates(records: pa.Table, repeated: pa.Array) -> str:
    shown = []
    for name in repeated[:5].to_pylist():
        places = records.filter(pc.equal(records["id"], name)).select(["path", "row"]).to_pylist()
        shown.append(
            f"  {name!r}: " + ", ".join(p["path"] + (f" row {p['row']}" if p["row"] >= 0 else "") for p in places[:3])
        )
    return (
        f"{len(repeated)} ids stand for more than one record:\n" + "\n".join(shown) + "\nMake them unique, or set "
        "`source.columns.id: null` to name records after their content"
    )


def _merge_prints(chunks: Sequence[Path], out: Path, modality: str) -> int:
    """Write each array of a modality in ascending order of content digest, one row for each distinct content."""
    holders = [c for c in chunks if (c / f"{modality}.content.npy").exists()]
    if not holders:
        return 0
    content = np.concatenate([store.read_array(c / f"{modality}.content.npy") for c in holders])
    rows = first_of_each(content)
    store.write_array(out / f"{modality}.content.npy", content[rows])
    names = {p.name for p in holders[0].glob(f"{modality}.*.npy")} - {f"{modality}.content.npy"}
    for name in sorted(n for n in names if ".sets." not in n):
        store.write_array(out / name, np.concatenate([store.read_array(c / name) for c in holders])[rows])
    if f"{modality}.sets.values.npy" in names:
        _merge_sets(holders, out, modality, rows)
    return len(rows)


def _merge_sets(holders: Sequence[Path], out: Path, modality: str, rows: Rows) -> None:
    sizes = np.concatenate([store.read_array(c / f"{modality}.sets.sizes.npy") for c in holders])
    values = np.concatenate([store.read_array(c / f"{modality}.sets.values.npy") for c in holders])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    offsets = np.concatenate([[0], np.cumsum(sizes[rows])])
    places = np.repeat(starts[rows] - offsets[:-1], sizes[rows]) + np.arange(offsets[-1])
    store.write_array(out / f"{modality}.sets.offsets.npy", offsets.astype(np.int64))
    store.write_array(out / f"{modality}.sets.values.npy", values[places])
