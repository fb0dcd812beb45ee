"""`dedupver compact` between `next` and `repro`, in real git and DVC repositories with the real pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dedupver import check, compact, pipeline, replay, store, versions
from dedupver.index import compaction
from dedupver.index.segment import Index
from dedupver.repository import assign, dvc, git
from dedupver.schema import IntegrityError, ParamsError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = "A sundial shows the time of day by the place of a shadow on a plate that is marked with the hours of daylight"
FAST = {"fingerprint.text.encoder": None, "fingerprint.image.encoder": None, "engine.workers": 1, "match.bucket_cap": 2}


@pytest.fixture(scope="session")
def _opened(
    _empty_repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
    fill_source: Callable[[Path, dict[str, str]], None],
    release_version: Callable[[Path, str], None],
) -> Path:
    """v1 to v3, released, and v4 open."""
    root = Path(shutil.copytree(_empty_repository, tmp_path_factory.mktemp("opened") / "project"))
    versions.init(root)
    assign(root / "params.yaml", FAST)
    for number in (1, 2, 3):
        if number > 1:
            versions.next_version(root, f"v{number}", f"2026-01-0{number}T00:00:00Z")
        fill_source(root, {f"{number}.txt": f"{WORDS} {number}", f"own-{number}.txt": f"{number} {WORDS[::-1]}"})
        release_version(root, f"v{number}")
    versions.next_version(root, "v4", "2026-01-04T00:00:00Z")
    fill_source(root, {"4.txt": f"{WORDS} 4"})
    return root


@pytest.fixture
def opened(_opened: Path, tmp_path: Path) -> Path:
    """Give a copy of the project in which v4 is open."""
    return Path(shutil.copytree(_opened, tmp_path / "project", symlinks=True))


def names(place: Path) -> list[str]:
    """Return an index's segments."""
    return [segment.name for segment in Index.open(place).segments]


def test_a_version_on_a_merged_base(opened: Path) -> None:
    """It is built, checked, released and followed like any other; what the base was before is still v3's index."""
    before = {path: path.read_bytes() for path in (opened / "index").rglob("*") if path.is_file()}
    assert compact.compact(opened) == ["merged 2 versions: v1..v2", "dvc repro"]
    assert {path: path.read_bytes() for path in before} == before
    assert names(opened / "base/index") == ["v1..v2", "v3"]
    assert dvc(opened, "status", "--json", "base.dvc").strip() in {"", "{}"}
    assert "base: compacted " in (opened / "params.yaml").read_text()
    dvc(opened, "repro", "--quiet")
    assert check.check(opened) == []
    assert names(opened / "index") == ["v1..v2", "v3", "v4"]
    git(opened, "add", "--all")
    git(opened, "commit", "--quiet", "-m", "v4")
    git(opened, "tag", "v4")
    versions.next_version(opened, "v5", "2026-01-05T00:00:00Z")
    assert "base: previous " in (opened / "params.yaml").read_text()
    assert names(opened / "base/index") == ["v1..v2", "v3", "v4"]


def test_decisions_are_those_on_the_base_as_it_was(opened: Path, tmp_path: Path) -> None:
    """All that v4 decides and publishes is the same to the byte."""
    other = Path(shutil.copytree(opened, tmp_path / "other", symlinks=True))
    compact.compact(other)
    for root in (opened, other):
        for stage in pipeline.STAGES:
            pipeline.run(stage, root)
    for name in ("build/dedup", "clean", "index/segments/v4"):
        left, right = (
            {p.relative_to(root): p.read_bytes() for p in (root / name).rglob("*") if p.is_file()}
            for root in (opened, other)
        )
        assert left == right


def test_history_replays_without_a_run(opened: Path) -> None:
    """A replay merges the base where the first run did."""
    compact.compact(opened)
    dvc(opened, "repro", "--quiet")
    git(opened, "add", "--all")
    git(opened, "commit", "--quiet", "-m", "v4")
    results = replay.replay(opened, "again")
    assert [(each["version"], each["ran"]) for each in results] == [(f"v{n}", []) for n in (1, 2, 3, 4)]
    assert git(opened, "diff", "HEAD", results[-1]["commit"]) == ""
    strict = replay.replay(opened, "strict", {"dedup.thresholds.text": "1.0"})
    first, *later = [each["ran"] for each in strict]
    decided = [*pipeline.STAGES[pipeline.STAGES.index("dedup") :]]
    assert (first, later) == (decided, [["validate", *decided]] * 3)  # which depends on the base's log


def test_a_second_call_does_nothing(opened: Path) -> None:
    """There is nothing left to merge, and params say so still."""
    compact.compact(opened)
    before = {path: path.read_bytes() for path in opened.rglob("*") if path.is_file() and ".dvc" not in path.parts}
    assert compact.compact(opened) == ["nothing to merge: the base has 2 segments"]
    after = {path: path.read_bytes() for path in opened.rglob("*") if path.is_file() and ".dvc" not in path.parts}
    assert after == before


def test_a_failure_leaves_the_base_as_it_was(opened: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, in the middle of a merge."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compaction, "merge", full)
    before = (opened / "params.yaml").read_bytes()
    with pytest.raises(OSError, match="No space"):
        compact.compact(opened)
    assert (opened / "params.yaml").read_bytes() == before
    assert names(opened / "base/index") == ["v1", "v2", "v3"]
    assert not list((opened / "base").glob(".*"))
    assert dvc(opened, "status", "--json", "base.dvc").strip() in {"", "{}"}


@pytest.mark.parametrize("moment", ["building", "before the new one is in place", "before DVC knows"])
def test_a_kill_leaves_what_a_checkout_and_a_second_call_mend(opened: Path, moment: str) -> None:
    """Wherever it comes, the base is the old one, none, or the new one, and never a mixture."""
    assign(opened / "params.yaml", {"version.base": "compacted"})
    if moment == "building":
        (opened / "base" / ".index.building").mkdir()
        (opened / "base" / ".index.building" / "half").touch()
    elif moment == "before the new one is in place":
        shutil.rmtree(opened / "base" / "index")
    else:
        compact.merge_base(opened / "base")
    if moment != "building":
        with pytest.raises(StateError, match="dvc checkout base"):
            compact.compact(opened)
        dvc(opened, "checkout", "base", "--force")
    assert compact.compact(opened) == ["merged 2 versions: v1..v2", "dvc repro"]
    assert names(opened / "base/index") == ["v1..v2", "v3"]
    assert not list((opened / "base").glob(".*"))


def test_what_can_not_be_merged_is_refused(opened: Path, repository: Path) -> None:
    """No repository of ours, no base, a base of other settings, another format, a damaged file, a version built on it."""
    versions.init(repository)
    with pytest.raises(StateError, match=r"no base to merge [(]this is the first version"):
        compact.compact(repository)
    before = (opened / "params.yaml").read_bytes()
    assign(opened / "params.yaml", {"version.base": "none"})
    with pytest.raises(StateError, match=r"no base to merge [(]version\.base is none"):
        compact.compact(opened)
    (opened / "params.yaml").write_bytes(before)
    assign(opened / "params.yaml", {"match.lsh.bands": 16})
    with pytest.raises(ParamsError, match=r"match\.lsh\.bands: the base has 32, params have 16"):
        compact.compact(opened)
    (opened / "params.yaml").write_bytes(before)
    listing = opened / "base/index/files.json"
    stated = json.loads(listing.read_text())
    listing.write_bytes(store.canonical_json({**stated, "format": 99}))
    with pytest.raises(StateError, match=r"base/ is not what base\.dvc says"):
        compact.compact(opened)
    dvc(opened, "add", "base")
    with pytest.raises(IntegrityError, match="has format 99, this release reads format 1"):
        compact.compact(opened)
    listing.write_bytes(store.canonical_json(stated))
    damaged = opened / "base/index/segments/v1/text.sets.values.npy"
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.unlink()  # it shares its bytes with the index and the cache
    damaged.write_bytes(data)
    dvc(opened, "add", "base")
    with pytest.raises(IntegrityError, match=r"text\.sets\.values\.npy is damaged"):
        compact.compact(opened)
    assert (opened / "params.yaml").read_bytes() == before


def test_a_version_that_is_built_is_refused(opened: Path) -> None:
    """Its base is what it was built on."""
    dvc(opened, "repro", "--quiet")
    with pytest.raises(StateError, match="v4 is built on its base already"):
        compact.compact(opened)


def test_next_says_when_segments_are_many(opened: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From some number on."""
    dvc(opened, "repro", "--quiet")
    git(opened, "add", "--all")
    git(opened, "commit", "--quiet", "-m", "v4")
    monkeypatch.setattr(versions, "MANY", 4)
    assert versions.next_version(opened, "v5")[0] == "the base has 4 segments: `dedupver compact` merges them"
