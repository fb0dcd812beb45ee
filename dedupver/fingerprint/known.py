"""What the base knows of the bytes and the contents it has met, without a Python object for each."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dedupver import store
from dedupver.digests import Lookup, Rows, first_of_each, of_column
from dedupver.fingerprint.rows import Found
from dedupver.schema import CONTENT, MODALITIES, SIZES

if TYPE_CHECKING:
    from pathlib import Path


class Known:
    """The contents of the base's segments: strings of bytes → normalised contents, and which of those are printed."""

    def __init__(self, table: pa.Table) -> None:
        """Take a table of schema CONTENT."""
        modalities = {modality: table.filter(pc.equal(table["modality"], modality)) for modality in MODALITIES}
        self.bytes = {modality: Lookup(of_column(rows["sha256"])) for modality, rows in modalities.items()}
        self._content = {modality: of_column(rows["content"]) for modality, rows in modalities.items()}
        self._size = {
            modality: np.stack([rows[size].to_numpy() for size in SIZES], axis=1)
            for modality, rows in modalities.items()
        }
        every = of_column(table["content"])
        self.contents = Lookup(every[first_of_each(every)])

    def found(self, modality: str, rows: Rows) -> Found:
        """Return what is in strings that `bytes` has."""
        return Found(self._content[modality][rows], self._size[modality][rows], np.full(len(rows), -1))


@functools.lru_cache(maxsize=1)
def open_known(paths: tuple[Path, ...]) -> Known:
    """Read the contents.parquet of each segment; once in a process."""
    return Known(pa.concat_tables([CONTENT.empty_table(), *(store.read_table(path, CONTENT) for path in paths)]))
