"""JSON Lines: a row is an object on a line; blank lines are numbered and hold no record."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from dedupver.records import scan_json
from dedupver.records.cells import raw
from dedupver.records.tables import Number
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa

    from dedupver.records.cells import Cells, Mask

_TOKEN: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])', re.DOTALL)


class JsonLines:
    """How the lines of one file are read (`lines.Format`)."""

    delimiter = 0

    def __init__(self, max_depth: int, names: Collection[str] = ()) -> None:
        """Take the depth of nesting beyond which a row is not parsed, and names some of which may be paths.

        `meta.label` is also the field `label` of the object `meta`, where a row has none of that name.
        """
        self._max_depth = max_depth
        self._paths = [name for name in names if "." in name]

    def blank(self, line: bytes) -> bool:
        """Return whether a line holds no record."""
        return not line or line.isspace()

    def parse(self, line: bytes) -> dict[str, object]:
        """Return the object on a line; its numbers are `Number`.

        Raises Unreadable: bad_utf8, deep_json, duplicate_keys, bad_row.
        """
        try:
            text = line.decode()
            _check_depth(text, self._max_depth)
            value = _DECODER.decode(text)
        except UnicodeDecodeError as error:
            raise Unreadable("bad_utf8", f"byte {error.start} of the row is no UTF-8") from error
        except RecursionError as error:
            raise Unreadable("deep_json", "nested deeper than Python's parser can follow") from error
        except ValueError as error:
            raise Unreadable("bad_row", f"no JSON: {error}") from error
        if not isinstance(value, dict):
            raise Unreadable("bad_row", f"no object but a {type(value).__name__}")
        found = {path: held for path in self._paths if (held := _at(value, path)) is not None}
        return found | value

    def scan(self, lines: pa.LargeBinaryArray, plain: Mask, names: Sequence[str]) -> dict[str, Cells]:
        """Return columns of the lines that `plain` marks; unmark those that are not plainly well."""
        if self._paths:
            plain[:] = False
            return {}
        return scan_json.scan(*raw(lines), plain, names, self._max_depth)


def _at(value: object, path: str) -> object:
    """Return what is at a path of objects, None where nothing is."""
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _check_depth(text: str, limit: int) -> None:
    if text.count("{") + text.count("[") <= limit:
        return
    depth = 0
    for token in _TOKEN.finditer(text):
        depth += (token.group(1) is not None) - (token.group(2) is not None)
        if depth > limit:
            raise Unreadable("deep_json", f"nested deeper than {limit}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Unreadable("duplicate_keys", f"several values for {twice!r}")
    return fields


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=Number
)
