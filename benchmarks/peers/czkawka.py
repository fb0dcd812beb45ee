"""czkawka's Python bindings: the README's search of a folder. Groups come as pairs with a reference."""

import os
from pathlib import Path

from czkawka import ImageSimilarity


def deduplicate(job):
    """Return the rows to drop, all of a group but its reference, and its pairs."""
    os.environ["HOME"] = os.environ["XDG_CACHE_HOME"] = job.out  # where it would keep the hashes for the next run
    finder = ImageSimilarity()
    finder.set_directories([Path(job.data)])
    finder.set_similarity(job.similarity)
    groups = finder.find_similar_with_distances()
    row = {path.name: number for number, path in enumerate(sorted(Path(job.data).iterdir()))}
    pairs = [(row[Path(a).name], row[Path(b).name]) for group in groups for a, b, _ in group]
    return sorted({right for _, right in pairs}), pairs
