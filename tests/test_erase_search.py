"""The search for what was erased: in every container, across the edges of pieces, and not in what merely resembles it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedupver.erase import needles, search
from dedupver.erase.needles import Needle
from dedupver.erase.search import Search
from dedupver.schema import DECISION

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = 'Löwe, "the lion", sits\non the roof of the house number 7'
ID = "lion-7"
DIGEST = hashlib.sha256(TEXT.encode()).digest()
WANTED = [
    *needles.of_id(ID, ID),
    *needles.of_bytes(TEXT.encode(), ID, DIGEST),
    *needles.of_digests(DIGEST, DIGEST, ID),
]


def hits(data: bytes, wanted: list[Needle] = WANTED, others: tuple[str, ...] = ()) -> set[str]:
    """Return the kinds of needles that are found in an object."""
    found = Search(wanted, others)
    found.object("here", "an object", io.BytesIO(data))
    assert not found.unsearched
    return {hit.needle.kind for hit in found.hits}


def tarred(data: bytes) -> bytes:
    """Return an archive with one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("x.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(data: bytes) -> bytes:
    """Return an archive with one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.json", data)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    """Pack."""
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd,
    "bz2": bz2.compress,
    "tar": tarred,
    "zip": zipped,
    "tar.gz": lambda data: gzip.compress(tarred(data)),
    "gz in zip": lambda data: zipped(gzip.compress(data)),
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("ascii_", [True, False])
def test_json_is_searched_in_every_container(pack: Callable[[bytes], bytes], ascii_: bool) -> None:
    """Text as JSON writes it, and the id between quotes."""
    line = json.dumps({"id": ID, "text": TEXT}, ensure_ascii=ascii_).encode()
    assert hits(pack(b"\n".join([b"{}", line, b"{}"]))) == {"id", "bytes"}
    assert hits(pack(line.replace(b"lion", b"bear"))) == set()


def parquet(table: pa.Table, **options: Any) -> bytes:
    """Return a table as Parquet."""
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def arrow(table: pa.Table, compression: str | None, *, stream: bool) -> bytes:
    """Return a table as Arrow."""
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(out, table.schema, options=options) as writer:
        writer.write_table(table)
    return out.getvalue()


TABLES: dict[str, Callable[[pa.Table], bytes]] = {
    "parquet, zstd": lambda t: parquet(t, compression="zstd"),
    "parquet, delta": lambda t: (
        parquet(t, compression="gzip", use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"})
        if "text" in t.column_names
        else parquet(t)
    ),
    "parquet, plain": lambda t: parquet(t, compression="none", use_dictionary=False),
    "arrow stream, zstd": lambda t: arrow(t, "zstd", stream=True),
    "arrow file, lz4": lambda t: arrow(t, "lz4", stream=False),
}


@pytest.mark.parametrize("write", TABLES.values(), ids=TABLES)
def test_cells_of_tables_are_searched(write: Callable[[pa.Table], bytes]) -> None:
    """Strings, bytes and digests, also in lists of structures; neighbours in a column do not make an id a longer word."""
    many = [f"lion-{n}" for n in range(1000)]
    table = pa.table({"id": many, "text": [f"{n}: {TEXT}" if n == 500 else str(n) for n in range(1000)]})
    assert hits(write(table), others=tuple(set(many) - {ID})) == {"id", "bytes"}
    assert hits(write(table.slice(8, 400)), others=tuple(many[8:])) == set()
    parts = pa.array(
        [[{"part": "text", "content": DIGEST}], []],
        pa.list_(pa.struct([("part", pa.string()), ("content", pa.binary(32))])),
    )
    assert hits(write(pa.table({"parts": parts}))) == {"digest"}


def test_a_value_that_only_a_dictionary_holds_is_found() -> None:
    """No row has it, but its bytes are there: what a table that was filtered can bring along."""
    array = pa.array(["a", TEXT]).dictionary_encode()
    unused = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), array.dictionary)})
    assert unused.to_pydict() == {"text": ["a", "a"]}
    assert hits(parquet(unused, compression="zstd")) == {"bytes"}
    assert hits(arrow(unused, "zstd", stream=True)) == {"bytes"}


def test_our_own_tables_are_searched() -> None:
    """A row of decisions names its representative, and has the digests of its parts."""
    row: dict[str, Any] = dict.fromkeys(DECISION.names)
    row |= dict.fromkeys(("path", "role", "version", "action", "reason", "decided", "decided_at"), "x")
    row |= {"id": "bear", "row": -1, "bytes": 1, "pixels": 0, "chars": 1, "millis": 0, "representative": ID}
    row["parts"] = [{"part": "text", "modality": "text", "sha256": DIGEST, "content": DIGEST}]
    assert hits(parquet(pa.Table.from_pylist([row], DECISION), compression="zstd")) == {"id", "digest"}


@given(st.integers(0, 40), st.integers(1, 30))
def test_edges_of_pieces_hide_nothing(before: int, piece: int) -> None:
    """Whatever the size of a piece and the place in it, as in one piece."""
    data = b"." * before + ID.encode() + b", " + TEXT.encode() + b" lion-77 xlion-7"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "PIECE", piece)
        patch.setattr(search, "HEAD", 1)
        assert hits(data) == {"id", "bytes"}
        assert hits(data.replace(b"lion-7,", b"bear-7,").replace(b"roof", b"room")) == set()


@pytest.mark.parametrize(
    ("text", "others", "there"),
    [
        ("see lion-7.", (), True),
        ("lion-77", (), False),
        ("sealion-7", (), False),
        ("old/lion-7", (), True),
        ("old/lion-7", ("old/lion-7",), False),
        ("older/lion-7", ("old/lion-7",), True),
        ("lion-7, lion-7-b", ("lion-7-b",), True),
        ("lion-7-b", ("lion-7-b",), False),
    ],
)
def test_an_id_within_the_id_of_another_is_none(text: str, others: tuple[str, ...], there: bool) -> None:
    """A longer word, or the id of a record that stays."""
    assert hits(text.encode(), others=others) == ({"id"} if there else set())


def test_names_of_objects_are_searched() -> None:
    """An object of DVC's is named by its digest, in two pieces."""
    found = Search([Needle("digest", b"0123abcd" * 4, "x")])
    found.name("cache", "01/23abcd", "0123abcd" * 4)
    assert len(found.hits) == 1


def test_a_long_content_is_found_by_its_most_telling_piece() -> None:
    """Not by a beginning that many files have."""
    data = bytes(100_000) + hashlib.shake_256(b"noise").digest(50_000) + bytes(100_000)
    (needle,) = needles.of_bytes(data, "x", DIGEST)
    assert len(needle.data) == needles.LONGEST
    assert hits(b"before" + data + b"after", [needle]) == {"bytes"}
    assert hits(bytes(1_000_000), [needle]) == set()


def test_what_can_not_be_opened_is_said() -> None:
    """It is searched as it lies."""
    found = Search(WANTED)
    found.object("here", "broken", io.BytesIO(gzip.compress(b"x" * 10_000)[:20] + TEXT.encode()))
    assert [(each.place, each.name) for each in found.unsearched] == [("here", "broken")]
    assert {hit.needle.kind for hit in found.hits} == {"bytes"}


def test_short_ids_and_contents_are_not_looked_for() -> None:
    """They stand everywhere by chance; the certificate says so."""
    assert not [*needles.of_id("7", "7"), *needles.of_bytes(b"yes", "7", DIGEST)]
