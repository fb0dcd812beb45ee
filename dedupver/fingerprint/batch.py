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
from dedupver.fingerprint.rows import Part, unnamed
from dedupver.fingerprint.strings import Strings
from dedupver.schema import CONTENT, PARTS, UNNAMED, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver import params
    from dedupver.fingerprint.text import Sets

MET: Final = np.dtype([("content", np.uint8, 32), ("size", np.int64), ("verdict", np.int64), ("carried", np.bool_)])
"""What is known of a string of bytes: its normalised content, how many characters or pixels that has, the number of
the reason why it can't be read or -1, and whether the base holds it."""

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
    table: npt.NDArray[np.void] = field(default_factory=lambda: np.empty(0, MET))


def fingerprint(chunk: Chunk) -> int:
    """Fingerprint one chunk into the directory `chunk.out`; return the number of records read."""
    work = _Work(chunk)
    with store.building(chunk.out) as out:
        tables = [work.take(batch) for batch in records.read(chunk.root, chunk.task, chunk.source)]
        taken = pa.concat_tables([UNNAMED.empty_table(), *tables])
        store.write_scratch(out / "records.arrow", taken)
        store.write_scratch(out / "contents.arrow", pa.concat_tables(_contents(*met) for met in work.met.items()))
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

    def _part(self, name: str, column: pa.LargeBinaryArray) -> Part:
        rows = np.flatnonzero(column.is_valid())
        strings = Strings.of_column(column).take(rows)
        sha256 = strings.sha256()
        met = self._meet(PARTS[name], sha256, strings)
        return Part(name, rows, of_list(sha256), met["content"], strings.sizes, met["size"], met["verdict"])

    def _meet(self, modality: str, sha256: list[bytes], strings: Strings) -> npt.NDArray[np.void]:
        """Return what is known of each string, after a look at those that are new."""
        met = self.met[modality]
        numbers, new = _number(met.number, sha256)
        found = self.known.bytes[modality].find(of_list([sha256[row] for row in new]))
        carried, fresh = np.flatnonzero(found >= 0), np.flatnonzero(found < 0)
        table = np.zeros(len(new), MET)
        table["verdict"], table["carried"] = -1, found >= 0
        table["content"][carried], table["size"][carried] = self.known.content(modality, found[carried])
        look = self._new_texts if modality == "text" else self._new_images
        table[fresh] = look(strings.take(new[fresh]))
        met.table = np.concatenate([met.table, table])
        return met.table[numbers]

    def _new_texts(self, strings: Strings) -> npt.NDArray[np.void]:
        forms, chars = normal_forms(strings)
        contents = forms.sha256()
        table = np.zeros(len(strings), MET)
        table["content"], table["size"] = of_list(contents), chars
        table["verdict"] = np.where(chars > 0, -1, self.verdicts.index(_EMPTY))
        lacking = np.flatnonzero((chars > 0) & ~self.known.contents.has(table["content"]))
        prints = self.prints["text"]
        fresh = lacking[_number(prints.number, [contents[row] for row in lacking])[1]]
        if len(fresh):
            settings = self.settings.text
            forms = forms.take(fresh)
            sets = texts.shingle_sets(forms, settings.shingle, settings.min_tokens)
            prints.add(_text_arrays(forms, sets, settings), sets)
        return table

    def _new_images(self, strings: Strings) -> npt.NDArray[np.void]:
        table = np.zeros(len(strings), MET)
        for row, string in enumerate(strings):
            try:
                content, size = self._new_image(bytes(string))
            except Unreadable as verdict:
                table[row]["verdict"] = len(self.verdicts)
                self.verdicts.append(verdict)
            else:
                table[row] = (np.frombuffer(content, np.uint8), size, -1, False)
        return table

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
    first = np.unique(numbers, return_index=True)[1].astype(np.int64)
    return numbers, first[numbers[first] >= before]


def _contents(modality: str, met: Met) -> pa.Table:
    """Return the strings of this chunk that the base lacks (schema CONTENT)."""
    rows = np.flatnonzero((met.table["verdict"] < 0) & ~met.table["carried"])
    table, nothing = met.table[rows], np.zeros(len(rows), np.int64)
    size = {"text": [nothing, table["size"]], "image": [table["size"], nothing]}[modality]
    sha256 = of_list(list(met.number))[rows]
    return pa.table(
        [pa.repeat(modality, len(rows)), to_column(sha256), to_column(table["content"]), *size], schema=CONTENT
    )


@functools.lru_cache(maxsize=4)
def _encoder(spec: str) -> Encoder:
    return open_encoder(spec)


def _text_arrays(forms: Strings, sets: Sets, settings: params.Text) -> Arrays:
    arrays: Arrays = {"minhash": texts.minhash(sets, settings.num_perm, settings.seed)}
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
