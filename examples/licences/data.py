"""Write the licence notices of a scancode-toolkit wheel as a table: python data.py WHEEL v1|v2 FILE [ONE_IN].

A row is a notice of eight words or more that names one licence: its text, the licence's category as label, and a
split, drawn by the digest of its name: a fifth is test, the rest train, as a split by chance is. v1 has half of the
notices, v2 all of them. With ONE_IN one in so many is taken.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FEWEST = 8  # words


def rows(wheel: zipfile.ZipFile, version: str, one_in: int = 1) -> Iterator[dict[str, Any]]:
    """Give the rows of a version, by name."""
    categories = dict(_categories(wheel))
    for name in sorted(wheel.namelist()):
        rule = re.fullmatch(r"licensedcode/data/rules/([^/]+)\.RULE", name)
        number = int(hashlib.sha256(name.encode()).hexdigest(), 16)
        if not rule or number % one_in or (version == "v1" and number // one_in % 2):
            continue
        _, front, text = re.split(r"^---\s*?\n", wheel.read(name).decode(), maxsplit=2, flags=re.MULTILINE)
        label = categories.get(_field(front, "license_expression") or "")
        if label and len(text.split()) >= FEWEST:
            split = "train" if number // one_in // 2 % 5 else "test"
            yield {"id": rule[1], "text": text, "label": label, "split": split}


def _categories(wheel: zipfile.ZipFile) -> Iterator[tuple[str, str | None]]:
    for name in wheel.namelist():
        if licence := re.fullmatch(r"licensedcode/data/licenses/([^/]+)\.LICENSE", name):
            yield licence[1], _field(wheel.read(name).decode(), "category")


def _field(text: str, name: str) -> str | None:
    found = re.search(rf"^{name}: *(.+?)\s*$", text, re.MULTILINE)
    return found and found[1]


if __name__ == "__main__":
    archive, version, out, *share = sys.argv[1:]
    with zipfile.ZipFile(archive) as wheel:
        lines = [json.dumps(row) + "\n" for row in rows(wheel, version, *map(int, share))]
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text("".join(lines), encoding="utf-8")
