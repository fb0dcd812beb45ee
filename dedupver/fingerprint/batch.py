"""One chunk of the source → records, the contents they hold, and the fingerprints of contents the base lacks."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedupver import records, store
from dedupver.digests import Rows, of_list, to_column
from dedupver.fingerprint import image as images
from dedupver.fingerprint import text as texts
from dedupver.fingerprint.encoder import Encoder, open_encoder
from dedupver.fingerprint.known import open_known
from dedupver.fingerprint.normal import normal_forms
from dedupver.fingerprint.prints import Arrays, Prints
from dedupver.fingerprint.rows import SIZE, Found, Part, unnamed
from dedupver.fingerprint.strings import Strings
from dedupver.schema import CONTENT, PARTS, UNNAMED, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver import params
    from dedupver.fingerprint.text import Sets

_EMPTY: Final = Unreadable("empty_text", "nothing but white space")


@dataclass(frozen=True)
class Chunk:
    """What one worker needs: a part of the source, the settings, what the base knows, where results go."""

    root: Path
    task: records.Task
    source: params.Source
    settings: params.Fingerprint
    known: tuple[Path, ...]  # contents.parquet of each segment of the base
    out: Path


@dataclass
class Met:
    """The distinct strings of bytes of one modality, in the order in which this chunk has them."""

    number: dict[bytes, int] = field(default_factory=dict)  # by sha256
    found: Found = field(default_factory=lambda: Found.nothing(0))


def fingerprint(chunk: Chunk) -> int:
    """Fingerprint one chunk into the directory `chunk.out`; return the number of records read."""
    work = _Work(chunk)
    with store.scratch(chunk.out) as out:
        tables = [work.take(batch) for batch in records.read(chunk.root, chunk.task, chunk.source)]
        taken = pa.concat_tables([UNNAMED.empty_table(), *tables])
        store.write_scratch(out / "records.arrow", taken)
        store.write_scratch(out / "contents.arrow", pa.concat_tables(map(work.contents, work.met)))
        for modality, prints in work.prints.items():
            prints.write(out, modality)
    return taken.num_rows


class _Work:
    """The contents met so far in this chunk."""

    def __init__(self, chunk: Chunk) -> None:
        self.settings = chunk.settings
        self.known = open_known(chunk.known)
        self.verdicts = [_EMPTY]
        self.met = {"text": Met(), "image": Met()}
        self.prints = {"text": Prints(), "image": Prints()}

    def take(self, batch: pa.RecordBatch) -> pa.Table:
        """Fingerprint the new contents of a batch of raw records and return the records without payload."""
        return unnamed(batch, [self._part(name, batch.column(name)) for name in PARTS], self.verdicts)

    def contents(self, modality: str) -> pa.Table:
        """Return the strings that can be read and that the base lacks (schema CONTENT)."""
        met = self.met[modality]
        sha256 = of_list(list(met.number))
        rows = np.flatnonzero((met.found.verdict < 0) & ~self.known.bytes[modality].has(sha256))
        found = met.found.take(rows)
        columns = {
            "modality": pa.repeat(modality, len(rows)),
            "sha256": to_column(sha256[rows]),
            "content": to_column(found.content),
            **dict.fromkeys(SIZE.values(), np.zeros(len(rows), np.int64)),
            SIZE[modality]: found.size,
        }
        return pa.table([columns[name] for name in CONTENT.names], schema=CONTENT)

    def _part(self, name: str, column: pa.LargeBinaryArray) -> Part:
        rows = np.flatnonzero(column.is_valid())
        strings = Strings.of_column(column).take(rows)
        sha256 = strings.sha256()
        return Part(name, rows, of_list(sha256), strings.sizes, self._meet(PARTS[name], sha256, strings))

    def _meet(self, modality: str, sha256: list[bytes], strings: Strings) -> Found:
        """Return what is known of each string, after a look at those that are new."""
        met = self.met[modality]
        numbers, new = _number(met.number, sha256)
        if len(new):
            met.found = met.found.joined(self._look(modality, [sha256[row] for row in new], strings.take(new)))
        return met.found.take(numbers)

    def _look(self, modality: str, sha256: list[bytes], strings: Strings) -> Found:
        """Return what the base knows of strings, or what there is to see."""
        known = self.known.bytes[modality].find(of_list(sha256))
        carried, fresh = np.flatnonzero(known >= 0), np.flatnonzero(known < 0)
        found = Found.nothing(len(strings))
        found.put(carried, self.known.found(modality, known[carried]))
        found.put(fresh, (self._new_texts if modality == "text" else self._new_images)(strings.take(fresh)))
        return found

    def _new_texts(self, strings: Strings) -> Found:
        forms, chars = normal_forms(strings)
        sha256 = forms.sha256()
        found = Found(of_list(sha256), chars, np.where(chars > 0, -1, self.verdicts.index(_EMPTY)))
        lacking = np.flatnonzero((chars > 0) & ~self.known.contents.has(found.content))
        prints = self.prints["text"]
        fresh = lacking[_number(prints.number, [sha256[row] for row in lacking])[1]]
        if len(fresh):
            settings, forms = self.settings.text, forms.take(fresh)
            sets = texts.shingle_sets(forms, settings.shingle, settings.min_tokens)
            prints.add(_text_arrays(forms, sets, settings), sets)
        return found

    def _new_images(self, strings: Strings) -> Found:
        found = Found.nothing(len(strings))
        for row, string in enumerate(strings):
            try:
                content, found.size[row] = self._new_image(bytes(string))
                found.content[row] = np.frombuffer(content, np.uint8)
            except Unreadable as verdict:
                found.verdict[row] = len(self.verdicts)
                self.verdicts.append(verdict)
        return found

    def _new_image(self, data: bytes) -> tuple[bytes, int]:
        how = images.Decoding(self.settings.image.max_pixels, self.settings.image.frame, self.settings.image.background)
        pixels = images.decode(data, how)
        information, code = images.look(pixels, self.settings.image.hash_size)
        if information == "blank":
            raise Unreadable("blank_image", "one colour")
        content = images.pixel_digest(pixels)
        known = self.known.contents.has(of_list([content]))[0]
        prints = self.prints["image"]
        if not known and len(_number(prints.number, [content])[1]):
            prints.add(_image_arrays(pixels, code, self.settings.image.encoder, low=information == "low"))
        return content, pixels.shape[0] * pixels.shape[1]


def _number(met: dict[bytes, int], digests: list[bytes]) -> tuple[Rows, Rows]:
    """Number digests in the order in which they are met.

    Returns the number of each, and the rows in which one is met for the first time.
    """
    before = len(met)
    numbers = np.array([met.setdefault(digest, len(met)) for digest in digests], np.int64)
    highest = np.maximum.accumulate(np.append(before - 1, numbers))
    return numbers, np.flatnonzero(highest[1:] > highest[:-1])


@functools.lru_cache(maxsize=4)
def _encoder(spec: str) -> Encoder:
    return open_encoder(spec)


def _text_arrays(forms: Strings, sets: Sets, settings: params.Text) -> Arrays:
    arrays: Arrays = {}
    if settings.encoder:
        arrays["embedding"] = _encoder(settings.encoder).encode([str(form, "utf-8") for form in forms])
        # a text too short for shingles says too little for a vector as well
        arrays["embedding"][sets.sizes == 0] = np.nan
    return arrays


def _image_arrays(
    pixels: npt.NDArray[np.uint8], code: npt.NDArray[np.uint64], encoder: str | None, *, low: bool
) -> Arrays:
    arrays: Arrays = {"phash": code[None], "structured": np.array([not low])}
    if encoder:
        model = _encoder(encoder)
        arrays["embedding"] = np.full((1, model.dim), np.nan, np.float32) if low else model.encode([pixels])
    return arrays
