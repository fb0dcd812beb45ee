"""Pieces of tables that the base has read are not read again, and the version is what reading everything makes it."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

import projects
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from dedupver.check import check
from dedupver.records import earlier
from dedupver.schema import SourceError

PLAN: Final = importlib.import_module("dedupver.records.plan")
TEXTS: Final = [" ".join(f"{word}{n}" for n in range(9)) for word in ("ape", "bee", "cat", "dog")]
Row = tuple[int, str | None]  # a text, and a split
Tables = dict[str, list[Row]]
NAMES: Final = ["a.jsonl", "b.csv", "c.parquet", "d.tar", "e.jsonl.gz", "f/g.jsonl"]
ROWS: Final = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, "test"])), max_size=7)
SOME: Final = settings(
    deadline=None,
    max_examples=12,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PLAN, "TASK_ROWS", 2)


@st.composite
def histories(draw: st.DrawFn) -> list[Tables]:
    """Draw three versions of a few tables: each leaves, lengthens, changes, shortens or takes away those before it."""
    tables = draw(st.dictionaries(st.sampled_from(NAMES), ROWS, min_size=1, max_size=4))
    found = [tables]
    for _ in range(2):
        now = {name: draw(changes(rows)) for name, rows in found[-1].items() if draw(st.integers(0, 5))}
        found.append(draw(st.dictionaries(st.sampled_from(NAMES), ROWS, max_size=1)) | now)
    return found


@st.composite
def changes(draw: st.DrawFn, rows: list[Row]) -> list[Row]:
    """Draw what becomes of a table."""
    what, at = draw(st.sampled_from(["same", "longer", "longer", "other", "shorter"])), draw(st.integers(0, len(rows)))
    if what == "longer":
        return [*rows, *draw(ROWS)]
    if what == "other":
        return [*rows[:at], *draw(ROWS), *rows[at + 1 :]]
    return rows[:at] if what == "shorter" else rows


def written(tables: Tables, *, ids: bool) -> projects.Files:
    """Return tables as files."""
    return {name: _file(name, rows, ids=ids) for name, rows in tables.items() if rows}


def _file(name: str, rows: list[Row], *, ids: bool) -> bytes:
    said = [
        ({"id": f"{name}{at}"} if ids else {}) | {"text": TEXTS[text], "split": split}
        for at, (text, split) in enumerate(rows)
    ]
    if name.endswith(".parquet"):
        sink = io.BytesIO()
        schema = pa.schema([(key, pa.string()) for key in said[0]])
        pq.write_table(pa.Table.from_pylist(said, schema), sink, row_group_size=2)
        return sink.getvalue()
    if name.endswith(".tar"):
        sink = io.BytesIO()
        with tarfile.open(fileobj=sink, mode="w") as archive:
            for at, (text, _) in enumerate(rows):
                data = TEXTS[text].encode()
                member = tarfile.TarInfo(f"{at}.txt")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return sink.getvalue()
    if name.endswith(".csv"):
        head = ",".join(said[0])
        cells = [",".join('"' + (row[key] or "").replace(" ", "\n") + '"' for key in said[0]) for row in said]
        return "\n".join([head, *cells]).encode()  # the last line has no end, so that the next version lengthens it
    text = "".join(json.dumps(row) + "\n" for row in said).encode()
    return gzip.compress(text, mtime=0) if name.endswith(".gz") else text


def told(root: Path) -> dict[str, Any]:
    """Return all that a version is, but for what says which files were read for it."""
    found: dict[str, Any] = projects.tree(root / "build/dedup", root / "manifest", root / "clean", root / "plots")
    header = json.loads(found["manifest/manifest.json"])
    del header["digests"], header["parent"], header["jobs"]
    for name in [name for name in found if name.endswith(".audit.jsonl")]:
        found[name] = [json.loads(line) | {"job": None} for line in found[name].splitlines()]
    found |= {name: projects.metrics(root, name) for name in ("match", "dedup", "manifest")}
    return found | {"manifest/manifest.json": header, "manifest/files.json": None, "manifest/read.json": None}


@SOME
@given(histories(), st.booleans(), st.sampled_from(["frozen", "frozen", "rejudge"]))
def test_a_version_is_what_reading_everything_makes_it(history: list[Tables], ids: bool, judged: str) -> None:
    """Names of copies, places, decisions, clean data: whatever was lengthened, changed, shortened or taken away."""
    given: dict[str, Any] = {"source": {"columns": {"id": "id" if ids else None}}, "dedup__history": judged}
    with tempfile.TemporaryDirectory() as folder:
        some, every = Path(folder, "some"), Path(folder, "every")
        for number, tables in enumerate(history, start=1):
            for root in (some, every):
                if number > 1:
                    projects.advance(root)
                lay = projects.reopen if number > 1 else projects.create
                lay(root, written(tables, ids=ids), f"v{number}", **given)
                (root / "data/raw").mkdir(parents=True, exist_ok=True)
                with pytest.MonkeyPatch.context() as patch:
                    if root == every:
                        patch.setattr(earlier, "unchanged", lambda *_: {})
                    projects.build(root)
            assert told(some) == told(every)
            assert check(some) == check(every) == []


LONG: Final = [{"id": f"r{n}", "text": f"{TEXTS[0]} {n} {TEXTS[1]}"} for n in range(9)]


def pieces(root: Path) -> int:
    """Return how many pieces of tables were left unread."""
    return int(projects.metrics(root, "fingerprint")["unchanged_pieces"])


def read(root: Path) -> list[str]:
    """Return the ids of the records that were read."""
    return sorted(pq.read_table(root / "build/fingerprint/records.parquet", columns=["id"])["id"].to_pylist())


def test_of_lines_that_were_added_to_the_end_no_other_is_read(tmp_path: Path) -> None:
    """Of nine rows in pieces of two all are left, the last, shorter piece as well; the tenth is read."""
    root = projects.build(projects.create(tmp_path, LONG))
    assert (pieces(root), len(read(root))) == (0, 9)
    projects.advance(root)
    projects.build(projects.reopen(root, [*LONG, {"id": "x", "text": TEXTS[2]}], "v2"))
    assert (pieces(root), read(root)) == (5, ["x"])
    assert projects.decisions(root).keys() == {*(str(row["id"]) for row in LONG), "x"}
    projects.advance(root)
    projects.build(projects.reopen(root, LONG[:5], "v3"))  # rows 4 and 5 were one piece
    assert (pieces(root), read(root)) == (2, ["r4"])
    assert sorted(projects.decisions(root)) == [f"r{n}" for n in range(5)]
    assert check(root) == []


def test_a_last_line_without_an_end_is_read_again(tmp_path: Path) -> None:
    """What is added to the file goes on with it."""
    first = projects.jsonl(LONG[:2]) + '{"id": "y", "text": "' + TEXTS[2]
    root = projects.build(projects.create(tmp_path, {"a.jsonl": first}))
    assert projects.decisions(root)["a.jsonl#2"]["action"] == "quarantine"
    projects.advance(root)
    projects.build(projects.reopen(root, {"a.jsonl": first + '"}'}, "v2"))
    assert (pieces(root), read(root)) == (1, ["y"])
    assert projects.decisions(root).keys() == {"r0", "r1", "y"}


def test_rows_that_name_files_are_read_again(tmp_path: Path) -> None:
    """The table is as it was, and the picture is another one, and then it is gone."""
    table = projects.jsonl(
        [{"id": "a", "image": "a.png"}, {"id": "b", "text": TEXTS[0]}, {"id": "c", "text": TEXTS[1]}]
    )
    root = projects.build(projects.create(tmp_path, {"a.jsonl": table, "a.png": picture(1)}))
    before = projects.decisions(root)["a"]["parts"]
    projects.advance(root)
    projects.build(projects.reopen(root, {"a.jsonl": table, "a.png": picture(2)}, "v2"))
    assert projects.decisions(root)["a"]["parts"] != before
    assert projects.decisions(root).keys() == {"a", "b", "c"}
    projects.advance(root)
    projects.build(projects.reopen(root, {"a.jsonl": table}, "v3"))
    assert projects.decisions(root)["a"]["code"] == "missing_image"
    assert check(root) == []


def test_other_settings_of_the_source_read_everything(tmp_path: Path) -> None:
    """What a row is depends on them."""
    root = projects.build(projects.create(tmp_path, LONG))
    projects.advance(root)
    projects.build(projects.reopen(root, LONG, "v2", source={"columns": {"id": "id"}, "max_text_bytes": 40}))
    assert (pieces(root), len(read(root))) == (0, 9)
    assert {row["code"] for row in projects.decisions(root).values()} == {"huge_text"}


def test_another_release_reads_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may see something else in the same bytes."""
    root = projects.build(projects.create(tmp_path, LONG))
    projects.advance(root)
    projects.reopen(root, LONG, "v2")
    monkeypatch.setattr(earlier, "__version__", "another")
    assert pieces(projects.build(root)) == 0


def test_an_id_of_a_row_that_was_not_read_is_refused(tmp_path: Path) -> None:
    """It stands for two records, wherever the second one is."""
    root = projects.build(projects.create(tmp_path, {"a.jsonl": projects.jsonl(LONG)}))
    projects.advance(root)
    projects.reopen(root, {"a.jsonl": projects.jsonl(LONG), "b.jsonl": projects.jsonl(LONG[3:4])}, "v2")
    with pytest.raises(SourceError, match=r"'r3': b.jsonl row 0, a.jsonl row 3"):
        projects.build(root)


def test_a_table_that_others_joined_is_not_read(tmp_path: Path) -> None:
    """A Parquet file and an archive are one piece each; the copy of a row of theirs is named as if all were read."""
    tables: Tables = {"c.parquet": [(0, None), (1, None)], "d.tar": [(2, None), (3, None)]}
    given: dict[str, Any] = {"source": {"columns": {"id": None}}}
    root = projects.build(projects.create(tmp_path, written(tables, ids=False), **given))
    (name,) = (name for name, row in projects.decisions(root).items() if row["row"] == 0 and row["path"] == "c.parquet")
    projects.advance(root)
    more = written(tables | {"a.jsonl": [(0, None)]}, ids=False)
    projects.build(projects.reopen(root, more, "v2", **given))
    assert (pieces(root), len(read(root))) == (2, 1)
    found = {n: row["path"] for n, row in projects.decisions(root).items() if n.startswith(name)}
    assert found == {name: "a.jsonl", f"{name}-2": "c.parquet"}
    assert check(root) == []


def picture(seed: int) -> bytes:
    """Return a picture."""
    sink = io.BytesIO()
    Image.effect_noise((40, 40), 10 * seed).save(sink, "PNG")
    return sink.getvalue()
