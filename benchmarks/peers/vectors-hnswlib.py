"""hnswlib: built on one thread, for on more its links depend on timing, and searched on all."""

from pathlib import Path

import hnswlib
import numpy as np

NUDGE = 1e-4


def deduplicate(job):
    """Write the pairs; nothing is dropped."""
    vectors = np.load(Path(job.data, "vectors.npy"))
    graph = str(Path(job.out, "graph"))
    with job.step("build"):
        index = hnswlib.Index(space="cosine", dim=vectors.shape[1])
        index.init_index(len(vectors), M=job.m, ef_construction=job.ef_construction, random_seed=1)
        told_apart = np.random.default_rng(1).uniform(1 - NUDGE, 1 + NUDGE, vectors.shape)
        index.add_items((vectors * told_apart).astype(np.float32), num_threads=1)
        index.save_index(graph)
    with job.step("all"):
        index = hnswlib.Index(space="cosine", dim=vectors.shape[1])
        index.load_index(graph)
        index.set_num_threads(job.threads)
        index.set_ef(job.ef)
        near = index.knn_query(vectors, job.neighbours + 1)[0]
    with job.step("more"):
        index.knn_query(vectors[: job.more], job.neighbours)
    np.save(Path(job.out, "near.npy"), near.astype(np.int64))
    return []
