"""The page and the metadata of a version: counted by hand, and harmless whatever the data are called."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import projects
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import yaml

from dedupver.card.croissant import semantic
from dedupver.card.facts import Facts
from dedupver.card.page import escaped
from dedupver.manifest import open_manifest
from dedupver.project import Project

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "A sundial shows the time of day by the place of a shadow on a plate that is marked with hours number {}"
OTHER = "Barometers tell of the weight of air, and {} of them hang in a hall where nobody looks at any"
EVIL = "<script>alert(1)</script>|`x`\n# no heading [a](http://b) \x1b[31m*b*"

ROWS = [
    {"id": "a", "text": TEXT.format(1), "label": "clock", "source": "x", "size": 3, "tags": ["old", "round"]},
    {"id": "b", "text": TEXT.format(1), "label": "clock", "source": "y", "size": 4, "tags": []},
    {"id": "c", "text": OTHER.format("three"), "label": EVIL, "source": "x", "size": 5, "tags": ["new"]},
    {"id": "d", "text": "", "label": "none", "source": "x", "size": 6, "tags": []},
]


def _facts(root: Path) -> Facts:
    return Facts.of(Project(root), open_manifest(root / "manifest"))


def _front(root: Path) -> dict[str, object]:
    return dict(yaml.safe_load((root / "DATASET.md").read_text().split("---\n")[1]))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows, of which one is a copy and one is empty; a label with everything in it that could do harm."""
    root = projects.create(tmp_path_factory.mktemp("card"), ROWS, card={"name": "dials", "license": "cc0-1.0"})
    return projects.build(root)


def test_the_counts_are_those_of_the_manifest(built: Path) -> None:
    """What came, what stays, and of which attribute: by hand."""
    facts = _facts(built)
    assert facts.header["counts"] == {"n_in": 4, "kept": 2, "dropped": 1, "quarantined": 1, "references": 0}
    assert facts.holds == {
        "kept": 2, "removed": 1, "quarantined": 1, "gone": 0,
        "reasons": {"empty_text": 1, "exact_duplicate_of": 1},
    }  # fmt: skip
    assert facts.totals["bytes"] == len(ROWS[0]["text"]) + len(ROWS[2]["text"])
    assert facts.parts == {"text": 2}
    assert [tuple(share) for share in facts.attributes["label"]] == [("clock", 2, 1), (EVIL, 1, 1), ("none", 1, 0)]
    assert [tuple(share) for share in facts.attributes["source"]] == [("x", 3, 2), ("y", 1, 0)]
    assert facts.attributes["split"] == []


def test_forms_tell_files_records_and_columns(built: Path) -> None:
    """Of the clean files, not of the raw ones."""
    (form,) = _facts(built).forms
    assert (form.suffix, form.kind, form.files, form.records) == ("jsonl", "jsonl", 1, 2)
    assert form.bytes == (built / "clean/rows.jsonl").stat().st_size == form.tables[0].bytes
    assert form.columns["size"] == pa.int64()
    assert form.columns["tags"] == pa.list_(pa.string())


def test_the_front_matter_is_yaml_of_the_files(built: Path) -> None:
    """Hugging Face reads it."""
    assert _front(built) == {
        "pretty_name": "dials",
        "license": "cc0-1.0",
        "tags": ["croissant", "deduplicated"],
        "size_categories": ["n<1K"],
        "configs": [{"config_name": "jsonl", "data_files": "clean/**/*.jsonl"}],
    }


def test_a_label_can_be_neither_markdown_nor_html(built: Path) -> None:
    """Whatever it holds stays within its cell, to be read as it is."""
    text = (built / "DATASET.md").read_text()
    (line,) = [line for line in text.split("\n") if "alert" in line]
    assert "<script" not in text
    assert "\x1b" not in text
    assert len(re.findall(r"(?<!\\)\|", line)) == 6
    assert r"\[a\](http\://b)" in line
    assert escaped("near_duplicate_of _b_") == r"near_duplicate_of \_b\_"


def test_no_record_is_named(built: Path) -> None:
    """Ids and contents are not in what is published of a version: an erasure need not look there."""
    for name in ("DATASET.md", "croissant.json"):
        text = (built / name).read_text()
        assert "sundial" not in text
        assert '"a"' not in text


def test_metadata_names_files_by_their_digest(built: Path) -> None:
    """And columns by their types; maps have no word in Croissant."""
    found = json.loads((built / "croissant.json").read_text())
    assert (found["version"], found["datePublished"]) == ("1", "2024-01-01T00:00:00Z")
    (file,) = [each for each in found["distribution"] if each["@type"] == "cr:FileObject"]
    assert file["contentUrl"] == "clean/rows.jsonl"
    assert len(file["sha256"]) == 64
    fields = {each["name"]: each for each in found["recordSet"][0]["field"]}
    assert fields["size"]["dataType"] == "sc:Integer"
    assert fields["tags"]["isArray"] is True
    assert {each["name"] for each in found["recordSet"]} == {"records of jsonl", "all decisions"}


@pytest.mark.parametrize(
    ("name", "said"),
    [("v2", "2"), ("v1.10", "1.10"), ("3.0.1", "3.0.1"), ("v01", "0.0.0+v01"), ("2026_05", "0.0.0+2026-05")],
)
def test_versions_are_semantic(name: str, said: str) -> None:
    """Croissant wants MAJOR.MINOR.PATCH, or the beginning of it."""
    assert semantic(name) == said


def test_tables_of_every_kind_tell_their_columns(tmp_path: Path) -> None:
    """Those that all files of a suffix have, of one type; what can't be told is left out."""
    table = pa.table({"id": ["p", "q"], "text": [TEXT.format(2), OTHER.format("four")], "n": [1, 2]})
    for name in ("one", "two"):
        part = table.slice(name == "two", 1)
        (tmp_path / "in").mkdir(exist_ok=True)
        extra = part.append_column("extra", pa.array([0.5])) if name == "two" else part
        pq.write_table(extra, tmp_path / f"in/{name}.parquet")
    pyarrow.feather.write_feather(
        pa.table({"id": ["r"], "text": ["A feather of a bird that no other table of these has"]}),
        tmp_path / "in/f.feather",
    )
    files = {path.name: path.read_bytes() for path in (tmp_path / "in").iterdir()}
    files["s.tsv"] = "id\ttext\tn\ns\tA table whose columns are apart by a tab and no comma at all\t7\n"
    facts = _facts(projects.build(projects.create(tmp_path / "project", files)))
    columns = {form.suffix: list(form.columns) for form in facts.forms}
    assert columns == {"feather": ["id", "text"], "parquet": ["id", "text", "n"], "tsv": ["id", "text", "n"]}
    assert {form.suffix: form.records for form in facts.forms} == {"feather": 1, "parquet": 2, "tsv": 1}


def test_the_same_version_gives_the_same_bytes(built: Path) -> None:
    """Neither time nor place is in them."""
    before = (
        projects.tree(built / "clean"),
        (built / "DATASET.md").read_bytes(),
        (built / "croissant.json").read_bytes(),
    )
    projects.build(built, "manifest", "card")
    assert before[1:] == ((built / "DATASET.md").read_bytes(), (built / "croissant.json").read_bytes())
    assert str(built).encode() not in before[1] + before[2]


def test_the_page_shows_what_was_validated(tmp_path: Path) -> None:
    """Each rule with how many fail, of all and of the kept; nothing of the kind where nothing is asked."""
    rules = {"size": {"column": "size", "max": 4, "action": "report"}, "tag": {"column": "label", "pattern": "[a-z|]+"}}
    root = projects.build(projects.create(tmp_path, ROWS, validate__rules=rules))
    page = (root / "DATASET.md").read_text()
    assert "| size | size | number, at most 4 | report | 3 | 1 | 0 |" in page
    assert r"| tag | label | like \[a-z\|\]+ | quarantine | 3 | 1 | 0 |" in page


def test_a_page_without_rules_is_silent_of_them(built: Path) -> None:
    """No empty section."""
    assert "validated" not in (built / "DATASET.md").read_text()


def test_the_page_tells_of_leaks_and_splits(tmp_path: Path) -> None:
    """What of train resembled test data, and how records were divided; nothing where there is nothing to tell."""
    texts = [f"{OTHER.format(n)} {' '.join(f'word{n}{k}' for k in range(20))}" for n in range(10)]
    rows = [{"id": f"r{n}", "text": text, "split": "test" if n < 3 else "train"} for n, text in enumerate(texts)]
    rows.append({"id": "leak", "text": f"{texts[0]} indeed", "split": "train"})
    ratios = {"train": 0.8, "test": 0.2}
    root = projects.build(projects.create(tmp_path, rows, split={"ratios": ratios, "given": "ignore"}))
    text = (root / "DATASET.md").read_text()
    assert "| removed | train | test | minhash | 1 |" in text
    assert "1 leaking records went, 0 remain." in text
    assert "| train | 0.8 | 8 | +0.00% |" in text
    assert "## What leaked" not in page_of(projects.create(tmp_path / "alone", rows[3:4]))


def page_of(root: Path) -> str:
    """Build a project and return its page."""
    return (projects.build(root) / "DATASET.md").read_text()
