"""Decoding, digesting and hashing of images."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import numpy.typing as npt
import pytest
import skimage
import sklearn.datasets
import tifffile
from PIL import Image, ImageDraw, ImageFile, ImageOps

from dedupver.fingerprint.image import Decoding, decode, information, look, phash, pixel_digest
from dedupver.schema import ParamsError, Unreadable

HOW = Decoding()
_SKIMAGE = Path(skimage.__file__).parent / "data"
_SKLEARN = Path(sklearn.datasets.__file__).parent / "images"
_PNG = ("astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel", "ihc")
PHOTOS = [
    *(_SKIMAGE / f"{name}.png" for name in (*_PNG, "moon", "motorcycle_left")),
    *(_SKIMAGE / f"{name}.jpg" for name in ("hubble_deep_field", "rocket")),
    *(_SKLEARN / f"{name}.jpg" for name in ("china", "flower")),
]


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The file that holds a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(samples: npt.NDArray[Any], **options: Any) -> bytes:
    """A TIFF with these samples."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and then ends: decoding any pixel would fail."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def code_of(data: bytes, how: Decoding = HOW) -> str:
    """The code with which an image is refused."""
    with pytest.raises(Unreadable) as verdict:
        decode(data, how)
    return verdict.value.code


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    """A small photograph."""
    return Image.open(_SKIMAGE / "chelsea.png").convert("RGB").resize((90, 60))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "QOI"])
def test_containers_do_not_matter(cat: Image.Image, kind: str) -> None:
    """The same pixels have the same digest in every lossless format."""
    pixels = decode(encoded(cat, kind), HOW)
    assert np.array_equal(pixels, np.asarray(cat))
    assert pixel_digest(pixels) == pixel_digest(np.asarray(cat))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000", "GIF", "ICO"])
def test_other_formats_decode(cat: Image.Image, kind: str) -> None:
    """Lossy and small formats give RGB pixels near the original."""
    pixels = decode(encoded(cat.resize((64, 64)), kind), HOW)
    assert np.abs(pixels.astype(int) - np.asarray(cat.resize((64, 64)))).mean() < 12


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bits_are_scaled_not_clipped(order: str) -> None:
    """Samples of 16 bits are divided by 257 and rounded, in either byte order."""
    samples = np.array([[0, 128, 129, 40000, 60000, 65535]], np.uint16)
    expected = [0, 0, 1, 156, 233, 255]
    assert decode(tiff(samples, byteorder=order), HOW)[0, :, 0].tolist() == expected
    assert decode(encoded(Image.fromarray(samples)), HOW)[0, :, 2].tolist() == expected


def test_16_bit_colour_keeps_the_high_byte() -> None:
    """Colour of 16 bits a channel is scaled too."""
    samples = np.array([[[0, 40000, 60000], [65535, 256, 255]]], np.uint16)
    assert decode(tiff(samples, photometric="rgb"), HOW).tolist() == [[[0, 156, 234], [255, 1, 0]]]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([[0, 40000, 65535]], np.int32), [0, 156, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0, 3_000_000_000, 4_000_000_000]], np.uint32), [0, 191, 255]),
        (np.array([[0.0, 0.5, 0.8]], np.float32), [0, 128, 204]),
        (np.array([[0.0, 50.0, 200.0]], np.float32), [0, 64, 255]),
        (np.array([[np.nan, 1.0, 3.0, np.inf]], np.float32), [0, 0, 255, 0]),
        (np.array([[np.nan, np.nan]], np.float32), [0, 0]),
        (np.array([[7e4, 7e4]], np.float32), [0, 0]),
    ],
)
def test_wide_samples_follow_the_documented_rule(samples: npt.NDArray[Any], expected: list[int]) -> None:
    """Integers of 32 bits and floats are scaled by their nominal range, or from minimum to maximum."""
    assert decode(tiff(samples), HOW)[0, :, 1].tolist() == expected


def test_alpha_is_composited() -> None:
    """Transparent pixels show the background, half transparent ones are mixed with it."""
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    data = encoded(Image.fromarray(rgba))
    assert decode(data, HOW).tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]
    assert decode(data, Decoding(background=(0, 0, 9)))[0, 1].tolist() == [0, 0, 9]


def test_transparency_without_an_alpha_channel() -> None:
    """A transparent palette entry, grey value or colour (tRNS) shows the background."""
    grey = Image.fromarray(np.array([[10, 20]], np.uint8))
    assert decode(encoded(grey, transparency=10), HOW)[0, :, 0].tolist() == [255, 20]
    palette = grey.convert("P")
    assert decode(encoded(palette, transparency=10), HOW)[0, :, 0].tolist() == [255, 20]
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert decode(encoded(colour, transparency=(1, 2, 3)), HOW).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    assert decode(encoded(Image.merge("LA", (grey, grey.point([0] * 256)))), HOW)[0, :, 0].tolist() == [255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_colour_spaces_become_rgb(cat: Image.Image, mode: str) -> None:
    """Each mode that a TIFF can hold is converted as Pillow converts it."""
    source = Image.open(io.BytesIO(encoded(_converted(cat, mode), "TIFF")))
    assert source.mode == mode
    assert np.array_equal(decode(encoded(source, "TIFF"), HOW), np.asarray(source.convert("RGB")))


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    if mode != "LAB":
        return picture.convert(mode)
    return Image.merge("LAB", picture.split())


def test_cmyk_jpeg_is_not_inverted(cat: Image.Image) -> None:
    """The inverted ink values of Adobe's CMYK JPEG come out as the right colours."""
    pixels = decode(encoded(cat.convert("CMYK"), "JPEG", quality=95), HOW)
    assert np.abs(pixels.astype(int) - np.asarray(cat)).mean() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation(cat: Image.Image, orientation: int, kind: str) -> None:
    """Each of the 8 orientations is turned upright, once, as ImageOps.exif_transpose does."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(cat, kind, exif=exif, **options)
    expected = encoded(cat, exif=exif)
    assert np.array_equal(decode(data, HOW), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(expected)))))


def test_damaged_exif_is_no_orientation(cat: Image.Image) -> None:
    """An EXIF block that can't be read does not cost the image."""
    pixels = decode(encoded(cat, "PNG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"), HOW)
    assert np.array_equal(pixels, np.asarray(cat))


def test_frame_policy() -> None:
    """`first` and `middle` choose the frame of an animation and the page of a TIFF."""
    frames = [Image.new("RGB", (4, 4), (level, level, level)) for level in (0, 100, 200)]
    for kind in ("GIF", "PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert decode(data, HOW)[0, 0, 0] == 0
        assert decode(data, Decoding(frame="middle"))[0, 0, 0] == 100


def test_second_picture_of_an_mpo_is_no_frame() -> None:
    """`middle` does not take the thumbnail or gain map of an MPO."""
    frames = [Image.new("RGB", (8, 8), (level, level, level)) for level in (0, 200)]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    assert decode(data, Decoding(frame="middle"))[0, 0, 0] < 50


def test_large_page_behind_a_small_one_is_refused() -> None:
    """The size of the chosen page counts, not the first one's; and so does the work to reach a frame."""
    pages = [Image.new("L", (size, size)) for size in (4, 50)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert code_of(data, Decoding(max_pixels=100, frame="middle")) == "pixel_bomb"
    frames = [Image.new("L", (10, 10), n) for n in range(100)]
    long = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert code_of(long, Decoding(max_pixels=100, frame="middle")) == "pixel_bomb"


@pytest.mark.parametrize(("width", "height"), [(11_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_pixel_bomb_is_refused_from_its_header(width: int, height: int) -> None:
    """Neither our cap nor Pillow's limit needs a decoded pixel; just below it the pixels are what fails."""
    assert code_of(png_header(width, height)) == "pixel_bomb"
    assert code_of(png_header(10_000, 10_000)) == "truncated_image"


def test_nothing_global_changes() -> None:
    """Decoding leaves Pillow's limits and the process's warning filters alone, and is not moved by them."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert code_of(png_header(9_999, 9_999)) == "truncated_image"
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_truncation_has_its_own_code(cat: Image.Image, kind: str) -> None:
    """A file cut in half is truncated, not half an image."""
    data = encoded(cat, kind)
    assert code_of(data[: len(data) // 2]) == "truncated_image"


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "JPEG2000", "QOI"])
def test_other_formats_refuse_truncation(cat: Image.Image, kind: str) -> None:
    """Formats whose decoders don't say why still refuse a file cut in half."""
    data = encoded(cat, kind)
    assert code_of(data[: len(data) // 2]) in {"truncated_image", "unreadable_image"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"hello, world\n" * 99,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        bytes(range(256)) * 9,
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    """Empty, mislabelled and unknown data is unreadable."""
    assert code_of(data) == "unreadable_image"


def test_formats_that_run_programs_are_refused(cat: Image.Image) -> None:
    """An EPS would be handed to Ghostscript."""
    assert code_of(encoded(cat, "EPS")) == "unreadable_image"


def test_reasons_are_the_same_in_every_run() -> None:
    """A reason holds no address of an object and no endless message."""
    with pytest.raises(Unreadable) as verdict:
        decode(b"no image", HOW)
    assert "0x" not in verdict.value.reason
    assert len(verdict.value.reason) <= 250


@pytest.mark.parametrize(
    "error",
    [
        *(OSError, SyntaxError, ValueError, struct.error, EOFError, MemoryError, ZeroDivisionError, OverflowError),
        *(IndexError, TypeError, AttributeError, KeyError, RecursionError, zlib.error, NotImplementedError),
    ],
)
def test_any_error_of_a_decoder_is_a_verdict(
    cat: Image.Image, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Whatever a decoder raises quarantines the image instead of ending the run."""

    def fail(*_: object) -> None:
        raise error("<PIL.Thing object at 0x7f00aa>" * 50)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(Unreadable) as verdict:
        decode(encoded(cat, "BMP"), HOW)
    assert "0x7f" not in verdict.value.reason
    assert len(verdict.value.reason) <= 250


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "ICO", "QOI"])
def test_flipped_bytes_never_crash(cat: Image.Image, kind: str) -> None:
    """Damaged files decode to RGB pixels within the cap or are refused."""
    random = np.random.default_rng(7)
    data = np.frombuffer(encoded(cat.resize((40, 30)), kind), np.uint8)
    for number in range(40):
        hurt = data.copy()
        where = random.integers(0, min(len(hurt), random.choice([60, len(hurt)])), size=random.choice([1, 3, 20]))
        hurt[where] = random.integers(0, 256, size=len(where))
        try:
            pixels = decode(hurt.tobytes(), Decoding(max_pixels=10**6, frame=("first", "middle")[number % 2]))
        except Unreadable:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        assert pixels.shape[0] * pixels.shape[1] <= 10**6


def test_pixel_digest_is_of_shape_and_pixels() -> None:
    """The digest is sha256 of the shape and the bytes; a transposed view is digested in C order."""
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    shape = struct.pack("<qqq", 2, 3, 3)
    assert pixel_digest(pixels) == hashlib.sha256(shape + bytes(range(18))).digest()
    assert pixel_digest(pixels) != pixel_digest(pixels.reshape(3, 2, 3))
    assert pixel_digest(pixels.transpose(1, 0, 2)) == pixel_digest(pixels.transpose(1, 0, 2).copy())


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_phash_is_imagehash(path: Path) -> None:
    """The code equals imagehash.phash bit for bit, and reads as its hex, for 64 and 256 bits."""
    pixels = decode(path.read_bytes(), HOW)
    for size in (8, 16):
        code = phash(pixels, size)
        assert code.shape == (size * size // 64,)
        assert code.dtype == np.uint64
        assert "".join(f"{word:016x}" for word in code.tolist()) == str(imagehash.phash(Image.fromarray(pixels), size))


@pytest.mark.parametrize("size", [0, 4, 12, -8])
def test_phash_fills_words(size: int) -> None:
    """A size whose bits don't fill 64-bit words is refused, with the parameter's name."""
    with pytest.raises(ParamsError, match="hash_size"):
        phash(np.zeros((32, 32, 3), np.uint8), size)


@pytest.mark.parametrize("path", PHOTOS, ids=lambda path: path.name)
def test_photographs_say_enough(path: Path) -> None:
    """Every real photograph is worth a perceptual hash, also small or at a tenth of its contrast."""
    pixels = decode(path.read_bytes(), HOW)
    assert information(pixels) == "ok"
    small = Image.fromarray(pixels).resize((96, 96))
    assert information(np.asarray(small)) == "ok"


def test_dark_and_pale_photographs_say_enough() -> None:
    """Little contrast is not little information."""
    pixels = decode((_SKIMAGE / "coffee.png").read_bytes(), HOW)
    assert information((pixels * 0.1).astype(np.uint8)) == "ok"
    assert information((200 + pixels * 0.1).astype(np.uint8)) == "ok"


def test_one_colour_is_blank() -> None:
    """One colour is blank in any colour and size, also with the noise that compression adds."""
    for colour in ((0, 0, 0), (255, 255, 255), (13, 200, 90)):
        plain = Image.new("RGB", (64, 48), colour)
        assert information(np.asarray(plain)) == "blank"
        assert information(decode(encoded(plain, "JPEG", quality=30), HOW)) == "blank"
    assert information(np.zeros((1, 1, 3), np.uint8)) == "blank"


def _plain(draw_on: str) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[0:240, 0:320]
    noise = np.random.default_rng(0).normal(128, 5, (240, 320))
    grey = {
        "left to right": x * 255 / 319,
        "diagonal": (x + y) * 255 / 558,
        "weak": 120 + (x + y) * 20 / 558,
        "round": np.hypot(x - 160, y - 120),
        "two halves": np.where(y < 120, 0, 255),
        "chessboard": (x // 40 + y // 40) % 2 * 255,
        "noise": noise.clip(0, 255),
    }[draw_on]
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize("name", ["left to right", "diagonal", "weak", "round", "two halves", "chessboard", "noise"])
def test_patterns_say_too_little(name: str) -> None:
    """Gradients, halves, chessboards and noise have codes made of rounding errors."""
    assert information(_plain(name)) == "low"


def test_different_small_marks_share_a_code_and_say_too_little() -> None:
    """Why `low` exists: a disc and a square at the same place of a white page have the same code."""
    pages = [Image.new("RGB", (640, 480), "white") for _ in range(2)]
    ImageDraw.Draw(pages[0]).ellipse((130, 280, 170, 320), fill="black")
    ImageDraw.Draw(pages[1]).rectangle((130, 280, 170, 320), fill="navy")
    disc, square = (np.asarray(page) for page in pages)
    assert np.array_equal(phash(disc), phash(square))
    assert information(disc) == information(square) == "low"


def test_colours_of_equal_grey_are_not_blank() -> None:
    """Red and green stripes of the same grey have a picture but no perceptual hash."""
    stripes = np.where((np.arange(320) // 40 % 2)[None, :, None] == 0, [130, 0, 0], [0, 66, 0])
    assert information(np.repeat(stripes, 240, axis=0).astype(np.uint8)) == "low"


@pytest.mark.parametrize("size", [8, 16])
def test_one_look_tells_both(size: int) -> None:
    """What a look tells is the information and the perceptual hash, of a picture and of a mark on a page."""
    page = Image.new("RGB", (640, 480), "white")
    ImageDraw.Draw(page).ellipse((130, 280, 170, 320), fill="black")
    for pixels in (decode(PHOTOS[0].read_bytes(), HOW), np.asarray(page)):
        told, code = look(pixels, size)
        assert told == information(pixels)
        assert np.array_equal(code, phash(pixels, size))
