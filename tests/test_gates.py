"""Gates: values that a reader can compute, verdicts by brute force, and two templated sources that are no duplicates."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import airportsdata
import projects
import pyarrow as pa
import pytest
from decisions import bad, near, row, table
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dedupver import cli, gates, params
from dedupver.gates import measure, offenders, told
from dedupver.schema import RECALL, GateError, ParamsError, StateError

if TYPE_CHECKING:
    from pathlib import Path

NONE = pa.table({"label": pa.array([], pa.string())})
UNMEASURED = RECALL.empty_table()
EVIL = "evil\x1b[2J\u202e.txt"


def asked(version: str = "v1", **given: Any) -> params.Params:
    """Return params with these gates, of groups of one record and more unless they say otherwise."""
    return params.Params.model_validate(
        {"version": {"name": version}, "gates": {"min_records": 1, "min_matches": 1, **given}}
    )


def cases(*rows: dict[str, object], given: params.Params | None = None, **others: Any) -> dict[tuple[Any, ...], Any]:
    """Measure these decisions; by gate, scope and name."""
    measured = measure.cases(
        table(*rows), others.get("before", NONE), others.get("recall", UNMEASURED), given or asked()
    )
    return {(case.gate, case.scope, case.name): case for case in measured}


def copies(count: int, representative: str, first: str, **said: Any) -> list[dict[str, object]]:
    """Return so many decisions that drop a record for one and the same other."""
    return [near(f"{first}{number:04}", representative, **said) for number in range(count)]


def test_shares_of_all_and_of_groups() -> None:
    """Three of four readable records of a source, and all of the others of a label, are dropped; one can't be read."""
    rows = [
        row("a", source="web", label="cat"),
        *copies(3, "a", "b", source="web", label="cat"),
        row("c", source="scan", label="dog"),
        bad("q", source="scan"),
    ]
    found = cases(*rows)
    assert found["removed", "all", None].value == pytest.approx(3 / 5)
    assert found["removed_by_source", "all", "web"].value == pytest.approx(3 / 4)
    assert found["removed_by_source", "all", "scan"].value == 0
    assert found["removed_by_label", "all", "cat"].value == pytest.approx(3 / 4)
    assert found["quarantined", "all", None].value == pytest.approx(1 / 6, abs=1e-6)
    assert found["quarantined_by_source", "all", "scan"].value == pytest.approx(1 / 2)
    assert found["quarantined_by_code", "all", "bad_utf8"].counted == 1
    assert found["cluster", "all", "a"].value == pytest.approx(3 / 5)
    assert not any(scope == "new" for _, scope, _ in found)


def test_drift_is_the_total_variation_distance() -> None:
    """Half cats and half dogs before; three of four dogs go: 4/5 and 1/5 after, so .3 of the records changed sides."""
    rows = [*(row(f"c{n}", label="cat") for n in range(4)), row("d", label="dog"), *copies(3, "d", "e", label="dog")]
    found = cases(*rows)["drift", "all", None]
    assert (found.records, found.value, found.bound, found.failed) == (8, 0.3, 0.2, True)
    worst = offenders.worst([found], table(*rows), NONE, "v1")["drift"]
    assert worst[0] == {"label": "cat", "before": 0.5, "after": 0.8}


def test_drift_from_the_parent_is_judged_where_it_is_asked_for() -> None:
    """What the version before kept was all cats; now half are dogs. By default that is measured, and passes."""
    rows = [row("c", label="cat"), row("d", label="dog")]
    before = pa.table({"label": ["cat", "cat"]})
    key = ("drift_from_parent", "all", None)
    assert (cases(*rows, before=before)[key].value, cases(*rows, before=before)[key].failed) == (0.5, False)
    assert cases(*rows, before=before, given=asked(drift_from_parent=0.4))[key].failed


def test_a_label_that_is_lost_altogether_drifts() -> None:
    """Nothing that is kept has a label: all of the mass is gone, and half the sum of the differences is a half."""
    assert cases(near("b", "r", label="cat"), row("r"))["drift", "all", None].value == 0.5


def test_recall_of_the_searches_that_drop_records() -> None:
    """Two of three true matches at the threshold were found; what is below it, or reported alone, does not count."""
    rows = [("text", 0.9, True), ("text", 0.8, True), ("text", 0.85, False), ("text", 0.7, False)]
    rows += [("text_embedding", 0.99, False)]
    digest = bytes(32)
    recall = pa.Table.from_pylist(
        [{"kind": k, "left": digest, "right": digest, "score": s, "found": f} for k, s, f in rows], schema=RECALL
    )
    found = cases(row("a"), recall=recall)
    assert {name for gate, _, name in found if gate == "recall"} == {"text"}
    case = found["recall", "all", "text"]
    assert (case.counted, case.records, case.failed) == (2, 3, True)
    assert ("recall", "all", "text") not in cases(row("a"), recall=recall, given=asked(min_matches=4))
    rule = params.Params.model_validate({"gates": {"min_matches": 1}, "dedup": {"rules": [{"text.embedding": 0.97}]}})
    assert {name for gate, _, name in cases(row("a"), recall=recall, given=rule) if gate == "recall"} == {
        "text_embedding"
    }


def test_splits_have_at_least_so_many_records() -> None:
    """A split that nobody has holds none."""
    rows = [row("a", split="test"), *copies(2, "a", "b", split="test"), row("c", split="train")]
    found = cases(*rows, given=asked(split_records={"test": 2, "train": 1, "validation": 1}))
    assert {n: (c.value, c.failed) for (gate, _, n), c in found.items() if gate == "split_records"} == {
        "test": (1, True),
        "train": (1, False),
        "validation": (0, True),
    }


def test_a_bad_batch_does_not_hide_in_a_large_dataset() -> None:
    """Of 1,000 records 100 are new, and 99 of those go for one: a tenth of the whole, nearly all of the newcomers."""
    rows = [*(row(f"old{n}") for n in range(900)), row("new", version="v2"), *copies(99, "new", "x", version="v2")]
    found = cases(*rows, given=asked("v2"))
    assert (found["removed", "all", None].value, found["removed", "all", None].failed) == (0.099, False)
    assert (found["removed", "new", None].value, found["removed", "new", None].failed) == (0.99, True)
    assert (found["cluster", "new", "new"].value, found["cluster", "new", "new"].failed) == (0.99, True)


def test_few_records_are_not_judged() -> None:
    """At the defaults 99 records, or a cluster of 99, say nothing; one more does."""
    few, defaults = [row("a"), *copies(98, "a", "b", source="s", label="l")], params.Params()
    assert not any(case.failed for case in cases(*few, given=defaults).values())
    enough = cases(row("a"), *copies(100, "a", "b", source="s", label="l"), given=defaults)
    assert {gate for (gate, _, _), case in enough.items() if case.failed} == {
        *("removed", "removed_by_source", "removed_by_label", "cluster", "drift")
    }


def test_references_do_not_count() -> None:
    """They are compared with, and are no records of the version."""
    assert cases(row("a"), near("b", "a", role="reference"))["removed", "all", None].records == 1


def test_a_bound_by_name() -> None:
    """One source may vanish, the others not; a gate that is null is measured, and not judged."""
    rows = [row("r"), *copies(3, "r", "a", source="mirror"), *copies(3, "r", "b", source="web")]
    found = cases(*rows, given=asked(removed_by_source={"mirror": 1.0, "*": 0.9}, removed=None))
    assert not found["removed_by_source", "all", "mirror"].failed
    assert found["removed_by_source", "all", "web"].failed
    assert (found["removed", "all", None].margin, found["removed", "all", None].failed) == (None, False)


def test_bounds_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    """A share is in [0, 1]; an unknown gate names the nearest."""
    for text, words in (("{removed: 1.5}", "removed"), ("{remove: 0.5}", "did you mean 'removed'")):
        (tmp_path / "params.yaml").write_text(f"gates: {text}\n")
        with pytest.raises(ParamsError, match=words):
            params.load(tmp_path / "params.yaml")


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "drop", "quarantine"]),
        st.sampled_from(["v1", "v2"]),
        st.sampled_from(["web", "scan", None]),
        st.sampled_from(["cat", "dog", None]),
        st.sampled_from(["r0", "r1"]),
    ),
    max_size=30,
)


@given(RECORDS, st.integers(1, 6), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_verdicts_are_those_of_brute_force(records: list[Any], least: int, bound: float) -> None:
    """Counted record by record in plain Python."""
    rows = [
        near(f"n{i}", to, version=v, source=s, label=lab)
        if action == "drop"
        else bad(f"n{i}", version=v, source=s, label=lab)
        if action == "quarantine"
        else row(f"n{i}", version=v, source=s, label=lab)
        for i, (action, v, s, lab, to) in enumerate(records)
    ]
    given_ = asked(
        "v2",
        min_records=least,
        **dict.fromkeys(["removed", "removed_by_source", "removed_by_label", "quarantined", "cluster", "drift"], bound),
    )
    found = {key: case.failed for key, case in cases(*rows, given=given_).items()}
    new = [r for r in records if r[1] == "v2"]
    scopes = {"all": records} | ({"new": new} if 0 < len(new) < len(records) else {})
    wanted: dict[tuple[Any, ...], bool] = {}
    for scope, mine in scopes.items():
        readable = [r for r in mine if r[0] != "quarantine"]
        for gate, column in (("removed", None), ("removed_by_source", 2), ("removed_by_label", 3)):
            for name in {None} if column is None else {r[column] for r in readable} - {None}:
                group = [r for r in readable if column is None or r[column] == name]
                if len(group) >= least:
                    wanted[gate, scope, name] = sum(r[0] == "drop" for r in group) / len(group) > bound + 1e-6
        if len(mine) >= least:
            wanted["quarantined", scope, None] = sum(r[0] == "quarantine" for r in mine) / len(mine) > bound + 1e-6
        for name, size in Counter(r[4] for r in mine if r[0] == "drop").items():
            if size >= least:
                wanted["cluster", scope, name] = size / len(readable) > bound + 1e-6
    labels = [(r[3], r[0]) for r in records if r[0] != "quarantine" and r[3]]
    if len(labels) >= least:
        before, after = Counter(lab for lab, _ in labels), Counter(lab for lab, action in labels if action == "keep")
        share = {lab: abs(before[lab] / len(labels) - after[lab] / max(after.total(), 1)) for lab in before}
        wanted["drift", "all", None] = sum(share.values()) / 2 > bound + 1e-6
    judged = {key: failed for key, failed in found.items() if key[0] in {gate for gate, *_ in wanted}}
    assert judged == wanted


def test_the_metrics_are_the_values_nearest_to_failing() -> None:
    """One number a gate, whatever the number of sources; None where there is nothing to measure."""
    rows = [row("r"), *copies(3, "r", "a", source="mirror"), *copies(1, "r", "b", source="web"), row("c", source="web")]
    given_ = asked(removed_by_source={"mirror": 1.0, "*": 0.2})
    found = gates.Judged("v1", list(cases(*rows, given=given_).values()))
    told_ = gates.metrics(found)
    assert (told_["removed_by_source"], told_["split_records"], told_["recall"]) == (0.5, None, None)  # web's, not 1.0
    assert told_["failed"] == len({case.gate for case in found.failed})
    assert set(told_) == {"failed", *(n for n in params.Gates.model_fields if not n.startswith("min_"))}


def test_a_message_is_safe_and_says_how_to_go_on() -> None:
    """Ids and sources can't steer the terminal, and a bound is given as params write it."""
    rows = [row(EVIL, source=EVIL), *copies(4, EVIL, EVIL, source=EVIL, label=EVIL)]
    given_ = asked(removed_by_source=0.5, split_records={EVIL: 1})
    found = list(cases(*rows, given=given_).values())
    failed = [case for case in found if case.failed]
    why = offenders.worst(failed, table(*rows), NONE, "v1")
    text = "\n".join(told.refusal("v1", found, why))
    assert text.replace("\n", "").isprintable()
    assert r'gates.removed_by_source: {"evil\u001b[2J\u202e.txt": 0.8, "*": 0.5}' in text
    assert r"4 went for evil\x1b[2J\u202e.txt (source evil\x1b[2J\u202e.txt): near_duplicate_of 4" in text


# --- two templated sources ---------------------------------------------------------------------------------------

GUIDE = (
    "{name} is an airport that serves {city}. Passengers should arrive at least two hours before the departure of a "
    "domestic flight and three hours before an international one. Liquids in cabin baggage must be in containers of "
    "no more than one hundred millilitres. Free wireless internet is available throughout the terminal, and taxis "
    "wait in front of the arrivals hall at every hour of the day."
)
WEATHER = (
    "Weather at {name}, {city}: the observations on this page are made every half hour by an automatic station beside "
    "the runway and are not meant for flight planning. Wind is given as an average over ten minutes, visibility in "
    "metres and pressure in hectopascals reduced to sea level. Older reports are kept for thirty days and can be "
    "asked for from the archive of the weather service."
)


def pages(count: int) -> projects.Rows:
    """Return pages on real airports by two sources, each with a template of its own."""
    airports = [a for a in airportsdata.load("IATA").values() if a["city"] and len(a["name"].split()) <= 3][:count]
    return [
        {"id": f"{source}/{a['iata']}", "source": source, "text": template.format(**a)}
        for source, template in (("guide", GUIDE), ("weather", WEATHER))
        for a in airports
    ]


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of 600 pages on 300 airports, released, and decided again at a naive threshold."""
    root = projects.create(tmp_path_factory.mktemp("templated"), pages(300), dedup__rules=[{"content": "exact"}])
    projects.build(root)
    projects.settings(root, version="v1", dedup__thresholds__text=0.6)
    return projects.build(root, "dedup")


def test_two_templated_sources_are_stopped(collapsed: Path) -> None:
    """At .6 two of 600 pages are left; the default gates let nothing be written, and say what would be lost."""
    before = projects.tree(collapsed / "manifest", collapsed / "clean")
    assert len(projects.kept(collapsed)) == 2
    with pytest.raises(GateError) as error:
        projects.build(collapsed, "gates")
    assert error.value.exit_code == 7
    text = str(error.value)
    assert text.startswith("v1 is not written, manifest/ and clean/ are as they were: it fails removed, ")
    assert "FAILED removed_by_source guide 299 of 300" in " ".join(text.split())
    assert 'gates.removed_by_source: {"guide": 0.996667, "weather": 0.996667, "*": 0.98}' in text
    with pytest.raises(GateError, match="nothing was written"):
        projects.build(collapsed, "manifest")
    assert projects.tree(collapsed / "manifest", collapsed / "clean") == before
    assert projects.metrics(collapsed, "gates")["failed"] == 3


def test_gates_are_shown_before_anything_is_written(collapsed: Path) -> None:
    """`dedupver gates` reads what is decided, and ends with 7."""
    result = CliRunner().invoke(cli.app, ["-C", str(collapsed), "gates"])
    assert result.exit_code == 7
    assert "FAILED" in result.stdout
    assert "passed" in result.stdout
    found = json.loads(CliRunner().invoke(cli.app, ["-C", str(collapsed), "gates", "--json"]).stdout)
    assert found["failed"] == ["cluster", "removed", "removed_by_source"]
    assert found["offenders"]["cluster"][0]["dropped"] == 299
    assert all(case["failed"] == (case["margin"] is not None and case["margin"] < 0) for case in found["cases"])


def test_a_threshold_that_tells_them_apart_passes(collapsed: Path) -> None:
    """The pages differ in the airport alone: at .95 most stay, and the version is written."""
    projects.settings(collapsed, version="v1", dedup__thresholds__text=0.95)
    projects.build(collapsed, "dedup", "gates", "manifest")
    assert len(projects.kept(collapsed)) > 550
    assert CliRunner().invoke(cli.app, ["-C", str(collapsed), "gates"]).exit_code == 0
    assert projects.metrics(collapsed, "gates")["failed"] == 0


def test_a_bad_batch_in_mode_append_is_stopped(tmp_path: Path) -> None:
    """200 pages on distinct airports are released; a batch of 110 is a tenth of what follows, and collapses into one."""
    mode = {"source__mode": "append", "dedup__thresholds__text": 0.6}
    good = [row | {"text": f"{row['id']} " * 9} for row in pages(300)]
    root = projects.build(projects.create(tmp_path, good, **mode))
    projects.advance(root)
    batch = [row for row in pages(110) if row["source"] == "guide"]
    projects.reopen(root, [row | {"id": f"again/{row['id']}"} for row in batch], "v2", **mode)
    with pytest.raises(GateError, match="newcomers guide"):
        projects.build(root)
    found = json.loads(CliRunner().invoke(cli.app, ["-C", str(root), "gates", "--json"]).stdout)
    failed = [(case["gate"], case["scope"]) for case in found["cases"] if case["failed"]]
    assert set(failed) == {("removed", "new"), ("removed_by_source", "new"), ("cluster", "new")}


def test_nothing_decided_says_what_to_run(tmp_path: Path) -> None:
    """Before dedup there is nothing to judge."""
    root = projects.create(tmp_path, {"a.txt": "one"})
    result = CliRunner().invoke(cli.app, ["-C", str(root), "gates"])
    assert isinstance(result.exception, StateError)
    assert "dvc repro dedup" in str(result.exception)
