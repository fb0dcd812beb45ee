"""What always holds of a version's decisions, each as a check that names the records which break it."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import params, store
from dedupver.digests import Rows, laid_out, numbered, of_parts, parts_in
from dedupver.index.joint import fit
from dedupver.index.ngrams import share
from dedupver.index.segment import Index
from dedupver.manifest import FILES
from dedupver.query import evidence_of, parts_of
from dedupver.schema import DECISION, EVIDENCE, INVALID, NGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dedupver.manifest import Log

ROUNDING: Final = 1e-5
"""Evidence is written with six digits."""

RERUN: Final = "dvc repro"
REBUILD: Final = "dvc repro --force"
RESTORE: Final = "dvc checkout --force, or dvc repro"

Mask = npt.NDArray[np.bool_]
NUMBER: Final = r"=[0-9][0-9.e+-]*"
"""How a score ends a term of evidence."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be."""

    check: str  # a stable word
    subject: str  # the record or file
    message: str
    fix: str


@dataclass(frozen=True)
class Version:
    """All that the checks read; the tables hold columns of DECISION, a row a record, sorted by id."""

    root: Path
    log: Log
    live: pa.Table
    base: pa.Table  # the records the base kept; empty where `base/` is not this version's parent
    read: pa.Table  # what the fingerprint stage read for this version; empty where that is not here
    said_before: Sequence[tuple[str, str, str]] = ()  # what people had said at the base

    @functools.cached_property
    def settings(self) -> params.Dedup:
        """Return the params that the version was resolved with."""
        return params.Dedup.model_validate(self.log.header["params"]["dedup"])

    @functools.cached_property
    def parts(self) -> dict[str, str]:
        """Return the parts that records may have, with their modalities."""
        return parts_of(self.log.header)

    @functools.cached_property
    def contents(self) -> npt.NDArray[np.uint8]:
        """Return the content of each part of the live records, shape (n, parts, 32)."""
        return laid_out(self.live["parts"], "content", list(self.parts))

    @functools.cached_property
    def kept(self) -> Mask:
        """Return which live records are kept."""
        return equal(self.live, "action", "keep")

    def find(self, ids: pa.ChunkedArray) -> Rows:
        """Return the row of each id among the live records, -1 where it is not there."""
        found = pc.fill_null(pc.index_in(ids, self.live["id"].combine_chunks()), -1)
        return found.to_numpy().astype(np.int64)

    def changed(self, table: pa.Table, at: Rows) -> Mask:
        """Return which rows of a table have other contents than the live rows `at`; not those that have none."""
        there = at >= 0
        differ = np.zeros(len(at), np.bool_)
        mine = laid_out(table["parts"], "content", list(self.parts))[there]
        differ[there] = (mine != self.contents[at[there]]).any(axis=(1, 2))
        return differ


def equal(table: pa.Table, column: str, value: str) -> Mask:
    """Return where a column has a value."""
    mask: Mask = pc.equal(table[column], value).to_numpy()
    return mask


def ids_at(table: pa.Table, where: Mask | Rows) -> list[str]:
    """Return the ids of some rows."""
    rows = np.flatnonzero(where) if where.dtype == np.bool_ else where
    ids: list[str] = table["id"].take(pa.array(rows)).to_pylist()
    return ids


def _one_decision(version: Version) -> Iterator[Finding]:
    """Check that a version's files name a record once, in the file of its action."""
    for name in version.log.versions:
        ids = version.log.of_version(name, ["id"])["id"].value_counts()
        twice = ids.filter(pc.greater(ids.field("counts"), 1)).field("values").sort().to_pylist()
        yield from (Finding("one_decision", i, f"{name} decides on it more than once", REBUILD) for i in twice)
        for action, outcome in FILES.items():
            path = version.log.path / f"{name}.{outcome}.parquet"
            rows = store.read_table(path, DECISION, ["id", "action"])
            wrong = ids_at(rows, ~equal(rows, "action", action))
            yield from (Finding("one_decision", i, f"its action is not that of {path.name}", REBUILD) for i in wrong)


def _counts(version: Version) -> Iterator[Finding]:
    """Check that n_in = kept + dropped + quarantined, and the manifest's own counts say the same."""
    data = version.live.filter(pc.equal(version.live["role"], "data"))
    actions = {row["values"]: row["counts"] for row in data["action"].value_counts().to_pylist()}
    outcomes = {"kept": "keep", "dropped": "drop", "quarantined": "quarantine"}
    found = {name: actions.get(action, 0) for name, action in outcomes.items()}
    found["n_in"] = sum(found.values())
    stated = version.log.header["counts"]
    for name, value in found.items():
        if name in stated and stated[name] != value:
            yield Finding("counts", name, f"the manifest says {stated[name]}, its tables hold {value}", REBUILD)
    for name in sorted(actions.keys() - set(FILES)):
        yield Finding("counts", name, "no known action", REBUILD)


def _inputs(version: Version) -> Iterator[Finding]:
    """Check that every record that was read has its decision, on the content that was read; none is made up."""
    at = version.find(version.read["id"])
    cases = {
        "was read, and has no decision": at < 0,
        "the decision is on other content than was read": version.changed(version.read, at),
    }
    found = (Finding("inputs", i, words, RERUN) for words, where in cases.items() for i in ids_at(version.read, where))
    yield from _by_subject(found)
    if version.read.num_rows and version.log.header["mode"] == "snapshot":
        made_up = np.ones(version.live.num_rows, np.bool_)
        made_up[at[at >= 0]] = False
        for name in ids_at(version.live, made_up):
            yield Finding("inputs", name, "has a decision, and was not read", RERUN)


def _by_subject(found: Iterable[Finding]) -> list[Finding]:
    return sorted(found, key=lambda finding: finding.subject)


def _representatives(version: Version) -> Iterator[Finding]:
    """Check that a dropped record names a kept one that it matches at or above the threshold."""
    yield from _by_subject(_wrongly_dropped(version))


def _wrongly_dropped(version: Version) -> Iterator[Finding]:
    dropped = version.live.filter(pa.array(equal(version.live, "action", "drop")))
    lost = ~np.append(version.kept, np.False_)[version.find(dropped["representative"])]
    below = pc.less(pc.fill_null(dropped["score"], 0.0), pc.subtract(dropped["threshold"], 1e-6))
    weak = ~lost & pc.fill_null(below, fill_value=False).to_numpy()
    for row in dropped.filter(pa.array(lost)).select(["id", "representative"]).to_pylist():
        message = f"dropped for {row['representative']!r}, which is not kept"
        yield Finding("representative", row["id"], message, REBUILD)
    for row in dropped.filter(pa.array(weak)).select(["id", "score", "threshold"]).to_pylist():
        message = f"score {row['score']} is below its threshold {row['threshold']}"
        yield Finding("threshold", row["id"], message, REBUILD)
    told = ~lost & ~weak & ~equal(dropped, "reason", "reviewed_same_as")
    yield from _equal_parts(version, dropped.filter(pa.array(told)))


def _equal_parts(version: Version, dropped: pa.Table) -> Iterator[Finding]:
    """Check that parts which the evidence calls equal are."""
    mine, its = (version.contents[version.find(dropped[name])] for name in ("id", "representative"))
    wholly = equal(dropped, "reason", "exact_duplicate_of")
    for terms, rows in _by_terms(dropped["evidence"], version.parts):
        for part in sorted(version.parts):
            a, b = (contents[rows, list(version.parts).index(part)] for contents in (mine, its))
            asked = wholly[rows] & (a.any(axis=1) | b.any(axis=1)) | ((part, None) in terms)
            wrong = rows[asked & ((a != b).any(axis=1) | ~a.any(axis=1))]
            for row in dropped.take(pa.array(wrong)).select(["id", "representative"]).to_pylist():
                message = f"its {part} is not that of {row['representative']!r}"
                yield Finding("evidence", row["id"], message, REBUILD)
        if not terms:
            yield from (Finding("evidence", i, "dropped without evidence", REBUILD) for i in ids_at(dropped, rows))


def _by_terms(
    evidence: pa.ChunkedArray, parts: Mapping[str, str]
) -> Iterator[tuple[list[tuple[str, str | None]], Rows]]:
    """Yield the terms (part, kind; None: equal contents) that evidence is made of, and the rows that state them."""
    shapes = pc.replace_substring_regex(pc.fill_null(evidence, ""), NUMBER, "=0").combine_chunks().dictionary_encode()
    codes = shapes.indices.to_numpy()
    for code, shape in enumerate(shapes.dictionary.to_pylist()):
        yield [(part, kind) for part, kind, _ in evidence_of(shape, parts)], np.flatnonzero(codes == code)


def evidence(version: Version) -> Iterator[Finding]:
    """Check that scores, computed again from the index's fingerprints, are those that the decisions state."""
    dropped = version.live.filter(pa.array(equal(version.live, "action", "drop")))
    dropped = dropped.filter(pa.array(version.find(dropped["representative"]) >= 0))
    index = Index.open(version.root / "index")
    for kind in [*sorted(EVIDENCE), "joint", NGRAM.measure]:
        rows, (part, other), stated = _claims(dropped["evidence"], kind, version.parts)
        mine, its = (version.find(dropped[name])[rows] for name in ("id", "representative"))
        ends = [(version.contents[a, part], version.contents[b, other]) for a, b in ((mine, its), (its, mine))]
        if kind == "joint":  # either may be the one whose text it is
            found = np.fmax(*(fit(index, media, texts) for media, texts in ends))
        elif kind == NGRAM.measure:  # of two protected splits either may leak into the other
            found = _nearer(stated, *(share(index, a, b) for a, b in (ends[0], ends[0][::-1])))
        else:
            found = index.score(kind, *ends[0])
        for at in np.flatnonzero(~(np.abs(found - stated) <= ROUNDING)):
            message = f"{kind}: states {stated[at]:.6g}, the index says {found[at]:.6g}"
            yield Finding("evidence", dropped["id"][int(rows[at])].as_py(), message, REBUILD)


def _nearer(
    stated: npt.NDArray[np.float64], one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    return np.where(np.abs(one - stated) < np.abs(other - stated), one, other)


def _claims(said: pa.ChunkedArray, kind: str, names: Mapping[str, str]) -> tuple[Rows, Rows, npt.NDArray[np.float64]]:
    """Return the rows whose evidence states a score of a kind, the numbers of the two parts it is of, and the score.

    Shapes (m,), (2, m), (m,); the two are one part but for evidence across parts.
    """
    found = [(np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0))]
    for terms, rows in _by_terms(said, names):
        for number, (part, its) in enumerate(terms):
            if its == kind:
                term = pc.list_element(pc.split_pattern(said.take(pa.array(rows)), ","), number)
                score = pc.list_element(pc.split_pattern(term, "="), 1).cast(pa.float64()).to_numpy()
                both = [list(names).index(name) for name in (part.split("~") * 2)[:2]]
                found.append((rows, np.tile(both, (len(rows), 1)), score))
    at, parts, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(at, kind="stable")
    return at[order], parts[order].T, scores[order]


def _never_evicted(version: Version) -> Iterator[Finding]:
    """Check that what the base kept stays, unless it left, was edited or reviewed, fails a rule, or all is rejudged."""
    if version.settings.history == "rejudge":
        return
    at = version.find(version.base["id"])
    stays = version.kept | pc.is_in(version.live["reason"], pa.array(INVALID)).to_numpy()
    evicted = (at >= 0) & ~version.changed(version.base, at) & ~np.append(stays, np.True_)[at]
    evicted &= ~pc.is_in(version.base["id"], pa.array(sorted(_judged_again(version)), pa.string())).to_numpy()
    for row in version.live.take(pa.array(at[evicted])).select(["id", "action"]).to_pylist():
        yield Finding("evicted", row["id"], f"kept in the base, now {row['action']}", REBUILD)


def _whole(version: Version) -> Iterator[Finding]:
    """Check that a record that was judged has its parts, each once."""
    _, record, part = of_parts(version.live["parts"], "content", list(version.parts))
    count, width = version.live.num_rows, len(version.parts)
    once = np.bincount(np.unique(record * width + part) // width, minlength=count)
    judged = version.kept | equal(version.live, "action", "drop")
    wrong = judged & ((once == 0) | (once < np.bincount(record, minlength=count)))
    for row in version.live.filter(pa.array(wrong)).select(["id", "parts"]).to_pylist():
        yield Finding("parts", row["id"], f"has the parts {[part['part'] for part in row['parts']]}", REBUILD)


def _no_twins(version: Version) -> Iterator[Finding]:
    """Check that kept records differ in content, unless both were published before or a person said so."""
    different, judged = _reviewed(version), _judged(version)
    for rows in _equals(version.live["parts"], np.flatnonzero(version.kept)):
        names = ids_at(version.live, rows)
        for name in itertools.compress(names, judged[rows]):
            twin = next((n for n in names if n != name and frozenset((name, n)) not in different), None)
            if twin:
                yield Finding("twins", name, f"kept with the content of {twin!r}", REBUILD)


def _equals(parts: pa.ChunkedArray, rows: Rows) -> Iterator[Rows]:
    """Yield, of some rows, those that share their contents, in groups of two and more."""
    if not len(rows):
        return
    contents = numbered(parts, parts_in(parts))[1][rows]
    order = np.lexsort(contents.T)
    same = (contents[order[1:]] == contents[order[:-1]]).all(axis=1)
    group = np.concatenate([[0], np.cumsum(~same)])[: len(rows)]
    shared = np.append(same, np.False_)[: len(rows)] | np.append(np.False_, same)[: len(rows)]
    cuts = np.flatnonzero(np.diff(group[shared])) + 1
    groups = (np.sort(each) for each in np.split(rows[order[shared]], cuts) if len(each))
    yield from sorted(groups, key=lambda each: int(each[0]))


def _judged(version: Version) -> Mask:
    """Return which records this version judged: no references, and none carried over from a frozen base."""
    judged = equal(version.live, "role", "data")
    if version.settings.history == "frozen":
        at = version.find(version.base["id"])
        judged[at[(at >= 0) & ~version.changed(version.base, at)]] = False
    return judged


def _reviewed(version: Version) -> set[frozenset[str]]:
    return {frozenset(pair) for *pair, label in version.log.reviews() if label == "different"}


def _judged_again(version: Version) -> set[str]:
    """Return the published that a person joined to another, or no longer parts from it: who may go for that."""
    now, before = set(version.log.reviews()), set(version.said_before)
    return {name for left, right, label in now if label == "same" for name in (left, right)} | {
        name for left, right, label in before - now if label == "different" for name in (left, right)
    }


INVARIANTS: Final[tuple[Callable[[Version], Iterable[Finding]], ...]] = (
    _one_decision,
    _counts,
    _inputs,
    _representatives,
    _never_evicted,
    _whole,
    _no_twins,
)
"""The checks that need no more than the decisions."""
