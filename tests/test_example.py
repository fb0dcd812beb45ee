"""The example that trains a model: its data, its stage under DVC on real licence texts, and the page it wrote."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import projects
import pytest

from dedupver import store
from dedupver.repository import dvc, git

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples/licences"
TELLING = {
    "mit": b"Permission is hereby granted, free of charge",
    "apache-2.0": b"Apache License",
    "bsd-new": b"Redistribution and use in source and binary forms",
}

pytest.importorskip("sklearn")


def module(name: str) -> ModuleType:
    """Load a script of the example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the installed packages' licences, laid out as scancode-toolkit lays out its notices."""
    path = tmp_path_factory.mktemp("wheel") / "notices.whl"
    with zipfile.ZipFile(path, "w") as out:
        for key in TELLING:
            out.writestr(f"licensedcode/data/licenses/{key}.LICENSE", f"---\nkey: {key}\ncategory: {key}\n---\n")
        for name, data in projects.licences().items():
            key = next((key for key, words in TELLING.items() if words in bytes(data)), None)
            if key:
                rule = b"---\nlicense_expression: " + key.encode() + b"\nis_license_text: yes\n---\n" + bytes(data)
                out.writestr(f"licensedcode/data/rules/{name}.RULE", rule)
    return path


def test_a_version_holds_the_one_before(wheel: Path) -> None:
    """v1 is half of the notices, v2 all; a notice keeps its split, and a fraction is one of both."""
    data = module("data")
    with zipfile.ZipFile(wheel) as archive:
        first, second, part = (
            {row["id"]: row for row in data.rows(archive, version, one)}
            for version, one in (("v1", 1), ("v2", 1), ("v2", 3))
        )
    assert first.items() <= second.items()
    assert 0.3 < len(first) / len(second) < 0.7
    assert {name: row["text"] for name, row in part.items()}.items() <= {
        n: r["text"] for n, r in second.items()
    }.items()
    assert {row["split"] for row in second.values()} == {"train", "test"}


def test_a_model_is_trained_on_each_version(wheel: Path, tmp_path: Path) -> None:
    """The whole example but its sweeps: v1 and v2, each with its metrics in git, and nothing left to do."""
    root = tmp_path / "work/project"
    command = ["sh", str(EXAMPLE / "run.sh"), str(Path(sys.executable).parent), str(root), str(wheel), "1", ""]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    told: dict[str, Any] = {v: json.loads(git(root, "show", f"{v}:metrics/train.json")) for v in ("v1", "v2")}
    for metrics in told.values():
        assert metrics["train"] < metrics["train_raw"]
        assert 0 < metrics["test_with_twins"] <= metrics["test"]
        assert metrics["inflated"] == pytest.approx(metrics["accuracy_raw"] - metrics["accuracy"], abs=1e-3)
    assert told["v1"]["train_raw"] < told["v2"]["train_raw"]
    assert json.loads(dvc(root, "status", "--json")) == {}
    shown = json.loads(dvc(root, "exp", "show", "--json"))
    (row,) = module("results").experiments(shown)
    assert (row["version"], row["threshold"], row["accuracy"]) == ("v2", 0.8, told["v2"]["accuracy"])


def test_the_page_says_what_was_measured() -> None:
    """docs/metrics.md has the figures of the committed run."""
    results = module("results")
    page = results.PAGE.read_text(encoding="utf-8")
    assert results.written(page, store.read_json(results.RESULT)) == page
