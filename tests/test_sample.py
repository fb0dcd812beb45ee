"""The bundled example."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dedupver import sample

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("skimage")


def _tree(root: Path) -> dict[str, str]:
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*") if p.is_file()
    }


def test_written_twice_is_the_same(tmp_path: Path) -> None:
    """Nothing of the time or the place of writing is in the example."""
    assert sample.write("v2", tmp_path / "a") == sample.write("v2", tmp_path / "b")
    assert _tree(tmp_path / "a") == _tree(tmp_path / "b")


def test_v2_holds_v1_but_for_one_edit_and_one_removal(tmp_path: Path) -> None:
    """The second version is a snapshot: what v1 had, one caption edited, one page gone."""
    sample.write("v1", tmp_path / "v1")
    sample.write("v2", tmp_path / "v2")
    before, after = _tree(tmp_path / "v1"), _tree(tmp_path / "v2")
    assert before.keys() - after.keys() == {"captioned/page.png", "captioned/page.txt"}
    assert {n for n in before.keys() & after.keys() if before[n] != after[n]} == {"captioned/moon.txt"}
    assert after["photos/flower-copy.jpg"] == after["photos/flower.jpg"]


def test_the_broken_picture_is_broken(tmp_path: Path) -> None:
    """One file can't be read, so that quarantine shows."""
    sample.write("v2", tmp_path)
    with pytest.raises(OSError, match="truncated"), Image.open(tmp_path / "photos" / "broken.png") as picture:
        picture.load()


def test_captions_are_the_docstrings() -> None:
    """A caption is what scikit-image says of the picture."""
    assert sample.caption("astronaut").startswith("Color image of the astronaut Eileen Collins.")
