"""What dedupver asks of git, DVC and YAML: one helper each, no shell, and errors that say how to go on."""

from __future__ import annotations

import io
import os
import posixpath
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from dedupver import store
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SET_BY_HOOKS: Final = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"}
"""Inside a git hook these point to a repository of their own, whatever the working directory is."""


def dataset(asked: Path | None) -> Path:
    """Return the folder that holds params.yaml: as asked, or the nearest above within the git repository.

    Raises StateError where there is none.
    """
    for folder in [asked.resolve()] if asked else [Path.cwd(), *Path.cwd().parents]:
        if (folder / "params.yaml").is_file():
            return folder
        if (folder / ".git").exists():
            break
    raise StateError(
        f"no params.yaml in {asked or 'this folder or above'}: run `dedupver init`, or name the folder with -C"
    )


def git(root: Path, *args: str, given: str | None = None) -> str:
    """Run git in `root` without the user's hooks, on what it is given to read, and return what it prints.

    Hooks are off since `dvc install` makes every checkout run `dvc checkout`. Raises StateError with git's last line.
    """
    return _run(root, ["git", "-c", f"core.hooksPath={os.devnull}", *args], given)


def dvc(root: Path, *args: str) -> str:
    """Run DVC in `root` and return what it prints. Raises StateError with DVC's last line."""
    return _run(root, [sys.executable, "-m", "dvc", *args])


def require(root: Path) -> None:
    """Raise StateError unless `root` is the root of a DVC repository within a git repository."""
    try:
        git(root, "rev-parse", "--git-dir")
    except (StateError, NotADirectoryError, FileNotFoundError) as error:
        raise _no_repository(root) from error
    if not (root / ".dvc").is_dir():
        raise _no_repository(root)


def uncommitted(root: Path, paths: Sequence[str]) -> list[str]:
    """Return the paths, among those that match a pathspec, with changes that git has not committed."""
    lines = git(root, "status", "--porcelain", "-z", "--no-renames", "--", *paths).split("\0")
    return [line[3:] for line in lines if line]


def text_at(root: Path, commit: str, path: str) -> str | None:
    """Return a file of `root` as it is in a commit, None where the commit lacks it."""
    try:
        return git(root, "show", f"{commit}:./{path}")
    except StateError:
        return None


def outputs(root: Path, commit: str) -> dict[str, str]:
    """Return the path → digest of all that DVC tracks in a commit, relative to the project."""
    found: dict[str, str] = {}
    for name in git(root, "ls-tree", "-r", "-z", "--name-only", commit).split("\0"):
        if name.endswith(".dvc"):
            stated = plain_yaml(text_at(root, commit, name) or "", name)
            for out in stated.get("outs", ()):
                found[posixpath.join(posixpath.dirname(name), out["path"])] = out.get("md5")
    lock = plain_yaml(text_at(root, commit, "dvc.lock") or "{}", "dvc.lock")
    for stage in lock.get("stages", {}).values():
        found |= {out["path"]: out.get("md5") for out in stage.get("outs", ())}
    return {path: digest for path, digest in found.items() if digest}


def value_at(document: object, key: str) -> object:
    """Return what a dotted key leads to in plain YAML; None where it leads nowhere."""
    for step in key.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    return document


def quoted(text: str) -> DoubleQuotedScalarString:
    """Return the text as YAML writes it in quotes: bare, `no` and `2024` are no strings in YAML 1.1."""
    string: DoubleQuotedScalarString = DoubleQuotedScalarString(text)
    return string


def assign(path: Path, values: Mapping[str, object]) -> None:
    """Set dotted keys of a YAML file, atomically; comments and order stay. Missing sections are made.

    Raises StateError where the file is no mapping, or a key leads through something else than a section.
    """
    document = read_yaml(path)
    for key, value in values.items():
        *sections, last = key.split(".")
        here = document
        for section in sections:
            here = here.setdefault(section, {}) if isinstance(here, dict) else here
        if not isinstance(here, dict):
            raise StateError(f"{path}: {key} can't be set, since {key.rpartition('.')[0]} is no section")
        here[last] = value
    store.write_bytes(path, dump_yaml(document))


def read_yaml(path: Path) -> Any:
    """Read a YAML mapping with its comments, to be changed and written again."""
    try:
        document = _yaml().load(path.read_bytes())
    except YAMLError as error:
        raise StateError(f"{path} is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise StateError(f"{path} is no mapping of sections")
    return document


def dump_yaml(document: object) -> bytes:
    """Return a document of `read_yaml` as the bytes of a file."""
    out = io.BytesIO()
    _yaml().dump(document, out)
    return out.getvalue()


def plain_yaml(text: str, name: str) -> Any:
    """Parse YAML into plain values. Raises StateError that gives it the name."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StateError(f"{name} is no YAML: {error}") from error


def _yaml() -> YAML:
    round_trip = YAML()
    round_trip.preserve_quotes = True
    round_trip.width = 4096  # never wrap a line that the user wrote
    round_trip.indent(mapping=2, sequence=4, offset=2)
    round_trip.Representer = _Representer
    return round_trip


class _Representer(RoundTripRepresenter):
    """Writes null as the user does, where ruamel leaves the place empty."""


_Representer.add_representer(
    type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _run(root: Path, command: list[str], given: str | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - no shell; the arguments are ours, or git's and DVC's to judge
        command,
        cwd=root,
        env=_environment(),
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        program = "git" if command[0] == "git" else "dvc"
        words = " ".join(command[3:])  # past git's -c option, or Python's -m dvc
        raise StateError(f"`{program} {words}` failed: {_last_line(done.stderr or done.stdout)}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Return ours, with this Python first: stages say `python`, and must find the one that has dedupver."""
    kept = {name: value for name, value in os.environ.items() if name not in SET_BY_HOOKS}
    beside = str(Path(sys.executable).parent)
    return kept | {"PATH": os.pathsep.join([beside, kept.get("PATH", os.defpath)])}


def _last_line(output: str) -> str:
    """Return the program's verdict, and below it what a stage said before."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("WARNING")]
    if not lines:
        return "it said nothing"
    verdict = next((line for line in reversed(lines) if line.startswith(("ERROR", "fatal", "error"))), lines[-1])
    said = [line for line in lines[: lines.index(verdict)] if not line.startswith("ERROR")]
    return "\n  ".join([verdict, *said[-3:]])


def _no_repository(root: Path) -> StateError:
    return StateError(f"{root} is not the root of a git and DVC repository: run `git init && dvc init` there")
