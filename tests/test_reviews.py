"""What a person said of a pair: heard whatever was decided before, and whatever history is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import projects
import pytest

from dedupver.check import check
from dedupver.manifest import open_manifest

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


@pytest.mark.parametrize("history", ["frozen", "rejudge"])
def test_a_drop_of_the_base_is_taken_back(tmp_path: Path, history: str) -> None:
    """`different` on a pair that the base settled restores the one, and nobody else is judged again."""
    root = second(tmp_path, [A, B, C], "a,b,different", history=history)
    assert whom(root) == {}
    assert projects.decisions(root)["b"]["reason"] == "restored"
    assert check(root) == []


def test_of_two_that_the_base_kept_the_later_goes_and_whom_it_stood_for_is_judged_again(tmp_path: Path) -> None:
    """`same` is a person's word, which frozen history hears: a, the longer, goes for nobody, c for a."""
    longest = {**C, "text": C["text"] + " and then some more of them, so that it is the longest of all texts there are"}
    for rows, gone, stands in (([A, B, C], "c", "a"), ([A, B, longest], "a", "c")):
        place = tmp_path / stands
        projects.build(projects.create(place, rows))
        projects.advance(place)
        projects.settings(place, version="v2")
        review(place, "a,c,same")
        projects.build(place)
        assert whom(place)[gone] == stands
        assert whom(place).get("b") == ("a" if gone == "c" else None)  # nothing that is kept resembles it any more
        assert projects.decisions(place)[gone]["reason"] == "reviewed_same_as"
        assert check(place) == []


def test_what_others_had_decided_stays_frozen(tmp_path: Path) -> None:
    """A threshold that would join or part others is not heard because a review is."""
    d = {"id": "d", "text": C["text"] + " but for these few words"}
    projects.build(projects.create(tmp_path, [A, B, C, d], dedup__thresholds__text=0.95))
    assert whom(tmp_path) == {}
    projects.advance(tmp_path)
    projects.settings(tmp_path, version="v2", dedup__thresholds__text=0.7)
    review(tmp_path, "a,b,same")
    assert whom(projects.build(tmp_path)) == {"b": "a"}


@pytest.mark.parametrize("history", ["frozen", "rejudge"])
def test_the_same_as_a_dropped_record_is_no_reason_to_go(tmp_path: Path, history: str) -> None:
    """A record goes for one that is kept: who says that other is b must say so of b's representative."""
    assert whom(second(tmp_path / "b", [A, B, C, OTHER], "other,b,same", history=history)) == {"b": "a"}
    assert whom(second(tmp_path / "a", [A, B, C, OTHER], "other,a,same", history=history)) == {"b": "a", "other": "a"}


def test_an_edited_record_is_a_newcomer_to_reviews(tmp_path: Path) -> None:
    """Its old decision was on other content."""
    root = second(tmp_path, [A, {**B, "text": LONG + " twice"}, C], "a,b,different", history="frozen")
    assert whom(root) == {}


@pytest.mark.parametrize("history", ["frozen", "rejudge"])
def test_a_review_that_was_withdrawn_decides_nothing(tmp_path: Path, history: str) -> None:
    """Neither what it joined nor what it parted stays so, in whichever version it decided."""
    root = second(tmp_path, [A, B, C, OTHER], "other,c,same", "b,a,different", history="frozen")
    assert whom(root) == {"other": "c"}
    projects.advance(root)
    projects.reopen(root, [A, B, C, OTHER], "v3", dedup__history=history)
    review(root)
    assert whom(projects.build(root)) == {"b": "a"}
    assert projects.decisions(root)["other"]["reason"] == "restored"
    assert check(root) == []


def test_the_version_keeps_what_people_said(tmp_path: Path) -> None:
    """Beside the log, for the next version and for who compares two."""
    root = second(tmp_path, [A, B, C], "a,b,different", history="frozen")
    assert open_manifest(root / "manifest").reviews() == [("a", "b", "different")]
    assert open_manifest(root / "base/manifest").reviews() == []
