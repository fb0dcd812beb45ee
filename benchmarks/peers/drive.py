"""Run one peer on one task in its own environment, and write what it decided and how long it took.

A peer is a module beside this one, named after its tool, with

- `deduplicate(job)`: timed, from reading the data to decisions on disk. It returns the rows to drop, or (those, pairs
  of rows), which are written for it; or None when the tool wrote its own.
- `collect(job)`, where the tool wrote its own: not timed, reads them and returns the same.

Run as `python -P drive.py PEER JOB.json`: with -P this directory is not searched, so `import gaoya` in gaoya.py is the
package. `job.json`: data (a directory of Parquet parts with the columns id and text), out, started (monotonic seconds
at the start of the process) and the settings.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq


class Job(SimpleNamespace):
    """The settings (threshold, shingle, num_perm, bands, threads, …), the paths and the times of the steps."""

    def parts(self):
        """Return the paths of the data."""
        return sorted(Path(self.data).glob("*.parquet"))

    def column(self, name):
        """Return a column of all the data."""
        return pa.concat_tables([pq.read_table(path, columns=[name]) for path in self.parts()])[name].to_pylist()

    @contextlib.contextmanager
    def step(self, name):
        """Add the time of what is inside to a step."""
        began = time.monotonic()
        yield
        self.steps[name] = self.steps.get(name, 0) + time.monotonic() - began


def main(name, path):
    """Load the peer, run it, write."""
    place = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"peer_{name.replace('-', '_')}", place)
    peer = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = peer
    spec.loader.exec_module(peer)
    loaded = time.monotonic()
    job = Job(**json.loads(Path(path).read_text()), steps={})
    answer = peer.deduplicate(job)
    if answer is not None:
        dropped, pairs = answer if isinstance(answer, tuple) else (answer, None)
        write(job, "dropped", {"row": dropped})
    done = time.monotonic()
    if answer is None:
        answer = peer.collect(job)
        dropped, pairs = answer if isinstance(answer, tuple) else (answer, None)
        write(job, "dropped", {"row": dropped})
    if pairs is not None:
        write(
            job,
            "pairs",
            dict(zip(("left", "right"), zip(*pairs, strict=True), strict=True)) if pairs else {"left": [], "right": []},
        )
    told = {"seconds": done - job.started, "work": done - loaded, "steps": job.steps, "done": done}
    packages = {p.metadata["Name"]: p.version for p in importlib.metadata.distributions()}
    Path(job.out, "times.json").write_text(json.dumps({**told, "packages": dict(sorted(packages.items()))}))


def write(job, name, columns):
    """Write columns of row numbers."""
    pq.write_table(pa.table({k: pa.array(v, pa.int64()) for k, v in columns.items()}), Path(job.out, f"{name}.parquet"))


if __name__ == "__main__":
    main(*sys.argv[1:])
