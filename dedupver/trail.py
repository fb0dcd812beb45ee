"""The audit trail of all versions, asked: each removal and restoration, by what it was and when."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from dedupver.manifest import AUDIT, FILES
from dedupver.reviews import cell
from dedupver.schema import DedupverError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.manifest import Log

ACTIONS: Final = {"drop": "drop", "restore": "keep", "quarantine": "quarantine", "gone": "gone"}
"""What an event can be → the action of the decision that it is. Of the kept only those are told that came back."""

COLUMNS: Final = (
    *("written", "action", "id", "reason", "representative", "method", "score", "threshold", "evidence", "rule"),
    *("source", "label", "version", "decided", "decided_at", "job"),
)
"""What is told of an event: `written` is the version whose files tell it, `job` the run that wrote them."""


@dataclass(frozen=True)
class Asked:
    """Which events are asked for; None: all."""

    since: str | None = None  # versions, both included
    until: str | None = None
    action: str | None = None  # one of ACTIONS
    reason: str | None = None
    method: str | None = None
    representative: str | None = None
    source: str | None = None
    label: str | None = None


def events(log: Log, asked: Asked) -> Iterator[dict[str, Any]]:
    """Give the events of all versions (COLUMNS): the oldest version first, within one by action and id.

    Raises DedupverError for a version or an action that there is not.
    """
    if asked.action not in {None, *ACTIONS}:
        raise DedupverError(f"no action {asked.action!r}: there are {', '.join(ACTIONS)}")
    jobs = log.header.get("jobs", {})
    for version in _between(log.versions, asked):
        volume = next(each for each in log.volumes if each.version == version)
        for word, action in ACTIONS.items():
            if asked.action in {None, word}:
                found = volume.read(
                    FILES[action], [*AUDIT, "source", "label"], _where(asked, restored=word == "restore")
                )
                for batch in found.sort_by("id").to_batches(max_chunksize=10_000):
                    for row in batch.to_pylist():
                        told = row | {"written": version, "action": word, "job": jobs.get(version)}
                        yield {name: told[name] for name in COLUMNS}


def summary(counted: Counter[str]) -> str:
    """Return the number of events by reason."""
    reasons = ", ".join(f"{reason} {counted[reason]}" for reason in sorted(counted))
    return f"{counted.total()} events{': ' if reasons else ''}{reasons}"


def as_json(found: Iterator[dict[str, Any]], limit: int | None) -> Iterator[str]:
    """Yield the answer as JSON piece by piece: the events up to a limit, and how many there are by reason."""
    flat, counted, comma = json.JSONEncoder(sort_keys=True), Counter[str](), ""
    yield '{"events": ['
    for row in found:
        if limit is None or counted.total() < limit:
            yield f"{comma}\n {flat.encode(row)}"
            comma = ","
        counted[row["reason"]] += 1
    yield f'\n],\n"reasons": {json.dumps(counted, sort_keys=True)}}}\n'


def as_csv(found: Iterator[dict[str, Any]], limit: int | None, counted: Counter[str]) -> Iterator[str]:
    """Yield the events as CSV, and count them; no cell starts a formula."""
    yield _line(COLUMNS)
    for row in found:
        if limit is None or counted.total() < limit:
            yield _line([cell(value) if isinstance(value, str) else value for value in row.values()])
        counted[row["reason"]] += 1


def _line(cells: Any) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def _between(versions: list[str], asked: Asked) -> list[str]:
    for name in (asked.since, asked.until):
        if name is not None and name not in versions:
            raise DedupverError(f"no version {name!r} in the log: there are {', '.join(versions)}")
    first = versions.index(asked.since) if asked.since else 0
    return versions[first : versions.index(asked.until) + 1 if asked.until else None]


def _where(asked: Asked, *, restored: bool) -> pc.Expression:
    where = pc.field("reason") == "restored" if restored else pc.field("id").is_valid()
    for each in fields(asked):
        value = getattr(asked, each.name)
        if value is not None and each.name not in {"since", "until", "action"}:
            where &= pc.field(each.name) == value
    return where
