"""Arrow files and streams, datasets saved by Hugging Face's library, and fields of objects as columns."""

from __future__ import annotations

import itertools
import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_publish import kept
from test_records import PNG, all_of, jsonl, one_of, put, small

from dedupver.check import check
from dedupver.params import Columns, Source
from dedupver.publish import publish
from dedupver.records import arrow, plan
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HF = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
INFO = {"citation": "", "features": {"text": {"dtype": "string", "_type": "Value"}}}


def write(path: Path, batches: Sequence[pa.RecordBatch], *, stream: bool = False, **given: Any) -> None:
    """Write record batches as a file or a stream."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression=given.pop("compression", None))
    made = pa.ipc.new_stream if stream else pa.ipc.new_file
    with made(str(path), batches[0].schema, options=options, **given) as writer:
        for batch in batches:
            writer.write_batch(batch)


def texts(*values: str | None) -> pa.RecordBatch:
    """Return a column of texts."""
    return pa.record_batch({"text": pa.array(values, pa.string())})


def read_back(path: Path) -> list[pa.RecordBatch]:
    """Return the batches of a file or a stream as Arrow's own reader gives them."""
    with pa.memory_map(str(path)) as mapped:
        opened = pa.ipc.open_file if arrow.is_file(path) else pa.ipc.open_stream
        with opened(mapped) as reader:
            return reader.read_all().to_batches()


def save(root: Path, files: dict[str, list[str]], **state: Any) -> None:
    """Write texts as Hugging Face's library saves a dataset."""
    for name, values in files.items():
        write(root / name, [texts(*values)], stream=True)
    listed = {"_data_files": [{"filename": name} for name in files], "_fingerprint": "cdff388ae5f47ba2", "_split": None}
    put(root, "state.json", json.dumps(listed | state, indent=2))
    put(root, "dataset_info.json", json.dumps(INFO, indent=2))


def published(root: Path, target: Path, *places: tuple[str, int]) -> None:
    """Publish some rows."""
    target.mkdir()
    publish(root, target, kept(*places), Source(), "copy")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@QUICK
@given(
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=6),
    choice=st.lists(st.booleans(), min_size=42, max_size=42),
    size=st.integers(1, 300),
    rows=st.integers(1, 5),
)
def test_each_row_is_read_and_published_once(
    tmp_path_factory: pytest.TempPathFactory,
    stream: bool,
    compression: str | None,
    sizes: list[int],
    choice: list[bool],
    size: int,
    rows: int,
) -> None:
    """However a file is cut; what is published has the form, the schema and the compression that it came in."""
    root, total = tmp_path_factory.mktemp("arrow"), sum(sizes)
    words = [f"row {i} " * (1 + i % 3 * 40) for i in range(total)]
    schema = pa.schema([("text", pa.string()), ("n", pa.int32())], metadata={"huggingface": "{}"})
    edges = np.cumsum([0, *sizes]).tolist()
    batches = [pa.record_batch([words[a:b], list(range(a, b))], schema=schema) for a, b in itertools.pairwise(edges)]
    write(root / "raw/a.arrow", batches, stream=stream, compression=compression)
    with pytest.MonkeyPatch.context() as patch:
        small(patch, size=size, rows=rows, block=8)
        patch.setattr(arrow, "BATCH_ROWS", 3)
        found = all_of(root / "raw")
    assert [(r["row"], r["text"], r["code"]) for r in found] == [(i, w.encode(), None) for i, w in enumerate(words)]
    for place, taken in (("kept", True), ("dropped", False)):
        chosen = [i for i in range(total) if choice[i] is taken]
        published(root / "raw", root / place, *(("a.arrow", i) for i in chosen))
        if chosen:
            out = root / place / "a.arrow"
            back = pa.Table.from_batches(read_back(out), schema)
            assert back.to_pydict() == {"text": [words[i] for i in chosen], "n": chosen}
            assert back.schema.equals(schema, check_metadata=True)
            assert arrow.is_file(out) is not stream
            assert _compression_of(out) == _compression_of(root / "raw/a.arrow")


def _compression_of(path: Path) -> str | None:
    with pa.memory_map(str(path)) as mapped:
        return arrow._compression(mapped)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_the_compression_of_a_file_is_found(tmp_path: Path, compression: str | None) -> None:
    """After batches without rows, too."""
    write(tmp_path / "a.feather", [texts(), texts(*["x" * 500] * 20)], compression=compression)
    assert _compression_of(tmp_path / "a.feather") == compression


def test_metadata_of_a_file_stays(tmp_path: Path) -> None:
    """That of its footer."""
    write(tmp_path / "raw/a.arrow", [texts("x", "y")], metadata={"k": "v"})
    published(tmp_path / "raw", tmp_path / "out", ("a.arrow", 1))
    with pa.ipc.open_file(str(tmp_path / "out/a.arrow")) as file:
        assert file.metadata == {b"k": b"v"}


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_texts_in_every_type_of_string_are_published(tmp_path: Path, kind: pa.DataType, form: str) -> None:
    """With their type."""
    batch = pa.record_batch({"text": pa.array(["x", None, "é" * 40], pa.string()).cast(kind)})
    if form == "arrow":
        write(tmp_path / "raw/a.arrow", [batch])
    else:
        (tmp_path / "raw").mkdir()
        pq.write_table(pa.Table.from_batches([batch]), tmp_path / "raw/a.parquet")
    assert [(r["text"], r["code"]) for r in all_of(tmp_path / "raw")] == [
        (b"x", None),
        (None, "no_content"),
        ("é".encode() * 40, None),
    ]
    published(tmp_path / "raw", tmp_path / "out", (f"a.{form}", 2))
    out = tmp_path / f"out/a.{form}"
    found = pq.read_table(out) if form == "parquet" else pa.Table.from_batches(read_back(out))
    assert found["text"].to_pylist() == [batch.column(0)[2].as_py()]
    assert found.schema.field("text").type == (
        kind if form == "arrow" else pq.read_schema(tmp_path / "raw/a.parquet").field("text").type
    )


def test_a_column_that_cannot_be_published_is_known_beforehand(tmp_path: Path) -> None:
    """Arrow can't take some values of such a list."""
    write(
        tmp_path / "a.arrow", [pa.record_batch({"text": ["x"], "more": pa.array([["y"]], pa.list_(pa.string_view()))})]
    )
    found = one_of(tmp_path)
    assert (found["code"], found["detail"]) == ("unsupported_file", "column 'more' is of type list<item: string_view>")


def test_images_of_a_stream_are_bytes_or_paths(tmp_path: Path) -> None:
    """As Hugging Face's library stores them; the file that a row names is bound, and published."""
    put(tmp_path / "raw", "a.png", PNG)
    images = pa.array([{"bytes": b"inline", "path": None}, {"bytes": None, "path": "a.png"}], HF)
    write(tmp_path / "raw/t.arrow", [pa.record_batch({"image": images, "text": ["x", "y"]})], stream=True)
    found = [(r["path"], r["image"]) for r in all_of(tmp_path / "raw")]
    assert found == [("t.arrow", b"inline"), ("t.arrow", PNG)]
    published(tmp_path / "raw", tmp_path / "out", ("t.arrow", 1))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "t.arrow"]


# --- hostile files


@pytest.mark.parametrize("data", [b"", b"ARROW1", b"ARROW1\0\0" + b"x" * 100, b"\xff" * 50, b"FEA1" + b"x" * 60])
def test_what_is_no_arrow_is_one_quarantined_record(tmp_path: Path, data: bytes) -> None:
    """It is named by its path."""
    put(tmp_path, "a.arrow", data)
    found = one_of(tmp_path)
    assert (found["id"], found["code"]) == ("a.arrow", "unreadable_file")


@pytest.mark.parametrize("stream", [False, True])
def test_a_file_cut_anywhere_never_breaks(tmp_path: Path, stream: bool) -> None:
    """A stream keeps the batches before the cut; a file without its list of batches has none."""
    write(tmp_path / "whole.arrow", [texts(f"a {i}", f"b {i}") for i in range(20)], stream=stream)
    data = (tmp_path / "whole.arrow").read_bytes()
    counts = []
    for number, size in enumerate(range(0, len(data) - 8, 97)):
        root = tmp_path / f"raw{number}"
        put(root, "a.arrow", data[:size])
        *good, last = all_of(root) or [{"code": "unreadable_file"}]
        if not stream or last["code"]:
            assert last["code"] == "unreadable_file"
        counts.append(len(good))
        if good:
            published(root, tmp_path / f"out{number}", *(("a.arrow", i) for i in range(0, len(good), 3)))
            back = pa.Table.from_batches(read_back(tmp_path / f"out{number}/a.arrow"))
            assert [text.encode() for text in back["text"].to_pylist()] == [r["text"] for r in good[::3]]
    assert counts == sorted(counts)
    assert max(counts) == (38 if stream else 0) or (stream and max(counts) >= 38)


def test_bytes_after_the_end_of_a_stream_are_told(tmp_path: Path) -> None:
    """Such as a second stream, which no reader would see."""
    write(tmp_path / "a.arrow", [texts("x")], stream=True)
    put(tmp_path, "a.arrow", (tmp_path / "a.arrow").read_bytes() * 2)
    found = all_of(tmp_path)
    assert [(r["text"], r["code"]) for r in found] == [(b"x", None), (None, "unreadable_file")]
    assert "after the end" in found[1]["detail"]


@pytest.mark.parametrize("nested", [False, True])
def test_offsets_that_point_elsewhere_are_damage(tmp_path: Path, nested: bool) -> None:
    """Nothing outside the file's memory is read; what precedes the batch stays, and can be published."""
    strings = ["x" * 777, "y"]
    column = pa.array([{"path": each} for each in strings] if nested else strings)
    write(tmp_path / "raw/a.arrow", [pa.record_batch({"text": ["v", "w"], "more": column})] * 3)
    pieces = (tmp_path / "raw/a.arrow").read_bytes().split(struct.pack("<i", 777))
    assert len(pieces) == 4  # the second batch's offset lies between the second and the third
    good, bad = struct.pack("<i", 777), struct.pack("<i", 10**9)
    put(tmp_path, "raw/a.arrow", good.join(pieces[:2]) + bad + good.join(pieces[2:]))
    found = all_of(tmp_path / "raw")
    assert [(r["row"], r["code"]) for r in found] == [(0, None), (1, None), (2, "unreadable_file")]
    published(tmp_path / "raw", tmp_path / "out", ("a.arrow", 1))
    assert pa.Table.from_batches(read_back(tmp_path / "out/a.arrow"))["text"].to_pylist() == ["w"]


def test_a_text_that_is_no_utf8_is_quarantined_alone(tmp_path: Path) -> None:
    """As in Parquet."""
    write(tmp_path / "a.arrow", [pa.record_batch({"text": pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())})])
    assert [(r["text"], r["code"]) for r in all_of(tmp_path)] == [(b"ok", None), (None, "bad_utf8")]


@QUICK
@given(
    places=st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 255)), min_size=1, max_size=5), stream=st.booleans()
)
def test_no_bytes_break_a_file(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]], stream: bool
) -> None:
    """Whatever is altered, there are records, verdicts, or an error that names the file's columns."""
    root = tmp_path_factory.mktemp("odd")
    write(root / "raw/a.arrow", [texts("x", None, "y" * 300)] * 2, stream=stream)
    data = bytearray((root / "raw/a.arrow").read_bytes())
    for place, value in places:
        data[place % len(data)] = value
    put(root / "raw", "a.arrow", bytes(data))
    try:
        found = all_of(root / "raw")
    except SourceError:
        return
    rows = [r["row"] for r in found if r["code"] is None]
    if rows:
        published(root / "raw", root / "out", *(("a.arrow", row) for row in rows))
        assert [r["text"] for r in all_of(root / "out")] == [r["text"] for r in found if r["code"] is None]


# --- datasets saved by Hugging Face's library


def test_a_saved_dataset_is_read_and_published_as_one(tmp_path: Path) -> None:
    """All splits with all of their files, empty where no row is kept; the state has a fingerprint of its own."""
    raw = tmp_path / "raw"
    save(
        raw / "ds/train", {"data-00000-of-00002.arrow": ["a", "b"], "data-00001-of-00002.arrow": ["c"]}, _split="train"
    )
    save(raw / "ds/test", {"data-00000-of-00001.arrow": ["d"]})
    put(raw, "ds/dataset_dict.json", '{"splits": ["train", "test"]}')
    found = [(r["path"], r["row"], r["text"], r["split"], r["code"]) for r in all_of(raw)]
    assert found == [
        ("ds/test/data-00000-of-00001.arrow", 0, b"d", "test", None),
        ("ds/train/data-00000-of-00002.arrow", 0, b"a", "train", None),
        ("ds/train/data-00000-of-00002.arrow", 1, b"b", "train", None),
        ("ds/train/data-00001-of-00002.arrow", 0, b"c", "train", None),
    ]
    published(raw, tmp_path / "out", ("ds/train/data-00001-of-00002.arrow", 0))
    out = tmp_path / "out"
    names = sorted(str(p.relative_to(raw)) for p in raw.rglob("*") if p.is_file())
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == names
    assert [sum(b.num_rows for b in read_back(p)) for p in sorted(out.rglob("*.arrow"))] == [0, 0, 1]
    assert (out / "ds/train/dataset_info.json").read_bytes() == (raw / "ds/train/dataset_info.json").read_bytes()
    before, after = (json.loads((place / "ds/train/state.json").read_text()) for place in (raw, out))
    assert after.pop("_fingerprint") != before.pop("_fingerprint")
    assert after == before
    published(raw, tmp_path / "other", ("ds/train/data-00000-of-00002.arrow", 0))
    states = {(place / "ds/train/state.json").read_text() for place in (out, tmp_path / "other")}
    assert len(states) == 2
    assert [(r["path"], r["text"]) for r in all_of(out)] == [("ds/train/data-00001-of-00002.arrow", b"c")]


def test_files_that_a_saved_dataset_does_not_list_are_quarantined(tmp_path: Path) -> None:
    """Such as what the library has cached there, and rows that indices choose."""
    save(tmp_path / "a", {"data.arrow": ["x"]})
    write(tmp_path / "a/cache-123.arrow", [texts("cached")], stream=True)
    save(tmp_path / "b", {"data.arrow": ["x"]}, _indices_data_files=[{"filename": "indices.arrow"}])
    found = {r["path"]: (r["code"], (r["detail"] or "")[:20]) for r in all_of(tmp_path)}
    assert found == {
        "a/data.arrow": (None, ""),
        "a/cache-123.arrow": ("unsupported_file", "state.json does not "),
        "b/data.arrow": ("unsupported_file", "indices choose its r"),
    }


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"_data_files": "data.arrow"}',
        '{"_data_files": [{"filename": "../a.arrow"}], "_fingerprint": "x"}',
        '{"_data_files": [{"filename": ".."}], "_fingerprint": "x"}',
        '{"_data_files": [{"filename": 7}], "_fingerprint": "x"}',
        '{"_data_files": [{"filename": "data.arrow"}], "_fingerprint": 7}',
        '{"a": ' * 100_000,
    ],
)
def test_a_state_that_is_none_makes_no_dataset(tmp_path: Path, state: str) -> None:
    """The table is a table, the other files are quarantined as any."""
    save(tmp_path / "raw/ds", {"data.arrow": ["x"]})
    put(tmp_path / "raw", "ds/state.json", state)
    found = [(r["path"], r["code"]) for r in all_of(tmp_path / "raw")]
    unsupported = [("ds/dataset_info.json", "unsupported_file"), ("ds/state.json", "unsupported_file")]
    assert found == [("ds/data.arrow", None), *unsupported]
    published(tmp_path / "raw", tmp_path / "out", ("ds/data.arrow", 0))
    assert [p.name for p in (tmp_path / "out/ds").iterdir()] == ["data.arrow"]


@pytest.mark.parametrize("splits", ['["train", ".."]', '["train", "../raw2"]', '["train", 7]', '"train"', '["other"]'])
def test_splits_that_lead_elsewhere_are_none(tmp_path: Path, splits: str) -> None:
    """Only folders beside count."""
    save(tmp_path / "raw/ds/train", {"data.arrow": ["x"]})
    save(tmp_path / "raw", {"data.arrow": ["y"]})
    put(tmp_path / "raw", "ds/dataset_dict.json", f'{{"splits": {splits}}}')
    published(tmp_path / "raw", tmp_path / "out", ("ds/train/data.arrow", 0))
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {"ds/train/data.arrow", "ds/train/state.json", "ds/train/dataset_info.json"} <= found
    assert not (tmp_path / "out/state.json").exists()


# --- fields of objects as columns


def test_a_path_of_objects_is_a_column(tmp_path: Path) -> None:
    """In JSON Lines, Parquet and Arrow: the id, a text, an image and attributes; a column of that very name counts first."""
    rows = [
        {"meta": {"uid": "a", "of": {"split": "dev"}, "body": "x", "picture": {"bytes": None, "path": "a.png"}}},
        {"meta": {"uid": "b", "of": None, "body": "y", "picture": None}},
        {"meta": None},
    ]
    put(tmp_path, "a.png", PNG)
    put(
        tmp_path,
        "a.jsonl",
        jsonl(*rows, {"meta.body": "z", "meta.uid": "c", "meta": {"uid": "d", "body": 7}}, {"meta": [1]}),
    )
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "b.parquet")
    write(tmp_path / "c.arrow", table.to_batches())
    columns = Columns(id="meta.uid", split="meta.of.split", text="meta.body", image="meta.picture")
    found = [
        (r["path"], r["id"], r["split"], r["text"], r["image"], r["code"])
        for r in all_of(tmp_path, Source(columns=columns))
    ]
    good = [("a", "validation", b"x", PNG, None), ("b", None, b"y", None, None)]
    assert found == [
        *(("a.jsonl", *row) for row in good),
        ("a.jsonl", "a.jsonl#2", None, None, None, "no_id"),
        ("a.jsonl", "c", None, b"z", None, None),
        ("a.jsonl", "a.jsonl#4", None, None, None, "no_id"),
        *(("b.parquet", *row) for row in good),
        ("b.parquet", "b.parquet#2", None, None, None, "no_id"),
        *(("c.arrow", *row) for row in good),
        ("c.arrow", "c.arrow#2", None, None, None, "no_id"),
    ]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "arrow", "csv"])
def test_a_path_that_is_not_there_is_an_error(tmp_path: Path, form: str) -> None:
    """The message names the file's columns; CSV has no objects."""
    table = pa.table({"meta": [{"label": "x"}]})
    if form == "arrow":
        write(tmp_path / "a.arrow", table.to_batches())
    elif form == "parquet":
        pq.write_table(table, tmp_path / "a.parquet")
    else:
        put(tmp_path, f"a.{form}", {"jsonl": jsonl({"meta": {"label": "x"}}), "csv": "meta\nx\n"}[form])
    with pytest.raises(SourceError, match=rf"a\.{form} has no column .* it has 'meta'"):
        plan(tmp_path, Source(columns=Columns(text="meta.body")))


def test_the_whole_pipeline_on_a_saved_dataset(tmp_path: Path) -> None:
    """Decisions, the clean dataset, the check, and nothing to drop again."""
    long = [
        f"a text about the number {i} whose words differ from those of all others by {i * i} and {i**3}"
        for i in range(6)
    ]
    save(tmp_path / "make/train", {"data-0.arrow": long[:4], "data-1.arrow": [*long[4:], long[0]]})
    save(tmp_path / "make/test", {"data-0.arrow": [long[0]]})
    put(tmp_path / "make", "dataset_dict.json", '{"splits": ["train", "test"]}')
    files = {name.removeprefix("make/"): data for name, data in projects.tree(tmp_path / "make").items()}
    given_ = {"source__columns": {"id": None}}
    root = projects.build(projects.create(tmp_path / "project", files, **given_))
    assert projects.metrics(root, "dedup")["dropped"] == 2
    assert check(root) == []
    clean = {name.removeprefix("clean/"): data for name, data in projects.tree(root / "clean").items()}
    assert clean.keys() == files.keys()
    again = projects.build(projects.create(tmp_path / "again", clean, **given_))
    assert projects.metrics(again, "dedup")["dropped"] == 0
    assert len(all_of(root / "clean")) == 6
