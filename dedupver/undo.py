"""A drop taken back by a review, which the next run hears; and the review taken back in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from dedupver import query, reviews, state
from dedupver.manifest import open_manifest
from dedupver.project import Project
from dedupver.remedies import droppers, followers
from dedupver.reviews import COLUMNS, Review
from dedupver.rivals import rivals_of
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from dedupver.manifest import Log

BY: Final = {"by": "undo"}
"""What a line that was written here says of itself, in a column of its own."""


def undo(root: Path, names: Sequence[str], other: str | None = None) -> dict[str, Any]:
    """Write reviews that restore dropped records: `different` from each kept record that drops one.

    With `other` from this one alone. Returns the pairs `added`, those `removed` (they were called the same), and
    `follow`: who is kept now and goes for a record that comes back. Raises DedupverError for an id that is not known,
    StateError for a record that is not dropped, or for a workspace that is not one finished version.
    """
    state.require_built(root, reviewed=False)
    project = Project(root)
    log, path = open_manifest(root / "manifest"), root / project.params.dedup.reviews
    said = reviews.read(path)
    rows = {name: _dropped(log, name) for name in dict.fromkeys(names)}
    back, heard = _coming_back(log, said) | set(rows), [(each.left, each.right, each.label) for each in said]
    added: list[tuple[str, str]] = []
    follow: dict[str, list[str]] = {}
    for name, row in rows.items():
        mine = [
            {**each, "action": "keep"} if each["id"] in back else each for each in rivals_of(project, log, name, heard)
        ]
        wanted = dict.fromkeys([row["representative"], *(each["id"] for each in droppers(mine))])
        if other is not None and other not in wanted:
            raise StateError(f"{other!r} does not drop {name!r}: {', '.join(map(repr, wanted))} do")
        later = [each["id"] for each in followers(mine) if each["id"] not in wanted]
        wanted |= dict.fromkeys(each for each in later if each in back)  # they come back as well, and are to stay
        added += [(name, its) for its in wanted if other in {None, its}]
        follow[name] = [each for each in later if each not in wanted]
    there = {_pair(each): each.label for each in said}
    removed = [pair for pair in added if there.get(frozenset(pair)) == "same"]
    added = [pair for pair in added if there.get(frozenset(pair)) != "different"]
    _write(path, [each for each in said if _pair(each) not in set(map(frozenset, removed))], added)
    return {"added": added, "removed": removed, "follow": {name: ids for name, ids in follow.items() if ids}}


def redo(root: Path, names: Sequence[str], other: str | None = None) -> dict[str, Any]:
    """Take back what `undo` wrote of some records; return the pairs `removed`.

    Raises StateError where it wrote nothing of one.
    """
    state.require_built(root, reviewed=False)
    path = root / Project(root).params.dedup.reviews
    said = reviews.read(path)
    mine = [
        each for each in said if each.more.get("by") == BY["by"] and each.left in names and other in {None, each.right}
    ]
    for name in names:
        if name not in {each.left for each in mine}:
            raise StateError(
                f"`dedupver undo` wrote no line of {name!r}: take a line that you wrote out of {path.name}"
            )
    _write(path, [each for each in said if each not in mine], [])
    return {"added": [], "removed": [(each.left, each.right) for each in mine], "follow": {}}


def _dropped(log: Log, name: str) -> dict[str, Any]:
    """Return the row of a record that is dropped.

    Raises for any other what is to be done instead.
    """
    row = query.explain(log, name).decision
    words = {
        "keep": "it is kept: there is nothing to undo",
        "gone": "it left the source: put it back there",
        "quarantine": f"it is in quarantine ({row['reason']}): mend {row['path']}",
    }
    if row["action"] in words:
        raise StateError(f"{name!r} is not dropped: {words[row['action']]}")
    if row["reason"] == "repeated_part":
        raise StateError(f"{name!r} is dropped for no other record: raise the number of {row['rule']} in `dedup.caps`")
    return row


def _coming_back(log: Log, said: Sequence[Review]) -> set[str]:
    """Return the dropped that were told apart from their representatives since the version was built."""
    new = {_pair(each) for each in said if each.label == "different"}
    new -= {frozenset((left, right)) for left, right, label in log.reviews() if label == "different"}
    ids = sorted({name for pair in new for name in pair})
    rows = log.events(["id", "representative"], pc.field("id").isin(ids)).to_pylist() if ids else []
    return {row["id"] for row in rows if frozenset((row["id"], row["representative"])) in new}


def _pair(review: Review) -> frozenset[str]:
    return frozenset((review.left, review.right))


def _write(path: Path, stay: Sequence[Review], added: Collection[tuple[str, str]]) -> None:
    """Write the reviews that stay, and new ones; other columns stay, too."""
    if path.exists() and len(stay) == len(reviews.read(path)):
        reviews.add(path, [Review(0, left, right, "different", BY) for left, right in added])
        return
    names = dict.fromkeys([*COLUMNS, *(name for each in stay for name in each.more), *(BY if added else ())])
    rows = [{**each.more, **dict(zip(COLUMNS, each[1:4], strict=True))} for each in stay]
    rows += [dict(zip(COLUMNS, (*pair, "different"), strict=True)) | BY for pair in added]
    reviews.write(path, rows, list(names))


def told(found: dict[str, Any], file: str) -> list[str]:
    """Return in words what was written."""
    lines = [f"added to {file}: {left},{right},different" for left, right in found["added"]]
    lines += [f"taken out of {file}: the line of {left} and {right}" for left, right in found["removed"]]
    for name, ids in found["follow"].items():
        lines += [f"{other}, which is kept, resembles {name} and will go for it" for other in ids]
    return [*lines, "dvc repro"] if lines else ["all of this stands there already", "dvc repro"]
