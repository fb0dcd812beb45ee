"""Rows of tables through the stages: what installed packages say of themselves, with copies that were typed anew."""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from oracle import Item, World
from oracle import greedy as by_definition
from typer.testing import CliRunner

from dedupver import params
from dedupver.check import check
from dedupver.cli import app
from dedupver.digests import of_list
from dedupver.index.segment import Index
from dedupver.schema import ParamsError, SourceError

Row = dict[str, str]

COLUMNS = ["author", "licence", "name", "released", "size", "summary"]
HOW = {
    "licence": {"compare": "exact", "weight": 0.5},
    "name": {"weight": 2},
    "released": {"compare": "date", "tolerance": 20},
    "size": {"compare": "number", "tolerance": 5},
}
GIVEN: dict[str, Any] = {
    "source": {"columns": {"id": "id", "fields": COLUMNS}},
    "fingerprint": {"row": {"fields": HOW}},
    "dedup": {"thresholds": {"row": 0.75}},
}


def packages() -> list[Row]:
    """Return a row for each installed package; sizes and days are made of its name."""
    found = {}
    for package in importlib.metadata.distributions():
        said = package.metadata
        draw = random.Random(said["Name"])
        found[said["Name"].lower()] = {
            "id": said["Name"].lower(),
            "name": said["Name"],
            "summary": said["Summary"] or "",
            "author": (said["Author"] or said["Author-email"] or "")[:60],
            "licence": (said["License-Expression"] or said["License"] or "")[:20].splitlines()[0:1][0]
            if (said["License-Expression"] or said["License"])
            else "",
            "size": str(draw.randrange(10_000)),
            "released": f"20{draw.randrange(10, 25)}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}",
        }
    return [found[name] for name in sorted(found)]


def typed_anew(row: Row, name: str, draw: random.Random) -> Row:
    """Return a copy under another id: some letters changed, some fields lost, numbers and days a little off."""
    copy = dict(row, id=name)
    for field in draw.sample(["name", "summary", "author"], 2):
        letters = list(copy[field])
        for _ in range(max(1, len(letters) // 12)):
            letters.insert(draw.randrange(len(letters) + 1), draw.choice("aeiou "))
        copy[field] = "".join(letters)
    copy["size"] = str(int(copy["size"]) + draw.randrange(-6, 7)) + draw.choice(["", ".0"])
    if draw.random() < 0.4:
        copy[draw.choice(["author", "licence", "released"])] = ""
    return copy


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Return the packages and copies of every second one."""
    draw, found = random.Random(3), packages()
    return found + [typed_anew(row, f"{row['id']}-again", draw) for row in found[::2]]


def as_csv(rows: list[Row]) -> bytes:
    """Return a table of strings."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["id", *COLUMNS])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def world(root: Path, *, first: frozenset[str] = frozenset()) -> World:
    """Return the records with the scores of all pairs of contents; `first` go before all others."""
    index, found = Index.open(root / "index"), list(projects.decisions(root).values())
    items = [
        Item(
            r["id"],
            {p["part"]: p["content"].hex() for p in r["parts"]},
            0 if r["id"] in first else 1,
            fields={"chars": r["chars"]},
        )
        for r in found
    ]
    content = sorted({p["content"] for r in found for p in r["parts"]})
    left, right = np.triu_indices(len(content), 1)
    score = index.score("row", of_list([content[i] for i in left]), of_list([content[i] for i in right]))
    near = np.flatnonzero(score >= 0.6)
    return World(items, {("row", content[left[i]].hex(), content[right[i]].hex()): float(score[i]) for i in near})


def test_versions_decide_like_plain_python_over_all_pairs(rows: list[Row], tmp_path: Path) -> None:
    """Half of the rows, then all: the kept are those of one pass in which v1's go first, and all invariants hold."""
    random.Random(1).shuffle(rows)
    before = frozenset[str]()
    for number, cut in enumerate((len(rows) // 2, len(rows)), start=1):
        make = projects.reopen if before else projects.create
        projects.build(make(tmp_path, {"packages.csv": as_csv(rows[:cut])}, f"v{number}", **GIVEN))
        truth = by_definition(world(tmp_path, first=before), params.load(tmp_path / "params.yaml").dedup)
        dropped = {name for name, near in truth.items() if near}
        assert projects.kept(tmp_path) == truth.keys() - dropped
        assert before <= projects.kept(tmp_path)
        assert projects.metrics(tmp_path, "dedup")["recall"]["row"] == 1
        assert check(tmp_path) == []
        found = projects.decisions(tmp_path)
        for name in dropped - (before if number > 1 else set()):
            assert found[name]["score"] >= 0.75
        before = frozenset(projects.kept(tmp_path))
        projects.advance(tmp_path)
    assert len(dropped) > 50


def test_copies_are_found_and_others_stay(rows: list[Row], tmp_path: Path) -> None:
    """What was typed anew goes for what it was typed from, or the other way round; packages do not go for each other."""
    root = projects.build(projects.create(tmp_path, {"packages.csv": as_csv(rows)}, **GIVEN))
    found = projects.decisions(root)
    dropped = {n: r for n, r in found.items() if r["action"] == "drop"}
    families = [
        (name.removesuffix("-again"), row["representative"].removesuffix("-again")) for name, row in dropped.items()
    ]
    copies = sum(name.endswith("-again") for name in found)
    assert sum(a == b for a, b in families) > 0.9 * copies
    assert sum(a != b for a, b in families) < 0.1 * copies
    some = next(row for row in dropped.values() if row["method"] == "agreement")
    assert some["evidence"].startswith("fields.agreement=0.")
    assert some["rule"] == "{every: similar}"


def test_formats_and_order_change_no_byte_of_the_index(rows: list[Row], tmp_path: Path) -> None:
    """CSV, JSON Lines with null and absent fields, Parquet; shuffled: the same contents, bands and matches."""
    some = rows[:80]
    parquet = io.BytesIO()
    pq.write_table(pa.table({n: [row[n] or None for row in some] for n in ["id", *COLUMNS]}), parquet)
    shuffled = random.Random(2).sample(some, len(some))
    jsonl = projects.jsonl([{n: v or None for n, v in row.items()} for row in shuffled])
    sources: list[projects.Files] = [{"t.csv": as_csv(some)}, {"t.jsonl": jsonl}, {"t.parquet": parquet.getvalue()}]
    found = [
        projects.build(projects.create(tmp_path / str(at), files, **GIVEN), "fingerprint", "match")
        for at, files in enumerate(sources)
    ]
    trees = [projects.tree(root / "index") for root in found]
    assert trees[0] == trees[1] == trees[2]
    assert "index/segments/v1/row.bands.json" in trees[0]


def test_equal_rows_collapse_before_anything_else(tmp_path: Path) -> None:
    """On the chosen columns: case, white space, zeros and the other columns say nothing."""
    one = {
        "id": "a",
        "author": "Ann",
        "licence": "MIT",
        "name": "x",
        "released": "2024-01-02",
        "size": "10",
        "summary": "S  t",
    }
    other = one | {
        "id": "b",
        "author": " ANN",
        "released": "20240102",
        "size": "10.0",
        "summary": "s t",
        "note": "more",
    }
    root = projects.build(projects.create(tmp_path, [one, other], **GIVEN))
    dropped = projects.decisions(root)["b"]
    assert (dropped["reason"], dropped["representative"], dropped["method"]) == ("exact_duplicate_of", "a", "content")
    assert projects.metrics(root, "fingerprint")["new_row_contents"] == 1
    assert (root / "clean/rows.jsonl").read_text() == json.dumps(one) + "\n"


def test_a_hot_bucket_of_rows_is_judged_in_linear_time(tmp_path: Path) -> None:
    """3,000 rows that differ in the size alone: one stays, and no pair of them is listed."""
    base = {"author": "ann", "licence": "mit", "name": "some name", "released": "2024-01-02", "summary": "what it is"}
    made = [{"id": f"r{i:04}", **base, "size": str(i * 100)} for i in range(3_000)]
    projects.create(tmp_path, made, **GIVEN)
    projects.build(tmp_path, "fingerprint")
    started = time.monotonic()
    projects.build(tmp_path, "match", "dedup")
    assert time.monotonic() - started < 60
    assert projects.kept(tmp_path) == {"r1000"}  # the longest of all comes first: size 100000, then by id
    assert projects.metrics(tmp_path, "match")["hot_members"] >= 3_000
    assert projects.metrics(tmp_path, "match")["matches"]["row"] < 3_000 * 50
    assert projects.metrics(tmp_path, "dedup")["hot_unverified"] == 0


def test_a_row_and_a_text_are_judged_together(tmp_path: Path) -> None:
    """A record with both is a duplicate only where both are; a rule may ask for one alone."""
    text = (
        "a text of many words, most of which two of the three records share, and so many that a few more change little"
    )
    made = [
        {"id": "a", "name": "anna smith", "city": "oslo", "text": text},
        {"id": "b", "name": "anna smyth", "city": "oslo", "text": text + " or nearly so"},
        {
            "id": "c",
            "name": "anna smith",
            "city": "oslo",
            "text": "words of its own that nothing else here has got in it",
        },
    ]
    given = {"source": {"columns": {"id": "id", "fields": ["name", "city"]}}}
    root = projects.build(projects.create(tmp_path / "both", made, **given))
    assert projects.kept(root) == {"b", "c"}
    assert "fields.agreement=" in projects.decisions(root)["a"]["evidence"]
    alone = given | {"dedup": {"rules": [{"fields": 0.85}]}}
    assert projects.kept(projects.build(projects.create(tmp_path / "one", made, **alone))) == {"b"}  # the longest


def test_several_parts_of_rows(tmp_path: Path) -> None:
    """A person and an address: each part has its columns, and a rule has a threshold for each."""
    made = [
        {"id": "a", "name": "anna smith", "born": "1970-01-02", "street": "high street 7", "city": "oslo"},
        {"id": "b", "name": "anna smyth", "born": "1970-01-02", "street": "low road 99", "city": "rome"},
        {"id": "c", "name": "hannah smith", "born": "1970-01-02", "street": "high street 7a", "city": "oslo"},
    ]
    given = {
        "source": {
            "parts": {"person": "row", "home": "row"},
            "columns": {"id": "id", "person": ["name", "born"], "home": ["street", "city"]},
        },
        "fingerprint": {"row": {"fields": {"born": {"compare": "date"}}, "min_compared": 0.4}},
        "dedup": {"rules": [{"person": 0.7, "home": 0.9}]},
    }
    root = projects.build(projects.create(tmp_path, made, **given))
    assert projects.kept(root) == {"b", "c"}
    said = projects.decisions(root)["a"]["evidence"].split(",")
    assert [term.partition("=")[0] for term in said] == ["home.agreement", "person.agreement"]
    assert check(root) == []


def test_another_comparison_than_the_base_is_refused(rows: list[Row], tmp_path: Path) -> None:
    """With the column, and both sides; a column that is gone from the table too."""
    files = {"packages.csv": as_csv(rows[:20])}
    projects.advance(projects.build(projects.create(tmp_path, files, **GIVEN)))
    changed = {**HOW, "size": {"compare": "number", "tolerance": 6}}
    projects.reopen(tmp_path, files, "v2", **{**GIVEN, "fingerprint": {"row": {"fields": changed}}})
    with pytest.raises(ParamsError, match=r"fingerprint.row.fields.size.tolerance: the base has 5.0, params have 6.0"):
        projects.build(tmp_path, "fingerprint")
    joined = {"licence": HOW["licence"], "who": {"columns": ["name", "author"]}}
    projects.reopen(tmp_path, files, "v2", **{**GIVEN, "fingerprint": {"row": {"fields": joined}}})
    with pytest.raises(
        ParamsError, match=r"fingerprint.row.fields.author.compare: the base has 'text', params have None"
    ):
        projects.build(tmp_path, "fingerprint")
    fewer = {**GIVEN, "source": {"columns": {"id": "id", "fields": COLUMNS[1:]}}}
    projects.reopen(tmp_path, files, "v2", **fewer)
    with pytest.raises(ParamsError, match=r"fields.author.compare: the base has 'text', params have None"):
        projects.build(tmp_path, "fingerprint")
    renamed = {"packages.csv": files["packages.csv"].replace(b"summary", b"abstract", 1)}
    projects.reopen(tmp_path, renamed, "v2", **GIVEN)
    with pytest.raises(SourceError, match=r"packages.csv has no column 'summary'"):
        projects.build(tmp_path, "fingerprint")


def test_ids_that_come_twice_are_named(rows: list[Row], tmp_path: Path) -> None:
    """As in every table."""
    with pytest.raises(SourceError, match=r"1 ids stand for more than one record"):
        projects.build(projects.create(tmp_path, {"t.csv": as_csv([rows[0], rows[0]])}, **GIVEN), "fingerprint")


def test_values_that_are_none_are_quarantined_by_field(tmp_path: Path) -> None:
    """The codes are counted, and the record keeps its id and place."""
    made = [{"id": n, **dict.fromkeys(COLUMNS, "x"), "released": "2024-01-01", "size": "1"} for n in "abcd"]
    made[1]["size"], made[2]["released"] = "many", "soon"
    for name in COLUMNS:
        made[3][name] = " "
    root = projects.build(projects.create(tmp_path, made, **GIVEN))
    found = projects.decisions(root)
    assert [found[n]["code"] for n in "abcd"] == [None, "bad_number", "bad_date", "empty_row"]
    assert found["b"]["detail"].startswith("fields: size: 'many' is no number")
    assert projects.metrics(root, "fingerprint")["quarantined"] == 3


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"source": {"columns": {"fields": "name"}}}, "columns.fields is a list of columns"),
        ({"source": {"columns": {"fields": ["a", "a"]}}}, "columns.fields names 'a' twice"),
        ({"source": {"columns": {"fields": [f"c{i}" for i in range(65)]}}}, "at most 64 columns"),
        (
            {"fingerprint": {"row": {"fields": {"nmae": {}}}}, "source": {"columns": {"fields": ["name"]}}},
            "did you mean 'name'",
        ),
        ({"fingerprint": {"row": {"fields": {"name": {}}}}}, "source.columns.fields names none"),
        ({"fingerprint": {"row": {"fields": {"a": {"tolerance": 1}}}}}, "a tolerance is of a number or a date"),
        ({"fingerprint": {"row": {"fields": {"a": {"format": "%Y"}}}}}, "a format is of a date"),
        ({"fingerprint": {"row": {"fields": {"a": {"compare": "fuzzy"}}}}}, "fields.a.compare"),
        ({"fingerprint": {"row": {"fields": {"a": {"weight": 0}}}}}, "fields.a.weight"),
        (
            {"fingerprint": {"row": {"fields": {"a": {"columns": ["b"], "compare": "exact"}}}}},
            "as one where they are texts",
        ),
        (
            {
                "fingerprint": {"row": {"fields": {"a": {"columns": ["b"]}, "b": {}}}},
                "source": {"columns": {"fields": ["b"]}},
            },
            "the column 'b' is in more than one field",
        ),
        (
            {
                "fingerprint": {"row": {"fields": {"a": {"columns": ["b"]}}}},
                "source": {"columns": {"fields": ["a", "b"]}},
            },
            "'a' is a column: give the field another name",
        ),
        ({"fingerprint": {"row": {"fields": {"a": {"wieght": 1}}}}}, "wieght is no known key"),
    ],
)
def test_wrong_params_are_named(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    """With the key, and the nearest known one."""
    projects.settings(tmp_path, version="v1", **given)
    with pytest.raises(ParamsError, match=said):
        params.load(tmp_path / "params.yaml")


def test_explain_shows_both_rows_field_by_field(tmp_path: Path) -> None:
    """Values as the source has them, and each field's similarity; without values where the source has changed."""
    made = [
        {
            "id": "a",
            "author": "ann",
            "licence": "MIT",
            "name": "anna",
            "released": "2024-01-02",
            "size": "10",
            "summary": "what it is",
        },
        {
            "id": "b",
            "author": "",
            "licence": "BSD",
            "name": "anne",
            "released": "2024-02-01",
            "size": "10",
            "summary": "what it is",
        },
    ]
    root = projects.build(
        projects.create(tmp_path, {"t.csv": as_csv(made)}, **{**GIVEN, "dedup": {"thresholds": {"row": 0.6}}})
    )
    ask = CliRunner().invoke(app, ["-C", str(root), "explain", "b", "--json"])
    found = {row["field"]: row for row in json.loads(ask.stdout)["fields"]}
    assert [found[name]["similarity"] for name in COLUMNS] == [None, 0, pytest.approx(0.6), 0.5, 1, 1]
    assert (found["name"]["mine"], found["name"]["its"], found["author"]["mine"]) == ("anne", "anna", None)
    text = CliRunner().invoke(app, ["-C", str(root), "explain", "b"]).stdout
    assert "  field     b           a           weight  similarity\n" in text
    assert "  name      anne        anna        2       0.6\n" in text
    (root / "data/raw/t.csv").write_bytes(as_csv([made[0], {**made[1], "name": "bert"}]))
    again = json.loads(CliRunner().invoke(app, ["-C", str(root), "explain", "b", "--json"]).stdout)["fields"]
    assert {row["mine"] for row in again} == {None}
    assert {row["its"] for row in again} == set(made[0].values()) - {"a"}


def test_explain_finds_rows_that_have_moved_since_they_were_judged(rows: list[Row], tmp_path: Path) -> None:
    """A second version with rows before them, in both modes, as the source has them now; long values are cut."""
    made = [dict(rows[0], id="a"), dict(rows[0], id="b", summary=rows[0]["summary"] + " " + 80 * "x")]
    for mode in ("snapshot", "append"):
        root, given = tmp_path / mode, {**GIVEN, "source": {**GIVEN["source"], "mode": mode}}
        given["dedup"] = {"thresholds": {"row": 0.6}}
        projects.advance(projects.build(projects.create(root, {"t.csv": as_csv(made)}, **given)))
        more = rows[1:9] + (made if mode == "snapshot" else [])
        projects.build(projects.reopen(root, {"t.csv": as_csv(more)}, "v2", **given))
        name = next(n for n in "ab" if projects.decisions(root)[n]["action"] == "drop")
        ask = CliRunner().invoke(app, ["-C", str(root), "explain", name, "--json"])
        found = next(row for row in json.loads(ask.stdout)["fields"] if row["field"] == "summary")
        assert {found["mine"], found["its"]} == {made[0]["summary"], made[1]["summary"]}
        shown = CliRunner().invoke(app, ["-C", str(root), "explain", name]).stdout
        assert made[1]["summary"][:59] + "…  " in shown


def test_the_recall_of_every_run_is_against_brute_force(rows: list[Row], tmp_path: Path) -> None:
    """A search with one band of all fields finds less, and says so."""
    lsh = {"match": {"row_lsh": {"bands": 1, "unlike": 1, "hashes": 60}, "recall_sample": 1000}}
    root = projects.build(
        projects.create(tmp_path, {"t.csv": as_csv(rows)}, **{**GIVEN, **lsh}), "fingerprint", "match"
    )
    index = Index.open(root / "index")
    content = index.segments[0].content("row")
    left, right = np.triu_indices(len(content), 1)
    true = int((index.score("row", content[left], content[right]) >= np.float32(0.6)).sum())
    table = pq.read_table(root / "build/match/recall.parquet")
    assert table.num_rows == 2 * true  # from either end
    found = index.segments[0].matches().num_rows
    assert pc.sum(table["found"].cast(pa.int64())).as_py() == 2 * found
    assert projects.metrics(root, "match")["recall"]["row"] == pytest.approx(found / true, abs=1e-6)
    assert found < true


def test_columns_that_are_one_field(tmp_path: Path) -> None:
    """Names that have changed places are alike; as contents they are not, and explain shows each with all its columns."""
    made = [
        {"id": "a", "first": "jasmine", "last": "alderson", "city": "oslo"},
        {"id": "b", "first": "Alderson", "last": "Jasmine", "city": "oslo"},
        {"id": "c", "first": "jasmine", "city": "oslo"},
    ]
    given: dict[str, Any] = {"source": {"columns": {"id": "id", "fields": ["city", "first", "last"]}}}
    apart = projects.build(projects.create(tmp_path / "apart", made, **given))
    assert projects.kept(apart) == {"a", "b"}  # c has no other name than a's
    given["fingerprint"] = {"row": {"fields": {"name": {"columns": ["first", "last"], "weight": 2}}}}
    root = projects.build(projects.create(tmp_path / "one", made, **given))
    assert projects.kept(root) == {"a", "c"}
    dropped = projects.decisions(root)["b"]
    assert (dropped["reason"], dropped["score"]) == ("near_duplicate_of", 1)
    index = Index.open(root / "index")
    parts = [projects.decisions(root)[name]["parts"][0]["content"] for name in "ac"]
    assert index.score("row", of_list(parts[:1]), of_list(parts[1:])) == [pytest.approx((1 + 2 * 16 / (17 + 8)) / 3)]
    shown = json.loads(CliRunner().invoke(app, ["-C", str(root), "explain", "b", "--json"]).stdout)["fields"]
    assert [(row["field"], row["mine"], row["its"]) for row in shown] == [
        ("city", "oslo", "oslo"),
        ("name", "Alderson Jasmine", "jasmine alderson"),
    ]
    assert check(root) == []


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    """The table and the params of docs/kinds/row.md, and what explain says of them."""
    blocks = (Path(__file__).parents[1] / "docs/kinds/row.md").read_text(encoding="utf-8").split("```")[1::2]
    rows, given, said = (blocks[at].split("\n", 1)[1] for at in range(3))
    table = rows.split("\n", 1)[1].removesuffix("END\n")
    root = projects.build(projects.create(tmp_path, {"people.csv": table.encode()}, **yaml.safe_load(given)))
    shown = CliRunner().invoke(app, ["-C", str(root), "explain", "2"]).stdout.splitlines()
    assert set(said.splitlines()) <= set(shown)
