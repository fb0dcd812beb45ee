"""Images: their decoded pixels are their content; a perceptual hash and an embedding are their fingerprints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint import image
from dedupver.fingerprint.look import Look, Sink, encoder, one_by_one
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from dedupver import params
    from dedupver.fingerprint.prints import Arrays


def look(settings: params.Image, sink: Sink, joint: str | None = None) -> Look:
    """Return the look at images."""
    return partial(one_by_one, sink=sink, see=partial(_see, settings=settings, sink=sink, joint=joint))


@dataclass(frozen=True)
class _Image:
    """An image that can be read (look.Seen)."""

    pixels: npt.NDArray[np.uint8]
    code: npt.NDArray[np.uint64]
    structured: bool  # its hash and vector say enough to be compared
    model: str | None
    joint: str | None
    sink: Sink
    content: bytes
    sizes: dict[str, int]

    def arrays(self) -> Arrays:
        """Return the hash, whether it says something, and the vector."""
        arrays: Arrays = {"phash": self.code[None], "phash.valid": np.array([self.structured])}
        items = [self.pixels]
        if self.model:
            model = encoder(self.model, "image")
            nothing = np.full((1, model.dim), np.nan, np.float32)
            arrays["embedding"] = self.sink.encode("embedding", model, items) if self.structured else nothing
        if self.joint:
            arrays["joint"] = self.sink.encode("joint", encoder(self.joint, "image"), items)
        return arrays


def _see(data: memoryview, settings: params.Image, sink: Sink, joint: str | None) -> _Image:
    how = image.Decoding(settings.max_pixels, settings.frame, settings.background)
    pixels = image.decode(bytes(data), how)
    information, code = image.look(pixels, settings.hash_size)
    if information == "blank":
        raise Unreadable("blank_image", "one colour")
    size = {"pixels": pixels.shape[0] * pixels.shape[1]}
    return _Image(pixels, code, information == "ok", settings.encoder, joint, sink, image.pixel_digest(pixels), size)
