"""The objects below a URL as a table that a source can hold: a line of JSON for each sample, with digests."""

from __future__ import annotations

import hashlib
import json
import posixpath
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from dedupver import store
from dedupver.records import remote
from dedupver.records.jsonl import JsonLines
from dedupver.records.paths import BOM, source_of, split_of
from dedupver.records.samples import Scheme, is_file, kind_of
from dedupver.schema import SourceError, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from dedupver import params
    from dedupver.records.samples import Sample

OTHERS = "others"
"""The field of what comes along with a sample and is no part of it."""


class Listed(NamedTuple):
    """What was listed."""

    samples: int
    objects: int
    bytes: int
    left_out: list[str]  # the URLs of tables and archives


def write_listing(url: str, out: Path, source: params.Source) -> Listed:
    """Read every object below a URL once and write a line of JSON for each sample, ordered by path.

    A line has the sample's path as `id`, the source and split that the path says, the fields of its attributes, and for
    each part an object of `url`, `size` and `sha256`. Tables and archives are left out: DVC imports them.
    Raises SourceError that names what can't be read.
    """
    unknown = sorted(set(map(remote.protocol, url.split("::"))) - {*source.protocols})
    if unknown:
        raise SourceError(f"{url}: source.protocols has no {unknown[0] or 'local path'!r}, so no row could name it")
    urls = remote.attempted(lambda: _below(url), url)
    if not urls:
        raise SourceError(f"{url} holds nothing")
    files = [path for path in urls if is_file(kind_of(path, source))]
    samples = sorted(Scheme(source).gathered(files), key=lambda sample: sample.path)
    listing = _Listing(urls, source)
    with ThreadPoolExecutor(remote.FETCHES) as pool, store.replacing(out) as place, place.open("wb") as file:
        for row in pool.map(listing.row, samples):
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    sizes = listing.sizes.values()
    return Listed(len(samples), len(sizes), sum(sizes), [urls[path] for path in sorted(urls.keys() - {*files})])


class _Listing:
    """Rows of samples, and the objects that were read for them."""

    def __init__(self, urls: dict[str, str], source: params.Source) -> None:
        self._urls, self._source = urls, source
        self.sizes: dict[str, int] = {}  # by path

    def row(self, sample: Sample) -> dict[str, Any]:
        columns = self._source.columns
        row = self._attributes(sample.attributes) if sample.attributes else {}
        row.setdefault(columns.source or "source", source_of(sample.path))
        row.setdefault(columns.split or "split", split_of(sample.path, self._source))
        row.setdefault(columns.id or "id", sample.path)
        others = sample.others if sample.parts else (sample.path,)
        row[OTHERS] = [self._object(path) for path in others]
        return row | {columns.of(part) or part: self._object(path) for part, path in sample.parts.items()}

    def _attributes(self, path: str) -> dict[str, Any]:
        def read() -> bytes:
            with remote.opened(self._urls[path]) as file:
                data: bytes = file.read(self._source.max_text_bytes)
                return data

        data = remote.attempted(read, self._urls[path])
        self.sizes[path] = len(data)
        try:
            JsonLines(self._source.max_json_depth).parse(data.removeprefix(BOM))
        except Unreadable as verdict:
            raise SourceError(f"{self._urls[path]} holds no attributes: {verdict}. Mend or remove it") from verdict
        found: dict[str, Any] = json.loads(data)
        return found

    def _object(self, path: str) -> dict[str, Any]:
        """Return what a row says of an object, which is read as a stream."""

        def read() -> tuple[int, str]:
            digest, size = hashlib.sha256(), 0
            with remote.opened(self._urls[path]) as file:
                while piece := file.read(remote.PIECE):
                    digest.update(piece)
                    size += len(piece)
            return size, digest.hexdigest()

        size, sha256 = remote.attempted(read, self._urls[path])
        self.sizes[path] = size
        return {"url": self._urls[path], "size": size, "sha256": sha256}


def _below(url: str) -> dict[str, str]:
    """Return the URL of each object that is not hidden, by its path below a URL."""
    files, root = remote.file_system(url)
    _, *chain = url.split("::")
    found = {}
    for name in sorted(files.find(root)):
        path = posixpath.basename(name) if name == root else name.removeprefix(root).lstrip("/")
        if not any(part.startswith(".") for part in path.split("/")):
            found[path] = "::".join([files.unstrip_protocol(name), *chain])
    return found
