"""Samples of several files: which files are one record, what each is of it, and that they stay or go together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import projects
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_records import PNG, all_of, one_of, put

from dedupver import params
from dedupver.check import check
from dedupver.params import Columns, Source
from dedupver.records.samples import Folders, Sample, Scheme
from dedupver.schema import ParamsError

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {"text": "text", "image": "image", "mask": "image", "caption": "text", "german": "text"}
MEMBERS = {".txt": "caption", ".caption": "caption", ".de.txt": "german", ".mask.png": "mask", ".json": "attributes"}
WIDE = Source(parts=PARTS, members=MEMBERS)
NAMES = st.sets(
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "in/"]),
        st.sampled_from(["a", "a.b", "b"]),
        st.sampled_from(
            [".png", ".JPG", ".mask.png", ".txt", ".de.txt", ".md", ".caption", ".json", ".xml", ".csv", ""]
        ),
    ),
    max_size=14,
)


def fields(record: dict[str, Any], *names: str) -> tuple[Any, ...]:
    """Return some fields of a record."""
    return tuple(record[name] for name in names)


def gathered(paths: set[str], source: Source = WIDE) -> dict[str, Sample]:
    """Return samples by path."""
    return {sample.path: sample for sample in Scheme(source).gathered(sorted(paths))}


def test_each_file_of_a_stem_is_a_part_by_its_suffix() -> None:
    """The longest suffix counts; what is of no part comes along; the stem may hold dots."""
    found = gathered({"x/a.b.png", "x/a.b.mask.png", "x/a.b.txt", "x/a.b.de.txt", "x/a.b.json", "x/a.b.xml", "x/a.png"})
    parts = {"image": "x/a.b.png", "mask": "x/a.b.mask.png", "caption": "x/a.b.txt", "german": "x/a.b.de.txt"}
    assert found == {
        "x/a.b.png": Sample("x/a.b.png", parts, "x/a.b.json", ("x/a.b.xml",)),
        "x/a.png": Sample("x/a.png", {"image": "x/a.png"}),
    }


def test_a_caption_without_anything_to_caption_is_a_text() -> None:
    """Declared texts that are no captions make a sample without an image."""
    assert gathered({"a.txt", "a.json"}) == {"a.txt": Sample("a.txt", {"text": "a.txt"}, "a.json")}
    assert gathered({"a.txt", "a.de.txt"}) == {
        "a.de.txt": Sample("a.de.txt", {"german": "a.de.txt"}),
        "a.txt": Sample("a.txt", {"text": "a.txt"}),
    }
    two = Source(
        parts={"text": "text", "german": "text", "english": "text"}, members={".de.txt": "german", ".en.txt": "english"}
    )
    assert gathered({"a.de.txt", "a.en.txt"}, two) == {
        "a.en.txt": Sample("a.en.txt", {"english": "a.en.txt", "german": "a.de.txt"})
    }


def test_files_of_one_part_are_samples_of_their_own() -> None:
    """Two images share what is beside them; of two captions the first counts, the other is a file of its own."""
    found = gathered({"p.png", "p.jpg", "p.txt", "p.caption", "p.md"})
    assert found == {
        "p.jpg": Sample("p.jpg", {"image": "p.jpg", "caption": "p.txt"}),
        "p.png": Sample("p.png", {"image": "p.png", "caption": "p.txt"}),
        "p.md": Sample("p.md", {"text": "p.md"}),
        "p.caption": Sample("p.caption", {}),
    }


def test_with_samples_of_one_file_nothing_is_beside_anything() -> None:
    """Each file is a record, whatever its name is."""
    paths = {"p.png", "p.txt", "p.json", "p.mask.png"}
    found = gathered(paths, Source(parts=PARTS, members=MEMBERS, samples="file"))
    assert found.keys() == paths
    assert found["p.txt"].parts == {"text": "p.txt"}
    assert found["p.mask.png"].parts == {"image": "p.mask.png"}


@given(paths=NAMES, data=st.data())
@settings(max_examples=300)
def test_what_is_published_makes_the_same_samples(paths: set[str], data: st.DataObject) -> None:
    """Every file but a table is in a sample; the files of any samples, alone, make these samples and no other."""
    found = gathered(paths)
    assert {file for sample in found.values() for file in sample.files()} == {
        p for p in paths if not p.endswith(".csv")
    }
    kept = data.draw(st.sets(st.sampled_from(sorted(found)))) if found else set()
    files = {file for path in kept for file in found[path].files()}
    again = gathered(files)
    assert again == {path: found[path] for path in again}
    assert again.keys() == kept


@given(paths=NAMES)
@settings(max_examples=50)
def test_the_order_of_files_does_not_matter(paths: set[str]) -> None:
    """Nor do keys in an order of their own in params."""
    turned = Source(parts=dict(reversed(PARTS.items())), members=MEMBERS)
    backwards = {sample.path: sample for sample in Scheme(turned).gathered(sorted(paths, reverse=True))}
    assert backwards == gathered(paths)
    assert list(turned.parts) == list(WIDE.parts)


def test_folders_are_listed_as_sources_are_walked(tmp_path: Path) -> None:
    """Hidden files are beside nothing; a file that no sample is called after is alone."""
    for path in ("in/a.png", "in/a.txt", "in/.a.json", "b.png", "in/a.de.txt/x.png"):
        put(tmp_path, path, PNG)
    folders = Folders(tmp_path, WIDE)
    assert folders.sample("in/a.png").files() == ["in/a.png", "in/a.txt"]
    assert folders.sample("in/a.txt").files() == ["in/a.txt"]
    assert folders.sample("b.png").files() == ["b.png"]
    assert folders.sample("nowhere/b.png").files() == ["nowhere/b.png"]


def test_the_parts_of_a_sample_are_read(tmp_path: Path) -> None:
    """Attributes are those of a row of a table, under the names that params give columns; files count before texts."""
    put(tmp_path, "web/a.png", PNG + b"a")
    put(tmp_path, "web/a.mask.png", PNG + b"m")
    put(tmp_path, "web/a.txt", "\ufeffa cat")
    said = {
        "uid": 7,
        "caption": "no cat",
        "german": "eine Katze",
        "split": "dev",
        "source": None,
        "quality": 0.5,
        "tags": [1],
    }
    put(tmp_path, "web/a.json", "\ufeff" + json.dumps(said))
    source = Source(parts=PARTS, members=MEMBERS, columns=Columns(id="uid"))
    (found,) = all_of_parts(tmp_path, source)
    assert fields(found, "id", "path", "row", "code") == ("7", "web/a.png", -1, None)
    assert fields(found, "source", "split", "quality") == ("web", "validation", 0.5)
    assert fields(found, "image", "mask", "caption", "german", "text") == (
        PNG + b"a", PNG + b"m", b"a cat", b"eine Katze", None,
    )  # fmt: skip


def test_attributes_without_an_id_leave_the_path(tmp_path: Path) -> None:
    """As do those of a source whose records have no id."""
    put(tmp_path, "a.txt", "x")
    put(tmp_path, "a.json", '{"split": "test"}')
    for columns in (Columns(), Columns(id="uid")):
        assert fields(one_of(tmp_path, Source(columns=columns)), "id", "split", "code") == ("a.txt", "test", None)


@pytest.mark.parametrize(
    ("path", "data", "code", "said"),
    [
        ("a.txt", b" ", "empty_text", "caption: nothing but white space"),
        ("a.de.txt", b"\xff", "bad_utf8", "german: byte 0"),
        ("a.mask.png", b"x" * 201, "huge_image", "mask: 201 bytes"),
        ("a.json", b"{", "bad_row", "attributes: no JSON"),
        ("a.json", b"[]", "bad_row", "attributes: no object but a list"),
        ("a.json", b'{"x": 1, "x": 2}', "duplicate_keys", "attributes: several values for 'x'"),
        ("a.json", b'{"x": ' + b"[" * 20 + b"]" * 20 + b"}", "deep_json", "attributes: nested deeper than 10"),
        ("a.json", b'{"x": "' + b"y" * 100 + b'"}', "huge_text", "attributes: 109 bytes"),
        ("a.json", b'{"german": 5}', "wrong_type", "attributes: german: a number"),
        ("a.json", b'{"uid": ""}', "no_id", "attributes: the id is empty"),
        ("a.json", b"\xff", "bad_utf8", "attributes: byte 0"),
    ],
)
def test_a_part_that_cannot_be_read_quarantines_the_sample(
    tmp_path: Path, path: str, data: bytes, code: str, said: str
) -> None:
    """All of it, and the part is named."""
    put(tmp_path, "a.png", PNG)
    put(tmp_path, path, data)
    limits = {"max_text_bytes": 100, "max_image_bytes": 200, "max_json_depth": 10}
    (found,) = all_of_parts(tmp_path, Source(parts=PARTS, members=MEMBERS, columns=Columns(id="uid"), **limits))
    assert fields(found, "id", "code", "image") == ("a.png", code, None)
    assert found["detail"].startswith(said)


def test_a_member_that_leaves_the_source_quarantines_the_sample(tmp_path: Path) -> None:
    """Be it a part or a file that merely comes along."""
    put(tmp_path, "secret", "secret")
    for name, member in (("a", "a.txt"), ("b", "b.json"), ("c", "c.xml")):
        put(tmp_path / "raw", f"{name}.png", PNG)
        (tmp_path / "raw" / member).symlink_to("../secret")
    found = {r["id"]: (r["code"], r["detail"].partition(":")[0]) for r in all_of(tmp_path / "raw")}
    assert found == {
        "a.png": ("link_outside", "caption"),
        "b.png": ("link_outside", "attributes"),
        "c.png": ("link_outside", "c.xml"),
    }


def test_what_stands_beside_a_file_that_a_row_names_is_a_record(tmp_path: Path) -> None:
    """The row says what its image comes with; files that nobody takes are no losses."""
    for path in ("a.png", "b.png", "b.jpg"):
        put(tmp_path, path, PNG)
    for path in ("a.txt", "b.txt"):
        put(tmp_path, path, "text")
    put(tmp_path, "rows.jsonl", '{"image": "a.png", "text": "x"}\n{"image": "b.jpg", "text": "y"}\n')
    found = {r["id"] or r["row"]: fields(r, "text", "caption") for r in all_of(tmp_path)}
    assert found == {"a.txt": (b"text", None), "b.png": (None, b"text"), 0: (b"x", None), 1: (b"y", None)}


def test_columns_of_file_names_make_samples_of_several_files(tmp_path: Path) -> None:
    """Hugging Face's `image_file_name`, for each part, in metadata files alone; those files are no records."""
    for path in ("train/a.png", "train/am.png", "train/b.png"):
        put(tmp_path, path, PNG + path.encode())
    rows = [{"image_file_name": "a.png", "mask_file_name": "am.png", "text": "x"}, {"file_name": "b.png", "text": "y"}]
    put(tmp_path, "train/metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = [fields(r, "path", "row", "image", "mask", "text", "split") for r in all_of_parts(tmp_path, WIDE)]
    assert found == [
        ("train/metadata.jsonl", 0, PNG + b"train/a.png", PNG + b"train/am.png", b"x", "train"),
        ("train/metadata.jsonl", 1, PNG + b"train/b.png", None, b"y", "train"),
    ]


def test_members_must_be_parts(tmp_path: Path) -> None:
    """A word that is none is named with its nearest; a default that no record has is none the less fine."""
    (tmp_path / "params.yaml").write_text("source:\n  members: {.txt: captoin}\n")
    with pytest.raises(ParamsError, match=r"members\.\.txt is 'captoin': did you mean 'caption'"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("source:\n  parts: {body: text}\n  captions: none\n")
    assert params.load(tmp_path / "params.yaml").source.samples == "file"


def test_a_sample_is_published_and_checked_whole(tmp_path: Path) -> None:
    """All files of a kept sample are linked, those of a dropped one are not; an altered member is found."""

    def picture(name: str, shade: int) -> bytes:
        image = Image.effect_mandelbrot((64, 64), (-2 + shade / 10, -1, 1, 1), 50)
        image.save(tmp_path / name)
        return (tmp_path / name).read_bytes()

    first, second = picture("1.png", 0), picture("2.png", 9)
    files: projects.Files = {}
    for name, german in (
        ("a", "eine Katze auf dem Dach"),
        ("b", "eine Katze auf dem Dach"),
        ("c", "ganz etwas anderes"),
    ):
        files |= {f"{name}.png": first, f"{name}.mask.png": second, f"{name}.de.txt": german, f"{name}.xml": name}
        files[f"{name}.json"] = json.dumps({"split": "train" if name == "a" else "test"})
    given = {"source__parts": PARTS, "source__members": MEMBERS, "source__columns": {"id": None}}
    root = projects.build(projects.create(tmp_path / "project", files, **given))
    assert projects.kept(root) == {"b.png", "c.png"}  # test before train, and c has another German text
    names = sorted(p.name for p in (root / "clean").iterdir())
    assert names == sorted(
        f"{name}{suffix}" for name in "bc" for suffix in (".png", ".mask.png", ".de.txt", ".xml", ".json")
    )
    assert check(root) == []
    again = projects.build(projects.create(tmp_path / "again", projects.tree(root / "clean"), **given))
    assert len(projects.kept(again)) == 2
    (root / "clean/c.de.txt").unlink()
    (root / "clean/c.de.txt").write_text("etwas")
    assert [(f.subject, f.message) for f in check(root)] == [("c.png", "not what was judged: german")]
    (root / "clean/c.mask.png").unlink()
    assert [(f.subject, f.message) for f in check(root)] == [("c.png", "not what was judged: german, mask")]


def all_of_parts(root: Path, source: Source) -> list[dict[str, Any]]:
    """Return every record of a source with parts of its own."""
    from dedupver.records import plan, read  # noqa: PLC0415

    return [row for task in plan(root, source) for batch in read(root, task, source) for row in batch.to_pylist()]
