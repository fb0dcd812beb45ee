"""Why two versions differ: a case for each cause that a reader can follow, and what never is said on the same data."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import projects
import pyarrow as pa
import pytest
from decisions import HEADER, bad, near, row, table
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver import causes, params, query, terminal
from dedupver.causes import Side
from dedupver.manifest import open_manifest

Rows = list[dict[str, object]]
EXACT: dict[str, Any] = {"reason": "exact_duplicate_of", "evidence": "text=exact", "score": 1.0, "threshold": 1.0}
SAME: dict[str, Any] = {"reason": "reviewed_same_as", "evidence": "review=same", "rule": "review", "threshold": None}
TIGHT: dict[str, Any] = {"thresholds": {"text": 0.9}}
LOOSE: dict[str, Any] = {"thresholds": {"text": 0.7}}
ALL = [row("a"), row("x"), row("r")]


def side(rows: Rows, dedup: dict[str, Any] | None = None, reviews: tuple[str, ...] = (), **given_: Any) -> Side:
    """Return a version of some decisions; `reviews` like `a,b,same`."""
    given_params = {"dedup": dedup or {}, "source": {}, **given_}
    said = [(a, b, label) for a, b, label in (each.split(",") for each in reviews)]
    return Side(table(*rows).select(causes.READ), {**HEADER, "params": given_params}, said)


def told(old: Side, new: Side) -> dict[str, tuple[str, str]]:
    """Return kind and cause of each change, by id."""
    found = causes.with_causes(query.diff(old.live, new.live), old, new)
    assert found.column_names == ["kind", "cause", *query.CHANGE.names[1:]]
    assert sum(causes.count(found).values()) == found.num_rows
    return {each["id"]: (each["kind"], each["cause"]) for each in found.to_pylist()}


CASES: dict[str, tuple[Side, Side, dict[str, tuple[str, str]]]] = {
    "a record came": (side([row("a")]), side([row("a"), near("b", "a")]), {"b": ("added", "new_data")}),
    "one that can't be read came": (side([row("a")]), side([row("a"), bad("q")]), {"q": ("quarantined", "new_data")}),
    "a record left": (side([row("a"), row("b")]), side([row("a")]), {"b": ("gone", "left_source")}),
    "a record was edited": (side([row("a")]), side([row("a", content="b")]), {"a": ("edited", "source_edited")}),
    "its bytes are no text any more": (side([row("a")]), side([bad("a")]), {"a": ("quarantined", "source_edited")}),
    "it is read in another way, or edited": (
        side([row("a")], source={"path": "x"}),
        side([bad("a")]),
        {"a": ("quarantined", "unknown")},
    ),
    "whom it goes for came": (
        side([row("b")]),
        side([row("a"), near("b", "a")]),
        {"a": ("added", "new_data"), "b": ("dropped", "new_data")},
    ),
    "whom it goes for was edited": (
        side([row("a"), row("b")]),
        side([row("a", content="c"), near("b", "a")]),
        {"a": ("edited", "source_edited"), "b": ("dropped", "source_edited")},
    ),
    "the threshold was lowered below the score": (
        side([*ALL, row("b")], TIGHT),
        side([*ALL, near("b", "a", 0.85)]),
        {"b": ("dropped", "threshold")},
    ),
    "the threshold was raised above the score": (
        side([*ALL, near("b", "a", 0.85)]),
        side([*ALL, row("b", reason="restored")], TIGHT),
        {"b": ("restored", "threshold")},
    ),
    "the threshold was raised, not above the score": (
        side([*ALL, near("b", "a", 0.95)]),
        side([*ALL, row("b", reason="restored")], TIGHT),
        {"b": ("restored", "rules")},
    ),
    "the same params, and nothing tells": (
        side([*ALL, near("b", "a", 0.95)]),
        side([*ALL, row("b")]),
        {"b": ("restored", "unknown")},
    ),
    "whom it goes for came, and the threshold was lowered below the score": (
        side([row("b")], TIGHT),
        side([row("a"), near("b", "a", 0.85)]),
        {"a": ("added", "new_data"), "b": ("dropped", "several")},
    ),
    "whom it goes for came, and the threshold was lowered, from below the score": (
        side([row("b")], TIGHT),
        side([row("a"), near("b", "a", 0.95)]),
        {"a": ("added", "new_data"), "b": ("dropped", "new_data")},
    ),
    "the number of a rule is a threshold": (
        side([*ALL, row("b")], {"rules": [{"text": 0.9}]}),
        side([*ALL, near("b", "a", 0.85, rule="{text: 0.7}")], {"rules": [{"text": 0.7}]}),
        {"b": ("dropped", "threshold")},
    ),
    "only equal contents are duplicates now": (
        side([*ALL, near("b", "a", 0.95)]),
        side([*ALL, row("b", reason="restored")], {"rules": [{"content": "exact"}]}),
        {"b": ("restored", "rules")},
    ),
    "both the rule and the threshold": (
        side([*ALL, near("b", "a", 0.85)]),
        side([*ALL, row("b", reason="restored")], {"rules": [{"content": "exact"}], **TIGHT}),
        {"b": ("restored", "several")},
    ),
    "all history is judged again": (
        side([*ALL, row("b")]),
        side([*ALL, near("b", "a", 0.95)], {"history": "rejudge"}),
        {"b": ("dropped", "rules")},
    ),
    "a person told the two apart": (
        side([*ALL, near("b", "a")]),
        side([*ALL, row("b", reason="restored")], reviews=("a,b,different",)),
        {"b": ("restored", "review")},
    ),
    "a person takes that back": (
        side([*ALL, row("b", reason="restored")], reviews=("a,b,different",)),
        side([*ALL, near("b", "a")]),
        {"b": ("dropped", "review")},
    ),
    "a person calls the two the same": (
        side([*ALL, row("b")]),
        side([*ALL, near("b", "a", **SAME)], reviews=("b,a,same",)),
        {"b": ("dropped", "review")},
    ),
    "and takes that back": (
        side([*ALL, near("b", "a", **SAME)], reviews=("b,a,same",)),
        side([*ALL, row("b", reason="restored")]),
        {"b": ("restored", "review")},
    ),
    "a person, and the threshold": (
        side([*ALL, near("b", "a", 0.85)]),
        side([*ALL, row("b", reason="restored")], TIGHT, ("a,b,different",)),
        {"b": ("restored", "several")},
    ),
    "whom it went for left": (
        side([row("a"), near("b", "a")]),
        side([row("b", reason="restored")]),
        {"a": ("gone", "left_source"), "b": ("restored", "representative_left")},
    ),
    "whom it went for can't be read": (
        side([row("a"), near("b", "a"), row("x")]),
        side([bad("a"), near("b", "x"), row("x")]),
        {"a": ("quarantined", "source_edited"), "b": ("rehomed", "representative_left")},
    ),
    "whom it went for was edited": (
        side([row("a"), near("b", "a")]),
        side([row("a", content="c"), row("b", reason="restored")]),
        {"a": ("edited", "source_edited"), "b": ("restored", "representative_left")},
    ),
    "whom it went for goes for another, that came": (
        side([row("a"), near("b", "a")]),
        side([row("n"), near("a", "n"), near("b", "n")]),
        {"n": ("added", "new_data"), "a": ("dropped", "new_data"), "b": ("rehomed", "representative_moved")},
    ),
    "whom it went for goes for another, by the threshold": (
        side([row("n"), row("a"), near("b", "a", 0.95)], TIGHT),
        side([row("n"), near("a", "n", 0.85), row("b", reason="restored")]),
        {"a": ("dropped", "threshold"), "b": ("restored", "representative_moved")},
    ),
    "a nearer one came": (
        side([row("a"), near("b", "a", 0.85)]),
        side([row("n"), row("a"), near("b", "n", 0.95)]),
        {"n": ("added", "new_data"), "b": ("rehomed", "new_data")},
    ),
    "an equal one was edited into being so": (
        side([row("a"), near("b", "a"), row("x")]),
        side([row("a"), near("b", "x", **EXACT), row("x", content="b")]),
        {"b": ("rehomed", "source_edited"), "x": ("edited", "source_edited")},
    ),
    "the lower threshold lets no nearer one pass": (
        side([row("a"), row("x"), near("b", "a", 0.95)], TIGHT),
        side([row("a"), row("x"), near("b", "x", 0.97)], LOOSE),
        {"b": ("rehomed", "rules")},
    ),
    "a farther one came, and whom it went for is still there": (
        side([row("a"), near("b", "a", 0.95)]),
        side([row("n"), row("a"), near("b", "n", 0.85)]),
        {"n": ("added", "new_data"), "b": ("rehomed", "unknown")},
    ),
    "a farther one by the threshold, and the order": (
        side([row("a"), row("x"), near("b", "a", 0.95)], TIGHT),
        side([row("a"), row("x"), near("b", "x", 0.75)], {**LOOSE, "keep": ["first"]}),
        {"b": ("rehomed", "several")},
    ),
    "too many share a part": (
        side([*ALL, row("b")]),
        side([*ALL, near("b", "a", reason="repeated_part", rule="{caps.text: 1}")], {"caps": {"text": 1}}),
        {"b": ("dropped", "rules")},
    ),
    "one caption of a picture is enough": (
        side([*ALL, row("b")]),
        side([*ALL, near("b", "a", reason="other_caption_of")], {"captions": "longest"}),
        {"b": ("dropped", "rules")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_change_has_its_cause(case: str) -> None:
    """What the two logs and headers show, and no more."""
    old, new, wanted = CASES[case]
    assert told(old, new) == wanted


def test_every_cause_has_its_case() -> None:
    """None is defined that nothing shows: but for a change of how records are read, below."""
    shown = {cause for _, _, wanted in CASES.values() for _, cause in wanted.values()}
    assert shown | {"reading"} == set(causes.CAUSES)


def test_the_same_bytes_that_are_read_as_something_else() -> None:
    """Another normalisation, say."""
    other = row("a")
    other["parts"] = [{**other["parts"][0], "content": row("b")["parts"][0]["content"]}]  # type: ignore[index]
    assert told(side([row("a")]), side([other])) == {"a": ("edited", "reading")}


KINDS = ("text", "text_embedding")


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(st.sampled_from(KINDS), st.sampled_from([0.8, 0.9, 0.95]), min_size=1),
    *(st.tuples(*(st.sampled_from([0.75, 0.85, 0.92]) for _ in KINDS)) for _ in range(2)),
)
def test_what_can_be_told_from_evidence_is_true(
    scores: dict[str, float], decided: tuple[float, ...], asked: tuple[float, ...]
) -> None:
    """Of two kinds, where evidence names those that reached the threshold of who decided, and hides the others."""
    mine, its = (
        params.Dedup.model_validate({"similar": KINDS, "thresholds": dict(zip(KINDS, each, strict=True))}, context=None)
        for each in (decided, asked)
    )
    shown = {kind: score for kind, score in scores.items() if score >= mine.thresholds.of(kind)}
    words = {"text": "text.minhash", "text_embedding": "text.embedding"}
    evidence = ",".join(f"{words[kind]}={score:.6g}" for kind, score in shown.items())
    truth = any(score >= its.thresholds.of(kind) for kind, score in scores.items())
    decider = side([], {"similar": KINDS, "thresholds": dict(zip(KINDS, decided, strict=True))})
    found = causes.holds(evidence, decider, its)
    assert found in {truth, None}
    if shown and all(its.thresholds.of(kind) >= mine.thresholds.of(kind) for kind in KINDS):
        assert found == truth


EXPERIMENTS: list[dict[str, Any]] = [
    {},
    {"dedup__thresholds__text": 0.7},
    {"dedup__thresholds__text": 0.95},
    {"dedup__rules": [{"content": "exact"}]},
    {"dedup__keep": ["first"]},
]


@pytest.fixture(scope="module")
def experiments(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, Any], Side]]:
    """Return what each of some params decides on the same licence texts."""
    root = projects.build(
        projects.create(tmp_path_factory.mktemp("causes") / "project", projects.licences(), source__columns__id=None)
    )
    found = []
    for number, chosen in enumerate(EXPERIMENTS):
        projects.settings(root, version="v1", source__columns__id=None, **chosen)
        projects.build(root, "dedup", "manifest")
        place = Path(shutil.copytree(root / "manifest", root.parent / f"manifest{number}"))
        found.append((chosen, Side.of(open_manifest(place))))
    return found


def test_on_the_same_data_nothing_is_new(experiments: list[tuple[dict[str, Any], Side]]) -> None:
    """Between any two experiments: no cause speaks of data; each of thresholds is one that the scores bear out."""
    seen: set[str] = set()
    for (mine, old), (its, new) in itertools.permutations(experiments, 2):
        found = causes.with_causes(query.diff(old.live, new.live), old, new)
        counted = causes.count(found)
        seen |= counted.keys()
        assert not counted.keys() & {
            "new_data",
            "source_edited",
            "left_source",
            "representative_left",
            "review",
            "reading",
        }
        assert "unknown" not in counted
        one, other = (each.get("dedup__thresholds__text", 0.8) for each in (mine, its))
        assert one != other or "threshold" not in counted
        was, now = ({each["id"]: each["score"] for each in live.to_pylist()} for live in (old.live, new.live))
        for change in found.to_pylist():
            if change["cause"] == "threshold":
                scores = [score[change["id"]] for score in (was, now) if score[change["id"]] is not None]
                assert any(min(one, other) <= score < max(one, other) for score in scores)
    assert {"threshold", "rules", "representative_moved"} <= seen


def test_a_version_and_itself_differ_in_nothing(experiments: list[tuple[dict[str, Any], Side]]) -> None:
    """And so there is no cause."""
    _, one = experiments[0]
    assert causes.count(causes.with_causes(query.diff(one.live, one.live), one, one)) == {}


def test_the_text_counts_the_causes() -> None:
    """Below the counts of changes, and a column of the table."""
    old, new, _ = CASES["whom it goes for came"]
    found = causes.with_causes(query.diff(old.live, new.live), old, new)
    _, counted, header, *lines = terminal.changes(found)
    assert counted == "causes: new_data 2"
    assert header.split()[:3] == ["change", "cause", "id"]
    assert [line.split()[:3] for line in lines] == [["dropped", "new_data", "b"], ["and", "1", "added"]]
    assert isinstance(found, pa.Table)
