"""Two rows of tables beside each other, field by field: what `dedupver explain` shows of one that was dropped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dedupver import store
from dedupver.digests import of_list
from dedupver.index import fields
from dedupver.index.structures import fielded
from dedupver.records import plan, read
from dedupver.schema import EVIDENCE, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dedupver.index.segment import Index
    from dedupver.project import Project

KIND: Final = "row"
Decision = dict[str, Any]
"""A row of the schema DECISION, digests in hex."""


def beside(project: Project, index: Index, mine: Decision, its: Decision) -> list[dict[str, Any]]:
    """Return part, values, weight and similarity of each field, for each part of modality row that both records have.

    Values are those of the source, null where it is not what was judged; a similarity is null where one has no value.
    """
    found, places = [], [_place(project, record) for record in (mine, its)]
    for part in (part["part"] for part in mine["parts"] if part["modality"] == EVIDENCE[KIND].modality):
        contents, bytes_ = ([_digest(r, part, name) for r in (mine, its)] for name in ("content", "sha256"))
        values = [_values(project, place, part, digest) for place, digest in zip(places, bytes_, strict=True)]
        for name, columns, weight, similarity in alike(index, contents):
            shown = [" ".join(held[column] for column in columns if column in held) or None for held in values]
            told = {"mine": shown[0], "its": shown[1], "weight": weight, "similarity": similarity}
            found.append({"part": part, "field": name, **told})
    return found


def alike(index: Index, contents: Sequence[str | None]) -> Iterator[tuple[str, Sequence[str], float, float | None]]:
    """Give name, columns, weight and similarity of each field of two rows, given by their contents in hex."""
    what = EVIDENCE[KIND]
    digests = of_list([bytes.fromhex(content) for content in contents if content])
    segment, row = index.locate(what.modality, digests)
    if len(digests) == 2 and (segment >= 0).all():
        (a, how), (b, _) = (fielded(what, index.segments[at]) for at in segment)
        named = sorted(index.segments[segment[0]].rows().fields.items())
        names, columns = [name for name, _ in named], [said.columns or (name,) for name, said in named]
        each = fields.by_field(a, int(row[0]), b, int(row[1]), how)
        yield from zip(names, columns, how.weight.tolist(), each, strict=True)


def _place(project: Project, record: Decision) -> Decision:
    """Return where a record is in this version, if that is here; the log says where it was when it last changed."""
    if (project.build / "dedup" / store.LISTING).is_file():
        return record | project.decided().place(record["id"])
    return record


def _values(project: Project, place: Decision, part: str, sha256: str | None) -> dict[str, str]:
    """Return the values at a place as the source has them, if their bytes are those that were judged."""
    source = project.params.source
    root = project.batch(place["version"]) if source.mode == "append" else project.raw
    with contextlib.suppress(SourceError):
        tasks = [task for task in plan(root, source) if task.paths[0] == place["path"]]
        before = [task for task in tasks if task.first_row <= place["row"]]
        for batch in read(root, before[-1], source) if before else ():
            at = np.flatnonzero(batch["row"].to_numpy() == place["row"])
            data = batch[part][at[0]].as_py() if len(at) else None
            if data and hashlib.sha256(data).hexdigest() == sha256:
                values: dict[str, str] = json.loads(data)
                return values
    return {}


def _digest(record: Decision, part: str, digest: str) -> str | None:
    return next((each[digest] for each in record["parts"] if each["part"] == part), None)
