"""Tar archives: members, samples, verdicts on hostile ones, and archives written back with some of their samples."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any, Final

import projects
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_publish import kept
from test_records import PLAN, PNG, all_of, put

from dedupver.check import check
from dedupver.params import Columns, Source
from dedupver.publish import publish
from dedupver.records import plan, streams, tar

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Entry = tuple[str, bytes]
QUICK: Final = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FORMATS: Final = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
SAMPLES: Final = [(f"{i:03}.{end}", f"{i} {end}".encode()) for i in range(5) for end in ("png", "txt", "cls")]
NAMES: Final = st.builds(
    "{}{}{}".format, st.sampled_from(["", "x/", "./", "é/"]), st.sampled_from(["a", "b", "c" * 120]), st.sampled_from([".txt", ".png", ".x.json", ""])
)  # fmt: skip


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **said: Any) -> tarfile.TarInfo:
    """Return a header."""
    found = tarfile.TarInfo(name)
    found.size, found.type, found.mtime = size, kind, 1_000
    for key, value in said.items():
        setattr(found, key, value)
    return found


def archive(entries: Iterable[Entry | tarfile.TarInfo], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """Return a tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                file.addfile(entry, io.BytesIO(b"x" * entry.size))
            else:
                file.addfile(info(entry[0], len(entry[1])), io.BytesIO(entry[1]))
    return out.getvalue()


def entries_of(data: bytes) -> list[Entry]:
    """Return the files of a tar archive as Python's own module reads them."""
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        return [(m.name, extracted.read()) for m in file if (extracted := file.extractfile(m))]


def packed(data: bytes, suffix: str) -> bytes:
    """Return compressed bytes."""
    if suffix == ".zst":
        out = pa.BufferOutputStream()
        with pa.CompressedOutputStream(out, "zstd") as file:
            file.write(data)
        return out.getvalue().to_pybytes()
    return gzip.compress(data, mtime=0) if suffix == ".gz" else data


def unpacked(path: Path) -> bytes:
    """Return the bytes of a file that may be compressed."""
    with streams.opened(path, 0) as file:
        return file.read(1 << 30)


def said(found: Iterable[dict[str, Any]]) -> list[tuple[str, str | None]]:
    """Return the id and the code of records."""
    return [(r["id"], r["code"]) for r in found]


def written(root: Path, target: Path, path: str, rows: Iterable[int]) -> bytes:
    """Publish some samples of an archive and return its bytes."""
    target.mkdir()
    chosen = [(path, row) for row in rows]
    publish(root, target, kept(*chosen), Source(), "copy")
    return (target / path).read_bytes()


# --- what a sample is


def test_members_that_share_a_key_are_one_sample(tmp_path: Path) -> None:
    """The key is the name up to its first dot; the extension says the part; the path and JSON say where it is from."""
    said_in_json = json.dumps({"split": "val", "quality": 2, "text": "from JSON"}).encode()
    entries = [
        info("train", kind=tarfile.DIRTYPE),
        ("train/1.png", PNG),
        ("train/1.txt", b"\xef\xbb\xbfa cat"),
        ("train/1.cls", b"7"),
        ("train/1.json", said_in_json),
        ("./2.txt", b"a text"),
        (".hidden/3.png", PNG),
        ("3.json", b'{"text": "only in JSON"}'),
        ("._4.png", b"of a Mac"),
        ("4.seg.x.PNG", PNG + b"4"),
        ("4.md", b"a text beside it"),
    ]
    put(tmp_path, "web/test.tar", archive(entries))
    found = [tuple(r[n] for n in ("id", "path", "row", "source", "split", "quality", "image", "caption", "text", "code")) for r in all_of(tmp_path)]  # fmt: skip
    assert found == [
        ("web/test.tar/train/1", "web/test.tar", 0, "web", "validation", 2.0, PNG, b"a cat", b"from JSON", None),
        ("web/test.tar/2", "web/test.tar", 1, "web", "test", None, None, None, b"a text", None),
        ("web/test.tar/3", "web/test.tar", 2, "web", "test", None, None, None, b"only in JSON", None),
        ("web/test.tar/4", "web/test.tar", 3, "web", "test", None, PNG + b"4", None, b"a text beside it", None),
    ]


def test_each_member_is_a_sample_where_params_say_so(tmp_path: Path) -> None:
    """With samples: file its id is its name."""
    put(tmp_path, "a.tar", archive([("1.png", PNG), ("1.txt", b"x")]))
    assert said(all_of(tmp_path, Source(samples="file"))) == [("a.tar/1.png", None), ("a.tar/1.txt", None)]


def test_an_id_may_be_among_the_attributes(tmp_path: Path) -> None:
    """Where params name its column and the object has it."""
    put(tmp_path, "a.tar", archive([("1.txt", b"x"), ("1.json", b'{"uid": 12345678901234567890123}'), ("2.txt", b"y")]))
    assert said(all_of(tmp_path, Source(columns=Columns(id="uid")))) == [
        ("12345678901234567890123", None),
        ("a.tar/2", None),
    ]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.zst"])
def test_archives_may_be_compressed(tmp_path: Path, suffix: str) -> None:
    """The samples are the same."""
    put(tmp_path, f"a{suffix}", packed(archive(SAMPLES), {".tgz": ".gz"}.get(suffix, suffix.removeprefix(".tar"))))
    found = all_of(tmp_path)
    assert [(r["id"], r["image"], r["caption"]) for r in found] == [
        (f"a{suffix}/{i:03}", f"{i} png".encode(), f"{i} txt".encode()) for i in range(5)
    ]


@QUICK
@given(
    entries=st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=8),
    form=st.sampled_from(FORMATS[1:]),  # ustar has no such names
    folders=st.booleans(),
)
def test_members_are_those_that_python_reads(tmp_path: Path, entries: list[Entry], form: int, *, folders: bool) -> None:
    """In every format, with long and foreign names; their bytes lie where the offsets say, and nothing lies between."""
    mixed = [each for e in entries for each in ([info("d/", kind=tarfile.DIRTYPE), e] if folders else [e])]
    data = archive(mixed, form)
    put(tmp_path, "a.tar", data)
    with (tmp_path / "a.tar").open("rb") as file:
        found = list(tar.members(file, 0, streams.END))
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        expected = [(m.name.removeprefix("./"), m.offset, m.offset_data, m.size) for m in file if m.isfile()]
    assert [(m.name, m.start, m.data, m.size) for m in found] == expected
    assert not any(m.fault for m in found)
    assert all(m.stop % 512 == 0 and m.data + m.size <= m.stop < m.data + m.size + 512 for m in found)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize(("size", "samples"), [(1, 1), (2_000, 100), (1 << 20, 2)])
def test_chunks_cover_each_sample_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, size: int, samples: int
) -> None:
    """However an archive is cut, its samples are the same, and a repeated key is known in every chunk."""
    put(tmp_path, f"a.tar{suffix}", packed(archive([*SAMPLES, *SAMPLES[:2], ("9.txt", b"nine")]), suffix))
    whole = all_of(tmp_path)
    monkeypatch.setattr(PLAN, "TASK_BYTES", size)
    monkeypatch.setattr(PLAN, "TASK_FILES", samples)
    assert len(plan(tmp_path, Source())) > 1
    assert all_of(tmp_path) == whole
    assert [code for _, code in said(whole)] == [None] * 5 + ["duplicate_member", None]


# --- hostile archives


@pytest.mark.parametrize(
    ("hostile", "code"),
    [
        ([("../x.txt", b"x")], "path_escape"),
        ([("a/../../x.txt", b"x")], "path_escape"),
        ([("/etc/x.txt", b"x")], "path_escape"),
        ([info("x.txt", kind=tarfile.SYMTYPE, linkname="/etc/passwd")], "unsupported_file"),
        ([("x.png", PNG), info("x.txt", kind=tarfile.LNKTYPE, linkname="0.txt")], "unsupported_file"),
        ([info("x.txt", kind=tarfile.FIFOTYPE)], "unsupported_file"),
        ([info("x.txt", kind=tarfile.CHRTYPE)], "unsupported_file"),
        ([info("x.txt", 9, kind=b"Z")], "unsupported_file"),
        ([info("x.txt", 9, pax_headers={"GNU.sparse.size": "9999999999999"})], "unsupported_file"),
        ([("x.txt", b"x"), ("x.txt", b"y")], "duplicate_member"),
        ([("x.png", PNG), ("x.1.png", PNG)], "ambiguous_part"),
        ([("x.txt", b"a"), ("x.md", b"b")], "ambiguous_part"),
        ([("0.png", PNG)], "duplicate_member"),
        ([("x.txt", b"x" * 101)], "huge_text"),
        ([("x.txt", b"x"), ("x.json", b"[" * 101)], "huge_text"),
        ([("x.png", b"x" * 201), ("x.txt", b"x")], "huge_image"),
        ([("x.txt", b"\xff")], "bad_utf8"),
        ([("x.png", PNG), ("x.txt", b" ")], "empty_text"),
        ([("x.txt", b"x"), ("x.json", b"{")], "bad_row"),
        ([("x.json", b"{}")], "no_content"),
        ([("x.cls", b"7")], "unsupported_file"),
        ([("LICENSE", b"x")], "unsupported_file"),
        ([info("x\udcff.txt", 1)], "bad_utf8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_hostile_sample_is_quarantined(tmp_path: Path, hostile: list[Any], code: str, suffix: str) -> None:
    """Its neighbours are not, it has a reason, and no payload; nothing of it is published."""
    good = [("0.txt", b"before"), ("1.txt", b"more")], [("z.txt", b"after")]
    data = archive([*good[0], *hostile, *good[1]], tarfile.PAX_FORMAT)
    put(tmp_path / "raw", f"a.tar{suffix}", packed(data, suffix))
    found = all_of(tmp_path / "raw", Source(max_text_bytes=100, max_image_bytes=200))
    assert [r["code"] for r in found] == [None, None, code, None]
    assert found[2]["detail"]
    assert found[2]["text"] is found[2]["image"] is found[2]["caption"] is None
    written(tmp_path / "raw", tmp_path / "out", f"a.tar{suffix}", [0, 1, 3])
    assert entries_of(unpacked(tmp_path / "out" / f"a.tar{suffix}")) == [*good[0], *good[1]]


def test_a_member_that_claims_exabytes_ends_the_archive(tmp_path: Path) -> None:
    """A size that no file has is found without reading it."""
    header = info("x.txt", 1 << 62).tobuf(tarfile.GNU_FORMAT)
    put(tmp_path, "a.tar", archive([("0.txt", b"x")])[:1024] + header + b"x" * 512)
    assert said(all_of(tmp_path, Source(max_text_bytes=1 << 63))) == [
        ("a.tar/0", None),
        ("a.tar/x", "truncated_archive"),
    ]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (info("././@LongLink", (1 << 20) + 1, kind=tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT), "an extended header of 1048577"),
        (info("x", -1).tobuf(tarfile.GNU_FORMAT), "negative size"),
        (b"no header" * 60, "a header that is none"),
        (tarfile.TarInfo.create_pax_global_header({"path": "x"}), "names the path of every member"),
        (info("x", 512, kind=tarfile.XHDTYPE).tobuf() + b"12 path=x\n".ljust(512, b"y"), "an extended header that is none"),
        (info("x", 512, kind=tarfile.XHDTYPE).tobuf() + b"0 path=x\n".ljust(512), "an extended header that is none"),
        (info("x", 18, kind=tarfile.XHDTYPE).tobuf() + b"18 size=123456789\n".replace(b"123", b"-12").ljust(512, b"\0") + info("x").tobuf(), "number is none"),
        (info("x", 40, kind=tarfile.XHDTYPE).tobuf() + (b"99999999999999999999 path=x\n" * 2).ljust(512, b"\0"), "number is none"),
    ],
)  # fmt: skip
def test_a_hostile_header_ends_the_archive(tmp_path: Path, header: bytes, why: str) -> None:
    """What precedes stays, but for the sample at the damage, which may lack members; the rest is one record."""
    first = archive([("0.txt", b"x"), ("1.txt", b"y")])[:2048]
    put(tmp_path / "raw", "a.tar", first + header + bytes(1024) + b"x" * 600)
    found = all_of(tmp_path / "raw")
    assert said(found) == [("a.tar/0", None), ("a.tar/1", "bad_archive")]
    assert why in found[1]["detail"]
    assert entries_of(written(tmp_path / "raw", tmp_path / "out", "a.tar", [0])) == [("0.txt", b"x")]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_an_archive_cut_anywhere_keeps_what_precedes(tmp_path: Path, suffix: str) -> None:
    """The sample at the cut, and all after it, is one quarantined record; the published rest is sound."""
    data = packed(archive([(name, data * 40) for name, data in SAMPLES]), suffix)
    put(tmp_path / "whole", f"a.tar{suffix}", data)
    whole = said(all_of(tmp_path / "whole"))
    kept_so_far = 0
    for number, size in enumerate([*range(0, len(data) - 1024, max(7, len(data) // 60)), len(data) - 1]):
        root = tmp_path / f"raw{number}"
        put(root, f"a.tar{suffix}", data[:size])
        found = all_of(root)
        good = [r for r in found if r["code"] is None]
        if suffix or size < 5 * 3 * 1024:  # beyond, the cut is in zeros
            assert said(found) == [*whole[: len(good)], (found[-1]["id"], found[-1]["code"])]
            assert found[-1]["code"] in {"truncated_archive", "unreadable_file"}
        assert len(good) >= kept_so_far
        kept_so_far = len(good)
        if good:
            written(root, tmp_path / f"out{number}", f"a.tar{suffix}", range(len(good)))
            out = unpacked(tmp_path / f"out{number}" / f"a.tar{suffix}")
            assert [name for name, _ in entries_of(out)] == [name for name, _ in SAMPLES][: 3 * len(good)]
            assert said(all_of(tmp_path / f"out{number}")) == whole[: len(good)]
    assert kept_so_far >= {"": 5, ".gz": 4, ".zst": 0}[suffix]  # of zstd, blocks of 128 kB are lost


def test_bytes_after_the_end_are_a_quarantined_record(tmp_path: Path) -> None:
    """Such as those of a second archive; zeros are none."""
    first, second = archive([("0.txt", b"x")]), archive([("1.txt", b"y")])
    put(tmp_path / "raw", "a.tar", first + second)
    put(tmp_path / "raw", "b.tar", first + bytes(5_000))
    found = all_of(tmp_path / "raw")
    assert said(found) == [("a.tar/0", None), ("a.tar#1", "bad_archive"), ("b.tar/0", None)]
    assert "bytes after its end" in found[1]["detail"]
    out = written(tmp_path / "raw", tmp_path / "out", "a.tar", [0])
    assert out == first[:1024] + bytes(1024)


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    """The samples before the limit stay."""
    put(tmp_path, "a.tar.gz", packed(archive([("0.txt", b"x"), ("1.txt", bytes(9_000_000)), ("2.txt", b"y")]), ".gz"))
    found = all_of(tmp_path, Source(max_unpacked_bytes=1_000_000))
    assert said(found) == [("a.tar.gz/0", None), ("a.tar.gz/1", "unreadable_file")]
    assert "max_unpacked_bytes" in found[1]["detail"]


@QUICK
@given(
    places=st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 255)), min_size=1, max_size=6),
    suffix=st.sampled_from(["", ".gz"]),
)
def test_no_bytes_break_an_archive(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[int, int]], suffix: str
) -> None:
    """Whatever bytes are altered, there are records and verdicts, and what is kept can be published and read again."""
    root = tmp_path_factory.mktemp("odd")
    data = bytearray(packed(archive(SAMPLES[:3], tarfile.PAX_FORMAT), suffix))
    for place, value in places:
        data[place % len(data)] = value
    put(root / "raw", f"a.tar{suffix}", bytes(data))
    found = all_of(root / "raw")
    rows = [r["row"] for r in found if r["code"] is None]
    assert [r["row"] for r in found] == list(range(len(found)))
    if rows:
        written(root / "raw", root / "out", f"a.tar{suffix}", rows)
        again = all_of(root / "out")
        assert [(r["id"], r["image"], r["caption"], r["text"], r["code"]) for r in again] == [
            (r["id"], r["image"], r["caption"], r["text"], None) for r in found if r["code"] is None
        ]


# --- archives written back


@pytest.mark.parametrize("form", FORMATS)
def test_an_archive_of_which_all_is_kept_is_the_same(tmp_path: Path, form: int) -> None:
    """Folders, global headers and the blocks at the end with it."""
    entries = [info("d", kind=tarfile.DIRTYPE), ("d" * 90 + "/" + "é" * 40 + ".txt", b"x"), ("d/b.txt", b"y")]
    data = tarfile.TarInfo.create_pax_global_header({"comment": "c"}) + archive(entries, form)
    put(tmp_path / "raw", "a.tar", data)
    assert written(tmp_path / "raw", tmp_path / "out", "a.tar", [0, 1]) == data


@QUICK
@given(
    entries=st.lists(st.tuples(NAMES, st.binary(max_size=700)), min_size=1, max_size=8, unique_by=lambda e: e[0]),
    choice=st.lists(st.booleans(), min_size=8, max_size=8),
    form=st.sampled_from(FORMATS[1:]),  # ustar has no such names
    suffix=st.sampled_from(["", ".gz", ".zst"]),
)
def test_archives_are_a_partition(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], choice: list[bool], form: int, suffix: str
) -> None:
    """Kept and dropped samples, each published, hold each member once, in order, with the headers that it came with."""
    root = tmp_path_factory.mktemp("tar")
    put(root / "raw", f"a.tar{suffix}", packed(archive(entries, form), suffix))
    row_of, key = [], ""
    for name, _ in entries:
        here = name.removeprefix("./")
        here = here[: here.rfind("/") + 1] + here.rpartition("/")[2].partition(".")[0]
        row_of.append(row_of[-1] + (here != key) if row_of else 0)
        key = here
    for place, taken in (("kept", True), ("dropped", False)):
        rows = [row for row in range(row_of[-1] + 1) if choice[row] is taken]
        if rows:
            written(root / "raw", root / place, f"a.tar{suffix}", rows)
            out = unpacked(root / place / f"a.tar{suffix}")
            chosen = [e for e, row in zip(entries, row_of, strict=True) if choice[row] is taken]
            assert out.rstrip(b"\0") == archive(chosen, form).rstrip(b"\0")
            assert entries_of(out) == chosen


def test_the_whole_pipeline_on_archives(tmp_path: Path) -> None:
    """Near copies are dropped across archives, the archives are written back, checked, and drop nothing again."""
    texts = [
        f"a text about the number {i} whose words differ from those of all others by {i * i} and {i**3}"
        for i in range(6)
    ]
    first = archive([e for i, t in enumerate(texts) for e in ((f"{i}.txt", t.encode()), (f"{i}.cls", b"1"))])
    second = archive(
        [("8.txt", texts[1].encode()), ("9.txt", b"something that no other sample says, in words of its own")]
    )
    given_ = {"source__columns": {"id": None}}
    files: projects.Files = {"a.tar": first, "in/b.tar.gz": packed(second, ".gz"), "c.tar": b"garbage" * 100}
    root = projects.build(projects.create(tmp_path / "project", files, **given_))
    assert projects.kept(root) == {*(f"a.tar/{i}" for i in range(6)), "in/b.tar.gz/9"}
    assert projects.decisions(root)["in/b.tar.gz/8"]["representative"] == "a.tar/1"
    assert projects.decisions(root)["c.tar#0"]["reason"] == "bad_archive"
    assert (root / "clean/a.tar").read_bytes() == first
    assert not (root / "clean/c.tar").exists()
    assert check(root) == []
    again = projects.create(
        tmp_path / "again", {n.removeprefix("clean/"): d for n, d in projects.tree(root / "clean").items()}, **given_
    )
    assert projects.kept(projects.build(again)) == projects.kept(root)
    assert projects.tree(again / "clean") == projects.tree(root / "clean")
    (root / "clean/a.tar").write_bytes(first.replace(b"number 3", b"number 4"))
    (root / "clean/in/b.tar.gz").write_bytes(packed(archive([]), ".gz"))
    assert [(f.subject, f.message) for f in check(root)] == [
        ("a.tar", "1 of its 6 rows are not what was judged"),
        ("in/b.tar.gz", "has 0 rows, 1 are kept"),
    ]
