"""Figures of a validation: before, of all records, and after, of those that remain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver.schema import FAILURE, SourceError
from dedupver.validation.checks import asks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupver.params import Rule

EXAMPLES: Final = 5
"""So many of the records that fail are named where the run fails."""


def metrics(counts: Mapping[str, Any], failed: pa.Table) -> dict[str, int]:
    """Return the scalars of a run: records, of these the unreadable, those that fail, and those that are removed."""
    removed = failed.filter(pc.equal(failed["action"], "quarantine"))
    return {
        "records": counts["records"],
        "unreadable": sum(counts["unreadable"].values()),
        "rules": len(counts["rules"]),
        "failed": len(pc.unique(failed["id"])),
        "quarantined": len(pc.unique(removed["id"])),
    }


def rows(counts: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return for each rule and code how many records fail, for plots; what can't be read under `readable`."""
    unreadable = [("readable", code, count) for code, count in counts["unreadable"].items()]
    found = [(name, code, n) for name, each in counts["rules"].items() for code, n in each["codes"].items()]
    return [*unreadable, *found]


def require(failed: pa.Table) -> None:
    """Raise SourceError that names records which fail a rule whose action is `fail`."""
    fatal = failed.filter(pc.equal(failed["action"], "fail"))
    if not fatal.num_rows:
        return
    shown = [f"  {row['id']}: {row['detail']} ({row['code']})" for row in fatal.slice(0, EXAMPLES).to_pylist()]
    more = [f"  and {fatal.num_rows - EXAMPLES} more" for _ in range(fatal.num_rows > EXAMPLES)]
    raise SourceError(
        "\n".join(
            [
                f"{len(pc.unique(fatal['id']))} records fail a rule whose action is `fail`:",
                *shown,
                *more,
                "Mend the data, or set the rule's action to `quarantine` or `report`; `dedupver validate` shows all",
            ]
        )
    )


def told(
    counts: Mapping[str, Any], failed: pa.Table, live: pa.Table | None, rules: Mapping[str, Rule]
) -> dict[str, Any]:
    """Return the figures before and after, for canonical JSON.

    `live` has id, role and action of the version's records; None: nobody knows yet who remains.
    """
    kept = pa.nulls(0, pa.string()) if live is None else _kept(live)
    remaining = failed["rule"].filter(pc.is_in(failed["id"], kept))
    after = {row["values"]: row["counts"] for row in remaining.value_counts().to_pylist()}
    return {
        "records": {"before": counts["records"], "after": None if live is None else len(kept)},
        "unreadable": counts["unreadable"],
        "rules": {
            name: {
                "about": about(rules[name]),
                "asks": asks(rules[name]),
                "action": each["action"],
                "checked": each["checked"],
                "codes": each["codes"],
                "failed": {"before": each["failed"], "after": None if live is None else after.get(name, 0)},
            }
            for name, each in counts["rules"].items()
        },
    }


def _kept(live: pa.Table) -> pa.Array:
    kept = pc.and_(pc.equal(live["role"], "data"), pc.equal(live["action"], "keep"))
    return pa.concat_arrays([pa.array([], pa.string()), *live["id"].filter(kept).chunks])


def about(rule: Rule) -> str:
    """Return what a rule is about, in words."""
    what = rule.column or " and ".join(rule.columns) or f"{'the ' if rule.part else ''}{rule.attribute or rule.part}"
    return f"{what} in {', '.join(rule.files)}" if rule.files else what


def nothing() -> tuple[pa.Table, dict[str, Any]]:
    """Return the outcome where nothing is asked."""
    return FAILURE.empty_table(), {"records": 0, "rules": {}, "unreadable": {}}
