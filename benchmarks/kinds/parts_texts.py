"""Lines, paragraphs and captions that kept records have in common, and what cutting or capping them would do.

Texts: licence texts, and files of the Linux source (`benchmarks.tasks`; of the files those of the subset), deduplicated at
the default params. What is counted and listed of the kept is compared with a count in plain Python. How much of the texts
stands in another one at all, whatever the lines, is told by every run of 40 characters. What would become of the texts
without the passages that many have is another run over what is left. datatrove's filter of lines (SentenceDedup, one line
at a time, at its own norm: no digits, no signs) reads the same texts, and keeps one of each line wherever it stands.

Captions: the drawings of Open Clip Art with what their authors wrote, deduplicated at the default params, then with caps.
"""

from __future__ import annotations

import json
import shutil
import unicodedata
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numba import njit

from benchmarks import project, tasks, tools
from benchmarks.bench import tell
from benchmarks.kinds import captioned
from dedupver import pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Texts = dict[str, str]
Passage = tuple[str, str]
"""One of KINDS, and its normal form."""
Row = tuple[str, int, int, str]
"""One of KINDS, how many records have it, how many characters are repeated, and the first record."""

KINDS: Final = ("line", "paragraph")
NONE: Final = {"contents": 0, "records": 0, "most": 0, "chars": 0}

LEAST: Final = 40  # characters
OFTEN: Final = (2, 10, 100)  # records that have a passage which is cut
CAPS: Final = (100, 10, 1)
THREADS: Final = 2
COLLECTIONS: Final = {"licences": "full", "files": "subset"}
PEER: Final = tools.Tool("datatrove", "datatrove", given={"sketch": "lines"})
_BASE: Final = np.uint64(0x9E3779B97F4A7C15)


def measured(work: Path) -> dict[str, Any]:
    """Return what is said of each collection, and of captions."""
    found = {name: passages(name, work) for name in COLLECTIONS}
    tell("captions")
    return {"passages": found, "captions": captions(work)}


def passages(name: str, work: Path) -> dict[str, Any]:
    """Return what is repeated in a collection."""
    tell(name)
    task = next(task for task in tasks.TASKS if task.name == name)
    data = sorted(tasks.prepare(task, COLLECTIONS[name], THREADS, work).glob("*.parquet"))
    place = work / "parts" / name
    shutil.rmtree(place, ignore_errors=True)
    decisions = built(place / "project", data, {"fingerprint.text.passages": LEAST})
    texts = dict(zip(*(pa.concat_tables(map(pq.read_table, data))[c].to_pylist() for c in ("id", "text")), strict=True))
    kept = {one: texts[one] for one in _kept(decisions)}
    holders = held(kept)
    counted = json.loads((place / "project/metrics/dedup.json").read_text())["shared"]
    told = Counter(_told(place / "project"))
    true = Counter(_true(holders))
    return {
        "records": len(texts),
        "kept": len(kept),
        "characters": sum(len(normal(text)) for text in kept.values()),
        "counted": {what: counted.get(what, NONE) for what in KINDS},
        "true": {what: of_kind(true, what) for what in KINDS},
        "listed": told.total(),
        "listed wrongly": (told - true).total(),
        "lines": again(kept),
        "covered": covered(kept),
        "cut": {str(often): cut(kept, holders, often, place / f"cut-{often}") for often in OFTEN},
        "datatrove": peer(kept, place, work),
    }


def built(root: Path, data: Sequence[Path], settings: dict[str, Any]) -> pa.Table:
    """Deduplicate files; return the decisions."""
    project.lay_out(root, data, settings)
    for stage in pipeline.DECIDING:
        pipeline.run(stage, root)
    return _decisions(root)


def _decisions(root: Path) -> pa.Table:
    return pq.read_table(root / "build/dedup/decisions.parquet", columns=["id", "action"])


def _kept(decisions: pa.Table) -> list[str]:
    return decisions.filter(pc.field("action") == "keep")["id"].to_pylist()  # type: ignore[no-any-return]


def of_kind(rows: Counter[Row], what: str) -> dict[str, int]:
    """Return what metrics/dedup.json says of lines or paragraphs."""
    mine = [(row, count) for row, count in rows.items() if row[0] == what]
    return {
        "contents": sum(count for _, count in mine),
        "records": sum(row[1] * count for row, count in mine),
        "most": max((row[1] for row, _ in mine), default=0),
        "chars": sum(row[2] * count for row, count in mine),
    }


def _told(root: Path) -> Iterator[Row]:
    table = pq.read_table(root / "build/dedup/shared.parquet")
    columns = (table[name].to_pylist() for name in ("what", "records", "chars", "example"))
    return (row for row in zip(*columns, strict=True) if row[0] in KINDS)


# the plain way


def normal(text: str) -> str:
    """Return a text as dedupver compares it."""
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).split())


def blocks(text: str) -> Iterator[list[tuple[int, str]]]:
    """Yield the paragraphs: the number and the normal form of each of their lines."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate(map(normal, text.split("\n"))):
        if line:
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def places(text: str) -> Iterator[tuple[Passage, list[tuple[int, str]]]]:
    """Yield each passage that is long enough, and the lines it stands in."""
    for block in blocks(text):
        yield from ((("line", line), [(number, line)]) for number, line in block if len(line) >= LEAST)
        whole = " ".join(line for _, line in block)
        if len(block) > 1 and len(whole) >= LEAST:
            yield ("paragraph", whole), block


def held(texts: Texts) -> Mapping[Passage, list[str]]:
    """Return which texts have each passage."""
    found: dict[Passage, set[str]] = defaultdict(set)
    for name, text in texts.items():
        for passage, _ in places(text):
            found[passage].add(name)
    return {passage: sorted(names) for passage, names in found.items()}


def _true(holders: Mapping[Passage, list[str]]) -> Iterator[Row]:
    for (what, words), names in holders.items():
        if len(names) > 1:
            yield what, len(names), len(words) * (len(names) - 1), names[0]


def removed(text: str, holders: Mapping[Passage, list[str]], often: int) -> dict[int, str]:
    """Return the lines of a text that are, or are of, a passage that so many texts have."""
    return dict(line for passage, lines in places(text) if len(holders[passage]) >= often for line in lines)


def again(texts: Texts) -> int:
    """Return the characters of lines that stood somewhere before, in another text or in the same."""
    lines = Counter(
        line for text in texts.values() for block in blocks(text) for _, line in block if len(line) >= LEAST
    )
    return sum(len(line) * (count - 1) for line, count in lines.items())


def cut(texts: Texts, holders: Mapping[Passage, list[str]], often: int, place: Path) -> dict[str, Any]:
    """Return how much goes where passages of `often` texts are cut, and what another run says of the rest."""
    rest, gone, sizes = {}, 0, []
    for name, text in texts.items():
        lines = removed(text, holders, often)
        gone += sum(map(len, lines.values()))
        rest[name] = "\n".join(line for number, line in enumerate(text.split("\n")) if number not in lines)
        sizes += [len(normal(rest[name]))] if lines else []
    place.mkdir(parents=True)
    pq.write_table(pa.table({"id": list(rest), "text": list(rest.values())}), place / "part-0.parquet")
    decisions = built(place / "project", [place / "part-0.parquet"], {})
    action = Counter(decisions["action"].to_pylist())
    shutil.rmtree(place)
    return {
        "texts": len(sizes),
        "characters": gone,
        "empty": sizes.count(0),
        "short": sum(0 < size < LEAST for size in sizes),
        "dropped again": action["drop"],
    }


def covered(texts: Texts) -> dict[str, int]:
    """Return how many characters stand in a run of LEAST that another text has too, and how many of them in passages."""
    holders = held(texts)
    forms = [np.frombuffer(normal(text).encode("utf-32-le"), np.uint32) for text in texts.values()]
    runs = [np.unique(hashed(form, LEAST)) for form in forms]
    values, counts = np.unique(np.concatenate(runs), return_counts=True)
    often = values[counts > 1]
    in_runs = sum(int(marked(_among(hashed(form, LEAST), often), LEAST)) for form in forms)
    in_passages = sum(sum(map(len, removed(text, holders, 2).values())) for text in texts.values())
    return {"in runs": in_runs, "in passages": in_passages}


def _among(values: npt.NDArray[np.uint64], often: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    if not len(often):
        return np.zeros(len(values), np.bool_)
    return often[np.minimum(np.searchsorted(often, values), len(often) - 1)] == values


@njit(cache=True)
def hashed(form: npt.NDArray[np.uint32], size: int) -> npt.NDArray[np.uint64]:
    """Return the hash of each run of `size` characters: a polynomial, rolled."""
    out = np.empty(max(len(form) - size + 1, 0), np.uint64)
    leaving = _BASE
    for _ in range(size - 1):
        leaving *= _BASE
    rolled = np.uint64(0)
    for at in range(len(form)):
        rolled = rolled * _BASE + (np.uint64(form[at]) + np.uint64(1))
        if at >= size:
            rolled -= (np.uint64(form[at - size]) + np.uint64(1)) * leaving
        if at >= size - 1:
            out[at - size + 1] = rolled ^ (rolled >> np.uint64(29))
    return out


@njit(cache=True)
def marked(found: npt.NDArray[np.bool_], size: int) -> int:
    """Return how many characters the runs that are found cover."""
    count = until = 0
    for at in range(len(found)):
        if found[at]:
            count += at + size - max(until, at)
            until = at + size
    return count


# another tool


def peer(texts: Texts, place: Path, work: Path) -> dict[str, int]:
    """Return how many characters datatrove's filter removes, and how many of them in lines of LEAST and more."""
    data, out = place / "parts", place / "datatrove"
    data.mkdir()
    pq.write_table(pa.table({"id": list(texts), "text": list(texts.values())}), data / "part-0.parquet")
    tools.run(PEER, data, out, THREADS, work)
    rest = pa.concat_tables(
        pq.read_table(path, columns=["id", "text"]) for path in sorted((out / "rest").glob("*.parquet"))
    )
    left = dict(zip(rest["id"].to_pylist(), rest["text"].to_pylist(), strict=True))
    gone = Counter[str]()
    for name, text in texts.items():
        gone += Counter(map(normal, text.splitlines())) - Counter(map(normal, left.get(name, "").splitlines()))
    return {
        "characters": sum(len(line) * n for line, n in gone.items()),
        "of long lines": sum(len(line) * n for line, n in gone.items() if len(line) >= LEAST),
        "texts that are empty": len(texts) - len(left),
    }


# captions


def captions(work: Path) -> dict[str, Any]:
    """Return which captions many drawings have, and how many drawings stay where a cap says so."""
    place = work / "parts" / "captions"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    pairs = list(captioned.drawings(work))
    columns = {
        "id": [f"{number:05}" for number in range(len(pairs))],
        "image": [pair.image.read_bytes() for pair in pairs],
        "caption": [pair.caption for pair in pairs],
    }
    pq.write_table(pa.table(columns), place / "drawings.parquet", row_group_size=1000)
    caption = dict(zip(columns["id"], map(normal, columns["caption"]), strict=True))
    decisions = built(place / "project", [place / "drawings.parquet"], {})
    holders = Counter(caption[one] for one in _kept(decisions))
    shared = (
        pq.read_table(place / "project/build/dedup/shared.parquet").filter(pc.field("what") == "caption").to_pylist()
    )
    told = {caption[row["example"]]: row["records"] for row in shared}
    true = {words: count for words, count in holders.items() if count > 1}
    found: dict[str, Any] = {
        "records": len(pairs),
        "kept": holders.total(),
        "captions": len(holders),
        "repeated": len(true),
    }
    found |= {"most": max(true.values()), "wrong": len(told.items() ^ true.items()), "caps": {}}
    for most in CAPS:
        project.change(place / "project", {"dedup.caps": {"caption": most}})
        pipeline.run("dedup", place / "project")
        decisions = _decisions(place / "project")
        stay = Counter(caption[one] for one in _kept(decisions))
        over = sum(count > most for count in stay.values())
        found["caps"][str(most)] = {"kept": stay.total(), "captions": len(stay), "over": over}
    return found
