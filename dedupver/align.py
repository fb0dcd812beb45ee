"""Pairs of an image and its caption → a linear map from the image encoder's space to the text encoder's.

The map is a ridge regression of the captions' vectors on the images'. Pairs are cut into three by their caption's
digest, so that a caption is on one side only: eight tenths are fitted, a tenth chooses the ridge, a tenth says how well
the map retrieves what it has not seen. What is written is the map that was measured.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver import records, store
from dedupver.fingerprint import image
from dedupver.fingerprint.encoders import find_model
from dedupver.fingerprint.encoders.aligned import ARRAYS, FORMAT, STATED
from dedupver.fingerprint.normal import normalize
from dedupver.schema import ParamsError, SourceError, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver.project import Project

Matrix = npt.NDArray[np.float64]

RIDGES: Final = tuple(10.0**power for power in range(-3, 3))
"""Times the number of pairs: what is added to the diagonal. Vectors have length 1, so these reach from none to all."""

FEWEST: Final = 50
"""So many different captions must be held out: a tenth of the pairs, by which the map is measured."""

TOP: Final = (1, 10)


@dataclass(frozen=True)
class Pairs:
    """n images and captions that belong together, in order of their digests."""

    images: Matrix  # (n, image's dim)
    texts: Matrix  # (n, dim)
    image: npt.NDArray[np.int64]  # the number of each distinct image and caption
    text: npt.NDArray[np.int64]
    tenth: npt.NDArray[np.int64]  # of the captions' digests, 0 to 9

    def take(self, tenths: tuple[int, ...]) -> Pairs:
        """Return the pairs of some tenths."""
        rows = np.flatnonzero(np.isin(self.tenth, tenths))
        return Pairs(self.images[rows], self.texts[rows], self.image[rows], self.text[rows], self.tenth[rows])

    def without(self, others: Pairs) -> Pairs:
        """Return the pairs of which `others` have neither the image nor the caption."""
        rows = np.flatnonzero(~np.isin(self.image, others.image) & ~np.isin(self.text, others.text))
        return Pairs(self.images[rows], self.texts[rows], self.image[rows], self.text[rows], self.tenth[rows])


@dataclass(frozen=True)
class Map:
    """What takes an image's vector to the space, and a caption's."""

    matrix: Matrix
    images: Matrix
    texts: Matrix

    def of_images(self, vectors: Matrix) -> Matrix:
        """Return images in the space, at length 1."""
        return _unit(vectors @ self.matrix + self.images)

    def of_texts(self, vectors: Matrix) -> Matrix:
        """Return captions in the space, at length 1."""
        return _unit(vectors + self.texts)


def align(project: Project, out: Path, most: int) -> dict[str, Any]:
    """Fit a map on the captioned images of the source and write it to `out`; return what is said of it.

    At most `most` pairs are used, those with the smallest digests. Raises SourceError where there are too few pairs.
    """
    specs = {"image": project.params.fingerprint.image.encoder, "text": project.params.fingerprint.text.encoder}
    if not all(specs.values()):
        raise ParamsError("align maps fingerprint.image.encoder to fingerprint.text.encoder: set both")
    models = {modality: find_model(str(spec), modality) for modality, spec in specs.items()}
    pairs = read(project, {modality: model.load() for modality, model in models.items()}, most)
    made, told = best(pairs)
    told = {
        "format": FORMAT,
        "encoders": specs,
        "digests": {modality: model.digest for modality, model in models.items()},
        **told,
    }
    with store.building(out) as folder:
        for name in ARRAYS:
            store.write_array(folder / f"{name}.npy", getattr(made, name))
        store.write_json(folder / STATED, told)
    return told


def best(pairs: Pairs) -> tuple[Map, dict[str, Any]]:
    """Return the map with the ridge that retrieves best, and how it does on pairs that neither it nor the ridge saw.

    Raises SourceError where there are too few pairs.
    """
    fitted, choosing, seen = pairs.take(tuple(range(8))), pairs.take((8,)), pairs.take(tuple(range(9)))
    held_out = pairs.take((9,)).without(seen)
    left = len(np.unique(held_out.text))
    if left < FEWEST:
        raise SourceError(
            f"{len(pairs.text)} different captioned images leave {left} captions to measure with, {FEWEST} are needed: "
            "an aligned space is worth its name with thousands of pairs"
        )
    ridge = max(RIDGES, key=lambda each: float(measured(fit(fitted, each), choosing)["text"]["10"]))
    made = fit(seen, ridge)
    told = {
        "pairs": len(pairs.text),
        "ridge": ridge,
        "recall": measured(made, held_out),
        "fit": spread(made, held_out),
    }
    return made, told


def fit(pairs: Pairs, ridge: float) -> Map:
    """Return the ridge regression of captions on images; both are centred."""
    means = pairs.images.mean(axis=0), pairs.texts.mean(axis=0)
    x, y = pairs.images - means[0], pairs.texts - means[1]
    matrix = np.linalg.solve(x.T @ x + ridge * len(x) / x.shape[1] * np.eye(x.shape[1]), x.T @ y)
    return Map(matrix, -means[0] @ matrix, -means[1])


def measured(made: Map, pairs: Pairs) -> dict[str, Any]:
    """Return recall at 1 and 10, and what chance gives: of captions for an image, and of images for a caption.

    An image that has several captions is served by any of them, and the other way round.
    """
    scores = made.of_images(pairs.images) @ made.of_texts(pairs.texts).T
    distinct = {
        "image": np.unique(pairs.image, return_index=True)[1],
        "text": np.unique(pairs.text, return_index=True)[1],
    }
    scores = scores[np.ix_(distinct["image"], distinct["text"])]
    true = np.zeros(scores.shape, np.bool_)
    places = (np.searchsorted(np.unique(ids), ids) for ids in (pairs.image, pairs.text))
    true[tuple(places)] = True
    return {"text": _recall(scores, true), "image": _recall(scores.T, true.T)}


def spread(made: Map, pairs: Pairs) -> dict[str, float]:
    """Return the median similarity of pairs that belong together, and the 99th percentile of those that do not."""
    scores = made.of_images(pairs.images) @ made.of_texts(pairs.texts).T
    strangers = scores[(pairs.image[:, None] != pairs.image) & (pairs.text[:, None] != pairs.text)]
    return {
        "own": round(float(np.median(scores.diagonal())), 4),
        "strangers_99": round(float(np.quantile(strangers, 0.99)), 4),
    }


def read(project: Project, encoders: dict[str, Any], most: int) -> Pairs:
    """Return the vectors of the distinct captioned images of the source; what can't be read or embedded is left out."""
    found: dict[bytes, tuple[tuple[bytes, bytes], Any, Any]] = {}
    for pixels, caption in _captioned(project):
        pair = image.pixel_digest(pixels), hashlib.sha256(caption.encode()).digest()
        key = hashlib.sha256(b"".join(pair)).digest()
        if key in found or (len(found) == most and key > max(found)):
            continue
        vectors = encoders["image"].encode([pixels])[0], encoders["text"].encode([caption])[0]
        if not any(np.isnan(vector[0]) for vector in vectors):
            found[key] = pair, *vectors
        if len(found) > most:
            del found[max(found)]
    if not found:
        raise SourceError("the source has no captioned image: a row with both, or photo.jpg beside photo.txt")
    pairs, images, texts = zip(*(found[key] for key in sorted(found)), strict=True)
    numbers = [np.unique([pair[side].hex() for pair in pairs], return_inverse=True)[1] for side in (0, 1)]
    tenth = np.array([pair[1][0] % 10 for pair in pairs])
    wide = [np.stack(rows).astype(np.float64) for rows in (images, texts)]
    return Pairs(wide[0], wide[1], numbers[0], numbers[1], tenth)


def _captioned(project: Project) -> Iterator[tuple[npt.NDArray[np.uint8], str]]:
    source, settings = project.params.source, project.params.fingerprint.image
    if not {"image", "caption"} <= source.parts.keys():
        raise ParamsError("align takes records with the parts image and caption: source.parts names no such")
    how = image.Decoding(settings.max_pixels, settings.frame, settings.background)
    for root in project.batches().values():
        for task in records.plan(root, source):
            for batch in records.read(root, task, source):
                for data, caption in zip(batch["image"].to_pylist(), batch["caption"].to_pylist(), strict=True):
                    if data is not None and caption is not None:
                        try:
                            yield image.decode(data, how), normalize(caption.decode())
                        except Unreadable:
                            continue


def _recall(scores: Matrix, true: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of rows of which a true column is among the highest k, and that of a random order."""
    best = np.where(true, scores, -np.inf).max(axis=1)
    rank = (scores > best[:, None]).sum(axis=1)
    mates, among = true.sum(axis=1), scores.shape[1]
    misses = [np.prod([1 - mates / np.maximum(among - i, mates) for i in range(k)], axis=0) for k in TOP]
    found = {str(k): round(float((rank < k).mean()), 4) for k in TOP}
    chance = {str(k): round(float(1 - miss.mean()), 4) for k, miss in zip(TOP, misses, strict=True)}
    return {**found, "chance": chance, "of": int(scores.shape[1])}


def _unit(vectors: Matrix) -> Matrix:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
