"""A version's kept records, divided: what was assigned stays, the rest follows what it is alike to, or balances."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import parts_in
from dedupver.schema import ASSIGNED, EXCEPTION
from dedupver.split import ties
from dedupver.split.attributes import contents, strata_of
from dedupver.split.balance import Units, balance
from dedupver.split.bridges import MIXED, NONE, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.index.segment import Index
    from dedupver.manifest import Log
    from dedupver.split.assigned import Earlier
    from dedupver.split.bridges import Settled
    from dedupver.split.ties import Held

Mask = npt.NDArray[np.bool_]

READ: Final = (
    *("id", "path", "row", "role", "parts", "source", "split", "time", "label"),
    *("version", "action", "reason", "representative"),
)
"""The columns of decisions that dividing needs."""

TOLD: Final = ("id", "split", "stratum", "unit", "path", "row")


@dataclass(frozen=True)
class Divided:
    """What became of a version's kept records."""

    kept: pa.Table  # columns TOLD, a split may be null: one row a kept record of the data, sorted by id
    fresh: pa.Table | None  # schema ASSIGNED: what this version adds; None: params ask for no split
    exceptions: pa.Table  # schema EXCEPTION
    unverified: int


def of(
    log: Log,
    index: Callable[[], Index],
    reviews: Sequence[tuple[str, str, str]],
    earlier: Earlier,
    given: params.Params,
) -> Divided:
    """Divide the kept records of a version; without ratios they are in the split that the data gives."""
    live = log.live(READ)
    if not given.split.ratios:
        return Divided(_as_given(live, given.split.by), None, EXCEPTION.empty_table(), 0)
    live = judged(live)
    return divide(live, ties.held(live, index(), reviews, given), earlier, log.versions, given)


def judged(live: pa.Table) -> pa.Table:
    """Return those that could be read."""
    return live.filter(pc.is_in(live["action"], pa.array(["keep", "drop"])))


def divide(live: pa.Table, held: Held, earlier: Earlier, versions: Sequence[str], given: params.Params) -> Divided:
    """Give every kept record a split, unless it ties two.

    `live` has the columns READ of all judged records, sorted by id, `held` says what holds these together; `versions`
    names the dataset's versions, the oldest first.
    """
    settings, kept = given.split, kept_of(live)
    content = contents(live, parts_in(live["parts"]))
    names, before, said = _known(live, kept, content, earlier, settings)
    done = settled(held, before, said, _Order(live, kept, before, versions, given).of)
    component = done.component[held.node]
    found = np.where(before != NONE, before, done.split[component])
    aside = np.isin(held.node, np.array(sorted(done.aside), np.int64))
    free = kept & (found == NONE) & ~aside
    stratum, strata = strata_of(live, kept, settings.by)
    unit = _least(component, kept)
    counted = np.where(kept & (found < len(settings.ratios)), found, NONE)
    found[free] = _balanced(live["id"], np.flatnonzero(free), unit, stratum, counted, len(strata), settings)
    words, none = pa.array([*names, None], pa.string()), len(names)
    columns = {
        "id": live["id"],
        "split": words.take(pa.array(np.where(found < 0, none, found))),
        "why": pa.array(np.where(free, "balanced", np.where(said == found, "given", "joined"))),
        "stratum": pa.array([*strata, ""], pa.string()).take(pa.array(np.where(kept, stratum, len(strata)))),
        "unit": live["id"].take(pa.array(np.maximum(unit, 0))),
        "content": content,
        "version": pa.repeat(given.version.name, live.num_rows),
        "path": live["path"],
        "row": live["row"],
    }
    table = pa.table(columns)
    fresh = table.filter(pa.array(kept & (found >= 0) & ~earlier.knows(live["id"])))
    return Divided(
        table.filter(pa.array(kept)).select(TOLD),
        fresh.select(ASSIGNED.names).cast(ASSIGNED),
        _exceptions(live, (kept, found, said), (component, aside), done, held.node, names),
        done.unverified,
    )


def kept_of(live: pa.Table) -> Mask:
    """Return which records stay in the dataset."""
    kept: Mask = pc.and_(pc.equal(live["action"], "keep"), pc.equal(live["role"], "data")).to_numpy()
    return kept


def _as_given(live: pa.Table, by: Sequence[str]) -> pa.Table:
    """Return the kept records of the data with the split that the data gives (columns TOLD)."""
    kept = live.filter(pa.array(kept_of(live)))
    stratum, strata = strata_of(kept, np.ones(kept.num_rows, np.bool_), by)
    told = {"stratum": pa.array(strata, pa.string()).take(pa.array(stratum)), "unit": kept["id"]}
    return pa.table({name: told[name] if name in told else kept[name] for name in TOLD})


def _known(
    live: pa.Table, kept: Mask, content: pa.Array, earlier: Earlier, settings: params.Split
) -> tuple[tuple[str, ...], Rows, Rows]:
    """Return the splits' names, and of each record the number of the one it had, and of the one that the data gives."""
    had = earlier.of(live["id"], content)
    gives = live["split"] if settings.given == "keep" else pa.nulls(live.num_rows, pa.string())
    others = {*pc.unique(had).to_pylist(), *pc.unique(gives).to_pylist()} - {None}
    names = tuple(dict.fromkeys([*settings.ratios, *sorted(others)]))
    before, said = (_numbered(column, names, NONE) for column in (had, gives))
    return names, before, np.where(kept, said, NONE)


def _numbered(column: pa.Array | pa.ChunkedArray, names: Sequence[str], other: int) -> Rows:
    at = pc.index_in(column, pa.array(names, pa.string()))
    return pc.fill_null(at, other).to_numpy(zero_copy_only=False).astype(np.int64)


class _Order:
    """In which order records join, of which some tie two splits."""

    def __init__(self, live: pa.Table, kept: Mask, before: Rows, versions: Sequence[str], given: params.Params) -> None:
        """Rank them: assigned before, by version, the data's protected splits first, the kept before the dropped."""
        self._ids, self._seed = live["id"], given.split.seed
        gives = live["split"] if given.split.given == "keep" else pa.nulls(live.num_rows, pa.string())
        protected = _numbered(gives, given.dedup.splits, len(given.dedup.splits))
        brought = _numbered(live["version"], versions, len(versions))
        self._keys = (before == NONE, brought, protected, ~kept)

    def of(self, rows: Rows) -> Rows:
        """Return some rows in their order; a hash decides last."""
        hashes = ranks(self._ids.take(pa.array(rows)), self._seed)
        return rows[np.lexsort((hashes, *(key[rows] for key in reversed(self._keys))))]


def ranks(ids: pa.ChunkedArray, seed: int) -> npt.NDArray[np.uint64]:
    """Return a keyed hash of each id: a number that depends on it and the seed alone."""
    key = seed.to_bytes(8, "big")
    hashes = (hashlib.blake2b(name.encode(), digest_size=8, key=key).digest() for name in ids.to_pylist())
    return np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64)


def _least(component: Rows, kept: Mask) -> Rows:
    """Return for each record the first kept one of its component, -1 where there is none: rows are sorted by id."""
    first = np.full(component.max(initial=-1) + 1, -1, np.int64)
    rows = np.flatnonzero(kept)[::-1]
    first[component[rows]] = rows
    return first[component]


def _balanced(  # noqa: PLR0913, PLR0917 - the records, and what is known of each
    ids: pa.ChunkedArray, free: Rows, unit: Rows, stratum: Rows, counted: Rows, strata: int, settings: params.Split
) -> Rows:
    """Return the split of each of the `free` rows; `counted` is that of each row in one of the ratios', or NONE."""
    ratios = np.array(list(settings.ratios.values()))
    there = np.flatnonzero(counted != NONE)
    before = np.bincount(stratum[there] * len(ratios) + counted[there], minlength=strata * len(ratios))
    units, mine = np.unique(unit[free], return_inverse=True)
    cells, records = np.unique(mine * max(strata, 1) + stratum[free], return_counts=True)
    owner = cells // max(strata, 1)
    starts = np.searchsorted(owner, np.arange(len(units) + 1))
    made = Units(starts, cells - owner * strata, records, ranks(ids.take(pa.array(units)), settings.seed))
    return balance(made, before.reshape(strata, len(ratios)), ratios)[mine]


def _exceptions(  # noqa: PLR0913, PLR0917 - the records, and what is known of each
    live: pa.Table,
    records: tuple[Mask, Rows, Rows],
    places: tuple[Rows, Mask],
    done: Settled,
    node: Rows,
    names: Sequence[str],
) -> pa.Table:
    """Return who ties two splits, and whom the data gives another split than it has (schema EXCEPTION)."""
    (kept, found, said), (component, aside) = records, places
    cases: list[tuple[int, str, set[int]]] = [
        (row, "bridge", done.aside.get(int(node[row]), set()))
        for row in np.flatnonzero(aside | (kept & (found < 0))).tolist()
    ]
    torn = np.flatnonzero(done.split[component] == MIXED)
    for each in np.unique(component[torn]).tolist():
        rows = torn[(component[torn] == each) & kept[torn] & (found[torn] >= 0)]
        values, counts = np.unique(found[rows], return_counts=True)
        fewer = rows[found[rows] != values[np.argmax(counts)]] if len(values) else rows
        cases += [(row, "straddles", {*values.tolist()} - {int(found[row])}) for row in fewer.tolist()]
    other = np.flatnonzero(kept & (said >= 0) & (found >= 0) & (said != found))
    cases += [(row, "given_otherwise", {int(said[row])}) for row in other.tolist()]
    there = live.select(["id", "action"]).take(pa.array([row for row, _, _ in cases], pa.int64())).to_pylist()
    told = [
        {
            **mine,
            "case": case,
            "split": names[found[row]] if kept[row] and found[row] >= 0 else None,
            "others": sorted(names[at] for at in others if at >= 0),
        }
        for mine, (row, case, others) in zip(there, cases, strict=True)
    ]
    return pa.Table.from_pylist(told, schema=EXCEPTION).sort_by([("case", "ascending"), ("id", "ascending")])
