"""The pairs of records that a threshold decides on: those that the rules let through were it at the floor.

Records with equal contents count once, as the first of them by id: what they hold is no matter of a threshold. Pairs in
hot buckets are not listed in the index; they are listed here as long as they are few, and drawn where they are many.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params
from dedupver.digests import Digests, Lookup, Rows, numbered
from dedupver.index.segment import Index
from dedupver.manifest import open_manifest
from dedupver.resolve import Case, evidence_among, met
from dedupver.resolve.evidence import in_sorted, least, pair_key
from dedupver.resolve.hot import Buckets, gather
from dedupver.resolve.nodes import Nodes
from dedupver.resolve.rules import Rule, edges, judge, parse
from dedupver.schema import EVIDENCE, StateError
from dedupver.state import require_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dedupver.project import Project
    from dedupver.resolve.evidence import Evidence, Mask, Scores

COLUMNS: Final = ("id", "role", "parts", "path", "row", "version", "action", "source", "split", "label")
"""What of a record is asked for here."""

MATCHED: Final = ("version", "source", "fingerprint", "match")
"""The sections of params that decide which pairs there are."""

LISTED: Final = 1 << 20
"""So many pairs of hot buckets are listed; of more, DRAWN are drawn."""

DRAWN: Final = 1 << 17

NO_OTHERS: Final = (np.empty(0, np.uint64), 0)


class Pairs(NamedTuple):
    """Pairs of nodes, the smaller left, by a kind's score; every array has shape (m,)."""

    left: Rows
    right: Rows
    score: Scores
    drawn: Mask  # from hot buckets: it stands for others
    each: float  # for how many, itself included


@dataclass(frozen=True)
class Population:
    """The records of a version that were judged, sorted by id, and what the index knows of them."""

    given: params.Params
    index: Index
    records: pa.Table  # COLUMNS
    parts: Mapping[str, str]
    contents: Digests
    nodes: Nodes

    @classmethod
    def of(cls, project: Project) -> Population:
        """Read the version that is built in a project.

        Raises StateError where it is partly built, or was matched under other params. What was said or set since of
        duplicates changes nothing here: so labels are taken and estimated from in one go.
        """
        _require_matched(project, require_whole(project.root))
        live = open_manifest(project.manifest).live(COLUMNS)
        records = live.filter(pc.is_in(live["action"], pa.array(["keep", "drop"]))).combine_chunks()
        parts = met(project.params.source.parts, records["parts"])
        contents, numbers = numbered(records["parts"], list(parts))
        every = np.arange(records.num_rows)
        nodes = Nodes.of(numbers, every, np.zeros(len(every), np.bool_))
        return cls(project.params, Index.open(project.index), records, parts, contents, nodes)

    @functools.cached_property
    def ids(self) -> list[str]:
        """Return the id of each node's first record."""
        ids: list[str] = self.records["id"].take(pa.array(self.nodes.head)).to_pylist()
        return ids

    def find(self, names: Sequence[str]) -> Rows:
        """Return the node of each of some ids, -1 where the version has no such record."""
        at = pc.fill_null(pc.index_in(pa.array(names, pa.string()), self.records["id"].combine_chunks()), -1)
        rows = at.to_numpy(zero_copy_only=False).astype(np.int64)
        return np.append(self.nodes.of_record, -1)[rows]

    def kinds(self) -> list[str]:
        """Return the kinds of evidence that params hear, and that the version's records can have."""
        return [kind for kind, what in EVIDENCE.items() if what.modality in self.parts.values() and self.hears(kind)]

    def hears(self, kind: str) -> bool:
        """Return whether a rule speaks of a kind."""
        settings = self.given.dedup
        named = {params.evidence_of(term, self.given.source.parts) for rule in settings.rules for term in rule}
        return kind in named or (kind in settings.similar and any("similar" in r.values() for r in settings.rules))

    def pairs(self, kind: str) -> Pairs:
        """Return the pairs that a kind's threshold decides on, each once.

        Raises StateError where no record has a part of its modality.
        """
        if EVIDENCE[kind].modality not in self.parts.values():
            raise StateError(f"no record of this version has a part of modality {EVIDENCE[kind].modality}")
        rules, evidence = self._known(self._widened(kind))
        found = edges(rules, self.nodes.contents, evidence)
        left, right = (np.concatenate([end, np.empty(0, np.int64)]) for end in (found.left, found.right))
        hot, each, exact = _hot_pairs(self._buckets(kind))
        hot = hot[~in_sorted(hot, np.sort(pair_key(left, right)))]
        more = judge(rules, self.nodes.contents, *_ends(hot), evidence)
        left, right = np.concatenate([left, more.left]), np.concatenate([right, more.right])
        drawn = np.arange(len(left)) >= (len(left) if exact else len(found.left))
        score = self._score(kind, evidence, left, right)
        data = pc.equal(self.records["role"], "data").to_numpy(zero_copy_only=False)[self.nodes.head]
        good = (score >= np.float32(self.given.match.floor.of(kind))) & (data[left] | data[right])
        return Pairs(left[good], right[good], score[good], drawn[good], each)

    def same(self, left: Rows, right: Rows) -> Mask:
        """Return which pairs of nodes the rules call duplicates as params are now."""
        rules, evidence = self._known(self.given.dedup)
        found = judge(rules, self.nodes.contents, left, right, evidence)
        return in_sorted(pair_key(left, right), np.sort(pair_key(found.left, found.right)))

    def _known(self, settings: params.Dedup) -> tuple[list[Rule], Evidence]:
        """Return the rules of some settings, and the evidence that they ask for."""
        rules = parse(settings, self.parts, self.nodes.part_sets())
        nobody = np.zeros(self.records.num_rows, np.bool_)
        case = Case(
            parts=self.parts,
            records=self.records,
            rank=nobody.astype(np.int64),
            forced=nobody,
            counted=nobody,
            matches=self.index.matches(),
            hot=self.index.hot(),
            reviews=(),
            scorer=self.index.scorer,
        )
        bounds = least(settings, self.parts)[0]
        return rules, evidence_among(case, self.parts, self.contents, self.nodes, rules, NO_OTHERS, bounds)[0]

    def _widened(self, kind: str) -> params.Dedup:
        """Return params with a kind's threshold at the floor, wherever it stands; one that no rule hears is heard."""
        given, floor = self.given.dedup, self.given.match.floor.of(kind)
        names = self.given.source.parts
        rules = tuple(
            {t: floor if _is_number_of(kind, t, v, names) else v for t, v in rule.items()} for rule in given.rules
        )
        if not self.hears(kind):
            rules += ({"every": "similar"},)
        thresholds = given.thresholds.model_copy(update={kind: floor})
        similar = tuple(dict.fromkeys([*given.similar, *([] if self.hears(kind) else [kind])]))
        return given.model_copy(update={"rules": rules, "thresholds": thresholds, "similar": similar})

    def _buckets(self, kind: str) -> Buckets:
        lookup, modalities = Lookup(self.contents), list(self.parts.values())
        return gather(self.index.hot(), lookup, self.nodes.contents, modalities, {kind})[1]

    def _score(self, kind: str, evidence: Evidence, left: Rows, right: Rows) -> Scores:
        """Return the score at which a kind's threshold lets each pair through: that of its weakest part of the kind."""
        floor, lowest = self.given.match.floor.of(kind), np.full(len(left), 2, np.float32)
        for part, modality in enumerate(self.parts.values()):
            if modality == EVIDENCE[kind].modality:
                a, b = (self.nodes.contents[end, part] for end in (left, right))
                both = np.flatnonzero((a >= 0) & (b >= 0) & (a != b))
                score = evidence.of(kind, a[both], b[both], floor)
                there = score >= np.float32(floor)
                lowest[both[there]] = np.minimum(lowest[both[there]], score[there])
        return np.where(lowest > 1, np.float32(-1), lowest)


def _require_matched(project: Project, header: Mapping[str, Any]) -> None:
    """Raise StateError where the index is not here, or is not that of the params."""
    if not project.index.is_dir():
        raise StateError("index/ is missing: run `dvc checkout`, or `dvc pull` where it was built elsewhere")
    try:
        then = params.Params.model_validate(header["params"])
    except ValueError:
        raise StateError(f"{header['version']} was built by another release: run `dvc repro`") from None
    for section in MATCHED:
        if getattr(then, section) != getattr(project.params, section):
            raise StateError(
                f"`{section}` in params.yaml is not what {header['version']} was built with: run `dvc repro`"
            )


def _is_number_of(kind: str, term: str, value: float | str, names: Mapping[str, str]) -> bool:
    return isinstance(value, float) and params.evidence_of(term, names) == kind


def _hot_pairs(buckets: Buckets) -> tuple[npt.NDArray[np.uint64], float, bool]:
    """Return distinct packed pairs that share a hot bucket, for how many each stands, and whether these are all.

    Of more than LISTED, DRAWN are drawn, each bucket by its number of pairs; a pair that shares several counts in the
    first of them alone, so each has the same chance.
    """
    sizes = np.diff(buckets.starts)
    pairs = sizes * (sizes - 1) // 2
    total = int(pairs.sum())
    if total <= LISTED:
        packed = [
            _all_of(np.sort(buckets.members[a:b])) for a, b in zip(buckets.starts, buckets.starts[1:], strict=False)
        ]
        return np.unique(np.concatenate([np.empty(0, np.uint64), *packed])), 1.0, True
    rng = np.random.default_rng(0)  # the same of one version, whatever is drawn of them
    bucket = rng.choice(len(sizes), DRAWN, p=pairs / total)
    i = rng.integers(0, sizes[bucket])
    j = rng.integers(0, sizes[bucket] - 1)
    a, b = (buckets.members[buckets.starts[bucket] + k].astype(np.int64) for k in (i, j + (j >= i)))
    first = np.array([_first_shared(buckets, x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)])
    own = first == bucket
    packed_ = np.unique(pair_key(a[own], b[own]))
    return packed_, total * float(own.mean()) / max(len(packed_), 1), False


def _all_of(members: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    at = np.triu_indices(len(members), 1)
    return pair_key(members[at[0]].astype(np.int64), members[at[1]].astype(np.int64))


def _first_shared(buckets: Buckets, a: int, b: int) -> int:
    mine, its = (buckets.of_node[buckets.node_starts[x] : buckets.node_starts[x + 1]] for x in (a, b))
    return int(mine[np.isin(mine, its, kind="sort")].min())


def _ends(packed: npt.NDArray[np.uint64]) -> tuple[Rows, Rows]:
    return (packed >> np.uint64(32)).astype(np.int64), (packed & np.uint64(0xFFFFFFFF)).astype(np.int64)
