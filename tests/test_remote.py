"""Objects elsewhere: listed with digests, fetched once, verified; a failing network ends the run and loses nothing."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import fsspec
import projects
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from test_records import all_of, jsonl, put
from typer.testing import CliRunner

from dedupver import cli
from dedupver.check import check
from dedupver.listing import write_listing
from dedupver.params import Columns, Source
from dedupver.pipeline import DECIDING
from dedupver.records import remote
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROTOCOLS = ("memory", "http", "zip")
HERE = Source(protocols=PROTOCOLS)
GIVEN = {"source__protocols": list(PROTOCOLS), "source__columns": {"id": "id"}}
LONG = "a text of quite a few words, none of which stands in any of the others that are here: "


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAIT", 0)


@pytest.fixture
def memory() -> Iterator[Any]:
    """Give an empty file system in memory."""
    found = fsspec.filesystem("memory")
    found.store.clear()
    yield found
    found.store.clear()


def picture(shade: int) -> bytes:
    """Return a PNG."""
    out = io.BytesIO()
    Image.effect_mandelbrot((64, 64), (-2 + shade / 10, -1, 1, 1), 50).save(out, "PNG")
    return out.getvalue()


def named(url: str, data: bytes, **more: Any) -> dict[str, Any]:
    """Return what a row says of an object."""
    return {"url": url, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} | more


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; fails, or sends half of it, as often as it is told."""

    failures = 0
    halves = 0
    asked: list[str] = []  # noqa: RUF012 - a server's memory

    def do_GET(self) -> None:
        """Answer."""
        type(self).asked.append(self.path)
        if type(self).failures > 0:
            type(self).failures -= 1
            self.send_error(503)
        elif type(self).halves > 0:
            type(self).halves -= 1
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"half")
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Give the URL of a server of the folder `web`."""
    (tmp_path / "web").mkdir()
    Handler.failures, Handler.halves = 0, 0
    Handler.asked.clear()
    handler = functools.partial(Handler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_a_listing_names_each_part_with_its_digest(memory: Any, tmp_path: Path) -> None:
    """Samples are those of files; what comes along is named; tables are left out, hidden objects are not there."""
    objects = {
        "b/train/1.png": picture(1), "b/train/1.txt": b"a cat", "b/train/1.xml": b"<x/>",
        "b/train/1.json": b'{"split": "dev", "stars": 5}', "b/2.txt": b"alone", "b/3.bin": b"?", "b/.x/4.txt": b"hidden",
        "b/rows.jsonl": b"{}",
    }  # fmt: skip
    for path, data in objects.items():
        memory.pipe(f"/{path}", data)
    told = write_listing("memory://b", tmp_path / "a.jsonl", HERE)
    assert told == (3, 6, sum(map(len, objects.values())) - len("hidden{}"), ["memory:///b/rows.jsonl"])
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows == [
        {"id": "2.txt", "source": None, "split": None, "text": named("memory:///b/2.txt", b"alone"), "others": []},
        {"id": "3.bin", "source": None, "split": None, "others": [named("memory:///b/3.bin", b"?")]},
        {
            "id": "train/1.png", "source": "train", "split": "dev", "stars": 5,
            "image": named("memory:///b/train/1.png", objects["b/train/1.png"]),
            "caption": named("memory:///b/train/1.txt", b"a cat"),
            "others": [named("memory:///b/train/1.xml", b"<x/>")],
        },
    ]  # fmt: skip


def test_what_can_not_be_listed_is_an_error(memory: Any, tmp_path: Path) -> None:
    """It names the object; no table is left behind."""
    for url, why in [("memory://none", "holds nothing"), ("file:///etc", "no 'file'"), ("/etc", "no 'local path'"), ("zip://::/etc/x.zip", "no 'local path'")]:  # fmt: skip
        with pytest.raises(SourceError, match=why):
            write_listing(url, tmp_path / "a.jsonl", HERE)
    memory.pipe("/b/1.txt", b"x")
    memory.pipe("/b/1.json", b"[]")
    with pytest.raises(SourceError, match=r"memory:///b/1\.json holds no attributes: bad_row"):
        write_listing("memory://b", tmp_path / "a.jsonl", HERE)
    assert list(tmp_path.iterdir()) == []


def test_the_whole_pipeline_on_objects_elsewhere(memory: Any, tmp_path: Path) -> None:
    """Decided as files are, published as lines; a later version fetches what is new alone, and check needs no network."""
    objects = {f"/b/{name}.png": picture(shade) for name, shade in (("1", 0), ("2", 9), ("3", 0))}
    objects |= {f"/b/{name}.txt": f"{LONG}{text}".encode() for name, text in (("1", "x"), ("2", "y"), ("3", "x"))}
    objects["/b/4.png"] = b"no picture"
    for path, data in objects.items():
        memory.pipe(path, data)
    write_listing("memory://b", tmp_path / "list.jsonl", HERE)
    listing = (tmp_path / "list.jsonl").read_bytes()
    root = projects.build(projects.create(tmp_path / "project", {"list.jsonl": listing}, **GIVEN))
    found = {name: (row["action"], row["reason"]) for name, row in projects.decisions(root).items()}
    assert found == {
        "1.png": ("keep", "kept"),
        "2.png": ("keep", "kept"),
        "3.png": ("drop", "exact_duplicate_of"),
        "4.png": ("quarantine", "unreadable_image"),
    }
    assert (root / "clean/list.jsonl").read_bytes() == b"".join(listing.splitlines(keepends=True)[:2])
    here = projects.create(tmp_path / "here", {name[3:]: data for name, data in objects.items()}, **GIVEN)
    projects.build(here)
    local = {name: row["parts"] for name, row in projects.decisions(here).items()}
    assert {name: row["parts"] for name, row in projects.decisions(root).items()} == local
    projects.advance(root)
    memory.store.clear()
    memory.pipe("/b/5.txt", LONG.encode() + b"z")
    write_listing("memory://b", tmp_path / "more.jsonl", HERE)
    known = b"".join(listing.splitlines(keepends=True)[:3])
    files: projects.Files = {"list.jsonl": known + (tmp_path / "more.jsonl").read_bytes()}
    projects.build(projects.reopen(root, files, "v2", **GIVEN))
    assert projects.metrics(root, "fingerprint")["new_image_contents"] == 0
    assert projects.kept(root) == {"1.png", "2.png", "5.txt"}
    memory.store.clear()
    assert check(root) == []
    (root / "clean/list.jsonl").write_bytes(listing.replace(hashlib.sha256(objects["/b/1.png"]).hexdigest().encode(), b"0" * 64).splitlines(keepends=True)[0])  # fmt: skip
    assert [f.message for f in check(root)] == ["has 1 rows, 3 are kept"]


def test_rows_may_name_objects_beside_bytes_and_paths(memory: Any, tmp_path: Path) -> None:
    """In JSON Lines, Parquet and with any column; what is null names nothing."""
    image = picture(3)
    memory.pipe("/b/a.png", image)
    put(tmp_path, "raw/here.png", image)
    far = named("memory://b/a.png", image)
    put(tmp_path, "raw/a.jsonl", jsonl({"image": far}, {"image": "here.png"}, {"image": {"url": None}, "text": "x"}))
    kind = pa.struct([("url", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])
    table = pa.table(
        {"image": pa.array([far, None], kind), "text": ["y", "z"], "caption": pa.array([None, None], kind)}
    )
    pq.write_table(table, tmp_path / "raw/b.parquet")
    found = [(r["path"], r["row"], r["image"], r["text"], [o["part"] for o in r["remote"] or []], r["code"]) for r in all_of(tmp_path / "raw", HERE)]  # fmt: skip
    assert found == [
        ("a.jsonl", 0, None, None, ["image"], None),
        ("a.jsonl", 1, image, None, [], None),
        ("a.jsonl", 2, None, b"x", [], None),
        ("b.parquet", 0, None, b"y", ["image"], None),
        ("b.parquet", 1, None, b"z", [], None),
    ]
    files = {name: (tmp_path / "raw" / name).read_bytes() for name in ("a.jsonl", "b.parquet", "here.png")}
    root = projects.build(projects.create(tmp_path / "p", files, **GIVEN | {"source__columns": {"id": None}}))
    first = [row["parts"] for row in projects.decisions(root).values() if row["path"] == "a.jsonl" and row["row"] < 2]
    assert first[0] == first[1] != []
    assert check(root) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"url": "file:///etc/hostname"}, "bad_url"),
        ({"url": "/etc/hostname"}, "bad_url"),
        ({"url": "local:///etc/hostname"}, "bad_url"),
        ({"url": "zip://a.png::/etc/x.zip"}, "bad_url"),
        ({"url": "simplecache::memory://b/a.png"}, "bad_url"),
        ({"url": "memory://b/a\n.png"}, "bad_url"),
        ({"url": 7}, "bad_url"),
        ({"url": ""}, "bad_url"),
        ({"sha256": None}, "bad_url"),
        ({"sha256": "00"}, "bad_url"),
        ({"sha256": "A" * 64}, "bad_url"),
        ({"size": None}, "bad_url"),
        ({"size": -1}, "bad_url"),
        ({"size": 1.5}, "bad_url"),
        ({"size": 201}, "huge_image"),
    ],
)
def test_a_row_that_names_no_object_properly_is_quarantined(tmp_path: Path, value: dict[str, Any], code: str) -> None:
    """Nothing is opened, least of all a file of this machine."""
    put(tmp_path, "a.jsonl", jsonl({"text": "x"}, {"image": named("memory://b/a.png", b"x") | value}))
    good, bad = all_of(tmp_path, Source(protocols=PROTOCOLS, max_image_bytes=200))
    assert (good["code"], bad["code"], bad["remote"]) == (None, code, None)
    assert bad["detail"].startswith("image: ")


@pytest.mark.parametrize(
    ("url", "there", "why"),
    [
        ("memory://b/none.txt", None, "FileNotFoundError"),
        ("memory://b/a.txt", b"another text", "not what was listed"),
        ("memory://b/a.txt", b"", "not what was listed"),
        ("memory://b/a.txt", b"x" * 10_000_000, "not what was listed"),
        ("s3://bucket/a.txt", None, "ImportError: Install s3fs"),
        ("zip://a.txt::memory://b/a.zip", b"no zip", "BadZipFile"),
        ("http://127.0.0.1:9/a.txt", None, "ClientConnectorError"),
    ],
)
def test_an_object_that_is_not_what_was_listed_ends_the_run(
    memory: Any, tmp_path: Path, url: str, there: bytes | None, why: str
) -> None:
    """The message names it, and nothing is quarantined for it."""
    if there is not None:
        memory.pipe("/b/a.zip" if "zip" in url else "/b/a.txt", there)
    rows = [{"id": "a", "text": named(url, b"a text")}, {"id": "b", "text": "another"}]
    root = projects.create(tmp_path, rows, **GIVEN | {"source__protocols": ["memory", "s3", "zip", "http"]})
    with pytest.raises(SourceError, match=f"{url} can't be read: .*{why}"):
        projects.build(root, "fingerprint")
    assert not (root / "build/fingerprint").exists()


@pytest.mark.parametrize(
    ("column", "data", "code"),
    [("text", b"\xff", "bad_utf8"), ("text", b" \n", "empty_text"), ("image", b"no picture", "unreadable_image")],
)
def test_an_object_that_is_no_text_or_picture_is_quarantined(
    memory: Any, tmp_path: Path, column: str, data: bytes, code: str
) -> None:
    """It is what was listed, so this is a verdict on the record."""
    memory.pipe("/b/a", data)
    rows = [{"id": "a", column: named("memory://b/a", data)}, {"id": "b", "text": LONG}]
    root = projects.build(projects.create(tmp_path, rows, **GIVEN), *DECIDING)
    found = projects.decisions(root)
    assert (found["a"]["reason"], found["b"]["action"]) == (code, "keep")
    assert found["a"]["detail"].startswith(f"{column}: ")


def test_a_server_that_fails_is_asked_again(server: str, tmp_path: Path) -> None:
    """After an error, and after half an answer; after three times the run ends."""
    put(tmp_path / "web", "a.txt", LONG)
    rows = [{"id": "a", "text": named(f"{server}/a.txt", LONG.encode())}]
    root = projects.create(tmp_path / "p", rows, **GIVEN)
    Handler.failures, Handler.halves = 1, 1
    projects.build(root)
    assert projects.kept(root) == {"a"}
    assert Handler.asked == ["/a.txt"] * 3
    Handler.failures = 3
    with pytest.raises(SourceError, match=rf"{server}/a\.txt can't be read"):
        projects.build(root, "fingerprint")


def test_objects_of_a_server_and_of_an_archive(server: str, memory: Any, tmp_path: Path) -> None:
    """A page of links is listed, and so are the files in an archive behind a URL."""
    with memory.open("/x/a.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("in/1.png", picture(2))
        archive.writestr("in/1.txt", "a picture")
    put(tmp_path / "web", "b/2.txt", LONG)
    told = write_listing(f"{server}/b/", tmp_path / "b.jsonl", HERE)
    assert (told.samples, told.objects) == (1, 1)
    told = write_listing("zip://::memory://x/a.zip", tmp_path / "a.jsonl", HERE)
    assert (told.samples, told.objects) == (1, 2)
    rows = [json.loads(line) for name in "ab" for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["in/1.png", "2.txt"]
    assert rows[0]["image"]["url"] == "zip://in/1.png::memory://x/a.zip"
    root = projects.build(projects.create(tmp_path / "p", rows, **GIVEN))
    assert projects.kept(root) == {"in/1.png", "2.txt"}


def test_groups_hold_a_bounded_number_of_bytes(monkeypatch: pytest.MonkeyPatch, memory: Any) -> None:
    """In order; an object larger than that is alone."""
    monkeypatch.setattr(remote, "GROUP_BYTES", 10)
    objects = []
    for number, size in enumerate([4, 4, 4, 30, 1, 9, 1]):
        data = bytes([number]) * size
        memory.pipe(f"/{number}", data)
        objects.append(remote.Remote("text", f"memory:///{number}", size, hashlib.sha256(data).digest()))
    assert [[len(data) for data in group] for group in remote.fetched(objects)] == [[4, 4], [4], [30], [1, 9], [1]]


def test_the_command_lists_objects(memory: Any, tmp_path: Path) -> None:
    """And says what it left out."""
    memory.pipe("/b/1.txt", b"x")
    memory.pipe("/b/a.parquet", b"x")
    (tmp_path / "params.yaml").write_text("source:\n  protocols: [memory]\n")
    (tmp_path / "data/raw").mkdir(parents=True)
    table = tmp_path / "data/raw/a.jsonl"
    told = CliRunner().invoke(cli.app, ["-C", str(tmp_path), "list", "memory://b", str(table)])
    assert told.exit_code == 0
    assert "1 samples of 1 objects, 1 bytes" in told.output
    assert "left out: memory:///b/a.parquet (use `dvc import-url`)" in told.output
    assert [(r["id"], r["code"]) for r in all_of(tmp_path / "data/raw", Source(protocols=("memory",), columns=Columns(id="id")))] == [("1.txt", None)]  # fmt: skip
