"""imagededup: PHash and the README's `find_duplicates`; its networks' weights would have to be downloaded."""

import sys
from pathlib import Path
from unittest import mock

try:
    import torchvision  # noqa: F401
except RuntimeError:  # built for another build of torch; only the networks, which are not used, need it
    for name in [name for name in sys.modules if name.startswith("torchvision")]:
        del sys.modules[name]
    for name in ("", ".models", ".models.vision_transformer", ".models.efficientnet", ".transforms"):
        sys.modules[f"torchvision{name}"] = mock.MagicMock()

from imagededup.methods import PHash
from imagededup.utils.general_utils import get_files_to_remove


def deduplicate(job):
    """Return what it would remove, and its pairs."""
    found = PHash(verbose=False).find_duplicates(
        image_dir=job.data, num_enc_workers=job.threads, num_dist_workers=job.threads
    )
    row = {path.name: number for number, path in enumerate(sorted(Path(job.data).iterdir()))}
    pairs = [(row[a], row[b]) for a, others in found.items() for b in others]
    return [row[name] for name in get_files_to_remove(found)], pairs
