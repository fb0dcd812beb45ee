"""Gather what run.sh left beside its project into results.json, and write its figures into docs/metrics.md."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULT = HERE / "results.json"
PAGE = HERE.parents[1] / "docs/metrics.md"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"


def gather(work: Path) -> dict[str, Any]:
    """Return a row for each version and threshold, and how much longer the raw data took to train on."""
    rows = [row for version in ("v1", "v2") for row in experiments(json.loads((work / f"{version}.json").read_bytes()))]
    seconds = {version: json.loads((work / f"{version}.seconds.json").read_bytes()) for version in ("v1", "v2")}
    cost = {version: round(spent["raw"] / spent["clean"], 1) for version, spent in seconds.items()}
    return {"rows": rows, "training_time_raw_to_clean": cost}


def experiments(shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest commit and its experiments of `dvc exp show --json`, by threshold."""
    tip = next(each for each in shown if each["rev"] != "workspace")
    states = [tip, *(each["revs"][0] for each in tip.get("experiments") or [])]
    return sorted((_row(state["data"]) for state in states), key=lambda row: row["threshold"])


def _row(data: dict[str, Any]) -> dict[str, Any]:
    params = data["params"]["params.yaml"]["data"]
    metrics = {Path(name).stem: each["data"] for name, each in data["metrics"].items()}
    return {
        "version": params["version"]["name"],
        "history": params["dedup"]["history"],
        "threshold": params["dedup"]["thresholds"]["text"],
        "kept": metrics["dedup"]["kept"],
        **metrics["train"],
    }


def figures(found: dict[str, Any]) -> str:
    """Return the part of the page that is measured."""
    head = (
        *("version", "threshold", "train records", "test records", "with a twin in train"),
        *("trained as it came", "trained clean", "inflated by", "unseen: as it came", "unseen: clean"),
    )
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for row in found["rows"]:
        default = " (default)" if row["history"] == "frozen" else ""
        cells = [row["version"], f"{row['threshold']:g}{default}", f"{row['train']:,} of {row['train_raw']:,}"]
        cells += [f"{row['test']:,}", f"{row['test_with_twins']:,}"]
        cells += [_number(row[name]) for name in ("accuracy_raw", "accuracy", "inflated", "unseen_raw", "unseen")]
        lines.append(f"| {' | '.join(cells)} |")
    ratios = ", ".join(
        f"{ratio:g} times in {version}" for version, ratio in found["training_time_raw_to_clean"].items()
    )
    return "\n".join(
        [*lines, "", f"Training on the data as it came took longer than on the clean data at 0.8: {ratios}."]
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def written(page: str, found: dict[str, Any]) -> str:
    """Return the page with these figures."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{figures(found)}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    results = gather(Path(sys.argv[1]))
    RESULT.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
