"""`dedupver undo`: what it writes, whom the next run restores for it, and how it is taken back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import projects
import pytest
from typer.testing import CliRunner

from dedupver import cli, pipeline, query, reviews, versions
from dedupver.check import check
from dedupver.manifest import open_manifest
from dedupver.repository import assign, dvc, git
from dedupver.schema import DedupverError, StateError
from dedupver.undo import redo, undo

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = (
    "the quick brown fox jumps over the lazy dog and then it runs through the field until the night falls on the hill"
)
A = {"id": "a", "text": f"{LONG} once more"}
B = {"id": "b", "text": LONG}  # near a, which is longer
C = {"id": "c", "text": "something else entirely, told in words that no other text in here has got at all"}
TWIN = {"id": "twin", "text": f"{LONG} once more"}
AFTER = {"id": "n", "text": f"{LONG} again"}  # near a, b and twin
BROKEN = {"id": "q", "text": ""}
FIRST, SECOND = [A, B, C, TWIN, BROKEN], [A, B, C, TWIN, BROKEN, AFTER]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose v1 dropped b and twin for a, and whose v2 dropped n for a."""
    root = tmp_path_factory.mktemp("undo") / "project"
    projects.create(root, [*FIRST, {"id": "left", "text": "a text of its own words that is soon to be gone from here"}])
    (root / "reviews.csv").write_text("left,right,label,why\nc,a,different,just a note\n")
    projects.build(root)
    projects.advance(root)
    return projects.build(projects.reopen(root, SECOND, "v2"))


@pytest.fixture
def copy(two: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(two, tmp_path / "project"))


def again(root: Path) -> dict[str, str | None]:
    """Judge again; return whom each record goes for, None for the kept, once `check` has found nothing."""
    projects.build(root, *pipeline.STAGES[pipeline.STAGES.index("dedup") :])
    assert check(root) == []
    return {
        name: row["representative"] for name, row in projects.decisions(root).items() if row["action"] != "quarantine"
    }


BEFORE = {"a": None, "b": "a", "c": None, "twin": "a", "n": "a"}


def test_the_project_is_what_the_tests_say(two: Path) -> None:
    """All three are dropped for a."""
    assert again(two) == BEFORE


def test_what_an_earlier_version_dropped_is_restored(copy: Path) -> None:
    """Under frozen history, in the next run, and the trail tells of it; of others n goes for the nearer b."""
    assert undo(copy, ["b"]) == {"added": [("b", "a")], "removed": [], "follow": {}}
    assert again(copy) == {**BEFORE, "b": None, "n": "b"}
    told = [json.loads(line) for line in (copy / "manifest/v2.audit.jsonl").read_text().splitlines()]
    event = next(each for each in told if each["id"] == "b")
    assert (event["action"], event["reason"], event["version"], event["decided"]) == ("keep", "restored", "v1", "v2")
    assert [e["change"] for e in query.explain(open_manifest(copy / "manifest"), "b").history] == [
        "brought",
        "restored",
    ]
    assert ("b", "a", "different") in open_manifest(copy / "manifest").reviews()


def test_equal_contents_are_told_apart_by_a_review_alone(copy: Path) -> None:
    """An exact copy of a kept record comes back as well."""
    undo(copy, ["twin"])
    assert again(copy)["twin"] is None


def test_what_this_version_dropped_is_restored(copy: Path) -> None:
    """A newcomer, which the base does not know."""
    assert undo(copy, ["n"])["added"] == [("n", "a")]
    assert again(copy) == {**BEFORE, "n": None}


def test_several_are_told_apart_from_each_other_too(copy: Path) -> None:
    """Whether in one call or one after the other, before the next run: of two that resemble each other both come back."""
    other = Path(shutil.copytree(copy, copy.with_name("other")))
    undo(copy, ["b", "n", "twin"])
    for name in ("b", "twin", "n"):
        undo(other, [name])
    pairs = [{frozenset((r.left, r.right)) for r in reviews.read(root / "reviews.csv")} for root in (copy, other)]
    assert pairs[0] == pairs[1]
    assert len(pairs[0]) == 7  # the note, and each two of a, b, n and twin
    assert again(copy) == again(other) == dict.fromkeys(BEFORE)


def test_other_lines_and_columns_stay(copy: Path) -> None:
    """What people had written is not touched, and each line is written once."""
    undo(copy, ["b"])
    undo(copy, ["b"])
    assert (copy / "reviews.csv").read_text() == (
        "left,right,label,why,by\nc,a,different,just a note,\nb,a,different,,undo\n"
    )


def test_from_one_record_alone(copy: Path) -> None:
    """Only a record that drops it can be named."""
    assert undo(copy, ["b"], "a")["added"] == [("b", "a")]
    with pytest.raises(StateError, match="'c' does not drop 'b': 'a' do"):
        undo(copy, ["b"], "c")


def test_a_line_that_calls_the_two_the_same_is_taken_out(copy: Path) -> None:
    """For it would outweigh the new one; and the drop that it made ends."""
    with (copy / "reviews.csv").open("a") as file:
        file.write("c,b,different,and another\na,twin,same,\n")
    assert again(copy)["twin"] == "a"
    assert undo(copy, ["twin"]) == {"added": [("twin", "a")], "removed": [("twin", "a")], "follow": {}}
    assert [(r.left, r.label, r.more["why"]) for r in reviews.read(copy / "reviews.csv")] == [
        ("c", "different", "just a note"),
        ("c", "different", "and another"),
        ("twin", "different", ""),
    ]
    assert again(copy)["twin"] is None


@pytest.mark.parametrize("by", ["redo", "hand"])
@pytest.mark.parametrize("released", [False, True])
def test_an_undo_that_is_taken_back_leaves_nothing(copy: Path, by: str, *, released: bool) -> None:
    """Before the version is released or after it, by --redo or by removing the line."""
    undo(copy, ["b", "twin"])
    assert again(copy)["b"] is None
    if released:
        projects.advance(copy)
        projects.settings(copy, version="v3")
        projects.build(copy)
    if by == "redo":
        assert redo(copy, ["b"])["removed"] == [("b", "a"), ("b", "twin")]
        with pytest.raises(StateError, match="wrote no line of 'b'"):
            redo(copy, ["b"])
        redo(copy, ["twin"])
    (copy / "reviews.csv").write_text("left,right,label\n")
    found = again(copy)
    assert (found["b"], found["twin"]) == ("a", "a")


def test_who_is_kept_and_will_go_for_it_is_named(tmp_path: Path) -> None:
    """A newcomer that is later in the order, and resembles what comes back."""
    later = {"id": "later", "text": LONG.replace("quick brown", "slow red") + " once"}
    early = {"id": "early", "text": f"{LONG} once more and then no more of it"}
    rows = [{**A, "text": early["text"]}, {"id": "mid", "text": f"{LONG} once"}, later]
    projects.create(tmp_path, rows, dedup__thresholds__text=0.65)
    (tmp_path / "reviews.csv").write_text("left,right,label\n")
    projects.build(tmp_path)
    assert whom(tmp_path) == {"mid": "a"}
    assert undo(tmp_path, ["mid"])["follow"] == {"mid": ["later"]}
    assert again(tmp_path) == {"a": None, "mid": None, "later": "mid"}


def whom(root: Path) -> dict[str, str]:
    """Return each dropped record with the one it goes for."""
    return {name: row["representative"] for name, row in projects.decisions(root).items() if row["action"] == "drop"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a", "'a' is not dropped: it is kept"),
        ("q", "'q' is not dropped: it is in quarantine"),
        ("left", "'left' is not dropped: it left the source: put it back there"),
        ("nobody", "no record 'nobody'"),
    ],
)
def test_what_is_not_dropped_is_refused_with_what_to_do(copy: Path, name: str, words: str) -> None:
    """And nothing is written."""
    before = (copy / "reviews.csv").read_bytes()
    with pytest.raises(DedupverError, match=words):
        undo(copy, ["b", name])
    assert (copy / "reviews.csv").read_bytes() == before


def test_a_part_that_too_many_share_is_a_matter_of_caps(tmp_path: Path) -> None:
    """No review restores what no other record drops."""
    rows = [
        {"id": f"r{n}", "text": f"{n} words of their own {n * 7} in each {n * 13} text", "note": "one"}
        for n in range(3)
    ]
    given = {"source__parts": {"text": "text", "note": "text"}, "dedup__caps": {"note": 1}}
    projects.create(tmp_path, rows, **given)
    (tmp_path / "reviews.csv").write_text("left,right,label\n")
    projects.build(tmp_path)
    name = next(iter(whom(tmp_path)))
    with pytest.raises(StateError, match=r"raise the number of \{caps.note: 1\} in `dedup.caps`"):
        undo(tmp_path, [name])


def test_params_that_were_edited_are_built_first(copy: Path) -> None:
    """Who would drop the record is asked of one finished version."""
    projects.settings(copy, version="v2", dedup__thresholds__text=0.99)
    for command in (["undo", "b"], ["undo", "--redo", "b"]):
        result = CliRunner().invoke(cli.app, ["-C", str(copy), *command])
        assert isinstance(result.exception, StateError)
        assert "run `dvc repro`" in str(result.exception)


def test_a_spreadsheet_gets_no_formula(tmp_path: Path) -> None:
    """An id that would start one is written with an apostrophe, and read without it."""
    projects.create(tmp_path, [{**A, "id": "=1+1"}, {**B, "id": "@b"}])
    (tmp_path / "reviews.csv").write_text("left,right,label\n")
    projects.build(tmp_path)
    undo(tmp_path, ["@b"])
    assert (tmp_path / "reviews.csv").read_text().splitlines()[1] == "'@b,'=1+1,different,undo"
    assert again(tmp_path) == {"=1+1": None, "@b": None}


def test_through_dvc_and_two_released_versions(repository: Path, release_version: Callable[[Path, str], None]) -> None:
    """v1 is released and v2, then what v1 dropped is undone, rebuilt by `dvc repro` and released as v2."""
    versions.init(repository)
    given = {"source.columns.id": "id", "fingerprint.text.encoder": None, "fingerprint.image.encoder": None}
    assign(repository / "params.yaml", given | {"engine.workers": 1})
    for number, rows in enumerate((FIRST, SECOND), start=1):
        if number > 1:
            versions.next_version(repository, f"v{number}", time=f"2024-01-0{number}T00:00:00Z")
        (repository / "data/raw").mkdir(exist_ok=True)
        (repository / "data/raw/rows.jsonl").write_text(projects.jsonl(rows))
        dvc(repository, "add", "--quiet", "data/raw")
        release_version(repository, f"v{number}")
    asked = CliRunner().invoke(cli.app, ["-C", str(repository), "undo", "b"])
    assert (asked.exit_code, asked.stdout) == (0, "added to reviews.csv: b,a,different\ndvc repro\n")
    said: Any = CliRunner().invoke(cli.app, ["-C", str(repository), "explain", "b"])
    assert "note: reviews.csv was edited since v2 was built" in said.stderr
    release_version(repository, "v2-reviewed")
    assert projects.kept(repository) == {"a", "b", "c"}
    assert check(repository) == []
    assert dvc(repository, "status").strip() == "Data and pipelines are up to date."
    assert git(repository, "status", "--porcelain") == ""
    diff = json.loads(CliRunner().invoke(cli.app, ["-C", str(repository), "diff", "v2", "--json"]).stdout)
    assert {(c["kind"], c["id"], c["cause"]) for c in diff["changes"]} == {
        ("restored", "b", "review"),
        ("rehomed", "n", "representative_moved"),
    }
