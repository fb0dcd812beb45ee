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
    """Return both texts as HTML: <del> for what the left alone has, <ins> for what the right alone has."""
    a, b = (_TOKENS.findall(text) for text in (left, right))
    start = _alike(a, b)
    stop = _alike(a[start:][::-1], b[start:][::-1])
    middle = [tokens[start : len(tokens) - stop] for tokens in (a, b)]
    tails = [tokens[len(tokens) - stop :] for tokens in (a, b)]
    parts = [[_shown(a[:start])], [_shown(b[:start])]]
    x, y = (tokens[:MOST] for tokens in middle)
    for tag, i, j, k, m in difflib.SequenceMatcher(None, x, y).get_opcodes():
        if tag == "equal":
            parts[0].append(_shown(x[i:j]))
            parts[1].append(_shown(y[k:m]))
        else:
            parts[0] += [f"<del>{plain(''.join(x[i:j]))}</del>"] if i < j else []
            parts[1] += [f"<ins>{plain(''.join(y[k:m]))}</ins>"] if k < m else []
    for side, (tokens, tail) in enumerate(zip(middle, tails, strict=True)):
        rest = len(tokens) - MOST
        parts[side].append(_left_out(rest, "not compared") if rest > 0 else "")
        parts[side].append(_shown(tail))
    return "".join(parts[0]), "".join(parts[1])


def plain(text: str) -> str:
    """Return text as HTML, in which what is not printable — marks of direction, escapes — is shown as a word."""
    shown = "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return escape(shown, quote=True)


def _alike(a: Sequence[str], b: Sequence[str]) -> int:
    """Return how many of the first tokens are equal."""
    pairs = zip(a, b, strict=False)
    return next((n for n, (x, y) in enumerate(pairs) if x != y), min(len(a), len(b)))


def _shown(tokens: Sequence[str]) -> str:
    """Return an equal run; of a long one its two ends."""
    if len(tokens) <= 3 * AROUND:
        return plain("".join(tokens))
    out = _left_out(len(tokens) - 2 * AROUND, "alike")
    return plain("".join(tokens[:AROUND])) + out + plain("".join(tokens[-AROUND:]))


def _left_out(count: int, why: str) -> str:
    return f"<i> … {count} words and signs {why} … </i>"
