"""fastdup: `create` and `run` with the model that the package carries; components at its default threshold."""

import os
from pathlib import Path

os.environ["SENTRY_OPT_OUT"] = "1"  # before it is imported: it would report where it runs

import fastdup


def deduplicate(job):
    """Return all of each component but the first, and the pairs with the first."""
    task = fastdup.create(work_dir=str(Path(job.out, "fastdup")), input_dir=job.data)
    task.run(num_threads=job.threads, verbose=False)
    members = task.connected_components()[0]
    row = {path.name: number for number, path in enumerate(sorted(Path(job.data).iterdir()))}
    components = {}
    for name, component in zip(members["filename"], members["component_id"], strict=True):
        components.setdefault(component, []).append(row[Path(name).name])
    pairs = [(min(rows), other) for rows in components.values() for other in rows if other != min(rows)]
    return sorted({right for _, right in pairs}), pairs
