"""What the benchmark of parts counts, against the slow way."""

from __future__ import annotations

import itertools
import random
import shutil
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.kinds import parts_files, parts_texts
from dedupver.blocks import shared


@settings(deadline=None)  # it compiles
@given(st.text("ab", max_size=30), st.integers(1, 6))
def test_runs_are_told_by_their_characters(text: str, size: int) -> None:
    """Equal runs have equal hashes, and other runs others."""
    found = parts_texts.hashed(np.frombuffer(text.encode("utf-32-le"), np.uint32), size).tolist()
    runs = [text[at : at + size] for at in range(len(text) - size + 1)]
    assert len(found) == len(runs)
    assert len(set(found)) == len(set(runs)) == len(set(zip(found, runs, strict=True)))


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=30), st.integers(1, 6))
def test_covered_characters_count_once(found: list[bool], size: int) -> None:
    """Of runs that overlap."""
    expected = {at + within for at, hit in enumerate(found) if hit for within in range(size)}
    assert parts_texts.marked(np.array(found, np.bool_), size) == len(expected)


def test_a_line_of_a_repeated_paragraph_goes_with_it() -> None:
    """Short lines too; a line that stands alone goes when it is long enough and others have it."""
    footer = "A short line.\nAnother that is much longer than the forty characters."
    texts = {"a": f"One.\n\n{footer}", "b": f"Two.\n\n{footer}", "c": footer.split("\n")[1]}
    holders = parts_texts.held(texts)
    assert sorted(parts_texts.removed(texts["a"], holders, 2)) == [2, 3]
    assert list(parts_texts.removed(texts["a"], holders, 3)) == [3]
    assert list(parts_texts.removed(texts["c"], holders, 3)) == [0]
    assert parts_texts.covered(texts)["in passages"] == 2 * (13 + 54) + 54


def test_equal_folders_by_definition(tmp_path: Path) -> None:
    """What `blocks` tells of equal folders implies exactly the pairs whose trees have one digest."""
    draw = random.Random(3)
    for top, middle, name in itertools.product("ab", "cd", "ef"):
        place = tmp_path / top / middle
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(bytes([draw.randrange(2)]) * 9)
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "copy")
    roots = [tmp_path / "a", tmp_path / "b"]
    digests = {folder: digest for root in roots for folder, digest in parts_files.trees(root).items()}
    equal = parts_files.pairs(digests)
    assert (tmp_path / "a", tmp_path / "b/copy") in equal
    told = [[Path(path) for path in group.paths] for group in shared(roots, 4096).folders]
    assert parts_files.implied_by(told, digests) == equal
    assert parts_files.implied_by(told[1:], digests) < equal
