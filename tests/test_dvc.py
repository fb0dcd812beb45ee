"""The real pipeline under the real DVC: what a DVC power user expects of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from dedupver import replay, versions
from dedupver.pipeline import STAGES
from dedupver.repository import assign, dvc, git
from dedupver.schema import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

LICENCE = (
    "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated "
    "documentation files, to deal in the Software without restriction, including without limitation the rights to use, "
    "copy, modify, merge, publish, distribute, sublicense, and or sell copies of the Software"
)
SUNDIAL = (
    "A sundial shows the time of day by the place of a shadow on a plate that is marked with the hours of daylight"
)
V1 = {"a.txt": LICENCE, "b.txt": LICENCE + " by the authors", "c.txt": SUNDIAL}
V2 = {"d.txt": LICENCE + " by authors", "e.txt": "A text of a dozen words that resembles nothing else at all in here"}

FAST = {"fingerprint.text.encoder": None, "fingerprint.image.encoder": None, "engine.workers": 1}


@pytest.fixture(scope="session")
def _two_versions(
    _empty_repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
    fill_source: Callable[[Path, dict[str, str]], None],
    release_version: Callable[[Path, str], None],
) -> Path:
    """v1 and v2, released by the commands of the docs, with a remote."""
    folder = tmp_path_factory.mktemp("two")
    root = Path(shutil.copytree(_empty_repository, folder / "project"))
    dvc(root, "remote", "add", "--default", "store", str(folder / "remote"))
    versions.init(root)
    assign(root / "params.yaml", FAST)
    fill_source(root, V1)
    release_version(root, "v1")
    versions.next_version(root, "v2", "2026-01-02T00:00:00Z")
    fill_source(root, V2)
    release_version(root, "v2")
    dvc(root, "push", "--quiet", "--all-tags")
    return root


@pytest.fixture
def two(_two_versions: Path, tmp_path: Path) -> Path:
    """Give a copy of the project with v1 and v2 released."""
    return Path(shutil.copytree(_two_versions, tmp_path / "project", symlinks=True))


def _clean(root: Path) -> bool:
    return json.loads(dvc(root, "status", "--json")) == {} and git(root, "status", "--porcelain") == ""


def _metrics(root: Path, stage: str) -> dict[str, object]:
    return dict(json.loads((root / "metrics" / f"{stage}.json").read_text()))


def _ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_repro_twice_is_a_no_op_and_forced_gives_the_same_bytes(two: Path) -> None:
    """Outputs depend on the inputs alone."""
    assert _ran(dvc(two, "repro")) == []
    lock = (two / "dvc.lock").read_bytes()
    assert len(_ran(dvc(two, "repro", "--force"))) == len(STAGES)
    assert (two / "dvc.lock").read_bytes() == lock
    assert _clean(two)


def test_a_new_version_fingerprints_what_is_new_alone(two: Path) -> None:
    """Of v2's five records the base knows three."""
    found = _metrics(two, "fingerprint")
    assert (found["records"], found["new_text_contents"]) == (5, 2)
    assert (_metrics(two, "dedup")["kept"], _metrics(two, "dedup")["across_versions"]) == (3, 1)


def test_an_old_version_checks_out_clean(two: Path) -> None:
    """`git checkout v1 && dvc checkout` is exact, and so is the way back."""
    git(two, "checkout", "--quiet", "v1")
    dvc(two, "checkout", "--quiet")
    assert _clean(two)
    assert sorted(p.name for p in (two / "clean").iterdir()) == ["b.txt", "c.txt"]
    git(two, "checkout", "--quiet", "main")
    dvc(two, "checkout", "--quiet")
    assert _clean(two)


def test_a_clone_goes_on_where_the_original_stood(two: Path, tmp_path: Path) -> None:
    """After `dvc pull` a colleague opens the next version; with all tags fetched, history replays without a run."""
    git(tmp_path, "clone", "--quiet", str(two), "clone")
    clone = tmp_path / "clone"
    with pytest.raises(StateError, match=r"v1 can't be replayed .*dvc pull --all-tags"):
        replay.replay(clone, "again")
    dvc(clone, "pull", "--quiet", "--all-tags")
    assert [(v["version"], v["ran"], v["kept"]) for v in replay.replay(clone, "again")] == [
        ("v1", [], 2),
        ("v2", [], 3),
    ]
    versions.next_version(clone, "v3")
    assert json.loads((clone / "base" / "base.json").read_text())["version"] == "v2"
    assert _ran(dvc(clone, "repro"))[0] == "fingerprint"
    assert _metrics(clone, "fingerprint")["new_text_contents"] == 0


def test_append_mode_judges_all_batches_again(
    repository: Path,
    fill_source: Callable[[Path, dict[str, str]], None],
    release_version: Callable[[Path, str], None],
) -> None:
    """With `version.base: none` v2 has other fingerprints than v1; v3 follows it, and history replays without a run."""
    versions.init(repository)
    assign(repository / "params.yaml", {**FAST, "source.mode": "append"})
    fill_source(repository, V1)
    release_version(repository, "v1")
    versions.next_version(repository, "v2", "2026-01-02T00:00:00Z")
    assign(repository / "params.yaml", {"version.base": "none", "fingerprint.text.shingle": 2})
    fill_source(repository, V2)
    release_version(repository, "v2")
    assert _metrics(repository, "fingerprint")["records"] == 5
    assert sorted(str(p.relative_to(repository / "clean")) for p in (repository / "clean").glob("*/*")) == [
        "v1/b.txt",
        "v1/c.txt",
        "v2/e.txt",
    ]
    with pytest.raises(StateError, match=r"v1 is among .*v1, v2"):
        versions.next_version(repository, "v1")
    assert [(v["version"], v["ran"], v["kept"]) for v in replay.replay(repository, "again")] == [
        ("v1", [], 2),
        ("v2", [], 3),
    ]
    versions.next_version(repository, "v3", "2026-01-03T00:00:00Z")
    dvc(repository, "repro", "--quiet")
    assert _metrics(repository, "fingerprint")["records"] == 0
    assert _metrics(repository, "dedup")["kept"] == 3


def test_a_clone_that_pulls_is_clean(two: Path, tmp_path: Path) -> None:
    """The remote holds all that a colleague needs, for every tag."""
    git(tmp_path, "clone", "--quiet", str(two), "clone")
    clone = tmp_path / "clone"
    dvc(clone, "pull", "--quiet")
    assert _clean(clone)
    git(clone, "checkout", "--quiet", "v1")
    dvc(clone, "pull", "--quiet")
    assert _clean(clone)


def test_garbage_collection_with_tags_loses_nothing(two: Path) -> None:
    """What v1 and v2 use stays in the cache."""
    dvc(two, "gc", "--workspace", "--all-tags", "--force", "--quiet")
    for version in ("v1", "v2"):
        git(two, "checkout", "--quiet", version)
        dvc(two, "checkout", "--quiet")
        assert _clean(two)


def test_an_experiment_over_a_threshold_runs_the_last_stages(two: Path) -> None:
    """The matches are there already, and the base is not touched."""
    base = (two / "base.dvc").read_bytes()
    output = dvc(two, "exp", "run", "-S", "dedup.thresholds.text=0.97")
    assert _ran(output) == [*STAGES[STAGES.index("dedup") :]]
    assert _metrics(two, "dedup")["kept"] == 4  # d.txt has a Jaccard of .93 with b.txt
    assert (two / "base.dvc").read_bytes() == base
    assert "base" not in dvc(two, "status")


def test_a_failed_gate_leaves_the_version_as_it_was(two: Path) -> None:
    """DVC takes away what a stage writes before it runs it, so the gates are a stage before; a wider bound lets it pass."""
    before = {p: p.read_bytes() for name in ("manifest", "clean") for p in (two / name).rglob("*") if p.is_file()}
    assign(two / "params.yaml", {"gates.min_records": 2, "gates.removed": 0.3, "gates.cluster": 0.5})
    with pytest.raises(StateError, match=r"stages/gates\.py, exited with 7\n(.*\n)*.*gates\.removed: 0\.5"):
        dvc(two, "repro")
    assert before == {
        p: p.read_bytes() for name in ("manifest", "clean") for p in (two / name).rglob("*") if p.is_file()
    }
    assert (_metrics(two, "gates")["failed"], _metrics(two, "gates")["removed"]) == (1, 0.5)  # of the newcomers
    with pytest.raises(StateError, match="nothing was written"):  # not even alone
        dvc(two, "repro", "--single-item", "manifest")
    dvc(two, "checkout", "--quiet", "manifest", "clean")
    assign(two / "params.yaml", {"gates.removed": 0.5})
    assert _ran(dvc(two, "repro")) == [*STAGES[STAGES.index("gates") :]]
    assert json.loads(dvc(two, "status", "--json")) == {}


def test_an_experiment_whose_gate_fails_leaves_the_workspace_as_it_was(two: Path) -> None:
    """In a temporary workspace it fails; here nothing changes, and there is no such experiment."""
    with pytest.raises(StateError, match="gates"):
        dvc(two, "exp", "run", "--temp", "-S", "gates.min_records=2", "-S", "gates.removed=0.3")
    assert _clean(two)
    assert dvc(two, "exp", "list", "--name-only").split() == []


def test_a_queued_sweep_in_temporary_workspaces(two: Path) -> None:
    """Every queued threshold gives an experiment; the workspace stays as it was."""
    dvc(two, "exp", "run", "--queue", "-S", "dedup.thresholds.text=0.7,0.97")
    dvc(two, "exp", "run", "--run-all", "--jobs", "1")
    shown = json.loads(dvc(two, "exp", "show", "--json"))
    tip = next(r for r in shown if r["rev"] != "workspace")
    kept = {}
    for experiment in tip["experiments"]:
        data = experiment["revs"][0]["data"]
        threshold = data["params"]["params.yaml"]["data"]["dedup"]["thresholds"]["text"]
        kept[threshold] = data["metrics"]["metrics/dedup.json"]["data"]["kept"]
    assert kept == {0.7: 3, 0.97: 4}
    assert _clean(two)


def test_an_old_version_is_read_by_its_revision(two: Path, tmp_path: Path) -> None:
    """`--rev` serves metrics and data of a version that is not checked out."""
    shown = json.loads(dvc(two, "metrics", "diff", "v1", "v2", "--json"))
    assert shown["metrics/dedup.json"]["kept"] == {"old": 2, "new": 3, "diff": 1}
    dvc(tmp_path, "get", "--quiet", str(two), "clean", "--rev", "v1", "--out", str(tmp_path / "old"))
    assert sorted(p.name for p in (tmp_path / "old").iterdir()) == ["b.txt", "c.txt"]
    listed = {c["path"] for c in json.loads(dvc(two, "diff", "--json", "v1", "v2"))["added"]}
    assert {"manifest/v2.kept.parquet", "manifest/v2.removed.parquet", "clean/e.txt"} <= listed


def test_a_threshold_below_the_floor_is_refused(two: Path) -> None:
    """The error names the key and the floor."""
    with pytest.raises(StateError):
        dvc(two, "exp", "run", "-S", "dedup.thresholds.text=0.3")


def test_plots_are_drawn(two: Path) -> None:
    """`dvc plots show` finds every plot that dvc.yaml names."""
    dvc(two, "plots", "show", "--out", "drawn")
    stages = yaml.safe_load((two / "dvc.yaml").read_text())["stages"].values()
    page = (two / "drawn" / "index.html").read_text()
    for plot in (next(iter(p)) for s in stages for p in s.get("plots", [])):
        assert (two / plot).exists()
    assert "Verified matches by score" in page


def test_replay_at_the_same_params_runs_nothing(two: Path) -> None:
    """Every stage of every version is in the run-cache; at another threshold history differs."""
    same = replay.replay(two, "again")
    assert [(v["version"], v["ran"], v["kept"]) for v in same] == [("v1", [], 2), ("v2", [], 3)]
    other = replay.replay(two, "strict", {"dedup.thresholds.text": "0.97"})
    assert [v["kept"] for v in other] == [3, 5]
    assert _clean(two)
