"""Leaks between splits and from benchmarks: who goes, what remains, and what the certificate says of it."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import projects
import pytest
from PIL import Image
from typer.testing import CliRunner

from dedupver import check, cli, leakage, params, store, versions
from dedupver.manifest import open_manifest
from dedupver.params import Params
from dedupver.repository import read_yaml
from dedupver.resolve.hot import Buckets
from dedupver.resolve.leaks import in_buckets
from dedupver.schema import ParamsError, SourceError, StateError

SUN = "A sundial shows the time of day by the place of a shadow on a plate that is marked with the hours"
SEA = "The sea covers most of the earth and holds nearly all of its water in basins that are deeper than mountains"
OWL = "An owl hunts at night and hears a mouse below the snow from the top of a tree a field away"
ASK = "Write a function that returns the sum of all even numbers in a list of integers given as its only argument"
FILL = " ".join(f"word{number}" for number in range(500))
WITH_NGRAMS = {"fingerprint__text__ngrams": 8, "dedup__leakage": {"ngrams": 0.5}}


def build(root: Path, files: projects.Files, version: str = "v1", **given: Any) -> Path:
    """Lay out a first version and build it."""
    return projects.build(projects.create(root, files, version, **given))


def follow(root: Path, files: projects.Files, version: str, **given: Any) -> Path:
    """Build the next version."""
    projects.advance(root)
    return projects.build(projects.reopen(root, files, version, **given))


def outcome(root: Path) -> dict[str, tuple[str, str, str | None]]:
    """Return of each record its action, reason and representative."""
    rows = projects.decisions(root).items()
    return {name: (row["action"], row["reason"], row["representative"]) for name, row in rows}


def certificate(root: Path) -> dict[str, Any]:
    """Return the certificate of a project's version, which must hold."""
    assert check.check(root) == []
    return leakage.certificate(open_manifest(root / "manifest"))


def picture(shade: int) -> bytes:
    """Return a PNG with some structure."""
    image = Image.radial_gradient("L").rotate(shade).resize((64 + shade, 64))
    held = io.BytesIO()
    image.convert("RGB").save(held, "PNG")
    return held.getvalue()


def rows(*texts: tuple[str, str]) -> str:
    """Return JSON Lines of an id and a text each."""
    return projects.jsonl([{"id": name, "text": text} for name, text in texts])


# splits


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/a.txt", "train"),
        ("x/Test/y/a.txt", "test"),
        ("dev/a.txt", "validation"),
        ("holdout/a.txt", None),
        ("attest/a.txt", None),
        ("test.jsonl", "test"),
        ("x/train-00000-of-00002.jsonl", "train"),
        ("val_3.jsonl", "validation"),
        ("training-notes.jsonl", None),
    ],
)
def test_folders_and_names_of_tables_say_the_split(tmp_path: Path, path: str, split: str | None) -> None:
    """The innermost folder called like a split, then the name of a table, of which there may be several pieces."""
    files = {path: rows(("a", SUN)) if path.endswith("jsonl") else SUN}
    root = projects.create(tmp_path, files)
    projects.build(root)
    (row,) = projects.decisions(root).values()
    assert row["split"] == split


def test_what_splits_are_called_is_for_params_to_say(tmp_path: Path) -> None:
    """Folders, names and values of the column; without any, folders say nothing and the column what it says."""
    files = {
        "holdout/a.txt": SUN,
        "test/b.txt": SEA,
        "rows.jsonl": '{"id": "c", "text": "' + OWL + '", "split": "HoldOut"}\n',
    }
    root = build(tmp_path, files, source__split_names={"holdout": "test"})
    splits = {name: row["split"] for name, row in projects.decisions(root).items()}
    assert splits == {"holdout/a.txt": "test", "test/b.txt": None, "c": "test"}
    projects.settings(root, version="v1", source__split_names={})
    projects.build(root)
    splits = {name: row["split"] for name, row in projects.decisions(root).items()}
    assert splits == {"holdout/a.txt": None, "test/b.txt": None, "c": "HoldOut"}


# who goes


def test_train_goes_for_test_by_the_text_that_is_nearly_its(tmp_path: Path) -> None:
    """At a threshold of its own; within train the same likeness drops nobody."""
    near = SUN.replace("shadow", "shade")
    files = {"train/a.txt": near, "test/b.txt": SUN, "train/c.txt": SEA, "train/d.txt": SEA.replace("water", "salt")}
    plain = outcome(build(tmp_path / "plain", files))
    assert {name for name, row in plain.items() if row[0] == "drop"} == set()
    root = build(tmp_path / "strict", files, dedup__leakage={"thresholds": {"text": 0.6}})
    assert outcome(root)["train/a.txt"] == ("drop", "leaks_from", "test/b.txt")
    assert {name for name, row in outcome(root).items() if row[0] == "drop"} == {"train/a.txt"}
    assert certificate(root)["compared_by"]["thresholds"]["text"] == 0.6


def test_a_picture_in_two_splits_is_a_leak_whatever_its_captions_are(tmp_path: Path) -> None:
    """A caption in two splits is none, for one caption stands beside many pictures."""
    files = {
        "train/a.png": picture(3),
        "train/a.txt": SUN,
        "test/b.png": picture(3),
        "test/b.txt": SEA,
        "train/c.png": picture(80),
        "train/c.txt": OWL,
        "test/d.png": picture(40),
        "test/d.txt": OWL,
    }
    root = build(tmp_path, files)
    assert outcome(root)["train/a.png"] == ("drop", "leaks_from", "test/b.png")
    assert outcome(root)["train/c.png"][0] == "keep"
    row = projects.decisions(root)["train/a.png"]
    assert (row["evidence"], row["rule"]) == ("image=exact", "leakage: {image: similar}")
    assert certificate(root)["removed"]["by"] == [
        {"reason": "leaks_from", "split": "train", "protected": "test", "method": "content", "records": 1}
    ]


def test_validation_goes_for_test_and_copies_go_too(tmp_path: Path) -> None:
    """Exact copies in three splits: the test's stays."""
    root = build(tmp_path, {"train/a.txt": SUN, "val/b.txt": SUN, "test/c.txt": SUN, "train/d.txt": SEA})
    assert {name for name, row in outcome(root).items() if row[0] == "keep"} == {"test/c.txt", "train/d.txt"}
    assert certificate(root)["removed"]["records"] == 2


def test_a_report_leaves_them_and_says_so(tmp_path: Path) -> None:
    """What makes no duplicate stays with `action: report`; it is listed, and ends the command with its exit code."""
    files = {"train/a.txt": f"{FILL} {ASK} {FILL[::-1]}", "test/q.txt": ASK}
    given = {**WITH_NGRAMS, "dedup__leakage": {"ngrams": 0.5, "action": "report"}}
    root = build(tmp_path, files, **given)
    assert outcome(root)["train/a.txt"][0] == "keep"
    told = certificate(root)
    assert told["remaining"] == {
        "records": 1,
        "by": [{"split": "train", "protected": "test", "method": "ngram", "records": 1}],
    }
    result = CliRunner().invoke(cli.app, ["-C", str(root), "leaks"])
    assert result.exit_code == 8
    assert "0 leaks removed, 1 remain" in result.stdout
    assert projects.metrics(root, "dedup")["leaks"] == {"removed": 0, "remaining": 1}


def test_a_question_in_a_long_document_is_found_and_shown(tmp_path: Path) -> None:
    """By its n-grams, of which the document has all, where the similarity of the wholes is a few hundredths."""
    document = f"{FILL}\n\n{ASK.upper()}!\n\n{FILL[::-1]}"
    root = build(tmp_path, {"train/a.txt": document, "test/q.txt": ASK, "train/b.txt": FILL[100:]}, **WITH_NGRAMS)
    row = projects.decisions(root)["train/a.txt"]
    assert (row["reason"], row["representative"], row["evidence"]) == ("leaks_from", "test/q.txt", "text.ngram=1")
    assert outcome(root)["train/b.txt"][0] == "keep"
    certificate(root)
    result = CliRunner().invoke(cli.app, ["-C", str(root), "explain", "train/a.txt", "--json"])
    (common,) = json.loads(result.stdout)["overlap"]
    assert (common["words"], common["at"]) == (len(ASK.split()), 500)
    assert common["text"] == ASK.casefold()
    assert "in common:" in CliRunner().invoke(cli.app, ["-C", str(root), "explain", "train/a.txt"]).stdout


def test_a_persons_word_goes_before_all(tmp_path: Path) -> None:
    """`different` lets both stay, and no leak is said to remain."""
    files = {"train/a.txt": SUN, "test/b.txt": SUN, "train/c.txt": SEA}
    root = projects.create(tmp_path, files)
    (root / "reviews.csv").write_text("left,right,label\ntrain/a.txt,test/b.txt,different\n")
    projects.build(root)
    assert outcome(root)["train/a.txt"][0] == "keep"
    assert certificate(root)["remaining"]["records"] == 0


# history


def test_what_was_published_stays_and_the_new_test_record_goes(tmp_path: Path) -> None:
    """With frozen history; judged again, it is the train record that goes."""
    root = build(tmp_path, {"train/a.txt": SUN, "train/c.txt": SEA})
    more = {"train/a.txt": SUN, "train/c.txt": SEA, "test/b.txt": SUN + " of light"}
    follow(root, more, "v2")
    assert outcome(root)["test/b.txt"] == ("drop", "leaks_into", "train/a.txt")
    assert outcome(root)["train/a.txt"][0] == "keep"
    assert [row["reason"] for row in certificate(root)["removed"]["by"]] == ["leaks_into"]
    follow(root, more, "v3", dedup__history="rejudge")
    assert outcome(root)["train/a.txt"] == ("drop", "leaks_from", "test/b.txt")
    assert outcome(root)["test/b.txt"][0] == "keep"
    assert certificate(root)["remaining"]["records"] == 0


def test_a_new_benchmark_and_a_published_record_are_told(tmp_path: Path) -> None:
    """Neither may go while history is frozen: the leak remains, is counted, and rejudging takes it away."""
    root = build(tmp_path, {"train/a.txt": SUN, "train/c.txt": SEA})
    more = {"train/a.txt": SUN, "train/c.txt": SEA, "bench/b.txt": SUN}
    follow(root, more, "v2", source__references=["bench/*"])
    told = certificate(root)
    assert told["remaining"]["records"] == 1
    assert told["worst"]["remaining"][0]["id"] == "train/a.txt"
    assert told["worst"]["remaining"][0]["protected"] == "reference"
    follow(root, more, "v3", source__references=["bench/*"], dedup__history="rejudge")
    assert outcome(root)["train/a.txt"] == ("drop", "leaks_from", "bench/b.txt")
    assert certificate(root)["remaining"]["records"] == 0


def test_a_published_record_that_moves_to_test_is_told(tmp_path: Path) -> None:
    """Its split changed, not what it holds: with frozen history it stays, and so does what it resembles."""
    near = SUN.replace("shadow", "shade")
    files = {
        "rows.jsonl": projects.jsonl(
            [{"id": "a", "text": SUN, "split": "train"}, {"id": "b", "text": near, "split": "train"}]
        )
    }
    given = {"dedup__leakage": {"thresholds": {"text": 0.6}}}
    root = build(tmp_path, files, **given)
    files = {
        "rows.jsonl": projects.jsonl(
            [{"id": "a", "text": SUN, "split": "test"}, {"id": "b", "text": near, "split": "train"}]
        )
    }
    follow(root, files, "v2", **given)
    assert certificate(root)["worst"]["remaining"][0]["id"] == "b"


def test_in_two_versions_or_at_once(tmp_path: Path) -> None:
    """Judged again with all history, v2 keeps what one version of all of it keeps; n-grams of merged segments too."""
    first = {"train/a.txt": f"{FILL} {ASK}", "train/b.txt": SEA, "test/c.txt": OWL}
    more = {**first, "test/q.txt": ASK, "train/d.txt": OWL + " again", "train/e.txt": f"{FILL[9:]} {ASK}"}
    root = build(tmp_path / "two", first, **WITH_NGRAMS)
    follow(root, more, "v2", **WITH_NGRAMS, dedup__history="rejudge")
    once = build(tmp_path / "once", more, **WITH_NGRAMS)
    assert projects.kept(root) == projects.kept(once) == {"train/b.txt", "test/c.txt", "test/q.txt"}
    frozen = build(tmp_path / "frozen", first, **WITH_NGRAMS)
    follow(frozen, more, "v2", **WITH_NGRAMS)
    assert outcome(frozen)["test/q.txt"] == ("drop", "leaks_into", "train/a.txt")
    assert certificate(frozen)["remaining"]["records"] == 0


# benchmarks beside the source


@pytest.fixture
def kept_references(tmp_path: Path) -> Any:
    """Return what builds a project with a benchmark."""

    def made(*files: tuple[str, str | bytes], **given: Any) -> Path:
        root = tmp_path / "p"
        shutil.rmtree(root, ignore_errors=True)
        for name, data in files:
            store.write_bytes(root / "bench" / name, data if isinstance(data, bytes) else data.encode())
        keys = {f"source__reference__{key}": value for key, value in {"path": "bench", **given}.items()}
        return projects.create(root, {"a.txt": SUN, "b.txt": SEA, "c.txt": OWL}, **keys)

    return made


def test_tables_and_texts_beside_the_source(kept_references: Any) -> None:
    """Compared, never written, and named after where they lie; what can't be read of them is in the certificate."""
    table = projects.jsonl([{"question": SUN}, {"question": " "}])
    root = projects.build(
        kept_references(
            ("q.jsonl", table), ("t.txt", f"one\n\n{SEA}\n".encode()), records="line", columns={"text": "question"}
        )
    )
    assert outcome(root)["a.txt"] == ("drop", "leaks_from", "bench/q.jsonl#0")
    assert outcome(root)["b.txt"] == ("drop", "leaks_from", "bench/t.txt#1")
    assert outcome(root)["bench/q.jsonl#1"][:2] == ("quarantine", "empty_text")
    assert [path.name for path in (root / "clean").rglob("*")] == ["c.txt"]
    told = certificate(root)
    assert told["not_compared"]["quarantined"] == {"empty_text": 1}
    assert told["sides"][0] == {"side": "references", "splits": [], "records": 3, "kept": 3, "contents": {"text": 3}}
    assert projects.metrics(root, "dedup")["references"] == 4


def test_a_record_a_paragraph(kept_references: Any) -> None:
    """Runs of lines between blank ones; a byte order mark is none of them, and bad UTF-8 is quarantined alone."""
    cut = SUN.replace(" by ", "\nby ")
    root = projects.build(
        kept_references(
            ("t.txt", b"\xef\xbb\xbf" + f"{cut}\n \n\n{SEA}\r\n\r\n".encode() + b"\xff"), records="paragraph"
        )
    )
    assert outcome(root)["a.txt"] == ("drop", "leaks_from", "bench/t.txt#0")
    assert outcome(root)["b.txt"] == ("drop", "leaks_from", "bench/t.txt#1")
    assert outcome(root)["bench/t.txt#2"][:2] == ("quarantine", "bad_utf8")


def test_a_line_beyond_the_limit_is_quarantined_and_the_next_is_read(kept_references: Any) -> None:
    """Nothing of it is held in memory."""
    root = kept_references(("t.txt", "x" * 5000 + f"\n{SUN}\n"), records="line")
    projects.settings(
        root,
        version="v1",
        source__reference__path="bench",
        source__reference__records="line",
        source__max_text_bytes=1000,
    )
    projects.build(root)
    assert outcome(root)["bench/t.txt#0"][:2] == ("quarantine", "huge_text")
    assert outcome(root)["a.txt"] == ("drop", "leaks_from", "bench/t.txt#1")


def test_a_benchmark_that_is_missing_or_empty_ends_the_run(kept_references: Any) -> None:
    """For it would protect from nothing, without a word."""
    root = kept_references()
    with pytest.raises(SourceError, match="bench is no folder: run `dvc checkout`"):
        projects.build(root, "fingerprint")
    (root / "bench").mkdir()
    with pytest.raises(SourceError, match="bench is empty"):
        projects.build(root, "fingerprint")


def test_one_that_cannot_be_read_is_quarantined(kept_references: Any) -> None:
    """And the certificate says that it was not compared."""
    root = projects.build(kept_references(("q.parquet", b"PAR1 nothing"), ("t.txt", SUN)))
    assert outcome(root)["bench/q.parquet"][0] == "quarantine"
    assert certificate(root)["not_compared"]["quarantined"] == {"unreadable_file": 1}
    assert outcome(root)["a.txt"][1] == "leaks_from"


def test_a_benchmark_that_dvc_does_not_watch_is_refused(kept_references: Any) -> None:
    """The line that dvc.yaml lacks is in the message."""
    root = kept_references(("t.txt", SUN))
    template = Path(versions.__file__).parent / "template" / "dvc.yaml"
    (root / "dvc.yaml").write_bytes(template.read_bytes())
    with pytest.raises(StateError, match="add the line `- bench` to the deps of the stage fingerprint"):
        projects.build(root, "fingerprint")
    stages = read_yaml(root / "dvc.yaml")
    stages["stages"]["fingerprint"]["deps"].append("bench")
    store.write_json(root / "dvc.yaml", json.loads(json.dumps(stages)))
    projects.build(root, "fingerprint")


def test_a_benchmark_that_changes_is_read_again_in_the_next_version(kept_references: Any) -> None:
    """What it lost protects no more, and what it gained does; a frozen base keeps what it published."""
    root = projects.build(kept_references(("t.txt", f"{SUN}\n{SEA}\n"), records="line"))
    store.write_bytes(root / "bench/t.txt", f"{SEA}\n{OWL}\n".encode())
    files = {"a.txt": SUN, "b.txt": SEA, "c.txt": OWL, "d.txt": OWL + " and back"}
    follow(root, files, "v2", source__reference__path="bench", source__reference__records="line")
    assert outcome(root)["a.txt"][:2] == ("keep", "restored")
    assert outcome(root)["b.txt"] == ("drop", "leaks_from", "bench/t.txt#0")
    assert outcome(root)["c.txt"][0] == "keep"
    assert outcome(root)["d.txt"][0] == "drop"
    assert certificate(root)["worst"]["remaining"][0]["id"] == "c.txt"


# the certificate


def test_its_counts_are_those_of_real_texts_compared_one_by_one(tmp_path: Path) -> None:
    """Licence texts in two splits at random: what goes and what remains, by the sets of their words' runs of three."""
    texts = projects.licences()
    names = sorted(texts)
    files = {f"{'test' if at % 4 == 0 else 'train'}/{name}": texts[name] for at, name in enumerate(names)}
    root = build(tmp_path, files, dedup__leakage={"thresholds": {"text": 0.65}})
    live = projects.decisions(root)
    told = certificate(root)
    gone = Counter(
        (row["split"], live[row["representative"]]["split"], row["method"])
        for row in live.values()
        if row["reason"] == "leaks_from"
    )
    assert {(row["split"], row["protected"], row["method"]): row["records"] for row in told["removed"]["by"]} == gone
    assert told["removed"]["records"] == gone.total() > 5
    assert told["remaining"] == {"records": 0, "by": []}
    kept = {
        split: [runs(files[name]) for name, row in live.items() if row["action"] == "keep" and row["split"] == split]
        for split in ("test", "train")
    }
    assert max(len(a & b) / len(a | b) for a in kept["train"] for b in kept["test"] if a and b) < 0.65
    sides = {side["side"]: (side["records"], side["kept"]) for side in told["sides"]}
    for side, split in (("test", "test"), ("others", "train")):
        mine = [row["action"] for row in live.values() if row["split"] == split and row["action"] != "quarantine"]
        assert sides[side] == (len(mine), mine.count("keep"))


def runs(data: str | bytes) -> set[tuple[str, ...]]:
    """Return a text's runs of three words, of letters and digits of ASCII; the licences are English."""
    text = data.decode(errors="replace") if isinstance(data, bytes) else data
    words = re.findall(r"\w+", text.casefold())
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)} if len(words) >= 5 else set()


def test_one_that_was_tampered_with_is_found(tmp_path: Path) -> None:
    """By its digest; and where that was made anew, by what the decisions and the index say."""
    root = build(tmp_path, {"train/a.txt": SUN, "test/b.txt": SUN, "train/c.txt": SEA})
    path = root / "manifest" / "v1.leaks.json"
    told = store.read_json(path)
    store.write_json(path, {**told, "removed": {"records": 0, "by": []}})
    assert [finding.check for finding in check.check(root)] == ["digest"]
    (root / "manifest" / store.LISTING).unlink()
    store.seal(root / "manifest")
    assert ("leaks", "v1.leaks.json") in {(finding.check, finding.subject) for finding in check.check(root)}


def test_each_version_keeps_its_own(tmp_path: Path) -> None:
    """The base's certificates lie beside the new one, byte for byte."""
    root = build(tmp_path, {"train/a.txt": SUN, "test/b.txt": SUN})
    first = (root / "manifest" / "v1.leaks.json").read_bytes()
    follow(root, {"train/a.txt": SUN, "test/b.txt": SUN, "train/c.txt": SEA}, "v2")
    assert (root / "manifest" / "v1.leaks.json").read_bytes() == first
    assert certificate(root)["version"] == "v2"


def test_without_splits_there_is_nothing_to_say(tmp_path: Path) -> None:
    """And the command ends well."""
    root = build(tmp_path, {"a.txt": SUN, "b.txt": SEA})
    assert certificate(root)["removed"]["records"] == 0
    result = CliRunner().invoke(cli.app, ["-C", str(root), "leaks"])
    assert (result.exit_code, result.stdout) == (0, "v1: all records are of one side, there is nothing to leak into\n")


def test_a_manifest_without_one_says_what_to_do(tmp_path: Path) -> None:
    """An earlier release built it."""
    root = build(tmp_path, {"a.txt": SUN})
    (root / "manifest" / "v1.leaks.json").unlink()
    (root / "manifest" / store.LISTING).unlink()
    store.seal(root / "manifest")
    with pytest.raises(StateError, match="no leak certificate: an earlier release built it"):
        leakage.certificate(open_manifest(root / "manifest"))
    assert {finding.check for finding in check.check(root)} <= {"lineage"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dedup": {"leakage": {"protected": ["gold"]}}}, "'gold' is not in dedup.splits"),
        ({"dedup": {"leakage": {"parts": ["pictures"]}}}, "'pictures' is no part"),
        ({"dedup": {"leakage": {"thresholds": {"image": 0.5}}}}, "below match.floor.image"),
        ({"dedup": {"leakage": {"thresholds": {"txt": 0.9}}}}, "txt"),
        ({"dedup": {"leakage": {"ngrams": 0.5}}}, "set fingerprint.text.ngrams: 13"),
        ({"source": {"reference": {"path": "data/raw/bench"}}}, "not in data/raw"),
        ({"source": {"reference": {"path": "../bench"}}}, "a folder of the repository"),
        ({"source": {"reference": {"path": "/bench"}}}, "reference.path"),
        ({"source": {"reference": {"columns": {"txt": "question"}}}}, "did you mean 'text'"),
    ],
)
def test_wrong_params_are_named(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    """With the key and what is known beside it."""
    (tmp_path / "params.yaml").write_bytes(store.canonical_json(given))
    with pytest.raises(ParamsError, match=message):
        params.load(tmp_path / "params.yaml")


def test_what_is_protected_follows_the_order_of_splits() -> None:
    """All but the last unless params name some, and then in that order."""
    assert Params().dedup.protected == ("test", "validation")
    assert Params.model_validate({"dedup": {"splits": ["gold", "train"]}}).dedup.protected == ("gold",)
    named = {"dedup": {"leakage": {"protected": ["validation", "test"]}}}
    assert Params.model_validate(named).dedup.protected == ("test", "validation")


def test_a_bucket_of_too_many_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three test records and two of train in one bucket, two may be compared where ten comparisons are too many."""
    monkeypatch.setattr("dedupver.resolve.leaks.COMPARED", 1)
    members = np.array([(0 << 32) | node for node in range(5)], np.uint64)
    side = np.array([1, 1, 1, 2, 2])
    found, left_out = in_buckets(Buckets.of(members, 1, 5), side)
    assert [(one.tolist(), others.tolist()) for one, others in found] == [([0], [3, 4]), ([1], [3, 4])]
    assert left_out == 1


def test_a_benchmark_beside_batches(kept_references: Any) -> None:
    """In mode append it is compared with each batch, once it is there; and again without a base."""
    given = {"source__reference__path": "bench", "source__reference__records": "line", "source__mode": "append"}
    root = kept_references(("t.txt", f"{SUN}\n{SEA}\n"))
    projects.settings(root, version="v1", **given)
    projects.build(root)
    assert outcome(root)["a.txt"] == ("drop", "leaks_from", "bench/t.txt#0")
    follow(root, {"d.txt": SEA + " and lakes", "e.txt": ASK}, "v2", **given)
    assert outcome(root)["d.txt"] == ("drop", "leaks_from", "bench/t.txt#1")
    assert outcome(root)["b.txt"] == ("drop", "leaks_from", "bench/t.txt#1")
    told = certificate(root)
    assert (told["removed"]["records"], told["remaining"]["records"]) == (3, 0)
    before = projects.kept(root)
    projects.settings(root, version="v2", base="none", **given)
    projects.build(root)
    assert projects.kept(root) == before
