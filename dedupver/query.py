"""Questions to manifests: what differs between two versions, why a record is where it is, what a version holds."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import laid_out, parts_in
from dedupver.manifest import latest, outcomes
from dedupver.records import streams
from dedupver.schema import EVIDENCE, INVALID, NGRAM, PARTS, DedupverError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupver.manifest import Log

CHANGES: Final = ("added", "gone", "edited", "dropped", "restored", "rehomed", "quarantined")
"""What can have happened to a record, in the order in which a diff shows it."""

LARGEST: Final = 10
"""So many clusters are shown."""

COMPARED: Final = ("id", "action", "reason", "representative", "score", "threshold", "decided", "parts")
"""The columns of DECISION that a diff needs."""

NEAREST: Final = 1_000
"""So many ids are compared with one that is not known, by difflib."""

CHANGE: Final = pa.schema(
    [
        ("kind", pa.string()),  # one of CHANGES
        ("id", pa.string()),
        ("before", pa.string()),  # the action; null: not there
        ("after", pa.string()),
        ("reason", pa.string()),
        ("representative", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("decided", pa.string()),
    ]
)
"""What happened to one record between two versions."""


@dataclass(frozen=True)
class Explanation:
    """Why a record is where it is. Rows are those of the schema DECISION, digests in hex."""

    decision: dict[str, Any]
    history: list[dict[str, Any]]  # every row of the record, oldest first; see `explain`
    chain: list[dict[str, Any]]  # the representative's row, then its own representative's, and so on
    represents: list[str]  # the ids of those dropped for it
    remedies: list[str]  # what would change the decision
    fields: list[dict[str, Any]] = field(default_factory=list)  # of rows of tables: compared.beside
    opposite: dict[str, Any] = field(default_factory=dict)  # where the index is here: remedies.opposite
    overlap: list[dict[str, Any]] = field(default_factory=list)  # of texts that share n-grams: overlap.overlap


def diff(old: pa.Table, new: pa.Table) -> pa.Table:
    """Return how the records of two live tables (columns COMPARED) differ: schema CHANGE, ordered by kind and id.

    A record has one change: of those that apply, quarantined goes before edited, and edited before the others.
    """
    place = pc.index_in(new["id"], pc.unique(old["id"]))
    was, now = old.take(place.drop_null()), new.filter(place.is_valid())
    arrived, lost = new.filter(place.is_null()), old.filter(pc.invert(pc.is_in(old["id"], pc.unique(new["id"]))))
    unreadable = pc.equal(arrived["action"], "quarantine")
    tables = [
        _changes(now, _kinds(was, now), was["action"]),
        _changes(arrived, pc.if_else(unreadable, "quarantined", "added"), pa.nulls(arrived.num_rows, pa.string())),
        _gone(lost),
    ]
    found = pa.concat_tables(tables)
    found = found.filter(found["kind"].is_valid())
    ranked = found.append_column("rank", pc.index_in(found["kind"], pa.array(CHANGES)))
    return ranked.sort_by([("rank", "ascending"), ("id", "ascending")]).select(CHANGE.names)


def count(changes: pa.Table) -> dict[str, int]:
    """Return the number of changes of each kind, also of those that did not occur."""
    return dict.fromkeys(CHANGES, 0) | _counted(changes["kind"])


def explain(log: Log, name: str) -> Explanation:
    """Return the whole history of a record and what it rests on.

    Each event has beside its decision `written`, the version whose files hold it, `job`, the run that wrote it (null:
    by an earlier release), and `change`, one of EVENTS. Raises DedupverError with the nearest ids where the manifest
    knows none of that name.
    """
    history: list[dict[str, Any]] = []
    jobs = log.header.get("jobs", {})
    for version in log.versions:
        for row in _readable(log.of_version(version, where=pc.field("id") == name)):
            change = _event(history[-1] if history else None, row)
            history.append({**row, "written": version, "job": jobs.get(version), "change": change})
    if not history:
        raise DedupverError(unknown(log, name))
    decision = history[-1]
    represents = _represented(log, name) if decision["action"] == "keep" else []
    return Explanation(decision, history, _chain(log, decision), represents, _remedies(decision, log.header))


EVENTS: Final = (
    *(
        "brought",
        "brought back",
        "gone",
        "quarantined",
        "edited",
        "dropped",
        "restored",
        "moved to another",
        "told anew",
    ),
)
"""What a version can have done to a record: `moved to another` representative; `told anew` with other attributes."""


def _event(before: dict[str, Any] | None, now: dict[str, Any]) -> str:
    """Return what happened to a record between two of its rows."""
    if now["action"] in {"gone", "quarantine"}:
        return {"gone": "gone", "quarantine": "quarantined"}[now["action"]]
    if before is None or before["action"] == "gone":
        return "brought" if before is None else "brought back"
    contents = [sorted((part["part"], part["content"]) for part in row["parts"]) for row in (before, now)]
    if contents[0] != contents[1]:
        return "edited"
    if before["action"] != now["action"]:
        return {"drop": "dropped", "keep": "restored"}[now["action"]]
    return "moved to another" if before["representative"] != now["representative"] else "told anew"


def show(log: Log) -> dict[str, Any]:
    """Return a summary: what each version brought, what the newest one holds, its largest clusters, where files lie."""
    live = log.live(["action", "role", "reason", "representative", "path", "row"])
    clusters = live.filter(pc.equal(live["action"], "drop")).group_by("representative").aggregate([([], "count_all")])
    largest = clusters.sort_by([("count_all", "descending"), ("representative", "ascending")]).slice(0, LARGEST)
    return {
        "version": log.header["version"],
        "time": log.header["time"],
        "mode": log.header["mode"],
        "parent": (log.header.get("parent") or {}).get("version"),
        "holds": outcomes(live),
        "versions": {
            version: outcomes(log.of_version(version, ["action", "role", "reason"])) for version in log.versions
        },
        "sources": _sources(live),
        "clusters": clusters.num_rows,
        "largest_clusters": [
            {"representative": row["representative"], "dropped": row["count_all"]} for row in largest.to_pylist()
        ],
        "files": sorted(path.name for path in log.path.iterdir()),
    }


def _changes(now: pa.Table, kind: pa.Array, before: pa.Array) -> pa.Table:
    said = {"kind": kind, "id": now["id"], "before": before, "after": now["action"]}
    words = {name: now[name] for name in CHANGE.names if name not in said}
    return pa.table(said | words, schema=CHANGE)


def _gone(lost: pa.Table) -> pa.Table:
    count = lost.num_rows
    said = {"kind": "gone", "reason": "left_source"}
    columns = {name: pa.array([value] * count, pa.string()) for name, value in said.items()}
    columns |= {"id": lost["id"], "before": lost["action"]}
    return pa.table({f.name: columns.get(f.name, pa.nulls(count, f.type)) for f in CHANGE}, schema=CHANGE)


def _kinds(was: pa.Table, now: pa.Table) -> pa.Array:
    """Return what happened to records that both versions hold; null where no more than the words changed."""
    other = {name: _differ(was[name], now[name]) for name in ("action", "reason", "representative")}
    names = parts_in(was["parts"], now["parts"])
    before, after = (laid_out(table["parts"], "content", names) for table in (was, now))
    edited = pa.array((before != after).any(axis=(1, 2)))
    unreadable = pc.equal(now["action"], "quarantine").combine_chunks()
    cases = {
        "quarantined": pc.and_(unreadable, pc.or_(other["action"], other["reason"])),
        None: unreadable,
        "edited": edited,
        "dropped": pc.and_(other["action"], pc.equal(now["action"], "drop").combine_chunks()),
        "restored": other["action"],
        "rehomed": other["representative"],
    }
    conditions = pa.StructArray.from_arrays(list(cases.values()), [str(name) for name in cases])
    return pc.case_when(conditions, *(pa.scalar(name, pa.string()) for name in cases))


def _differ(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.Array:
    return pc.not_equal(pc.fill_null(left, ""), pc.fill_null(right, "")).combine_chunks()


def _sources(live: pa.Table) -> dict[str, dict[str, int]]:
    """Count records by what they came in: whole files, or rows and samples of tables and archives, by suffix."""
    rows = live.filter(pc.and_(pc.equal(live["role"], "data"), pc.greater_equal(live["row"], 0)))["path"]
    found: dict[str, dict[str, int]] = {}
    for each in rows.value_counts().to_pylist():
        told = found.setdefault("".join(streams.suffixes(each["values"])) or "none", {"files": 0, "records": 0})
        told["files"] += 1
        told["records"] += each["counts"]
    whole = pc.sum(pc.and_(pc.equal(live["role"], "data"), pc.less(live["row"], 0))).as_py() or 0
    return ({"files": {"files": whole, "records": whole}} if whole else {}) | dict(sorted(found.items()))


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in column.value_counts().to_pylist()}


def _readable(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return [{**row, "parts": [{**part, **_hex(part)} for part in row["parts"]]} for row in rows]


def _hex(part: dict[str, Any]) -> dict[str, str]:
    return {name: part[name].hex() for name in ("sha256", "content")}


def _represented(log: Log, name: str) -> list[str]:
    """Return the ids of those that are dropped for a record now; once they were is not enough."""
    ever = pc.unique(log.events(["id"], pc.field("representative") == name)["id"])
    now = latest(log.events(["id", "action", "representative"], pc.field("id").isin(ever)))
    ids: list[str] = now.filter(pc.equal(now["representative"], name))["id"].to_pylist()
    return ids


def _chain(log: Log, decision: dict[str, Any]) -> list[dict[str, Any]]:
    chain: list[dict[str, Any]] = []
    met = {decision["id"]}
    while (name := decision["representative"]) and name not in met:
        found = _readable(latest(log.events(where=pc.field("id") == name)))
        if not found:
            break
        decision = found[0]
        met.add(name)
        chain.append(decision)
    return chain


def unknown(log: Log, name: str) -> str:
    """Return that no record has this name, and the nearest that one has."""
    ids = pc.unique(log.events(["id"])["id"])
    near = difflib.get_close_matches(name, _alike(ids, name), n=3, cutoff=0.6)
    near = near or ids.filter(pc.match_substring(ids, name)).slice(0, 3).to_pylist()
    hint = f"the nearest ids are {', '.join(map(repr, near))}" if near else "`dedupver show` lists the tables"
    return f"no record {name!r} in version {log.header['version']}: {hint}"


def _alike(ids: pa.Array, name: str) -> list[str]:
    """Return the NEAREST ids by the pairs of neighbouring letters that they share with a name."""
    shared = np.zeros(len(ids))
    for pair, times in Counter(map("".join, itertools.pairwise(name))).items():
        shared += np.minimum(pc.count_substring(ids, pair).to_numpy(), times)
    bound = shared / (pc.utf8_length(ids).to_numpy() + len(name))
    alike: list[str] = ids.take(pa.array(np.argsort(-bound, kind="stable")[:NEAREST])).to_pylist()
    return alike


def _remedies(decision: dict[str, Any], header: dict[str, Any]) -> list[str]:
    """Return in words what would change a decision."""
    settings = header.get("params", {}).get("dedup", {})
    reviews = settings.get("reviews", "reviews.csv")
    pair = f"{decision['id']},{decision['representative']}"
    if decision["action"] == "gone":
        return ["put it back into the source"]
    if decision["action"] == "quarantine":
        mend = f"mend or remove {decision['path']}: {decision['reason']} ({decision['detail'] or 'no detail'})"
        rule = str(decision["detail"]).partition(":")[0]
        return [
            mend,
            *([f"or the rule, `validate.rules.{rule}` in params.yaml"] if decision["reason"] in INVALID else []),
        ]
    if decision["action"] == "keep":
        return ["nothing drops it; a lower threshold in `dedup.thresholds` could, if a kept record resembles it"]
    if decision["reason"] == "other_caption_of":
        return [
            "`dedup.captions: all` keeps every caption of a picture",
            f"so does a line `{pair},different` in {reviews}",
        ]
    if decision["reason"] == "reviewed_same_as":
        return [f"remove the line of {pair} from {reviews}"]
    if decision["reason"] == "repeated_part":
        remedies = [f"a greater number in `dedup.caps` than that of {decision['rule']}"]
    else:
        remedies = [f"a line `{pair},different` in {reviews} tells the two apart"]
        remedies += _thresholds(decision, parts_of(header))
    if decision["reason"] == "leaks_into":
        remedies.append(
            "it is protected, but what it leaks into was published: with `dedup.history: rejudge` that goes"
        )
    if settings.get("history") == "frozen" and decision["decided"] != header["version"]:
        remedies.append(
            f"{decision['decided']} decided and history is frozen: set `dedup.history: rejudge` to judge it again"
        )
    return remedies


def _thresholds(decision: dict[str, Any], parts: Mapping[str, str]) -> list[str]:
    return [
        f"a threshold of {kind} above {score:.6g} takes this evidence away: "
        + ("the rule's, or no such rule" if kind == "joint" else f"{_threshold(kind, decision)}, or the rule's")
        for _, kind, score in evidence_of(decision["evidence"], parts)
        if kind
    ]


def _threshold(kind: str, decision: dict[str, Any]) -> str:
    if kind == NGRAM.measure:
        return "`dedup.leakage.ngrams`"
    leaks = str(decision["reason"]).startswith("leaks_")
    return f"`dedup.thresholds.{kind}`" + (f" and `dedup.leakage.thresholds.{kind}`" if leaks else "")


def parts_of(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of a version's records, with their modalities, as its params named them."""
    named: dict[str, str] = header.get("params", {}).get("source", {}).get("parts", PARTS)
    return named


def evidence_of(text: str | None, parts: Mapping[str, str]) -> list[tuple[str, str | None, float]]:
    """Return the terms of a decision's evidence: part, kind of EVIDENCE (None: equal contents), score.

    `image.phash=0.969,caption=exact` holds (image, image, 0.969) and (caption, None, 1.0). A review is no such term.
    `image~caption.joint=0.93`, of an image of one and a caption of the other, holds (image~caption, joint, 0.93).
    """
    terms = []
    for said in filter(None, (text or "").split(",")):
        name, _, value = said.partition("=")
        part, _, measure = name.partition(".")
        if set(part.split("~")) <= parts.keys():
            what = parts.get(part), measure
            kinds = (name for name, kind in EVIDENCE.items() if kind[:2] == what)
            kind = "joint" if "~" in part else NGRAM.measure if measure == NGRAM.measure else next(kinds, None)
            terms.append((part, kind, float(value) if kind else 1.0))
    return terms
