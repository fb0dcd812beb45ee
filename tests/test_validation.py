"""Rules of `validate`: what each asks, of every format, against what a few lines of Python come to."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import projects
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver import params, records, validation
from dedupver.project import verdicts
from dedupver.schema import FAILURE, INVALID, RAW, SourceError
from dedupver.validation import keys

if TYPE_CHECKING:
    from collections.abc import Mapping

Rows = list[dict[str, Any]]


def laid(root: Path, files: projects.Files) -> Path:
    """Write files below `root`."""
    for name, data in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data if isinstance(data, bytes) else data.encode())
    return root


def outcome(
    root: Path, rules: Mapping[str, Any], *, source: Mapping[str, Any] | None = None, held: frozenset[str] = frozenset()
) -> validation.Outcome:
    """Judge what lies in `root`/raw by rules, with the catalogues in `root`/catalogues; nothing is fingerprinted."""
    columns = {"columns": {"id": "id"}} | dict(source or {})
    settings_ = params.Params.model_validate({"source": columns, "validate": {"rules": rules}})
    raw = root / "raw"
    read = [
        batch.select([name for name in batch.schema.names if name in RAW.names])
        for task in records.plan(raw, settings_.source)
        for batch in records.read(raw, task, settings_.source)
    ]
    table = pa.Table.from_batches(read).drop_columns(["remote", "outside"]).sort_by("id")
    table = table.append_column("batch", pa.repeat("", len(table)))
    table = table.append_column("held", pc.is_in(table["id"], pa.array(sorted(held), pa.string())))
    return validation.validate(table, {"": raw}, root / "catalogues", settings_)


def failing(found: validation.Outcome) -> dict[str, dict[str, str]]:
    """Return the code of each record that fails, by rule and id."""
    told: dict[str, dict[str, str]] = {}
    for row in found.failed.to_pylist():
        told.setdefault(row["rule"], {})[row["id"]] = row["code"]
    return told


def why(found: validation.Outcome) -> dict[str, str]:
    """Return what is said of each record that fails."""
    return {row["id"]: row["detail"] for row in found.failed.to_pylist()}


def written(name: str, rows: Rows) -> dict[str, str | bytes]:
    """Return rows as a file; a column that is missing in one is null there."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if name.endswith(".jsonl"):
        return {name: projects.jsonl(rows)}
    if name.endswith(".csv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        return {name: text.getvalue()}
    table = pa.table({column: pa.array([row.get(column) for row in rows]) for column in columns})
    sink = io.BytesIO()
    if name.endswith(".parquet"):
        pq.write_table(table, sink, row_group_size=2)
    else:
        pyarrow.feather.write_feather(table, sink)
    return {name: sink.getvalue()}


def texts(values: list[Any], column: str = "x") -> Rows:
    """Return records with one more column; None leaves it out."""
    return [
        {"id": f"r{at}", "text": f"text {at}"} | ({} if value is None else {column: value})
        for at, value in enumerate(values)
    ]


CASES: list[tuple[dict[str, Any], list[Any], dict[int, str]]] = [
    ({"required": True}, ["a", "", "  \t", None, "0"], dict.fromkeys([1, 2, 3], "missing_value")),
    ({"type": "number"}, [1, -2.5, 1e300, "7", True, [1], None], dict.fromkeys([3, 4, 5], "failed_schema")),
    ({"type": "integer"}, [1, -2, 2.5, 12345678901234567890123, "1"], dict.fromkeys([2, 4], "failed_schema")),
    ({"type": "text"}, ["a", 1, False, {"b": 1}], dict.fromkeys([1, 2, 3], "failed_schema")),
    ({"type": "boolean"}, [True, False, "true", 1], dict.fromkeys([2, 3], "failed_schema")),
    (
        {"type": "date"},
        ["2024-02-29", "2023-02-29", "2024-1-1", "24", 20240101],
        dict.fromkeys([1, 2, 3], "failed_schema"),
    ),
    ({"type": "time"}, ["2024-02-29T10:00:00Z", "2024-02-29", "noon"], {2: "failed_schema"}),
    (
        {"min": -90, "max": 90},
        [90, 90.001, -90, -91, "x", None],
        {1: "out_of_range", 3: "out_of_range", 4: "failed_schema"},
    ),
    (
        {"type": "date", "min": "2020-01-01", "max": "2020-12-31"},
        ["2020-01-01", "2019-12-31", "2020-12-31", "2021-01-01"],
        dict.fromkeys([1, 3], "out_of_range"),
    ),
    (
        {"type": "time", "min": "2020-01-01T00:00:00+01:00"},
        ["2019-12-31T23:00:00Z", "2019-12-31T22:59:59Z"],
        {1: "out_of_range"},
    ),
    ({"pattern": "[A-Z]{3}"}, ["ZRH", "ZRHX", "zrh", "ZRH\n", None], dict.fromkeys([1, 2, 3], "bad_pattern")),
    ({"values": ["a", 1, True]}, ["a", 1, True, "b", 2], dict.fromkeys([3, 4], "not_allowed")),
    ({"min_length": 2, "max_length": 3}, ["é", "éé", "ééé", "éééé", None], dict.fromkeys([0, 3], "bad_length")),
    ({"unique": True}, ["a", "b", "a", "A", None, None], {2: "not_unique"}),
    ({"required": True, "min": 3}, [None, 2, 3], {0: "missing_value", 1: "out_of_range"}),
]


@pytest.mark.parametrize(("rule", "values", "wrong"), CASES, ids=lambda case: json.dumps(case, default=str)[:40])
def test_each_check(rule: dict[str, Any], values: list[Any], wrong: dict[int, str], tmp_path: Path) -> None:
    """Who fails, and with which code."""
    laid(tmp_path / "raw", written("a.jsonl", texts(values)))
    found = outcome(tmp_path, {"r": {"column": "x", **rule}})
    assert failing(found).get("r", {}) == {f"r{at}": code for at, code in wrong.items()}
    assert found.counts["rules"]["r"]["checked"] == len(values)
    assert found.counts["rules"]["r"]["failed"] == len(wrong) == found.failed.num_rows


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "a.arrow"])
def test_formats_agree_on_numbers(name: str, tmp_path: Path) -> None:
    """What has numbers has them as such; CSV has them in letters."""
    laid(tmp_path / "raw", written(name, texts([0.5, 200.25, 90.0, -91.0])))
    assert failing(outcome(tmp_path, {"r": {"column": "x", "min": -90, "max": 90}}))["r"] == {
        "r1": "out_of_range",
        "r3": "out_of_range",
    }


def test_a_type_that_changed_is_named(tmp_path: Path) -> None:
    """A column that held numbers holds strings now: in JSON Lines and Parquet that shows, CSV has one type."""
    files = {**written("a.jsonl", texts(["5"])), **written("b.csv", [{"id": "c", "text": "t", "x": "5"}])}
    laid(tmp_path / "raw", files)
    found = outcome(tmp_path, {"price": {"column": "x", "type": "number"}})
    assert why(found) == {"r0": "price: x '5' is no number"}


def test_nested_fields_and_json_beside_files_and_in_archives(tmp_path: Path) -> None:
    """A column is a field of an object too, and a key of the JSON that stands beside a picture."""
    import tarfile  # noqa: PLC0415

    picture = _picture()
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for key, said in (("a", {"meta": {"sku": "1"}}), ("b", {"meta": {"sku": "9"}}), ("c", None)):
            for suffix, data in ((".png", picture), (".json", said and json.dumps(said).encode())):
                if data:
                    member = tarfile.TarInfo(key + suffix)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
    files = {
        "good/a.png": picture,
        "good/a.json": '{"meta": {"sku": "1"}}',
        "good/b.png": picture,
        "good/b.json": '{"meta": {"sku": "9"}}',
        "c.png": picture,
        "t.jsonl": projects.jsonl([{"id": "t", "text": "t", "meta": {"sku": "9"}}]),
        "s.tar": sink.getvalue(),
    }
    laid(tmp_path / "raw", files)
    found = outcome(tmp_path, {"sku": {"column": "meta.sku", "values": ["1"], "required": True}})
    assert failing(found)["sku"] == {
        "good/b.png": "not_allowed",
        "c.png": "missing_value",
        "t": "not_allowed",
        "s.tar/b": "not_allowed",
        "s.tar/c": "missing_value",
    }
    within = outcome(tmp_path, {"sku": {"column": "meta.sku", "required": True, "files": ["good/*", "*.jsonl"]}})
    assert (within.failed.num_rows, within.counts["rules"]["sku"]["checked"]) == (0, 3)
    assert failing(outcome(tmp_path, {"f": {"attribute": "folder", "pattern": "goo."}})) == {}
    assert failing(outcome(tmp_path, {"f": {"attribute": "folder", "required": True, "files": ["*.png"]}}))["f"] == {
        "c.png": "missing_value"
    }


def _picture() -> bytes:
    from PIL import Image  # noqa: PLC0415

    sink = io.BytesIO()
    Image.effect_noise((8, 8), 60).save(sink, "PNG")
    return sink.getvalue()


CATALOGUE: Rows = [{"sku": "001", "lang": "de"}, {"sku": "2", "lang": "en"}, {"sku": "2", "lang": "de"}]


@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.jsonl", "c.parquet", "c.arrow"])
def test_references_into_a_catalogue(name: str, tmp_path: Path) -> None:
    """A key is what is written: what differs in its writing alone is named."""
    data = written(name.replace("tsv", "csv"), CATALOGUE)
    laid(tmp_path / "catalogues", {name: b"".join(x if isinstance(x, bytes) else x.encode() for x in data.values())})
    if name == "c.tsv":
        place = tmp_path / "catalogues" / name
        place.write_text(place.read_text().replace(",", "\t"))
    rows = [{"id": f"r{at}", "text": "t", "sku": sku} for at, sku in enumerate(["001", 2, "2", 1, "3", None, " 2 "])]
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl(rows)})
    found = outcome(tmp_path, {"sku": {"column": "sku", "catalogue": name}})
    assert failing(found)["sku"] == dict.fromkeys(["r3", "r4", "r6"], "unknown_reference")
    assert why(found) == {
        "r3": f"sku: '1' is not in {name}, which has '001': write both alike",
        "r4": f"sku: '3' is not in {name}",
        "r6": f"sku: ' 2 ' is not in {name}, which has '2': write both alike",
    }


def test_composite_keys(tmp_path: Path) -> None:
    """Two columns together: ("2", "de") is there, ("001", "en") is not, though both values are; so for unique ones."""
    laid(tmp_path / "catalogues", written("c.csv", CATALOGUE))
    pairs = [("2", "de"), ("001", "en"), ("2", "de"), ("2", None), ("2", None), ("2:", "de")]
    rows = [{"id": f"r{at}", "text": f"t{at}", "a": a, "b": b} for at, (a, b) in enumerate(pairs)]
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl(rows)})
    both = {"columns": ["a", "b"]}
    found = outcome(tmp_path, {"in": {**both, "catalogue": "c.csv", "key": ["sku", "lang"]}})
    assert failing(found)["in"] == dict.fromkeys(["r1", "r5"], "unknown_reference")
    assert failing(outcome(tmp_path, {"u": {**both, "unique": True}}))["u"] == {"r2": "not_unique"}
    assert failing(outcome(tmp_path, {"u": {**both, "required": True}}))["u"] == dict.fromkeys(
        ["r3", "r4"], "missing_value"
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, r"data/catalogues/c.csv can't be read \(unreadable_file: No such file"),
        ({"c.csv": "code,lang\n1,de\n"}, r"no column 'sku' with values: it has 'code', 'lang'"),
        ({"c.csv": "skus\n1\n"}, r"no column 'sku' with values: did you mean 'skus'\?"),
        ({"c.csv": "sku\n"}, r"no column 'sku' with values"),
        ({"c.csv": 'sku\n1\n"2\n'}, r"row 1 can't be read \(bad_row"),
        ({"c.csv": b"sku\n1\n\xff\n"}, r"row 1 can't be read \(bad_utf8"),
    ],
)
def test_an_unreadable_catalogue_ends_the_run(files: projects.Files, says: str, tmp_path: Path) -> None:
    """No record is quarantined for it: the file is named, and what to do."""
    laid(tmp_path / "catalogues", files)
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl([{"id": "a", "text": "t", "sku": "1"}])})
    with pytest.raises(SourceError, match=says):
        outcome(tmp_path, {"sku": {"column": "sku", "catalogue": "c.csv"}})


def test_a_damaged_catalogue_ends_the_run(tmp_path: Path) -> None:
    """Cut in the middle."""
    data = written("c.parquet", CATALOGUE)["c.parquet"]
    assert isinstance(data, bytes)
    laid(tmp_path / "catalogues", {"c.parquet": data[:-20]})
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl([{"id": "a", "text": "t", "sku": "1"}])})
    with pytest.raises(SourceError, match=r"data/catalogues/c\.parquet is damaged"):
        outcome(tmp_path, {"sku": {"column": "sku", "catalogue": "c.parquet"}})


def test_an_unknown_column_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    """And the file; a column without values is none; nor is a rule that no record is about."""
    files = {
        **written("a.csv", [{"id": "a", "text": "t", "iata": "", "lat": "1"}]),
        "b.jsonl": '{"id":"b","text":"u"}\n',
    }
    laid(tmp_path / "raw", files)
    with pytest.raises(SourceError, match=r"validate.rules.code: no column 'iaat' in a.csv: did you mean 'iata'\?"):
        outcome(tmp_path, {"code": {"column": "iaat", "pattern": "[A-Z]{3}"}})
    assert not outcome(tmp_path, {"code": {"column": "iata", "pattern": "[A-Z]{3}"}}).failed.num_rows
    with pytest.raises(SourceError, match=r"no column 'lat' in b.jsonl"):
        outcome(tmp_path, {"lat": {"column": "lat", "min": 0, "files": ["*.jsonl"]}})
    with pytest.raises(SourceError, match=r"validate.rules.lat: no record is in files 'c/\*'"):
        outcome(tmp_path, {"lat": {"column": "lat", "min": 0, "files": ["c/*"]}})


def test_a_key_is_the_first_ones(tmp_path: Path) -> None:
    """What was published holds its key, else the first id; who goes for something else holds none."""
    rows = [
        {"id": name, "text": f"t{name}", "k": k, "n": n}
        for name, k, n in (("a", 1, 500), ("b", 1, 5), ("c", 1, 6), ("d", 2, 7))
    ]
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl(rows)})
    rules = {"n": {"column": "n", "max": 90}, "k": {"column": "k", "unique": True}}
    found = outcome(tmp_path, rules)
    assert failing(found) == {"n": {"a": "out_of_range"}, "k": {"c": "not_unique"}}
    assert why(found)["c"] == "k: '1' is also that of b"
    assert failing(outcome(tmp_path, rules, held=frozenset("c")))["k"] == {"b": "not_unique"}
    only_told = rules | {"n": {"column": "n", "max": 90, "action": "report"}}
    assert failing(outcome(tmp_path, only_told))["k"] == {"b": "not_unique", "c": "not_unique"}


def test_hostile_values_are_shown_escaped_and_cut(tmp_path: Path) -> None:
    """A formula, an escape of the terminal, marks of direction, a value of a megabyte."""
    hostile = ["=HYPERLINK(1)", "\x1b[31mred", "a\u202eb", "x" * 1_000_000, "\0"]
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl(texts(hostile))})
    found = why(outcome(tmp_path, {"r": {"column": "x", "values": ["a"]}}))
    assert found["r0"] == "r: x '=HYPERLINK(1)' is none of a"
    assert found["r1"] == r"r: x '\x1b[31mred' is none of a"
    assert found["r2"] == r"r: x 'a\u202eb' is none of a"
    assert max(map(len, found.values())) < 100
    assert all(text.isprintable() for text in found.values())


def test_the_first_reason_is_the_one_to_go_for(tmp_path: Path) -> None:
    """By what is asked first, then by the rule's name; a rule that reports takes nobody out."""
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl(texts(["abc", "99", None]))})
    rules = {
        "a": {"column": "x", "pattern": "[0-9]"},
        "b": {"column": "x", "min_length": 3},
        "c": {"column": "x", "required": True, "action": "report"},
        "d": {"column": "x", "pattern": "[a-z]"},
    }
    found = outcome(tmp_path, rules)
    goes = {row["id"]: (row["code"], row["detail"][0]) for row in verdicts(found.failed).to_pylist()}
    assert goes == {"r0": ("bad_pattern", "a"), "r1": ("bad_length", "b")}
    assert validation.metrics(found.counts, found.failed) == {
        "records": 3, "unreadable": 0, "rules": 4, "failed": 3, "quarantined": 2,
    }  # fmt: skip


def test_what_fails_the_run_is_named(tmp_path: Path) -> None:
    """The first records with their values, and how to go on; exit code 4: the data is to be mended."""
    laid(tmp_path / "raw", {"a.jsonl": projects.jsonl(texts([1] * 3 + [200] * 9))})
    found = outcome(tmp_path, {"lat": {"column": "x", "max": 90, "action": "fail"}})
    with pytest.raises(
        SourceError, match=r"(?s)9 records fail .*r10: lat: x '200' is not at most 90 .*and 4 more"
    ) as caught:
        validation.require(found.failed)
    assert caught.value.exit_code == 4
    validation.require(FAILURE.empty_table())


def test_nobody_asks_references_or_what_cannot_be_read(tmp_path: Path) -> None:
    """References are never written; a row that can't be read has its own code."""
    files: projects.Files = {
        "ref/b.jsonl": projects.jsonl([{"id": "b", "text": "t", "x": 500}]),
        "a.jsonl": projects.jsonl([{"id": "a", "text": "t", "x": 500}, {"id": "e", "text": "", "x": 500}])
        + "nothing\n",
    }
    laid(tmp_path / "raw", files)
    found = outcome(tmp_path, {"x": {"column": "x", "max": 9}}, source={"references": ["ref/**"]})
    assert failing(found)["x"] == {"a": "out_of_range"}
    assert found.counts["unreadable"] == {"bad_row": 1, "empty_text": 1}
    assert validation.rows(found.counts) == [
        ("readable", "bad_row", 1),
        ("readable", "empty_text", 1),
        ("x", "out_of_range", 1),
    ]


VALUES = st.one_of(
    st.none(),
    st.sampled_from(
        ["", " ", "a", "b", "ab", "é", "1", "01", "1.5", "-3", "2024-02-30", "2024-02-29", "x\ny", "=1", "true"]
    ),
    st.integers(-5, 5),
    st.sampled_from([0.5, -2.25, 1e20]),
    st.booleans(),
    st.just([1]),
)
ASKS = st.fixed_dictionaries(
    {},
    optional={
        "required": st.just(True),
        "type": st.sampled_from(["text", "number", "integer", "boolean", "date"]),
        "min_length": st.integers(1, 2),
        "max_length": st.integers(1, 3),
        "pattern": st.sampled_from(["[a-z]+", "[0-9.]+|a", ".*"]),
        "values": st.lists(st.sampled_from(["a", "1", 1, True, "é"]), min_size=1),
        "catalogue": st.just("c.csv"),
        "unique": st.just(True),
        "action": st.sampled_from(["quarantine", "report"]),
    },
).filter(lambda rule: set(rule) - {"action"})


def plainly(
    rows: Rows, rules: dict[str, dict[str, Any]], catalogue: set[str], *, typed: bool
) -> dict[tuple[str, str], str]:
    """Return who fails which rule, by the plainest means."""
    found: dict[tuple[str, str], str] = {}
    for name, rule in rules.items():
        for row in rows:
            code = _code(row.get(rule["column"]), rule, catalogue, typed=typed)
            if code:
                found[row["id"], name] = code
    gone = {name for (name, rule), _ in found.items() if rules[rule].get("action") != "report"}
    holders: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        mine = {
            name: spelled(row[rule["column"]])
            for name, rule in rules.items()
            if rule.get("unique") and row["id"] not in gone and (row["id"], name) not in found
            and spelled(row.get(rule["column"])) is not None
            and spelled(row.get(rule["column"])).strip()
        }  # fmt: skip
        goes = False
        for name, key in mine.items():
            if (name, key) in holders:
                found[row["id"], name] = "not_unique"
                goes |= rules[name].get("action") != "report"
        for name, key in mine.items():
            if not goes:
                holders.setdefault((name, key), row["id"])
    return found


def spelled(value: Any) -> Any:
    """Return a value as it is written; None for what is no single value."""
    if value is None or isinstance(value, list):
        return None
    return json.dumps(value) if not isinstance(value, str) else value


def _code(value: Any, rule: dict[str, Any], catalogue: set[str], *, typed: bool) -> str | None:  # noqa: PLR0911
    text = spelled(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return "missing_value" if rule.get("required") else None
    if text is None:
        return "failed_schema"
    is_number = re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text) is not None
    said_number = isinstance(value, int | float) and not isinstance(value, bool) if typed else is_number
    kinds = {
        "text": isinstance(value, str) or not typed,
        "number": said_number,
        "integer": said_number and re.fullmatch(r"[+-]?\d+", text) is not None,
        "boolean": isinstance(value, bool) or (not typed and text.lower() in {"true", "false"}),
        "date": _is_day(text),
    }
    if not kinds.get(rule.get("type", ""), True):
        return "failed_schema"
    if not rule.get("min_length", 0) <= len(text) <= rule.get("max_length", 99):
        return "bad_length"
    if "pattern" in rule and not re.fullmatch(rule["pattern"], text):
        return "bad_pattern"
    if "values" in rule and text not in [v if isinstance(v, str) else json.dumps(v) for v in rule["values"]]:
        return "not_allowed"
    return "unknown_reference" if "catalogue" in rule and text not in catalogue else None


def _is_day(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.fixed_dictionaries({"x": VALUES, "y": VALUES}), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.tuples(st.sampled_from(["x", "y"]), ASKS), min_size=1),
    st.sampled_from(["a.jsonl", "a.csv"]),
)
def test_rules_are_what_they_plainly_mean(values: Rows, asks: dict[str, Any], name: str) -> None:
    """Any rules of any values, in a typed format and in CSV, against a loop over rows."""
    typed = name.endswith(".jsonl")
    if not typed:
        values = [
            {k: "" if v is None else str(v).lower() if isinstance(v, bool) else str(v) for k, v in row.items()}
            for row in values
        ]
    rows = [{"id": f"r{at}", "text": f"t{at}", **row} for at, row in enumerate(values)]
    rules = {rule: {"column": column, **ask} for rule, (column, ask) in asks.items()}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        laid(root / "catalogues", {"c.csv": "x,y\na,a\n1,1\nb,b\n"})
        laid(root / "raw", written(name, rows))
        found = outcome(root, rules).failed.to_pylist()
    assert {(row["id"], row["rule"]): row["code"] for row in found} == plainly(
        rows, rules, {"a", "1", "b"}, typed=typed
    )
    assert [row["id"] for row in found] == sorted(row["id"] for row in found)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(st.sampled_from(["", ":", "1", "1:", "12", "é"]) | st.none(), min_size=2, max_size=2), min_size=1)
)
def test_keys_are_equal_where_all_their_values_are(pairs: list[list[str | None]]) -> None:
    """Whatever signs they hold; one that lacks a value is none."""
    columns = [pa.array(column, pa.large_string()) for column in zip(*pairs, strict=True)]
    found = keys.numbered(columns).tolist()
    assert [number < 0 for number in found] == [None in pair for pair in pairs]
    whole = [(tuple(pair), number) for pair, number in zip(pairs, found, strict=True) if number >= 0]
    assert len({pair for pair, _ in whole}) == len(set(whole)) == len({number for _, number in whole})


def test_codes_are_in_the_order_in_which_they_are_asked() -> None:
    """And a code of a reader is none of validation's: by it a record is known to be readable."""
    sources = "\n".join(path.read_text() for path in Path(records.__file__).parent.glob("*.py"))
    assert not [code for code in INVALID if f'"{code}"' in sources]
