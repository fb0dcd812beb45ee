"""Which files are one sample: those beside each other that have one stem, each a part by its suffix."""

from __future__ import annotations

import functools
import os
import posixpath
from typing import TYPE_CHECKING, Final, NamedTuple

from dedupver.records.streams import suffixes
from dedupver.schema import ATTRIBUTES, MODALITIES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from dedupver import params

TABLES: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".tar": "tar",
}
PACKED: Final = frozenset({"jsonl", "csv", "tsv", "tar"})
"""Tables and archives that may be compressed as a whole."""

CAPTION: Final = "caption"
"""The part that stands beside another one: a text that has nothing beside it is a text of its own."""

LISTED: Final = 64
"""So many folders are remembered."""


class Sample(NamedTuple):
    """Files that are one record. Those of `others` are of no part: they come along, and nobody looks into them."""

    path: str  # of the file that it is called after
    parts: Mapping[str, str]  # part → path; empty: no part can be read of it
    attributes: str = ""  # the path of an object of JSON
    others: tuple[str, ...] = ()

    def files(self) -> list[str]:
        """Return the paths of all of its files, the one that it is called after first."""
        return list(dict.fromkeys(filter(None, [self.path, *self.parts.values(), self.attributes, *self.others])))


def kind_of(path: str, source: params.Source) -> str | None:
    """Return how a file is read: a modality or a value of TABLES, by its suffix; None where it is unknown."""
    suffix, packed = suffixes(path)
    otherwise = "text" if "*" in source.text_suffixes else None
    if packed:
        return TABLES[suffix] if TABLES.get(suffix) in PACKED else otherwise
    return next((m for m in MODALITIES if suffix in source.suffixes(m)), None) or TABLES.get(suffix) or otherwise


def is_file(kind: str | None) -> bool:
    """Return whether a file of this kind is of a sample, rather than a table of them; one of no known kind is."""
    return kind not in TABLES.values()


class Scheme:
    """What params say of the files of a sample."""

    def __init__(self, source: params.Source) -> None:
        """Put suffixes in the order in which they are tried: the longest first."""
        self._source = source
        members = source.members if source.samples == "stem" else {}
        known = {suffix: part for suffix, part in members.items() if part in {*source.parts, ATTRIBUTES}}
        self._members = {suffix: known[suffix] for suffix in sorted(known, key=lambda suffix: (-len(suffix), suffix))}
        self._preferred = {suffix: place for place, suffix in enumerate(known)}

    def alone(self, path: str) -> Sample:
        """Return the sample that a file is by itself."""
        part = self.roles([path])[path]
        part = self._by_kind(path) if part == ATTRIBUTES else part
        return Sample(path, {part: path} if part else {})

    def gathered(self, paths: Iterable[str]) -> Iterator[Sample]:
        """Yield the samples that files of folders make, tables left out; each file is in one at least."""
        groups: dict[str, list[str]] = {}
        for path in paths:
            if is_file(kind_of(path, self._source)):
                groups.setdefault(self._stem(path), []).append(path)
        for group in groups.values():
            yield from self._of_one_stem(group) if len(group) > 1 else map(self.alone, group)

    def roles(self, paths: Collection[str]) -> dict[str, str | None]:
        """Return what each file of a sample is: a part, ATTRIBUTES, or None where params know no such part."""
        kinds = {path: self._by_kind(path) for path in paths}
        declared = {path: self._members.get(self.suffix(path)) for path in paths}
        if not any(self._is_blob(declared[path] or kinds[path]) for path in paths):
            declared = {path: None if part == CAPTION else part for path, part in declared.items()}
        return {path: declared[path] or kinds[path] for path in paths}

    def role(self, path: str) -> str | None:
        """Return what a file is beside something that can be captioned."""
        return self._members.get(self.suffix(path)) or self._by_kind(path)

    def suffix(self, path: str) -> str:
        """Return the longest suffix of a file that `source.members` has, else its last one."""
        name = posixpath.basename(path).lower()
        return next((suffix for suffix in self._members if name.endswith(suffix)), posixpath.splitext(name)[1])

    def _of_one_stem(self, paths: Collection[str]) -> Iterator[Sample]:
        """Yield the samples of one stem.

        Of the first part that is there each file has a sample, and these share what can stand beside it: of each other
        part the first file, attributes, and files of no part. A text stands beside nothing that is not declared to.
        """
        roles = self.roles(paths)
        texts = sorted(path for path, part in roles.items() if part and self._stands_alone(path, part))
        files: dict[str | None, list[str]] = {}
        for path in sorted({*paths} - {*texts}, key=lambda path: (self._preference(path), path)):
            files.setdefault(roles[path], []).append(path)
        others, (attributes, *_) = files.pop(None, []), files.pop(ATTRIBUTES, [""])
        if files:
            first = next(part for part in self._source.parts if part in files)
            mains = files.pop(first)
            found = [{first: path} | {str(part): path for part, (path, *_) in files.items()} for path in mains]
        else:
            mains, found = texts, [{roles[path] or "": path} for path in texts]
        samples = [Sample(*each, attributes, tuple(others)) for each in zip(mains, found, strict=True)]
        yield from samples
        yield from map(self.alone, sorted({*paths}.difference(*(sample.files() for sample in samples))))

    def _stem(self, path: str) -> str:
        suffix = self.suffix(path)
        return path if self._source.samples == "file" or not suffix else path[: -len(suffix)]

    def _stands_alone(self, path: str, part: str) -> bool:
        return part != ATTRIBUTES and not self._is_blob(part) and self._members.get(self.suffix(path)) != part

    def _preference(self, path: str) -> int:
        return self._preferred.get(self.suffix(path), len(self._preferred))

    def _by_kind(self, path: str) -> str | None:
        kind = kind_of(path, self._source)
        return next(iter(self._source.parts_of(kind)), None) if kind else None

    def _is_blob(self, part: str | None) -> bool:
        return self._source.parts.get(part or "", "text") != "text"


class Folders:
    """The samples below a root, found a folder at a time: the counterpart on disk of `Scheme.gathered`."""

    def __init__(self, root: Path, source: params.Source) -> None:
        """Look below `root`."""
        self.root, self.source = root, source
        self._scheme = Scheme(source)
        self._listed = functools.lru_cache(LISTED)(self._list)

    def sample(self, path: str) -> Sample:
        """Return the sample that is called after a file; the file alone where none is."""
        return self._listed(posixpath.dirname(path)).get(path) or self._scheme.alone(path)

    def beside(self, path: str) -> list[Sample]:
        """Return the samples of the folder that a file is in."""
        return list(self._listed(posixpath.dirname(path)).values())

    def _list(self, folder: str) -> dict[str, Sample]:
        try:
            with os.scandir(self.root / folder) as entries:
                names = [e.name for e in entries if not e.name.startswith(".") and not e.is_dir(follow_symlinks=False)]
        except OSError:  # whoever opens the file says so
            return {}
        return {sample.path: sample for sample in self._scheme.gathered(posixpath.join(folder, name) for name in names)}
