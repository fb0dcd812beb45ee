"""The stage `train`: the same model on the data as it came and on the clean data, asked for the same test records.

Those are the test records of the clean data. Some have a twin among the train records as they came: a train record that
dedup dropped for one of them, for the test record is protected. Of the others no near copy was trained on.
Metrics are written to metrics/train.json; the seconds, which differ from run to run, to build/timings/train.json.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import LinearSVC

from dedupver.manifest import open_manifest

Rows = list[dict[str, Any]]


def main() -> None:
    """Train twice, and write what came of it."""
    settings = yaml.safe_load(Path("train.yaml").read_text(encoding="utf-8"))
    raw, clean = (read(Path(folder)) for folder in ("data/raw", "clean"))
    test = [row for row in clean if row["split"] == "test"]
    twins = with_twins(raw)
    unseen = [row for row in test if row["id"] not in twins]
    models, seconds = {}, {}
    for name, rows in (("raw", raw), ("clean", clean)):
        began = time.process_time()
        models[name] = fit([row for row in rows if row["split"] == "train"], settings)
        seconds[name] = round(time.process_time() - began, 3)
    accuracy = {name: score(model, test) for name, model in models.items()}
    write(
        Path("metrics/train.json"),
        {
            "accuracy": accuracy["clean"],
            "accuracy_raw": accuracy["raw"],
            "inflated": round(accuracy["raw"] - accuracy["clean"], 4),
            "unseen": score(models["clean"], unseen),
            "unseen_raw": score(models["raw"], unseen),
            "train": sum(row["split"] == "train" for row in clean),
            "train_raw": sum(row["split"] == "train" for row in raw),
            "test": len(test),
            "test_with_twins": len(test) - len(unseen),
        },
    )
    write(Path("build/timings/train.json"), seconds)


def read(folder: Path) -> Rows:
    """Return the rows of the tables in a folder."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def with_twins(raw: Rows) -> set[str]:
    """Return the ids for which a train record was dropped."""
    splits = {row["id"]: row["split"] for row in raw}
    live = open_manifest(Path("manifest")).live(("id", "representative"))
    pairs = zip(live["id"].to_pylist(), live["representative"].to_pylist(), strict=True)
    return {kept for dropped, kept in pairs if kept and splits[dropped] == "train"}


def fit(rows: Rows, settings: dict[str, Any]) -> Pipeline:
    """Fit a linear classifier of weighted words."""
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC(C=settings["C"], random_state=settings["seed"]))
    return model.fit([row["text"] for row in rows], [row["label"] for row in rows])


def score(model: Pipeline, rows: Rows) -> float | None:
    """Return the share of the rows whose label is told right; None where there is none."""
    if not rows:
        return None
    return round(float(model.score([row["text"] for row in rows], [row["label"] for row in rows])), 4)


def write(path: Path, value: dict[str, Any]) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
