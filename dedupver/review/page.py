"""The page on which a person labels pairs: one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import json
from typing import TYPE_CHECKING, Final

from dedupver.compared import alike
from dedupver.review.export import NAMES
from dedupver.review.looks import contents
from dedupver.review.marked import marked, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dedupver.review.export import Export
    from dedupver.review.looks import Look, Span

HEADER: Final = """<header><p><button id="same"><kbd>s</kbd> same</button>
<button id="different"><kbd>d</kbd> different</button>
<button id="skip"><kbd>space</kbd> skip</button> <kbd>←</kbd> <kbd>→</kbd>
<progress max="{count}" value="0"></progress> <span id="done"></span>
save: <button id="csv">CSV</button> <button id="jsonl">JSONL</button></p>
<p><small>Are the two the same for your purpose? What is saved comes back with <code>dedupver review import</code>.
</small></p></header>"""


def page(found: Export) -> str:
    """Return the page. Its policy allows the one script and style that are in it, and pictures that are in it."""
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    cards = "\n".join(_card(found, at) for at in range(len(found.rows)))
    data = {"names": NAMES, "rows": [{name: row[name] for name in NAMES} for row in found.rows]}
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer"><meta name="viewport" content="width=device-width">
<title>{len(found.rows)} pairs to label</title><style>{style}</style></head><body>
{HEADER.format(count=len(found.rows))}
<main>
{cards}
</main>
<script type="application/json" id="pairs">{_embedded(data)}</script>
<script>{script}</script>
</body></html>
"""


def _card(found: Export, at: int) -> str:
    row, (left, right) = found.rows[at], found.sides[at]
    sides = "".join(
        f'<div class="who"><b><bdi>{plain(row[end])}</bdi></b><small>{_place(row, end)}</small></div>'
        for end in ("left", "right")
    )
    mine, its = ({each.part: each for each in looks} for looks in (left, right))
    parts = "".join(_part(found, at, mine.get(name), its.get(name)) for name in {**mine, **its})
    score, weight = float(row["score"]), float(row["weight"])
    title = f"{at + 1} · {plain(row['kind'])} {score:.4g} · now {row['decided']} · stands for about {weight:.4g} pairs"
    return f'<article><h2>{title}</h2><div class="pair">{sides}</div>{parts}{_spans(found.spans[at])}</article>'


def _place(row: dict[str, str], end: str) -> str:
    told = [row[f"{end}_path"], *(f"{n}: {v}" for n in ("source", "label") if (v := row[f"{end}_{n}"]))]
    return " · ".join(f"<bdi>{plain(word)}</bdi>" for word in told)


def _part(found: Export, at: int, left: Look | None, right: Look | None) -> str:
    if left is None or right is None:
        there = left or right
        name = plain(there.part) if there else ""
        return f"<h3>{name}</h3><p>the {'right' if left is None else 'left'} alone has it</p>"
    if left.values is not None and right.values is not None:
        return f"<h3>{plain(left.part)}</h3>{_fields(found, at, left, right)}"
    if left.text is not None and right.text is not None:
        sides = [f'<div class="text">{text}</div>' for text in marked(left.text, right.text)]
    else:
        sides = [_one(each) for each in (left, right)]
    return f'<h3>{plain(left.part)}</h3><div class="pair">{"".join(sides)}</div>'


def _one(look: Look) -> str:
    if look.picture:
        return f'<div><img alt="" src="{plain(look.picture)}"></div>'
    said = look.text or look.note or f"not shown here ({look.modality}): open what is named above"
    return f'<div class="text">{plain(said)}</div>'


def _fields(found: Export, at: int, left: Look, right: Look) -> str:
    """Return two rows field by field, with weight and similarity; columns that are not compared come last."""
    mine, its = left.values or {}, right.values or {}
    digests = [contents(found.people, node, left.part) for node in found.ends[at]]
    compared = list(alike(found.people.index, [digest.hex() if digest else None for digest in digests]))
    lines = [
        _line(name, _joined(mine, columns), _joined(its, columns), f"{weight:.3g}", similarity)
        for name, columns, weight, similarity in compared
    ]
    known = {column for _, columns, _, _ in compared for column in columns}
    more = sorted((mine.keys() | its.keys()) - known)
    lines += [_line(name, mine.get(name, ""), its.get(name, ""), "", None) for name in more]
    return f"<table><tr><th>field<th>left<th>right<th>weight<th>similarity</tr>{''.join(lines)}</table>"


def _joined(values: Mapping[str, str], columns: Sequence[str]) -> str:
    return " ".join(values[column] for column in columns if column in values)


def _line(name: str, mine: str, its: str, weight: str, similarity: float | None) -> str:
    cells = (name, mine, its, weight, "" if similarity is None else f"{similarity:.3g}")
    row = "".join(f"<td>{plain(text)}</td>" for text in cells)
    return f"<tr>{row}</tr>" if mine == its else f'<tr class="other">{row}</tr>'


def _spans(found: Sequence[Span]) -> str:
    """Return from when to when two sounds or videos share something."""
    lines = "".join(f"<tr><td>{_time(s[0])}-{_time(s[1])}<td>{_time(s[2])}-{_time(s[3])}</tr>" for s in found)
    return f"<h3>in common</h3><table>{lines}</table>" if found else ""


def _time(millis: int) -> str:
    minutes, rest = divmod(millis, 60_000)
    return f"{minutes}:{rest / 1000:04.1f}"


def _asset(name: str) -> str:
    return (importlib.resources.files("dedupver.review") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(value: object) -> str:
    r"""Return JSON that can't end the element it is in: ASCII, with `<`, `>` and `&` as \u003c and so on."""
    return "".join(_safe(json.dumps(value)))


def _safe(text: str) -> Iterator[str]:
    yield from (f"\\u{ord(c):04x}" if c in "<>&" else c for c in text)
