"""`dedupver audit`: the trail of a real history of licence texts, asked in each way, against the lines of its files."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import projects
import pytest
from decisions import log, near, row
from typer.testing import CliRunner

from dedupver import cli, trail
from dedupver.manifest import open_manifest
from dedupver.schema import DedupverError

if TYPE_CHECKING:
    from pathlib import Path

LAST = 3


def texts() -> projects.Rows:
    """Return the licence texts, each with a source (its first letter) and a label (whether it is long)."""
    found = projects.licences().items()
    return [
        {"id": name, "text": data, "source": name[0].lower(), "label": "long" if len(data) > 5000 else "short"}
        for name, raw in found
        for data in [raw.decode(errors="replace") if isinstance(raw, bytes) else raw]
    ]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of three versions: a half, all less some with a stricter threshold, all judged again."""
    rows, root = texts(), tmp_path_factory.mktemp("trail") / "project"
    projects.build(projects.create(root, [*rows[::2], {"id": "empty", "text": ""}]))
    projects.advance(root)
    projects.build(projects.reopen(root, rows[10:], "v2", dedup__thresholds__text=0.9))
    projects.advance(root)
    (root / "reviews.csv").write_text(f"left,right,label\n{rows[20]['id']},{rows[30]['id']},same\n")
    given = {"dedup__thresholds__text": 0.95, "dedup__history": "rejudge"}
    return projects.build(projects.reopen(root, rows, f"v{LAST}", **given))


def lines(root: Path) -> list[dict[str, Any]]:
    """Return the lines of all trails, with source and label as the tables have them."""
    found = []
    for number in range(1, LAST + 1):
        version = f"v{number}"
        told = {r["id"]: r for r in open_manifest(root / "manifest").of_version(version).to_pylist()}
        for line in (root / f"manifest/{version}.audit.jsonl").read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            action = {"keep": "restore"}.get(event["action"], event["action"])
            more = {name: told[event["id"]][name] for name in ("source", "label")}
            found.append(event | more | {"written": version, "action": action})
    return found


ASKED: list[dict[str, Any]] = [
    {},
    {"since": "v2"},
    {"until": "v2"},
    {"since": "v2", "until": "v2"},
    {"action": "drop"},
    {"action": "restore"},
    {"action": "quarantine"},
    {"action": "gone"},
    {"reason": "near_duplicate_of"},
    {"reason": "exact_duplicate_of"},
    {"method": "minhash"},
    {"method": "sha256"},
    {"method": "review"},
    {"source": "p"},
    {"label": "short"},
    {"representative": "the most frequent"},
    {"since": "v2", "source": "p", "action": "drop", "label": "long", "method": "minhash"},
]


@pytest.mark.parametrize("words", ASKED, ids=str)
def test_what_is_asked_for_is_what_the_lines_of_the_trail_say(history: Path, words: dict[str, Any]) -> None:
    """Each event once, in order, whichever way it is filtered: the trails' lines are the truth."""
    every = lines(history)
    if "representative" in words:
        words = {
            "representative": Counter(e["representative"] for e in every if e["action"] == "drop").most_common()[0][0]
        }
    wanted = [
        event
        for event in every
        if words.get("since", "v1") <= event["written"] <= words.get("until", f"v{LAST}")
        and all(event[name] == value for name, value in words.items() if name not in {"since", "until"})
    ]
    assert wanted
    found = list(trail.events(open_manifest(history / "manifest"), trail.Asked(**words)))
    order = list(trail.ACTIONS)
    assert found == sorted(wanted, key=lambda e: (e["written"], order.index(e["action"]), e["id"]))
    assert all(list(event) == list(trail.COLUMNS) for event in found)
    options = [each for name, value in words.items() for each in (f"--{name}", value)]
    asked = ask(history, *options, "--json")
    assert json.loads(asked.stdout) == {"events": found, "reasons": Counter(e["reason"] for e in found)}
    rows = list(csv.DictReader(io.StringIO(ask(history, *options, "--csv", "--limit", "3").stdout)))
    assert [r["id"] for r in rows] == [e["id"] for e in found[:3]]
    text = ask(history, *options, "--limit", "2").stdout.splitlines()
    assert text[-1].startswith(f"{len(found)} events: ")
    assert len(text) == 2 + min(len(found), 2) + (len(found) > 2)


def ask(root: Path, *words: str) -> Any:
    """Run the command."""
    result = CliRunner().invoke(cli.app, ["-C", str(root), "audit", *words])
    assert result.exit_code == 0, result.exception
    return result


def test_a_version_or_an_action_that_there_is_not_is_an_error_that_names_those_there_are(history: Path) -> None:
    """Rather than an empty answer."""
    opened = open_manifest(history / "manifest")
    with pytest.raises(DedupverError, match="there are v1, v2, v3"):
        list(trail.events(opened, trail.Asked(since="v9")))
    with pytest.raises(DedupverError, match="there are drop, restore, quarantine, gone"):
        list(trail.events(opened, trail.Asked(action="keep")))


def test_hostile_names_neither_steer_the_terminal_nor_start_a_formula(tmp_path: Path) -> None:
    """In none of the three forms."""
    evil = near("=cmd|' /C calc'!A0\x1b[2J", "a", label="@sum", source="+1")
    opened = log(tmp_path, [row("a"), evil])
    (tmp_path / "params.yaml").write_text("{}")
    opened.path.rename(tmp_path / "manifest")
    for form in ([], ["--csv"], ["--json"]):
        assert "\x1b" not in ask(tmp_path, *form).stdout.replace("\x1b" if form == ["--csv"] else "never", "")
    cells = next(iter(csv.DictReader(io.StringIO(ask(tmp_path, "--csv").stdout))))
    assert (cells["id"][:5], cells["label"], cells["source"]) == ("'=cmd", "'@sum", "'+1")
    assert json.loads(ask(tmp_path, "--json").stdout)["events"][0]["id"] == evil["id"]
