"""datasketch: MinHash.generator, and a MinHashLSH that is asked before each insert; xxhash, as its documentation advises.

Of what the index answers, those count whose estimated similarity is at or above the threshold. One thread: it has no
way to use more.
"""

import xxhash
from datasketch import MinHash, MinHashLSH

GAPS = {c: " " for c in range(128) if not (chr(c).isalnum() or chr(c) == "_")}


def shingles(text, size, letters):
    """Return the text's runs of `size` words, or letters, as bytes."""
    words = text.lower().translate(GAPS).split()
    words = "".join(words) if letters else words
    return [" ".join(run).encode() for run in zip(*(words[i:] for i in range(size)), strict=False)]


def deduplicate(job):
    """Return the rows to drop; where pairs are asked for, all that are found, of dropped rows too."""
    with job.step("read"):
        texts = job.column("text")
    params = (job.bands, job.num_perm // job.bands) if job.bands else None
    index = MinHashLSH(threshold=job.threshold, num_perm=job.num_perm, params=params)
    sets = (shingles(text, job.shingle, job.letters) for text in texts)
    dropped, kept, pairs = [], {}, []
    for row, sketch in enumerate(MinHash.generator(sets, num_perm=job.num_perm, hashfunc=xxhash.xxh32_intdigest)):
        near = (other for other in index.query(sketch) if sketch.jaccard(kept[other]) >= job.threshold)
        if job.pairs:
            found = [(other, row) for other in near]
            pairs += found
        else:
            found = any(True for _ in near)
        if found:
            dropped.append(row)
        if not found or job.pairs:
            kept[row] = sketch
            index.insert(row, sketch, check_duplication=False)
    return (dropped, pairs) if job.pairs else dropped
