"""What an encoder is: a model that turns texts, images, or sounds, into unit vectors; and what it is told by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dedupver.schema import ModelError

Pixels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]
Samples = npt.NDArray[np.int16]
Batch = Sequence[str] | Sequence[Pixels] | Sequence[Samples]


class Encoder(Protocol):
    """A model that turns texts, images, or sounds, into unit vectors; one of sounds has a `rate` as well."""

    digest: str
    """Hex sha256 of the model, its preprocessing and the format of its vectors."""

    dim: int
    """The length of a vector."""

    modality: str
    """`text`, `image` or `audio`: what `encode` takes."""

    def encode(self, batch: Batch) -> Vectors:
        """Vectors of length 1, shape (len(batch), dim); a row of NaN where an item has no embedding.

        A text has none if it holds no known token, any item if the model answers with zeros or without a number. On a
        CPU a row depends on its item alone, bit for bit, whatever else is in the batch. Images are uint8
        (height, width, 3), RGB, sounds int16 (n,) of one channel at the encoder's `rate`. Raises ModelError where the
        items are of another modality.
        """


class Model(NamedTuple):
    """An encoder whose files were found and digested, and which is loaded only where there is something to encode."""

    digest: str
    load: Callable[[], Encoder]


def as_text(item: object) -> str:
    """Return an item that is a text."""
    if isinstance(item, str):
        return item
    raise ModelError("this encoder takes texts, not images: choose another one in params.yaml")


def as_pixels(item: object) -> Pixels:
    """Return an item that is an image."""
    if isinstance(item, np.ndarray):
        return item
    raise ModelError("this encoder takes images, not texts: choose another one in params.yaml")


def as_samples(item: object) -> Samples:
    """Return an item that is a sound."""
    if isinstance(item, np.ndarray) and item.ndim == 1:
        return item
    raise ModelError("this encoder takes sounds: choose another one in params.yaml")


def rate_of(encoder: Encoder) -> int:
    """Return how many samples a second an encoder of sounds listens at."""
    return int(encoder.rate)  # type: ignore[attr-defined]


def stacked(rows: Sequence[Vector], dim: int) -> Vectors:
    """Return rows as an array, shape (n, dim), also where there is none."""
    return np.stack(rows) if rows else np.empty((0, dim), np.float32)


def unit(vector: npt.NDArray[Any]) -> Vector:
    """Return the vector at length 1 in float32; all NaN where it has no direction."""
    wide = vector.astype(np.float64)
    norm = np.sqrt((wide * wide).sum())
    if not (np.isfinite(norm) and norm > 0):
        return np.full(len(wide), np.nan, np.float32)
    at_length_1: Vector = (wide / norm).astype(np.float32)
    return at_length_1
