"""What a reviewer sees of a record: read from the source as it is now, decoded within the bounds of params."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image

from dedupver.digests import Lookup, of_column
from dedupver.fingerprint.image import Decoding, decode
from dedupver.preview import payloads
from dedupver.schema import EVIDENCE, STREAMED, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dedupver.digests import Rows
    from dedupver.project import Project
    from dedupver.review.population import Population

THUMBNAIL: Final = 320
"""Pixels of a thumbnail's longer side."""

LONGEST: Final = 20_000
"""So many characters of a text are shown."""

EXCERPT: Final = 160
"""And so many in a cell."""


class Look(NamedTuple):
    """One part of a record; what it is not is None."""

    part: str
    modality: str
    text: str | None = None
    picture: str | None = None  # a data URI
    values: Mapping[str, str] | None = None  # of a row of a table
    note: str | None = None  # why there is nothing to see


class Span(NamedTuple):
    """What two parts share for a while, in milliseconds."""

    left_start: int
    left_stop: int
    right_start: int
    right_stop: int


def looks(project: Project, people: Population, nodes: Rows) -> dict[int, list[Look]]:
    """Return of some nodes' first records how each part looks, by node; the batches of the source are read once."""
    rows = people.nodes.head[np.unique(nodes)]
    records = people.records.take(pa.array(rows))
    wanted = records.select(["id", "path", "row", "version"])
    stated = {row["id"]: row["parts"] for row in records.select(["id", "parts"]).to_pylist()}
    found = {
        name: [_look(project, part, parts.get(part["part"])) for part in stated[name]]
        for name, parts in payloads(project, wanted)
    }
    absent = {
        name: [Look(p["part"], p["modality"], note="not in the source as it is now") for p in parts]
        for name, parts in stated.items()
    }
    at = people.find(list(stated)).tolist()
    return {node: found.get(name, absent[name]) for node, name in zip(at, stated, strict=True)}


def excerpt(seen: Iterable[Look]) -> str:
    """Return what fits into a cell: the beginning of texts, and the values of rows."""
    words = [" ".join((each.text or " ".join((each.values or {}).values())).split()) for each in seen]
    shown = " | ".join(filter(None, words))
    return shown if len(shown) <= EXCERPT else f"{shown[: EXCERPT - 1]}…"


def spans(people: Population, left: Rows, right: Rows) -> dict[tuple[int, int], list[Span]]:
    """Return what sounds and videos of pairs of nodes share for a while, by the pair."""
    found: dict[tuple[int, int], list[Span]] = {}
    streamed = [number for number, modality in enumerate(people.parts.values()) if modality in STREAMED]
    for part in streamed:
        a, b = (people.nodes.contents[end, part] for end in (left, right))
        pairs = {(x, y): at for at, (x, y) in enumerate(zip(a.tolist(), b.tolist(), strict=True)) if x >= 0 and y >= 0}
        lookup, modality = Lookup(people.contents), list(people.parts.values())[part]
        for table in people.index.spans():
            ends = [lookup.find(of_column(table[end])).tolist() for end in ("left", "right")]
            for x, y, row in zip(*ends, table.to_pylist(), strict=True):
                span = Span(*(row[name] for name in Span._fields))
                turned = Span(*span[2:], *span[:2])
                for key, shown in (((x, y), span), ((y, x), turned)):
                    if key in pairs and EVIDENCE[row["kind"]].modality == modality:
                        at = pairs[key]
                        found.setdefault((int(left[at]), int(right[at])), []).append(shown)
    return found


def _look(project: Project, part: Mapping[str, Any], data: Any) -> Look:
    name, modality = part["part"], part["modality"]
    if modality in STREAMED or modality == "vector":
        return Look(name, modality)
    if data is None or hashlib.sha256(data).digest() != part["sha256"]:
        return Look(name, modality, note="not in the source as it was judged")
    if modality == "text":
        return Look(name, modality, text=data.decode(errors="replace")[:LONGEST])
    if modality == "row":
        return Look(name, modality, values={key: str(value) for key, value in json.loads(data).items()})
    settings = project.params.fingerprint.image
    try:
        return Look(
            name, modality, picture=_thumbnail(data, Decoding(settings.max_pixels, settings.frame, settings.background))
        )
    except Unreadable as error:
        return Look(name, modality, note=str(error))


def _thumbnail(data: bytes, how: Decoding) -> str:
    small, out = Image.fromarray(decode(data, how)), io.BytesIO()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def contents(people: Population, node: int, part: str) -> bytes | None:
    """Return the digest of the content that a node has in a part, None where it has no such part."""
    number = int(people.nodes.contents[node, list(people.parts).index(part)])
    return bytes(people.contents[number]) if number >= 0 else None
