"""The base's many small segments become few, between `dedupver next` and `dvc repro`.

`version.base: compacted` in params says that it was done, so that a replay of history does it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dedupver import repository, state, store, versions
from dedupver.index import compaction
from dedupver.index.segment import Index
from dedupver.project import Project
from dedupver.repository import dvc
from dedupver.schema import StateError

if TYPE_CHECKING:
    from pathlib import Path

COMPACTED: Final = "compacted"
"""What `version.base` says of a base whose segments were merged."""


def compact(root: Path) -> list[str]:
    """Merge the segments of the base that is open; return what was done and what to type next.

    A failure leaves the base as it was; after a kill, `dvc checkout base` restores it. Raises StateError where no
    version is open or the base is not the one that DVC tracks, ParamsError where it was built with other settings,
    IntegrityError for a damaged file or another format.
    """
    repository.require(root)
    versions.recover(root)
    state.require_idle(root)
    project = Project(root)
    _require_open(project)
    project.base_index(project.built_with())
    before, path = project.params.version.base, root / "params.yaml"
    repository.assign(path, {"version.base": COMPACTED})
    try:
        merged = merge_base(root / "base")
    except BaseException:
        repository.assign(path, {"version.base": before})
        raise
    count = len(Index.open(root / "base" / "index").segments)
    if not merged:
        repository.assign(path, {"version.base": before})
        return [f"nothing to merge: the base has {count} segments"]
    dvc(root, "add", "base")
    return [*(f"merged {versions} versions: {name}" for name, versions in merged.items()), "dvc repro"]


def merge_base(base: Path) -> dict[str, int]:
    """Merge small segments of the index below `base`; return how many versions each merged segment holds, by name."""
    index = Index.open(base / "index")
    plan = compaction.planned(index)
    if all(len(run) == 1 for run in plan):
        return {}
    shared: dict[str, str] = {}
    with store.building(base / "index", shared) as out:
        shared |= compaction.compact(index, plan, out)
    made, before = Index.open(base / "index"), {segment.name for segment in index.segments}
    return {s.name: len(made.versions(s)) for s in made.segments if s.name not in before}


def _require_open(project: Project) -> None:
    """Raise StateError unless the version's base is there, as DVC tracks it, and nothing is built on it yet."""
    root, name = project.root, project.params.version.name
    if project.base is None:
        why = "version.base is none" if project.forgets else "this is the first version"
        raise StateError(f"{name} has no base to merge ({why})")
    if dvc(root, "status", "--json", "base.dvc").strip() not in {"", "{}"}:
        raise StateError("base/ is not what base.dvc says: run `dvc checkout base`")
    header = root / "manifest" / "manifest.json"
    if header.is_file() and store.read_json(header)["version"] == name:
        raise StateError(f"{name} is built on its base already: open the next version with `dedupver next`")
