"""What brought a failed gate about: the worst groups, the largest clusters, the labels that moved most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver.gates.measure import DIGITS, SHARES, Case, moved, scopes

if TYPE_CHECKING:
    from collections.abc import Sequence

WORST: Final = 5
"""So many groups, clusters or labels are shown of a gate."""

MEMBERS: Final = 4
"""So many members of a cluster are shown."""


def worst(
    failed: Sequence[Case], live: pa.Table, kept_before: pa.Table, version: str
) -> dict[str, list[dict[str, Any]]]:
    """Return rows by gate, the worst first, given the cases that failed and the tables they were measured on."""
    data = live.filter(pc.equal(live["role"], "data"))
    groups = scopes(data, version)
    readable = data.filter(pc.not_equal(data["action"], "quarantine"))
    kept = readable.filter(pc.equal(readable["action"], "keep"))
    found: dict[str, list[dict[str, Any]]] = {}
    for gate in dict.fromkeys(case.gate for case in failed):
        mine = sorted((c for c in failed if c.gate == gate), key=lambda case: (case.margin or 0, case.name or ""))[
            :WORST
        ]
        if gate == "cluster":
            found[gate] = [_cluster(case, groups[case.scope], data) for case in mine]
        elif gate.startswith("drift"):
            found[gate] = _labels(readable if gate == "drift" else kept_before, kept)
        elif gate in SHARES:
            found[gate] = [row for case in mine for row in _reasons(case, groups[case.scope])]
    return found


def _cluster(case: Case, mine: pa.Table, data: pa.Table) -> dict[str, Any]:
    """Return a cluster: its representative, from where its members are, and some of them, as ids tell."""
    members = mine.filter(pc.equal(mine["representative"], case.name)).sort_by("id")
    head = data.filter(pc.equal(data["id"], case.name))
    return {
        "scope": case.scope,
        "representative": case.name,
        "its_source": head["source"][0].as_py() if head.num_rows else None,
        "dropped": case.counted,
        "sources": _tally(members["source"]),
        "reasons": _tally(members["reason"]),
        "members": members.slice(0, MEMBERS).select(["id", "source"]).to_pylist(),
    }


def _reasons(case: Case, mine: pa.Table) -> list[dict[str, Any]]:
    """Return for what reasons the records of a group went; of all records also from which sources."""
    what, column = SHARES[case.gate]
    inside = mine if column is None else mine.filter(pc.equal(mine[column], case.name))
    gone = inside.filter(pc.equal(inside["action"], "drop" if what == "removed" else "quarantine"))
    row = {"scope": case.scope, "name": case.name, "count": case.counted, "records": case.records}
    return [row | {"reasons": _tally(gone["reason"]), "sources": _tally(gone["source"])}]


def _labels(before: pa.Table, after: pa.Table) -> list[dict[str, Any]]:
    """Return the labels whose shares moved most."""
    apart = moved(before, after).items()
    most = sorted(apart, key=lambda item: (-abs(item[1][0] - item[1][1]), item[0]))[:WORST]
    return [{"label": name, "before": round(was, DIGITS), "after": round(now, DIGITS)} for name, (was, now) in most]


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    """Count the values that are most frequent."""
    rows = column.drop_null().value_counts().to_pylist()
    most = sorted(rows, key=lambda row: (-row["counts"], row["values"]))[:WORST]
    return {row["values"]: row["counts"] for row in most}
