"""Lines and paragraphs of texts against a plain implementation."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_text import token_hash
from typer.testing import CliRunner

from dedupver import cli, report
from dedupver.fingerprint import passages as module
from dedupver.fingerprint.normal import normalize
from dedupver.fingerprint.passages import passages
from dedupver.fingerprint.strings import Strings
from dedupver.schema import SHARED

if TYPE_CHECKING:
    from pathlib import Path

ON = {"fingerprint__text__passages": 10, "dedup__keep": ["first"]}
FOOTER = "All rights reserved by the owner.\nAsk before you copy."
TEXTS = st.lists(st.text("ab é\u0301\u3000\n\r.", max_size=30), max_size=12)


def plain(text: str, least: int) -> list[tuple[int, int]]:
    """Return hash and characters of each line and paragraph, the slow way."""
    blocks: list[list[str]] = [[]]
    for line in map(normalize, text.split("\n")):
        if line:
            blocks[-1].append(line)
        else:
            blocks.append([])
    found = {(token_hash(line.encode()) & ~1, len(line)) for block in blocks for line in block}
    found |= {(token_hash(" ".join(block).encode()) | 1, len(" ".join(block))) for block in blocks if len(block) > 1}
    return sorted((h, size) for h, size in found if size >= least)


def of(texts: list[str], least: int) -> list[list[tuple[int, int]]]:
    """Return the passages of each text."""
    found = passages(Strings.of_list(text.encode() for text in texts), least)
    assert found.hash.values.dtype == np.uint64
    assert found.chars.offsets.tolist() == found.hash.offsets.tolist()
    pairs = list(zip(found.hash.values.tolist(), found.chars.values.tolist(), strict=True))
    edges = found.hash.offsets.tolist()
    return [pairs[a:b] for a, b in itertools.pairwise(edges)]


@settings(deadline=None)
@given(TEXTS, st.integers(1, 6), st.sampled_from([1, 20, 1 << 20]))
def test_passages_equal_the_plain_way(texts: list[str], least: int, block: int) -> None:
    """For any texts, and however many are cut at once."""
    before, module._BLOCK = module._BLOCK, block
    try:
        assert of(texts, least) == [plain(text, least) for text in texts]
    finally:
        module._BLOCK = before


def test_a_paragraph_is_the_same_at_another_width() -> None:
    """Its lines are not; case and spaces do not matter."""
    one, other = of(["The quick brown fox\njumps over\n\nit", "the QUICK brown\n  fox jumps\r\nover\n"], 20)
    assert one == other
    assert len(one) == 1
    assert one[0][0] & 1


def test_what_comes_twice_in_a_text_counts_once() -> None:
    """Of three equal lines there is one, and the paragraph that they make."""
    assert [len(found) for found in of(["a line\na line\na line"], 3)] == [2]


def test_no_texts_have_no_passages() -> None:
    """An empty batch is no special case."""
    assert of([], 1) == []


def shared(root: Path) -> list[dict[str, Any]]:
    """Return what the kept share."""
    found: list[dict[str, Any]] = pq.read_table(root / "build/dedup/shared.parquet", schema=SHARED).to_pylist()
    return found


def rows(*names: str, footer: str = FOOTER) -> projects.Rows:
    """Return texts of their own, with a footer."""
    return [{"id": n, "text": f"{' '.join(n + str(i) for i in range(99))}\n\n{footer}"} for n in names]


def by_definition(texts: dict[str, list[str]], least: int) -> dict[tuple[str, bytes], tuple[int, int, str]]:
    """Return what is in two and more records: how many, characters repeated, the first."""
    holders: dict[tuple[int, int], set[str]] = defaultdict(set)
    for name, parts in texts.items():
        for part in parts:
            for passage in plain(part, least):
                holders[passage].add(name)
    return {
        ("paragraph" if h & 1 else "line", h.to_bytes(8, "big")): (len(held), size * (len(held) - 1), min(held))
        for (h, size), held in holders.items()
        if len(held) > 1
    }


def test_what_the_kept_share_is_counted_over_versions(tmp_path: Path) -> None:
    """A footer of two lines in two records of v1 and, set to another width, in two of v2; the copy that goes does not count."""
    first = rows("a", "b", "c")
    first[2]["text"] = first[2]["text"].replace(FOOTER, "")
    root = projects.build(projects.create(tmp_path, first, **ON))
    expected = by_definition({row["id"]: [row["text"]] for row in first}, 10)
    assert {(r["what"], r["content"]): (r["records"], r["chars"], r["example"]) for r in shared(root)} == expected
    assert sorted(r["what"] for r in shared(root)) == ["line", "line", "paragraph"]

    projects.advance(root)
    second = [*first, *rows("d", "e", footer=FOOTER.replace("\n", " ").replace(" owner", "\nowner"))]
    second.append({"id": "f", "text": second[0]["text"].upper()})
    projects.build(projects.reopen(root, second, "v2", **ON))
    assert projects.kept(root) == {"a", "b", "c", "d", "e"}
    expected = by_definition({row["id"]: [row["text"]] for row in second[:-1]}, 10)
    found = shared(root)
    assert {(r["what"], r["content"]): (r["records"], r["chars"], r["example"]) for r in found} == expected
    assert (found[0]["what"], found[0]["records"], found[0]["example"]) == ("paragraph", 4, "a")
    told = projects.metrics(root, "dedup")["shared"]
    assert told["paragraph"] == {"chars": 3 * len(FOOTER), "contents": 1, "most": 4, "records": 4}


def test_a_look_at_what_is_shared(tmp_path: Path) -> None:
    """Rows of a table and files, a caption and passages; escapes are shown, not sent."""
    evil = FOOTER.replace("before", "before\x1b[2J")
    table = rows("a", "b", footer=evil) + [{"id": n, "text": n * 30, "caption": "A  dog"} for n in ("x", "y")]
    files: projects.Files = {"t.jsonl": projects.jsonl(table)}
    files |= {f"{n}.txt": f"{n} has one more line\n\nAsk before anybody does." for n in ("c", "d")}
    root = projects.build(projects.create(tmp_path, files, **ON))
    found = json.loads(ask(root, "--json"))
    seen = {(row["what"], row["preview"]): row["records"] for each in found.values() for row in each["rows"]}
    assert seen == {
        ("caption", "A dog"): 2,
        ("line", "All rights reserved by the owner."): 2,
        ("line", "Ask before\x1b[2J you copy."): 2,
        ("line", "Ask before anybody does."): 2,
        ("paragraph", "All rights reserved by the owner. Ask before\x1b[2J you copy."): 2,
    }
    text = ask(root, "--most", "1")
    assert "\x1b" not in text
    assert r"Ask before\x1b[2J you copy." in text
    assert "3 × line, in several records each:" in text
    assert "  and 2 more: see --most" in text
    (root / "data/raw/t.jsonl").write_text("")  # the source is no longer what was read
    assert {row["preview"] for row in json.loads(ask(root, "--json"))["paragraph"]["rows"]} == {None}


def test_of_many_the_first_are_listed_and_all_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of what is shared is no longer than MOST."""
    monkeypatch.setattr(report, "MOST", 1)
    root = projects.build(projects.create(tmp_path, rows("a", "b"), **ON))
    found = json.loads(ask(root, "--json"))
    assert (found["line"]["contents"], len(found["line"]["rows"])) == (2, 1)


def ask(root: Path, *words: str) -> str:
    """Return the answer of `dedupver shared`."""
    result = CliRunner().invoke(cli.app, ["-C", str(root), "shared", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_nothing_shared_is_said_so(tmp_path: Path) -> None:
    """And whether passages were counted."""
    root = projects.build(projects.create(tmp_path, rows("a")))
    nothing, hint = ask(root).splitlines()
    assert nothing == "no two kept records share a part"
    assert "fingerprint.text.passages" in hint
    root = projects.build(projects.create(tmp_path / "on", rows("a"), **ON))
    assert ask(root) == "no two kept records share a part or a passage\n"


def test_two_parts_of_a_record_count_once(tmp_path: Path) -> None:
    """A line in the text and in the caption of one record is in one record."""
    texts = [{"id": n, "text": f"{n} says\nthe same line here", "caption": "the same line here"} for n in ("a", "b")]
    root = projects.build(projects.create(tmp_path, texts, **ON))
    assert [(r["what"], r["records"]) for r in shared(root)] == [("caption", 2), ("line", 2)]


def test_order_and_copies_change_nothing(tmp_path: Path) -> None:
    """Texts that differ in how their lines are broken are one content, whichever comes first; each has its own lines."""
    texts = [{"id": n, "text": FOOTER.replace("\n", end)} for n, end in (("a", "\n"), ("b", " \n"), ("c", " "))]
    texts += rows("d")
    one = projects.outputs(projects.build(projects.create(tmp_path / "one", texts, **ON)))
    other = projects.outputs(projects.build(projects.create(tmp_path / "two", texts[::-1], **ON)))
    places = {name for name in one if "records" in name or "decisions" in name or "events" in name or "files" in name}
    same = {name for name in one if "/segments/" in name or "shared" in name}
    assert len(same) > 10
    assert {name: one[name] for name in same - places} == {name: other[name] for name in same - places}


def test_without_the_param_nothing_is_stored(tmp_path: Path) -> None:
    """No arrays, and no rows."""
    root = projects.build(projects.create(tmp_path, rows("a", "b")))
    assert shared(root) == []
    assert not list(root.rglob("passages.*"))


@pytest.mark.parametrize("slots", [1, 4])
def test_counts_are_exact_however_full_the_table_is(
    tmp_path: Path, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Licence texts of the installed packages, against plain Python."""
    monkeypatch.setattr("dedupver.passages._SLOTS", slots)
    root = projects.build(projects.create(tmp_path, projects.licences(), **ON | {"source__columns": {}}))
    texts = {}
    for name, row in projects.decisions(root).items():
        if row["action"] == "keep":
            texts[name] = [(root / "data/raw" / row["path"]).read_bytes().decode("utf-8-sig")]
    expected = by_definition(texts, 10)
    assert len(expected) > 100
    found = {(r["what"], r["content"]): (r["records"], r["chars"], r["example"]) for r in shared(root)}
    assert found == expected
