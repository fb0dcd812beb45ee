"""`dedupver check --history`: a chain that holds, and each way in which it may not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dedupver import lineage, versions
from dedupver.repository import assign, dvc, git

if TYPE_CHECKING:
    from collections.abc import Callable

FAST = {"fingerprint.text.encoder": None, "fingerprint.image.encoder": None, "engine.workers": 1}
TEXTS = {
    "v1": {"a.txt": "A sundial shows the time of day by the place of a shadow on a plate"},
    "v2": {"b.txt": "A barometer tells of the weight of air, and so of what the weather will be"},
    "v3": {"c.txt": "A sundial shows the time of the day by the place of a shadow on a plate"},
}


@pytest.fixture(scope="module")
def _three(
    _empty_repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
    fill_source: Callable[[Path, dict[str, str]], None],
    release_version: Callable[[Path, str], None],
) -> Path:
    root = Path(shutil.copytree(_empty_repository, tmp_path_factory.mktemp("three") / "project"))
    versions.init(root)
    assign(root / "params.yaml", FAST)
    for name, files in TEXTS.items():
        if name != "v1":
            versions.next_version(root, name, f"2026-01-0{name[1]}T00:00:00Z")
        fill_source(root, files)
        release_version(root, name)
    return root


@pytest.fixture
def three(_three: Path, tmp_path: Path) -> Path:
    """Give a copy of a project with three released versions."""
    return Path(shutil.copytree(_three, tmp_path / "project", symlinks=True))


def _found(root: Path) -> set[tuple[str, str]]:
    return {(each.check, each.subject) for each in lineage.verify(root)[1]}


def _amend(root: Path, tag: str) -> None:
    git(root, "commit", "--quiet", "--all", "--amend", "--no-edit")
    git(root, "tag", "--force", tag)


def test_a_history_holds_and_its_links_name_each_other(three: Path) -> None:
    """Each version states the digest of the one before it, and what its commit has."""
    links, found = lineage.verify(three)
    assert found == []
    assert [(link.version, link.parent) for link in links] == [("v1", None), ("v2", "v1"), ("v3", "v2")]
    assert [link.commit for link in links] == git(three, "rev-parse", "v1", "v2", "v3").split()
    for link in links:
        tracked = git(three, "show", f"{link.version}:data/raw.dvc")
        assert link.raw is not None
        assert link.raw in tracked
    assert len({link.manifest for link in links}) == len({link.params for link in links}) == 3
    header = json.loads((three / "manifest/manifest.json").read_text())
    assert header["parent"]["manifest"] == links[1].manifest


def test_params_that_were_edited_after_the_build_are_told(three: Path) -> None:
    """The lock file and the manifest both know what they were made with."""
    assign(three / "params.yaml", {"dedup.thresholds.text": 0.7})
    _amend(three, "v3")
    assert _found(three) == {("lock", "v3"), ("params", "v3")}


def test_a_source_that_was_swapped_after_the_build_is_told(three: Path) -> None:
    """The commit's raw data are not those that were read."""
    (three / "data/raw/d.txt").write_text("A text that no version has read, of a dozen words at the least")
    dvc(three, "add", "--quiet", "data/raw")
    _amend(three, "v3")
    assert _found(three) == {("lock", "v3")}


def test_a_version_that_was_built_again_breaks_what_stands_on_it(three: Path) -> None:
    """v2 rebuilt under another threshold is not the v2 that v3 was compared with."""
    last = git(three, "rev-parse", "HEAD").strip()
    git(three, "checkout", "--quiet", "v2")
    dvc(three, "checkout", "--quiet")
    assign(three / "params.yaml", {"dedup.thresholds.text": 0.75})
    dvc(three, "repro", "--quiet")
    _amend(three, "v2")
    tree = git(three, "rev-parse", f"{last}^{{tree}}").strip()
    again = git(three, "commit-tree", tree, "-p", "HEAD", "-m", "v3").strip()
    git(three, "checkout", "--quiet", "-B", "main", again)
    git(three, "tag", "--force", "v3")
    assert ("parent", "v3") in _found(three)
    assert {subject for _, subject in _found(three)} == {"v3"}
    assert "an erasure" not in lineage.verify(three)[1][0].message
    (three / "erasures").mkdir()
    (three / "erasures/2026-01-04-1.json").write_text("{}")
    git(three, "add", "erasures")
    _amend(three, "v3")
    assert "which an erasure without --history left" in lineage.verify(three)[1][0].message


def test_data_in_no_cache_is_told_with_the_command_that_fetches_it(three: Path) -> None:
    """What can't be read is a finding, and the rest is checked."""
    shutil.rmtree(three / ".dvc/cache")
    links, found = lineage.verify(three)
    assert {each.check for each in found} == {"unreachable"}
    assert {each.fix for each in found} == {"dvc fetch --all-tags"}
    assert [link.manifest for link in links] == [None] * 3
    assert all(link.raw for link in links)


def test_a_flipped_bit_in_the_cache_is_found(three: Path) -> None:
    """DVC does not look; the manifest's listing does."""
    name = "v1.kept.parquet"
    digest = next(
        each["md5"]
        for directory in (three / ".dvc/cache/files/md5").rglob("*.dir")
        for each in json.loads(directory.read_text())
        if each["relpath"] == name
    )
    path = three / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))
    assert ("digest", "v1") in _found(three)
