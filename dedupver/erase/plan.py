"""What is to be erased, decided as a whole: the records named, and those that resemble them."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import manifest, params, query, replay, repository, state, versions
from dedupver.erase import objects, refs
from dedupver.erase.alike import READ, alike
from dedupver.index.segment import Index
from dedupver.repository import git
from dedupver.revision import fetch
from dedupver.schema import DedupverError, StateError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dedupver.erase.alike import Alike
    from dedupver.manifest import Log
    from dedupver.replay import Released

_NAMED_BY_CONTENT: Final = re.compile(r"([0-9a-f]{16})(-[0-9]+)?")


@dataclass(frozen=True)
class Plan:
    """Records to be erased, and what is known of them over all versions."""

    ids: frozenset[str]
    alike: list[Alike]  # other records, best first
    released: list[Released]
    first: int  # the number of the first version that held one of the records
    digests: frozenset[bytes]  # of their parts
    events: tuple[pa.Table, ...]  # every decision ever taken (columns id, version written, parts), a table a lineage
    by_content: bool  # rows are named after their contents

    @property
    def duplicates(self) -> list[Alike]:
        """Return the others that are duplicates of what is to be erased."""
        return [each for each in self.alike if each.duplicate]


def plan(root: Path, ids: Collection[str]) -> Plan:
    """Find records in all versions, and what resembles them.

    Raises StateError unless the present version is built and committed, DedupverError for an id that no version knows.
    """
    repository.require(root)
    versions.recover(root)
    require_clean(root)
    released = replay.history(root)
    found: dict[str, Alike] = {}
    events: list[pa.Table] = []
    by_content = False
    for log, index in _lineages(root, released):
        table, given = log.events(READ), params.Params.model_validate(log.header["params"])
        lengths = [log.of_version(version, ("id",)).num_rows for version in log.versions]
        written = [name for name, count in zip(log.versions, lengths, strict=True) for _ in range(count)]
        events.append(table.append_column("written", pa.array(written, pa.string())))
        by_content |= given.source.columns.id is None
        known = {*ids} & set(pc.unique(table["id"]).to_pylist())
        for each in alike(table, index, known, given) if known else ():
            if each.id not in ids and each.id not in found:
                found[each.id] = each
    _require_known(manifest.open_manifest(root / "manifest"), ids, events)
    ordered = sorted(found.values(), key=lambda each: (not each.duplicate, -each.score, each.id))
    return chosen(Plan(frozenset(), ordered, released, 0, frozenset(), tuple(events), by_content), ids)


def chosen(planned: Plan, ids: Collection[str]) -> Plan:
    """Return the plan for other ids, all of them known."""
    names = pa.array(sorted(ids), pa.string())
    held: set[str] = set()
    digests: set[bytes] = set()
    for table in planned.events:
        mine = table.filter(pc.is_in(table["id"], names))
        held |= set(pc.unique(mine["written"]).to_pylist())
        digests |= {part[d] for parts in mine["parts"].to_pylist() for part in parts for d in ("sha256", "content")}
    first = next((n for n, version in enumerate(planned.released) if version.name in held), 0)
    left = [each for each in planned.alike if each.id not in ids]
    return replace(planned, ids=frozenset(ids), first=first, digests=frozenset(digests), alike=left)


def require_whole(planned: Plan) -> None:
    """Refuse to leave copies of a row that is named after its content: one of them would take its name."""
    if not planned.by_content:
        return
    stems = {found.group(1) for name in planned.ids if (found := _NAMED_BY_CONTENT.fullmatch(name))}
    for each in planned.alike:
        found = _NAMED_BY_CONTENT.fullmatch(each.id)
        if found and found.group(1) in stems and each.id not in planned.ids:
            raise StateError(
                f"{each.id} is a copy of {each.of}, and both are named after their content: it would take its name. "
                "Erase all copies, or give the rows ids of their own (source.columns.id)"
            )


def require_clean(root: Path) -> None:
    """Raise StateError unless the present version is built and committed, and no file that git knows has changes."""
    state.require_released(root)
    refs.branch(root)
    require_committed(root)


def require_committed(root: Path) -> None:
    """Raise StateError where a file that git knows has changes."""
    changed = git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        raise StateError(f"{changed[0][3:]} has changes that are not committed: run `git commit` or `git stash` first")


def _lineages(root: Path, released: list[Released]) -> Iterator[tuple[Log, Index]]:
    """Yield the log and the index of the present version, then of each earlier one of which no later log tells."""
    yield manifest.open_manifest(root / "manifest"), Index.open(root / "index")
    cache = objects.cache_of(root)
    told = set(_files(root, cache, "HEAD").items())
    for version in reversed(released):
        files = _files(root, cache, version.commit)
        if not {each for each in files.items() if each[0].startswith(f"{version.name}.")} <= told:
            told |= set(files.items())
            with tempfile.TemporaryDirectory(prefix="dedupver-") as folder:
                for name in ("manifest", "index"):
                    fetch(root, version.commit, name, Path(folder, name))
                yield manifest.open_manifest(Path(folder, "manifest")), Index.open(Path(folder, "index"))


def _files(root: Path, cache: Path, commit: str) -> dict[str, str]:
    """Return the name → digest of the files of a commit's manifest: a version is known by its own."""
    digest = repository.outputs(root, commit).get("manifest")
    return objects.listing(cache, digest) if digest else {}


def _require_known(log: Log, ids: Collection[str], events: list[pa.Table]) -> None:
    """Raise DedupverError for an id that no version knows."""
    missing = {*ids} - {name for table in events for name in pc.unique(table["id"]).to_pylist()}
    if missing:
        raise DedupverError(query.unknown(log, min(missing)))
