"""params.yaml as frozen, typed values. An unknown key is an error that names its nearest known one."""

from __future__ import annotations

import datetime as dt
import difflib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dedupver.schema import ATTRIBUTES, EVIDENCE, MODALITIES, PARTS, RAW, ParamsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Similarity = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Share = Similarity | dict[str, Similarity] | None
RESERVED: Final = frozenset({*RAW.names, ATTRIBUTES, "every", "content", "joint"})
MEMBERS: Final = {".txt": "caption", ".caption": "caption", ".json": ATTRIBUTES}
"""What a file is that stands beside another one of a sample, by its suffix."""
SPLITS: Final = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
}
"""What a split is called, by the name of a folder or a file, or by what a column says; in any case of letters."""
RECORD_ATTRIBUTES: Final = (
    *("id", "path", "folder", "source", "split", "time", "quality", "label"),
    *("bytes", "pixels", "chars", "seconds"),
)
"""What a rule of `validate` may ask of a record that is no column: what fingerprint knows of each."""
OF_ONE_VALUE: Final = ("type", "min", "max", "min_length", "max_length", "pattern", "values")
"""What a rule of `validate` may ask of a single value."""
WHOLE: Final = 1e-6
"""So far from 1 may ratios sum, which are written with few digits."""
MOST_FIELDS: Final = 64
"""A hash of a row's fingerprint has six bits for its field."""


class Section(BaseModel):
    """What every section shares: no unknown keys, no later change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Version(Section):
    """The version being built; `dedupver next` writes this section."""

    name: str = Field(default="v1", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    time: str = Field(default="1970-01-01T00:00:00Z", pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")
    base: Literal["previous", "compacted", "none"] = "previous"


class Columns(Section):
    """The names that the fields of a record have in tables; null: the source has none. Parts are fields as well."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    source: str | None = "source"
    split: str | None = "split"
    time: str | None = "time"
    quality: str | None = "quality"
    label: str | None = "label"

    def of(self, part: str) -> str | None:
        """Return the column of a part that is one: the part's own name where params say nothing."""
        column: str | None = (self.model_extra or {}).get(part, part)
        return column

    def of_row(self, part: str) -> tuple[str, ...]:
        """Return the columns of a part of modality row, sorted: none where params say nothing."""
        return tuple(sorted((self.model_extra or {}).get(part) or ()))


class Reference(Section):
    """Benchmarks that lie beside the source: records to compare with and never to write."""

    path: Annotated[str, Field(pattern=r"^[^/\\].*[^/]$")] | None = None
    records: Literal["file", "paragraph", "line"] = "file"
    columns: dict[str, str] = Field(default_factory=dict)


class Source(Section):
    """Where the records come from."""

    path: str = "data/raw"
    mode: Literal["snapshot", "append"] = "snapshot"
    parts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = Field(default=PARTS, validate_default=True)
    columns: Columns = Columns()
    text_suffixes: tuple[str, ...] = (".txt", ".md", ".rst")
    image_suffixes: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
    samples: Literal["stem", "file"] = "stem"
    members: dict[Annotated[str, Field(pattern=r"^\.[^/A-Z]+$")], str] = MEMBERS
    audio_suffixes: tuple[str, ...] = (
        *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac"),
        *(".gsm", ".g722", ".aiff", ".aif", ".aifc", ".au"),
    )
    video_suffixes: tuple[str, ...] = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv")
    split_names: dict[Annotated[str, Field(pattern=r"^[^A-Z/]+$")], str] = SPLITS
    references: tuple[str, ...] = ()
    reference: Reference = Reference()
    protocols: tuple[str, ...] = ("http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "zip")
    max_text_bytes: Positive = 10_000_000
    max_image_bytes: Positive = 200_000_000
    max_audio_bytes: Positive = 500_000_000
    max_video_bytes: Positive = 20_000_000_000
    max_row_bytes: Positive = 1_000_000
    max_vector_bytes: Positive = 1_000_000
    max_json_depth: Positive = 100
    max_unpacked_bytes: Positive = 100_000_000_000

    @field_validator("parts")
    @classmethod
    def _known_modalities(cls, parts: dict[str, str]) -> dict[str, str]:
        """Return the parts in an order that is theirs: JSON and DVC know none, and records are read by it."""
        if not parts:
            raise ValueError("a record has at least one part, such as {text: text}")
        for name, modality in parts.items():
            if modality not in MODALITIES:
                raise ValueError(f"{name} is {modality!r}{_nearest(modality, list(MODALITIES))}")
            if name in RESERVED:
                raise ValueError(f"a part can't be called {name!r}, which is something else of a record")
        return dict(sorted(parts.items(), key=lambda item: (item[0] != item[1], MODALITIES.index(item[1]), item[0])))

    @model_validator(mode="before")
    @classmethod
    def _captions_were(cls, given: Any) -> Any:
        """Read what the key was before there were samples of more than an image and its caption."""
        if not isinstance(given, dict) or given.get("captions") not in {"sidecar", "none"}:
            return given
        samples = {"sidecar": "stem", "none": "file"}[given["captions"]]
        return {"samples": samples} | {key: value for key, value in given.items() if key != "captions"}

    @model_validator(mode="after")
    def _members_are_parts(self) -> Self:
        known = [*dict.fromkeys([*self.parts, *PARTS]), ATTRIBUTES]  # a default that no record has does no harm
        for suffix, part in self.members.items():
            if part not in known:
                raise ValueError(f"members.{suffix} is {part!r}{_nearest(part, known)}")
        return self

    @model_validator(mode="after")
    def _columns_of_parts(self) -> Self:
        for name, column in (self.columns.model_extra or {}).items():
            if name not in self.parts:
                known = [*Columns.model_fields, *self.parts]
                raise ValueError(f"columns.{name} is no field of a record{_nearest(name, known)}")
            if self.parts[name] == "row":
                _check_columns(name, column)
            elif not isinstance(column, str | None):
                raise ValueError(f"columns.{name} names a column, or is null (it is {column!r})")
        if len(self.row_columns()) > MOST_FIELDS:
            raise ValueError(f"columns: rows have at most {MOST_FIELDS} columns that are compared")
        return self

    @model_validator(mode="after")
    def _reference_is_beside(self) -> Self:
        given = self.reference.path
        if given and (".." in given.split("/") or f"{given}/".startswith(f"{self.path}/")):
            raise ValueError(f"reference.path: {given!r} is to be a folder of the repository, and not in {self.path}")
        for name in self.reference.columns:
            if name not in {*Columns.model_fields, *self.parts}:
                raise ValueError(f"reference.columns.{name}{_nearest(name, [*Columns.model_fields, *self.parts])}")
        return self

    def beside(self) -> Source:
        """Return what is said of benchmarks beside the source: all are references, named after where they lie."""
        columns = self.columns.model_dump() | self.reference.columns | {"id": None}
        return self.model_copy(update={"columns": Columns.model_validate(columns), "references": ("*",)})

    def parts_of(self, *modalities: str) -> list[str]:
        """Return the names of the parts of some modalities: first the one that is called like its modality."""
        return [name for name, modality in self.parts.items() if modality in modalities]

    def row_columns(self) -> list[str]:
        """Return the columns of all parts of modality row, sorted."""
        return sorted({column for part in self.parts_of("row") for column in self.columns.of_row(part)})

    def suffixes(self, modality: str) -> tuple[str, ...]:
        """Return the suffixes of the files that hold a part of a modality."""
        return tuple(getattr(self, f"{modality}_suffixes", ()))

    def limit(self, modality: str) -> int:
        """Return how many bytes a part of a modality may have."""
        return int(getattr(self, f"max_{modality}_bytes"))


class Text(Section):
    """Fingerprints of texts and captions."""

    tokens: Literal["words", "characters", "code"] = "words"
    shingle: Positive = 3
    min_tokens: Positive = 5
    simhash: bool = False
    passages: Positive | None = None
    ngrams: Annotated[int, Field(ge=2)] | None = None
    encoder: str | None = "wordllama"


class Image(Section):
    """Fingerprints of images, and how their pixels are decoded."""

    max_pixels: Positive = 100_000_000
    frame: Literal["first", "middle"] = "first"
    background: tuple[int, int, int] = (255, 255, 255)
    hash_size: Literal[8, 16] = 8
    encoder: str | None = "efficientnet-lite0"


class Audio(Section):
    """Fingerprints of sounds, and how much of one is decoded."""

    max_seconds: Positive = 14_400


class Video(Section):
    """Fingerprints of videos, and how much of one is looked at."""

    rate: Annotated[float, Field(gt=0, le=30)] = 4
    max_seconds: Positive = 7200
    max_pixels: Positive = 40_000_000
    sound: bool = True


class RowField(Section):
    """How one column of rows is compared, or several as one: see docs/kinds/row.md."""

    columns: tuple[str, ...] = ()
    compare: Literal["text", "exact", "number", "date"] = "text"
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    format: str | None = None
    missing: Similarity | None = None

    @model_validator(mode="after")
    def _settings_of_its_kind(self) -> Self:
        if self.tolerance and self.compare not in {"number", "date"}:
            raise ValueError(f"a tolerance is of a number or a date, not of compare: {self.compare}")
        if self.format and self.compare != "date":
            raise ValueError(f"a format is of a date, not of compare: {self.compare}")
        if self.columns and self.compare != "text":
            raise ValueError(f"columns are compared as one where they are texts, not compare: {self.compare}")
        return self


class Row(Section):
    """Fingerprints of rows; `fields` says of some columns how they are compared, after `load` of every one."""

    fields: dict[str, RowField] = {}
    min_compared: Similarity = 0.5


class Vector(Section):
    """Vectors that the source brings along."""

    dim: Positive | None = None


class Joint(Section):
    """Spaces in which texts have vectors beside images and videos, and beside sounds."""

    encoder: str | None = None
    frames: Annotated[int, Field(gt=0, le=64)] = 8
    sounds: str | None = None

    @property
    def any(self) -> bool:
        """Return whether there is such a space."""
        return bool(self.encoder or self.sounds)


class Fingerprint(Section):
    """The fingerprints to compute; they are part of the index, so a change needs `version.base: none`."""

    text: Text = Text()
    image: Image = Image()
    audio: Audio = Audio()
    video: Video = Video()
    row: Row = Row()
    vector: Vector = Vector()
    joint: Joint = Joint()


class ByEvidence(Section):
    """One similarity for each kind of evidence."""

    text: Similarity
    image: Similarity
    audio: Similarity
    video: Similarity
    video_sound: Similarity
    text_embedding: Similarity
    image_embedding: Similarity
    text_simhash: Similarity
    row: Similarity
    vector: Similarity
    joint: Similarity

    def of(self, kind: str) -> float:
        """Return the similarity of a kind that EVIDENCE names."""
        return float(getattr(self, kind))


class Floor(ByEvidence):
    """Matches below these are never stored."""

    text: Similarity = 0.6
    image: Similarity = 0.84
    audio: Similarity = 0.7
    video: Similarity = 0.65
    video_sound: Similarity = 0.7
    text_embedding: Similarity = 0.85
    image_embedding: Similarity = 0.9
    text_simhash: Similarity = 0.84
    row: Similarity = 0.6
    vector: Similarity = 0.9
    joint: Similarity = 0.25


class Thresholds(ByEvidence):
    """Matches below these are no evidence."""

    text: Similarity = 0.8
    image: Similarity = 0.92
    audio: Similarity = 0.8
    video: Similarity = 0.85
    video_sound: Similarity = 0.8
    text_embedding: Similarity = 0.95
    image_embedding: Similarity = 0.98
    text_simhash: Similarity = 0.875
    row: Similarity = 0.8
    vector: Similarity = 0.98
    joint: Similarity = 0.3


class Span(Section):
    """What two sequences must share for a while to be listed: for how long, and how many of the bits."""

    seconds: Annotated[float, Field(gt=0)] = 3.0
    similarity: Similarity = 0.75


class Spans(Section):
    """Spans by kind of evidence."""

    audio: Span = Span()
    video: Span = Span(similarity=0.85)
    video_sound: Span = Span()

    def of(self, kind: str) -> Span:
        """Return what is asked of spans of a kind."""
        span: Span = getattr(self, kind)
        return span


class Lsh(Section):
    """Bands and rows of the banded MinHash index, and what its bands × rows permutations are drawn from."""

    bands: Positive = 32
    rows: Positive = 4
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1


class RowLsh(Section):
    """The bands of rows: each takes fields until about `unlike` unlike rows, in all bands, agree with a row in them."""

    bands: Positive = 32
    hashes: Positive = 4
    unlike: Positive = 512
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1


class Hnsw(Section):
    """Graphs of vectors, as faiss names their parameters; `neighbours` are asked for at each search.

    A segment of fewer than `min_vectors` has none: comparing with all of it is as fast, and exact.
    """

    min_vectors: Positive = 50_000
    m: Annotated[int, Field(ge=2, le=128)] = 32
    ef_construction: Positive = 200
    ef: Positive = 128
    neighbours: Positive = 32
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1


class Match(Section):
    """How candidates are found and how far below a threshold matches are kept."""

    floor: Floor = Floor()
    spans: Spans = Spans()
    lsh: Lsh = Lsh()
    row_lsh: RowLsh = RowLsh()
    hnsw: Hnsw = Hnsw()
    image_index: Literal["scan", "hnsw"] = "scan"
    bucket_cap: Annotated[int, Field(ge=2)] = 128
    recall_sample: Annotated[int, Field(ge=0)] = 200


Criterion = Literal["first", "largest", "longest", "newest", "source", "quality"]
Similar = Literal[
    "text",
    "image",
    "audio",
    "video",
    "video_sound",
    "text_embedding",
    "image_embedding",
    "text_simhash",
    "row",
    "vector",
]


class Leakage(Section):
    """What counts as a leak between two splits, or from a reference, and what becomes of it: see docs/leakage.md."""

    protected: tuple[str, ...] | None = None
    action: Literal["remove", "report"] = "remove"
    parts: tuple[str, ...] = ("text", "image", "audio", "video", "vector")
    thresholds: dict[Similar, Similarity] = Field(default_factory=dict)
    ngrams: Similarity | None = None

    @property
    def stricter(self) -> dict[str, float]:
        """Return the thresholds across splits that params name, by kind of EVIDENCE."""
        return {str(kind): value for kind, value in self.thresholds.items()}

    def at_least(self, modality: str, settings: Dedup) -> dict[str, float]:
        """Return the kinds of evidence that make a part of a modality a leak, and how alike the two must be."""
        kinds = [k for k in EVIDENCE if k in {*settings.similar, *self.thresholds} and EVIDENCE[k].modality == modality]
        found = {kind: self.stricter.get(kind, settings.thresholds.of(kind)) for kind in kinds}
        return found | ({"ngram": self.ngrams} if modality == "text" and self.ngrams is not None else {})


class Dedup(Section):
    """What counts as a duplicate, and which of two duplicates stays."""

    thresholds: Thresholds = Thresholds()
    similar: tuple[Similar, ...] = ("text", "image", "audio", "video", "image_embedding", "row", "vector")
    rules: tuple[dict[str, Similarity | Literal["exact", "similar"]], ...] = ({"every": "similar"},)
    caps: dict[str, Positive] = Field(default_factory=dict)
    history: Literal["frozen", "rejudge"] = "frozen"
    keep: tuple[Criterion, ...] = ("largest", "longest", "first")
    captions: Literal["all", "longest", "quality", "most_similar"] = "all"
    sources: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("test", "validation", "train")
    leakage: Leakage = Leakage()
    reviews: str = "reviews.csv"

    @field_validator("rules")
    @classmethod
    def _rules_say_something(cls, rules: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if not all(rules):
            raise ValueError("an empty rule would make every two records duplicates")
        return rules

    @property
    def protected(self) -> tuple[str, ...]:
        """Return the splits whose records stay, the first first: in params, or all but the last of `splits`."""
        named = self.leakage.protected
        return self.splits[:-1] if named is None else tuple(split for split in self.splits if split in named)


class Gates(Section):
    """What a version must be like to be written; a bound that is None is not judged.

    A bound of groups is one for all, or one by name, `*` for those that are not named.
    """

    min_records: Positive = 100
    min_matches: Positive = 20
    removed: Similarity | None = 0.98
    removed_by_source: Share = 0.98
    removed_by_label: Share = 0.95
    removed_by_split: Share = 0.95
    cluster: Similarity | None = 0.2
    drift: Similarity | None = 0.2
    drift_from_parent: Similarity | None = None
    recall: Share = 0.9
    quarantined: Similarity | None = 0.1
    quarantined_by_source: Share = 0.5
    quarantined_by_code: Share = None
    split_records: dict[str, Positive] = {}

    def bound(self, gate: str, name: str | None = None) -> float | None:
        """Return the bound of a gate, or of one group of it."""
        found: float | dict[str, float] | None = getattr(self, gate)
        return found.get(name or "*", found.get("*")) if isinstance(found, dict) else found


RuleName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Bound = float | str


class Rule(Section):
    """What is asked of a value of each record: of a column, an attribute or a part, or of several columns together.

    `catalogue` is a table below data/catalogues, `key` its columns where they are called otherwise. See
    docs/validation.md.
    """

    column: str | None = None
    columns: tuple[str, ...] = ()
    attribute: str | None = None
    part: str | None = None
    files: tuple[str, ...] = ()
    required: bool = False
    type: Literal["text", "number", "integer", "boolean", "date", "time"] | None = None
    min: Bound | None = None
    max: Bound | None = None
    min_length: Positive | None = None
    max_length: Positive | None = None
    pattern: str | None = None
    values: tuple[bool | int | float | str, ...] = ()
    catalogue: str | None = None
    key: tuple[str, ...] = ()
    unique: bool = False
    action: Literal["quarantine", "fail", "report"] = "quarantine"

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are asked for."""
        return (self.column,) if self.column else self.columns

    @field_validator("min", "max", mode="before")
    @classmethod
    def _days_as_written(cls, given: Any) -> Any:
        """Return a day or a time, which YAML reads as such, as it is written."""
        return given.isoformat() if hasattr(given, "isoformat") else given

    @field_validator("attribute")
    @classmethod
    def _known_attribute(cls, given: str | None) -> str | None:
        if given is not None and given not in RECORD_ATTRIBUTES:
            raise ValueError(f"{given!r} is no attribute of a record{_nearest(given, list(RECORD_ATTRIBUTES))}")
        return given

    @field_validator("catalogue")
    @classmethod
    def _within_the_catalogues(cls, given: str | None) -> str | None:
        if given is not None and (given.startswith("/") or ".." in given.split("/")):
            raise ValueError("a catalogue is a file below data/catalogues, named from there")
        return given

    @field_validator("pattern")
    @classmethod
    def _pattern_of_re2(cls, given: str | None) -> str | None:
        if given is not None:
            import pyarrow.compute as pc  # noqa: PLC0415 - most params have none

            try:
                pc.match_substring_regex("", f"^(?:{given})$")
            except ValueError as error:
                raise ValueError(f"no pattern of RE2: {error}") from error
        return given

    @model_validator(mode="after")
    def _asks_something_that_can_be_asked(self) -> Self:
        if [bool(self.column), bool(self.columns), bool(self.attribute), bool(self.part)].count(True) != 1:
            raise ValueError("a rule is about one of column, columns, attribute or part")
        single = [name for name in OF_ONE_VALUE if getattr(self, name) not in {None, ()}]
        if len(self.columns) > 1 and single:
            raise ValueError(f"{single[0]} is asked of one column, not of several together")
        if self.part and (single or self.catalogue or self.unique or not self.required):
            raise ValueError("of a part nothing is asked but `required: true`")
        if not (single or self.catalogue or self.unique or self.required):
            raise ValueError("the rule asks nothing: give it required, type, min, pattern, values, catalogue or unique")
        if self.key and len(self.key) != len(self.names or (self.attribute,)):
            raise ValueError("key names as many columns of the catalogue as the rule has")
        self._bounds()
        return self

    def _bounds(self) -> None:
        days = self.type in {"date", "time"}
        for name in ("min", "max"):
            bound = getattr(self, name)
            if bound is not None and (self.type in {"text", "boolean"} or isinstance(bound, str) != days):
                raise ValueError(f"{name}: a number is of a number, and a day, in quotes, of type: date or time")
            if isinstance(bound, str):
                dt.datetime.fromisoformat(bound)


class Validate(Section):
    """What must hold of records, by rule."""

    rules: dict[RuleName, Rule] = {}


class Manifest(Section):
    """How the version is written."""

    link: Literal["hardlink", "copy"] = "hardlink"


Attribute = Literal["label", "source", "split", "time", "folder", "path"]
SplitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class SplitGates(Section):
    """Bounds that stop the split stage before it has written anything; null: none."""

    records: dict[str, Positive] = Field(default_factory=dict)
    deviation: Similarity | None = None
    aside: Annotated[int, Field(ge=0)] | None = None
    straddling: Annotated[int, Field(ge=0)] | None = None


class Split(Section):
    """Which split each kept record is in; without ratios the data alone says so."""

    ratios: dict[SplitName, Annotated[float, Field(gt=0, le=1)]] = Field(default_factory=dict)
    by: tuple[Attribute, ...] = ("label",)
    group: Attribute | None = None
    together: tuple[dict[str, Similarity | Literal["exact", "similar"]], ...] = ({"image": "similar"},)
    given: Literal["keep", "ignore"] = "keep"
    history: Literal["stable", "anew"] = "stable"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    gates: SplitGates = SplitGates()

    @field_validator("ratios")
    @classmethod
    def _ratios_are_a_whole(cls, ratios: dict[str, float]) -> dict[str, float]:
        """Return the ratios in an order that is theirs, the largest first: JSON and DVC know none."""
        if ratios and abs(sum(ratios.values()) - 1) > WHOLE:
            raise ValueError(f"the ratios sum to {sum(ratios.values()):.6g}, and must sum to 1")
        return dict(sorted(ratios.items(), key=lambda item: (-item[1], item[0])))

    @field_validator("together")
    @classmethod
    def _rules_say_something(cls, rules: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if not all(rules):
            raise ValueError("an empty rule would hold all records together")
        return rules

    @model_validator(mode="after")
    def _gates_speak_of_splits(self) -> Self:
        for name in self.gates.records:
            if self.ratios and name not in self.ratios:
                raise ValueError(
                    f"gates.records: {name!r} is no split of the ratios{_nearest(name, list(self.ratios))}"
                )
        return self

    def rules(self, parts: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return what holds records together, less what speaks of parts that params do not name."""
        known = {"every", "content", "joint", *parts}
        return [rule for rule in self.together if {term.partition(".")[0] for term in rule} <= known]


class Card(Section):
    """What the page and the metadata of a version say that no file of it tells."""

    name: str = "dataset"
    description: str | None = None  # Markdown
    license: str | None = None
    url: str | None = None
    citation: str | None = None
    creators: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


class Engine(Section):
    """How the work is spread; changes no output byte, so no stage depends on it."""

    workers: Annotated[int, Field(ge=0)] = 0  # 0: one for each core


AFTERWARDS: Final = frozenset({"split", "card", "engine"})
"""Sections that change nothing of a manifest: a version is the same whatever they say."""


class Params(Section):
    """All of params.yaml."""

    version: Version = Version()
    source: Source = Source()
    fingerprint: Fingerprint = Fingerprint()
    match: Match = Match()
    validation: Validate = Field(default=Validate(), alias="validate")  # pydantic has a method of that name
    dedup: Dedup = Dedup()
    gates: Gates = Gates()
    manifest: Manifest = Manifest()
    split: Split = Split()
    card: Card = Card()
    engine: Engine = Engine()

    def deciding(self) -> dict[str, Any]:
        """Return all that a version depends on, as its manifest states it."""
        return self.model_dump(mode="json", by_alias=True, exclude=set(AFTERWARDS))

    @model_validator(mode="after")
    def _fields_are_columns(self) -> Self:
        columns, fields = self.source.row_columns(), self.fingerprint.row.fields
        held = [name for field, how in fields.items() for name in how.columns or (field,)]
        for name in held:
            if name not in columns:
                known = _nearest(name, columns) if columns else ": source.columns.fields names none"
                raise ValueError(f"fingerprint.row.fields: {name!r} is no column of a row{known}")
            if held.count(name) > 1:
                raise ValueError(f"fingerprint.row.fields: the column {name!r} is in more than one field")
        for field in fields:
            if field in columns and field not in held:
                raise ValueError(f"fingerprint.row.fields: {field!r} is a column: give the field another name")
        return self

    @model_validator(mode="after")
    def _validated_parts_are_known(self) -> Self:
        for name, rule in self.validation.rules.items():
            if rule.part and rule.part not in self.source.parts:
                near = _nearest(rule.part, list(self.source.parts))
                raise ValueError(f"validate.rules.{name}: {rule.part!r} is no part{near}")
        return self

    @model_validator(mode="after")
    def _rules_speak_of_parts(self) -> Self:
        for rule in self.dedup.rules:
            for term, value in rule.items():
                _check_term(term, value, self.source.parts)
            if "joint" in rule and len(rule) > 1:
                raise ValueError(
                    "dedup.rules: joint stands alone in its rule, for a text has no other evidence in common with "
                    "an image, a video or a sound. Write it as a rule beside the others: either is enough then"
                )
        return self

    @model_validator(mode="after")
    def _together_speaks_of_parts(self) -> Self:
        for rule in self.split.together:
            for term, value in rule.items():
                if term.partition(".")[0] in self.source.parts or term.partition(".")[0] not in PARTS:
                    _check_term(term, value, self.source.parts, "split.together")
                kind = evidence_of(term, self.source.parts)
                if kind and isinstance(value, float):
                    _above_floor(f"split.together {term}", value, kind, self.match.floor)
                if term.partition(".")[0] == "joint":
                    raise ValueError("split.together: joint compares across modalities, which only dedup.rules does")
        return self

    @model_validator(mode="after")
    def _caps_speak_of_parts(self) -> Self:
        for name in self.dedup.caps:
            if name not in self.source.parts:
                raise ValueError(f"dedup.caps: {name!r} is no part{_nearest(name, list(self.source.parts))}")
        return self

    @model_validator(mode="after")
    def _leakage_speaks_of_what_is_there(self) -> Self:
        leakage = self.dedup.leakage
        for split in leakage.protected or ():
            if split not in self.dedup.splits:
                raise ValueError(
                    f"dedup.leakage.protected: {split!r} is not in dedup.splits, whose order says who stays"
                )
        known = [*dict.fromkeys([*self.source.parts, *PARTS])]  # a default that no record has does no harm
        for name in leakage.parts:
            if name not in known:
                raise ValueError(f"dedup.leakage.parts: {name!r} is no part{_nearest(name, known)}")
        for kind, value in leakage.thresholds.items():
            _above_floor(f"dedup.leakage.thresholds.{kind}", value, kind, self.match.floor)
        if leakage.ngrams is not None and self.fingerprint.text.ngrams is None:
            raise ValueError(
                "dedup.leakage.ngrams needs n-grams: set fingerprint.text.ngrams: 13 to have them computed"
            )
        return self

    @model_validator(mode="after")
    def _simhash_is_computed(self) -> Self:
        rules = (*self.dedup.rules, *self.split.together)
        terms = {evidence_of(term, self.source.parts) for rule in rules for term in rule}
        named = {*self.dedup.similar, *self.dedup.leakage.thresholds, *terms}
        if "text_simhash" in named and not self.fingerprint.text.simhash:
            raise ValueError("dedup names the SimHash of texts: set fingerprint.text.simhash: true to have it computed")
        return self

    @model_validator(mode="after")
    def _there_is_a_joint_space(self) -> Self:
        if self.dedup.captions == "most_similar" and not self.fingerprint.joint.encoder:
            raise ValueError("dedup.captions is most_similar, which needs a joint space: set fingerprint.joint.encoder")
        if any("joint" in rule for rule in self.dedup.rules) and not self.fingerprint.joint.any:
            raise ValueError(
                "dedup.rules names joint, which needs a joint space: set fingerprint.joint.encoder, or sounds beside it"
            )
        return self

    @model_validator(mode="after")
    def _thresholds_reach_the_floor(self) -> Self:
        for name in (*EVIDENCE, "joint"):
            _above_floor(f"dedup.thresholds.{name}", self.dedup.thresholds.of(name), name, self.match.floor)
        for rule in self.dedup.rules:
            for term, value in rule.items():
                kind = evidence_of(term, self.source.parts)
                if kind and isinstance(value, float):
                    _above_floor(f"dedup.rules {term}", value, kind, self.match.floor)
        return self


def evidence_of(term: str, parts: Mapping[str, str]) -> str | None:
    """Return the kind of evidence that a number in a rule's term speaks of: `caption.embedding` → `text_embedding`.

    `parts` maps each part to its modality. A bare part means its modality's first kind: minhash for texts, phash for
    images. `joint` is one of texts and all that is none; `every` and `content` have none.
    """
    if term == "joint":
        return term
    part, _, measure = term.partition(".")
    if part not in parts:
        return None
    kinds = (name for name, kind in EVIDENCE.items() if kind.modality == parts[part])
    return next((name for name in kinds if measure in {"", EVIDENCE[name].measure}), None)


def load(path: Path) -> Params:
    """Read params.yaml.

    Raises ParamsError that lists every mistake with its key, and for an unknown key the nearest known one.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return _with_all_fields(Params.model_validate(given))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing: run `dedupver init` in the repository's root") from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is no YAML: {error}") from error
    except ValidationError as error:
        lines = [_explain(e) for e in error.errors()]
        raise ParamsError(f"{path}:\n" + "\n".join(f"  {line}" for line in lines)) from error


def _with_all_fields(given: Params) -> Params:
    """Say of every column of rows how it is compared, so that an index is known to be of these columns."""
    said = given.fingerprint.row
    joined = {name for how in said.fields.values() for name in how.columns}
    alone = {name: RowField() for name in given.source.row_columns() if name not in joined}
    fields = alone | said.fields
    row = said.model_copy(update={"fields": fields})
    return given.model_copy(update={"fingerprint": given.fingerprint.model_copy(update={"row": row})})


def _check_columns(part: str, columns: object) -> None:
    if columns is None:
        return
    if not isinstance(columns, list | tuple) or not all(isinstance(name, str) and name for name in columns):
        raise ValueError(f"columns.{part} is a list of columns, or null (it is {columns!r})")
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ValueError(f"columns.{part} names {twice[0]!r} twice")


def _check_term(term: str, value: object, parts: Mapping[str, str], key: str = "dedup.rules") -> None:
    part, _, measure = term.partition(".")
    if part not in {"every", "content", "joint", *parts} or (measure and evidence_of(term, parts) is None):
        measured = [f"{p}.{k.measure}" for p, modality in parts.items() for k in EVIDENCE.values() if k[0] == modality]
        known = ["every", "content", "joint", *parts, *measured]
        raise ValueError(f"{key}: unknown term {term!r}{_nearest(term, known)}")
    if term in {"every", "content"} and isinstance(value, float):
        raise ValueError(f"{key}: {term} takes `exact` or `similar`; a number needs a part: {{image: {value}}}")
    if term == "content" and value != "exact":
        raise ValueError(f"{key}: content takes `exact`")
    if (measure or term == "joint") and not isinstance(value, float):
        raise ValueError(f"{key}: {term} takes a number, a similarity in [0, 1]")


def _above_floor(name: str, value: float, kind: str, floor: ByEvidence) -> None:
    if value < floor.of(kind):
        raise ValueError(
            f"{name} is {value}, below match.floor.{kind} = {floor.of(kind)}: matches below the floor were never "
            f"stored. Lower the floor (the match stage runs again), or raise the threshold"
        )


def _explain(error: Any) -> str:
    where = ".".join(str(p) for p in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{where} is no known key{_nearest(str(error['loc'][-1]), _keys_beside(error['loc']))}"
    message = str(error["msg"]).removeprefix("Value error, ")
    shown = "" if isinstance(error["input"], dict) else f" (it is {error['input']!r})"
    return f"{where}: {message}{shown}" if where else message


def _keys_beside(location: tuple[str | int, ...]) -> list[str]:
    model: Any = Params
    for step in location[:-1]:
        model = get_args(model)[1] if get_origin(model) is dict else _fields(model).get(str(step))
    return list(_fields(model))


def _fields(model: Any) -> dict[str, Any]:
    """Return what the fields of a section are, by the name that they have in params.yaml."""
    fields = getattr(model, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in fields.items()}


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else f": known are {', '.join(known)}"
