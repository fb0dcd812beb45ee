"""What kept records share, each with a look at it in the source."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import records, store
from dedupver.fingerprint.normal import normalize
from dedupver.fingerprint.passages import passages
from dedupver.fingerprint.strings import Strings
from dedupver.records.plan import holding
from dedupver.schema import SHARED

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.project import Project

LONGEST: Final = 200
"""So many characters are shown of each."""


def shared(project: Project, most: int) -> dict[str, dict[str, Any]]:
    """Return for each part, and for passages, how many `contents` are shared, and the first `rows` of them.

    These are rows of SHARED, `content` in hex, and a `preview`: of texts it is read from the source, as it is now; null
    where that no longer holds what was read.
    """
    table = store.read_table(store.Sealed(project.build / "dedup").file("shared.parquet"), SHARED)
    rows = {
        what: table.filter(pc.equal(table["what"], what)).slice(0, most).to_pylist()
        for what in pc.unique(table["what"]).to_pylist()
    }
    examples = {row["example"] for each in rows.values() for row in each}
    decisions = project.decided().state(("id", "path", "row", "version"))
    decisions = decisions.filter(pc.is_in(decisions["id"], pa.array(sorted(examples), pa.string())))
    texts = set(project.params.source.parts_of("text"))
    found = {
        name: {part: data for part, data in parts.items() if part in texts}
        for name, parts in payloads(project, decisions)
    }
    for what, each in rows.items():
        for row in each:
            row["preview"] = _preview(what, row["content"], found.get(row["example"], {}), project.params.source)
            row["content"] = row["content"].hex()
    counted = store.read_json(project.metrics / "dedup.json")["shared"]  # the table holds only the first of many
    return {what: {"contents": counted[what]["contents"], "rows": each} for what, each in rows.items()}


def payloads(project: Project, decisions: pa.Table) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the id of each of some records (columns id, path, row, version) that is there, and its parts by name.

    Parts are as the source has them now: bytes, or a HANDLE; a batch of the source is in memory at a time.
    """
    decisions = yield from _beside(project, decisions)
    append = project.params.source.mode == "append"
    for version in pc.unique(decisions["version"]).to_pylist() if append else [None]:
        mine = decisions.filter(pc.equal(decisions["version"], version)) if append else decisions
        wanted = {(row["path"], row["row"]): row["id"] for row in mine.to_pylist()}
        root, source = project.batch(version) if version else project.raw, project.params.source
        yield from _read(root, source, records.plan(root, source) if wanted else (), wanted)


def _beside(project: Project, decisions: pa.Table) -> Generator[tuple[str, dict[str, Any]], None, pa.Table]:
    """Yield what `payloads` does of the references that lie beside the source; return the other records."""
    beside = project.params.source.reference.path
    if not beside or not (project.root / beside).is_dir():
        return decisions
    apart = pc.starts_with(decisions["path"], f"{beside}/")
    root, source = project.root / beside, project.params.source.beside()
    rows = decisions.filter(apart).to_pylist()
    wanted = {(row["path"].removeprefix(f"{beside}/"), row["row"]): row["id"] for row in rows}
    yield from _read(root, source, records.references(root, source) if wanted else (), wanted)
    return decisions.filter(pc.invert(apart))


def _read(
    root: Path, source: params.Source, plan: Iterable[records.Task], wanted: Mapping[tuple[str, int], str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parts of the records at some places (path, row) that are there."""
    for task in holding(plan, wanted):
        for batch in records.read(root, task, source):
            places = zip(batch["path"].to_pylist(), batch["row"].to_pylist(), strict=True)
            for at, place in enumerate(places):
                if place in wanted:
                    parts = {name: batch[name][at].as_py() for name in source.parts}
                    yield wanted[place], {name: data for name, data in parts.items() if data is not None}


def _preview(what: str, content: bytes, parts: Mapping[str, bytes], source: params.Source) -> str | None:
    """Return the text of a part, or the passage of a part that is a text, if it is there."""
    if what in source.parts:
        text = parts.get(what, b"").decode(errors="replace") if source.parts[what] == "text" else ""
        return short(text) if hashlib.sha256(normalize(text).encode()).digest() == content else None
    for name in source.parts_of("text"):
        text = parts.get(name, b"").decode(errors="replace")
        for passage in text.split("\n") if what == "line" else re.split(r"\n\s*\n", text):
            if content in _hashes(passage):
                return short(passage)
    return None


def _hashes(passage: str) -> set[bytes]:
    """Return the hashes of a line, or of a paragraph and its lines, as SHARED has them."""
    found = passages(Strings.of_list([passage.encode()]), 1).hash.values
    return {int(value).to_bytes(8, "big") for value in found}


def short(text: str) -> str:
    """Return a text on one line, and no more than the first LONGEST characters of it."""
    words = " ".join(text.split())
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"
