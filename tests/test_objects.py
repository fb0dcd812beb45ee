"""Rows as lines of canonical JSON: the compiled writer against json, and reading back what was written."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedupver.records import objects
from dedupver.records.cells import NONE, STRING, Cells

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NAMES = st.lists(TEXT.filter(bool), min_size=1, max_size=4, unique=True)


def columns_of(rows: list[dict[str, str]], names: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return rows as the spans of columns."""
    found = {}
    for name in names:
        values = pa.array([row.get(name) for row in rows], pa.large_string())
        kinds = np.array([STRING if row.get(name) is not None else NONE for row in rows], np.uint8)
        found[name] = objects.spans(Cells(values, kinds), kinds != NONE)
    return found


@given(NAMES.flatmap(lambda names: st.tuples(st.just(names), st.lists(st.dictionaries(st.sampled_from(names), TEXT)))))
def test_lines_are_what_json_writes_and_are_read_back(case: tuple[list[str], list[dict[str, str]]]) -> None:
    """Any names and values, quotes and control characters too; empty values are none, and a row of none has no line."""
    names, rows = case
    data, edges = objects.lines(columns_of(rows, names), len(rows))
    given_ = [{name: value for name, value in row.items() if value} for row in rows]
    expected = [objects.line(row) if row else b"" for row in given_]
    assert [data[a:b].tobytes() for a, b in itertools.pairwise(edges)] == expected
    whole = [row for row in given_ if row]
    packed = np.frombuffer(b"".join(objects.line(row) for row in whole), np.uint8)
    places = np.cumsum([0, *(len(objects.line(row)) for row in whole)])
    found = {name: array.to_pylist() for name, array in objects.columns(packed, places, sorted(names)).items()}
    for name in names:
        assert found.get(name, [None] * len(whole)) == [row.get(name) for row in whole]


def test_a_line_is_canonical() -> None:
    """Sorted keys, no spaces, characters as they are, one newline at the end: by hand."""
    assert objects.line({"b": "é\n", "a": 'say "x"'}) == '{"a":"say \\"x\\"","b":"é\\n"}\n'.encode()
    assert json.loads(objects.line({"id": "12345678901234567890123"})) == {"id": "12345678901234567890123"}


@pytest.mark.parametrize("count", [0, 1])
def test_no_columns_make_no_lines(count: int) -> None:
    """Rows without any column have no line."""
    data, edges = objects.lines({}, count)
    assert (len(data), edges.tolist()) == (0, [0] * (count + 1))
