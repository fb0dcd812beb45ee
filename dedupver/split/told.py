"""What there is to tell of splits: sizes, strata, deviations, and what the gates of params refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.schema import GateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupver import params
    from dedupver.split.divide import Divided

MOST: Final = 100
"""So many strata are told of, the largest."""

LARGEST: Final = 10
"""So many units are told of."""


def told(kept: pa.Table, exceptions: pa.Table, ratios: Mapping[str, float]) -> dict[str, Any]:
    """Return what `dedupver splits` shows of kept records (id, split, stratum, unit): counts, shares, deviations."""
    sizes = _counts(kept["split"])
    strata = _Strata(kept, ratios)
    units = kept.group_by("unit").aggregate([([], "count_all"), ("split", "min")]) if ratios else kept.slice(0, 0)
    found: dict[str, Any] = {
        "ratios": dict(ratios),
        "records": kept.num_rows,
        "sizes": sizes,
        "unassigned": kept["split"].null_count,
        "strata": len(strata.words),
        "largest_strata": strata.largest(MOST),
        "exceptions": _counts(exceptions["case"]),
    }
    if ratios:
        counted = sum(sizes.get(name, 0) for name in ratios)
        by_size = units.sort_by([("count_all", "descending"), ("unit", "ascending")])
        found |= {
            "deviation": {name: _off(sizes.get(name, 0), ratio, counted) for name, ratio in ratios.items()},
            "worst_stratum": strata.worst(),
            "units": units.num_rows,
            "largest_units": [
                {"unit": row["unit"], "records": row["count_all"], "split": row["split_min"]}
                for row in by_size.slice(0, LARGEST).to_pylist()
            ],
            "off_strata": int((strata.off > 1).sum()),
        }
    return found


def scalars(found: Mapping[str, Any], divided: Divided) -> dict[str, Any]:
    """Return what of it is a metric."""
    wanted = ("records", "sizes", "unassigned", "strata", "units", "deviation", "off_strata", "exceptions")
    metrics = {name: found[name] for name in wanted if name in found}
    if found["ratios"]:
        worst, largest = found["worst_stratum"], found["largest_units"]
        metrics |= {
            "worst_stratum_off": worst["off"] if worst else 0,
            "largest_unit": largest[0]["records"] if largest else 0,
            "assigned": divided.fresh.num_rows if divided.fresh else 0,
            "hot_unverified": divided.unverified,
        }
    return metrics


def bars(found: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """Return the rows of the plot: stratum and split as JSON, so that no cell starts a formula, and records."""
    return [
        (each["stratum"], name if name in found["ratios"] else json.dumps(name), count)
        for each in found["largest_strata"]
        for name, count in each["sizes"].items()
    ]


def judge(found: Mapping[str, Any], gates: params.SplitGates) -> None:
    """Raise GateError that says which bounds do not hold, before anything is written."""
    sizes, shown = found["sizes"], ", ".join(f"{name} {count}" for name, count in found["sizes"].items()) or "none"
    broken = [
        f"split.gates.records.{name} is {least}, and {name} has {sizes.get(name, 0)}"
        for name, least in sorted(gates.records.items())
        if sizes.get(name, 0) < least
    ]
    total = max(sum(sizes.get(name, 0) for name in found["ratios"]), 1)
    for name, ratio in found["ratios"].items():
        off = abs(sizes.get(name, 0) / total - ratio)
        if gates.deviation is not None and off > gates.deviation:
            broken.append(f"split.gates.deviation is {gates.deviation}, and {name} is {off:.4f} from its ratio {ratio}")
    cases = found["exceptions"]
    for key, most, count in (
        ("aside", gates.aside, found["unassigned"] if found["ratios"] else 0),
        ("straddling", gates.straddling, cases.get("straddles", 0)),
    ):
        if most is not None and count > most:
            broken.append(f"split.gates.{key} is {most}, and there are {count} such records")
    if broken:
        raise GateError(
            "the splits are refused, and nothing was written:\n  " + "\n  ".join([*broken, f"sizes: {shown}"])
        )


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    """Count distinct values, nulls apart, the most frequent first."""
    rows = column.drop_null().value_counts().to_pylist()
    return {r["values"]: r["counts"] for r in sorted(rows, key=lambda r: (-r["counts"], r["values"]))}


class _Strata:
    """How many records of each stratum are in each split, and how far off the worst is.

    `off` is in records, against ratio × the stratum's records that are in a split of the ratios.
    """

    def __init__(self, kept: pa.Table, ratios: Mapping[str, float]) -> None:
        self._names = list(dict.fromkeys([*ratios, *sorted(pc.unique(kept["split"]).drop_null().to_pylist())]))
        stratum = kept["stratum"].combine_chunks().dictionary_encode()
        at = pc.fill_null(pc.index_in(kept["split"], pa.array(self._names, pa.string())), len(self._names)).to_numpy()
        width = len(self._names) + 1
        flat = stratum.indices.to_numpy().astype(np.int64) * width + at
        self.words = stratum.dictionary
        self._counts = np.bincount(flat, minlength=len(self.words) * width).reshape(-1, width)
        wanted = np.array(list(ratios.values()))
        mine = self._counts[:, : len(wanted)]
        self.off = np.abs(mine - wanted * mine.sum(axis=1)[:, None]).max(axis=1, initial=0).round(6)

    def largest(self, most: int) -> list[dict[str, Any]]:
        """Return the largest strata."""
        order = np.lexsort((pc.rank(self.words).to_numpy(), -self._counts.sum(axis=1)))
        return [self._of(at) for at in order[:most].tolist()]

    def worst(self) -> dict[str, Any] | None:
        """Return the stratum that is furthest off."""
        return self._of(int(np.lexsort((pc.rank(self.words).to_numpy(), -self.off))[0])) if len(self.off) else None

    def _of(self, at: int) -> dict[str, Any]:
        sizes = {name: int(count) for name, count in zip(self._names, self._counts[at], strict=False) if count}
        records = int(self._counts[at].sum())
        return {"stratum": self.words[at].as_py(), "records": records, "sizes": sizes, "off": float(self.off[at])}


def _off(count: int, ratio: float, total: int) -> float:
    """Return how far a share is from its ratio."""
    return round(count / total - ratio, 6) if total else 0.0
