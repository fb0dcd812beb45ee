"""Vectors that came with the records: how they are read, what is refused, and what they decide."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import projects
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dedupver import params, records
from dedupver.fingerprint import vectors
from dedupver.fingerprint.known import open_known
from dedupver.fingerprint.look import Sink
from dedupver.fingerprint.strings import Strings
from dedupver.schema import EVIDENCE, ParamsError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Numbers = npt.NDArray[np.float32]
HALF = np.float32(np.sqrt(0.5))


def parquet(columns: dict[str, Any]) -> bytes:
    """Return a table's bytes."""
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    """Return one line a row; NaN and Infinity as Python's json writes them."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(root: Path, name: str, data: bytes) -> list[dict[str, Any]]:
    """Read one table as records; vectors as lists."""
    root.mkdir(exist_ok=True)
    (root / name).write_bytes(data)
    source = params.Source.model_validate({"columns": {"id": "id"}})
    tasks = records.plan(root, source)
    rows = [row for task in tasks for batch in records.read(root, task, source) for row in batch.to_pylist()]
    return [{**row, "vector": row["vector"] and np.frombuffer(row["vector"], "<f4").tolist()} for row in rows]


VALUES = [[1.0, 2.0], [0.5, -3.25], None, [7.0]]


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.float32()), pa.list_(pa.float64()), pa.large_list(pa.float16())],
)
def test_lists_in_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    """Lists of floats of any width are the same vectors; a null is no vector, and a record without any part no record."""
    values = (
        [value and [np.float16(v) for v in value] for value in VALUES] if kind.value_type == pa.float16() else VALUES
    )
    table = {"id": ["a", "b", "c", "d"], "vector": pa.array(values, kind), "text": ["x y", None, "z", None]}
    found = read(tmp_path, "t.parquet", parquet(table))
    assert [row["vector"] for row in found] == VALUES
    assert [row["code"] for row in found] == [None] * 4


def test_fixed_lists_of_integers_with_nulls(tmp_path: Path) -> None:
    """A fixed-size list that is null keeps its neighbours where they are; a null number is not a number."""
    kind = pa.list_(pa.int8(), 2)
    found = read(
        tmp_path, "t.parquet", parquet({"id": ["a", "b", "c"], "vector": pa.array([[1, 2], None, [3, None]], kind)})
    )
    assert found[0]["vector"] == [1, 2]
    assert (found[1]["vector"], found[1]["code"]) == (None, "no_content")
    assert found[2]["vector"][0] == 3
    assert np.isnan(found[2]["vector"][1])


@pytest.mark.parametrize("text", ["x y", None])
def test_every_format_reads_the_same(tmp_path: Path, text: str | None) -> None:
    """JSON Lines, a list written in a CSV cell, and Parquet."""
    rows = [{"id": str(i), "text": text, "vector": [i + 0.5, 1e-3, -2]} for i in range(3)]
    cells = "id,vector,text\n" + "".join(f'{r["id"]},"{json.dumps(r["vector"])}",{text}\n' for r in rows)
    cells = cells if text else cells.replace(",text", "").replace(",None", "")
    table = {"id": ["0", "1", "2"], "text": [text] * 3, "vector": [r["vector"] for r in rows]}
    seen = [
        read(tmp_path / "1", "t.jsonl", jsonl(rows)),
        read(tmp_path / "2", "t.csv", cells.encode()),
        read(tmp_path / "3", "t.parquet", parquet(table)),
    ]
    for found in seen:
        assert [(row["id"], row["text"], row["code"]) for row in found] == [
            (str(i), text and text.encode(), None) for i in range(3)
        ]
        assert [row["vector"] for row in found] == [row["vector"] for row in seen[0]]
    assert np.allclose([row["vector"] for row in seen[0]], [row["vector"] for row in rows])


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("word", "wrong_type"),
        ([1, "2"], "wrong_type"),
        ([1, None], "wrong_type"),
        ([[1], [2]], "wrong_type"),
        ([True, False], "wrong_type"),
        ({"a": 1}, "wrong_type"),
        (5, "wrong_type"),
        ([0.0] * 250_001, "huge_vector"),
    ],
)
def test_what_is_no_vector_is_quarantined(tmp_path: Path, value: object, code: str) -> None:
    """By its type or its size, when it is read; the record keeps its name."""
    (row,) = read(tmp_path, "t.jsonl", jsonl([{"id": "a", "text": "x y", "vector": value}]))
    assert (row["id"], row["code"], row["vector"], row["text"]) == ("a", code, None, None)


def test_columns_of_other_types_are_quarantined(tmp_path: Path) -> None:
    """Bytes and strings of Parquet might be anything."""
    for kind, values in ((pa.binary(), [b"\0\0\0\0"]), (pa.string(), ["w"]), (pa.list_(pa.string()), [["1"]])):
        (row,) = read(tmp_path, "t.parquet", parquet({"id": ["a"], "vector": pa.array(values, kind)}))
        assert row["code"] == "wrong_type"


@pytest.mark.parametrize(
    ("column", "code"), [("text", "wrong_type"), ("image", "wrong_type"), ("id", "wrong_type"), ("source", None)]
)
def test_a_list_in_the_column_of_another_field(tmp_path: Path, column: str, code: str | None) -> None:
    """It is what it was before there were vectors: no text, no bytes, no name; a source that nobody knows."""
    columns = {"id": ["a"], "text": ["x y"], "vector": [[1.0, 2.0]]}
    (row,) = read(tmp_path, "t.parquet", parquet({**columns, column: pa.array([[np.nan, 2.0]])}))
    assert (row["code"], row["source"]) == (code, None)


def look(*rows: list[float], dim: int | None = None) -> tuple[Any, list[Any], Sink]:
    """Look at some vectors."""
    verdicts: list[Any] = []
    sink = Sink(open_known(()), verdicts)
    at = vectors.look(params.Vector(dim=dim), sink)
    found = at(Strings.of_list(np.array(row, "<f4").tobytes() for row in rows))
    return found, verdicts, sink


def test_vectors_are_indexed_at_length_1() -> None:
    """Content is the numbers, with one zero; what is compared is the direction."""
    found, _, sink = look([3, 4], [-0.0, 2], [0, 2], [3, 4])
    assert found.content[0].tobytes() == hashlib.sha256(np.array([3, 4], "<f4").tobytes()).digest()
    assert bytes(found.content[1]) == bytes(found.content[2])
    (batch,) = sink.prints.batches
    assert np.allclose(batch["cosine"], [[0.6, 0.8], [0, 1]])
    assert batch["cosine"].dtype == np.float32


def test_what_would_spoil_the_index_is_refused() -> None:
    """NaN, infinities, what overflows, zeros, and any number of numbers but the index's."""
    nan, inf = float("nan"), float("inf")
    found, verdicts, sink = look([1, 2], [nan, 1], [inf, 1], [0, -0.0], [1], [1, 2, 3], [], [2, 1])
    codes = [verdicts[v].code if v >= 0 else None for v in found.verdict]
    wrong = "wrong_dimension"
    assert codes == [None, "not_finite_vector", "not_finite_vector", "zero_vector", wrong, wrong, wrong, None]
    assert len(sink.prints.batches[0]["cosine"]) == 2
    assert "3 numbers; the index holds vectors of 2" in {v.reason for v in verdicts}


def test_the_smallest_and_the_largest_numbers_have_directions() -> None:
    """Lengths are taken in 64 bits, where neither squares nor their sums leave the range."""
    found, _, sink = look([1e-45, 1e-45], [3e38, 3e38], [1e-40, 0])
    assert (found.verdict < 0).all()
    assert np.allclose(sink.prints.batches[0]["cosine"], [[HALF, HALF], [HALF, HALF], [1, 0]], atol=1e-7)


def unit(degrees: float) -> list[float]:
    """The vector at an angle, of a length of its own."""
    return (np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0]) * (1 + degrees)).tolist()


ANGLES = {"a": 0.0, "b": 8.0, "c": 30.0, "d": 36.0, "e": 90.0}
"""Cosines: a–b .990, b–c .927, c–d .995, the others below .9 but a–c .866, b–d .883."""


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        (None, {"a", "c", "e"}),
        ([{"vector": 0.992}], {"a", "b", "c", "e"}),
        ([{"vector.cosine": 0.92}], {"a", "c", "e"}),  # c matches b, which is dropped
        ([{"content": "exact"}], {"a", "b", "c", "d", "e"}),
    ],
)
def test_cosines_decide(tmp_path: Path, rules: Any, kept: set[str]) -> None:
    """By default at .98, else by the rules; scores are cosines, and the evidence says so."""
    rows = [{"id": name, "vector": unit(angle)} for name, angle in ANGLES.items()]
    root = projects.create(tmp_path, rows, **({"dedup__rules": rules} if rules else {}))
    projects.build(root)
    assert projects.kept(root) == kept
    decided = projects.decisions(root)["d"]
    if "d" not in kept:
        assert decided["representative"] == "c"
        assert decided["score"] == pytest.approx(np.cos(np.radians(6)), abs=1e-6)
        assert decided["evidence"].startswith("vector.cosine=0.99452")
        assert decided["method"] == "cosine"
    assert projects.metrics(root, "match")["matches"]["vector"] == 3
    assert projects.metrics(root, "match")["recall"]["vector"] == 1


def test_an_image_and_its_vector_are_judged_together(tmp_path: Path) -> None:
    """{image: .92, vector: .9} needs both, and a record that lacks one is judged by no such rule."""
    from PIL import Image  # noqa: PLC0415
    from skimage import data  # noqa: PLC0415

    files: dict[str, str | bytes] = {}
    for name, quality in (("a", 95), ("b", 60), ("c", 50)):
        file = io.BytesIO()
        Image.fromarray(data.astronaut()).save(file, "JPEG", quality=quality)
        files[f"{name}.jpg"] = file.getvalue()
    angles = {"a": 0, "b": 20, "c": 80}
    rows = [{"id": name, "image": f"{name}.jpg", "vector": unit(angle)} for name, angle in angles.items()]
    files["rows.jsonl"] = projects.jsonl(rows)
    root = projects.create(tmp_path, files, dedup__rules=[{"image": 0.92, "vector": 0.9}])
    projects.build(root)
    assert projects.kept(root) == {"a", "c"}
    said = projects.decisions(root)["b"]["evidence"].split(",")
    assert [part.split("=")[0] for part in said] == ["image.phash", "vector.cosine"]


def test_the_base_settles_the_dimension(tmp_path: Path) -> None:
    """Of the first version the first vector does; later ones of another size are quarantined, not compared."""
    first = [
        {"id": "a", "vector": None, "text": "one two"},
        {"id": "b", "vector": [1, 2, 3]},
        {"id": "c", "vector": [1]},
    ]
    root = projects.build(projects.create(tmp_path, first))
    assert projects.kept(root) == {"a", "b"}
    assert projects.decisions(root)["c"]["reason"] == "wrong_dimension"
    projects.advance(root)
    projects.reopen(root, [*first, {"id": "0", "vector": [1, 2]}, {"id": "d", "vector": [1, 2, 3.01]}], "v2")
    projects.build(root)
    decided = projects.decisions(root)
    assert {name: decided[name]["reason"] for name in ("0", "d")} == {"0": "wrong_dimension", "d": "near_duplicate_of"}
    projects.settings(root, version="v2", fingerprint__vector={"dim": 2})
    with pytest.raises(ParamsError, match=r"fingerprint\.vector\.dim: the base has None, params have 2"):
        projects.build(root, "fingerprint")


def test_params_settle_the_dimension(tmp_path: Path) -> None:
    """Then the order of the source says nothing."""
    rows = [{"id": "a", "vector": [1, 2, 3]}, {"id": "b", "vector": [1, 2]}]
    root = projects.build(projects.create(tmp_path, rows, fingerprint__vector={"dim": 2}))
    assert projects.kept(root) == {"b"}


def test_many_chunks_have_one_dimension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is settled before the work is cut; where it can't be, differing chunks are an error that names the params."""
    files: dict[str, str | bytes] = {
        "1.jsonl": projects.jsonl([{"id": "a", "text": "no vectors"}]),
        "2.jsonl": projects.jsonl([{"id": "b", "vector": []}, {"id": "c", "vector": [1, 2]}]),
        "3.jsonl": projects.jsonl([{"id": "d", "vector": [1, 2, 3]}]),
    }
    root = projects.build(projects.create(tmp_path, files))
    decided = projects.decisions(root)
    assert {name for name, row in decided.items() if row["reason"] == "wrong_dimension"} == {"b", "d"}
    monkeypatch.setattr(records, "dimension", lambda *_: None)
    with pytest.raises(SourceError, match=r"2 and 3 numbers: set fingerprint\.vector\.dim"):
        projects.build(root, "fingerprint")


@pytest.mark.parametrize(
    "write",
    [
        lambda rows: ("t.jsonl", jsonl(rows)),
        lambda rows: ("t.parquet", parquet({k: [r[k] for r in rows] for k in rows[0]})),
    ],
)
def test_vectors_reach_the_clean_dataset(tmp_path: Path, write: Callable[..., tuple[str, bytes]]) -> None:
    """The kept rows are published as they came, vectors included, and `check` finds nothing."""
    from dedupver.check import check  # noqa: PLC0415

    rows = [{"id": name, "vector": unit(angle)} for name, angle in ANGLES.items()]
    name, data = write(rows)
    root = projects.build(projects.create(tmp_path, {name: data}))
    clean = root / "clean" / name
    found = (
        pq.read_table(clean).to_pylist() if name.endswith("parquet") else [json.loads(line) for line in clean.open()]
    )
    assert [row["id"] for row in found] == ["a", "c", "e"]
    assert found[1]["vector"] == rows[2]["vector"]
    assert check(root) == []


def test_all_pairs_by_brute_force(tmp_path: Path) -> None:
    """The matches of a run are those of a product of matrices, at the floor."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(40, 24))
    numbers = (centres[random.integers(0, 40, 400)] + random.normal(scale=0.25, size=(400, 24))).astype(np.float32)
    table = parquet({"id": [f"{i:03}" for i in range(400)], "vector": list(numbers)})
    root = projects.create(tmp_path, {"t.parquet": table}, match__floor={"vector": 0.9})
    projects.build(root, "fingerprint", "match")
    found = pq.read_table(root / "index/segments/v1/matches.parquet")
    directions = numbers / np.linalg.norm(numbers.astype(np.float64), axis=1, keepdims=True)
    cosines = directions @ directions.T
    name = {hashlib.sha256(row.tobytes()).digest(): i for i, row in enumerate(numbers)}
    pairs = {
        frozenset((name[a], name[b])): s
        for a, b, s in zip(*(found[c].to_pylist() for c in ("left", "right", "score")), strict=True)
    }
    near = {frozenset((i, j)) for i, j in np.argwhere(cosines >= 0.9) if i < j and abs(cosines[i, j] - 0.9) > 1e-6}
    assert len(near) > 300
    assert near <= pairs.keys()
    assert all(score == pytest.approx(cosines[tuple(pair)], abs=1e-6) for pair, score in pairs.items())
    assert EVIDENCE["vector"].measure == "cosine"
