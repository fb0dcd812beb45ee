"""Chunks of fingerprints → one directory, in an order that depends on the contents alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import links, store
from dedupver.digests import first_of_each, of_column
from dedupver.fingerprint.encoders import probe
from dedupver.fingerprint.naming import name_after_content, not_unique
from dedupver.fingerprint.overlay import overlay
from dedupver.fingerprint.prints import merge_prints
from dedupver.schema import BROUGHT, CONTENT, MODALITIES, PASSAGES, RECORD, UNNAMED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def merge(batches: Mapping[str, Sequence[Path]], out: Path) -> dict[str, int]:
    """Merge the chunk directories of each version's batch, oldest first, into `out`; return counts for the metrics.

    Raises SourceError that names ids which several records of a batch share.
    """
    chunks = [chunk for each in batches.values() for chunk in each]
    with ThreadPoolExecutor(2) as pool:  # tables beside arrays: both leave Python's lock to the other most of the time
        printed = pool.submit(_merge_prints, chunks, out)
        counts = _merge_records(batches, out)
        _merge_contents(chunks, out)
        return counts | printed.result()


def _merge_contents(chunks: Sequence[Path], out: Path) -> None:
    contents = _all(chunks, "contents.arrow", CONTENT)
    contents = contents.take(pa.array(first_of_each(of_column(contents["sha256"]))))
    store.write_table(out / "contents.parquet", contents, CONTENT)


def _merge_prints(chunks: Sequence[Path], out: Path) -> dict[str, int]:
    for path in {path.name: path for chunk in chunks for path in chunk.glob(probe.ANSWERS)}.values():
        links.link(path, out / path.name, "copy")  # the models' answers are the same in all
    merge_prints(chunks, out, PASSAGES)
    return {f"new_{modality}_contents": merge_prints(chunks, out, modality) for modality in MODALITIES}


def _merge_records(batches: Mapping[str, Sequence[Path]], out: Path) -> dict[str, int]:
    read = {version: _named(_all(each, "records.arrow", UNNAMED)) for version, each in batches.items()}
    records = overlay(read) if len(read) > 1 else read.popitem()[1]
    store.write_table(out / "records.parquet", records, BROUGHT if len(batches) > 1 else RECORD)
    return {"records": records.num_rows, "quarantined": records.num_rows - records["code"].null_count}


def _all(chunks: Sequence[Path], name: str, schema: pa.Schema) -> pa.Table:
    """Return the rows of every chunk where they lie on disk."""
    return pa.concat_tables([schema.empty_table(), *(store.read_scratch(chunk / name) for chunk in chunks)])


def _named(records: pa.Table) -> pa.Table:
    """Give records without an id one that is made of their content, then sort by id."""
    records = name_after_content(records).sort_by("id")
    ids = records["id"].combine_chunks()
    if len(ids) > 1:
        repeated = pc.unique(ids[1:].filter(pc.equal(ids[1:], ids[:-1])))
        if len(repeated):
            raise not_unique(records, repeated)
    return records
