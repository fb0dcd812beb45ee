"""faiss: its inverted lists; its flat index, searched by radius. Its graph is dedupver's."""

from pathlib import Path

import faiss
import numpy as np


def deduplicate(job):
    """Write the pairs; nothing is dropped."""
    vectors = np.load(Path(job.data, "vectors.npy"))
    with job.step("build"):
        index = build(job, vectors)
        faiss.write_index(index, str(Path(job.out, "graph")))
    faiss.omp_set_num_threads(job.threads)
    with job.step("all"):
        if job.kind == "flat":
            limits, _, right = index.range_search(vectors, job.floor)
        else:
            near = index.search(vectors, job.neighbours + 1)[1]
    with job.step("more"):
        index.search(vectors[: job.more], job.neighbours)
    if job.kind == "flat":
        np.save(
            Path(job.out, "pairs.npy"),
            np.stack([np.repeat(np.arange(len(vectors)), np.diff(limits.astype(np.int64))), right], axis=1),
        )
    else:
        np.save(Path(job.out, "near.npy"), near)
    return []


def build(job, vectors):
    """Return the index, filled."""
    width = vectors.shape[1]
    if job.kind == "lists":
        lists = int(4 * np.sqrt(len(vectors)))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.nprobe = job.probes
    else:
        index = faiss.IndexFlatIP(width)
    index.add(vectors)
    return index
