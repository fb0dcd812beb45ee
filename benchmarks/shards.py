"""What it takes to read a gigabyte of samples from one archive and to write it back: time and memory of each stage.

    python -m benchmarks.shards                  the same samples as files, as a .tar, as a .tar.gz

The samples are the pictures of four packages, each with a text (the words of its path) and attributes in JSON. Each stage
runs in a process of its own, as under DVC, on as many workers as asked. Encoders are off. The kept samples must be the
same in each form. Writes benchmarks/results/shards.json and .md.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
import shutil
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from benchmarks import image_tasks, project, scale
from benchmarks.bench import HERE, machine
from benchmarks.tasks import Source
from dedupver import pipeline, store
from dedupver.schema import DECISION

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES: Final = ("openclipart-png", "unknown-horizons", "wesnoth-1.16-data", "widelands-data")
FORMS: Final = ("files", "tar", "tar.gz")
SETTINGS: Final = {"source.columns.id": None}


def main() -> None:
    """Parse, run each form, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--most", type=int, default=1 << 30, help="bytes of the archive")
    parser.add_argument("--threads", type=int, default=2, help="worker processes")
    parser.add_argument("--work", type=Path, default=HERE / ".work", help="where downloads are")
    parser.add_argument("--projects", type=Path, default=HERE / ".work/shards")
    parser.add_argument("--out", type=Path, default=HERE / "results/shards.json")
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = str(HERE.parent)
    found: dict[str, Any] = {"machine": machine(), "threads": asked.threads, "forms": {}}
    for form in asked.forms:
        found["forms"][form] = one_form(form, asked)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        asked.out.with_suffix(".md").write_text(page(found), encoding="utf-8")
    different = {json.dumps([told["records"], told["kept"]]) for told in found["forms"].values()}
    if len(different) > 1:
        sys.exit(f"the forms differ in what is kept: {different}")


def one_form(form: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Return what a form of the source takes, stage by stage."""
    root = asked.projects / form
    shutil.rmtree(root, ignore_errors=True)
    project.lay_out(root, [], {**SETTINGS, "engine.workers": asked.threads})
    raw = root / "data/raw"
    size = write(form, raw, samples(asked.work, asked.most))
    stages = scale.stages(root, pipeline.STAGES)
    decided = store.read_table(root / "build/dedup/decisions.parquet", DECISION, ["id", "action"])
    kept = decided.filter(pc.equal(decided["action"], "keep"))
    return {"bytes": size, "records": decided.num_rows, "kept": kept.num_rows, "stages": stages}


def samples(work: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """Yield the files of samples, those of one after the other, up to so many bytes of an archive."""
    paths = [(name, path) for name in PACKAGES for path in image_tasks._unpack(Source(name, image_tasks._APT), work)]  # noqa: SLF001
    total = 0
    for number, (package, path) in enumerate(paths):
        said = {"source": package, "path": path.name, "quality": path.stat().st_size}
        words = " ".join(re.findall(r"[A-Za-z]{2,}", "/".join(path.parts[-4:]))) or "picture"
        files = [(path.suffix, path.read_bytes()), (".txt", words.encode()), (".json", json.dumps(said).encode())]
        total += sum(512 - len(data) // -512 * 512 for _, data in files)
        if total > most:
            return
        yield from ((f"{number:06}{suffix}", data) for suffix, data in files)


def write(form: str, raw: Path, files: Iterator[tuple[str, bytes]]) -> int:
    """Write the source in a form; return its bytes."""
    raw.mkdir(parents=True, exist_ok=True)
    if form == "files":
        for name, data in files:
            (raw / name[:3]).mkdir(exist_ok=True)
            (raw / name[:3] / name).write_bytes(data)
        return sum(p.stat().st_size for p in raw.rglob("*") if p.is_file())
    place = raw / f"samples.{form}"
    packed = gzip.GzipFile("", "wb", 6, place.open("wb"), mtime=0) if form.endswith(".gz") else place.open("wb")
    with packed as out, tarfile.open(fileobj=out, mode="w|") as archive:
        for name, data in files:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return place.stat().st_size


def page(found: dict[str, Any]) -> str:
    """Return the tables."""
    lines = [
        "| source | MB | samples | kept | stage | seconds | peak MiB |",
        "|---|---:|---:|---:|---|---:|---:|",
    ]
    for form, told in found["forms"].items():
        what = f"{form} | {told['bytes'] / 1e6:,.0f} | {told['records']:,} | {told['kept']:,}"
        for name, stage in told["stages"].items():
            lines.append(f"| {what} | {name} | {stage['seconds']:.1f} | {stage['peak'] / 2**20:,.0f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
