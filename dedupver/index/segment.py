"""One version's immutable part of the index, and the index: segments, oldest first, and what they were built with."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver import store
from dedupver.digests import Digests, Lookup, Rows
from dedupver.fingerprint.text import Sets
from dedupver.index import codes, hnsw, lsh
from dedupver.schema import EVIDENCE, FORMAT, HOT, MATCH, ParamsError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

Vectors = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint64]

MANIFEST: Final = "index.json"


@dataclass(frozen=True)
class Segment:
    """A handle on a segment's directory (or on freshly merged fingerprints, which have the same arrays)."""

    path: Path

    @property
    def name(self) -> str:
        """The version that wrote it."""
        return self.path.name

    def content(self, modality: str) -> Digests:
        """Return the digests of the contents, ascending, shape (n, 32)."""
        return self.array(f"{modality}.content", np.empty((0, 32), np.uint8))

    def size(self, modality: str) -> int:
        """Return the number of distinct contents."""
        return len(self.content(modality))

    def sets(self) -> Sets:
        """Return the shingle sets of the texts."""
        return Sets(
            self.array("text.sets.offsets", np.zeros(1, np.int64)),
            self.array("text.sets.values", np.empty(0, np.uint32)),
        )

    def signatures(self) -> npt.NDArray[np.uint32]:
        """Return the MinHash signatures (n, permutations); only fresh fingerprints have them."""
        return self.array("text.minhash", np.empty((0, 1 << 10), np.uint32))

    def bands(self, count: int) -> lsh.BandTable:
        """Return the LSH tables of the texts."""
        keys = self.array("text.bands.keys", np.empty((count, 0), np.uint64))
        return lsh.BandTable(keys, self.array("text.bands.rows", np.empty((count, 0), np.uint32)))

    def codes(self) -> tuple[Codes, Rows]:
        """Return the perceptual hashes (m, words) of the structured images, and their rows."""
        everything = self.array("image.phash", np.empty((0, 1), np.uint64))
        rows = np.flatnonzero(self.array("image.structured", np.empty(0, np.bool_)))
        return np.ascontiguousarray(everything[rows]), rows

    def vectors(self, modality: str) -> tuple[Vectors, Rows]:
        """Return the unit vectors (m, dim) of the contents that have one, and their rows."""
        everything = self.array(f"{modality}.embedding", np.empty((0, 1), np.float32))
        rows = np.flatnonzero(~np.isnan(everything[:, 0]))
        return np.ascontiguousarray(everything[rows]), rows

    def graph(self, kind: str) -> Path:
        """Return the path of a kind's HNSW graph."""
        return self.path / f"{kind}.hnsw"

    def matches(self) -> pa.Table:
        """Return the verified matches this segment brought (schema MATCH)."""
        return self._table("matches.parquet", MATCH)

    def hot(self) -> pa.Table:
        """Return the members of its hot buckets (schema HOT)."""
        return self._table("hot.parquet", HOT)

    def array(self, name: str, default: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array of the segment, mapped; `default` where it has none."""
        path = self.path / f"{name}.npy"
        return store.read_array(path) if path.exists() else default

    def _table(self, name: str, schema: pa.Schema) -> pa.Table:
        path = self.path / name
        return store.read_table(path, schema) if path.exists() else schema.empty_table()


@dataclass(frozen=True)
class Index:
    """Segments, oldest first. A content is in one segment only."""

    segments: tuple[Segment, ...]
    built_with: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> Index:
        """Check every file of the index and open it; where nothing was released yet, an empty one."""
        if not path.exists():
            return cls((), {})
        stated = store.read_json(store.verified(path) / MANIFEST)
        return cls(tuple(Segment(path / "segments" / name) for name in stated["segments"]), stated["built_with"])

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
    def _lookups(self) -> dict[str, list[Lookup]]:
        return {m: [Lookup(s.content(m)) for s in self.segments] for m in ("text", "image")}

    def locate(self, modality: str, digests: Digests) -> tuple[Rows, Rows]:
        """Return for each digest the ordinal of its segment and its row there; -1 and -1 where unknown."""
        segment = np.full(len(digests), -1, np.int64)
        row = np.full(len(digests), -1, np.int64)
        for ordinal, lookup in enumerate(self._lookups[modality]):
            found = lookup.find(digests)
            segment[found >= 0], row[found >= 0] = ordinal, found[found >= 0]
        return segment, row

    def score(self, kind: str, left: Digests, right: Digests) -> npt.NDArray[np.float32]:
        """Return the exact similarity of each pair of contents, 0 where one has no such fingerprint; shape (m,)."""
        modality, _ = EVIDENCE[kind]
        ls, lr = self.locate(modality, left)
        rs, rr = self.locate(modality, right)
        scores = np.zeros(len(left), np.float32)
        for a, b in np.unique(np.stack([ls, rs], axis=1), axis=0):
            if a >= 0 and b >= 0:
                at = np.flatnonzero((ls == a) & (rs == b))
                scores[at] = similarity(kind, self.segments[a], lr[at], self.segments[b], rr[at])
        return scores


def write_header(out: Path, names: list[str], built_with: dict[str, Any]) -> None:
    """Write an index's header: its segments, oldest first, and the settings they were built with."""
    store.write_json(out / MANIFEST, {"format": FORMAT, "segments": names, "built_with": built_with})


def similarity(kind: str, a: Segment, ai: Rows, b: Segment, bi: Rows) -> npt.NDArray[np.float32]:
    """Return the exact similarity of rows `ai` of one segment with rows `bi` of another; shape (m,)."""
    modality, measure = EVIDENCE[kind]
    if measure == "minhash":
        return lsh.jaccard(a.sets(), ai, b.sets(), bi)
    if measure == "phash":
        return _code_similarity(a, ai, b, bi)
    left, right = (s.array(f"{modality}.embedding", np.empty((0, 1), np.float32)) for s in (a, b))
    return np.nan_to_num(hnsw.cosine(left, ai, right, bi), nan=0.0)


def _code_similarity(a: Segment, ai: Rows, b: Segment, bi: Rows) -> npt.NDArray[np.float32]:
    left, right = (
        a.array("image.phash", np.empty((0, 1), np.uint64)),
        b.array("image.phash", np.empty((0, 1), np.uint64)),
    )
    both = (
        a.array("image.structured", np.empty(0, np.bool_))[ai] & b.array("image.structured", np.empty(0, np.bool_))[bi]
    )
    scores = 1 - codes.hamming(np.ascontiguousarray(left[ai]), np.ascontiguousarray(right[bi])) / (64 * left.shape[1])
    return np.where(both, scores, 0).astype(np.float32)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, inner in value.items() for k, v in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }
