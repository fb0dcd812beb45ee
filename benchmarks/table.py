"""The results as Markdown: what was run, the tables, and what their columns mean."""

from __future__ import annotations

import statistics
from typing import Any, Final

from benchmarks import score

Rows = list[dict[str, Any]]

_COLUMNS: Final = {
    "tool": "tool",
    "seconds": "seconds",
    "work": "without start",
    "cpu": "CPU s",
    "ratio": "× dedupver",
    "mb": "MB/s",
    "peak": "peak MiB",
    "dropped": "dropped",
    "recall": "recall",
    "precision": "precision",
    "justified": "justified",
    "pair_recall": "pair recall",
    "pair_precision": "pair precision",
}
_LEGEND: Final = """- seconds: median, from the start of the process to decisions on disk; "without start": less interpreter and imports.
- CPU s: user and system time of all its processes up to there; less sensitive than seconds to what else the machine does.
- × dedupver: median over the rounds of the ratio to dedupver in the same round; below 1 is faster than dedupver.
- peak: the most memory resident in all of the tool's processes together; of a page that they share each counts its part.
- The truth is exact: all pairs of records whose sets of 3-word shingles have a Jaccard similarity ≥ 0.8, in the tool's
  own notion of a word (benchmarks/truth.py). Of a tool that lists no pairs, only what it drops is judged.
- dedupver lists no pairs of buckets beyond `match.bucket_cap` members, only who is in them, and compares those that a
  decision needs: there its pair recall is low and its decisions are not."""


def medians(runs: Rows, tasks: dict[str, Any]) -> Rows:
    """Return a row for each task and tool, in the order of the runs."""
    baseline = {(r["task"], r["round"]): r["seconds"] for r in runs if r["tool"] == "dedupver"}
    rows = []
    for task, tool in dict.fromkeys((r["task"], r["tool"]) for r in runs):
        mine = [r for r in runs if (r["task"], r["tool"]) == (task, tool)]
        middle = {name: statistics.median(r[name] for r in mine) for name in ("seconds", "work", "cpu", "peak")}
        ratios = [r["seconds"] / baseline[task, r["round"]] for r in mine if (task, r["round"]) in baseline]
        rows.append(
            {
                **mine[-1]["scores"],
                "task": task,
                "tool": tool,
                "rounds": len(mine),
                **middle,
                "spread": [min(r["seconds"] for r in mine), max(r["seconds"] for r in mine)],
                "ratio": statistics.median(ratios) if ratios else None,
                "mb": tasks[task]["bytes"] / 1e6 / middle["seconds"],
                "steps": {name: statistics.median(r["steps"][name] for r in mine) for name in mine[0]["steps"]},
            }
        )
    return rows


def markdown(results: dict[str, Any]) -> str:
    """Return the page."""
    lines = [f"# Benchmark: {results['size']}", "", *_about(results), ""]
    for name, task in results["tasks"].items():
        mine = [row for row in results["table"] if row["task"] == name]
        lines += [f"## {name}: {task['about']}", "", _said(task), "", *_table(mine), "", *_steps(mine), ""]
    return "\n".join(
        [*lines, "## What the columns mean", "", _LEGEND, "", *str(score.__doc__).strip().splitlines()[2:], ""]
    )


def _about(results: dict[str, Any]) -> list[str]:
    machine, settings = results["machine"], results["settings"]
    return [
        f"{machine['processor']}, {results['threads']} cores used, {machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}; {results['date']}.",
        f"Word shingles of {settings['shingle']}, Jaccard ≥ {settings['threshold']}, {settings['num_perm']} permutations; bands as each tool chooses them.",
        f"Tools in turn (A B C A B C …), {results['rounds']} rounds after one warm-up on a few records. Packages: "
        + ", ".join(f"{name} {found[name]}" for name, found in results["packages"].items() if name in found)
        + ".",
    ]


def _said(task: dict[str, Any]) -> str:
    return f"{task['records']:,} records, {task['bytes'] / 1e6:,.1f} MB, from {task['source']}; sha256 `{task['sha256'][:16]}…`."


def _table(rows: Rows) -> list[str]:
    lines = ["| " + " | ".join(_COLUMNS.values()) + " |", "|---" + "|---:" * (len(_COLUMNS) - 1) + "|"]
    for row in sorted(rows, key=lambda r: r["seconds"]):
        cells = {**row, "peak": row["peak"] / 2**20}
        lines.append("| " + " | ".join(_cell(name, cells.get(name)) for name in _COLUMNS) + " |")
    return lines


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        digits = {"peak": 0, "recall": 4, "precision": 4, "justified": 4, "pair_recall": 4, "pair_precision": 4}
        return f"{value:,.{digits.get(name, 2)}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _steps(rows: Rows) -> list[str]:
    return [
        f"- {row['tool']}: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["steps"].items())
        for row in rows
        if row["steps"]
    ]
