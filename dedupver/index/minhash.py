"""MinHash: signatures of sets of 32-bit hashes.

Source: Broder et al., "Min-wise independent permutations", 1998; the scheme is datasketch's `affine32`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit

if TYPE_CHECKING:
    from dedupver.fingerprint.text import Sets

Values = npt.NDArray[np.uint32]

EMPTY: Final = np.uint32(0xFFFFFFFF)
"""Each value of the empty set's signature."""


def minhash(sets: Sets, num_perm: int, seed: int) -> Values:
    """Return the signature of each set, shape (n, num_perm); all EMPTY for the empty set.

    Bit for bit datasketch 2's MinHash(num_perm, seed, scheme="affine32") updated with the same 32-bit values: the value
    through murmur3's finaliser, then a·h + b mod 2³² with odd a.
    """
    signatures = np.full((len(sets), num_perm), EMPTY)
    a, b = permutations(num_perm, seed)
    for row, signature in enumerate(signatures):
        lower(signature, sets.values[sets.offsets[row] : sets.offsets[row + 1]], a, b)
    return signatures


def permutations(count: int, seed: int) -> tuple[Values, Values]:
    """Return the factors a and the summands b of `count` permutations, both of shape (count,)."""
    random = np.random.RandomState(seed)  # the generator of the published scheme
    a = random.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, random.randint(0, 1 << 32, count, dtype=np.uint32)


@njit(cache=True, nogil=True)
def lower(signature: Values, values: Values, a: Values, b: Values) -> None:
    """Lower a signature to the least of a set's values under each permutation, in compiled code."""
    at = 0
    while at + 4 <= len(values):  # four at a time: each permutation is loaded once for them
        h0, h1 = _mix32(values[at]), _mix32(values[at + 1])
        h2, h3 = _mix32(values[at + 2]), _mix32(values[at + 3])
        for k in range(len(signature)):  # innermost, so that it becomes vector instructions
            low = min(np.uint32(a[k] * h0 + b[k]), np.uint32(a[k] * h1 + b[k]))
            signature[k] = min(signature[k], low, np.uint32(a[k] * h2 + b[k]), np.uint32(a[k] * h3 + b[k]))
        at += 4
    for value in values[at:]:
        h = _mix32(value)
        for k in range(len(signature)):
            signature[k] = min(signature[k], np.uint32(a[k] * h + b[k]))


@njit(cache=True, nogil=True)
def _mix32(h: np.uint32) -> np.uint32:
    # murmur3's finaliser, as in the published scheme
    h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
    return np.uint32(h ^ (h >> np.uint32(16)))
