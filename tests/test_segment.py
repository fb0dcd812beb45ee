"""The index of several segments: where a content is, how alike two are, and what a look at it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from dedupver import store
from dedupver.digests import Digests, of_list
from dedupver.index.segment import Index, Segment, groups
from dedupver.schema import EVIDENCE

if TYPE_CHECKING:
    from pathlib import Path


def digests(*numbers: int) -> Digests:
    """Return a digest for each number, in its order."""
    return of_list([bytes([n]) * 32 for n in numbers])


def segment(path: Path, **sets: list[int]) -> Segment:
    """Write a segment of texts: digest number → shingles."""
    rows = {int(name[1:]): values for name, values in sets.items()}
    store.write_array(path / "text.content.npy", digests(*rows))
    store.write_array(path / "text.sets.offsets.npy", np.cumsum([0, *map(len, rows.values())]))
    store.write_array(path / "text.sets.values.npy", np.array([v for each in rows.values() for v in each], np.uint32))
    return Segment(path)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """Return contents 1 and 5 in one segment, none in the next, 2 and 9 in the last; 9 has no shingles."""
    one = segment(tmp_path / "v1", d1=[1, 2, 3], d5=[7, 8])
    empty = Segment(tmp_path / "v2")
    return Index((one, empty, segment(tmp_path / "v3", d2=[2, 3, 4], d9=[])), {})


def test_contents_are_located_in_any_segment(index: Index) -> None:
    """Segment and row of each; -1 and -1 for what no segment has."""
    found, row = index.locate("text", digests(9, 1, 7, 2, 5))
    assert found.tolist() == [2, 0, -1, 2, 0]
    assert row.tolist() == [1, 0, -1, 0, 1]


def test_nothing_is_located_in_nothing() -> None:
    """An index without segments, and one without the modality."""
    assert [part.tolist() for part in Index((), {}).locate("text", digests(1))] == [[-1], [-1]]


def test_no_images_are_located_among_texts(index: Index) -> None:
    """Segments that have no image."""
    assert [part.tolist() for part in index.locate("image", digests(1))] == [[-1], [-1]]


def test_pairs_are_scored_within_and_across_segments(index: Index) -> None:
    """{1, 2, 3} and {2, 3, 4} are .5 alike in either direction; an unknown or an empty text resembles nothing."""
    left, right = digests(1, 2, 1, 1, 7, 9, 2), digests(2, 1, 5, 1, 1, 2, 9)
    assert index.score("text", left, right).tolist() == [0.5, 0.5, 0, 1, 0, 0, 0]
    assert index.score("text", digests(), digests()).tolist() == []


def test_arrays_are_opened_once(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging a hot bucket asks for few scores many times."""
    opened: list[str] = []
    usual = store.read_array
    monkeypatch.setattr(store, "read_array", lambda path: opened.append(path.name) or usual(path))
    for _ in range(5):
        index.score("text", digests(1, 2), digests(2, 5))
    assert len(opened) == len(index.segments[0]._arrays) + len(index.segments[2]._arrays) == 6


def test_the_valid_rows_alone_are_compared(tmp_path: Path) -> None:
    """Codes of unstructured images and vectors of NaN are left out; where none is, nothing is copied."""
    store.write_array(tmp_path / "image.phash.npy", np.array([[1], [2], [3]], np.uint64))
    store.write_array(tmp_path / "image.phash.valid.npy", np.array([True, False, True]))
    store.write_array(tmp_path / "image.embedding.npy", np.array([[1, 0], [0, 1]], np.float32))
    here = Segment(tmp_path)
    assert [part.tolist() for part in here.codes(EVIDENCE["image"])] == [[[1], [3]], [0, 2]]
    assert np.shares_memory(here.vectors(EVIDENCE["image_embedding"])[0], here.array("image.embedding", np.empty(0)))


def test_groups_are_places_of_equal_values() -> None:
    """By value, places ascending; nothing has no group."""
    assert [part.tolist() for part in groups(np.array([3, 1, 3, 2, 1]))] == [[1, 4], [3], [0, 2]]
    assert list(groups(np.empty(0, np.int64))) == []
