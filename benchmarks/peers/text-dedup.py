r"""text-dedup: its minhash command as its README calls it, with xxh3 on 32 bits, which it says is faster, and all cores.

It saves the kept records, one of each connected component. Its tokens are what `\W` parts, empty ones included.
Where pairs are asked for, they are all of a component.
With `sketch: simhash` the codes of its simhash command (runs of three characters), all compared with all: its tables
find every pair within the 3 bits that it takes by default.
"""

import os
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

BITS = 3
RUN = 3


def deduplicate(job):
    """Run the command."""
    if job.sketch == "simhash":
        return [], near(codes(job))
    out = Path(job.out)
    given = {
        "path": "parquet",
        "data_files": str(Path(job.data, "*.parquet")),
        "split": "train",
        "cache_dir": out / "cache",
        "output": out / "kept",
        "column": "text",
        "ngram": job.shingle,
        "num_perm": job.num_perm,
        "threshold": job.threshold,
        "hash_func": "xxh3",
        "hash_bits": 32,
        "num_proc": job.threads,
    }
    if job.bands:
        given |= {"b": job.bands, "r": job.num_perm // job.bands}
    options = [str(word) for name, value in given.items() for word in (f"--{name}", value)]
    env = {**os.environ, "HF_HOME": str(out / "home"), "HF_HUB_OFFLINE": "1"}
    if job.pairs:
        return [], components(options, env, len(job.column("id")))
    with job.step("text_dedup.minhash"):
        subprocess.run([sys.executable, "-m", "text_dedup.minhash", *options], env=env, check=True)
    return None


def components(options, env, count):
    """Run the command in this process; yield the pairs of rows of its components."""
    os.environ.update(env)
    from text_dedup import minhash  # noqa: PLC0415 - it reads the environment

    minhash.main.main(options, standalone_mode=False)
    members = defaultdict(list)
    for row in range(count):
        members[minhash.uf.find(row)].append(row)
    yield from (pair for rows in members.values() for pair in combinations(rows, 2))


def collect(job):
    """Return the dropped rows."""
    from datasets import load_from_disk  # noqa: PLC0415 - not at the top: the command loads it for itself

    kept = set(load_from_disk(str(Path(job.out, "kept")))["id"])
    return [row for row, name in enumerate(job.column("id")) if name not in kept]


def codes(job):
    """Return the SimHash of each text."""
    from text_dedup.simhash import SIGNATURE_COLUMN, embed_func  # noqa: PLC0415 - the command loads it for itself
    from text_dedup.utils import xxh3_64_digest  # noqa: PLC0415

    texts = job.column("text")
    make = partial(embed_func, ngram=RUN, permutations=None, hash_func=xxh3_64_digest)
    with ProcessPoolExecutor(job.threads) as pool:
        made = pool.map(make, texts, range(len(texts)), chunksize=64)
        return np.array([np.frombuffer(each[SIGNATURE_COLUMN], np.uint64)[0] for each in made])


def near(found):
    """Yield the pairs of rows whose codes differ in few bits."""
    for row in range(1, len(found)):
        few = np.bitwise_count(found[:row] ^ found[row]) <= BITS
        yield from ((other, row) for other in np.flatnonzero(few).tolist())
