"""Columns of byte strings agree with Arrow's and Python's own, however they are sliced."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedupver.fingerprint.strings import Strings

VALUES = st.lists(st.binary(max_size=5) | st.none(), max_size=9)


@given(VALUES, st.integers(0, 5), st.integers(0, 9))
def test_a_column_gives_its_bytes(values: list[bytes | None], skip: int, count: int) -> None:
    """A slice of an Arrow array, where a null is empty."""
    strings = Strings.of_column(pa.array(values, pa.large_binary())[skip:][:count])
    expected = [value or b"" for value in values[skip:][:count]]
    assert [bytes(string) for string in strings] == expected
    assert strings.sizes.tolist() == [len(value) for value in expected]
    assert strings.sha256() == [hashlib.sha256(value).digest() for value in expected]
    assert len(strings) == len(expected)


@pytest.mark.parametrize("column", [pa.nulls(3, pa.large_binary()), pa.array([], pa.large_binary())])
def test_a_column_without_bytes(column: pa.LargeBinaryArray) -> None:
    """No buffer is no special case."""
    assert b"".join(Strings.of_column(column)) == b""


@given(st.lists(st.binary(max_size=5), min_size=1), st.data())
def test_rows_are_taken_and_replaced(values: list[bytes], data: st.DataObject) -> None:
    """Any rows in any order; those that are replaced have the new bytes, the others what they had."""
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), unique=True))
    strings = Strings.of_list(values)
    at = np.array(rows, np.int64)
    assert [bytes(string) for string in strings.take(at)] == [values[row] for row in rows]
    replaced = strings.replace(at, Strings.of_list(b"new %d" % row for row in rows))
    expected = [b"new %d" % row if row in rows else value for row, value in enumerate(values)]
    assert [bytes(string) for string in replaced] == expected


@given(st.lists(st.tuples(*[st.binary(max_size=3)] * 3)))
def test_columns_are_joined_where_they_hold_something(rows: list[tuple[bytes, bytes, bytes]]) -> None:
    """A space stands between two of a row that are not empty; of a row without any nothing is left, and it stays."""
    columns = [Strings.of_list(row[at] for row in rows) for at in range(3)]
    assert list(map(bytes, Strings.joined(columns))) == [b" ".join(filter(None, row)) for row in rows]
    assert list(map(bytes, Strings.joined(columns[:1]))) == [row[0] for row in rows]
