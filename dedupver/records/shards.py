"""Tar archives as records, in WebDataset's way: members beside each other that share a key are one sample.

The key is the name up to the first dot of its last component. Archives are streamed, and of a sample no more is held
than its parts may have.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

from dedupver.records import streams, tar
from dedupver.records.files import checked_text, naming, put_attributes, unknown
from dedupver.records.paths import printable, reason, role_of, source_of, split_in, split_of
from dedupver.records.payload import most_held, of_bytes
from dedupver.records.record import Raw, Task
from dedupver.records.samples import Scheme
from dedupver.schema import ATTRIBUTES, Unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dedupver import params
    from dedupver.records.payload import Payload
    from dedupver.records.streams import Stream
    from dedupver.records.tar import Member

PIECE: Final = 1 << 20


def cut(path: str, file: Path, source: params.Source, size: int, samples: int) -> Iterator[Task]:
    """Cut an archive into chunks of about so many bytes or samples; the last one ends with it, or with the damage.

    Raises OSError where the file can't be opened.
    """
    begin = first = row = 0
    met: set[str] = set()
    repeated: list[int] = []

    def task(stop: int) -> Task:
        return Task((path,), "tar", begin, stop, first, repeated=tuple(repeated))

    with streams.opened(file, 0, source.max_unpacked_bytes) as archive:
        try:
            for row, (key, members) in enumerate(_samples(archive, source)):
                start = next(members).start
                if row > first and (start - begin >= size or row - first >= samples):
                    yield task(start)
                    begin, first, repeated = start, row, []
                repeated += [row] if key in met else []
                met.add(key)
                deque(members, 0)
        except (tar.BadArchiveError, streams.DamagedError):
            pass  # whoever reads the last chunk says so
    yield task(streams.END)


def read(file: Path, task: Task, source: params.Source) -> Iterator[Raw]:
    """Yield the record of each sample of a chunk; of a damaged archive, one for that sample and all after it."""
    shard = Shard(task.paths[0], source)
    row, key = task.first_row, ""
    with streams.opened(file, task.start, source.max_unpacked_bytes) as archive:
        try:
            for row, (key, members) in enumerate(_samples(archive, source, task.start, task.stop), task.first_row):
                key = "" if row in task.repeated else key  # noqa: PLW2901 - it names another one
                yield shard.record(row, key, members, lambda member: _payload(archive, member))
        except OSError as error:
            code = error.code if isinstance(error, tar.BadArchiveError) else "unreadable_file"
            yield shard.raw(row, key).quarantine(Unreadable(code, f"damaged from this sample on: {reason(error)}"))


def attributes(file: Path, source: params.Source) -> Iterator[tuple[int, bytes]]:
    """Yield the row of each sample of an archive that has an object of JSON, and its bytes.

    Raises OSError where it is damaged.
    """
    scheme = Scheme(source)
    with streams.opened(file, 0, source.max_unpacked_bytes) as archive:
        for row, (_, members) in enumerate(_samples(archive, source)):
            for member in members:
                told = not member.fault and scheme.role(member.name) == ATTRIBUTES
                if told and member.size <= source.max_text_bytes:
                    yield row, _payload(archive, member)


def spans(archive: Stream, source: params.Source) -> Iterator[tuple[int, int, int]]:
    """Yield the row and the offsets of each member of an archive; row -1 for one that is hidden.

    Raises OSError where it is damaged.
    """
    row, last = -1, ""
    for member in tar.members(archive, 0, streams.END):
        hidden = _is_hidden(member)
        if not hidden and (row < 0 or _key(member, source) != last):
            row, last = row + 1, _key(member, source)
        yield -1 if hidden else row, member.start, member.stop


class Shard:
    """What is the same for all samples of one archive."""

    def __init__(self, path: str, source: params.Source) -> None:
        """Note what the path says of them."""
        self._path, self._source, self._scheme = path, source, Scheme(source)
        self._role, self._from = role_of(path, source), source_of(path)
        self._split = split_in(path, source)

    def raw(self, row: int, key: str) -> Raw:
        """Return the record of a sample before anything is read of it; without a key it is called after its row."""
        name = printable(f"{self._path}/{key}")
        raw = Raw(self._path, row, self._role, name if key else None)
        raw.source, raw.split = self._from, split_of(name, self._source) or self._split
        return raw

    def record(self, row: int, key: str, members: Iterator[Member], payload: Callable[[Member], bytes]) -> Raw:
        """Return the record that a sample is, quarantined if something is wrong with it or it has no key of its own."""
        raw = self.raw(row, key)
        try:
            self._fill(raw, members, payload)
        except Unreadable as verdict:
            raw.quarantine(verdict)
        deque(members, 0)
        return raw

    def _fill(self, raw: Raw, members: Iterator[Member], payload: Callable[[Member], bytes]) -> None:
        first = ""
        held: dict[str, bytes] = {}
        met: dict[str, str] = {}
        for member in members:
            if member.fault:
                raise member.fault
            first = first or member.name
            part = self._scheme.role(member.name)
            if part:
                _once(part, member.name, met)
                with naming(part):
                    self._check_size(part, member.size)
                held[member.name] = payload(member)
        if raw.id is None:
            raise Unreadable("duplicate_member", f"the key of {first!r} came before in the archive")
        if not held:
            raise unknown(first, self._source)
        self._put(raw, held)

    def _put(self, raw: Raw, held: Mapping[str, bytes]) -> None:
        """Put the bytes of members into a record, now that it is known what stands beside what."""
        names: dict[str, str] = {}
        for name, part in self._scheme.roles(held).items():
            if part:
                _once(part, name, names)
        attributes = names.pop(ATTRIBUTES, "")
        if attributes:
            put_attributes(raw, held[attributes], self._source, names)
        for part, name in names.items():
            with naming(part):
                raw.parts[part] = self._part(self._source.parts[part], held[name])
        if not raw.parts:
            raise Unreadable("no_content", f"none of its members is a part, and no field of {attributes!r}")

    def _part(self, modality: str, data: bytes) -> Payload:
        return checked_text(data) if modality == "text" else of_bytes(data, modality, self._source)

    def _check_size(self, part: str, size: int) -> None:
        modality = self._source.parts.get(part, "text")
        if size > most_held(modality, self._source):
            raise Unreadable(f"huge_{modality}", f"{size} bytes, the limit is {most_held(modality, self._source)}")


def _samples(
    archive: Stream, source: params.Source, start: int = 0, stop: int = streams.END
) -> Iterator[tuple[str, Iterator[Member]]]:
    """Yield the key and the members of each sample; these are to be used up before the next one is asked for."""
    shown = (member for member in tar.members(archive, start, stop) if not _is_hidden(member))
    return itertools.groupby(shown, lambda member: _key(member, source))


def _key(member: Member, source: params.Source) -> str:
    folder, slash, name = member.name.rpartition("/")
    return member.name if source.samples == "file" else folder + slash + name.partition(".")[0]


def _is_hidden(member: Member) -> bool:
    """Return whether a component of its name begins with a dot: such a member is no record's, and is not published."""
    return not member.fault and any(part.startswith(".") for part in member.name.split("/") if part != ".")


def _once(part: str, name: str, met: dict[str, str]) -> None:
    """Note the member that is a part; raise Unreadable for a second one."""
    if met.get(part) == name:
        raise Unreadable("duplicate_member", f"{name!r} is there twice")
    if part in met:
        why = f"{met[part]!r} and {name!r} are both {part}: source.members can tell them apart"
        raise Unreadable("ambiguous_part", why)
    met[part] = name


def _payload(archive: Stream, member: Member) -> bytes:
    """Return the bytes of a member, without memory for more than the archive really has."""
    archive.seek(member.data)
    pieces: list[bytes] = []
    left = member.size
    while left:
        piece = archive.read(min(left, PIECE))
        if not piece:
            raise tar.BadArchiveError("truncated_archive", f"it ends within {member.name!r}")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
