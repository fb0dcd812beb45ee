"""The split stage through versions of real texts: what it writes, what the commands say, and what they refuse."""

from __future__ import annotations

import itertools
import json
import shutil
from typing import TYPE_CHECKING, Any

import projects
import pyarrow.parquet as pq
import pytest
from skimage import data as pictures
from skimage.io import imsave
from typer.testing import CliRunner

from dedupver import cli, pipeline, replay, store, versions
from dedupver.check import check
from dedupver.params import Params
from dedupver.repository import assign, dvc
from dedupver.schema import GateError, ParamsError, StateError
from dedupver.splits import splits, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RATIOS = {"train": 0.6, "validation": 0.2, "test": 0.2}
ON: dict[str, Any] = {"ratios": RATIOS, "by": ["label"]}


def rows_of(files: projects.Files) -> projects.Rows:
    """Return texts as rows; the label is the licence's family, and some have none."""
    families = {"MIT": "Permission is hereby granted", "Apache": "Apache License", "BSD": "Redistribution and use"}
    rows = []
    for name, data in files.items():
        text = data.decode(errors="replace") if isinstance(data, bytes) else data
        label = next((family for family, words in families.items() if words in text), None)
        rows.append({"id": name, "text": text, "label": label, "source": name.partition("-")[0][:1]})
    return rows


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, str]], list[bytes]]:
    """Return a project with three versions of licence texts; each version's splits by id, and v1's table as bytes."""
    root, rows = tmp_path_factory.mktemp("three"), rows_of(projects.licences())
    rows = [*rows[::3], *rows[1::3], *rows[2::3]]  # near copies come apart
    assigned, tables = [], []
    for number, end in enumerate((30, 60, len(rows)), start=1):
        if number == 1:
            projects.create(root, rows[:end], split=ON)
        else:
            projects.advance(root)
            projects.reopen(root, rows[:end], f"v{number}", split=ON)
        projects.build(root)
        assert check(root) == []
        assigned.append(assignments(root))
        tables.append((root / "splits/v1.parquet").read_bytes())
    return root, assigned, tables


@pytest.fixture
def copy(three: tuple[Path, list[dict[str, str]], list[bytes]], tmp_path: Path) -> Path:
    """Return a copy of it that a test may change."""
    return shutil.copytree(three[0], tmp_path / "copy")


def assignments(root: Path) -> dict[str, str]:
    """Return the split of each id, as a join of the tables gives it."""
    tables = [pq.read_table(path).to_pylist() for path in sorted((root / "splits").glob("*.parquet"))]
    rows = list(itertools.chain.from_iterable(tables))
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row["split"] for row in rows}


def test_who_was_assigned_stays(three: tuple[Path, list[dict[str, str]], list[bytes]]) -> None:
    """Each version adds a table, and changes none of those before."""
    root, (one, two, last), tables = three
    assert one.items() < two.items() < last.items()
    assert len(set(tables)) == 1
    assert sorted(path.name for path in (root / "splits").iterdir()) == [
        *("exceptions.jsonl", "files.json", "splits.json"),
        *("v1.parquet", "v2.parquet", "v3.parquet"),
    ]
    told = splits(root)
    assert told["records"] == sum(told["sizes"].values()) + told["unassigned"] == len(projects.kept(root))
    assert told["off_strata"] <= told["strata"]


def test_the_sizes_are_near_the_ratios(three: tuple[Path, list[dict[str, str]], list[bytes]]) -> None:
    """Licences hang together in large clusters, and still each split has its share."""
    deviation = projects.metrics(three[0], "split")["deviation"]
    assert max(map(abs, deviation.values())) < 0.05


def test_a_second_run_gives_the_same_bytes(copy: Path) -> None:
    """All that the stage writes."""
    before = projects.outputs(copy)
    pipeline.run("split", copy)
    assert projects.outputs(copy) == before


def test_all_anew_where_params_say_so(copy: Path) -> None:
    """What was assigned before is forgotten; the sizes are what they would be in one version."""
    rows = rows_of(projects.licences())
    projects.reopen(copy, rows, "v3", split={**ON, "history": "anew", "seed": 5})
    projects.build(copy, "split")
    assert [path.name for path in (copy / "splits").glob("*.parquet")] == ["v3.parquet"]
    assert check(copy) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "is kept, and has no split"),
        (lambda rows: [*rows, rows[0]], "is assigned more than once"),
        (lambda rows: [r | {"split": "test" if r["unit"] == r["id"] else "train"} for r in rows], "alike, in"),
    ],
)
def test_check_finds_what_is_wrong(copy: Path, change: Callable[[Any], Any], said: str) -> None:
    """A record without a split or with two, and a cluster in two splits."""
    rewrite(copy / "splits", "v3.parquet", change)
    found = check(copy)
    assert found
    assert any(said in finding.message for finding in found)
    assert {finding.check for finding in found} == {"split"}


def test_check_finds_what_was_moved(copy: Path) -> None:
    """What the version before assigned lies in the base as it was."""
    rewrite(copy / "splits", "v1.parquet", lambda rows: [*rows[:-1], rows[-1] | {"split": "elsewhere"}])
    assert ("splits/v1.parquet", "is not what was assigned before") in {(f.subject, f.message) for f in check(copy)}


def test_check_finds_a_flipped_bit(copy: Path) -> None:
    """By the digest."""
    data = bytearray((copy / "splits/v2.parquet").read_bytes())
    data[40] ^= 1
    (copy / "splits/v2.parquet").unlink()
    (copy / "splits/v2.parquet").write_bytes(data)
    assert [(f.check, f.subject) for f in check(copy)] == [("digest", "splits")]


def rewrite(place: Path, name: str, change: Callable[[Any], Any]) -> None:
    """Change a table, and seal it as if nothing had happened."""
    table = pq.read_table(place / name)
    rows = change(table.to_pylist())
    (place / name).unlink()
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), place / name)
    (place / "files.json").unlink()
    store.seal(place)


def test_each_split_is_a_dataset_of_its_own(
    three: tuple[Path, list[dict[str, str]], list[bytes]], tmp_path: Path
) -> None:
    """Written in the form it came in: together they are the clean dataset."""
    root, (*_, last), _ = three
    counts = write(root, tmp_path / "out")
    names = {path.parent.name: [json.loads(line)["id"] for line in path.open()] for path in tmp_path.glob("out/*/*")}
    assert {split: len(ids) for split, ids in names.items()} == counts
    kept = projects.kept(root)
    assert {name: split for split, ids in names.items() for name in ids} == {n: s for n, s in last.items() if n in kept}
    with pytest.raises(StateError, match="holds something"):
        write(root, tmp_path / "out")


def test_the_command(three: tuple[Path, list[dict[str, str]], list[bytes]]) -> None:
    """As text and as JSON."""
    text = CliRunner().invoke(cli.app, ["-C", str(three[0]), "splits"]).stdout
    assert text.splitlines()[1].split() == ["split", "records", "share", "ratio"]
    assert "the largest of several records:" in text
    found = json.loads(CliRunner().invoke(cli.app, ["-C", str(three[0]), "splits", "--json"]).stdout)
    assert found["sizes"].keys() == RATIOS.keys()
    bars = (three[0] / "plots/splits.csv").read_text().splitlines()
    assert bars[0] == "stratum,split,records"
    assert sum(int(line.rpartition(",")[2]) for line in bars[1:]) == found["records"] - found["unassigned"]


def few(count: int = 12, **said: Any) -> projects.Rows:
    """Return rows that resemble nothing."""
    words = ["ash", "birch", "cedar", "date", "elm", "fir", "gum", "holly", "ivy", "juniper", "kapok", "lime"]
    return [{"id": f"t{at}", "text": f"{words[at]} {at} " * 6, **said} for at in range(count)]


def test_without_ratios_the_data_says(tmp_path: Path) -> None:
    """The stage is valid, assigns nothing, and counts what there is, hostile names too; gates hold for it as well."""
    evil = "=cmd\x1b[2J"
    rows = [
        *few(5, split="train"),
        *({**each, "id": f"x{each['id']}", "text": each["text"] * 2 + "x", "split": evil} for each in few(2)),
    ]
    root = projects.build(projects.create(tmp_path, rows))
    assert projects.metrics(root, "split")["sizes"] == {"train": 5, evil: 2}
    assert [path.name for path in (root / "splits").glob("*.parquet")] == []
    assert '"""=cmd' in (root / "plots/splits.csv").read_text()
    assert check(root) == []
    text = CliRunner().invoke(cli.app, ["-C", str(root), "splits"]).stdout
    assert "as the data gives them" in text
    assert "\x1b" not in text
    with pytest.raises(StateError, match="can't name a folder"):
        write(root, tmp_path / "out")
    projects.settings(root, version="v1", split={"gates": {"records": {"test": 1}}})
    with pytest.raises(GateError, match=r"split.gates.records.test is 1, and test has 0"):
        pipeline.run("split", root)


def test_a_base_of_before_there_were_splits(tmp_path: Path) -> None:
    """All is new then; and splits that are switched off for a version are carried on to the next."""
    root = projects.build(projects.create(tmp_path, few(6)))
    shutil.rmtree(root / "splits")
    projects.advance(root)
    assert not (root / "base/splits").exists()
    projects.build(projects.reopen(root, few(9), "v2", split=ON))
    two = assignments(root)
    assert len(two) == 9
    projects.advance(root)
    projects.build(projects.reopen(root, few(10), "v3"))
    assert assignments(root) == two
    assert check(root) == []
    projects.advance(root)
    projects.build(projects.reopen(root, few(12), "v4", split=ON))
    assert (len(assignments(root)), assignments(root).items() > two.items()) == (12, True)
    assert check(root) == []


def test_without_a_base_splits_stay(tmp_path: Path) -> None:
    """`version.base: none` forgets the index and the decisions, and not who is in the test split."""
    root = projects.build(projects.create(tmp_path, few(8), split=ON))
    one = assignments(root)
    projects.advance(root)
    projects.build(
        projects.reopen(root, few(12), "v2", base="none", split={**ON, "seed": 9}, fingerprint__text__shingle=2)
    )
    assert assignments(root).items() > one.items()
    assert check(root) == []


def test_append_mode(tmp_path: Path) -> None:
    """Each batch adds its own; a split is written with a folder for each version."""
    root = projects.build(projects.create(tmp_path, few(6), split=ON, source__mode="append"))
    one = assignments(root)
    projects.advance(root)
    projects.build(projects.reopen(root, few(12)[6:], "v2", split=ON, source__mode="append"))
    assert assignments(root).items() > one.items()
    assert sum(write(root, root / "out").values()) == 12
    assert {path.parent.name for path in root.glob("out/*/*/*")} == {"v1", "v2"}
    assert check(root) == []


def test_captions_of_one_picture_are_in_one_split(tmp_path: Path) -> None:
    """They are no duplicates, and still a test split must not hold a picture that was trained on."""
    imsave(tmp_path / "cat.png", pictures.chelsea(), check_contrast=False)
    picture = (tmp_path / "cat.png").read_bytes()
    files: projects.Files = {}
    for at, row in enumerate(few(10)):
        files |= {f"{at}.png": picture, f"{at}.txt": row["text"]}
    root = projects.build(projects.create(tmp_path / "p", files, split=ON))
    assert (len(projects.kept(root)), len(set(assignments(root).values()))) == (10, 1)
    projects.settings(root, version="v1", split={**ON, "together": []})
    pipeline.run("split", root)
    assert len(set(assignments(root).values())) == 3


@pytest.mark.parametrize("by", [["label"], ["source", "folder"], ["path"], []])
def test_strata_that_hold_one_record(tmp_path: Path, by: list[str]) -> None:
    """And labels that are null, hostile, or all different."""
    labels = [None, "", "=1+1", "\x1b[31m", '","', "a", "b", "ж", "\u202e", "x" * 300, "c", "d"]
    rows = [row | {"label": label} for row, label in zip(few(), labels, strict=True)]
    root = projects.build(projects.create(tmp_path, rows, split={**ON, "by": by}))
    assert sorted(projects.metrics(root, "split")["sizes"].values()) == [2, 3, 7]
    text = CliRunner().invoke(cli.app, ["-C", str(root), "splits"]).stdout
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert check(root) == []


def test_groups_never_cross(tmp_path: Path) -> None:
    """A group of newcomers goes where its first records are."""
    rows = [row | {"source": f"s{at % 4}"} for at, row in enumerate(few())]
    root = projects.build(projects.create(tmp_path, rows[:6], split={**ON, "group": "source"}))
    projects.advance(root)
    projects.build(projects.reopen(root, rows, "v2", split={**ON, "group": "source"}))
    found = assignments(root)
    assert {len({found[row["id"]] for row in rows if row["source"] == f"s{at}"}) for at in range(4)} == {1}
    assert check(root) == []


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"ratios": {"train": 0.8, "test": 0.1}}, "the ratios sum to 0.9, and must sum to 1"),
        ({"ratios": {"train": 1.5, "test": -0.5}}, "ratios.train"),
        ({"ratios": {"../up": 1}}, "ratios"),
        ({"ratios": {"train": 1}, "gates": {"records": {"tset": 5}}}, "'tset' is no split of the ratios"),
        ({"by": ["country"]}, "split.by"),
        ({"together": [{}]}, "all records together"),
        ({"together": [{"text": 0.3}]}, "below match.floor.text"),
        ({"together": [{"tetx": 0.7}]}, "split.together: unknown term 'tetx'"),
        ({"ratio": {"train": 1}}, "did you mean 'ratios'"),
    ],
)
def test_params_that_make_no_sense(tmp_path: Path, split: dict[str, Any], said: str) -> None:
    """They are refused before anything runs, with the key."""
    root = projects.create(tmp_path, few(1), split=split)
    with pytest.raises(ParamsError, match=said.replace("(", r"\(")):
        pipeline.run("split", root)


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({"records": {"test": 4}}, "split.gates.records.test is 4, and test has 3"),
        ({"deviation": 0.01}, "split.gates.deviation is 0.01, and validation is"),
        ({"straddling": 0, "aside": 0, "deviation": 0.1, "records": {"train": 7}}, None),
    ],
)
def test_gates(tmp_path: Path, gates: dict[str, Any], said: str | None) -> None:
    """A bound that does not hold stops the stage with exit code 7; the splits of before stay."""
    root = projects.build(projects.create(tmp_path, few(), split=ON))
    before = projects.tree(root / "splits")
    projects.settings(root, version="v1", split={**ON, "gates": gates})
    if said is None:
        pipeline.run("split", root)
        return
    with pytest.raises(GateError, match=said) as error:
        pipeline.run("split", root)
    assert error.value.exit_code == 7
    assert projects.tree(root / "splits") == before


def test_splits_of_another_manifest_are_refused(copy: Path) -> None:
    """The line says what to run."""
    (copy / "manifest/files.json").write_text("{}")
    for ask in (splits, lambda root: write(root, copy / "out")):
        with pytest.raises(StateError, match="run `dvc repro`"):
            ask(copy)
    shutil.rmtree(copy / "splits")
    with pytest.raises(StateError, match="splits/ is missing"):
        splits(copy)


def test_the_order_of_ratios_says_nothing() -> None:
    """JSON and DVC know none."""
    one, two = (
        Params.model_validate({"split": {"ratios": dict(r)}}) for r in (RATIOS.items(), reversed(RATIOS.items()))
    )
    assert list(one.split.ratios) == list(two.split.ratios) == ["train", "test", "validation"]


def test_three_versions_under_dvc(
    repository: Path,
    fill_source: Callable[[Path, dict[str, str]], None],
    release_version: Callable[[Path, str], None],
) -> None:
    """`dvc diff` names what each version added; a repro does nothing, and a replay runs nothing."""
    versions.init(repository)
    fast = {"fingerprint.text.encoder": None, "fingerprint.image.encoder": None, "engine.workers": 1}
    assign(repository / "params.yaml", {**fast, "split.ratios": RATIOS})
    texts = {f"{row['id']}.txt": row["text"] for row in few()}
    seen: list[dict[str, str]] = []
    for number, end in enumerate((6, 9, 12), start=1):
        if number > 1:
            versions.next_version(repository, f"v{number}", f"2026-01-0{number}T00:00:00Z")
        fill_source(repository, dict(list(texts.items())[:end]))
        release_version(repository, f"v{number}")
        seen.append(assignments(repository))
    assert seen[0].items() < seen[1].items() < seen[2].items()
    assert check(repository) == []
    assert dvc(repository, "status", "--json").strip() == "{}"
    told = json.loads(dvc(repository, "diff", "--json", "v2", "v3", "--targets", "splits"))
    assert [each["path"] for each in told["added"]] == ["splits/v3.parquet"]
    assert {each["path"] for each in told["modified"]} <= {"splits/", "splits/splits.json", "splits/files.json"}
    assert [each["ran"] for each in replay.replay(repository, "again")] == [[], [], []]
    output = dvc(repository, "exp", "run", "-S", "split.seed=3")
    assert replay.RAN.findall(output) == ["split", "card"]
    assert assignments(repository).items() >= seen[1].items()
