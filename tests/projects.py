"""A project in a folder, laid out by hand and built in process: no git, no DVC, and by default no encoder."""

from __future__ import annotations

import json
import shutil
import sysconfig
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from dedupver import pipeline, store, versions
from dedupver.project import Project

PLAIN: Final = {
    "source": {"columns": {"id": "id"}},
    "fingerprint": {"text": {"encoder": None}, "image": {"encoder": None}},
    "engine": {"workers": 1},
}

Files = dict[str, str | bytes]
Rows = list[dict[str, Any]]


def create(root: Path, files: Files | Rows, version: str = "v1", **given: Any) -> Path:
    """Lay out a project that has no base yet."""
    store.write_json(root / "base" / "base.json", {"format": 1, "version": None})
    return reopen(root, files, version, **given)


def reopen(root: Path, files: Files | Rows, version: str, **given: Any) -> Path:
    """Replace the source (rows become one JSONL file) and params.yaml."""
    shutil.rmtree(root / "data", ignore_errors=True)
    for name, data in (files if isinstance(files, dict) else {"rows.jsonl": jsonl(files)}).items():
        store.write_bytes(root / "data/raw" / name, data if isinstance(data, bytes) else data.encode())
    settings(root, version=version, **given)
    return root


def settings(root: Path, *, version: str, base: str = "previous", **given: Any) -> None:
    """Write params.yaml: PLAIN, and `given` over it; a key may be dotted with two underscores."""
    params = json.loads(json.dumps(PLAIN))
    params["version"] = {"name": version, "time": f"2024-01-0{version[-1]}T00:00:00Z", "base": base}
    for name, value in given.items():
        place = params
        *path, last = name.split("__")
        for step in path:
            place = place.setdefault(step, {})
        place[last] = value
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def build(root: Path, *stages: str) -> Path:
    """Run all stages, or those named."""
    for stage in stages or pipeline.STAGES:
        pipeline.run(stage, root)
    return root


def advance(root: Path) -> None:
    """Make what was built the base of the next version, as `dedupver next` does."""
    versions.build_base(root, root / ".base.building")
    shutil.rmtree(root / "base")
    (root / ".base.building").rename(root / "base")


def decisions(root: Path) -> dict[str, dict[str, Any]]:
    """Return each record's decision, by id, as dedup took it."""
    return {row["id"]: row for row in Project(root).decided().live().to_pylist()}


def kept(root: Path) -> set[str]:
    """Return the ids that stay."""
    return {name for name, row in decisions(root).items() if row["action"] == "keep"}


def metrics(root: Path, stage: str) -> dict[str, Any]:
    """Return a stage's metrics."""
    found: dict[str, Any] = store.read_json(root / "metrics" / f"{stage}.json")
    return found


def tree(*folders: Path) -> dict[str, bytes]:
    """Return the bytes of every file below some folders."""
    return {
        f"{d.name}/{p.relative_to(d)}": p.read_bytes() for d in folders for p in sorted(d.rglob("*")) if p.is_file()
    }


def outputs(root: Path) -> dict[str, bytes]:
    """Return the bytes of all that a build writes, but for its times."""
    found = tree(*(root / name for name in ("build", "index", "manifest", "clean", "splits", "metrics", "plots")))
    return {name: data for name, data in found.items() if not name.startswith("build/timings/")}


def jsonl(rows: Rows) -> str:
    """Return one line of JSON a row."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def without_places(path: Path) -> pa.Table:
    """Read a table, less the columns that say where in the source a record lies."""
    table = pq.read_table(path)
    return table.drop_columns([name for name in ("path", "row") if name in table.column_names])


def licences() -> Files:
    """Return the licence texts of the installed packages: many are near duplicates of each other."""
    place = Path(sysconfig.get_paths()["purelib"])
    paths = (
        p
        for p in sorted(place.glob("*.dist-info/**/*"))
        if p.is_file() and p.name.startswith(("LICENSE", "LICENCE", "COPYING"))
    )
    return {"-".join(p.relative_to(place).parts) + ".txt": p.read_bytes() for p in paths}
