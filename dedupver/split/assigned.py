"""What was assigned, written down: one table for each version beside the manifest, of what that version added.

A version's table never changes again, and names each record once over all versions, so that `dvc diff` tells who is new
in which split, and a join by id needs no order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import store
from dedupver.schema import ASSIGNED, FORMAT

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver.split.divide import Divided

HEADER: Final = "splits.json"
EXCEPTIONS: Final = "exceptions.jsonl"
KNOWN: Final = ("id", "split", "content")
"""What records are known by."""


@dataclass(frozen=True)
class Earlier:
    """What some versions assigned, the oldest first."""

    versions: tuple[str, ...]
    table: pa.Table  # columns KNOWN of ASSIGNED
    sealed: store.Sealed | None = None

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read what lies in a directory; nothing where it is not there.

        Raises IntegrityError that names a damaged file.
        """
        if not path.is_dir():
            return cls((), ASSIGNED.empty_table().select(KNOWN))
        sealed = store.Sealed(path)
        sealed.check()
        versions = tuple(store.read_json(sealed.file(HEADER))["versions"])
        tables = (store.read_table(sealed.file(f"{version}.parquet"), ASSIGNED, KNOWN) for version in versions)
        return cls(versions, pa.concat_tables([ASSIGNED.empty_table().select(KNOWN), *tables]), sealed)

    def of(self, ids: pa.ChunkedArray, content: pa.Array) -> pa.ChunkedArray:
        """Return the split that each record had, null where it had none: by its id, or by what it holds.

        A record with another id is known by its content where all that held it were in one split.
        """
        by_id = self.by_id(ids)
        unknown = content.filter(by_id.is_null())
        mine = self.table.filter(pc.is_in(self.table["content"], unknown))
        if not mine.num_rows:
            return by_id
        held = mine.group_by("content").aggregate([("split", "min"), ("split", "max")])
        sole = held.filter(pc.equal(held["split_min"], held["split_max"]))
        return pc.coalesce(by_id, sole["split_min"].take(_rows(sole["content"], content)))

    def by_id(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the split that each id was assigned to, null where it was to none."""
        return self.table["split"].take(_rows(self.table["id"], ids))

    def knows(self, ids: pa.ChunkedArray) -> Any:
        """Return which ids were assigned, as a mask."""
        return pc.is_in(ids, self.table["id"].combine_chunks()).to_numpy()


def _rows(column: pa.ChunkedArray, wanted: pa.ChunkedArray | pa.Array) -> pa.Array | pa.ChunkedArray:
    """Return the row of each value in a column, null where it is not there."""
    if not len(column):
        return pa.nulls(len(wanted), pa.int32())
    return pc.index_in(wanted, column.combine_chunks())


NOTHING: Final = Earlier((), ASSIGNED.empty_table().select(KNOWN))
"""What was assigned before the first version."""


def write(out: Path, version: str, earlier: Earlier, divided: Divided, header: dict[str, Any]) -> dict[str, str]:
    """Write what a version adds beside the earlier tables; return the digests of the files that are linked, by name."""
    shared: dict[str, str] = {}
    if earlier.sealed is not None:
        shared = earlier.sealed.share([f"{each}.parquet" for each in earlier.versions], out)
    versions = [*earlier.versions]
    if divided.fresh is not None:
        store.write_table(out / f"{version}.parquet", divided.fresh, ASSIGNED)
        versions.append(version)
    lines = (json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n" for row in divided.exceptions.to_pylist())
    store.write_bytes(out / EXCEPTIONS, "".join(lines).encode())
    store.write_json(out / HEADER, {**header, "format": FORMAT, "version": version, "versions": versions})
    return shared


def read_exceptions(path: Path) -> list[dict[str, Any]]:
    """Return the exceptions of a version, from its checked file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
