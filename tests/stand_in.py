"""A stage in a few lines, to be copied as stages/<stage>.py: equal texts are duplicates, and a base is never changed.

It writes the layout of the real stages, and fails like a gate on a record that says `poison`.
"""

import shutil
import sys
from pathlib import Path

from dedupver import params, store

ROOT = Path()
PARAMS = params.load(ROOT / "params.yaml")
VERSION = PARAMS.version.name
STRICT = 0.9


def fingerprint() -> None:
    """Read every record: of the base's earlier batches, then of the source."""
    places = [*sorted((ROOT / "base" / "raw").glob("*")), ROOT / PARAMS.source.path]
    records = {f"{place.name}/{p.name}": p.read_text() for place in places for p in sorted(place.iterdir())}
    store.write_json(ROOT / "build" / "fingerprint" / "records.json", records)


def match() -> None:
    """Write the index: the base's segments, and one for this version."""
    records = store.read_json(ROOT / "build" / "fingerprint" / "records.json")
    with store.building(ROOT / "index") as index:
        for segment in sorted((ROOT / "base").glob("index/v*.json")):
            shutil.copyfile(segment, index / segment.name)
        store.write_json(index / f"{VERSION}.json", sorted(set(records.values())))
    store.write_json(ROOT / "build" / "match" / "matches.json", records)


def dedup() -> None:
    """Keep one record of each text, or all of them above a threshold of STRICT."""
    records = store.read_json(ROOT / "build" / "match" / "matches.json")
    if "poison" in records.values():
        sys.exit("gate: a record is poisoned")
    distinct = {text: name for name, text in reversed(records.items())}
    kept = sorted(records if PARAMS.dedup.thresholds.text > STRICT else distinct.values())
    store.write_json(ROOT / "build" / "dedup" / "kept.json", kept)
    store.write_json(ROOT / "metrics" / "dedup.json", {"kept": len(kept), "dropped": len(records) - len(kept)})


def manifest() -> None:
    """Write the header, and the records that stay."""
    before = ROOT / "base" / "manifest" / "manifest.json"
    earlier = store.read_json(before)["versions"] if before.is_file() else []
    with store.building(ROOT / "manifest") as target:
        shutil.copyfile(ROOT / "build" / "dedup" / "kept.json", target / f"{VERSION}.kept.json")
        header = {"format": 1, "version": VERSION, "versions": [*earlier, VERSION]}
        store.write_json(target / "manifest.json", header)
    store.write_json(ROOT / "clean" / "kept.json", store.read_json(ROOT / "build" / "dedup" / "kept.json"))


if __name__ == "__main__":
    {"fingerprint": fingerprint, "match": match, "dedup": dedup, "manifest": manifest}[Path(__file__).stem]()
