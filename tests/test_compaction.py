"""Merged segments: how few there are, what their bytes depend on, and that no decision depends on them."""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import projects
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_row_versions import GIVEN, packages, typed_anew

from dedupver import match, params, store
from dedupver.compact import merge_base
from dedupver.index import compaction
from dedupver.index.segment import Index, Segment
from dedupver.schema import CONTENT

SIZES = st.one_of(st.integers(0, 3), st.integers(0, 2000))


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=80))
def test_few_segments_stay_and_few_times_a_content_is_merged(versions: list[tuple[int, bool]]) -> None:
    """Whatever versions bring and whenever they are compacted: log₂ segments, and log₁.₅ merges of a content."""
    segments: list[tuple[int, list[int]]] = []  # size, and how often each of its parts was merged
    for size, now in versions:
        segments.append((size, [0]))
        if now:
            runs = compaction.runs([size for size, _ in segments])
            assert [at for run in runs for at in run] == list(range(len(segments)))
            segments = [joined([segments[at] for at in run]) for run in runs]
            total = sum(1 + size for size, _ in segments)
            assert len(segments) <= math.log2(total) + 1
            assert max(times for _, each in segments for times in each) <= math.log(total + len(versions), 1.5)
            assert all(len(run) == 1 for run in compaction.runs([size for size, _ in segments]))


def joined(segments: list[tuple[int, list[int]]]) -> tuple[int, list[int]]:
    """Return a run as one segment."""
    if len(segments) == 1:
        return segments[0]
    return sum(size for size, _ in segments), [times + 1 for _, each in segments for times in each]


@pytest.mark.parametrize(
    ("sizes", "left"),
    [
        ([], []),
        ([5], [1]),
        ([1] * 100, [99, 1]),
        ([1000, 1, 1, 1], [1, 2, 1]),
        ([4, 2, 1], [1, 1, 1]),
        ([0, 0, 0, 0], [3, 1]),
        ([10, 0, 30], [3]),
    ],
)
def test_runs_by_hand(sizes: list[int], left: list[int]) -> None:
    """A segment stays apart if it is as large as all after it together."""
    assert [len(run) for run in compaction.runs(sizes)] == left


# --- real segments ----------------------------------------------------------------------------------------------

TEXT = "the quick brown fox jumps over the lazy dog and runs far away from there to a place of its own in the hills"
SETTINGS: dict[str, Any] = {
    "match": {"bucket_cap": 3, "recall_sample": 20},
    "fingerprint": {"text": {"encoder": "wordllama", "passages": 20, "ngrams": 5}, "image": {"encoder": None}},
    "dedup": {"similar": ["text", "image", "text_embedding"]},
}


def text(draw: random.Random, topics: list[list[str]]) -> str:
    """Return a text near others of its topic."""
    mine = draw.choice(topics).copy()
    for _ in range(draw.choice([0, 0, 1, 2, 4, 9])):
        mine[draw.randrange(len(mine))] = f"x{draw.randrange(30)}"
    return " ".join(mine)


def picture(draw: random.Random, place: Path) -> bytes:
    """Return a picture near others, of three kinds."""
    base = np.random.default_rng(draw.randrange(3)).integers(0, 256, (8, 8), dtype=np.uint8)
    image = Image.fromarray(base).resize((64, 64), Image.Resampling.BICUBIC)
    for _ in range(draw.choice([0, 1, 2, 3, 5])):
        image.putpixel((draw.randrange(64), draw.randrange(64)), 255)
    image.save(place)
    return place.read_bytes()


def build(root: Path, seed: int, versions: int, settings: dict[str, Any]) -> Path:
    """Build some versions in append mode, of texts and pictures of which many are near copies, and open the next."""
    draw = random.Random(seed)
    topics = [[f"w{draw.randrange(400)}" for _ in range(30)] for _ in range(4)]
    for number in range(1, versions + 2):
        files: projects.Files = {f"{number}-{i}.txt": text(draw, topics) for i in range(draw.choice([0, 1, 6, 12]))}
        files |= {f"{number}-{i}.png": picture(draw, root.parent / "p.png") for i in range(draw.choice([1, 6, 12]))}
        files[f"{number}-own.txt"] = f"{TEXT} {number}"
        given = {**settings, "source": {"mode": "append", "columns": {"id": None}}}
        if number == 1:
            projects.create(root, files, **given)
        else:
            projects.advance(root)
            projects.reopen(root, files, f"v{number}", **given)
        if number <= versions:
            projects.build(root)
    return root


@pytest.mark.parametrize("seed", range(4))
def test_a_merged_base_changes_no_decision(tmp_path: Path, seed: int) -> None:
    """The next version is the same to the byte: its segment, decisions, events, reports and clean files.

    Buckets of few members in each segment are hot in the merged one, of texts, codes and vectors.
    """
    whole = build(tmp_path / "whole", seed, 5, SETTINGS)
    merged = Path(shutil.copytree(whole, tmp_path / "merged"))
    before = Index.open(whole / "base/index")
    done = merge_base(merged / "base")
    after = Index.open(merged / "base/index")
    assert len(after.segments) < len(before.segments) == 5
    assert list(done) == [s.name for s in after.segments if ".." in s.name]
    assert [v for s in after.segments for v in after.versions(s)] == [s.name for s in before.segments]
    left, right = (built(root) for root in (whole, merged))
    assert left.keys() == right.keys()
    assert [name for name in left if left[name] != right[name]] == []
    assert {row["kind"] for s in before.segments for row in s.hot().to_pylist()} == {"text", "image", "text_embedding"}


def built(root: Path) -> dict[str, bytes]:
    """Build v6 and return what decides and what is published; the rest names the index and measures it."""
    projects.build(root)
    found = projects.tree(root / "build/dedup", root / "index/segments/v6", root / "clean", root / "manifest")
    found["manifest/v6.audit.jsonl"] = re.sub(rb'"job": "[0-9a-f]*"', b"", found["manifest/v6.audit.jsonl"])
    return {
        name: data for name, data in found.items() if not name.startswith(("manifest/manifest.", "manifest/files."))
    }


def test_a_segment_depends_on_what_it_holds_alone(tmp_path: Path) -> None:
    """Merged at once or in steps, now or later: the same bytes; its fingerprints are those of one version of all."""
    root = build(tmp_path / "p", 1, 4, SETTINGS)
    index, settings = Index.open(root / "base/index"), params.Match.model_validate(SETTINGS["match"])
    a, b, c, d = index.segments
    compaction.merge([a, b, c, d], settings, tmp_path / "at once")
    for path in (root / "base/index").rglob("*"):
        os.utime(path, (1, 1))
    compaction.merge([a, b], settings, tmp_path / "first")
    compaction.merge([c, d], settings, tmp_path / "last")
    halves = [Segment(tmp_path / name) for name in ("first", "last")]
    compaction.merge(halves, settings, tmp_path / "in steps")
    at_once, in_steps = (projects.tree(tmp_path / name) for name in ("at once", "in steps"))
    assert list(at_once.values()) == list(in_steps.values())
    together = projects.create(tmp_path / "q", projects.Files(), **SETTINGS, source={"columns": {"id": None}})
    for number, batch in enumerate(sorted((root / "base/raw").iterdir())):
        shutil.copytree(batch, together / f"data/raw/{number}")
    projects.build(together, "fingerprint", "match")
    want = projects.tree(together / "index/segments/v1")
    got = {name.replace("at once", "v1"): data for name, data in at_once.items()}
    assert got.keys() == want.keys()
    assert [n for n in got if got[n] != want[n]] in (["v1/hot.parquet", "v1/matches.parquet"], ["v1/matches.parquet"])


def test_rows_of_tables_are_merged_with_the_newest_plan_of_their_bands(tmp_path: Path) -> None:
    """The next version of rows is the same to the byte; the first segment's plan was for fewer rows."""
    draw, found = random.Random(5), packages()
    rows = found + [typed_anew(row, f"{row['id']}-again", draw) for row in found[::2]]
    draw.shuffle(rows)
    given = {**GIVEN, "source": {**GIVEN["source"], "mode": "append"}}
    whole = projects.create(tmp_path / "whole", [*map(dict, rows[:6])], **given)
    for number, start in enumerate((6, 70, 100, 120), start=2):
        projects.build(whole)
        projects.advance(whole)
        projects.reopen(
            whole, [*map(dict, rows[start : start + 64][: 30 if number > 2 else 64])], f"v{number}", **given
        )
    merged = Path(shutil.copytree(whole, tmp_path / "merged"))
    assert list(merge_base(merged / "base")) == ["v1..v2"]
    plans = [segment.plan("row") for segment in Index.open(whole / "base/index").segments]
    assert plans[0] != plans[1]
    assert Index.open(merged / "base/index").segments[0].plan("row") == plans[1]
    for root in (whole, merged):
        projects.build(root)
    left, right = (
        projects.tree(root / "build/dedup", root / "index/segments/v5", root / "clean") for root in (whole, merged)
    )
    assert left == right
    assert Segment(merged / "index/segments/v5").matches().num_rows > 5


def test_sequences_are_merged_with_their_seeds_and_spans(tmp_path: Path) -> None:
    """A further version finds in the merged segment what it finds in the small ones, wholes and spans."""
    draw = np.random.default_rng(1)
    sounds = [draw.integers(1, 1 << 32, 200, dtype=np.uint32) for _ in range(12)]
    how = {"fingerprint": params.Fingerprint().model_dump(mode="json")}
    index, settings = Index((), how), params.Match()
    for number in range(1, 5):
        out = tmp_path / "whole" / "segments" / f"v{number}"
        match.write_segment(heard(tmp_path / f"{number}", number, sounds), index, settings, out, how)
        index = Index((*index.segments, Segment(out, built_with=how)), how)
    compaction.merge(index.segments[:3], settings, tmp_path / "merged" / "v1..v3")
    merged = Index((Segment(tmp_path / "merged" / "v1..v3", built_with=how), index.segments[3]), how)
    prints = heard(tmp_path / "5", 5, sounds)
    for name, base in (("whole", index), ("merged", merged)):
        match.write_segment(prints, base, settings, tmp_path / name / "v5", how)
    assert projects.tree(tmp_path / "whole/v5") == projects.tree(tmp_path / "merged/v5")
    assert Segment(tmp_path / "merged/v5").matches().num_rows > 10
    assert Segment(tmp_path / "merged/v5").spans().num_rows > 10


def heard(prints: Path, number: int, sounds: list[npt.NDArray[np.uint32]]) -> Path:
    """Write the fingerprints of a version: of each sound a noisy copy, with some of another at its end."""
    draw = np.random.default_rng(number)
    rows = [
        np.concatenate([sound ^ (np.uint32(1) << draw.integers(0, 32, 200, dtype=np.uint32)), draw.choice(sounds)[:90]])
        for sound in sounds
    ]
    content = np.sort(draw.integers(0, 256, (len(rows), 32), dtype=np.uint8).view("S32").ravel())
    store.write_array(prints / "audio.content.npy", content.view(np.uint8).reshape(-1, 32))
    store.write_array(prints / "audio.spectrum.offsets.npy", np.cumsum([0, *map(len, rows)]))
    store.write_array(prints / "audio.spectrum.values.npy", np.concatenate(rows))
    store.write_array(prints / "audio.spectrum.clock.npy", np.tile(np.float32([0, 124]), (len(rows), 1)))
    store.write_table(prints / "contents.parquet", CONTENT.empty_table(), CONTENT)
    return prints


def test_a_large_merged_segment_has_a_graph(tmp_path: Path) -> None:
    """Small segments of vectors have none; the merged one is searched by its graph, and finds what a scan finds."""
    settings = {**SETTINGS, "match": {"hnsw": {"min_vectors": 25}, "recall_sample": 100}}
    roots = [tmp_path / name for name in ("whole", "merged")]
    for root in roots:
        for number in range(1, 6):
            draw, rows = random.Random(number), projects.Files()
            for i in range(10):
                rows[f"{number}-{i}.txt"] = text(draw, [[f"w{i}-{k}" for k in range(30)]])
            given = {**settings, "source": {"mode": "append", "columns": {"id": None}}}
            if number == 1:
                projects.create(root, rows, **given)
            else:
                projects.advance(root)
                projects.reopen(root, rows, f"v{number}", **given)
            if number == 5 and root is roots[1]:
                merge_base(root / "base")
            projects.build(root)
    assert not list((roots[0] / "index").rglob("*.hnsw"))
    assert [path.parent.name for path in (roots[1] / "index").rglob("*.hnsw")] == ["v1..v3"]
    assert [projects.metrics(root, "match")["recall"]["text_embedding"] for root in roots] == [1, 1]
    assert projects.metrics(roots[0], "match")["matches"]["text_embedding"] > 20
    assert projects.kept(roots[0]) == projects.kept(roots[1])


def test_what_stays_apart_is_linked_and_nothing_is_done_twice(tmp_path: Path) -> None:
    """A segment that is not merged is the same file; a second call does nothing."""
    root = build(tmp_path / "p", 3, 3, SETTINGS)
    large = max(Index.open(root / "base/index").segments, key=lambda s: s.size("text"))
    places = {path.name: path.stat().st_ino for path in large.path.iterdir()}
    merge_base(root / "base")
    apart = {s.name: s for s in Index.open(root / "base/index").segments}
    for name in places if large.name in apart else []:
        assert (apart[large.name].path / name).stat().st_ino == places[name]
    before = projects.tree(root / "base")
    assert merge_base(root / "base") == {}
    assert projects.tree(root / "base") == before


def test_versions_go_on_from_a_merged_base(tmp_path: Path) -> None:
    """The next base holds the merged segments, and merges them again; all versions are named."""
    root = build(tmp_path / "p", 4, 4, SETTINGS)
    merge_base(root / "base")
    projects.build(root)
    for number in (6, 7, 8):
        projects.advance(root)
        rows: projects.Files = {f"{number}-{i}.txt": f"{TEXT} {number} {i} {i}" for i in range(9)}
        given = {**SETTINGS, "source": {"mode": "append", "columns": {"id": None}}}
        projects.build(projects.reopen(root, rows, f"v{number}", **given))
    projects.advance(root)
    merge_base(root / "base")
    index = Index.open(root / "base/index")
    assert list(itertools.chain.from_iterable(map(index.versions, index.segments))) == [f"v{n}" for n in range(1, 9)]
    assert len(index.segments) < 5
    stated = store.read_json(root / "base/index/index.json")
    assert stated["merged"] == {s.name: index.versions(s) for s in index.segments if ".." in s.name}
