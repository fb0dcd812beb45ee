"""Some pictures of a video, or moments of a sound, spread evenly over it: what a model is given of it.

How long it is shows only at its end, so pieces are held at every so many ticks, twice as many as are wanted at most;
where there are more, every other one is let go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy.typing as npt


class Piece(NamedTuple):
    """A picture or a moment of sound, and when it is."""

    millis: int  # from the beginning
    data: npt.NDArray[Any]  # RGB, uint8 of shape (height, width, 3), or samples, int16 of shape (n,)


class Pieces:
    """Those that are held."""

    def __init__(self, wanted: int) -> None:
        """Say how many are wanted; 0: none is held."""
        self._wanted, self._every = wanted, 1
        self._held: dict[int, npt.NDArray[Any]] = {}  # by tick, ascending

    def __len__(self) -> int:
        """Return how many are held."""
        return len(self._held)

    def wants(self, first: int, count: int = 1) -> bool:
        """Return whether a piece is to be held that lasts for some ticks."""
        return self._wanted > 0 and -first % self._every < count

    def take(self, tick: int, data: npt.NDArray[Any]) -> None:
        """Hold a piece that begins at a tick."""
        tick += -tick % self._every
        self._held[tick] = data
        while len(self._held) > 2 * self._wanted:
            self._every *= 2
            self._held = {at: held for at, held in self._held.items() if at % self._every == 0}

    def spread(self, millis: float) -> tuple[Piece, ...]:
        """Return as many as are wanted, or all; a tick has so many milliseconds."""
        ticks = list(self._held)
        count = min(len(ticks), self._wanted)
        chosen = [ticks[(2 * k + 1) * len(ticks) // (2 * count)] for k in range(count)]
        return tuple(Piece(round(millis * tick), self._held[tick]) for tick in chosen)
