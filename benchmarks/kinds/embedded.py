"""What embeddings are measured on: pictures with edited copies, and verses in two translations.

Nothing of it is committed. An item is a file or a text; two items are a true pair where they are of one family. Pictures
are photographs, drawings of Open Clip Art and Google's emoji, of which many differ in a colour or a flag alone; the copies
are those of `image_tasks`. Drawings and emoji are put on white, as their copies are, since some tools do not look at what
is transparent. Verses are the King James Version and the World English Bible, verse by verse: one meaning in
the words of two centuries. A verse that stands twice in a translation is left out; one that two books tell in nearly the
same words is not, so that a few of the pairs that count as false are none.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import image_tasks
from benchmarks.bench import HERE
from benchmarks.kinds import captioned
from benchmarks.tasks import Source
from benchmarks.tools import Tool, environment

if TYPE_CHECKING:
    from pathlib import Path

GROUPS: Final = {"photographs": (1000, 1000), "drawings": (600, 120), "emoji": (600, 120)}
"""How many originals there are at most, and of how many of them there are copies."""

TRANSLATIONS: Final = {"kjv": "sword-text-kjv", "web": "sword-text-web"}
VERSES: Final = 10_000
FEWEST: Final = 8  # words of a verse, in both translations
ORIGINAL: Final = "original"
OTHER: Final = "other translation"


class Item(NamedTuple):
    """A picture or a text: its group, its family, and how it was made."""

    group: str
    family: str
    made: str


Items = dict[str, Item]


def pictures(work: Path) -> tuple[Path, Items]:
    """Return a folder of files and what each is, made when it is not there yet."""
    place = work / "embedded" / "pictures"
    if not (place / "truth.json").exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "data").mkdir(parents=True)
        (place / "truth.json").write_text(json.dumps(_copied(place / "data", work)), encoding="utf-8")
    told: dict[str, list[str]] = json.loads((place / "truth.json").read_text())
    return place / "data", {name: Item(*item) for name, item in told.items()}


def _copied(data: Path, work: Path) -> Items:
    draw, truth = random.Random(0), {}  # noqa: S311 - a fixed choice
    emoji = [pair.image for pair in captioned.emoji(work) if "google" in pair.image.parts]
    found = {"photographs": image_tasks.photographs(work), "drawings": image_tasks.drawings(work), "emoji": emoji}
    for group, (most, copied) in GROUPS.items():
        kind = "JPEG" if group == "photographs" else "PNG"
        for number, path in enumerate(draw.sample(found[group], min(most, len(found[group])))):
            stem = f"{group}{number:04}"
            made = image_tasks.family(stem, path, data, kind, copies=number < copied)
            if kind == "PNG":
                image_tasks.flat(path).save(data / f"{stem}{path.suffix.lower()}")
            truth |= {name: Item(group, said["family"], said["made"]) for name, said in made.items()}
    return truth


def verses(work: Path) -> tuple[Path, Items]:
    """Return a table with the columns id and text, and what each id is, made when it is not there yet."""
    place = work / "embedded" / "verses.parquet"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        found = chosen({short: translation(package, work) for short, package in TRANSLATIONS.items()}, VERSES)
        names, texts = zip(*found.items(), strict=True)
        pq.write_table(pa.table({"id": list(names), "text": list(texts)}), place)
    return place, {name: item(name) for name in pq.read_table(place)["id"].to_pylist()}


def item(name: str) -> Item:
    """Return what a text is, by its name: TRANSLATION/VERSE."""
    short, _, verse = name.partition("/")
    return Item("verses", verse, ORIGINAL if short == "kjv" else OTHER)


def chosen(translations: dict[str, dict[str, str]], most: int) -> dict[str, str]:
    """Return by name the texts of verses that all translations have, long enough and nowhere twice; at most so many."""
    counts: dict[tuple[str, str], int] = {}
    for short, texts in translations.items():
        for text in texts.values():
            counts[short, text] = counts.get((short, text), 0) + 1
    common = sorted(set.intersection(*(set(texts) for texts in translations.values())))
    good = [
        verse
        for verse in common
        if all(counts[s, t[verse]] == 1 and len(t[verse].split()) >= FEWEST for s, t in translations.items())
    ]
    drawn = sorted(random.Random(0).sample(good, min(most, len(good))))  # noqa: S311 - a fixed choice
    return {f"{short}/{verse}": texts[verse] for verse in drawn for short, texts in translations.items()}


def translation(package: str, work: Path) -> dict[str, str]:
    """Return the verses of a package of SWORD, without markup and notes."""
    place = work / "unpacked" / package
    if not place.exists():
        archive = Source(package, image_tasks.APT).fetch(work)
        subprocess.run(["dpkg-deb", "-x", str(archive), str(place)], check=True)
    read: dict[str, str] = peer("sword", "sword", work, str(place / "usr/share/sword"))
    return {verse: text for verse, raw in read.items() if (text := plain(raw))}


def plain(raw: str) -> str:
    """Return a verse of OSIS or ThML as one line of text."""
    without = re.sub(r"<(note|title)\b.*?</\1>", "", raw, flags=re.DOTALL)
    return re.sub(r" ([,.;:?!])", r"\1", " ".join(re.sub(r"<[^>]*>", " ", without).split()))


def peer(name: str, script: str, work: Path, *given: str) -> Any:
    """Run a script of peers/ in the environment of a tool; return what its last line says."""
    python = environment(Tool(name, name), work)
    command = [str(python), "-P", str(HERE / "peers" / f"{script}.py"), *given]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=work)
    return json.loads(done.stdout.splitlines()[-1])
