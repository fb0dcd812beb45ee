"""Reading the source: plans, formats, sidecars, ids, attributes, and the verdict on each hostile input."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedupver.params import Columns, Source
from dedupver.records import Task, columns, lines, parquet, plan, read, record
from dedupver.records.samples import Sample
from dedupver.records.tables import Table
from dedupver.schema import SourceError, raw_schema

PLAN = importlib.import_module("dedupver.records.plan")  # the package's name `plan` is the function
PNG = b"\x89PNG stands for an image"
ROWS = st.lists(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(lambda t: not t.isspace()), max_size=30
)
RAW = raw_schema(Source().parts)
QUOTING = {"\n": csv.QUOTE_ALL, "\r\n": csv.QUOTE_MINIMAL}  # csv leaves a carriage return bare if no line ends in one
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def put(root: Path, path: str, data: bytes | str) -> None:
    """Write a file below `root`."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data.encode() if isinstance(data, str) else data)


def all_of(root: Path, source: Source | None = None) -> list[dict[str, Any]]:
    """Return every record of a source, in order."""
    source = source or Source()
    batches = [batch for task in plan(root, source) for batch in read(root, task, source)]
    assert all(batch.schema == RAW for batch in batches)
    return pa.Table.from_batches(batches, RAW).to_pylist()


def one_of(root: Path, source: Source | None = None) -> dict[str, Any]:
    """Return the only record of a source."""
    found = all_of(root, source)
    assert len(found) == 1
    return found[0]


def jsonl(*rows: object) -> str:
    """Return rows as JSON Lines; strings are lines already."""
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def small(monkeypatch: pytest.MonkeyPatch, *, size: int, rows: int, block: int) -> None:
    """Make tasks, blocks and batches small."""
    monkeypatch.setattr(PLAN, "TASK_BYTES", size)
    monkeypatch.setattr(PLAN, "TASK_ROWS", rows)
    monkeypatch.setattr(PLAN, "TASK_FILES", rows)
    monkeypatch.setattr(lines, "BLOCK", block)
    for module in (record, lines):
        monkeypatch.setattr(module, "BATCH_ROWS", 3)
    monkeypatch.setattr(parquet, "STEP_ROWS", 2)
    monkeypatch.setattr(parquet, "WIDE", 2)


# --- whole files


def test_a_text_file_is_a_record_named_by_its_path(tmp_path: Path) -> None:
    """The id is the POSIX path, the source its first folder, the split the folder named like one."""
    put(tmp_path, "web/val/a b.txt", "hello\n")
    found = one_of(tmp_path)
    assert found["id"] == found["path"] == "web/val/a b.txt"
    assert (found["row"], found["role"], found["text"]) == (-1, "data", b"hello\n")
    assert (found["source"], found["split"], found["code"]) == ("web", "validation", None)


def test_a_file_at_the_root_has_no_source_and_no_split(tmp_path: Path) -> None:
    """The name of a file is no folder, even where it is that of a split."""
    put(tmp_path, "train.txt", "hello")
    found = one_of(tmp_path)
    assert (found["source"], found["split"]) == (None, None)


def test_an_image_and_the_caption_beside_it_are_one_record(tmp_path: Path) -> None:
    """photo.jpg + photo.txt make one record; a text without an image is its own."""
    put(tmp_path, "photo.jpg", PNG)
    put(tmp_path, "photo.txt", "\ufeffa cat")
    put(tmp_path, "b/photo.txt", "another folder")
    put(tmp_path, "c.PNG", PNG)
    put(tmp_path, "c.caption", "a dog")
    found = {r["id"]: r for r in all_of(tmp_path)}
    assert list(found) == ["b/photo.txt", "c.PNG", "photo.jpg"]
    assert (found["photo.jpg"]["image"], found["photo.jpg"]["caption"], found["photo.jpg"]["text"]) == (
        PNG,
        b"a cat",
        None,
    )
    assert found["c.PNG"]["caption"] == b"a dog"


def test_captions_can_be_turned_off(tmp_path: Path) -> None:
    """With captions: none the text beside an image is a record of its own."""
    put(tmp_path, "photo.jpg", PNG)
    put(tmp_path, "photo.txt", "a cat")
    found = all_of(tmp_path, Source(captions="none"))
    assert [(r["id"], r["caption"]) for r in found] == [("photo.jpg", None), ("photo.txt", None)]


def test_hidden_files_are_skipped(tmp_path: Path) -> None:
    """What begins with a dot, a file or a folder, is no part of the source."""
    for path in (".gitignore", ".cache/a.txt", "x/.DS_Store"):
        put(tmp_path, path, "x")
    assert plan(tmp_path, Source()) == []


def test_any_suffix_is_a_text_where_params_say_so(tmp_path: Path) -> None:
    """The suffix `*` takes what is neither image nor table; without it such a file is quarantined."""
    put(tmp_path, "Makefile", "all:")
    put(tmp_path, "a.py", "pass")
    assert [r["code"] for r in all_of(tmp_path)] == ["unsupported_file"] * 2
    assert [r["text"] for r in all_of(tmp_path, Source(text_suffixes=("*",)))] == [b"all:", b"pass"]


def test_references_are_matched_by_glob(tmp_path: Path) -> None:
    """`**/` also matches no folder at all."""
    for path in ("eval/x.txt", "eval/deep/x.txt", "other/x.txt"):
        put(tmp_path, path, "x")
    roles = {r["path"]: r["role"] for r in all_of(tmp_path, Source(references=("eval/**/x.txt",)))}
    assert roles == {"eval/x.txt": "reference", "eval/deep/x.txt": "reference", "other/x.txt": "data"}


@pytest.mark.parametrize(
    ("path", "data", "code"),
    [
        ("a.txt", b"\xff\xfe", "bad_utf8"),
        ("a.txt", "\ufeff \n\u3000".encode(), "empty_text"),
        ("a.txt", b"", "empty_text"),
        ("a.txt", b"x" * 101, "huge_text"),
        ("a.png", b"x" * 201, "huge_image"),
        ("a.bin", b"x", "unsupported_file"),
        ("a.parquet", b"PAR1 and nothing else PAR1", "unreadable_file"),
        ("a.parquet", b"", "unreadable_file"),
        ("a.csv", b"\xff,text\n1,2\n", "bad_utf8"),
        ("a.csv", b'"id,text\n1,2\n', "bad_row"),
    ],
)
def test_a_hostile_file_is_one_quarantined_record(tmp_path: Path, path: str, data: bytes, code: str) -> None:
    """It keeps its name and a reason, and loses its payload."""
    put(tmp_path, path, data)
    found = one_of(tmp_path, Source(max_text_bytes=100, max_image_bytes=200))
    assert (found["id"], found["row"], found["code"]) == (path, -1, code)
    assert found["detail"]
    assert found["text"] is found["image"] is found["caption"] is None


def test_a_bad_caption_quarantines_the_pair(tmp_path: Path) -> None:
    """A record's parts are taken together or not at all."""
    put(tmp_path, "photo.jpg", PNG)
    put(tmp_path, "photo.txt", "  ")
    found = one_of(tmp_path)
    assert (found["id"], found["code"], found["image"]) == ("photo.jpg", "empty_text", None)


def test_links_are_followed_within_the_source_alone(tmp_path: Path) -> None:
    """A link inside is read; one that leaves, dangles, loops or stands for a folder is quarantined."""
    root = tmp_path / "raw"
    put(tmp_path, "secret.txt", "secret")
    put(root, "folder/a.txt", "hello")
    for name, to in [
        ("b.txt", "folder/a.txt"),
        ("c.txt", "../secret.txt"),
        ("d.txt", "nowhere"),
        ("e.txt", "e.txt"),
        ("f.jsonl", "../secret.txt"),
        ("g", "folder"),
        ("h", ".."),
    ]:
        (root / name).symlink_to(to)
    found = {r["id"]: (r["code"], r["text"]) for r in all_of(root)}
    assert found == {
        "b.txt": (None, b"hello"),
        "c.txt": ("link_outside", None),
        "d.txt": ("unreadable_file", None),
        "e.txt": ("unreadable_file", None),
        "f.jsonl": ("link_outside", None),
        "folder/a.txt": (None, b"hello"),
        "g": ("unsupported_file", None),
        "h": ("link_outside", None),
    }


def test_links_into_the_cache_of_dvc_are_read(tmp_path: Path) -> None:
    """With `cache.type symlink` every file of the source is such a link."""
    cached = f".dvc/cache/files/md5/ab/{'c' * 30}"
    put(tmp_path, cached, "hello")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.txt").symlink_to(tmp_path / cached)
    assert one_of(tmp_path / "raw")["text"] == b"hello"


def test_a_folder_that_cannot_be_listed_is_quarantined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it holds is unknown, that it is there is not."""
    put(tmp_path, "a.txt", "x")
    put(tmp_path, "locked/b.txt", "x")
    listed = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [(r["id"], r["code"]) for r in all_of(tmp_path)] == [("a.txt", None), ("locked", "unreadable_file")]


def test_a_pipe_is_quarantined_and_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is never opened."""
    os.mkfifo(tmp_path / "a.txt")
    assert one_of(tmp_path)["code"] == "unsupported_file"


@pytest.mark.parametrize("suffix", [b".txt", b".jsonl"])
def test_a_name_that_is_no_utf8_is_quarantined(tmp_path: Path, suffix: bytes) -> None:
    """Its bytes are shown in the id."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff" + suffix)).write_bytes(b"x")
    found = one_of(tmp_path)
    assert (found["id"], found["code"]) == ("a\\udcff" + suffix.decode(), "unreadable_file")


def test_a_source_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    """The message names the path."""
    with pytest.raises(SourceError, match="nowhere is no folder"):
        plan(tmp_path / "nowhere", Source())


# --- rows of tables


def test_the_fields_of_a_row(tmp_path: Path) -> None:
    """Attributes are strings, the quality a number; what the row lacks is said by the path."""
    rows = [
        {"id": "a", "text": "x", "source": "web", "split": "dev", "time": 2024, "quality": "0.5"},
        {"id": "b", "text": "x", "source": None, "quality": "good", "time": {}},
        {"id": "c", "text": "x", "quality": float("nan"), "split": "fold7"},
    ]
    put(tmp_path, "books/test.jsonl", jsonl(*rows))
    found = all_of(tmp_path, Source(columns=Columns(id="id")))
    named = [tuple(r[name] for name in ("id", "source", "split", "time", "quality")) for r in found]
    assert named == [
        ("a", "web", "validation", "2024", 0.5),
        ("b", "books", "test", None, None),
        ("c", "books", "fold7", None, None),
    ]


def test_ids_of_23_digits_stay_exact(tmp_path: Path) -> None:
    """Numbers are read as they are written."""
    put(tmp_path, "a.jsonl", '{"id": 12345678901234567890123, "text": "x"}\n{"id": 1.10, "text": "x"}\n')
    assert [r["id"] for r in all_of(tmp_path, Source(columns=Columns(id="id")))] == ["12345678901234567890123", "1.10"]


def test_rows_have_no_id_unless_params_name_its_column(tmp_path: Path) -> None:
    """The caller names them after their content; quarantined ones are named after their place."""
    put(tmp_path, "a.jsonl", jsonl({"id": 1, "text": "x"}, "{", {"text": "y"}))
    assert [r["id"] for r in all_of(tmp_path)] == [None, "a.jsonl#1", None]


def test_blank_lines_are_counted_and_hold_no_record(tmp_path: Path) -> None:
    """Row numbers are those of the lines of JSON Lines, and of the records after CSV's header."""
    put(tmp_path, "a.jsonl", b'\xef\xbb\xbf\n{"text": "x"}\r\n  \r\n{"text": "y"}')
    put(tmp_path, "b.csv", b"\xef\xbb\xbftext\r\n\r\nx\r\n\r\ny")
    found = [(r["path"], r["row"], r["text"], r["code"]) for r in all_of(tmp_path)]
    assert found == [
        ("a.jsonl", 1, b"x", None),
        ("a.jsonl", 3, b"y", None),
        ("b.csv", 1, b"x", None),
        ("b.csv", 3, b"y", None),
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"text": "\\ud800"}', "bad_utf8"),
        ('{"text": "x", "source": "\\udfff"}', "bad_utf8"),
        ('{"text": "x\udcff"}', "bad_utf8"),  # the byte ff
        ('{"text": " \\n\\t"}', "empty_text"),
        ('{"text": ""}', "empty_text"),
        ('{"text": "x", "caption": ""}', "empty_text"),
        ('{"text": "' + "x" * 101 + '"}', "huge_text"),
        ('{"text": "x", "more": "' + "y" * (1 << 20) + '"}', "huge_text"),
        ("{", "bad_row"),
        ("[1]", "bad_row"),
        ('"text"', "bad_row"),
        ('{"text": "x"} {}', "bad_row"),
        ('{"text": "x", "text": "y"}', "duplicate_keys"),
        ('{"text": "x", "more": {"a": 1, "a": 1}}', "duplicate_keys"),
        ('{"text": "x", "more": ' + "[" * 11 + "]" * 11 + "}", "deep_json"),
        ('{"text": ' + "[" * 200_000, "deep_json"),
        ('{"text": "x", "image": "nowhere.png"}', "missing_image"),
        ('{"text": "x", "image": "a\\u0000.png"}', "path_escape"),
        ('{"text": "x", "image": "' + "y" * 5_000 + '"}', "missing_image"),
        ('{"text": "x", "image": "/etc/hostname"}', "path_escape"),
        ('{"text": "x", "image": "../secret.png"}', "path_escape"),
        ('{"text": "x", "image": "in/../../secret.png"}', "path_escape"),
        ('{"text": "x", "image": "link.png"}', "path_escape"),
        ('{"text": "x", "image": "huge.png"}', "huge_image"),
        ('{"text": "x", "image": "in"}', "missing_image"),
        ('{"text": "x", "image": 7}', "wrong_type"),
        ('{"text": 7}', "wrong_type"),
        ('{"text": true}', "wrong_type"),
        ('{"text": ["x"]}', "wrong_type"),
        ('{"text": null, "image": ""}', "no_content"),
        ("{}", "no_content"),
    ],
)
def test_a_hostile_row_is_quarantined(tmp_path: Path, line: str, code: str) -> None:
    """Its neighbours are not, and the reason is there."""
    root = tmp_path / "raw"
    put(tmp_path, "secret.png", PNG)
    put(root, "in/ok.png", PNG)
    put(root, "huge.png", b"x" * 201)
    (root / "link.png").symlink_to("../secret.png")
    data = b'{"text": "before"}\n' + line.encode("utf-8", "surrogateescape") + b'\n{"text": "after"}\n'
    put(root, "t.jsonl", data)
    source = Source(max_text_bytes=100, max_image_bytes=200, max_json_depth=10)
    found = [r for r in all_of(root, source) if r["path"] == "t.jsonl"]
    assert [r["code"] for r in found] == [None, code, None]
    assert found[1]["id"] == "t.jsonl#1"
    assert found[1]["detail"]
    assert found[1]["text"] is found[1]["image"] is found[1]["caption"] is None


def test_brackets_in_strings_are_no_nesting(tmp_path: Path) -> None:
    """The depth is that of the value, whatever its strings hold."""
    put(tmp_path, "a.jsonl", jsonl({"text": '[{"\\' * 50, "more": [[]] * 50}))
    assert one_of(tmp_path, Source(max_json_depth=3))["code"] is None


def test_json_deeper_than_the_parser_can_follow_is_quarantined(tmp_path: Path) -> None:
    """A generous max_json_depth does not let a RecursionError through."""
    put(tmp_path, "a.jsonl", '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    assert one_of(tmp_path, Source(max_json_depth=10_000_000))["code"] == "deep_json"


@pytest.mark.parametrize("value", ["null", '""'])
def test_a_row_without_its_id_is_quarantined(tmp_path: Path, value: str) -> None:
    """A row that has an id keeps it when something else is wrong."""
    rows = ['{"text": "x"}', '{"id": {}, "text": "x"}', '{"id": "d", "text": 1}']
    put(tmp_path, "a.jsonl", jsonl(f'{{"id": {value}, "text": "x"}}', *rows))
    found = [(r["id"], r["code"]) for r in all_of(tmp_path, Source(columns=Columns(id="id")))]
    assert found == [
        ("a.jsonl#0", "no_id"),
        ("a.jsonl#1", "no_id"),
        ("a.jsonl#2", "wrong_type"),
        ("d", "wrong_type"),
    ]


@pytest.mark.parametrize(
    ("path", "data"),
    [("t.jsonl", '{"body": "x", "key": 1}\n'), ("t.csv", "body,key\nx,1\n"), ("t.parquet", None)],
)
def test_a_table_without_the_columns_of_params_is_an_error(tmp_path: Path, path: str, data: str | None) -> None:
    """The message names the file, its columns and the key to set, for the parts and for the id."""
    if data is None:
        pq.write_table(pa.table({"body": ["x"], "key": ["1"]}), tmp_path / path)
    else:
        put(tmp_path, path, data)
    with pytest.raises(SourceError, match=rf"{path}.*text.*'body', 'key'.*source\.columns\.text"):
        plan(tmp_path, Source())
    with pytest.raises(SourceError, match=rf"{path}.*'uid'.*'body', 'key'.*source\.columns\.id: null"):
        plan(tmp_path, Source(columns=Columns(text="body", id="uid")))
    assert one_of(tmp_path, Source(columns=Columns(text="body", id="key")))["id"] == "1"


def test_a_column_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    """Which of the two is meant can't be known."""
    put(tmp_path, "a.csv", "text,text\nx,y\n")
    with pytest.raises(SourceError, match=r"a\.csv has several columns 'text'"):
        plan(tmp_path, Source())


def test_images_that_rows_name_are_parts_of_those_rows(tmp_path: Path) -> None:
    """Beside the table or from the root; such an image is no record of its own, others are."""
    for name in ("in/a.png", "b.png", "in/alone.png"):
        put(tmp_path, name, PNG + name.encode())
    put(tmp_path, "in/t.jsonl", jsonl({"image": "a.png", "caption": "A"}, {"image": "../b.png", "caption": "B"}))
    put(tmp_path, "in/u.csv", "image,caption\nin/a.png,again\n")
    found = [(r["path"], r["row"], r["image"], r["caption"], r["code"]) for r in all_of(tmp_path)]
    assert found == [
        ("in/alone.png", -1, PNG + b"in/alone.png", None, None),
        ("in/t.jsonl", 0, PNG + b"in/a.png", b"A", None),
        ("in/t.jsonl", 1, PNG + b"b.png", b"B", None),
        ("in/u.csv", 0, PNG + b"in/a.png", b"again", None),
    ]


@pytest.mark.parametrize(("path", "bound"), [("train/metadata.jsonl", True), ("train/other.jsonl", False)])
def test_file_name_stands_for_the_image_in_an_imagefolder(tmp_path: Path, path: str, *, bound: bool) -> None:
    """In metadata files alone, and only where the column that params name is absent."""
    put(tmp_path, "train/a.png", PNG)
    put(tmp_path, path, jsonl({"file_name": "a.png", "text": "A"}))
    found = {r["path"]: r for r in all_of(tmp_path)}
    assert found[path]["image"] == (PNG if bound else None)
    assert ("train/a.png" in found) is not bound
    assert found[path]["split"] == "train"


# --- CSV


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("1", "bad_row"),
        ("1,x,y", "bad_row"),
        ('1,"x"y', "bad_row"),
        ("1,x\ry", "bad_row"),
        ("1,\udcff", "bad_utf8"),
        ("1,", "empty_text"),
        ('1,""', "empty_text"),
        (",x", "no_id"),
        ("1," + "x" * 101, "huge_text"),
    ],
)
def test_a_hostile_record_of_csv_is_quarantined(tmp_path: Path, line: str, code: str) -> None:
    """Its neighbours are not."""
    put(tmp_path, "a.csv", b"id,text\n0,before\n" + line.encode("utf-8", "surrogateescape") + b"\n2,after\n")
    found = all_of(tmp_path, Source(max_text_bytes=100, columns=Columns(id="id")))
    assert [r["code"] for r in found] == [None, code, None]


def test_csv_keeps_nul_newlines_long_fields_and_stray_quotes(tmp_path: Path) -> None:
    """A quote within a bare field is a character: 5" is five inches."""
    texts = ["a\0b", 'two\r\nlines, and "quotes"', "x" * 200_000]
    out = io.StringIO()
    csv.writer(out).writerows([["text"], *([t] for t in texts)])
    put(tmp_path, "a.csv", out.getvalue() + '5" disk\r\n6" disk\r\n')
    assert [r["text"].decode() for r in all_of(tmp_path)] == [*texts, '5" disk', '6" disk']


def test_a_record_too_long_to_read_is_skipped_in_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It spans many blocks, and those after it keep their place."""
    monkeypatch.setattr(lines, "BLOCK", 1 << 16)
    put(tmp_path, "a.csv", 'text\nx\n"' + "y\n" * (1 << 20) + '"\nz\n')
    found = [(r["row"], r["text"], r["code"]) for r in all_of(tmp_path, Source(max_text_bytes=100))]
    assert found == [(0, b"x", None), (1, None, "huge_text"), (2, b"z", None)]


def test_a_quote_that_is_never_closed_is_one_quarantined_record(tmp_path: Path) -> None:
    """It takes the rest of the file, as every reader of CSV would have it, and is named."""
    put(tmp_path, "a.csv", 'text\nx\n"y\nz\n')
    assert [(r["row"], r["code"]) for r in all_of(tmp_path)] == [(0, None), (1, "bad_row")]


def test_empty_fields_of_csv_may_stand_for_null(tmp_path: Path) -> None:
    """A text beside an image and a caption beside a text may be empty; a pair's caption may not."""
    put(tmp_path, "a.png", PNG)
    put(tmp_path, "t.csv", "text,image,caption\nx,,\n,a.png,A\n,a.png,\n,,\n")
    found = [(r["text"], r["image"], r["caption"], r["code"]) for r in all_of(tmp_path)]
    assert found == [
        (b"x", None, None, None),
        (None, PNG, b"A", None),
        (None, None, None, "empty_text"),
        (None, None, None, "empty_text"),
    ]


# --- Parquet


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_texts_of_parquet_in_every_type_of_string(tmp_path: Path, kind: pa.DataType) -> None:
    """Null is no text."""
    table = pa.table({"text": pa.array(["x", None, "é"], pa.string()).cast(kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [(r["text"], r["code"]) for r in all_of(tmp_path)] == [
        (b"x", None),
        (None, "no_content"),
        ("é".encode(), None),
    ]


def test_strings_of_parquet_that_are_no_utf8_are_quarantined(tmp_path: Path) -> None:
    """Arrow does not look at them when it reads."""
    bad = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    assert [(r["text"], r["code"]) for r in all_of(tmp_path)] == [(b"ok", None), (None, "bad_utf8")]


@pytest.mark.parametrize(
    "column",
    [pa.array([1, 2]), pa.array([[b"x"], []]), pa.array([True, False]), pa.array([{"a": "x"}, {"a": "y"}])],
)
def test_texts_of_parquet_of_another_type_are_quarantined(tmp_path: Path, column: pa.Array) -> None:
    """Each row, as anywhere."""
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    assert [r["code"] for r in all_of(tmp_path)] == ["wrong_type", "wrong_type"]


def test_images_of_parquet_are_bytes_paths_or_both(tmp_path: Path) -> None:
    """Bytes count before the path; the image that only a path names is bound."""
    put(tmp_path, "a.png", PNG)
    put(tmp_path, "b.png", PNG)
    hf = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": b"inline", "path": "b.png"}, {"bytes": None, "path": "a.png"}, None], hf)
    pq.write_table(pa.table({"image": images}), tmp_path / "hf.parquet")
    pq.write_table(pa.table({"image": pa.array([b"raw"])}), tmp_path / "raw.parquet")
    found = [(r["path"], r["image"], r["code"]) for r in all_of(tmp_path)]
    assert found == [
        ("b.png", PNG, None),
        ("hf.parquet", b"inline", None),
        ("hf.parquet", PNG, None),
        ("hf.parquet", None, "no_content"),
        ("raw.parquet", b"raw", None),
    ]


def test_ids_times_and_numbers_of_parquet(tmp_path: Path) -> None:
    """They are read as strings; the quality as a number."""
    table = pa.table(
        {
            "id": pa.array([2**62 + 1, None]),
            "text": ["x", "y"],
            "time": pa.array([0, None], pa.timestamp("us")),
            "quality": pa.array([0.1, float("nan")], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = all_of(tmp_path, Source(columns=Columns(id="id")))
    assert (first["id"], first["time"], first["quality"]) == (
        str(2**62 + 1),
        "1970-01-01 00:00:00.000000",
        pytest.approx(0.1),
    )
    assert (second["code"], second["quality"]) == ("no_id", None)


def test_a_parquet_file_damaged_in_the_middle_keeps_what_precedes(tmp_path: Path) -> None:
    """The rest of it is one quarantined record."""
    table = pa.table({"text": [f"row {i}" for i in range(4_000)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2_000, compression="snappy", use_dictionary=False)
    place = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(1).column(0).data_page_offset
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[place : place + 200] = b"\xff" * 200
    put(tmp_path, "a.parquet", bytes(data))
    found = all_of(tmp_path)
    assert [r["code"] for r in found] == [None] * 2_000 + ["unreadable_file"]
    assert found[-1]["id"] == "a.parquet#2000"


# --- tasks


def test_tasks_can_be_pickled_and_do_not_change(tmp_path: Path) -> None:
    """A plan is a function of the source."""
    put(tmp_path, "a.txt", "x")
    put(tmp_path, "b.csv", "text\nx\n")
    tasks = plan(tmp_path, Source())
    sample = Sample("a.txt", {"text": "a.txt"})
    assert tasks == [
        Task(("a.txt",), "file", 0, 0, -1, samples=(sample,)),
        Task(("b.csv",), "csv", 5, 7, 0, 1, b"text\n"),
    ]
    assert pickle.loads(pickle.dumps(tasks)) == tasks == plan(tmp_path, Source())


def test_files_are_cut_by_number_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is in one task."""
    small(monkeypatch, size=100, rows=3, block=8)
    for i in range(5):
        put(tmp_path, f"{i}.txt", "x")
    put(tmp_path, "1.txt", "x" * 200)
    assert [task.paths for task in plan(tmp_path, Source())] == [("0.txt", "1.txt"), ("2.txt", "3.txt", "4.txt")]


def test_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch ends with the file or the image that makes it large, and a table's with the last row of its block."""
    monkeypatch.setattr(record, "BATCH_BYTES", 10)
    monkeypatch.setattr(lines, "BATCH_ROWS", 5)
    for name, size in (("a", 12), ("b", 6), ("c", 6)):
        put(tmp_path, f"{name}.png", b"x" * size)
        put(tmp_path, f"{name}.txt", "x" * size)
    names = ["a.png", "b.png", None, "c.png", None, "b.png", None]
    put(tmp_path, "t.jsonl", jsonl(*({"text": "x", "image": name} for name in names)))
    sizes = [[batch.num_rows for batch in read(tmp_path, task, Source())] for task in plan(tmp_path, Source())]
    assert sizes == [[1, 2], [1, 3, 1, 2]]


# --- columns and rows

ODD_JSON = [
    *("0", "-0", "1.10", "-1.5e-3", "1E+5", "1e400", "12345678901234567890123", "01", "1.", ".5", "1e", "-", "+1"),
    *("NaN", "-Infinity", "null", "true", "false", "nul", "falsey", "", "[]", "{}", "[1,]", "[,1]", "[1 2]", "[}", "[{}]"),
    *("[[]]", "[[[]]]", '[1,{"a":[],"b":"]"}]', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '{"a":{"b":1},"b":2}', '{"a"}'),
    *('"', '"a\tb"', '"a\x00"', '"\\x"', '"\\u12"', '"\\u00zz"', '"\\ud83d"', '"\\ude00"', '"\\ud83d\\u0041"', '"\\ud83d\\ue041"'),
    *('"\\ud83d\\ude00"', '"\\u00e9\\u65E5\\u007f"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\ud800"', '"dev"', '"Test"', '"0.5"', '" 2 "', '"1_0"'),
    *('""', '" "', '"\\u3000"', '"a.png"', '"nowhere.png"', '"x"y', '"x",', '"x","x":1', '"x"}{'),
]  # fmt: skip
ODD_LINES = [
    *('{"id":"a","text":"x"}x', '{"id":"a","text":"x"}}', ' \t{"id":"a","text":"x"} \r', '\x0b{"id":"a","text":"x"}', '[{"id":"a","text":"x"}]'),
    *('{"id":"a","text":"x",}', '{,"id":"a","text":"x"}', '{"id":"a",,"text":"x"}', '{"id":"a" "text":"x"}', '{"id" "a","text":"x"}'),
    *('{"id":"a","text":"x"', '{"id":"a","text":"x', '{"id":"a","text":"x\\', '{"id":"a","text":"x\\u00', '{"id":"a","text":1', '{"id":"a","text":"x"}'),
]  # fmt: skip
JSON_VALUES = st.one_of(
    st.sampled_from(ODD_JSON),
    st.builds(
        json.dumps, st.text(st.sampled_from(' aB"\\/\n\t\0\x1c\x85é\u3000日😀\ud800:{[')), ensure_ascii=st.booleans()
    ),
)
JSON_KEYS = st.sampled_from(["id", "text", "image", "caption", "source", "split", "time", "quality", "x", "t\\u0065xt"])
JSON_SPACE = st.sampled_from(["", "", "", " ", "\t", "\r", "\x0b"])
JSON_PAIRS = st.builds('{0}"{1}"{0}:{0}{2}{0}'.format, JSON_SPACE, JSON_KEYS, JSON_VALUES)
JSON_LINES = st.one_of(
    st.lists(JSON_PAIRS, max_size=5).map(lambda pairs: "{" + ",".join(['"id":"a"', '"text":"x y"', *pairs]) + "}"),
    st.lists(JSON_PAIRS, max_size=5).map(lambda pairs: "{" + ",".join(pairs) + "}"),
    JSON_VALUES,
    JSON_SPACE,
)
CSV_FIELDS = st.sampled_from(
    ["", "x", '"x, y"', '"a\n""b"""', '""', "é", " ", "\u3000", '5"', '"x"y', ' "x"', "a\rb", "\0", "\ud800", "a.png", "dev", "0.5", '"']
)  # fmt: skip
ARROW_VALUES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.string(), [b"x y", b"", b" ", "é\u3000".encode(), b"\xff", b"dev", b"a.png", b"0.5", b" 1_0 ", b"nan"]),
    (pa.large_string(), [b"x", b"\xed\xa0\x80", "\u2028".encode()]),
    (pa.string_view(), ["x", "a.png", ""]),
    (pa.binary(), [b"x", b"0.5", b"\xff", b""]),
    (pa.binary(2), [b"ab", b"\xffa", b"  "]),
    (pa.dictionary(pa.int8(), pa.string()), ["x", "Test", ""]),
    (pa.int64(), [0, -1, 2**62 + 1]),
    (pa.float32(), [0.1, float("nan"), float("inf")]),
    (pa.timestamp("us"), [0, 1]),
    (pa.decimal128(5, 2), [1, 2]),
    (pa.bool_(), [True, False]),
    (pa.list_(pa.string()), [["x"], []]),
    (pa.struct([("a", pa.string())]), [{"a": "x"}]),
    (pa.struct([("bytes", pa.binary()), ("path", pa.string())]), [{"bytes": b"i", "path": None}, {"bytes": None, "path": "a.png"}, {}]),
    (pa.null(), [None]),
]  # fmt: skip


def column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    """Return values, or the bytes of strings, as a column."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array(values, pa.binary() if kind == pa.string() else pa.large_binary()).view(kind)
    return pa.array(values, kind)


def seen_one_by_one(patch: pytest.MonkeyPatch) -> None:
    """Leave every row to `Table.record`."""

    def records(*given: Any) -> pa.RecordBatch:
        batch = COLUMNS(*given)
        given[-1][:] = False
        return batch

    patch.setattr(columns, "records", records)


def both_ways(root: Path, source: Source) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records of a source as they are read, and as they are read row by row."""
    fast = all_of(root, source)
    with pytest.MonkeyPatch.context() as patch:
        seen_one_by_one(patch)
        return fast, all_of(root, source)


COLUMNS = columns.records
SMALL_LIMITS = st.builds(
    Source,
    columns=st.builds(Columns, id=st.sampled_from(["id", None]), image=st.sampled_from(["image", None])),
    max_text_bytes=st.sampled_from([4, 100]),
    max_json_depth=st.sampled_from([2, 100]),
)


@pytest.mark.parametrize("name", ["x", "text", "id", "time", "image"])
def test_each_odd_value_of_json_is_the_same_in_columns(tmp_path: Path, name: str) -> None:
    """Each on a line that is plain but for it, at depths that just are too much, and just are not."""
    rest = json.dumps({key: "x y" for key in ("id", "text", "source") if key != name})[1:]
    odd = [f'{{"{name}": {value}, {rest}' for value in ["1", *ODD_JSON]]
    text = "\n".join([*odd, *ODD_LINES])  # the last one has no line end
    put(tmp_path, "a.png", PNG)
    put(tmp_path, "a.jsonl", text.encode("utf-8", "surrogatepass"))
    for depth in (1, 2, 3, 100):
        fast, slow = both_ways(tmp_path, Source(columns=Columns(id="id"), max_json_depth=depth))
        assert fast == slow


@QUICK
@given(
    rows=st.lists(JSON_LINES, max_size=8), end=st.sampled_from(["\n", "\r\n"]), source=SMALL_LIMITS, last=st.booleans()
)
def test_columns_of_json_lines_say_what_rows_say(
    tmp_path: Path, rows: list[str], end: str, source: Source, *, last: bool
) -> None:
    """The compiled scan takes a line only where the parser gives the same record; what it leaves is parsed."""
    text = end.join(rows) + end * last
    put(tmp_path, "a.png", PNG)
    put(tmp_path, "a.jsonl", b'{"id": "0", "text": "x"}\n' + text.encode("utf-8", "surrogatepass"))
    fast, slow = both_ways(tmp_path, source)
    assert fast == slow


@QUICK
@given(rows=st.lists(st.lists(CSV_FIELDS, min_size=4, max_size=5), max_size=8), source=SMALL_LIMITS)
def test_columns_of_csv_say_what_rows_say(tmp_path: Path, rows: list[list[str]], source: Source) -> None:
    """As above, with quotes, empty fields and too many fields."""
    text = "".join(",".join(row) + "\n" for row in [["id", "text", "caption", "image"], *rows])
    put(tmp_path, "a.png", PNG)
    put(tmp_path, "a.csv", text.encode("utf-8", "surrogatepass"))
    fast, slow = both_ways(tmp_path, source)
    assert fast == slow


@QUICK
@given(data=st.data(), source=SMALL_LIMITS, n=st.integers(1, 9))
def test_columns_of_parquet_say_what_rows_say(tmp_path: Path, data: st.DataObject, source: Source, n: int) -> None:
    """Whatever the types of the columns are."""
    table = {}
    for name in ("id", "text", "image", "caption", "source", "split", "time", "quality"):
        kind, values = data.draw(st.sampled_from(ARROW_VALUES[:1] * 8 + ARROW_VALUES))
        table[name] = column(kind, data.draw(st.lists(st.sampled_from([*values, None]), min_size=n, max_size=n)))
    put(tmp_path, "a.png", PNG)
    pq.write_table(pa.table(table), tmp_path / "a.parquet", row_group_size=4)
    fast, slow = both_ways(tmp_path, source)
    assert repr(fast) == repr(slow)  # NaN is not itself


def test_plain_rows_are_not_seen_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Escapes, numbers, nested values and quotes are plain; a caption may be missing."""
    rows = [{"id": i, "text": 'é\n"😀', "meta": {"a": [1.5e3, True, None]}, "split": "dev"} for i in range(3)]
    put(tmp_path, "a.jsonl", jsonl(*rows) + json.dumps({"id": "d", "caption": " é"}, ensure_ascii=False) + "\n")
    put(tmp_path, "b.csv", 'id,text,caption\ne,"two\n""lines""",\nf,5" disk,x\n')
    pq.write_table(pa.table({"id": [1, 2], "text": ["x", None], "caption": ["y", "z"]}), tmp_path / "c.parquet")
    monkeypatch.setattr("dedupver.records.tables.Table.record", None)
    found = all_of(tmp_path, Source(columns=Columns(id="id")))
    assert [r["id"] for r in found] == ["0", "1", "2", "d", "e", "f", "1", "2"]
    assert found[0]["text"].decode() == rows[0]["text"]
    assert [(r["text"], r["caption"]) for r in found[4:]] == [
        (b'two\n"lines"', None),
        (b'5" disk', b"x"),
        (b"x", b"y"),
        (None, b"z"),
    ]


def test_what_is_solid_is_no_white_space() -> None:
    """Of all characters, those that Python calls white space and no others make an empty text."""
    characters = [chr(i) for i in range(0x110000) if not 0xD800 <= i < 0xE000]
    solid = pc.match_substring_regex(pa.array(characters), columns.SOLID).to_numpy(zero_copy_only=False)
    assert solid.tolist() == [not c.isspace() for c in characters]


def test_images_that_are_there_as_bytes_are_not_looked_for(tmp_path: Path) -> None:
    """A row group whose images all have bytes names no file, whatever their paths say."""
    hf = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    inline, named = {"bytes": b"i", "path": "a.png"}, {"bytes": None, "path": "b.png"}
    pq.write_table(
        pa.table({"image": pa.array([inline, inline, inline, named], hf)}), tmp_path / "t.parquet", row_group_size=2
    )
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[4:20] = b"\xff" * 16  # of the first row group
    put(tmp_path, "t.parquet", bytes(data))
    assert list(parquet.naming(Table(tmp_path, "t.parquet", Source()))) == [{"image": named}]


@QUICK
@given(
    texts=ROWS,
    size=st.integers(1, 60),
    rows=st.integers(1, 5),
    block=st.integers(1, 40),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_chunks_of_lines_cover_each_row_once(
    tmp_path: Path, texts: list[str], size: int, rows: int, block: int, end: str
) -> None:
    """Whatever the constants are, JSON Lines and CSV give what a naive reader gives."""
    put(tmp_path, "a.jsonl", "".join(json.dumps({"text": t}, ensure_ascii=False) + end for t in texts))
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=QUOTING[end]).writerows([["text"], *([t] for t in texts)])
    put(tmp_path, "b.csv", out.getvalue())
    with pytest.MonkeyPatch.context() as patch:
        small(patch, size=size, rows=rows, block=block)
        found = all_of(tmp_path)
    for path in ("a.jsonl", "b.csv"):
        got = [(r["row"], r["text"]) for r in found if r["path"] == path]
        assert got == [(i, t.encode()) for i, t in enumerate(texts)]


@QUICK
@given(groups=st.lists(st.integers(0, 9), max_size=6), size=st.integers(1, 400), rows=st.integers(1, 5))
def test_chunks_of_parquet_cover_each_row_once(tmp_path: Path, groups: list[int], size: int, rows: int) -> None:
    """Row groups are merged and cut without loss."""
    texts = [f"row {i}" for i in range(sum(groups))]
    schema = pa.schema([("text", pa.string())])
    with pq.ParquetWriter(tmp_path / "a.parquet", schema) as writer:
        for begin, count in zip(np.cumsum([0, *groups]).tolist(), groups, strict=False):
            writer.write_table(pa.table({"text": texts[begin : begin + count]}, schema))
    with pytest.MonkeyPatch.context() as patch:
        small(patch, size=size, rows=rows, block=8)
        found = all_of(tmp_path)
    assert [(r["row"], r["text"]) for r in found] == [(i, t.encode()) for i, t in enumerate(texts)]


@QUICK
@given(data=st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"a", b"\xff", b"\0"]), max_size=60).map(b"".join))
def test_no_bytes_break_a_table(tmp_path: Path, data: bytes) -> None:
    """Anything below a good header is records, or verdicts; one for each record that CPython's csv sees."""
    put(tmp_path, "b.csv", b"text,id\n" + data)
    put(tmp_path, "a.jsonl", data)
    found = all_of(tmp_path)
    jsonl_lines = [line for line in data.split(b"\n") if line and not line.isspace()]
    assert len([r for r in found if r["path"] == "a.jsonl"]) == len(jsonl_lines)
    assert all(r["code"] or r["text"] for r in found)
    naive = [row for row in csv.reader(io.StringIO(data.decode("latin-1"), newline="")) if row]
    assert len([r for r in found if r["path"] == "b.csv"]) == len(naive)


@pytest.mark.parametrize("name", ["t.jsonl", "t.csv", "t.parquet"])
def test_labels_are_read_in_every_format(tmp_path: Path, name: str) -> None:
    """A word or a number, as it is written; empty and missing ones are none."""
    labels = ["cat", "7", None]
    if name == "t.jsonl":
        rows = [{"text": "x y", "label": "cat"}, {"text": "x y", "label": 7}, {"text": "x y", "label": ""}]
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif name == "t.csv":
        data = b"text,label\nx y,cat\nx y,7\nx y,\n"
    else:
        held = pa.BufferOutputStream()
        pq.write_table(pa.table({"text": ["x y"] * 3, "label": labels}), held)
        data = held.getvalue().to_pybytes()
    (tmp_path / name).write_bytes(data)
    source = Source()
    found = [
        row
        for task in plan(tmp_path, source)
        for batch in read(tmp_path, task, source)
        for row in batch["label"].to_pylist()
    ]
    assert found == labels
