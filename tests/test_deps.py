"""dvc.yaml's deps against the modules that each stage really runs."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FUNCTIONS = {
    "fingerprint": "fingerprint",
    "match": "match_",
    "validate": "validate",
    "dedup": "dedup",
    "gates": "gates_",
    "manifest": "manifest_",
    "split": "split_",
    "card": "card",
}


def _file(module: str) -> Path | None:
    path = ROOT / Path(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


def _imports(tree: ast.AST) -> dict[str, Path]:
    """Name in the module → the file of ours it comes from."""
    found: dict[str, Path] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dedupver":
            for alias in node.names:
                path = _file(f"{node.module}.{alias.name}") or _file(str(node.module))
                if path is not None:
                    found[alias.asname or alias.name] = path
    return found


def _closure(start: set[Path]) -> set[Path]:
    """Every file of ours that the files import, at whatever depth."""
    done: set[Path] = set()
    while start - done:
        path = (start - done).pop()
        done.add(path)
        start |= set(_imports(ast.parse(path.read_text())).values())
    return done


def _used_by(stage: str) -> set[Path]:
    """The files a stage's function in pipeline.py reaches, through the helpers beside it."""
    tree = ast.parse((ROOT / "dedupver" / "pipeline.py").read_text())
    defined = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    imported = _imports(tree)
    waiting, seen, used = [FUNCTIONS[stage], "run", "main"], set(), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(defined[name]):
            if isinstance(node, ast.Name):
                waiting += [node.id] if node.id in defined else []
                used |= {imported[node.id]} if node.id in imported else set()
    return _closure(used) | {ROOT / "dedupver" / "pipeline.py"}


@pytest.mark.parametrize("stage", FUNCTIONS)
def test_deps_name_the_modules_a_stage_runs(stage: str) -> None:
    """A change of any module that a stage runs makes DVC run the stage again."""
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    listed = [ROOT / d for d in deps if d.startswith("dedupver/")]
    missing = [p for p in _used_by(stage) if not any(p == d or d in p.parents for d in listed)]
    assert sorted(str(p.relative_to(ROOT)) for p in missing) == []
    superfluous = [d for d in listed if not any(p == d or d in p.parents for p in _used_by(stage))]
    assert superfluous == []
