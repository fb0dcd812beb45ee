"""Croissant 1.1, the JSON-LD in which datasets are described to search engines and loaders."""

from __future__ import annotations

import mimetypes
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pyarrow as pa

from dedupver.manifest import FILES
from dedupver.schema import DECISION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dedupver.card.facts import Facts, Form

CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""As the specification has it."""

MIME: Final = {
    "parquet": "application/x-parquet",
    "jsonl": "application/jsonlines",
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "arrow": "application/vnd.apache.arrow.file",
    "tar": "application/x-tar",
}
"""Media types of tables and archives, in the words of mlcroissant where it has one."""

PACKED: Final = {"gz": "application/gzip", "zst": "application/zstd"}
MEDIA: Final = {"text": "sc:Text", "image": "sc:ImageObject", "audio": "sc:AudioObject", "video": "sc:VideoObject"}
SCALARS: Final = (
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_integer, "sc:Integer"),
    (pa.types.is_floating, "sc:Float"),
    (pa.types.is_date, "sc:Date"),
    (pa.types.is_timestamp, "sc:DateTime"),
    (pa.types.is_string, "sc:Text"),
    (pa.types.is_large_string, "sc:Text"),
)
SEMVER: Final = re.compile(r"v?((?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){0,2})")


def croissant(facts: Facts) -> dict[str, Any]:
    """Return the metadata of a version: its files with their digests, its tables with their columns, its decisions."""
    card, header = facts.card, facts.header
    told = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": card.name,
        "description": card.description or f"{card.name}, deduplicated against itself and all versions before.",
        "version": semantic(header["version"]),
        "datePublished": header["time"],
        "url": card.url,
        "license": card.license,
        "citeAs": card.citation,
        "creator": [{"@type": "sc:Organization", "name": name} for name in card.creators],
        "keywords": list(card.keywords),
        "distribution": [*_distribution(facts), _decisions()],
        "recordSet": [*(each for form in facts.forms if (each := _record_set(form))), _decided()],
    }
    return {name: value for name, value in told.items() if value not in (None, [], "")}


def semantic(version: str) -> str:
    """Return a version's name as semantic versioning writes it: `v2` is 2, and 0.0.0+NAME stands for other names."""
    found = SEMVER.fullmatch(version)
    return found.group(1) if found else "0.0.0+" + re.sub(r"[^0-9A-Za-z.-]", "-", version)


def _distribution(facts: Facts) -> Iterator[dict[str, Any]]:
    for form in facts.forms:
        patterns = [f"clean/*.{form.suffix}", f"clean/**/*.{form.suffix}"]
        yield _set(form.suffix, f"the clean files of suffix .{form.suffix}", media_types(form), patterns)
        for file in form.tables:
            yield {
                "@type": "cr:FileObject",
                "@id": quote(f"clean/{file.path}"),
                "name": file.path,
                "contentUrl": f"clean/{file.path}",
                "contentSize": f"{file.bytes} B",
                "encodingFormat": media_types(form),
                "sha256": file.sha256,
            }


def media_types(form: Form) -> list[str]:
    """Return the media types of the files of a form: of what is packed, and of the packing."""
    suffix, _, packed = form.suffix.rpartition(".")
    if form.kind in MIME:
        return [MIME[form.kind], *([PACKED[packed]] if suffix and packed in PACKED else [])]
    guessed = "text/plain" if form.kind == "text" else mimetypes.guess_type(f"a.{form.suffix}")[0]
    return [guessed or "application/octet-stream"]


def _set(name: str, description: str, types: list[str], includes: list[str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": quote(name),
        "name": name,
        "description": description,
        "encodingFormat": types,
        "includes": includes,
    }


def _record_set(form: Form) -> dict[str, Any] | None:
    """Return what the records of a form hold; None where no field can be told."""
    name = f"records of {form.suffix}"
    if form.kind in MEDIA:
        extracted = [("content", MEDIA[form.kind], {"fileProperty": "content"}), _path()]
        fields = [_field(name, form.suffix, *each) for each in extracted]
    else:
        fields = list(_columns(name, form.suffix, form.columns))
    return _records(name, fields) if fields else None


def _path() -> tuple[str, str, dict[str, str]]:
    return ("path", "sc:Text", {"fileProperty": "fullpath"})


def _columns(name: str, source: str, columns: Mapping[str, pa.DataType]) -> Iterator[dict[str, Any]]:
    """Yield a field for each column of plain values or lists of them; Croissant has no word for maps."""
    for column, kind in columns.items():
        listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        plain = _scalar(kind.value_type if listed else kind)
        if plain:
            shape = {"isArray": True, "arrayShape": "-1"} if listed else {}
            yield _field(name, source, column, plain, {"column": column}) | shape


def _scalar(kind: pa.DataType) -> str | None:
    return next((word for fits, word in SCALARS if fits(kind)), None)


def _field(records: str, source: str, name: str, kind: str, extract: dict[str, str]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": quote(f"{records}/{name}"),
        "name": name,
        "dataType": kind,
        "source": {"fileSet": {"@id": quote(source)}, "extract": extract},
    }


def _records(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": quote(name), "name": name, "field": fields}


def _decisions() -> dict[str, Any]:
    said = "every decision ever taken: the last version of manifest.json that names a record says what became of it"
    return _set("decisions", said, [MIME["parquet"]], [f"manifest/*.{name}.parquet" for name in FILES.values()])


def _decided() -> dict[str, Any]:
    columns = dict(zip(DECISION.names, DECISION.types, strict=True))
    return _records("all decisions", list(_columns("all decisions", "decisions", columns)))
