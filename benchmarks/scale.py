"""How time and memory grow with the records, and what a second version, a sweep and many versions cost.

    python -m benchmarks.scale                                  100,000 … 1,000,000 records of 24 lines of Linux source
    python -m benchmarks.scale --lines 8 --sizes 300000 3000000

Each stage runs in a process of its own, as under DVC, so its time includes the interpreter's start and its memory is
its own. Writes benchmarks/results/scale.json and the tables of docs/scale.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import measure, project, tasks
from benchmarks.bench import HERE, machine
from dedupver import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS: Final = 50_000  # of a Parquet part
VERSIONS: Final = 100
SWEPT: Final = ("dedup", "gates", "manifest")
ENCODER: Final = "wordllama"  # the default
LATER: Final = 1_000_000_000
DOC: Final = HERE.parent / "docs/scale.md"
MARK: Final = "<!-- measured -->"
_RUN: Final = "import sys, pathlib, dedupver.pipeline as p; p.run(sys.argv[1], pathlib.Path(sys.argv[2]))"

Stages = dict[str, dict[str, Any]]


def main() -> None:
    """Parse, run, write after each size."""
    asked = _parser().parse_args()
    os.environ["PYTHONPATH"] = str(HERE.parent)
    found = json.loads(asked.out.read_text()) if asked.resume and asked.out.exists() else {"sizes": []}
    found |= {"machine": machine(), "threads": asked.threads, "lines": asked.lines}
    for size in asked.sizes:
        if size not in [one["records"] for one in found["sizes"]]:
            found["sizes"].append(one_size(size, asked))
            write(found, asked.out)
    if "encoded" not in found:
        found["encoded"] = one_size(asked.encoded, asked, ENCODER)
        write(found, asked.out)
    if "many" not in found:
        found["many"] = many_versions(min(asked.sizes), asked)
        write(found, asked.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--encoded", type=int, default=100_000, help="records of the run with embeddings")
    parser.add_argument("--lines", type=int, default=tasks.PIECE, help="of a record")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="keep the sizes that the results hold")
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--out", type=Path, default=HERE / "results/scale.json")
    return parser


# --- the data ---------------------------------------------------------------------------------------------------


def prepare(asked: argparse.Namespace, records: int) -> list[Path]:
    """Return Parquet parts with at least that many records in the source's order; the first sizes are its beginning."""
    place = asked.work / "data" / f"scale-{asked.lines}"
    place.mkdir(parents=True, exist_ok=True)
    wanted = [place / f"part-{i:05}.parquet" for i in range(-(-records // ROWS))]
    if not wanted[-1].exists():
        rows = cut(asked)
        for path in wanted:
            _write(path, list(itertools.islice(rows, ROWS)))
    return wanted


def cut(asked: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the records."""
    for name, text in tasks.files(tasks.TASKS[0].source.fetch(asked.work)):
        lines = text.split("\n")
        for first in range(0, len(lines), asked.lines):
            piece = "\n".join(lines[first : first + asked.lines])
            if piece.strip():
                yield f"{name}:{first + 1}", piece


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    if len(rows) < ROWS:
        raise SystemExit(f"the source has no more records: take fewer than {path.name}, or fewer --lines")
    ids, texts = zip(*rows, strict=True)
    pq.write_table(pa.table({"id": list(ids), "text": list(texts)}), path, compression="zstd")


def take(parts: list[Path], first: int, count: int, place: Path) -> Path:
    """Write `count` records from number `first` on to one file."""
    table = pa.concat_tables([pq.read_table(path) for path in parts[first // ROWS : (first + count - 1) // ROWS + 1]])
    place.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.slice(first % ROWS, count), place, compression="zstd")
    return place


# --- the runs ---------------------------------------------------------------------------------------------------


def one_size(records: int, asked: argparse.Namespace, encoder: str | None = None) -> dict[str, Any]:
    """Return the stages' time and memory for all records at once, for 1 % more as version 2, and for a threshold."""
    more = records // 100
    parts = prepare(asked, records + more)
    root = _fresh(asked.work)
    settings = {"engine.workers": asked.threads, "fingerprint.text.encoder": encoder}
    project.lay_out(root, [take(parts, 0, records, asked.work / "scale-in/v1.parquet")], settings)
    print(f"{records:,} records, encoder {encoder}", file=sys.stderr, flush=True)
    full = stages(root, pipeline.STAGES)
    project.change(root, {"dedup.thresholds.text": 0.9})
    sweep = stages(root, SWEPT)
    project.change(root, {"dedup.thresholds.text": 0.8})
    stages(root, SWEPT)
    project.open_next(root, "v2")
    project.add(root, [take(parts, records, more, asked.work / "scale-in/v2.parquet")])
    return {
        "records": records,
        "bytes": _bytes(parts, records),
        "full": full,
        "sweep": sweep,
        "next": stages(root, pipeline.STAGES),
    }


def stages(root: Path, names: tuple[str, ...]) -> Stages:
    """Run stages, each in its own process; return seconds and peak bytes of each, also in each tenth of its time."""
    told: Stages = {}
    for name in names:
        began = time.monotonic()
        samples = measure.run([sys.executable, "-c", _RUN, name, str(root)], os.environ, root / "log")
        told[name] = {"seconds": time.monotonic() - began, "peak": max((size for _, size in samples), default=0)}
        told[name]["tenths"] = measure.tenths(samples)
        print(
            f"  {name:12} {told[name]['seconds']:8.1f} s {told[name]['peak'] / 2**20:7,.0f} MiB",
            file=sys.stderr,
            flush=True,
        )
    return told


def many_versions(records: int, asked: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of records at once, and of as many in a hundred versions, in one process without DVC."""
    parts = prepare(asked, records)
    batch = records // VERSIONS
    seconds: dict[str, list[float]] = {"one": [], "many": []}
    for name, count, size in (("one", 1, records), ("many", VERSIONS, batch)):
        root = _fresh(asked.work)
        for number in range(count):
            data = take(parts, number * size, size, asked.work / f"scale-in/{name}-{number:03}.parquet")
            if number:
                project.open_next(root, f"v{number + 1}")
                project.add(root, [data])
            else:
                project.lay_out(root, [data], {"engine.workers": asked.threads, "source.mode": "append"})
            began = time.monotonic()
            for stage in pipeline.STAGES:
                pipeline.run(stage, root)
            seconds[name].append(time.monotonic() - began)
    return {"records": records, "versions": VERSIONS, **seconds}


def _fresh(work: Path) -> Path:
    for name in ("scale-in", "scale"):
        shutil.rmtree(work / name, ignore_errors=True)
    (work / "scale").mkdir(parents=True)
    return work / "scale"


def _bytes(parts: list[Path], records: int) -> int:
    texts = itertools.islice(
        (t for p in parts for t in pq.read_table(p, columns=["text"])["text"].to_pylist()), records
    )
    return sum(len(text.encode()) for text in texts)


# --- the tables -------------------------------------------------------------------------------------------------


def write(found: dict[str, Any], place: Path) -> None:
    """Write the figures, and the tables into the doc."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    before, _, _ = DOC.read_text(encoding="utf-8").partition(MARK)
    DOC.write_text(f"{before}{MARK}\n\n{tables(found)}", encoding="utf-8")


def tables(found: dict[str, Any]) -> str:
    """Return the measured part of docs/scale.md."""
    sizes = found["sizes"]
    lines = [f"{found['machine']['processor']}, {found['threads']} cores, records of {found['lines']} lines.", ""]
    lines += [
        "| records | MB | " + " | ".join(sizes[0]["full"]) + " | all | µs a record | peak MiB |",
        "|---:" * (len(sizes[0]["full"]) + 5) + "|",
    ]
    for one in sizes:
        full = one["full"]
        cells = [f"{full[s]['seconds']:,.1f} s" for s in full]
        peak = max((full[s]["peak"], s) for s in full)
        lines.append(
            f"| {one['records']:,} | {one['bytes'] / 1e6:,.0f} | {' | '.join(cells)} | {_all(full):,.1f} s "
            f"| {_all(full) / one['records'] * 1e6:,.0f} | {peak[0] / 2**20:,.0f} ({peak[1]}) |"
        )
    if len(sizes) > 1:
        lines += ["", *_slopes(sizes)]
    lines += [
        "",
        "| records | version 2 with 1 % more, of version 1's time | another threshold, of the full time |",
        "|---:|---:|---:|",
    ]
    encoded = [(found["encoded"], ", with embeddings")] if "encoded" in found else []
    lines += [
        f"| {one['records']:,}{what} | {_all(one['next']) / _all(one['full']):.1%} | {_all(one['sweep']) / _all(one['full']):.1%} |"
        for one, what in [*((one, "") for one in sizes), *encoded]
    ]
    if encoded:
        full = ", ".join(f"{s} {each['seconds']:,.1f} s" for s, each in found["encoded"]["full"].items())
        lines += [
            "",
            f"With embeddings ({ENCODER}, the default) and their graph, {encoded[0][0]['records']:,} records took: {full}.",
        ]
    if "many" in found:
        many = found["many"]
        times = sum(many["many"]) / sum(many["one"])
        last = sum(many["many"][-10:]) / sum(many["many"][:10])
        lines += [
            "",
            f"{many['records']:,} records in {many['versions']} versions took {times:.1f} times as long as at once; the last ten versions {last:.1f} times the first ten.",
        ]
    return "\n".join(lines) + "\n"


def _slopes(sizes: list[dict[str, Any]]) -> list[str]:
    """Return the exponents between the last two sizes, the memory a further record takes, and both drawn on."""
    small, large = sizes[-2:]
    grown = math.log(large["records"] / small["records"])
    lines = [
        "| | time grows with records to the power | at 10⁹ records, on these cores | bytes of memory a further record |",
        "|---|---:|---:|---:|",
    ]
    for name in (*large["full"], "all"):
        before, after = (_of(one["full"], name) for one in (small, large))
        slope = math.log(after["seconds"] / before["seconds"]) / grown
        power = max(slope, 1)  # a start that more records share is no law
        hours = after["seconds"] * (LATER / large["records"]) ** power / 3600
        memory = (after["peak"] - before["peak"]) / (large["records"] - small["records"])
        lines.append(f"| {name} | {slope:.2f} | {hours:,.1f} hours | {memory:,.0f} |")
    return lines


def _of(told: Stages, name: str) -> dict[str, float]:
    if name != "all":
        return told[name]
    return {"seconds": _all(told), "peak": max(stage["peak"] for stage in told.values())}


def _all(told: Stages) -> float:
    return sum(stage["seconds"] for stage in told.values())


if __name__ == "__main__":
    main()
