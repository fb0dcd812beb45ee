"""Fields of rows: numbers and dates in canonical form, sets of hashes, and what is said of values that are none."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedupver.fingerprint import fielded, fields
from dedupver.fingerprint.known import Known
from dedupver.fingerprint.look import Sink
from dedupver.fingerprint.normal import normalize
from dedupver.fingerprint.strings import Strings
from dedupver.params import Row, RowField
from dedupver.records import objects
from dedupver.schema import CONTENT, Unreadable

NUMBER, DATE = RowField(compare="number"), RowField(compare="date")
PLAIN = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def canonical(how: RowField, *texts: str) -> tuple[list[str], list[float], dict[int, str]]:
    """Return canonical forms, numbers, and the codes of what is none."""
    found = fields.canonical(Strings.of_list(text.encode() for text in texts), how)
    codes = {row: verdict.code for row, verdict in found.wrong.items()}
    return [str(form, "utf-8") for form in found.forms], found.numbers.tolist(), codes


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("12.50", "12.5"),
        ("+0012", "12"),
        ("-0", "0"),
        ("-0.0", "0"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("1.25e-2", "0.0125"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("0.1000000000000000000000000001", "0.1000000000000000000000000001"),
    ],
)
def test_a_number_has_one_form(text: str, form: str) -> None:
    """Without sign of zero, superfluous zeros and exponent, with all its digits."""
    assert canonical(NUMBER, text) == ([form], [float(text)], {})


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.integers(-(10**30), 10**30)))
def test_equal_numbers_have_equal_forms(values: list[Decimal | int]) -> None:
    """However they are written, fast path or not: two forms are equal where the numbers are."""
    forms, numbers, wrong = canonical(NUMBER, *map(str, values))
    again, _, _ = canonical(NUMBER, *(f"{Decimal(value):e}".lower() for value in values))
    assert forms == again
    assert not wrong
    assert numbers == [float(value) for value in values]
    assert [Decimal(form) for form in forms] == [Decimal(value) for value in values]


@pytest.mark.parametrize(
    "text", ["n/a", "1,234", "1_000", "0x1f", "nan", "inf", "-infinity", "1e999", "1e-999", "１", "--1", "1e", "1 2"]
)
def test_what_is_no_number_has_a_code(text: str) -> None:
    """Nor is one that 64 bits can't hold."""
    forms, numbers, wrong = canonical(NUMBER, "7", text)
    assert (forms, wrong) == (["7", ""], {1: "bad_number"})
    assert np.isnan(numbers[1])


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-29", "2024-02-29"),
        ("20240229", "2024-02-29"),
        ("2024-02-29 23:59:59", "2024-02-29"),
        ("2024-02-29t23:59:59.5z", "2024-02-29"),
        ("2024-02-29t23:59:59+02:00", "2024-02-29"),
    ],
)
def test_a_date_is_a_day(text: str, day: str) -> None:
    """With or without a time, in normal form (lower case)."""
    forms, numbers, wrong = canonical(DATE, text, "")
    assert (forms, numbers[0], wrong) == ([day, ""], 738945.0, {})
    assert np.isnan(numbers[1])


@pytest.mark.parametrize("text", ["2023-02-29", "29.2.2024", "19891331", "yesterday", "0000-01-01"])
def test_what_is_no_date_has_a_code(text: str) -> None:
    """Days that no calendar has, and other ways to write one."""
    assert canonical(DATE, text)[2] == {0: "bad_date"}


def test_a_date_may_be_written_as_params_say() -> None:
    """`format` is that of strptime, and the only one then."""
    how = RowField(compare="date", format="%d.%m.%Y")
    assert canonical(how, "29.2.2024", "2024-02-29") == (
        ["2024-02-29", ""],
        [738945.0, pytest.approx(np.nan, nan_ok=True)],
        {1: "bad_date"},
    )


def profile(text: str) -> Counter[str]:
    """Return the pairs of neighbouring characters with both ends of words, by plain Python."""
    whole = "\0" + text.replace(" ", "\0") + "\0"
    return Counter(whole[i : i + 2] for i in range(len(whole) - 1)) if text else Counter()


@given(st.lists(st.text(st.sampled_from("ab é漢😀"), max_size=20) | PLAIN.filter(lambda t: "\0" not in t), max_size=6))
def test_sets_of_bigrams_share_what_the_profiles_share(texts: list[str]) -> None:
    """Sizes and intersections are those of multisets, up to 26 bits' collisions, which these texts do not have."""
    sets = fields.bigrams(Strings.of_list(t.encode() for t in texts), 5)
    rows = [sets.values[a:b] for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]
    for text, row in zip(texts, rows, strict=True):
        assert (np.diff(row.astype(np.int64)) > 0).all()
        assert (row >> fields.HASH_BITS == 5).all()
        assert len(row) == profile(text).total()
    for i, one in enumerate(texts):
        for j in range(i):
            shared = (profile(one) & profile(texts[j])).total()
            assert len(set(rows[i].tolist()) & set(rows[j].tolist())) == shared


def test_a_long_value_costs_linear_time() -> None:
    """A million times the same pair, and a million characters at random: told apart and sorted at once."""
    random = np.random.default_rng(1).integers(97, 123, 1_000_000).astype(np.uint8).tobytes()
    sets = fields.bigrams(Strings.of_list([b"a" * 1_000_000, random]), 0)
    assert sets.sizes[0] == pytest.approx(1_000_001, rel=0.02)  # 2^26 hashes: some of a million are equal
    assert sets.sizes[1] == pytest.approx(1_000_001, rel=0.02)


def test_whole_values_are_equal_or_share_nothing() -> None:
    """Two hashes of a value, none where there is none."""
    sets = fields.wholes(Strings.of_list([b"2119", b"2119", b"2191", b""]), 3)
    rows = [set(sets.values[a:b].tolist()) for a, b in zip(sets.offsets[:-1], sets.offsets[1:], strict=True)]
    assert rows[0] == rows[1]
    assert not rows[0] & rows[2]
    assert [len(row) for row in rows] == [2, 2, 2, 0]


SETTINGS = Row(
    fields={
        "name": RowField(),
        "code": RowField(compare="exact"),
        "price": RowField(compare="number", tolerance=0.5),
        "born": RowField(compare="date"),
    }
)


def look(rows: list[dict[str, str]]) -> tuple[Any, Sink, list[Unreadable]]:
    """Look at rows that nobody has met."""
    verdicts: list[Unreadable] = []
    sink = Sink(Known(pa.Table.from_pylist([], CONTENT)), verdicts)
    found = fielded.look(SETTINGS, sink)(Strings.of_list(objects.line(row) for row in rows))
    return found, sink, verdicts


def test_rows_that_say_the_same_are_one_content() -> None:
    """Case, white space, Unicode forms, zeros and ways to write a date: the content is the digest of the normal form."""
    found, sink, _ = look(
        [
            {"name": "Jose\u0301  Núñez", "price": "12.50", "born": "2024-01-31", "code": "A1"},
            {"name": "josé núñez ", "price": "+12.5", "born": "20240131", "code": "a1"},
            {"name": "josé núñez", "price": "12.51", "born": "2024-01-31", "code": "a1"},
        ]
    )
    assert (found.content[0] == found.content[1]).all()
    assert (found.content[0] != found.content[2]).any()
    normal = {"name": normalize("José Núñez"), "price": "12.5", "born": "2024-01-31", "code": "a1"}
    assert bytes(found.content[0]) == hashlib.sha256(objects.line(normal)).digest()
    assert found.size[0].max() == sum(map(len, normal.values()))
    assert len(sink.prints.number) == 2
    arrays = sink.prints.batches[0]
    assert arrays["numbers"].tolist() == [[12.5], [12.51]]
    assert len(arrays["sets"]) == 2


def test_the_first_value_that_is_none_quarantines_a_row() -> None:
    """By name of the field; a row of white space has a code of its own; the others are taken."""
    found, sink, verdicts = look(
        [
            {"price": "cheap", "born": "never", "name": "a"},
            {"name": " \u3000"},
            {"name": "b", "price": "3"},
            {"price": "cheap"},
        ]
    )
    said = [verdicts[v] if v >= 0 else None for v in found.verdict]
    assert [v and v.code for v in said] == ["bad_date", "empty_row", None, "bad_number"]
    assert said[0] is not None
    assert said[0].reason.startswith("born: 'never' is no date")
    assert len(sink.prints.number) == 1


def test_the_bytes_of_numbers_of_any_length_differ() -> None:
    """23 digits that differ in the last are two contents, where floating point would have made one."""
    found, _, _ = look([{"price": "12345678901234567890123"}, {"price": "12345678901234567890124"}])
    assert (found.content[0] != found.content[1]).any()


@given(
    st.lists(st.dictionaries(st.sampled_from(["name", "code"]), PLAIN.filter(bool), min_size=1), min_size=1, max_size=5)
)
def test_contents_are_those_of_plain_python(rows: list[dict[str, str]]) -> None:
    """Any strings."""
    found, _, verdicts = look(rows)
    for at, row in enumerate(rows):
        normal = {name: normalize(value) for name, value in row.items() if normalize(value)}
        if not normal:
            assert verdicts[found.verdict[at]].code == "empty_row"
        else:
            assert bytes(found.content[at]) == hashlib.sha256(objects.line(normal)).digest()
            assert json.loads(objects.line(normal)) == normal
