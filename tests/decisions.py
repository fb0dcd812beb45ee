"""Decisions and manifests made by hand, for the tests that ask questions to them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import manifest, store
from dedupver.schema import DECISION, MOVED, REVIEW

if TYPE_CHECKING:
    from pathlib import Path

HEADER: dict[str, Any] = {
    "time": "2026-01-02T00:00:00Z",
    "mode": "snapshot",
    "parent": None,
    "params": {"dedup": {"history": "frozen", "reviews": "reviews.csv"}},
}


def digest(text: str) -> bytes:
    """Return the sha256 of a text."""
    return hashlib.sha256(text.encode()).digest()


def row(name: str, action: str = "keep", content: str | None = None, **said: object) -> dict[str, object]:
    """Return a decision on a record with one text; its content is its name unless given."""
    part = {"part": "text", "modality": "text", "sha256": digest(content or name), "content": digest(content or name)}
    usual: dict[str, object] = dict.fromkeys(DECISION.names)
    usual |= {"id": name, "path": f"{name}.txt", "row": -1, "role": "data", "parts": [part]}
    usual |= {"bytes": 1, "pixels": 0, "chars": 1, "millis": 0, "version": "v1", "action": action}
    usual |= {"reason": "kept", "decided": "v1", "decided_at": "2026-01-01T00:00:00Z"}
    return usual | said


def decided(place: Path, *rows: dict[str, object], moved: dict[str, tuple[str, int]] | None = None) -> store.Sealed:
    """Write what dedup decided: decisions, and where those lie now that merely moved, by id."""
    events = table(*rows)
    places = [{"id": name, "path": path, "row": row} for name, (path, row) in sorted((moved or {}).items())]
    with store.building(place) as out:
        for action, name in manifest.FILES.items():
            store.write_table(out / f"{name}.parquet", events.filter(pc.equal(events["action"], action)), DECISION)
        store.write_table(out / manifest.REVIEWS, REVIEW.empty_table(), REVIEW)
        store.write_table(out / "moved.parquet", pa.Table.from_pylist(places, schema=MOVED), MOVED)
    return store.Sealed(place)


def prints(place: Path) -> store.Sealed:
    """Return a directory that says that nothing was read."""
    with store.building(place) as out:
        store.write_json(out / manifest.READ, {})
    return store.Sealed(place)


def near(name: str, representative: str, score: float = 0.9, **said: object) -> dict[str, object]:
    """Return the decision that drops a near duplicate."""
    words: dict[str, Any] = {
        "reason": "near_duplicate_of",
        "representative": representative,
        "score": score,
        "threshold": 0.8,
    }
    return row(
        name,
        "drop",
        **{**words, "evidence": f"text.minhash={score:.6g}", "rule": "{every: similar}", "method": "minhash", **said},
    )


def bad(name: str, code: str = "bad_utf8", **said: object) -> dict[str, object]:
    """Return the decision on a record that can't be read."""
    return row(name, "quarantine", **{"reason": code, "code": code, "detail": "byte 3", "parts": [], **said})


def table(*rows: dict[str, object]) -> pa.Table:
    """Return decisions as a table sorted by id."""
    return pa.Table.from_pylist(list(rows), schema=DECISION).sort_by("id")


def log(root: Path, *versions: list[dict[str, object]]) -> manifest.Log:
    """Write a manifest of versions v1, v2 … below `root` and open it."""
    base = manifest.EMPTY
    for number, rows in enumerate(versions, start=1):
        out = root / f"m{number}"
        out.mkdir(parents=True)
        header = {**HEADER, "version": f"v{number}"}
        manifest.write(out, base, prints(root / f"p{number}"), decided(root / f"d{number}", *rows), header)
        store.seal(out)
        base = manifest.open_manifest(out)
    return base
