"""Tools beside dedupver on one collection: what each finds, and which of them is ahead.

- recall: the share of the copies that is found, the mean over what was done to them; of rows the share of the true pairs.
- precision: of the pairs that are found the share that is not false, which of texts are those that are unlike.
- best: of the settings in the results the one of the highest harmonic mean of both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from benchmarks import readme

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

US: Final = "dedupver"
COLUMNS: Final = ("measured on", "tool", "at", "recall", "precision", "false pairs", "beside dedupver")
LEVEL: Final = 0.005
"""Figures that differ by less are level."""
FINDS: Final = {1: "finds more", 0: "level", -1: "finds less"}
SAID: Final = {1: "ahead", 0: "level", -1: "behind"}


@dataclass(frozen=True)
class Found:
    """What a tool finds at a setting; how many pairs are false where the results count them."""

    tool: str
    at: str
    recall: float
    precision: float
    false: int | None = None

    @property
    def both(self) -> float:
        """The harmonic mean of recall and precision."""
        return 2 * self.recall * self.precision / max(self.recall + self.precision, 1e-9)


def compared(groups: Mapping[str, Sequence[Found]]) -> list[str]:
    """Return a table of what tools find in some collections; of each, dedupver at its default comes first."""
    rows = []
    for title, found in groups.items():
        for at, each in enumerate(found):
            false = "–" if each.false is None else f"{each.false:,}"
            said = "" if each.tool.startswith(US) else beside(each, found[0])
            cells = [
                f"**{each.tool}**" if at == 0 else each.tool,
                each.at,
                f"{each.recall:.3f}",
                f"{each.precision:.3f}",
            ]
            rows.append(["" if at else title, *cells, false, said])
    return readme.table(COLUMNS, rows)


def beside(peer: Found, own: Found) -> str:
    """Say how a tool does beside dedupver, by the figures that are shown."""
    more, cleaner = sign(peer.recall, own.recall), sign(peer.precision, own.precision)
    if more * cleaner < 0:
        return "finds more, and more wrongly" if more > 0 else "finds less, and less wrongly"
    return SAID[max(-1, min(1, more + cleaner))]


def sign(theirs: float, ours: float) -> int:
    """Return whether a figure is above (1) or below (-1) another one, as both are shown."""
    apart = round(round(theirs, 3) - round(ours, 3), 3)
    return 0 if abs(apart) < LEVEL else 1 if apart > 0 else -1


def usual_and_best(at: Mapping[float, Found], usual: float) -> list[Found]:
    """Return a tool at its usual level, and at its best where that is another."""
    if at[usual].both >= best(at).both:
        return [replace(at[usual], at=f"{at[usual].at}, also its best")]
    return [at[usual], best(at)]


def best(at: Mapping[float, Found]) -> Found:
    """Return a tool at the level of the highest harmonic mean."""
    found = max(at.values(), key=lambda each: each.both)
    return replace(found, at=f"{found.at}, its best")
