"""What holds records together: nodes of equal content, tied by matches, by what was dropped for what, and by groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.resolve import Case, links_of, met
from dedupver.split.attributes import attribute_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.index.segment import Index
    from dedupver.resolve.linked import Links

LOOSE: Final = "repeated_part"
"""The reason of what was dropped for a cap: it shares a caption, and may be alike in nothing else."""


@dataclass(frozen=True)
class Held:
    """Records, a row each, as vertices: nodes of equal content, and after them the groups."""

    links: Links
    group: Rows  # of each record, as a vertex; -1: none
    vertices: int
    left: Rows  # ties beside those of the links
    right: Rows
    names: tuple[str, ...]  # of the groups

    @property
    def node(self) -> Rows:
        """Return the node of each record."""
        return self.links.of_record

    def components(self, without: Rows) -> tuple[Rows, int]:
        """Return the component of each vertex, and how many hot contents were not compared with all of their bucket."""
        return self.links.tied(self.left, self.right, self.vertices, without)

    def among(self, vertices: Rows) -> tuple[Rows, Rows, Rows]:
        """Return every pair that ties two of some vertices, and those that were not compared with all."""
        left, right, open_ = self.links.among(vertices[vertices < self.links.count])
        there = np.zeros(self.vertices, np.bool_)
        there[vertices] = True
        stays = there[self.left] & there[self.right]
        return np.append(left, self.left[stays]), np.append(right, self.right[stays]), open_


def held(live: pa.Table, index: Index, reviews: Sequence[tuple[str, str, str]], given: params.Params) -> Held:
    """Return what holds the records together that were judged (columns of DECISION, sorted by id).

    Two are tied by a rule of `dedup.rules` or `split.together`, by equal content, by a decision that dropped one for
    the other, by a person's `same`, or by a common value of `split.group`. A person's `different` unties.
    """
    names = met(given.source.parts, live["parts"])
    rules = (*given.dedup.rules, *given.split.rules(given.source.parts))
    settings = given.dedup.model_copy(update={"rules": rules})
    links = links_of(Case.unjudged(names, live, index, reviews, settings), settings)
    left, right = _decided(live, reviews)
    left, right = links.of_record[left], links.of_record[right]
    group, words = _groups(live, given.split.group)
    grouped = np.flatnonzero(group >= 0)
    group[grouped] += links.count
    return Held(
        links,
        group,
        links.count + len(words),
        np.append(left, links.of_record[grouped]),
        np.append(right, group[grouped]),
        words,
    )


def _decided(live: pa.Table, reviews: Sequence[tuple[str, str, str]]) -> tuple[Rows, Rows]:
    """Return the rows of the dropped and of their representatives, but of those that a person called different."""
    tied = pc.and_(pc.equal(live["action"], "drop"), pc.not_equal(live["reason"], LOOSE)).to_numpy()
    at = pc.fill_null(pc.index_in(live["representative"], live["id"].combine_chunks()), -1).to_numpy().astype(np.int64)
    rows = np.flatnonzero(tied & (at >= 0))
    apart = {frozenset((left, right)) for left, right, label in reviews if label == "different"}
    if apart:
        pairs = zip(live["id"].take(rows).to_pylist(), live["representative"].take(rows).to_pylist(), strict=True)
        rows = rows[np.array([frozenset(pair) not in apart for pair in pairs], np.bool_)]
    return rows, at[rows]


def _groups(live: pa.Table, attribute: str | None) -> tuple[Rows, tuple[str, ...]]:
    """Return the number of each record's group, -1 where it has none, and what the groups are called."""
    if attribute is None:
        return np.full(live.num_rows, -1, np.int64), ()
    values = attribute_of(live, attribute).dictionary_encode()
    number = pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return number, tuple(values.dictionary.to_pylist())
