"""What the kind `row` finds: people of FEBRL, releases of airports and cities as versions; beside splink.

    python -m benchmarks.kinds.row

Two rows are a true pair where they are of one thing, whatever any blocking proposes; both tools are judged by all pairs
that they list. dedupver runs with its defaults (every column a text, all weights 1), and "set" as docs/kinds/row.md
says for such a table; splink with what its documentation compares, and with all columns, trained on the table alone.
The threshold for people was read off FEBRL 1, where every one from .45 to .6 is without a fault; that for places off
these very tables, one for both. splink's is a probability: .5 for people, .9999 for places, of .5, .9, .99 and .9999 what
serves it best on the whole. `best F1` is at the threshold that is best for this table, which nobody knows beforehand.
Seconds are of the stages in one process for dedupver (of all versions, with the clean dataset written), and of the whole
process for splink.
Downloads and environments are kept in benchmarks/.work; results go to benchmarks/results/kinds.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import project
from benchmarks.bench import HERE, tell
from benchmarks.kinds import results as runs
from benchmarks.kinds.row_tasks import DOCUMENTED, PEOPLE, PLACES, Task, write
from benchmarks.readme import table
from benchmarks.tools import Tool, environment
from dedupver import manifest, pipeline, store
from dedupver.index.segment import Index
from dedupver.params import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from benchmarks.kinds.row_tasks import Row

Pair = tuple[str, str]
Scores = dict[Pair, float]

PEER: Final = Tool("splink", "splink")
OURS: Final = tuple(round(0.4 + 0.05 * step, 2) for step in range(12))
THEIRS: Final = (0.5, 0.9, 0.99, 0.9999)
USUAL: Final = {"people": 0.5, "airports": 0.9999, "cities": 0.9999}  # of THEIRS what serves splink best
FLOOR: Final = 0.4


def main() -> None:
    """Parse and run."""
    asked = runs.parser(__doc__).parse_args()
    results = runs.begun()
    results["tasks"] = {task.name: measured(task, asked.work) for task in (*PEOPLE, *PLACES)}
    runs.write(asked.out, "row", results, page(results))
    tell(page(results))


def measured(task: Task, work: Path) -> dict[str, Any]:
    """Return what both tools find in the tables of a task, and which of its records they know."""
    root, versions = work / "row" / "project", list(task.rows(task, work))
    things = Counter(task.of(row["id"]) for rows in versions for row in rows)
    true = sum(n * (n - 1) // 2 for n in things.values())
    found: dict[str, Any] = {"records": things.total(), "things": len(things), "pairs": true, "tools": {}}
    tuned = {"fingerprint.row.fields": task.fields, "dedup.thresholds.row": task.threshold}
    for name, given in (("dedupver", {}), ("dedupver, set", tuned)):
        steps, scores = ours(task, versions, given, root)
        seconds = round(sum(step["seconds"] for step in steps), 1)
        threshold = given.get("dedup.thresholds.row", Thresholds().row)
        told = judged(scores, true, task.of, (*OURS, threshold))
        found["tools"][name] = {"seconds": seconds, "threshold": threshold, "versions": steps, **told}
    whole = write(itertools.chain(*versions), task.columns, root.with_name("whole.csv"))
    documented = [column for column in DOCUMENTED if column in task.columns]
    for name, columns in (("splink", documented), ("splink, all columns", list(task.columns))):
        if columns:
            seconds, scores = peer(task.kind, whole, columns, work)
            told = judged(scores, true, task.of, THEIRS)
            found["tools"][name] = {"seconds": seconds, "threshold": USUAL[task.kind], **told}
    return found


def ours(
    task: Task, versions: list[list[Row]], given: dict[str, Any], root: Path
) -> tuple[list[dict[str, Any]], Scores]:
    """Build the tables as versions, each a further batch; return what each decided, and the pairs of all."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    source = {"source.mode": "append", "source.columns.fields": list(task.columns), "match.floor.row": FLOOR}
    steps = []
    for number, rows in enumerate(versions, start=1):
        batch = write(rows, task.columns, root / f"batch{number}.csv")
        if number == 1:
            project.lay_out(root, [batch], {**source, **given})
        else:
            project.open_next(root, f"v{number}")
            project.add(root, [batch])
        started = time.monotonic()
        for stage in pipeline.STAGES:
            pipeline.run(stage, root)
        seconds = round(time.monotonic() - started, 2)
        live = manifest.open_manifest(root / "manifest").live().to_pylist()
        recall = store.read_json(root / "metrics/dedup.json")["recall"]["row"]
        steps.append({"records": len(rows), "seconds": seconds, "recall": recall, **decided(live, task.of)})
    return steps, listed(live, Index.open(root / "index"))


def decided(live: list[dict[str, Any]], of: Callable[[str], str]) -> dict[str, int]:
    """Count the records that are dropped so far, those for another thing, and kept ones of a thing that is kept."""
    kept = [of(row["id"]) for row in live if row["action"] == "keep"]
    dropped = [row for row in live if row["action"] == "drop"]
    wrong = sum(of(row["id"]) != of(row["representative"]) for row in dropped)
    return {"dropped": len(dropped), "wrongly": wrong, "duplicates that stay": len(kept) - len(set(kept))}


def listed(live: list[dict[str, Any]], index: Index) -> Scores:
    """Return the score of each pair of records that an index lists, equal ones among them."""
    names = defaultdict(list)
    for row in live:
        for part in row["parts"]:
            names[part["content"]].append(row["id"])
    found = {_pair(a, b): 1.0 for ids in names.values() for a, b in itertools.combinations(ids, 2)}
    for row in itertools.chain(*(segment.matches().to_pylist() for segment in index.segments)):
        for a, b in itertools.product(names[row["left"]], names[row["right"]]):
            found[_pair(a, b)] = row["score"]
    return found


def _pair(a: str, b: str) -> Pair:
    return min(a, b), max(a, b)


def peer(kind: str, whole: Path, columns: Iterable[str], work: Path) -> tuple[float, Scores]:
    """Return splink's seconds, and its pairs with their probabilities."""
    python, out = environment(PEER, work), whole.with_suffix(".json")
    started = time.monotonic()
    command = [str(python), "-P", str(HERE / "peers/splink.py"), kind, str(whole), str(out), *columns]
    subprocess.run(command, check=True, capture_output=True)
    spent = round(time.monotonic() - started, 1)
    return spent, {_pair(a, b): probability for a, b, probability in json.loads(out.read_text())}


def judged(scores: Scores, true: int, of: Callable[[str], str], levels: Iterable[float]) -> dict[str, Any]:
    """Return precision, recall and F1 at some levels, and at the score that is best.

    `true` is how many pairs there are to be found; a pair is right where both are of one thing.
    """
    pairs = sorted(scores, key=scores.__getitem__, reverse=True)
    score = np.array([scores[pair] for pair in pairs], np.float32)  # as matches are
    right = np.cumsum([of(a) == of(b) for a, b in pairs])

    def at(count: int) -> dict[str, float]:
        hits = int(right[count - 1]) if count else 0
        told = {"precision": hits / max(count, 1), "recall": hits / true, "f1": 2 * hits / (count + true)}
        return {name: round(value, 4) for name, value in told.items()}

    found = {f"{level:g}": at(int((score >= np.float32(level)).sum())) for level in sorted(levels)}
    ends = np.flatnonzero(np.diff(score, append=-1)) + 1  # of the pairs of equal scores all or none
    best = max(ends.tolist(), key=lambda end: at(end)["f1"], default=0)
    return {"at": found, "best": {"score": round(float(score[best - 1]), 6) if best else 1.0, **at(best)}}


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    made = tables(results)
    lines = [f"# Rows of tables; {results['machine']['processor']}, {results['date']}", ""]
    for name, about in (
        ("rows", "Pairs at a threshold, which for splink is a probability, and at the one that is best for the table."),
        ("row thresholds", "dedupver, set: F1 at thresholds."),
        ("row versions", "What dedupver decides, version by version; counts are of all records so far."),
    ):
        lines += [about, "", *made[name], ""]
    return "\n".join([*lines, *str(__doc__).strip().splitlines()[4:], ""])


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables of the page and of docs/kinds/row.md, by the names of their markers."""
    return {
        "rows": table(
            ("table", "tool", "threshold", "precision", "recall", "F1", "best F1", "at", "seconds"),
            [
                [name, tool, f"{said['threshold']:g}", *_shown(said), f"{said['seconds']:.1f}"]
                for name, task in results["tasks"].items()
                for tool, said in task["tools"].items()
            ],
        ),
        "row thresholds": table(
            ("table", *(f"{level:g}" for level in OURS)),
            [
                [name, *(f"{task['tools']['dedupver, set']['at'][f'{level:g}']['f1']:.3f}" for level in OURS)]
                for name, task in results["tasks"].items()
            ],
        ),
        "row versions": table(
            ("table", "version", "records come", "dropped", "of them wrongly", "duplicates that stay", "search recall"),
            [
                [f"{name}, {tool}", f"v{number}", *_counted(step)]
                for name, task in results["tasks"].items()
                for tool, said in task["tools"].items()
                for number, step in enumerate(said.get("versions", ()), start=1)
            ],
        ),
    }


def _shown(said: dict[str, Any]) -> list[str]:
    at, best = said["at"][f"{said['threshold']:g}"], said["best"]
    return [*(f"{at[name]:.4f}" for name in ("precision", "recall", "f1")), f"{best['f1']:.4f}", f"{best['score']:g}"]


def _counted(step: dict[str, Any]) -> list[str]:
    counts = [f"{step[name]:,}" for name in ("records", "dropped", "wrongly", "duplicates that stay")]
    return [*counts, "–" if step["recall"] is None else f"{step['recall']:.4f}"]


if __name__ == "__main__":
    main()
