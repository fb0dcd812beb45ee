"""rensa: the README's way to keep unique documents, R-MinHash of the full set, with LSH.

It takes tokens, so the shingles are cut in Python (the step "shingle"). `sketch: rho` is its fastest way, which samples
token positions and says which records have a duplicate, not which of them to keep: all that it flags count as dropped.
"""

from rensa import RMinHash, RMinHashDeduplicator, RMinHashLSH

GAPS = {c: " " for c in range(128) if not (chr(c).isalnum() or chr(c) == "_")}


def shingles(text, size):
    """Return the text's runs of `size` words."""
    words = text.lower().translate(GAPS).split()
    return [" ".join(run) for run in zip(*(words[i:] for i in range(size)), strict=False)]


def deduplicate(job):
    """Return the rows to drop."""
    with job.step("read"):
        texts = job.column("text")
    with job.step("shingle"):
        sets = [shingles(text, job.shingle) for text in texts]
    with job.step("deduplicate"):
        flags = by_rho(job, sets) if job.sketch == "rho" else by_full_sets(job, sets)
    return [row for row, flag in enumerate(flags) if flag]


def by_full_sets(job, sets):
    """Return of each record whether an earlier one that is kept resembles it."""
    index = RMinHashDeduplicator(job.threshold, job.num_perm, use_lsh=True, num_bands=job.bands)
    return [not kept for kept in index.add_pairs((str(row), tokens) for row, tokens in enumerate(sets))]


def by_rho(job, sets):
    """Return of each record whether another resembles it."""
    matrix = RMinHash.digest_matrix_from_token_sets_rho(sets, job.num_perm, 42)
    return RMinHashLSH(job.threshold, job.num_perm, job.bands or 8).query_duplicate_flags_matrix_one_shot(matrix)
