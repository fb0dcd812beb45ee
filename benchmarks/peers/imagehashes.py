"""imagededup's hashes, all pairs within ten bits with their distance; its networks' weights would have to be downloaded."""

import json
import sys
from unittest import mock

for name in ("", ".models", ".models.vision_transformer", ".models.efficientnet", ".transforms"):
    sys.modules[f"torchvision{name}"] = mock.MagicMock()  # only the networks, which are not used, need it

from imagededup.methods import DHash, PHash, WHash  # noqa: E402 - it loads torchvision

BITS, MOST = 64, 10

scores = {}
for method in (PHash, DHash, WHash):
    found = method(verbose=False).find_duplicates(
        image_dir=sys.argv[1], max_distance_threshold=MOST, scores=True, num_enc_workers=2, num_dist_workers=2
    )
    pairs = [(a, b, 1 - bits / BITS) for a, others in found.items() for b, bits in others if a < b]
    scores[method.__name__] = pairs
print(json.dumps(scores))
