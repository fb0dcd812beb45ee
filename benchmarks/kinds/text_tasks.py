"""Texts from packages, and edited copies of some: what the benchmark of the kind `text` reads.

Licence texts and notices of ScanCode as they are; of the Linux source (Debian: linux-source-6.1) its documentation in
English and in three translations, and files of C, in runs of whole paragraphs of a thousand characters and more.
"""

from __future__ import annotations

import hashlib
import random
import re
import textwrap
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Edit = Callable[[str, random.Random], str]

PAGE: Final = 1000  # characters of a record at least
EDITED: Final = 150  # records of each corpus that have edited copies
OTHERS: Final = 1000  # records of each corpus that have none
WIDTH: Final = 60
SCHEMA: Final = pa.schema([(name, pa.string()) for name in ("id", "corpus", "family", "made", "text")])

NOTICE: Final = """

Permission is granted to copy, distribute and/or modify this document under the terms of the GNU Free Documentation
License, Version 1.2.
"""

LONG_NOTICE: Final = """

This program is free software; you can redistribute it and/or modify it under the terms of the GNU General Public
License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any later
version.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied
warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the GNU General Public License for more details.

You should have received a copy of the GNU General Public License along with this program; if not, write to the Free
Software Foundation, Inc., 51 Franklin Street, Fifth Floor, Boston, MA 02110-1301, USA.
"""


@dataclass(frozen=True)
class Corpus:
    """Files of the Linux source that are one kind of text; of many, one in `every` is taken."""

    pattern: str
    every: int = 1


CORPORA: Final = {
    "documentation": Corpus(r"Documentation/(?!translations/).*\.rst", 8),
    "zh_CN": Corpus(r"Documentation/translations/zh_CN/.*"),
    "ja_JP": Corpus(r"Documentation/translations/ja_JP/.*"),
    "ko_KR": Corpus(r"Documentation/translations/ko_KR/.*"),
    "code": Corpus(r".*\.[ch]", 200),
}
LICENCES: Final = "licences"
_BY_NAME: Final = {task.name: task for task in tasks.TASKS}


def prepare(work: Path) -> pa.Table:
    """Return all records (SCHEMA): each with the record it was made of and how, that record itself as `original`."""
    place = work / "texts" / "texts.parquet"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        rows = [row for corpus, found in _corpora(work).items() for row in _with_copies(corpus, found)]
        table = pa.table(list(map(list, zip(*rows, strict=True))), schema=SCHEMA)
        pq.write_table(table, place, compression="zstd")
    return pq.read_table(place)


def _corpora(work: Path) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {LICENCES: {}, **{name: {} for name in CORPORA}}
    licences = _BY_NAME["licences"]
    found[LICENCES] = {name: text for name, text in licences.records(licences.source.fetch(work)) if len(text) >= PAGE}
    for path, text in tasks.files(_BY_NAME["files"].source.fetch(work)):
        for name, corpus in CORPORA.items():
            if re.fullmatch(corpus.pattern, path) and _draw(path).randrange(corpus.every) == 0:
                found[name] |= {f"{path}#{number}": page for number, page in enumerate(pages(text))}
                break
    return found


def pages(text: str) -> Iterator[str]:
    """Yield runs of whole paragraphs, of PAGE characters and more each; what is left at the end goes."""
    page: list[str] = []
    for paragraph in paragraphs(text):
        page.append(paragraph)
        if sum(map(len, page)) >= PAGE:
            yield "\n\n".join(page)
            page = []


def paragraphs(text: str) -> list[str]:
    """Return what is between blank lines."""
    return [paragraph for paragraph in re.split(r"\n\s*\n", text.strip()) if paragraph.strip()]


def _draw(*named: str) -> random.Random:
    return random.Random(hashlib.sha256("\0".join(named).encode()).digest())  # noqa: S311 - a fixed choice


def _with_copies(corpus: str, found: dict[str, str]) -> Iterator[tuple[str, str, str, str, str]]:
    names = sorted(found)
    _draw(corpus).shuffle(names)
    for number, name in enumerate(names[: EDITED + OTHERS]):
        yield name, corpus, name, "original", found[name]
        for made, edit in EDITS.items() if number < EDITED else ():
            if corpus != "code" and made in OF_CODE:
                continue
            text = edit(found[name], _draw(name, made))
            if text.strip() and text != found[name]:
                yield f"{name}|{made}", corpus, name, made, text


# the edits


def _unspaced(character: str) -> bool:
    return unicodedata.name(character, "").startswith(("CJK ", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC", "FULLWIDTH"))


def _rewrapped(text: str, _: random.Random) -> str:
    """Break lines elsewhere, as editors do: between words, and where these are not parted between letters."""
    between = any(map(_unspaced, text))
    fill = textwrap.TextWrapper(WIDTH, break_on_hyphens=False, break_long_words=between).fill
    return "\n\n".join(fill(_joined(paragraph)) for paragraph in paragraphs(text))


def _joined(paragraph: str) -> str:
    whole, *lines = (line.strip() for line in paragraph.split("\n"))
    for line in lines:
        tight = whole[-1:] and line[:1] and _unspaced(whole[-1]) and _unspaced(line[0])
        whole += line if tight else f" {line}"
    return whole


def _typos(one_in: int) -> Edit:
    """Change one letter of so many: leave it out, double it, swap it with the next, or put another of the text."""

    def edit(text: str, draw: random.Random) -> str:
        letters = [at for at, character in enumerate(text) if character.isalpha()]
        known = [text[at] for at in letters]
        for at in sorted(draw.sample(letters, max(len(letters) // one_in, 1)), reverse=True):
            letter, after = text[at], text[at + 1 : at + 2]
            typo = draw.choice(["", letter + letter, after + letter, draw.choice(known)])
            text = text[:at] + typo + text[at + (2 if typo == after + letter else 1) :]
        return text

    return edit


def _renamed(text: str, _: random.Random) -> str:
    """Replace the most frequent name of four letters and more by another."""
    names = Counter(re.findall(r"(?<![A-Za-z_])[A-Za-z_]{4,}(?![A-Za-z_])", text))
    if not names:
        return text
    return re.sub(rf"(?<![A-Za-z_]){names.most_common(1)[0][0]}(?![A-Za-z_])", "Example", text)


def _without_one(text: str, _: random.Random) -> str:
    """Remove the paragraph that is nearest to a tenth of the text."""
    found = paragraphs(text)
    if len(found) < 2:
        return text
    gone = min(range(len(found)), key=lambda at: abs(len(found[at]) - len(text) / 10))
    return "\n\n".join(found[:gone] + found[gone + 1 :])


def _reordered(text: str, draw: random.Random) -> str:
    found = paragraphs(text)
    draw.shuffle(found)
    return "\n\n".join(found)


def _without_comments(text: str, _: random.Random) -> str:
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def _signs_changed(text: str, _: random.Random) -> str:
    """Turn comparisons and sums round: another program in the same words."""
    turned = {"==": "!=", "!=": "==", "<=": ">=", ">=": "<=", "&&": "||", "||": "&&", " + ": " - ", " - ": " + "}
    return re.sub("|".join(map(re.escape, turned)), lambda found: turned[found[0]], text)


EDITS: Final[dict[str, Edit]] = {
    "upper case, more spaces": lambda text, _: text.upper().replace(" ", "  ").replace("\n", "\n\t"),
    "lines broken elsewhere": _rewrapped,
    "a typo in 200 letters": _typos(200),
    "a typo in 50 letters": _typos(50),
    "a name replaced": _renamed,
    "a paragraph removed": _without_one,
    "paragraphs reordered": _reordered,
    "a line of notice added": lambda text, _: text + NOTICE,
    "a long notice added": lambda text, _: text + LONG_NOTICE,
    "the first half": lambda text, _: text[: len(text) // 2],
    "comments removed": _without_comments,
    "signs changed": _signs_changed,
}
OF_CODE: Final = frozenset({"comments removed", "signs changed"})
