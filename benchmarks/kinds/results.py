"""What the benchmarks of kinds share: their arguments, what a run says of itself, and where its results go."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import Any

from benchmarks.bench import HERE, machine


def parser(about: str | None) -> argparse.ArgumentParser:
    """Return the parser of a benchmark's command line, `about` being its module's docstring."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--work", type=Path, default=HERE / ".work")
    made.add_argument("--out", type=Path, default=HERE / "results/kinds")
    return made


def begun() -> dict[str, Any]:
    """Return the date and the machine of a run."""
    return {"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": machine()}


def write(out: Path, kind: str, results: dict[str, Any], page: str, *, in_order: bool = True) -> None:
    """Write the figures of a kind, their names in order or as they come, and its page."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{kind}.json").write_text(json.dumps(results, indent=1, sort_keys=in_order) + "\n", encoding="utf-8")
    (out / f"{kind}.md").write_text(page, encoding="utf-8")
