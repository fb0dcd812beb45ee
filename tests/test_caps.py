"""Caps on what records share, through the stages, version by version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import projects
import pyarrow.parquet as pq
import pytest

from dedupver import params
from dedupver.check import check
from dedupver.manifest import open_manifest
from dedupver.query import explain
from dedupver.schema import SHARED

if TYPE_CHECKING:
    from pathlib import Path

CAP = {"dedup__caps": {"caption": 2}, "dedup__keep": ["first"]}


def rows(**captions: str) -> projects.Rows:
    """Return records of a text of their own and a caption."""
    texts = {name: " ".join(f"{name}{i}" for i in range(9)) for name in captions}
    return [{"id": name, "text": texts[name], "caption": caption} for name, caption in captions.items()]


def shared(root: Path) -> list[dict[str, Any]]:
    """Return what the kept share."""
    found: list[dict[str, Any]] = pq.read_table(root / "build/dedup/shared.parquet", schema=SHARED).to_pylist()
    return found


def test_a_further_version_fills_what_is_left(tmp_path: Path) -> None:
    """The first two of a caption stay, whichever version brought them; nothing published is taken back."""
    root = projects.build(projects.create(tmp_path, rows(a="A dog", x="A cat"), **CAP))
    assert shared(root) == []
    projects.advance(root)
    second = rows(a="A dog", x="A cat", b="a  DOG", c="A dog", d="A dog")
    projects.build(projects.reopen(root, second, "v2", **CAP))
    assert projects.kept(root) == {"a", "x", "b"}
    assert projects.decisions(root)["c"]["rule"] == "{caps.caption: 2}"
    assert projects.metrics(root, "dedup")["shared"] == {"caption": {"contents": 1, "most": 2, "records": 2}}
    assert [(r["what"], r["records"], r["example"]) for r in shared(root)] == [("caption", 2, "a")]
    assert check(root) == []
    told = explain(open_manifest(root / "manifest"), "c")
    assert told.remedies == ["a greater number in `dedup.caps` than that of {caps.caption: 2}"]

    projects.advance(root)
    projects.build(projects.reopen(root, [r for r in second if r["id"] != "a"], "v3", **CAP))
    assert projects.kept(root) == {"x", "b", "c"}  # whom a dropped one went for is gone, and there is room for one
    assert check(root) == []


def test_without_a_cap_what_is_shared_is_reported(tmp_path: Path) -> None:
    """All stay, and the table and the plot say how often each caption comes."""
    root = projects.build(projects.create(tmp_path, rows(a="A dog", b="A dog", c="A dog", d="Tea", e="Tea", f="Me")))
    assert len(projects.kept(root)) == 6
    assert [(r["what"], r["records"], r["example"]) for r in shared(root)] == [
        ("caption", 3, "a"),
        ("caption", 2, "d"),
    ]
    plot = (root / "plots/shared.csv").read_text()
    assert plot == "what,records,contents\ncaption,2,1\ncaption,3,1\n"


def test_running_again_on_the_output_drops_nothing(tmp_path: Path) -> None:
    """What a cap leaves is within the cap."""
    given = rows(**{f"r{i}": f"caption {i % 3}" for i in range(12)})
    root = projects.build(projects.create(tmp_path / "one", given, **CAP))
    kept = [row for row in given if row["id"] in projects.kept(root)]
    assert len(kept) == 6
    assert len(projects.kept(projects.build(projects.create(tmp_path / "two", kept, **CAP)))) == 6


def test_a_cap_names_a_part(tmp_path: Path) -> None:
    """A part that params do not know is an error that names the nearest."""
    path = tmp_path / "params.yaml"
    path.write_text("dedup: {caps: {captoin: 3}}")
    with pytest.raises(params.ParamsError, match="did you mean 'caption'"):
        params.load(path)
