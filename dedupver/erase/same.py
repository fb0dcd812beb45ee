"""Whether a version without some records is else what it was: the decisions of all others, and published bytes."""

from __future__ import annotations

import hashlib
import posixpath
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dedupver.digests import laid_out, parts_in
from dedupver.erase.objects import place
from dedupver.records import arrow, lines, saved, shards, streams
from dedupver.records.samples import TABLES, kind_of
from dedupver.schema import DECISION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from dedupver import params

    Places = Mapping[tuple[str, str], Collection[int]]

COMPARED: Final = [name for name in DECISION.names if name not in {"id", "parts"}]
CLEAN: Final = "clean"


@dataclass
class Compared:
    """What differs between a version as it was and as it is without the records erased."""

    equal: int = 0  # records that are decided as they were, in every column
    changed: list[dict[str, Any]] = field(default_factory=list)  # id, before, after: of a cluster with an erased one
    others: list[dict[str, Any]] = field(default_factory=list)  # the same, of other records: there should be none
    splits: int = 0  # records that are in the split that they were in
    files: int = 0  # published files that are equal byte for byte
    rows: int = 0  # rows of other published files that are
    odd: list[str] = field(default_factory=list)  # published files that differ in more than they should


def decisions(old: pa.Table, new: pa.Table, ids: Collection[str], places: Places) -> Compared:
    """Compare two live tables (schema DECISION) but for the records `ids`, whose `places` in the source closed up.

    A record may differ where it shares a part with an erased one or with another that may, or was or is dropped for
    one: it was judged again, since what it went for is not there. All other differences are `others`.
    """
    old = _moved(old, places).sort_by("id")
    erased = pc.is_in(old["id"], pa.array(sorted(ids), pa.string()))
    gone, old, new = old.filter(erased), old.filter(pc.invert(erased)), new.sort_by("id")
    at = pc.index_in(old["id"], new["id"].combine_chunks())
    both = at.is_valid()
    was, now = old.filter(both), new.take(at.drop_null())
    differs = _differ(was, now)
    found = Compared(equal=int((~differs).sum()))
    rows = pa.array(differs)
    lost = old.filter(pc.invert(both))
    fresh = new.filter(pc.invert(pc.is_in(new["id"], old["id"].combine_chunks())))
    pairs = [*zip(was.filter(rows).to_pylist(), now.filter(rows).to_pylist(), strict=True)]
    pairs += [(row, None) for row in lost.to_pylist()] + [(None, row) for row in fresh.to_pylist()]
    explained = _explained(pairs, gone.to_pylist(), {*ids})
    for before, after in pairs:
        name = (before or after or {})["id"]
        told = {"id": name, "before": _said(before), "after": _said(after)}
        (found.changed if name in explained and before and after else found.others).append(told)
    return found


def splits(found: Compared, old: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Compare in which split each record is (id → split), and add to what was `found`; new clusters are free."""
    free = {each["id"] for each in found.changed}
    for name in sorted((old.keys() & new.keys()) - free):
        if old[name] == new[name]:
            found.splits += 1
        else:
            found.others.append({"id": name, "before": f"in {old[name]}", "after": f"in {new[name]}"})


def assigned(folder: Path) -> dict[str, str]:
    """Return the split of each record, by id; nothing where a version has no splits."""
    tables = (pq.read_table(path, columns=["id", "split"]) for path in sorted(folder.glob("*.parquet")))
    return {name: split for t in tables for name, split in zip(*(c.to_pylist() for c in t.columns), strict=True)}


def published(  # noqa: PLR0913, PLR0917 - a version as it was and as it is
    found: Compared,
    cache: Path,
    old: Mapping[str, str],
    new: Mapping[str, str],
    free: Mapping[str, Counter[int]],
    source: params.Source,
) -> None:
    """Compare published files (path → digest, old and new), and add to what was `found`.

    `free` says by path how many records may be new there and how many may be missing: `{1: 2, -1: 1}`.
    """
    for path in sorted(old.keys() | new.keys()):
        if old.get(path) == new.get(path):
            found.files += 1
            continue
        kind = kind_of(path, source)
        if kind not in TABLES.values():
            if not (free.get(path) or free.get(_stem(path)) or posixpath.basename(path) == saved.STATE):
                found.odd.append(path)
            continue
        was, now = (
            list(_digests(place(cache, each[path]), path, str(kind), source)) if path in each else []
            for each in (old, new)
        )
        less, more = Counter(was) - Counter(now), Counter(now) - Counter(was)
        allowed = free.get(path, Counter())
        if less.total() > allowed[-1] or more.total() > allowed[1] or _without(was, less) != _without(now, more):
            found.odd.append(path)
        found.rows += len(now) - more.total()


def free_of(
    old: pa.Table, new: pa.Table, compared: Compared, ids: Collection[str], *, append: bool
) -> dict[str, Counter[int]]:
    """Return by path of the published dataset how many records may have left it (-1) and come to it (1).

    A file of several is also found by its path up to the first dot of its name.
    """
    found: dict[str, Counter[int]] = {}
    names = pa.array(sorted({*ids, *(each["id"] for each in (*compared.changed, *compared.others))}), pa.string())
    for sign, table in ((-1, old), (1, new)):
        rows = table.filter(pc.and_(pc.is_in(table["id"], names), pc.equal(table["action"], "keep")))
        for row in rows.select(["path", "version"]).to_pylist():
            path = posixpath.join(row["version"], row["path"]) if append else row["path"]
            for each in {path, _stem(path)}:
                found.setdefault(each, Counter())[sign] += 1
    return found


def _stem(path: str) -> str:
    folder, name = posixpath.split(path)
    return posixpath.join(folder, name.partition(".")[0])


def _moved(old: pa.Table, places: Places) -> pa.Table:
    """Return decisions with the rows, and the ids made of these, that records have once others are out of their way."""
    paths, batches = old["path"].to_pylist(), old["version"].to_pylist()
    rows, ids = old["row"].to_numpy().copy(), old["id"].to_pylist()
    gone = {place: np.array(sorted(each)) for place, each in places.items()}
    for at, (batch, path) in enumerate(zip(batches, paths, strict=True)):
        closed = gone.get((batch, path), gone.get(("", path)))
        if closed is not None and rows[at] >= 0 and rows[at] not in closed:
            to = int(rows[at] - np.searchsorted(closed, rows[at]))
            ids[at] = f"{path}#{to}" if ids[at] == f"{path}#{rows[at]}" else ids[at]
            rows[at] = to
    old = old.set_column(old.schema.get_field_index("row"), DECISION.field("row"), pa.array(rows))
    return old.set_column(old.schema.get_field_index("id"), DECISION.field("id"), pa.array(ids, pa.string()))


def _differ(was: pa.Table, now: pa.Table) -> np.ndarray:
    differs = np.zeros(was.num_rows, np.bool_)
    for name in COMPARED:
        left, right = was[name].combine_chunks(), now[name].combine_chunks()
        same = pc.or_kleene(pc.equal(left, right), pc.and_(left.is_null(), right.is_null()))
        differs |= ~pc.fill_null(same, False).to_numpy(zero_copy_only=False)
    names = parts_in(was["parts"], now["parts"])
    for digest in ("sha256", "content"):
        left, right = (laid_out(table["parts"], digest, names) for table in (was, now))
        differs |= (left != right).any(axis=(1, 2))
    return differs


def _explained(
    pairs: list[tuple[dict[str, Any] | None, dict[str, Any] | None]], gone: list[dict[str, Any]], ids: set[str]
) -> set[str]:
    """Return the ids of those that changed since something that they hung on is gone, or changed for that."""
    reached, contents = set(ids), {part["content"] for row in gone for part in row["parts"]}
    left = {(b or a or {})["id"]: [row for row in (b, a) if row] for b, a in pairs}
    explained: set[str] = set()
    while True:
        more = {
            name
            for name, rows in left.items()
            if name not in explained
            and any(r["representative"] in reached or contents & {p["content"] for p in r["parts"]} for r in rows)
        }
        if not more:
            return explained
        explained |= more
        reached |= more
        contents |= {part["content"] for name in more for row in left[name] for part in row["parts"]}


def _said(row: dict[str, Any] | None) -> str | None:
    if row is None:
        return None
    return f"{row['action']} for {row['representative']}" if row["representative"] else str(row["action"])


def _without(digests: list[bytes], less: Counter[bytes]) -> list[bytes]:
    left = Counter(less)
    kept = []
    for each in digests:
        if left[each]:
            left[each] -= 1
        else:
            kept.append(each)
    return kept


def _digests(file: Path, path: str, kind: str, source: params.Source) -> Iterator[bytes]:
    """Yield a digest of the bytes of each row of a table, or of its values."""
    if kind == "parquet":
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(1024):
                yield from (hashlib.sha256(repr(row).encode()).digest() for row in batch.to_pylist())
    elif kind == "arrow":
        for held in arrow.batches(file):
            yield from (hashlib.sha256(repr(row).encode()).digest() for row in held.batch.to_pylist())
    else:
        yield from _digests_packed(file, path, kind, source)


def _digests_packed(file: Path, path: str, kind: str, source: params.Source) -> Iterator[bytes]:
    """Yield the digests of lines or samples of a file whose own name has no suffix that says how it is packed."""
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder, posixpath.basename(path))
        named.symlink_to(file.resolve())
        if kind == "tar":
            digests: dict[int, Any] = {}
            with streams.opened(named, 0) as archive, streams.opened(named, 0) as data:
                for row, start, stop in shards.spans(archive, source):
                    data.seek(start)
                    digests.setdefault(row, hashlib.sha256()).update(data.read(stop - start))
            yield from (each.digest() for each in digests.values())
            return
        delimiter = {"csv": ord(","), "tsv": ord("\t")}.get(kind, 0)
        at = 0
        with streams.opened(named, 0) as data:
            for ends in lines.ends(named, 0, streams.END, delimiter):
                for end in ends.tolist():
                    yield hashlib.sha256(data.read(end - at)).digest()
                    at = end
