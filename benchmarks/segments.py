"""What many small segments cost the next version, and what is left of that after `dedupver compact`.

    python -m benchmarks.segments            bases of 100 segments of 100 and of 1,000 pieces of Linux source

The same records make three bases: a segment a version, these merged, and one segment of one version. A further version
is built on each in turn, several times over; a stage counts with the CPU seconds of its quickest run, in this process and
without its imports. Writes benchmarks/results/segments.json and .md.

- match, dedup: the stages that read segments.
- compact: the merge itself, CPU seconds.
- held: the bytes of all versions' indexes, equal files once, as DVC's cache has them, by those of the last one's
  segments; then with the index that compact writes as well.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import project, scale
from benchmarks.bench import HERE, machine
from dedupver import pipeline, store
from dedupver.compact import merge_base
from dedupver.index.segment import Index
from dedupver.manifest import READ
from dedupver.schema import FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable

SEGMENTS: Final = 100
STAGES: Final = ("match", "dedup")
BASES: Final = ("many", "merged", "one")


def main() -> None:
    """Parse, run, write after each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, nargs="+", default=[100, 1_000], help="records of a segment")
    parser.add_argument("--new", type=int, default=1_000, help="records of the further version")
    parser.add_argument("--lines", type=int, default=24, help="of a record")
    parser.add_argument("--encoder", default=scale.ENCODER)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "segments": SEGMENTS, "new": asked.new, "encoder": asked.encoder}
    found["sizes"] = []
    for each in asked.each:
        found["sizes"].append(one_size(each, asked))
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "segments.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (asked.out / "segments.md").write_text(markdown(found), encoding="utf-8")


def one_size(each: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Build the bases, then a version on each of them; return CPU seconds and bytes."""
    place = asked.work / "segments"
    shutil.rmtree(place, ignore_errors=True)
    parts, count = scale.prepare(asked, SEGMENTS * each + asked.new), SEGMENTS * each
    settings = {"engine.workers": 1, "fingerprint.text.encoder": asked.encoder}
    one = place / "one"
    project.lay_out(one, [scale.take(parts, 0, count, place / "in/all.parquet")], settings)
    for stage in pipeline.STAGES:
        pipeline.run(stage, one)
    project.open_next(one, "v2")
    shutil.rmtree(one / "data/raw")
    many, held = place / "many", Held()
    for number in range(SEGMENTS):
        batch = scale.take(parts, number * each, each, place / f"in/{number:03}.parquet")
        add_segment(many, number, batch, settings)
        held.add(many / "base/index")
    told = {"each": each, "held": held.of_segments(many / "base/index")}
    for name in ("many", "merged"):  # what is published is the same whatever the segments
        shutil.copytree(one / "base/manifest", many / "base/manifest", dirs_exist_ok=True)
        if name == "merged":
            shutil.copytree(many, place / "merged")
            told["compact"] = cpu(lambda: merge_base(place / "merged/base"))
            held.add(place / "merged/base/index")
            told["held_merged"] = held.of_segments(many / "base/index")
    told["left"] = len(Index.open(place / "merged/base/index").segments)
    new = scale.take(parts, count, asked.new, place / "in/new.parquet")
    for name in BASES:
        open_version(place / name, new)
    rounds = [{name: stages(place / name) for name in BASES} for _ in range(asked.rounds)]
    quickest = {name: {s: min(r[name][s] for r in rounds) for s in STAGES} for name in BASES}
    print(json.dumps({**told, "cpu": quickest}), file=sys.stderr, flush=True)
    return {**told, "cpu": quickest}


def add_segment(root: Path, number: int, batch: Path, settings: dict[str, Any]) -> None:
    """Write one more version's segment of a batch, which is all that its source holds, and make the index the base."""
    if number:
        shutil.rmtree(root / "data/raw")
        project.change(root, {"version.name": f"b{number + 1}"})
        project.add(root, [batch])
    else:
        project.lay_out(root, [batch], {**settings, "version.name": "b1"})
    for stage in ("fingerprint", "match"):
        pipeline.run(stage, root)
    shutil.rmtree(root / "base")
    (root / "base").mkdir()
    (root / "index").rename(root / "base/index")
    with store.building(root / "base/manifest") as empty:  # what was read is not asked for here
        store.write_json(empty / READ, {})
    store.write_json(root / "base/base.json", {"format": FORMAT, "version": f"b{number + 1}"})


def open_version(root: Path, data: Path) -> None:
    """Make a version of further records ready to be matched, its base as it is."""
    project.change(root, {"version.name": "v2"})
    shutil.rmtree(root / "data/raw", ignore_errors=True)
    project.add(root, [data])
    pipeline.run("fingerprint", root)


def stages(root: Path) -> dict[str, float]:
    """Run the stages that read segments; return the CPU seconds of each."""
    return {stage: cpu(lambda: pipeline.run(stage, root)) for stage in STAGES}  # noqa: B023 - it is called at once


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, its threads' included."""
    began = time.process_time()
    work()
    return time.process_time() - began


class Held:
    """The distinct files of some indexes."""

    def __init__(self) -> None:
        """Hold nothing."""
        self.sizes: dict[str, int] = {}

    def add(self, index: Path) -> None:
        """Add the files of an index, and its listing."""
        listing = index / "files.json"
        for name, digest in store.read_json(listing)["sha256"].items():
            self.sizes[digest] = (index / name).stat().st_size
        self.sizes[str(len(self.sizes))] = listing.stat().st_size

    def of_segments(self, index: Path) -> float:
        """Return the bytes held by those of an index's segments."""
        segments = sum(path.stat().st_size for path in (index / "segments").rglob("*") if path.is_file())
        return round(sum(self.sizes.values()) / segments, 4)


def markdown(found: dict[str, Any]) -> str:
    """Return the page."""
    lines = [f"# {SEGMENTS} small segments: {found['machine']['processor']}", ""]
    lines += [f"{found['new']:,} new records; encoder {found['encoder']}.", ""]
    lines += ["| records of a segment | segments after | compact | held | and merged |", "|---:" * 5 + "|"]
    for one in found["sizes"]:
        lines.append(
            f"| {one['each']:,} | {one['left']} | {one['compact']:.1f} s | {one['held']:.3f} | {one['held_merged']:.3f} |"
        )
    lines += ["", "| records of a segment | stage | " + " | ".join(BASES) + " | many / one | merged / one |"]
    lines += ["|---:|---" + "|---:" * 5 + "|"]
    for one in found["sizes"]:
        for stage in STAGES:
            many, merged, single = (one["cpu"][name][stage] for name in BASES)
            lines.append(
                f"| {one['each']:,} | {stage} | {many:.2f} s | {merged:.2f} s | {single:.2f} s "
                f"| {many / single:.2f} | {merged / single:.2f} |"
            )
    return "\n".join([*lines, "", str(__doc__).strip().partition("\n\n")[2].partition("\n\n")[2], ""])


if __name__ == "__main__":
    main()
