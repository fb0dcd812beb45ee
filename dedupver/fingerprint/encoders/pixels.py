"""Pixels → a model's input: resized, cut, scaled and laid out as the model was trained."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from dedupver.fingerprint.raster import BICUBIC, resize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupver.fingerprint.encoders.model import Pixels

FILTERS: Final = {name: Image.Resampling[name.upper()] for name in ("nearest", "lanczos", "bilinear", "bicubic")}
"""How samples are weighed when an image is resized, as Pillow has it."""

LARGEST: Final = 4096
_HALF: Final = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become a model's input: the fields of the JSON file beside an ONNX model, and their defaults.

    By default the whole image is resized to `size` x `size`, whatever its shape: a crop of the centre would lose the
    very borders by which two images differ. With `shortest` the shorter side is resized to so many pixels and the
    centre is cut out, which is what many models saw in training. `filter` is one of FILTERS. Then
    (value / 255 - mean) / std for each of R, G, B; the defaults are ImageNet's. `output` is the name of the output to
    take, by default the first.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    layout: str = "NCHW"
    output: str | None = None
    shortest: int | None = None
    filter: str = "bicubic"

    def __post_init__(self) -> None:
        """Raise ValueError where a field makes no sense."""
        for name, side in (("size", self.size), ("shortest", self.shortest or self.size)):
            if not isinstance(side, int) or not 0 < side <= LARGEST:
                raise ValueError(f"{name} must be a whole number of pixels from 1 to {LARGEST}")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(float(s) > 0 for s in self.std):
            raise ValueError("mean and std must be three numbers each, std above 0")
        if self.layout not in {"NCHW", "NHWC"}:
            raise ValueError("layout must be NCHW or NHWC")
        if self.filter not in FILTERS:
            raise ValueError(f"filter must be one of {', '.join(FILTERS)}")

    def said(self) -> dict[str, Any]:
        """Return what decides on the vectors; fields that came later are left out where they say nothing."""
        later = {"shortest": None, "filter": "bicubic"}
        return {name: value for name, value in asdict(self).items() if value != later.get(name, ...)}

    def apply(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """The model's input for one image, shape (1, 3, size, size) or (1, size, size, 3)."""
        resized = self._resized(np.ascontiguousarray(pixels))
        planes = np.stack([levels[resized[:, :, channel]] for channel, levels in enumerate(self._levels)])
        return (planes if self.layout == "NCHW" else np.ascontiguousarray(planes.transpose(1, 2, 0)))[None]

    def _resized(self, pixels: Pixels) -> Pixels:
        if self.shortest is None and self.filter == "bicubic":
            return resize(pixels, self.size, BICUBIC)
        height, width, _ = pixels.shape
        across, down = self.size, self.size
        if self.shortest:  # the longer side is cut to whole pixels, as the libraries of these models do
            across, down = (self.shortest * side // min(height, width) for side in (width, height))
        return _centre(np.asarray(Image.fromarray(pixels).resize((across, down), FILTERS[self.filter])), self.size)

    @functools.cached_property
    def _levels(self) -> npt.NDArray[np.float32]:
        """What each of the 256 levels becomes, shape (3, 256)."""
        mean, std = np.asarray([self.mean, self.std], np.float32)[:, :, None]
        return (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std


def of_transformers(stated: Mapping[str, Any]) -> Preprocessing:
    """Return what the preprocessor_config.json of a model of transformers says.

    Raises ValueError for steps that are not known here.
    """
    size = stated.get("size", 224)
    size = size if isinstance(size, dict) else {"shortest_edge": size}
    shortest = size.get("shortest_edge")
    cut = stated.get("crop_size", shortest)
    side = size["height"] if shortest is None else cut["height"] if isinstance(cut, dict) else cut
    if size.get("width", side) != size.get("height", side) or not stated.get("do_resize", True):
        raise ValueError(f"images are prepared in a way that is not known here: {dict(stated)}")
    if shortest is not None and not stated.get("do_center_crop", True):
        raise ValueError("images of every shape, without a crop of the centre")
    names = {number: name for name, number in FILTERS.items()}
    mean, std = tuple(stated.get("image_mean") or _HALF), tuple(stated.get("image_std") or _HALF)
    if not stated.get("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return Preprocessing(side, mean, std, shortest=shortest, filter=names[Image.Resampling(stated.get("resample", 3))])


def _centre(pixels: Pixels, side: int) -> Pixels:
    """Return the centre, side x side; where the image is smaller, black is put around it."""
    height, width, channels = pixels.shape
    if min(height, width) < side:
        room = np.zeros((max(height, side), max(width, side), channels), np.uint8)
        top, left = (room.shape[0] - height) // 2, (room.shape[1] - width) // 2
        room[top : top + height, left : left + width] = pixels
        pixels, (height, width) = room, room.shape[:2]
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]
