"""What every modality's module is: a look at payloads that says what they hold, and fingerprints what is new."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np

from dedupver.fingerprint.encoders import Encoder, open_encoder, probe
from dedupver.fingerprint.encoders.aligned import Aligned
from dedupver.fingerprint.prints import Arrays, Prints
from dedupver.fingerprint.rows import Found
from dedupver.schema import SIZES, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from dedupver.digests import Digests, Rows
    from dedupver.fingerprint.encoders.model import Batch, Vector, Vectors
    from dedupver.fingerprint.known import Known
    from dedupver.fingerprint.pieces import Piece

Payload = TypeVar("Payload")
Payload_co = TypeVar("Payload_co", covariant=True)

Look = Callable[[Any], Found]
"""Says what each of n payloads that nobody has met holds: its normalised content, its size, or why it has none.

It takes Strings, or Handles where its modality is streamed.
"""


class Payloads(Protocol[Payload_co]):
    """Parts of one modality, in memory (Strings) or where they lie (Handles)."""

    def __len__(self) -> int:
        """Return the number of parts."""

    def __iter__(self) -> Iterator[Payload_co]:
        """Yield each part."""

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of bytes of each, shape (n,)."""

    def take(self, rows: Rows) -> Self:
        """Return those of some rows."""

    def sha256(self) -> list[bytes]:
        """Return the digest (32 bytes) of each."""


class Sink:
    """Where the fingerprints of one modality go, in one chunk."""

    def __init__(self, known: Known, verdicts: list[Unreadable], answers: Sequence[Path] = ()) -> None:
        """Take what the base knows, the list of all reasons why something can't be read, and how models answered."""
        self._known, self._verdicts, self._answers = known, verdicts, answers
        self._probes: dict[str, Vector] = {}  # by the file's name
        self._made: tuple[Batch, dict[str, Vectors]] = ([], {})  # vectors of the last items, by model
        self.prints = Prints()

    def lacking(self, contents: Digests, rows: Rows) -> Rows:
        """Return those of some rows whose content neither the base nor this chunk has; equal ones once.

        They count as met: `add` must follow, with their fingerprints in this order.
        """
        new = rows[~self._known.contents.has(contents[rows])]
        return new[number(self.prints.number, [bytes(contents[row]) for row in new])[1]]

    def add(self, arrays: Arrays) -> None:
        """Take the fingerprints of contents that were lacking, a row each."""
        self.prints.add(arrays)

    def encode(self, name: str, model: Encoder, items: Batch) -> Vectors:
        """Return a model's vectors of some items; what it says must be what it said for the base."""
        file = probe.file_name(model.modality, name)
        if file not in self._probes:
            self._probes[file] = probe.answer(model)
            probe.require(self._probes[file], self._answers, file)
        return self._vectors(model, items)

    def encode_pieces(self, name: str, model: Encoder, pieces: Sequence[Piece], most: int) -> Arrays:
        """Return a model's vectors of the pieces of one content, and when these are; NaN and -1 up to `most`."""
        vectors, millis = np.full((1, most, model.dim), np.nan, np.float32), np.full((1, most), -1)
        vectors[0, : len(pieces)] = self.encode(name, model, [piece.data for piece in pieces])
        millis[0, : len(pieces)] = [piece.millis for piece in pieces]
        return {name: vectors, f"{name}.millis": millis}

    def _vectors(self, model: Encoder, items: Batch) -> Vectors:
        """Return a model's vectors; what another one is made of is computed once."""
        if self._made[0] is not items:
            self._made = items, {}
        made = self._made[1]
        if model.digest not in made:
            if isinstance(model, Aligned):
                made[model.digest] = model.lift(self._vectors(model.base, items))
            else:
                made[model.digest] = model.encode(items)
        return made[model.digest]

    def write(self, out: Path, modality: str) -> None:
        """Write the fingerprints, and how the models answered."""
        self.prints.write(out, modality)
        for name, vector in self._probes.items():
            np.save(out / name, vector)

    def verdict(self, verdict: Unreadable) -> int:
        """Return the number of a reason why something can't be read."""
        self._verdicts.append(verdict)
        return len(self._verdicts) - 1


class Seen(Protocol):
    """What is in one payload."""

    @property
    def content(self) -> bytes:
        """Return the digest of what is normalised, 32 bytes."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Return how much it is, by name in SIZES."""

    def arrays(self) -> Arrays:
        """Return its fingerprints, one row each."""


def one_by_one(payloads: Payloads[Payload], sink: Sink, see: Callable[[Payload], Seen]) -> Found:
    """Look at each payload alone; `see` raises Unreadable for one that holds nothing."""
    found = Found.nothing(len(payloads))
    for row, payload in enumerate(payloads):
        try:
            seen = see(payload)
        except Unreadable as verdict:
            found.verdict[row] = sink.verdict(verdict)
            continue
        found.content[row] = np.frombuffer(seen.content, np.uint8)
        found.size[row] = [seen.sizes.get(name, 0) for name in SIZES]
        if len(sink.lacking(found.content, np.array([row]))):
            sink.add(seen.arrays())
    return found


def number(met: dict[bytes, int], digests: Sequence[bytes]) -> tuple[Rows, Rows]:
    """Number digests in the order in which they are met.

    Returns the number of each, and the rows in which one is met for the first time.
    """
    before = len(met)
    numbers = np.array([met.setdefault(digest, len(met)) for digest in digests], np.int64)
    highest = np.maximum.accumulate(np.append(before - 1, numbers))
    return numbers, np.flatnonzero(highest[1:] > highest[:-1])


@functools.lru_cache(maxsize=8)
def encoder(spec: str, modality: str) -> Encoder:
    """Open an encoder, once in a process."""
    return open_encoder(spec, modality)
