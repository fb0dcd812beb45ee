"""SimHash: 64 bits of a set of shingles, of which similar sets share most.

Source: Charikar, "Similarity estimation techniques from rounding algorithms", 2002; Manku, Jain and Das Sarma,
"Detecting near-duplicates for web crawling", 2007, who call texts of at most 3 different bits alike. Each shingle
counts once: by how often it comes, one that is repeated decides all bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.fingerprint.hashes import mix64

if TYPE_CHECKING:
    from dedupver.fingerprint.text import Sets

Codes = npt.NDArray[np.uint64]


def simhash(sets: Sets) -> Codes:
    """Return each set's code, shape (n, 1): a bit is set where most of the mixed hashes have it; 0 for no hash."""
    codes = np.zeros((len(sets), 1), np.uint64)
    _simhash(sets.offsets, sets.values, codes[:, 0])
    return codes


@njit(cache=True)
def _simhash(offsets: npt.NDArray[np.int64], values: npt.NDArray[np.uint32], codes: Codes) -> None:
    counts = np.empty(64, np.int64)
    for i in range(len(codes)):
        counts[:] = 0
        for value in values[offsets[i] : offsets[i + 1]]:
            bits = mix64(np.uint64(value))
            for k in range(64):
                counts[k] += (bits >> np.uint64(k)) & np.uint64(1)
        half = (offsets[i + 1] - offsets[i]) // 2
        for k in range(64):
            codes[i] |= np.uint64(counts[k] > half) << np.uint64(k)
