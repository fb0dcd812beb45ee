"""Whether the intervals of `dedupver review estimate` hold the truth, and proposed thresholds keep their promise.

`python -m benchmarks.reviews`: people of FEBRL with their misspelt copies, real texts and pictures with edited copies: of all
it is known what is the same, and the reviewer is that truth. Each run draws pairs with a seed of its own, labels them, draws as
many again in the light of these labels, and estimates; over all runs it is counted how often each interval of 95 % holds
what is true of all pairs at or above the floor, and how often a proposed threshold has less than the wished precision.
Two other intervals see the same labels: Wald's, and quantiles of Beta posteriors, a Jeffreys prior for each stratum.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import image_tasks, project
from benchmarks.kinds import results as runs
from benchmarks.kinds.row_tasks import PEOPLE, person, write
from benchmarks.kinds.text_tasks import LICENCES, prepare
from dedupver import pipeline
from dedupver.project import Project
from dedupver.review import estimate
from dedupver.review.drawing import Drawing
from dedupver.review.population import Pairs, Population
from dedupver.reviews import Review

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from dedupver.review.estimate import Strata

    Mask = npt.NDArray[np.bool_]

RUNS: Final = 300
ROUNDS: Final = 2
COUNT: Final = 200  # labels a round
WISHES: Final = (0.9, 0.95, 0.99)
LEAST: Final = 20
"""Thresholds with fewer pairs at or above are left out."""


@dataclass(frozen=True)
class Task:
    """A project, and which of its records are the same."""

    name: str
    kind: str
    build: Callable[[Path, Path], None]
    of: Callable[[str], str]


def main() -> None:
    """Parse and run."""
    asked = runs.parser(__doc__).parse_args()
    found = runs.begun() | {"runs": RUNS, "labels": COUNT, "rounds": ROUNDS, "tasks": {}}
    for task in TASKS:
        found["tasks"][task.name] = measured(task, asked.work)
        print(task.name, found["tasks"][task.name]["rounds"], flush=True)
    runs.write(asked.out.parent, "reviews", found, page(found), in_order=False)


def measured(task: Task, work: Path) -> dict[str, Any]:
    """Return the population of a task, and what each round's intervals are worth."""
    root = work / "reviews" / task.name
    shutil.rmtree(root, ignore_errors=True)
    task.build(root, work)
    for stage in pipeline.STAGES:
        pipeline.run(stage, root)
    people = Population.of(Project(root))
    pairs = people.pairs(task.kind)
    things = [task.of(name) for name in people.ids]
    same = np.array([things[a] == things[b] for a, b in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)])
    whole = Drawing(task.kind, people, pairs, [], 0)
    band = whole.stratum % len(whole.edges)
    above = [band >= at for at in range(len(whole.edges))]
    told = [at for at, mask in enumerate(above) if mask.sum() >= LEAST]
    truth = [(same[above[at]].mean(), same[above[at]].sum() / same.sum()) for at in range(len(above)) if at in told]
    counts = [_Counts(truth) for _ in range(ROUNDS)]
    for seed in range(RUNS):
        said: list[Review] = []
        for number in range(ROUNDS):
            drawn = Drawing(task.kind, people, pairs, said, seed).next(COUNT)
            said += [_label(task.kind, people, (pairs, each.pair), same, seed) for each in drawn]
            known = Drawing(task.kind, people, pairs, said, seed).known
            counts[number].take(whole.edges, known, told, seed)
    return {
        "kind": task.kind,
        "pairs": len(same),
        "true": int(same.sum()),
        "thresholds": [round(whole.edges[at], 4) for at in told],
        "precision": [round(float(p), 4) for p, _ in truth],
        "recall": [round(float(r), 4) for _, r in truth],
        "rounds": [each.told() for each in counts],
    }


class _Counts:
    """How often intervals held the truth, by method and by what they are of."""

    def __init__(self, truth: list[tuple[float, float]]) -> None:
        self.truth, self.runs = truth, 0
        self.held = {m: np.zeros((len(truth), 2)) for m in METHODS}
        self.width = {m: np.zeros((len(truth), 2)) for m in METHODS}
        self.proposed, self.wrong = (dict.fromkeys(WISHES, 0) for _ in range(2))

    def take(self, edges: list[float], strata: Strata, told: list[int], seed: int) -> None:
        """Count one run."""
        self.runs += 1
        rows = estimate.table(edges, strata)
        for name, method in METHODS.items():
            found = method(rows, strata, seed)
            for n, at in enumerate(told):
                for k, (low, high) in enumerate(found[at]):
                    self.held[name][n, k] += low - 1e-9 <= self.truth[n][k] <= high + 1e-9
                    self.width[name][n, k] += high - low
        for wish in WISHES:
            row = estimate.propose([rows[at] for at in told], wish)
            self.proposed[wish] += row is not None
            self.wrong[wish] += bool(row and self.truth[told.index(rows.index(row))][0] < wish)

    def told(self) -> dict[str, Any]:
        """Return the shares."""
        found: dict[str, Any] = {}
        for name in METHODS:
            held, width = self.held[name] / self.runs, self.width[name] / self.runs
            found[name] = {
                what: {
                    "mean": round(float(held[:, k].mean()), 4),
                    "least": round(float(held[:, k].min()), 4),
                    "width": round(float(width[:, k].mean()), 4),
                }
                for k, what in enumerate(("precision", "recall"))
            }
        wishes = {
            str(w): {"proposed": self.proposed[w] / self.runs, "wrong": self.wrong[w] / self.runs} for w in WISHES
        }
        return found | {"wishes": wishes}


Bounds = list[tuple[tuple[float, float], tuple[float, float]]]


def _ours(rows: list[estimate.Row], strata: Strata, seed: int) -> Bounds:
    del strata, seed
    return [((r.precision.low, r.precision.high), (r.recall.low, r.recall.high)) for r in rows]


def _wald(rows: list[estimate.Row], strata: Strata, seed: int) -> Bounds:
    """Return estimate ± 1.96 standard errors."""
    del seed
    some = strata.where((strata.labelled > 0) & (strata.size > 0))
    each = some.same / some.labelled
    variance = each * (1 - each) / np.maximum(some.labelled - 1, 1)
    true = max(float(some.size @ each), 1e-9)
    found = []
    for at, row in enumerate(rows):
        over = some.band >= at
        share = np.where(over, some.size, 0) / max(some.size[over].sum(), 1e-9)
        grow = some.size * (over - (row.recall.value or 0)) / true
        bounds = []
        for value, weight in ((row.precision.value or 0, share), (row.recall.value or 0, grow)):
            error = 1.96 * float(np.sqrt(weight**2 @ variance))
            bounds.append((max(value - error, 0), min(value + error, 1)))
        found.append((bounds[0], bounds[1]))
    return found


def _posterior(rows: list[estimate.Row], strata: Strata, seed: int) -> Bounds:
    """Return the quantiles of precision and recall under a Beta posterior of each stratum."""
    some = strata.where(strata.size > 0)
    draws = (
        np.random.default_rng(seed).beta(some.same + 0.5, some.labelled - some.same + 0.5, size=(1000, len(some.same)))
        * some.size
    )
    found = []
    for at in range(len(rows)):
        over = some.band >= at
        true = draws[:, over].sum(1)
        both = (true / max(some.size[over].sum(), 1e-9), true / draws.sum(1))
        (a, b), (c, d) = (np.quantile(each, [0.025, 0.975]).tolist() for each in both)
        found.append(((a, b), (c, d)))
    return found


METHODS: Final = {"effective size": _ours, "Wald": _wald, "posterior": _posterior}


def _label(kind: str, people: Population, which: tuple[Pairs, int], same: Mask, seed: int) -> Review:
    pairs, at = which
    names = (people.ids[end[at]] for end in (pairs.left, pairs.right))
    return Review(0, *names, "same" if same[at] else "different", {"kind": kind, "seed": str(seed)})


def page(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    said = f"{found['runs']} runs a task, {found['labels']} labels a round, {found['date']}."
    head = ("task", "kind", "pairs", "true", "labels", "interval", "precision: mean", "worst", "width")
    about = "Coverage is the share of runs in which an interval of 95 % held the truth: over all thresholds, and at the worst."
    lines = [f"{said} {about}"]
    lines += [
        "",
        f"| {' | '.join((*head, 'recall: mean', 'worst', 'width'))} |",
        "|---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, task in found["tasks"].items():
        for number, each in enumerate(task["rounds"], start=1):
            for method in METHODS:
                cells = [
                    f"{each[method][w][c]:.3f}" for w in ("precision", "recall") for c in ("mean", "least", "width")
                ]
                start = (name, task["kind"], f"{task['pairs']:,}", f"{task['true']:,}", str(number * found["labels"]))
                lines.append("| " + " | ".join((*start, method, *cells)) + " |")
    lines += ["", "| task | labels | wished precision | proposed in | wrong in |", "|---|---:|---:|---:|---:|"]
    for name, task in found["tasks"].items():
        for number, each in enumerate(task["rounds"], start=1):
            for wish, told in each["wishes"].items():
                shares = f"{told['proposed']:.3f} | {told['wrong']:.3f}"
                lines.append(f"| {name} | {number * found['labels']} | {wish} | {shares} |")
    return "\n".join(lines) + "\n"


def _build_people(root: Path, work: Path) -> None:
    task = next(each for each in PEOPLE if each.name == "FEBRL 3, no number")
    rows = [row for version in task.rows(task, work) for row in version]
    table = write(rows, task.columns, root.with_name("people.csv"))
    settings = {"source.columns.fields": list(task.columns), "match.floor.row": 0.4, "dedup.thresholds.row": 0.6}
    project.lay_out(root, [table], settings)


def _build_texts(root: Path, work: Path, *, licences: bool) -> None:
    rows = prepare(work)
    rows = rows if licences else rows.filter(pc.not_equal(rows["corpus"], LICENCES))
    root.parent.mkdir(parents=True, exist_ok=True)
    table = root.with_name(f"{root.name}.parquet")
    pq.write_table(rows.select(["id", "text"]), table)
    project.lay_out(root, [table], {"match.floor.text": 0.4, "dedup.thresholds.text": 0.6})


def _build_pictures(root: Path, work: Path) -> None:
    made = image_tasks.prepare("subset", work)
    project.lay_out(root, [made.data / name for name in made.names], {"source.samples": "file"})


def _drawn_from(name: str) -> str:
    """Return what a picture was made of: p0007-half.jpg → p0007."""
    return name.partition(".")[0].partition("-")[0]


def _original(name: str) -> str:
    """Return what a text was made of: `bsd.RULE|a typo in 50 letters` → bsd.RULE."""
    return name.partition("|")[0]


TASKS: Final = (
    Task("people", "row", _build_people, person),
    Task("documents", "text", partial(_build_texts, licences=False), _original),
    Task("pictures", "image", _build_pictures, _drawn_from),
    Task("licences too", "text", partial(_build_texts, licences=True), _original),
)


if __name__ == "__main__":
    main()
