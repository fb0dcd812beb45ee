"""Run one peer on one task in its own environment, and write what it decided and how long it took.

A peer is a module beside this one, named after its tool, with

- `deduplicate(job)`: timed, from reading the data to decisions on disk. It returns the rows to drop, which are written
  for it, or (those, pairs of rows), the pairs as a generator, which is not timed; or None when the tool wrote its own.
- `collect(job)`, where the tool wrote its own: not timed, reads them and returns the same.

Run as `python -P drive.py PEER JOB.json`: with -P this directory is not searched, so `import gaoya` in gaoya.py is the
package. `job.json`: data (a directory of Parquet parts with the columns id and text), out, started (monotonic seconds
at the start of the process) and the settings.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
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
        return [value for path in self.parts() for value in pq.ParquetFile(path).read([name])[name].to_pylist()]

    @contextlib.contextmanager
    def step(self, name):
        """Add the time of what is inside to a step, and the CPU time of this process."""
        began, spent = time.monotonic(), time.process_time()
        yield
        self.steps[name] = self.steps.get(name, 0) + time.monotonic() - began
        self.spent[name] = self.spent.get(name, 0) + time.process_time() - spent


def main(name, path):
    """Load the peer, run it, write."""
    place = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"peer_{name.replace('-', '_')}", place)
    peer = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = peer
    spec.loader.exec_module(peer)
    loaded = time.monotonic()
    job = Job(**json.loads(Path(path).read_text()), steps={}, spent={})
    answer = peer.deduplicate(job)
    if answer is not None:
        write(job, "dropped", [(row,) for row in of(answer)[0]], ["row"])
    done, cpu = time.monotonic(), sum(os.times()[:4])
    if answer is None:
        answer = peer.collect(job)
        write(job, "dropped", [(row,) for row in of(answer)[0]], ["row"])
    if of(answer)[1] is not None:
        write(job, "pairs", of(answer)[1], ["left", "right"])
    told = {
        "seconds": done - job.started,
        "work": done - loaded,
        "cpu": cpu,
        "done": done,
        "steps": job.steps,
        "spent": job.spent,
    }
    packages = {p.metadata["Name"]: p.version for p in importlib.metadata.distributions()}
    Path(job.out, "times.json").write_text(json.dumps({**told, "packages": dict(sorted(packages.items()))}))


def of(answer):
    """Return the rows to drop and the pairs, or None."""
    return answer if isinstance(answer, tuple) else (answer, None)


def write(job, name, rows, columns):
    """Write tuples of row numbers."""
    schema = pa.schema([(column, pa.int64()) for column in columns])
    rows = iter(rows)
    with pq.ParquetWriter(Path(job.out, f"{name}.parquet"), schema) as out:
        while some := list(itertools.islice(rows, 1_000_000)):
            out.write_table(pa.table([list(values) for values in zip(*some, strict=True)], schema=schema))


if __name__ == "__main__":
    main(*sys.argv[1:])
