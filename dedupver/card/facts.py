"""What the page and the metadata tell: of the manifest, and of the files of the clean dataset."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from dedupver import store
from dedupver.manifest import LEAKS, VALIDATION, outcomes
from dedupver.records import arrow, streams
from dedupver.records.paths import walk
from dedupver.records.samples import TABLES, kind_of
from dedupver.schema import SIZES
from dedupver.split.assigned import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.manifest import Log
    from dedupver.project import Project

MOST: Final = 20
"""So many labels and sources are named."""

OUTCOME: Final = ("action", "role", "reason")
TOLD: Final = (*OUTCOME, "path", "parts", "source", "split", "label", "bytes", *SIZES)
"""The columns of decisions that are counted."""

BLOCK: Final = 1 << 20
"""Bytes at the beginning of a table of text that say which columns it has."""


class File(NamedTuple):
    """A table or an archive of the clean dataset."""

    path: str  # below the clean dataset
    bytes: int
    sha256: str


class Form(NamedTuple):
    """The files of one suffix."""

    suffix: str  # without its first dot: `png`, `jsonl.gz`
    kind: str  # a modality, or a value of samples.TABLES
    files: int
    bytes: int
    records: int  # that are called after one of them, or are rows in one
    tables: tuple[File, ...]
    columns: Mapping[str, pa.DataType]  # that all of these tables have


class Share(NamedTuple):
    """How many records of some attribute came in, and stay."""

    name: str
    came: int
    kept: int


@dataclass(frozen=True)
class Facts:
    """All that is told of a version."""

    card: params.Card
    header: Mapping[str, Any]
    versions: Mapping[str, Mapping[str, Any]]  # what each brought: manifest.outcomes
    holds: Mapping[str, Any]  # the same of the live records
    recall: Mapping[str, float | None]
    totals: Mapping[str, int]  # bytes, and SIZES, of the kept
    parts: Mapping[str, int]  # of the kept, how many have each part
    attributes: Mapping[str, list[Share]]  # split, label, source: the most frequent first
    forms: tuple[Form, ...]
    validation: Mapping[str, Any]  # by rule, see docs/format.md; empty where nothing was asked
    leaks: Mapping[str, Any]  # the certificate (leakage.certify)
    splits: Mapping[str, Any]  # what the split stage assigned (split.told)

    @classmethod
    def of(cls, project: Project, log: Log) -> Self:
        """Read the manifest, and look at every file of the clean dataset."""
        live = log.state(TOLD)
        live = live.filter(pc.equal(live["role"], "data"))
        kept = live.filter(pc.equal(live["action"], "keep"))
        recall = store.read_json(project.metrics / "dedup.json")["recall"]
        return cls(
            project.params.card,
            log.header,
            {name: outcomes(log.of_version(name, OUTCOME)) for name in log.versions},
            outcomes(live),
            {kind: found for kind, found in recall.items() if found is not None},
            {name: pc.sum(kept[name]).as_py() or 0 for name in ("bytes", *SIZES)},
            _parts(kept),
            {name: _shares(live, kept, name) for name in ("split", "label", "source")},
            tuple(_forms(project.clean, project.params.source, kept)),
            _stated(log, VALIDATION).get("rules", {}),
            _stated(log, LEAKS),
            store.read_json(store.Sealed(project.splits).file(HEADER))["told"],
        )


def _stated(log: Log, what: str) -> dict[str, Any]:
    """Return what a file of the version beside its decisions says; nothing where there is none."""
    name = f"{log.header['version']}.{what}"
    return dict(store.read_json(log.sealed.file(name))) if log.sealed and name in log.sealed.sha256 else {}


def _parts(kept: pa.Table) -> dict[str, int]:
    names = pc.struct_field(pc.list_flatten(kept["parts"]), "part")
    return {each["values"]: each["counts"] for each in names.value_counts().to_pylist()}


def _shares(live: pa.Table, kept: pa.Table, name: str) -> list[Share]:
    came, stay = (dict(_counted(table[name].drop_null())) for table in (live, kept))
    return [
        Share(value, count, stay.get(value, 0))
        for value, count in sorted(came.items(), key=lambda each: (-each[1], each[0]))
    ]


def _counted(column: pa.ChunkedArray) -> Iterable[tuple[str, int]]:
    return ((each["values"], each["counts"]) for each in column.value_counts().to_pylist())


def _forms(clean: Path, source: params.Source, kept: pa.Table) -> Iterable[Form]:
    """Yield the forms of the files below a folder, by suffix; files of no known kind are passed over."""
    records: Counter[str] = Counter()
    for path, count in _counted(kept["path"]):
        records[_suffix(path)] += count
    paths: dict[str, list[str]] = {}
    for path in walk(clean.resolve()):
        if kind_of(path, source):
            paths.setdefault(_suffix(path), []).append(path)
    for suffix in sorted(paths):
        mine = paths[suffix]
        kind = str(kind_of(mine[0], source))
        sizes = [(clean / path).stat().st_size for path in mine]
        table = kind in TABLES.values()
        tables = [
            File(path, size, store.sha256_file(clean / path)) for path, size in zip(mine, sizes, strict=True) if table
        ]
        columns = _common([_columns(clean / path, kind) for path in mine]) if table else {}
        yield Form(suffix, kind, len(mine), sum(sizes), records[suffix], tuple(tables), columns)


def _suffix(path: str) -> str:
    return "".join(streams.suffixes(path)).removeprefix(".")


def _common(tables: list[dict[str, pa.DataType]]) -> dict[str, pa.DataType]:
    first, *others = tables
    return {name: kind for name, kind in first.items() if all(other.get(name) == kind for other in others)}


def _columns(path: Path, kind: str) -> dict[str, pa.DataType]:
    """Return the columns of a table; none where its first rows do not tell them, or it is an archive."""
    try:
        schema = _SCHEMA[kind](path) if kind in _SCHEMA else pa.schema([])
    except (pa.ArrowException, OSError, ValueError):
        return {}
    return dict(zip(schema.names, schema.types, strict=True)) if len(set(schema.names)) == len(schema.names) else {}


def _beginning(path: Path) -> bytes:
    """Return the first lines of a table of text, no more than BLOCK bytes, the last of them whole."""
    with streams.opened(path, 0) as file:
        begin = file.read(BLOCK)
        whole = len(file.read(1)) == 0
    return begin if whole else begin[: begin.rfind(b"\n") + 1]


def _of_lines(path: Path) -> pa.Schema:
    begin = _beginning(path)
    options = pa.json.ReadOptions(use_threads=False, block_size=len(begin) + 1)
    return pa.json.read_json(pa.BufferReader(begin), options).schema


def _of_separated(delimiter: str) -> Any:
    def schema(path: Path) -> pa.Schema:
        begin = _beginning(path)
        options = pa.csv.ReadOptions(use_threads=False, block_size=len(begin) + 1)
        parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        return pa.csv.read_csv(pa.BufferReader(begin), options, parse).schema

    return schema


_SCHEMA: Final = {
    "parquet": pq.read_schema,
    "arrow": arrow.columns,
    "jsonl": _of_lines,
    "csv": _of_separated(","),
    "tsv": _of_separated("\t"),
}
