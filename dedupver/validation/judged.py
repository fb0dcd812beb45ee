"""Records judged by rules: the values that each rule is about, read from the source, and who fails."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dedupver.digests import numbered as contents_of
from dedupver.digests import parts_in
from dedupver.records import asked
from dedupver.records.parquet import DAMAGED
from dedupver.records.paths import printable
from dedupver.records.samples import TABLES, kind_of
from dedupver.records.separated import DELIMITERS
from dedupver.schema import FAILURE, INVALID, RECORD, SourceError, Unreadable
from dedupver.validation import keys, values
from dedupver.validation.checks import check, why
from dedupver.validation.values import Value, nothing, short, shown, some, without

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from dedupver import params
    from dedupver.params import Rule
    from dedupver.records.cells import Cells

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

ALWAYS: Final = ("id", "path", "row", "role", "code")

LONGEST: Final = 300
"""So many characters of a reason are kept."""


@dataclass(frozen=True)
class Outcome:
    """Who fails which rule, and how many were asked."""

    failed: pa.Table  # schema FAILURE
    counts: dict[str, Any]  # canonical JSON: records, unreadable, rules


def needed(given: params.Params) -> list[str]:
    """Return the columns of records (schema RECORD) that the rules need."""
    rules = given.validation.rules.values()
    more = {name for rule in rules if rule.attribute for name in values.SOURCES.get(rule.attribute, (rule.attribute,))}
    more |= {"parts" for rule in rules if rule.unique or rule.part}
    return [name for name in RECORD.names if name in {*ALWAYS, *more}]


def validate(records: pa.Table, roots: Mapping[str, Path], catalogues: Path, given: params.Params) -> Outcome:
    """Judge records by the rules that params give.

    `records` are sorted by id and have the columns that are `needed`, `batch`, a key of `roots`, and `held`, whether
    they were published before; without `parts` each counts as of a content of its own. Nothing is asked of references,
    nor of what can't be read. Raises SourceError for a rule that applies to no record, for a column that no record has,
    and for a catalogue that can't be read.
    """
    data = records.filter(pc.equal(records["role"], "data"))
    sound = data.filter(pc.is_null(data["code"]))
    judging = _Judging(sound, given, catalogues)
    judging.ask_attributes()
    for batch, path, rows in _by_table(sound, given.source):
        judging.ask_table(roots[batch], path, rows)
    for batch in pc.unique(sound["batch"]).to_pylist():
        judging.ask_files(roots[batch], batch)
    judging.ask_rest(roots)
    judging.ask_unique()
    unreadable = Counter(code for code in data["code"].to_pylist() if code)
    counts = {"records": data.num_rows, "unreadable": dict(sorted(unreadable.items())), "rules": judging.counts()}
    return Outcome(judging.failures(), counts)


@dataclass
class _Asked:
    """A rule, the records that it is about, and what came of it so far."""

    name: str
    rule: Rule
    scope: Mask
    seen: Mask  # whose values it was given
    met: set[str] = field(default_factory=set)  # its columns that some record has
    rows: list[Rows] = field(default_factory=list)  # of those that fail
    codes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    keyed: list[tuple[Rows, list[pa.Array]]] = field(default_factory=list)  # what they claim as theirs alone

    def fail(self, rows: Rows, code: str, details: Sequence[str]) -> None:
        """Note that some records fail."""
        self.rows.append(rows)
        self.codes += [code] * len(rows)
        self.details += [printable(f"{self.name}: {detail}")[:LONGEST] for detail in details]

    def failing(self) -> Rows:
        """Return who fails so far."""
        return np.concatenate([np.empty(0, np.int64), *self.rows])


class _Judging:
    """All rules, asked of the same records."""

    def __init__(self, records: pa.Table, given: params.Params, catalogues: Path) -> None:
        self.records, self.source, self._catalogues = records, given.source, catalogues
        self._held = functools.cache(self._catalogue)
        self.paths = records["path"].combine_chunks().dictionary_encode()
        self.rules = [self._started(name, rule) for name, rule in sorted(given.validation.rules.items())]

    def _started(self, name: str, rule: Rule) -> _Asked:
        scope = np.ones(self.records.num_rows, np.bool_)
        if rule.files:
            matched = [_matches(path, rule.files) for path in self.paths.dictionary.to_pylist()]
            scope = np.array(matched, np.bool_)[self.paths.indices.to_numpy()]
        if len(scope) and not scope.any():
            raise SourceError(
                f"validate.rules.{name}: no record is in files {', '.join(map(repr, rule.files))}, so it asks nothing. "
                "Mend the globs, which are matched with paths below the source, or take the rule out"
            )
        return _Asked(name, rule, scope, np.zeros(len(scope), np.bool_))

    def ask_attributes(self) -> None:
        """Ask what is said of records that are no columns, and which parts they have."""
        every = np.arange(self.records.num_rows)
        for each in self.rules:
            if each.rule.attribute:
                each.met.add(each.rule.attribute)
                self._ask(
                    each, every, {each.rule.attribute: values.attribute(self.records, each.rule.attribute)}, typed=True
                )
            elif each.rule.part:
                self._ask(each, every, {each.rule.part: values.part(self.records, each.rule.part)}, typed=True)

    def ask_table(self, root: Path, path: str, rows: Rows) -> None:
        """Ask of the records in a table or an archive."""
        mine = [each for each in self.rules if each.rule.names and each.scope[rows].any()]
        names = list(dict.fromkeys(name for each in mine for name in each.rule.names))
        numbers = self.records["row"].take(pa.array(rows)).to_numpy()
        if names:
            with contextlib.suppress(Unreadable, *DAMAGED):  # the records that are lost are quarantined for it
                for block in asked.of_table(root.resolve(), path, self.source, names):
                    place, at = _places(block.rows, numbers)
                    columns = {name: some(cells, at) for name, cells in block.columns.items()}
                    for each in mine:
                        self._ask(each, rows[place], columns, typed=kind_of(path, self.source) not in DELIMITERS)

    def ask_files(self, root: Path, batch: str) -> None:
        """Ask of files what the JSON beside them says."""
        whole = pc.and_(pc.less(self.records["row"], 0), pc.equal(self.records["batch"], batch)).to_numpy()
        mine = [each for each in self.rules if each.rule.names and (each.scope & whole).any()]
        names = list(dict.fromkeys(name for each in mine for name in each.rule.names))
        rows = (
            np.flatnonzero(whole & np.logical_or.reduce([each.scope for each in mine]))
            if mine
            else np.empty(0, np.int64)
        )
        paths = self.records["path"].take(pa.array(rows)).to_pylist()
        for block in asked.of_files(root.resolve(), paths, self.source, names) if names else ():
            for each in mine:
                self._ask(each, rows[block.rows], block.columns, typed=True)

    def ask_rest(self, roots: Mapping[str, Path]) -> None:
        """Ask of the records that have no value of a rule's columns; a column that none has is an error."""
        for each in self.rules:
            for name in each.rule.names:
                if name not in each.met and len(each.scope):
                    self._require_column(each, name, roots)
            self._ask(each, np.flatnonzero(~each.seen), {}, typed=True)

    def ask_unique(self) -> None:
        """Ask whose alone a key is, of the records that nothing else removes."""
        mine = [each for each in self.rules if each.rule.unique]
        stands = np.ones(self.records.num_rows, np.bool_)
        for each in self.rules:
            if each.rule.action == "quarantine":
                stands[each.failing()] = False
        claims = [keys.Claim(self._claimed(each, stands), each.rule.action == "quarantine") for each in mine]
        if not claims or not (several := keys.shared(claims)).any():
            return
        held = self.records["held"].to_numpy()
        order = np.flatnonzero(several)
        order = order[np.argsort(~held[order], kind="stable")]
        holders = keys.holders(claims, order, self._contents(several))
        for each, holder in zip(mine, holders, strict=True):
            rows = np.flatnonzero(holder >= 0)
            whose = self.records["id"].take(pa.array(holder[rows])).to_pylist()
            told = shown(self._keys_of(each, rows))
            each.fail(rows, "not_unique", [f"{v} is also that of {short(w)}" for v, w in zip(told, whose, strict=True)])

    def failures(self) -> pa.Table:
        """Return who fails (schema FAILURE)."""
        tables = [FAILURE.empty_table()]
        for each in self.rules:
            rows = self.records.select(["id", "path", "row"]).take(pa.array(each.failing()))
            said = {"code": each.codes, "detail": each.details}
            said |= {"rule": [each.name] * len(each.codes), "action": [each.rule.action] * len(each.codes)}
            columns = {**dict(zip(rows.column_names, rows.columns, strict=True)), **said}
            tables.append(pa.table([columns[name] for name in FAILURE.names], schema=FAILURE))
        return pa.concat_tables(tables).sort_by([("id", "ascending"), ("rule", "ascending")])

    def counts(self) -> dict[str, dict[str, Any]]:
        """Return for each rule how many records it was asked of, and how many fail, in all and by code."""
        return {
            each.name: {
                "action": each.rule.action,
                "checked": int(each.scope.sum()),
                "failed": len(each.codes),
                "codes": dict(sorted(Counter(each.codes).items())),
            }
            for each in self.rules
        }

    def _ask(self, each: _Asked, rows: Rows, columns: Mapping[str, Cells], *, typed: bool) -> None:
        """Ask one rule of some records, whose values are given by column; what is not given is missing."""
        mine = np.flatnonzero(each.scope[rows] & ~each.seen[rows])
        rows = rows[mine]
        each.seen[rows] = True
        rule, names = each.rule, _names(each.rule)
        each.met |= columns.keys() & set(names)
        told = [Value(some(columns[n], mine) if n in columns else nothing(len(rows)), typed) for n in names]
        missing = np.array([value.missing() for value in told])
        if len(told) == 1:
            codes = check(rule, told[0])
        else:
            codes = np.where(missing.any(axis=0) & rule.required, INVALID.index("missing_value"), -1)
        written = [without(v.cells, gone) for v, gone in zip(told, missing, strict=True)]
        for code in np.unique(codes[codes >= 0]).tolist():
            self._fail(each, rows, np.flatnonzero(codes == code), INVALID[code], written)
        if rule.catalogue:
            held = self._held(rule.catalogue, rule.key or names)
            lacking = np.flatnonzero((codes < 0) & held.lacks(written))
            codes[lacking] = INVALID.index("unknown_reference")
            self._lacks(each, rows, lacking, written, held)
        if rule.unique:
            good = np.flatnonzero(codes < 0)
            each.keyed.append((rows[good], [column.take(pa.array(good)) for column in written]))

    def _fail(self, each: _Asked, rows: Rows, at: Rows, code: str, written: Sequence[pa.Array]) -> None:
        names, said = " ".join(_names(each.rule)), why(each.rule, code)
        named = "" if names == each.name else f"{names} "
        told = shown([column.take(pa.array(at)) for column in written])
        each.fail(rows[at], code, [f"{named}{value} is {said}" if value else f"{said} of {names}" for value in told])

    def _lacks(self, each: _Asked, rows: Rows, at: Rows, written: Sequence[pa.Array], held: keys.Catalogue) -> None:
        columns = [column.take(pa.array(at)) for column in written]
        known = map(held.written_otherwise, zip(*(column.to_pylist() for column in columns), strict=True))
        details = [
            f"{value} is not in {held.name}" + (f", which has {short(near)}: write both alike" if near else "")
            for value, near in zip(shown(columns), known, strict=True)
        ]
        each.fail(rows[at], "unknown_reference", details)

    def _catalogue(self, name: str, columns: tuple[str, ...]) -> keys.Catalogue:
        return keys.Catalogue.read(self._catalogues, name, columns, self.source)

    def _claimed(self, each: _Asked, stands: Mask) -> Rows:
        """Return the number of the key that each standing record has, -1: none."""
        found = np.full(self.records.num_rows, -1, np.int64)
        if each.keyed:
            rows = np.concatenate([rows for rows, _ in each.keyed])
            columns = [pa.concat_arrays(column) for column in zip(*(held for _, held in each.keyed), strict=True)]
            found[rows] = keys.numbered(columns)
        return np.where(stands, found, -1)

    def _keys_of(self, each: _Asked, rows: Rows) -> list[pa.Array]:
        """Return the values that some records have of the columns of a rule."""
        at = np.concatenate([rows for rows, _ in each.keyed])
        place = np.empty(self.records.num_rows, np.int64)
        place[at] = np.arange(len(at))
        columns = [pa.concat_arrays(column) for column in zip(*(held for _, held in each.keyed), strict=True)]
        return [column.take(pa.array(place[rows])) for column in columns]

    def _contents(self, several: Mask) -> Rows:
        """Return equal numbers for records of equal contents, of those that are asked for."""
        if "parts" not in self.records.column_names:
            return np.arange(len(several))
        rows = np.flatnonzero(several)
        parts = self.records["parts"].take(pa.array(rows))
        found = np.full(len(several), -1, np.int64)
        found[rows] = np.unique(contents_of(parts, parts_in(parts))[1], axis=0, return_inverse=True)[1].ravel()
        return found

    def _require_column(self, each: _Asked, name: str, roots: Mapping[str, Path]) -> None:
        """Raise SourceError that names the nearest column and its file, unless a table has the column empty."""
        mine = (
            self.records.filter(pa.array(each.scope))
            .select(["batch", "path"])
            .group_by(["batch", "path"])
            .aggregate([])
        )
        known: dict[str, str] = {}
        for row in mine.sort_by([("batch", "ascending"), ("path", "ascending")]).to_pylist():
            if kind_of(row["path"], self.source) in TABLES.values():
                known |= dict.fromkeys(
                    asked.named(roots[row["batch"]].resolve(), row["path"], self.source), row["path"]
                )
        if name in known:
            return
        near = keys.nearest(name, list(known))
        where = known[near] if near else ", ".join(sorted(set(known.values()))[:3]) or "any table, or JSON beside files"
        hint = f": did you mean {near!r}?" if near else f": there are {', '.join(map(repr, known))}" if known else ""
        raise SourceError(f"validate.rules.{each.name}: no column {name!r} in {where}{hint}")


def _by_table(records: pa.Table, source: params.Source) -> Iterator[tuple[str, str, Rows]]:
    """Yield each table and archive that holds records, with those in ascending order of their row."""
    where = records.select(["batch", "path", "row"]).append_column("at", pa.array(np.arange(records.num_rows)))
    where = where.filter(pc.greater_equal(where["row"], 0))
    where = where.sort_by([("batch", "ascending"), ("path", "ascending"), ("row", "ascending")]).combine_chunks()
    if not where.num_rows:
        return
    codes = [where[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("batch", "path")]
    edges = np.flatnonzero((np.diff(codes[0]) != 0) | (np.diff(codes[1]) != 0)) + 1
    for rows in np.split(where["at"].to_numpy(), edges):
        first = records.slice(int(rows[0]), 1).select(["batch", "path"]).to_pylist()[0]
        if kind_of(first["path"], source) in TABLES.values():
            yield first["batch"], first["path"], rows


def _places(numbers: Rows, wanted: Rows) -> tuple[Rows, Rows]:
    """Return the places in `wanted` of those that are among some numbers, and their places there; both ascend."""
    low, high = np.searchsorted(wanted, [numbers[0], numbers[-1] + 1]) if len(numbers) else (0, 0)
    at = np.searchsorted(numbers, wanted[low:high])
    there = numbers[at] == wanted[low:high]
    return np.arange(low, high)[there], at[there]


def _names(rule: Rule) -> tuple[str, ...]:
    """Return what a rule is about: columns, or an attribute, or a part."""
    return rule.names or (rule.attribute or rule.part or "",)


def _matches(path: str, globs: Sequence[str]) -> bool:
    """Return whether one of some globs matches a path (`**/` also no folder)."""
    return any(fnmatch.fnmatchcase(path, each) for glob in globs for each in (glob, glob.replace("**/", "")))
