"""What the benchmarks of kinds compute, by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks import measure, readme
from benchmarks.kinds import embedded, embeddings, joint, joint_media, overview
from benchmarks.kinds.beside import Found, beside, usual_and_best
from benchmarks.kinds.embedded import Item
from dedupver import align

ITEMS = {
    "a": Item("drawings", "1", "original"),
    "a-half": Item("drawings", "1", "half"),
    "a-mirror": Item("drawings", "1", "mirror"),
    "b": Item("drawings", "2", "original"),
    "b-half": Item("drawings", "2", "half"),
    "e": Item("emoji", "3", "original"),
}


def test_a_copy_is_found_where_it_is_paired_with_its_original_itself() -> None:
    """a-mirror is paired with another copy alone; b-half is found at .9 and not at .95."""
    found = {("a", "a-half"): 1.0, ("a-half", "a-mirror"): 0.99, ("b", "b-half"): 0.9}
    told = embeddings.judged(ITEMS, found, (0.9, 0.95))["drawings"]
    assert told["0.9"]["recall"] == {"half": 1.0, "mirror": 0.0}
    assert told["0.95"]["recall"] == {"half": 0.5, "mirror": 0.0}
    assert (told["0.9"]["true"], told["0.95"]["true"]) == (3, 2)


def test_pairs_of_two_families_are_false_and_those_of_two_groups_apart() -> None:
    """Of three pairs within the drawings two are false; an emoji is in another group."""
    found = {("a", "a-half"): 0.98, ("a", "b"): 0.97, ("a-half", "b"): 0.91, ("a", "e"): 0.96}
    told = embeddings.judged(ITEMS, found, (0.9, 0.95, 1.0))
    at = told["drawings"]
    assert [at[level]["false"] for level in ("0.9", "0.95", "1.0")] == [2, 1, 0]
    assert [at[level]["precision"] for level in ("0.9", "0.95", "1.0")] == [0.3333, 0.5, 0.0]
    assert told["between"] == {"0.9": 1, "0.95": 1, "1.0": 0}
    assert told["emoji"]["0.9"] == {"recall": {}, "true": 0, "false": 0, "precision": 0.0}


def test_verses_are_common_to_both_translations_long_enough_and_nowhere_twice() -> None:
    """One is in one translation alone, one too short in one of them, two are the same in one."""
    long = "one two three four five six seven eight"
    kjv = {"G 1:1": f"{long} a", "G 1:2": f"{long} b", "G 1:3": long, "G 1:4": long, "G 1:5": f"{long} c"}
    web = {"G 1:1": f"{long} A", "G 1:2": "too short", "G 1:3": f"{long} B", "G 1:4": f"{long} C"}
    assert embedded.chosen({"kjv": kjv, "web": web}, 10) == {"kjv/G 1:1": f"{long} a", "web/G 1:1": f"{long} A"}
    assert embedded.item("web/G 1:1") == Item("verses", "G 1:1", "other translation")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<w>God</w><note>a <b>note</b></note><w>created</w> .", "God created."),
        ('<title type="x">A Psalm</title>The\n LORD <q/>is', "The LORD is"),
        ("<note>nothing else</note>", ""),
    ],
)
def test_a_verse_is_read_without_its_markup(raw: str, text: str) -> None:
    """Notes and titles go with what is in them, other elements leave their text."""
    assert embedded.plain(raw) == text


def test_the_most_memory_in_each_tenth_of_a_run() -> None:
    """Samples at uneven times; the last belongs to the last tenth."""
    assert measure.tenths([(10.0, 5), (10.5, 7), (13.0, 2), (20.0, 9)]) == [7, 0, 0, 2, 0, 0, 0, 0, 0, 9]
    assert measure.tenths([]) == [0] * 10


def test_the_pairs_of_a_peer_are_taken_in_order() -> None:
    """Names as they come, scores as numbers."""
    assert embeddings.listed([["b", "a", 1], ["a", "c", 0.5]]) == {("a", "b"): 1.0, ("a", "c"): 0.5}


def test_held_out_captions_with_a_relative_among_the_fitted_are_left_out() -> None:
    """Pairs 0 and 1 are fitted; 2 is near 0, 3 is near none, 4 has the image of 1."""
    texts = np.array([[1, 0], [0, 1], [0.9, np.sqrt(1 - 0.81)], [-1, 0], [0, -1]])
    number = np.arange(5)
    pairs = align.Pairs(np.eye(5), texts, np.array([0, 1, 2, 3, 1]), number, np.array([0, 8, 9, 9, 9]))
    far = joint.unrelated(pairs)
    assert far.text.tolist() == [3]
    assert far.images.tolist() == [[0, 0, 0, 1, 0]]


def test_ranks_of_what_is_retrieved_by_hand() -> None:
    """The first is above its others, the second is beaten by one and level with the other: half a place each."""
    scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.4], [0.1, 0.2, 0.3]])
    told = joint_media.retrieved(scores)
    assert told["recall"] == {"1": 0.6667, "3": 1.0, "10": 1.0}
    assert told["chance"] == {"1": 0.3333, "3": 1.0, "10": 1.0}
    assert told["own_above_other"] == round(4.5 / 6, 4)
    assert joint_media.retrieved(scores[:2], np.array([0, 0]))["recall"]["1"] == 1.0


def test_a_mean_loses_what_the_best_picture_shows() -> None:
    """Of two clips joined each caption fits one picture; a third, of both at once, is nearer to the mean of these two."""
    shown = [np.array([[1.0, 0]]), np.array([[0, 1.0]]), np.array([[0.6, 0.8]])]
    texts = np.array([[1, 0], [0, 1], [np.sqrt(0.5), np.sqrt(0.5)]])
    told = joint_media.joined(shown, texts)
    assert told == {"best": 1.0, "mean": round(4 / 6, 4)}


@pytest.mark.parametrize("kind", readme.KINDS)
def test_pages_of_kinds_show_the_committed_results(kind: str) -> None:
    """Their tables are what `python -m benchmarks.readme` makes of benchmarks/results/kinds, and each has its place."""
    text = (readme.DOCS / f"{kind}.md").read_text(encoding="utf-8")
    assert text.count("<!-- end of ") == len(set(re.findall("<!-- end of (.*?) -->", text))) > 0
    assert readme.of_kind(kind, text) == text


def test_the_page_on_sources_shows_the_committed_results() -> None:
    """Likewise, of benchmarks/results/shards.json."""
    text = readme.SOURCES.read_text(encoding="utf-8")
    assert readme.of_shards(text) == text


def test_the_page_on_all_kinds_shows_the_committed_results() -> None:
    """Likewise, of all that benchmarks.kinds.overview reads; each table has its place, and each page of a kind a link."""
    text = readme.OVERVIEW.read_text(encoding="utf-8")
    assert readme.of_overview(text) == text
    assert readme.of_overview(re.sub(r"(<!-- (?!end).*? -->\n)[^<]*", r"\1", text)) == text
    pages = {page.name for page in readme.DOCS.glob("*.md")} - {"README.md", "captions.md"}
    assert pages == set(re.findall(r"\]\((\w+\.md)", text))


@pytest.mark.parametrize(
    ("recall", "precision", "said"),
    [
        (0.8, 0.9, "level"),
        (0.8044, 0.896, "level"),  # less than .005 apart
        (0.8049, 0.9, "ahead"),  # shown as .805, beside .800
        (0.9, 0.9, "ahead"),
        (0.796, 0.95, "ahead"),
        (0.8, 0.85, "behind"),
        (0.7, 0.9, "behind"),
        (0.9, 0.8, "finds more, and more wrongly"),
        (0.7, 1.0, "finds less, and less wrongly"),
    ],
)
def test_a_tool_is_ahead_where_one_figure_is_higher_and_the_other_no_lower(
    recall: float, precision: float, said: str
) -> None:
    """Beside a recall of .8 and a precision of .9."""
    own = Found("dedupver", "0.8", 0.8004, 0.9)
    assert beside(Found("peer", "0.5", recall, precision), own) == said


def test_a_tool_is_shown_at_its_usual_level_and_at_the_best_of_those_that_were_run() -> None:
    """The harmonic means are .8, .72 and .72; the usual one is shown once where it is the best."""
    levels = (0.8, 0.8), (0.6, 0.9), (0.9, 0.6)
    at = {number / 10: Found("peer", f"0.{number}", *found) for number, found in enumerate(levels, start=1)}
    assert [found.at for found in usual_and_best(at, 0.2)] == ["0.2", "0.1, its best"]
    assert [found.at for found in usual_and_best(at, 0.1)] == ["0.1, also its best"]


def test_what_is_found_in_groups_of_items_is_put_together() -> None:
    """All of one edit and half of the other, in both groups; of 12 pairs one is false in each, and two are between them."""

    def found(*shares: float) -> dict[str, object]:
        return {"recall": dict(enumerate(shares)), "true": 4, "false": 1}

    told = {"a": {"0.9": found(1.0, 0.5)}, "b": {"0.9": found(1.0, 0.5)}, "between": {"0.9": 2}}
    assert overview.of_levels(told, "peer") == {0.9: Found("peer", "0.9", 0.75, 8 / 12, 4)}


def test_pairs_of_texts_count_where_both_are_of_the_corpora() -> None:
    """Of 100 + 20 + 40 pairs within two corpora and between these, 16 are unlike; those with a third do not count."""
    told = {
        "recall": {"a": {"half": 0.5, "typo": 1.0}, "b": {"half": 0.0, "typo": 0.5}, "c": {"half": 0.0, "typo": 0.0}},
        "pairs": {"a": 100, "b": 20, "c": 7, "a and b": 40, "a and c": 9},
        "unlike": {"a": 10, "a and b": 6, "a and c": 9},
    }
    assert overview.of_corpora(told, ("a", "b"), "peer", "0.8") == Found("peer", "0.8", 0.5, 0.9, 16)
