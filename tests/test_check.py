"""`dedupver check`: a sound version has no findings, and each way to break one has its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml

from dedupver import pipeline, store
from dedupver.check import check
from dedupver.manifest import job_of
from dedupver.schema import DECISION, REVIEW

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver.invariants import Finding

LONG = (
    "the quick brown fox jumps over the lazy dog and then it runs through the field until the night falls on the hill"
)
PARAMS: dict[str, Any] = {
    "fingerprint": {"text": {"encoder": None}, "image": {"encoder": None}},
    "engine": {"workers": 1},
}
FIRST: dict[str, str | bytes] = {
    "a.txt": LONG + " again",
    "b.txt": LONG,  # near a.txt, and shorter
    "c.txt": "Something   else entirely, told in words that no other text here has got at all.",
    "d.txt": "something else entirely, told in words that no other text here has got at all.",  # c.txt, normalised
    "bad.txt": b"\xff\xfe broken \xff",
    "bom.txt": b"\xef\xbb\xbfA text that begins with a mark of byte order, and goes on for some words.",
    "rows.jsonl": '{"id": "r1", "text": "a row of a table whose words are all its own, and quite a few"}\n'
    f'{{"id": "r2", "text": "{LONG}"}}\n',
}


def release(root: Path, name: str, files: dict[str, str | bytes], **source: object) -> None:
    """Build a version from files that replace the source."""
    shutil.rmtree(root / "data", ignore_errors=True)
    for path, data in files.items():
        (root / "data/raw" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "data/raw" / path).write_bytes(data if isinstance(data, bytes) else data.encode())
    (root / "params.yaml").write_text(
        yaml.safe_dump({**PARAMS, "version": {"name": name}, "source": {"columns": {"id": "id"}, **source}}),
        encoding="utf-8",
    )
    for stage in pipeline.STAGES:
        pipeline.run(stage, root)


def move_base(root: Path, version: str) -> None:
    """Make what was built the base of the next version."""
    for name in ("index", "manifest"):
        shutil.rmtree(root / "base" / name, ignore_errors=True)
        shutil.copytree(root / name, root / "base" / name)
    store.write_json(root / "base/base.json", {"format": 1, "version": version})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with two versions, the second one present."""
    root = tmp_path_factory.mktemp("built")
    store.write_json(root / "base/base.json", {"format": 1, "version": None})
    release(root, "v1", FIRST)
    assert check(root) == []
    move_base(root, "v1")
    assert check(root) == []  # `next` alone breaks nothing
    release(
        root,
        "v2",
        {**FIRST, "e.txt": LONG + " twice", "f.txt": "A newcomer with words that were never written before."},
    )
    return root


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may break."""
    return shutil.copytree(built, tmp_path / "project")


def damage(project: Path, change: Callable[[dict[str, Any]], object]) -> list[Finding]:
    """Change decisions in all versions' files, seal them again as if nothing had happened, and check."""
    for path in (project / "manifest").glob("v*.parquet"):
        rows = store.read_table(path, DECISION).to_pylist()
        for row in rows:
            change(row)
        store.write_table(path, pa.Table.from_pylist(rows, schema=DECISION), DECISION)
    (project / "manifest/files.json").unlink()
    store.seal(project / "manifest")
    return check(project)


def said(findings: list[Finding]) -> set[tuple[str, str]]:
    """Return what was found of what."""
    return {(finding.check, finding.subject) for finding in findings}


def test_a_sound_version_has_no_findings(project: Path) -> None:
    """Two versions with near and exact duplicates, a table and a quarantined file."""
    assert check(project) == []


def test_the_fixture_has_what_the_tests_break(project: Path) -> None:
    """Near and exact duplicates, so that nothing here passes for want of them."""
    seen: set[str] = set()
    damage(project, lambda row: seen.add(row["reason"]))
    assert {"near_duplicate_of", "exact_duplicate_of", "kept", "bad_utf8"} <= seen


def test_what_an_earlier_version_wrote_is_never_changed(project: Path) -> None:
    """Each of its files is compared with the base's, and the audit trail with the tables it is made of."""
    for name in ("v1.removed.parquet", "v1.audit.jsonl", "v2.audit.jsonl"):
        copy = Path(shutil.copytree(project, project.with_name(f"{name}-project")))
        path = copy / "manifest" / name
        rows = path.read_bytes()
        path.unlink()  # it is a link
        if path.suffix == ".jsonl":
            path.write_bytes(rows.partition(b"\n")[2])
        else:
            store.write_table(path, DECISION.empty_table(), DECISION)
        (copy / "manifest/files.json").unlink()
        store.seal(copy / "manifest")
        found = {(f.check, f.subject) for f in check(copy)}
        assert (("append_only", f"manifest/{name}") in found) == name.startswith("v1")
        assert (("audit", f"manifest/{name}") in found) == name.endswith("jsonl")
        assert ("audit", "manifest/v1.audit.jsonl") in found or name.startswith("v2")


def test_the_job_is_the_digest_of_what_the_run_was_given(project: Path) -> None:
    """Each line of a version's trail has its job; other inputs would have another."""
    header = store.read_json(project / "manifest/manifest.json")
    assert list(header["jobs"]) == header["versions"] == ["v1", "v2"]
    for version, job in header["jobs"].items():
        lines = (project / f"manifest/{version}.audit.jsonl").read_text().splitlines()
        assert lines
        assert {json.loads(line)["job"] for line in lines} == {job}
    assert job_of(header) == header["jobs"]["v2"] != header["jobs"]["v1"]
    for name in ("version", "digests", "params", "parent"):
        assert job_of({**header, name: "another"}) != header["jobs"]["v2"]
    assert job_of({**header, "counts": {}, "jobs": {}}) == header["jobs"]["v2"]
    (project / "manifest/manifest.json").unlink()
    store.write_json(project / "manifest/manifest.json", {**header, "params": {**header["params"], "manifest": {}}})
    (project / "manifest/files.json").unlink()
    store.seal(project / "manifest")
    assert ("audit", "manifest.json") in said(check(project))


@pytest.mark.parametrize(
    "name", ["manifest/v1.kept.parquet", "index/index.json", "base/manifest/manifest.json", "base/index/index.json"]
)
def test_a_flipped_bit_is_found(project: Path, name: str) -> None:
    """The file is named."""
    data = bytearray((project / name).read_bytes())
    data[len(data) // 2] ^= 1
    (project / name).write_bytes(data)
    found = check(project)
    assert found[0].check == "digest"
    assert name in found[0].message


def test_another_index_is_found(project: Path) -> None:
    """An index that is sound but not the one the manifest was written for."""
    shutil.rmtree(project / "index")
    shutil.copytree(project / "base/index", project / "index")
    assert ("lineage", "index/files.json") in said(check(project))


def test_a_base_that_is_not_the_parent_is_found(project: Path) -> None:
    """The base says another version than the manifest's parent."""
    store.write_json(project / "base/base.json", {"format": 1, "version": "v0"})
    assert ("lineage", "base") in said(check(project))


def near(row: dict[str, Any]) -> bool:
    """Return whether a row is that of the near duplicate b.txt."""
    return bool(row["id"] == "b.txt")


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], tuple[str, str]]] = {
    "a representative that is not kept": (
        lambda r: near(r) and r.update(representative="d.txt"),
        ("representative", "b.txt"),
    ),
    "no representative": (lambda r: near(r) and r.update(representative=None), ("representative", "b.txt")),
    "a score below the threshold": (lambda r: near(r) and r.update(score=0.5), ("threshold", "b.txt")),
    "a made-up score": (lambda r: near(r) and r.update(evidence="text.minhash=0.99"), ("evidence", "b.txt")),
    "equal contents that are not": (lambda r: near(r) and r.update(evidence="text=exact"), ("evidence", "b.txt")),
    "no evidence": (lambda r: near(r) and r.update(evidence=None), ("evidence", "b.txt")),
    "a row in another action's file": (lambda r: near(r) and r.update(action="keep"), ("one_decision", "b.txt")),
    "a record under another name": (lambda r: near(r) and r.update(id="made-up"), ("inputs", "made-up")),
    "a record that is missing": (lambda r: near(r) and r.update(id="made-up"), ("inputs", "b.txt")),
    "a newcomer that evicts": (
        lambda r: r["id"] == "a.txt" and r.update(action="drop", representative="f.txt"),
        ("evicted", "a.txt"),
    ),
    "a record without parts": (lambda r: r["id"] == "f.txt" and r.update(parts=[]), ("parts", "f.txt")),
    "other content than was read": (
        lambda r: r["id"] == "f.txt" and r["parts"][0].update(content=hashlib.sha256(b"x").digest()),
        ("inputs", "f.txt"),
    ),
    "counts that do not add up": (lambda r: r["id"] == "f.txt" and r.update(action="drop"), ("counts", "kept")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_decision_is_found(project: Path, case: str) -> None:
    """Each invariant has a check of its own, which names the record."""
    change, expected = BROKEN[case]
    assert expected in said(damage(project, change))


def test_two_kept_records_with_one_content_are_found(project: Path) -> None:
    """A newcomer with the content of a kept record must not be kept, unless a review says so."""

    def twin(row: dict[str, Any]) -> None:
        if row["id"] == "f.txt":
            row["parts"][0]["content"] = content

    kept = store.read_table(project / "manifest/v1.kept.parquet", DECISION).to_pylist()
    content = next(row["parts"][0]["content"] for row in kept if row["id"] == "c.txt")
    assert ("twins", "f.txt") in said(damage(project, twin))
    review = {"left": ["f.txt"], "right": ["c.txt"], "label": ["different"]}
    store.write_table(project / "manifest/reviews.parquet", pa.table(review, schema=REVIEW), REVIEW)
    (project / "manifest/files.json").unlink()
    store.seal(project / "manifest")
    assert "twins" not in {name for name, _ in said(check(project))}


def test_the_clean_dataset_is_compared(project: Path) -> None:
    """A missing file, one too many, and a table with another number of rows are named."""
    (project / "clean/c.txt").unlink()
    (project / "clean/b.txt").write_text(LONG, encoding="utf-8")
    (project / "clean/rows.jsonl").write_text("", encoding="utf-8")
    assert said(check(project)) == {("clean", "b.txt"), ("clean", "c.txt"), ("clean", "rows.jsonl")}


def test_a_clean_file_with_other_bytes_is_found(project: Path) -> None:
    """DVC does not look into a file again; the check does."""
    (project / "clean/c.txt").unlink()
    (project / "clean/c.txt").write_text("altered", encoding="utf-8")
    assert said(check(project)) == {("clean", "c.txt")}


def test_a_clean_folder_that_is_missing_is_found(project: Path) -> None:
    """All that is kept is missing."""
    shutil.rmtree(project / "clean")
    assert said(check(project)) == {("clean", "clean")}


def test_batches_are_compared_each_in_its_folder(tmp_path: Path) -> None:
    """In mode append the clean dataset has a folder for each version's batch."""
    store.write_json(tmp_path / "base/base.json", {"format": 1, "version": None})
    release(tmp_path, "v1", FIRST, mode="append")
    assert check(tmp_path) == []
    move_base(tmp_path, "v1")
    shutil.copytree(tmp_path / "data/raw", tmp_path / "base/raw/v1")
    release(tmp_path, "v2", {"new/e.txt": "A newcomer with words that were never written before."}, mode="append")
    assert check(tmp_path) == []
    (tmp_path / "clean/v1/c.txt").unlink()
    (tmp_path / "clean/v0").mkdir()
    (tmp_path / "clean/v0/x.txt").write_text("x", encoding="utf-8")
    assert said(check(tmp_path)) == {("clean", "v1/c.txt"), ("clean", "v0/x.txt")}


def test_rows_that_moved_are_found_where_they_are_now(tmp_path: Path) -> None:
    """A record that a later source holds in another file is looked for there."""
    store.write_json(tmp_path / "base/base.json", {"format": 1, "version": None})
    line = '{"id": "r1", "text": "a row of a table whose words are all its own, and quite a few"}\n'
    release(tmp_path, "v1", {"january.jsonl": line})
    move_base(tmp_path, "v1")
    release(tmp_path, "v2", {"february.jsonl": line})
    assert check(tmp_path) == []
