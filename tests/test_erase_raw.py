"""Raw data of every form without some records: what stays is byte for byte what it was, what goes leaves nothing."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import airportsdata
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather

from dedupver import store
from dedupver.erase import raw
from dedupver.params import Source
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = Source.model_validate({"columns": {"id": "icao", "text": "text"}})
ROWS = [{"icao": a["icao"], "text": f'{a["name"]}, "{a["city"]}"\n{a["tz"]}'} for a in airportsdata.load().values()][
    :50
]
GONE = [0, 17, 18, 49]
LEFT = [row for at, row in enumerate(ROWS) if at not in GONE]


def lines(rows: list[dict[str, str]]) -> bytes:
    """Return JSON Lines."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def separated(rows: list[dict[str, str]]) -> bytes:
    """Return CSV; every text has a line end in quotes."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["icao", "text"])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def packed(rows: list[dict[str, str]]) -> bytes:
    """Return an archive with two members a sample."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for row in rows:
            for suffix, data in (
                (".txt", row["text"].encode()),
                (".json", json.dumps({"label": row["icao"]}).encode()),
            ):
                info = tarfile.TarInfo(row["icao"] + suffix)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(("name", "form"), [("a.jsonl", lines), ("a.csv", separated), ("a.tar", packed)])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_stays_is_byte_for_byte_what_it_was(tmp_path: Path, name: str, form: Any, suffix: str) -> None:
    """Lines, records with line ends in quotes and members of archives, packed or not."""
    pack, unpack = (gzip.compress, gzip.decompress) if suffix else (bytes, bytes)
    store.write_bytes(tmp_path / (name + suffix), pack(form(ROWS)))
    taken = raw.remove(tmp_path, SOURCE, {name + suffix: GONE}, ())
    assert taken.rewritten == [name + suffix]
    left = unpack((tmp_path / (name + suffix)).read_bytes())
    expected = form(LEFT)
    assert left.rstrip(b"\0") == expected.rstrip(b"\0")  # tarfile fills its archives up to a size of its own


@given(gone=st.sets(st.integers(0, 19)), blank=st.sets(st.integers(0, 19)), end=st.booleans())
def test_lines_are_counted_as_they_are_read(
    tmp_path_factory: pytest.TempPathFactory, gone: set[int], blank: set[int], end: bool
) -> None:
    """Blank lines are rows, a byte order mark is none, and the last line may lack its end: against a list of lines."""
    root = tmp_path_factory.mktemp("lines")
    all_ = [b" \n" if at in blank else json.dumps(ROWS[at]).encode() + b"\n" for at in range(20)]
    all_[-1] = all_[-1] if end else all_[-1].rstrip(b"\n") or b" "
    store.write_bytes(root / "a.jsonl", b"\xef\xbb\xbf" + b"".join(all_))
    if gone:
        raw.remove(root, SOURCE, {"a.jsonl": gone}, ())
    left = [line for at, line in enumerate(all_) if at not in gone]
    assert (root / "a.jsonl").read_bytes() == b"\xef\xbb\xbf" + b"".join(left)


def coded(rows: list[dict[str, str]]) -> pa.Table:
    """Return a table of which a column is a dictionary."""
    table = pa.Table.from_pylist(rows, pa.schema([("icao", pa.string()), ("text", pa.string())]))
    return table.set_column(1, "text", table["text"].dictionary_encode())


def as_parquet(table: pa.Table, path: Path) -> None:
    """Write Parquet in several row groups."""
    pq.write_table(table, path, row_group_size=20, compression="zstd")


def as_stream(table: pa.Table, path: Path) -> None:
    """Write a stream of several batches."""
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=20)


def as_file(table: pa.Table, path: Path) -> None:
    """Write an IPC file of several batches."""
    feather.write_feather(table, path, compression="uncompressed", chunksize=20)


def from_stream(path: Path) -> pa.Table:
    """Read a stream."""
    with pa.ipc.open_stream(path) as reader:
        return reader.read_all()


@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("a.parquet", as_parquet, pq.read_table),
        ("a.arrow", as_stream, from_stream),
        ("a.feather", as_file, feather.read_table),
    ],
)
def test_a_table_of_columns_keeps_its_schema_and_loses_its_values(
    tmp_path: Path, name: str, write: Any, read: Any
) -> None:
    """Also those that a dictionary holds for all rows of the file."""
    table = coded(ROWS)
    write(table, tmp_path / name)
    raw.remove(tmp_path, SOURCE, {name: GONE}, ())
    left = read(tmp_path / name)
    assert left.schema.equals(table.schema)
    assert left.to_pylist() == LEFT
    dictionary = {value for chunk in left["text"].chunks for value in chunk.dictionary.to_pylist()}
    assert dictionary == {row["text"] for row in LEFT}
    if name != "a.parquet":  # the others are not packed
        data = (tmp_path / name).read_bytes()
        assert not [at for at in GONE if ROWS[at]["text"].encode() in data]


def test_a_dictionary_within_a_list_is_refused(tmp_path: Path) -> None:
    """Its values would stay in the file."""
    table = pa.table(
        {"icao": ["a", "b"], "tags": pa.array([["x"], ["y"]], pa.list_(pa.dictionary(pa.int32(), pa.string())))}
    )
    as_stream(table, tmp_path / "a.arrow")
    before = (tmp_path / "a.arrow").read_bytes()
    with pytest.raises(SourceError, match=r"a\.arrow can't be written again .*'tags'"):
        raw.remove(tmp_path, SOURCE, {"a.arrow": [0]}, ())
    assert (tmp_path / "a.arrow").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.arrow"]


@pytest.mark.parametrize(("name", "form"), [("a.jsonl.gz", lines), ("a.tar.gz", packed)])
def test_a_damaged_file_is_refused_and_stays(tmp_path: Path, name: str, form: Any) -> None:
    """What follows the damage can't be read, and may hold the record as well."""
    data = gzip.compress(form(ROWS))
    store.write_bytes(tmp_path / name, data[: len(data) // 2])
    with pytest.raises(SourceError, match="can't be written again"):
        raw.remove(tmp_path, SOURCE, {name: [0]}, ())
    assert (tmp_path / name).read_bytes() == data[: len(data) // 2]


def test_a_sample_goes_with_its_files_but_for_those_of_another(tmp_path: Path) -> None:
    """Two pictures of one stem share a caption: it goes with the second of them. Empty folders go too."""
    names = ("a/x.jpg", "a/x.png", "a/x.txt", "a/x.json", "b/y.jpg", "b/y.txt")
    for name in names:
        store.write_bytes(tmp_path / name, name.encode())
    assert raw.remove(tmp_path, SOURCE, {"a/x.jpg": [-1], "b/y.jpg": [-1]}, ()).deleted == [
        "a/x.jpg",
        "b/y.jpg",
        "b/y.txt",
    ]
    assert not (tmp_path / "b").exists()
    assert raw.remove(tmp_path, SOURCE, {"a/x.png": [-1]}, ()).deleted == ["a/x.json", "a/x.png", "a/x.txt"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_rows_name_goes_with_the_last_of_them(tmp_path: Path) -> None:
    """It would become a record of its own."""
    for name in ("x.png", "y.png"):
        store.write_bytes(tmp_path / "photos" / name, name.encode())
    rows = [{"icao": str(n), "image": f"photos/{name}.png"} for n, name in enumerate("xxy")]
    store.write_bytes(tmp_path / "a.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    held = list(raw.read(tmp_path, SOURCE, {"a.jsonl": [1, 2]}))
    assert [each.files for each in held] == [["photos/x.png"], ["photos/y.png"]]
    named = {path for each in held for path in each.files}
    assert raw.remove(tmp_path, SOURCE, {"a.jsonl": [1, 2]}, named).deleted == ["photos/y.png"]
    assert (tmp_path / "photos/x.png").exists()


def test_what_is_held_of_a_record_is_read_from_every_form(tmp_path: Path) -> None:
    """Its parts, its line, its files."""
    store.write_bytes(tmp_path / "a.jsonl", lines(ROWS))
    as_parquet(pa.Table.from_pylist(ROWS), tmp_path / "b.parquet")
    store.write_bytes(tmp_path / "c.txt", b"five words that are text")
    line, row, file = raw.read(tmp_path, SOURCE, {"a.jsonl": [3], "b.parquet": [4], "c.txt": [-1]})
    assert (line.parts["text"], row.parts["text"]) == (ROWS[3]["text"].encode(), ROWS[4]["text"].encode())
    assert (line.line, row.line, file.files) == (json.dumps(ROWS[3]).encode() + b"\n", b"", ["c.txt"])


def test_a_saved_dataset_gets_another_fingerprint(tmp_path: Path) -> None:
    """By it the library that loads it finds what it computed of the rows before."""
    (tmp_path / "d").mkdir()
    as_stream(pa.Table.from_pylist(ROWS), tmp_path / "d" / "data.arrow")
    state = {"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "0123456789abcdef"}
    store.write_bytes(tmp_path / "d" / "state.json", json.dumps(state).encode())
    store.write_bytes(tmp_path / "d" / "dataset_info.json", b'{"features": {}}')
    raw.remove(tmp_path, SOURCE, {"d/data.arrow": [5]}, ())
    assert json.loads((tmp_path / "d" / "state.json").read_text())["_fingerprint"] != state["_fingerprint"]
    assert from_stream(tmp_path / "d" / "data.arrow").num_rows == len(ROWS) - 1
