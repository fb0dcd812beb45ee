"""Indexes of vectors: time to build, to search all of it for all of it and for 1,000 more, memory, and recall.

    python -m benchmarks.vectors --kinds text image islands --sizes 10000 30000 100000

Real vectors: wordllama's of the benchmark's pieces of source code, EfficientNet-Lite0's of drawings and of the sprites
of three games. `islands` are the texts and half as many near copies of one of them (cosine .998). What is looked for is
every pair at or above the floor of params.yaml. Downloads and vectors are kept in benchmarks/.work.

- build, all, more: CPU seconds of all threads, which other work on the machine changes least: to build the index; to
  search all vectors for all; and 1,000 of them. cpu is the whole process, read and written files included.
- recall: of the pairs of 2,000 vectors by brute force, the share that is found, at the floor and at the threshold.
  A list is cut at 32, so vectors with more neighbours are left out here; `beyond` is the share of the pairs that this
  leaves out. dedupver's scan lists none of a vector with more than 128, and marks both ends of all of these.
- records: of the vectors that have any partner, the share of which one is found: what a decision to drop needs.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from benchmarks import image_tasks, tasks
from benchmarks.bench import HERE, machine, tell
from benchmarks.tasks import Source
from benchmarks.tools import Tool, run
from dedupver.fingerprint.encoders import open_encoder
from dedupver.fingerprint.image import Decoding, decode, information
from dedupver.index import vectors
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Ints = npt.NDArray[np.int64]

PICTURES: Final = tuple(
    Source(name, image_tasks.APT)
    for name in ("openclipart-png", "wesnoth-1.16-data", "unknown-horizons", "widelands-data")
)
"""Drawings, and the sprites of three games: frames of one movement are many near copies."""

FLOORS: Final = {"text": 0.85, "image": 0.9, "islands": 0.85}
THRESHOLDS: Final = {"text": 0.95, "image": 0.98, "islands": 0.95}
NEIGHBOURS: Final = 32
CAP: Final = 128
SAMPLE: Final = 2_000
MORE: Final = 1_000
SPREAD: Final = 0.045  # of near copies around a vector: any two have cosine .998


def _graph(m: int, ef_construction: int, ef: int) -> dict[str, Any]:
    return {"m": m, "ef_construction": ef_construction, "ef": ef, "kind": "graph"}


TOOLS: Final = (
    Tool("dedupver, scan", "vectors-dedupver", given={"kind": "scan", "cap": CAP}),
    Tool("dedupver, m 32, efc 200, ef 128", "vectors-dedupver", given=_graph(32, 200, 128)),
    Tool("dedupver, m 32, efc 100, ef 64", "vectors-dedupver", given=_graph(32, 100, 64)),
    Tool("dedupver, m 16, efc 200, ef 128", "vectors-dedupver", given=_graph(16, 200, 128)),
    Tool("hnswlib, m 16, efc 200, ef 128", "vectors-hnswlib", given=_graph(16, 200, 128)),
    Tool("hnswlib, m 32, efc 200, ef 128", "vectors-hnswlib", given=_graph(32, 200, 128)),
    Tool("usearch, m 32, efc 200, ef 128", "vectors-usearch", given=_graph(32, 200, 128)),
    Tool("faiss flat", "vectors-faiss", given={"kind": "flat", "not": ["islands"]}),  # it lists all pairs
    Tool("faiss ivf, 16 probes", "vectors-faiss", given={"kind": "lists", "probes": 16}),
)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(FLOORS), default=list(FLOORS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 30_000, 100_000])
    parser.add_argument("--tools", nargs="+", choices=[t.name for t in TOOLS], default=[t.name for t in TOOLS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--resume", action="store_true", help="go on from what the results hold")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    kept = json.loads((asked.out / "vectors.json").read_text()) if asked.resume else {"packages": {}, "runs": []}
    results: dict[str, Any] = {**kept, "machine": machine(), "threads": asked.threads}
    for kind in asked.kinds:
        everything = load(kind, max(asked.sizes), asked.work)
        for size in sorted({min(size, len(everything)) for size in asked.sizes}):
            data = asked.work / "vectors" / f"{kind}-{size}"
            data.mkdir(parents=True, exist_ok=True)
            given = everything[:size] if kind != "islands" else with_copies(everything[:size])
            np.save(data / "vectors.npy", given)
            truth = Truth.of(given, FLOORS[kind])
            chosen = [tool for tool in TOOLS if tool.name in asked.tools and kind not in tool.given.get("not", ())]
            rounds = [
                [one_run(tool, kind, data, truth, asked, results["packages"]) for tool in chosen]
                for _ in range(asked.rounds)
            ]
            for tool, told in zip(chosen, zip(*rounds, strict=True), strict=True):
                results["runs"].append({"kind": kind, "size": len(given), "tool": tool.name, **middle(told)})
            asked.out.mkdir(parents=True, exist_ok=True)
            (asked.out / "vectors.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            (asked.out / "vectors.md").write_text(markdown(results), encoding="utf-8")


def one_run(  # noqa: PLR0913, PLR0917 - a run has this many settings
    tool: Tool, kind: str, data: Path, truth: Truth, asked: argparse.Namespace, packages: dict[str, Any]
) -> dict[str, Any]:
    """Run a tool on the vectors once."""
    out = asked.work / "run"
    shutil.rmtree(out, ignore_errors=True)
    given = {"neighbours": NEIGHBOURS, "floor": FLOORS[kind], "more": MORE, **tool.given}
    told = run(Tool(tool.name, tool.peer, given=given), data, out, asked.threads, asked.work)
    packages[tool.peer] = told.pop("packages")
    pairs = np.load(out / "pairs.npy") if (out / "pairs.npy").exists() else as_pairs(np.load(out / "near.npy"))
    hot = np.load(out / "hot.npy") if (out / "hot.npy").exists() else np.empty(0, np.int64)
    row = {**told["spent"], "cpu": told["cpu"], "peak": told["peak"], **truth.recall(pairs, hot, THRESHOLDS[kind])}
    tell(f"{data.name} {tool.name:34} " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()))
    return row


def middle(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of each figure."""
    return {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}


def as_pairs(near: Ints) -> Ints:
    """Return lists of neighbours, shape (n, k), as pairs (m, 2)."""
    left = np.repeat(np.arange(len(near)), near.shape[1])
    pairs = np.stack([left, near.ravel()], axis=1)
    return pairs[pairs[:, 1] >= 0]


@dataclass(frozen=True, eq=False)
class Truth:
    """All pairs of some vectors, drawn at random, with all vectors."""

    count: int  # of all
    left: Ints  # (m,), ascending
    right: Ints
    score: npt.NDArray[np.float32]

    @classmethod
    def of(cls, given: npt.NDArray[np.float32], floor: float) -> Self:
        """Compare by brute force."""
        chosen = np.sort(np.random.default_rng(0).choice(len(given), min(SAMPLE, len(given)), replace=False))
        left, right, score = vectors.neighbours(given[chosen], given, floor)
        other = chosen[left] != right
        return cls(len(given), chosen[left[other]], right[other], score[other])

    def recall(self, pairs: Ints, hot: Ints, threshold: float) -> dict[str, float]:
        """Return what share of the pairs, and of the vectors that have any, some pairs and some hot vectors cover."""
        found = self._found(pairs, hot)
        partners = np.bincount(self.left, minlength=self.count)
        within = partners[self.left] <= NEIGHBOURS
        strong = within & (self.score >= np.float32(threshold))
        return {
            "recall": _share(found, within),
            "at threshold": _share(found, strong),
            "beyond": _share(~within, np.ones_like(within)),
            "records": len(np.unique(self.left[found])) / max(len(np.unique(self.left)), 1),
        }

    def _found(self, pairs: Ints, hot: Ints) -> npt.NDArray[np.bool_]:
        sampled = np.zeros(self.count, np.bool_)
        sampled[self.left] = True
        pairs = np.concatenate([pairs[sampled[pairs[:, 0]]], pairs[sampled[pairs[:, 1]]][:, ::-1]])
        crowded = np.zeros(self.count, np.bool_)
        crowded[hot] = True
        listed = np.isin(self.left * self.count + self.right, pairs[:, 0] * self.count + pairs[:, 1])
        return listed | (crowded[self.left] & crowded[self.right])


def _share(of: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> float:
    return float(of[among].mean()) if among.any() else 1.0


def with_copies(given: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return vectors and half as many near copies of one of them, mixed."""
    draw = np.random.default_rng(0)
    away = draw.standard_normal((len(given) // 2, given.shape[1])).astype(np.float32)
    copies = given[:1] + SPREAD * away / np.linalg.norm(away, axis=1, keepdims=True)
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    mixed: npt.NDArray[np.float32] = draw.permutation(np.concatenate([given, copies]))
    return mixed


def load(kind: str, most: int, work: Path) -> npt.NDArray[np.float32]:
    """Return up to `most` vectors of distinct contents, made when they are not there yet."""
    kind = "text" if kind == "islands" else kind
    place = work / "vectors" / f"{kind}.npy"
    if not place.exists() or (kind == "text" and len(np.load(place, mmap_mode="r")) < most):
        place.parent.mkdir(parents=True, exist_ok=True)
        rows = {"text": _of_texts, "image": _of_images}[kind](work)
        np.save(place, np.concatenate([row for _, row in zip(range(most), rows, strict=False)]))
    return np.ascontiguousarray(np.load(place)[:most], np.float32)


def _of_texts(work: Path) -> Iterator[npt.NDArray[np.float32]]:
    encoder = open_encoder("wordllama", "text")
    task = next(task for task in tasks.TASKS if task.name == "pieces")
    for text in dict.fromkeys(tasks.texts(tasks.prepare(task, "full", 2, work))):
        vector = encoder.encode([text])
        if np.isfinite(vector).all():
            yield vector


def _of_images(work: Path) -> Iterator[npt.NDArray[np.float32]]:
    encoder = open_encoder("efficientnet-lite0", "image")
    paths = image_tasks.pictures(PICTURES, work)
    for path in random.Random(0).sample(paths, len(paths)):  # noqa: S311 - each size is of all packages
        try:
            pixels = decode(path.read_bytes(), Decoding())
        except Unreadable:
            continue
        if information(pixels) == "ok":
            yield encoder.encode([pixels])


def markdown(results: dict[str, Any]) -> str:
    """Return the page."""
    lines = [f"# Indexes of vectors: {results['machine']['processor']}, {results['threads']} cores used", ""]
    columns = ["tool", "build", "all", "more", "cpu", "peak", "recall", "at threshold", "beyond", "records"]
    for kind, size in dict.fromkeys((row["kind"], row["size"]) for row in results["runs"]):
        lines += [f"## {kind}: {size:,} vectors, floor {FLOORS[kind]}, threshold {THRESHOLDS[kind]}", ""]
        lines += ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
        for row in results["runs"]:
            if (row["kind"], row["size"]) == (kind, size):
                lines.append("| " + " | ".join(_cell(name, row.get(name)) for name in columns) + " |")
        lines.append("")
    return "\n".join([*lines, str(__doc__).strip().partition("\n\n")[2].partition("\n\n")[2], ""])


def _cell(name: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    if name == "peak":
        return f"{value / 2**20:,.0f} MiB"
    return f"{value:.4f}" if name in {"recall", "at threshold", "beyond", "records"} else f"{value:,.1f}"


if __name__ == "__main__":
    main()
