"""A version, written down: an append-only log of decisions, one set of files for each version, and a header.

The state of a record is its row in the newest version that mentions it. A version's files hold only what changed in
it, and never change again, so that `dvc diff` names the version and stores nothing twice.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import store
from dedupver.schema import DECISION, FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

HEADER: Final = "manifest.json"
AUDIT: Final = (
    *("id", "action", "reason", "representative", "method", "score", "threshold", "evidence", "rule"),
    *("version", "decided", "decided_at"),
)
"""What the audit trail tells."""

TOLD: Final = (pc.field("action") != "keep") | (pc.field("reason") == "restored")
"""The events that the audit trail tells: removals, restorations and quarantines."""

FILES: Final = {"keep": "kept", "drop": "removed", "quarantine": "quarantined", "gone": "gone"}


@dataclass(frozen=True)
class Log:
    """A manifest directory, each of whose files is checked when it is opened."""

    header: dict[str, Any]
    sealed: store.Sealed

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.sealed.path

    @property
    def versions(self) -> list[str]:
        """The versions, oldest first."""
        return list(self.header["versions"])

    def of_version(
        self, version: str, columns: Sequence[str] = DECISION.names, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return what one version decided (columns of DECISION), file by file, each sorted by id."""
        paths = (self.sealed.file(f"{version}.{name}.parquet") for name in FILES.values())
        tables = (store.read_table(path, DECISION, columns, where) for path in paths)
        return pa.concat_tables([DECISION.empty_table().select(list(columns)), *tables])

    def events(self, columns: Sequence[str] = DECISION.names, where: pc.Expression | None = None) -> pa.Table:
        """Return every decision ever logged (columns of DECISION), the oldest version first."""
        tables = (self.of_version(version, columns, where) for version in self.versions)
        return pa.concat_tables([DECISION.empty_table().select(list(columns)), *tables])

    def live(self, columns: Sequence[str] = DECISION.names) -> pa.Table:
        """Return the state of each record that is still there (columns of DECISION), sorted by id."""
        return latest(self.events(list(dict.fromkeys([*columns, "id", "action"])))).select(list(columns))


def latest(events: pa.Table) -> pa.Table:
    """Return of each record the last event, less the records that are gone, sorted by id."""
    order = pc.sort_indices(events["id"])  # stable: the versions of a record stay in order
    ids = events["id"].take(order)
    last = np.ones(len(ids), np.bool_)
    last[:-1] = pc.not_equal(ids.slice(1), ids.slice(0, max(len(ids) - 1, 0))).to_numpy()
    there = pc.not_equal(events["action"], "gone").take(order).to_numpy()
    return events.take(order.filter(pa.array(last & there)))


def open_manifest(path: Path) -> Log:
    """Open a manifest directory; a file is checked against its digest when it is first read.

    Raises IntegrityError that names the damaged file, here and there.
    """
    sealed = store.Sealed(path)
    return Log(store.read_json(sealed.file(HEADER)), sealed)


def write(
    out: Path, base: Log | None, version: str, events: Iterator[pa.RecordBatch], header: dict[str, Any]
) -> dict[str, str]:
    """Write a version's files beside the base's, from its events (schema DECISION, sorted by id); the header last.

    Returns the digests of the base's files, by name.
    """
    versions: list[str] = []
    shared: dict[str, str] = {}
    if base is not None:
        versions = [v for v in base.versions if v != version]
        shared = base.sealed.share([name for name in base.sealed.sha256 if name != HEADER], out)
    _write_events(out, version, events)
    store.write_json(out / HEADER, {**header, "format": FORMAT, "version": version, "versions": [*versions, version]})
    return shared


def _write_events(out: Path, version: str, events: Iterator[pa.RecordBatch]) -> None:
    with contextlib.ExitStack() as files:
        enter = files.enter_context
        write = {a: enter(store.writing(out / f"{version}.{name}.parquet", DECISION)) for a, name in FILES.items()}
        trail = enter(store.replacing(out / f"{version}.audit.jsonl"))
        told = enter(trail.open("w", encoding="utf-8", newline=""))
        for batch in enter(contextlib.closing(store.ahead(events))):
            part = pa.Table.from_batches([batch])
            for action in pc.unique(batch["action"]).to_pylist():
                write[action](part.filter(pc.field("action") == action))
            told.writelines(audit(part.filter(TOLD)))


def audit(told: pa.Table) -> Iterator[str]:
    """Give one line of JSON for each event (columns of AUDIT), a batch at a time."""
    for batch in told.select(AUDIT).to_batches(max_chunksize=10_000):
        pieces: list[pa.Array | str] = []
        for name in sorted(AUDIT):
            pieces += [", " if pieces else "{", f'"{name}": ', _json(batch[name])]
        yield from pc.binary_join_element_wise(*pieces, "}\n", "").to_pylist()


_WORD: Final = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make an encoder for each word


def _json(column: pa.Array) -> pa.Array:
    """Return each value as JSON; each distinct one is written once."""
    coded = column.dictionary_encode(null_encoding="encode")
    words = map(_WORD, coded.dictionary.to_pylist())
    return pa.array(words, pa.string()).take(coded.indices)


def counts(live: pa.Table) -> dict[str, Any]:
    """Count a version's data records by outcome; references are not counted."""
    data = live["action"].filter(pc.equal(live["role"], "data"))
    by_action = {row["values"]: row["counts"] for row in data.value_counts().to_pylist()}
    return {
        "n_in": len(data),
        "kept": by_action.get("keep", 0),
        "dropped": by_action.get("drop", 0),
        "quarantined": by_action.get("quarantine", 0),
        "references": live.num_rows - len(data),
    }
