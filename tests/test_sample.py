"""The bundled example."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from dedupver import sample
from dedupver.schema import DedupverError

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


def test_pictures_come_back_changed(tmp_path: Path) -> None:
    """The second version has a first version's photo re-encoded, at half size and brighter."""
    sample.write("v2", tmp_path)
    photos = tmp_path / "photos"
    with Image.open(photos / "motorcycle_left.png") as whole, Image.open(photos / "motorcycle-half.png") as half:
        assert half.size == (whole.width // 2, whole.height // 2)
    with Image.open(photos / "china.jpg") as china, Image.open(photos / "china-q60.jpg") as again:
        assert again.size == china.size
    assert (photos / "china-q60.jpg").stat().st_size < (photos / "china.jpg").stat().st_size


def test_one_picture_has_two_captions(tmp_path: Path) -> None:
    """A copy of a picture comes with another caption, a re-encoded one with nearly the same."""
    sample.write("v2", tmp_path)
    captioned = tmp_path / "captioned"
    words = {p.stem: set(p.read_text(encoding="utf-8").split()) for p in captioned.glob("*.txt")}
    assert (captioned / "coffee.png").read_bytes() == (captioned / "coffee-other.png").read_bytes()
    assert len(words["coffee"] & words["coffee-other"]) < len(words["coffee-other"]) / 2
    assert words["astronaut"] < words["astronaut-again"]


def test_rows_are_a_text_and_its_source(tmp_path: Path) -> None:
    """The tables hold one paragraph a row, and where it is from."""
    sample.write("v2", tmp_path)
    for table in ("descriptions-v1.jsonl", "descriptions-v2.jsonl"):
        rows = [json.loads(line) for line in (tmp_path / table).read_text(encoding="utf-8").splitlines()]
        assert len(rows) > 20
        assert all(row.keys() == {"text", "source"} and len(row["text"].split()) >= 12 for row in rows)


def test_licences_are_those_of_locked_packages(tmp_path: Path) -> None:
    """What an environment holds by chance is not in the example: each package is in the lock, without a condition."""
    lock = Path(__file__).parent.parent.joinpath("requirements.lock").read_text(encoding="utf-8").splitlines()
    everywhere = {line.partition("==")[0] for line in lock if ";" not in line}
    packages = [name for version in ("v1", "v2") for name in sample.LICENCES[version].split()]
    assert set(packages) <= everywhere
    sample.write("v2", tmp_path)
    files = [p.name for p in (tmp_path / "licences").iterdir()]
    assert [name for name in packages if not any(f.startswith(f"{name}-") for f in files)] == []


def test_nothing_else_is_removed(tmp_path: Path) -> None:
    """A folder with anybody's files is refused, and they stay."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DedupverError, match=r"holds mine\.txt"):
        sample.write("v1", tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a package that the example reads, the error says what to install."""
    monkeypatch.setitem(sample.LICENCES, "v1", "no-such-distribution")
    with pytest.raises(DedupverError, match=r"needs no-such-distribution: pip install 'dedupver\[sample\]'"):
        sample.write("v1", tmp_path / "a")
