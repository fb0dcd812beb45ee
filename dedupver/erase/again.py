"""Every version without some records, built on the side: history is replayed, and nothing else may differ."""

from __future__ import annotations

import contextlib
import csv
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import manifest, params, project, replay, repository, store
from dedupver.digests import of_parts, parts_in, to_column
from dedupver.erase import needles, objects, raw, same
from dedupver.repository import dvc, git
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from dedupver.erase.needles import Needle
    from dedupver.erase.plan import Plan
    from dedupver.replay import Released

REDACTED: Final = "[erased]"
TIP: Final = "the present state"


@dataclass
class Rebuilt:
    """A version, and what became of it."""

    version: str
    old: str  # the commit that held the records
    new: str
    removed: int  # records that it held
    before: dict[str, Any]
    after: dict[str, Any]
    compared: same.Compared
    urls: list[str] = field(default_factory=list)


@dataclass
class Side:
    """What was built on the side, and what to look for."""

    versions: list[Rebuilt] = field(default_factory=list)
    needles: dict[Needle, None] = field(default_factory=dict)
    shared: set[bytes] = field(default_factory=set)  # digests of parts that records which stay hold too
    others: set[str] = field(default_factory=set)  # ids and paths of such records that an erased id is a piece of
    closed: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    head: str = ""  # what was checked out
    tip: str = ""
    space: Path = Path()  # the worktree, which holds the last of them


@contextlib.contextmanager
def aside(root: Path, planned: Plan, say: Callable[[str], None]) -> Iterator[Side]:
    """Build every version from the first that held one of the records on without them, and give what came of it.

    Nothing but new objects in git and in DVC's cache is written. Raises StateError where a version can't be built,
    SourceError for raw data that can't be written again.
    """
    ids, released, first = planned.ids, planned.released, planned.first
    side, cache = Side(head=git(root, "rev-parse", "HEAD").strip()), objects.cache_of(root)
    with replay.worktree(root) as space:
        parent = None
        if first:
            before = released[first - 1]
            replay.check_out(space, before)
            dvc(space, "checkout", "--force", "--allow-missing")
            parent = before.commit
        for version in [*released[first:], *_tip(root, released, side.head)]:
            _set_up(space, version, follows=parent is not None)
            old = _live(space, version)
            splits = same.assigned(space / "splits")
            found = _without(space, old, ids, side)
            replay.build(space, version)
            parent = replay.commit(root, space, version, parent, redacted(replay.message_of(root, version.commit), ids))
            rebuilt = _compared(root, space, cache, version, parent, old, ids, found)
            same.splits(rebuilt.compared, splits, same.assigned(space / "splits"))
            side.versions.append(rebuilt)
            _stays(space, side, ids, planned.digests)
            say(f"rebuilt {version.name}")
        side.tip, side.space = str(parent), space
        yield side


def _tip(root: Path, released: Sequence[Released], head: str) -> list[Released]:
    """Return what lies behind the last version, where that is not released as it is."""
    trees = [git(root, "rev-parse", f"{commit}^{{tree}}") for commit in (released[-1].commit, head)]
    return [] if trees[0] == trees[1] else [replay.Released(TIP, head)]


def _set_up(space: Path, version: Released, *, follows: bool) -> None:
    if version.name != TIP:
        replay.set_up(space, version, {}, follows=follows)
        return
    base = (space / "base.dvc").read_bytes()  # the one just rebuilt
    replay.check_out(space, version)
    store.write_bytes(space / "base.dvc", base)
    dvc(space, "checkout", "--force", "--allow-missing")


def _live(space: Path, version: Released) -> pa.Table:
    """Return the decisions of a version as they were (schema DECISION)."""
    if not (space / "manifest" / manifest.HEADER).is_file():
        raise StateError(f"the manifest of {version.name} is in no cache here: run `dvc fetch --all-tags`")
    return manifest.open_manifest(space / "manifest").live()


@dataclass
class _Found:
    places: dict[str, set[int]]  # in the version's own raw data: path → rows, -1 for a file
    ids: set[str]
    urls: list[str]
    closed: dict[tuple[str, str], set[int]] = field(default_factory=dict)  # batch, path → rows that the others close up


def _without(space: Path, old: pa.Table, ids: Collection[str], side: Side) -> _Found:
    """Take the records out of the worktree's raw data and reviews, and note what is to be looked for."""
    given = params.load(space / "params.yaml")
    located = _located(space, given, old, ids)
    found = _Found({}, set(pc.unique(old["id"].filter(pc.is_in(old["id"], _array(ids)))).to_pylist()), [])
    for path, row in located:
        found.places.setdefault(path, set()).add(row)
    source = space / given.source.path
    named: set[str] = set()
    for held in raw.read(source, given.source, found.places) if located else ():
        record = located[held.path, held.row]
        side.needles |= dict.fromkeys(needles.of_held(held, source, record))
        found.urls += held.urls
        named |= set(held.files) if held.row >= 0 else set()
    for row in old.filter(pc.is_in(old["id"], _array(ids))).select(["id", "parts"]).to_pylist():
        side.needles |= dict.fromkeys(needles.of_id(row["id"], row["id"]))
        for part in row["parts"]:
            side.needles |= dict.fromkeys(needles.of_digests(part["sha256"], part["content"], row["id"]))
    if located:
        taken = raw.remove(source, given.source, found.places, named)
        _track(space, given.source.path, [*taken.deleted, *taken.rewritten])
    found.closed = _closed(given, found, side)
    _drop_reviews(space / given.dedup.reviews, ids)
    return found


def _located(space: Path, given: params.Params, old: pa.Table, ids: Collection[str]) -> dict[tuple[str, int], str]:
    """Return where in the version's own raw data the records lie: (path, row) → id.

    In mode append also what was read of them and changed nothing, since an earlier batch holds the same.
    """
    tables = [old]
    prints = space / "build" / "fingerprint"
    if given.source.mode == "append" and (prints / store.LISTING).is_file():
        tables.append(project.brought(prints, given.version.name)[0])
    found: dict[tuple[str, int], str] = {}
    for table in tables:
        mine = table.filter(pc.is_in(table["id"], _array(ids)))
        for row in mine.select(["id", "path", "row", "version"]).to_pylist():
            if given.source.mode == "snapshot" or row["version"] == given.version.name:
                found[row["path"], row["row"]] = row["id"]
    return found


def _track(space: Path, source: str, touched: Iterable[str]) -> None:
    """Let DVC, or git, track raw data that was changed. Raises StateError for data that something else makes."""
    tracked: dict[str, None] = {}
    for path in touched:
        place = PurePosixPath(source, path)
        owner = next((p for p in [place, *place.parents] if (space / f"{p}.dvc").is_file()), None)
        if owner is not None:
            tracked[str(owner)] = None
        elif _ignored(space, str(place)):
            raise StateError(
                f"{place} is neither added to DVC nor to git, a stage makes it: erase it from what it is made of"
            )
    for name in tracked:
        if "deps" in repository.read_yaml(space / f"{name}.dvc"):
            raise StateError(
                f"{name} is an import, which the record would come back with: erase it where {name} comes from, "
                f"or make it your own (`dvc remove {name}.dvc`, `dvc add {name}`)"
            )
        if (space / name).exists():
            dvc(space, "add", "--quiet", name)
        else:
            dvc(space, "remove", f"{name}.dvc")


def _ignored(space: Path, path: str) -> bool:
    with contextlib.suppress(StateError):
        return bool(git(space, "check-ignore", path).strip())
    return False


def _drop_reviews(path: Path, ids: Collection[str]) -> None:
    """Leave out the lines of a CSV file in which a field is one of the ids."""
    if not path.is_file():
        return
    lines = path.read_bytes().decode().splitlines(keepends=True)
    kept: list[str] = []
    reader = csv.reader(iter(lines))
    at = 0
    for fields in reader:
        record = lines[at : reader.line_num]
        at = reader.line_num
        if not {*fields} & {*ids}:
            kept += record
    if len(kept) < len(lines):
        store.write_bytes(path, "".join(kept).encode())


def _compared(  # noqa: PLR0913, PLR0917 - a version as it was and as it is
    root: Path,
    space: Path,
    cache: Path,
    version: Released,
    new: str,
    old: pa.Table,
    ids: Collection[str],
    found: _Found,
) -> Rebuilt:
    given = params.load(space / "params.yaml")
    now = manifest.open_manifest(space / "manifest").live()
    append = given.source.mode == "append"
    compared = same.decisions(old, now, ids, found.closed)
    free = same.free_of(old, now, compared, ids, append=append)
    was, becomes = (
        objects.listing(cache, repository.outputs(root, commit)[same.CLEAN]) for commit in (version.commit, new)
    )
    same.published(compared, cache, was, becomes, free, given.source)
    before, after = (manifest.counts(table) for table in (old, now))
    return Rebuilt(version.name, version.commit, new, len(found.ids), before, after, compared, found.urls)


def _closed(given: params.Params, found: _Found, side: Side) -> dict[tuple[str, str], set[int]]:
    """Return the rows that close up, by the batch, where there are several, and the path: of all batches so far."""
    append = given.source.mode == "append"
    batch = given.version.name if append else ""
    now = {(batch, path): {row for row in rows if row >= 0} for path, rows in found.places.items()}
    side.closed = (side.closed if append else {}) | now
    return side.closed


def _stays(space: Path, side: Side, ids: Collection[str], known: Collection[bytes]) -> None:
    """Note what records that stay have in common with those that go."""
    now = manifest.open_manifest(space / "manifest").live(("id", "path", "parts"))
    names = parts_in(now["parts"])
    for digest in ("sha256", "content"):
        have = to_column(of_parts(now["parts"], digest, names)[0])
        side.shared |= set(have.filter(pc.is_in(have, pa.array(sorted(known), pa.binary(32)))).to_pylist())
    for column in (now["id"], now["path"]):
        for name in ids:
            side.others |= set(column.filter(pc.match_substring(column, name)).to_pylist())


def redacted(message: str, ids: Collection[str]) -> str:
    """Return a message without the ids, the longest first."""
    for name in sorted(ids, key=len, reverse=True):
        message = message.replace(name, REDACTED) if len(name) >= needles.SHORTEST_ID else message
    return message


def _array(ids: Collection[str]) -> pa.Array:
    return pa.array(sorted(ids), pa.string())
