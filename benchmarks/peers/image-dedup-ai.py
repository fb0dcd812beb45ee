"""image-dedup-ai: the README's `find_duplicates` of a folder."""

from pathlib import Path

import image_dedup_ai


def deduplicate(job):
    """Return what it drops, and its pairs."""
    result = image_dedup_ai.find_duplicates(job.data, workers=job.threads)
    row = {path.name: number for number, path in enumerate(sorted(Path(job.data).iterdir()))}
    pairs = [(row[Path(a).name], row[Path(b).name]) for a, b, _ in result.pairs]
    return [row[Path(path).name] for path in result.drop], pairs
