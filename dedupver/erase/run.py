"""An erasure from plan to proof.

All is built on the side and compared, then git's names move at once, then all is cleaned and searched. Broken off
before the names move, nothing has happened; after that `finish` goes on.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dedupver import replay, repository, store
from dedupver.erase import again, certificate, needles, objects, plan, refs, traces
from dedupver.erase.search import Search
from dedupver.repository import git
from dedupver.schema import IntegrityError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from dedupver.erase.again import Side
    from dedupver.erase.plan import Plan
    from dedupver.erase.search import Hit

    Say = Callable[[str], None]

STATE = "erasure.json"
UNDO = "undo"
SETTLED = "settled"
SHOWN = 20


@dataclass(frozen=True)
class Options:
    """How an erasure is done."""

    history: bool = False  # earlier versions are rewritten too
    drop_backup: bool = False  # and nothing of what they were is kept
    remotes: tuple[str, ...] = ()  # of DVC's, those that are cleaned and searched; none: all
    projects: tuple[Path, ...] = ()  # others that use the same cache or remotes
    key: str = ""  # of the certificate's hashes
    accept_changes: bool = False  # records outside of the erased ones' clusters may be judged otherwise
    accept_mentions: bool = False  # what stays may hold an id, or bytes that an erased record held too


def begin(root: Path, planned: Plan, options: Options, say: Say) -> dict[str, Any]:
    """Build every version without the records, compare, and move git's names; return what was done.

    Without `history` that is one commit more, and its proof. With it the rest is `finish`'s. Raises IntegrityError,
    before any name is moved, where something else would change or the records are still there.
    """
    require_none_pending(root)
    before = planned.released[planned.first - 1].commit if planned.first else None
    if options.history:
        commits = {version.commit for version in planned.released}
        refs.require_free(root, commits, refs.first_of(root, before))
    with again.aside(root, planned, say) as side:
        _require_equal(side, options)
        say("searching the new versions")
        left = _mentions(root, planned, side, options)
        _require_untouched(root, side)
        done = _move(root, planned, side, left) if options.history else _present(root, planned, side, left, options)
    traces.settle(root)
    if options.history:
        (traces.journal(root) / SETTLED).touch()
    return done


def _require_untouched(root: Path, side: Side) -> None:
    """Refuse where something was changed or committed meanwhile: it would be lost."""
    plan.require_clean(root)
    if git(root, "rev-parse", "HEAD").strip() != side.head:
        raise StateError("something was committed while the versions were built again: run the same command again")


def require_none_pending(root: Path) -> None:
    """Raise StateError where an erasure is to be finished first."""
    if pending(root) is not None:
        raise StateError("an erasure was begun here and is not finished: run `dedupver erase --drop-backup`")


def pending(root: Path) -> dict[str, Any] | None:
    """Return an erasure of which git's names are moved and that is not finished; forget one that moved none."""
    path = traces.journal(root) / STATE
    if not path.is_file():
        return None
    state: dict[str, Any] = store.read_json(path)
    if refs.moved(root, [refs.Move(*each) for each in state["moves"]]):
        return state
    shutil.rmtree(path.parent)
    return None


def finish(root: Path, options: Options, say: Say) -> dict[str, Any]:
    """Remove what is left of the records after git's names were moved, search for them, and certify.

    Raises IntegrityError where anything is found, which names it; StateError where nothing is to be finished.
    """
    repository.require(root)
    state = pending(root)
    if state is None:
        raise StateError("no erasure is waiting to be finished: name the records to erase")
    every = objects.remotes(root)
    remotes = list(options.remotes or every)
    if unknown := {*remotes} - {*every}:
        raise StateError(f"DVC knows no remote {min(unknown)!r}: `dvc remote list` names {', '.join(every) or 'none'}")
    _settle_once(root)
    say("pushing the new versions")
    traces.push(root, remotes)
    say("removing experiments, old data and old commits")
    elsewhere = traces.remove(root, remotes, options.projects, state["old"])
    found = Search(needles.of_stated(state["needles"]), state["others"])
    traces.search(root, found, remotes, say)
    _require_none(found.hits)
    left_out = [f"the remote {name} of DVC, which was not named" for name in every if name not in remotes]
    hosts = git(root, "remote").split()
    left_out += [
        f"the git repository {name}: `git push --force --all {name} && git push --force --tags {name}`"
        for name in hosts
    ]
    path = certificate.write(
        root,
        options.key,
        _now(),
        scope="history",
        ids=state["ids"],
        digests=[bytes.fromhex(each) for each in state["digests"]],
        versions=state["versions"],
        found=found,
        looked_for=state["looked_for"],
        not_reached=[*left_out, *state["not_reached"]],
    )
    _commit(root, path, len(state["ids"]))
    shutil.rmtree(traces.journal(root))
    said = {name: state[name] for name in ("versions", "changed", "elsewhere")}
    return said | _told(root, found, path) | {"let_go": elsewhere}


def _settle_once(root: Path) -> None:
    """Turn the workspace into the new version where that was not reached; later, leave nobody's work in danger."""
    mark = traces.journal(root) / SETTLED
    if mark.exists():
        plan.require_committed(root)
        return
    traces.settle(root)
    mark.touch()


def _move(root: Path, planned: Plan, side: Side, left: Left) -> dict[str, Any]:
    """Write down what a later run needs, then move git's names."""
    new = {each.old: each.new for each in side.versions}
    moves = refs.moves(root, new, side.tip, planned.ids)
    old = {move.old for move in moves} | set(new)
    folder = traces.journal(root)
    folder.mkdir(parents=True, exist_ok=True)
    store.write_bytes(folder / UNDO, refs.undo_lines(moves).encode())
    state = {
        "ids": sorted(planned.ids),
        "digests": sorted(each.hex() for each in planned.digests - side.shared),
        "moves": [list(move) for move in moves],
        "old": sorted(old - {move.new for move in moves} - {*new.values()}),
        "versions": [certificate.version(each) for each in side.versions],
        "changed": _changed(side),
        "needles": needles.stated(left.needles),
        "others": sorted(side.others),
        "looked_for": left.counted,
        "not_reached": left.not_reached,
        "elsewhere": _elsewhere(side),
    }
    store.write_json(folder / STATE, state)
    refs.move(root, moves)
    return {**{name: state[name] for name in ("versions", "changed", "elsewhere")}, "undo": _undo(root)}


def _present(root: Path, planned: Plan, side: Side, left: Left, options: Options) -> dict[str, Any]:
    """Commit the present version without the records, with a certificate that says what holds them still."""
    head = git(root, "rev-parse", "HEAD").strip()
    space = side.space
    old = "the commits and tags of " + ", ".join(version.name for version in planned.released[planned.first :])
    told = [{**certificate.version(each), "new": None} for each in side.versions[-1:]]
    path = certificate.write(
        space,
        options.key,
        _now(),
        scope="the present version",
        ids=planned.ids,
        digests=planned.digests - side.shared,
        versions=told,
        found=left.found,
        looked_for=left.counted,
        not_reached=[f"{old}, and their data in DVC's cache and remotes, unless --history", *left.not_reached],
    )
    commit = replay.commit(root, space, replay.Released("", head), head, _message(len(planned.ids)))
    git(root, "update-ref", refs.branch(root), commit, head)
    said = {"versions": told, "changed": _changed(side), "elsewhere": _elsewhere(side)}
    return said | _told(root, left.found, root / path.relative_to(space))


@dataclass(frozen=True)
class Left:
    """What is looked for in the end, and the search of the new versions for it."""

    found: Search
    needles: list[needles.Needle]
    counted: dict[str, int]
    not_reached: list[str]


def _mentions(root: Path, planned: Plan, side: Side, options: Options) -> Left:
    """Search the new versions; return what of the records none of them holds.

    Parts that other records hold as well are not looked for.
    """
    shared = {form for digest in side.shared for form in (digest, digest.hex().encode())}
    wanted = [n for n in side.needles if n.part not in side.shared and n.data not in shared]
    commits, cache = [each.new for each in side.versions], objects.cache_of(root)
    commits = commits if options.history else commits[-1:]
    found = _searched(root, wanted, side, commits, cache)
    met = {hit.needle for hit in found.hits}
    if met and not options.accept_mentions:
        raise IntegrityError(
            "nothing was changed, for what stays would still hold some of it:\n"
            + "\n".join(_hits(found.hits))
            + "\nErase those records as well, edit these files, or accept it with --accept-mentions: it is not looked "
            "for then"
        )
    left = [needle for needle in wanted if needle not in met]
    found = _searched(root, left, side, commits, cache) if met else found
    kinds = Counter(needle.kind for needle in left)
    counted = {kind: kinds[kind] for kind in ("id", "digest", "bytes")}
    counted |= {"held_by_others": len(side.needles) - len(wanted), "mentioned_by_others": len(met)}
    urls = _elsewhere(side)
    not_reached = [f"{len(urls)} objects elsewhere that rows named by URL"] if urls else []
    if met or len(wanted) < len(side.needles):
        not_reached.append("what other records hold as well, by the decision to keep these")
    short = sorted(name for name in planned.ids if len(name.encode()) < needles.SHORTEST_ID)
    if short:
        not_reached.append(f"{len(short)} ids of fewer than {needles.SHORTEST_ID} bytes, which were not looked for")
    return Left(found, left, counted, not_reached)


def _searched(root: Path, wanted: Iterable[needles.Needle], side: Side, commits: list[str], cache: Path) -> Search:
    found = Search(wanted, sorted(side.others))
    blobs, seen = set[str](), set[str]()
    for commit in dict.fromkeys(commits):
        objects.search_tree(found, root, commit, blobs)
        objects.search_used(found, root, commit, cache, seen)
    return found


def _require_equal(side: Side, options: Options) -> None:
    lines = [
        f"{version.version}: {each['id']} was {each['before']}, would be {each['after']}"
        for version in side.versions
        for each in version.compared.others
    ]
    lines += [f"{version.version}: clean/{path} differs" for version in side.versions for path in version.compared.odd]
    if lines and not options.accept_changes:
        raise IntegrityError(
            "nothing was changed, for more than the records and their clusters would be:\n  "
            + "\n  ".join(lines[:SHOWN])
            + (f"\n  and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")
            + "\nA search that is not exact can be the reason: --accept-changes goes on"
        )


def _require_none(hits: Collection[Hit]) -> None:
    if hits:
        raise IntegrityError(
            "not erased, there are still:\n"
            + "\n".join(_hits(hits))
            + "\nRemove these and run `dedupver erase --drop-backup` again; what another project uses as well it must "
            "let go itself"
        )


def _hits(hits: Collection[Hit]) -> list[str]:
    lines = [
        f"  {hit.place}: {hit.name}{f' ({hit.within})' if hit.within else ''}: {hit.needle.kind} of {hit.needle.record}"
        for hit in hits
    ]
    lines = list(dict.fromkeys(lines))
    return lines[:SHOWN] + ([f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else [])


def _elsewhere(side: Side) -> list[str]:
    """Return the URLs that rows which are gone named."""
    return sorted({url for version in side.versions for url in version.urls})


def _changed(side: Side) -> list[dict[str, Any]]:
    return [
        {"version": version.version, **each}
        for version in side.versions
        for each in (*version.compared.changed, *version.compared.others)
    ]


def _told(root: Path, found: Search, path: Path) -> dict[str, Any]:
    return {
        "certificate": path.relative_to(root).as_posix(),
        "searched": {place: {"objects": found.objects[place], "bytes": found.bytes[place]} for place in found.objects},
        "hits": len(found.hits),
        "not_opened": [each._asdict() for each in found.unsearched],
    }


def _commit(root: Path, path: Path, records: int) -> None:
    name = path.relative_to(root).as_posix()
    git(root, "add", "--", name)
    git(root, "commit", "--quiet", "--message", _message(records), "--", name)


def _message(records: int) -> str:
    return f"Erasure of {records} record{'' if records == 1 else 's'}"


def _undo(root: Path) -> str:
    place = (traces.journal(root) / UNDO).relative_to(root)
    return f"git update-ref --stdin < {place} && rm -r {place.parent} && git reset --hard && dvc checkout"


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
