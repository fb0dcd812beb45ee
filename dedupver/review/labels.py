"""Labels that come back: read, held against the version and against each other, and added to the reviews."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dedupver import reviews
from dedupver.reviews import Review
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    Pair = frozenset[str]

KEPT: Final = ("kind", "score", "stratum", "weight", "seed")
"""What reviews keep of an export beside the labels: by this they are estimated from."""

OPEN: Final = {"", "skip"}
"""Labels that say nothing."""


class Imported(NamedTuple):
    """What became of the lines of a file."""

    added: list[Review]
    repeated: int  # that the reviews have already, or the file has twice
    open: int  # without a label
    unknown: list[tuple[int, str]]  # line and id that the version does not hold


def fingerprint(left: str, right: str) -> str:
    """Return a word for a pair: a spreadsheet that alters an id (0012, 1e5) does not alter this."""
    return "p" + hashlib.sha256(f"{left}\0{right}".encode()).hexdigest()[:12]


def read(path: Path) -> list[Review]:
    """Read labels: JSON Lines where the name ends in .jsonl, else CSV.

    Raises SourceError that names the line of what is no label, or of ids that are not those that were exported.
    """
    read_ = _json_lines(path) if path.suffix == ".jsonl" else reviews.table(path)
    lines = [each._replace(label=each.label.strip().lower()) for each in read_]
    for each in lines:
        if each.label not in {*reviews.LABELS, *OPEN}:
            raise SourceError(
                f"{path} line {each.line}: the label is {each.label!r}; write `same` or `different`, or leave it empty"
            )
        if each.label not in OPEN and not (each.left and each.right and each.left != each.right):
            raise SourceError(f"{path} line {each.line}: needs two ids, has {each.left!r} and {each.right!r}")
        word = each.more.get("pair")
        if word and word != fingerprint(each.left, each.right):
            raise SourceError(
                f"{path} line {each.line}: {each.left!r} and {each.right!r} are not the ids that were exported; a "
                "spreadsheet may have altered them: open the file with all columns as text, or use .jsonl"
            )
    return lines


def take(path: Path, known: list[Review], lines: list[Review], ids: Iterable[str]) -> Imported:
    """Return which lines of the file `path` are to be added to the reviews that are known.

    Raises SourceError that names the line which contradicts another: a pair with both labels, or one that is different
    though a chain of pairs that are the same joins the two.
    """
    there, labelled = set(ids), {frozenset((r.left, r.right)): r for r in known}
    said = [each for each in lines if each.label not in OPEN]
    unknown = [(each.line, name) for each in said for name in (each.left, each.right) if name not in there]
    ours = [each for each in said if {each.left, each.right} <= there]
    added: list[Review] = []
    for each in ours:
        before = labelled.setdefault(frozenset((each.left, each.right)), each)
        if before.label != each.label:
            where = "the reviews" if any(before is r for r in known) else "the file"
            raise SourceError(
                f"{path} line {each.line}: {_said(each)}, and line {before.line} of {where} says {before.label}"
            )
        if before is each:
            added.append(each._replace(more={name: each.more[name] for name in KEPT if each.more.get(name)}))
    _require_consistent(path, known, added)
    return Imported(added, len(ours) - len(added), len(lines) - len(said), unknown)


def _json_lines(path: Path) -> Iterator[Review]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row: dict[str, Any] = json.loads(line)
            told = {name: _word(value) for name, value in row.items()}
        except (ValueError, AttributeError, RecursionError) as error:
            raise SourceError(f"{path} line {number}: is no JSON object ({error})") from error
        if not {"left", "right"} <= told.keys():
            raise SourceError(f"{path} line {number}: needs left, right and label")
        yield Review(number, told.pop("left"), told.pop("right"), told.pop("label", ""), told)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _require_consistent(path: Path, known: list[Review], added: list[Review]) -> None:
    """Join what is the same, in the order of the lines; then no pair that is different may be joined."""
    joined: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := joined.setdefault(name, name)) != name:
            joined[name] = joined[above]
            name = joined[name]
        return name

    for each in known + added:
        if each.label == "same":
            joined[root(each.left)] = root(each.right)
    for number, each in enumerate(known + added):
        if each.label == "different" and root(each.left) == root(each.right):
            chain = " = ".join(map(repr, _chain(known + added, each)))
            place = "the reviews" if number < len(known) else str(path)
            raise SourceError(
                f"{place} line {each.line}: {_said(each)}, and a chain of pairs that are the same joins them: {chain}. "
                "Nothing was imported: take one of these labels back"
            )


def _chain(every: list[Review], wanted: Review) -> list[str]:
    """Return the shortest chain of pairs that are the same between two ids, breadth first."""
    beside: dict[str, list[str]] = {}
    for each in every:
        if each.label == "same":
            beside.setdefault(each.left, []).append(each.right)
            beside.setdefault(each.right, []).append(each.left)
    came: dict[str, str] = {wanted.left: wanted.left}
    queue = [wanted.left]
    for name in queue:
        for other in beside.get(name, []):
            if other not in came:
                came[other] = name
                queue.append(other)
    chain = [wanted.right]
    while chain[-1] != wanted.left:
        chain.append(came[chain[-1]])
    return chain[::-1]


def _said(review: Review) -> str:
    return f"{review.left!r} and {review.right!r} are {review.label}"
