"""What labels say of a version's thresholds: the table, and the threshold for a wished precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dedupver import params, report, reviews, store
from dedupver.plain import columns
from dedupver.review.drawing import Drawing
from dedupver.review.estimate import Row, Share, missing, propose, table
from dedupver.review.population import Population

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dedupver.project import Project

PLOTTED: Final = (
    *("kind", "threshold", "precision", "precision_low", "precision_high"),
    *("recall", "recall_low", "recall_high", "labels"),
)


def estimate(project: Project, kind: str | None, wished: float | None) -> list[dict[str, Any]]:
    """Return for each kind, one or all that the rules hear, what its labels say: see `lines` for the keys."""
    people = Population.of(project)
    said = reviews.read(project.root / project.params.dedup.reviews)
    return [_of(project, people, said, each, wished) for each in ([kind] if kind else people.kinds())]


def write_plot(path: Path, found: list[dict[str, Any]]) -> None:
    """Write the table for `dvc plots show`."""
    rows = [[each["kind"], *(row[name] for name in PLOTTED[1:])] for each in found for row in each["thresholds"]]
    report.write_plot(path, PLOTTED, [tuple("" if cell is None else cell for cell in row) for row in rows])


def lines(found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the text of `dedupver review estimate`."""
    for each in found:
        yield f"{each['kind']}: {each['pairs']:.0f} pairs at or above the floor, {each['labels']} labels of its sample"
        if not each["labels"]:
            yield f"  no label yet: dedupver review export --kind {each['kind']}"
            continue
        head = ("  threshold", "pairs", "labels", "precision", "", "recall", "")
        yield from columns([head, *(_cells(each, row) for row in each["thresholds"])])
        yield "  recall is of the true pairs at or above the floor"
        if each["search"] is not None:
            yield f"  the search finds {each['search']:.4g} of these, by brute force on a sample of this run"
        if each["proposal"]:
            yield f"  {each['proposal']['words']}"


def _of(
    project: Project, people: Population, said: list[reviews.Review], kind: str, wished: float | None
) -> dict[str, Any]:
    drawing = Drawing(kind, people, people.pairs(kind), said, 0)
    rows = table(drawing.edges, drawing.known)
    present = people.given.dedup.thresholds.of(kind)
    return {
        "kind": kind,
        "floor": people.given.match.floor.of(kind),
        "threshold": present,
        "pairs": float(drawing.known.size.sum()),
        "labels": int(drawing.known.labelled.sum()),
        "search": _searched(project, kind),
        "thresholds": [_flat(row) for row in rows],
        "proposal": None if wished is None else _proposal(people, kind, rows, wished),
    }


def _flat(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {"threshold": row.threshold, "pairs": row.pairs, "labels": row.labels}
    for name, share in (("precision", row.precision), ("recall", row.recall)):
        told |= {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}
    return told


def _proposal(people: Population, kind: str, rows: list[Row], wished: float) -> dict[str, Any]:
    """Return the proposed threshold, the key of params to set, and in words how sure that is and what would help."""
    key = _key(people, kind)
    row = propose(rows, wished)
    if row:
        bounds = _interval(row.precision)
        words = f"set {key} to {row.threshold:g}: precision {bounds}, recall {_interval(row.recall)}"
        lower = max((r for r in rows if r.threshold < row.threshold), key=lambda r: r.threshold, default=None)
        more = missing(lower, wished) if lower else None
        words += f"; about {more} more labels could show the same of {lower.threshold:g}" if lower and more else ""
        return {"key": key, "threshold": row.threshold, "more_labels": more, "words": words}
    asked = [(more, r) for r in rows if (more := missing(r, wished)) is not None]
    if not asked:
        words = f"no threshold has an estimated precision above {wished:g}"
        return {"key": key, "threshold": None, "more_labels": None, "words": words}
    more, best = min(asked, key=lambda each: each[0])
    words = (
        f"the labels do not suffice for a precision of {wished:g}: the best bound is "
        f"{max(r.precision.low for r in rows):.4f}; about {more} more labels could show it of {best.threshold:g}, "
        "were they like those so far"
    )
    return {"key": key, "threshold": None, "more_labels": more, "words": words}


def _key(people: Population, kind: str) -> str:
    """Return the key of params at which a kind's threshold stands: of a rule where one has a number of its own."""
    rules, names = people.given.dedup.rules, people.given.source.parts
    for rule in rules:
        for term, value in rule.items():
            if isinstance(value, float) and params.evidence_of(term, names) == kind:
                return f"{term} in the rule of dedup.rules"
    key = f"dedup.thresholds.{kind}"
    return key if people.hears(kind) else f"{key} (and name {kind} in dedup.similar, for no rule hears it)"


def _searched(project: Project, kind: str) -> float | None:
    """Return the recall of the search at the floor, as the match stage measured it; None where it did not."""
    recall: dict[str, float | None] = store.read_json(project.metrics / "match.json")["recall"]
    return recall.get(kind)


def _cells(each: dict[str, Any], row: dict[str, Any]) -> tuple[object, ...]:
    above = [r["threshold"] for r in each["thresholds"] if r["threshold"] <= each["threshold"] + 1e-9]
    here = " now" if above and row["threshold"] == max(above) else ""
    shares = [Share(row[n], row[f"{n}_low"], row[f"{n}_high"], 0) for n in ("precision", "recall")]
    told = [cell for s in shares for cell in (_value(s), f"[{s.low:.3f}, {s.high:.3f}]")]
    return f"  {row['threshold']:g}{here}", f"{row['pairs']:.0f}", row["labels"], *told


def _value(share: Share) -> str:
    return "-" if share.value is None else f"{share.value:.3f}"


def _interval(share: Share) -> str:
    return f"{_value(share)} [{share.low:.3f}, {share.high:.3f}]"
