"""What people said of pairs of records: a CSV file with the columns left, right and label, and any others.

No cell starts a formula where a spreadsheet opens the file: one that would is written with an apostrophe before it, and
so is one that starts with an apostrophe, which reading takes away again.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from dedupver import store
from dedupver.schema import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

LABELS: Final = ("same", "different")
COLUMNS: Final = ("left", "right", "label")

FORMULA: Final = "=+-@\t\r\n'"
"""What a cell must not start with; the apostrophe is among them so that it can mark the others."""

_MARKED: Final = re.compile(f"^'(?=[{re.escape(FORMULA)}])")
_NEEDS_QUOTES: Final = re.compile(r'[",;\t\r\n]|^\s|\s$')
_CELL: Final = 1 << 24
"""Characters of a cell at most; csv would stop at 131,072, and ids may be longer."""


class Review(NamedTuple):
    """A line of the file."""

    line: int  # 1 is the header
    left: str
    right: str
    label: str
    more: Mapping[str, str]  # the other columns


def cell(text: str) -> str:
    """Return text as a cell that starts no formula."""
    return f"'{text}" if text.startswith(tuple(FORMULA)) else text


def text(cell_: str) -> str:
    """Return what `cell` was given."""
    return _MARKED.sub("", cell_, count=1)


def read(path: Path) -> list[Review]:
    """Read the reviews of a project, none where there is no file.

    Raises SourceError that names the line of a label which is neither `same` nor `different`, or of an id that is
    missing.
    """
    found = list(table(path)) if path.exists() else []
    for review in found:
        if review.label not in LABELS or not review.left or not review.right:
            said = {"left": review.left, "right": review.right, "label": review.label}
            raise SourceError(
                f"{path} line {review.line}: needs left, right and a label `same` or `different`, has {said}"
            )
    return found


def table(path: Path) -> Iterator[Review]:
    """Yield the lines of a CSV file with the columns left, right and label, separated by commas, semicolons or tabs.

    Raises SourceError where it is no such table.
    """
    try:
        whole = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 ({error.reason}): save it as CSV in UTF-8") from error
    head = next(iter(whole.splitlines()), "")
    comma = next((c for c in ",;\t" if set(COLUMNS) <= {n.strip('"') for n in head.split(c)}), None)
    if comma is None and whole.strip():
        raise SourceError(f"{path} line 1: needs the columns left, right and label, has {head[:200]!r}")
    limit = csv.field_size_limit(_CELL)
    rows = csv.DictReader(io.StringIO(whole, newline=""), delimiter=comma or ",", restval="", strict=True)
    try:
        line = 2
        for row in rows:
            if None in row:  # where csv puts cells beyond the header's
                raise SourceError(f"{path} line {line}: has more cells than the header")
            told = {name: text(value) for name, value in row.items()}
            left, right, label = (told.pop(name) for name in COLUMNS)
            yield Review(line, left, right, label, told)
            line = rows.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{path} line {rows.line_num}: {error}") from error
    finally:
        csv.field_size_limit(limit)


def write(path: Path, rows: Iterable[Mapping[str, str]], names: Sequence[str]) -> None:
    """Write lines with these columns atomically; what a line does not say is empty."""
    lines = [names, *([cell(row.get(name, "")) for name in names] for row in rows)]
    store.write_bytes(path, "".join(",".join(map(_quoted, line)) + "\n" for line in lines).encode())


def add(path: Path, new: Iterable[Review]) -> None:
    """Append reviews, atomically; columns that either has stay."""
    every = [*read(path), *new]
    names = list(dict.fromkeys([*COLUMNS, *_header(path), *(name for review in every for name in review.more)]))
    rows = ({**review.more, **dict(zip(COLUMNS, review[1:4], strict=True))} for review in every)
    write(path, rows, names)


def _quoted(word: str) -> str:
    """Return a cell in quotes where it needs some: csv's own writer leaves a carriage return without."""
    return '"' + word.replace('"', '""') + '"' if _NEEDS_QUOTES.search(word) else word


def _header(path: Path) -> list[str]:
    """Return the columns of a file, in their order."""
    lines = path.read_bytes().decode("utf-8-sig").splitlines() if path.exists() else []
    return next(csv.reader(lines[:1]), [])
