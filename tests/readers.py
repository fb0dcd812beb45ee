"""Read clean datasets the way people do, and print what came out as JSON: `python readers.py ROOT...`.

It runs in an environment of its own (tests/readers.txt). Each root has clean/, DATASET.md and croissant.json.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": tempfile.mkdtemp(), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import datasets
import mlcroissant
import pandas as pd
import webdataset

PANDAS = {
    "parquet": pd.read_parquet,
    "jsonl": lambda path: pd.read_json(path, lines=True),
    "csv": pd.read_csv,
    "tsv": lambda path: pd.read_csv(path, sep="\t"),
    "feather": pd.read_feather,
}


def rows(found: datasets.DatasetDict) -> int:
    """Count the rows of all splits."""
    return sum(split.num_rows for split in found.values())


def pasted(page: str) -> dict[str, int]:
    """Run the lines of the page that say how to read it, and count what each gives."""
    code = page.rsplit("```python", 1)[1].split("```", maxsplit=1)[0].strip().splitlines()
    names: dict[str, object] = {}
    exec(code[0], names)  # the imports
    counts = {}
    for line in filter(None, code[1:]):
        found = eval(line, names)
        counts[line.split(".")[0]] = (
            rows(found)
            if isinstance(found, datasets.DatasetDict)
            else len(list(found) if isinstance(found, webdataset.WebDataset) else found.fetchall())
        )
    return counts


def configured(root: Path) -> dict[str, int]:
    """Load each configuration of the page as if it were the README of a dataset's repository."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(root / "clean", Path(folder) / "clean")
        shutil.copyfile(root / "DATASET.md", Path(folder) / "README.md")
        if "config_name" not in (root / "DATASET.md").read_text():
            return {}
        names = datasets.get_dataset_config_names(folder)
        return {name: rows(datasets.load_dataset(folder, name)) for name in names}


def described(root: Path) -> dict[str, object]:
    """Validate the metadata, and count the records of each set that it describes."""
    found = mlcroissant.Dataset(str(root / "croissant.json"))
    issues = found.metadata.ctx.issues
    counts = {each.name: _count(found, each) for each in found.metadata.record_sets}
    return {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "records": counts}


def _count(found: mlcroissant.Dataset, records: object) -> int | str:
    try:
        return sum(1 for _ in found.records(records.id))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return f"{type(error).__name__}: {error}"


def read(root: Path) -> dict[str, object]:
    """Read one dataset by every library that knows its form."""
    os.chdir(root)
    told: dict[str, object] = {"pasted": pasted(Path("DATASET.md").read_text()), "croissant": described(root)}
    told["configs"] = configured(root)
    for suffix, reader in PANDAS.items():
        if paths := [*Path("clean").rglob(f"*.{suffix}*")]:
            told["pandas"] = sum(len(reader(path)) for path in paths)
    return told


if __name__ == "__main__":
    print(json.dumps({path: read(Path(path)) for path in sys.argv[1:]}))  # noqa: T201 - the answer
