"""dedupver on a folder of images, its stages one after the other, at its defaults, with or without the embedding."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import project
from dedupver import pipeline
from dedupver.project import Project

THRESHOLDS = {"image": 0.92, "image_embedding": 0.98}


def deduplicate(job):
    """Run the stages."""
    root = Path(job.out, "project")
    settings = {"source.columns.id": None, "fingerprint.image.encoder": job.encoder, "engine.workers": job.threads}
    with job.step("lay out"):
        project.lay_out(root, sorted(Path(job.data).iterdir()), settings)
    for stage in pipeline.STAGES:
        with job.step(stage):
            pipeline.run(stage, root)


def collect(job):
    """Return the dropped rows, and the pairs of contents at or above the thresholds, as rows that hold them."""
    root = Path(job.out, "project")
    told = Project(root).decided().live(["id", "action", "parts"])
    rows = pc.index_in(told["id"], pa.array(sorted(path.name for path in Path(job.data).iterdir())))
    dropped = rows.filter(pc.equal(told["action"], "drop")).to_pylist()
    holders = {}  # a quarantined record has no part
    for row, parts in zip(rows.to_pylist(), told["parts"].to_pylist(), strict=True):
        for part in parts:
            holders.setdefault(part["content"], []).append(row)
    pairs = [(rows[0], row) for rows in holders.values() for row in rows[1:]]
    matches = pq.read_table(next((root / "index/segments").iterdir()) / "matches.parquet").to_pylist()
    near = [m for m in matches if m["score"] >= THRESHOLDS[m["kind"]] - 1e-6]
    return dropped, pairs + [(holders[m["left"]][0], holders[m["right"]][0]) for m in near]
