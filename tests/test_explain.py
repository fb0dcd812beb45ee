"""`dedupver explain`: the history of a record over real versions, and remedies that are tried out on real texts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import projects
import pytest
from decisions import bad, log, near, row
from typer.testing import CliRunner

from dedupver import cli, query

PLAIN: dict[str, Any] = {"source__columns__id": None}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of the installed packages' licence texts."""
    root = projects.create(tmp_path_factory.mktemp("explain") / "project", projects.licences(), **PLAIN)
    return projects.build(root)


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(built, tmp_path / "project"))


def explained(root: Path, name: str) -> dict[str, Any]:
    """Return the answer as JSON."""
    result = CliRunner().invoke(cli.app, ["-C", str(root), "explain", name, "--json"])
    assert result.exit_code == 0, result.exception
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def again(root: Path, text: float) -> dict[str, str]:
    """Judge at another threshold of texts; return what became of each record."""
    projects.settings(root, version="v1", dedup__thresholds__text=text, **PLAIN)
    projects.build(root, "dedup")
    return {name: each["action"] for name, each in projects.decisions(root).items()}


def test_thresholds_that_are_told_change_the_decision(copy: Path) -> None:
    """Dropped texts of the lowest and highest scores stay just above what is told."""
    dropped = sorted((r["score"], n) for n, r in projects.decisions(copy).items() if r["method"] == "minhash")
    told: dict[str, float] = {}
    for _, name in (*dropped[:2], *dropped[-4:]):
        found = explained(copy, name)["opposite"]
        assert [name, found["for"][0]["id"]] in found["reviews"]
        if found["thresholds_alone"]:  # else an equal one is dropped as well
            told[name] = found["thresholds_alone"]["dedup.thresholds.text"]
            assert told[name] >= found["thresholds"]["dedup.thresholds.text"] >= 0.8
    assert len(told) > 1
    for name, value in told.items():
        assert again(copy, round(value + 1e-6, 6))[name] == "keep"


def test_the_nearest_kept_record_is_a_duplicate_at_what_is_told(copy: Path) -> None:
    """Of two that nothing else comes near one goes, at the score that is told."""
    kept = [name for name, each in projects.decisions(copy).items() if each["action"] == "keep"]
    found = {name: explained(copy, name)["opposite"]["nearest"] for name in kept[:40]}
    lonely = {name: near_[0] for name, near_ in found.items() if len(near_) == 1}
    assert lonely
    for name, rival in list(lonely.items())[:2]:
        value = rival["near"]["dedup.thresholds.text"]
        goes, stays = (name, rival["id"]) if rival["before"] else (rival["id"], name)
        assert 0.6 <= value < 0.8
        assert 0 <= rival["known"]["text.minhash"] - value < 1.1e-6  # rounded to the side on which it holds
        at_value = again(copy, value)
        assert "drop" in {at_value[goes], at_value[stays]}
        again(copy, 0.8)


def test_a_record_that_nothing_resembles(copy: Path) -> None:
    """Says so, rather than that some threshold could drop it."""
    kept = [name for name, each in projects.decisions(copy).items() if each["action"] == "keep"]
    alone = [name for name in kept[:40] if explained(copy, name)["opposite"]["nearest"] == []]
    assert alone
    assert explained(copy, alone[0])["remedies"] == [
        "no kept record resembles it at or above the floors of `match.floor`: no threshold drops it, a review may"
    ]


def test_each_version_says_what_it_did(tmp_path: Path) -> None:
    """Brought, dropped, moved to another, restored, edited, unreadable, gone, brought back; and by which job."""
    history = [
        [row("b"), row("a")],
        [near("b", "a", decided="v2")],
        [near("b", "c", decided="v3"), row("c")],
        [row("b", reason="restored", decided="v4")],
        [row("b", content="other", decided="v5")],
        [row("b", content="other", label="cat", decided="v5")],
        [bad("b")],
        [row("b", "gone", reason="left_source", decided="v8")],
        [row("b", decided="v9")],
    ]
    found = query.explain(log(tmp_path, *history), "b").history
    assert [(each["written"], each["change"]) for each in found] == [
        ("v1", "brought"),
        ("v2", "dropped"),
        ("v3", "moved to another"),
        ("v4", "restored"),
        ("v5", "edited"),
        ("v6", "told anew"),
        ("v7", "quarantined"),
        ("v8", "gone"),
        ("v9", "brought back"),
    ]
    assert {each["change"] for each in found} == set(query.EVENTS)
    assert len({each["job"] for each in found}) == 9
