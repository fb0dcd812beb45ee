"""Leaks between splits: what is found of those that were planted and of those that were there, and what else goes.

    python -m benchmarks.leakage

`leakage_tasks` says what the records are. A planted leak is found where the copy goes for a record of the test split; a
natural one where the train original does. What goes besides, of the originals, is false where it goes for a record that it
does not resemble by the truth of its kind; between the two levels of that truth nobody counts it.

Downloads and records are kept in benchmarks/.work; results go to benchmarks/results/leakage.json and .md.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import leakage_tasks, project
from benchmarks.bench import HERE, tell
from benchmarks.kinds import results as runs
from benchmarks.kinds import text as texts
from dedupver import leakage, pipeline
from dedupver.check import check
from dedupver.digests import of_list
from dedupver.index.segment import Index
from dedupver.manifest import open_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.leakage_tasks import Pictures

STEPS: Final = ("fingerprint", "match", "dedup", "manifest")
BY_PICTURES: Final = {
    "as duplicates: image 0.92, embedding 0.98": {},
    "image 0.88, embedding 0.95": {"image": 0.88, "image_embedding": 0.95},
    "image 0.84, embedding 0.92": {"image": 0.84, "image_embedding": 0.92},
}
BY_TEXTS: Final = {"as duplicates: text 0.8": {}, "text 0.7": {"text": 0.7}, "text 0.6": {"text": 0.6}}
OVERLAPS: Final = {"any n-gram": 0.0, "a tenth of them": 0.1, "half of them": 0.5, "80 % of them": 0.8}
SIZES: Final = (8, 13)

Decisions = dict[str, dict[str, Any]]


def main() -> None:
    """Parse and run."""
    parser = runs.parser(__doc__)
    parser.set_defaults(out=HERE / "results")
    asked = parser.parse_args()
    results = {
        **runs.begun(),
        "pictures": of_pictures(asked.work),
        "texts": of_texts(asked.work),
        "questions": of_questions(asked.work),
    }
    runs.write(asked.out, "leakage", results, markdown(results), in_order=False)
    sys.stdout.write(markdown(results))


# pictures


def of_pictures(work: Path) -> dict[str, Any]:
    """Judge the pictures at some thresholds."""
    tell("pictures")
    data, root = leakage_tasks.pictures(work), work / "leakage" / "project"
    lay_out(root, {"fingerprint.image.encoder": "efficientnet-lite0"})
    for split in ("test", "train"):
        shutil.copytree(data.root / split, root / "data/raw" / split, copy_function=os.link)
    found: dict[str, Any] = {"planted": len(data.planted), "natural": len(data.natural)}
    for name, decisions in judged(root, BY_PICTURES):
        found[name] = _pictures(data, decisions, root)
    return found


def _pictures(data: Pictures, decisions: Decisions, root: Path) -> dict[str, Any]:
    made: dict[str, Counter[str]] = defaultdict(Counter)
    for path, (transform, original) in data.planted.items():
        made[transform][_outcome(decisions[path], original)] += 1
    gone = {name: row for name, row in decisions.items() if row["reason"] == "leaks_from" and name not in data.planted}
    unlike = [
        {"id": name, "from": row["representative"], "evidence": row["evidence"]}
        for name, row in sorted(gone.items())
        if data.distance[name, row["representative"]] >= leakage_tasks.UNLIKE
    ]
    natural = [decisions[name]["reason"] == "leaks_from" for name in data.natural]
    says = _says_enough(decisions, root)
    compared: dict[str, Counter[str]] = defaultdict(Counter)
    for path, (transform, original) in data.planted.items():
        compared[transform][_outcome(decisions[path], original)] += original in says
    return {
        "by_transform_of_those_compared": {name: dict(+counts) for name, counts in compared.items()},
        "natural_compared": sum(name in says for name in data.natural),
        "by_transform": {name: dict(counts) for name, counts in made.items()},
        "natural_found": sum(natural),
        "missed": sorted(name for name in data.natural if decisions[name]["action"] == "keep"),
        "others_gone": len(gone) - sum(natural),
        "unlike": unlike,
        **certified(root),
    }


def _says_enough(decisions: Decisions, root: Path) -> set[str]:
    """Return the pictures that have a perceptual hash: the others have too little structure for it."""
    names = [name for name, row in decisions.items() if row["parts"]]
    contents = of_list([decisions[name]["parts"][0]["content"] for name in names])
    return {name for name, says in zip(names, Index.open(root / "index").says("image", contents), strict=True) if says}


# texts


def of_texts(work: Path) -> dict[str, Any]:
    """Judge licence texts, documentation and code at some thresholds."""
    tell("texts")
    known = texts.load(work)
    table, root = known.table.to_pylist(), work / "leakage" / "project"
    draw = np.random.default_rng(0)
    copied = {known.original[at] for at, row in enumerate(table) if row["made"] != "original"}
    test = {
        at
        for at, row in enumerate(table)
        if row["made"] == "original" and (at in copied or draw.random() < leakage_tasks.SHARE)
    }
    rows = (
        {"id": row["id"], "text": row["text"], "split": "test" if at in test else "train"}
        for at, row in enumerate(table)
    )
    lay_out(root, {})
    _write(root / "data/raw/texts.jsonl", rows)
    low, high = np.divmod(known.alike, len(table))
    pairs = [
        (a, b) if b in test else (b, a)
        for a, b in zip(low.tolist(), high.tolist(), strict=True)
        if (a in test) != (b in test)
    ]
    natural = sorted({table[train]["id"] for train, _ in pairs if table[train]["made"] == "original"})
    names = [row["id"] for row in table]
    place = {name: at for at, name in enumerate(names)}
    planted = {row["id"]: (row["made"], row["family"]) for row in table if row["made"] != "original"}
    found: dict[str, Any] = {"records": len(table), "planted": len(planted), "natural": len(natural)}
    for name, decisions in judged(root, BY_TEXTS):
        made: dict[str, Counter[str]] = defaultdict(Counter)
        for record, (edit, family) in planted.items():
            made[edit][_outcome(decisions[record], family)] += 1
        gone = [
            (n, r["representative"]) for n, r in decisions.items() if r["reason"] == "leaks_from" and n not in planted
        ]
        key = texts.keys(len(table), *(np.array([place[each[k]] for each in gone], np.int64) for k in (0, 1)))
        found[name] = {
            "by_edit": {edit: dict(counts) for edit, counts in sorted(made.items())},
            "natural_found": sum(decisions[record]["reason"] == "leaks_from" for record in natural),
            "missed": sum(decisions[record]["action"] == "keep" for record in natural),
            "others_gone": len(gone) - sum(decisions[record]["reason"] == "leaks_from" for record in natural),
            "unlike": int((~np.isin(key, known.related)).sum()),
            **certified(root),
        }
    return found


# questions in documents


def of_questions(work: Path) -> dict[str, Any]:
    """Look for the questions of a benchmark in long documents, by n-grams of two sizes and as whole records."""
    tell("questions")
    rows = leakage_tasks.embedded(work)
    root = work / "leakage" / "project"
    clean = [row["id"] for row in rows if not row["made"]]
    chars = sorted(len(row["text"]) for row in rows)
    found: dict[str, Any] = {"documents": len(rows), "without": len(clean), "characters": chars[len(chars) // 2]}
    for size in SIZES:
        lay_out(
            root,
            {"fingerprint.text.ngrams": size, "source.reference": {"path": "bench", "columns": {"text": "prompt"}}},
        )
        _write(root / "data/raw/documents.jsonl", ({"id": row["id"], "text": row["text"]} for row in rows))
        _write(root / "bench/questions.jsonl", ({"prompt": q.text} for q in leakage_tasks.questions(work)))
        settings = {f"{size}-grams, {name}": {"ngrams": share} for name, share in OVERLAPS.items()}
        for name, decisions in judged(root, settings | ({"whole records": {}} if size == SIZES[0] else {})):
            made: dict[str, Counter[str]] = defaultdict(Counter)
            for row in rows:
                number = int(row["question"].rpartition("/")[2]) if row["made"] else -1
                made[row["made"] or "without a question"][
                    _outcome(decisions[row["id"]], f"bench/questions.jsonl#{number}")
                ] += 1
            found[name] = {"by_edit": {edit: dict(counts) for edit, counts in made.items()}, **certified(root)}
            found[name]["unlike"] = [
                {"id": n, "from": decisions[n]["representative"], "evidence": decisions[n]["evidence"]}
                for n in clean
                if decisions[n]["reason"] == "leaks_from"
            ]
    return found


# what all share


def lay_out(root: Path, settings: dict[str, Any]) -> None:
    """Make an empty project."""
    shutil.rmtree(root, ignore_errors=True)
    project.lay_out(root, [], settings)
    (root / "reviews.csv").write_text("left,right,label\n")


def judged(root: Path, settings: dict[str, dict[str, Any]]) -> Iterable[tuple[str, Decisions]]:
    """Build a version, then judge it under each of some settings of leaks: thresholds, or a share of n-grams."""
    for stage in STEPS[:2]:
        pipeline.run(stage, root)
    for name, given in settings.items():
        ngrams = given.get("ngrams")
        thresholds = {} if "ngrams" in given else given
        project.change(root, {"dedup.leakage.thresholds": thresholds, "dedup.leakage.ngrams": ngrams})
        for stage in STEPS[2:]:
            pipeline.run(stage, root)
        live = open_manifest(root / "manifest").live(("id", "action", "reason", "representative", "evidence", "parts"))
        yield name, {row["id"]: row for row in live.to_pylist()}


def certified(root: Path) -> dict[str, Any]:
    """Return what the certificate counts, and that `dedupver check` comes to the same."""
    told = leakage.certificate(open_manifest(root / "manifest"))
    findings = check(root)
    return {"removed": told["removed"]["records"], "remaining": told["remaining"]["records"], "findings": len(findings)}


def _outcome(decision: dict[str, Any], original: str) -> str:
    """Return what became of a planted leak: found (for its own original, or another protected one), dropped for another of its own side, or kept."""
    if decision["reason"] == "leaks_from":
        return "found" if decision["representative"] == original else "found for another"
    return "kept" if decision["action"] == "keep" else "dropped for a copy"


def _write(path: Path, rows: Iterable[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


# the page


def markdown(results: dict[str, Any]) -> str:
    """Return the results as tables."""
    pictures, texts_, questions = (results[name] for name in ("pictures", "texts", "questions"))
    lines = ["# Leaks between splits", "", f"{results['date']}; what the files are: benchmarks/leakage_tasks.py.", ""]
    lines += ["## Pictures", ""]
    lines += [
        (
            f"{pictures['planted']} edited copies of test pictures in train, and {pictures['natural']} train originals that are "
            "one picture with one of test. Share of each that goes for a test record:"
        ),
        "",
        *_table(
            "transform", {name: found["by_transform"] for name, found in pictures.items() if isinstance(found, dict)}
        ),
        "The same of those whose original has enough structure for a perceptual hash, or an embedding:",
        "",
        *_table(
            "transform",
            {n: found["by_transform_of_those_compared"] for n, found in pictures.items() if isinstance(found, dict)},
        ),
        *_natural(pictures),
        "## Texts",
        "",
        (
            f"{texts_['planted']} edited copies of test texts in train, and {texts_['natural']} train originals that are alike "
            "one of test by their runs of five characters. Share of each that goes for a test record:"
        ),
        "",
        *_table("edit", {name: found["by_edit"] for name, found in texts_.items() if isinstance(found, dict)}),
        *_natural(texts_),
        "## Questions in long documents",
        "",
        (
            f"HumanEval's tasks, each edited in seven ways, in {questions['documents'] - questions['without']} of "
            f"{questions['documents']} pages of the Linux documentation, {questions['characters']:,} characters in the middle. "
            "Share of the documents that go for a task:"
        ),
        "",
        *_table("edit", {name: found["by_edit"] for name, found in questions.items() if isinstance(found, dict)}),
    ]
    return "\n".join(lines) + "\n"


def _table(first: str, columns: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    edits = list(next(iter(columns.values())))
    rows = [f"| {first} | of | " + " | ".join(columns) + " |", "|---|---:|" + "---:|" * len(columns)]
    for edit in edits:
        counts = [column[edit] for column in columns.values()]
        found = [(each.get("found", 0) + each.get("found for another", 0)) / sum(each.values()) for each in counts]
        rows.append(f"| {edit} | {sum(counts[0].values())} | " + " | ".join(f"{share:.2f}" for share in found) + " |")
    return [*rows, ""]


def _natural(results: dict[str, Any]) -> list[str]:
    rows = [
        "| | natural found | kept | other originals gone | of these unlike | removed | remain |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in results.items():
        if isinstance(found, dict):
            missed, unlike = (
                each if isinstance(each, int) else len(each) for each in (found["missed"], found["unlike"])
            )
            cells = (found["natural_found"], missed, found["others_gone"], unlike, found["removed"], found["remaining"])
            rows.append(f"| {name} | " + " | ".join(map(str, cells)) + " |")
    return [*rows, ""]


if __name__ == "__main__":
    main()
