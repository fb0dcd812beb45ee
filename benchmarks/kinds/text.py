"""Texts: what MinHash, SimHash and embeddings find of edited copies, and what else they find; and what others do.

    python -m benchmarks.kinds.text

`text_tasks` says what the records are. Whether two texts resemble each other is told by another notion than any of the
tools': the Jaccard similarity of their runs of five characters, case folded, white space as one space, by an exact join.
Two texts are *alike* at .8 and above, and *unlike* below .5 unless both are of one original.

All tools read the same texts, and of each every pair counts that it finds. MinHash has three words, 128 permutations and
.8 everywhere: datasketch compares estimates; text-dedup and datatrove compare bands alone and join what they find to
components, so theirs are all pairs within one. datasketch takes what it is given: three words, or four letters; dedupver's
own `tokens` are words where nothing else is said. SimHash is the package's of that name (runs of four characters) and
text-dedup's (three), at the customary 3 bits, beside dedupver at these and at its default. semhash has .9, its default,
and potion-base-4m-int8, which its source carries; dedupver reads that as well.

Downloads, records and environments are kept in benchmarks/.work; results go to benchmarks/results/kinds and docs/kinds.
"""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import project, readme, tools, truth
from benchmarks.bench import tell
from benchmarks.kinds import results as runs
from benchmarks.kinds import text_tasks
from dedupver import pipeline
from dedupver.params import Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Keys = npt.NDArray[np.int64]
"""Pairs of rows, ascending: the lesser row times the number of rows, plus the other."""

RUN: Final = 5  # characters
ALIKE: Final = 0.8
UNLIKE: Final = 0.5
THREADS: Final = 2
CODE: Final = "MinHash, code"
LETTERS: Final = "MinHash, letters"
POTION: Final = "potion at 0.9"
SETTINGS: Final = {
    "fingerprint.text.encoder": "wordllama",
    "fingerprint.text.simhash": True,
    "match.bucket_cap": 1_000_000,  # so that all pairs are listed
}
PEERS: Final = (
    tools.Tool("datasketch", "datasketch", given={"pairs": True}),
    tools.Tool("datasketch, letters", "datasketch", given={"pairs": True, "letters": True, "shingle": 4}),
    tools.Tool("text-dedup", "text-dedup", given={"pairs": True}),
    tools.Tool("datatrove", "datatrove", given={"pairs": True}),
    tools.Tool("simhash", "simhash", given={"pairs": True}),
    tools.Tool("text-dedup simhash", "text-dedup", given={"sketch": "simhash"}),
    tools.Tool("semhash", "semhash", given={"pairs": True}),
)
ENGLISH: Final = ("licences", "documentation")
TRANSLATED: Final = ("zh_CN", "ja_JP", "ko_KR")
ALL: Final = (*ENGLISH, *TRANSLATED, "code")
SETS: Final = ("MinHash", "MinHash at 0.7", "MinHash at 0.6", "datasketch", "text-dedup", "datatrove")
CODES: Final = ("SimHash", "SimHash, 3 bits", "simhash", "text-dedup simhash")
VECTORS: Final = ("embedding", "embedding at 0.9", POTION, "semhash")
OF_SCRIPTS: Final = ("MinHash", LETTERS, "datasketch", "datasketch, letters")
OF_CODE: Final = ("MinHash", CODE, *SETS[3:], "SimHash", "simhash", "embedding", "semhash")


@dataclass(frozen=True, eq=False)
class Texts:
    """The records (text_tasks.SCHEMA), the row of the original of each, and the pairs that are alike or are not unlike."""

    table: pa.Table
    original: Keys
    alike: Keys
    related: Keys


def main() -> None:
    """Parse and run."""
    asked = runs.parser(__doc__).parse_args()
    texts = load(asked.work)
    results: dict[str, Any] = {
        **runs.begun(),
        "records": records(texts),
        "alike": len(texts.alike),
        "tools": {name: judged(texts, found) for name, found in ours(texts, asked.work).items()},
    }
    for tool in PEERS:
        tell(tool.name)
        results["tools"][tool.name] = judged(texts, peer(texts, tool, asked.work))
    runs.write(asked.out, "text", results, markdown(results))
    readme.main()
    sys.stdout.write(markdown(results))


def load(work: Path) -> Texts:
    """Return the records, and which of them are alike."""
    table = text_tasks.prepare(work)
    row = {name: at for at, name in enumerate(table["id"].to_pylist())}
    original = np.array([row[name] for name in table["family"].to_pylist()])
    texts = [characters(text) for text in table["text"].to_pylist()]
    alike, related = (_rows(truth.find(texts, list, RUN, level)) for level in (ALIKE, UNLIKE))
    return Texts(table, original, alike, related)


def characters(text: str) -> str:
    """Return a text as it is compared."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _rows(found: truth.Truth) -> Keys:
    """Return pairs of rows from pairs of nodes; rows of one node are pairs as well."""
    members = defaultdict(list)
    for row, node in enumerate(found.node.tolist()):
        members[node].append(row)
    same = np.repeat(np.unique(found.node)[:, None], 2, axis=1)
    pairs = [pair for x, y in [*found.pairs.tolist(), *same.tolist()] for pair in product(members[x], members[y])]
    return keys(len(found.node), *np.array(pairs, np.int64).T)


def keys(rows: int, a: npt.ArrayLike, b: npt.ArrayLike) -> Keys:
    """Return pairs of different ones of so many rows, each once."""
    low, high = np.minimum(a, b).astype(np.int64), np.maximum(a, b).astype(np.int64)
    return np.unique((low * rows + high)[low != high])


def records(texts: Texts) -> dict[str, dict[str, int]]:
    """Return how many originals, originals with copies, and copies each corpus has."""
    corpora, made = (texts.table[name].to_pylist() for name in ("corpus", "made"))
    copied = set(texts.original[[name != "original" for name in made]].tolist())
    counts: dict[str, dict[str, int]] = {c: dict.fromkeys(("originals", "edited", "copies"), 0) for c in corpora}
    for at, (corpus, name) in enumerate(zip(corpora, made, strict=True)):
        counts[corpus]["copies" if name != "original" else "originals"] += 1
        counts[corpus]["edited"] += at in copied
    return counts


# what is found


def ours(texts: Texts, work: Path) -> dict[str, Keys]:
    """Return the pairs that each kind of evidence finds; with other tokens of the corpora alone that these are for."""
    whole = matched(texts, ALL, {}, work)
    potion = matched(texts, ALL, {"fingerprint.text.encoder": f"model2vec:{tools.model(work)}"}, work)
    code = matched(texts, ("code",), {"fingerprint.text.tokens": "code"}, work)
    letters = matched(texts, TRANSLATED, {"fingerprint.text.tokens": "characters", "fingerprint.text.shingle": 4}, work)
    level = Thresholds()
    return {
        "equal content": whole("content", 1),
        "MinHash": whole("text", level.text),
        "MinHash at 0.7": whole("text", 0.7),
        "MinHash at 0.6": whole("text", 0.6),
        "SimHash": whole("text_simhash", level.text_simhash),
        "SimHash, 3 bits": whole("text_simhash", 1 - 3 / 64),
        "embedding": whole("text_embedding", level.text_embedding),
        "embedding at 0.9": whole("text_embedding", 0.9),
        POTION: potion("text_embedding", 0.9),
        CODE: code("text", level.text),
        LETTERS: letters("text", level.text),
    }


def matched(
    texts: Texts, corpora: tuple[str, ...], settings: dict[str, Any], work: Path
) -> Callable[[str, float], Keys]:
    """Fingerprint and match some corpora; return what tells the pairs of a kind at a level, equal contents among them."""
    root, data = work / "texts" / "project", work / "texts" / "records.parquet"
    shutil.rmtree(root, ignore_errors=True)
    pq.write_table(
        texts.table.filter(pc.is_in(texts.table["corpus"], pa.array(corpora))).select(["id", "text"]),
        data,
        row_group_size=2000,
    )
    project.lay_out(root, [data], {**SETTINGS, **settings})
    for stage in ("fingerprint", "match"):
        pipeline.run(stage, root)
    read = pq.read_table(root / "build/fingerprint/records.parquet", columns=["id", "parts"])
    contents = read["parts"].combine_chunks().flatten().field("content").to_pylist()  # one part a record
    at = pc.index_in(read["id"], texts.table["id"].combine_chunks()).to_pylist()
    holders = defaultdict(list)
    for content, row in zip(contents, at, strict=True):
        holders[content].append(row)
    equal = [pair for members in holders.values() for pair in product(members, members)]
    matches = pq.read_table(next((root / "index/segments").iterdir()) / "matches.parquet").to_pylist()

    def found(kind: str, level: float) -> Keys:
        good = (m for m in matches if m["kind"] == kind and m["score"] >= np.float32(level))
        pairs = equal + [pair for m in good for pair in product(holders[m["left"]], holders[m["right"]])]
        return keys(texts.table.num_rows, *np.array(pairs, np.int64).T)

    return found


def peer(texts: Texts, tool: tools.Tool, work: Path) -> Keys:
    """Return the pairs that another tool finds."""
    data, out = work / "texts" / "parts", work / "texts" / "out"
    for place in (data, out):
        shutil.rmtree(place, ignore_errors=True)
    data.mkdir()
    pq.write_table(texts.table.select(["id", "text"]), data / "part-0.parquet")
    tools.run(tool, data, out, THREADS, work)
    pairs = pq.read_table(out / "pairs.parquet")
    return keys(texts.table.num_rows, pairs["left"].to_numpy(), pairs["right"].to_numpy())


# how good it is


def judged(texts: Texts, found: Keys) -> dict[str, Any]:
    """Return of a tool's pairs which share of the copies and of what is alike they hold, and how many are unlike."""
    low, high = np.divmod(found, len(texts.original))
    unlike = (texts.original[low] != texts.original[high]) & ~np.isin(found, texts.related)
    return {
        "recall": recall(texts, found),
        "alike": alike(texts, found),
        "pairs": by_corpora(texts, low, high),
        "unlike": by_corpora(texts, low[unlike], high[unlike]),
    }


def recall(texts: Texts, found: Keys) -> dict[str, dict[str, float]]:
    """Return by corpus and edit the share of copies that are found with what they were made of."""
    corpora, made = (texts.table[name].to_pylist() for name in ("corpus", "made"))
    rows = np.arange(len(made))
    ends = np.minimum(rows, texts.original), np.maximum(rows, texts.original)
    hits = np.isin(ends[0] * len(made) + ends[1], found)
    counts: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for corpus, name, hit in zip(corpora, made, hits.tolist(), strict=True):
        if name != "original":
            counts[corpus][name].append(hit)
    return {c: {name: round(float(np.mean(each)), 4) for name, each in of.items()} for c, of in counts.items()}


def alike(texts: Texts, found: Keys) -> dict[str, float]:
    """Return by corpus the share of the pairs that are alike which are found."""
    hits = np.isin(texts.alike, found)
    corpora = np.array(texts.table["corpus"].to_pylist())[texts.alike // len(texts.original)]
    return {c: round(float(hits[corpora == c].mean()), 4) for c in dict.fromkeys(corpora.tolist())}


def by_corpora(texts: Texts, low: Keys, high: Keys) -> dict[str, int]:
    """Count pairs by the corpora that the two are of."""
    corpora = texts.table["corpus"].to_pylist()
    both = (sorted({corpora[a], corpora[b]}) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return dict(sorted(Counter(map(" and ".join, both)).items()))


# the pages


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/text.md."""
    found = results["tools"]
    return {
        "english": _recalls(found, {name: (name, ENGLISH) for name in (*SETS, *CODES, *VECTORS)}),
        "scripts": _recalls(found, {f"{c}: {name}": (name, (c,)) for c in TRANSLATED for name in OF_SCRIPTS}),
        "code": _recalls(found, {name: (name, ("code",)) for name in OF_CODE}),
        "precision": _precision(found, (*SETS, *CODES, *VECTORS)),
    }


def _recalls(found: dict[str, Any], rows: dict[str, tuple[str, tuple[str, ...]]]) -> list[str]:
    """Return a table of the share of each edit that a tool finds in some corpora, the mean of theirs."""
    known = {made for name, corpora in rows.values() for made in found[name]["recall"][corpora[0]]}
    edits = [made for made in text_tasks.EDITS if made in known]
    cells = []
    for title, (name, corpora) in rows.items():
        shares = [np.mean([found[name]["recall"][c][made] for c in corpora]) for made in edits]
        shares.append(np.mean([found[name]["alike"][c] for c in corpora]))
        cells.append([title, *(f"{share:.2f}" for share in shares)])
    return readme.table(("share that is found", *edits, "*pairs that are alike*"), cells)


def _precision(found: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Return a table of the share of each tool's pairs that are not unlike, within and between the corpora."""
    rows = []
    for name in names:
        pairs, unlike = found[name]["pairs"], found[name]["unlike"]
        cells = [f"{1 - unlike.get(c, 0) / pairs[c]:.3f}" for c in ALL]
        between = sum(n for c, n in pairs.items() if c not in ALL)
        rows.append([name, f"{sum(pairs.values()):,}", f"{sum(unlike.values()):,}", *cells, f"{between:,}"])
    return readme.table(("tool", "pairs", "unlike", *ALL, "of two corpora"), rows)


def markdown(results: dict[str, Any]) -> str:
    """Return the page of results."""
    counts = "; ".join(f"{c}: {n['originals']:,} and {n['copies']:,}" for c, n in results["records"].items())
    titles = {
        "english": "Licences and documentation in English",
        "scripts": "Documentation in other scripts",
        "code": "Code",
        "precision": "Of the pairs that are found: the share that is not unlike",
    }
    lines = [
        "# Texts: copies that are found",
        "",
        f"Records and copies of {counts}. {results['alike']:,} pairs are alike.",
    ]
    for name, table in tables(results).items():
        lines += ["", f"## {titles[name]}", "", *table]
    return "\n".join([*lines, "", *str(__doc__).strip().splitlines()[4:16], ""])


if __name__ == "__main__":
    main()
