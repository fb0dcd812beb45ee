"""dedupver: the exact scan, or the persisted graph, written, read back and searched."""

from pathlib import Path

import numpy as np

from dedupver.index import hnsw, vectors


def deduplicate(job):
    """Write the pairs; nothing is dropped."""
    given = np.load(Path(job.data, "vectors.npy"))
    if job.kind == "scan":
        vectors.scan(given[:2], given[:2], 0, 1, np.zeros(2, np.int64))  # loads what is compiled
        with job.step("all"):
            found = np.zeros(len(given), np.int64)
            scan = vectors.scan(given, given, job.floor, job.cap, found, triangle=True)
        with job.step("more"):
            vectors.scan(given[: job.more], given, job.floor, job.cap, np.zeros(job.more, np.int64))
        many = (found > job.cap)[scan.left]
        beyond = scan.beyond.copy()
        beyond[scan.right[many]] = True
        np.save(Path(job.out, "pairs.npy"), np.stack([scan.left, scan.right], axis=1)[~many])
        np.save(Path(job.out, "hot.npy"), np.flatnonzero(beyond | (found > job.cap)))
        return []
    graph = Path(job.out, "graph")
    with job.step("build"):
        hnsw.build(graph, given, job.m, job.ef_construction, 1)
    with job.step("all"):
        rows, _ = hnsw.search(graph, given, given, job.neighbours + 1, job.ef)
    with job.step("more"):
        hnsw.search(graph, given, given[: job.more], job.neighbours, job.ef)
    np.save(Path(job.out, "near.npy"), rows)
    return []
