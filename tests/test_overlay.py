"""Batches laid over each other, against a plain loop over dictionaries."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.fingerprint.overlay import overlay
from dedupver.schema import BROUGHT, RECORD

Batch = dict[str, str]
BATCHES = st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz!")), min_size=1, max_size=5)


def record(name: str, content: str, number: int) -> dict[str, Any]:
    """Return a record with a text, or for `!` one that can't be read; its path says which batch it is of."""
    digest = hashlib.sha256(content.encode()).digest()
    parts = [{"part": "text", "modality": "text", "sha256": digest, "content": digest}] if content != "!" else []
    usual: dict[str, Any] = dict.fromkeys(RECORD.names)
    usual |= {"id": name, "path": f"{number}/{name}", "row": -1, "role": "data", "parts": parts}
    return usual | {"bytes": 1, "pixels": 0, "chars": 1, "millis": 0, "code": None if parts else "bad_utf8"}


@settings(deadline=None)
@given(BATCHES)
def test_overlay_is_a_loop_over_the_batches(batches: list[Batch]) -> None:
    """A batch takes over the records that it changes, and leaves the others where they are."""
    state: dict[str, tuple[str, int]] = {}
    for number, batch in enumerate(batches):
        state |= {n: (content, number) for n, content in batch.items() if n not in state or state[n][0] != content}
    tables = {
        f"v{number}": pa.Table.from_pylist([record(n, c, number) for n, c in batch.items()], schema=RECORD)
        for number, batch in enumerate(batches)
    }
    expected = [{**record(n, c, number), "version": f"v{number}"} for n, (c, number) in sorted(state.items())]
    found = overlay(tables)
    assert found.schema == BROUGHT
    assert found.to_pylist() == expected
