"""The images: drawings and photographs from packages, edited copies of some of them, and who is a copy of whom.

Nothing of them is committed. The truth is how the files were made: an original and what was derived from it are one
family. Originals whose pixels are equal, opaque on white, are one family too; drawings that merely resemble each other
(a red button and a blue one) are not, so what a tool says of them counts as false, and a sample of it is listed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.tasks import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

LARGEST: Final = 4_000_000  # pixels of a drawing; a few of 170 million would outweigh all others
LONGEST: Final = 2048  # pixels of a photograph's longer side
QUALITY: Final = 95  # of the copies of photographs, unless the copy is about its compression

APT: Final = ("apt-get", "-q", "download")
DRAWINGS: Final = (Source("openclipart-png", APT),)
PHOTOS: Final = tuple(
    Source(name, APT)
    for name in ("lomiri-wallpapers-16.04", "lomiri-wallpapers-20.04", "mate-backgrounds", "ukui-wallpapers")
)
INSTALLED: Final = {"skimage": "data", "sklearn": "datasets/images"}
SIZES: Final = {"subset": (1500, 150), "full": (6900, 690)}
"""How many drawings there are, and of how many of them there are copies; there are copies of all photographs."""


def _crop(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((width // 10, height // 10, width - width // 10, height - height // 10))


def _shift(picture: Image.Image) -> Image.Image:
    """Warmer, brighter, more saturated."""
    warm = np.asarray(picture, np.float64) * (1.08, 1.0, 0.92)
    picture = Image.fromarray(np.clip(warm, 0, 255).astype(np.uint8))
    return ImageEnhance.Brightness(ImageEnhance.Color(picture).enhance(1.25)).enhance(1.1)


TRANSFORMS: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    "jpeg90": lambda p: p,
    "jpeg50": lambda p: p,
    "half": lambda p: p.resize((max(p.width // 2, 1), max(p.height // 2, 1)), Image.Resampling.BICUBIC),
    "crop80": _crop,
    "mirror": ImageOps.mirror,
    "rotate10": lambda p: p.rotate(10, Image.Resampling.BICUBIC, expand=True, fillcolor="white"),
    "rotate90": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "border": lambda p: ImageOps.expand(p, max(p.width, p.height) // 20, "black"),
    "colour": _shift,
}


@dataclass(frozen=True)
class Images:
    """A directory of image files, and of each file, by name, what it is."""

    data: Path
    names: list[str]
    family: npt.NDArray[np.int64]  # (files,)
    made: list[str]  # "original", or the transform
    bytes: int
    sha256: str


def prepare(size: str, work: Path) -> Images:
    """Return the images of the subset or the full benchmark, made when they are not there yet."""
    place = work / "images" / size
    if not (place / "truth.json").exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "data").mkdir(parents=True)
        truth = _make(place / "data", size, work)
        (place / "truth.json").write_text(json.dumps(truth, indent=0, sort_keys=True), encoding="utf-8")
    return load(place)


def load(place: Path) -> Images:
    """Return the images of a directory that `prepare` made."""
    truth: dict[str, Any] = json.loads((place / "truth.json").read_text())
    names = sorted(truth)
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0".encode() + hashlib.sha256((place / "data" / name).read_bytes()).digest())
    total = sum((place / "data" / name).stat().st_size for name in names)
    _, family = np.unique([truth[name]["family"] for name in names], return_inverse=True)
    made = [truth[name]["made"] for name in names]
    return Images(place / "data", names, family.astype(np.int64), made, total, digest.hexdigest())


def _make(data: Path, size: str, work: Path) -> dict[str, dict[str, str]]:
    most, copied = SIZES[size]
    draw = random.Random(0)  # noqa: S311 - a fixed choice
    found = drawings(work)
    photos = photographs(work)
    truth: dict[str, dict[str, str]] = {}
    for number, path in enumerate(draw.sample(found, min(most, len(found)))):
        truth |= family(f"d{number:04}", path, data, "PNG", copies=number < copied)
    for number, path in enumerate(photos):
        truth |= family(f"p{number:04}", path, data, "JPEG", copies=True)
    return truth


def family(stem: str, path: Path, data: Path, kind: str, *, copies: bool) -> dict[str, dict[str, str]]:
    """Put an original and, where asked, its copies into the data; return what they are."""
    picture = flat(path)
    if kind == "JPEG" and max(picture.size) > LONGEST:
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC)
        name = f"{stem}.jpg"
        picture.save(data / name, "JPEG", quality=QUALITY)
    else:
        name = f"{stem}{path.suffix.lower()}"
        shutil.copyfile(path, data / name)
    family = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
    told = {name: {"family": family, "made": "original", "from": path.name}}
    for made, change in TRANSFORMS.items() if copies else ():
        quality = int(made[4:]) if made.startswith("jpeg") else QUALITY
        saved = "JPEG" if made.startswith("jpeg") else kind
        name = f"{stem}-{made}.{'jpg' if saved == 'JPEG' else 'png'}"
        change(picture).save(data / name, saved, **({"quality": quality} if saved == "JPEG" else {}))
        told[name] = {"family": family, "made": made, "from": path.name}
    return told


def flat(path: Path) -> Image.Image:
    """Return a file's picture, upright, on white."""
    with Image.open(path) as file:
        upright = ImageOps.exif_transpose(file)
        above = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    white = Image.new("RGB", above.size, "white")
    white.paste(above, mask=above if above.mode == "RGBA" else None)
    return white


def photographs(work: Path) -> list[Path]:
    """Return the photographs of the packages and of the libraries that are installed, each in one size."""
    photos = [path for source in PHOTOS for path in unpack(source, work)] + list(_installed())
    return [path for path in photos if not re.search(r"_\d+x\d+$", path.stem)]  # one picture in further sizes


def drawings(work: Path) -> list[Path]:
    """Return the drawings that are not too large."""
    return pictures(DRAWINGS, work)


def pictures(sources: Iterable[Source], work: Path) -> list[Path]:
    """Return the pictures of some packages that are not too large."""
    return list(_fitting(path for source in sources for path in unpack(source, work)))


def unpack(source: Source, work: Path, suffixes: Collection[str] = (".png", ".jpg")) -> list[Path]:
    """Return the files of a Debian package that have one of some suffixes, unpacked when they are not there yet."""
    place = work / "unpacked" / source.package
    if not place.exists():
        building = place.with_name(f".{place.name}")
        building.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", str(source.fetch(work)), str(building)], check=True, stdout=sys.stderr)
        building.rename(place)
    return sorted(p for p in place.rglob("*") if p.suffix in suffixes and p.is_file() and not p.is_symlink())


def _installed() -> Iterator[Path]:
    for module, folder in INSTALLED.items():
        found = importlib.util.find_spec(module)
        if found and found.submodule_search_locations:
            place = Path(found.submodule_search_locations[0], folder)
            yield from sorted(p for p in place.iterdir() if p.suffix in {".png", ".jpg"})


def _fitting(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        with path.open("rb") as file:
            head = file.read(24)  # of a PNG: its signature, and its width and height
        if int.from_bytes(head[16:20]) * int.from_bytes(head[20:24]) <= LARGEST:
            yield path
