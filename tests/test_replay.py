"""All of history again, on a branch, in real git and DVC repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dedupver import repository as tools
from dedupver import store, versions
from dedupver.replay import history, replay
from dedupver.repository import dvc, git
from dedupver.schema import ParamsError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Fill = Callable[[Path, dict[str, str]], None]
    Release = Callable[[Path, str], None]

TIME = "2024-05-31T12:00:00Z"


@pytest.fixture
def two_versions(project: Path, fill_source: Fill, release_version: Release) -> Path:
    """Give a project whose v2 adds a copy and a new text."""
    versions.next_version(project, "v2", TIME)
    fill_source(project, {"d": "same", "e": "third"})
    release_version(project, "v2")
    return project


def test_history_is_a_commit_for_each_version(two_versions: Path) -> None:
    """Tags release; without one the last commit of that name does; what is merely open does not count."""
    tags = [git(two_versions, "rev-parse", name).strip() for name in ("v1", "v2")]
    assert [(v.name, v.commit) for v in history(two_versions)] == [("v1", tags[0]), ("v2", tags[1])]
    git(two_versions, "tag", "--delete", "v1")
    versions.next_version(two_versions, "v3", TIME)
    git(two_versions, "commit", "--quiet", "--all", "-m", "open v3")
    assert [v.name for v in history(two_versions)] == ["v1", "v2"]
    assert history(two_versions)[0].commit == tags[0]


def test_the_last_commit_of_a_name_releases_it(project: Path) -> None:
    """Commits after the tag change nothing; without the tag they count."""
    git(project, "commit", "--quiet", "--allow-empty", "-m", "readme")
    assert history(project)[0].commit == git(project, "rev-parse", "v1").strip()
    git(project, "tag", "--delete", "v1")
    assert history(project)[0].commit == git(project, "rev-parse", "HEAD").strip()


def test_the_same_params_run_nothing(two_versions: Path) -> None:
    """A replay at the same params executes no stage and gives the same trees."""
    results = replay(two_versions, "again")
    assert [(r["version"], r["ran"], r["kept"], r["dropped"]) for r in results] == [("v1", [], 2, 1), ("v2", [], 3, 2)]
    for result in results:
        assert git(two_versions, "diff", result["version"], result["commit"]) == ""
    assert git(two_versions, "log", "--format=%s", "again").split() == ["v2", "v1"]


def test_the_workspace_stays_as_it_is(two_versions: Path) -> None:
    """A replay leaves HEAD, files in work, and no worktree behind."""
    (two_versions / "reviews.csv").write_text("left,right,label\na,b,same\n")
    before = git(two_versions, "status", "--porcelain", "--branch")
    replay(two_versions, "again", {"dedup.thresholds.text": "0.95"})
    assert git(two_versions, "status", "--porcelain", "--branch") == before
    assert len(git(two_versions, "worktree", "list").splitlines()) == 1
    assert not list((two_versions / ".dvc" / "tmp").glob("replay-*"))


def test_other_params_judge_all_of_history(two_versions: Path) -> None:
    """At a threshold that drops nothing, dedup and manifest run in v1; v2 follows v1's new base."""
    first, second = replay(two_versions, "strict", {"dedup.thresholds.text": "0.95"})
    assert (first["ran"], first["kept"], first["dropped"]) == (["dedup", "manifest"], 3, 0)
    assert (second["kept"], second["dropped"]) == (5, 0)
    git(two_versions, "checkout", "--quiet", "strict")
    dvc(two_versions, "checkout", "--quiet")
    assert dvc(two_versions, "status", "--json").strip() == "{}"
    assert store.read_json(two_versions / "base" / "manifest" / "v1.kept.json") == ["raw/a", "raw/b", "raw/c"]
    again = replay(two_versions, "loose", {"dedup.thresholds.text": "0.8"})
    assert [r["kept"] for r in again] == [2, 3]


def test_append_mode_replays_batch_by_batch(project: Path, fill_source: Fill, release_version: Release) -> None:
    """Each base holds the batches before it, as in the first run: nothing runs."""
    tools.assign(project / "params.yaml", {"source.mode": "append"})
    git(project, "tag", "--delete", "v1")
    release_version(project, "v1")
    versions.next_version(project, "v2", TIME)
    fill_source(project, {"d": "same", "e": "third"})
    release_version(project, "v2")
    results = replay(project, "again")
    assert [(r["ran"], r["kept"]) for r in results] == [([], 2), ([], 3)]


def test_a_failing_stage_names_its_version_and_leaves_no_branch(
    project: Path, fill_source: Fill, release_version: Release
) -> None:
    """The error says which version and stage, and what the stage said."""
    versions.next_version(project, "v2", TIME)
    fill_source(project, {"d": "harmless"})
    release_version(project, "v2")
    stage = project / "stages" / "dedup.py"
    stage.write_text(stage.read_text().replace('"poison"', '"harmless"'))
    git(project, "commit", "--quiet", "--all", "-m", "another gate")
    with pytest.raises(StateError, match=r"(?s)v2 can't be replayed.*dedup.*a record is poisoned"):
        replay(project, "again")
    assert git(project, "branch", "--list", "again") == ""
    assert not list((project / ".dvc" / "tmp").glob("replay-*"))


def test_replay_refuses_what_it_cannot_do(project: Path, repository: Path) -> None:
    """A branch in use, a version's own params, a wrong key, a history without versions: each is named."""
    with pytest.raises(StateError, match="branch main exists"):
        replay(project, "main")
    with pytest.raises(StateError, match=r"version\.name can't be set"):
        replay(project, "again", {"version.name": "v9"})
    with pytest.raises(ParamsError, match="treshold"):
        replay(project, "again", {"dedup.treshold": "0.9"})
    git(repository, "commit", "--quiet", "-m", "empty")
    with pytest.raises(StateError, match="no version yet"):
        replay(repository, "again")
