"""Matches → decisions: greedy by direct match, in an order that is a property of the records.

In that order a record is kept unless a record that is already kept matches it under a rule; then it is dropped for the
best of those. Nothing is ever dropped for a chain of matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import rules
from dedupver.digests import Digests, Lookup, Rows, first_of_each, of_column, of_parts
from dedupver.rules import NAMES, Edges, Evidence, Mask, Rule, Scores
from dedupver.schema import EVIDENCE, PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dedupver import params

ROUNDS: Final = 100
LEADERS: Final = 1_000
"""Members of one hot bucket that are compared with all others of it; beyond, they are counted as unverified."""


@dataclass(frozen=True)
class Verdicts:
    """One row a record. `representative` is a row, -1 for the kept; the lists hold None for the kept."""

    keep: Mask
    representative: Rows
    score: list[float | None]
    threshold: list[float | None]
    method: list[str | None]
    evidence: list[str | None]
    rule: list[str | None]
    reason: list[str]
    reported: list[dict[str, Any]]
    unverified: int


@dataclass(frozen=True)
class Case:
    """All that is judged at once."""

    records: pa.Table  # schema RECORD
    rank: Rows  # lower goes first: 0 the protected
    forced: Mask  # kept whatever matches them
    matches: pa.Table
    hot: pa.Table
    reviews: Sequence[tuple[str, str, str]]
    score: Callable[[str, Digests, Digests], Scores]


def resolve(case: Case, settings: params.Dedup) -> Verdicts:
    """Judge every record; see the module's docstring for the order and the rule."""
    return _Court(case, settings).verdicts()


def order_of(records: pa.Table, rank: Rows, settings: params.Dedup) -> Rows:
    """Return the rows in the order they are judged: rank, split, keep policy, id."""
    ids = np.argsort(pc.sort_indices(records["id"]).to_numpy())
    keys = [rank, _place_in(records["split"], settings.splits)]
    for name in settings.keep:
        keys += _criterion(records, name, settings)
    return np.lexsort((ids, *reversed(keys)))


def greedy(edges: Edges, position: Rows, forced: Mask) -> tuple[Mask, Rows]:
    """Return which nodes stay, and the edge that each dropped node goes by (-1 for the kept); shapes (n,).

    `position` is each node's place in the order; forced nodes stay whatever matches them.
    """
    swap = position[edges.left] > position[edges.right]
    early, late = np.where(swap, edges.right, edges.left), np.where(swap, edges.left, edges.right)
    by_late = np.lexsort((position[early], -edges.score, late))
    starts = np.searchsorted(late[by_late], np.arange(len(position) + 1))
    return _greedy(np.argsort(position), starts, early[by_late], by_late, forced)


@numba.njit(cache=True)
def _greedy(order: Rows, starts: Rows, early: Rows, edge: Rows, forced: Mask) -> tuple[Mask, Rows]:
    keep = np.ones(len(order), np.bool_)
    by = np.full(len(order), -1, np.int64)
    for node in order:
        if forced[node]:
            continue
        for at in range(starts[node], starts[node + 1]):
            if keep[early[at]]:
                keep[node] = False
                by[node] = edge[at]  # edges come best first
                break
    return keep, by


class _Court:
    """The state of one judgement."""

    def __init__(self, case: Case, settings: params.Dedup) -> None:
        self.case, self.settings = case, settings
        self.contents, self.parts = _numbered(case.records)
        self.lookup = Lookup(self.contents)
        order = order_of(case.records, case.rank, settings)
        self.place = np.empty(len(order), np.int64)
        self.place[order] = np.arange(len(order))
        self.node, self.nodes = self._nodes()
        self.head = _first_by(self.node, self.place, len(self.nodes))
        self.position = self.place[self.head]
        self.forced = np.zeros(len(self.nodes), bool)
        self.forced[self.node[case.forced]] = True
        met = {tuple(np.flatnonzero(row).tolist()) for row in np.unique(self.nodes >= 0, axis=0)}
        self.rules = rules.parse(settings, met)
        if case.reviews:  # reviewed records are their own nodes, so their equals must be found
            self.rules += rules.exact(met)
        self.evidence = Evidence(self._score)
        self._add_matches()
        self.unverified = 0
        self.told: set[tuple[str, int, int]] = set()

    def verdicts(self) -> Verdicts:
        for _ in range(ROUNDS):
            edges = self._reviewed(rules.edges(self.rules, self.nodes, self.evidence))
            keep, by = greedy(edges, self.position, self.forced)
            fresh = self._verify_hot(keep)
            if not fresh:
                break
        else:
            self.unverified += fresh
        return self._expand(keep, by, edges)

    def _nodes(self) -> tuple[Rows, Rows]:
        """Records with equal contents are one node; those that a person reviewed are each their own."""
        reviewed = {name for left, right, _ in self.case.reviews for name in (left, right)}
        own = np.zeros(len(self.parts), np.int64)
        at = np.flatnonzero(pc.is_in(self.case.records["id"], pa.array(sorted(reviewed), pa.string())).to_numpy())
        own[at] = np.arange(1, len(at) + 1)
        rows, node = np.unique(np.column_stack([self.parts, own]), axis=0, return_inverse=True)
        return node.reshape(-1).astype(np.int64), rows[:, :-1]

    def _score(self, kind: str, left: Rows, right: Rows) -> Scores:
        return self.case.score(kind, self.contents[left], self.contents[right])

    def _add_matches(self) -> None:
        for kind in EVIDENCE:
            table = self.case.matches.filter(pc.equal(self.case.matches["kind"], kind))
            left, right = self.lookup.find(of_column(table["left"])), self.lookup.find(of_column(table["right"]))
            live = (left >= 0) & (right >= 0)
            self.evidence.add(kind, left[live], right[live], table["score"].to_numpy()[live])
        self.groups: dict[str, list[Rows]] = {}
        for kind in EVIDENCE:
            table = self.case.hot.filter(pc.equal(self.case.hot["kind"], kind))
            content = self.lookup.find(of_column(table["content"]))
            group, content = table["group"].to_numpy()[content >= 0], content[content >= 0]
            order = np.lexsort((content, group))
            cuts = np.flatnonzero(np.diff(group[order])) + 1
            self.groups[kind] = [np.unique(g) for g in np.split(content[order], cuts) if len(g)]
            self.evidence.hot[kind] = np.unique(content)

    def _reviewed(self, edges: Edges) -> Edges:
        """Take out the pairs a person called different, put in those called the same."""
        if not self.case.reviews:
            return edges
        ids = {name: row for row, name in enumerate(self.case.records["id"].to_pylist())}
        known = [
            (int(self.node[ids[a]]), int(self.node[ids[b]]), label)
            for a, b, label in self.case.reviews
            if a != b and a in ids and b in ids
        ]
        pairs = np.array([sorted(p[:2]) for p in known], np.int64).reshape(-1, 2)
        same = np.array([label == "same" for *_, label in known], bool)
        count = len(self.nodes)
        listed = np.minimum(edges.left, edges.right) * count + np.maximum(edges.left, edges.right)
        stay = ~np.isin(listed, pairs[:, 0] * count + pairs[:, 1])
        extra = pairs[same]
        one, none = np.ones(len(extra), np.float32), np.full(len(extra), -1, np.int64)
        more = Edges(extra[:, 0], extra[:, 1], one, one, none, none)
        return Edges(*(np.concatenate([getattr(edges, n)[stay], getattr(more, n)]) for n in Edges.__dataclass_fields__))

    def _verify_hot(self, keep: Mask) -> int:
        """Compare kept members of hot buckets, the first with all others, then the first that is left.

        Returns how many matches this brought to light; greedy with them drops those members, and the loop ends when
        no two kept members are found to match: then the outcome is what all pairs would have given.
        """
        fresh = self.unverified = 0
        for kind, floor in rules.lowest(self.rules).items():
            columns = [p for p, name in enumerate(NAMES) if EVIDENCE[kind][0] == PARTS[name]]
            position = np.full(len(self.contents), np.iinfo(np.int64).max)
            for column in columns:
                kept = np.flatnonzero(keep & (self.nodes[:, column] >= 0))
                np.minimum.at(position, self.nodes[kept, column], self.position[kept])
            live = (group[position[group] < np.iinfo(np.int64).max] for group in self.groups[kind])
            queues = {queue.tobytes(): queue for queue in (g[np.argsort(position[g])] for g in live)}
            new = self._lead(kind, floor, list(queues.values()))
            if new:  # who was dropped for another leader may need this one next
                for number in range(len(self.groups[kind])):
                    self._tell(kind, floor, number, position)
            fresh += new
        return fresh

    def _tell(self, kind: str, floor: float, number: int, position: Rows) -> None:
        """Compare the first kept member of a hot bucket with all others, kept or not, once."""
        group = self.groups[kind][number]
        head = int(group[np.argmin(position[group])])
        key = (kind, number, head)
        if position[head] == np.iinfo(np.int64).max or key in self.told:
            return
        self.told.add(key)
        others = group[group != head]
        left = np.full(len(others), head)
        ask = ~self.evidence.lists(kind, left, others)
        self._learn(kind, floor, left[ask], others[ask], self._score(kind, left[ask], others[ask]))

    def _lead(self, kind: str, floor: float, queues: list[Rows]) -> int:
        """Let the first of every queue lead at once: a call for each step, not for each member of each bucket."""
        found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
        for _ in range(LEADERS):
            queues = [queue for queue in queues if len(queue) > 1]
            if not queues:
                break
            sizes = [len(queue) - 1 for queue in queues]
            left, right = np.repeat([queue[0] for queue in queues], sizes), np.concatenate([q[1:] for q in queues])
            # those known to match the leader are kept all the same, so each leads in its turn
            ask = np.flatnonzero(~self.evidence.lists(kind, left, right))
            close = np.zeros(len(left), bool)
            if len(ask):
                score = self._score(kind, left[ask], right[ask])
                close[ask] = score >= np.float32(floor)
                found.append((left[ask], right[ask], score))
            cuts = np.cumsum(sizes)[:-1]
            queues = [q[~c] for q, c in zip(np.split(right, cuts), np.split(close, cuts), strict=True)]
        self.unverified += sum(len(queue) for queue in queues if len(queue) > 1)
        return self._learn(kind, floor, *(np.concatenate(column) for column in zip(*found, strict=True)))

    def _learn(self, kind: str, floor: float, left: Rows, right: Rows, score: Scores) -> int:
        """Add what was compared, so that no round asks again; return how many new matches are among it."""
        close = score >= np.float32(floor)
        fresh = self.evidence.add(kind, left[close], right[close], score[close])
        self.evidence.add(kind, left[~close], right[~close], score[~close])
        return fresh

    def _expand(self, keep: Mask, by: Rows, edges: Edges) -> Verdicts:
        """From nodes back to records: the first record of a kept node stays, its equals go for it."""
        node_rep = np.arange(len(self.nodes))
        dropped = np.flatnonzero(~keep)
        ends = np.stack([edges.left[by[dropped]], edges.right[by[dropped]]], axis=1)
        node_rep[dropped] = np.where(ends[:, 0] == dropped, ends[:, 1], ends[:, 0])
        rows = np.arange(len(self.node))
        is_head = self.head[self.node] == rows
        stays = keep[self.node] & (is_head | self.case.forced)
        representative = np.where(stays, -1, self.head[node_rep[self.node]])
        self.words = self._describe(edges, np.unique(by[by >= 0]))
        said = [self._say(int(row), keep, by, edges, int(representative[row])) for row in np.flatnonzero(~stays)]
        columns: dict[str, list[Any]] = {
            name: [None] * len(rows) for name in ("score", "threshold", "method", "evidence", "rule")
        }
        reason = ["kept"] * len(rows)
        for row, words in zip(np.flatnonzero(~stays), said, strict=True):
            reason[row] = words.pop("reason")
            for name, value in words.items():
                columns[name][row] = value
        return Verdicts(
            stays, representative, **columns, reason=reason, reported=self._reported(stays), unverified=self.unverified
        )

    def _describe(self, edges: Edges, used: Rows) -> dict[int, str]:
        """Return the evidence of each edge that a record went by."""
        words: dict[int, str] = {}
        for number, rule in enumerate(self.rules):
            mine = used[edges.rule[used] == number]
            left, right = self.nodes[edges.left[mine]], self.nodes[edges.right[mine]]
            words |= dict(zip(mine.tolist(), rules.describe(rule, left, right, self.evidence), strict=True))
        return words

    def _say(self, row: int, keep: Mask, by: Rows, edges: Edges, representative: int) -> dict[str, Any]:
        node = int(self.node[row])
        if (self.parts[row] == self.parts[representative]).all() and (keep[node] or edges.rule[by[node]] >= 0):
            return self._say_exact(row, representative)
        edge = int(by[node])
        if edges.rule[edge] < 0:
            return {
                "reason": "reviewed_same_as",
                "score": 1.0,
                "threshold": None,
                "method": "review",
                "evidence": "review=same",
                "rule": "review",
            }
        rule: Rule = self.rules[int(edges.rule[edge])]
        return {
            "reason": "near_duplicate_of",
            "score": float(edges.score[edge]),
            "threshold": round(float(edges.threshold[edge]), 6),
            "method": "content" if edges.kind[edge] < 0 else EVIDENCE[list(EVIDENCE)[int(edges.kind[edge])]][1],
            "evidence": self.words[edge],
            "rule": rule.text,
        }

    def _say_exact(self, row: int, representative: int) -> dict[str, Any]:
        mine, its = (self.case.records["parts"][r].as_py() for r in (row, representative))
        same = {p["part"]: p["sha256"] for p in mine} == {p["part"]: p["sha256"] for p in its}
        evidence = ",".join(f"{p['part']}=exact" for p in mine)
        return {
            "reason": "exact_duplicate_of",
            "score": 1.0,
            "threshold": 1.0,
            "method": "sha256" if same else "content",
            "evidence": evidence,
            "rule": "{content: exact}",
        }

    def _reported(self, stays: Mask) -> list[dict[str, Any]]:
        """Pairs of kept records that resemble each other by evidence that drops nothing by itself."""
        image, caption, text = (NAMES.index(n) for n in ("image", "caption", "text"))
        similar: dict[str, float] = {
            k: self.settings.thresholds.of(k) for k in self.settings.similar if EVIDENCE[k][0] == "image"
        }
        cases = [
            ("same_image_other_caption", [image, caption], rules.Term(image, similar)),
            ("similar_text", [text], rules.Term(text, {"text_embedding": self.settings.thresholds.text_embedding})),
        ]
        out = []
        for name, parts, term in cases:
            members = np.flatnonzero((self.nodes[:, parts] >= 0).all(axis=1) & stays[self.head])
            rule = Rule(name, (term,), same_parts=False)
            found = rules.edges([rule], np.ascontiguousarray(self.nodes[members]), self.evidence)
            out += [self._report(name, found, members, at) for at in range(len(found.left))]
        return out

    def _report(self, case: str, found: Edges, members: Rows, at: int) -> dict[str, Any]:
        rows = sorted(
            (int(self.head[members[found.left[at]]]), int(self.head[members[found.right[at]]])),
            key=lambda r: self.place[r],
        )
        left, right = (self.case.records["id"][r].as_py() for r in rows)
        kind = "exact" if found.kind[at] < 0 else list(EVIDENCE)[int(found.kind[at])]
        return {"case": case, "left": left, "right": right, "kind": kind, "score": float(found.score[at])}


def _numbered(records: pa.Table) -> tuple[Digests, Rows]:
    """Number the distinct contents; return their digests, and each record's content number a part, shape (n, parts)."""
    digests, record, part = of_parts(records["parts"], "content")
    contents = digests[first_of_each(digests)]
    parts = np.full((records.num_rows, len(NAMES)), -1, np.int64)
    parts[record, part] = Lookup(contents).find(digests)
    return contents, parts


def _first_by(group: Rows, place: Rows, count: int) -> Rows:
    """Return for each group the member that comes first."""
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, group, place)
    return np.argsort(place)[first]


def _criterion(records: pa.Table, name: str, settings: params.Dedup) -> list[npt.NDArray[Any]]:
    """Return the sort keys of a keep policy, smaller first; ids always decide last, which is all that `first` asks."""
    pixels, size = records["pixels"].to_numpy(), records["bytes"].to_numpy()
    if name == "largest":
        return [-pixels, np.where(pixels > 0, -size, 0)]  # of two pictures of one size the less compressed
    if name == "longest":
        return [-records["chars"].to_numpy()]
    if name == "quality":
        return [-pc.fill_null(records["quality"], -np.inf).to_numpy()]
    if name == "newest":
        filled = pc.fill_null(records["time"], "")
        return [-pc.rank(filled, sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64)]
    return [_place_in(records["source"], settings.sources)] if name == "source" else []


def _place_in(column: pa.ChunkedArray, names: Sequence[str]) -> npt.NDArray[np.float64]:
    place = pc.index_in(column, pa.array(names, pa.string()))
    return pc.fill_null(place, len(names)).to_numpy().astype(np.float64)
