"""Real git and DVC repositories in temporary folders, apart from the configuration and caches of who runs the tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from dedupver import store
from dedupver.repository import dvc, git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

settings.register_profile("busy machine", deadline=None)  # what is compiled once, or a neighbour, is no failure
settings.register_profile("repeatable", deadline=None, derandomize=True)  # the same examples in each run
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "busy machine"))

HERE = Path(__file__).parent
STAGES = ("fingerprint", "match", "dedup", "manifest")
QUIET = "[core]\n    analytics = false\n    check_update = false\n"

PIPELINE = {
    "fingerprint": {"deps": ["base", "data/raw"], "outs": ["build/fingerprint"], "params": ["source"]},
    "match": {"deps": ["base", "build/fingerprint"], "outs": ["index", "build/match"], "params": ["version.name"]},
    "dedup": {"deps": ["build/match", "reviews.csv"], "outs": ["build/dedup"], "params": ["dedup"]},
    "manifest": {"deps": ["base", "build/dedup", "index"], "outs": ["manifest", "clean"], "params": ["version"]},
}

PARAMS = """\
# the first line
version:        # written by `dedupver next`
  name: v1      # the name
  time: "1970-01-01T00:00:00Z"
  base: previous
source:
  mode: snapshot
  columns:
    id: null
dedup:
  rules:
    - every: similar
  thresholds:
    text: 0.8   # Jaccard
"""


@pytest.fixture(scope="session", autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give git and DVC a configuration, an identity and caches of the tests' own."""
    home = tmp_path_factory.mktemp("home")
    (home / "dvc").mkdir()
    (home / "dvc" / "config").write_text(QUIET)
    (home / "gitconfig").write_text("[user]\n  name = Tester\n  email = tester@example.org\n[gc]\n  auto = 0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_GLOBAL_CONFIG_DIR", str(home / "dvc"))
        patch.setenv("DVC_SYSTEM_CONFIG_DIR", str(home / "none"))
        patch.setenv("DVC_SITE_CACHE_DIR", str(home / "site"))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("PYTHONPATH", str(HERE.parent))  # for stage scripts
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        yield


@pytest.fixture(scope="session")
def _empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("empty")
    git(root, "init", "--quiet", "--initial-branch", "main")
    dvc(root, "init", "--quiet")
    return root


@pytest.fixture(scope="session")
def _released_project(_empty_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("released") / "project"
    shutil.copytree(_empty_repository, root)
    stages: dict[str, dict[str, Any]] = {
        stage: {"cmd": f"python stages/{stage}.py", **PIPELINE[stage]} for stage in STAGES
    }
    for stage in STAGES:
        stages[stage]["deps"] = [*PIPELINE[stage]["deps"], f"stages/{stage}.py"]
    stages["dedup"]["metrics"] = [{"metrics/dedup.json": {"cache": False}}]
    store.write_json(root / "dvc.yaml", {"stages": stages})  # JSON is YAML
    (root / "params.yaml").write_text(PARAMS)
    (root / "reviews.csv").write_text("left,right,label\n")
    (root / ".gitignore").write_text("build/timings\n.*.building\n__pycache__\n")
    for stage in STAGES:
        store.write_bytes(root / "stages" / f"{stage}.py", (HERE / "stand_in.py").read_bytes())
    store.write_json(root / "base" / "base.json", {"format": 1, "version": None})
    fill(root, {"a": "same", "b": "same", "c": "other"})
    dvc(root, "add", "--quiet", "base")
    release(root, "v1")
    return root


@pytest.fixture
def repository(_empty_repository: Path, tmp_path: Path) -> Path:
    """Give an empty git and DVC repository."""
    return Path(shutil.copytree(_empty_repository, tmp_path / "repository"))


@pytest.fixture
def project(_released_project: Path, tmp_path: Path) -> Path:
    """Give a project with stand-ins for the stages, whose v1 is released: a and b say `same`, c says `other`."""
    return Path(shutil.copytree(_released_project, tmp_path / "project", symlinks=True))


def fill(root: Path, files: dict[str, str]) -> None:
    """Write records into the source and track it."""
    for name, text in files.items():
        store.write_bytes(root / "data" / "raw" / name, text.encode())
    dvc(root, "add", "--quiet", "data/raw")


def release(root: Path, name: str) -> None:
    """Build what is here, commit and tag it."""
    dvc(root, "repro", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", name)
    git(root, "tag", name)


@pytest.fixture(scope="session")
def fill_source() -> Callable[[Path, dict[str, str]], None]:
    """Give `fill`."""
    return fill


@pytest.fixture(scope="session")
def release_version() -> Callable[[Path, str], None]:
    """Give `release`."""
    return release
