"""What the gates measure of a version: shares of records, of all and of its newcomers, and their bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEN: Final = ("id", "role", "version", "action", "reason", "representative", "source", "split", "label")
"""The columns of decisions that are measured."""

LOWER: Final = frozenset({"recall", "split_records"})
"""Gates whose bound is the least that passes; of all others it is the most."""

SHARES: Final[dict[str, tuple[str, str | None]]] = {
    "removed": ("removed", None),
    "removed_by_source": ("removed", "source"),
    "removed_by_label": ("removed", "label"),
    "removed_by_split": ("removed", "split"),
    "quarantined": ("quarantined", None),
    "quarantined_by_source": ("quarantined", "source"),
}
"""Gates of shares: what is counted, and the column that tells the groups; None: they are judged together."""

DIGITS: Final = 6
"""Decimals of a value, as it is shown, judged and written to the metrics."""


class Case(NamedTuple):
    """One gate of one group of records."""

    gate: str  # a key of params' gates
    scope: str  # all: every record of the version | new: those whose content it brought
    name: str | None  # the group: a source, label, split, code, kind of evidence, or a cluster's representative
    counted: int | None  # so many of `records`
    records: int
    value: float
    bound: float | None  # None: not judged

    @property
    def margin(self) -> float | None:
        """How far the value is from its bound; below 0 it fails."""
        if self.bound is None:
            return None
        return round(self.value - self.bound if self.gate in LOWER else self.bound - self.value, DIGITS)

    @property
    def failed(self) -> bool:
        """Whether the value is beyond its bound."""
        return self.margin is not None and self.margin < 0


def cases(live: pa.Table, kept_before: pa.Table, recall: pa.Table, given: params.Params) -> Iterator[Case]:
    """Measure a version, given what is decided of its records (columns SEEN), references among them or not.

    `kept_before` has the column `label` of what its parent kept, `recall` the schema RECALL. Groups of fewer than
    `min_records` records are passed over, and kinds with fewer than `min_matches` true matches.
    """
    bounds = given.gates
    data = live.filter(pc.equal(live["role"], "data"))
    for scope, mine in scopes(data, given.version.name).items():
        yield from _shares(scope, mine, bounds)
        yield from _clusters(scope, mine, bounds)
    readable = data.filter(pc.not_equal(data["action"], "quarantine"))
    kept = readable.filter(pc.equal(readable["action"], "keep"))
    yield from _drift("drift", readable, kept, bounds)
    yield from _drift("drift_from_parent", kept_before, kept, bounds)
    for name, least in bounds.split_records.items():
        stay = _count(pc.equal(kept["split"], name))
        yield Case("split_records", "all", name, stay, _count(pc.equal(readable["split"], name)), stay, least)
    yield from _recall(recall, given)


def scopes(data: pa.Table, version: str) -> dict[str, pa.Table]:
    """Return all records and, where they are some of them, those whose content this version brought."""
    new = data.filter(pc.equal(data["version"], version))
    return {"all": data} | ({"new": new} if 0 < new.num_rows < data.num_rows else {})


def moved(before: pa.Table, after: pa.Table) -> dict[str, tuple[float, float]]:
    """Return the share of each label before and after, of the records that have one."""
    was, now = _proportions(before), _proportions(after)
    return {name: (was.get(name, 0.0), now.get(name, 0.0)) for name in sorted({*was, *now})}


def _shares(scope: str, data: pa.Table, bounds: params.Gates) -> Iterator[Case]:
    for gate, (what, column) in SHARES.items():
        for name, by in _outcomes(data, column).items():
            readable = by.get("keep", 0) + by.get("drop", 0)
            lost = by.get("quarantine", 0)
            share = (by.get("drop", 0), readable) if what == "removed" else (lost, readable + lost)
            if share[1] >= bounds.min_records:
                yield _case(gate, scope, name, share, bounds)
    codes = data["reason"].filter(pc.equal(data["action"], "quarantine")).value_counts().to_pylist()
    for code in codes if data.num_rows >= bounds.min_records else ():
        yield _case("quarantined_by_code", scope, code["values"], (code["counts"], data.num_rows), bounds)


def _outcomes(data: pa.Table, column: str | None) -> dict[str | None, dict[str, int]]:
    """Count the records of each group by action, groups in order; those of none are left out."""
    keys = [column, "action"] if column else ["action"]
    groups: dict[str | None, dict[str, int]] = {}
    for row in data.group_by(keys).aggregate([([], "count_all")]).to_pylist():
        if column is None or row[column] is not None:
            groups.setdefault(row.get(column), {})[row["action"]] = row["count_all"]
    return dict(sorted(groups.items(), key=lambda item: item[0] or ""))


def _clusters(scope: str, data: pa.Table, bounds: params.Gates) -> Iterator[Case]:
    """Measure every cluster that is large enough: the share of the readable records that went for one of them."""
    readable = _count(pc.not_equal(data["action"], "quarantine"))
    sizes = data["representative"].filter(pc.equal(data["action"], "drop")).value_counts()
    large = sizes.filter(pc.greater_equal(sizes.field("counts"), bounds.min_records)).to_pylist()
    for row in sorted(large, key=lambda row: (-row["counts"], row["values"])):
        yield _case("cluster", scope, row["values"], (row["counts"], readable), bounds)


def _drift(gate: str, before: pa.Table, after: pa.Table, bounds: params.Gates) -> Iterator[Case]:
    """Measure the total variation distance: half the sum of what the labels' shares differ by."""
    labelled = len(before["label"].drop_null())
    if labelled >= bounds.min_records:
        apart = sum(abs(was - now) for was, now in moved(before, after).values()) / 2
        yield Case(gate, "all", None, None, labelled, round(apart, DIGITS), bounds.bound(gate))


def _recall(recall: pa.Table, given: params.Params) -> Iterator[Case]:
    """Measure each search whose matches drop records, at its threshold."""
    for kind in sorted(_dropping(given)):
        floor = pa.scalar(given.dedup.thresholds.of(kind), pa.float32())
        mine = recall.filter(pc.and_(pc.equal(recall["kind"], kind), pc.greater_equal(recall["score"], floor)))
        if mine.num_rows >= given.gates.min_matches:
            yield _case("recall", "all", kind, (_count(mine["found"]), mine.num_rows), given.gates)


def _dropping(given: params.Params) -> set[str]:
    """Return the kinds of evidence for which a rule drops records."""
    found: set[str] = set()
    for term, value in (each for rule in given.dedup.rules for each in rule.items()):
        if value == "similar":
            found |= {*given.dedup.similar}
        elif isinstance(value, float):
            found.add(params.evidence_of(term, given.source.parts) or term)  # joint is called what its term is
    return found


def _case(gate: str, scope: str, name: str | None, share: tuple[int, int], bounds: params.Gates) -> Case:
    count, records = share
    return Case(gate, scope, name, count, records, round(count / records, DIGITS), bounds.bound(gate, name))


def _proportions(table: pa.Table) -> dict[str, float]:
    counted = table["label"].drop_null().value_counts()
    counts = counted.field("counts").to_numpy()
    return dict(zip(counted.field("values").to_pylist(), (counts / max(counts.sum(), 1)).tolist(), strict=True))


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)
