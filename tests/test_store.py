"""Dense arrays on disk: the bytes are numpy's own, written whole or in parts; what is mapped holds no file open."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from dedupver import store

ARRAYS = [
    np.arange(12, dtype=np.uint64).reshape(3, 4),
    np.linspace(0, 1, 7, dtype=np.float32),
    np.zeros((0, 32), np.uint8),
    np.zeros((3, 0), np.uint32),
    np.array([True, False]),
    np.arange(6).reshape(2, 3).T,
]


@pytest.mark.parametrize("array", ARRAYS)
def test_an_array_comes_back_and_its_bytes_are_numpys(tmp_path: Path, array: npt.NDArray[np.generic]) -> None:
    """For any shape and type: as `np.save` writes it; the mapped one can't be written to."""
    store.write_array(tmp_path / "a.npy", array)
    expected = io.BytesIO()
    np.save(expected, np.ascontiguousarray(array))
    assert (tmp_path / "a.npy").read_bytes() == expected.getvalue()
    found = store.read_array(tmp_path / "a.npy")
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()
    assert not found.flags.writeable


def test_an_array_written_in_parts_is_the_one_written_at_once(tmp_path: Path) -> None:
    """Its rows may come some at a time."""
    store.write_array(tmp_path / "once.npy", ARRAYS[0])
    with store.appending(tmp_path / "parts.npy", (3, 4), np.uint64) as append:
        append(ARRAYS[0][:2])
        append(ARRAYS[0][2])
    assert (tmp_path / "parts.npy").read_bytes() == (tmp_path / "once.npy").read_bytes()


def test_an_array_that_is_not_finished_leaves_nothing(tmp_path: Path) -> None:
    """An error between two parts removes the temporary file."""
    with pytest.raises(ValueError, match="enough"), store.appending(tmp_path / "a.npy", (2,), np.uint8):
        raise ValueError("enough")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", ARRAYS)
def test_stored_rows_are_those_of_the_array(tmp_path: Path, array: store.Array) -> None:
    """From any row to any other, none and all of them included."""
    store.write_array(tmp_path / "a.npy", array)
    stored = store.Stored(tmp_path / "a.npy")
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
    for start in range(len(array) + 1):
        for stop in range(start, len(array) + 1):
            rows = stored.rows(start, stop)
            assert rows.tolist() == array[start:stop].tolist()
            assert rows.dtype == array.dtype


def test_mapped_arrays_hold_no_file_open(tmp_path: Path) -> None:
    """An index of hundreds of segments has more arrays than a process may open files."""
    store.write_array(tmp_path / "a.npy", ARRAYS[0])
    before = len(list(Path("/proc/self/fd").iterdir()))
    arrays = [store.read_array(tmp_path / "a.npy") for _ in range(50)]
    assert len(list(Path("/proc/self/fd").iterdir())) - before < 5
    assert all(array[2, 3] == 11 for array in arrays)


def test_what_a_killed_run_left_is_removed_where_it_is_written_again(tmp_path: Path) -> None:
    """The temporary file of another process goes, and that of another name stays."""
    for name in (".a.json.tmp999999", ".b.json.tmp999999"):
        (tmp_path / name).write_bytes(b"half")
    store.write_json(tmp_path / "a.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.json.tmp999999", "a.json"]
