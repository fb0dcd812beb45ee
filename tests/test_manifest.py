"""The log on disk: the newest row of an id is its state, older files never change, damage is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import pyarrow as pa
import pytest
from decisions import decided, near, prints, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedupver import manifest, store
from dedupver.schema import DECISION, IntegrityError

if TYPE_CHECKING:
    from pathlib import Path

ACTIONS = ["keep", "drop", "quarantine", "gone"]
LOGS = st.lists(st.dictionaries(st.sampled_from("abcde"), st.sampled_from(ACTIONS)), min_size=1, max_size=4)


def write(
    path: Path,
    base: Path | None,
    version: str,
    rows: list[dict[str, Any]],
    moved: dict[str, tuple[str, int]] | None = None,
) -> Path:
    """Write one version's manifest directory."""
    made = decided(path.with_name(f"{path.name}-decided"), *rows, moved=moved)
    stated: dict[str, str] = {}
    with store.building(path, stated) as out:
        log = manifest.open_manifest(base) if base else manifest.EMPTY
        read = prints(path.with_name(f"{path.name}-prints"))
        stated |= manifest.write(out, log, read, made, {"version": version, "time": "2024-01-01T00:00:00Z"})
    return path


def chain(root: Path, log: list[dict[str, str]]) -> Path:
    """Write one version for each entry, each on the one before."""
    path: Path | None = None
    for number, said in enumerate(log, start=1):
        path = write(
            root / f"m{number}", path, f"v{number}", [row(i, a, decided=f"v{number}") for i, a in said.items()]
        )
    assert path is not None
    return path


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=LOGS)
def test_the_state_is_the_newest_row_of_each_id(
    tmp_path_factory: pytest.TempPathFactory, log: list[dict[str, str]]
) -> None:
    """Replaying the log in plain Python gives the live table; the gone are in it no more."""
    opened = manifest.open_manifest(chain(tmp_path_factory.mktemp("log"), log))
    state: dict[str, tuple[str, str]] = {}
    for number, said in enumerate(log, start=1):
        state |= {name: (action, f"v{number}") for name, action in said.items()}
    expected = [(i, *state[i]) for i in sorted(state) if state[i][0] != "gone"]
    assert [(r["id"], r["action"], r["decided"]) for r in opened.live().to_pylist()] == expected
    assert opened.versions == [f"v{n}" for n in range(1, len(log) + 1)]
    assert opened.events().num_rows == sum(map(len, log))


def test_a_version_adds_files_and_changes_none(tmp_path: Path) -> None:
    """The base's tables stand byte for byte beside the new ones."""
    first = write(tmp_path / "one", None, "v1", [row("a"), near("b", "a")])
    second = write(tmp_path / "two", first, "v2", [row("c")])
    old, new = ({p.name: p.read_bytes() for p in d.iterdir()} for d in (first, second))
    changed = {name for name in old if new[name] != old[name]}
    assert changed == {"manifest.json", "files.json"}
    names = [*(f"{name}.parquet" for name in (*manifest.FILES.values(), "moved")), "audit.jsonl"]
    assert {n for n in new if n.startswith("v2.")} == {f"v2.{name}" for name in names}


def test_a_record_that_moved_is_where_it_was_moved_to(tmp_path: Path) -> None:
    """Its place is that of the newest version that moved it or told its state; nothing else of it changes."""
    one = write(tmp_path / "one", None, "v1", [row("a"), row("b"), near("c", "a")])
    two = write(tmp_path / "two", one, "v2", [row("d")], moved={"a": ("x.jsonl", 3), "b": ("x.jsonl", 4)})
    three = write(tmp_path / "three", two, "v3", [row("b", quality=1.0), row("c", "gone")], moved={"a": ("y.jsonl", 0)})
    four = write(tmp_path / "four", three, "v4", [row("c")])
    places = [
        {r["id"]: (r["path"], r["row"]) for r in manifest.open_manifest(path).live().to_pylist()}
        for path in (one, two, three, four)
    ]
    first = {name: (f"{name}.txt", -1) for name in "abcd"}
    assert places[0] == {name: first[name] for name in "abc"}
    assert places[1] == first | {"a": ("x.jsonl", 3), "b": ("x.jsonl", 4)}
    assert places[2] == {"a": ("y.jsonl", 0), "b": first["b"], "d": first["d"]}
    assert places[3] == places[2] | {"c": first["c"]}
    log = manifest.open_manifest(four)
    every = log.state(("row", "id")).to_pylist()
    assert log.state(("row", "id"), np.array([2, 0])).to_pylist() == [every[2], every[0]]


def test_the_audit_trail_tells_removals_and_restorations(tmp_path: Path) -> None:
    """One line of JSON each; a record that is merely kept is not told."""
    rows = [
        row("a"),
        near("b", "a"),
        row("c", reason="restored"),
        row("d", "gone"),
        row("e", "quarantine", reason="bad_utf8"),
    ]
    path = write(tmp_path / "m", None, "v1", rows)
    lines = [json.loads(line) for line in (path / "v1.audit.jsonl").read_text().splitlines()]
    assert [(line["id"], line["action"]) for line in lines] == [
        ("b", "drop"),
        ("c", "keep"),
        ("d", "gone"),
        ("e", "quarantine"),
    ]
    assert lines[0]["representative"] == "a"


def test_counts_leave_references_out() -> None:
    """n_in is what was read as data."""
    rows = [row("a"), near("b", "a"), row("c", "quarantine"), row("r", role="reference")]
    counted = manifest.counts(pa.Table.from_pylist(rows, schema=DECISION))
    assert counted == {"n_in": 3, "kept": 1, "dropped": 1, "quarantined": 1, "references": 1}


@pytest.mark.parametrize("name", ["manifest.json", "v1.kept.parquet"])
def test_a_flipped_bit_is_named(tmp_path: Path, name: str) -> None:
    """No file is read before its digest is checked."""
    path = write(tmp_path / "m", None, "v1", [row("a"), near("b", "a")])
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=name):
        manifest.open_manifest(path).live()


def test_a_version_does_not_state_what_the_base_did_not(tmp_path: Path) -> None:
    """Damage to a file that is carried over unread is found in the next version as well, whoever reads it there."""
    first = write(tmp_path / "one", None, "v1", [row("a"), near("b", "a")])
    data = bytearray((first / "v1.audit.jsonl").read_bytes())
    data[len(data) // 2] ^= 1
    (first / "v1.audit.jsonl").write_bytes(data)
    second = write(tmp_path / "two", first, "v2", [row("c")])
    with pytest.raises(IntegrityError, match=r"two/v1\.audit\.jsonl"):
        store.verified(second)


def test_a_file_that_is_gone_or_too_many_is_named(tmp_path: Path) -> None:
    """The listing is complete in both directions."""
    path = write(tmp_path / "m", None, "v1", [row("a")])
    (path / "extra").write_text("x")
    with pytest.raises(IntegrityError, match="extra"):
        manifest.open_manifest(path)
    (path / "extra").unlink()
    (path / "v1.gone.parquet").unlink()
    with pytest.raises(IntegrityError, match=r"v1.gone.parquet"):
        manifest.open_manifest(path)


def test_the_header_names_the_parent_by_its_digest(tmp_path: Path) -> None:
    """A version says which bytes it was compared with, and when, by params alone."""
    rows = [{"id": "a", "text": "a few words that stand here for a whole text of some length"}]
    root = projects.build(projects.create(tmp_path, rows))
    assert store.read_json(root / "manifest/manifest.json")["parent"] is None
    projects.advance(root)
    projects.build(projects.reopen(root, rows, "v2"))
    header = store.read_json(root / "manifest/manifest.json")
    assert header["parent"] == {"version": "v1", "manifest": store.sha256_file(root / "base/manifest/files.json")}
    assert (header["version"], header["versions"], header["time"]) == ("v2", ["v1", "v2"], "2024-01-02T00:00:00Z")
