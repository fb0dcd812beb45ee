"""A version, written down: an append-only log of decisions, one set of files for each version, and a header.

The state of a record is its row in the newest version that mentions it. A version's files hold only what changed in
it, and never change again, so that `dvc diff` names the version and stores nothing twice.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import links, store
from dedupver.schema import DECISION, FORMAT, MOVED, REVIEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

HEADER: Final = "manifest.json"
AUDIT: Final = (
    *("id", "action", "reason", "representative", "method", "score", "threshold", "evidence", "rule"),
    *("version", "decided", "decided_at"),
)
"""What the audit trail tells."""

FILES: Final = {"keep": "kept", "drop": "removed", "quarantine": "quarantined", "gone": "gone"}
"""The file of each action's decisions."""

READ: Final = "read.json"
"""What of tables was read, for the next version (records.earlier)."""

REVIEWS: Final = "reviews.parquet"
"""What people said of pairs when this version was judged (schema REVIEW)."""

ANEW: Final = frozenset({HEADER, READ, REVIEWS})
"""The files that each version writes anew; all others are the log, to which it adds."""

RUN: Final = ("version", "parent", "mode", "digests", "params", "tools")
"""What of the header names the run: all that it was given, and nothing that came of it."""

VALIDATION: Final = "validation.json"
"""What the rules of `validate` said, after its version's name."""

LEAKS: Final = "leaks.json"
"""The leak certificate, after its version's name."""

PLACES: Final = "moved"
"""The file of records that merely moved (schema MOVED)."""


@dataclass(frozen=True)
class Volume:
    """What one version wrote; a column that was read once is kept."""

    version: str
    file: Callable[[str], Path]  # `kept` → the path of that file, which was checked
    _kept: dict[tuple[str, str], pa.ChunkedArray] = field(default_factory=dict, repr=False, compare=False)
    _rows: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def read(self, name: str, columns: Sequence[str], where: pc.Expression | None = None) -> pa.Table:
        """Return columns of a file of decisions, or of some of its rows."""
        if not self._counted(name):  # most files of small versions
            return _only(columns).empty_table()
        if where is not None:
            return store.read_table(self.file(name), DECISION, columns, where)
        new = [column for column in columns if (name, column) not in self._kept]
        if new:
            table = store.read_table(self.file(name), DECISION, new)
            self._kept.update({(name, column): table[column] for column in new})
        return pa.table({column: self._kept[name, column] for column in columns}, schema=_only(columns))

    def _counted(self, name: str) -> int:
        if name not in self._rows:
            self._rows[name] = store.rows_of(self.file(name))
        return self._rows[name]


class _Moves(NamedTuple):
    """Where records were last moved to."""

    table: pa.Table  # schema MOVED, each id once
    when: npt.NDArray[np.int64]  # the ordinal of the version


@dataclass(frozen=True)
class Log:
    """Decisions by version, the oldest first; a file is checked when it is read."""

    header: dict[str, Any]
    volumes: tuple[Volume, ...]
    sealed: store.Sealed | None = None  # None: some of it is not written down yet

    @property
    def path(self) -> Path:
        """The manifest's directory."""
        if self.sealed is None:
            raise ValueError("this log has no directory yet")
        return self.sealed.path

    @property
    def versions(self) -> list[str]:
        """The versions, oldest first."""
        return [volume.version for volume in self.volumes]

    def then(self, version: str, file: Callable[[str], Path]) -> Log:
        """Return the log with one more version, whose files `file` gives."""
        before = tuple(volume for volume in self.volumes if volume.version != version)
        return Log(self.header, (*before, Volume(version, file)))

    def of_version(
        self, version: str, columns: Sequence[str] = DECISION.names, where: pc.Expression | None = None
    ) -> pa.Table:
        """Return what one version decided (columns of DECISION), file by file, each sorted by id."""
        volume = next(volume for volume in self.volumes if volume.version == version)
        tables = (volume.read(name, columns, where) for name in FILES.values())
        return pa.concat_tables([_only(columns).empty_table(), *tables])

    def events(self, columns: Sequence[str] = DECISION.names, where: pc.Expression | None = None) -> pa.Table:
        """Return every decision ever logged (columns of DECISION), the oldest version first."""
        tables = (self.of_version(version, columns, where) for version in self.versions)
        return pa.concat_tables([_only(columns).empty_table(), *tables])

    def live(self, columns: Sequence[str] = DECISION.names) -> pa.Table:
        """Return the state of each record that is still there (columns of DECISION), sorted by id."""
        return self.state(list(dict.fromkeys([*columns, "id"]))).sort_by("id").select(list(columns))

    def state(self, columns: Sequence[str], rows: Rows | None = None) -> pa.Table:
        """Return the state of each record that is still there, in an order of the log's own; or of some of these."""
        if rows is not None and not len(rows):
            return _only(columns).empty_table()
        events = self.events(columns)
        if rows is not None:
            found = events.take(pa.array(self._rows[rows]))
        else:
            found = events if self._there.all() else events.filter(pa.array(self._there))
        moved = [name for name in ("path", "row") if name in columns] if self._moves.table.num_rows else []
        if moved:
            to = self._moved_to if rows is None else self._moved_to[rows]
            at, stays = pa.array(np.maximum(to, 0)), pa.array(to < 0)
            for name in moved:
                now = pc.if_else(stays, found[name], self._moves.table[name].take(at))
                found = found.set_column(found.schema.get_field_index(name), DECISION.field(name), now)
        return found

    def reviews(self) -> list[tuple[str, str, str]]:
        """Return what people said of pairs when the newest version was judged: left, right and label of each."""
        if self.sealed is None or REVIEWS not in self.sealed.sha256:  # earlier releases did not write it down
            return []
        table = store.read_table(self.sealed.file(REVIEWS), REVIEW)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def place(self, name: str) -> dict[str, Any]:
        """Return path, row and version of one record, as the newest version has it; empty if none names it."""
        where, moved = pc.field("id") == name, dict[str, Any]()
        for volume in reversed(self.volumes):
            moved = next(iter(store.read_table(volume.file(PLACES), MOVED, where=where).to_pylist()), {}) | moved
            for row in self.of_version(volume.version, ["path", "row", "version"], where).to_pylist():
                return row | {name: moved[name] for name in ("path", "row") if moved}
        return {}

    @functools.cached_property
    def _there(self) -> Mask:
        """Which of all events are the newest of a record that is still there."""
        events = self.events(("id", "action"))
        first = self.of_version(self.versions[0], ("id",)).num_rows if self.volumes else 0
        oldest, later = events["id"].slice(0, first), events["id"].slice(first)
        newest = np.ones(len(events), np.bool_)
        if len(later):  # few beside the first version's
            newest[:first] = ~pc.is_in(oldest, later.combine_chunks()).to_numpy()
            newest[first:] = _last(later)
        return newest & pc.not_equal(events["action"], "gone").to_numpy()

    @functools.cached_property
    def _rows(self) -> Rows:
        return np.flatnonzero(self._there)

    @functools.cached_property
    def _moves(self) -> _Moves:
        tables = [store.read_table(volume.file(PLACES), MOVED) for volume in self.volumes]
        table = pa.concat_tables([MOVED.empty_table(), *tables])
        when, last = np.repeat(np.arange(len(tables)), [t.num_rows for t in tables]), _last(table["id"])
        return _Moves(table.filter(pa.array(last)).combine_chunks(), when[last])

    @functools.cached_property
    def _moved_to(self) -> Rows:
        """The row of each living record among the moves, -1 where none is newer than its state."""
        counts = [self.of_version(version, ("id",)).num_rows for version in self.versions]
        when = np.repeat(np.arange(len(counts)), counts)[self._there]
        ids = self.events(("id",))["id"].filter(pa.array(self._there))
        at = pc.fill_null(pc.index_in(ids, self._moves.table["id"].combine_chunks()), -1).to_numpy().astype(np.int64)
        at[(at >= 0) & (self._moves.when[np.maximum(at, 0)] <= when)] = -1
        return at


EMPTY: Final = Log({}, ())
"""The log before the first version."""


def _only(columns: Sequence[str]) -> pa.Schema:
    return pa.schema([DECISION.field(name) for name in columns])


def _last(ids: pa.ChunkedArray) -> Mask:
    """Return which ids do not come again."""
    last = np.zeros(len(ids), np.bool_)
    if len(ids):
        codes = ids.combine_chunks().dictionary_encode().indices.to_numpy()
        place = np.empty(codes.max() + 1, np.int64)
        place[codes] = np.arange(len(codes))  # of equal codes the last is what stays
        last[place] = True
    return last


def latest(events: pa.Table) -> pa.Table:
    """Return of each record the last event, less the records that are gone, sorted by id."""
    there = pc.not_equal(events["action"], "gone").to_numpy()
    return events.filter(pa.array(_last(events["id"]) & there)).sort_by("id")


def open_manifest(path: Path) -> Log:
    """Open a manifest directory; a file is checked against its digest when it is first read.

    Raises IntegrityError that names the damaged file, here and there.
    """
    sealed = store.Sealed(path)
    header = store.read_json(sealed.file(HEADER))
    return Log(header, tuple(Volume(version, _file(sealed, version)) for version in header["versions"]), sealed)


def _file(sealed: store.Sealed, version: str) -> Callable[[str], Path]:
    return lambda name: sealed.file(f"{version}.{name}.parquet")


def write(out: Path, base: Log, prints: store.Sealed, decided: store.Sealed, header: dict[str, Any]) -> dict[str, str]:
    """Write a version's files beside the base's: those that dedup decided, and the audit trail; the header last.

    Of what was read `prints` tells. Returns the digests of the files that are linked, by name.
    """
    version, job = header["version"], job_of(header)
    before = [name for name in base.sealed.sha256 if name not in ANEW] if base.sealed else []
    shared = base.sealed.share(before, out) if base.sealed else {}
    files = {f"{version}.{name}.parquet": (decided, f"{name}.parquet") for name in (*FILES.values(), PLACES)}
    if LEAKS in decided.sha256:
        files[f"{version}.{LEAKS}"] = decided, LEAKS
    for target, (sealed, name) in {**files, READ: (prints, READ), REVIEWS: (decided, REVIEWS)}.items():
        links.link(sealed.file(name), out / target, "share")
        shared[target] = sealed.sha256[name]
    with (
        store.replacing(out / f"{version}.audit.jsonl") as trail,
        trail.open("w", encoding="utf-8", newline="") as lines,
    ):
        lines.writelines(audit(told(Volume(version, lambda name: decided.file(f"{name}.parquet"))), job))
    versions = [*(v for v in base.versions if v != version), version]
    jobs = {**base.header.get("jobs", {}), version: job}
    store.write_json(out / HEADER, {**header, "format": FORMAT, "versions": versions, "jobs": jobs})
    return shared


def job_of(header: Mapping[str, Any]) -> str:
    """Return the name of the run that made a version: 16 hex digits of the digest of all that it was given.

    No host and no time is in it: the same run on the same inputs, wherever and whenever, has the same name.
    """
    given = {name: header.get(name) for name in RUN}
    return hashlib.sha256(store.canonical_json(given)).hexdigest()[:16]


def told(volume: Volume) -> pa.Table:
    """Return the events of a version that its audit trail tells (columns AUDIT), sorted by id.

    Those are removals, restorations and quarantines, and who is gone.
    """
    restored = pc.field("reason") == "restored"
    files = {name: restored if action == "keep" else None for action, name in FILES.items()}
    return pa.concat_tables(volume.read(name, AUDIT, where) for name, where in files.items()).sort_by("id")


def audit(events: pa.Table, job: str | None = None) -> Iterator[str]:
    """Give one line of JSON for each event (columns of AUDIT, and the job), a batch at a time."""
    for batch in events.select(AUDIT).to_batches(max_chunksize=10_000):
        columns = {name: _json(batch[name]) for name in AUDIT} | ({"job": _WORD(job)} if job else {})
        pieces: list[pa.Array | str] = []
        for name in sorted(columns):
            pieces += [", " if pieces else "{", f'"{name}": ', columns[name]]
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
    by_action = _counted(data)
    return {
        "n_in": len(data),
        "kept": by_action.get("keep", 0),
        "dropped": by_action.get("drop", 0),
        "quarantined": by_action.get("quarantine", 0),
        "references": live.num_rows - len(data),
    }


def outcomes(rows: pa.Table) -> dict[str, Any]:
    """Count data records by outcome, in the words of FILES, and what is not kept by its reason."""
    data = rows.filter(pc.equal(rows["role"], "data"))
    actions = _counted(data["action"])
    reasons = _counted(data.filter(pc.not_equal(data["reason"], "kept"))["reason"])
    return {name: actions.get(action, 0) for action, name in FILES.items()} | {"reasons": dict(sorted(reasons.items()))}


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in column.value_counts().to_pylist()}
