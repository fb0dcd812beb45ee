"""What gates say of two templated sources: Rust's pages on the intrinsics of two processors, which differ in few words.

Each page is a record with its source; a page's text is most of 5 kB of template. The pages are decided at several
thresholds, and with their declarations as a part of their own, and judged at the default gates.
Run `python -m benchmarks.gates --work DIR`; it writes results/gates.json, of which docs/gates.md speaks.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

from benchmarks import project
from benchmarks.tasks import _APT, Source, _members
from dedupver import gates, pipeline, store
from dedupver.project import Project
from dedupver.schema import GateError

RESULT: Final = Path(__file__).parent / "results/gates.json"
PAGE: Final = r".*/html/core/arch/(x86_64|aarch64)/(fn\.[^/]+)\.html"
DECLARATION: Final = re.compile(r'<pre class="rust fn">(.*?)</pre>', re.DOTALL)
SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "text 0.6": {"dedup.thresholds.text": 0.6},
    "text 0.7": {"dedup.thresholds.text": 0.7},
    "text 0.8 (default)": {},
    "text 0.9": {"dedup.thresholds.text": 0.9},
    "text 0.95": {"dedup.thresholds.text": 0.95},
    "text 0.8 and equal declarations": {"dedup.rules": [{"text": 0.8, "declaration": "exact"}]},
}


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(__file__).parent / ".work")
    work: Path = parser.parse_args().work
    root = work / "gates"
    shutil.rmtree(root, ignore_errors=True)
    tables = write(Source("rust-doc", _APT).fetch(work), work / "gates-in")
    parts = {"text": "text", "declaration": "text"}
    project.lay_out(root, tables, {"source.parts": parts})
    for stage in ("fingerprint", "match"):
        pipeline.run(stage, root)
    found = {name: decided(root, settings) for name, settings in SETTINGS.items()}
    records = {path.stem: sum(1 for _ in path.open("rb")) for path in tables}
    store.write_json(RESULT, {"package": "rust-doc", "records": records, "settings": found})


def write(archive: Path, place: Path) -> list[Path]:
    """Write a table of each source: id, source, text, and the declaration in plain text."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    rows: dict[str, list[dict[str, str]]] = {}
    for name, inner in _members(archive, PAGE):
        source, page = re.fullmatch(PAGE, name).groups()  # type: ignore[union-attr]
        text = inner.read().decode()
        plain = html.unescape(re.sub(r"<[^>]+>", " ", DECLARATION.search(text)[1]))  # type: ignore[index]
        rows.setdefault(source, []).append(
            {"id": f"{source}/{page}", "source": source, "text": text, "declaration": plain}
        )
    for source, pages in rows.items():
        lines = (json.dumps(each) + "\n" for each in sorted(pages, key=lambda page: page["id"]))
        (place / f"{source}.jsonl").write_text("".join(lines), encoding="utf-8")
    return sorted(place.iterdir())


def decided(root: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what is kept with these settings, what the default gates measure, and the message where they fail."""
    # a declaration says which pages differ; by default both parts must match, so the first settings look at texts alone
    project.change(root, {"dedup.rules": [{"text": "similar"}], "dedup.thresholds.text": 0.8, **settings})
    pipeline.run("dedup", root)
    judged = pipeline.judged(Project(root))
    told = {"kept": store.read_json(root / "metrics/dedup.json")["kept"], "gates": gates.metrics(judged)}
    try:
        gates.require(judged)
    except GateError as error:
        return {**told, "message": str(error)}
    return told


if __name__ == "__main__":
    main()
