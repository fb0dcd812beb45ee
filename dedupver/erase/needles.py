"""What a search for erased records looks for: their ids, the digests of what they held, and its bytes."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from dedupver.erase.raw import Held

LONGEST: Final = 4096
"""Bytes of a needle: of more, the piece of this length that says most stands for all."""

SHORTEST: Final = 12
"""Bytes of a content below which it is not looked for by its bytes: they stand in many places by chance."""

SHORTEST_ID: Final = 4
"""Bytes of an id below which it is not looked for."""

BLOCK: Final = 1 << 20

PLACES: Final = 16
"""So many pieces of a long content are tried."""


class Needle(NamedTuple):
    """Some bytes to be looked for."""

    kind: str  # id | digest | bytes
    data: bytes
    record: str  # the id of the record that it is of
    part: bytes = b""  # digests, bytes: the sha256 of the part or file, which another record may hold too


def of_id(name: str, record: str) -> Iterator[Needle]:
    """Yield an id, or the path of a file, as it is written in UTF-8 and in JSON."""
    if len(name.encode()) >= SHORTEST_ID:
        forms = {name.encode(), *_json(name)}
        yield from (Needle("id", form, record) for form in sorted(forms))


def of_digests(sha256: bytes, content: bytes, record: str) -> Iterator[Needle]:
    """Yield the digests of a part and of its normalised content, as they are and in hex."""
    for digest in dict.fromkeys((sha256, content)):
        yield from (Needle("digest", form, record, sha256) for form in (digest, digest.hex().encode()))


def of_held(held: Held, root: Path, record: str) -> Iterator[Needle]:
    """Yield what raw data holds of a record: the bytes of its parts, files and line, and the digests of these."""
    for value in held.parts.values():
        yield from _of_part(value, record)
    for path in held.files:
        if (root / path).is_file():
            yield from _of_file(root / path, record)
        yield from of_id(path, record)
    if held.line:
        yield from of_bytes(held.line.strip(), record, hashlib.sha256(held.line).digest())


def of_bytes(data: bytes, record: str, part: bytes) -> Iterator[Needle]:
    """Yield bytes as they are; of a text also as JSON and CSV write it. Nothing where they are too few."""
    if len(data) < SHORTEST:
        return
    try:
        text = data.decode()
    except UnicodeDecodeError:
        forms = {data}
    else:
        forms = {data, text.replace('"', '""').encode(), *_json(text)}
    yield from (Needle("bytes", telling(form), record, part) for form in sorted(forms))


def telling(data: bytes) -> bytes:
    """Return bytes as a whole, or of many the piece of LONGEST bytes that can be packed least."""
    if len(data) <= LONGEST:
        return data
    step = max(1, (len(data) - LONGEST) // PLACES)
    pieces = (data[at : at + LONGEST] for at in range(0, len(data) - LONGEST + 1, step))
    return max(pieces, key=lambda piece: len(zlib.compress(piece, 1)))


def stated(needles: Iterable[Needle]) -> list[list[str]]:
    """Return needles as JSON can hold them."""
    return [[n.kind, _text(n.data), n.record, _text(n.part)] for n in needles]


def of_stated(rows: Iterable[list[str]]) -> list[Needle]:
    """Return the needles of `stated`."""
    return [Needle(kind, base64.b64decode(data), record, base64.b64decode(part)) for kind, data, record, part in rows]


def _of_part(value: bytes | Mapping[str, Any], record: str) -> Iterator[Needle]:
    """Yield the bytes of a part, unless they are in a file: of the sample, or one that the row names."""
    if isinstance(value, bytes):
        yield from of_bytes(value, record, hashlib.sha256(value).digest())
    elif value["data"] is not None:
        yield from of_bytes(value["data"], record, value["sha256"])


def _of_file(path: Path, record: str) -> Iterator[Needle]:
    """Yield the bytes of a file, and its digests: by md5 DVC names its object."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    best = (0, b"")
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            md5.update(block)
            sha256.update(block)
            piece = telling(block)
            best = max(best, (len(zlib.compress(piece, 1)), piece))
    part = sha256.digest()
    if path.stat().st_size:
        yield Needle("digest", md5.hexdigest().encode(), record, part)
        yield from of_digests(part, part, record)
    if path.stat().st_size <= LONGEST:
        yield from of_bytes(best[1], record, part)
    elif best[1]:
        yield Needle("bytes", best[1], record, part)


def _json(text: str) -> set[bytes]:
    """Return how JSON writes a text, less the quotes."""
    return {json.dumps(text, ensure_ascii=ascii_)[1:-1].encode("utf-8", "surrogatepass") for ascii_ in (True, False)}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
