"""docs/gates.md says what was measured."""

from __future__ import annotations

from pathlib import Path

from dedupver import store

ROOT = Path(__file__).parent.parent


def test_the_page_says_what_was_measured() -> None:
    """The message is that of the run, and so are the numbers of the table."""
    page = (ROOT / "docs/gates.md").read_text(encoding="utf-8")
    found = store.read_json(ROOT / "benchmarks/results/gates.json")
    assert found["settings"]["text 0.7"]["message"] in page
    assert f"kept of {sum(found['records'].values()):,}" in page
    for each in found["settings"].values():
        measured = (each["gates"][name] for name in ("removed", "removed_by_source", "cluster"))
        cells = ["–" if value is None else f"{value:.3f}" for value in measured]
        assert f"| {each['kept']:,} | {each['gates']['failed']} | {' | '.join(cells)} |" in page
