"""The image benchmark: every tool on the same image files, in turn, several rounds; recall by transform, false pairs.

    python -m benchmarks.images                 1,500 drawings and the photographs, with copies
    python -m benchmarks.images --full          all drawings

Downloads, environments and data are kept in benchmarks/.work, as those of `bench`; results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import statistics
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from benchmarks import image_score, image_tasks
from benchmarks.bench import HERE, machine, tell
from benchmarks.tools import Tool, run

TOOLS: Final = (
    Tool("dedupver, phash", "dedupver-images", given={"encoder": None}),
    Tool("dedupver, embedding", "dedupver-images", given={"encoder": "efficientnet-lite0"}),
    Tool("czkawka 15", "czkawka", given={"similarity": 15}),
    Tool("czkawka 5", "czkawka", given={"similarity": 5}, subset=False),
    Tool("image-dedup-ai", "image-dedup-ai"),
    Tool("imagededup", "imagededup"),
    Tool("cleanvision", "cleanvision"),
    Tool("fastdup", "fastdup"),
)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all drawings")
    parser.add_argument("--tools", nargs="+", choices=[t.name for t in TOOLS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.threads])
    size = "full" if asked.full else "subset"
    images = image_tasks.prepare(size, asked.work)
    tools = [t for t in TOOLS if (t.name in asked.tools if asked.tools else asked.full or t.subset)]
    results: dict[str, Any] = {
        "size": size,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(),
        "threads": asked.threads,
        "files": {kind: images.made.count(kind) for kind in dict.fromkeys(images.made)},
        "bytes": images.bytes,
        "sha256": images.sha256,
        "packages": {},
        "runs": [],
    }
    for number in range(asked.rounds):
        for tool in tools:
            results["runs"].append(one_run(tool, number, images, asked, results["packages"]))
        write(results, asked.out / f"images-{size}.json")


def one_run(
    tool: Tool, number: int, images: image_tasks.Images, asked: argparse.Namespace, packages: dict[str, Any]
) -> dict[str, Any]:
    """Run a tool once and judge it."""
    out = asked.work / "run"
    shutil.rmtree(out, ignore_errors=True)
    told = run(tool, images.data, out, asked.threads, asked.work)
    packages[tool.peer] = told.pop("packages")
    dropped = pq.read_table(out / "dropped.parquet")["row"].to_numpy()
    found = pq.read_table(out / "pairs.parquet")
    pairs = np.stack([found["left"].to_numpy(), found["right"].to_numpy()], axis=1)
    scores = image_score.score(images, dropped, pairs)
    tell(
        f"{number + 1} {tool.name:20} {told['seconds']:8.2f} s {told['peak'] / 2**20:7,.0f} MiB {scores['false_pairs']} false"
    )
    return {"tool": tool.name, "round": number, **told, "scores": scores}


def write(results: dict[str, Any], place: Path) -> None:
    """Write the results so far, as JSON and as Markdown."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    place.with_suffix(".md").write_text(markdown(results), encoding="utf-8")


def markdown(results: dict[str, Any]) -> str:
    """Return the page: times, then recall by transform."""
    files, machine_ = results["files"], results["machine"]
    kinds = [kind for kind in files if kind != "original"]
    columns = ["tool", "seconds", "CPU s", "peak MiB", *kinds, "pairs", "false pairs", "dropped", "lost"]
    lines = [
        f"# Images: {results['size']}",
        "",
        f"{machine_['processor']}, {results['threads']} cores used, Python {machine_['python']}; {results['date']}.",
        f"{files['original']:,} originals and {sum(files[k] for k in kinds):,} copies, {results['bytes'] / 1e6:,.0f} MB.",
        f"sha256 `{results['sha256'][:16]}…`. Medians of {1 + max(r['round'] for r in results['runs'])} rounds.",
        "",
        "| " + " | ".join(columns) + " |",
        "|---" + "|---:" * (len(columns) - 1) + "|",
    ]
    for tool in dict.fromkeys(r["tool"] for r in results["runs"]):
        mine = [r for r in results["runs"] if r["tool"] == tool]
        seconds, cpu, peak = (statistics.median(r[name] for r in mine) for name in ("seconds", "cpu", "peak"))
        said = mine[-1]["scores"]
        counts = (said[name] for name in ("pairs", "false_pairs", "dropped", "lost"))
        cells = [f"{seconds:,.1f}", f"{cpu:,.1f}", f"{peak / 2**20:,.0f}", *(f"{said['recall'][k]:.3f}" for k in kinds)]
        lines.append("| " + " | ".join([tool, *cells, *(f"{count:,}" for count in counts)]) + " |")
    legend = str(image_score.__doc__).strip().splitlines()[2:]
    return "\n".join([*lines, "", *legend, ""])


if __name__ == "__main__":
    main()
