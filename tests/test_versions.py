"""init, next and what a crash leaves, in real git and DVC repositories."""

from __future__ import annotations

import importlib.resources
import json
import os
from typing import TYPE_CHECKING

import pytest
import yaml

from dedupver import params, store, versions
from dedupver import repository as tools
from dedupver.pipeline import STAGES
from dedupver.repository import dvc, git
from dedupver.schema import IntegrityError, ParamsError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Fill = Callable[[Path, dict[str, str]], None]
    Release = Callable[[Path, str], None]

TIME = "2024-05-31T12:00:00Z"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, git's and DVC's own aside."""
    files = (p for p in folder.rglob("*") if p.is_file() and not {".git", ".dvc"} & set(p.relative_to(folder).parts))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def append_mode(root: Path) -> None:
    """Switch the project to append mode and release that."""
    tools.assign(root / "params.yaml", {"source.mode": "append"})
    dvc(root, "repro", "--quiet")
    git(root, "commit", "--quiet", "--all", "-m", "append")


def test_init_makes_a_project_that_dvc_reads(repository: Path) -> None:
    """Init writes the pipeline, params and an empty base, and tracks the base."""
    lines = versions.init(repository)
    assert any("dvc repro" in line for line in lines)
    assert store.read_json(repository / "base" / "base.json") == {"format": 1, "version": None}
    assert "base.dvc" in contents(repository)
    assert (repository / "data").is_dir()
    assert params.load(repository / "params.yaml").version.name == "v1"
    assert dvc(repository, "stage", "list", "--name-only").split() == [*STAGES]
    assert contents(repository / "data" / "catalogues").keys() == {"README"}
    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    assert not [dep for stage in stages.values() for dep in stage["deps"] if dep.startswith("dedupver/")]


def test_init_ignores_what_is_no_output(repository: Path) -> None:
    """Init adds to the ignore files what it needs, once, and keeps what they say."""
    (repository / ".gitignore").write_text("mine\n__pycache__")
    versions.init(repository)
    lines = (repository / ".gitignore").read_text().splitlines()
    assert lines == ["mine", "__pycache__", "build/timings", ".*.building", "dvc_plots", "/base"]
    assert (repository / ".dvcignore").read_text().splitlines()[-4:] == list(versions.IGNORED)


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml", "reviews.csv", "stages/match.py", "base/mine"])
def test_init_overwrites_nothing(repository: Path, name: str) -> None:
    """A file in the way is named, and nothing at all is written."""
    store.write_bytes(repository / name, b"mine")
    before = contents(repository)
    with pytest.raises(StateError, match=name.split("/", maxsplit=1)[0]):
        versions.init(repository)
    assert contents(repository) == before


def test_init_names_the_commands_where_there_is_no_repository(tmp_path: Path) -> None:
    """Without git, and without DVC, init says how to make them."""
    with pytest.raises(StateError, match="git init && dvc init"):
        versions.init(tmp_path)
    git(tmp_path, "init", "--quiet")
    with pytest.raises(StateError, match="git init && dvc init"):
        versions.init(tmp_path)


def test_upgrade_rewrites_the_pipeline_alone(project: Path) -> None:
    """An upgrade brings this release's stages and dvc.yaml, and what they ask for; it leaves data and params."""
    before = contents(project)
    versions.init(project, upgrade=True)
    changed = {name for name, data in contents(project).items() if before.get(name) != data}
    asked = {"params.yaml", "data/catalogues/README", "data/catalogues.dvc", "data/.gitignore"}
    assert changed == {"dvc.yaml", *(f"stages/{stage}.py" for stage in STAGES)} | asked
    was, now = (before["params.yaml"].decode(), (project / "params.yaml").read_text())
    assert now.startswith(was)
    assert params.load(project / "params.yaml").validation == params.Validate()
    with pytest.raises(StateError, match="git commit"):
        versions.init(project, upgrade=True)


def test_own_modules_leave_the_deps(project: Path) -> None:
    """Deps on the package's modules go where dedupver is installed, and stay beside its source."""
    text = "stages:\n  match:  # why\n    deps:\n      - base\n      - dedupver/a.py\n      - dedupver/b.py\n"
    (project / "dvc.yaml").write_text(text)
    (project / "dedupver").mkdir()
    versions.drop_own_modules(project)
    assert (project / "dvc.yaml").read_text() == text
    (project / "dedupver").rmdir()
    versions.drop_own_modules(project)
    assert (project / "dvc.yaml").read_text() == "stages:\n  match:  # why\n    deps:\n      - base\n"


def test_next_makes_the_present_version_the_base(project: Path) -> None:
    """The base is a tracked copy of index and manifest; params change in three values and keep their comments."""
    before = (project / "params.yaml").read_text()
    lines = versions.next_version(project, "v2", TIME)
    assert store.read_json(project / "base" / "base.json") == {"format": 1, "version": "v1"}
    for name in ("index", "manifest"):
        assert contents(project / "base" / name) == contents(project / name)
    assert (project / "params.yaml").read_text() == before.replace("name: v1  ", 'name: "v2"').replace(
        "1970-01-01T00:00:00Z", TIME
    )
    assert "base" not in json.loads(dvc(project, "status", "--json", "base.dvc") or "{}")
    assert not (project / versions.WORKSHOP).exists()
    assert any("git tag v2" in line for line in lines)


@pytest.mark.parametrize("kind", ["copy", "hardlink", "symlink"])
def test_the_base_shares_its_files_and_dvc_is_content(project: Path, kind: str) -> None:
    """However DVC links into its cache: the next version opens, and what the cache holds stays what it was."""
    dvc(project, "config", "--local", "cache.type", kind)
    dvc(project, "checkout", "--relink")
    cached = contents(project / ".dvc/cache/files")
    versions.next_version(project, "v2", TIME)
    now = contents(project / ".dvc/cache/files")
    assert {name: now[name] for name in cached} == cached
    assert "base" not in json.loads(dvc(project, "status", "--json", "base.dvc") or "{}")


def test_history_grows_version_by_version(project: Path, fill_source: Fill, release_version: Release) -> None:
    """Three versions: each base holds all segments before it, and each tag checks out exactly."""
    for name in ("v2", "v3"):
        versions.next_version(project, name, TIME)
        fill_source(project, {name: f"text of {name}"})
        release_version(project, name)
    assert sorted(contents(project / "base" / "index")) == ["files.json", "v1.json", "v2.json"]
    assert store.read_json(project / "manifest" / "manifest.json")["versions"] == ["v1", "v2", "v3"]
    git(project, "checkout", "--quiet", "v1")
    dvc(project, "checkout", "--quiet")
    assert store.read_json(project / "base" / "base.json")["version"] is None
    assert dvc(project, "status", "--json").strip() == "{}"


def test_append_mode_moves_the_batch_to_the_base(project: Path, fill_source: Fill, release_version: Release) -> None:
    """Each batch ends below base/raw, and the source is empty, tracked and clean for the next one."""
    append_mode(project)
    lines = versions.next_version(project, "v2", TIME)
    assert contents(project / "base" / "raw") == {"v1/a": b"same", "v1/b": b"same", "v1/c": b"other"}
    assert list((project / "data" / "raw").iterdir()) == []
    assert "base/raw/v1" in lines[0]
    fill_source(project, {"d": "new"})
    release_version(project, "v2")
    assert store.read_json(project / "clean" / "kept.json") == ["raw/d", "v1/a", "v1/c"]
    versions.next_version(project, "v3", TIME)
    assert sorted(contents(project / "base" / "raw")) == ["v1/a", "v1/b", "v1/c", "v2/d"]


def test_append_mode_refuses_a_source_that_it_cannot_empty(project: Path) -> None:
    """An import is DVC's to fill: next names the mode that fits it."""
    append_mode(project)
    tools.assign(project / "data" / "raw.dvc", {"deps": [], "frozen": True})
    git(project, "commit", "--quiet", "--all", "-m", "import")
    with pytest.raises(StateError, match=r"import.*snapshot"):
        versions.next_version(project, "v2")


def test_next_uses_the_present_time(project: Path) -> None:
    """Without a time, the version's is now, in UTC and quoted so that YAML keeps it a string."""
    versions.next_version(project, "v2")
    assert params.load(project / "params.yaml").version.time > "2024-01-01T00:00:00Z"


def test_a_name_stays_a_string(project: Path) -> None:
    """A name that YAML 1.1 would read as a truth value comes back as it was given."""
    versions.next_version(project, "no", TIME)
    assert params.load(project / "params.yaml").version.name == "no"


@pytest.mark.parametrize(("name", "time"), [("../v2", None), ("", None), ("v2", "yesterday")])
def test_next_refuses_bad_names_and_times(project: Path, name: str, time: str | None) -> None:
    """A name that is no file name, or a time that is no UTC time, is a ParamsError that shows it."""
    with pytest.raises(ParamsError, match="the version's"):
        versions.next_version(project, name, time)


def test_next_refuses_states_and_says_how_to_go_on(project: Path, fill_source: Fill, release_version: Release) -> None:
    """Open already, not built, not committed, a used name: each refusal names the command that helps."""
    with pytest.raises(StateError, match=r"v1 is open already.*dvc repro"):
        versions.next_version(project, "v1")
    fill_source(project, {"d": "new"})
    with pytest.raises(StateError, match=r"not built.*dvc repro"):
        versions.next_version(project, "v2")
    dvc(project, "repro", "--quiet")
    with pytest.raises(StateError, match="git commit -m v1"):
        versions.next_version(project, "v2")
    git(project, "commit", "--quiet", "--all", "-m", "v1")
    versions.next_version(project, "v2", TIME)
    with pytest.raises(StateError, match=r"v2.*open already"):
        versions.next_version(project, "v2")
    release_version(project, "v2")
    with pytest.raises(StateError, match=r"v1 is among .*v1, v2"):
        versions.next_version(project, "v1")


def test_next_refuses_a_damaged_index(project: Path) -> None:
    """Bytes that rotted where DVC does not look never become a base, and the old state stays."""
    assert dvc(project, "status", "--json").strip() == "{}"
    path = project / "index" / "v1.json"
    times = path.stat()
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(data[:-2] + b"}\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # DVC trusts size, time and inode
    before = contents(project)
    with pytest.raises(IntegrityError, match=r"v1\.json is damaged"):
        versions.next_version(project, "v2")
    assert contents(project) == before


class Killed(BaseException):
    """What no handler of ours expects."""


STEPS = ["build_base", "place_base", "dvc add base", "dvc add data/raw", "assign"]


def break_at(step: str, patch: pytest.MonkeyPatch) -> None:
    """Let the step do its work, then die; `assign` dies before."""

    def dying(function: Callable[..., object], *, works: bool = True) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            result = function(*args, **kwargs) if works else None
            if not step.startswith("dvc") or args[1:] == tuple(step.split()[1:]):
                raise Killed
            return result

        return call

    if step.startswith("dvc"):
        patch.setattr(versions, "dvc", dying(dvc))
    elif step == "assign":
        patch.setattr(tools, "assign", dying(tools.assign, works=False))
    else:
        patch.setattr(versions, step, dying(getattr(versions, step)))


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_puts_the_old_state_back(project: Path, step: str) -> None:
    """Wherever opening a version fails, the files are what they were, and DVC and git are clean."""
    append_mode(project)
    before = contents(project)
    with pytest.MonkeyPatch.context() as patch:
        break_at(step, patch)
        with pytest.raises(Killed):
            versions.next_version(project, "v2", TIME)
    assert contents(project) == before
    assert git(project, "status", "--porcelain") == ""
    assert dvc(project, "status", "--json").strip() == "{}"


@pytest.mark.parametrize("step", ["build_base", "dvc add base", "assign"])
def test_after_a_kill_the_next_call_recovers(project: Path, step: str) -> None:
    """A kill leaves the half-done state; `next` undoes it and does its work."""
    append_mode(project)
    with pytest.MonkeyPatch.context() as patch:
        break_at(step, patch)
        patch.setattr(versions, "recover", lambda _: None)
        with pytest.raises(Killed):
            versions.next_version(project, "v2", TIME)
    versions.next_version(project, "v2", TIME)
    assert store.read_json(project / "base" / "base.json")["version"] == "v1"
    assert sorted(contents(project / "base" / "raw")) == ["v1/a", "v1/b", "v1/c"]
    assert params.load(project / "params.yaml").version.name == "v2"


def test_a_kill_after_the_last_step_leaves_the_new_state(project: Path) -> None:
    """Once params.yaml is written the version is open, and only the old base is left to remove."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "_remove", lambda _: None)
        versions.next_version(project, "v2", TIME)
    assert (project / versions.WORKSHOP).is_dir()
    versions.recover(project)
    assert not (project / versions.WORKSHOP).exists()
    assert store.read_json(project / "base" / "base.json")["version"] == "v1"


def test_recovery_never_overwrites_a_batch(project: Path) -> None:
    """A source that was filled after a kill stays; the user is told to move it."""
    append_mode(project)
    with pytest.MonkeyPatch.context() as patch:
        break_at("assign", patch)
        patch.setattr(versions, "recover", lambda _: None)
        with pytest.raises(Killed):
            versions.next_version(project, "v2", TIME)
    (project / "data" / "raw" / "mine").write_text("new")
    with pytest.raises(StateError, match="move those files away"):
        versions.next_version(project, "v2", TIME)
    assert (project / "data" / "raw" / "mine").read_text() == "new"


def test_the_template_is_this_release() -> None:
    """The template holds the pipeline that the package ships."""
    template = importlib.resources.files("dedupver") / "template"
    scripts = {f.name for f in (template / "stages").iterdir() if f.name.endswith(".py")}
    assert scripts == {f"{stage}.py" for stage in STAGES}
