"""Values of one column, or of several together, as keys: which are in a catalogue, and which records share one."""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.records import asked
from dedupver.records.parquet import DAMAGED
from dedupver.records.paths import reason
from dedupver.records.samples import kind_of
from dedupver.schema import SourceError, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver import params

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Columns = Sequence[pa.LargeStringArray]
"""Of equal length; a row is a key where none of its values is null."""

FOLDER: Final = "data/catalogues"
FORMATS: Final = ("jsonl", "csv", "tsv", "parquet", "arrow")


@dataclass(frozen=True)
class Catalogue:
    """The keys that a table holds, as they are written."""

    name: str
    keys: pa.LargeStringArray
    columns: tuple[pa.LargeStringArray, ...]  # distinct values of each

    @classmethod
    def read(cls, root: Path, name: str, columns: Sequence[str], source: params.Source) -> Catalogue:
        """Read columns of a table below `root`.

        Raises SourceError where it is no table or can't be read to its end, or where a column has no value.
        """
        where = f"{FOLDER}/{name}"
        if kind_of(name, source) not in FORMATS:
            raise SourceError(f"{where}: a catalogue is a table, one of {', '.join(FORMATS)}")
        found: list[list[pa.Array]] = []
        try:
            for some in asked.of_table(root.resolve(), name, source, columns):
                for row, fault in some.faults.items():
                    raise SourceError(f"{where} row {row} can't be read ({fault}): mend it, or leave it out")
                found.append(_held(some, columns))
        except Unreadable as verdict:
            raise SourceError(f"{where} can't be read ({verdict}): put it there, and `dvc add {FOLDER}`") from verdict
        except DAMAGED as error:
            raise SourceError(f"{where} is damaged ({reason(error)}): put it there again") from error
        held = [pa.concat_arrays([pa.array([], pa.large_string()), *each]) for each in zip(*found, strict=True)]
        for column, values in itertools.zip_longest(columns, held):
            if values is None or values.null_count == len(values):
                known = asked.named(root.resolve(), name, source)
                meant = nearest(column, known)
                hint = f"did you mean {meant!r}?" if meant else f"it has {', '.join(map(repr, known)) or 'none'}"
                raise SourceError(f"{where} has no column {column!r} with values: {hint}")
        return cls(name, pc.unique(keys(held)), tuple(map(pc.unique, held)))

    def lacks(self, wanted: Columns) -> Mask:
        """Return which keys are not there; what is no key does not lack."""
        there = pc.is_in(keys(wanted), self.keys).to_numpy(zero_copy_only=False)
        return ~there & keys(wanted).is_valid().to_numpy(zero_copy_only=False)

    def written_otherwise(self, key: Sequence[str]) -> str | None:
        """Return what the catalogue has in place of a key that differs from it in case, space or zeros alone."""
        near = [known.get(_folded(value)) for known, value in zip(self._folded, key, strict=True)]
        return None if None in near else " ".join(map(repr, near))

    @functools.cached_property
    def _folded(self) -> list[dict[str, str]]:
        return [{_folded(value): value for value in column.drop_null().to_pylist()} for column in self.columns]


def keys(columns: Columns) -> pa.LargeStringArray:
    """Return one string for each row, the same for the same values alone; null where one of them is null."""
    if len(columns) == 1:
        return columns[0]
    sized = ((pc.utf8_length(column).cast(pa.large_string()), column) for column in columns)
    return pc.binary_join_element_wise(*itertools.chain.from_iterable(sized), pa.scalar(":", pa.large_string()))


class Claim(NamedTuple):
    """What a rule says is unique of n records: the number of each one's key, -1 for none; and who fails goes."""

    numbers: Rows
    removes: bool


def numbered(columns: Columns) -> Rows:
    """Return the same number for the same keys, -1 for a row that is none."""
    coded = keys(columns).dictionary_encode().indices
    return pc.fill_null(coded, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def shared(claims: Sequence[Claim]) -> Mask:
    """Return which of n records have a key that another one has too."""
    found = np.zeros(len(claims[0].numbers), np.bool_)
    for numbers, _ in claims:
        there = numbers >= 0
        found[there] |= np.bincount(numbers[there])[numbers[there]] > 1
    return found


def holders(claims: Sequence[Claim], order: Rows, contents: Rows) -> list[Rows]:
    """Return for each claim and each of n records who holds its key already, -1: nobody else.

    Of the records in `order` each holds its keys unless another one does. One that shares the content of the holder
    (equal numbers in `contents`) has the same right to them. Who goes for a key holds none.
    """
    found = [np.full(len(contents), -1, np.int64) for _ in claims]
    first: list[dict[int, int]] = [{} for _ in claims]
    for row in order.tolist():
        mine = [int(claim.numbers[row]) for claim in claims]
        goes = False
        for at, number in enumerate(mine):
            holder = first[at].get(number, -1)
            if holder >= 0 and contents[holder] != contents[row]:
                found[at][row] = holder
                goes |= claims[at].removes
        for at, number in enumerate(mine):
            if number >= 0 and not goes:
                first[at].setdefault(number, row)
    return found


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return which of the names that are known was meant, if any."""
    return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.5)), None)


def _held(some: asked.Asked, columns: Sequence[str]) -> list[pa.Array]:
    missing = pa.nulls(len(some.rows), pa.large_string())
    return [some.columns[name].values if name in some.columns else missing for name in columns]


def _folded(value: str) -> str:
    """Return a value as it is where only the writing of texts and numbers differs."""
    plain = value.strip().casefold()
    try:
        return repr(float(plain))
    except ValueError:
        return plain
