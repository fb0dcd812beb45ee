"""The clean dataset: the kept records in the form they came in, byte for byte where the format allows."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedupver import publish as module
from dedupver.params import Source
from dedupver.publish import publish
from dedupver.records import lines, parquet, plan, read
from dedupver.schema import IntegrityError, SourceError

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG stands for an image"
QUOTING = {"\n": csv.QUOTE_ALL, "\r\n": csv.QUOTE_MINIMAL}  # csv leaves a carriage return bare if no line ends in one
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.lists(
    st.text(st.sampled_from('ab ,"\n\r\té\0'), min_size=1).filter(lambda t: not t.isspace()), min_size=1, max_size=20
)


def put(root: Path, path: str, data: bytes | str) -> None:
    """Write a file below `root`."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(data.encode() if isinstance(data, str) else data)


def kept(*records: tuple[str, int]) -> pa.Table:
    """Return a table of places."""
    paths, rows = zip(*records, strict=True) if records else ((), ())
    return pa.table({"path": pa.array(paths, pa.string()), "row": pa.array(rows, pa.int64())})


def write(root: Path, target: Path, *records: tuple[str, int], link: str = "copy") -> list[str]:
    """Publish records into a new folder and return the files there."""
    target.mkdir()
    assert publish(root, target, kept(*records), Source(), link) == len(records)
    return sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())


def everything(root: Path) -> pa.Table:
    """Return the places of all good records of a source."""
    source = Source()
    batches = [batch for task in plan(root, source) for batch in read(root, task, source)]
    table = pa.Table.from_batches(batches)
    return table.filter(table["code"].is_null()).select(["path", "row"])


@pytest.mark.parametrize(("link", "linked"), [("hardlink", True), ("copy", False)])
def test_whole_files_are_linked_or_copied(tmp_path: Path, link: str, *, linked: bool) -> None:
    """What is not kept is not there."""
    put(tmp_path, "raw/a/x.txt", "x")
    put(tmp_path, "raw/a/y.txt", "y")
    assert write(tmp_path / "raw", tmp_path / "out", ("a/x.txt", -1), link=link) == ["a/x.txt"]
    assert (tmp_path / "raw/a/x.txt").samefile(tmp_path / "out/a/x.txt") is linked


def test_a_link_of_the_source_becomes_a_file(tmp_path: Path) -> None:
    """A link, hard-linked, would point to nothing in its new place."""
    put(tmp_path, "raw/deep/x.txt", "x")
    (tmp_path / "raw/y.txt").symlink_to("deep/x.txt")
    write(tmp_path / "raw", tmp_path / "out", ("y.txt", -1), link="hardlink")
    assert not (tmp_path / "out/y.txt").is_symlink()
    assert (tmp_path / "out/y.txt").read_text() == "x"


def test_a_caption_follows_its_image(tmp_path: Path) -> None:
    """A pair is published whole; two images may share a caption."""
    for name in ("p.jpg", "p.png", "p.txt", "q.jpg"):
        put(tmp_path, f"raw/{name}", name)
    assert write(tmp_path / "raw", tmp_path / "out", ("p.jpg", -1), ("p.png", -1)) == ["p.jpg", "p.png", "p.txt"]


def test_lines_are_passed_through_unchanged(tmp_path: Path) -> None:
    """Spelling, white space and line ends of the kept rows are those of the source; blank lines stay."""
    put(tmp_path, "raw/a.jsonl", b'\xef\xbb\xbf{ "text":"\\u0061" }\r\n\r\n{"text": "b"}\n{"text":\t"c","id":1e3}')
    write(tmp_path / "raw", tmp_path / "out", ("a.jsonl", 3), ("a.jsonl", 0))
    assert (tmp_path / "out/a.jsonl").read_bytes() == b'\xef\xbb\xbf{ "text":"\\u0061" }\r\n\r\n{"text":\t"c","id":1e3}'


def test_records_of_csv_are_passed_through_unchanged(tmp_path: Path) -> None:
    """The header, the byte order mark and the quotes are those of the source."""
    put(tmp_path, "raw/a.csv", b'\xef\xbb\xbf"id",text\r\n1,"two\nlines"\r\n2,b\r\n"3","c"')
    write(tmp_path / "raw", tmp_path / "out", ("a.csv", 0), ("a.csv", 2))
    assert (tmp_path / "out/a.csv").read_bytes() == b'\xef\xbb\xbf"id",text\r\n1,"two\nlines"\r\n"3","c"'


def test_a_table_without_kept_rows_is_left_out(tmp_path: Path) -> None:
    """No file, rather than one with a header alone."""
    put(tmp_path, "raw/a.csv", "text\nx\n")
    put(tmp_path, "raw/b.csv", "text\nx\n")
    assert write(tmp_path / "raw", tmp_path / "out", ("b.csv", 0)) == ["b.csv"]
    assert write(tmp_path / "raw", tmp_path / "none") == []


def test_images_follow_the_kept_rows_that_name_them(tmp_path: Path) -> None:
    """Each once, and those of dropped rows not at all."""
    for name in ("a", "b", "c", "d"):
        put(tmp_path, f"raw/in/{name}.png", PNG + name.encode())
    rows = [{"image": name} for name in ("a.png", "b.png", "a.png")]
    put(tmp_path, "raw/in/t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    put(tmp_path, "raw/in/u.csv", "image,caption\nc.png,C\nin/d.png,D\n")
    pq.write_table(pa.table({"image": ["d.png", "a.png"]}), tmp_path / "raw/in/v.parquet")
    records = [("in/t.jsonl", 0), ("in/t.jsonl", 2), ("in/u.csv", 0), ("in/v.parquet", 0)]
    found = write(tmp_path / "raw", tmp_path / "out", *records)
    assert found == ["in/a.png", "in/c.png", "in/d.png", "in/t.jsonl", "in/u.csv", "in/v.parquet"]


@QUICK
@given(
    texts=TEXTS,
    keep=st.lists(st.booleans(), min_size=20, max_size=20),
    block=st.integers(1, 30),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_lines_are_a_partition(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], keep: list[bool], block: int, end: str
) -> None:
    """All rows give the same bytes; kept and dropped rows, each published, hold each row once and in order."""
    root = tmp_path_factory.mktemp("lines")
    put(root, "raw/a.jsonl", "".join(json.dumps({"text": t}) + end for t in texts))
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=QUOTING[end]).writerows([["text"], *([t] for t in texts)])
    put(root, "raw/b.csv", out.getvalue())
    places = {path: [(path, i) for i in range(len(texts))] for path in ("a.jsonl", "b.csv")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK", block)
        write(root / "raw", root / "all", *places["a.jsonl"], *places["b.csv"])
        for name, taken in (("kept", True), ("dropped", False)):
            write(
                root / "raw",
                root / name,
                *(p for of in places.values() for p, k in zip(of, keep, strict=False) if k is taken),
            )
    for path in places:
        assert (root / "all" / path).read_bytes() == (root / "raw" / path).read_bytes()
        for name, taken in (("kept", True), ("dropped", False)):
            expected = [t for t, k in zip(texts, keep, strict=False) if k is taken]
            assert _texts(root / name / path) == expected


def _texts(path: Path) -> list[str]:
    if not path.exists():
        return []
    data = path.read_bytes().decode()
    if path.suffix == ".jsonl":
        return [json.loads(line)["text"] for line in data.split("\n") if line]
    return [row[0] for row in csv.reader(io.StringIO(data, newline=""))][1:]


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "brotli", "lz4", "none"])
def test_parquet_keeps_schema_metadata_and_compression(tmp_path: Path, compression: str) -> None:
    """Types, nullability, nested columns, dictionaries, field and file metadata, the order of columns."""
    schema = pa.schema(
        [
            pa.field("z", pa.int16(), nullable=False, metadata={"unit": "m"}),
            pa.field("text", pa.large_string()),
            pa.field("tag", pa.dictionary(pa.int8(), pa.string())),
            pa.field("list", pa.list_(pa.struct([("a", pa.float16()), ("b", pa.timestamp("ns", "UTC"))]))),
            pa.field("price", pa.decimal128(10, 2)),
        ],
        metadata={"huggingface": '{"info": {}}'},
    )
    rows = [
        {"z": i, "text": f"row {i}", "tag": "ab"[i % 2], "list": [{"a": i, "b": i}], "price": i} for i in range(100)
    ]
    table = pa.Table.from_pylist(rows, schema)
    (tmp_path / "raw").mkdir()
    pq.write_table(table, tmp_path / "raw/a.parquet", row_group_size=30, compression=compression)
    chosen = [3, 29, 30, 99]
    write(tmp_path / "raw", tmp_path / "out", *(("a.parquet", i) for i in chosen))
    found = pq.ParquetFile(tmp_path / "out/a.parquet")
    source = pq.ParquetFile(tmp_path / "raw/a.parquet")
    assert found.schema_arrow.equals(source.schema_arrow, check_metadata=True)
    assert found.schema.equals(source.schema)
    assert found.read().equals(source.read().take(chosen))
    before, after = (file.metadata.row_group(0) for file in (source, found))
    assert [after.column(i).compression for i in range(6)] == [before.column(i).compression for i in range(6)]


def test_parquet_that_arrow_did_not_write_gains_nothing(tmp_path: Path) -> None:
    """No Arrow schema is added, and times of 96 bits stay so."""
    (tmp_path / "raw").mkdir()
    table = pa.table({"text": ["x", "y"], "time": pa.array([0, 1], pa.timestamp("ns"))})
    options = {"store_schema": False, "use_deprecated_int96_timestamps": True}
    pq.write_table(table, tmp_path / "raw/a.parquet", **options)
    write(tmp_path / "raw", tmp_path / "out", ("a.parquet", 1))
    before, after = (pq.ParquetFile(tmp_path / name / "a.parquet") for name in ("raw", "out"))
    assert after.metadata.metadata == before.metadata.metadata
    assert after.schema.equals(before.schema)
    assert after.read().equals(table.slice(1))


@QUICK
@given(
    keep=st.lists(st.booleans(), min_size=1, max_size=40),
    group=st.integers(1, 15),
    held=st.integers(1, 200),
    batch=st.integers(1, 9),
)
def test_parquet_is_a_partition(
    tmp_path_factory: pytest.TempPathFactory, keep: list[bool], group: int, held: int, batch: int
) -> None:
    """Whatever the row groups and batches are, kept and dropped rows make up the table."""
    root = tmp_path_factory.mktemp("parquet")
    (root / "raw").mkdir()
    table = pa.table(
        {"text": pa.array([f"row {i % 7}" for i in range(len(keep))]).dictionary_encode(), "n": range(len(keep))}
    )
    pq.write_table(table, root / "raw/a.parquet", row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP_BYTES", held)
        patch.setattr(parquet, "STEP_ROWS", batch)
        for name, taken in (("kept", True), ("dropped", False)):
            write(root / "raw", root / name, *(("a.parquet", i) for i, k in enumerate(keep) if k is taken))
            expected = table.filter(pa.array([k is taken for k in keep]))
            if expected.num_rows:
                assert pq.read_table(root / name / "a.parquet").to_pylist() == expected.to_pylist()


def test_what_is_published_is_read_again_as_the_same_records(tmp_path: Path) -> None:
    """Publishing everything, then reading the result, gives every record back."""
    put(tmp_path, "raw/a.txt", "x")
    put(tmp_path, "raw/p.png", PNG)
    put(tmp_path, "raw/p.txt", "caption")
    put(tmp_path, "raw/t.jsonl", '{"text": "x"}\n{\n{"text": "y"}\n')
    put(tmp_path, "raw/u.csv", "text\nx\ny\n")
    pq.write_table(pa.table({"text": ["x", None, "y"]}), tmp_path / "raw/v.parquet")
    first = everything(tmp_path / "raw")
    (tmp_path / "out").mkdir()
    assert publish(tmp_path / "raw", tmp_path / "out", first, Source(), "hardlink") == first.num_rows == 8
    again = everything(tmp_path / "out")
    assert again["path"].to_pylist() == first["path"].to_pylist()


@pytest.mark.parametrize("path", ["../x.txt", "/etc/hostname", "a/../../x.txt", "", "a\0b"])
def test_a_path_that_leaves_the_source_is_refused(tmp_path: Path, path: str) -> None:
    """Nothing is read or written outside."""
    put(tmp_path, "x.txt", "x")
    (tmp_path / "raw").mkdir()
    with pytest.raises(IntegrityError, match="no path within the source"):
        write(tmp_path / "raw", tmp_path / "out", (path, -1))


def test_a_source_that_has_changed_is_an_error(tmp_path: Path) -> None:
    """A file that is gone or became a link outside, a row that is gone, a table that is damaged."""
    put(tmp_path, "secret.txt", "secret")
    put(tmp_path, "raw/a.jsonl", '{"text": "x"}\n')
    put(tmp_path, "raw/b.parquet", "PAR1")
    (tmp_path / "raw/c.txt").symlink_to("../secret.txt")
    for i, (place, why) in enumerate(
        [
            (("gone.txt", -1), "unreadable_file"),
            (("a.jsonl", 7), "0 of the 1 rows"),
            (("b.parquet", 0), "b.parquet"),
            (("c.txt", -1), "link_outside"),
        ]
    ):
        with pytest.raises(SourceError, match=why):
            write(tmp_path / "raw", tmp_path / f"out{i}", place)


def test_a_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    """A row that names a table as its image, linked first, does not let that table be written over."""
    put(tmp_path, "raw/a.jsonl", '{"text": "x", "image": "b.jsonl"}\n')
    put(tmp_path, "raw/b.jsonl", '{"text": "y"}\n{"text": "z"}\n')
    pq.write_table(pa.table({"text": ["x", "y"]}), tmp_path / "raw/c.parquet")
    put(tmp_path, "raw/b2.jsonl", '{"text": "x", "image": "c.parquet"}\n')
    before = {p: p.read_bytes() for p in (tmp_path / "raw").iterdir()}
    for i, records in enumerate([[("a.jsonl", 0), ("b.jsonl", 1)], [("b2.jsonl", 0), ("c.parquet", 1)]]):
        with pytest.raises(FileExistsError):
            write(tmp_path / "raw", tmp_path / f"out{i}", *records, link="hardlink")
    assert {p: p.read_bytes() for p in (tmp_path / "raw").iterdir()} == before
