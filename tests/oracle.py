"""The rules and the greedy order in plain Python: every pair of records, judged by definition. Slow and obvious."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from dedupver.resolve import Case
from dedupver.schema import EVIDENCE, HOT, MATCH, PARTS, RECORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver import params
    from dedupver.digests import Digests, Rows
    from dedupver.resolve.evidence import Scores

EXACT: Final = "exact"
Score = "Callable[[str, str, str], float]"


@dataclass(frozen=True)
class Item:
    """A record: its parts' contents by name, and what orders it."""

    name: str
    parts: dict[str, str]
    rank: int = 1
    forced: bool = False
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def counted(self) -> bool:
        """Whether it is of the dataset."""
        return self.fields.get("role") != "reference"

    def row(self) -> dict[str, Any]:
        """Return it as a row of RECORD."""
        parts = [
            {"part": p, "modality": PARTS[p], "sha256": digest(c), "content": digest(c)}
            for p, c in sorted(self.parts.items())
        ]
        usual = {"path": f"{self.name}.x", "row": -1, "role": "data", "bytes": 1, "pixels": 0, "chars": 1, "millis": 0}
        return {**dict.fromkeys(RECORD.names), **usual, "id": self.name, "parts": parts, **self.fields}


@dataclass(frozen=True)
class World:
    """Records, the similarity of contents by (kind, a, b) with a < b, hot contents by kind, and reviews."""

    items: list[Item]
    scores: dict[tuple[str, str, str], float] = field(default_factory=dict)
    hot: dict[str, list[set[str]]] = field(default_factory=dict)
    reviews: dict[tuple[str, str], str] = field(default_factory=dict)
    fits: dict[tuple[str, str], float] = field(default_factory=dict)  # of an image and a text

    def score(self, kind: str, a: str, b: str) -> float:
        """Return the similarity of two contents; 0 where there is none."""
        return self.scores.get((kind, min(a, b), max(a, b)), 0.0)

    def case(self) -> Case:
        """Return it as the tables that `resolve` reads: scores of two contents of one hot group are not listed."""
        items = sorted(self.items, key=lambda item: item.name)
        listed = [
            (k, a, b, s)
            for (k, a, b), s in self.scores.items()
            if not any({a, b} <= group for group in self.hot.get(k, []))
        ]
        listed += [("joint", image, text, s) for (image, text), s in self.fits.items()]
        matches = [{"kind": k, "left": digest(a), "right": digest(b), "score": s} for k, a, b, s in listed]
        hot = [
            {"kind": k, "group": g, "content": digest(c)}
            for k, groups in self.hot.items()
            for g, group in enumerate(groups)
            for c in sorted(group)
        ]
        return Case(
            PARTS,
            pa.Table.from_pylist([item.row() for item in items], schema=RECORD),
            np.array([item.rank for item in items], np.int64),
            np.array([item.forced for item in items], bool),
            np.array([item.counted for item in items], bool),
            pa.Table.from_pylist(matches, schema=MATCH).to_batches(max_chunksize=2),
            pa.Table.from_pylist(hot, schema=HOT).to_batches(max_chunksize=2),
            [(a, b, label) for (a, b), label in self.reviews.items()],
            self._scorer,
            self._fit,
        )

    def _fit(self, images: Digests, captions: Digests) -> Scores:
        known = {digest(c): c for item in self.items for c in item.parts.values()}
        pairs = zip(images, captions, strict=True)
        found = [self.fits.get((known[bytes(a)], known[bytes(b)]), np.nan) for a, b in pairs]
        return np.array(found, np.float32)

    def _scorer(self, kind: str, contents: Digests) -> Callable[[Rows, Rows, float], Scores]:
        known = {digest(c): c for item in self.items for c in item.parts.values()}
        names = [known[bytes(each)] for each in contents]
        return lambda left, right, _: np.array(
            [self.score(kind, names[a], names[b]) for a, b in zip(left, right, strict=True)], np.float32
        )


def digest(name: str) -> bytes:
    """Return the digest that stands for a content."""
    return hashlib.sha256(name.encode()).digest()


def similarity(world: World, settings: params.Dedup, a: Item, b: Item) -> float:
    """Return how alike two records are under the rules and the reviews: the best rule's score, 0 where none holds."""
    label = world.reviews.get((a.name, b.name)) or world.reviews.get((b.name, a.name))
    if label:
        return float(label == "same")
    if a.parts == b.parts:
        return 1.0
    if settings.captions != "all" and _picture(a) and _picture(a) == _picture(b):
        return 1.0
    best = max((_rule(world, settings, rule, a, b) for rule in settings.rules), default=0.0)
    return max(best, leak(world, settings, a, b)) if settings.leakage.action == "remove" else best


def side(item: Item, settings: params.Dedup) -> int:
    """Return where a record stands: references first, then each protected split, then all others."""
    protected = settings.leakage.protected
    if protected is None:
        protected = settings.splits[:-1]
    inner = [split for split in settings.splits if split in protected]
    split = item.row()["split"]
    return 0 if not item.counted else 1 + inner.index(split) if split in inner else 1 + len(inner)


def leak(world: World, settings: params.Dedup, a: Item, b: Item) -> float:
    """Return how alike two records of different sides are under the rules about leaks; 0 where none holds."""
    if side(a, settings) == side(b, settings):
        return 0.0
    if a.parts == b.parts:
        return 1.0
    given = settings.leakage
    thresholds = {k: given.thresholds.get(k, settings.thresholds.of(k)) for k in EVIDENCE}
    similar = {*settings.similar, *given.thresholds}
    found = [0.0]
    for part in set(given.parts) & a.parts.keys() & b.parts.keys():
        wholes = [1.0] if a.parts[part] == b.parts[part] else []
        for kind in similar:
            score = world.score(kind, a.parts[part], b.parts[part])
            if EVIDENCE[kind].modality == PARTS[part] and np.float32(score) >= np.float32(thresholds[kind]):
                wholes.append(score)
        ngram = world.score("ngram", a.parts[part], b.parts[part]) if PARTS[part] == "text" else 0.0
        found += wholes or ([ngram] if given.ngrams is not None and ngram >= given.ngrams else [])
    if given.thresholds:
        stricter = settings.model_copy(
            update={"thresholds": settings.thresholds.model_copy(update=given.thresholds), "similar": tuple(similar)}
        )
        found += [_rule(world, stricter, rule, a, b) for rule in settings.rules]
    return max(found)


def greedy(world: World, settings: params.Dedup) -> dict[str, dict[str, float]]:
    """Return for each record the kept ones that match it, by score, when its turn comes: none, and it is kept.

    One that nothing matches goes for the first kept one with its part where a cap says that enough have it.
    """
    kept: list[Item] = []
    outcome: dict[str, dict[str, float]] = {}
    for item in in_order(world, settings):
        near = {} if item.forced else {k.name: s for k in kept if (s := similarity(world, settings, k, item)) > 0}
        for part, most in sorted(settings.caps.items()):
            holders = [k for k in kept if k.parts.get(part, k) == item.parts.get(part) and k.counted]
            if not near and not item.forced and len(holders) >= most:
                near = {k.name: 1.0 for k in kept if k.parts == holders[0].parts}
        outcome[item.name] = near
        if not near:
            kept.append(item)
    return outcome


def in_order(world: World, settings: params.Dedup) -> list[Item]:
    """Return the records in the order they are judged: those of one picture change places, the best caption first."""
    items = sorted(world.items, key=lambda i: _order(i, settings))
    if settings.captions == "all":
        return items
    for item in list(items):
        if _picture(item):
            places = [i for i, other in enumerate(items) if _picture(other) == _picture(item) and _alike(item, other)]
            best = sorted((items[i] for i in places), key=lambda other: -_worth(world, other, settings))
            for place, other in zip(places, best, strict=True):
                items[place] = other
    return items


def _picture(item: Item) -> dict[str, str] | None:
    """Return all but the caption of a captioned picture."""
    if not {"image", "caption"} <= item.parts.keys():
        return None
    return {part: content for part, content in item.parts.items() if part != "caption"}


def _alike(a: Item, b: Item) -> bool:
    return a.rank == b.rank and a.row()["split"] == b.row()["split"]


def _worth(world: World, item: Item, settings: params.Dedup) -> float:
    if settings.captions == "longest":
        return float(item.row()["chars"])
    if settings.captions == "quality":
        return -np.inf if item.row()["quality"] is None else item.row()["quality"]
    return world.fits.get((item.parts["image"], item.parts["caption"]), 0.0)


def _rule(world: World, settings: params.Dedup, rule: dict[str, Any], a: Item, b: Item) -> float:
    if "joint" in rule:
        return max(_across(world, rule["joint"], a, b), _across(world, rule["joint"], b, a))
    scores: list[float] = []
    for term, value in rule.items():
        if term in {"every", "content"}:
            if a.parts.keys() != b.parts.keys():
                return 0.0
            scores += [_part(world, settings, p, None, value, a, b) for p in a.parts]
        else:
            part, _, measure = term.partition(".")
            if part not in a.parts or part not in b.parts:
                return 0.0
            scores.append(_part(world, settings, part, measure, value, a, b))
    return min(scores)


def _across(world: World, floor: float, a: Item, b: Item) -> float:
    """Return how well an image, a video or a sound of the one fits a text of the other."""
    media = [content for part, content in a.parts.items() if PARTS[part] in {"image", "video", "audio"}]
    texts = [content for part, content in b.parts.items() if PARTS[part] == "text"]
    found = [world.fits.get((content, text), 0.0) for content in media for text in texts]
    return max((score for score in found if score >= floor), default=0.0)


def _part(world: World, settings: params.Dedup, part: str, measure: str | None, value: Any, a: Item, b: Item) -> float:
    if a.parts[part] == b.parts[part]:
        return 1.0
    if value == EXACT:
        return 0.0
    modality = PARTS[part]
    if value == "similar":
        floors = {k: settings.thresholds.of(k) for k in settings.similar if EVIDENCE[k].modality == modality}
    else:
        floors = {
            next(k for k, (m, n, _) in EVIDENCE.items() if m == modality and (not measure or n == measure)): value
        }
    found = {k: world.score(k, a.parts[part], b.parts[part]) for k in floors}
    return max((s for k, s in found.items() if np.float32(s) >= np.float32(floors[k])), default=0.0)


def _order(item: Item, settings: params.Dedup) -> tuple[Any, ...]:
    row = item.row()
    splits, sources = list(settings.splits), list(settings.sources)
    place = {name: at for at, name in enumerate(splits)}
    by = {
        "first": (),
        "largest": (-row["pixels"], -row["bytes"] if row["pixels"] or row["millis"] else 0),
        "longest": (-row["chars"], -row["millis"]),
        "newest": tuple(-ord(c) for c in (row["time"] or "").ljust(20, "\0")),
        "source": (sources.index(row["source"]) if row["source"] in sources else len(sources),),
        "quality": (-row["quality"] if row["quality"] is not None else np.inf,),
    }
    return (
        item.rank > 0,
        side(item, settings),
        item.rank,
        place.get(row["split"], len(splits)),
        *(by[name] for name in settings.keep),
        item.name,
    )
