"""Pictures with what people wrote about them: emoji with their names, and drawings with titles, words and descriptions.

Nothing of them is committed. A pair is a PNG file and a line of text; its domain is where it comes from.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from benchmarks import image_tasks
from benchmarks.tasks import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NPM: Final = ("npm", "pack", "--silent")
VENDORS: Final = ("google", "twitter")
EMOJI: Final = {vendor: Source(f"emoji-datasource-{vendor}@16.0.0", NPM) for vendor in VENDORS}
VECTOR: Final = Source("openclipart-svg", ("apt-get", "-q", "download"))
_DC: Final = "{http://purl.org/dc/elements/1.1/}"
_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"


@dataclass(frozen=True)
class Pair:
    """A picture and what was written about it."""

    domain: str  # emoji | drawings
    image: Path
    caption: str


def emoji(work: Path) -> Iterator[Pair]:
    """Yield the emoji of each vendor with their names and keywords; skin tones are not told apart."""
    for vendor, source in EMOJI.items():
        place = work / "unpacked" / f"emoji-{vendor}"
        if not place.exists():
            building = place.with_name(f".{place.name}")
            with tarfile.open(source.fetch(work)) as package:
                wanted = (m for m in package if re.fullmatch(rf"package/(emoji\.json|img/{vendor}/64/.*)", m.name))
                package.extractall(building, members=wanted, filter="data")
            building.rename(place)
        for each in json.loads((place / "package/emoji.json").read_text(encoding="utf-8")):
            path = place / "package/img" / vendor / "64" / each["image"]
            if path.exists():
                words = [each["name"] or "", *each["short_names"], each["subcategory"]]
                yield Pair("emoji", path, _line(words))


def drawings(work: Path) -> Iterator[Pair]:
    """Yield the drawings of Open Clip Art with the title, the subjects and the description of their SVG source."""
    place = work / "unpacked" / VECTOR.package
    if not place.exists():
        building = place.with_name(f".{place.name}")
        subprocess.run(["dpkg-deb", "-x", str(VECTOR.fetch(work)), str(building)], check=True, stdout=sys.stderr)
        building.rename(place)
    for path in image_tasks.drawings(work):
        source = place / str(path.relative_to(work / "unpacked" / "openclipart-png")).replace("/png/", "/svg/")
        caption = _told(source.with_suffix(".svg"))
        if caption:
            yield Pair("drawings", path, caption)


def _told(path: Path) -> str:
    """Return what the metadata of an SVG file say of it; nothing where it has none or is damaged."""
    try:
        root = ET.parse(path).getroot()  # noqa: S314 - a file of a Debian package
    except (OSError, ET.ParseError):
        return ""
    work = next((node for node in root.iter() if node.tag.endswith("}Work")), None)
    if work is None:
        return ""
    title, told = (
        node.text or "" if node is not None else "" for node in map(work.find, (f"{_DC}title", f"{_DC}description"))
    )
    words = [node.text or "" for subject in work.findall(f"{_DC}subject") for node in subject.iter(f"{_RDF}li")]
    return _line([title, *words, told])


def _line(words: list[str]) -> str:
    """Return some words as one line, none of them twice."""
    found = re.findall(r"[^\W_]+", " ".join(words).lower())
    return " ".join(dict.fromkeys(found))
