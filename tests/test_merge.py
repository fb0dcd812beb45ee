"""Chunks are merged a block at a time into what one sort of everything gives; records are named after their content."""

from __future__ import annotations

import collections
import hashlib
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver import store
from dedupver.fingerprint import prints
from dedupver.fingerprint.naming import name_after_content
from dedupver.fingerprint.text import Sets
from dedupver.schema import UNNAMED

Row = dict[str, Any]

# digests that share their first bytes with others, so that the edges of blocks are met
DIGESTS = st.sampled_from([bytes([a, 0]) * 4 + bytes([b]) * 24 for a in (0, 127, 128, 255) for b in (0, 255)])
CHUNKS = st.lists(st.lists(DIGESTS, unique=True, max_size=6), max_size=5)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from([None, None, "mine"]),
            "path": st.sampled_from(["a", "b/é"]),
            "parts": st.lists(st.sampled_from(["text", "image"]), max_size=2),
            "byte": st.integers(0, 1),
            "source": st.sampled_from([None, "x", "yy"]),
            "quality": st.sampled_from([None, 9.0, 10.0]),
        }
    ),
    max_size=30,
)


def values(content: bytes) -> list[int]:
    """Return the set of a content."""
    return list(range(content[8] % 3, content[0] % 5))


def chunk(out: Path, contents: list[bytes]) -> Path:
    """Write the fingerprints of some contents; of none where the base knows all of a chunk."""
    held = prints.Prints({content: row for row, content in enumerate(contents)})
    lists = [values(content) for content in contents]
    sets = Sets(np.cumsum([0, *map(len, lists)]), np.array([v for each in lists for v in each], np.uint32))
    held.add(
        {"embedding": np.array([list(content[:9]) for content in contents], np.float32).reshape(-1, 9), "sets": sets}
    )
    out.mkdir()
    held.write(out, "text")
    return out


@settings(deadline=None, max_examples=30)
@given(CHUNKS, st.integers(1, 5))
def test_blocks_join_to_one_sort_of_everything(chunks: list[list[bytes]], block: int) -> None:
    """One row a distinct content, in order; however many chunks have it and however large a block is."""
    wanted = sorted({content for contents in chunks for content in contents})
    sizes = [len(values(content)) for content in wanted]
    with tempfile.TemporaryDirectory() as name, mock.patch.multiple(prints, BLOCK_ROWS=block, CHUNK_ROWS=1):
        out = Path(name)
        written = [chunk(out / f"{number}", contents) for number, contents in enumerate(chunks)]
        assert prints.merge_prints(written, out, "text") == len(wanted)
        found = {path.name: store.read_array(path).tolist() for path in out.glob("*.npy")}
    assert found == (
        {
            "text.content.npy": [list(content) for content in wanted],
            "text.embedding.npy": [list(content[:9]) for content in wanted],
            "text.sets.offsets.npy": np.cumsum([0, *sizes]).tolist(),
            "text.sets.values.npy": [v for content in wanted for v in values(content)],
        }
        if wanted
        else {}
    )


@pytest.mark.parametrize("shape", [(0,), (5,), (5, 1), (5, 3), (0, 4)])
@pytest.mark.parametrize("kind", ["u4", "i8", "f4", "?"])
def test_blocks_are_written_as_one_array_is(tmp_path: Path, shape: tuple[int, ...], kind: str) -> None:
    """The same bytes."""
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    store.write_array(tmp_path / "one.npy", array)
    store.write_blocks(tmp_path / "blocks.npy", iter([array[:2], array[2:2], array[2:]]), array.shape, array.dtype)
    assert (tmp_path / "blocks.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()


def key(row: Row) -> str:
    """Return what a record is named after."""
    held = b"".join(p["part"].encode() + b"\0" + p["sha256"] for p in row["parts"])
    return hashlib.sha256(held).hexdigest()[:16] if held else f"{row['path']}#{row['row']}"


def place(row: Row) -> list[tuple[bool, Any]]:
    """Return by what the copies of a record are ordered; nulls are last."""
    return [(row[name] is None, row[name] or 0) for name in ("source", "split", "time", "quality", "path", "row")]


def record(number: int, row: Row) -> Row:
    """Return a record of schema UNNAMED."""
    digest = {"sha256": bytes([row["byte"]]) * 32, "content": bytes(32)}
    parts = [{"part": part, "modality": part, **digest} for part in row["parts"]]
    fixed = {"role": "data", "bytes": 1, "pixels": 0, "chars": 1, "millis": 0}
    given = {name: row[name] for name in ("id", "path", "source", "quality")}
    return {**dict.fromkeys(UNNAMED.names), **fixed, **given, "row": number, "parts": parts}


@given(ROWS, st.integers(0, 30))
def test_names_are_made_of_content_and_copies_are_numbered(rows: list[Row], cut: int) -> None:
    """By their attributes, then by place; a name that was given stays; chunks of the table change nothing."""
    given_rows = [record(number, row) for number, row in enumerate(rows)]
    wanted, seen = {}, collections.Counter[str]()
    for row in sorted((row for row in given_rows if row["id"] is None), key=lambda row: (key(row), place(row))):
        seen[key(row)] += 1
        wanted[row["row"]] = key(row) if seen[key(row)] == 1 else f"{key(row)}-{seen[key(row)]}"
    table = pa.Table.from_pylist(given_rows, UNNAMED)
    named = name_after_content(pa.concat_tables([table[:cut], table[cut:]]))
    assert named["id"].to_pylist() == [row["id"] or wanted[row["row"]] for row in given_rows]
    assert named.drop_columns("id").equals(table.drop_columns("id"))
