"""Gates in words: what passed, what failed and why, and how to go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from dedupver.gates.measure import LOWER, SHARES, Case
from dedupver.plain import columns, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Offenders = dict[str, list[dict[str, Any]]]

CUT: Final = 60
"""So many characters of a name are shown."""


def table(version: str, cases: Sequence[Case], offenders: Offenders) -> Iterator[str]:
    """Yield the text of `dedupver gates`: of each gate and scope what is nearest to failing, then why it fails."""
    nearest: dict[tuple[str, str], Case] = {}
    for case in cases:
        best = nearest.setdefault((case.gate, case.scope), case)
        if _margin(case) < _margin(best):
            nearest[case.gate, case.scope] = case
    yield from _lines(list(nearest.values()))
    yield from _why(offenders)
    failed = [case for case in cases if case.failed]
    yield from _go_on(failed) if failed else [f"{plain(version)} passes"]


def values(cases: Sequence[Case], offenders: Offenders) -> dict[str, Any]:
    """Return what `dedupver gates --json` prints: every case, and what brought about those that failed."""
    told = [case._asdict() | {"margin": case.margin, "failed": case.failed} for case in cases]
    return {"failed": sorted({case.gate for case in cases if case.failed}), "cases": told, "offenders": offenders}


def refusal(version: str, cases: Sequence[Case], offenders: Offenders) -> Iterator[str]:
    """Yield the message of GateError."""
    failed = [case for case in cases if case.failed]
    gates = list(dict.fromkeys(case.gate for case in failed))
    yield f"{plain(version)} is not written, manifest/ and clean/ are as they were: it fails {', '.join(gates)}"
    yield from _lines(sorted(failed, key=lambda case: (gates.index(case.gate), _margin(case)))[:MOST])
    if len(failed) > MOST:
        yield f"and {len(failed) - MOST} more, which `dedupver gates --json` lists"
    yield from _why(offenders)
    yield from _go_on(failed)


MOST: Final = 10
"""So many failed cases are shown in a message."""


def _lines(cases: Sequence[Case]) -> Iterator[str]:
    rows = [(_verdict(c), c.gate, _whom(c), _of(c), f"{c.value:.4g}", _bound(c), _signed(c)) for c in cases]
    yield from columns([("", "gate", "of", "records", "value", "bound", "margin"), *rows])


def _verdict(case: Case) -> str:
    return "-" if case.bound is None else "FAILED" if case.failed else "passed"


def _whom(case: Case) -> str:
    scope = {"all": "", "new": "newcomers"}[case.scope]
    return " ".join(filter(None, [scope, _cut(case.name)])) or "all"


def _of(case: Case) -> str:
    return f"{case.records:,}" if case.counted is None else f"{case.counted:,} of {case.records:,}"


def _bound(case: Case) -> str | None:
    return None if case.bound is None else f"{'>=' if case.gate in LOWER else '<='} {case.bound:.4g}"


def _signed(case: Case) -> str | None:
    return None if case.margin is None else f"{case.margin:+.4g}"


def _margin(case: Case) -> float:
    return case.margin if case.margin is not None else float("inf")


def _why(offenders: Offenders) -> Iterator[str]:
    for gate, rows in offenders.items():
        yield f"{gate}:"
        for row in rows:
            yield from (f"  {line}" for line in _offender(gate, row))


def _offender(gate: str, row: Mapping[str, Any]) -> Iterator[str]:
    if gate == "cluster":
        source = f" (source {_cut(row['its_source'])})" if row["its_source"] else ""
        yield f"{row['dropped']:,} went for {_cut(row['representative'])}{source}: {_counts(row['reasons'])}"
        if row["sources"]:
            yield f"  they are of {_counts(row['sources'])}"
        yield f"  such as {', '.join(_cut(member['id']) for member in row['members'])}"
    elif gate in SHARES:
        of = f" of {_counts(row['sources'])}" if row["sources"] and "by_source" not in gate else ""
        yield f"{_cut(row['name']) or 'all'}: {_counts(row['reasons'])}{of and ';'}{of}"
    else:
        yield f"{_cut(row['label'])}: {row['before']:.2%} before, {row['after']:.2%} after"


def _go_on(failed: Sequence[Case]) -> Iterator[str]:
    yield "to go on:"
    gates = dict.fromkeys(case.gate for case in failed)
    if any(gate.startswith(("removed", "cluster", "drift")) for gate in gates):
        yield "  these are no duplicates: have what tells them apart compared, by dedup.thresholds, dedup.rules or"
        yield "    source.parts in params.yaml, or say of a pair in reviews.csv that it is `different`; then dvc repro"
    if any(gate.startswith("quarantined") for gate in gates):
        yield "  quarantined records: see build/dedup/quarantined.parquet, and mend or remove them in the source"
    if "recall" in gates:
        yield "  recall: more match.lsh.bands, match.hnsw.ef or match.row_lsh.unlike; or a higher threshold"
    yield "  it is as it should be: say so in params.yaml, then dvc repro:"
    yield from (f"    gates.{gate}: {_accepting([case for case in failed if case.gate == gate])}" for gate in gates)
    yield "`dedupver gates` shows every gate of what is decided here"


def _accepting(failed: Sequence[Case]) -> str:
    """Return the bound that lets the failed cases of one gate pass, as params write it: by name where it has groups."""
    worst = failed[0]
    if worst.name is None or worst.gate == "cluster":
        return f"{max(case.value for case in failed):.6g}"
    named = {case.name or "": f"{case.value:.6g}" for case in sorted(failed, key=_margin, reverse=True)}
    others = [] if worst.gate == "split_records" else [f'"*": {worst.bound:.6g}']
    return f"{{{', '.join([*(f'{json.dumps(name)}: {value}' for name, value in named.items()), *others])}}}"


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{_cut(name)} {count:,}" for name, count in counted.items())


def _cut(name: str | None) -> str:
    shown = plain(name or "")
    return shown if len(shown) <= CUT else f"{shown[: CUT - 1]}…"
