"""What records are told apart by: attributes, the strata these make, and what a record holds."""

from __future__ import annotations

import hashlib
import json
import posixpath
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dedupver.digests import of_parts, to_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from dedupver.digests import Digests, Rows

    Mask = npt.NDArray[np.bool_]


def attribute_of(live: pa.Table, name: str) -> pa.Array:
    """Return an attribute of each record: a column, or the folder that its file lies in."""
    if name != "folder":
        return live[name].combine_chunks()
    paths = live["path"].combine_chunks().dictionary_encode()
    folders = pa.array([posixpath.dirname(path) for path in paths.dictionary.to_pylist()], pa.string())
    return folders.take(paths.indices)


def strata_of(live: pa.Table, among: Mask, by: Sequence[str]) -> tuple[Rows, list[str]]:
    """Return the number of each record's stratum, -1 for those not `among`, and the strata as JSON, in order."""
    rows = np.flatnonzero(among)
    number, values = np.zeros(len(rows), np.int64), [dict[str, str | None]()] if len(rows) else []
    for name in by:
        column = attribute_of(live, name).take(pa.array(rows)).dictionary_encode(null_encoding="encode")
        width = max(len(column.dictionary), 1)
        distinct, number = np.unique(number * width + column.indices.to_numpy(), return_inverse=True)
        words = column.dictionary.to_pylist()
        values = [values[code // width] | {name: words[code % width]} for code in distinct.tolist()]
    texts = [json.dumps(list(value.values()), ensure_ascii=False) for value in values]
    place = sorted(range(len(texts)), key=texts.__getitem__)
    rank = np.empty(len(texts), np.int64)
    rank[place] = np.arange(len(texts))
    found = np.full(len(among), -1, np.int64)
    found[rows] = rank[number] if len(rows) else number
    return found, [texts[at] for at in place]


def contents(live: pa.Table, names: Sequence[str]) -> pa.Array:
    """Return a digest of what each record holds: of one part its content, of several a digest of their names and those.

    It says nothing of where a record lies or what it is called.
    """
    digests, record, part = of_parts(live["parts"], "content", names)
    found = np.zeros((live.num_rows, 32), np.uint8)
    found[record] = digests
    several = np.flatnonzero(np.bincount(record, minlength=live.num_rows) > 1)
    order = np.lexsort((part, record))
    starts = np.searchsorted(record[order], several)
    stops = np.searchsorted(record[order], several, side="right")
    for row, start, stop in zip(several.tolist(), starts.tolist(), stops.tolist(), strict=True):
        found[row] = _of_several(digests, [names[at] for at in part[order[start:stop]]], order[start:stop])
    return to_column(found)


def _of_several(digests: Digests, names: Sequence[str], rows: Rows) -> Digests:
    told = b"".join(
        name.encode() + b"\0" + digests[row].tobytes() for name, row in sorted(zip(names, rows, strict=True))
    )
    return np.frombuffer(hashlib.sha256(told).digest(), np.uint8)
