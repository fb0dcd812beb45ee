"""A version beside its base: who is carried over, who leaves, who comes back, and what is logged of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import projects
import pyarrow as pa
import pytest

from dedupver import manifest
from dedupver.schema import DECISION

if TYPE_CHECKING:
    from pathlib import Path

LONG = (
    "the quick brown fox jumps over the lazy dog and then it runs through the field until the night falls on the hill"
)
A, B = {"id": "a", "text": LONG + " once more"}, {"id": "b", "text": LONG}  # a is longer: it represents b
C = {"id": "c", "text": "something else entirely, told in words that no other text in here has got at all"}
Rows = list[dict[str, str]]


def versions(root: Path, *rows: Rows, **given: object) -> Path:
    """Build one version after the other; `given` params hold for the last."""
    projects.build(projects.create(root, rows[0], "v1", **(given if len(rows) == 1 else {})))
    for number, now in enumerate(rows[1:], start=2):
        projects.advance(root)
        projects.build(projects.reopen(root, now, f"v{number}", **(given if number == len(rows) else {})))
    return root


def outcome(root: Path) -> dict[str, tuple[str, str, str | None]]:
    """Return each record's action, reason and representative."""
    return {
        name: (row["action"], row["reason"], row["representative"]) for name, row in projects.decisions(root).items()
    }


def logged(root: Path) -> dict[str, str]:
    """Return what the newest version's files say, by id."""
    log = manifest.open_manifest(root / "manifest")
    rows = log.of_version(log.versions[-1]).to_pylist()
    return {row["id"]: f"{row['action']} {row['reason']}" for row in rows}


def test_carried_over_records_are_no_duplicates_of_themselves(tmp_path: Path) -> None:
    """The same source again: every decision stays, by the version that took it, and nothing is logged."""
    root = versions(tmp_path, [A, B, C], [A, B, C])
    assert outcome(root) == {
        "a": ("keep", "kept", None),
        "b": ("drop", "near_duplicate_of", "a"),
        "c": ("keep", "kept", None),
    }
    assert {row["decided"] for row in projects.decisions(root).values()} == {"v1"}
    assert logged(root) == {}


def test_a_newcomer_never_evicts_what_was_published(tmp_path: Path) -> None:
    """The better newcomer goes for the base's record."""
    assert outcome(versions(tmp_path, [B], [A, B]))["a"] == ("drop", "near_duplicate_of", "b")


def test_a_dropped_record_returns_when_its_representative_leaves(tmp_path: Path) -> None:
    """B is restored by v2 though v1 brought it, and a is logged as gone."""
    root = versions(tmp_path, [A, B, C], [B, C])
    row = projects.decisions(root)["b"]
    assert (row["action"], row["reason"], row["version"], row["decided"]) == ("keep", "restored", "v1", "v2")
    assert logged(root) == {"a": "gone left_source", "b": "keep restored"}
    live = manifest.open_manifest(root / "manifest").live()
    assert live["id"].to_pylist() == ["b", "c"]


def test_a_record_that_came_back_is_judged_like_a_newcomer(tmp_path: Path) -> None:
    """A left in v2 and b took its place: in v3 a is a duplicate of b."""
    root = versions(tmp_path, [A, B], [B], [A, B])
    assert outcome(root) == {"a": ("drop", "near_duplicate_of", "b"), "b": ("keep", "restored", None)}
    assert logged(root) == {"a": "drop near_duplicate_of"}


def test_an_edited_representative_sets_its_duplicates_free(tmp_path: Path) -> None:
    """The id stays, the content does not: b has nothing left that it resembles."""
    root = versions(tmp_path, [A, B], [{**C, "id": "a"}, B])
    assert {name: said[0] for name, said in outcome(root).items()} == {"a": "keep", "b": "keep"}
    assert projects.decisions(root)["a"]["version"] == "v2"
    assert set(logged(root)) == {"a", "b"}


def test_an_edited_record_may_become_a_duplicate(tmp_path: Path) -> None:
    """It was kept with other content, so nothing was published that must stay."""
    root = versions(tmp_path, [A, C], [A, {"id": "c", "text": LONG}])
    assert outcome(root)["c"] == ("drop", "near_duplicate_of", "a")


def test_rejudged_history_takes_back_what_frozen_history_leaves(tmp_path: Path) -> None:
    """At a higher threshold b is no duplicate: frozen leaves it out, rejudge lets it back in."""
    strict = {"dedup__thresholds": {"text": 0.99}}
    frozen = versions(tmp_path / "frozen", [A, B], [A, B], **strict)
    again = versions(tmp_path / "again", [A, B], [A, B], dedup__history="rejudge", **strict)
    assert (projects.kept(frozen), projects.kept(again)) == ({"a"}, {"a", "b"})


def test_a_lower_threshold_evicts_only_where_history_is_judged_again(tmp_path: Path) -> None:
    """Two that v1 kept match at the new threshold: frozen keeps both."""
    first = {"dedup__thresholds": {"text": 0.99}}
    for history, stays in (("frozen", {"a", "b"}), ("rejudge", {"a"})):
        root = projects.build(projects.create(tmp_path / history, [A, B], "v1", **first))
        projects.advance(root)
        projects.build(projects.reopen(root, [A, B], "v2", dedup__history=history))
        assert projects.kept(root) == stays


def test_append_adds_a_batch_to_the_base(tmp_path: Path) -> None:
    """The base's records are still there though the source holds the batch alone, and clean/ has a folder a batch."""
    append = {"source": {"mode": "append", "columns": {"id": "id"}}}
    root = projects.build(projects.create(tmp_path, [B], "v1", **append))
    projects.advance(root)
    projects.build(projects.reopen(root, [A, C], "v2", **append))
    assert {name: said[0] for name, said in outcome(root).items()} == {"a": "drop", "b": "keep", "c": "keep"}
    assert {p.name for p in (root / "clean").iterdir()} == {"v1", "v2"}
    assert b"lazy dog" in (root / "clean/v1/rows.jsonl").read_bytes()
    assert b'"c"' in (root / "clean/v2/rows.jsonl").read_bytes()
    assert b'"a"' not in (root / "clean/v2/rows.jsonl").read_bytes()


def test_without_a_base_all_is_judged_anew(tmp_path: Path) -> None:
    """`version.base: none` forgets that b was published first."""
    root = versions(tmp_path, [B], [A, B], base="none")
    assert outcome(root) == {"a": ("keep", "kept", None), "b": ("drop", "near_duplicate_of", "a")}
    assert manifest.open_manifest(root / "manifest").versions == ["v2"]


def test_references_are_protected_and_never_written(tmp_path: Path) -> None:
    """A benchmark's record drops the training record that resembles it, and is in no count."""
    files = {"bench/x.jsonl": projects.jsonl([B]), "train.jsonl": projects.jsonl([A, C])}
    source = {"columns": {"id": "id"}, "references": ["bench/*"]}
    root = projects.build(projects.create(tmp_path, files, source=source))
    assert outcome(root) == {
        "a": ("drop", "leaks_from", "b"),
        "b": ("keep", "reference", None),
        "c": ("keep", "kept", None),
    }
    assert not (root / "clean/bench").exists()
    counted = projects.metrics(root, "dedup")
    assert (counted["n_in"], counted["kept"], counted["references"]) == (2, 1, 1)


@pytest.mark.parametrize("last", [[A, B, C], [C], [B, A]])
def test_the_log_tells_the_state(tmp_path: Path, last: Rows) -> None:
    """Replaying the log gives this version's decisions, but for where a record lies."""
    root = versions(tmp_path, [A, B], [B, C], last)
    live = manifest.open_manifest(root / "manifest").live().drop_columns(["path", "row"])
    decided = pa.Table.from_pylist(list(projects.decisions(root).values()), schema=DECISION).drop_columns(
        ["path", "row"]
    )
    assert live.to_pylist() == decided.to_pylist()
