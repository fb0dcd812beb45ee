"""Rows of tables as records: read alike from every format, and what can be wrong with them."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedupver.params import Columns, Source
from dedupver.records import columns, objects, plan, read
from dedupver.schema import SourceError, raw_schema

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from dedupver.records.cells import Cells
    from dedupver.records.tables import Table

RAW = raw_schema(Source().parts)
RECORDS = columns.records
VALUE = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
TABLE = st.lists(st.fixed_dictionaries({"a": VALUE, "b": VALUE, "text": VALUE}), min_size=1, max_size=6)


def source(*names: str, **given: Any) -> Source:
    """Return params that make rows of some columns."""
    return Source(columns=Columns.model_validate({"fields": list(names), "id": None}), **given)


def all_of(root: Path, params: Source) -> list[dict[str, Any]]:
    """Return every record of a source, in order."""
    batches = [batch for task in plan(root, params) for batch in read(root, task, params)]
    return pa.Table.from_batches(batches, RAW).to_pylist()


def written(root: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    """Write strings as a table of a format, in a folder of its own."""
    place = root / kind
    place.mkdir(parents=True)
    names = list(rows[0])
    if kind == "jsonl":
        (place / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "csv":
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL)
        writer.writerows([names, *([row[name] or "" for name in names] for row in rows)])
        (place / "t.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
    else:
        pq.write_table(
            pa.table({n: pa.array([row[n] for row in rows], pa.string()) for n in names}), place / "t.parquet"
        )
    return place


def alone(table: Table, first: int, found: dict[str, Cells], plain: np.ndarray) -> pa.RecordBatch:
    """Do what `columns.records` does, and say that each row has to be seen by itself."""
    batch = RECORDS(table, first, found, plain)
    plain[:] = False
    return batch


def test_a_row_has_the_same_bytes_in_every_format(tmp_path: Path) -> None:
    """Numbers as they are written; what is null, empty or not there is left out."""
    rows = [{"name": "Zoë", "price": "12.50", "note": None}, {"name": None, "price": "7", "note": ""}]
    expected = [objects.line({"name": "Zoë", "price": "12.50"}), objects.line({"price": "7"})]
    for kind in ("csv", "jsonl", "parquet"):
        found = all_of(written(tmp_path, kind, rows), source("price", "name", "note"))
        assert [row["fields"] for row in found] == expected
        assert [row["code"] for row in found] == [None, None]


def test_values_of_every_type_are_taken_as_they_are_written(tmp_path: Path) -> None:
    """23 digits, exponents and booleans in JSON Lines; Parquet's numbers, dates and booleans as Arrow spells them."""
    (tmp_path / "j").mkdir()
    line = '{"a": 12345678901234567890123, "b": 1.50e3, "c": true}\n{"a": "x", "b": null, "c": false}\n'
    (tmp_path / "j/t.jsonl").write_text(line)
    found = [row["fields"] for row in all_of(tmp_path / "j", source("a", "b", "c"))]
    assert found == [
        objects.line({"a": "12345678901234567890123", "b": "1.50e3", "c": "true"}),
        objects.line({"a": "x", "c": "false"}),
    ]
    (tmp_path / "p").mkdir()
    table = {
        "a": pa.array([12345678901234567, None]),
        "b": pa.array([1, 2], pa.timestamp("s")),
        "c": pa.array([True, None]),
        "d": pa.array([0.1, 2.0]),
    }
    pq.write_table(pa.table(table), tmp_path / "p/t.parquet")
    found = [row["fields"] for row in all_of(tmp_path / "p", source(*table))]
    assert found == [
        objects.line({"a": "12345678901234567", "b": "1970-01-01 00:00:01.000", "c": "true", "d": "0.1"}),
        objects.line({"b": "1970-01-01 00:00:02.000", "d": "2"}),
    ]


@settings(max_examples=40, deadline=None)
@given(TABLE)
def test_columns_say_what_one_row_after_the_other_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    """Beside a text, in each format: the vectorised path, and the one that sees every row alone."""
    params = source("a", "b")
    root = tmp_path_factory.mktemp("rows")
    for kind in ("csv", "jsonl", "parquet"):
        place = written(root, kind, rows)
        fast = all_of(place, params)

        with mock.patch.object(columns, "records", alone):
            assert all_of(place, params) == fast


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('{"a": ["x"], "b": "y"}', "wrong_type", "a: a list, not a string, a number or a boolean"),
        ('{"a": {"b": 1}, "b": "y"}', "wrong_type", "a: a object, not a string, a number or a boolean"),
        ('{"a": NaN, "b": "y"}', "bad_number", "a: NaN is no finite number"),
        ('{"a": -Infinity, "b": "y"}', "bad_number", "a: -Infinity is no finite number"),
        ('{"a": null, "b": ""}', "no_content", "no value in any of a, b"),
        ("{}", "no_content", "no value in any of a, audio, b, "),
        ('{"a": "x", "b": "\\ud800"}', "bad_utf8", "b: "),
        ('{"a": "x", "a": "y"}', "duplicate_keys", "several values for 'a'"),
        (json.dumps({"a": "x" * 200}), "huge_row", "fields: 209 bytes, the limit is 100"),
        ("[1]", "bad_row", "no object but a list"),
    ],
)
def test_a_bad_row_is_quarantined_with_a_code(tmp_path: Path, line: str, code: str, said: str) -> None:
    """Its neighbours are taken."""
    (tmp_path / "t.jsonl").write_text(f'{{"a": "x", "b": "y"}}\n{line}\n{{"a": "z"}}\n')
    found = all_of(tmp_path, source("a", "b", max_row_bytes=100))
    assert [row["code"] for row in found] == [None, code, None]
    assert found[1]["detail"].startswith(said)
    assert found[1]["fields"] is None


def test_bad_values_of_parquet_have_the_same_codes(tmp_path: Path) -> None:
    """NaN and infinity of a float column, nested values, bytes that are no UTF-8."""
    table = {
        "a": pa.array([1.5, float("nan"), float("-inf"), None, 2.0, 3.0]),
        "b": pa.array([b"x", b"x", b"x", None, b"\xff", b"y"], pa.binary()),
        "c": pa.array([None, None, None, None, None, [1]]),
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    codes = [row["code"] for row in all_of(tmp_path, source(*table))]
    assert codes == [None, "bad_number", "bad_number", "no_content", "bad_utf8", "wrong_type"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_table_without_a_chosen_column_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    """In every format: a column that is gone would otherwise be missing in all rows."""
    kind = name.partition(".")[2]
    place = written(tmp_path, kind, [{"name": "x", "city": "y"}])
    with pytest.raises(SourceError, match=rf"{name} has no column 'postcode', which source.columns.fields names"):
        plan(place, source("name", "postcode"))
    with pytest.raises(SourceError, match="has no column of a text"):
        plan(place, source("postcode", "street"))


def test_a_table_with_none_of_the_columns_has_no_rows(tmp_path: Path) -> None:
    """A table of texts beside a table of people: each record has the part that its table has."""
    (tmp_path / "people.csv").write_text("name,city\nAda,London\n")
    (tmp_path / "texts.csv").write_text("text\nA text of its own\n")
    found = {row["path"]: row for row in all_of(tmp_path, source("name", "city"))}
    assert found["people.csv"]["fields"] == objects.line({"name": "Ada", "city": "London"})
    assert found["texts.csv"]["fields"] is None
    assert found["texts.csv"]["text"] == b"A text of its own"


def test_without_chosen_columns_nothing_changes(tmp_path: Path) -> None:
    """The default: a table of texts has texts."""
    (tmp_path / "t.csv").write_text("text,name\nhello there,Ada\n")
    found = all_of(tmp_path, Source())
    assert (found[0]["text"], found[0]["fields"]) == (b"hello there", None)
