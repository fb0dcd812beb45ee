"""What a rule asks of values one by one, of whole columns at once: Arrow's functions do the asking."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.records.cells import BOOLEAN, NUMBER, STRING
from dedupver.schema import INVALID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dedupver.params import Rule
    from dedupver.records.cells import Cells
    from dedupver.validation.values import Value

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8]
"""For each value the number in INVALID of what is wrong with it, or -1."""

DECIMAL: Final = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
WHOLE: Final = r"^[+-]?[0-9]+$"
TRUTH: Final = pa.array(["true", "false"], pa.large_string())


def check(rule: Rule, value: Value) -> Codes:
    """Return what is wrong with each value, the first of INVALID that applies."""
    missing = value.missing()
    found = np.where(missing & rule.required, np.int8(_number("missing_value")), np.int8(-1))
    for code, is_wrong in _ASKED.items():
        wrong = is_wrong(rule, value)
        if wrong is not None:
            found[wrong & ~missing & (found < 0)] = _number(code)
    return found


def asks(rule: Rule) -> str:
    """Return in words what is asked of a value."""
    words = ["required"] if rule.required else []
    words += [_type_of(rule) or ""]
    words += [_between(rule.min, rule.max, ""), _between(rule.min_length, rule.max_length, " characters")]
    words += [f"like {rule.pattern}"] if rule.pattern else []
    words += [f"one of {', '.join(map(_spelled, rule.values))}"] if rule.values else []
    words += [f"in {rule.catalogue}"] if rule.catalogue else []
    words += ["unique"] if rule.unique else []
    return ", ".join(filter(None, words))


def why(rule: Rule, code: str) -> str:
    """Return in words what a value with a code is not."""
    return {
        "missing_value": "no value",
        "failed_schema": f"no {_type_of(rule) or 'single value'}",
        "out_of_range": f"not {_between(rule.min, rule.max, '')}",
        "bad_length": f"not of {_between(rule.min_length, rule.max_length, ' characters')}",
        "bad_pattern": f"not like {rule.pattern}",
        "not_allowed": f"none of {', '.join(map(_spelled, rule.values))}",
    }[code]


def _is_of_another_type(rule: Rule, value: Value) -> Mask | None:
    cells, kinds = value.cells, value.cells.kinds
    plain = (kinds == STRING) | (kinds == NUMBER) | (kinds == BOOLEAN)
    kind = _type_of(rule)
    if kind is None:
        return ~plain
    strings = (kinds == STRING) & (not value.typed)
    if kind in {"number", "integer"}:
        form = DECIMAL if kind == "number" else WHOLE
        return ~(((kinds == NUMBER) | strings) & _true(pc.match_substring_regex(cells.values, form)))
    if kind == "boolean":
        return ~((kinds == BOOLEAN) | (strings & _true(pc.is_in(pc.utf8_lower(cells.values), TRUTH))))
    if kind == "text":
        return kinds != STRING
    return ~plain | np.isnan(_moments(cells, whole=kind == "date"))


def _is_out_of_range(rule: Rule, value: Value) -> Mask | None:
    if rule.min is None and rule.max is None:
        return None
    if rule.type in {"date", "time"}:
        measure = _moments(value.cells, whole=rule.type == "date")
        low, high = (None if bound is None else _moment(str(bound)) for bound in (rule.min, rule.max))
    else:
        written = _true(pc.match_substring_regex(value.cells.values, DECIMAL))
        numbers = pc.if_else(pa.array(written), value.cells.values, pa.scalar("nan", pa.large_string()))
        measure = numbers.cast(pa.float64()).to_numpy(zero_copy_only=False)
        low, high = (None if bound is None else float(bound) for bound in (rule.min, rule.max))
    below = measure < low if low is not None else np.zeros(len(measure), np.bool_)
    return below | (measure > high) if high is not None else below


def _is_of_another_length(rule: Rule, value: Value) -> Mask | None:
    if rule.min_length is None and rule.max_length is None:
        return None
    length = pc.fill_null(pc.utf8_length(value.cells.values), 0).to_numpy(zero_copy_only=False)
    return (length < (rule.min_length or 0)) | (length > (rule.max_length or np.iinfo(np.int64).max))


def _is_of_another_form(rule: Rule, value: Value) -> Mask | None:
    return (
        None if rule.pattern is None else ~_true(pc.match_substring_regex(value.cells.values, f"^(?:{rule.pattern})$"))
    )


def _is_not_allowed(rule: Rule, value: Value) -> Mask | None:
    allowed = pa.array(map(_spelled, rule.values), pa.large_string(), size=len(rule.values))
    return ~_true(pc.is_in(value.cells.values, allowed)) if rule.values else None


_ASKED: Final[Mapping[str, Callable[[Rule, Value], Mask | None]]] = {
    "failed_schema": _is_of_another_type,
    "out_of_range": _is_out_of_range,
    "bad_length": _is_of_another_length,
    "bad_pattern": _is_of_another_form,
    "not_allowed": _is_not_allowed,
}


def _number(code: str) -> int:
    return INVALID.index(code)


def _type_of(rule: Rule) -> str | None:
    """Return the type that is asked: what has bounds is a number where nothing else is said."""
    return rule.type or (None if rule.min is None and rule.max is None else "number")


def _moments(cells: Cells, *, whole: bool) -> npt.NDArray[np.float64]:
    """Return days or times of ISO 8601 in seconds, not a number for what is none; each distinct one is parsed once."""
    coded = cells.values.dictionary_encode()
    seconds = np.array([_moment(text, whole=whole) for text in coded.dictionary.to_pylist()] + [np.nan])
    return seconds[pc.fill_null(coded.indices, len(seconds) - 1).to_numpy(zero_copy_only=False)]


def _moment(text: str, *, whole: bool = False) -> float:
    """Return the seconds since 1970 of a day or a time, of UTC where it names no zone."""
    try:
        moment = (
            dt.datetime.combine(dt.date.fromisoformat(text), dt.time()) if whole else dt.datetime.fromisoformat(text)
        )
    except ValueError:
        return float("nan")
    since = moment.replace(tzinfo=moment.tzinfo or dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return since.total_seconds()


def _between(low: object, high: object, unit: str) -> str:
    if low is None and high is None:
        return ""
    low, high = (f"{bound:g}" if isinstance(bound, float) else bound for bound in (low, high))
    if low is None:
        return f"at most {high}{unit}"
    return f"at least {low}{unit}" if high is None else f"from {low} to {high}{unit}"


def _spelled(value: object) -> str:
    """Return a value of params as tables write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _true(answers: pa.Array) -> Mask:
    """Return where the answer is yes; it is no where there was no value."""
    mask: Mask = pc.fill_null(answers, fill_value=False).to_numpy(zero_copy_only=False)
    return mask
