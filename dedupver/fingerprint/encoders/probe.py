"""Whether a model answers as it did when the base was made: a fixed text, image and sound, whose vectors are kept.

A digest pins a model's files, not the libraries that run them nor the device: another release may prepare images or cut
texts into tokens in another way, and vectors that drift apart must not meet in an index. Rounding moves the probe's
vector by 1e-6 or so; what is refused is a model that says something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver import store
from dedupver.fingerprint.encoders.model import rate_of
from dedupver.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dedupver.fingerprint.encoders.model import Encoder, Pixels, Samples, Vector

AGREED: Final = 0.9999
"""The cosine of two answers that are one. Below it, a pair at cosine .98 can have moved by more than .0028."""

ANSWERS: Final = "probe.*.npy"
"""The files of a directory that hold answers."""

_TEXT: Final = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich; 3 quick brown foxes don't."


def file_name(modality: str, name: str) -> str:
    """Return how the file of a probe's vector is called, in a chunk's directory as in a segment's."""
    return f"probe.{modality}.{name}.npy"


def answer(encoder: Encoder) -> Vector:
    """Return the encoder's vector of the probe of its modality."""
    if encoder.modality == "text":
        return encoder.encode([_TEXT])[0]
    return encoder.encode([_picture()] if encoder.modality == "image" else [_chirp(rate_of(encoder))])[0]


def require(now: Vector, answers: Sequence[Path], name: str) -> None:
    """Compare an answer with the newest one among those of the base's segments, oldest first, by the file's name.

    Raises ModelError where the model says something else.
    """
    path = next((path for path in reversed(answers) if path.name == name), None)
    if path is None:
        return
    before = store.read_array(path)
    cosine = float(before.astype(np.float64) @ now)
    if not (cosine >= AGREED or np.isnan([before, now]).all()):  # a model may have no vector for it, but then always
        raise ModelError(
            f"the encoder does not answer as it did for version {path.parent.name} (cosine {cosine:.6f} for the same "
            f"{name.split('.')[1]}): another release of a library, or another device, changed what the model says. Run "
            "the one that built the base, or set `version.base: none` to fingerprint all history again"
        )


def _chirp(rate: int) -> Samples:
    """Return two seconds of a tone that rises, and falls silent now and then."""
    time = np.arange(2 * rate) / rate
    tone = np.sin(2 * np.pi * (200 + 400 * time) * time) * (np.floor(5 * time) % 2)
    return np.rint(8000 * tone).astype(np.int16)


def _picture() -> Pixels:
    """Return a picture with an edge, gradients and a grid, wider than high; in integers, so that it never varies."""
    y, x = np.mgrid[:180, :240]
    disc = (x - 150) ** 2 + (y - 80) ** 2 < 2500
    planes = [np.where(disc, 230, x), (x * y // 97) % 256, np.where((x // 16 + y // 16) % 2, 40, y + 60)]
    return np.stack(planes, axis=2).astype(np.uint8)
