"""Questions to manifests: what differs between two versions, why a record is where it is, what a version holds."""

from __future__ import annotations

import contextlib
import difflib
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import store
from dedupver.manifest import FILES, open_manifest
from dedupver.schema import EVIDENCE, PARTS, DedupverError, StateError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dedupver.manifest import Log

CHANGES: Final = ("added", "gone", "edited", "dropped", "restored", "rehomed", "quarantined")
"""What can have happened to a record, in the order in which a diff shows it."""

LARGEST: Final = 10
"""So many clusters are shown."""

_COMPARED: Final = ("action", "reason", "representative")


@dataclass(frozen=True)
class Change:
    """What happened to one record between two versions; `before` and `after` are actions, None: not there."""

    kind: str  # one of CHANGES
    id: str
    before: str | None
    after: str | None
    reason: str
    representative: str | None = None
    score: float | None = None
    threshold: float | None = None
    decided: str | None = None


@dataclass(frozen=True)
class Explanation:
    """Why a record is where it is. Rows are those of the schema DECISION, digests in hex."""

    decision: dict[str, Any]
    history: list[
        dict[str, Any]
    ]  # every row of the record, oldest first, with `written`: the version whose files hold it
    chain: list[dict[str, Any]]  # the representative's row, then its own representative's, and so on
    represents: list[str]  # the ids of those dropped for it
    remedies: list[str]  # what would change the decision


def diff(old: pa.Table, new: pa.Table) -> list[Change]:
    """Return how the records of two live tables (schema DECISION) differ, ordered by kind and id.

    A record has one change: of those that apply, quarantined goes before edited, and edited before the others.
    """
    place = pc.index_in(new["id"], pc.unique(old["id"]))
    known = place.is_valid()
    now, was = new.filter(known), old.take(place.drop_null())
    edited = pc.not_equal(_contents(was), _contents(now))
    changed = edited
    for name in _COMPARED:
        changed = pc.or_(changed, pc.not_equal(pc.fill_null(was[name], ""), pc.fill_null(now[name], "")))
    pairs = zip(_rows(was.filter(changed)), _rows(now.filter(changed)), edited.filter(changed).to_pylist(), strict=True)
    changes = [_change(kind, a, b) for a, b, other in pairs if (kind := _kind(a, b, edited=other))]
    changes += [_change(_arrival(row), None, row) for row in _rows(new.filter(pc.invert(known)))]
    lost = old.filter(pc.invert(pc.is_in(old["id"], pc.unique(new["id"]))))
    changes += [Change("gone", row["id"], row["action"], None, "left_source") for row in _rows(lost)]
    return sorted(changes, key=lambda change: (CHANGES.index(change.kind), change.id))


def count(changes: Iterable[Change]) -> dict[str, int]:
    """Return the number of changes of each kind, also of those that did not occur."""
    found = Counter(change.kind for change in changes)
    return {kind: found[kind] for kind in CHANGES}


def explain(log: Log, name: str) -> Explanation:
    """Return the whole history of a record and what it rests on.

    Raises DedupverError with the nearest ids where the manifest knows none of that name.
    """
    history = [
        {**row, "written": version}
        for version in log.versions
        for row in _readable(_of(log.of_version(version), "id", name))
    ]
    if not history:
        raise DedupverError(_unknown(log, name))
    live = log.live()
    decision = history[-1]
    dropped = live.filter(pc.equal(live["action"], "drop"))
    represents = _of(dropped, "representative", name)["id"].to_pylist() if decision["action"] == "keep" else []
    chain = _chain(live, decision)
    return Explanation(decision, history, chain, sorted(represents), _remedies(decision, log.header))


def show(log: Log) -> dict[str, Any]:
    """Return a summary: what each version brought, what the newest one holds, its largest clusters, where files lie."""
    live = log.live()
    dropped = live.filter(pc.equal(live["action"], "drop"))
    clusters = Counter(dropped["representative"].to_pylist())
    largest = sorted(clusters.items(), key=lambda item: (-item[1], str(item[0])))[:LARGEST]
    return {
        "version": log.header["version"],
        "time": log.header["time"],
        "mode": log.header["mode"],
        "parent": (log.header.get("parent") or {}).get("version"),
        "holds": _counts(live),
        "versions": {version: _counts(log.of_version(version)) for version in log.versions},
        "clusters": len(clusters),
        "largest_clusters": [{"representative": name, "dropped": n} for name, n in largest],
        "files": sorted(path.name for path in log.path.iterdir()),
    }


@contextlib.contextmanager
def at_revision(root: Path, revision: str | None) -> Iterator[Log]:
    """Open the manifest of a git revision for the length of a block, without a checkout; None: of the working tree.

    Raises StateError where the revision has no manifest, or where neither the cache nor a remote holds its files.
    """
    if revision in {None, "workspace"}:
        if not (root / "manifest").is_dir():
            raise StateError(f"{root / 'manifest'} is missing: run `dvc repro` to build it, or `dvc checkout`")
        yield open_manifest(root / "manifest")
        return
    with tempfile.TemporaryDirectory(prefix="dedupver-") as folder:
        _fetch(root, str(revision), Path(folder) / "manifest")
        yield open_manifest(Path(folder) / "manifest")


def _fetch(root: Path, revision: str, target: Path) -> None:
    from dvc.api import DVCFileSystem  # noqa: PLC0415 - takes a second, and only a revision needs it
    from dvc.exceptions import DvcException  # noqa: PLC0415
    from dvc_data.index import DataIndexDirError  # noqa: PLC0415

    try:
        files = DVCFileSystem(repo=str(root), rev=revision)
        if not files.isdir("/manifest"):
            raise StateError(
                f"revision {revision} has no manifest: name one where `dvc repro` had run and was committed"
            )
        files.get("/manifest", str(target), recursive=True)
    except (DvcException, DataIndexDirError, OSError) as error:
        raise StateError(_unavailable(revision, error)) from error
    if not (target / store.LISTING).is_file():
        raise StateError(_unavailable(revision, FileNotFoundError("its files are in no cache")))


def _unavailable(revision: str, error: Exception) -> str:
    if type(error).__name__ == "RevError":
        return f"revision {revision!r} is not known to git: `git tag` and `git log` list those that are"
    return (
        f"the manifest of {revision} can't be read ({error}). Its data may be in no cache: run `dvc fetch -T` for all "
        "tags, or check the revision out and run `dvc pull`"
    )


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.select([f.name for f in table.schema if f.name != "parts"]).to_pylist()
    return rows


def _contents(table: pa.Table) -> pa.Array:
    """Return one binary value for each record: its parts' names and normalised contents."""
    parts = table["parts"].combine_chunks()
    if isinstance(parts, pa.ChunkedArray):  # no chunk at all
        parts = pa.concat_arrays([*parts.chunks, pa.array([], parts.type)])
    flat = parts.flatten()
    names, contents = (flat.field(name).cast(pa.large_binary()) for name in ("part", "content"))
    joined = pc.binary_join_element_wise(names, contents, pa.scalar(b"\0", pa.large_binary()))
    sizes = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(pc.list_value_length(parts))])
    return pc.binary_join(pa.ListArray.from_arrays(sizes, joined), pa.scalar(b"\0", pa.large_binary()))


def _change(kind: str, was: dict[str, Any] | None, now: dict[str, Any]) -> Change:
    said = (now[name] for name in ("reason", "representative", "score", "threshold", "decided"))
    return Change(kind, now["id"], was["action"] if was else None, now["action"], *said)


def _arrival(row: dict[str, Any]) -> str:
    return "quarantined" if row["action"] == "quarantine" else "added"


def _kind(was: dict[str, Any], now: dict[str, Any], *, edited: bool) -> str | None:
    """Return what happened to a record that both versions hold; None where no more than the words for it changed."""
    if now["action"] == "quarantine":
        return "quarantined" if (was["action"], was["reason"]) != ("quarantine", now["reason"]) else None
    if edited:
        return "edited"
    if was["action"] != now["action"]:
        return "dropped" if now["action"] == "drop" else "restored"
    return "rehomed" if was["representative"] != now["representative"] else None


def _of(table: pa.Table, column: str, value: str) -> pa.Table:
    return table.filter(pc.equal(table[column], value))


def _counts(table: pa.Table) -> dict[str, Any]:
    """Count rows by outcome, references apart, and what is not kept by its reason."""
    data = table.filter(pc.equal(table["role"], "data"))
    outcomes = Counter(FILES[action] for action in data["action"].to_pylist())
    told = data.filter(pc.not_equal(data["reason"], "kept"))
    reasons = Counter(told["reason"].to_pylist())
    return {name: outcomes[name] for name in FILES.values()} | {"reasons": dict(sorted(reasons.items()))}


def _readable(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return [{**row, "parts": [{**part, **_hex(part)} for part in row["parts"]]} for row in rows]


def _hex(part: dict[str, Any]) -> dict[str, str]:
    return {name: part[name].hex() for name in ("sha256", "content")}


def _chain(live: pa.Table, decision: dict[str, Any]) -> list[dict[str, Any]]:
    chain: list[dict[str, Any]] = []
    met = {decision["id"]}
    while (name := decision["representative"]) and name not in met:
        found = _readable(_of(live, "id", name))
        if not found:
            break
        decision = found[0]
        met.add(name)
        chain.append(decision)
    return chain


def _unknown(log: Log, name: str) -> str:
    ids = pc.unique(log.events()["id"]).to_pylist()
    near = difflib.get_close_matches(name, ids, n=3, cutoff=0.6) or [i for i in ids if name in i][:3]
    hint = f"the nearest ids are {', '.join(map(repr, near))}" if near else "`dedupver show` lists the tables"
    return f"no record {name!r} in version {log.header['version']}: {hint}"


def _remedies(decision: dict[str, Any], header: dict[str, Any]) -> list[str]:
    """Return in words what would change a decision."""
    settings = header.get("params", {}).get("dedup", {})
    reviews = settings.get("reviews", "reviews.csv")
    pair = f"{decision['id']},{decision['representative']}"
    if decision["action"] == "gone":
        return ["put it back into the source"]
    if decision["action"] == "quarantine":
        return [f"mend or remove {decision['path']}: {decision['reason']} ({decision['detail'] or 'no detail'})"]
    if decision["action"] == "keep":
        return ["nothing drops it; a lower threshold in `dedup.thresholds` could, if a kept record resembles it"]
    if decision["reason"] == "reviewed_same_as":
        return [f"remove the line of {pair} from {reviews}"]
    remedies = [f"a line `{pair},different` in {reviews} tells the two apart", *_thresholds(decision)]
    if settings.get("history") == "frozen" and decision["decided"] != header["version"]:
        remedies.append(
            f"{decision['decided']} decided and history is frozen: set `dedup.history: rejudge` to judge it again"
        )
    return remedies


def _thresholds(decision: dict[str, Any]) -> list[str]:
    return [
        f"a threshold of {kind} above {score:.6g} takes this evidence away: `dedup.thresholds.{kind}`, or the rule's"
        for _, kind, score in evidence_of(decision["evidence"])
        if kind
    ]


def evidence_of(text: str | None) -> list[tuple[str, str | None, float]]:
    """Return the terms of a decision's evidence: part, kind of EVIDENCE (None: equal contents), score.

    `image.phash=0.969,caption=exact` holds (image, image, 0.969) and (caption, None, 1.0). A review is no such term.
    """
    terms = []
    for said in filter(None, (text or "").split(",")):
        name, _, value = said.partition("=")
        part, _, measure = name.partition(".")
        if part in PARTS:
            kind = next((k for k, v in EVIDENCE.items() if v == (PARTS[part], measure)), None)
            terms.append((part, kind, float(value) if kind else 1.0))
    return terms
