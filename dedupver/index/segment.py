"""An immutable part of the index, and the index: segments, oldest first, and what they were built with."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver import params, store
from dedupver.digests import Digests, Lookup, Rows
from dedupver.fingerprint.prints import OFFSETS, VALUES
from dedupver.fingerprint.ragged import Ragged
from dedupver.index import bands, codes
from dedupver.index.blocks import Plan
from dedupver.index.seeds import Seeds
from dedupver.index.sequences import Sequences
from dedupver.index.structures import STRUCTURES, similarity
from dedupver.schema import EVIDENCE, FIT, FORMAT, HOT, JOINT, MATCH, MODALITIES, NGRAM, SPAN, ParamsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

    from dedupver.schema import Kind

Vectors = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint64]
Scores = npt.NDArray[np.float32]

MANIFEST: Final = "index.json"
TABLES: Final = {"matches": MATCH, "hot": HOT, "spans": SPAN, "joint": FIT}
"""What a segment says of its contents: each as NAME.parquet, in the order of its columns."""

PLAN: Final = "bands.json"
"""What a plan of bands is called, after its modality."""

GRAPHED: Final = EVIDENCE | {f"{kind.modality}_{kind.measure}": kind for kind in JOINT}
"""What a graph may be of, by its name."""

_LARGE: Final = 1 << 16  # contents: 24 MiB of LSH tables with 32 bands


@dataclass(frozen=True)
class Segment:
    """A handle on a segment's directory (or on freshly merged fingerprints, which have the same arrays)."""

    path: Path
    index: store.Sealed | None = field(default=None, repr=False, compare=False)  # of the one it is part of
    built_with: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)  # the settings of the index
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The version that wrote it, or the first and the last of those that it holds."""
        return self.path.name

    def content(self, modality: str) -> Digests:
        """Return the digests of the contents, ascending, shape (n, 32)."""
        return self.array(f"{modality}.content", np.empty((0, 32), np.uint8))

    def size(self, modality: str) -> int:
        """Return the number of distinct contents."""
        return len(self.content(modality))

    def ragged(self, name: str) -> Ragged:
        """Return rows of different lengths."""
        return Ragged(
            self.array(f"{name}.{OFFSETS}", np.zeros(1, np.int64)),
            self.array(f"{name}.{VALUES}", np.empty(0, np.uint32)),
        )

    def sets(self, modality: str) -> Ragged:
        """Return the sets of hashes of a modality."""
        return self.ragged(f"{modality}.sets")

    def band(self, modality: str, number: int) -> bands.Band:
        """Return a band of a modality's LSH table."""
        keys = self.array(f"{modality}.{bands.KEYS}", np.empty((number + 1, 0), np.uint64))
        rows = self.array(f"{modality}.{bands.ROWS}", np.empty((number + 1, 0), np.uint32))
        if keys.shape[1] > _LARGE:  # each band is mapped anew: what was read of the others does not stay in memory
            del self._arrays[f"{modality}.{bands.KEYS}"], self._arrays[f"{modality}.{bands.ROWS}"]
        return bands.Band(keys[number], rows[number])

    def every(self, kind: Kind) -> npt.NDArray[Any]:
        """Return the codes (n, words) or vectors (n, dim) of a kind, a row each content, those too that say nothing.

        Of a kind of which a content has several vectors the shape is (n, several, dim).
        """
        dtype = np.uint64 if kind.structure == "codes" else np.float32
        return self.array(f"{kind.modality}.{kind.measure}", np.empty((0, 1), dtype))

    def valid(self, kind: Kind) -> npt.NDArray[np.bool_]:
        """Return which of `every` say enough to be compared; of several vectors each, one after the other."""
        if kind.structure == "vectors":
            return ~np.isnan(self.every(kind)[..., 0]).ravel()
        return self.array(f"{kind.modality}.{kind.measure}.valid", np.ones(len(self.every(kind)), np.bool_))

    def codes(self, kind: Kind) -> tuple[Codes, Rows]:
        """Return the codes (m, words) that are valid, and their rows."""
        return _chosen(self.every(kind), self.valid(kind))

    def vectors(self, kind: Kind) -> tuple[Vectors, Rows]:
        """Return the unit vectors (m, dim) of the contents that have one, and their rows.

        Of a kind of which a content has several, row r is of content r // several.
        """
        found = self.every(kind)
        return _chosen(found.reshape(-1, found.shape[-1]), self.valid(kind))

    def vectors_each(self, kind: Kind) -> int:
        """Return how many vectors a content may have."""
        found = self.every(kind)
        return found.shape[1] if found.ndim > 2 else 1

    def sequences(self, kind: Kind) -> Sequences:
        """Return the codes over time of a kind, a row each content, and when they are."""
        name = f"{kind.modality}.{kind.measure}"
        return Sequences(self.ragged(name), self.array(f"{name}.clock", np.empty((0, 2), np.float32)))

    def seeds(self, kind: Kind) -> Seeds:
        """Return the table of a kind's codes."""
        nothing = np.empty(0, np.uint32)
        return Seeds(*(self.array(f"{kind.modality}.{kind.measure}.{name}", nothing) for name in Seeds._fields))

    def plan(self, modality: str) -> Plan | None:
        """Return the plan that the bands of a modality were made by; None where it has none, or they need none."""
        name = f"{modality}.{PLAN}"
        return Plan(**store.read_json(self.file(name))) if (self.path / name).exists() else None

    def write_plan(self, modality: str, plan: Plan) -> None:
        """Write the plan that the bands of a modality are to be made by."""
        store.write_json(self.path / f"{modality}.{PLAN}", plan._asdict())

    def rows(self) -> params.Row:
        """Return how rows of tables are compared."""
        return params.Row.model_validate(self.built_with["fingerprint"]["row"])

    def graphed(self, kind: str) -> tuple[Vectors, Rows]:
        """Return the vectors that a kind's graph is of, and their rows: of codes their bits as ±1, at length 1."""
        what = GRAPHED[kind]
        if what.structure == "vectors":
            return self.vectors(what)
        packed, rows = self.codes(what)
        return codes.signs(packed), rows  # their cosine grows as the distance of the codes shrinks

    def graph(self, kind: str) -> Path:
        """Return the path of a kind's HNSW graph."""
        return self.file(f"{kind}.hnsw")

    def has_graph(self, kind: str) -> bool:
        """Return whether a kind has a graph: its vectors are many."""
        return (self.path / f"{kind}.hnsw").exists()

    def matches(self) -> pa.Table:
        """Return the verified matches this segment brought (schema MATCH)."""
        return self.table("matches")

    def hot(self) -> pa.Table:
        """Return the members of its hot buckets (schema HOT)."""
        return self.table("hot")

    def spans(self) -> pa.Table:
        """Return what its contents share for a while with each other and with those before (schema SPAN)."""
        return self.table("spans")

    def fits(self) -> pa.Table:
        """Return which contents and texts fit each other, of which it brought one at least (schema FIT)."""
        return self.table("joint")

    def array(self, name: str, default: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array of the segment, mapped once; `default` where it has none."""
        if name not in self._arrays:
            path = self.path / f"{name}.npy"
            if not path.exists():
                return default
            self._arrays[name] = store.read_array(self.file(path.name))
        return self._arrays[name]

    def file(self, name: str) -> Path:
        """Return the path of a file; that of an index is checked first.

        Raises IntegrityError where it is damaged.
        """
        return self.index.file(f"segments/{self.name}/{name}") if self.index else self.path / name

    def table(self, name: str) -> pa.Table:
        """Return one of the TABLES."""
        path, schema = self.path / f"{name}.parquet", TABLES[name]
        return store.read_table(self.file(path.name), schema) if path.exists() else schema.empty_table()


@dataclass(frozen=True)
class Index:
    """Segments, oldest first. A content is in one segment only."""

    segments: tuple[Segment, ...]
    built_with: dict[str, Any]
    merged: dict[str, list[str]] = field(default_factory=dict)  # segment → the versions that it holds, of several
    sealed: store.Sealed | None = field(default=None, repr=False, compare=False)

    @classmethod
    def open(cls, path: Path) -> Index:
        """Open an index, each of whose files is checked when it is opened; an empty one where nothing was released."""
        if not path.exists():
            return cls((), {})
        sealed = store.Sealed(path)
        stated = store.read_json(sealed.file(MANIFEST))
        built_with = stated["built_with"]
        segments = (Segment(path / "segments" / name, sealed, built_with) for name in stated["segments"])
        return cls(tuple(segments), built_with, stated.get("merged", {}), sealed)

    def versions(self, segment: Segment) -> list[str]:
        """Return the versions that a segment holds, oldest first."""
        return self.merged.get(segment.name, [segment.name])

    def share(self, out: Path, segments: Iterable[Segment]) -> dict[str, str]:
        """Check every file, and link those of some segments below `out`; return the digests of these, by path."""
        if self.sealed is None:
            return {}
        self.sealed.check()
        folders = tuple(f"segments/{segment.name}/" for segment in segments)
        return self.sealed.share([name for name in self.sealed.sha256 if name.startswith(folders)], out)

    def require(self, wanted: dict[str, Any]) -> None:
        """Refuse params that disagree with those the index was built with; only the sections of `wanted` are compared.

        Raises ParamsError that shows both sides.
        """
        if not self.segments:
            return
        have, want = _flat({k: v for k, v in self.built_with.items() if k in wanted}), _flat(wanted)
        wrong = [k for k in sorted(have.keys() | want.keys()) if have.get(k) != want.get(k)]
        if wrong:
            lines = "\n".join(f"  {k}: the base has {have.get(k)!r}, params have {want.get(k)!r}" for k in wrong)
            raise ParamsError(
                f"the base index was built with other settings:\n{lines}\nSet params back, or set `version.base: none` "
                "to fingerprint all history again"
            )

    @functools.cached_property
    def _lookups(self) -> dict[str, tuple[Rows, Lookup]]:
        """For each modality the number of each segment's first content, and the contents of all by number."""
        found = {}
        for modality in MODALITIES:
            contents = [np.empty((0, 32), np.uint8), *(s.content(modality) for s in self.segments)]
            found[modality] = np.cumsum([len(c) for c in contents[:-1]]), Lookup(np.concatenate(contents))
        return found

    def locate(self, modality: str, digests: Digests) -> tuple[Rows, Rows]:
        """Return for each digest the ordinal of its segment and its row there; -1 and -1 where unknown."""
        first, lookup = self._lookups[modality]
        number = lookup.find(digests)
        segment = np.searchsorted(first, number, side="right") - 1
        return segment, np.where(number < 0, -1, number - first[segment]) if len(first) else number

    def matches(self) -> Iterator[pa.RecordBatch]:
        """Return the verified matches of all segments (schema MATCH), a batch at a time."""
        return self._batches("matches.parquet", MATCH)

    def hot(self) -> Iterator[pa.RecordBatch]:
        """Return the members of hot buckets of all segments (schema HOT), a batch at a time."""
        return self._batches("hot.parquet", HOT)

    def spans(self) -> Iterator[pa.Table]:
        """Return what contents share for a while, a segment at a time (schema SPAN)."""
        return (segment.spans() for segment in self.segments)

    def fits(self) -> Iterator[pa.RecordBatch]:
        """Return the contents and texts that fit each other in all segments (schema FIT), a segment at a time."""
        return itertools.chain.from_iterable(segment.fits().to_batches() for segment in self.segments)

    def scorer(self, kind: str, contents: Digests) -> Callable[[Rows, Rows, float], Scores]:
        """Return what gives the exact similarity of pairs of contents, named by their rows in `contents`, shapes (m,).

        It is 0 where one has no such fingerprint, and may be where it does not reach the third argument.
        """
        segment, row = self.locate(EVIDENCE[kind].modality, contents)

        def score(left: Rows, right: Rows, at_least: float) -> Scores:
            scores = np.zeros(len(left), np.float32)
            known = (segment[left] >= 0) & (segment[right] >= 0)
            for at in groups(np.where(known, segment[left] * len(self.segments) + segment[right], -1)):
                if known[at[0]]:
                    a, b = (self.segments[segment[end[at[0]]]] for end in (left, right))
                    scores[at] = similarity(kind, a, row[left[at]], b, row[right[at]], at_least)
            return scores

        return score

    def says(self, kind: str, contents: Digests) -> npt.NDArray[np.bool_]:
        """Return which contents have a fingerprint of a kind, or n-grams, that says enough to be compared."""
        if kind == NGRAM.measure:
            return self.ngrams(contents).sizes > 0
        what = EVIDENCE[kind]
        segment, row = self.locate(what.modality, contents)
        found = np.zeros(len(contents), np.bool_)
        for number, each in enumerate(self.segments):
            here = np.flatnonzero(segment == number)
            found[here] = np.isin(row[here], STRUCTURES[what.structure].comparable(what, each))
        return found

    def sets(self, kind: str, contents: Digests) -> Ragged:
        """Return the sets of some contents, in their order; an empty one for what is not known."""
        modality = EVIDENCE[kind].modality
        segment, row = self.locate(modality, contents)
        parts, rows = [Ragged(np.zeros(2, np.int64), np.empty(0, np.uint32))], np.zeros(len(contents), np.int64)
        first = 1
        for at in groups(segment):
            if segment[at[0]] >= 0:
                parts.append(self.segments[segment[at[0]]].sets(modality).take(row[at]))
                rows[at] = first + np.arange(len(at))
                first += len(at)
        return Ragged.joined(parts).take(rows)

    def ngrams(self, contents: Digests) -> Ragged:
        """Return the n-grams of some texts, in their order; none for what is not known, or where none were computed."""
        segment, row = self.locate("text", contents)
        parts, rows = [Ragged(np.zeros(2, np.int64), np.empty(0, np.uint64))], np.zeros(len(contents), np.int64)
        first = 1
        for at in groups(segment):
            if segment[at[0]] >= 0 and len(found := self.segments[segment[at[0]]].ragged("text.ngrams")):
                parts.append(found.take(row[at]))
                rows[at] = first + np.arange(len(at))
                first += len(at)
        return Ragged.joined(parts).take(rows)

    def score(self, kind: str, left: Digests, right: Digests) -> Scores:
        """Return the exact similarity of each pair of contents, 0 where one has no such fingerprint; shape (m,)."""
        rows = np.arange(len(left))
        return self.scorer(kind, np.concatenate([left, right]))(rows, len(left) + rows, 0)

    def _batches(self, name: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        return itertools.chain.from_iterable(store.read_batches(s.file(name), schema) for s in self.segments)


def write_header(
    out: Path, names: list[str], built_with: dict[str, Any], merged: Mapping[str, list[str]] | None = None
) -> None:
    """Write an index's header: its segments, oldest first, their settings, and the versions that merged ones hold."""
    stated = {"format": FORMAT, "segments": names, "built_with": built_with}
    store.write_json(out / MANIFEST, {**stated, "merged": merged} if merged else stated)


def groups(owner: Rows) -> Iterator[Rows]:
    """Give the places of each distinct value of `owner`, ascending, for the values in order."""
    order = np.argsort(owner, kind="stable")
    cuts = np.flatnonzero(np.diff(owner[order])) + 1
    return (part for part in np.split(order, cuts) if len(part))


def _chosen(everything: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], Rows]:
    """Return the valid rows and their numbers; where all are, no copy."""
    rows = np.flatnonzero(valid)
    return everything if len(rows) == len(everything) else everything[rows], rows


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, inner in value.items() for k, v in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }
