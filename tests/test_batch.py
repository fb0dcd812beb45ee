"""A chunk's records, contents and fingerprints against plain Python, however its batches are cut."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import struct
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dedupver import params, records, store
from dedupver.fingerprint import batch
from dedupver.fingerprint.image import Decoding, decode, information, phash, pixel_digest
from dedupver.fingerprint.normal import normalize
from dedupver.fingerprint.strings import Strings
from dedupver.fingerprint.text import shingle_sets
from dedupver.schema import CONTENT, Unreadable, raw_schema

SETTINGS = params.Fingerprint.model_validate(
    {"text": {"encoder": None}, "image": {"encoder": None}, "vector": {"dim": 2}}
)
TEXTS = ["one two three four five six", "One  two three\nfour five six", "é à É", "  ", "x"]
Row = dict[str, Any]
PARTS = {"text": "text", "image": "image", "caption": "text"}
RAW = raw_schema(PARTS)


def png(pixels: np.ndarray) -> bytes:
    """Return the pixels as PNG."""
    held = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(held, "png")
    return held.getvalue()


NOISE = np.random.default_rng(1).integers(0, 256, (8, 9, 3))
IMAGES = [png(NOISE), png(NOISE[:, :, :1].repeat(3, 2)), png(NOISE)[:60], png(np.full((4, 4, 3), 7))]
VECTORS = [np.array(row, "<f4").tobytes() for row in ([1, 2], [-0.0, 3], [0, 3], [0, 0], [1, 2, 3], [np.nan, 1])]
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.sampled_from(TEXTS).map(str.encode),
            "image": st.none() | st.sampled_from(IMAGES),
            "caption": st.none() | st.sampled_from(TEXTS).map(str.encode),
            "vector": st.none() | st.sampled_from(VECTORS),
            "code": st.sampled_from([None, None, None, "bad_utf8"]),
            "source": st.sampled_from([None, "web"]),
        }
    ),
    max_size=12,
)


def look(part: str, data: bytes) -> tuple[bytes, int, int]:
    """Return the content of a part with its pixels and characters; Unreadable."""
    if PARTS[part] == "text":
        normal = normalize(data.decode())
        if not normal:
            raise Unreadable("empty_text", "nothing but white space")
        return hashlib.sha256(normal.encode()).digest(), 0, len(normal)
    if PARTS[part] == "vector":
        numbers = [0.0 if number == 0 else number for number in struct.unpack(f"<{len(data) // 4}f", data)]
        if len(numbers) != 2:
            raise Unreadable("wrong_dimension", f"{len(numbers)} numbers; the index holds vectors of 2")
        if not all(map(math.isfinite, numbers)):
            raise Unreadable("not_finite_vector", "a number that is NaN, infinite, or beyond 32 bits")
        if not any(numbers):
            raise Unreadable("zero_vector", "zeros alone point nowhere")
        return hashlib.sha256(struct.pack("<2f", *numbers)).digest(), 0, 0
    pixels = decode(data, Decoding())
    if information(pixels) == "blank":
        raise Unreadable("blank_image", "one colour")
    return pixel_digest(pixels), pixels.shape[0] * pixels.shape[1], 0


def expected(number: int, row: Row) -> Row:
    """Return the record of a row."""
    found = {"id": None, "path": "rows", "row": number, "role": "data", "source": row["source"], "split": None}
    found |= {"time": None, "quality": 0.5, "label": None, "code": row["code"], "detail": None, "parts": []}
    found |= {"bytes": 0, "pixels": 0, "chars": 0, "millis": 0}
    parts, verdicts = [], []
    for part in (p for p in PARTS if row.get(p) is not None):
        try:
            content, pixels, chars = look(part, row[part])
        except Unreadable as verdict:
            verdicts.append((verdict.code, f"{part}: {verdict.reason}"))
            continue
        sha256 = hashlib.sha256(row[part]).digest()
        parts.append({"part": part, "modality": PARTS[part], "sha256": sha256, "content": content})
        for name, size in (("bytes", len(row[part])), ("pixels", pixels), ("chars", chars)):
            found[name] += size
    if row["code"] is None:
        found |= dict(zip(("code", "detail"), verdicts[0], strict=True)) if verdicts else {"parts": parts}
    return found


def contents(rows: list[Row]) -> dict[bytes, Row]:
    """Return every string of bytes that can be read, with its content."""
    found = {}
    for part, data in {(part, row[part]) for row in rows for part in PARTS if row.get(part) is not None}:
        try:
            content, pixels, chars = look(part, data)
        except Unreadable:
            continue
        sha256 = hashlib.sha256(data).digest()
        given = {
            "modality": PARTS[part],
            "sha256": sha256,
            "content": content,
            "pixels": pixels,
            "chars": chars,
            "millis": 0,
        }
        found[sha256] = given
    return found


def raw(rows: list[Row]) -> list[Row]:
    """Return rows of schema RAW."""
    fixed = {"path": "rows", "role": "data", "quality": 0.5}
    return [{**dict.fromkeys(RAW.names), **fixed, **row, "row": number} for number, row in enumerate(rows)]


def fingerprint(rows: list[Row], cuts: list[int], known: list[Row], place: Path) -> Path:
    """Fingerprint rows that come in batches which end at `cuts`."""
    store.write_table(place / "known.parquet", pa.Table.from_pylist(known, CONTENT), CONTENT)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    whole = pa.RecordBatch.from_pylist(raw(rows), schema=RAW)
    batches = [whole[a:b] for a, b in itertools.pairwise(edges)]
    task = records.Task(("rows",), "jsonl", 0, 0, 0)
    chunk = batch.Chunk(place, task, params.Source(parts=PARTS), SETTINGS, (place / "known.parquet",), place / "out")
    with mock.patch.object(records, "read", return_value=iter(batches)):
        assert batch.fingerprint(chunk) == len(rows)
    return place / "out"


@settings(deadline=None, max_examples=30)
@given(ROWS, st.lists(st.integers(0, 12), max_size=3), st.data())
def test_a_chunk_is_what_plain_python_makes_of_it(rows: list[Row], cuts: list[int], data: st.DataObject) -> None:
    """Records in their order; of what the base lacks the contents, and the fingerprints in the order of contents."""
    every = contents(rows)
    known = [row for row in every.values() if data.draw(st.booleans())]
    with tempfile.TemporaryDirectory() as place:
        out = fingerprint(rows, cuts, known, Path(place))
        assert store.read_scratch(out / "records.arrow").to_pylist() == [expected(n, row) for n, row in enumerate(rows)]
        found = store.read_scratch(out / "contents.arrow").to_pylist()
        lacking = {sha256: row for sha256, row in every.items() if row not in known}
        assert len(found) == len(lacking)
        assert {row["sha256"]: row for row in found} == lacking
        printed = {row["content"] for row in known}
        check_texts(out, {normalize(t) for t in TEXTS if hashlib.sha256(t.encode()).digest() in lacking}, printed)
        check_images(out, [i for i in IMAGES if hashlib.sha256(i).digest() in lacking], printed)


def check_texts(out: Path, normal: set[str], known: set[bytes]) -> None:
    """The sets of those texts whose content is not known, sorted by content."""
    digests = {hashlib.sha256(text.encode()).digest(): text for text in normal}
    wanted = {content: digests[content] for content in sorted(digests.keys() - known)}
    if not wanted:
        assert not list(out.glob("text.*"))
        return
    assert read(out, "text.content") == [list(content) for content in wanted]
    sets = shingle_sets(Strings.of_list(text.encode() for text in wanted.values()), 3, 5)
    assert read(out, "text.sets.offsets") == sets.offsets.tolist()
    assert read(out, "text.sets.values") == sets.values.tolist()


def check_images(out: Path, images: list[bytes], known: set[bytes]) -> None:
    """As of texts."""
    pixels = {pixel_digest(p): p for p in (decode(image, Decoding()) for image in images)}
    wanted = {content: pixels[content] for content in sorted(pixels.keys() - known)}
    if not wanted:
        assert not list(out.glob("image.*"))
        return
    assert read(out, "image.content") == [list(content) for content in wanted]
    assert read(out, "image.phash") == [phash(p).tolist() for p in wanted.values()]
    assert read(out, "image.phash.valid") == [information(p) == "ok" for p in wanted.values()]


def read(out: Path, name: str) -> list[Any]:
    """Return an array as a list."""
    return store.read_array(out / f"{name}.npy").tolist()
