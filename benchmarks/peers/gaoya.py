"""gaoya: the index's bulk calls, which shingle, hash, insert and query on all cores; then greedy in row order.

Its analyzer takes what is between ASCII punctuation or white space for a word, so `_` parts words.
"""

from gaoya.minhash import MinHashStringIndex


def deduplicate(job):
    """Return the rows to drop, and the pairs found."""
    with job.step("read"):
        texts = job.column("text")
    size = job.num_perm // job.bands if job.bands else None
    index = MinHashStringIndex(
        hash_size=32,
        jaccard_threshold=job.threshold,
        num_bands=job.bands,
        band_size=size,
        num_hashes=job.num_perm,
        analyzer="word",
        lowercase=True,
        ngram_range=(job.shingle, job.shingle),
        id_container="smallvec",
    )
    with job.step("insert"):
        index.par_bulk_insert_docs(list(range(len(texts))), texts)
    with job.step("query"):
        near = index.par_bulk_query(texts)
    with job.step("decide"):
        dropped = set()
        for row, others in enumerate(near):
            if any(other < row and other not in dropped for other in others):
                dropped.add(row)
    return sorted(dropped), ((row, other) for row, others in enumerate(near) for other in others if other < row)
