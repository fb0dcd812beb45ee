"""Equal folders and files and shared blocks, against definitions over small trees, and on what nobody can read."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tempfile
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC
from typer.testing import CliRunner

from dedupver import cli
from dedupver.blocks import Shared, cut, pairs, shared
from dedupver.schema import ModelError, SourceError

SIZE = 256
GOLDEN = [2795, 5442, 6742, 3037, 5539, 4318, 10896, 9165, 2066]
NAMES = st.sampled_from("abc")
CONTENTS = st.integers(0, 3)
TREES = st.recursive(CONTENTS, lambda below: st.dictionaries(NAMES, below, min_size=1, max_size=3), max_leaves=12)
Tree = Any  # the number of a content, or names → trees


def noise(seed: int, size: int) -> bytes:
    """Return bytes that share no block with those of another seed."""
    return random.Random(seed).randbytes(size)


def lay(tree: Tree, path: Path) -> None:
    """Write a tree of files below a path."""
    if isinstance(tree, dict):
        path.mkdir()
        for name, below in tree.items():
            lay(below, path / name)
    else:
        path.write_bytes(noise(tree, 700 * tree))


def nodes(tree: Tree, path: Path) -> dict[Path, Tree]:
    """Return every folder and file of a tree by its path."""
    found = {path: tree}
    for name, below in tree.items() if isinstance(tree, dict) else ():
        found |= nodes(below, path / name)
    return found


def height(tree: Tree) -> int:
    """Return how many folders lie in each other."""
    return 1 + max(map(height, tree.values())) if isinstance(tree, dict) else 0


def by_definition(tree: Tree, path: Path) -> list[tuple[str, ...]]:
    """Return the groups of equal folders and files, the highest first; what lies in a copy is left out."""
    every, copies, groups = nodes(tree, path), set(), []
    for what in sorted(every.values(), key=height, reverse=True):
        members = sorted(p for p, it in every.items() if it == what and not copies & set(p.parents))
        if len(members) > 1 and what != 0 and tuple(map(str, members)) not in groups:
            groups.append(tuple(map(str, members)))
            copies |= set(members[1:]) if isinstance(what, dict) else set()
    return sorted(groups)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=3))
def test_what_is_equal_is_told_once_at_its_top(tree: Tree) -> None:
    """Of any tree; empty files are equal to none, and what copies would save is what storing each content once saves."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        lay(tree, root)
        found = shared([root], SIZE)
        assert sorted(tuple(each.paths) for each in [*found.folders, *found.copies]) == by_definition(tree, root)
        assert sum(each.bytes for each in [*found.folders, *found.copies]) == found.bytes - found.distinct
        assert found.bytes == sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def blocks_of(data: bytes) -> Counter[bytes]:
    """Return the blocks of a file as the library cuts them from memory."""
    return Counter(bytes(block.data) for block in FastCDC(SIZE).cut_buf(data))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 5), max_size=6), min_size=1, max_size=6), st.sampled_from([2, 3, 64]))
def test_pairs_share_what_their_blocks_say(files: list[list[int]], crowd: int) -> None:
    """Files made of a few long pieces, some several times: counted by definition, pair by pair."""
    datas = [b"".join(noise(piece, 3000) for piece in pieces) for pieces in files]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "CROWD", crowd)
        for number, data in enumerate(datas):
            Path(folder, f"f{number}").write_bytes(data)
        found = shared([Path(folder)], SIZE)
    held = {data: blocks_of(data) for data in dict.fromkeys(datas)}
    holders = Counter(block for each in held.values() for block in each)
    few = {block for block, count in holders.items() if count <= crowd}
    expected = {}
    for a, b in combinations(held, 2):
        common = {block: count for block, count in (held[a] & held[b]).items() if block in few}
        if common:
            names = sorted(f"{folder}/f{datas.index(data)}" for data in (a, b))
            expected[tuple(names)] = sum(common.values()), sum(len(block) * n for block, n in common.items())
    assert {(p.left, p.right): (p.blocks, p.bytes) for p in found.pairs} == expected
    assert [p.bytes for p in found.pairs] == sorted((p.bytes for p in found.pairs), reverse=True)
    assert found.blocks == sum(map(len, holders))
    assert found.distinct == sum(map(len, held))
    assert found.crowded == sum(map(len, holders.keys() - few))


def test_what_is_put_in_moves_the_blocks_around_it_alone(tmp_path: Path) -> None:
    """A line at the front of 200 kB, and one in the middle, leave nine tenths of the bytes shared."""
    data = noise(1, 200_000)
    (tmp_path / "old").write_bytes(data)
    (tmp_path / "new").write_bytes(b"a new line\n" + data[:100_000] + b"another\n" + data[100_000:])
    (pair,) = shared([tmp_path / "old", tmp_path / "new"], 1024).pairs
    assert pair.of_left > 0.9
    assert pair.bytes == round(pair.of_right * 200_000) or pair.of_left < 1


def test_a_tree_in_a_copy_has_its_own_line_where_it_also_lies_elsewhere(tmp_path: Path) -> None:
    """The copies of p are told once; their folder q also lies apart, which is told with the first of them."""
    lay({"p1": {"q": {"f": 1}, "g": 2}, "p2": {"q": {"f": 1}, "g": 2}, "r": {"f": 1}}, tmp_path / "t")
    found = shared([tmp_path / "t"], SIZE)
    told = [[Path(path).relative_to(tmp_path / "t").as_posix() for path in each.paths] for each in found.folders]
    assert told == [["p1", "p2"], ["p1/q", "r"]]
    assert found.copies == []
    assert [each.files for each in found.folders] == [2, 1]


def test_folders_above_what_was_asked_for_are_no_matter(tmp_path: Path) -> None:
    """Of v1 and v2 only `raw` was read, so nothing is said of v1 and v2."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        lay({"f": 1}, tmp_path / version / "raw")
        (tmp_path / version / version).write_text(version)
    (group,) = shared([tmp_path / "v1/raw", tmp_path / "v2/raw"], SIZE).folders
    assert group.paths == [str(tmp_path / "v1/raw"), str(tmp_path / "v2/raw")]


def test_links_add_no_bytes_and_lead_to_no_other_folder(tmp_path: Path) -> None:
    """A hard link and a link to a file are equal to it and save nothing; a link to a folder is what it says."""
    lay({"a": {"f": 2}, "b": {"g": 3}}, tmp_path / "t")
    (tmp_path / "t/b/hard").hardlink_to(tmp_path / "t/a/f")
    (tmp_path / "t/b/soft").symlink_to(tmp_path / "t/a/f")
    (tmp_path / "t/b/loop").symlink_to(tmp_path / "t")
    found = shared([tmp_path / "t"], SIZE)
    assert (found.files, found.bytes, found.distinct) == (4, 3500, 3500)
    assert [(len(each.paths), each.bytes) for each in found.copies] == [(3, 0)]
    assert found.folders == []


def test_folders_with_what_can_not_be_read_are_equal_to_none(tmp_path: Path) -> None:
    """A pipe, a dangling link and a name that is no UTF-8 stop nothing; the first two are told."""
    for name in ("a", "b"):
        lay({"f": 2}, tmp_path / name)
        (tmp_path / name / "nowhere").symlink_to("nothing")
    os.mkfifo(tmp_path / "a/pipe")
    Path(os.fsdecode(bytes(tmp_path / "a") + b"/\xff")).write_bytes(b"x")
    found = shared([tmp_path / "a", tmp_path / "b"], SIZE)
    assert found.folders == []
    assert found.unreadable == {
        str(tmp_path / "a/nowhere"): "No such file or directory",
        str(tmp_path / "a/pipe"): "no regular file",
        str(tmp_path / "b/nowhere"): "No such file or directory",
    }
    assert found.files == 3


def test_nothing_is_no_special_case(tmp_path: Path) -> None:
    """An empty folder shares nothing."""
    assert shared([tmp_path]) == Shared(0, 0, 0, 0, [], [], [], 0, 0, {})


def test_the_most_shared_pairs_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three pairs one; the others are counted."""
    monkeypatch.setattr(pairs, "MOST", 1)
    for number, size in enumerate((3000, 6000, 9000)):
        (tmp_path / str(number)).write_bytes(noise(0, size) + noise(number, 3000))
    found = shared([tmp_path], SIZE)
    assert (len(found.pairs), found.left_out) == (1, 2)
    assert (Path(found.pairs[0].left).name, Path(found.pairs[0].right).name) == ("1", "2")


def test_the_blocks_are_what_they_were(tmp_path: Path) -> None:
    """With a release of the library that cuts otherwise, old and new answers would differ."""
    (tmp_path / "f").write_bytes(noise(7, 50_000))
    (file,) = cut.read([tmp_path], 4096)[0]
    assert file.sizes.tolist() == GOLDEN
    assert file.content == hashlib.sha256(file.digests.tobytes()).digest()


def test_the_command_answers_as_text_and_json(tmp_path: Path) -> None:
    """Names that could steer the terminal are shown; the JSON holds all."""
    lay({"a": {"f": 2}, "b\x1b[2J": {"f": 2}}, tmp_path / "t")
    text = CliRunner().invoke(cli.app, ["blocks", str(tmp_path / "t")])
    assert text.exit_code == 0
    assert "\x1b" not in text.stdout
    assert r"b\x1b[2J" in text.stdout
    assert text.stdout.splitlines()[0] == "2 files of 2800 bytes"
    told = json.loads(CliRunner().invoke(cli.app, ["blocks", "--json", "--size", "256", str(tmp_path / "t")]).stdout)
    assert (told["bytes"], told["distinct"], len(told["folders"])) == (2800, 1400, 1)


def test_a_path_that_is_not_there_and_a_library_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both errors say what to do."""
    with pytest.raises(SourceError, match="nothing is not there"):
        shared([tmp_path / "nothing"])
    monkeypatch.setitem(sys.modules, "pyfastcdc", None)
    with pytest.raises(ModelError, match=r"pip install dedupver\[blocks\]"):
        shared([tmp_path])
