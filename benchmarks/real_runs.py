"""Run two releases of real data as v1 and v2, and print what it came to as JSON.

    texts    the licence rules of scancode-toolkit-mini 32.4.1 and 32.5.0: 36,000 texts in one JSONL file
    images   the 64 px pictures of emoji-datasource-apple 15.1.2, then those of 16.0.0 beside them: 7,600 PNG files

Both come with a label for each record (a rule's licence expression, an emoji without its skin tone and gender), so
every removal for a record of another label can be counted. 16.0.0 draws nearly every picture of 15.1.2 again, so the
share of these that go is known to be right. A fixed sample of removals is written out for a person to judge.
Run `python benchmarks/real_runs.py all --work DIR`; docs/real-runs.md says what was found.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw

from dedupver import pipeline, repository, store, versions
from dedupver.project import Project
from dedupver.schema import CONTENT, FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable

REPO: Final = Path(__file__).parent.parent
TEMPLATE: Final = ("params.yaml", "dvc.yaml", "reviews.csv")
SAMPLE: Final = 50
CELL: Final = 72

Labels = dict[str, str]
Settings = dict[str, object]


@dataclass(frozen=True)
class Run:
    """A source in two releases.

    `lay` fills a folder from a downloaded archive and returns each record's label; with `beside` the second release
    goes beside the first, else in its place.
    """

    releases: tuple[str, str]
    command: list[str]
    package: str
    settings: Settings
    beside: bool
    lay: Callable[[Path, Path], Labels]
    sweep: dict[str, Settings]
    show: Callable[[Path, list[dict[str, Any]]], Path]


# --- the sources ------------------------------------------------------------------------------------------------


def lay_texts(archive: Path, raw: Path) -> Labels:
    """Write the rules of a wheel as rows {id, text}; a rule's label is its licence expression."""
    labels = {}
    with zipfile.ZipFile(archive) as wheel, (raw / "rules.jsonl").open("w", encoding="utf-8") as out:
        for name in sorted(n for n in wheel.namelist() if re.fullmatch(r"licensedcode/data/rules/[^/]+\.RULE", n)):
            _, front, text = re.split(r"^---\s*?\n", wheel.read(name).decode(), maxsplit=2, flags=re.MULTILINE)
            rule = Path(name).name
            named = re.search(r"^license_expression: *(.+?)\s*$", front, re.MULTILINE)
            labels[rule] = named[1] if named else "(no licence)"
            out.write(json.dumps({"id": rule, "text": text}, ensure_ascii=False) + "\n")
    return labels


def lay_images(archive: Path, raw: Path) -> Labels:
    """Unpack the 64 px pictures; an emoji's label is its code points without those of skin tone and gender."""
    labels = {}
    folder = raw / archive.stem.rpartition("-")[2]
    folder.mkdir()
    with tarfile.open(archive) as package:
        for member in package:
            path = Path(member.name)
            if path.suffix == ".png" and path.parent.parts[-3:] == ("img", "apple", "64"):
                (folder / path.name).write_bytes(package.extractfile(member).read())  # type: ignore[union-attr]
                labels[f"{folder.name}/{path.name}"] = _emoji(path.stem)
    return labels


def _emoji(points: str) -> str:
    person = {"1f468": "1f9d1", "1f469": "1f9d1"}  # man, woman → person
    left = [person.get(p, p) for p in points.split("-") if not re.fullmatch(r"1f3f[b-f]|2640|2642|200d|fe0f", p)]
    return "-".join(left)


def show_texts(project: Path, pairs: list[dict[str, Any]]) -> Path:
    """Write each pair as the words that only one of the two has."""
    texts = {
        row["id"]: row["text"] for row in map(json.loads, (project / "data/raw/rules.jsonl").read_bytes().splitlines())
    }
    lines = []
    for number, pair in enumerate(pairs, 1):
        kept, gone = (texts.get(pair[name], "(in v1 only)").split() for name in ("representative", "id"))
        lines.append(
            f"{number}. {pair['id']} [{pair['label']}] → {pair['representative']} [{pair['other']}] {pair['evidence']} words {len(kept)} {len(gone)}"
        )
        for tag, a, b, c, d in difflib.SequenceMatcher(None, kept, gone).get_opcodes():
            if tag != "equal":
                lines.append(
                    f"     kept «{' '.join(kept[max(a - 2, 0) : b])}»  removed «{' '.join(gone[max(c - 2, 0) : d])}»"[
                        :400
                    ]
                )
    path = project / "sample.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def show_images(project: Path, pairs: list[dict[str, Any]]) -> Path:
    """Draw each pair, representative | removed, with its number and score."""
    columns = 5
    sheet = Image.new("RGB", (columns * 3 * CELL, -(-len(pairs) // columns) * (CELL + 14)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, pair in enumerate(pairs):
        x, y = number % columns * 3 * CELL, number // columns * (CELL + 14)
        draw.text((x + 4, y + 2), f"{number + 1} {pair['method']} {pair['score']:.3f}", fill="black")
        for place, name in enumerate(("representative", "id")):
            picture = Image.open(project / "data/raw" / pair[name]).convert("RGBA")
            sheet.paste(picture, (x + place * CELL + 4, y + 14), picture)
    path = project / "sample.png"
    sheet.save(path)
    return path


IMAGE_RULE: Final = [{"image.phash": 0.92, "image.embedding": 0.98}]
RUNS: Final = {
    "texts": Run(
        ("32.4.1", "32.5.0"),
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "{}=={}"],
        "scancode-toolkit-mini",
        {"source.columns.id": "id"},
        False,
        lay_texts,
        {f"text {t}": {"dedup.thresholds.text": t} for t in (0.8, 0.9, 0.95)},
        show_texts,
    ),
    "images": Run(
        ("15.1.2", "16.0.0"),
        ["npm", "pack", "--silent", "{}@{}"],
        "emoji-datasource-apple",
        {},
        True,
        lay_images,
        {
            "defaults": {},
            **{
                f"phash {t} alone": {"dedup.similar": ["image"], "dedup.thresholds.image": t}
                for t in (0.92, 0.96, 0.98, 1.0)
            },
            **{
                f"embedding {t} alone": {"dedup.similar": ["image_embedding"], "dedup.thresholds.image_embedding": t}
                for t in (0.98, 0.99, 0.995)
            },
            "phash 0.92 and embedding 0.98": {"dedup.rules": IMAGE_RULE},
            "phash 0.96 and embedding 0.98": {"dedup.rules": [{"image.phash": 0.96, "image.embedding": 0.98}]},
            "phash 0.96 and embedding 0.99": {"dedup.rules": [{"image.phash": 0.96, "image.embedding": 0.99}]},
            "exact alone": {"dedup.rules": [{"content": "exact"}]},
        },
        show_images,
    ),
}


# --- the runs ---------------------------------------------------------------------------------------------------


def run(name: str, work: Path) -> dict[str, Any]:
    """Run both releases in `work`/name, then the sweep; return the figures."""
    given, project = RUNS[name], work / name
    shutil.rmtree(project, ignore_errors=True)
    _lay_out(project, given.settings)
    labels: Labels = {}
    figures: dict[str, Any] = {}
    for version, release in zip(("v1", "v2"), given.releases, strict=True):
        archive = _download(given, release, work / "downloads" / f"{given.package}-{release}")
        if version == "v2":
            _open_next(project)
        if not given.beside:
            shutil.rmtree(project / "data/raw")
            (project / "data/raw").mkdir()
        labels |= given.lay(archive, project / "data/raw")
        for stage in pipeline.STAGES:
            pipeline.run(stage, project)
        figures[version] = measure(project, version, labels)
    pairs = sample(project, labels)
    store.write_json(project / "sample.json", pairs)
    figures["sample"] = str(given.show(project, pairs))
    figures["sweep"] = {said: rejudged(project, settings, labels) for said, settings in given.sweep.items()}
    _set(project, given.settings)
    return figures


def measure(project: Path, version: str, labels: Labels) -> dict[str, Any]:  # noqa: ARG001
    """Return the figures of the version that was just built."""
    decisions = Project(project).decided().live()
    metrics = {stage: store.read_json(project / f"metrics/{stage}.json") for stage in pipeline.STAGES}
    kib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "records": decisions.num_rows,
        "contents": unique_contents(decisions, project / "build/fingerprint"),
        **judged(decisions, labels),
        "quarantined": _counts(decisions.filter(pc.equal(decisions["action"], "quarantine"))["reason"]),
        "dropped_across_versions": metrics["dedup"]["across_versions"],
        "hot_unverified": metrics["dedup"]["hot_unverified"],
        "reported": metrics["dedup"]["reported"],
        "recall": {"at_floor": metrics["match"]["recall"], "at_threshold": metrics["dedup"]["recall"]},
        "matches": metrics["match"]["matches"],
        "hot_members": metrics["match"]["hot_members"],
        "changed": metrics["manifest"]["changed"],
        "seconds": {
            stage: store.read_json(project / f"build/timings/{stage}.json")["seconds"] for stage in pipeline.STAGES
        },
        "index_mib": {d.name: _mib(d) for d in sorted((project / "index/segments").iterdir())},
        "peak_mib_main_and_one_worker": kib // 1024,
    }


def judged(decisions: pa.Table, labels: Labels) -> dict[str, Any]:
    """Return how many stay and go, and how many go for a record of another label."""
    gone = decisions.filter(pc.equal(decisions["action"], "drop"))
    other = [
        labels[row["id"]] != labels[row["representative"]] for row in gone.select(["id", "representative"]).to_pylist()
    ]
    near = pc.equal(gone["reason"], "near_duplicate_of").to_pylist()
    return {
        "kept": pc.sum(pc.equal(decisions["action"], "keep")).as_py(),
        "dropped": _counts(pc.binary_join_element_wise(gone["reason"], gone["method"], " ")),
        "near_for_another_label": sum(o and n for o, n in zip(other, near, strict=True)),
        "exact_for_another_label": sum(o and not n for o, n in zip(other, near, strict=True)),
        **drawn_again(decisions),
    }


def drawn_again(decisions: pa.Table) -> dict[str, int]:
    """Return how many pictures have the name of one in an older folder, and how many of them go.

    `for_it`: for the one of the same name, or for what that one went for.
    """
    told = dict(zip(decisions["id"].to_pylist(), decisions["representative"].to_pylist(), strict=True))
    older = {
        new: old
        for new in told
        for old in [new.replace(RUNS["images"].releases[1], RUNS["images"].releases[0])]
        if old != new and old in told
    }
    gone = {new: old for new, old in older.items() if told[new]}
    right = sum(told[new] in {old, told[old]} or told[old] == new for new, old in gone.items())
    return {"drawn_again": len(older), "of_these_dropped": len(gone), "for_it": right} if older else {}


def unique_contents(decisions: pa.Table, prints: Path) -> dict[str, int]:
    """Return how many distinct normalised contents the records hold, and how many of them were fingerprinted now."""
    parts = decisions["parts"].combine_chunks().flatten()
    new = store.read_table(prints / "contents.parquet", CONTENT)
    return {
        "all": pc.count_distinct(parts.field("content")).as_py(),
        "fingerprinted": pc.count_distinct(new["content"]).as_py(),
    }


def sample(project: Path, labels: Labels) -> list[dict[str, Any]]:
    """Return fifty near duplicates of the newest version: every n-th by id."""
    decisions = Project(project).decided().live()
    near = decisions.filter(pc.equal(decisions["reason"], "near_duplicate_of"))
    chosen = near.take([i * near.num_rows // SAMPLE for i in range(min(SAMPLE, near.num_rows))])
    rows = chosen.select(["id", "representative", "method", "score", "evidence", "rule"]).to_pylist()
    return [{**row, "label": labels[row["id"]], "other": labels[row["representative"]]} for row in rows]


def rejudged(project: Path, settings: Settings, labels: Labels) -> dict[str, Any]:
    """Run the dedup stage alone with other settings, all history judged again; return what stays and goes."""
    before = (project / "params.yaml").read_bytes()
    try:
        _set(project, {"dedup.history": "rejudge", **settings})
        pipeline.run("dedup", project)
        return judged(Project(project).decided().live(), labels)
    finally:
        store.write_bytes(project / "params.yaml", before)


def _lay_out(project: Path, settings: Settings) -> None:
    """Make what `dedupver init` makes, without git and DVC."""
    (project / "data/raw").mkdir(parents=True)
    for name in TEMPLATE:
        shutil.copy(REPO / name, project / name)
    shutil.copytree(REPO / "stages", project / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    store.write_json(project / "base/base.json", {"format": FORMAT, "version": None})
    _set(project, settings)


def _open_next(project: Path) -> None:
    """Make what `dedupver next v2` makes, without git and DVC."""
    versions.build_base(project, project / "next-base")
    shutil.rmtree(project / "base")
    (project / "next-base").replace(project / "base")
    _set(project, {"version.name": "v2"})


def _set(project: Path, settings: Settings) -> None:
    repository.assign(project / "params.yaml", settings)


def _download(given: Run, release: str, target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    if not any(target.iterdir()):
        command = [*given.command[:-1], given.command[-1].format(given.package, release)]
        subprocess.run(command, cwd=target, check=True, stdout=subprocess.DEVNULL)
    return next(target.iterdir())


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {
        row["values"]: row["counts"]
        for row in sorted(column.value_counts().to_pylist(), key=lambda r: str(r["values"]))
    }


def _mib(directory: Path) -> float:
    return round(sum(p.stat().st_size for p in directory.rglob("*") if p.is_file()) / 2**20, 1)


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*RUNS, "all"])
    parser.add_argument("--work", type=Path, required=True, help="directory for downloads and projects")
    asked = parser.parse_args()
    names = list(RUNS) if asked.what == "all" else [asked.what]
    figures = {name: run(name, asked.work.resolve()) for name in names}
    sys.stdout.write(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
