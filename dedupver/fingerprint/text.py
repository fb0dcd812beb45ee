"""Texts → normal form, content digest, shingle sets, MinHash signatures; compiled where numpy needs many passes."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from numba import njit, prange

if TYPE_CHECKING:
    from collections.abc import Sequence

# A token is a maximal run of these bytes of UTF-8: [A-Za-z0-9_] and everything outside ASCII.
_WORD: Final = np.array([not c.isascii() or c.isalnum() or c == "_" for c in map(chr, range(256))])
_CHUNK: Final = 32  # texts a thread takes at a time; they share its scratch
_FEW: Final = 48  # below this, sorting by insertion beats sorting by digits
_EMPTY: Final = np.uint32(0xFFFFFFFF)

# FNV-1a's published offset and prime; an odd 64-bit base for the polynomial over tokens (the golden ratio's fraction).
_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, eq=False)
class Sets:
    """Sets of 32-bit hashes in CSR form: set i is `values[offsets[i]:offsets[i + 1]]`, ascending and distinct."""

    offsets: npt.NDArray[np.int64]  # (n + 1,)
    values: npt.NDArray[np.uint32]  # (m,)

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self.offsets) - 1


def normalize(text: str) -> str:
    """Return the text's normal form: NFC, case-folded, runs of white space as one space, none at the ends.

    Idempotent. Source: Unicode's canonical caseless matching (The Unicode Standard, section 3.13, D145), in NFC.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    # folding decomposes some letters (j with caron), so the result is composed again
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(folded.split())


def content_digest(normalized: str) -> bytes:
    """Return the sha256 (32 bytes) of a normal form's UTF-8; UnicodeEncodeError for a lone surrogate."""
    return hashlib.sha256(normalized.encode()).digest()


def shingle_sets(texts: Sequence[str], size: int, min_tokens: int) -> Sets:
    """Return each normalised text's set of shingles: hashes of every `size` consecutive tokens; n sets.

    A text of fewer than `min_tokens` tokens gets the empty set, which matches nothing; one of fewer than `size` tokens
    gets one shingle of all it has. UnicodeEncodeError for a lone surrogate. Source: Broder, "On the resemblance and
    containment of documents", 1997.
    """
    encoded = [text.encode() for text in texts]
    starts = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(text) + 1 for text in encoded], out=starts[1:])
    # each text is followed by a byte that is in no token, so that the last token ends like the others
    buffer = np.frombuffer(b"\n".join([*encoded, b""]), np.uint8)
    return Sets(*_shingle_sets(buffer, starts, size, min_tokens))


def minhash(sets: Sets, num_perm: int, seed: int) -> npt.NDArray[np.uint32]:
    """Return the MinHash signature of each set, shape (n, num_perm); all 0xFFFFFFFF for the empty set.

    Bit for bit datasketch 2's MinHash(num_perm, seed, scheme="affine32") updated with the same 32-bit values: the value
    through murmur3's finaliser, then a·h + b mod 2³² with odd a. Source: Broder et al., "Min-wise independent
    permutations", 1998; the scheme is datasketch's.
    """
    random = np.random.RandomState(seed)  # the generator of the published scheme
    a = random.randint(0, 1 << 31, num_perm, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = random.randint(0, 1 << 32, num_perm, dtype=np.uint32)
    signatures = np.full((len(sets), num_perm), _EMPTY)
    _minhash(np.ascontiguousarray(sets.offsets), np.ascontiguousarray(sets.values), a, b, signatures)
    return signatures


def _shingle_sets(
    buffer: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], size: int, min_tokens: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    # a token takes two bytes at least, with what ends it: room for text i begins at starts[i] // 2
    slots = np.empty(len(buffer) // 2 + 1, np.uint32)
    sizes = np.zeros(len(starts) - 1, np.int64)
    _fill_slots(buffer, starts, size, min_tokens, slots, sizes)
    offsets = np.zeros(len(starts), np.int64)
    np.cumsum(sizes, out=offsets[1:])
    values = np.empty(offsets[-1], np.uint32)
    _compact(slots, starts, offsets, values)
    return offsets, values


@njit(cache=True, nogil=True, parallel=True)
def _fill_slots(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    buffer: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    size: int,
    min_tokens: int,
    slots: npt.NDArray[np.uint32],
    sizes: npt.NDArray[np.int64],
) -> None:
    n = len(sizes)
    for chunk in prange((n + _CHUNK - 1) // _CHUNK):
        first, last = chunk * _CHUNK, min(n, (chunk + 1) * _CHUNK)
        recent = np.empty(size, np.uint64)
        counts = np.empty((4, 256), np.int64)
        scratch = np.empty(np.diff(starts[first : last + 1]).max() // 2 + 1, np.uint32)
        for i in range(first, last):
            begin, end = starts[i] // 2, starts[i + 1] // 2
            found = _shingle(buffer[starts[i] : starts[i + 1]], recent, min_tokens, slots[begin:end])
            _sort(slots[begin : begin + found], scratch[:found], counts)
            sizes[i] = _drop_repeats(slots[begin : begin + found])


@njit(cache=True, nogil=True)
def _shingle(
    text: npt.NDArray[np.uint8], recent: npt.NDArray[np.uint64], min_tokens: int, out: npt.NDArray[np.uint32]
) -> int:
    """Hash each token (FNV-1a), each run of tokens (a polynomial, rolled), and write the mixed 32 bits of each run."""
    size = len(recent)
    leaving = _BASE
    for _ in range(size - 1):
        leaving *= _BASE
    recent[:] = 0
    rolled, token, inside = np.uint64(0), _FNV_OFFSET, False
    tokens = slot = written = 0
    for byte in text:
        if _WORD[byte]:
            token = (token ^ np.uint64(byte)) * _FNV_PRIME
            inside = True
        elif inside:
            token = _mix64(token)
            rolled = rolled * _BASE + token - recent[slot] * leaving
            recent[slot] = token
            slot = slot + 1 if slot + 1 < size else 0
            tokens += 1
            if tokens >= size:
                out[written] = _mix64(rolled) >> np.uint64(32)
                written += 1
            token, inside = _FNV_OFFSET, False
    if tokens < max(min_tokens, 1):
        return 0
    if tokens < size:
        out[0] = _mix64(rolled) >> np.uint64(32)
        return 1
    return written


@njit(cache=True, nogil=True)
def _mix64(x: np.uint64) -> np.uint64:
    # murmur3's 64-bit finaliser
    x ^= x >> np.uint64(33)
    x *= np.uint64(0xFF51AFD7ED558CCD)
    x ^= x >> np.uint64(33)
    x *= np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))


@njit(cache=True, nogil=True)
def _mix32(x: np.uint32) -> np.uint32:
    # murmur3's 32-bit finaliser; the casts keep numba from widening to 64 bits
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x85EBCA6B))
    x = np.uint32(x ^ (x >> np.uint32(13)))
    x = np.uint32(x * np.uint32(0xC2B2AE35))
    return np.uint32(x ^ (x >> np.uint32(16)))


@njit(cache=True, nogil=True)
def _sort(values: npt.NDArray[np.uint32], scratch: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64]) -> None:
    if len(values) < _FEW:
        _sort_few(values)
        return
    counts[:] = 0
    for value in values:
        for digit in range(4):
            counts[digit, (value >> np.uint32(8 * digit)) & np.uint32(255)] += 1
    for digit in range(0, 4, 2):  # an even number of passes: the result ends where it began
        _by_digit(values, scratch, counts[digit], np.uint32(8 * digit))
        _by_digit(scratch, values, counts[digit + 1], np.uint32(8 * digit + 8))


@njit(cache=True, nogil=True)
def _sort_few(values: npt.NDArray[np.uint32]) -> None:
    for i in range(1, len(values)):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value


@njit(cache=True, nogil=True)
def _by_digit(
    values: npt.NDArray[np.uint32], out: npt.NDArray[np.uint32], counts: npt.NDArray[np.int64], shift: np.uint32
) -> None:
    total = 0
    for digit in range(256):
        counts[digit], total = total, total + counts[digit]
    for value in values:
        digit = (value >> shift) & np.uint32(255)
        out[counts[digit]] = value
        counts[digit] += 1


@njit(cache=True, nogil=True)
def _drop_repeats(values: npt.NDArray[np.uint32]) -> int:
    kept = 0
    for value in values:
        if kept == 0 or values[kept - 1] != value:
            values[kept] = value
            kept += 1
    return kept


@njit(cache=True, nogil=True, parallel=True)
def _compact(
    slots: npt.NDArray[np.uint32],
    starts: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.uint32],
) -> None:
    for i in prange(len(offsets) - 1):
        begin = starts[i] // 2
        values[offsets[i] : offsets[i + 1]] = slots[begin : begin + offsets[i + 1] - offsets[i]]


@njit(cache=True, nogil=True, parallel=True)
def _minhash(
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.uint32],
    a: npt.NDArray[np.uint32],
    b: npt.NDArray[np.uint32],
    signatures: npt.NDArray[np.uint32],
) -> None:
    for i in prange(len(offsets) - 1):
        row = signatures[i]
        for value in values[offsets[i] : offsets[i + 1]]:
            h = _mix32(value)
            for k in range(len(row)):  # innermost, so that it becomes vector instructions
                row[k] = min(row[k], np.uint32(a[k] * h + b[k]))
