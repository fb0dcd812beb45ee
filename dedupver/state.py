"""Whether what lies in the workspace is one finished version, built from the params that lie beside it.

All but `require_released` compare a header with params and the digests of a few listings, which takes milliseconds.
Whether data was changed since, only `dvc status` and `dedupver check` can tell.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import pydantic

from dedupver import params, repository, reviews, store
from dedupver.manifest import FILES, HEADER, REVIEWS, open_manifest
from dedupver.project import running
from dedupver.repository import dvc
from dedupver.schema import SourceError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WORKSHOP: Final = ".next.building"
"""Where the next base is built and the old one waits until params.yaml is written; git and DVC ignore it."""
RELEASED: Final = (
    *("dvc.lock", "dvc.yaml", "params.yaml", "reviews.csv", "stages"),
    *("metrics", "DATASET.md", "croissant.json", "*.dvc"),
)
BUILT: Final = ("build/fingerprint", "index", "build/match", "build/validate", "build/dedup")
"""What stages write before the manifest, in their order."""
FETCH: Final = "run `dvc checkout`, or `dvc pull` where it was built elsewhere"
REBUILD: Final = "run `dvc repro`"


def require_idle(root: Path) -> None:
    """Raise StateError where a stage runs, or `dedupver next` was interrupted."""
    if owner := running(root):
        raise StateError(f"another run works here (process {owner}): wait for it to end")
    if (root / WORKSHOP).is_dir():
        raise StateError("`dedupver next` was interrupted: run it again, it begins by putting back what it had changed")


def require_whole(root: Path) -> dict[str, Any]:
    """Return the header of the version that was built here: what lies in the workspace is all of that one version.

    Params may have been edited since; a manifest that was checked out alone is whole. Raises StateError that says how
    to go on.
    """
    require_idle(root)
    if not (root / "manifest").is_dir():
        raise StateError(f"manifest/ is missing{_killed(root)}: {_way(root)}")
    log = open_manifest(root / "manifest")
    problem = next(_mixed(root, log.header, log.path), None)
    if problem:
        raise StateError(f"{problem}{_killed(root)}: {_way(root)}; --rev HEAD asks the version that was committed")
    return log.header


def require_built(root: Path, *, reviewed: bool = True) -> dict[str, Any]:
    """Return the header of the version in the workspace: one finished version, built from the params that lie there.

    And from what people say of pairs now, unless that is no matter (`reviewed`). Raises StateError that says how to
    go on.
    """
    header = require_whole(root)
    missing = next((name for name in (*BUILT, "clean") if not (root / name).is_dir()), None)
    if missing:
        raise StateError(f"{missing}/ is missing: {_way(root)}")
    if edited := _edited(root, header, reviewed=reviewed):
        raise StateError(f"{edited}: {_way(root)}")
    return header


def as_built(root: Path) -> list[str]:
    """Return what must be said before the version here is spoken of: that params have been edited since it was built.

    Raises StateError as `require_whole` does.
    """
    header = require_whole(root)
    edited = _edited(root, header)
    return [f"{edited}. What follows is {header['version']} as it was built: {_way(root)}"] if edited else []


def require_released(root: Path) -> dict[str, Any]:
    """Return the header of the version in the workspace, which is built from all that lies there, and committed.

    It asks DVC and git, which takes seconds. Raises StateError that says how to go on.
    """
    require_idle(root)
    name = params.load(root / "params.yaml").version.name
    if dvc(root, "status", "--json").strip() not in {"", "{}"}:
        raise StateError(f"{name} is not built from what is here (`dvc status`): run `dvc repro`, then `git commit`")
    if not (root / "manifest" / HEADER).is_file():
        raise StateError(f"manifest/ is missing: {FETCH}")
    header: dict[str, Any] = store.read_json(store.verified(root / "manifest") / HEADER)
    if header["version"] != name:
        raise StateError(f"manifest/ is of {header['version']}, params.yaml says {name}: {REBUILD}")
    if changed := repository.uncommitted(root, RELEASED):
        raise StateError(
            f"{name} is not released, {changed[0]} has changes: run `git add . && git commit -m {name} && "
            f"git tag {name}`"
        )
    return header


def _mixed(root: Path, header: Mapping[str, Any], place: Path) -> Iterator[str]:
    """Yield what of the workspace is missing, or of another run than the manifest."""
    there = [name for name in BUILT if (root / name / store.LISTING).is_file()]
    if there:
        yield from (f"{name}/ is missing" for name in BUILT if name not in there)
    stated = header.get("digests", {})
    for name, digest in (("build/fingerprint", stated.get("source")), ("index", stated.get("index"))):
        if name in there and digest and store.sha256_file(root / name / store.LISTING) != digest:
            yield f"{name}/ is not what manifest/ was written for ({header['version']})"
    if "build/dedup" in there:
        made, written = (store.read_json(path / store.LISTING)["sha256"] for path in (root / "build/dedup", place))
        names = [(f"{name}.parquet", f"{header['version']}.{name}.parquet") for name in FILES.values()]
        if any(made.get(ours) != written.get(its) for ours, its in names):
            yield f"build/dedup/ is not what manifest/ was written for ({header['version']})"
    yield from _unrelated(root, header)


def _unrelated(root: Path, header: Mapping[str, Any]) -> Iterator[str]:
    """Yield that the base is neither the version's parent, nor, where the next version was opened, the version."""
    stated = root / "base" / "base.json"
    if not stated.is_file() or "parent" not in header:
        return
    name, parent = store.read_json(stated)["version"], header["parent"]
    if name == header["version"] or (parent is None and header["params"].get("version", {}).get("base") == "none"):
        return
    listing = root / "base" / "manifest" / store.LISTING
    if name != (parent and parent["version"]):
        yield f"base/ is {name or 'empty'}, manifest/ was written for {parent['version'] if parent else 'an empty one'}"
    elif parent and (not listing.is_file() or store.sha256_file(listing) != parent["manifest"]):
        yield f"base/ is not the {name} that manifest/ was written for"


def _edited(root: Path, header: Mapping[str, Any], *, reviewed: bool = True) -> str | None:
    """Return in words how params and reviews differ from those that a version was built with; None: they do not."""
    now = params.load(root / "params.yaml").deciding()
    name, is_now = header["version"], now["version"]["name"]
    if name != is_now:
        return f"manifest/ is of {name}, params.yaml says {is_now}"
    try:
        then = params.Params.model_validate(header["params"]).deciding()
    except pydantic.ValidationError:
        return f"{name} was built with params that this release does not know"
    here, there = _flat(now), _flat(then)
    keys = [key for key in sorted(here.keys() | there.keys()) if here.get(key) != there.get(key)]
    if not keys:
        return _reviewed(root, now["dedup"]["reviews"], name) if reviewed else None
    more = f" (and {len(keys) - 1} keys more differ)" if len(keys) > 1 else ""
    return f"params.yaml says {keys[0]}: {here.get(keys[0])}, {name} was built with {there.get(keys[0])}{more}"


def _reviewed(root: Path, file: str, version: str) -> str | None:
    """Return in words that people say something else of pairs than they did when a version was built."""
    log = open_manifest(root / "manifest")
    if log.sealed is None or REVIEWS not in log.sealed.sha256:
        return None
    try:
        now = [(each.left, each.right, each.label) for each in reviews.read(root / file)]
    except SourceError as error:
        return f"{file} can't be read ({error})"
    return None if now == log.reviews() else f"{file} was edited since {version} was built"


def _flat(value: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, its in value.items():
        flat |= _flat(its, f"{above}{key}.") if isinstance(its, dict) and its else {f"{above}{key}": its}
    return flat


def _killed(root: Path) -> str:
    """Return, where it looks so, that a stage was killed."""
    left = [*root.glob(".*.building"), *(root / "build").glob(".*.building"), *(root / "build").glob(".running")]
    return ", a stage was killed" if left else ""


def _way(root: Path) -> str:
    """Return how to come by what is to be built from what is here: DVC has it, or it is yet to be built."""
    lock, given = root / "dvc.lock", root / "params.yaml"
    if not lock.is_file():
        return REBUILD
    stages = repository.plain_yaml(lock.read_text(encoding="utf-8"), "dvc.lock").get("stages", {})
    locked = stages.get("manifest", {}).get("params", {}).get(given.name, {})
    now = repository.plain_yaml(given.read_text(encoding="utf-8"), given.name) or {}
    deps = [dep for stage in stages.values() for dep in stage.get("deps", [])]
    same = all(repository.value_at(now, key) == value for key, value in locked.items()) and not any(
        _changed(root, dep) for dep in deps
    )
    return FETCH if locked and same else REBUILD


def _changed(root: Path, dep: Mapping[str, Any]) -> bool:
    """Return whether an input is another than the one that was built from: reviews by their bytes, data by its .dvc."""
    path = root / dep["path"]
    if path.suffix == ".csv" and path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != dep.get("md5")
    tracked = path.with_name(f"{path.name}.dvc")
    if not tracked.is_file():
        return False
    outs = (repository.plain_yaml(tracked.read_text(encoding="utf-8"), tracked.name) or {}).get("outs", [])
    return bool(outs) and dep.get("md5") != outs[0].get("md5")
