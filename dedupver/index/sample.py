"""A few rows of tables with all rows of a segment, by brute force: what the search of rows is measured against.

The sample is inverted: the hashes of each row are read once, and each is looked up among those of the sample. It shares
no code with `fields.similarity`, and gives the same scores to the last bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit, threads
from dedupver.fingerprint.fields import HASH_BITS
from dedupver.fingerprint.ragged import Ragged
from dedupver.index.sets import Postings, may_hold, shift_of

if TYPE_CHECKING:
    from dedupver.index.fields import Comparison, Fields

Rows = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
Scores = npt.NDArray[np.float32]

_BLOCK: Final = 4_096  # rows that a thread compares at a time


class Sample(NamedTuple):
    """Some rows of a segment, c of them, inverted: for the kernel."""

    present: npt.NDArray[np.uint32]  # as Postings has it, like the next three
    directory: Rows
    values: npt.NDArray[np.uint32]
    owner: Rows
    sizes: Rows  # (k, c), of the set of each field
    numbers: Numbers  # (j, c)

    @classmethod
    def of(cls, rows: Fields, chosen: Rows, how: Comparison) -> Self:
        """Invert some rows."""
        held = Postings.of(Ragged(rows.offsets, rows.values), chosen)
        sizes = np.zeros((len(how.weight), len(chosen)), np.int64)
        np.add.at(sizes, (held.values >> np.uint32(HASH_BITS), held.owner), 1)
        return cls(held.present, held.directory, held.values, held.owner, sizes, rows.numbers[chosen].T.copy())


def neighbours(  # noqa: PLR0913 - a measurement has this many settings
    sample: Sample, rows: Fields, how: Comparison, *, floor: float, cap: int, own: Rows | None
) -> tuple[Rows, Rows, Scores]:
    """Return (place in the sample, row, similarity) of each pair at or above `floor`, ascending.

    Of each of the sample come the first `cap` rows but its own, where `own`, shape (c,), says which that is.
    """
    count, chosen = len(rows.offsets) - 1, sample.sizes.shape[1]
    own = np.full(chosen, -1) if own is None else own

    def compare(begin: int) -> tuple[Rows, Rows, Scores]:
        end = min(begin + _BLOCK, count)
        found: tuple[Rows, Rows, Scores] = _neighbours(sample, rows, begin, end, how, np.float32(floor), own, cap)
        return found

    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    with ThreadPoolExecutor(threads()) as pool:
        parts = [nothing, *pool.map(compare, range(0, count, _BLOCK))]
    place, row, score = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(place, kind="stable")
    place, row, score = place[order], row[order], score[order]
    first = np.arange(len(place)) - np.searchsorted(place, place) < cap
    return place[first], row[first], score[first]


@njit(cache=True, nogil=True)
def _neighbours(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    sample: Sample,
    rows: Fields,
    begin: int,
    end: int,
    how: Comparison,
    floor: np.float32,
    own: Rows,
    cap: int,
) -> tuple[Rows, Rows, Scores]:
    fields, chosen = sample.sizes.shape
    common, sizes = np.empty((fields, chosen), np.int64), np.empty(fields, np.int64)
    sums, listed = np.empty((3, chosen)), np.zeros(chosen, np.int64)
    places, found, scores, n = np.empty(64, np.int64), np.empty(64, np.int64), np.empty(64, np.float32), 0
    for row in range(begin, end):
        _count(sample, rows.values[rows.offsets[row] : rows.offsets[row + 1]], common, sizes)
        sums[:] = 0
        for f in range(fields):
            if how.number[f] < 0:
                _add_sets(common[f], sizes[f], sample.sizes[f], how.exact[f], how.weight[f], how.missing[f], sums)
            else:
                column = how.number[f]
                _add_numbers(
                    rows.numbers[row, column],
                    sample.numbers[column],
                    how.tolerance[f],
                    how.weight[f],
                    how.missing[f],
                    sums,
                )
        for place in range(chosen):
            total, weight, shared = sums[0, place], sums[1, place], sums[2, place]
            if shared < how.least or weight <= 0 or row == own[place] or listed[place] == cap:
                continue
            score = np.float32(total / weight)
            if score >= floor:
                if n == len(found):
                    places, found = np.concatenate((places, places)), np.concatenate((found, found))
                    scores = np.concatenate((scores, scores))
                places[n], found[n], scores[n] = place, row, score
                n, listed[place] = n + 1, listed[place] + 1
    return places[:n].copy(), found[:n].copy(), scores[:n].copy()


@njit(cache=True, nogil=True)
def _count(sample: Sample, values: npt.NDArray[np.uint32], common: Rows, sizes: Rows) -> None:
    """Count the hashes of each field of a row, and those that it shares with each of the sample."""
    shift = shift_of(sample.directory)
    common[:], sizes[:] = 0, 0
    for value in values:
        field = value >> np.uint32(HASH_BITS)
        sizes[field] += 1
        if may_hold(sample.present, value):
            slot = value >> np.uint32(shift)
            for k in range(sample.directory[slot], sample.directory[slot + np.uint32(1)]):
                common[field, sample.owner[k]] += sample.values[k] == value


@njit(cache=True, nogil=True)
def _add_sets(  # noqa: PLR0913, PLR0917 - as above
    common: Rows, size: int, sizes: Rows, exact: bool, weight: float, missing: float, sums: Numbers
) -> None:
    """Add a field with sets to the weighted sums, the weights and the shared weights."""
    counts = not np.isnan(missing)
    for place in range(len(sizes)):
        if size and sizes[place]:
            alike = 2 * common[place] / (size + sizes[place])
            sums[0, place] += weight * (alike if not exact else np.floor(alike))
            sums[1, place] += weight
            sums[2, place] += weight
        elif counts and (size or sizes[place]):
            sums[0, place] += weight * missing
            sums[1, place] += weight


@njit(cache=True, nogil=True)
def _add_numbers(  # noqa: PLR0913, PLR0917 - as above
    number: float, numbers: Numbers, tolerance: float, weight: float, missing: float, sums: Numbers
) -> None:
    """Add a field with numbers."""
    counts = not np.isnan(missing)
    for place in range(len(numbers)):
        lacking = np.isnan(number) + np.isnan(numbers[place])
        if lacking == 0:
            alike = min(max(2 - abs(number - numbers[place]) / tolerance, 0.0), 1.0)
            sums[0, place] += weight * alike
            sums[1, place] += weight
            sums[2, place] += weight
        elif counts and lacking == 1:
            sums[0, place] += weight * missing
            sums[1, place] += weight
