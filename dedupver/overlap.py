"""Where a text stands in another: the words that two records share, read from the source."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from dedupver.fingerprint.normal import normalize
from dedupver.preview import payloads, short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupver.project import Project

WORD: Final = re.compile(r"\w+")


def overlap(project: Project, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each text of one record the longest run of words that a text of another has as well.

    `words` of it in a row from word `at` (from 0) `of` all, how many `ngrams` the shorter text has and how many of them
    are `shared`, and the run itself. The rows of DECISION say where the two lie; nothing where it lacks them now.
    """
    size = project.params.fingerprint.text.ngrams or 0
    places = [{name: row[name] for name in ("id", "path", "row", "version")} for row in (one, other)]
    held = dict(payloads(project, pa.Table.from_pylist(places)))
    texts, found = project.params.source.parts_of("text"), []
    for part in texts if size else []:
        both = [held.get(row["id"], {}).get(part) for row in (one, other)]
        if None not in both:
            mine, its = (WORD.findall(normalize(data.decode(errors="replace"))) for data in both if data)
            found += _in_common(part, mine, its, size)
    return found


def _in_common(part: str, mine: list[str], theirs: list[str], size: int) -> list[dict[str, Any]]:
    """Return the longest run of words that are in both, at least `size`; none, or one row of `overlap`."""
    grams, others = ([tuple(words[at : at + size]) for at in range(len(words) - size + 1)] for words in (mine, theirs))
    known, begin, longest, run = set(others), 0, 0, 0
    for at, gram in enumerate(grams):
        run = run + 1 if gram in known else 0
        if run > longest:
            longest, begin = run, at - run + 1
    if not longest:
        return []
    words = mine[begin : begin + longest + size - 1]
    shared = {"shared": len(known & {*grams}), "ngrams": min(len(known), len({*grams}))}
    return [{"part": part, "words": len(words), "at": begin, "of": len(mine), **shared, "text": short(" ".join(words))}]
