"""Chromaprint as a peer: what `fpcalc` prints, compared in the two ways that are usual.

`errors` is 1 - bit error rate at the best offset, times the share of the longer print that overlaps; 32 random bits agree
in half. `codes` is pyacoustid's `compare_fingerprints` (1.3.1): of the codes of the shorter print the share that differ in
at most two bits from the one across, at the best of 120 offsets to both sides.
"""

from __future__ import annotations

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads
from dedupver.fingerprint.ragged import Ragged
from dedupver.index.sequences import similarity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLOOR: Final = {"errors": 0.7, "codes": 0.3}
SHORT: Final = 2.6 * 1650  # bytes of GSM
ALIGN: Final = 120  # codes, pyacoustid's MAX_ALIGN_OFFSET

Print = npt.NDArray[np.uint32]


def compared(files: Sequence[Path]) -> dict[str, Any]:
    """Print files and compare all pairs; return the names that have a print, seconds, and scores by comparison."""
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        prints = dict(zip([path.name for path in files], pool.map(printed, files), strict=True))
    seconds = round(time.monotonic() - started, 1)
    names = [name for name, codes in prints.items() if len(codes)]
    rows = Ragged.of_rows([prints[name] for name in names])
    scores = {}
    for way, score in (("errors", errors), ("codes", codes)):
        left, right = np.triu_indices(len(names), 1)
        found = score(rows, left, right)
        good = np.flatnonzero(found >= FLOOR[way])
        scores[way] = {(names[left[i]], names[right[i]]): float(found[i]) for i in good}
    return {"printed": names, "seconds": seconds, "scores": scores}


def printed(path: Path) -> Print:
    """Return the codes of a file; none where it is too short for one (2.6 s), as are some for FFmpeg to tell a GSM."""
    command = ["fpcalc", "-raw", "-json", "-length", "0", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.stdout:  # it calls the end of most formats an error, and prints all the same
        return np.array(json.loads(done.stdout)["fingerprint"], np.int64).astype(np.uint32)
    if b"Empty fingerprint" not in done.stderr and not (path.suffix == ".gsm" and path.stat().st_size < SHORT):
        raise RuntimeError(f"fpcalc can't read {path}: {done.stderr.decode()}")
    return np.empty(0, np.uint32)


def errors(rows: Ragged, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return the share of bits that agree, out of the longer; 0 where the lengths alone rule the floor out."""
    sizes, found = rows.sizes, np.zeros(len(left))
    near = np.minimum(sizes[left], sizes[right]) >= FLOOR["errors"] * np.maximum(sizes[left], sizes[right])
    found[near] = similarity(rows, left[near], rows, right[near], FLOOR["errors"])
    return found


def codes(rows: Ragged, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return the share of codes that agree, out of the shorter."""
    found = np.zeros(len(left))

    def score(some: npt.NDArray[np.int64]) -> None:
        _score(rows.offsets, rows.values, left, right, some, found)

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(score, np.array_split(np.arange(len(left)), 1000)))
    return found


@njit(nogil=True)
def _score(offsets, values, left, right, some, found):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202, PLR0913, PLR0917
    for row in some:
        a = values[offsets[left[row]] : offsets[left[row] + 1]]
        b = values[offsets[right[row]] : offsets[right[row] + 1]]
        best = 0
        for shift in range(1 - ALIGN, ALIGN + 1):  # i - j, as pyacoustid has it: one end is left out
            count = 0
            for j in range(max(0, -shift), min(len(b), len(a) - shift)):
                bits = a[j + shift] ^ b[j]
                bits &= bits - np.uint32(1)  # without its last bit that is set; 0 & -1 is 0
                bits &= bits - np.uint32(1)
                count += bits == 0
            best = max(best, count)
        found[row] = best / min(len(a), len(b))
