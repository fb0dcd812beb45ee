"""New fingerprints against the base's segments and among themselves → verified matches, and one new segment.

Nothing here depends on a threshold: every verified match at or above the floor is kept.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dedupver import store
from dedupver.digests import Digests, Rows, order, to_column
from dedupver.index import bands, codes, hnsw, lsh, recall
from dedupver.index.segment import Index, Segment, Vectors, groups, similarity
from dedupver.schema import EVIDENCE, HOT, MATCH, RECALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dedupver import params
    from dedupver.index.bands import Keys

Scores = npt.NDArray[np.float32]

SELF: Final = -1
"""Ordinal that stands for the new segment among the segments searched."""


@dataclass(frozen=True)
class Found:
    """Verified matches of one kind: rows of the new segment with rows of one segment."""

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


class Verified:
    """Matches verified so far: packed pairs, ascending, and their scores."""

    def __init__(self) -> None:
        """Begin with none."""
        self.pairs, self.scores = np.empty(0, np.uint64), np.empty(0, np.float32)

    def missing(self, pairs: Keys) -> Keys:
        """Return those of some ascending pairs that are not among them."""
        if not len(self.pairs):
            return pairs
        place = np.minimum(np.searchsorted(self.pairs, pairs), len(self.pairs) - 1)
        return pairs[self.pairs[place] != pairs]

    def add(self, pairs: Keys, scores: Scores) -> None:
        """Take in pairs that were missing."""
        pairs, scores = np.concatenate([self.pairs, pairs]), np.concatenate([self.scores, scores])
        order = np.argsort(pairs, kind="stable")  # linear: there are two ascending runs
        self.pairs, self.scores = pairs[order], scores[order]


class Matcher:
    """Search one set of new fingerprints in the base and among themselves."""

    def __init__(self, new: Segment, base: Index, settings: params.Match) -> None:
        """Take the segment being made, which holds its fingerprints already, the base and the settings."""
        self.new, self.base, self.settings = new, base, settings

    def write(self) -> dict[str, Any]:
        """Write the new segment's tables and graphs, matches and hot members; return counts by kind."""
        counts, matches, hot = {}, [MATCH.empty_table()], [HOT.empty_table()]
        for kind in sorted(EVIDENCE):  # tables are sorted by kind first
            found, crowded = self._search(kind)
            matches.append(self._match_table(kind, found))
            hot.append(self._hot_table(kind, crowded))
            counts[kind] = matches[-1].num_rows
        store.write_table(self.new.path / "matches.parquet", pa.concat_tables(matches).combine_chunks(), MATCH)
        members = store.write_table(self.new.path / "hot.parquet", pa.concat_tables(hot).combine_chunks(), HOT)
        return {"matches": counts, "hot_members": members}

    def recall(self) -> pa.Table:
        """Measure each kind's search on a fixed sample (schema RECALL)."""
        sample, cap = self.settings.recall_sample, self.settings.bucket_cap
        tables = [
            recall.measure(
                kind, self.new, self.base.segments, floor=self.settings.floor.of(kind), sample=sample, cap=cap
            )
            for kind in EVIDENCE
        ]
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
        self._write_bands()
        sizes = [segment.size("text") for segment in self.base.segments]
        first = np.cumsum([0, *sizes])
        verified, hot = Verified(), [Hot(SELF, np.empty(0, np.uint64), np.empty(0, np.int64))]
        for pairs in lsh.batched(self._candidates(sizes, first, hot)):
            verified.add(*self._good(verified.missing(pairs), first))
        left, right = lsh.unpacked(verified.pairs)
        found = [Found(s, left[at] - first[-1], row, verified.scores[at]) for s, at, row in self._rows(right, first)]
        return found, hot

    def _candidates(self, sizes: list[int], first: Rows, hot: list[Hot]) -> Iterator[Keys]:
        """Give the pairs of all bands, band by band, and add the members of hot buckets to `hot`."""
        for number in range(self.settings.lsh.bands):
            base = [segment.band(number) for segment in self.base.segments]
            found = lsh.candidates(self.new.band(number), base, sizes, self.settings.bucket_cap)
            yield from found.pairs
            hot += [Hot(segment, found.group[at], row) for segment, at, row in self._rows(found.member, first)]

    def _write_bands(self) -> None:
        lsh_, sets, path = self.settings.lsh, self.new.sets(), self.new.path
        shape = lsh_.bands, int(np.count_nonzero(sets.sizes))
        with (
            store.appending(path / "text.bands.keys.npy", shape, np.uint64) as keys,
            store.appending(path / "text.bands.rows.npy", shape, np.uint32) as rows,
            ThreadPoolExecutor(1) as pool,
        ):
            for band in bands.make(sets, lsh_.bands, lsh_.rows, lsh_.seed):
                written = pool.submit(rows, band.rows)  # beside the keys: a file's pages are filled on one core
                keys(band.keys)
                written.result()
                del band  # or it would hold some bands while the next are made

    def _good(self, pairs: Keys, first: Rows) -> tuple[Keys, Scores]:
        """Return the pairs at or above the floor, and their scores."""
        left, right = lsh.unpacked(pairs)
        scores, floor = np.empty(len(pairs), np.float32), self.settings.floor.text
        for segment, at, row in self._rows(right, first):
            scores[at] = similarity("text", self.new, left[at] - first[-1], self._segment(segment), row, floor)
        good = scores >= np.float32(floor)
        return pairs[good], scores[good]

    def _rows(self, numbers: Rows, first: Rows) -> Iterator[tuple[int, Rows, Rows]]:
        """Give (segment, places in `numbers`, rows of the segment) of contents that are numbered through."""
        owner = np.searchsorted(first, numbers, side="right") - 1
        for at in groups(owner):
            ordinal = int(owner[at[0]])
            yield SELF if ordinal == len(self.base.segments) else ordinal, at, numbers[at] - first[ordinal]

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

    def _verified(self, kind: str, ordinal: int, left: Rows, right: Rows) -> Found:
        floor = self.settings.floor.of(kind)
        score = similarity(kind, self.new, left, self._segment(ordinal), right, floor)
        good = score >= np.float32(floor)
        return Found(ordinal, left[good], right[good], score[good])

    def _one_group(self, ordinal: int, rows: Rows) -> list[Hot]:
        return [Hot(ordinal, np.zeros(len(rows), np.uint64), rows)] if len(rows) else []

    def _match_table(self, kind: str, found: list[Found]) -> pa.Table:
        """Return the matches (schema MATCH), sorted; rows of the new segment are in order of digest already."""
        if not found:
            return MATCH.empty_table()
        left, score = np.concatenate([f.left for f in found]), np.concatenate([f.score for f in found])
        right = self._contents(kind, found, [f.right for f in found])
        rows = _by(left, right)
        columns = [to_column(self.new.content(EVIDENCE[kind][0])[left[rows]]), to_column(right[rows])]
        return _table(MATCH, kind, [*columns, pa.array(score[rows])])

    def _hot_table(self, kind: str, hot: list[Hot]) -> pa.Table:
        """Return the members of hot buckets (schema HOT), sorted."""
        if not hot:
            return HOT.empty_table()
        group = np.concatenate([h.group for h in hot])
        content = self._contents(kind, hot, [h.row for h in hot])
        rows = _by(group, content)
        return _table(HOT, kind, [pa.array(group[rows]), to_column(content[rows])])

    def _contents(self, kind: str, parts: Sequence[Found | Hot], rows: list[Rows]) -> Digests:
        modality = EVIDENCE[kind][0]
        contents = [self._segment(p.segment).content(modality) for p in parts]
        return np.concatenate([content[r] for content, r in zip(contents, rows, strict=True)])


def _by(first: npt.NDArray[Any], digests: Digests) -> Rows:
    """Return the rows in order of a number and then of a digest."""
    rows = order(digests)
    return rows[np.argsort(first[rows], kind="stable")]


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


def _table(schema: pa.Schema, kind: str, columns: list[pa.Array]) -> pa.Table:
    return pa.Table.from_arrays([pa.repeat(kind, len(columns[0])), *columns], schema=schema)


def write_segment(prints: Path, base: Index, settings: params.Match, out: Path) -> tuple[dict[str, Any], pa.Table]:
    """Make `out` the segment of the fingerprints in `prints`; return counts and the measured recall (RECALL)."""
    out.mkdir(parents=True)
    for path in sorted(prints.glob("*.npy")):
        store.link(path, out / path.name, "copy")
    store.link(prints / "contents.parquet", out / "contents.parquet", "copy")
    matcher = Matcher(Segment(out), base, settings)
    counts = matcher.write()
    return counts, matcher.recall()
