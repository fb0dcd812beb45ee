r"""text-dedup: its minhash command as its README calls it, with xxh3 on 32 bits, which it says is faster, and all cores.

It saves the kept records, one of each connected component. Its tokens are what `\W` parts, empty ones included.
"""

import os
import subprocess
import sys
from pathlib import Path


def deduplicate(job):
    """Run the command."""
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
    with job.step("text_dedup.minhash"):
        subprocess.run([sys.executable, "-m", "text_dedup.minhash", *options], env=env, check=True)


def collect(job):
    """Return the dropped rows."""
    from datasets import load_from_disk  # noqa: PLC0415 - not at the top: the command loads it for itself

    kept = set(load_from_disk(str(Path(job.out, "kept")))["id"])
    return [row for row, name in enumerate(job.column("id")) if name not in kept]
