"""Images and texts in one space that `dedupver align` made: `aligned:DIR`, a linear map between two other encoders.

An image's vector is mapped to where the text encoder puts what is said of such images; the map was fitted on pairs of
the user's own. It knows what these pairs told it, and no more.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint.encoders import files
from dedupver.fingerprint.encoders.model import stacked, unit
from dedupver.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver.fingerprint.encoders.model import Batch, Encoder, Model, Vectors

FORMAT: Final = "aligned/1"
STATED: Final = "align.json"
ARRAYS: Final = ("matrix", "images", "texts")
"""The files NAME.npy: the map of images, shape (image's dim, dim), and what is added to images and texts, (dim,)."""

Matrix = npt.NDArray[np.float64]


class Aligned:
    """One side of the space: another encoder, and what becomes of its vectors."""

    def __init__(self, base: Encoder, matrix: Matrix | None, offset: Matrix, digest: str) -> None:
        """Take the map of images, shape (base.dim, dim), or None for texts, and what is added: shape (dim,)."""
        self.base, self.modality, self.digest, self.dim = base, base.modality, digest, len(offset)
        self._matrix, self._offset = matrix, offset

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        return self.lift(self.base.encode(batch))

    def lift(self, vectors: Vectors) -> Vectors:
        """Return where vectors of the base encoder are in the space; each by itself, so that none depends on others."""
        return stacked([unit(self._placed(row.astype(np.float64))) for row in vectors], self.dim)

    def _placed(self, row: Matrix) -> Matrix:
        return (row if self._matrix is None else row @ self._matrix) + self._offset


def find(directory: str, modality: str, find_model: Callable[[str, str], Model]) -> Model:
    """Find one side of such a space by its folder; `find_model` finds the encoder that it rests on."""
    folder = Path(directory)
    stated = _stated(folder / STATED)
    base = find_model(stated["encoders"][modality], modality)
    if base.digest != stated["digests"][modality]:
        raise ModelError(f"{folder} was made for another {stated['encoders'][modality]}: run `dedupver align` again")
    arrays = {name: files.read(folder / f"{name}.npy") for name in ARRAYS}
    digest = files.digest(FORMAT, {"modality": modality, "base": base.digest}, *arrays.values())

    def load() -> Encoder:
        matrix, images, texts = (np.load(io.BytesIO(data), allow_pickle=False) for data in arrays.values())
        of_image = modality == "image"
        return Aligned(base.load(), matrix if of_image else None, images if of_image else texts, digest)

    return files.model(digest, folder, load)


def _stated(path: Path) -> dict[str, Any]:
    try:
        stated: dict[str, Any] = json.loads(files.read(path))
    except ValueError as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    if stated.get("format") != FORMAT:
        raise ModelError(f"{path} has format {stated.get('format')!r}, this release reads {FORMAT!r}")
    return stated
