"""Which other records hold what some records hold, or nearly: they are to be decided on together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import Digests, Lookup, Rows, first_of_each, laid_out, of_column, of_list, of_parts, parts_in
from dedupver.index.structures import STRUCTURES
from dedupver.schema import DIGEST, EVIDENCE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dedupver import params
    from dedupver.index.segment import Index

READ: Final = ("id", "path", "action", "representative", "evidence", "parts")
"""The columns of decisions that are looked at."""

Mask = npt.NDArray[np.bool_]
Digest = npt.NDArray[np.uint8]

MOST: Final = 1 << 20
"""So many contents of a segment that resemble one are found."""


class Alike(NamedTuple):
    """A record that resembles one to be erased."""

    id: str
    of: str
    how: str  # in words
    score: float
    duplicate: bool  # false: it resembles it less than a duplicate does


def alike(events: pa.Table, index: Index, ids: Collection[str], given: params.Params) -> list[Alike]:
    """Return of each other record how it resembles the records `ids`, best first; `events` are all that was decided.

    Compared exactly, with every content of the index; nothing rests on what a search had found.
    """
    names = parts_in(events["parts"])
    mine = pc.is_in(events["id"], pa.array(sorted(ids), pa.string())).to_numpy()
    found: dict[str, Alike] = {}
    for each in [*_holders(events, names, mine), *_decided(events, mine), *_near(events, names, mine, index, given)]:
        if each.id not in ids and (each.id not in found or _rank(each) > _rank(found[each.id])):
            found[each.id] = each
    return sorted(found.values(), key=lambda each: (not each.duplicate, -each.score, each.id))


def _rank(each: Alike) -> tuple[bool, float]:
    return each.duplicate, each.score


def _holders(events: pa.Table, names: list[str], mine: Mask) -> Iterator[Alike]:
    """Yield the records that hold a part of ours: all of them, or some."""
    for name_of, digest in (("the same bytes", "sha256"), ("the same content", "content")):
        table = laid_out(events["parts"], digest, names)
        there: Mask = np.any(table, axis=2)
        for row in np.flatnonzero(mine):
            same: Mask = np.all(table == table[row], axis=2) & there[row]
            others = np.flatnonzero(same.any(axis=1) & ~mine)
            for other, shares in zip(events["id"].take(pa.array(others)).to_pylist(), same[others], strict=True):
                whole = shares.sum() == there[row].sum()
                what = "" if whole else ", ".join(n for n, share in zip(names, shares, strict=True) if share)
                score = 1.0 if whole else 0.999
                yield Alike(other, events["id"][int(row)].as_py(), f"{what} {name_of}".strip(), score, duplicate=True)


def _decided(events: pa.Table, mine: Mask) -> Iterator[Alike]:
    """Yield those that were dropped for one of ours, and those that one of ours was dropped for."""
    ids = pc.unique(events["id"].filter(pa.array(mine)))
    dropped = events.filter(pc.is_in(events["representative"], ids))
    for row in dropped.select(["id", "representative", "evidence"]).to_pylist():
        yield Alike(row["id"], row["representative"], f"dropped for it: {row['evidence']}", 0.998, duplicate=True)
    for row in events.filter(pa.array(mine)).filter(pc.field("representative").is_valid()).to_pylist():
        yield Alike(row["representative"], row["id"], f"its representative: {row['evidence']}", 0.998, duplicate=True)


def _near(events: pa.Table, names: list[str], mine: Mask, index: Index, given: params.Params) -> Iterator[Alike]:
    """Yield the records of which a part resembles one of ours at or above the floor."""
    digests, record, part = of_parts(events["parts"], "content", names)
    for name, kind in EVIDENCE.items():
        of_kind = np.array([given.source.parts.get(n) == kind.modality for n in names], np.bool_)[part]
        ours = digests[of_kind & mine[record]]
        ours = ours[first_of_each(ours)]
        if not len(ours):
            continue
        pairs = list(_pairs(index, name, ours, given.match.floor.of(name)))
        holders = _holding(events, digests[of_kind], record[of_kind], [bytes(each) for p in pairs for each in p[:2]])
        threshold = np.float32(given.dedup.thresholds.of(name))
        for left, right, score in pairs:
            for me in holders[bytes(left)]:
                how, enough = f"{name} {score:.4g}", bool(score >= threshold)
                yield from (Alike(o, me, how, min(float(score), 0.997), enough) for o in holders[bytes(right)])


def _holding(events: pa.Table, digests: Digests, record: Rows, wanted: list[bytes]) -> dict[bytes, list[str]]:
    """Return the ids of the records that hold each of some contents."""
    distinct = list(dict.fromkeys(wanted))
    number = Lookup(of_list(distinct)).find(digests)
    found: dict[bytes, dict[str, None]] = {each: {} for each in distinct}
    rows = np.flatnonzero(number >= 0)
    ids = events["id"].take(pa.array(record[rows])).to_pylist()
    for at, name in zip(number[rows].tolist(), ids, strict=True):
        found[distinct[at]][name] = None
    return {each: list(names) for each, names in found.items()}


def _pairs(index: Index, name: str, ours: Digests, floor: float) -> Iterator[tuple[Digest, Digest, np.float32]]:
    """Yield pairs of one of our contents and another that resemble each other, with the score."""
    kind = EVIDENCE[name]
    structure = STRUCTURES[kind.structure]
    for segment in index.segments:
        at = Lookup(segment.content(kind.modality)).find(ours)
        chosen = np.intersect1d(at[at >= 0], structure.comparable(kind, segment))
        if not len(chosen):
            continue
        near = structure.nearest(kind, segment, chosen, floor, MOST)
        for other in index.segments:
            place, row, score = near(other)
            left, right = segment.content(kind.modality)[chosen[place]], other.content(kind.modality)[row]
            yield from zip(left, right, score, strict=True)
            if other is segment:  # of two of ours one stands for the pair
                yield from ((r, x, s) for x, r, s in zip(left, right, score, strict=True) if (ours == r).all(1).any())
    yield from _listed(index, name, ours)


def _listed(index: Index, name: str, ours: Digests) -> Iterator[tuple[Digest, Digest, np.float32]]:
    """Yield the matches that the index lists."""
    wanted = pa.array([bytes(each) for each in ours], DIGEST)
    for batch in index.matches():
        for mine, its in (("left", "right"), ("right", "left")):
            found = batch.filter(pc.and_(pc.equal(batch["kind"], name), pc.is_in(batch[mine], wanted)))
            yield from zip(of_column(found[mine]), of_column(found[its]), found["score"].to_numpy(), strict=True)
