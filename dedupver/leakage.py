"""The leak certificate: what of a version was compared with what, how much leaked, and what of it remains.

It is made of the decisions and the index alone, so that `dedupver check` can make it again.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import report, store
from dedupver.digests import first_of_each, of_parts
from dedupver.manifest import LEAKS
from dedupver.resolve import Case, leaks, met, remaining
from dedupver.schema import DECISION, FORMAT, LEAK, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dedupver import params
    from dedupver.digests import Rows
    from dedupver.index.segment import Index
    from dedupver.manifest import Log

WORST: Final = 20
"""So many of each are shown: those removed, and those that remain."""

MOST: Final = 100
"""So many splits and combinations of them are told apart."""

JUDGED: Final = (
    *("id", "role", "parts", "bytes", "pixels", "chars", "millis", "source", "split", "time", "quality", "label"),
    *("code", "action", "reason", "representative", "method", "score"),
)
"""The columns of decisions that it is made of."""


def certify(
    log: Log, index: Index, reviews: Sequence[tuple[str, str, str]], given: params.Params
) -> tuple[dict[str, Any], pa.Table]:
    """Return what a version's certificate says of its records, and which kept ones leak all the same (schema LEAK).

    Leaks that remain are listed once for each record, with the protected one that it resembles most: those that
    `action: report` leaves, and those that history does, which is frozen.
    """
    apart = leaks.several(leaks.sides(log.state(("role", "split")), given.dedup))
    live = log.live(JUDGED) if apart else DECISION.empty_table().select(JUDGED)  # else there is nothing to compare
    side, names = leaks.sides(live, given.dedup), met(given.source.parts, live["parts"])
    left, hot = _remaining(live, names, index, reviews, given.dedup) if apart else (LEAK.empty_table(), 0)
    gone = _removed(live)
    return {
        "format": FORMAT,
        "version": given.version.name,
        "action": given.dedup.leakage.action,
        "sides": _sides(live, side, names, given.dedup),
        "compared_by": _compared_by(names, given),
        "models": index.built_with.get("models", {}),
        "removed": {"records": gone.num_rows, "by": _counted(gone, ("reason", "split", "protected", "method"))},
        "remaining": {"records": left.num_rows, "by": _counted(left, ("split", "protected", "method"))},
        "not_compared": _not_compared(live, names, index, given) | {"hot": hot},
        "worst": {"removed": _worst(gone), "remaining": _worst(left)},
    }, left


def certificate(log: Log) -> dict[str, Any]:
    """Return the certificate of a manifest. Raises StateError where it has none."""
    name = f"{log.header['version']}.{LEAKS}"
    if log.sealed is None or name not in log.sealed.sha256:
        raise StateError(
            f"{log.header['version']} has no leak certificate: an earlier release built it. Run `dvc repro`"
        )
    found: dict[str, Any] = store.read_json(log.sealed.file(name))
    return found


def counts(certificate: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts for the metrics."""
    return {name: certificate[name]["records"] for name in ("removed", "remaining")}


def measured(recall: pa.Table, given: params.Params) -> dict[str, float | None]:
    """Return the recall of each search (of a table RECALL) at the thresholds of leaks; null: nothing to be found."""
    thresholds = given.dedup.thresholds.model_copy(update=given.dedup.leakage.stricter)
    return report.recall(recall, thresholds)


def difference(stated: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return the keys under which a certificate says something else than was found."""
    return [name for name in found if store.canonical_json(stated.get(name)) != store.canonical_json(found[name])]


def _remaining(
    live: pa.Table,
    names: Mapping[str, str],
    index: Index,
    reviews: Sequence[tuple[str, str, str]],
    settings: params.Dedup,
) -> tuple[pa.Table, int]:
    kept = live.filter(pc.equal(live["action"], "keep"))
    overlaps = leaks.overlaps(kept, names, index, settings)
    case = Case.unjudged(names, kept, index, reviews, settings)
    case = replace(case, matches=chain(case.matches, overlaps.to_batches()))
    return remaining(case, settings)


def _removed(live: pa.Table) -> pa.Table:
    """Return the records that went because of leaks (schema LEAK, and the reason)."""
    gone = live.filter(pc.is_in(live["reason"], pa.array([leaks.LEAKS_FROM, leaks.LEAKS_INTO])))
    at = pc.index_in(gone["representative"], live["id"].combine_chunks())
    reference = pc.equal(live["role"].take(at), "reference")
    columns = {
        "id": gone["id"],
        "split": gone["split"],
        "from": gone["representative"],
        "protected": pc.if_else(reference, "reference", pc.fill_null(live["split"].take(at), "")),
        "method": gone["method"],
        "score": gone["score"],
        "reason": gone["reason"],
    }
    return pa.table(columns)


def _sides(live: pa.Table, side: Rows, names: Mapping[str, str], settings: params.Dedup) -> list[dict[str, Any]]:
    """Count on each side the records that were judged, by outcome, and their distinct contents by part."""
    said = ["references", *settings.protected, "others"]
    digests, record, part = of_parts(live["parts"], "content", list(names))
    judged = pc.is_in(live["action"], pa.array(["keep", "drop"])).to_numpy()
    kept = pc.equal(live["action"], "keep").to_numpy()
    found = []
    for number, name in enumerate(said):
        here = judged & (side == number)
        of_part = {
            part_name: len(first_of_each(digests[here[record] & (part == place)]))
            for place, part_name in enumerate(names)
        }
        found.append(
            {
                "side": name,
                "splits": sorted(pc.unique(live["split"].filter(pa.array(here)).drop_null()).to_pylist())[:MOST],
                "records": int(here.sum()),
                "kept": int((here & kept).sum()),
                "contents": {part_name: count for part_name, count in of_part.items() if count},
            }
        )
    return found


def _compared_by(names: Mapping[str, str], given: params.Params) -> dict[str, Any]:
    """Return what makes a leak: the parts alone, by which evidence from which similarity on, and the rules."""
    settings = given.dedup
    parts = {
        name: settings.leakage.at_least(modality, settings)
        for name, modality in names.items()
        if name in settings.leakage.parts
    }
    thresholds = settings.thresholds.model_dump() | settings.leakage.stricter
    return {
        "parts": parts,
        "rules": [dict(rule) for rule in settings.rules],
        "thresholds": thresholds,
        "ngrams": given.fingerprint.text.ngrams if settings.leakage.ngrams is not None else None,
    }


def _not_compared(live: pa.Table, names: Mapping[str, str], index: Index, given: params.Params) -> dict[str, Any]:
    """Count what nothing, or not all, could be said of: the quarantined by code, and contents without a fingerprint."""
    lacking: dict[str, dict[str, int]] = {}
    digests, _, part = of_parts(live["parts"], "content", list(names))
    for place, (name, modality) in enumerate(names.items()):
        if name not in given.dedup.leakage.parts:
            continue
        mine = digests[part == place]
        mine = mine[first_of_each(mine)]
        kinds = given.dedup.leakage.at_least(modality, given.dedup)
        found = {kind: int(np.count_nonzero(~index.says(kind, mine))) for kind in kinds}
        lacking[name] = {kind: count for kind, count in found.items() if count}
    quarantined = live["code"].drop_null().value_counts().to_pylist()
    return {
        "quarantined": {row["values"]: row["counts"] for row in sorted(quarantined, key=lambda row: row["values"])},
        "without_fingerprint": {name: counts for name, counts in lacking.items() if counts},
    }


def _counted(table: pa.Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """Count rows by some columns, the most frequent first."""
    rows = table.group_by(list(names)).aggregate([([], "count_all")]).rename_columns([*names, "records"]).to_pylist()
    return sorted(rows, key=lambda row: (-row["records"], *(str(row[name]) for name in names)))[:MOST]


def _worst(table: pa.Table) -> list[dict[str, Any]]:
    """Return the records that leak most."""
    found: list[dict[str, Any]] = (
        table.sort_by([("score", "descending"), ("id", "ascending")]).slice(0, WORST).to_pylist()
    )
    return found
