"""dedupver's persisted graph: hnswlib's, built on one thread with nudged vectors, read back and searched on all."""

from pathlib import Path

import numpy as np

from dedupver.index import hnsw


def deduplicate(job):
    """Write the pairs; nothing is dropped."""
    vectors = np.load(Path(job.data, "vectors.npy"))
    graph = Path(job.out, "graph")
    with job.step("build"):
        hnsw.build(graph, vectors, job.m, job.ef_construction, 1)
    with job.step("search"):
        rows, _ = hnsw.search(graph, vectors.shape[1], vectors, job.neighbours + 1, job.ef)
    np.save(Path(job.out, "near.npy"), rows)
    return []
