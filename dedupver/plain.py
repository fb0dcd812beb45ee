"""Plain, aligned text: nothing that a record's name holds may steer the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def plain(text: object) -> str:
    r"""Return text with what is not printable — escapes, line breaks, marks of direction — shown as `\x1b`."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def columns(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield lines with the cells of each column one below the other, two spaces between columns; None is empty."""
    cells = [["" if cell is None else plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
