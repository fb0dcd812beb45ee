"""What makes a token: the class of each character, by its script.

Where words are parted by spaces a token is a word: a maximal run of letters, digits, marks and `_`. In scripts that
write none, each letter with its marks makes a token, together with the letter before it. Sources: Unicode Standard
Annex #29, whose default rules break words so and leave those of such scripts to dictionaries; Lucene's CJKBigramFilter,
which puts two letters into a token, since one alone says too little.
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit

Classes = npt.NDArray[np.uint8]

GAP: Final = 0  # ends a token
WORD: Final = 1  # belongs to a run
ALONE: Final = 2  # is a token, with its marks
PAIRED: Final = 3  # is a token, with its marks and the PAIRED one before it
MARK: Final = 4  # belongs to the token it follows
HIDDEN: Final = 5  # is passed over: joiners, soft hyphens, marks of direction, variants of a form

_PLANES: Final = 0x20000  # characters below have a row in the table
_IDEOGRAPHS: Final = 0x40000  # the end of the planes that follow
_TAGS: Final = 0xE0000  # where a plane of hidden characters begins ...
_PRIVATE: Final = 0xF0000  # ... and where it ends
_BY_CATEGORY: Final = {"L": WORD, "N": WORD, "M": MARK, "Cf": HIDDEN, "Cn": WORD, "Co": WORD}
_SPACE_OF_NO_WIDTH: Final = 0x200B  # parts words where nobody sees it, as in Khmer
_UNSPACED: Final = (
    (0x0E00, 0x0F00),  # Thai, Lao
    (0x1000, 0x10A0),  # Myanmar
    (0x1780, 0x1800),  # Khmer
    (0x1950, 0x19E0),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AB0),  # Tai Tham
    (0x1B00, 0x1B80),  # Balinese
    (0x3005, 0x3008),  # marks of repetition and closing, zero
    (0x3021, 0x3130),  # Hangzhou numerals, Hiragana, Katakana, Bopomofo
    (0x31A0, 0x3200),  # more of Bopomofo and Katakana
    (0x3400, 0xA000),  # Han
    (0xA980, 0xAA00),  # Javanese, Myanmar
    (0xAA60, 0xAAE0),  # Myanmar, Tai Viet
    (0xF900, 0xFB00),  # Han, for compatibility
    (0xFF66, 0xFFA0),  # Katakana of half the width
    (0x11700, 0x11750),  # Ahom
    (0x16FE0, 0x1B300),  # Tangut, Khitan, Nüshu, more of Kana
)
"""Where letters write no spaces between words: line break classes ID, CJ, SA and AK of Unicode Standard Annex #14."""

_DRAWN: Final = ((0x2E80, 0x2FE0), (0x1F000, 0x1FB00))
"""Radicals of Han, and pictographs: symbols that stand for words."""

_HAN: Final = 0x4E00
_TONES: Final = slice(0x1F3FB, 0x1F400)  # of skin
_VARIANTS: Final = slice(0xFE00, 0xFE10)
_SIGNS: Final = [code for code in range(0x21, 0x7F) if not chr(code).isalnum() and chr(code) != "_"]


@functools.cache
def classes(tokens: str) -> Classes:
    """Return the class of each character below _PLANES, for a choice of `fingerprint.text.tokens`.

    `words`: by script. `characters`: each letter and digit is a token. `code`: as words, and each sign of ASCII is a
    token. What the Unicode of this Python does not know yet has the class of its neighbours.
    """
    categories = list(map(unicodedata.category, map(chr, range(_PLANES))))
    table = np.array([_BY_CATEGORY.get(c[0], _BY_CATEGORY.get(c, GAP)) for c in categories], np.uint8)
    for ranges, wanted in ((_UNSPACED, {"Lo", "Lm", "Nl", "Cn"}), (_DRAWN, {"So", "Cn"})):
        for begin, end in ranges:
            table[begin:end][[category in wanted for category in categories[begin:end]]] = PAIRED
    table[_TONES], table[_VARIANTS] = MARK, HIDDEN
    table[_SPACE_OF_NO_WIDTH], table[ord("_")] = GAP, WORD
    if tokens == "characters":
        table[(table == WORD) | (table == PAIRED)] = ALONE
    if tokens == "code":
        table[_SIGNS] = ALONE
    table.flags.writeable = False
    return table


@njit(cache=True)
def class_at(text: npt.NDArray[np.uint8], at: int, table: Classes) -> int:
    """Return the class of the character that begins at a byte beyond ASCII; in valid UTF-8."""
    lead = np.int64(text[at])
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    code = lead & (0x7F >> width)
    for byte in text[at + 1 : at + width]:
        code = code << 6 | byte & 0x3F
    if code >= _IDEOGRAPHS:
        return HIDDEN if _TAGS <= code < _PRIVATE else WORD
    return table[code if code < _PLANES else _HAN]
