"""The scores of the image and the vector benchmark, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import image_score, image_tasks, vectors


@pytest.fixture
def images() -> image_tasks.Images:
    """Two drawings with a small and a mirrored copy each."""
    names = ["a.png", "a-half.png", "a-mirror.png", "b.png", "b-half.png", "b-mirror.png"]
    family = np.array([0, 0, 0, 1, 1, 1])
    return image_tasks.Images(Path(), names, family, ["original", "half", "mirror"] * 2, 0, "")


def test_a_copy_is_found_through_another_copy_but_not_through_a_stranger(images: image_tasks.Images) -> None:
    """The mirror is tied to a by a-half; b-mirror – a – b is a way through another family."""
    scores = image_score.score(images, np.array([1, 2]), np.array([[0, 1], [2, 1], [5, 0], [0, 3]]))
    assert scores["recall"] == {"half": 0.5, "mirror": 0.5}
    assert (scores["pairs"], scores["false_pairs"], scores["lost"]) == (4, 2, 0)
    assert scores["false_sample"] == [["a.png", "b.png"], ["a.png", "b-mirror.png"]]


def test_a_pair_counts_once_and_a_file_is_not_its_own_partner(images: image_tasks.Images) -> None:
    """Both directions, repeated, and with itself."""
    scores = image_score.score(images, np.empty(0, np.int64), np.array([[0, 1], [1, 0], [1, 0], [4, 4]]))
    assert (scores["pairs"], scores["false_pairs"], scores["dropped"]) == (1, 0, 0)


def test_a_family_of_which_nothing_is_kept_is_lost(images: image_tasks.Images) -> None:
    """Dropping a copy's original is no loss, dropping all three is."""
    assert image_score.lost(images, np.array([0, 1, 3, 4])) == 0
    assert image_score.lost(images, np.array([0, 1, 2, 3])) == 1


def test_copies_are_what_their_names_say() -> None:
    """Of a 20 x 10 picture: sizes, turned and mirrored corners."""
    picture = Image.new("RGB", (20, 10), "green")
    picture.putpixel((0, 0), (255, 0, 0))
    made = {name: change(picture) for name, change in image_tasks.TRANSFORMS.items()}
    assert made["half"].size == (10, 5)
    assert made["crop80"].size == (16, 8)
    assert made["border"].size == (22, 12)
    assert made["mirror"].getpixel((19, 0)) == (255, 0, 0)
    assert made["rotate90"].getpixel((0, 19)) == (255, 0, 0)
    assert made["jpeg90"].tobytes() == picture.tobytes()
    assert made["colour"].tobytes() != picture.tobytes()


def test_recall_of_lists_leaves_out_what_no_list_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """With lists of one: 0 – 1 is found and 2 – 3 is missed; of 4, 5, 6, alike, each pair has two with more partners."""
    monkeypatch.setattr(vectors, "NEIGHBOURS", 1)
    pairs = np.array([[0, 1], [2, 3], [4, 5], [4, 6], [5, 6]])
    left, right = np.sort(np.concatenate([pairs, pairs[:, ::-1]]).view("i8,i8"), axis=0).view(int).T
    truth = vectors.Truth(7, left, right, np.ones(10, np.float32))
    told = truth.recall(np.array([[0, 1], [4, 5]]), np.empty(0, int), threshold=0.9)
    assert told["recall"] == pytest.approx(1 / 2)
    assert told["beyond"] == pytest.approx(3 / 5)
    assert told["records"] == pytest.approx(4 / 7)
