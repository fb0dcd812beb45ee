"""The benchmark: every tool on every task, in turn, several rounds; medians, memory, recall, as JSON and Markdown.

    python -m benchmarks.bench                 the subset: minutes
    python -m benchmarks.bench --full          over 100 MB a task, five rounds: hours
    python -m benchmarks.bench --full --timings     the seconds alone, in minutes: the truth takes the hours
    python -m benchmarks.bench --resume …      goes on where a run was cut off

Downloads, environments and data are kept in benchmarks/.work, which git ignores; results go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from benchmarks import score, table, tasks, tools, truth

HERE: Final = Path(__file__).parent
WARM_UP: Final = 500  # records of each part


def main() -> None:
    """Parse and run."""
    asked = _parser().parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.threads])
    Benchmark(asked).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all of the data and the tools")
    parser.add_argument("--tasks", nargs="+", choices=[t.name for t in tasks.TASKS])
    parser.add_argument("--tools", nargs="+", choices=[t.name for t in tools.TOOLS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timings", action="store_true", help="compare with no truth, which takes an hour to find")
    parser.add_argument("--resume", action="store_true", help="keep the runs that the results hold")
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser


class Benchmark:
    """Some tools on some tasks, and what was measured so far."""

    def __init__(self, asked: argparse.Namespace) -> None:
        """Prepare the data."""
        self.work, self.threads = asked.work, asked.threads
        self.size = "full" if asked.full else "subset"
        self.timings: bool = asked.timings
        self.place = asked.out / (f"{self.size}-timings.json" if self.timings else f"{self.size}.json")
        self.rounds = asked.rounds
        self.tools = [t for t in tools.TOOLS if (t.name in asked.tools if asked.tools else asked.full or t.subset)]
        wanted = [t for t in tasks.TASKS if not asked.tasks or t.name in asked.tasks]
        self.data = {t.name: tasks.prepare(t, self.size, asked.threads, asked.work) for t in wanted}
        kept = asked.resume and self.place.exists()
        self.results: dict[str, Any] = json.loads(self.place.read_text()) if kept else {"runs": [], "packages": {}}
        self.results |= {
            "size": self.size,
            "date": dt.datetime.now(dt.UTC).date().isoformat(),
            "machine": machine(),
            "threads": asked.threads,
            "settings": tools.SETTINGS,
            "tasks": {t.name: tasks.describe(t, self.data[t.name], asked.work) for t in wanted},
        }

    def run(self) -> None:
        """Run all in turn, round after round; write after each round."""
        self.warm_up()
        for number in range(self.rounds):
            for task in self.data:
                for tool in self.tools:
                    self.one_run(task, tool, number)
            self.write(number + 1)

    def warm_up(self) -> None:
        """Make the environments and run each tool once on a few records, so that what is compiled once is compiled."""
        few = tasks.head(next(iter(self.data.values())), WARM_UP, self.work / "data" / "few")
        for tool in self.tools:
            tell(f"warming up {tool.name}")
            tools.run(tool, few, self.fresh(), self.threads, self.work)

    def one_run(self, task: str, tool: tools.Tool, number: int) -> None:
        """Add a run to the results, unless they hold it."""
        key = {"task": task, "tool": tool.name, "round": number}
        if any(key.items() <= run.items() for run in self.results["runs"]):
            return
        out = self.fresh()
        told = tools.run(tool, self.data[task], out, self.threads, self.work)
        self.results["packages"][tool.peer] = told.pop("packages")
        self.results["runs"].append({**key, **told, "scores": self.judge(task, tool, out)})
        tell(f"{number + 1} {task:10} {tool.name:16} {told['seconds']:9.2f} s {told['peak'] / 2**20:7,.0f} MiB")

    def judge(self, task: str, tool: tools.Tool, out: Path) -> score.Scores:
        """Return the scores of what the tool wrote."""
        if tool.tokens is None or self.timings:
            return {}
        cache = self.work / "truth" / f"{self.results['tasks'][task]['sha256'][:16]}-{tool.tokens}.npz"
        size, threshold = tools.SETTINGS["shingle"], tools.SETTINGS["threshold"]
        right = truth.load(lambda: tasks.texts(self.data[task]), tool.tokens, size, threshold, cache)
        scores = score.records(right, pq.read_table(out / "dropped.parquet")["row"].to_numpy())
        if (out / "pairs.parquet").exists():
            found = pq.read_table(out / "pairs.parquet")
            scores |= score.pairs(right, np.stack([found["left"].to_numpy(), found["right"].to_numpy()], axis=1))
        return scores

    def write(self, rounds: int) -> None:
        """Write the results so far, as JSON and as Markdown."""
        self.results |= {"rounds": rounds, "table": table.medians(self.results["runs"], self.results["tasks"])}
        self.place.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.results, indent=1, ensure_ascii=False)
        self.place.write_text(text + "\n", encoding="utf-8")
        self.place.with_suffix(".md").write_text(table.markdown(self.results), encoding="utf-8")

    def fresh(self) -> Path:
        """Return the path of an output directory that is not there."""
        shutil.rmtree(self.work / "run", ignore_errors=True)
        return self.work / "run"


def tell(line: str) -> None:
    """Print a line of progress."""
    print(line, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
