"""Images and texts in one space: kept in the index, searched across modalities, reported, and what `align` makes."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import spaces
from PIL import Image
from spaces import COLOURS, png

from dedupver import align, manifest, pipeline, query, store
from dedupver.check import check
from dedupver.digests import of_column
from dedupver.fingerprint.encoders import find_model, open_encoder
from dedupver.fingerprint.encoders.aligned import Aligned
from dedupver.index.joint import fit
from dedupver.index.segment import Index
from dedupver.invariants import Version, evidence
from dedupver.params import Params
from dedupver.project import Project
from dedupver.schema import ModelError, ParamsError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair of models in ONNX whose vectors can be told by hand."""
    return spaces.colours(tmp_path_factory.mktemp("space"))


ROWS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "a": (("red",), "a red thing"),
    "b": (("blue",), "this is blue"),
    "c": (("green",), "so very red"),  # it does not fit
    "d": (("red", "blue"), "red and blue stripes"),
    "e": (("green",), None),
    "f": (("blue",), "nothing known here"),  # no vector
}


def sources(rows: dict[str, tuple[tuple[str, ...], str | None]] = ROWS) -> projects.Files:
    """Pictures with captions beside them, and a text of its own."""
    files: projects.Files = {f"{name}.png": png(*colours, seed=ord(name)) for name, (colours, _) in rows.items()}
    files |= {f"{name}.txt": caption for name, (_, caption) in rows.items() if caption}
    return {**files, "page/green.txt": "green green green grass of home"}


def settings(space: Path, **more: Any) -> dict[str, Any]:
    """Params with the space."""
    given = {"fingerprint__joint": {"encoder": f"onnx:{space}"}, "source__columns": {"id": None}}
    thresholds = {"match__floor": {"joint": 0.6}, "dedup__thresholds": {"joint": 0.9}}
    return {**given, **thresholds, "dedup__rules": [{"content": "exact"}], **more}


def reported(root: Path) -> list[tuple[str, str, str, float]]:
    """Rows of what is reported across modalities."""
    rows = pq.read_table(root / "build/dedup/reported.parquet").to_pylist()
    return [(r["case"], r["left"], r["right"], round(r["score"], 2)) for r in rows if r["kind"] == "joint"]


def elsewhere(root: Path) -> set[tuple[str, str, str, float]]:
    """Return the reported pairs of two records."""
    return {row for row in reported(root) if row[1] != row[2]}


def test_captions_and_images_are_compared(space: Path, tmp_path: Path) -> None:
    """Each record's own fit, the worst first; and texts that say what another record's image shows."""
    root = projects.build(projects.create(tmp_path, sources(), **settings(space)))
    fits = pq.read_table(root / "build/dedup/captions.parquet").to_pylist()
    assert fits[0]["id"] == "c.png"
    assert {row["id"] for row in fits} == {"a.png", "b.png", "c.png", "d.png"}
    assert fits[0]["score"] < 0.2
    assert fits[-1]["score"] > 0.97
    found = reported(root)
    assert {row[:3] for row in elsewhere(root)} == {
        ("caption_fits_other_image", "a.png", "c.png"),
        ("caption_fits_other_image", "f.png", "b.png"),
        ("text_fits_other_image", "c.png", "page/green.txt"),
        ("text_fits_other_image", "e.png", "page/green.txt"),
    }
    assert [row[1] for row in found if row[0] == "caption_unlike_image"] == ["a.png", "b.png", "c.png", "d.png"]
    metrics = projects.metrics(root, "dedup")
    assert metrics["reported"]["caption_fits_other_image"] == 2
    assert metrics["caption_fit"]["records"] == 4
    assert metrics["caption_fit"]["lowest_twentieth"] < metrics["caption_fit"]["median"]
    assert projects.kept(root) == {*(f"{name}.png" for name in ROWS), "page/green.txt"}  # nothing is dropped for it
    assert check(root) == []


@pytest.mark.parametrize("graphs", [False, True])
def test_later_versions_are_compared_with_earlier_ones(space: Path, tmp_path: Path, *, graphs: bool) -> None:
    """New images with old texts and new texts with old images; each pair is told of once, all together as at once."""
    given = settings(space, match__hnsw={"min_vectors": 1 if graphs else 1000})
    first = {name: ROWS[name] for name in "abc"}
    root = projects.build(projects.create(tmp_path / "turn", sources(first), **given))
    before = elsewhere(root)
    projects.advance(root)
    projects.reopen(root, sources(), "v2", **given)
    projects.build(root)
    whole = projects.build(projects.create(tmp_path / "once", sources(), **given))
    assert before & elsewhere(root) == set()
    assert before | elsewhere(root) == elsewhere(whole)
    captions = [pq.read_table(place / "build/dedup/captions.parquet").to_pylist() for place in (root, whole)]
    assert captions[0] == captions[1]
    files = {p.name for p in (root / "index/segments/v2").glob("*_joint.hnsw")}
    assert files == ({"image_joint.hnsw", "text_joint.hnsw"} if graphs else set())
    projects.settings(root, version="v2", **{**given, "fingerprint__joint": {"encoder": None}})
    with pytest.raises(ParamsError, match=r"fingerprint\.joint\.encoder: the base has"):
        pipeline.run("fingerprint", root)


def test_matches_are_those_of_brute_force(space: Path, tmp_path: Path) -> None:
    """Every image beside every text, by a product of matrices; and the run says that its search found them."""
    random = np.random.default_rng(3)
    names = list(COLOURS)
    files: projects.Files = {}
    for at in range(60):
        chosen = [names[i] for i in random.integers(0, 3, random.integers(1, 4))]
        files[f"{at:02}.png"] = png(*chosen, seed=at)
        files[f"{at:02}.txt"] = " ".join([names[i] for i in random.integers(0, 3, 5)] + [str(at)])
    root = projects.create(tmp_path, files, **settings(space, match__hnsw={"neighbours": 64}))
    projects.build(root)
    segment = Index.open(root / "index").segments[0]
    images, texts = (segment.array(f"{m}.joint", np.empty((0, 3))) for m in ("image", "text"))
    expected = {(i, t) for i, t in np.argwhere(images.astype(np.float64) @ texts.T >= 0.6)}
    found = pq.read_table(root / "index/segments/v1/joint.parquet")
    rows = {m: {bytes(d): i for i, d in enumerate(segment.content(m))} for m in ("image", "text")}
    pairs = [
        (rows["image"][bytes(a)], rows["text"][bytes(b)])
        for a, b in zip(of_column(found["media"]), of_column(found["text"]), strict=True)
    ]
    assert len(pairs) == len(set(pairs)) > 500
    assert set(pairs) == expected
    assert projects.metrics(root, "match")["recall"]["joint"] == 1


def test_fits_are_cosines_across_segments(space: Path, tmp_path: Path) -> None:
    """An image of one version and a text of another; an unknown content has none."""
    root = projects.build(projects.create(tmp_path, {"a.png": png("red")}, **settings(space)))
    projects.advance(root)
    projects.reopen(
        root, {"a.png": png("red"), "b.txt": "red green", "c.txt": "none of these"}, "v2", **settings(space)
    )
    projects.build(root, "fingerprint", "match")
    index = Index.open(root / "index")
    image, (one, other) = index.segments[0].content("image"), index.segments[1].content("text")
    scores = fit(index, np.concatenate([image, image, one[None]]), np.stack([one, other, one]))
    vector = index.segments[0].array("image.joint", np.empty((0, 3)))[0]
    by_text = sorted(scores[:2].tolist(), key=lambda s: (np.isnan(s), s))
    assert by_text[0] == pytest.approx(float(vector @ np.array([1, 1, 0]) / np.sqrt(2)), abs=1e-5)
    assert np.isnan(by_text[1])
    assert np.isnan(scores[2])


def test_the_caption_that_fits_best_stays(space: Path, tmp_path: Path) -> None:
    """Of one picture's captions the policy most_similar keeps the nearest; an unknown caption is the worst."""
    picture = png("red", "red", "blue", seed=9)
    files: projects.Files = {f"{name}.png": picture for name in "abcd"}
    captions = {"a": "blue blue blue blue", "b": "red red blue", "c": "who knows it", "d": "red"}
    files |= {f"{name}.txt": caption for name, caption in captions.items()}
    root = projects.create(tmp_path, files, **settings(space, dedup__captions="most_similar"))
    projects.build(root)
    assert projects.kept(root) == {"b.png"}
    said = projects.decisions(root)["d.png"]
    assert (said["reason"], said["representative"], said["rule"]) == (
        "other_caption_of",
        "b.png",
        "captions: most_similar",
    )
    assert said["evidence"] == "image=exact"
    assert check(root) == []


def test_most_similar_needs_a_space() -> None:
    """Before anything runs."""
    with pytest.raises(ValueError, match=r"most_similar.*fingerprint\.joint\.encoder"):
        Params.model_validate({"dedup": {"captions": "most_similar"}})
    with pytest.raises(ValueError, match=r"dedup\.thresholds\.joint is 0\.1, below match\.floor\.joint"):
        Params.model_validate({"dedup": {"thresholds": {"joint": 0.1}}})


def test_without_a_space_nothing_is_said_of_it(tmp_path: Path) -> None:
    """No arrays, no table, no rows."""
    root = projects.build(projects.create(tmp_path, sources(), source__columns={"id": None}))
    assert reported(root) == []
    assert pq.read_table(root / "build/dedup/captions.parquet").num_rows == 0
    assert not list((root / "index/segments/v1").glob("*joint*"))
    assert "caption_unlike_image" not in projects.metrics(root, "dedup")["reported"]


PLAIN: projects.Files = {"a.png": png("red", seed=1), "b.txt": "a red thing", "c.txt": "so very blue"}
ACROSS: dict[str, Any] = {"dedup__rules": [{"joint": 0.9}], "source__samples": "file"}


def test_a_rule_drops_across_modalities(space: Path, tmp_path: Path) -> None:
    """The text goes for the picture that it describes; what is said of it is checked, explained and counted."""
    files = {**PLAIN, "d.png": png("green", seed=2), "e.txt": "green"}
    root = projects.build(projects.create(tmp_path, files, **settings(space, **ACROSS)))
    decided = projects.decisions(root)
    assert {name: row["representative"] for name, row in decided.items() if row["action"] == "drop"} == {
        "b.txt": "a.png",
        "e.txt": "d.png",
    }
    words = decided["b.txt"]
    assert (words["reason"], words["method"], words["threshold"]) == ("cross_modal_match_of", "joint", 0.9)
    assert words["evidence"] == f"image~text.joint={words['score']:.6g}"
    assert words["score"] > 0.97
    assert words["rule"] == "{joint: 0.9}"
    assert elsewhere(root) == set()  # what is dropped is not told of once more
    assert check(root) == []
    told = query.explain(manifest.open_manifest(root / "manifest"), "b.txt")
    assert f"a threshold of joint above {words['score']:.6g} takes this evidence away: the rule's, or no such rule" in (
        told.remedies
    )
    assert "cross_modal_match_of,joint,2" in (root / "plots/reasons.csv").read_text()


def test_a_claim_across_modalities_is_computed_again(space: Path, tmp_path: Path) -> None:
    """A log that states another score is found out."""
    root = projects.build(projects.create(tmp_path, PLAIN, **settings(space, **ACROSS)))
    live = manifest.open_manifest(root / "manifest").live()
    (score,) = live["score"].drop_null().to_pylist()
    other = pc.replace_substring(live["evidence"], f"{score:.6g}", "0.91")
    at = live.column_names.index("evidence")
    version = Version(root, manifest.open_manifest(root / "manifest"), live, live.slice(0, 0), live.slice(0, 0))
    assert list(evidence(version)) == []
    altered = dataclasses.replace(version, live=live.set_column(at, live.schema.field("evidence"), other))
    assert [(each.subject, each.message) for each in evidence(altered)] == [
        ("b.txt", f"joint: states 0.91, the index says {score:.6g}")
    ]


@pytest.mark.parametrize("first", [["a.png", "c.txt"], ["b.txt", "c.txt"]])
def test_what_was_published_stays_across_modalities(space: Path, tmp_path: Path, first: list[str]) -> None:
    """The newcomer goes, be it the image or the text; a version at once keeps the same when those go first."""
    given = settings(space, **ACROSS)
    root = projects.build(projects.create(tmp_path, {name: PLAIN[name] for name in first}, **given))
    projects.advance(root)
    projects.reopen(root, PLAIN, "v2", **given)
    projects.build(root)
    assert projects.kept(root) == set(first)
    assert elsewhere(root) == set()
    assert check(root) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dedup": {"rules": [{"joint": 0.9}]}}, r"names joint, which needs a joint space: set fingerprint\.joint"),
        ({"dedup": {"rules": [{"joint": 0.1}]}}, r"dedup\.rules joint is 0\.1, below match\.floor\.joint = 0\.25"),
        ({"dedup": {"rules": [{"joint": "similar"}]}}, "joint takes a number"),
        ({"dedup": {"rules": [{"joint": 0.9, "text": 0.8}]}}, "joint stands alone in its rule"),
        ({"dedup": {"rules": [{"jont": 0.9}]}}, "unknown term 'jont': did you mean 'joint'"),
        ({"source": {"parts": {"joint": "text"}}}, "a part can't be called 'joint'"),
    ],
)
def test_a_rule_across_modalities_is_checked(given: dict[str, Any], message: str) -> None:
    """Before anything runs."""
    space = {} if "joint space" in message else {"fingerprint": {"joint": {"encoder": "onnx:space"}}}
    with pytest.raises(ValueError, match=message):
        Params.model_validate({**space, **given})


def made_pairs(count: int, seed: int = 1) -> align.Pairs:
    """Vectors of which an unknown linear map with noise leads from one to the other; every caption twice."""
    random = np.random.default_rng(seed)
    images, true = random.normal(size=(count, 12)), random.normal(size=(12, 5))
    texts = images @ true + random.normal(scale=0.05, size=(count, 5)) + 3
    number = np.arange(count)
    return align.Pairs(images + 2, texts, number, number, number % 10)


def test_a_linear_relation_is_found() -> None:
    """What a linear map relates is retrieved; chance is k of n."""
    made, told = align.best(made_pairs(3000))
    assert told["recall"]["text"]["of"] == 300
    assert told["recall"]["text"]["1"] > 0.8
    assert told["recall"]["image"]["10"] > 0.95
    assert told["recall"]["text"]["chance"] == {
        "1": pytest.approx(1 / 300, abs=1e-4),
        "10": pytest.approx(10 / 300, abs=1e-4),
    }
    assert told["fit"]["own"] > 0.99 > told["fit"]["strangers_99"]
    assert made.matrix.shape == (12, 5)


def test_unrelated_pairs_are_no_better_than_chance() -> None:
    """A space of noise is measured as such: the held-out tenth has not been seen."""
    pairs = made_pairs(3000)
    order = np.random.default_rng(0).permutation(3000)
    shuffled = align.Pairs(pairs.images, pairs.texts[order], pairs.image, pairs.text, pairs.tenth)
    _, told = align.best(shuffled)
    assert told["recall"]["text"]["10"] < 3 * told["recall"]["text"]["chance"]["10"]
    assert told["recall"]["image"]["1"] < 0.03


def test_recall_by_hand() -> None:
    """Two images of three share a caption: either counts for it, and chance knows that."""
    pairs = align.Pairs(
        np.eye(3), np.array([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]]), np.arange(3), np.array([0, 0, 1]), np.zeros(3, int)
    )
    straight = align.Map(np.eye(3), np.zeros(3), np.zeros(3))
    told = align.measured(straight, pairs)
    assert told["text"] == {"1": 1.0, "10": 1.0, "of": 2, "chance": {"1": 0.5, "10": 1.0}}
    assert told["image"] == {"1": 1.0, "10": 1.0, "of": 3, "chance": {"1": 0.5, "10": 1.0}}


def test_what_was_seen_is_not_held_out() -> None:
    """A caption or an image that the fitted pairs have as well is no measure."""
    pairs = made_pairs(1000)
    twice = align.Pairs(pairs.images, pairs.texts, np.arange(1000) % 995, pairs.text, pairs.tenth)
    held_out = twice.take((9,)).without(twice.take(tuple(range(9))))
    assert len(held_out.text) == 100 - 1  # image 999 % 995 is that of pair 4
    with pytest.raises(SourceError, match="leave 10 captions to measure with, 50 are needed"):
        align.best(made_pairs(100))


WORDS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def aligned(space: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose space was aligned on 550 of 600 stripes and what they are called."""
    root = tmp_path_factory.mktemp("aligned")
    random = np.random.default_rng(0)
    files: projects.Files = {}
    for at in range(600):
        chosen = [WORDS[i] for i in random.integers(0, 3, 4)]
        files[f"{at:03}.png"] = png(*chosen, seed=at)
        files[f"{at:03}.txt"] = f"{' '.join(chosen)} {at}"
    encoders = {"fingerprint__image": {"encoder": f"onnx:{space}"}, "fingerprint__text": {"encoder": f"onnx:{space}"}}
    projects.create(root, files, source__columns={"id": None}, **encoders)
    align.align(Project(root), root / "models/joint", 550)
    return root


def test_a_project_is_aligned(aligned: Path) -> None:
    """On at most so many pairs; what is written says how well it does, and opens as an encoder of both modalities."""
    told = store.read_json(store.verified(aligned / "models/joint") / "align.json")
    assert told["pairs"] == 550
    assert told["recall"]["text"]["10"] > 3 * told["recall"]["text"]["chance"]["10"]
    sees, reads = (open_encoder(f"aligned:{aligned / 'models/joint'}", m) for m in ("image", "text"))
    assert sees.dim == reads.dim == 3
    red = np.asarray(Image.open(io.BytesIO(png("red"))))
    scores = (sees.encode([red]) @ reads.encode(["red", "green", "blue"]).T)[0]
    assert scores.argmax() == 0
    assert scores[0] > 0.9
    assert scores[1:].max() < 0.5


def test_an_aligned_space_shares_its_encoders_work(aligned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedding and joint vector of a picture or a text are made with one call of the model below."""
    spec = f"aligned:{aligned / 'models/joint'}"
    made: list[int] = []
    lift = Aligned.lift
    monkeypatch.setattr(Aligned, "encode", lambda *_: pytest.fail("computed twice"))
    monkeypatch.setattr(Aligned, "lift", lambda self, v: made.append(len(v)) or lift(self, v))
    from dedupver.fingerprint import look  # noqa: PLC0415
    from dedupver.fingerprint.known import open_known  # noqa: PLC0415

    sink = look.Sink(open_known(()), [])
    monkeypatch.setattr("dedupver.fingerprint.encoders.probe.answer", lambda encoder: np.ones(encoder.dim, np.float32))
    words = ["red blue", "green"]
    base, above = open_encoder(spec, "text").base, open_encoder(spec, "text")
    calls: list[Sequence[str]] = []
    encode = base.encode
    monkeypatch.setattr(base, "encode", lambda batch: calls.append(batch) or encode(batch))
    above.base = base
    sink.encode("embedding", base, words)
    sink.encode("joint", above, words)
    assert (calls, made) == ([words], [2])


def test_a_space_knows_what_it_rests_on(aligned: Path, space: Path, tmp_path: Path) -> None:
    """Another encoder under it, a damaged or missing file: refused with a word on what to do."""
    place = aligned / "models/joint"
    copy = tmp_path / "m"
    copy.mkdir()
    for path in place.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert find_model(f"aligned:{copy}", "image").digest == find_model(f"aligned:{place}", "image").digest
    told = json.loads((copy / "align.json").read_text())
    (copy / "align.json").write_text(json.dumps({**told, "digests": {"image": "0", "text": "0"}}))
    with pytest.raises(ModelError, match=r"made for another onnx:.*run `dedupver align` again"):
        find_model(f"aligned:{copy}", "image")
    (copy / "align.json").write_text("{}")
    with pytest.raises(ModelError, match="format None"):
        find_model(f"aligned:{copy}", "text")
    (copy / "align.json").write_text(json.dumps(told))
    (copy / "matrix.npy").unlink()
    with pytest.raises(ModelError, match=r"matrix\.npy"):
        find_model(f"aligned:{copy}", "text")


def test_align_says_what_it_lacks(tmp_path: Path) -> None:
    """Encoders, captioned pictures, and enough of them."""
    root = projects.create(tmp_path, {"a.txt": "words"}, source__columns={"id": None})
    with pytest.raises(ParamsError, match="set both"):
        align.align(Project(root), root / "m", 10)
    encoders = {"fingerprint__image": {"encoder": "efficientnet-lite0"}, "fingerprint__text": {"encoder": "wordllama"}}
    projects.settings(root, version="v1", source__columns={"id": None}, **encoders)
    with pytest.raises(SourceError, match="no captioned image"):
        align.align(Project(root), root / "m", 10)
    projects.reopen(
        root,
        {"a.png": png("red"), "a.txt": "a red picture of nothing else"},
        "v1",
        source__columns={"id": None},
        **encoders,
    )
    with pytest.raises(SourceError, match="to measure with, 50 are needed"):
        align.align(Project(root), root / "m", 10)
