"""What a tool says of images against the truth.

- recall of a transform: the share of its copies that the tool's pairs tie to their original, directly or through other
  copies of the same original.
- false pairs: pairs of different families; of drawings these may resemble each other all the same, see the sample.
- lost: families of which the tool's decisions keep no file at all, and so drop a picture that nothing replaces.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from benchmarks.image_tasks import Images

Ints = npt.NDArray[np.int64]


def score(images: Images, dropped: Ints, pairs: Ints) -> dict[str, Any]:
    """Return recall by transform, false pairs and lost families, of dropped files and pairs (m, 2) of file numbers."""
    pairs = np.unique(np.sort(pairs.reshape(-1, 2), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    within = images.family[pairs[:, 0]] == images.family[pairs[:, 1]]
    return {
        "recall": recall(images, pairs[within]),
        "pairs": len(pairs),
        "false_pairs": int((~within).sum()),
        "dropped": len(np.unique(dropped)),
        "lost": lost(images, dropped),
        "false_sample": sample(images, pairs[~within]),
    }


def recall(images: Images, pairs: Ints) -> dict[str, float]:
    """Return for each transform the share of its copies that pairs within their family tie to an original."""
    count = len(images.names)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    part = connected_components(graph, directed=False)[1]
    made = np.array(images.made)
    with_original = np.unique(part[made == "original"])
    return {
        kind: float(np.isin(part[made == kind], with_original).mean())
        for kind in dict.fromkeys(images.made)
        if kind != "original"
    }


def lost(images: Images, dropped: Ints) -> int:
    """Return how many families have no file that is kept."""
    kept = np.ones(len(images.names), np.bool_)
    kept[dropped] = False
    return len(np.unique(images.family)) - len(np.unique(images.family[kept]))


def sample(images: Images, false: Ints, most: int = 30) -> list[list[str]]:
    """Return some false pairs, by name."""
    draw = random.Random(0)  # noqa: S311 - a fixed choice
    chosen = draw.sample(range(len(false)), min(most, len(false)))
    return [[images.names[i] for i in false[row]] for row in sorted(chosen)]
