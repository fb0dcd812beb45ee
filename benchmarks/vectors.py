"""Indexes of vectors: time to build, to search all of it for all of it, memory, and recall of the matches, as it grows.

    python -m benchmarks.vectors --kinds text image --sizes 3000 10000 30000 100000

Real vectors: wordllama's of the benchmark's pieces of source code, EfficientNet-Lite0's of its drawings. What is looked
for is every pair at or above the floor of params.yaml; the exact search by products of matrices is both the truth and
the rival: a graph pays where building and searching it costs less. Downloads and vectors are kept in benchmarks/.work.

- recall: the share of the true pairs that one of the two finds. A vector's list is cut at 32, so that a pair of which
  both have 32 nearer ones can't be found by any index; those pairs are left out, and their share stands beside.
- records: of the vectors that have any partner, the share of which one is found: what a decision to drop needs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks import image_tasks, tasks
from benchmarks.bench import HERE, machine, tell
from benchmarks.tools import Tool, run
from dedupver.fingerprint.encoders import open_encoder
from dedupver.fingerprint.image import Decoding, decode, information
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

Ints = npt.NDArray[np.int64]

FLOORS: Final = {"text": 0.85, "image": 0.9}
NEIGHBOURS: Final = 32


def _graph(m: int, ef_construction: int, ef: int) -> dict[str, Any]:
    return {"m": m, "ef_construction": ef_construction, "ef": ef, "kind": "graph"}


TOOLS: Final = (
    Tool("exact", "vectors-exact"),
    Tool("dedupver, m 16, efc 200, ef 128", "vectors-dedupver", given=_graph(16, 200, 128)),
    Tool("dedupver, m 16, efc 100, ef 64", "vectors-dedupver", given=_graph(16, 100, 64)),
    Tool("dedupver, m 16, efc 64, ef 128", "vectors-dedupver", given=_graph(16, 64, 128)),
    Tool("dedupver, m 24, efc 200, ef 256", "vectors-dedupver", given=_graph(24, 200, 256)),
    Tool("usearch, m 16, efc 200, ef 128", "vectors-usearch", given=_graph(16, 200, 128)),
    Tool("faiss flat", "vectors-faiss", given={"kind": "flat"}),
    Tool("faiss hnsw, m 16, efc 200, ef 128", "vectors-faiss", given=_graph(16, 200, 128)),
    Tool("faiss ivf, 16 probes", "vectors-faiss", given={"kind": "lists", "probes": 16}),
)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(FLOORS), default=list(FLOORS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[3000, 10_000, 30_000, 100_000])
    parser.add_argument("--tools", nargs="+", choices=[t.name for t in TOOLS], default=[t.name for t in TOOLS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    results: dict[str, Any] = {"machine": machine(), "threads": asked.threads, "packages": {}, "runs": []}
    for kind in asked.kinds:
        vectors = load(kind, max(asked.sizes), asked.work)
        for size in sorted({min(size, len(vectors)) for size in asked.sizes}):
            data = asked.work / "vectors" / f"{kind}-{size}"
            data.mkdir(parents=True, exist_ok=True)
            np.save(data / "vectors.npy", vectors[:size])
            for tool in TOOLS:
                if tool.name in asked.tools:
                    rounds = [one_run(tool, kind, data, asked, results["packages"]) for _ in range(asked.rounds)]
                    results["runs"].append({"kind": kind, "size": size, "tool": tool.name, **middle(rounds)})
                    asked.out.mkdir(parents=True, exist_ok=True)
                    (asked.out / "vectors.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                    (asked.out / "vectors.md").write_text(markdown(results), encoding="utf-8")


def one_run(tool: Tool, kind: str, data: Path, asked: argparse.Namespace, packages: dict[str, Any]) -> dict[str, Any]:
    """Run a tool on the vectors once; the exact search leaves the truth beside them."""
    out = asked.work / "run"
    shutil.rmtree(out, ignore_errors=True)
    given = {"neighbours": NEIGHBOURS, "floor": FLOORS[kind], **tool.given}
    told = run(Tool(tool.name, tool.peer, given=given), data, out, asked.threads, asked.work)
    packages[tool.peer] = told.pop("packages")
    if tool.peer == "vectors-exact":
        shutil.move(out / "pairs.npy", data / "truth.npy")
        scores: dict[str, Any] = {}
    else:
        pairs = np.load(out / "pairs.npy") if (out / "pairs.npy").exists() else as_pairs(np.load(out / "near.npy"))
        scores = recall(np.load(data / "truth.npy"), pairs)
    steps = {f"{name} s": seconds for name, seconds in told["steps"].items()}
    row = {**steps, "cpu": told["cpu"], "peak": told["peak"], **scores}
    tell(f"{data.name} {tool.name:34} " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()))
    return row


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure."""
    return {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}


def as_pairs(near: Ints) -> Ints:
    """Return lists of neighbours, shape (n, k), as pairs (m, 2)."""
    left = np.repeat(np.arange(len(near)), near.shape[1])
    pairs = np.stack([left, near.ravel()], axis=1)
    return pairs[pairs[:, 1] >= 0]


def recall(truth: Ints, pairs: Ints) -> dict[str, float]:
    """Return recall of pairs and of records, and the share of the true pairs that lists of 32 can't hold."""
    count = int(max(truth.max(initial=0), pairs.max(initial=0))) + 1
    true, found = _keys(truth, count), _keys(pairs, count)
    hit = np.isin(true, found, assume_unique=True)
    left, right = np.divmod(true, count)
    partners = np.bincount(np.concatenate([left, right]), minlength=count)
    within = np.minimum(partners[left], partners[right]) <= NEIGHBOURS
    served = np.unique(np.concatenate([left[hit], right[hit]]))
    return {
        "recall": float(hit[within].mean()) if within.any() else 1.0,
        "beyond": float((~within).mean()) if len(within) else 0.0,
        "records": len(served) / max(int((partners > 0).sum()), 1),
    }


def _keys(pairs: Ints, count: int) -> Ints:
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    return np.unique((low * count + high)[low != high])


def load(kind: str, most: int, work: Path) -> npt.NDArray[np.float32]:
    """Return up to `most` vectors of distinct contents, made when they are not there yet."""
    place = work / "vectors" / f"{kind}.npy"
    if not place.exists() or (kind == "text" and len(np.load(place, mmap_mode="r")) < most):
        place.parent.mkdir(parents=True, exist_ok=True)
        rows = {"text": _of_texts, "image": _of_images}[kind](work)
        vectors = np.concatenate([row for _, row in zip(range(most), rows, strict=False)])
        np.save(place, vectors)
    vectors = np.load(place)[:most]
    return np.ascontiguousarray(vectors, np.float32)


def _of_texts(work: Path) -> Iterator[npt.NDArray[np.float32]]:
    encoder = open_encoder("wordllama", "text")
    task = next(task for task in tasks.TASKS if task.name == "pieces")
    for text in dict.fromkeys(tasks.texts(tasks.prepare(task, "full", 2, work))):
        vector = encoder.encode([text])
        if np.isfinite(vector).all():
            yield vector


def _of_images(work: Path) -> Iterator[npt.NDArray[np.float32]]:
    encoder = open_encoder("efficientnet-lite0", "image")
    for path in image_tasks.drawings(work):
        try:
            pixels = decode(path.read_bytes(), Decoding())
        except Unreadable:
            continue
        if information(pixels) == "ok":
            yield encoder.encode([pixels])


def markdown(results: dict[str, Any]) -> str:
    """Return the page."""
    lines = [f"# Indexes of vectors: {results['machine']['processor']}, {results['threads']} cores used", ""]
    columns = ["tool", "build s", "search s", "cpu", "peak", "recall", "beyond", "records"]
    for kind, size in dict.fromkeys((row["kind"], row["size"]) for row in results["runs"]):
        lines += [f"## {kind}: {size:,} vectors, floor {FLOORS[kind]}", ""]
        lines += ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
        for row in results["runs"]:
            if (row["kind"], row["size"]) == (kind, size):
                lines.append("| " + " | ".join(_cell(name, row.get(name)) for name in columns) + " |")
        lines.append("")
    return "\n".join([*lines, *str(__doc__).strip().splitlines()[-4:], ""])


def _cell(name: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    if name == "peak":
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:.4f}" if name in {"recall", "beyond", "records"} else f"{value:,.1f}"


if __name__ == "__main__":
    main()
