"""What the benchmarks of kinds compute, by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmarks import measure, readme
from benchmarks.kinds import embedded, embeddings, joint
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
