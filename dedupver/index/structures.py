"""How fingerprints of each structure are compared, exactly, and what a segment holds beside them to be searched by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from dedupver import store
from dedupver.digests import Rows, leading
from dedupver.index import bands, blocks, codes, fields, sample, seeds, sequences, sets, vectors
from dedupver.schema import EVIDENCE, JOINT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dedupver import params
    from dedupver.index.segment import Segment
    from dedupver.schema import Kind

Scores = npt.NDArray[np.float32]
Pairs = tuple[Rows, Rows, Scores]
"""(place in the sample, row of a segment, score) of pairs at or above the floor, ascending."""
Nearest = Callable[["Segment"], Pairs]
"""Lists the pairs of a sample with a segment, by brute force; of each place the first `cap` but its own."""

_TOGETHER: Final = 1 << 14  # codes or vectors that the sample is compared with at a time


class Structure(Protocol):
    """What the index asks of a structure."""

    def derived(self, kind: Kind) -> Sequence[str]:
        """Return the names, within a modality, of the arrays that `derive` writes."""

    def derive(self, name: str, segment: Segment, settings: params.Match) -> None:
        """Write, beside a kind's fingerprints, what they are searched by: a function of them and the settings alone."""

    def comparable(self, kind: Kind, segment: Segment) -> Rows:
        """Return the rows of a segment that have a fingerprint which says enough to be compared."""

    def similarity(  # noqa: PLR0913, PLR0917 - rows of two segments
        self, kind: Kind, a: Segment, ai: Rows, b: Segment, bi: Rows, at_least: float
    ) -> Scores:
        """Return the exact similarity of pairs of rows, shape (m,); 0 may stand for any below `at_least`."""

    def nearest(self, kind: Kind, new: Segment, chosen: Rows, floor: float, cap: int) -> Nearest:
        """Return what lists, by brute force, the pairs of some comparable rows of the new segment."""


def similarity(  # noqa: PLR0913, PLR0917 - rows of two segments
    kind: str, a: Segment, ai: Rows, b: Segment, bi: Rows, at_least: float = 0
) -> Scores:
    """Return the exact similarity of rows `ai` of one segment with rows `bi` of another; shape (m,).

    For a pair that does not reach `at_least` 0 may stand.
    """
    what = EVIDENCE[kind]
    return STRUCTURES[what.structure].similarity(what, a, ai, b, bi, at_least)


def derive(name: str, segment: Segment, settings: params.Match) -> None:
    """Write, beside a segment's fingerprints of a kind, what they are searched by; a plan of bands is there already."""
    STRUCTURES[EVIDENCE[name].structure].derive(name, segment, settings)


class _Sets:
    """Sets of hashes: MinHash proposes, Jaccard decides."""

    def derived(self, kind: Kind) -> Sequence[str]:  # noqa: ARG002 - as Structure has it
        return [bands.KEYS, bands.ROWS]

    def derive(self, name: str, segment: Segment, settings: params.Match) -> None:
        modality, lsh = EVIDENCE[name].modality, settings.lsh
        given = segment.sets(modality)
        made = bands.make(given, lsh.bands, lsh.rows, lsh.seed)
        bands.write(segment.path, modality, made, (lsh.bands, int(np.count_nonzero(given.sizes))))

    def comparable(self, kind: Kind, segment: Segment) -> Rows:
        return np.flatnonzero(segment.sets(kind.modality).sizes)

    def similarity(  # noqa: PLR0913, PLR0917 - as Structure has it
        self, kind: Kind, a: Segment, ai: Rows, b: Segment, bi: Rows, at_least: float
    ) -> Scores:
        return sets.jaccard(a.sets(kind.modality), ai, b.sets(kind.modality), bi, at_least)

    def nearest(self, kind: Kind, new: Segment, chosen: Rows, floor: float, cap: int) -> Nearest:
        postings = sets.Postings.of(new.sets(kind.modality), chosen)

        def near(segment: Segment) -> Pairs:
            own = chosen if segment is new else None
            return sets.neighbours(postings, segment.sets(kind.modality), floor, cap, own)

        return near


class _Codes:
    """Bit codes: Hamming distance."""

    def derived(self, kind: Kind) -> Sequence[str]:  # noqa: ARG002 - as Structure has it
        return []

    def derive(self, name: str, segment: Segment, settings: params.Match) -> None:
        if settings.image_index == "hnsw":
            _write_graph(segment, name, settings.hnsw)

    def comparable(self, kind: Kind, segment: Segment) -> Rows:
        return segment.codes(kind)[1]

    def similarity(self, kind: Kind, a: Segment, ai: Rows, b: Segment, bi: Rows, _: float) -> Scores:
        left, right = a.every(kind)[ai], b.every(kind)[bi]
        both = a.valid(kind)[ai] & b.valid(kind)[bi]
        return np.where(both, codes.similarity(left, right), np.float32(0))

    def nearest(self, kind: Kind, new: Segment, chosen: Rows, floor: float, cap: int) -> Nearest:
        mine = new.every(kind)[chosen]
        return _by_pair(codes.neighbours, mine, chosen, new, lambda segment: segment.codes(kind), floor, cap)


class _Vectors:
    """Unit vectors: cosine."""

    def derived(self, kind: Kind) -> Sequence[str]:  # noqa: ARG002 - as Structure has it
        return []

    def derive(self, name: str, segment: Segment, settings: params.Match) -> None:
        _write_graph(segment, name, settings.hnsw)

    def comparable(self, kind: Kind, segment: Segment) -> Rows:
        return segment.vectors(kind)[1]

    def similarity(self, kind: Kind, a: Segment, ai: Rows, b: Segment, bi: Rows, _: float) -> Scores:
        return np.nan_to_num(vectors.cosine(a.every(kind), ai, b.every(kind), bi), nan=0.0)

    def nearest(self, kind: Kind, new: Segment, chosen: Rows, floor: float, cap: int) -> Nearest:
        mine = new.every(kind)[chosen]
        return _by_pair(vectors.neighbours, mine, chosen, new, lambda segment: segment.vectors(kind), floor, cap)


class _Sequences:
    """Codes over time: the bits that agree at the best offset."""

    def derived(self, kind: Kind) -> Sequence[str]:
        return [f"{kind.measure}.{name}" for name in seeds.Seeds._fields]

    def derive(self, name: str, segment: Segment, settings: params.Match) -> None:  # noqa: ARG002 - as Structure has it
        kind = EVIDENCE[name]
        table = seeds.make(segment.sequences(kind).codes)
        for part, values in zip(self.derived(kind), table, strict=True):
            store.write_array(segment.path / f"{kind.modality}.{part}.npy", values)

    def comparable(self, kind: Kind, segment: Segment) -> Rows:
        return np.flatnonzero(segment.sequences(kind).codes.sizes)

    def similarity(  # noqa: PLR0913, PLR0917 - as Structure has it
        self, kind: Kind, a: Segment, ai: Rows, b: Segment, bi: Rows, at_least: float
    ) -> Scores:
        return sequences.similarity(a.sequences(kind).codes, ai, b.sequences(kind).codes, bi, at_least)

    def nearest(self, kind: Kind, new: Segment, chosen: Rows, floor: float, cap: int) -> Nearest:
        mine = new.sequences(kind).codes

        def near(segment: Segment) -> Pairs:
            own = chosen if segment is new else None
            place, row, score = sequences.neighbours(mine, chosen, segment.sequences(kind).codes, floor)
            return _first_others(own, place, row, score, np.full(len(chosen), cap))

        return near


class _Fields:
    """Rows of tables: the weighted mean of their fields' similarities."""

    def derived(self, kind: Kind) -> Sequence[str]:  # noqa: ARG002 - as Structure has it
        return [bands.KEYS, bands.ROWS]

    def derive(self, name: str, segment: Segment, settings: params.Match) -> None:
        kind = EVIDENCE[name]
        planned = segment.plan(kind.modality)
        if planned:
            shape = len(planned.fields), len(self.comparable(kind, segment))
            bands.write(segment.path, kind.modality, band_rows(kind, segment, planned, settings.row_lsh), shape)

    def comparable(self, kind: Kind, segment: Segment) -> Rows:
        return fields.comparable(*fielded(kind, segment))

    def similarity(  # noqa: PLR0913, PLR0917 - as Structure has it
        self, kind: Kind, a: Segment, ai: Rows, b: Segment, bi: Rows, at_least: float
    ) -> Scores:
        (mine, how), (theirs, _) = fielded(kind, a), fielded(kind, b)
        return fields.similarity(mine, ai, theirs, bi, how, at_least)

    def nearest(self, kind: Kind, new: Segment, chosen: Rows, floor: float, cap: int) -> Nearest:
        mine, how = fielded(kind, new)
        inverted = sample.Sample.of(mine, chosen, how)

        def near(segment: Segment) -> Pairs:
            own = chosen if segment is new else None
            return sample.neighbours(inverted, fielded(kind, segment)[0], how, floor=floor, cap=cap, own=own)

        return near


def derive_joint(segment: Segment, settings: params.Match) -> None:
    """Write what a segment's vectors in the joint spaces are searched by."""
    for kind in JOINT:
        _write_graph(segment, f"{kind.modality}_{kind.measure}", settings.hnsw)


def _write_graph(segment: Segment, name: str, settings: params.Hnsw) -> None:
    """Write the graph of a kind's vectors, if they are many."""
    found, _ = segment.graphed(name)
    if len(found) >= settings.min_vectors:
        from dedupver.index import hnsw  # noqa: PLC0415 - loads faiss, which small segments do not need

        hnsw.build(segment.path / f"{name}.hnsw", found, settings.m, settings.ef_construction, settings.seed)


STRUCTURES: Final[dict[str, Structure]] = {
    "sets": _Sets(),
    "codes": _Codes(),
    "vectors": _Vectors(),
    "sequences": _Sequences(),
    "fields": _Fields(),
}


def band_rows(kind: Kind, segment: Segment, planned: blocks.Plan, settings: params.RowLsh) -> Iterator[bands.Band]:
    """Give the bands of a segment's rows by a plan."""
    rows, how = fielded(kind, segment)
    contents = fields.comparable(rows, how).astype(np.uint32)
    return blocks.make(rows, leading(segment.content(kind.modality)), contents, how, planned, settings)


def fielded(kind: Kind, segment: Segment) -> tuple[fields.Fields, fields.Comparison]:
    """Return a segment's rows, and how they are compared."""
    numbers = segment.array(f"{kind.modality}.numbers", np.empty((segment.size(kind.modality), 0)))
    return fields.Fields.of(segment.sets(kind.modality), numbers), fields.Comparison.of(segment.rows())


def _by_pair(  # noqa: PLR0913, PLR0917 - a measurement has this many settings
    compare: Callable[[Any, Any, float], Pairs],
    mine: npt.NDArray[Any],
    chosen: Rows,
    new: Segment,
    values: Callable[[Segment], tuple[npt.NDArray[Any], Rows]],
    floor: float,
    cap: int,
) -> Nearest:
    def near(segment: Segment) -> Pairs:
        (theirs, rows), own = values(segment), chosen if segment is new else None
        found = np.zeros(len(mine), np.int64)
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        for start in range(0, len(theirs), _TOGETHER):
            place, at, score = compare(mine, theirs[start : start + _TOGETHER], floor)
            parts.append(_first_others(own, place, rows[start + at], score, cap - found))
            found += np.bincount(parts[-1][0], minlength=len(mine))
        place, row, score = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.argsort(place, kind="stable")
        return place[order], row[order], score[order]

    return near


def _first_others(own: Rows | None, place: Rows, row: Rows, score: Scores, most: Rows) -> Pairs:
    """Return the first pairs of each place, as many as it may have, without those of a row with itself."""
    if own is not None:
        other = row != own[place]
        place, row, score = place[other], row[other], score[other]
    first = np.arange(len(place)) - np.searchsorted(place, place) < most[place]
    return place[first], row[first], score[first]
