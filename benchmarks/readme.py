"""Put the benchmarks' results into the README and into docs/kinds, between their markers.

python -m benchmarks.readme
"""

from __future__ import annotations

import importlib
import json
import re
import statistics
from typing import Any, Final

from benchmarks.bench import HERE

README: Final = HERE.parent / "README.md"
DOCS: Final = HERE.parent / "docs" / "kinds"
KINDS: Final = ("audio", "embeddings", "joint", "joint_media", "parts", "row", "text", "video")
OVERVIEW: Final = DOCS / "README.md"
OF_ALL: Final = ("full", "images-subset", *(f"kinds/{kind}" for kind in KINDS))
SOURCES: Final = HERE.parent / "docs/sources.md"
RESULTS: Final = HERE / "results"
TEXTS: Final = ("tool", "seconds", "× dedupver", "CPU s", "peak MiB", "recall", "precision")
EDITS: Final = ("jpeg50", "half", "colour", "mirror", "crop80")


def main() -> None:
    """Write."""
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    SOURCES.write_text(of_shards(SOURCES.read_text(encoding="utf-8")), encoding="utf-8")
    OVERVIEW.write_text(of_overview(OVERVIEW.read_text(encoding="utf-8")), encoding="utf-8")
    for kind in KINDS:
        page = DOCS / f"{kind}.md"
        page.write_text(of_kind(kind, page.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """Return the README with its tables made anew from the committed results."""
    names = ("full", "full-timings", "images-subset")
    full, timings, images = (json.loads((RESULTS / f"{name}.json").read_text()) for name in names)
    tables = {f"full {task}": texts(timed(full, timings), task) for task in full["tasks"]}
    return between(text, tables | {"images": pictures(images)})


def timed(full: dict[str, Any], timings: dict[str, Any]) -> dict[str, Any]:
    """Return the results of a run with the scores of one that was compared with the truth."""
    scores = {
        (row["task"], row["tool"]): {name: row[name] for name in ("recall", "precision") if name in row}
        for row in full["table"]
    }
    return {**timings, "table": [{**row, **scores[row["task"], row["tool"]]} for row in timings["table"]]}


def of_kind(kind: str, text: str) -> str:
    """Return the page of a kind with its tables made anew, by the module of its benchmark."""
    results = json.loads((RESULTS / f"kinds/{kind}.json").read_text())
    tables: dict[str, list[str]] = importlib.import_module(f"benchmarks.kinds.{kind}").tables(results)
    return between(text, tables)


def of_overview(text: str) -> str:
    """Return the page that shows all kinds beside other tools."""
    results = {name.rpartition("/")[2]: json.loads((RESULTS / f"{name}.json").read_text()) for name in OF_ALL}
    tables: dict[str, list[str]] = importlib.import_module("benchmarks.kinds.overview").tables(results)
    return between(text, tables)


def of_shards(text: str) -> str:
    """Return the page on sources with what it takes to read a gigabyte of samples."""
    results = json.loads((RESULTS / "shards.json").read_text())
    return between(text, {"measured": importlib.import_module("benchmarks.shards").page(results).splitlines()})


def between(text: str, tables: dict[str, list[str]]) -> str:
    """Return a page with tables put between the markers of their names."""
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        block = "\n".join([begin, *lines, end])
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


def texts(results: dict[str, Any], task: str) -> list[str]:
    """Return the table of a task, the fastest first."""
    rows = sorted((row for row in results["table"] if row["task"] == task), key=lambda row: row["seconds"])
    return table(
        TEXTS,
        [
            [
                row["tool"],
                f"{row['seconds']:.1f}",
                f"{row['ratio']:.2f}",
                f"{row['cpu']:.1f}",
                f"{row['peak'] / 2**20:,.0f}",
                *(f"{row[name]:.3f}" if name in row else "–" for name in ("recall", "precision")),
            ]
            for row in rows
        ],
    )


def pictures(results: dict[str, Any]) -> list[str]:
    """Return the table of the image benchmark, the fastest first."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in results["runs"]:
        runs.setdefault(run["tool"], []).append(run)
    rows = []
    for tool, mine in sorted(runs.items(), key=lambda each: statistics.median(run["seconds"] for run in each[1])):
        said = mine[-1]["scores"]
        seconds = statistics.median(run["seconds"] for run in mine)
        recalls = [f"{said['recall'][edit]:.2f}" for edit in EDITS]
        rows.append([tool, f"{seconds:.0f}", *recalls, f"{said['false_pairs']:,}", f"{said['lost']:,}"])
    return table(("tool", "seconds", *EDITS, "false pairs", "lost"), rows)


def table(columns: tuple[str, ...], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table of Markdown."""
    head = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    return [*head, *("| " + " | ".join(row) + " |" for row in rows)]


if __name__ == "__main__":
    main()
