"""Look-up of digests agrees with a dictionary of bytes, whatever the prefixes and however Arrow slices a column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedupver import digests
from dedupver.schema import DIGEST

# few distinct bytes in few places: digests that share 8, 16 or 24 bytes are common
DIGESTS = st.lists(
    st.builds(
        lambda a, b, c, d: bytes([a]) * 8 + bytes([b]) * 8 + bytes([c]) * 8 + bytes([d]) * 8,
        *[st.sampled_from([0, 1, 127, 128, 255])] * 4,
    ),
    max_size=60,
)


@given(DIGESTS)
def test_order_is_that_of_bytes(values: list[bytes]) -> None:
    """Rows are ordered like Python orders bytes, equal digests by row."""
    rows = digests.order(digests.of_list(values))
    assert rows.tolist() == sorted(range(len(values)), key=lambda i: (values[i], i))


@given(DIGESTS)
def test_first_of_each_is_the_first_row_of_each_distinct_digest(values: list[bytes]) -> None:
    """One row for each distinct digest: the first that has it, in ascending order of digest."""
    first = digests.first_of_each(digests.of_list(values))
    assert first.tolist() == [values.index(value) for value in sorted(set(values))]


@given(DIGESTS, DIGESTS)
def test_find_agrees_with_a_dictionary(values: list[bytes], wanted: list[bytes]) -> None:
    """What is there is found at its row, what is not is -1, however long the shared prefixes are."""
    column = list(dict.fromkeys(values))
    lookup = digests.Lookup(digests.of_list(column))
    at = {value: row for row, value in enumerate(column)}
    assert lookup.find(digests.of_list(wanted)).tolist() == [at.get(value, -1) for value in wanted]
    assert lookup.has(digests.of_list(wanted)).tolist() == [value in at for value in wanted]
    assert len(lookup) == len(column)


@given(DIGESTS, st.integers(0, 5), st.integers(0, 5))
def test_columns_and_arrays_are_inverses(values: list[bytes], skip: int, cut: int) -> None:
    """A sliced and chunked column gives the same digests as the list it was made of."""
    array = pa.array([b"x" * 32] * skip + values, DIGEST)[skip:]
    chunked = pa.chunked_array([array[:cut], array[cut:]], type=DIGEST)
    for column in (array, chunked, digests.to_column(digests.of_column(array))):
        assert [bytes(d) for d in digests.of_column(column)] == values


@pytest.mark.parametrize("column", [pa.chunked_array([], type=DIGEST), pa.array([], DIGEST)])
def test_an_empty_column_has_no_digest(column: pa.ChunkedArray) -> None:
    """No chunk and no row give an array of shape (0, 32)."""
    assert digests.of_column(column).shape == (0, 32)
    assert digests.to_column(np.empty((0, 32), np.uint8)).type == DIGEST
