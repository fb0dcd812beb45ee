"""Every pair at or above the floor, by blocked products of matrices; nothing is built."""

from pathlib import Path

import numpy as np

BLOCK = 2048


def deduplicate(job):
    """Write the pairs; nothing is dropped."""
    vectors = np.load(Path(job.data, "vectors.npy"))
    found = [np.empty((0, 2), np.int64)]
    with job.step("search"):
        for start in range(0, len(vectors), BLOCK):
            block = vectors[start : start + BLOCK]
            for other in range(0, start + BLOCK, BLOCK):
                near = np.argwhere(block @ vectors[other : other + BLOCK].T >= job.floor) + np.array([start, other])
                found.append(near[near[:, 0] > near[:, 1]])
    np.save(Path(job.out, "pairs.npy"), np.concatenate(found))
    return []
