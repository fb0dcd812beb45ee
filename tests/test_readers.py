"""The clean dataset opens in the libraries that people read data with, and its metadata are valid Croissant.

These have an environment of their own, which `make test` sets up; `make readers` does that alone.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".venv-readers/bin/python"
WORDS = ["sundial", "barometer", "lantern", "harbour", "orchard", "granite", "meadow", "violin", "compass", "teapot"]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="`make readers` sets up what these tests need")


def _rows(count: int) -> list[dict[str, Any]]:
    """Texts that differ in most words, each third of them a copy of the one before."""
    texts = [" ".join(WORDS[(n * k) % 10] + str(n // 3 * 7 + k) for k in range(1, 12)) for n in range(count)]
    return [{"id": f"r{n}", "text": texts[n - (n % 3 == 2)], "n": n} for n in range(count)]


def _table() -> pa.Table:
    return pa.Table.from_pylist(_rows(12))


def _bytes(write: Any, *args: Any) -> bytes:
    out = io.BytesIO()
    write(*args, out)
    return out.getvalue()


def _picture(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC).save(out, "PNG")
    return out.getvalue()


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for n, seed in enumerate([1, 2, 3, 3, 4]):
            for suffix, data in ((".png", _picture(seed)), (".txt", f"picture number {seed} of the shelf".encode())):
                member = tarfile.TarInfo(f"{n:03}{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _csv(delimiter: str) -> str:
    return "".join(
        f"{delimiter.join(map(str, row))}\n" for row in [("id", "text", "n"), *(r.values() for r in _rows(12))]
    )


SOURCES: dict[str, projects.Files] = {
    "parquet": {"train/a.parquet": _bytes(lambda out: pq.write_table(_table(), out))},
    "jsonl": {"a.jsonl": projects.jsonl(_rows(6)), "b.jsonl": projects.jsonl(_rows(12)[6:])},
    "csv": {"a.csv": _csv(",")},
    "tsv": {"a.tsv": _csv("\t")},
    "feather": {"a.feather": _bytes(lambda out: pyarrow.feather.write_feather(_table(), out))},
    "tar": {"shard-000.tar": _tar()},
    "png": {f"{label}/{n}.png": _picture(n % 4) for n, label in enumerate(["cat", "dog"] * 3)},
    "txt": {f"{row['id']}.txt": row["text"] for row in _rows(12)},
}
KEPT = {"tar": 4, "png": 4} | dict.fromkeys(["parquet", "jsonl", "csv", "tsv", "feather", "txt"], 8)
PANDAS = ["parquet", "jsonl", "csv", "tsv", "feather"]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Build a dataset of each form, and let every library read all of it."""
    folder = tmp_path_factory.mktemp("readers")
    card = {"name": "dials", "license": "cc0-1.0", "citation": "A. Nobody", "url": "https://example.org/dials"}
    for name, files in SOURCES.items():
        projects.build(projects.create(folder / name, files, card=card))
    command = [str(PYTHON), str(HERE / "readers.py"), *(str(folder / name) for name in SOURCES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {Path(path).name: told for path, told in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("form", SOURCES)
def test_what_the_page_says_reads_the_kept_records(read: dict[str, dict[str, Any]], form: str) -> None:
    """Each pasted line gives as many rows as there are kept records."""
    pasted = read[form]["pasted"]
    assert set(pasted.values()) == {KEPT[form]}
    libraries = {"tar": {"webdataset"}, "png": {"datasets"}, "txt": {"datasets"}, "feather": {"datasets"}}
    assert set(pasted) == libraries.get(form, {"datasets", "duckdb"})


@pytest.mark.parametrize("form", SOURCES)
def test_the_page_is_a_dataset_card(read: dict[str, dict[str, Any]], form: str) -> None:
    """As README.md beside clean/ it has one configuration for each form."""
    assert read[form]["configs"] == ({form: KEPT[form]} if form != "feather" else {})


@pytest.mark.parametrize("form", PANDAS)
def test_pandas_reads_tables(read: dict[str, dict[str, Any]], form: str) -> None:
    """Each file by itself."""
    assert read[form]["pandas"] == KEPT[form]


@pytest.mark.parametrize("form", SOURCES)
def test_the_metadata_are_valid_and_read_the_records(read: dict[str, dict[str, Any]], form: str) -> None:
    """Validation by mlcroissant finds no error and nothing to warn of, and reads the files by it."""
    found = read[form]["croissant"]
    assert found["errors"] == []
    assert found["warnings"] == []
    sets = {name: count for name, count in found["records"].items() if name != "all decisions"}
    if form == "feather":  # described, though mlcroissant has no reader for Arrow's files
        assert list(sets) == ["records of feather"]
    else:
        assert sets == ({} if form == "tar" else {f"records of {form}": KEPT[form]})
    assert found["records"]["all decisions"] == {"tar": 5, "png": 6}.get(form, 12)
