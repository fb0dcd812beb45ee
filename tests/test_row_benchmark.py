"""The scores of the benchmark of rows, by hand; what its releases bring; and that its docs show the committed results."""

from __future__ import annotations

from benchmarks import readme
from benchmarks.kinds import row, row_tasks


def test_scores_by_hand() -> None:
    """Three pairs are true, two of them are listed, with a false one between and one as high as the second."""
    scores = {("a1", "a2"): 0.9, ("a1", "b1"): 0.8, ("b1", "b2"): 0.7, ("b2", "c1"): 0.7}
    found = row.judged(scores, 3, lambda name: name[0], (0.7, 0.85, 0.95))
    assert found["at"] == {
        "0.7": {"precision": 0.5, "recall": 0.6667, "f1": 0.5714},
        "0.85": {"precision": 1.0, "recall": 0.3333, "f1": 0.5},
        "0.95": {"precision": 0.0, "recall": 0.0, "f1": 0.0},
    }
    assert found["best"] == {"score": 0.7, **found["at"]["0.7"]}


def test_pairs_of_equal_scores_are_found_at_once() -> None:
    """The best threshold can't have the true one of two without the other, whichever was listed first."""
    scores = {("a1", "a2"): 0.9, ("b1", "c1"): 0.9}
    for listed in (scores, dict(reversed(scores.items()))):
        assert row.judged(listed, 1, lambda name: name[0], ())["best"]["precision"] == 0.5


def test_nothing_listed_is_nothing_found() -> None:
    """And no error."""
    assert row.judged({}, 3, str, (0.8,))["best"] == {"score": 1.0, "precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_decisions_by_hand() -> None:
    """Of a, two stay; b2 went for a1, and b is lost."""
    live = [
        {"id": "a1", "action": "keep", "representative": None},
        {"id": "a2", "action": "keep", "representative": None},
        {"id": "a3", "action": "drop", "representative": "a1"},
        {"id": "b2", "action": "drop", "representative": "a1"},
    ]
    assert row.decided(live, lambda name: name[0]) == {"dropped": 2, "wrongly": 1, "duplicates that stay": 1}


def test_a_release_brings_what_it_says_anew() -> None:
    """Of an id that is known and of one that is not; what an older release said comes again in none."""
    old, new = {"id": "X", "name": "old"}, {"id": "X", "name": "new"}
    releases = [("1", [old, {"id": "Y", "name": "y"}]), ("2", [new, {"id": "Y", "name": "y"}]), ("3", [old])]
    found = [[one["id"] for one in rows] for rows in row_tasks.changes(releases, ("name",))]
    assert found == [["X@1", "Y@1"], ["X@2"], []]
    assert [row_tasks.before_release("X@1"), row_tasks.person("rec-17-dup-0")] == ["X", "17"]


def test_fields_are_of_columns_that_a_table_has() -> None:
    """Without the number there is no setting for it; several columns as one need all of them."""
    named = {task.name: set(task.fields) for task in (*row_tasks.PEOPLE, *row_tasks.PLACES)}
    assert named["FEBRL 1"] - named["FEBRL 1, no number"] == {"soc_sec_id"}
    assert named["cities"] == {"name", "admin1code", "countrycode"}


def test_the_page_shows_the_committed_results() -> None:
    """Its tables are what `python -m benchmarks.readme` makes of benchmarks/results/kinds/row.json."""
    text = (readme.DOCS / "row.md").read_text(encoding="utf-8")
    assert "| FEBRL 3 | splink, all columns |" in text
    assert readme.of_kind("row", text) == text
