"""Kernels of the scan of bit codes: a tile of 64 codes as a table, whose rows a query adds up.

A table holds, for each nibble of a word and each value it can have, the distances of the 64 codes there, one byte each.
A query's distances to a tile are then 16 rows of the table added up, in a third of the instructions of xor and
population count. The table is small enough for a core's fastest cache, as those of André, Kermarrec and Le Scouarnec,
"Cache locality is not enough: High-performance nearest neighbor search with product quantization fast scan", 2015.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types  # at once: its intrinsics are made with it
from numba.extending import intrinsic

Codes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_TILE: Final = 64  # codes of a tile: a row of its table is 64 bytes, in 8 words

_TABLE: Final = 16 * 16 * 8  # words of a tile's table, for each word of a code

_ONES: Final = 0x0101010101010101  # one in each byte
_TOPS: Final = 0x8080808080808080  # the top bit of each byte


def planes(codes: Codes) -> Codes:
    """Return each tile's codes a byte at a time, shape (tiles, 8 · words, 8): byte k of all its codes in row k."""
    count, words = codes.shape
    tiles = -(-count // _TILE)
    filled = np.zeros((tiles * _TILE, words), "<u8")
    filled[:count] = codes
    each = filled.view(np.uint8).reshape(tiles, _TILE, 8 * words)
    return np.ascontiguousarray(each.transpose(0, 2, 1)).view(np.uint64)


@njit(cache=True, nogil=True)
def scan(  # noqa: PLR0913, PLR0917 - a kernel's buffers are its caller's
    queries: Codes,
    first: int,
    codes: Codes,
    planes: Codes,
    radius: int,
    cap: int,
    triangle: bool,
    found: Rows,
    beyond: Mask,
) -> tuple[Rows, Rows]:
    """Return the pairs of a block of queries, of which row 0 is number `first`, and count each one's neighbours.

    Neighbours beyond the cap are marked in `beyond`; several threads may mark one row, all with the same value.
    """
    pairs, n, before = np.empty((1024, 2), np.int64), 0, np.minimum(found, cap)
    table = np.empty(queries.shape[1] * _TABLE, np.uint64)
    candidates = np.empty(len(queries), np.int64)
    stop = min(first + len(queries), len(codes)) if triangle else len(codes)
    for tile in range(-(-stop // _TILE)):
        start = tile * _TILE
        begin = max(0, start + 1 - first) if triangle else 0
        _tabulate(planes[tile], table)
        for i in candidates[: _propose(queries, begin, table, radius, candidates)]:
            end = min(len(codes), start + _TILE, first + i if triangle else len(codes))
            for row in range(start, end):
                if _distance(queries, i, codes, row) <= radius:
                    if found[i] >= cap:
                        beyond[row] = True
                    else:
                        pairs = pairs if n < len(pairs) else _grown(pairs)
                        pairs[n, 0], pairs[n, 1] = i, row
                        n += 1
                    found[i] += 1
    left, right = _by_query(pairs[:n], np.minimum(found, cap) - before)
    return left + first, right


@njit(cache=True, nogil=True)
def _tabulate(planes: Codes, table: Codes) -> None:
    """Write for each nibble of the codes, and each value, how many bits the value differs from each code in."""
    for byte in range(len(planes)):
        for half in range(2):
            for value in range(16):
                start = ((2 * byte + half) * 16 + value) * 8
                for k in range(8):  # population counts of eight codes' nibbles at once
                    bits = (planes[byte, k] >> np.uint64(4 * half)) & np.uint64(0x0F * _ONES)
                    bits ^= np.uint64(value) * np.uint64(_ONES)
                    bits -= (bits >> np.uint64(1)) & np.uint64(0x05 * _ONES)
                    table[start + k] = (bits & np.uint64(0x03 * _ONES)) + (
                        (bits >> np.uint64(2)) & np.uint64(0x03 * _ONES)
                    )


@njit(cache=True, nogil=True)
def _propose(queries: Codes, begin: int, table: Codes, radius: int, candidates: Rows) -> int:
    """Write which queries, from `begin` on, may be near a code of the tile; return how many."""
    n, words = 0, queries.shape[1]
    # codes within the radius are within its share in one word at least; so much below 128 a byte starts
    bias = np.uint64(127 - min(radius // words, 64)) * np.uint64(_ONES)
    for i in range(begin, len(queries)):
        near = False
        for word in range(words):
            near |= _any_below(table, np.uint64(word * _TABLE), queries[i, word], bias)
        candidates[n] = i
        n += near
    return n


@njit(cache=True, nogil=True)
def _distance(queries: Codes, i: int, codes: Codes, row: int) -> np.int64:
    bits = np.uint64(0)
    for word in range(queries.shape[1]):
        bits += _popcount(queries[i, word] ^ codes[row, word])
    return np.int64(bits)


@njit(cache=True, nogil=True)
def _grown(pairs: Rows) -> Rows:
    more = np.empty((2 * len(pairs), 2), np.int64)
    more[: len(pairs)] = pairs
    return more


@njit(cache=True, nogil=True)
def _by_query(pairs: Rows, counts: Rows) -> tuple[Rows, Rows]:
    """Return the pairs, which are in order of tiles, in order of queries."""
    left, right = np.empty(len(pairs), np.int64), np.empty(len(pairs), np.int64)
    places = np.cumsum(counts) - counts
    for k in range(len(pairs)):
        at = places[pairs[k, 0]]
        left[at], right[at] = pairs[k, 0], pairs[k, 1]
        places[pairs[k, 0]] += 1
    return left, right


def _ctpop(_context: Any, word: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(word), generate


_popcount: Any = intrinsic(_ctpop)  # LLVM's own population count

_WORD: Final = ir.IntType(64)
_ROW: Final = ir.VectorType(_WORD, 8)


def _vectors(_context: Any, table: Any, start: Any, word: Any, bias: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        _, start, word, total = arguments
        total = _repeated(builder, total)
        for nibble in range(16):
            value = builder.and_(builder.lshr(word, _WORD(4 * nibble)), _WORD(15))
            place = builder.add(start, builder.shl(builder.add(value, _WORD(16 * nibble)), _WORD(3)))
            row = builder.bitcast(builder.gep(data, [place]), _ROW.as_pointer())
            total = builder.add(total, builder.load(row, align=8))  # no byte overflows: 127 + 64
        tops = _repeated(builder, _WORD(_TOPS))
        below = builder.icmp_unsigned("!=", builder.and_(total, tops), tops)
        return builder.icmp_unsigned("!=", builder.bitcast(below, ir.IntType(8)), ir.IntType(8)(0))

    return types.boolean(table, start, word, bias), generate


# (table, where the word's part of it begins, word, bias) → is `bias` plus the distance from `word` below 128 for any of
# the tile's codes? Written as vectors because numba makes none of such a loop
_any_below: Any = intrinsic(_vectors)


def _repeated(builder: Any, word: Any) -> Any:
    none = ir.Constant(_ROW, ir.Undefined)
    first = builder.insert_element(none, word, ir.IntType(32)(0))
    return builder.shuffle_vector(first, none, ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8))
