"""webdataset: the samples of archives, each as the sha256 of its members by suffix; duplicate keys are an error."""

import hashlib
import json
import sys

import webdataset

found = []
for path in sys.argv[1:]:
    samples = {}
    for sample in webdataset.WebDataset(path, shardshuffle=False, empty_check=False):
        key = sample["__key__"]
        if key in samples:
            raise SystemExit(f"{path} has {key!r} twice")
        samples[key] = {k: hashlib.sha256(v).hexdigest() for k, v in sample.items() if not k.startswith("__")}
    found.append(samples)
print(json.dumps(found))
