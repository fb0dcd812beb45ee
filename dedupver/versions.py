"""A dataset's versions: start a project, open the next version, replay all of history on a branch.

A version is a git commit; what it is compared with is its base, the version before it, copied below `base/`. The base
moves only here, when the next version is opened, so that the pipeline's input never contains its own output.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.resources
import shutil
from typing import TYPE_CHECKING, Any, Final

import pydantic

from dedupver import links, manifest, params, repository, state, store
from dedupver.index import segment
from dedupver.repository import dvc, git
from dedupver.schema import FORMAT, ParamsError, StateError
from dedupver.state import WORKSHOP

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

IGNORED: Final = ("build/timings", ".*.building", "__pycache__", "dvc_plots")
PIPELINE: Final = ("dvc.yaml", "stages", "dedupver")
"""What runs, and not what it runs on; `dedupver` is the package itself, in the one repository that holds it."""
CATALOGUES: Final = "data/catalogues"
"""Tables that rules of `validate` name."""
_OF_CATALOGUES: Final = b"""\
Tables that rules of `validate` in params.yaml name as their catalogue: CSV, TSV, JSON Lines, Parquet or Arrow.
After a change: dvc add data/catalogues
"""
MANY: Final = 32
"""Segments of a base from which on merging them is worth saying."""


def init(root: Path, *, upgrade: bool = False) -> list[str]:
    """Start a project in a git and DVC repository; return what to type next.

    With `upgrade`, write only the pipeline (dvc.yaml and stages/) anew, as this release has it, and what that asks for
    and is not there: sections of params.yaml, the folder of catalogues.
    Raises StateError where there is no repository, or a file is in the way.
    """
    repository.require(root)
    files = {name: source for name, source in _template().items() if not upgrade or name.startswith(PIPELINE)}
    if upgrade:
        state.require_idle(root)
        _check_upgradable(root)
    else:
        _check_free(root, [*files, "base", "base.dvc"])
    for name, source in files.items():
        store.write_bytes(root / name, source.read_bytes())
    drop_own_modules(root)
    complete(root)
    if upgrade:
        return ["git diff dvc.yaml params.yaml stages", "dvc repro"]
    return _lay_out(root)


def next_version(root: Path, name: str, time: str | None = None) -> list[str]:
    """Open version `name`, with the present one as its base; return what to type next.

    `time` is UTC like 2024-05-31T12:00:00Z, and now by default. A failure puts the old state back; after a kill, the
    next call does. Raises StateError unless the present version is built and committed, ParamsError for a bad name.
    """
    repository.require(root)
    recover(root)
    present = params.load(root / "params.yaml")
    opened = _version(name, time)
    _check_released(root, present.version.name, name)
    append = present.source.mode == "append"
    if append:
        _check_batch(root, present.source.path)
    try:
        _open(root, present, opened)
    except BaseException:
        recover(root)
        raise
    _remove(root / WORKSHOP)
    return [*_many_segments(root), *_how_to_fill(present, opened)]


def recover(root: Path) -> None:
    """Undo what a killed `next_version` left half done; what it had finished stays.

    Raises StateError where the source was emptied for the new batch and has been filled since.
    """
    workshop = root / WORKSHOP
    if not workshop.is_dir():
        return
    source = params.load(root / "params.yaml")
    if not (workshop / "next.json").is_file() or store.read_json(workshop / "next.json") != source.version.name:
        for path, place in (("base", "base"), (source.source.path, "raw")):
            _put_back(root, path, workshop / f"old-{place}")
    _remove(workshop)


def build_base(root: Path, target: Path) -> None:
    """Write the base that a version following the present one has: index, manifest, splits; in append mode its source.

    They are shared with it: nothing changes them in place. The source is its owner's, who may: the base gets its own.
    """
    present = params.load(root / "params.yaml")
    for name in ("index", "manifest"):
        links.link_tree(store.verified(root / name), target / name, "share")
    if (root / "splits").is_dir():  # not before that stage was there
        links.link_tree(store.verified(root / "splits"), target / "splits", "share")
    stated: dict[str, Any] = {"format": FORMAT, "version": present.version.name}
    if present.source.mode == "append":
        stated["batches"] = _add_batch(root, present, target / "raw")
    store.write_json(target / "base.json", stated)


def _add_batch(root: Path, present: params.Params, target: Path) -> list[dict[str, str]]:
    """Copy the earlier batches and the present one; return the version and digest of each that has files, in order.

    The digests make base.json stand for all raw data below the base: it is what the fingerprint stage depends on.
    """
    batches = _batches(root)
    for each in batches:
        links.link_tree(root / "base" / "raw" / each["version"], target / each["version"], "copy")
    mine = target / present.version.name
    links.link_tree(root / present.source.path, mine, "copy")
    more = [{"version": present.version.name, "sha256": store.sha256_tree(mine)}] if mine.is_dir() else []
    return [*batches, *more]


def _batches(root: Path) -> list[dict[str, str]]:
    stated = root / "base" / "base.json"
    batches: list[dict[str, str]] = store.read_json(stated).get("batches", []) if stated.is_file() else []
    return batches


def _template() -> dict[str, Traversable]:
    folder = importlib.resources.files("dedupver") / "template"
    stages = [f for f in (folder / "stages").iterdir() if f.name.endswith(".py")]
    files = {name: folder / name for name in ("dvc.yaml", "params.yaml", "reviews.csv")}
    return files | {f"stages/{stage.name}": stage for stage in sorted(stages, key=lambda f: f.name)}


def _check_free(root: Path, names: list[str]) -> None:
    for name in names:
        if (root / name).exists():
            raise StateError(
                f"{name} exists, and init overwrites nothing: move it away, or run `dedupver init --upgrade` for a new "
                "release's dvc.yaml and stages/"
            )


def _check_upgradable(root: Path) -> None:
    if not (root / "params.yaml").is_file():
        raise StateError("there is no params.yaml to upgrade: run `dedupver init`")
    changed = repository.uncommitted(root, ["dvc.yaml", "stages"])
    if changed:
        raise StateError(f"{changed[0]} has changes, and would be overwritten: run `git commit` first")


def drop_own_modules(root: Path) -> None:
    """Drop deps on dedupver's modules where it is installed: a release's number stands in its stage scripts instead."""
    if (root / "dedupver").is_dir():
        return
    document = repository.read_yaml(root / "dvc.yaml")
    for stage in document["stages"].values():
        for dep in [dep for dep in stage["deps"] if dep.startswith("dedupver/")]:
            stage["deps"].remove(dep)
    store.write_bytes(root / "dvc.yaml", repository.dump_yaml(document))


def complete(root: Path) -> None:
    """Give a project of an older release what the stages of this one depend on: new params, and catalogues."""
    stages = repository.read_yaml(root / "dvc.yaml")["stages"].values()
    asked = {str(param).partition(".")[0] for stage in stages for param in stage.get("params", [])}
    given = repository.read_yaml(root / "params.yaml")
    defaults = repository.plain_yaml(_template()["params.yaml"].read_text(encoding="utf-8"), "params.yaml")
    lacking = {name: defaults[name] for name in sorted(asked & defaults.keys()) if name not in given}
    if lacking:
        repository.assign(root / "params.yaml", lacking)
    there = (root / CATALOGUES).exists() or (root / f"{CATALOGUES}.dvc").exists()
    if not there and any(CATALOGUES in stage.get("deps", []) for stage in stages):  # a stage's dep has to exist
        store.write_bytes(root / CATALOGUES / "README", _OF_CATALOGUES)
        dvc(root, "add", CATALOGUES)


def _lay_out(root: Path) -> list[str]:
    for ignore in (".gitignore", ".dvcignore"):
        _add_lines(root / ignore, IGNORED)
    (root / "data").mkdir(exist_ok=True)
    with store.building(root / "base" / "index") as empty:  # what the first version is compared with
        segment.write_header(empty, [], {})
    with store.building(root / "base" / "manifest") as empty:
        store.write_json(empty / manifest.READ, {})
    store.write_json(root / "base" / "base.json", {"format": FORMAT, "version": None})
    dvc(root, "add", "base")
    first = _version(params.load(root / "params.yaml").version.name, None)
    repository.assign(root / "params.yaml", {"version.time": repository.quoted(first.time)})
    source = params.load(root / "params.yaml").source.path
    return [
        f"put the data into {source}, look through params.yaml, then:",
        f"dvc add {source} && dvc repro",
        "git add . && git commit -m v1 && git tag v1",
    ]


def _add_lines(path: Path, wanted: tuple[str, ...]) -> None:
    present = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    lines = [*present, *(line for line in wanted if line not in present)]
    store.write_bytes(path, ("\n".join(lines) + "\n").encode())


def _version(name: str, time: str | None) -> params.Version:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        return params.Version(name=name, time=time or now)
    except pydantic.ValidationError as error:
        wrong = error.errors()[0]
        raise ParamsError(f"the version's {wrong['loc'][0]} {wrong['input']!r} is refused: {wrong['msg']}") from error


def _check_released(root: Path, present: str, name: str) -> None:
    if name == present:
        raise StateError(f"{name} is open already (version.name in params.yaml): add data, then run `dvc repro`")
    header = state.require_released(root)
    used = dict.fromkeys([*(batch["version"] for batch in _batches(root)), *header["versions"]])
    if name in used:
        raise StateError(f"{name} is among this dataset's versions ({', '.join(used)}): take another name")


def _check_batch(root: Path, source: str) -> None:
    """Raise StateError unless the source can be emptied for the new batch and still be DVC's."""
    if not (root / f"{source}.dvc").is_file():
        raise StateError(f"in append mode {source} must be tracked by itself: run `dvc add {source}` and `git commit`")
    if "deps" in repository.read_yaml(root / f"{source}.dvc"):
        raise StateError(f"{source} is an import, which can't be emptied for a new batch: use `source.mode: snapshot`")


def _open(root: Path, present: params.Params, opened: params.Version) -> None:
    """Change the state, in an order that `recover` can undo until params.yaml, the last, is written."""
    workshop = root / WORKSHOP
    workshop.mkdir()
    store.write_json(workshop / "next.json", opened.name)
    build_base(root, workshop / "base")
    place_base(root, workshop / "base", workshop / "old-base")
    if present.source.mode == "append":
        (root / present.source.path).replace(workshop / "old-raw")
        (root / present.source.path).mkdir()
        dvc(root, "add", present.source.path)
    name, time = repository.quoted(opened.name), repository.quoted(opened.time)
    values = {"version.name": name, "version.time": time, "version.base": opened.base}
    repository.assign(root / "params.yaml", values)


def place_base(root: Path, built: Path, old: Path) -> None:
    """Put a base that was built into its place, and DVC-track it; the one before it moves to `old`."""
    if (root / "base").exists():
        (root / "base").replace(old)
    built.replace(root / "base")
    dvc(root, "add", "base")


def _put_back(root: Path, path: str, old: Path) -> None:
    if not old.exists():
        return
    if path != "base" and (root / path).is_dir() and any((root / path).iterdir()):
        raise StateError(f"`dedupver next` was interrupted, and {path} was filled since: move those files away first")
    _remove(root / path)
    old.replace(root / path)
    git(root, "restore", "--source=HEAD", "--staged", "--worktree", "--", f"{path}.dvc")


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def _many_segments(root: Path) -> list[str]:
    header = root / "base" / "index" / segment.MANIFEST
    count = len(store.read_json(header)["segments"]) if header.is_file() else 0
    return [f"the base has {count} segments: `dedupver compact` merges them"] if count >= MANY else []


def _how_to_fill(present: params.Params, opened: params.Version) -> list[str]:
    source = present.source.path
    emptied = [f"{source} is empty now: {present.version.name}'s batch moved to base/raw/{present.version.name}"]
    what = "the new batch alone" if present.source.mode == "append" else "the new data beside the old"
    return [
        *(emptied if present.source.mode == "append" else []),
        f"put {what} into {source}, then:",
        f"dvc add {source} && dvc repro",
        f"git commit -am {opened.name} && git tag {opened.name}",
    ]
