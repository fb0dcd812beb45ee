"""dedupver: a project folder as `dedupver init` lays it out, its stages one after the other; no encoder, no DVC.

Timed until its decisions are on disk, as the others; by then it has verified each match by exact Jaccard and written an
index for the next version. The manifest and the clean dataset come after, as a step of their own.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import project
from dedupver import pipeline
from dedupver.project import Project

BANDS = 32  # dedupver's default


def deduplicate(job):
    """Run the stages up to decisions."""
    root = Path(job.out, "project")
    settings = {
        "fingerprint.text.shingle": job.shingle,
        "match.lsh.bands": BANDS,
        "match.lsh.rows": job.num_perm // BANDS,
        "dedup.thresholds.text": job.threshold,
        "gates.removed": None,  # the pages are what gates are for: see docs/gates.md
        "gates.cluster": None,
    }
    with job.step("lay out"):
        project.lay_out(root, job.parts(), settings)
    for stage in pipeline.DECIDING:
        with job.step(stage):
            pipeline.run(stage, root)


def collect(job):
    """Return the dropped rows, and the pairs of contents that were verified, as rows that hold them."""
    root = Path(job.out, "project")
    with job.step("(manifest)"):
        pipeline.run("gates", root)
        pipeline.run("manifest", root)
    told = Project(root).decided().live(["id", "action", "parts"])
    rows = pc.index_in(told["id"], pa.array(job.column("id")))
    dropped = rows.filter(pc.equal(told["action"], "drop")).to_pylist()
    contents = told["parts"].combine_chunks().flatten().field("content")  # one part a record
    matches = pq.read_table(next((root / "index/segments").iterdir()) / "matches.parquet")
    matches = matches.filter(pc.greater_equal(matches["score"], job.threshold))
    left, right = (rows.take(pc.index_in(matches[side], contents)).to_pylist() for side in ("left", "right"))
    return dropped, list(zip(left, right, strict=True))
