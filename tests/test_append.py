"""Mode append: the source is the new batch alone, and a version is all batches so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import projects

from dedupver.check import check

if TYPE_CHECKING:
    from pathlib import Path

APPEND: dict[str, Any] = {"mode": "append", "columns": {"id": "id"}}
LONG = (
    "the quick brown fox jumps over the lazy dog and then it runs through the field until the night falls on the hill"
)
OTHER = "Something else entirely, told in words that no other text in here has got at all."


def batches(root: Path, *each: projects.Files | projects.Rows, **given: Any) -> Path:
    """Build a version for each batch; `given` params hold for the last."""
    for number, batch in enumerate(each, start=1):
        lay = projects.reopen if number > 1 else projects.create
        lay(root, batch, f"v{number}", **({"source": APPEND} | (given if number == len(each) else {})))
        projects.build(root)
        if number < len(each):
            projects.advance(root)
    return root


def test_a_record_that_comes_again_is_what_it_was(tmp_path: Path) -> None:
    """With the same normalised content, its bytes and attributes stay those of the batch that brought it."""
    first: projects.Files = {"c.txt": OTHER, "a.jsonl": projects.jsonl([{"id": "r", "text": LONG, "split": "train"}])}
    again: projects.Files = {
        "c.txt": OTHER.upper(),
        "b.jsonl": projects.jsonl([{"id": "r", "text": LONG.upper(), "split": "test"}]),
    }
    root = batches(tmp_path, first, again)
    row = projects.decisions(root)["r"]
    assert (row["path"], row["split"], row["version"]) == ("a.jsonl", "train", "v1")
    assert projects.tree(root / "clean") == {f"clean/v1/{n}": str(t).encode() for n, t in first.items()}
    assert projects.metrics(root, "manifest")["changed"] == {"kept": 0, "removed": 0, "quarantined": 0, "gone": 0}
    assert check(root) == []
