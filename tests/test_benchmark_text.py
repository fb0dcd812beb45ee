"""What the benchmark of texts makes of texts, and what it counts."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import truth
from benchmarks.kinds import text, text_tasks

PAGE = "\n\n".join(f"Paragraph {n} has words in it, {n} and {n + 1}.\nIt goes on == here." for n in range(40))


def test_pages_are_whole_paragraphs() -> None:
    """In their order, each as long as is asked."""
    pages = list(text_tasks.pages(PAGE))
    assert len(pages) > 1
    assert PAGE.startswith("\n\n".join(pages))
    assert all(len(page) >= text_tasks.PAGE for page in pages)


@pytest.mark.parametrize("made", text_tasks.EDITS)
def test_an_edit_is_the_same_each_time(made: str) -> None:
    """And changes the text, but for one without comments."""
    one, other = (text_tasks.EDITS[made](PAGE, random.Random(1)) for _ in range(2))
    assert one == other
    assert (one != PAGE) == (made != "comments removed")


def test_edits_do_what_they_are_called() -> None:
    """Some lose nothing, some can be taken back."""
    draw = random.Random(2)
    assert text_tasks.EDITS["lines broken elsewhere"](PAGE, draw).split() == PAGE.split()
    assert sorted(text_tasks.EDITS["paragraphs reordered"](PAGE, draw).split("\n\n")) == sorted(PAGE.split("\n\n"))
    assert len(text_tasks.EDITS["a paragraph removed"](PAGE, draw).split("\n\n")) == 39
    turned = text_tasks.EDITS["signs changed"]
    assert turned(turned(PAGE, draw), draw) == PAGE


def test_pairs_of_one_node_and_of_alike_ones() -> None:
    """Rows 0, 1 and 3 are equal, row 2 is alike to them, row 4 is alone."""
    found = truth.Truth(np.array([0, 0, 1, 0, 2]), np.array([[0, 1]]))
    pairs = list(zip(*np.divmod(text._rows(found), 5), strict=True))
    assert pairs == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_alike_are_runs_of_characters() -> None:
    """By brute force, of texts some of which differ in case and white space alone."""
    draw = random.Random(4)
    texts = ["".join(draw.choices("ab ", k=30)) for _ in range(30)]
    texts += [one.upper().replace(" ", "\n ") for one in texts[:5]] + [one[:-1] + "c" for one in texts[5:10]]
    normal = list(map(text.characters, texts))
    runs = [{one[at : at + 5] for at in range(len(one) - 4)} for one in normal]
    expected = [
        (a, b)
        for a, b in itertools.combinations(range(len(texts)), 2)
        if len(runs[a] & runs[b]) >= 0.8 * len(runs[a] | runs[b])
    ]
    found = text._rows(truth.find(normal, list, text.RUN, 0.8))
    assert list(zip(*np.divmod(found, len(texts)), strict=True)) == expected
    assert len(expected) > 5


def test_what_is_found_is_judged_by_hand() -> None:
    """Of a copy that is found and one that is not, a pair that is alike, one that is neither, and one that is unlike."""
    rows = [
        ("a", "licences", "a", "original"),
        ("a|half", "licences", "a", "half"),
        ("b", "licences", "b", "original"),
        ("b|half", "licences", "b", "half"),
        ("c", "code", "c", "original"),
    ]
    table = pa.table([list(column) for column in zip(*rows, strict=True)], names=["id", "corpus", "family", "made"])
    alike = text.keys(5, [0, 2], [2, 3])
    texts = text.Texts(table, np.array([0, 0, 2, 2, 4]), alike, np.union1d(alike, text.keys(5, [1], [2])))
    assert text.judged(texts, text.keys(5, [1, 2, 4, 2, 3], [0, 0, 0, 1, 3])) == {
        "recall": {"licences": {"half": 0.5}},
        "alike": {"licences": 0.5},
        "pairs": {"code and licences": 1, "licences": 3},
        "unlike": {"code and licences": 1},
    }
    assert text.records(texts) == {
        "licences": {"originals": 2, "edited": 2, "copies": 2},
        "code": {"originals": 1, "edited": 0, "copies": 0},
    }
