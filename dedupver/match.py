"""New fingerprints against the base's segments and among themselves → verified matches, and one new segment.

Nothing here depends on a threshold: every verified match at or above the floor is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import store
from dedupver.digests import Digests, Rows, to_column
from dedupver.index import codes, hnsw, lsh
from dedupver.index.segment import Index, Segment, Vectors, similarity
from dedupver.schema import EVIDENCE, HOT, MATCH, RECALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver import params

SELF: Final = -1
"""Ordinal that stands for the new segment among the segments searched."""


@dataclass(frozen=True)
class Found:
    """Verified matches of one kind: rows of the new segment with rows of one segment, and hot members."""

    segment: int  # ordinal in the base, or SELF
    left: Rows
    right: Rows
    score: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Hot:
    """Members of hot buckets: rows of one segment."""

    segment: int
    group: npt.NDArray[np.uint64]
    row: Rows


class Matcher:
    """Search one set of new fingerprints in the base and among themselves."""

    def __init__(self, new: Segment, base: Index, settings: params.Match) -> None:
        """Take the new fingerprints (a directory being made a segment), the base and the settings."""
        self.new, self.base, self.settings = new, base, settings

    def write(self) -> dict[str, Any]:
        """Write the new segment's tables and graphs, matches and hot members; return counts by kind."""
        counts: dict[str, Any] = {}
        tables, hot_tables = [], []
        for kind in EVIDENCE:
            found, hot = self._search(kind)
            tables += [self._match_table(kind, f) for f in found]
            hot_tables += [self._hot_table(kind, h) for h in hot]
            counts[kind] = sum(len(f.left) for f in found)
        matches = pa.concat_tables([*tables, MATCH.empty_table()])
        store.write_table(
            self.new.path / "matches.parquet",
            matches.sort_by([(n, "ascending") for n in ("kind", "left", "right")]),
            MATCH,
        )
        hot_rows = pa.concat_tables([*hot_tables, HOT.empty_table()])
        store.write_table(self.new.path / "hot.parquet", hot_rows.sort_by([(n, "ascending") for n in HOT.names]), HOT)
        return {"matches": counts, "hot_members": hot_rows.num_rows}

    def recall(self) -> pa.Table:
        """Brute-force a fixed sample of the new contents against everything (schema RECALL).

        The sample is the contents with the smallest digests, which are as good as random.
        """
        tables = [self._recall_of(kind) for kind in EVIDENCE]
        return pa.concat_tables([*tables, RECALL.empty_table()])

    def _search(self, kind: str) -> tuple[list[Found], list[Hot]]:
        measure = EVIDENCE[kind][1]
        if measure == "minhash":
            return self._search_sets()
        if measure == "phash" and self.settings.image_index == "scan":
            return self._search_codes()
        return self._search_graph(kind)

    # --- sets ---------------------------------------------------------------------------------------------------

    def _search_sets(self) -> tuple[list[Found], list[Hot]]:
        count, width = self.settings.lsh.bands, self.settings.lsh.rows
        valid = np.diff(self.new.sets().offsets) > 0
        signatures = self.new.signatures()
        table = lsh.build(lsh.band_keys(signatures, count, width), valid)
        store.write_array(self.new.path / "text.bands.keys.npy", table.keys)
        store.write_array(self.new.path / "text.bands.rows.npy", table.rows)
        tables = [segment.bands(count) for segment in self.base.segments]
        sizes = [segment.size("text") for segment in self.base.segments]
        candidates = lsh.candidates(table, tables, sizes, self.settings.bucket_cap)
        bounds = np.concatenate([[0], np.cumsum([*sizes, self.new.size("text")])]).astype(np.int64)
        owner = np.searchsorted(bounds, candidates.right, side="right") - 1
        found = []
        for ordinal in np.unique(owner):
            mine = owner == ordinal
            left, right = candidates.left[mine] - bounds[-2], candidates.right[mine] - bounds[ordinal]
            found.append(self._verified("text", self._ordinal(int(ordinal)), left, right))
        return found, list(self._hot_by_segment(candidates, bounds))

    def _hot_by_segment(self, candidates: lsh.Candidates, bounds: Rows) -> Iterator[Hot]:
        owner = np.searchsorted(bounds, candidates.member, side="right") - 1
        for ordinal in np.unique(owner):
            mine = owner == ordinal
            yield Hot(self._ordinal(int(ordinal)), candidates.group[mine], candidates.member[mine] - bounds[ordinal])

    # --- codes --------------------------------------------------------------------------------------------------

    def _search_codes(self) -> tuple[list[Found], list[Hot]]:
        new, rows = self.new.codes()
        radius = int((1 - self.settings.floor.image) * 64 * new.shape[1] + 1e-9)
        found, hot = [], []
        for ordinal, segment in self._everything():
            old, old_rows = segment.codes()
            if not len(new) or not len(old):
                continue
            scan = codes.scan(new, old, radius, self.settings.bucket_cap, triangle=ordinal == SELF)
            found.append(self._verified("image", ordinal, rows[scan.left], old_rows[scan.right]))
            hot += self._one_group(SELF, rows[scan.hot_queries]) + self._one_group(ordinal, old_rows[scan.hot_codes])
        return found, hot

    # --- vectors ------------------------------------------------------------------------------------------------

    def _search_graph(self, kind: str) -> tuple[list[Found], list[Hot]]:
        new, rows = _vectors(self.new, kind)
        graph = self.settings.hnsw
        if len(new):
            hnsw.build(self.new.graph(kind), new, graph.m, graph.ef_construction, graph.seed)
        found, hot = [], []
        for ordinal, segment in self._everything():
            old, old_rows = _vectors(segment, kind)
            if not len(new) or not len(old):
                continue
            wanted = graph.neighbours + (ordinal == SELF)  # each finds itself first
            near, score = hnsw.search(segment.graph(kind), old.shape[1], new, wanted, graph.ef)
            left, place = np.nonzero((near >= 0) & (score >= self.settings.floor.of(kind) - 1e-3))
            right = near[left, place]
            full = near.shape[1] == wanted and len(old) > wanted
            last = score[:, -1] if near.shape[1] else np.zeros(len(new), np.float32)
            crowded = np.flatnonzero(full & (last >= self.settings.floor.of(kind)))
            hot += self._one_group(SELF, rows[crowded])
            hot += self._one_group(ordinal, old_rows[np.unique(near[crowded][near[crowded] >= 0])])
            if ordinal == SELF:
                left, right = _each_once(left, right)
            found.append(self._verified(kind, ordinal, rows[left], old_rows[right]))
        return found, hot

    # --- what they share ----------------------------------------------------------------------------------------

    def _everything(self) -> list[tuple[int, Segment]]:
        return [*enumerate(self.base.segments), (SELF, self.new)]

    def _segment(self, ordinal: int) -> Segment:
        return self.new if ordinal == SELF else self.base.segments[ordinal]

    def _ordinal(self, place: int) -> int:
        return SELF if place == len(self.base.segments) else place

    def _verified(self, kind: str, ordinal: int, left: Rows, right: Rows) -> Found:
        score = similarity(kind, self.new, left, self._segment(ordinal), right)
        good = score >= np.float32(self.settings.floor.of(kind))
        return Found(ordinal, left[good], right[good], score[good])

    def _one_group(self, ordinal: int, rows: Rows) -> list[Hot]:
        return [Hot(ordinal, np.zeros(len(rows), np.uint64), rows)] if len(rows) else []

    def _match_table(self, kind: str, found: Found) -> pa.Table:
        modality = EVIDENCE[kind][0]
        left = self.new.content(modality)[found.left]
        right = self._segment(found.segment).content(modality)[found.right]
        return _table(MATCH, [_repeat(kind, len(left)), to_column(left), to_column(right), pa.array(found.score)])

    def _hot_table(self, kind: str, hot: Hot) -> pa.Table:
        content = self._segment(hot.segment).content(EVIDENCE[kind][0])[hot.row]
        table = _table(HOT, [_repeat(kind, len(content)), pa.array(hot.group), to_column(content)])
        return table.group_by(HOT.names).aggregate([])

    # --- recall -------------------------------------------------------------------------------------------------

    def _recall_of(self, kind: str) -> pa.Table:
        modality = EVIDENCE[kind][0]
        sample = self._sample(kind)
        lefts, rights, scores = [np.empty((0, 32), np.uint8)], [np.empty((0, 32), np.uint8)], [np.empty(0, np.float32)]
        for ordinal, segment in self._everything():
            everything = np.arange(segment.size(modality), dtype=np.int64)
            for row in sample if len(everything) else []:
                others = everything[everything != row] if ordinal == SELF else everything
                score = similarity(kind, self.new, np.full(len(others), row), segment, others)
                true = np.flatnonzero(score >= np.float32(self.settings.floor.of(kind)))
                true = true[: self.settings.bucket_cap]  # a hot bucket would list the whole of itself
                lefts.append(np.repeat(self.new.content(modality)[row][None], len(true), axis=0))
                rights.append(segment.content(modality)[others[true]])
                scores.append(score[true])
        left, right, score = np.concatenate(lefts), np.concatenate(rights), np.concatenate(scores)
        found = known_pairs(
            kind, self.new.matches(), self.new.hot(), [s.hot() for s in self.base.segments], left, right
        )
        return _table(
            RECALL, [_repeat(kind, len(left)), to_column(left), to_column(right), pa.array(score), pa.array(found)]
        )

    def _sample(self, kind: str) -> Rows:
        if EVIDENCE[kind][1] == "minhash":
            rows = np.flatnonzero(np.diff(self.new.sets().offsets) > 0)
        else:
            rows = _vectors(self.new, kind)[1]
        return rows[: self.settings.recall_sample]


def known_pairs(  # noqa: PLR0913, PLR0917 - pairs, and the four places where they may be
    kind: str, matches: pa.Table, hot: pa.Table, older_hot: list[pa.Table], left: Digests, right: Digests
) -> npt.NDArray[np.bool_]:
    """Return for each pair whether it was found: it is among the matches, or both are in one hot bucket."""
    wanted = pa.array({bytes(d) for d in left} | {bytes(d) for d in right}, type=MATCH.field("left").type)
    of_sample = pc.and_(pc.is_in(matches["left"], wanted), pc.is_in(matches["right"], wanted))
    rows = matches.filter(pc.and_(pc.equal(matches["kind"], kind), of_sample))
    pairs = set(zip(rows["left"].to_pylist(), rows["right"].to_pylist(), strict=True))
    groups: dict[bytes, set[int]] = {}
    for table in [hot, *older_hot]:
        mine = table.filter(pc.and_(pc.equal(table["kind"], kind), pc.is_in(table["content"], wanted)))
        for group, content in zip(mine["group"].to_pylist(), mine["content"].to_pylist(), strict=True):
            groups.setdefault(content, set()).add(group)
    found = [
        (a, b) in pairs or (b, a) in pairs or bool(groups.get(a, set()) & groups.get(b, set()))
        for a, b in zip(map(bytes, left), map(bytes, right), strict=True)
    ]
    return np.array(found, dtype=np.bool_)


def _vectors(segment: Segment, kind: str) -> tuple[Vectors, Rows]:
    """Return the vectors a kind's graph holds: embeddings, or the bits of a perceptual hash as ±1."""
    modality, measure = EVIDENCE[kind]
    if measure == "embedding":
        return segment.vectors(modality)
    packed, rows = segment.codes()
    bits = np.unpackbits(packed.astype("<u8").view(np.uint8), axis=1).astype(np.float32)
    return (bits * 2 - 1) / np.float32(np.sqrt(max(bits.shape[1], 1))), rows


def _each_once(left: Rows, right: Rows) -> tuple[Rows, Rows]:
    """Return the pairs of one segment with itself once each, the greater row left, without (x, x)."""
    pairs = np.stack([np.maximum(left, right), np.minimum(left, right)], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return pairs[:, 0], pairs[:, 1]


def _repeat(kind: str, count: int) -> pa.Array:
    return pa.array([kind] * count, pa.string())


def _table(schema: pa.Schema, columns: list[pa.Array]) -> pa.Table:
    return pa.Table.from_arrays(columns, schema=pa.schema([f.with_nullable(True) for f in schema])).cast(schema)


def write_segment(prints: Path, base: Index, settings: params.Match, out: Path) -> tuple[dict[str, Any], pa.Table]:
    """Make `out` the segment of the fingerprints in `prints`; return counts and the measured recall (RECALL)."""
    out.mkdir(parents=True)
    for path in sorted(prints.glob("*.npy")):
        store.link(path, out / path.name, "copy")
    store.link(prints / "contents.parquet", out / "contents.parquet", "copy")
    matcher = Matcher(Segment(out), base, settings)
    counts = matcher.write()
    recall = matcher.recall()
    (out / "text.minhash.npy").unlink(missing_ok=True)  # the bands say all that a search needs
    store.seal(out)
    return counts, recall
