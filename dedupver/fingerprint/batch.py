"""One chunk of the source → records, the contents they hold, and the fingerprints of contents the base lacks."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import records, store
from dedupver.digests import Lookup, first_of_each, of_column, of_list
from dedupver.fingerprint import image as images
from dedupver.fingerprint import text as texts
from dedupver.fingerprint.encoder import Encoder, open_encoder
from dedupver.schema import CONTENT, PARTS, UNNAMED, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dedupver import params


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
class Prints:
    """Fingerprints of distinct contents of one modality, row by row.

    `content` holds n digests; each batch maps a name (sets.sizes, sets.values, minhash, phash, structured, embedding)
    to the values of some consecutive rows.
    """

    content: list[bytes] = field(default_factory=list)
    batches: list[dict[str, npt.NDArray[Any]]] = field(default_factory=list)


@dataclass(frozen=True)
class Content:
    """What is known of one string of bytes."""

    digest: bytes
    pixels: int
    chars: int


def fingerprint(chunk: Chunk) -> int:
    """Fingerprint one chunk into the directory `chunk.out`; return the number of records read."""
    work = _Work(chunk)
    with store.building(chunk.out) as out:
        tables = (work.take(batch) for batch in records.read(chunk.root, chunk.task, chunk.source))
        count = store.write_table(out / "records.parquet", tables, UNNAMED)
        store.write_table(out / "contents.parquet", work.contents(), CONTENT)
        for modality, prints in work.prints.items():
            _write(out, modality, prints)
    return count


class _Work:
    """The contents met so far in this chunk."""

    def __init__(self, chunk: Chunk) -> None:
        self.settings = chunk.settings
        self.known = _known(chunk.known)
        self.met: dict[tuple[str, bytes], Content | Unreadable] = {}
        self.carried: set[tuple[str, bytes]] = set()
        self.printed: set[bytes] = set()
        self.prints = {"text": Prints(), "image": Prints()}

    def take(self, batch: pa.Table | pa.RecordBatch) -> pa.Table:
        """Fingerprint the new contents of a batch of raw records and return the records without payload."""
        columns = {name: batch.column(name).to_pylist() for name in PARTS}
        digests = {name: [None if v is None else hashlib.sha256(v).digest() for v in columns[name]] for name in PARTS}
        for modality in ("text", "image"):
            self._meet(
                modality,
                [(d, v) for p in PARTS if PARTS[p] == modality for d, v in zip(digests[p], columns[p], strict=True)],
            )
        rows = [
            self._row(raw, {p: digests[p][i] for p in PARTS}, {p: columns[p][i] for p in PARTS})
            for i, raw in enumerate(_scalars(batch))
        ]
        return pa.Table.from_pylist(rows, schema=UNNAMED)

    def contents(self) -> pa.Table:
        """Return the distinct contents of this chunk that the base lacks (schema CONTENT)."""
        rows = [
            {"modality": modality, "sha256": sha256, "content": c.digest, "pixels": c.pixels, "chars": c.chars}
            for (modality, sha256), c in self.met.items()
            if isinstance(c, Content) and (modality, sha256) not in self.carried
        ]
        return pa.Table.from_pylist(rows, schema=CONTENT)

    def _meet(self, modality: str, given: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        new = {d: v for d, v in given if d is not None and v is not None and (modality, d) not in self.met}
        for sha256, content in zip(list(new), self.known.get(modality, list(new)), strict=True):
            if content:
                self.met[modality, sha256] = content
                self.carried.add((modality, sha256))
                del new[sha256]
        if new:
            (self._new_texts if modality == "text" else self._new_images)(new)

    def _new_texts(self, new: dict[bytes, bytes]) -> None:
        normal = {sha256: texts.normalize(value.decode()) for sha256, value in new.items()}
        digests = {sha256: texts.content_digest(text) for sha256, text in normal.items()}
        known = dict(zip(digests, self.known.has_content(list(digests.values())), strict=True))
        fresh: list[str] = []
        for sha256, text in normal.items():
            if not text:
                self.met["text", sha256] = Unreadable("empty_text", "nothing but white space")
                continue
            self.met["text", sha256] = Content(digests[sha256], 0, len(text))
            if not known[sha256] and self._unprinted("text", digests[sha256]):
                fresh.append(text)
        if fresh:
            self.prints["text"].batches.append(_text_prints(fresh, self.settings.text))

    def _new_images(self, new: dict[bytes, bytes]) -> None:
        how = images.Decoding(self.settings.image.max_pixels, self.settings.image.frame, self.settings.image.background)
        for sha256, value in new.items():
            try:
                pixels = images.decode(value, how)
                information = images.information(pixels)
                if information == "blank":
                    raise Unreadable("blank_image", "one colour")  # noqa: TRY301 - every verdict is caught in one place
            except Unreadable as verdict:
                self.met["image", sha256] = verdict
                continue
            content = Content(images.pixel_digest(pixels), pixels.shape[0] * pixels.shape[1], 0)
            self.met["image", sha256] = content
            if not self.known.has_content([content.digest])[0] and self._unprinted("image", content.digest):
                self.prints["image"].batches.append(
                    _image_prints(pixels, self.settings.image, low=information == "low")
                )

    def _unprinted(self, modality: str, digest: bytes) -> bool:
        if digest in self.printed:
            return False
        self.printed.add(digest)
        self.prints[modality].content.append(digest)
        return True

    def _row(
        self, raw: dict[str, Any], digests: dict[str, bytes | None], values: dict[str, bytes | None]
    ) -> dict[str, Any]:
        parts, sizes, verdict = [], {"bytes": 0, "pixels": 0, "chars": 0}, None
        for part, modality in PARTS.items():
            sha256, value = digests[part], values[part]
            if sha256 is None or value is None:
                continue
            content = self.met[modality, sha256]
            if isinstance(content, Unreadable):
                verdict = verdict or content
                continue
            parts.append({"part": part, "modality": modality, "sha256": sha256, "content": content.digest})
            sizes["bytes"] += len(value)
            sizes["pixels"] += content.pixels
            sizes["chars"] += content.chars
        row = {**raw, **sizes, "parts": parts}
        if verdict and row["code"] is None:
            row |= {"code": verdict.code, "detail": verdict.reason}
        return row if row["code"] is None else row | {"parts": []}


_SCALARS: Final = ("id", "path", "row", "role", "source", "split", "time", "quality", "code", "detail")


class _Known:
    """Everything the base holds: (modality, sha256) → content, without a Python object for each."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        text = pc.equal(table["modality"], "text").to_numpy()
        self._rows = {"text": np.flatnonzero(text), "image": np.flatnonzero(~text)}
        sha256 = of_column(table["sha256"])
        self._bytes = {m: Lookup(sha256[rows]) for m, rows in self._rows.items()}
        contents = of_column(table["content"])
        self._contents = Lookup(contents[first_of_each(contents)])

    def get(self, modality: str, sha256: Sequence[bytes]) -> list[Content | None]:
        """Return the content of each string of bytes, None where the base lacks it."""
        found = self._bytes[modality].find(of_list(sha256))
        return [None if at < 0 else self._content(int(self._rows[modality][at])) for at in found]

    def has_content(self, digests: Sequence[bytes]) -> npt.NDArray[np.bool_]:
        """Return which of the normalised contents the base has fingerprints of."""
        return self._contents.has(of_list(digests))

    def _content(self, row: int) -> Content:
        return Content(*(self._table[name][row].as_py() for name in ("content", "pixels", "chars")))


@functools.lru_cache(maxsize=1)
def _known(paths: tuple[Path, ...]) -> _Known:
    tables = [store.read_table(path, CONTENT) for path in paths]
    return _Known(pa.concat_tables([*tables, CONTENT.empty_table()]).combine_chunks())


@functools.lru_cache(maxsize=4)
def _encoder(spec: str) -> Encoder:
    return open_encoder(spec)


def _scalars(batch: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    return batch.select(list(_SCALARS)).to_pylist()


def _text_prints(fresh: list[str], settings: params.Text) -> dict[str, npt.NDArray[Any]]:
    sets = texts.shingle_sets(fresh, settings.shingle, settings.min_tokens)
    prints: dict[str, npt.NDArray[Any]] = {
        "sets.sizes": np.diff(sets.offsets),
        "sets.values": sets.values,
        "minhash": texts.minhash(sets, settings.num_perm, settings.seed),
    }
    if settings.encoder:
        vectors = _encoder(settings.encoder).encode(fresh)
        # a text too short for shingles says too little for a vector as well
        vectors[prints["sets.sizes"] == 0] = np.nan
        prints["embedding"] = vectors
    return prints


def _image_prints(pixels: npt.NDArray[np.uint8], settings: params.Image, *, low: bool) -> dict[str, npt.NDArray[Any]]:
    prints: dict[str, npt.NDArray[Any]] = {
        "phash": images.phash(pixels, settings.hash_size)[None],
        "structured": np.array([not low]),
    }
    if settings.encoder:
        vector = _encoder(settings.encoder).encode([pixels])
        prints["embedding"] = np.full_like(vector, np.nan) if low else vector
    return prints


def _write(out: Path, modality: str, prints: Prints) -> None:
    if not prints.content:
        return
    store.write_array(out / f"{modality}.content.npy", of_list(prints.content))
    for name in prints.batches[0]:
        store.write_array(out / f"{modality}.{name}.npy", np.concatenate([b[name] for b in prints.batches]))
