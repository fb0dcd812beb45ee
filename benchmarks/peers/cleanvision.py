"""cleanvision: the README's search, for duplicates alone."""

from pathlib import Path

from cleanvision import Imagelab


def deduplicate(job):
    """Return all of each set but the first, and the pairs with the first."""
    lab = Imagelab(data_path=job.data, verbose=False)
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=job.threads, verbose=False)
    row = {path.name: number for number, path in enumerate(sorted(Path(job.data).iterdir()))}
    sets = [s for kind in ("exact_duplicates", "near_duplicates") for s in lab.info[kind]["sets"]]
    rows = [sorted(row[Path(name).name] for name in names) for names in sets]
    pairs = [(first, other) for first, *others in rows for other in others]
    return sorted({right for _, right in pairs}), pairs
