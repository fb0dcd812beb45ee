"""Dirty and partly built workspaces: what each command says in each, and how it ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import projects
import pytest
import yaml
from typer.testing import CliRunner

from dedupver import cli, pipeline, repository, state, store
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BREAD = "bread is made of flour and water and some salt, and left to rise in a warm place for an hour or two"
FIRST = [{"id": "a", "text": BREAD}, {"id": "b", "text": f"{BREAD} again"}, {"id": "c", "text": "a text of its own"}]
SECOND = [*FIRST, {"id": "d", "text": f"{BREAD} again and again"}]

READS = (["show"], ["explain", "a"], ["diff", "workspace", "workspace"], ["shared"], ["audit"], ["leaks"], ["splits"])
CHANGES = (["undo", "a"], ["review", "export"], ["review", "estimate"], ["erase", "a"], ["next", "v3"])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose v2 was built after v1."""
    root = projects.build(projects.create(tmp_path_factory.mktemp("state") / "project", FIRST))
    projects.advance(root)
    return projects.build(projects.reopen(root, SECOND, "v2"))


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(built, tmp_path / "project"))


def ask(root: Path, *words: str) -> Any:
    """Run a command on the project."""
    return CliRunner().invoke(cli.app, ["-C", str(root), *words])


def edit(**given: Any) -> Callable[[Path], None]:
    """Return what writes params.yaml anew."""
    return lambda root: projects.settings(root, **{"version": "v2", **given})


def without(name: str) -> Callable[[Path], None]:
    """Return what removes a directory."""
    return lambda root: shutil.rmtree(root / name)


def killed(stage: str, name: str) -> Callable[[Path], None]:
    """Return what leaves the traces of a stage that DVC ran and that was killed."""

    def leave(root: Path) -> None:
        shutil.rmtree(root / name)
        (root / name).parent.joinpath(f".{Path(name).name}.building").mkdir()
        (root / "build/.running").write_text("999999999")

    return leave


def rerun(stage: str, **given: Any) -> Callable[[Path], None]:
    """Return what runs one stage under other params, and puts these back."""

    def run(root: Path) -> None:
        before = (root / "params.yaml").read_bytes()
        edit(**given)(root)
        pipeline.run(stage, root)
        (root / "params.yaml").write_bytes(before)

    return run


def old_base(root: Path) -> None:
    """Put an empty base in the place of v1."""
    shutil.rmtree(root / "base")
    store.write_json(root / "base/base.json", {"format": 1, "version": None})


def other_base(root: Path) -> None:
    """Let the base's manifest say something else."""
    listing = root / "base/manifest/files.json"
    listing.unlink()  # it may be a link
    store.write_json(listing, {"format": 1, "sha256": {}})


PARTLY: dict[str, tuple[Callable[[Path], None], str]] = {
    "no manifest": (without("manifest"), "manifest/ is missing: run `dvc repro`"),
    "no index": (without("index"), "index/ is missing: run `dvc repro`"),
    "no fingerprints": (without("build/fingerprint"), "build/fingerprint/ is missing: run `dvc repro`"),
    "no recall": (without("build/match"), "build/match/ is missing: run `dvc repro`"),
    "no decisions": (without("build/dedup"), "build/dedup/ is missing: run `dvc repro`"),
    "match killed": (killed("match", "index"), "index/ is missing, a stage was killed: run `dvc repro`"),
    "dedup killed": (killed("dedup", "build/dedup"), "build/dedup/ is missing, a stage was killed: run `dvc repro`"),
    "another index": (
        rerun("match", version="w2"),
        "index/ is not what manifest/ was written for (v2): run `dvc repro`",
    ),
    "other decisions": (
        rerun("dedup", dedup__thresholds__text=0.99),
        "build/dedup/ is not what manifest/ was written for (v2): run `dvc repro`",
    ),
    "another base": (old_base, "base/ is empty, manifest/ was written for v1: run `dvc repro`"),
    "a base of another build": (other_base, "base/ is not the v1 that manifest/ was written for: run `dvc repro`"),
    "next interrupted": (
        lambda root: (root / ".next.building").mkdir(),
        "`dedupver next` was interrupted: run it again",
    ),
}


@pytest.mark.parametrize("case", PARTLY)
def test_what_is_partly_built_is_refused_by_all_that_read_it(case: str, copy: Path) -> None:
    """Each ends with 6 and the same line, which says how to go on, and prints no answer."""
    spoil, words = PARTLY[case]
    spoil(copy)
    for command in READS:
        result = ask(copy, *command)
        assert isinstance(result.exception, StateError), command
        assert (result.exception.exit_code, result.stdout) == (6, "")
        assert words in str(result.exception)
    with pytest.raises(StateError):
        state.require_built(copy)
    for command in CHANGES:
        assert isinstance(ask(copy, *command).exception, StateError), command


def test_a_finished_version_is_no_state_to_speak_of(copy: Path) -> None:
    """Nothing is refused and nothing noted; traces of a killed run that was mended mean nothing."""
    (copy / ".index.building").mkdir()
    (copy / "build/.running").write_text("999999999")
    for command in READS:
        result = ask(copy, *command)
        assert (result.exit_code, result.stderr) == (0, "")
    assert state.require_built(copy)["version"] == "v2"


EDITED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a threshold": (
        edit(dedup__thresholds__text=0.9),
        "params.yaml says dedup.thresholds.text: 0.9, v2 was built with 0.8",
    ),
    "two keys": (
        edit(dedup__thresholds__text=0.9, dedup__history="rejudge"),
        "params.yaml says dedup.history: rejudge, v2 was built with frozen (and 1 keys more differ)",
    ),
    "a review": (
        lambda root: (root / "reviews.csv").write_text("left,right,label\na,b,different\n"),
        "reviews.csv was edited since v2 was built",
    ),
    "a review that is none": (
        lambda root: (root / "reviews.csv").write_text("left,right,label\na,b,perhaps\n"),
        "reviews.csv can't be read (",
    ),
    "the name": (edit(version="v3"), "manifest/ is of v2, params.yaml says v3"),
}


@pytest.mark.parametrize("case", EDITED)
def test_what_was_built_with_other_params_is_spoken_of_as_it_was_built(case: str, copy: Path) -> None:
    """Who asks is told so on stderr, before the answer; who would change it is refused."""
    spoil, words = EDITED[case]
    answers = [ask(copy, *command).stdout for command in READS]
    spoil(copy)
    for command, before in zip(READS, answers, strict=True):
        result = ask(copy, *command)
        assert (result.exit_code, result.stdout) == (0, before)
        assert result.stderr.startswith(f"note: {words}")
        assert result.stderr.endswith(". What follows is v2 as it was built: run `dvc repro`\n")
    with pytest.raises(StateError) as raised:
        state.require_built(copy)
    assert str(raised.value).startswith(words)
    assert str(raised.value).endswith(": run `dvc repro`")


def test_what_is_beside_a_review_is_no_edit(copy: Path) -> None:
    """Other columns are what people note for themselves."""
    (copy / "reviews.csv").write_text("left,right,label,why\n")
    assert state.as_built(copy) == []


def test_how_many_workers_there_are_is_no_edit(copy: Path) -> None:
    """The engine's settings change no byte."""
    edit(engine={"workers": 2})(copy)
    state.require_built(copy)


def test_the_next_version_is_open_and_not_built(copy: Path) -> None:
    """Its base is what is spoken of."""
    projects.advance(copy)
    edit(version="v3")(copy)
    assert "manifest/ is of v2, params.yaml says v3" in ask(copy, "show").stderr
    with pytest.raises(StateError, match=r"params\.yaml says v3: run `dvc repro`"):
        state.require_built(copy)


def test_a_manifest_that_was_checked_out_alone_is_read_and_not_changed(copy: Path) -> None:
    """A clone may hold no more than what it asks."""
    for name in ("index", "build", "base", "clean", "data"):
        shutil.rmtree(copy / name)
    assert ask(copy, "explain", "d").exit_code == 0
    with pytest.raises(StateError, match="build/fingerprint/ is missing"):
        state.require_built(copy)


@pytest.fixture
def sleeper() -> Iterator[int]:
    """Give the id of a process that is alive."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def test_while_a_stage_runs_everything_is_refused(copy: Path, sleeper: int) -> None:
    """Not only what reads the version: what it is built from is not changed either."""
    (copy / "build/.running").write_text(str(sleeper))
    others = (["check"], ["list", "https://example.org", "data/raw/x.jsonl"], ["align"], ["init", "--upgrade"])
    for command in (*READS, *others):
        error = ask(copy, *command).exception
        if command[0] != "init":  # this is no repository, which it says first
            assert str(error) == f"another run works here (process {sleeper}): wait for it to end"
    with pytest.raises(StateError, match="another run works here"):
        pipeline.run("dedup", copy)


@pytest.mark.parametrize("text", ["", "0", "no number", "mine"])
def test_a_lock_that_nobody_holds_is_none(text: str, copy: Path) -> None:
    """Whatever stands in it."""
    (copy / "build/.running").write_text(str(os.getpid()) if text == "mine" else text)
    state.require_idle(copy)
    pipeline.run("dedup", copy)


def test_what_dvc_has_is_checked_out_rather_than_built(copy: Path) -> None:
    """Where dvc.lock tells of a build with these params, the line says so."""
    params = yaml.safe_load((copy / "params.yaml").read_text())
    locked = {"version": params["version"], "source.columns": params["source"]["columns"]}
    (copy / "reviews.csv").write_text("left,right,label\n")
    deps = [{"path": "reviews.csv", "md5": ""}, {"path": "data/raw", "md5": "0.dir"}]
    deps[0]["md5"] = hashlib.md5((copy / "reviews.csv").read_bytes()).hexdigest()
    stages = {"manifest": {"params": {"params.yaml": locked}}, "dedup": {"deps": deps}}
    store.write_json(copy / "dvc.lock", {"stages": stages})
    store.write_json(copy / "data/raw.dvc", {"outs": [{"md5": "0.dir"}]})
    shutil.rmtree(copy / "index")
    with pytest.raises(StateError, match="index/ is missing: run `dvc checkout`, or `dvc pull`"):
        state.require_whole(copy)
    for path, other in (("reviews.csv", "left,right,label\na,b,same\n"), ("data/raw.dvc", '{"outs": [{"md5": "1"}]}')):
        before = (copy / path).read_text()
        (copy / path).write_text(other)
        with pytest.raises(StateError, match="index/ is missing: run `dvc repro`"):
            state.require_whole(copy)
        (copy / path).write_text(before)
    repository.assign(copy / "params.yaml", {"source.columns.id": "name"})
    with pytest.raises(StateError, match="index/ is missing: run `dvc repro`"):
        state.require_whole(copy)


def test_asking_costs_little(copy: Path) -> None:
    """It is milliseconds, of which most go into params.yaml."""
    started = time.process_time()
    state.require_built(copy)
    assert time.process_time() - started < 0.3
