"""Compressed tables and tab-separated ones: the rows of the plain file, whatever is cut, and written back compressed."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_publish import kept
from test_records import all_of, one_of, put, small
from test_shards import packed, unpacked

from dedupver.params import Columns, Source
from dedupver.publish import publish
from dedupver.records import streams

if TYPE_CHECKING:
    from pathlib import Path

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.lists(
    st.text(st.sampled_from('ab \t,"\né'), min_size=1).filter(lambda t: not t.isspace()), min_size=1, max_size=15
)


def table(kind: str, texts: list[str]) -> str:
    """Return texts as a table."""
    if kind == "jsonl":
        return "".join(json.dumps({"text": text}) + "\n" for text in texts)
    out = io.StringIO()
    csv.writer(out, delimiter={"csv": ",", "tsv": "\t"}[kind], quoting=csv.QUOTE_ALL).writerows(
        [["text"], *([t] for t in texts)]
    )
    return out.getvalue()


def rows_of(root: Path, source: Source | None = None) -> list[tuple[Any, ...]]:
    """Return what the rows of a source hold."""
    return [(r["row"], r["text"], r["code"]) for r in all_of(root, source)]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv"])
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@QUICK
@given(
    texts=TEXTS,
    choice=st.lists(st.booleans(), min_size=15, max_size=15),
    size=st.integers(1, 60),
    rows=st.integers(1, 5),
)
def test_a_table_has_the_same_rows_however_it_is_packed(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    suffix: str,
    texts: list[str],
    choice: list[bool],
    size: int,
    rows: int,
) -> None:
    """In chunks of any size; kept and dropped rows, each published, are packed again and hold each row once."""
    root, name = tmp_path_factory.mktemp("tables"), f"a.{kind}{suffix}"
    put(root, f"raw/{name}", packed(table(kind, texts).encode(), suffix))
    with pytest.MonkeyPatch.context() as patch:
        small(patch, size=size, rows=rows, block=16)
        found = rows_of(root / "raw")
        assert found == [(i, text.encode(), None) for i, text in enumerate(texts)]
        for place, taken in (("kept", True), ("dropped", False)):
            chosen = [i for i in range(len(texts)) if choice[i] is taken]
            (root / place).mkdir()
            publish(root / "raw", root / place, kept(*((name, i) for i in chosen)), Source(), "copy")
            if chosen:
                assert unpacked(root / place / name).decode() == table(kind, [texts[i] for i in chosen])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_what_is_packed_depends_on_the_rows_alone(tmp_path: Path, suffix: str) -> None:
    """No time and no name is in the file."""
    for name in ("a", "b"):
        put(tmp_path, f"raw/{name}.jsonl{suffix}", packed(table("jsonl", ["x", "y"]).encode(), suffix))
        (tmp_path / name).mkdir()
        publish(tmp_path / "raw", tmp_path / name, kept((f"{name}.jsonl{suffix}", 1)), Source(), "copy")
    assert (tmp_path / f"a/a.jsonl{suffix}").read_bytes() == (tmp_path / f"b/b.jsonl{suffix}").read_bytes()


@pytest.mark.parametrize(("kind", "suffix"), [("jsonl", ".gz"), ("csv", ".gz"), ("tsv", ".gz"), ("jsonl", ".zst")])
def test_a_packed_table_cut_anywhere_keeps_what_precedes(tmp_path: Path, kind: str, suffix: str) -> None:
    """The rest is one quarantined record, or the file where not even its header is left."""
    texts = [f"the text of row {i}: {i**9}" for i in range(2_000)]
    data = packed(table(kind, texts).encode(), suffix)
    counts = set()
    for number, size in enumerate(range(0, len(data), max(1, len(data) // 40))):
        root, name = tmp_path / f"raw{number}", f"a.{kind}{suffix}"
        put(root, name, data[:size])
        *good, last = all_of(root)
        assert last["code"] == "unreadable_file"
        assert [(r["text"], r["code"]) for r in good] == [(text.encode(), None) for text in texts[: len(good)]]
        counts.add(len(good))
        if good:
            (tmp_path / f"out{number}").mkdir()
            publish(
                root, tmp_path / f"out{number}", kept(*((name, i) for i in range(0, len(good), 2))), Source(), "copy"
            )
            assert unpacked(tmp_path / f"out{number}" / name).decode() == table(kind, texts[: len(good) : 2])
    assert max(counts) > (1_000 if suffix == ".gz" else -1)  # of zstd, blocks of 128 kB are lost


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Beyond the limit nothing is read, and a row too long takes no memory."""
    bomb = packed(b'{"text": "x"}\n' + bytes(30_000_000), ".gz")
    put(tmp_path, "a.jsonl.gz", bomb)
    found = rows_of(tmp_path, Source(max_text_bytes=100, max_unpacked_bytes=2_000_000))
    assert [(row, code) for row, _, code in found] == [(0, None), (1, "unreadable_file")]
    assert [(row, code) for row, _, code in rows_of(tmp_path, Source(max_text_bytes=100))] == [
        (0, None),
        (1, "huge_text"),
    ]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.parquet.gz", "a.png.zst", "a.gz"])
def test_other_packed_files_are_unsupported(tmp_path: Path, name: str) -> None:
    """They are not texts by mistake."""
    put(tmp_path, name, packed(b"x", ".gz"))
    assert one_of(tmp_path)["code"] == "unsupported_file"


def test_attributes_of_the_name_are_those_of_the_plain_file(tmp_path: Path) -> None:
    """`dev.jsonl.gz` is of the validation split, `metadata.csv.gz` names files."""
    put(tmp_path, "dev.jsonl.gz", packed(b'{"text": "x"}\n', ".gz"))
    put(tmp_path, "in/metadata.csv.gz", packed(b"file_name,text\na.png,y\n", ".gz"))
    put(tmp_path, "in/a.png", b"png")
    found = [(r["path"], r["split"], r["image"], r["text"]) for r in all_of(tmp_path)]
    assert found == [("dev.jsonl.gz", "validation", None, b"x"), ("in/metadata.csv.gz", None, b"png", b"y")]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("1", "bad_row"),
        ("1\tx\ty", "bad_row"),
        ('1\t"x"y', "bad_row"),
        ("1\t", "empty_text"),
        ("\tx", "no_id"),
        ("1,x", "bad_row"),
    ],
)
def test_a_hostile_record_of_tsv_is_quarantined(tmp_path: Path, line: str, code: str) -> None:
    """As in CSV; a comma is a character like any other."""
    put(tmp_path, "a.tsv", f"id\ttext\n0\tbefore, after\n{line}\n2\tafter\n")
    found = all_of(tmp_path, Source(columns=Columns(id="id")))
    assert [r["code"] for r in found] == [None, code, None]
    assert found[0]["text"] == b"before, after"


@QUICK
@given(data=st.binary(max_size=400), offsets=st.lists(st.tuples(st.integers(0, 450), st.integers(0, 200)), max_size=6))
def test_reading_anywhere_gives_the_bytes_that_are_there(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, offsets: list[tuple[int, int]]
) -> None:
    """Forward and back, whatever was read before."""
    path = tmp_path_factory.mktemp("streams") / "a.gz"
    path.write_bytes(packed(data, ".gz"))
    for offset, size in offsets:
        with streams.opened(path, offset) as file:
            assert file.read(size) == data[offset:][:size]


def test_a_worker_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose chunks are read one after the other is unpacked once for them all."""
    made = []
    unpacker = streams._Unpacked

    def counted(*given: Any) -> Any:
        made.append(given)
        return unpacker(*given)

    monkeypatch.setattr(streams, "_Unpacked", counted)
    path = tmp_path / "a.gz"
    path.write_bytes(packed(bytes(range(256)) * 100, ".gz"))
    for offset in range(0, 25_000, 1_000):
        with streams.opened(path, offset) as file:
            assert file.read(256) == (bytes(range(256)) * 100)[offset:][:256]
    assert len(made) == 1
    path.write_bytes(packed(b"other", ".gz"))
    with streams.opened(path, 0) as file:
        assert file.read(9) == b"other"
    assert len(made) == 2
