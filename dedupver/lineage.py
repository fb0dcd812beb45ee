"""Whether each released version follows from the one before it: the chain of manifests, from git and DVC's files alone.

What a commit states must agree with itself (params.yaml, dvc.lock, the .dvc files), with its manifest, and with the
version before it. That its outputs are what its inputs give, `dedupver replay` shows.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dedupver import params, repository, store
from dedupver.invariants import Finding
from dedupver.manifest import ANEW, Log, open_manifest
from dedupver.replay import Released, history
from dedupver.revision import fetch
from dedupver.schema import DedupverError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

FETCH: Final = "dvc fetch --all-tags"
RELEASE: Final = "git checkout {0} && dvc repro, and release it anew; or go back to a commit where it was whole"
REPLAY: Final = "dedupver replay BRANCH builds a history that holds"


@dataclass(frozen=True)
class Link:
    """What one version states of itself; None: it could not be read."""

    version: str
    commit: str
    parent: str | None  # the version before it
    raw: str | None  # DVC's digest of the source
    params: str | None  # sha256 of all params as canonical JSON
    release: str | None  # of dedupver
    manifest: str | None  # sha256 of the manifest's listing, which the next version states


@dataclass(frozen=True)
class _Commit:
    """A released version as it was committed."""

    root: Path
    released: Released
    files: Path  # what of its outputs was fetched

    def text(self, path: str) -> str | None:
        return repository.text_at(self.root, self.released.commit, path)

    def yaml(self, path: str) -> dict[str, Any]:
        """Return a YAML file of the commit, empty where it lacks it."""
        text = self.text(path)
        if not text:
            return {}
        copy = self.files / path.replace("/", "-")
        store.write_bytes(copy, text.encode())
        return dict(repository.read_yaml(copy))

    def params(self) -> params.Params:
        self.yaml("params.yaml")
        return params.load(self.files / "params.yaml")

    def finding(self, check: str, message: str, fix: str = RELEASE) -> Finding:
        return Finding(check, self.released.name, message, fix.format(self.released.name))


def verify(root: Path) -> tuple[list[Link], list[Finding]]:
    """Return what each version on HEAD's line states, oldest first, and what of it does not hold.

    Raises StateError where git knows no version.
    """
    links: list[Link] = []
    found: list[Finding] = []
    before: tuple[Link, Log] | None = None
    with tempfile.TemporaryDirectory(prefix="dedupver-") as folder:
        for number, released in enumerate(history(root)):
            commit = _Commit(root, released, Path(folder) / str(number))
            link, log, wrong = _verified(commit, before)
            links.append(link)
            found += wrong
            before = (link, log) if log else None
    return links, found


def _verified(commit: _Commit, before: tuple[Link, Log] | None) -> tuple[Link, Log | None, list[Finding]]:
    found = list(_locked(commit))
    try:
        fetch(commit.root, commit.released.commit, "manifest", commit.files / "manifest")
        log = open_manifest(store.verified(commit.files / "manifest"))
    except StateError as error:
        return _link(commit, None), None, [*found, commit.finding("unreachable", str(error), FETCH)]
    except DedupverError as error:
        return _link(commit, None), None, [*found, commit.finding("digest", str(error), FETCH)]
    found += [*_own(commit, log), *_outputs(commit, log), *_chained(commit, log, before)]
    return _link(commit, log), log, found


def _link(commit: _Commit, log: Log | None) -> Link:
    header = log.header if log else {}
    stages = commit.yaml("dvc.lock").get("stages", {}).values()
    read = {dep["path"]: dep.get("md5") for stage in stages for dep in stage.get("deps", [])}
    return Link(
        commit.released.name,
        commit.released.commit,
        (header.get("parent") or {}).get("version"),
        read.get(_source(commit)),
        _digest(header["params"]) if log else None,
        header["tools"]["dedupver"] if log else None,
        store.sha256_file(log.path / store.LISTING) if log else None,
    )


def _locked(commit: _Commit) -> Iterator[Finding]:
    """Check that dvc.lock was written for the inputs beside it: a commit made before `dvc repro` was not."""
    there = repository.outputs(commit.root, commit.released.commit)
    for stage, stated in commit.yaml("dvc.lock").get("stages", {}).items():
        for dep in stated.get("deps", []):
            tracked = there.get(dep["path"])
            if tracked and tracked != dep.get("md5"):
                yield commit.finding("lock", f"the stage {stage} ran on another {dep['path']} than the commit has")
        for file, used in stated.get("params", {}).items():
            present = commit.yaml(file)
            for key in [key for key, value in used.items() if repository.value_at(present, key) != value]:
                yield commit.finding("lock", f"the stage {stage} ran with another {key} than {file} has")


def _own(commit: _Commit, log: Log) -> Iterator[Finding]:
    """Check the header against the commit that released it."""
    header, name = log.header, commit.released.name
    if header["version"] != name:
        yield commit.finding("version", f"its manifest is of {header['version']}")
    try:
        stated = params.Params.model_validate(header["params"])
        if stated.deciding() != commit.params().deciding():
            yield commit.finding("params", "its manifest was written under other params than params.yaml has")
    except (DedupverError, ValueError) as error:
        yield commit.finding("params", f"its params can't be read by this release: {error}", "read it with its own")
    script = commit.text("stages/manifest.py") or ""
    if f'"{header["tools"]["dedupver"]}"' not in script:
        yield commit.finding("code", f"dedupver {header['tools']['dedupver']} wrote it, stages/ is of another release")


def _outputs(commit: _Commit, log: Log) -> Iterator[Finding]:
    """Check the index that the manifest was written for, and what it was compared with."""
    stated = {f"index/{store.LISTING}": log.header["digests"]["index"]}
    if log.header["parent"]:
        stated[f"base/manifest/{store.LISTING}"] = log.header["parent"]["manifest"]
    for name, digest in stated.items():
        try:
            fetch(commit.root, commit.released.commit, name, commit.files / name.replace("/", "-"))
        except StateError as error:
            yield commit.finding("unreachable", str(error), FETCH)
            continue
        if store.sha256_file(commit.files / name.replace("/", "-")) != digest:
            yield commit.finding("digest", f"{name} is not what its manifest states")


def _chained(commit: _Commit, log: Log, before: tuple[Link, Log] | None) -> Iterator[Finding]:
    """Check that the version stands on the one before it, whose files it holds unchanged."""
    parent = log.header["parent"]
    if before is None or parent is None:
        if before is not None and log.header["params"]["version"]["base"] != "none":
            yield commit.finding("parent", f"it names no parent, though {before[0].version} is before it", REPLAY)
        return
    link, earlier = before
    if (parent["version"], parent["manifest"]) != (link.version, link.manifest):
        said = f"its parent is {parent['version']} ({parent['manifest'][:12]}…)"
        erased = ", which an erasure without --history left as it was" if commit.text("erasures") else ""
        yield commit.finding(
            "parent", f"{said}, before it is {link.version} ({str(link.manifest)[:12]}…){erased}", REPLAY
        )
    old, new = (each.sealed.sha256 if each.sealed else {} for each in (earlier, log))
    changed = [name for name, digest in old.items() if name not in ANEW and new.get(name) != digest]
    for name in changed:
        yield commit.finding("append", f"{name} is no longer what {link.version} wrote", REPLAY)


def _source(commit: _Commit) -> str:
    section = commit.yaml("params.yaml").get("source")
    return str((section if isinstance(section, dict) else {}).get("path", "data/raw"))


def _digest(value: object) -> str:
    return hashlib.sha256(store.canonical_json(value)).hexdigest()
