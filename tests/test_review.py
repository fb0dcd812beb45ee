"""Pairs to label: who is drawn, what comes back, and what labels say, on licence texts and edits of them."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import projects
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from typer.testing import CliRunner

from dedupver import check, cli, pipeline, reviews, versions
from dedupver.project import Project
from dedupver.repository import assign, dvc
from dedupver.review import export as exports
from dedupver.review import labels, population
from dedupver.review.drawing import Drawing
from dedupver.review.export import NAMES, export
from dedupver.review.labels import fingerprint
from dedupver.review.marked import marked
from dedupver.review.page import page
from dedupver.review.population import Population
from dedupver.review.told import _key as told_key
from dedupver.review.told import estimate
from dedupver.reviews import Review
from dedupver.schema import SourceError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable

EDITS = (0.03, 0.06, 0.12)
"""Shares of the words that copies lack."""


def original(name: str) -> str:
    """Return what a record was made of."""
    return name.partition("|")[0]


def edited() -> projects.Rows:
    """Return licence texts of some length, and copies of every second that lack some words."""
    texts = {name: bytes(text).decode(errors="replace") for name, text in projects.licences().items()}
    long = [(name, text) for name, text in sorted(texts.items()) if 100 < len(text.split()) < 800]
    rows = [{"id": name, "text": text} for name, text in long]
    for name, text in long[::2]:
        for share in EDITS:
            draw, words = random.Random(f"{name} {share}"), text.split()
            copy = [word for word in words if draw.random() > share]
            rows.append({"id": f"{name}|{share}", "text": " ".join(copy)})
    return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a version of the texts and their copies."""
    return projects.build(projects.create(tmp_path_factory.mktemp("review") / "texts", edited()))


@pytest.fixture
def mine(root: Path, tmp_path: Path) -> Path:
    """Give a copy of the version for a test of its own."""
    return Path(shutil.copytree(root, tmp_path / "mine"))


def label(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Label rows of an export by what is known of them."""
    return [row | {"label": "same" if original(row["left"]) == original(row["right"]) else "different"} for row in rows]


def run(root: Path, *args: str) -> tuple[int, str]:
    """Run the command line."""
    result = CliRunner().invoke(cli.app, ["-C", str(root), "review", *args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def scores(people: Population, kind: str) -> dict[tuple[str, str], float]:
    """Return the pairs of a population by their ids."""
    found = people.pairs(kind)
    ends = zip(found.left.tolist(), found.right.tolist(), found.score.tolist(), strict=True)
    return {(people.ids[a], people.ids[b]): score for a, b, score in ends}


def test_the_population_is_what_a_lower_threshold_lets_through(root: Path, tmp_path: Path) -> None:
    """By brute force: all pairs of distinct texts of which the Jaccard similarity reaches the floor."""
    rows = edited()[::7]
    project = Project(projects.build(projects.create(tmp_path, rows)))
    people = Population.of(project)
    left, right = np.triu_indices(len(people.ids), 1)
    contents = [people.contents[people.nodes.contents[end, 0]] for end in (left, right)]
    exact = people.index.score("text", *contents)
    wanted = {
        (people.ids[a], people.ids[b]): score
        for a, b, score in zip(left.tolist(), right.tolist(), exact.tolist(), strict=True)
        if score >= np.float32(0.6)
    }
    assert scores(people, "text") == wanted
    assert len(wanted) > 50


def test_a_threshold_decides_where_the_other_parts_agree(tmp_path: Path) -> None:
    """Of captioned pictures those pairs whose pictures match: each threshold is asked of where it makes the difference."""
    words = [f"word{n}" for n in range(40)]
    captions = {
        "a": words,
        "b": [*words[:36], "four", "other", "words", "here"],
        "c": [*words[:20], "the", "rest"],
        "d": words,
    }
    files: projects.Files = {f"{name}.txt": " ".join(told) for name, told in captions.items()}
    for name, picture in (
        ("a", data.astronaut()),
        ("b", data.astronaut()),
        ("c", data.astronaut()),
        ("d", data.coffee()),
    ):
        out = io.BytesIO()
        Image.fromarray(picture[: 500 - 2 * len(files[f"{name}.txt"]) % 7]).save(out, "PNG")
        files[f"{name}.png"] = out.getvalue()
    rules = [{"image": 0.92, "caption": 0.8}]
    people = Population.of(
        Project(projects.build(projects.create(tmp_path, files, source__columns={"id": None}, dedup__rules=rules)))
    )
    assert people.kinds() == ["text", "image"]
    assert {pair for pair, _ in scores(people, "text").items()} == {("a.png", "b.png")}
    assert {pair for pair, _ in scores(people, "image").items()} == {("a.png", "b.png")}
    assert told_key(people, "text") == "caption in the rule of dedup.rules"


def test_hot_buckets_are_listed_or_drawn(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small buckets the population is the same; of more pairs than may be listed some stand for all."""
    whole = scores(Population.of(Project(root)), "text")
    hot = projects.build(projects.create(tmp_path, edited(), match__bucket_cap=4))
    people = Population.of(Project(hot))
    assert scores(people, "text") == whole
    monkeypatch.setattr(population, "LISTED", 1000)
    monkeypatch.setattr(population, "DRAWN", 20_000)
    found = people.pairs("text")
    assert found.drawn.any()
    drawing = Drawing("text", people, found, [], 0)
    sizes = drawing.known.size.reshape(2, -1).sum(axis=0)
    exact = Drawing("text", Population.of(Project(root)), Population.of(Project(root)).pairs("text"), [], 0)
    assert sizes.sum() == pytest.approx(len(whole), rel=0.05)
    assert np.abs(sizes - exact.known.size[: len(sizes)]).max() <= 0.1 * len(whole)
    assert any(each.stratum.endswith(" hot") for each in drawing.next(60))


def test_weights_sum_to_the_population_and_every_band_has_labels(root: Path) -> None:
    """Each stratum's labels stand for all of its pairs."""
    people = Population.of(Project(root))
    drawing = Drawing("text", people, people.pairs("text"), [], 0)
    drawn = drawing.next(120)
    assert sum(each.weight for each in drawn) == pytest.approx(len(drawing.pairs.left))
    there = {drawing.name(at) for at in np.unique(drawing.stratum).tolist()}
    assert {each.stratum for each in drawn} == there
    assert len({each.pair for each in drawn}) == 120


def test_an_export_depends_on_version_and_seed_alone(root: Path, tmp_path: Path) -> None:
    """The same bytes again; other pairs with another seed; the pairs of a short one begin a long one."""
    files = []
    for number, args in enumerate([("--seed", "0"), ("--seed", "0"), ("--seed", "1")]):
        paths = tmp_path / f"{number}.csv", tmp_path / f"{number}.html"
        assert run(root, "export", "--count", "40", *args, "--out", str(paths[0]), "--html", str(paths[1]))[0] == 0
        files.append([path.read_bytes() for path in paths])
    assert files[0] == files[1]
    assert files[0] != files[2]
    long, short = (export(Project(root), "text", count, 0).rows for count in (60, 20))
    assert [r["pair"] for r in long[:20]] == [r["pair"] for r in short]
    assert {r["decided"] for r in long} == {"same", "apart"}
    for row in long:
        assert row["decided"] == ("same" if float(row["score"]) >= 0.8 else "apart")
        assert row["pair"] == fingerprint(row["left"], row["right"])


def test_labels_come_back_and_are_not_asked_for_again(mine: Path) -> None:
    """Export, label, import: the reviews hold the labels with what they were drawn by; the next export has others."""
    file = mine / "review.csv"
    assert run(mine, "export", "--count", "80", "--out", str(file))[0] == 0
    asked = [each.more["pair"] for each in reviews.table(file)]
    rows = label(export(Project(mine), None, 80, 0).rows)
    rows[3]["label"], rows[4]["label"] = "", "skip"
    exports.write(file, rows)
    code, said = run(mine, "import", str(file), "--json")
    told = json.loads(said)
    assert code == 0
    assert (told["same"] + told["different"], told["unlabelled"], told["repeated"]) == (78, 2, 0)
    kept = reviews.read(mine / "reviews.csv")
    assert [(r.left, r.right) for r in kept] == [(r["left"], r["right"]) for r in rows if r["label"] in reviews.LABELS]
    assert set(kept[0].more) == {"kind", "score", "stratum", "weight", "seed"}
    again = [row["pair"] for row in export(Project(mine), None, 80, 0).rows]
    assert set(again) & set(asked) == {rows[3]["pair"], rows[4]["pair"]}
    before = (mine / "reviews.csv").read_bytes()
    assert json.loads(run(mine, "import", str(file), "--json")[1])["repeated"] == 78
    assert (mine / "reviews.csv").read_bytes() == before


def test_estimates_hold_what_is_true_and_get_narrower(mine: Path) -> None:
    """The truth of all pairs is within nearly every interval, and a second round leaves less unknown."""
    people = Population.of(Project(mine))
    known = scores(people, "text")
    widths = []
    for _ in range(2):
        file = mine / "labels.jsonl"
        exports.write(file, label(export(Project(mine), "text", 200, 0).rows))
        assert run(mine, "import", str(file))[0] == 0
        (told,) = estimate(Project(mine), "text", 0.9)
        held = []
        same = {pair for pair in known if original(pair[0]) == original(pair[1])}
        for row in told["thresholds"]:
            above = {pair for pair, score in known.items() if np.float32(score) >= np.float32(row["threshold"])}
            if not above:
                continue
            truth = (len(above & same) / len(above), len(above & same) / len(same))
            for name, true in zip(("precision", "recall"), truth, strict=True):
                held.append(row[f"{name}_low"] - 1e-9 <= true <= row[f"{name}_high"] + 1e-9)
        assert np.mean(held) >= 0.9
        widths.append(
            np.mean([row["precision_high"] - row["precision_low"] for row in told["thresholds"] if row["pairs"]])
        )
    assert widths[1] < 0.9 * widths[0]
    assert told["pairs"] == len(known)
    assert told["labels"] == 400


def test_a_label_counts_for_a_second_kind_only_where_it_would_have_been_drawn(root: Path) -> None:
    """Labels that someone wrote of what he saw are no sample; of those drawn the prefix of each stratum is."""
    people = Population.of(Project(root))
    pairs = people.pairs("text")
    best = np.argsort(-pairs.score, kind="stable")[:50]
    seen = [Review(0, people.ids[pairs.left[at]], people.ids[pairs.right[at]], "same", {}) for at in best]
    assert Drawing("text", people, pairs, seen, 0).known.labelled.sum() == 0
    drawing = Drawing("text", people, pairs, seen, 0)
    drawn = [each.pair for each in drawing.next(100)]
    more = [
        Review(0, people.ids[pairs.left[at]], people.ids[pairs.right[at]], "same", {"kind": "text", "seed": "0"})
        for at in drawn
    ]
    both = Drawing("text", people, pairs, [*seen, *more], 0)
    number = both._numbers(0)
    for stratum in np.unique(both.stratum).tolist():
        inside = np.flatnonzero(both.stratum == stratum)
        order = inside[np.argsort(number[inside])]
        has = np.isin(order, [*drawn, *best.tolist()])
        last = np.flatnonzero(np.isin(order, drawn)).max(initial=-1)
        assert both.known.labelled[stratum] == has[: last + 1].sum() == last + 1


def test_import_names_what_the_version_does_not_hold(mine: Path) -> None:
    """The rest is taken."""
    left, right = edited()[0]["id"], edited()[1]["id"]
    (mine / "in.csv").write_text(f"left,right,label\n{left},nobody,same\n{left},{right},Different\n")
    code, said = run(mine, "import", str(mine / "in.csv"))
    assert code == 0
    assert "line 2: no record 'nobody' in this version" in said
    assert [(r.left, r.right, r.label) for r in reviews.read(mine / "reviews.csv")] == [(left, right, "different")]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["a,b,same", "b,a,different"], "line 3: 'b' and 'a' are different, and line 2 of the file says same"),
        (["a,b,same", "b,c,same", "c,a,different"], "joins them: 'c' = 'b' = 'a'"),
        (["x,a,different", "y,a,same"], "line 2: 'x' and 'a' are different, and a chain"),
        (["y,x,different"], "line 2: 'y' and 'x' are different, and line 2 of the reviews says same"),
        (["a,b,maybe"], "line 2: the label is 'maybe'"),
        (["a,b,y"], "line 2: the label is 'y'"),
        (["a,,same"], "line 2: needs two ids"),
        (["a,a,same"], "line 2: needs two ids"),
        (["a,b,same,1,2"], "line 2: has more cells than the header"),
    ],
)
def test_contradictions_are_refused_with_their_line(tmp_path: Path, lines: list[str], words: str) -> None:
    """Whichever way round a pair is written, and through any chain, also of reviews that were there."""
    file = tmp_path / "in.csv"
    file.write_text("".join(f"{line}\n" for line in ["left,right,label", *lines]))
    with pytest.raises(SourceError, match=re.escape(words)):
        labels.take(file, [Review(2, "x", "y", "same", {})], labels.read(file), ["a", "b", "c", "x", "y"])


def test_a_spreadsheet_that_alters_ids_is_found_out(tmp_path: Path) -> None:
    """0012 became 12."""
    file = tmp_path / "in.csv"
    file.write_text(f"left,right,label,pair\n12,b,same,{fingerprint('0012', 'b')}\n")
    with pytest.raises(SourceError, match="line 2: '12' and 'b' are not the ids that were exported"):
        labels.read(file)


@pytest.mark.parametrize("comma", [",", ";", "\t"])
def test_what_spreadsheets_write_is_read(tmp_path: Path, comma: str) -> None:
    """With a mark of byte order, other separators, other columns and line ends."""
    file = tmp_path / "in.csv"
    file.write_text("note,left,right,label\r\nx,'=a,b,SAME\r\n".replace(",", comma), encoding="utf-8-sig", newline="")
    (each,) = labels.read(file)
    assert each[1:] == ("=a", "b", "same", {"note": "x"})


HOSTILE = st.text(min_size=1).map(lambda t: t.encode(errors="replace").decode()) | st.sampled_from(
    [
        "=1+1",
        "+1",
        "-1",
        "@x",
        "'=1",
        "''",
        "'",
        "\t=1",
        "\r\n",
        'a"b,c',
        "a;b",
        "\u202eabc",
        "</script>",
        "\ufeffx",
        "a\x00b",
    ]
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(HOSTILE, HOSTILE).filter(lambda p: p[0] != p[1]), min_size=1, max_size=4),
    st.sampled_from([".csv", ".jsonl"]),
)
def test_hostile_ids_come_back_as_they_were(tmp_path: Path, pairs: list[tuple[str, str]], suffix: str) -> None:
    """Through an export and an import, and through the reviews; and no cell starts a formula."""
    blank = dict.fromkeys(NAMES, "")
    rows = [blank | {"left": a, "right": b, "label": "same", "pair": fingerprint(a, b)} for a, b in pairs]
    exports.write(tmp_path / f"x{suffix}", rows)
    read = labels.read(tmp_path / f"x{suffix}")
    assert [(each.left, each.right) for each in read] == pairs
    took = labels.take(tmp_path / "x", [], read, {name for pair in pairs for name in pair})
    (tmp_path / "reviews.csv").unlink(missing_ok=True)
    reviews.add(tmp_path / "reviews.csv", took.added)
    distinct = list({frozenset(pair): pair for pair in reversed(pairs)}.values())
    assert {(r.left, r.right) for r in reviews.read(tmp_path / "reviews.csv")} == set(distinct)
    if suffix == ".csv":
        import csv  # noqa: PLC0415

        with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
            assert not any(
                cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in csv.reader(file) for cell in row
            )


def test_other_columns_of_the_reviews_stay(tmp_path: Path) -> None:
    """Also of a file that people wrote."""
    path = tmp_path / "reviews.csv"
    path.write_text("left,right,label,who\na,b,same,Ann\n")
    reviews.add(path, [Review(2, "c", "d", "different", {"kind": "text"})])
    assert path.read_text() == "left,right,label,who,kind\na,b,same,Ann,\nc,d,different,,text\n"


class _Page(HTMLParser):
    """The elements of a page, and what is in some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self.open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element."""
        self.found.append((tag, dict(attrs)))
        self.open = tag

    def handle_data(self, data: str) -> None:
        """Take what is in it."""
        self.inside.setdefault(self.open, []).append(data)


EVIL = "</script><img src=x onerror=alert(1)>\"'&\u202e"


def test_a_page_holds_nothing_that_data_could_say(tmp_path: Path) -> None:
    """Ids, paths, sources, labels and texts that are HTML are text; nothing is asked of the network."""
    text = " ".join(f"word{n}" for n in range(80))
    rows = [{"id": f"{EVIL}{n}", "text": f"{text} {EVIL} {n}", "source": EVIL, "label": EVIL} for n in range(3)]
    found = export(Project(projects.build(projects.create(tmp_path, rows))), None, 10, 0)
    html = page(found)
    read = _Page()
    read.feed(html)
    tags = [tag for tag, _ in read.found]
    assert len(found.rows) == 3
    assert "img" not in tags
    assert tags.count("script") == 2
    assert not [name for _, attributes in read.found for name in attributes if name.startswith("on") or name == "href"]
    assert "\u202e" not in html
    embedded = re.search(r'<script type="application/json" id="pairs">(.*?)</script>', html, re.DOTALL)
    assert json.loads(embedded[1])["rows"] == [{name: row[name] for name in NAMES} for row in found.rows]
    (policy,) = (a["content"] for tag, a in read.found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not re.search(r"https?://", html)


def test_pictures_and_fields_are_shown(tmp_path: Path) -> None:
    """A picture beside its copy as thumbnails; rows field by field; one that can't be read any more says so."""
    place = tmp_path / "files"
    place.mkdir()
    with Image.fromarray(data.astronaut()) as picture:
        picture.save(place / "a.png")
        picture.save(place / "b.jpg", quality=60)
        picture.resize((256, 256)).save(place / "c.png")
    files = {path.name: path.read_bytes() for path in place.iterdir()}
    files["people.csv"] = "name,city\nAnna Maria Huber,Zürich\nAnna Maria Hubert,Zürich\nAnna Maria Hubers,Zürich\n"
    project = Project(
        projects.build(
            projects.create(tmp_path / "project", files, source__columns={"id": None, "fields": ["name", "city"]})
        )
    )
    shown = page(export(project, None, 50, 0))
    assert shown.count("data:image/jpeg;base64,") == 6
    assert "<td>Anna Maria Hubert</td>" in shown
    assert len(shown) < 400_000
    (project.raw / "b.jpg").write_bytes(b"\xff\xd8 no picture")
    shown = page(export(project, "image", 50, 0))
    assert shown.count("data:image/jpeg;base64,") == 4
    assert "not in the source as it was judged" in shown


@given(st.text(max_size=70), st.text(max_size=70))
def test_marked_texts_hold_all_that_is_short(left: str, right: str) -> None:
    """What is left when the marks go is the text, with what can't be printed as words."""
    from html import unescape  # noqa: PLC0415

    for text, html in zip((left, right), marked(left, right), strict=True):
        bare = unescape(re.sub(r"</?(?:ins|del)>", "", html))
        assert bare == "".join(
            c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
        )


def test_marked_texts_are_bounded_and_show_the_difference() -> None:
    """A difference deep in long texts is found, and equal runs are left out; hostile repeats take no time."""
    words = [f"w{n}" for n in range(20_000)]
    left, right = marked(" ".join(words), " ".join([*words[:9000], "other", *words[9001:]]))
    assert "<del>w9000</del>" in left
    assert "<ins>other</ins>" in right
    assert len(left) < 1500
    left, right = marked("a b " * 30_000, "b a " * 30_000 + "x")
    assert len(left) < 50_000


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    """Also for a kind of which no record has a part, and where nothing was built."""
    root = projects.build(projects.create(tmp_path, [{"id": "a", "text": "one text alone, of some words"}]))
    with pytest.raises(StateError, match="no pair to label"):
        export(Project(root), None, 10, 0)
    with pytest.raises(StateError, match="no record of this version has a part of modality image"):
        export(Project(root), "image", 10, 0)
    assert run(root, "export", "--kind", "nonsense")[0] == 2


def test_a_version_that_is_partly_built_is_refused(mine: Path) -> None:
    """With the way on; other thresholds are no other version, another floor is."""
    rows = export(Project(mine), None, 5, 0).rows
    exports.write(mine / "labels.csv", label(rows))
    projects.settings(mine, version="v1", dedup__thresholds={"text": 0.7})
    assert {r["decided"] for r in export(Project(mine), None, 60, 0).rows if 0.7 <= float(r["score"]) < 0.8} == {"same"}
    projects.settings(mine, version="v1", match__floor={"text": 0.5})
    for command in (["export", "--out", str(mine / "x.csv")], ["estimate"]):
        with pytest.raises(StateError, match=r"`match` in params\.yaml is not what v1 was built with: run `dvc repro`"):
            run(mine, *command)
    shutil.rmtree(mine / "index")
    for command in (["export"], ["estimate"], ["import", str(mine / "labels.csv")]):
        with pytest.raises(StateError, match="index/ is missing"):
            run(mine, *command)
    assert not (mine / "reviews.csv").exists()


def test_labels_raise_precision_and_all_holds(mine: Path) -> None:
    """From export to the next build: what was said is heard, more of what is dropped was rightly dropped."""

    def precision() -> float:
        dropped = [r for r in projects.decisions(mine).values() if r["action"] == "drop"]
        return float(np.mean([original(r["id"]) == original(r["representative"]) for r in dropped]))

    before = precision()
    for _ in range(3):
        exports.write(mine / "labels.csv", label(export(Project(mine), "text", 300, 0).rows))
        assert run(mine, "import", str(mine / "labels.csv"))[0] == 0
    (told,) = estimate(Project(mine), "text", 0.5)
    projects.build(mine, *pipeline.STAGES[pipeline.STAGES.index("dedup") :])
    assert precision() > before
    assert [f for f in check.check(mine) if f.check != "inputs"] == []
    said = {frozenset((r.left, r.right)) for r in reviews.read(mine / "reviews.csv") if r.label == "different"}
    went = {frozenset((r["id"], r["representative"])) for r in projects.decisions(mine).values() if r["representative"]}
    assert not said & went
    assert told["labels"] > 0


def test_the_estimate_is_a_table_for_people_and_for_plots(mine: Path) -> None:
    """Text, JSON and CSV say the same."""
    assert "no label yet" in run(mine, "estimate")[1]
    exports.write(mine / "labels.csv", label(export(Project(mine), "text", 200, 0).rows))
    run(mine, "import", str(mine / "labels.csv"))
    code, said = run(mine, "estimate", "--precision", "0.99", "--plot", str(mine / "plots/review.csv"))
    assert code == 0
    assert "0.8 now" in said
    assert "recall is of the true pairs at or above the floor" in said
    assert "more labels" in said or "set dedup.thresholds.text to" in said or "no threshold has" in said
    told = json.loads(run(mine, "estimate", "--json")[1])
    plotted = (mine / "plots/review.csv").read_text().splitlines()
    assert len(plotted) == 1 + len(told[0]["thresholds"]) == 17
    assert plotted[0] == "kind,threshold,precision,precision_low,precision_high,recall,recall_low,recall_high,labels"


def test_a_review_cycle_under_dvc(repository: Path, fill_source: Callable[[Path, dict[str, str]], None]) -> None:
    """Export, label, import, `dvc repro`: stages before dedup do not run, what people said is in force, and all holds."""
    versions.init(repository)
    assign(repository / "params.yaml", {"fingerprint.text.encoder": None, "fingerprint.image.encoder": None})
    assign(repository / "params.yaml", {"engine.workers": 1, "source.columns.id": "id"})
    fill_source(repository, {"texts.jsonl": projects.jsonl(edited()[::2])})
    dvc(repository, "repro", "--quiet")
    file = repository / "review.csv"
    assert run(repository, "export", "--count", "100", "--out", str(file))[0] == 0
    exports.write(file, label(export(Project(repository), None, 100, 0).rows))
    assert run(repository, "import", str(file))[0] == 0
    said = {frozenset((r.left, r.right)): r.label for r in reviews.read(repository / "reviews.csv")}
    assert json.loads(run(repository, "estimate", "--json")[1])[0]["labels"] == len(said)  # before it is built again
    ran = [line for line in dvc(repository, "repro").splitlines() if line.startswith("Running stage")]
    assert "dedup" in ran[0]
    assert check.check(repository) == []
    dropped = [r for r in projects.decisions(repository).values() if r["action"] == "drop"]
    assert not [r for r in dropped if said.get(frozenset((r["id"], r["representative"]))) == "different"]
    assert [r for r in dropped if r["reason"] == "reviewed_same_as"]
