"""The rows of an export: pairs to label, the most informative first, with what a person judges by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from dedupver import reviews, store
from dedupver.review import looks
from dedupver.review.drawing import Drawing
from dedupver.review.labels import fingerprint
from dedupver.review.population import Population
from dedupver.reviews import Review
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dedupver.digests import Rows
    from dedupver.project import Project
    from dedupver.review.looks import Look, Span

NAMES: Final = (
    *("left", "right", "label", "kind", "score", "decided"),
    *("left_path", "right_path", "left_source", "right_source", "left_label", "right_label"),
    *("left_excerpt", "right_excerpt", "stratum", "weight", "seed", "pair"),
)
"""The columns, in their order."""


class Export(NamedTuple):
    """Rows to label, and what each side of each looks like."""

    rows: list[dict[str, str]]
    sides: list[tuple[list[Look], list[Look]]]
    spans: list[list[Span]]
    ends: list[tuple[int, int]]  # nodes
    people: Population
    drawn: dict[str, int]  # by kind


def export(project: Project, kind: str | None, count: int, seed: int) -> Export:
    """Draw the next pairs to label, of one kind or, in equal shares, of all that the rules hear.

    Raises StateError where there is nothing to draw from.
    """
    people = Population.of(project)
    said = reviews.read(project.root / project.params.dedup.reviews)
    kinds = [kind] if kind else people.kinds()
    rows: list[dict[str, str]] = []
    drawn: dict[str, int] = {}
    for number, each in enumerate(kinds):
        drawing = Drawing(each, people, people.pairs(each), [*said, *_asked(rows)], seed)
        new = _rows(drawing, -(-(count - len(rows)) // (len(kinds) - number)))
        drawn[each] = len(new)
        rows += new
    if not rows:
        raise StateError(
            f"no pair to label{f' of kind {kind}' if kind else ''}: every match at or above `match.floor` has a label, "
            "or there is none"
        )
    return _seen(project, people, rows, drawn)


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows as JSON Lines where the name ends in .jsonl, else as CSV, atomically."""
    if path.suffix == ".jsonl":
        lines = (json.dumps({name: row[name] for name in NAMES}, ensure_ascii=False) for row in rows)
        store.write_bytes(path, "".join(f"{line}\n" for line in lines).encode())
    else:
        reviews.write(path, rows, NAMES)


def _asked(rows: Sequence[Mapping[str, str]]) -> list[Review]:
    """Return pairs that are drawn already as if they had a label: they are not drawn for a second kind."""
    return [Review(0, row["left"], row["right"], "", {}) for row in rows]


def _rows(drawing: Drawing, count: int) -> list[dict[str, str]]:
    """Return what is said of the next pairs by which they are drawn."""
    ids, pairs = drawing.people.ids, drawing.pairs
    rows = []
    for each in drawing.next(count):
        left, right = ids[pairs.left[each.pair]], ids[pairs.right[each.pair]]
        names = {"left": left, "right": right, "label": "", "pair": fingerprint(left, right)}
        told = {"kind": drawing.kind, "score": f"{pairs.score[each.pair]:.6g}", "stratum": each.stratum}
        rows.append({**names, **told, "weight": f"{each.weight:.6g}", "seed": str(drawing.seed)})
    return rows


def _seen(project: Project, people: Population, rows: list[dict[str, str]], drawn: dict[str, int]) -> Export:
    """Say of each row what is decided now, where the two records are and what they hold."""
    left, right = (people.find([row[end] for row in rows]) for end in ("left", "right"))
    same, seen = people.same(left, right), looks.looks(project, people, np.concatenate([left, right]))
    for row, judged in zip(rows, same.tolist(), strict=True):
        row["decided"] = "same" if judged else "apart"
    for end, nodes in (("left", left), ("right", right)):
        for row, node, told in zip(rows, nodes.tolist(), _told(people, nodes), strict=True):
            row |= {f"{end}_{name}": value for name, value in told.items()}
            row[f"{end}_excerpt"] = looks.excerpt(seen[node])
    ends = list(zip(left.tolist(), right.tolist(), strict=True))
    shared = looks.spans(people, left, right)
    sides = [(seen[a], seen[b]) for a, b in ends]
    return Export(rows, sides, [shared.get(pair, []) for pair in ends], ends, people, drawn)


def _told(people: Population, nodes: Rows) -> list[dict[str, str]]:
    """Return path, source and label of some nodes' first records."""
    records = people.records.select(["path", "row", "source", "label"]).take(people.nodes.head[nodes])
    return [
        {
            "path": each["path"] if each["row"] < 0 else f"{each['path']}#{each['row']}",
            "source": each["source"] or "",
            "label": each["label"] or "",
        }
        for each in records.to_pylist()
    ]
