"""usearch: a graph in float32, built on one thread as dedupver's is, and searched on all."""

from pathlib import Path

import numpy as np
from usearch.index import Index


def deduplicate(job):
    """Write the pairs; nothing is dropped."""
    vectors = np.load(Path(job.data, "vectors.npy"))
    index = Index(
        ndim=vectors.shape[1],
        metric="cos",
        dtype="f32",
        connectivity=job.m,
        expansion_add=job.ef_construction,
        expansion_search=job.ef,
    )
    with job.step("build"):
        index.add(np.arange(len(vectors)), vectors, threads=1)
        index.save(str(Path(job.out, "graph")))
    with job.step("all"):
        keys = index.search(vectors, job.neighbours + 1, threads=job.threads).keys
    with job.step("more"):
        index.search(vectors[: job.more], job.neighbours, threads=job.threads)
    np.save(Path(job.out, "near.npy"), keys.astype(np.int64))
    return []
