"""What a person said of a pair: heard for newcomers under frozen history, for all where history is judged again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import projects
import pytest

if TYPE_CHECKING:
    from pathlib import Path

LONG = (
    "the quick brown fox jumps over the lazy dog and then it runs through the field until the night falls on the hill"
)
A, B = {"id": "a", "text": LONG + " once more"}, {"id": "b", "text": LONG}  # a is longer: it represents b
C = {"id": "c", "text": "something else entirely, told in words that no other text in here has got at all"}
NEW = {"id": "new", "text": LONG + " again"}  # near a
OTHER = {
    "id": "other",
    "text": "a newcomer of its own, whose words are those of none of the texts that were here before",
}


def review(root: Path, *lines: str) -> None:
    """Write reviews.csv."""
    (root / "reviews.csv").write_text("".join(f"{line}\n" for line in ("left,right,label", *lines)))


def second(root: Path, rows: projects.Rows, *lines: str, history: str) -> Path:
    """Build v1 of a, b and c, then v2 of `rows` with reviews."""
    projects.build(projects.create(root, [A, B, C]))
    projects.advance(root)
    projects.reopen(root, rows, "v2", dedup__history=history)
    review(root, *lines)
    return projects.build(root)


def whom(root: Path) -> dict[str, str]:
    """Return each dropped record with the one it goes for."""
    return {name: row["representative"] for name, row in projects.decisions(root).items() if row["action"] == "drop"}


@pytest.mark.parametrize("history", ["frozen", "rejudge"])
def test_newcomers_are_reviewed_in_any_case(tmp_path: Path, history: str) -> None:
    """One that resembles a kept record stays as `different`, one that does not goes as `same`."""
    root = second(
        tmp_path, [A, B, C, NEW, OTHER], "a,new,different", "new,b,different", "other,c,same", history=history
    )
    assert whom(root) == {"b": "a", "other": "c"}
    assert projects.decisions(root)["other"]["reason"] == "reviewed_same_as"


@pytest.mark.parametrize(("history", "dropped"), [("frozen", {"b": "a"}), ("rejudge", {})])
def test_a_drop_of_the_base_is_taken_back_where_history_is_judged_again(
    tmp_path: Path, history: str, dropped: dict[str, str]
) -> None:
    """`different` on a pair that the base settled says nothing to frozen history."""
    root = second(tmp_path, [A, B, C], "a,b,different", history=history)
    assert whom(root) == dropped
    assert projects.decisions(root)["b"]["reason"] == ("restored" if history == "rejudge" else "near_duplicate_of")


@pytest.mark.parametrize(("history", "dropped"), [("frozen", {"b": "a"}), ("rejudge", {"b": "a", "c": "a"})])
def test_two_that_the_base_kept_become_the_same_where_history_is_judged_again(
    tmp_path: Path, history: str, dropped: dict[str, str]
) -> None:
    """What was published stays published under frozen history, whatever is said of it."""
    assert whom(second(tmp_path, [A, B, C], "a,c,same", history=history)) == dropped


@pytest.mark.parametrize("history", ["frozen", "rejudge"])
def test_the_same_as_a_dropped_record_is_no_reason_to_go(tmp_path: Path, history: str) -> None:
    """A record goes for one that is kept: who says that other is b must say so of b's representative."""
    assert whom(second(tmp_path / "b", [A, B, C, OTHER], "other,b,same", history=history)) == {"b": "a"}
    assert whom(second(tmp_path / "a", [A, B, C, OTHER], "other,a,same", history=history)) == {"b": "a", "other": "a"}


def test_an_edited_record_is_a_newcomer_to_reviews(tmp_path: Path) -> None:
    """Its old decision was on other content."""
    root = second(tmp_path, [A, {**B, "text": LONG + " twice"}, C], "a,b,different", history="frozen")
    assert whom(root) == {}


@pytest.mark.parametrize(("history", "dropped"), [("frozen", {"b": "a", "other": "c"}), ("rejudge", {"b": "a"})])
def test_a_review_that_was_withdrawn(tmp_path: Path, history: str, dropped: dict[str, str]) -> None:
    """What it decided in a released version stays decided, unless history is judged again."""
    root = second(tmp_path, [A, B, C, OTHER], "other,c,same", history="frozen")
    projects.advance(root)
    projects.reopen(root, [A, B, C, OTHER], "v3", dedup__history=history)
    review(root)
    assert whom(projects.build(root)) == dropped
