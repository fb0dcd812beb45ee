"""fastdup: the nearest neighbours by the model that the package carries, with their similarities."""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["SENTRY_OPT_OUT"] = "1"  # before it is imported: it would report where it runs

import fastdup

NEIGHBOURS, FLOOR = 20, 0.85

with tempfile.TemporaryDirectory() as place:
    task = fastdup.create(work_dir=place, input_dir=sys.argv[1])
    task.run(num_threads=2, nearest_neighbors_k=NEIGHBOURS, threshold=FLOOR, verbose=False)
    rows = task.similarity()
    ends = ([Path(name).name for name in rows[f"filename_{end}"]] for end in ("from", "to"))
    pairs = {(min(a, b), max(a, b)): float(s) for a, b, s in zip(*ends, rows["distance"], strict=True)}
print(json.dumps({"fastdup": [(*pair, score) for pair, score in pairs.items()]}))
