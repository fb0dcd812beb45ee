"""What always holds, through the stages, on licence texts and photographs; and what happens when things go wrong."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import psutil
import pytest
from oracle import Item, World
from oracle import greedy as by_definition
from PIL import Image
from skimage import data as pictures

from dedupver import params, pipeline, store
from dedupver.digests import of_list
from dedupver.fingerprint.encoders import probe
from dedupver.index.segment import Index
from dedupver.schema import IntegrityError, ModelError, ParamsError, SourceError, StateError

if TYPE_CHECKING:
    from pathlib import Path


def png(image: Image.Image, place: Path) -> bytes:
    """Return an image's PNG bytes."""
    image.save(place / "one.png")
    data = (place / "one.png").read_bytes()
    (place / "one.png").unlink()
    return data


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> projects.Files:
    """Return licences, photographs with variants, captioned photographs, and two broken files."""
    place = tmp_path_factory.mktemp("pictures")
    files = dict(list(projects.licences().items())[:60])
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        photo = Image.fromarray(getattr(pictures, name)()).convert("RGB")
        small, bright = photo.resize((photo.width // 2, photo.height // 2)), photo.point(lambda v: min(255, v * 1.15))
        files |= {
            f"photos/{name}-{n}.png": png(i, place) for n, i in (("full", photo), ("small", small), ("bright", bright))
        }
    pair = files["photos/rocket-full.png"]
    for number, caption in enumerate(
        ["A rocket on the launch pad in the early morning light", "Something that no one has said of a rocket so far"]
    ):
        files |= {f"pairs/{number}.png": pair, f"pairs/{number}.txt": caption}
    return {
        **files,
        "broken.png": pair[:900] if isinstance(pair, bytes) else b"",
        "garbled.txt": b"\xff\xfe\xff broken",
    }


@pytest.fixture(scope="module")
def built(corpus: projects.Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with all of the corpus as v1."""
    return projects.build(projects.create(tmp_path_factory.mktemp("built"), corpus))


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    return shutil.copytree(built, tmp_path / "copy")


def world(root: Path, *, first: frozenset[str] = frozenset()) -> World:
    """Return the readable records with the scores of all pairs of contents; `first` go before all others."""
    index = Index.open(root / "index")
    rows = [row for row in projects.decisions(root).values() if row["action"] != "quarantine"]
    parts = {row["id"]: {p["part"]: p["content"].hex() for p in row["parts"]} for row in rows}
    fields = ("pixels", "bytes", "chars", "split")
    items = [
        Item(r["id"], parts[r["id"]], 0 if r["id"] in first else 1, fields={f: r[f] for f in fields}) for r in rows
    ]
    scores = {}
    for kind, modality in (("text", "text"), ("image", "image")):
        content = sorted({p["content"] for r in rows for p in r["parts"] if p["modality"] == modality})
        left, right = np.triu_indices(len(content), 1)
        found = index.score(kind, of_list([content[i] for i in left]), of_list([content[i] for i in right]))
        scores |= {
            (kind, content[left[i]].hex(), content[right[i]].hex()): float(found[i])
            for i in np.flatnonzero(found >= 0.6)
        }
    return World(items, scores)


def expected(root: Path, **given: Any) -> dict[str, dict[str, float]]:
    """Return what plain Python decides over all pairs."""
    return by_definition(world(root, **given), params.load(root / "params.yaml").dedup)


def test_the_whole_pipeline_decides_like_plain_python(built: Path) -> None:
    """Direct witness and separation at once: over all pairs the same stay, each dropped one goes for a best match."""
    truth, found = expected(built), projects.decisions(built)
    dropped = {n for n, near in truth.items() if near}
    assert {n for n, row in found.items() if row["action"] == "drop"} == dropped
    assert len(dropped) > 15
    for name in dropped:
        near, row = truth[name], found[name]
        assert near[row["representative"]] == pytest.approx(max(near.values()))
        assert row["score"] == pytest.approx(max(near.values()))
        assert row["score"] >= row["threshold"] - 1e-6


def test_every_record_has_one_decision(built: Path, corpus: projects.Files) -> None:
    """n_in = kept + dropped + quarantined, in decisions, metrics and the manifest."""
    counted = store.read_json(built / "manifest/manifest.json")["counts"]
    assert (
        counted["n_in"] == counted["kept"] + counted["dropped"] + counted["quarantined"] == len(corpus) - 2
    )  # captions
    assert {name: projects.metrics(built, "dedup")[name] for name in counted} == counted
    quarantined = {n for n, row in projects.decisions(built).items() if row["action"] == "quarantine"}
    assert {"broken.png", "garbled.txt"} == quarantined


def test_pairs_stay_whole(built: Path) -> None:
    """The same picture with another caption stays, and both of its files are written."""
    found = projects.decisions(built)
    for name in ("pairs/0", "pairs/1"):
        assert found[f"{name}.png"]["action"] == "keep"
        assert (built / f"clean/{name}.png").exists()
        assert (built / f"clean/{name}.txt").exists()


def test_running_on_the_output_drops_nothing(built: Path, tmp_path: Path) -> None:
    """The clean data as a source of its own: all of it stays."""
    root = projects.create(tmp_path, {})
    shutil.copytree(built / "clean", root / "data/raw")
    projects.build(root, *pipeline.DECIDING)
    assert projects.kept(root) == projects.kept(built)
    assert projects.metrics(root, "dedup")["dropped"] == 0


def test_a_second_run_gives_the_same_bytes(copy: Path) -> None:
    """In place, and from nothing."""
    before = projects.outputs(copy)
    projects.build(copy)
    assert projects.outputs(copy) == before
    for name in ("build", "index", "manifest", "clean", "metrics", "plots"):
        shutil.rmtree(copy / name)
    projects.build(copy)
    assert projects.outputs(copy) == before


def test_workers_change_no_byte(built: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process or two, over many tasks."""
    monkeypatch.setattr(importlib.import_module("dedupver.records.plan"), "TASK_FILES", 20)
    outputs = []
    for workers in (1, 2):
        projects.settings(copy, version="v1", engine__workers=workers)
        projects.build(copy)
        outputs.append(projects.outputs(copy))
    assert outputs[0] == outputs[1] == projects.outputs(built)  # nor does the cut


@pytest.mark.parametrize("seed", [1, 2])
def test_input_order_changes_nothing_but_places(corpus: projects.Files, tmp_path: Path, seed: int) -> None:
    """Lines permuted over another number of files: the same index, and the same decisions by id."""
    rows = [
        {"id": n, "text": t.decode(errors="replace")}
        for n, t in corpus.items()
        if isinstance(t, bytes) and not n.endswith("png")
    ]
    one = projects.build(projects.create(tmp_path / "one", rows))
    random.Random(seed).shuffle(rows)
    cut = len(rows) // 3
    two = projects.build(
        projects.create(
            tmp_path / "two", {"b.jsonl": projects.jsonl(rows[:cut]), "a.jsonl": projects.jsonl(rows[cut:])}
        )
    )
    assert projects.tree(one / "index") == projects.tree(two / "index")
    for name in ("kept", "removed", "quarantined", "gone"):
        assert projects.without_places(one / f"manifest/v1.{name}.parquet").equals(
            projects.without_places(two / f"manifest/v1.{name}.parquet")
        )
    assert projects.tree(one / "plots") == projects.tree(two / "plots")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_version_by_version_keeps_what_all_at_once_keeps(corpus: projects.Files, tmp_path: Path, seed: int) -> None:
    """v1, then v2 against it, then v3: the kept are those of one pass in which v1's kept go first, then v2's."""
    names = sorted(n for n in corpus if not n.startswith("pairs/"))
    random.Random(seed).shuffle(names)
    root, before = tmp_path, frozenset[str]()
    for number, cut in enumerate((len(names) // 2, 3 * len(names) // 4, len(names)), start=1):
        files = {n: corpus[n] for n in names[:cut]}
        version = f"v{number}"
        projects.build(projects.reopen(root, files, version) if before else projects.create(root, files))
        truth = expected(root, first=before)
        assert projects.kept(root) == {n for n, near in truth.items() if not near}
        assert before <= projects.kept(root)
        before = frozenset(projects.kept(root))
        projects.advance(root)


def test_only_new_contents_are_fingerprinted(built: Path, copy: Path, corpus: projects.Files) -> None:
    """The next version computes what it brings, and the base's segment goes along unchanged."""
    before = projects.tree(built / "index/segments/v1")
    projects.advance(copy)
    projects.build(
        projects.reopen(copy, {**corpus, "new.txt": "a text that no version before has held, in so many words"}, "v2")
    )
    assert projects.metrics(copy, "fingerprint")["new_text_contents"] == 1
    assert projects.metrics(copy, "fingerprint")["new_image_contents"] == 0
    assert projects.tree(copy / "index/segments/v1") == before


# Runs the stages and kills itself at its n-th write in the project: a directory made, a file opened, renamed or removed.
KILLED = """
import os, pathlib, signal, sys
from dedupver import pipeline
root, last, seen = os.getcwd(), int(sys.argv[1]), 0
def count(event, args):
    global seen
    writes = event in ("os.mkdir", "os.rename", "os.remove") or (event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR))
    if writes and str(args[0]).startswith(root):
        seen += 1
        if seen == last:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
for stage in pipeline.STAGES:
    pipeline.run(stage, pathlib.Path(root))
print(seen)
"""


def test_a_run_killed_at_any_write_is_completed_by_the_next(built: Path, copy: Path) -> None:
    """Killed over and over, a run repeated gives the bytes of one that never was."""

    def killed_at(write: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(write)], cwd=copy, check=False, capture_output=True, text=True
        )

    total = int(killed_at(0).stdout)
    for write in random.Random(5).sample(range(1, total + 1), 6):
        assert killed_at(write).returncode == -signal.SIGKILL
    projects.build(copy)
    assert projects.outputs(copy) == projects.outputs(built)
    assert not [p for p in copy.rglob(".*") if p.name != ".running" and p.is_file()]


# Runs the first stage, cut small, on two workers, and kills itself when the n-th task is done.
KILLED_AT_TASK = """
import importlib, itertools, os, pathlib, signal, sys
from dedupver import engine, pipeline
importlib.import_module("dedupver.records.plan").TASK_FILES = 20
done = itertools.count(1)
class Bar(engine.tqdm):
    def update(self, n=1):
        if next(done) == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
engine.tqdm = Bar
pipeline.run("fingerprint", pathlib.Path())
"""


def test_a_run_killed_with_two_workers_is_completed_by_the_next(built: Path, copy: Path) -> None:
    """Whatever the workers had done by then, the run repeated gives the bytes of one that never was killed."""
    shutil.rmtree(copy / "build")
    projects.settings(copy, version="v1", engine__workers=2)
    for task in (1, 3):
        killed = subprocess.run([sys.executable, "-c", KILLED_AT_TASK, str(task)], cwd=copy, check=False)
        assert killed.returncode == -signal.SIGKILL
        assert not (copy / "build/fingerprint").exists()
    projects.build(copy)
    assert projects.outputs(copy) == projects.outputs(built)


def test_no_worker_outlives_a_killed_run(tmp_path: Path) -> None:
    """An orphan would write into what the next run writes."""
    rows = [{"id": f"r{i}", "text": f"a few words and a number {i} " * 20} for i in range(20_000)]
    files: projects.Files = {
        f"{k}.jsonl": projects.jsonl([{**row, "id": f"{k}{row['id']}"} for row in rows]) for k in range(4)
    }
    projects.create(tmp_path, files, engine__workers=2)
    script = "import pathlib\nfrom dedupver import pipeline\nif __name__ == '__main__': pipeline.run('fingerprint', pathlib.Path())"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "build").glob(".fingerprint.building/parts/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


DIRECTORIES = [stage for stage in pipeline.STAGES if stage not in {"gates", "card"}]  # those write files alone


@pytest.mark.parametrize(
    ("stage", "step"), [*((stage, "replace") for stage in pipeline.STAGES), *((stage, "seal") for stage in DIRECTORIES)]
)
def test_a_run_that_breaks_while_writing_is_repaired_by_the_next(
    built: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, stage: str, step: str
) -> None:
    """The last write before a directory stands fails: the next run gives the same bytes."""

    def broken(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace" if step == "replace" else "dedupver.store.seal", broken)
        with pytest.raises(OSError, match="No space"):
            pipeline.run(stage, copy)
    projects.build(copy)
    assert projects.outputs(copy) == projects.outputs(built)


@pytest.mark.parametrize("folder", ["index", "manifest"])
def test_a_flipped_bit_in_the_base_is_named(copy: Path, folder: str) -> None:
    """Whatever file of the base it is in: by the stage that reads the file, or else wherever that is carried over to."""
    projects.advance(copy)
    projects.settings(copy, version="v2")
    projects.build(copy, "fingerprint", "match")
    readers = ("fingerprint", "match") if folder == "index" else ("fingerprint", "dedup", "gates", "manifest")
    for path in sorted(p for p in (copy / "base" / folder).rglob("*") if p.is_file() and p.name != "files.json"):
        good = path.read_bytes()
        bad = bytearray(good)
        bad[len(bad) // 2] ^= 16
        path.write_bytes(bad)
        with pytest.raises(IntegrityError, match=path.name):
            store.verified(projects.build(copy, *readers) / folder)
        path.write_bytes(good)


def test_params_that_disagree_with_the_base_are_refused(copy: Path, corpus: projects.Files) -> None:
    """Both sides are shown; without a base the change is fine."""
    projects.advance(copy)
    projects.reopen(copy, corpus, "v2", fingerprint__text__shingle=4)
    with pytest.raises(ParamsError, match=r"fingerprint\.text\.shingle: the base has 3, params have 4"):
        projects.build(copy, "fingerprint")
    projects.reopen(copy, corpus, "v2", match={"floor": {"text": 0.5}})
    with pytest.raises(ParamsError, match=r"match\.floor\.text: the base has 0\.6, params have 0\.5"):
        projects.build(copy, "fingerprint", "match")
    projects.reopen(copy, corpus, "v2", base="none", fingerprint__text__shingle=4)
    projects.build(copy, *pipeline.DECIDING)


@pytest.mark.parametrize("dedup", [{"thresholds": {"text": 0.5}}, {"rules": [{"caption": 0.5}]}])
def test_a_threshold_below_the_floor_is_refused(tmp_path: Path, dedup: dict[str, Any]) -> None:
    """Matches below the floor were never stored, so the answer would be wrong."""
    projects.create(tmp_path, {"a.txt": "some text"}, dedup=dedup)
    with pytest.raises(ParamsError, match=r"0\.5, below match\.floor\.text = 0\.6"):
        projects.build(tmp_path, "fingerprint")


def test_duplicate_ids_are_named(tmp_path: Path) -> None:
    """The id, and the places that claim it."""
    files: projects.Files = {
        "a.jsonl": projects.jsonl([{"id": "x", "text": "one"}]),
        "b.jsonl": projects.jsonl([{"id": "y", "text": "two"}, {"id": "x", "text": "three"}]),
    }
    projects.create(tmp_path, files)
    with pytest.raises(SourceError, match=r"'x': a\.jsonl row 0, b\.jsonl row 1"):
        projects.build(tmp_path, "fingerprint")


def test_reviews_are_heard_and_wrong_ones_are_named_by_line(copy: Path) -> None:
    """A person's word brings a dropped record back; an unknown label is an error."""
    dropped = next(row for row in projects.decisions(copy).values() if row["reason"] == "near_duplicate_of")
    others = [n for n in projects.kept(copy) if n != dropped["representative"]]
    lines = "".join(f"{dropped['id']},{name},different\n" for name in [dropped["representative"], *sorted(others)])
    (copy / "reviews.csv").write_text("left,right,label\n" + lines)
    projects.build(copy, "dedup")
    assert dropped["id"] in projects.kept(copy)
    (copy / "reviews.csv").write_text("left,right,label\na,b,same\na,c,perhaps\n")
    with pytest.raises(SourceError, match="line 3"):
        projects.build(copy, "dedup")


def test_a_sweep_changes_decisions_alone(copy: Path) -> None:
    """Another threshold leaves the index as it is, and the same threshold again gives the same bytes."""
    before = projects.outputs(copy)
    projects.settings(copy, version="v1", dedup__thresholds={"text": 0.95})
    projects.build(copy, "dedup")
    assert len(projects.kept(copy)) > 30
    assert projects.tree(copy / "index").items() <= before.items()
    projects.settings(copy, version="v1")
    projects.build(copy, "dedup")
    assert projects.outputs(copy) == before


def test_two_versions_of_one_name_are_refused(copy: Path) -> None:
    """The base holds v1 already."""
    projects.advance(copy)
    with pytest.raises(StateError, match="already holds v1"):
        projects.build(copy, "fingerprint", "match")


@pytest.mark.parametrize("files", [{}, {"a.txt": b"\xff\xff"}])
def test_nothing_readable_is_a_version_too(tmp_path: Path, files: projects.Files) -> None:
    """No record, or none that can be read; and the next version has it as its base."""
    (tmp_path / "data/raw").mkdir(parents=True)
    projects.create(tmp_path, files)
    (tmp_path / "data/raw").mkdir(parents=True, exist_ok=True)
    projects.build(tmp_path)
    assert projects.metrics(tmp_path, "dedup")["kept"] == 0
    projects.advance(tmp_path)
    projects.build(projects.reopen(tmp_path, {"b.txt": "now there is a text to keep"}, "v2"))
    assert projects.kept(tmp_path) == {"b.txt"}


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And so is a base that was not checked out."""
    projects.create(tmp_path, {})
    with pytest.raises(SourceError, match="data/raw is no directory"):
        projects.build(tmp_path, "fingerprint")
    shutil.rmtree(tmp_path / "base")
    (tmp_path / "data/raw").mkdir(parents=True)
    with pytest.raises(StateError, match=r"base\.json is missing"):
        projects.build(tmp_path)


def near_copies(count: int) -> projects.Files:
    """Return texts of 150 words in one JSONL file, each with one word changed."""
    words, draw = [f"word{n}" for n in range(150)], random.Random(0)
    lines = []
    for number in range(count):
        at = draw.randrange(len(words))
        text = " ".join([*words[:at], f"other{number}", *words[at + 1 :]])
        lines.append(f'{{"id": "r{number:06}", "text": "{text}"}}\n')
    return {"rows.jsonl": "".join(lines)}


def test_a_hundred_thousand_near_copies_are_judged_in_linear_time(tmp_path: Path) -> None:
    """All share hot buckets, which have 5 billion pairs: one stays, the others are compared with it alone."""
    spent = {}
    for count in (100, 25_000, 100_000):  # the first warms up what is compiled
        root = projects.create(tmp_path / str(count), near_copies(count), gates={"removed": None, "cluster": None})
        started = os.times()
        projects.build(root)
        spent[count] = sum(os.times()[:4]) - sum(started[:4])
        counted = projects.metrics(root, "dedup")
        assert (counted["kept"], counted["hot_unverified"]) == (1, 0)
        shutil.rmtree(root)
    assert spent[100_000] / 100_000 < 2 * spent[25_000] / 25_000


def test_models_must_answer_as_they_did_for_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each segment keeps the answer to a probe; where a later run's differs, it stops before a vector is stored."""
    root = projects.create(
        tmp_path, [{"id": "a", "text": "one two three four five six"}], fingerprint__text__encoder="wordllama"
    )
    projects.build(root)
    assert (root / "index/segments/v1/probe.text.embedding.npy").is_file()
    projects.advance(root)
    rows = [{"id": "b", "text": "seven eight nine ten eleven twelve"}]
    projects.reopen(root, rows, "v2", fingerprint__text__encoder="wordllama")
    projects.build(root)
    kept_answer = (root / "index/segments/v2/probe.text.embedding.npy").read_bytes()
    assert kept_answer == (root / "index/segments/v1/probe.text.embedding.npy").read_bytes()
    answer = probe.answer
    monkeypatch.setattr(probe, "answer", lambda encoder: np.roll(answer(encoder), 1))
    with pytest.raises(ModelError, match="as it did for version v1"):
        pipeline.run("fingerprint", root)
