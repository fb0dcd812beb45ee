"""Mode append: the source is the new batch alone, and a version is all batches so far."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import projects
import pytest

from dedupver import store
from dedupver.check import check
from dedupver.index.segment import Index
from dedupver.schema import ParamsError, StateError

if TYPE_CHECKING:
    from pathlib import Path

APPEND: dict[str, Any] = {"mode": "append", "columns": {"id": "id"}}
LONG = (
    "the quick brown fox jumps over the lazy dog and then it runs through the field until the night falls on the hill"
)
THIRD = "A third text of a dozen words or so, which no other one in here resembles at all."
NAMES = ("v1", "v2", "v3", "v4")
OTHER = "Something else entirely, told in words that no other text in here has got at all."


def batches(
    root: Path,
    *each: projects.Files | projects.Rows,
    names: tuple[str, ...] = NAMES,
    source: dict[str, Any] = APPEND,
    **given: Any,
) -> Path:
    """Build a version for each batch; `given` params hold for the last."""
    for number, (name, batch) in enumerate(zip(names, each, strict=False), start=1):
        lay = projects.reopen if number > 1 else projects.create
        lay(root, batch, name, source=source, **(given if number == len(each) else {}))
        (root / "data/raw").mkdir(parents=True, exist_ok=True)
        projects.build(root)
        if number < len(each):
            projects.advance(root)
    return root


def test_a_record_that_comes_again_is_what_it_was(tmp_path: Path) -> None:
    """With the same normalised content, its bytes and attributes stay those of the batch that brought it."""
    first: projects.Files = {"c.txt": OTHER, "a.jsonl": projects.jsonl([{"id": "r", "text": LONG, "split": "train"}])}
    again: projects.Files = {
        "c.txt": OTHER.upper(),
        "b.jsonl": projects.jsonl([{"id": "r", "text": LONG.upper(), "split": "test"}]),
    }
    root = batches(tmp_path, first, again)
    row = projects.decisions(root)["r"]
    assert (row["path"], row["split"], row["version"]) == ("a.jsonl", "train", "v1")
    assert projects.tree(root / "clean") == {f"clean/v1/{n}": str(t).encode() for n, t in first.items()}
    assert projects.metrics(root, "manifest")["changed"] == {"kept": 0, "removed": 0, "quarantined": 0, "gone": 0}
    assert check(root) == []


HISTORY: tuple[projects.Files, ...] = (
    {"a.txt": LONG, "b.txt": OTHER, "c.txt": THIRD, "bad.txt": b"\xff\xff"},
    {"b.txt": OTHER.upper(), "c.txt": THIRD + " It was edited.", "near.txt": LONG + " once more"},
    {"bad.txt": "what could not be read is mended, and has quite a few words of its own"},
)


def test_without_a_base_all_batches_are_read_again(tmp_path: Path) -> None:
    """Each record is of the batch that last changed it, and is judged beside all others with no one first."""
    root = batches(tmp_path / "append", *HISTORY, base="none", fingerprint__text__shingle=2)
    found = projects.decisions(root)
    assert {name: (row["version"], row["action"]) for name, row in found.items()} == {
        "a.txt": ("v1", "drop"),
        "b.txt": ("v1", "keep"),
        "bad.txt": ("v3", "keep"),
        "c.txt": ("v2", "keep"),
        "near.txt": ("v2", "keep"),
    }
    assert {row["decided"] for row in found.values()} == {"v3"}
    assert sorted(projects.tree(root / "clean")) == [
        "clean/v1/b.txt",
        "clean/v2/c.txt",
        "clean/v2/near.txt",
        "clean/v3/bad.txt",
    ]
    assert check(root) == []
    at_once: projects.Files = {**HISTORY[0], **HISTORY[1], "b.txt": OTHER, **HISTORY[2]}
    other = projects.build(projects.create(tmp_path / "snapshot", at_once, "v3", fingerprint__text__shingle=2))
    assert projects.kept(root) == projects.kept(other)


def test_without_a_base_the_log_begins_anew_and_goes_on(tmp_path: Path) -> None:
    """The manifest has no parent and one version; the one after it has it as its base, batches and all."""
    root = batches(tmp_path, *HISTORY, base="none", fingerprint__text__shingle=2)
    header = store.read_json(root / "manifest/manifest.json")
    assert (header["parent"], header["versions"]) == (None, ["v3"])
    projects.advance(root)
    newcomers: projects.Files = {"d.txt": OTHER + " Or not.", "e.txt": "five words of its own"}
    projects.build(projects.reopen(root, newcomers, "v4", source=APPEND, fingerprint__text__shingle=2))
    assert projects.metrics(root, "fingerprint")["records"] == 2
    assert projects.decisions(root)["d.txt"]["representative"] == "b.txt"
    assert projects.kept(root) == {"b.txt", "bad.txt", "c.txt", "near.txt", "e.txt"}
    assert sorted(p.name for p in (root / "clean").iterdir()) == ["v1", "v2", "v3", "v4"]
    assert [s.name for s in Index.open(root / "index").segments] == ["v3", "v4"]
    assert store.read_json(root / "manifest/manifest.json")["parent"]["version"] == "v3"
    assert check(root) == []


def test_batches_are_read_in_the_order_of_their_release(tmp_path: Path) -> None:
    """Whatever their names: the record is the second batch's, whose name sorts first."""
    root = batches(tmp_path, {"a.txt": LONG}, {"a.txt": OTHER}, {}, names=("z1", "a2", "m3"), base="none")
    assert projects.decisions(root)["a.txt"]["version"] == "a2"
    assert (root / "clean/a2/a.txt").read_text() == OTHER


def test_records_without_ids_are_named_batch_by_batch(tmp_path: Path) -> None:
    """As when they came: the same line in two batches is one record, twice in one batch it is two."""
    source = {"mode": "append", "columns": {"id": None}}
    lines = projects.jsonl([{"text": LONG}])
    each: list[projects.Files] = [{"a.jsonl": lines}, {"b.jsonl": lines + lines}]
    one_by_one = batches(tmp_path / "one", *each, source=source)
    at_once = batches(tmp_path / "all", *each, source=source, base="none")
    named = {name: (row["version"], row["path"]) for name, row in projects.decisions(at_once).items()}
    assert sorted(named.values()) == [("v1", "a.jsonl"), ("v2", "b.jsonl")]
    assert named == {n: (r["version"], r["path"]) for n, r in projects.decisions(one_by_one).items()}


def test_a_batch_that_is_not_there_is_not_passed_over(tmp_path: Path) -> None:
    """A base that was checked out in part is refused, with the command that mends it."""
    root = batches(tmp_path, *HISTORY, base="none")
    shutil.rmtree(root / "base/raw/v1")
    with pytest.raises(StateError, match="dvc checkout base"):
        projects.build(root, "fingerprint")


def test_a_batch_may_be_empty(tmp_path: Path) -> None:
    """DVC keeps no empty folder, so the base does not count on one."""
    root = batches(tmp_path, {"a.txt": LONG}, {}, {"b.txt": OTHER}, base="none")
    assert [batch["version"] for batch in store.read_json(root / "base/base.json")["batches"]] == ["v1"]
    assert projects.kept(root) == {"a.txt", "b.txt"}


def test_append_after_a_snapshot_is_refused(tmp_path: Path) -> None:
    """A snapshot's base holds no batches; without the base, all that is in the source is the first batch."""
    root = projects.build(projects.create(tmp_path, {"a.txt": LONG}))
    projects.advance(root)
    projects.reopen(root, {"a.txt": LONG, "b.txt": OTHER}, "v2", source=APPEND)
    with pytest.raises(ParamsError, match="v1 was a snapshot"):
        projects.build(root)
    projects.settings(root, version="v2", source=APPEND, base="none")
    assert projects.kept(projects.build(root)) == {"a.txt", "b.txt"}


@pytest.mark.parametrize("base", ["previous", "none"])
def test_references_of_an_earlier_batch_stay_references(tmp_path: Path, base: str) -> None:
    """Two versions later a newcomer still goes for them, and they are never written."""
    source = {**APPEND, "references": ["bench/*"]}
    first: projects.Files = {"bench/b.txt": LONG, "a.txt": OTHER}
    root = tmp_path
    projects.build(projects.create(root, first, "v1", source=source))
    for version, files in (("v2", {"c.txt": THIRD}), ("v3", {"longer.txt": LONG + " once more"})):
        projects.advance(root)
        projects.build(
            projects.reopen(root, files, version, source=source, base=base if version == "v3" else "previous")
        )
    found = projects.decisions(root)
    assert (found["bench/b.txt"]["reason"], found["bench/b.txt"]["version"]) == ("reference", "v1")
    assert (found["longer.txt"]["action"], found["longer.txt"]["representative"]) == ("drop", "bench/b.txt")
    assert sorted(projects.tree(root / "clean")) == ["clean/v1/a.txt", "clean/v2/c.txt"]
    assert projects.metrics(root, "dedup")["references"] == 1
    assert check(root) == []
