"""Rows of tables: their chosen columns in normal form are their content; what fields are compared by is their print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver.digests import of_list
from dedupver.fingerprint import fields
from dedupver.fingerprint.normal import normal_forms
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.rows import Found
from dedupver.fingerprint.strings import Strings
from dedupver.records import objects
from dedupver.schema import SIZES, Unreadable

if TYPE_CHECKING:
    import numpy.typing as npt

    from dedupver import params
    from dedupver.fingerprint.look import Look, Sink
    from dedupver.fingerprint.prints import Arrays

_EMPTY: Final = Unreadable("empty_row", "nothing but white space in all of its columns")
_CHARS: Final = SIZES.index("chars")


def look(settings: params.Row, sink: Sink) -> Look:
    """Return the look at rows."""
    empty = sink.verdict(_EMPTY)

    def at(strings: Strings) -> Found:
        rows = _Rows(strings, settings)
        found = Found.nothing(len(strings))
        lines, edges = objects.lines(rows.spans(), len(strings))
        found.content[:] = of_list(Strings(lines, edges[:-1], edges[1:]).sha256())
        found.size[:, _CHARS] = rows.chars
        found.verdict[rows.chars == 0] = empty
        for row, verdict in rows.wrong.items():
            found.verdict[row] = sink.verdict(verdict)
        fresh = sink.lacking(found.content, np.flatnonzero(found.verdict < 0))
        if len(fresh):
            sink.add(rows.arrays(fresh))
        return found

    return at


class _Rows:
    """The values of n rows by column, and what each field compares, in the order of the fields' names."""

    def __init__(self, strings: Strings, settings: params.Row) -> None:
        self.how = [settings.fields[name] for name in sorted(settings.fields)]
        self.chars = np.zeros(len(strings), np.int64)
        self.wrong: dict[int, Unreadable] = {}
        data, edges = strings.packed()
        held = {name: how.columns or (name,) for name, how in sorted(settings.fields.items())}
        given = objects.columns(data, edges, [column for columns in held.values() for column in columns])
        nothing = Strings(data, edges[:-1], edges[:-1])
        self.columns: dict[str, Strings] = {}  # in normal form
        self.numbers: list[npt.NDArray[np.float64]] = []  # of the fields that are compared by them
        for columns, how in zip(held.values(), self.how, strict=True):
            for name in columns:
                self._take(name, how, Strings.of_column(given[name]) if name in given else nothing)
        self.forms = [Strings.joined([self.columns[name] for name in columns]) for columns in held.values()]

    def spans(self) -> dict[str, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Return the normal form as `objects.lines` takes it."""
        return {name: (form.buffer, form.starts, form.stops) for name, form in self.columns.items()}

    def arrays(self, rows: npt.NDArray[np.int64]) -> Arrays:
        """Return the fingerprints of some rows."""
        sets = [
            _sets(form.take(rows), field, how)
            for field, (form, how) in enumerate(zip(self.forms, self.how, strict=True))
        ]
        arrays: Arrays = {"sets": Ragged.beside(sets)}
        if self.numbers:
            arrays["numbers"] = np.stack(self.numbers, axis=1)[rows]
        return arrays

    def _take(self, name: str, how: params.RowField, values: Strings) -> None:
        forms, chars = normal_forms(values)
        if how.compare in {"number", "date"}:
            forms, numbers, wrong = fields.canonical(forms, how)
            chars = forms.sizes
            self.wrong = {row: Unreadable(v.code, f"{name}: {v.reason}") for row, v in wrong.items()} | self.wrong
            if how.tolerance:
                self.numbers.append(numbers)
        self.columns[name] = forms
        self.chars += chars


def _sets(forms: Strings, field: int, how: params.RowField) -> Ragged:
    """Return what the values of a field are compared by; nothing where that is a number."""
    if how.compare == "text":
        return fields.bigrams(forms, field)
    if how.tolerance:
        return Ragged(np.zeros(len(forms) + 1, np.int64), np.empty(0, np.uint32))
    return fields.wholes(forms, field)
