"""videohash: a hash of 64 bits of a collage of a picture a second; its own `is_similar`: 15 % of the bits."""

import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg

place = Path(tempfile.mkdtemp())
(place / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
os.environ["PATH"] = f"{place}:{os.environ['PATH']}"

from videohash import VideoHash  # noqa: E402 - it looks for ffmpeg when it is loaded

hashes = {}
for path in sys.argv[1:]:
    try:
        made = VideoHash(path=path)
    except Exception as error:  # noqa: BLE001 - it can't read some
        print(path, error, file=sys.stderr)
        continue
    hashes[path] = int(made.hash, 2)
    shutil.rmtree(made.storage_path, ignore_errors=True)
if 2 * len(hashes) < len(sys.argv):
    raise SystemExit("more than half of the videos could not be read")
pairs = [(a, b) for a, b in itertools.combinations(hashes, 2) if (hashes[a] ^ hashes[b]).bit_count() <= 0.15 * 64]
shutil.rmtree(place)
print(json.dumps({"hashed": len(hashes), "pairs": pairs}))
