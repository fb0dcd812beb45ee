"""A repository of three versions of real data with a remote and experiments, of which records are to be erased."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING, Final

import airportsdata
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import skimage.data
from PIL import Image
from projects import jsonl, licences

from dedupver import store, versions
from dedupver.repository import assign, dvc, git

if TYPE_CHECKING:
    from pathlib import Path

FAST: Final = {
    "fingerprint.text.encoder": None,
    "fingerprint.image.encoder": None,
    "engine.workers": 1,
    "source.columns.id": "id",
}
TWO: Final = ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")

KEPT: Final = "docs/a-pydantic.txt"
TWIN: Final = "docs/pydantic.txt"
NEAR: Final = "docs/pytest.txt"
PHOTO: Final = "photos/astronaut.png"
SMALLER: Final = "photos/astronaut-smaller.jpg"
LINE: Final = "par-1"
ROW: Final = "KJFK"

ERASED: Final = (KEPT, PHOTO, LINE, ROW)
DUPLICATES: Final = (TWIN, NEAR, SMALLER)


def licence(package: str) -> bytes:
    """Return the licence text that a package is installed with."""
    name, text = next(each for each in sorted(licences().items()) if each[0].startswith(f"{package}-"))
    assert name
    return text if isinstance(text, bytes) else text.encode()


def paragraphs() -> list[dict[str, str]]:
    """Return long paragraphs of a licence, each with an id that the ids of others begin with."""
    text = licence("typing_extensions").decode()
    each = [" ".join(p.split()) for p in text.split("\n\n")]
    return [{"id": f"par-{n}", "text": p} for n, p in enumerate((p for p in each if len(p.split()) > 25), 1)]


def airports(*codes: str) -> bytes:
    """Return a table of airports, as Parquet."""
    known = airportsdata.load()
    rows = [
        {"id": code, "text": "{name}, {city}, {subd}, {country} at {lat} {lon} in {tz}".format(**known[code])}
        for code in codes
    ]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, compression="zstd")
    return out.getvalue()


def picture(name: str, pixels: int, form: str) -> bytes:
    """Return a photograph, so many pixels wide."""
    image = Image.fromarray(np.asarray(getattr(skimage.data, name)())).convert("RGB")
    out = io.BytesIO()
    image.resize((pixels, pixels)).save(out, form)
    return out.getvalue()


def sources() -> list[dict[str, bytes]]:
    """Return the files that each version adds or changes."""
    lines = paragraphs()
    return [
        {
            KEPT: licence("pydantic"),
            TWIN: licence("pydantic"),
            "docs/psf.txt": licence("typing_extensions"),
            PHOTO: picture("astronaut", 160, "png"),
            "photos/camera.png": picture("camera", 160, "png"),
            "rows.jsonl": jsonl(lines[:11]).encode(),
            "airports.parquet": airports("EDDF", ROW, "LFPG"),
        },
        {
            NEAR: licence("pytest"),
            SMALLER: picture("astronaut", 120, "jpeg"),
            "rows.jsonl": jsonl(lines[:14]).encode(),
        },
        {"airports.parquet": airports("EDDF", ROW, "LFPG", "RJTT"), "docs/apache.txt": licence("aiosignal")},
    ]


def add(root: Path, files: dict[str, bytes]) -> None:
    """Write files into the source and track it."""
    for name, data in files.items():
        store.write_bytes(root / "data" / "raw" / name, data)
    dvc(root, "add", "--quiet", "data/raw")


def release(root: Path, name: str, message: str) -> None:
    """Build what is here, commit it and give it an annotated tag."""
    dvc(root, "repro", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", message)
    git(root, "tag", "--annotate", "-m", f"{name}: {message}", name)


def make(empty: Path, folder: Path) -> Path:
    """Make the repository with its remote below a folder, and two experiments on its newest version."""
    root = folder / "project"
    shutil.copytree(empty, root)
    dvc(root, "remote", "add", "--default", "store", str(folder / "remote"))
    versions.init(root)
    assign(root / "params.yaml", FAST)
    first, *more = sources()
    add(root, first)
    store.write_bytes(root / "reviews.csv", f"left,right,label\n{TWIN},{KEPT},same\n".encode())
    release(root, "v1", f"with {KEPT}")
    for number, (files, time) in enumerate(zip(more, TWO, strict=True), 2):
        versions.next_version(root, f"v{number}", time)
        add(root, files)
        release(root, f"v{number}", f"version {number}")
    for threshold in ("0.7", "0.99"):
        dvc(root, "exp", "run", "--quiet", "-S", f"dedup.thresholds.text={threshold}")
    git(root, "reset", "--hard", "--quiet")
    dvc(root, "checkout", "--force", "--quiet")
    dvc(root, "push", "--quiet", "--all-tags")
    return root
