"""The floor: read the same bytes and hash them with sha256 on the same cores, and do nothing else."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq


def deduplicate(job):
    """Return no rows."""
    with job.step("read"):
        chunks = [chunk for part in job.parts() for chunk in pq.ParquetFile(part).read(["text"])["text"].chunks]
        buffers = [memoryview(chunk.buffers()[2]) for chunk in chunks]
    with job.step("hash"), ThreadPoolExecutor(job.threads) as pool:
        pieces = [b[i : i + (1 << 20)] for b in buffers for i in range(0, len(b), 1 << 20)]
        list(pool.map(lambda piece: hashlib.sha256(piece).digest(), pieces))
    return []
