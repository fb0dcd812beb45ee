"""Normal forms → shingle sets; compiled where numpy needs many passes.

The kernels run on one thread: a worker is a process, and there is one for each core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.fingerprint.hashes import SOME, drop_repeats, mix64, sort
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.tokens import ALONE, GAP, MARK, PAIRED, WORD, Classes, class_at, classes

if TYPE_CHECKING:
    from dedupver.fingerprint.strings import Strings

_NEWLINE: Final = 10

# FNV-1a's published offset and prime; an odd 64-bit base for the polynomial over tokens (the golden ratio's fraction).
FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
FNV_PRIME: Final = np.uint64(0x100000001B3)
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)


Sets = Ragged
"""Sets of 32-bit hashes: each row is ascending and distinct."""


def shingle_sets(texts: Strings, size: int, min_tokens: int, tokens: str = "words") -> Sets:
    """Return each normalised text's set of shingles: hashes of every `size` consecutive tokens; n sets.

    A text of fewer than `min_tokens` tokens gets the empty set, which matches nothing; one of fewer than `size` tokens
    gets one shingle of all it has. `tokens` says what a token is, as `tokens.classes` has it.
    Source: Broder, "On the resemblance and containment of documents", 1997.
    """
    table = classes(tokens)
    narrowest = 1 if (table[:128] == ALONE).any() else 2  # bytes of a token, with what ends it
    most = texts.sizes // narrowest + 1
    offsets = np.zeros(len(texts) + 1, np.int64)
    values = np.empty(most.sum(), np.uint32)
    scratch = np.empty(most.max(initial=0), np.uint32), np.empty(most.max(initial=0), np.uint64)
    _shingle_all(texts.buffer, texts.starts, texts.stops, table, size, min_tokens, offsets, values, *scratch)
    return Sets(offsets, values[: offsets[-1]].copy())


def ngrams(texts: Strings, size: int, tokens: str = "words") -> Ragged:
    """Return the distinct hashes (uint64, ascending) of every `size` consecutive tokens of each normalised text.

    A text of fewer tokens has none. Source: the n-gram overlap of GPT-3's appendix C, by hashes of 64 bits.
    """
    table = classes(tokens)
    most = texts.sizes // (1 if (table[:128] == ALONE).any() else 2) + 1
    offsets, values = np.zeros(len(texts) + 1, np.int64), np.empty(most.sum(), np.uint64)
    scratch = np.empty(most.max(initial=0), np.uint64)
    _ngram_all(texts.buffer, texts.starts, texts.stops, table, size, offsets, values, scratch)
    return Ragged(offsets, values[: offsets[-1]].copy())


@njit(cache=True)
def _ngram_all(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    table: Classes,
    size: int,
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.uint64],
    hashes: npt.NDArray[np.uint64],
) -> None:
    leaving = _BASE
    for _ in range(size - 1):
        leaving *= _BASE
    for i in range(len(starts)):
        count = _hash_tokens(buffer[starts[i] : stops[i]], table, hashes)
        found, written, rolled = values[offsets[i] :], 0, np.uint64(0)
        for at in range(count):
            rolled = rolled * _BASE + hashes[at]
            if at >= size:
                rolled -= hashes[at - size] * leaving
            if at >= size - 1:
                found[written] = mix64(rolled)
                written += 1
        found[:written].sort()
        kept = 0
        for at in range(written):
            if at == 0 or found[at] != found[kept - 1]:
                found[kept] = found[at]
                kept += 1
        offsets[i + 1] = offsets[i] + kept


@njit(cache=True)
def _shingle_all(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    table: Classes,
    size: int,
    min_tokens: int,
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.uint32],
    scratch: npt.NDArray[np.uint32],
    hashes: npt.NDArray[np.uint64],
) -> None:
    counts = np.empty(SOME, np.int64)
    for i in range(len(starts)):
        found = values[offsets[i] :]
        tokens = hashes[: _hash_tokens(buffer[starts[i] : stops[i]], table, hashes)]
        found = found[: _hash_runs(tokens, size, found)] if len(tokens) >= min_tokens else found[:0]
        sort(found, scratch, counts)
        offsets[i + 1] = offsets[i] + drop_repeats(found)


@njit(cache=True)
def _hash_tokens(text: npt.NDArray[np.uint8], table: Classes, out: npt.NDArray[np.uint64]) -> int:
    """Write the mixed hash (FNV-1a) of each token; return how many there are."""
    token, before, count = FNV_OFFSET, np.uint64(0), 0
    kind = inside = GAP  # the class of the character, and of the token it may be of
    for at in range(len(text) + 1):
        byte = text[at] if at < len(text) else np.uint8(_NEWLINE)  # the last token ends like the others
        if byte < 0x80:
            kind = table[byte]
        elif byte >= 0xC0:
            kind = class_at(text, at, table)
        if inside != GAP and byte & 0xC0 != 0x80 and kind <= PAIRED and not (kind == inside == WORD):
            token = mix64(token)
            out[count] = mix64(before * _BASE + token) if inside == PAIRED else token
            before = token if inside == PAIRED else np.uint64(0)
            token, inside, count = FNV_OFFSET, GAP, count + 1
        if kind == GAP:
            before = np.uint64(0)
        elif kind <= PAIRED or (kind == MARK and inside != GAP):
            token = (token ^ np.uint64(byte)) * FNV_PRIME
            inside = inside if kind == MARK else kind
    return count


@njit(cache=True)
def _hash_runs(tokens: npt.NDArray[np.uint64], size: int, out: npt.NDArray[np.uint32]) -> int:
    """Write the mixed 32 bits of the hash of each run of tokens (a polynomial, rolled); return how many there are."""
    leaving = _BASE
    for _ in range(size - 1):
        leaving *= _BASE
    rolled, written = np.uint64(0), 0
    for at in range(len(tokens)):
        rolled = rolled * _BASE + tokens[at]
        if at >= size:
            rolled -= tokens[at - size] * leaving
        if at >= size - 1 or at == len(tokens) - 1:
            out[written] = mix64(rolled) >> np.uint64(32)
            written += 1
    return written
