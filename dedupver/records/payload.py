"""What a part holds: its bytes or, where its modality is streamed, where they are."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Self

from dedupver.records.paths import opened, reason
from dedupver.schema import STREAMED, Unreadable

if TYPE_CHECKING:
    from dedupver import params


MOST_HELD: Final = 1 << 30
"""Bytes of a streamed part that are taken into memory at most, where they are no file of their own."""


class Handle(NamedTuple):
    """A row of the struct HANDLE: a file, or bytes that came within a table or an archive."""

    path: str | None
    data: bytes | None
    size: int
    sha256: bytes

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """Return the handle of bytes that are in memory."""
        return cls(None, data, len(data), hashlib.sha256(data).digest())

    def open(self) -> BinaryIO:
        """Open the bytes, to be read from the start. Raises OSError."""
        return io.BytesIO(self.data or b"") if self.path is None else Path(self.path).open("rb")

    def read(self) -> bytes:
        """Return all bytes, which are then in memory. Raises Unreadable for a file that can't be read."""
        try:
            with self.open() as file:
                return file.read()
        except OSError as error:
            raise Unreadable("unreadable_file", reason(error)) from error


Payload = bytes | Handle


def held(payload: Payload) -> int:
    """Return how many bytes of a payload are in memory."""
    return len(payload) if isinstance(payload, bytes) else len(payload.data or b"")


def digest(payload: Payload) -> bytes:
    """Return the sha256 (32 bytes) of a payload."""
    return hashlib.sha256(payload).digest() if isinstance(payload, bytes) else payload.sha256


def most_held(modality: str, source: params.Source) -> int:
    """Return how many bytes a part may have where it comes within a table or an archive, and so into memory."""
    return min(source.limit(modality), MOST_HELD) if modality in STREAMED else source.limit(modality)


def of_file(root: Path, path: str, modality: str, source: params.Source) -> Payload:
    """Return what a file below `root` holds; a file that is streamed has been read once, for its digest.

    Raises Unreadable: what `paths.opened` raises.
    """
    with opened(root, path, source.limit(modality), f"huge_{modality}") as file:
        if modality not in STREAMED:
            return file.read()
        sha256 = hashlib.file_digest(file, "sha256").digest()
        return Handle(str(root / path), None, file.tell(), sha256)  # a link's own name has its suffix


def of_bytes(data: bytes, modality: str, source: params.Source) -> Payload:
    """Return bytes that came within a table or an archive.

    Raises Unreadable: `huge_MODALITY` for more of them than params allow.
    """
    limit = most_held(modality, source)
    if len(data) > limit:
        raise Unreadable(f"huge_{modality}", f"{len(data)} bytes, the limit is {limit}")
    return Handle.of_bytes(data) if modality in STREAMED else data
