"""Gates: what a version must be like to be written. Measured from the decisions, before anything of it is.

`measure` says what each gate's value is, `offenders` what brought the failed ones about, `told` puts it into words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from dedupver import params
from dedupver.gates import measure, offenders, told
from dedupver.gates.measure import LOWER, SEEN, Case
from dedupver.schema import GateError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from dedupver.manifest import Log

__all__ = ["Case", "Judged", "judge", "metrics", "require", "told"]


@dataclass(frozen=True)
class Judged:
    """Every gate of a version, and what brought about those that failed."""

    version: str
    cases: list[Case]
    offenders: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by gate: rows

    @property
    def failed(self) -> list[Case]:
        """The cases that are beyond their bounds."""
        return [case for case in self.cases if case.failed]


def judge(now: Log, base: Log, recall: pa.Table, given: params.Params) -> Judged:
    """Judge what is decided for a version, given what its base decided and the measured recall (schema RECALL)."""
    live = now.state(SEEN)
    before = base.state(("label", "action", "role"))
    kept = before.filter(pc.and_(pc.equal(before["action"], "keep"), pc.equal(before["role"], "data")))
    found = Judged(given.version.name, list(measure.cases(live, kept, recall, given)))
    rows = offenders.worst(found.failed, live, kept, given.version.name)
    return Judged(found.version, found.cases, rows)


def metrics(found: Judged) -> dict[str, float | int | None]:
    """Return how many gates failed, and of each the value nearest to failing; None where nothing is measured."""
    values = {gate: _worst(case for case in found.cases if case.gate == gate) for gate in GATES}
    return {"failed": len({case.gate for case in found.failed}), **values}


def require(found: Judged) -> None:
    """Raise GateError where a gate failed: which, what brought it about, and how to go on."""
    if found.failed:
        raise GateError("\n".join(told.refusal(found.version, found.cases, found.offenders)))


GATES = [name for name in params.Gates.model_fields if not name.startswith("min_")]
"""Their names, as in params."""


def _worst(cases: Iterable[Case]) -> float | None:
    """Return the value of the case with the least margin; of cases that are not judged the one that is most telling."""

    def rank(case: Case) -> tuple[float, float]:
        beyond = -case.value if case.gate in LOWER else case.value
        return (case.margin if case.margin is not None else float("inf")), -beyond

    return min((case for case in cases), key=rank).value if (cases := list(cases)) else None
