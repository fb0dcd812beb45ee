"""What it takes to read a gigabyte of samples from one archive and to write it back: time and memory of each stage.

    python -m benchmarks.shards                  the same samples as files, as a .tar, as a .tar.gz, and a tenth of them

The samples are the pictures and sounds of seven packages, each with a text (the words of its path) and attributes in JSON.
Each stage runs in a process of its own, as under DVC, on as many workers as asked. Encoders are off. The kept samples must
be the same in each form; and the webdataset library, in an environment of its own, must find the same samples in an
archive, and in its clean copy those that are kept, byte for byte. Writes benchmarks/results/shards.json and .md.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from benchmarks import image_tasks, project, scale
from benchmarks.bench import HERE, machine
from benchmarks.tasks import Source
from benchmarks.tools import Tool, environment
from dedupver import pipeline
from dedupver.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES: Final = ("openclipart-png", "unknown-horizons", "wesnoth-1.16-data", "widelands-data")
SOUNDS: Final = ("asterisk-core-sounds-en-wav", "asterisk-core-sounds-fr-wav", "asterisk-moh-opsound-wav")
FORMS: Final = ("a tenth, tar", "files", "tar", "tar.gz")
PEER: Final = Tool("webdataset", "webdataset")
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
    whole = [told for form, told in found["forms"].items() if not form.startswith("a tenth")]
    different = {json.dumps([told["records"], told["kept"]]) for told in whole}
    if len(different) > 1:
        sys.exit(f"the forms differ in what is kept: {different}")


def one_form(form: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Return what a form of the source takes, stage by stage."""
    root = asked.projects / form.replace(", ", "-").replace(" ", "-")
    shutil.rmtree(root, ignore_errors=True)
    project.lay_out(root, [], {**SETTINGS, "engine.workers": asked.threads})
    raw = root / "data/raw"
    tenth, _, kind = form.rpartition(", ")
    size = write(kind, raw, samples(asked.work, asked.most // 10 if tenth else asked.most))
    stages = scale.stages(root, pipeline.STAGES)
    decided = Project(root).decided().live(["id", "action"])
    kept = decided.filter(pc.equal(decided["action"], "keep"))
    told = {"bytes": size, "records": decided.num_rows, "kept": kept.num_rows, "stages": stages}
    if kind != "files":
        name = f"samples.{kind}"
        compare(raw / name, root / "clean" / name, decided["id"].to_pylist(), kept["id"].to_pylist(), asked.work)
    return told


def compare(raw: Path, clean: Path, ids: list[str], kept: list[str], work: Path) -> None:
    """End where the webdataset library finds other samples than dedupver, or others in the clean archive."""
    python, script = environment(PEER, work), HERE / "peers/webdataset.py"
    done = subprocess.run([str(python), "-P", str(script), str(raw), str(clean)], check=True, capture_output=True)
    before, after = json.loads(done.stdout)
    if sorted(f"{raw.name}/{key}" for key in before) != sorted(ids):
        sys.exit(f"webdataset finds other samples in {raw} than dedupver")
    if {key: before[key] for key in before if f"{raw.name}/{key}" in set(kept)} != after:
        sys.exit(f"{clean} holds other samples, or other bytes of them, than those that are kept")


def files(work: Path) -> Iterator[tuple[str, Path]]:
    """Yield the pictures and sounds and the package of each: of ten in a row one is a sound, while there are any."""
    pictures, sounds = (
        [(name, path) for name in names for path in image_tasks.unpack(Source(name, image_tasks.APT), work, suffixes)]
        for names, suffixes in ((PICTURES, (".png", ".jpg")), (SOUNDS, (".wav",)))
    )
    for number, picture in enumerate(pictures):
        yield picture
        if number % 9 == 8 and number // 9 < len(sounds):
            yield sounds[number // 9]


def samples(work: Path, most: int) -> Iterator[tuple[str, bytes]]:
    """Yield the files of samples, those of one after the other, up to so many bytes of an archive."""
    total = 0
    for number, (package, path) in enumerate(files(work)):
        said = {"source": package, "path": path.name, "quality": path.stat().st_size}
        words = " ".join(re.findall(r"[A-Za-z]{2,}", "/".join(path.parts[-4:]))) or "picture"
        parts = [(path.suffix, path.read_bytes()), (".txt", words.encode()), (".json", json.dumps(said).encode())]
        total += sum(512 - len(data) // -512 * 512 for _, data in parts)
        if total > most:
            return
        yield from ((f"{package}/{number:06}{suffix}", data) for suffix, data in parts)


def write(form: str, raw: Path, parts: Iterator[tuple[str, bytes]]) -> int:
    """Write the source in a form; return its bytes."""
    raw.mkdir(parents=True, exist_ok=True)
    if form == "files":
        for name, data in parts:
            (raw / name).parent.mkdir(exist_ok=True)
            (raw / name).write_bytes(data)
        return sum(p.stat().st_size for p in raw.rglob("*") if p.is_file())
    place = raw / f"samples.{form}"
    packed = gzip.GzipFile("", "wb", 6, place.open("wb"), mtime=0) if form.endswith(".gz") else place.open("wb")
    with packed as out, tarfile.open(fileobj=out, mode="w|") as archive:
        for name, data in parts:
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
    lines += ["", "MiB of fingerprint in each tenth of its time:", ""]
    for form, told in found["forms"].items():
        peaks = (f"{peak / 2**20:,.0f}" for peak in told["stages"]["fingerprint"]["tenths"])
        lines.append(f"- {form}: {' '.join(peaks)}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
