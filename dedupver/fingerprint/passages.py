"""Lines and paragraphs of texts as hashes, to count over all records what stands in many of them.

They go by the bytes of a text, not by its content, which is the same however its lines are broken. A line ends where
the text says so; a paragraph is two and more of them between blank ones. Each is hashed in its normal form, so that a
paragraph is the same whatever the width it was set to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.fingerprint.hashes import mix64
from dedupver.fingerprint.normal import normal_forms
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.strings import Strings
from dedupver.fingerprint.text import FNV_OFFSET, FNV_PRIME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dedupver.digests import Rows

Hashes = npt.NDArray[np.uint64]

PARAGRAPH: Final = np.uint64(1)
"""The lowest bit of a paragraph's hash; a line's has none."""

_NEWLINE: Final = 10
_SPACE: Final = np.uint64(32)
_BLOCK: Final = 8 << 20  # bytes of text of which lines are held at a time


class Passages(NamedTuple):
    """The distinct passages of each text, in ascending order of hash, and how many characters each has."""

    hash: Ragged  # uint64
    chars: Ragged  # uint32


def passages(texts: Strings, least: int) -> Passages:
    """Return the lines and paragraphs of texts (UTF-8, not normalised) that have at least so many characters."""
    parts = [_of_some(texts.take(rows), least) for rows in _blocks(texts.sizes)]
    return Passages(*(Ragged.joined(each) for each in zip(*parts, strict=True)))


def _blocks(sizes: npt.NDArray[np.int64]) -> Iterator[Rows]:
    block = np.cumsum(sizes) // _BLOCK
    yield from np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(block)) + 1)


def _of_some(texts: Strings, least: int) -> Passages:
    lines, first = _lines(texts)
    forms, chars = normal_forms(lines)
    most = 2 * len(lines)
    owner, hashes, sizes = np.empty(most, np.int64), np.empty(most, np.uint64), np.empty(most, np.uint32)
    count = _hash(forms.buffer, forms.starts, forms.stops, chars, first, least, owner, hashes, sizes)
    owner, hashes, sizes = owner[:count], hashes[:count], sizes[:count]
    order = np.lexsort((hashes, owner))
    owner, hashes, sizes = owner[order], hashes[order], sizes[order]
    fresh = np.ones(count, np.bool_)
    fresh[1:] = (owner[1:] != owner[:-1]) | (hashes[1:] != hashes[:-1])
    offsets = np.append(0, np.cumsum(np.bincount(owner[fresh], minlength=len(texts))))
    return Passages(Ragged(offsets, hashes[fresh]), Ragged(offsets, sizes[fresh]))


def _lines(texts: Strings) -> tuple[Strings, Rows]:
    """Return the lines of all texts, and the first line of each text; shape (n + 1,)."""
    first = np.zeros(len(texts) + 1, np.int64)
    _count(texts.buffer, texts.starts, texts.stops, first)
    first = np.cumsum(first)
    starts, stops = np.empty(first[-1], np.int64), np.empty(first[-1], np.int64)
    _cut(texts.buffer, texts.starts, texts.stops, starts, stops)
    return Strings(texts.buffer, starts, stops), first


@njit(cache=True)
def _count(buffer: npt.NDArray[np.uint8], starts: Rows, stops: Rows, counts: Rows) -> None:
    for i in range(len(starts)):
        counts[i + 1] = 1
        for byte in buffer[starts[i] : stops[i]]:
            counts[i + 1] += byte == _NEWLINE


@njit(cache=True)
def _cut(buffer: npt.NDArray[np.uint8], starts: Rows, stops: Rows, begins: Rows, ends: Rows) -> None:
    at = 0
    for i in range(len(starts)):
        begins[at] = starts[i]
        for place in range(starts[i], stops[i]):
            if buffer[place] == _NEWLINE:
                ends[at] = place
                at += 1
                begins[at] = place + 1
        ends[at] = stops[i]
        at += 1


@njit(cache=True)
def _hash(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    buffer: npt.NDArray[np.uint8],
    starts: Rows,
    stops: Rows,
    chars: Rows,
    first: Rows,
    least: int,
    owner: Rows,
    hashes: Hashes,
    sizes: npt.NDArray[np.uint32],
) -> int:
    """Write what is long enough, of each text its lines and paragraphs (FNV-1a, mixed); return how many there are."""
    count = 0
    for text in range(len(first) - 1):
        whole, lines, size = FNV_OFFSET, 0, 0  # of the paragraph so far
        for i in range(first[text], first[text + 1] + 1):
            if i == first[text + 1] or chars[i] == 0:
                if lines > 1 and size >= least:
                    owner[count], hashes[count], sizes[count] = text, mix64(whole) | PARAGRAPH, size
                    count += 1
                whole, lines, size = FNV_OFFSET, 0, 0
                continue
            if lines:
                whole, size = (whole ^ _SPACE) * FNV_PRIME, size + 1
            line = FNV_OFFSET
            for byte in buffer[starts[i] : stops[i]]:
                line = (line ^ np.uint64(byte)) * FNV_PRIME
                whole = (whole ^ np.uint64(byte)) * FNV_PRIME
            lines, size = lines + 1, size + chars[i]
            if chars[i] >= least:
                owner[count], hashes[count], sizes[count] = text, mix64(line) & ~PARAGRAPH, chars[i]
                count += 1
    return count
