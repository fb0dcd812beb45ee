"""What DVC's cache holds after many small versions, each of them built by DVC and committed.

    python -m benchmarks.storage                 20 versions of 1,000 records of Linux source, in mode append

Writes benchmarks/results/storage.json. An index is its segments and two small files; a version adds one segment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from benchmarks import scale
from benchmarks.bench import HERE
from dedupver import repository

VERSIONS: Final = 20
RECORDS: Final = 1_000  # of a version


def main() -> None:
    """Build the versions, then add up the cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=24, help="of a record")
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--out", type=Path, default=HERE / "results/storage.json")
    asked = parser.parse_args()
    root = asked.work / "storage"
    start(root)
    tracked: dict[str, set[str]] = {}
    for number in range(1, VERSIONS + 1):
        build(root, number, asked)
        for path, digest in cached(root):
            tracked.setdefault(digest, set()).add(path)
    found = {"versions": VERSIONS, "records": RECORDS, **sizes(root, tracked)}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(asked.out.read_text(encoding="utf-8"))


def start(root: Path) -> None:
    """Make a repository with DVC and dedupver."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run(root, "git", "init", "--quiet")
    for name, value in (("name", "benchmark"), ("email", "benchmark@localhost")):
        run(root, "git", "config", f"user.{name}", value)
    run(root, "dvc", "init", "--quiet")
    run(root, "dvc", "config", "core.analytics", "false")
    run(root, "dedupver", "init")
    settings = {"source.mode": "append", "source.columns.id": "id", "fingerprint.text.encoder": None}
    repository.assign(root / "params.yaml", settings)


def build(root: Path, number: int, asked: argparse.Namespace) -> None:
    """Build and commit a version of further records."""
    if number > 1:
        run(root, "dedupver", "next", f"v{number}")
    parts = scale.prepare(asked, VERSIONS * RECORDS)
    scale.take(parts, (number - 1) * RECORDS, RECORDS, root / f"data/raw/batch-{number:03}.parquet")
    run(root, "dvc", "add", "--quiet", "data/raw")
    run(root, "dvc", "repro", "--quiet")
    run(root, "git", "add", "--all")
    run(root, "git", "commit", "--quiet", "--message", f"v{number}")
    run(root, "git", "tag", f"v{number}")


def cached(root: Path) -> list[tuple[str, str]]:
    """Return path and digest of every file that the outputs of this commit have in the cache."""
    found = []
    lock = repository.read_yaml(root / "dvc.lock")
    outs = [out for stage in lock["stages"].values() for out in stage["outs"]]
    for out in outs:
        if out.get("md5", "").endswith(".dir"):
            listing = json.loads(place(root, out["md5"]).read_text())
            found += [(f"{out['path']}/{each['relpath']}", each["md5"]) for each in listing]
            found.append((out["path"], out["md5"]))
    return found


def sizes(root: Path, tracked: dict[str, set[str]]) -> dict[str, Any]:
    """Add up: the last index's segments, what all versions' indexes hold, and the whole cache, in bytes."""
    segments = sum(path.stat().st_size for path in (root / "index/segments").rglob("*") if path.is_file())
    indexes = {d for d, paths in tracked.items() if any(p == "index" or p.startswith("index/") for p in paths)}
    held = sum(place(root, digest).stat().st_size for digest in indexes)
    by_output: dict[str, int] = {}
    for digest, paths in tracked.items():
        name = min(paths).partition("/")[0] if digest not in indexes else "index"
        by_output[name] = by_output.get(name, 0) + place(root, digest).stat().st_size
    whole = sum(path.stat().st_size for path in (root / ".dvc/cache").rglob("*") if path.is_file())
    files = sum(path.is_file() for path in (root / ".dvc/cache").rglob("*"))
    rows = [pq.read_metadata(path).num_rows for path in (root / "index/segments").glob("*/contents.parquet")]
    return {
        "contents": sum(rows),
        "segments": segments,
        "indexes": held,
        "of_segments": round(held / segments, 4),
        "by_output": by_output,
        "cache": whole,
        "files": files,
    }


def place(root: Path, digest: str) -> Path:
    """Return where DVC's cache has a file."""
    return root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def run(root: Path, *command: str) -> None:
    """Run a command of this environment."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(command, cwd=root, env=env, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
