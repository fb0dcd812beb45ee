"""Run all of history again, version by version, on a branch of its own and without touching the workspace.

With the same params DVC finds every stage unchanged; with others the branch shows what all of history would have been.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dedupver import params, repository, store, versions
from dedupver.compact import COMPACTED, merge_base
from dedupver.repository import dvc, git
from dedupver.schema import StateError
from dedupver.state import WORKSHOP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RAN: Final = re.compile(r"^Running stage '([^']+)':$", re.MULTILINE)


@dataclass(frozen=True)
class Released:
    """A version and the commit that released it."""

    name: str
    commit: str


def replay(root: Path, branch: str, set_params: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Run each version again and commit it on `branch`; return for each {version, commit, ran, kept, dropped}.

    `set_params` maps dotted keys of params.yaml to YAML values, for every version. `ran` lists the stages that were
    executed. Today's pipeline (dvc.yaml, stages/) judges yesterday's data, reviews and params. The branch has no other
    commits, and appears when all versions are through. Raises StateError for a branch that exists, a history without
    versions, data that is not in the cache, or a stage that fails.
    """
    repository.require(root)
    overrides = _parsed(set_params or {})
    released = history(root)
    _check_branch(root, branch)
    with worktree(root) as space:
        results: list[dict[str, Any]] = []
        for version in released:
            set_up(space, version, overrides, follows=bool(results))
            built = build(space, version)
            parent = results[-1]["commit"] if results else None
            results.append({"version": version.name, "commit": commit(root, space, version, parent), **built})
    git(root, "branch", branch, results[-1]["commit"])
    return results


def history(root: Path) -> list[Released]:
    """Return the versions on HEAD's first-parent line, oldest first; raise StateError where there is none.

    A version is released by its tag where that lies behind HEAD, or else by the last commit with its name; a commit
    whose dvc.lock is the version's before it only opened a version.
    """
    found: list[Released] = []
    lock = None
    for name, commit in _last_commits(root).items():
        version = Released(name, _tagged(root, name) or commit)
        text = repository.text_at(root, version.commit, "dvc.lock")
        if text not in {None, lock}:
            found.append(version)
            lock = text
    if not found:
        raise StateError("git knows no version yet: run `dvc repro` and `git commit` first")
    return found


def _last_commits(root: Path) -> dict[str, str]:
    """Return each version name → the last commit with it, in the order of these commits."""
    line = git(root, "rev-list", "--first-parent", "--reverse", "HEAD").split()
    touching = git(root, "rev-list", "--first-parent", "--reverse", "HEAD", "--", "params.yaml").split()
    ends = [line.index(commit) - 1 for commit in touching[1:]] + [len(line) - 1]
    last: dict[str, str] = {}
    for commit, end in zip(touching, ends, strict=bool(touching)):
        name = _name_at(root, commit)
        if name is not None:
            last.pop(name, None)
            last[name] = line[end]
    return last


def _name_at(root: Path, commit: str) -> str | None:
    text = repository.text_at(root, commit, "params.yaml")
    document = repository.plain_yaml(text or "", f"params.yaml of {commit[:12]}")
    section = document.get("version") if isinstance(document, dict) else None
    return str(section["name"]) if isinstance(section, dict) and "name" in section else None


def _tagged(root: Path, name: str) -> str | None:
    try:
        commit = git(root, "rev-parse", "--verify", "--quiet", f"refs/tags/{name}^{{commit}}").strip()
        git(root, "merge-base", "--is-ancestor", commit, "HEAD")
    except StateError:
        return None
    return commit if _name_at(root, commit) == name else None


def _check_branch(root: Path, branch: str) -> None:
    git(root, "check-ref-format", "--branch", branch)
    if git(root, "branch", "--list", branch).strip():
        raise StateError(f"branch {branch} exists: give another name, or remove it with `git branch -D {branch}`")


@contextlib.contextmanager
def worktree(root: Path) -> Iterator[Path]:
    """Give the project in a worktree of git's that shares the cache; it lies on the cache's file system, for links."""
    (root / ".dvc" / "tmp").mkdir(exist_ok=True)
    sweep(root)
    tree = Path(tempfile.mkdtemp(prefix=f"replay-{os.getpid()}-", dir=root / ".dvc" / "tmp")) / "tree"
    try:
        git(root, "worktree", "add", "--detach", str(tree), "HEAD")
        space = tree / git(root, "rev-parse", "--show-prefix").strip()
        if (root / ".dvc" / "config.local").is_file():
            shutil.copyfile(root / ".dvc" / "config.local", space / ".dvc" / "config.local")
        dvc(space, "config", "--local", "cache.dir", dvc(root, "cache", "dir").strip())
        yield space
    finally:
        shutil.rmtree(tree.parent)
        git(root, "worktree", "prune")


def sweep(root: Path) -> None:
    """Remove what replays left whose process was killed."""
    for left in (root / ".dvc" / "tmp").glob("replay-*-*"):
        owner = left.name.split("-")[1]
        if not (owner.isdecimal() and Path(f"/proc/{owner}").exists()):
            shutil.rmtree(left)
    git(root, "worktree", "prune")


def set_up(space: Path, version: Released, overrides: Mapping[str, object], *, follows: bool) -> None:
    """Turn the worktree into the version's inputs, with today's pipeline.

    One that `follows` has the version that the worktree holds as its base; another keeps its own.
    """
    built = space / WORKSHOP
    with _named(version):
        if follows:
            versions.build_base(space, built / "base")
        check_out(space, version)
        if overrides:
            repository.assign(space / "params.yaml", overrides)
        given = params.load(space / "params.yaml")
        if follows:
            if given.version.base == COMPACTED:
                merge_base(built / "base")
            versions.place_base(space, built / "base", built / "old-base")
            shutil.rmtree(built)
        dvc(space, "checkout", "--force", "--allow-missing")


def check_out(space: Path, version: Released) -> None:
    """Let git turn the worktree into a version, with today's pipeline."""
    git(space, "read-tree", "-u", "--reset", version.commit)
    git(space, "checkout", "HEAD", "--", *_pipeline(space))
    git(space, "clean", "-dfq", "--exclude", WORKSHOP)
    versions.complete(space)


def build(space: Path, version: Released) -> dict[str, Any]:
    """Run what is to be run of the version that the worktree was set up for; return {ran, kept, dropped}."""
    with _named(version):
        said = dvc(space, "repro")
    metrics = space / "metrics" / "dedup.json"
    counts = store.read_json(metrics) if metrics.is_file() else {}
    return {"ran": RAN.findall(said), "kept": counts.get("kept"), "dropped": counts.get("dropped")}


@contextlib.contextmanager
def _named(version: Released) -> Iterator[None]:
    """Say which version an error is of."""
    try:
        yield
    except StateError as error:
        raise StateError(f"{version.name} can't be replayed (does `dvc pull --all-tags` help?): {error}") from error


def _pipeline(space: Path) -> list[str]:
    tracked = git(space, "ls-tree", "--name-only", "HEAD", *versions.PIPELINE).split("\n")
    return [name for name in tracked if name]


def commit(root: Path, space: Path, version: Released, parent: str | None, message: str | None = None) -> str:
    """Commit what the worktree holds, with the version's own message unless one is given; return the commit."""
    git(space, "add", "--all", ".")
    tree = git(space, "write-tree").strip()
    message = message or message_of(root, version.commit) or version.name
    return git(space, "commit-tree", tree, *(["-p", parent] if parent else []), "-m", message).strip()


def message_of(root: Path, revision: str) -> str:
    """Return what a commit says of itself."""
    return git(root, "log", "-1", "--format=%B", revision).strip()


def _parsed(given: Mapping[str, str]) -> dict[str, object]:
    for key in given:
        if key.partition(".")[0] == "version":
            raise StateError(f"{key} can't be set for a whole history: each version keeps its own name, time and base")
    return {key: repository.plain_yaml(text, f"{key}={text}") for key, text in given.items()}
