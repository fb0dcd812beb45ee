"""Bytes of an image → canonical pixels, their digest, a perceptual hash, and whether that hash says anything.

Canonical pixels are 8-bit RGB, upright and opaque, so that the same picture has the same digest in whatever container,
orientation or palette it came. Colour profiles are not applied. Whatever is wrong with an image ends in `Unreadable`.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dedupver.fingerprint.raster import LANCZOS, deviates, grey, resize
from dedupver.schema import ParamsError, Unreadable

if TYPE_CHECKING:
    import numpy.typing as npt

FORMATS: Final = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
"""Formats with a signature of their own. Without one (TGA, PCX) other data passes for an image; EPS runs a program."""

SEQUENCES: Final = frozenset({"AVIF", "GIF", "PNG", "TIFF", "WEBP"})
"""Formats whose frames follow each other; the second picture of an MPO is a thumbnail or a gain map."""

FRAME_WORK: Final = 32
"""A middle frame is refused when reaching it means decoding more than this many times `max_pixels`."""

GRID: Final = 32
"""The perceptual hash sees an image as this many cells a side: 8 coefficients times imagehash's `highfreq_factor` 4."""

BLANK_DEVIATION: Final = 1.0
"""Grey levels. An image whose three channels all deviate less than this is one colour, give or take its compression."""

CELL_CHANGE, SHARE_CHANGED = 2.0, 0.25
"""Cells that differ from the median cell by 2 grey levels, and the share of them that makes a picture.

Measured: 28 photographs and scans have .43 or more, also at 6 % of their contrast; different marks of up to a tenth of
a white page have at most .14 and often the very same code, and their codes part (10 bits or more) only from .2 on.
"""

FIRM_DISTANCE, FIRM_BITS = 64.0, 48
"""Coefficients at least this far from their median, and how many of the 64 must be.

One grey level of noise in each cell moves a coefficient by 64 (4 · sqrt(32 · 32) / 2). Measured: the photographs have
53 or more such bits, gradients, stripes, chessboards and noise at most 42; the other bits are rounding errors.
"""

_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Decoding:
    """What decides on an image's pixels, and therefore on its fingerprints.

    `max_pixels` is width times height of one frame; Pillow's own limit of 179 million stands above any larger setting.
    `frame` is `first` or `middle` of an animation or a TIFF of several pages; `background` the RGB below transparency.
    """

    max_pixels: int = 100_000_000
    frame: str = "first"
    background: tuple[int, int, int] = (255, 255, 255)


def decode(data: bytes, how: Decoding) -> npt.NDArray[np.uint8]:
    """Canonical pixels, shape (height, width, 3), RGB, read-only; the size is checked before any pixel is decoded.

    Grey samples of more than 8 bits are scaled to 0..255: 16 bits by 1/257; 32-bit integers likewise if all are in
    0..65535, else from their minimum to their maximum; floats by 255 if all are in 0..1, else from minimum to maximum,
    where NaN and infinities count as the minimum. Colour of 16 bits a channel keeps the high byte.

    Raises Unreadable with the code `pixel_bomb`, `truncated_image` or `unreadable_image`. Not for threads: Pillow's
    warnings are muted, and that is a setting of the process until Python 3.14.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _decode(data, how)
        except Unreadable:
            raise
        except Exception as error:  # hostile bytes make decoders raise nearly anything
            raise _verdict(error) from error


def pixel_digest(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The sha256 (32 bytes) of the shape, as little-endian int64, and the pixels in C order."""
    digest = hashlib.sha256(np.array(pixels.shape, "<i8").tobytes())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()


def phash(pixels: npt.NDArray[np.uint8], hash_size: int = 8) -> npt.NDArray[np.uint64]:
    """The perceptual hash of imagehash.phash, shape (hash_size² / 64,): its bits row by row, the first one highest.

    The same as imagehash's under Pillow 13; before, Pillow shrank tall images in another order, which moves few bits.
    Raises ParamsError where the bits do not fill 64-bit words.
    """
    if hash_size < 1 or hash_size % 8:
        raise ParamsError(f"fingerprint.image.hash_size is {hash_size}; use a multiple of 8, such as 8 or 16")
    return _code(_cells(pixels, 4 * hash_size), hash_size)


def information(pixels: npt.NDArray[np.uint8]) -> str:
    """How much the perceptual hash of an image says: `blank` (one colour), `low` (too little to compare) or `ok`.

    `low` is for gradients, stripes, noise and small marks on an even ground: different ones share a code by accident.
    """
    return _information(pixels, _cells(pixels, GRID))


def look(pixels: npt.NDArray[np.uint8], hash_size: int = 8) -> tuple[str, npt.NDArray[np.uint64]]:
    """The `information` and the `phash` of an image; of 8 x 8 bits they share what costs most, the small picture."""
    cells = _cells(pixels, GRID)
    return _information(pixels, cells), _code(cells, 8) if hash_size == 8 else phash(pixels, hash_size)


def look_at_luma(luma: npt.NDArray[np.uint8], turn: int = 0) -> tuple[str, npt.NDArray[np.uint64]]:
    """The `information` and the `phash` of 8 x 8 bits of a picture of which the luma is known, shape (height, width).

    `turn` is how many quarter turns to the left it is hashed at.
    """
    cells = np.rot90(resize(luma[:, :, None], GRID, LANCZOS)[:, :, 0].astype(np.float64), turn)
    return _information(luma[:, :, None], cells), _code(cells, 8)


def _information(pixels: npt.NDArray[np.uint8], cells: npt.NDArray[np.float64]) -> str:
    if not deviates(np.ascontiguousarray(pixels), BLANK_DEVIATION):
        return "blank"
    changed = np.abs(cells - _median(cells)) >= CELL_CHANGE
    coefficients = _coefficients(cells, 8)
    firm = np.abs(coefficients - _median(coefficients)) >= FIRM_DISTANCE
    return "ok" if changed.mean() >= SHARE_CHANGED and firm.sum() >= FIRM_BITS else "low"


def _code(cells: npt.NDArray[np.float64], hash_size: int) -> npt.NDArray[np.uint64]:
    coefficients = _coefficients(cells, hash_size)
    return np.packbits(coefficients > _median(coefficients)).view(">u8").astype(np.uint64)


def _decode(data: bytes, how: Decoding) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data), formats=_known_formats()) as image:
        _check_size(image, how)
        if how.frame == "middle" and image.format in SEQUENCES:
            _seek_middle(image, how)
        image.load()
        _check_size(image, how)  # an ICO learns its size from the picture inside
        return _to_rgb(_orient(image), how.background)


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_size(image: Image.Image, how: Decoding) -> None:
    width, height = image.size
    if width * height > how.max_pixels:
        raise Unreadable("pixel_bomb", f"{width} x {height} pixels; fingerprint.image.max_pixels is {how.max_pixels}")
    if width * height == 0:
        raise Unreadable("unreadable_image", "no pixels")


def _seek_middle(image: Image.Image, how: Decoding) -> None:
    middle = getattr(image, "n_frames", 1) // 2
    if image.width * image.height * middle > FRAME_WORK * how.max_pixels:
        raise Unreadable("pixel_bomb", f"{middle} frames of {image.width} x {image.height} pixels to the middle")
    image.seek(middle)
    _check_size(image, how)  # pages of a TIFF have sizes of their own


def _orient(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - damaged metadata says nothing of the pixels
        return image
    method = _UPRIGHT.get(orientation)
    return image if method is None else image.transpose(method)


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    if image.mode == "F" or image.mode.startswith("I"):
        return np.repeat(_grey(image)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image
        return np.asarray(_composite(straight.convert("RGBA"), background))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _composite(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=image)
    return canvas


def _grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    samples = np.asarray(image)
    if image.mode.startswith("I;16"):
        return _to_8_bits(samples)
    if image.mode == "I" and _is_unsigned(image):
        samples = samples.view(np.uint32)
    finite = samples[np.isfinite(samples)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if image.mode == "I" and low >= 0 and high <= 0xFFFF:
        return _to_8_bits(samples)
    if image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    known = np.where(np.isfinite(samples), samples.astype(np.float64), low)
    return np.rint((known - low) * 255 / (high - low or 1)).astype(np.uint8)


def _to_8_bits(samples: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return ((samples.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _is_unsigned(image: Image.Image) -> bool:
    """Whether a TIFF says that its samples are unsigned 32-bit integers, which Pillow hands out as signed ones."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(258) == (32,) and tags.get(339, (1,)) == (1,)  # BitsPerSample, SampleFormat


def _cells(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.float64]:
    return resize(grey(np.ascontiguousarray(pixels)), side, LANCZOS)[:, :, 0].astype(np.float64)


def _coefficients(cells: npt.NDArray[np.float64], lowest: int) -> npt.NDArray[np.float64]:
    """The lowest rows and columns of the discrete cosine transform (type II, not normalised), as imagehash takes it."""
    from scipy.fftpack import dct  # noqa: PLC0415 - scipy takes as long to load as all that texts need

    transformed: npt.NDArray[np.float64] = dct(dct(cells, axis=0), axis=1)[:lowest, :lowest]
    return transformed


def _median(values: npt.NDArray[np.float64]) -> float:
    """Of an even number of values; several times as fast as numpy's, which an image of an icon's size would feel."""
    ordered, half = np.sort(values, axis=None), values.size // 2
    return float(ordered[half - 1] + ordered[half]) / 2


def _verdict(error: Exception) -> Unreadable:
    """The code and a reason that is the same in every run: no addresses of objects, no endless message."""
    if isinstance(error, Image.DecompressionBombError):
        return Unreadable("pixel_bomb", str(error))
    if isinstance(error, UnidentifiedImageError):
        return Unreadable("unreadable_image", f"no image in a known format ({', '.join(FORMATS)})")
    reason = re.sub(r"<[^>]*\bat 0x[0-9a-fA-F]+>", "the file", f"{type(error).__name__}: {error}")[:200]
    truncated = isinstance(error, EOFError) or "truncated" in reason.lower()
    return Unreadable("truncated_image" if truncated else "unreadable_image", reason)
