"""Matches of a new segment: all there are by brute force, each once, exactly scored, in the base and within."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image
from skimage import data as pictures

from dedupver.digests import of_column, to_column
from dedupver.index.recall import known_pairs
from dedupver.index.segment import Index
from dedupver.pipeline import DECIDING
from dedupver.schema import HOT, MATCH

if TYPE_CHECKING:
    from pathlib import Path

Pairs = dict[frozenset[bytes], float]


def by_brute_force(index: Index, kind: str, modality: str, floor: float) -> Pairs:
    """Score every pair of contents of the index."""
    content = np.concatenate([s.content(modality) for s in index.segments])
    left, right = np.triu_indices(len(content), 1)
    score = index.score(kind, content[left], content[right])
    good = np.flatnonzero(score >= np.float32(floor))
    return {frozenset((bytes(content[left[i]]), bytes(content[right[i]]))): float(score[i]) for i in good}


def listed(index: Index, kind: str) -> Pairs:
    """Return the matches of all segments; each pair must be there once."""
    table = pa.concat_tables([s.matches() for s in index.segments])
    rows = table.filter(pc.equal(table["kind"], kind)).to_pylist()
    found = {frozenset((r["left"], r["right"])): r["score"] for r in rows}
    assert len(found) == len(rows)
    return found


def words(count: int, rng: random.Random) -> list[str]:
    """Return random words of a large vocabulary."""
    return [f"w{rng.randrange(100_000)}" for _ in range(count)]


def texts(count: int, rng: random.Random) -> list[str]:
    """Return texts of which every third is a near duplicate of the one before."""
    made: list[str] = []
    for at in range(count):
        base = made[-1].split() if at % 3 == 2 else words(60, rng)
        base[rng.randrange(60)] = "changed"
        made.append(" ".join(base))
    return made


def test_two_versions_hold_all_text_matches_once(tmp_path: Path) -> None:
    """Brute force over both segments finds what was listed, with the same scores; v1's segment stays as it is."""
    rng = random.Random(1)
    rows = [{"id": f"r{i}", "text": t} for i, t in enumerate(texts(150, rng))]
    rng.shuffle(rows)
    root = projects.build(projects.create(tmp_path, rows[:90]))
    before = projects.tree(root / "index/segments/v1")
    projects.advance(root)
    projects.build(projects.reopen(root, rows, "v2"), "fingerprint", "match")
    index = Index.open(root / "index")
    expected = by_brute_force(index, "text", "text", 0.6)
    assert len(expected) > 30
    assert listed(index, "text") == expected
    assert [s.size("text") for s in index.segments] == [90, 60]
    assert projects.tree(root / "index/segments/v1") == before
    assert projects.metrics(root, "match")["recall"]["text"] == 1


@pytest.mark.parametrize("search", ["scan", "hnsw"])
def test_image_matches_are_those_of_brute_force(tmp_path: Path, search: str) -> None:
    """Rescaled and brightened photographs match, by a scan and by a graph of the codes."""
    files: dict[str, str | bytes] = {}
    for name in ("astronaut", "chelsea", "coffee", "camera", "rocket"):
        photo = Image.fromarray(getattr(pictures, name)()).convert("RGB")
        for variant, image in (
            ("a", photo),
            ("b", photo.resize((200, 160))),
            ("c", photo.point(lambda v: min(255, v * 1.1))),
        ):
            image.save(tmp_path / "one.png")
            files[f"{name}-{variant}.png"] = (tmp_path / "one.png").read_bytes()
    settings = {"image_index": search, "hnsw": {"min_vectors": 1}, "recall_sample": 10}
    root = projects.create(tmp_path / "p", files, match=settings)
    projects.build(root, "fingerprint", "match")
    index = Index.open(root / "index")
    expected = by_brute_force(index, "image", "image", 0.84)
    assert len(expected) >= 10
    assert listed(index, "image") == expected
    assert projects.metrics(root, "match")["recall"]["image"] == 1


def test_recall_counts_what_was_not_found() -> None:
    """A pair is found where it is listed, in either direction, or where both are in one hot bucket."""
    a, b, c, d = (bytes([i]) * 32 for i in range(4))
    matches = pa.Table.from_pylist([{"kind": "text", "left": b, "right": a, "score": 0.9}], schema=MATCH)
    hot = pa.Table.from_pylist([{"kind": "text", "group": 7, "content": c}], schema=HOT)
    older = pa.Table.from_pylist([{"kind": "text", "group": g, "content": x} for g, x in ((7, a), (8, d))], schema=HOT)
    left, right = (of_column(pa.array(column, MATCH.field("left").type)) for column in ([a, a, c], [b, c, d]))
    assert known_pairs("text", matches, [hot, older], left, right).tolist() == [True, True, False]
    assert known_pairs("image", matches, [hot, older], left, right).tolist() == [False, False, False]
    assert to_column(left).to_pylist() == [a, a, c]


def test_a_hot_bucket_decides_like_all_pairs(tmp_path: Path) -> None:
    """80 near duplicates with a cap of 4 keep what a cap of 1000 keeps, and in a second version too."""
    rng = random.Random(2)
    base = words(50, rng)
    rows: list[dict[str, Any]] = []
    for at in range(80):
        mine = base.copy()
        for _ in range(rng.randrange(5)):
            mine[rng.randrange(50)] = f"x{rng.randrange(9)}"
        rows.append({"id": f"r{at:02}", "text": " ".join(mine)})
    kept = []
    for cap in (4, 1000):
        root = projects.build(projects.create(tmp_path / str(cap), rows[::2], match={"bucket_cap": cap}))
        first = projects.kept(root)
        assert (projects.metrics(root, "match")["hot_members"] > 0) == (cap == 4)
        projects.advance(root)
        projects.build(projects.reopen(root, rows, "v2", match={"bucket_cap": cap}))
        kept.append((first, projects.kept(root)))
    assert kept[0] == kept[1]
    assert 1 < len(kept[0][1]) < 40


def test_near_identical_pages_cost_linear_time(tmp_path: Path) -> None:
    """Four times as many near-identical texts take about four times as long, not sixteen times; one of them stays."""
    page = " ".join(words(40, random.Random(3)))
    spent = {}
    for count in (500, 5_000, 20_000):  # the first warms up what is compiled
        rows = [{"id": f"r{i:06}", "text": f"{page} {i}"} for i in range(count)]
        root = projects.create(tmp_path / str(count), rows, match={"recall_sample": 5})
        started = time.monotonic()
        projects.build(root, *DECIDING)
        spent[count] = time.monotonic() - started
        assert len(projects.kept(root)) == 1
    assert spent[20_000] < 8 * spent[5_000]
