"""Two texts as HTML, with what differs marked and long runs of equal words left out."""

from __future__ import annotations

import difflib
import re
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST: Final = 4_000
"""Words, spaces and signs of each text that are compared, from the first difference on."""

AROUND: Final = 24
"""So many of them are shown at both ends of an equal run."""

_TOKENS: Final = re.compile(r"\s+|\w+|[^\w\s]")


def marked(left: str, right: str) -> tuple[str, str]:
    """Return both texts as HTML: <del> for what the left alone has, <ins> for what the right alone has.

    White space is as good as any other.
    """
    a, b = (_TOKENS.findall(text) for text in (left, right))
    start = _alike(a, b)
    stop = _alike(a[start:][::-1], b[start:][::-1])
    sides: tuple[list[str], list[str]] = ([_shown(a[:start])], [_shown(b[:start])])
    x, y = (tokens[start : len(tokens) - stop][:MOST] for tokens in (a, b))
    for tag, i, j, k, m in difflib.SequenceMatcher(None, _keys(x), _keys(y)).get_opcodes():
        for side, tokens, mark in ((0, x[i:j], "del"), (1, y[k:m], "ins")):
            told = _shown(tokens) if tag == "equal" else f"<{mark}>{plain(''.join(tokens))}</{mark}>"
            sides[side].append(told if tokens else "")
    for html, tokens in zip(sides, (a, b), strict=True):
        rest = len(tokens) - start - stop - MOST
        html += [_left_out(rest, "not compared") if rest > 0 else "", _shown(tokens[len(tokens) - stop :])]
    return "".join(sides[0]), "".join(sides[1])


def plain(text: str) -> str:
    """Return text as HTML, in which what is not printable — marks of direction, escapes — is shown as a word."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return escape(shown, quote=True)


def _keys(tokens: Sequence[str]) -> list[str]:
    return [" " if token.isspace() else token for token in tokens]


def _alike(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many of the first tokens are equal."""
    pairs = zip(_keys(a), _keys(b), strict=False)
    return next((n for n, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _shown(tokens: Sequence[str]) -> str:
    """Return an equal run; of a long one its two ends."""
    if len(tokens) <= 3 * AROUND:
        return plain("".join(tokens))
    out = _left_out(len(tokens) - 2 * AROUND, "alike")
    return plain("".join(tokens[:AROUND])) + out + plain("".join(tokens[-AROUND:]))


def _left_out(count: int, why: str) -> str:
    return f"<i> … {count} words and signs {why} … </i>"
