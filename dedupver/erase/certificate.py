"""What an erasure did, written down without a word of the erased: keyed hashes stand for their ids and contents."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any, Final

from dedupver import __version__, store
from dedupver.schema import FORMAT, StateError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from dedupver.erase.again import Rebuilt
    from dedupver.erase.search import Search
    from dedupver.manifest import Log

FOLDER: Final = "erasures"

NOT_REACHED: Final = (
    "clones and forks of this repository, and what git hosts keep of old commits until they collect garbage",
    "backups, snapshots and old object versions of the storage below caches and remotes",
    "other caches: `dvc cache dir` of other machines, and what `dvc get`, `dvc import` or a download copied",
    "models, embeddings and statistics made of the records outside of this pipeline",
    "contents in another form than as they are or as JSON and CSV write them: base64, other encodings, locked archives",
)


def new_key() -> str:
    """Return a key that nobody else has."""
    return secrets.token_hex(32)


def key_in(path: Path, root: Path) -> str:
    """Return the key in a file, which is written with a new one where it is not there.

    Raises StateError for a file within the repository, or one that holds no key.
    """
    if path.resolve().is_relative_to(root.resolve()):
        raise StateError(f"{path} lies in the repository: the key must not stay with what it hides")
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(new_key() + "\n", encoding="ascii")
    key = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        long = len(bytes.fromhex(key)) >= 16
    except ValueError:
        long = False
    if not long:
        raise StateError(f"{path} holds no key: 32 hex digits or more")
    return key


def hashed(key: str, what: str, value: bytes) -> str:
    """Return the keyed hash of an id or a digest (HMAC-SHA256): without the key nobody can tell what it is of."""
    return hmac.new(bytes.fromhex(key), what.encode() + b"\0" + value, hashlib.sha256).hexdigest()


def write(  # noqa: PLR0913 - all that a certificate says
    root: Path,
    key: str,
    time: str,
    *,
    scope: str,
    ids: Collection[str],
    digests: Collection[bytes],
    versions: Sequence[dict[str, Any]],
    found: Search,
    looked_for: dict[str, int],
    not_reached: Iterable[str],
) -> Path:
    """Write the certificate below `erasures/` and return its path. Canonical JSON, one file for each erasure."""
    told = {
        "format": FORMAT,
        "dedupver": __version__,
        "erased_at": time,
        "key": hashed(key, "key", b"")[:16],
        "records": len(ids),
        "ids": sorted(hashed(key, "id", name.encode()) for name in ids),
        "contents": sorted(hashed(key, "digest", digest) for digest in digests),
        "scope": scope,
        "versions": list(versions),
        "looked_for": looked_for,
        "searched": {
            place: {"objects": found.objects[place], "bytes": found.bytes[place]} for place in sorted(found.objects)
        },
        "hits": len(found.hits),
        "containers_not_opened": len(found.unsearched),
        "not_reached": [*not_reached, *NOT_REACHED],
    }
    day = time[:10]
    number = next(n for n in range(1, 10_000) if not (root / FOLDER / f"{day}-{n}.json").exists())
    path = root / FOLDER / f"{day}-{number}.json"
    store.write_json(path, told)
    return path


def version(each: Rebuilt) -> dict[str, Any]:
    """Return what a certificate says of a version."""
    compared = each.compared
    return {
        "version": each.version,
        "old": each.old,
        "new": each.new,
        "records_erased": each.removed,
        "before": each.before,
        "after": each.after,
        "decided_alike": compared.equal,
        "judged_again": len(compared.changed),
        "others_that_differ": len(compared.others),
        "splits_alike": compared.splits,
        "files_alike": compared.files,
        "rows_alike": compared.rows,
        "files_that_differ_otherwise": len(compared.odd),
    }


def returned(root: Path, log: Log, key: str) -> list[str]:
    """Return the ids of live records of which the id or a part is one that was erased with this key.

    Raises StateError where no certificate was made with it.
    """
    mark = hashed(key, "key", b"")[:16]
    told = [store.read_json(path) for path in sorted((root / FOLDER).glob("*.json"))]
    told = [each for each in told if each["key"] == mark]
    if not told:
        raise StateError(f"no certificate in {FOLDER}/ was made with this key")
    hashes = {each for one in told for each in (*one["ids"], *one["contents"])}
    found = []
    for batch in log.live(("id", "parts")).to_batches(max_chunksize=10_000):
        for name, parts in zip(batch["id"].to_pylist(), batch["parts"].to_pylist(), strict=True):
            digests = {part[digest] for part in parts for digest in ("sha256", "content")}
            mine = {hashed(key, "id", name.encode()), *(hashed(key, "digest", each) for each in digests)}
            if mine & hashes:
                found.append(name)
    return found
