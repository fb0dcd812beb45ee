"""fastcdc: the blocks of files and of all below folders; prints, as JSON, how many there are, the bytes of all and of the distinct ones.

python fastcdc.py SIZE PATH...
"""

import hashlib
import json
import os
import sys
from pathlib import Path

from fastcdc import fastcdc


def files(path):
    """Yield a file, or all files below a folder."""
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names if Path(folder, name).is_file())


def main(size, *paths):
    """Cut and count; blocks have a quarter to four times so many bytes, as in dedupver."""
    size = int(size)
    held, total, count = {}, 0, 0
    for path in paths:
        for file in files(Path(path)):
            for block in (
                fastcdc(str(file), size // 4, size, size * 4, hf=hashlib.sha256) if file.stat().st_size else ()
            ):
                held[block.hash] = block.length
                total += block.length
                count += 1
    print(json.dumps({"bytes": total, "count": count, "blocks": sum(held.values())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
