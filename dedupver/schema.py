"""The tables every step reads and writes, the words they use, and the errors. Imports nothing of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
"""The version of every file format written here; a file of another format is refused."""

MODALITIES: Final = ("text", "image", "audio", "video", "row", "vector")
"""What a part can be: how it is read, normalised and fingerprinted."""

STREAMED: Final = frozenset({"audio", "video"})
"""Modalities of which a part is never held in memory as a whole: it is opened where it lies."""

PASSAGES: Final = "passages"
"""What lines and paragraphs of texts are filed under beside the modalities: by the sha256 of bytes, not of contents."""

SIZES: Final = ("pixels", "chars", "millis")
"""What the size of a part is counted in; a record has the sums over its parts."""

PARTS: Final = {
    "text": "text",
    "image": "image",
    "caption": "text",
    "audio": "audio",
    "video": "video",
    "fields": "row",
    "vector": "vector",
}
"""Part name → modality, unless `source.parts` says otherwise. A record holds one or more parts, each at most once."""

ATTRIBUTES: Final = "attributes"
"""What a file of a sample is whose fields are attributes of the record and texts, and which is no part itself."""


class Kind(NamedTuple):
    """What makes two contents alike."""

    modality: str
    measure: str  # the word in a decision's evidence; within a modality each is told by it
    structure: str  # how its fingerprints are stored, searched and verified: a key of index.structures.STRUCTURES


EVIDENCE: Final = {
    "text": Kind("text", "minhash", "sets"),
    "image": Kind("image", "phash", "codes"),
    "text_embedding": Kind("text", "embedding", "vectors"),
    "image_embedding": Kind("image", "embedding", "vectors"),
    "text_simhash": Kind("text", "simhash", "codes"),
    "audio": Kind("audio", "spectrum", "sequences"),
    "video": Kind("video", "frames", "sequences"),
    "video_sound": Kind("video", "sound", "sequences"),
    "row": Kind("row", "agreement", "fields"),
    "vector": Kind("vector", "cosine", "vectors"),
}
"""Name in params (floors, thresholds) → kind of evidence. A rule that names a part alone means its modality's first."""

ACROSS: Final = {
    "image": (Kind("image", "joint", "vectors"), Kind("text", "joint", "vectors")),
    "video": (Kind("video", "joint", "vectors"), Kind("text", "joint", "vectors")),
    "audio": (Kind("audio", "heard", "vectors"), Kind("text", "heard", "vectors")),
}
"""Modalities that texts are compared with, and the vectors of both: in one space with pictures, in another with sounds.

A video has several vectors, those of some of its pictures.
"""

JOINT: Final = tuple(dict.fromkeys(kind for pair in ACROSS.values() for kind in pair))
"""All vectors that contents have in common spaces."""

NGRAM: Final = Kind("text", "ngram", "sets")
"""How much of one text stands in another, as runs of words: what leaks, and makes no duplicate."""

DIGEST: Final = pa.binary(32)

PART: Final = pa.struct(
    [
        pa.field("part", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("sha256", DIGEST, nullable=False),  # of the bytes
        pa.field("content", DIGEST, nullable=False),  # of the normalised content
    ]
)

REMOTE: Final = pa.struct(
    [
        pa.field("part", pa.string(), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("sha256", DIGEST, nullable=False),
    ]
)
"""A part whose bytes lie elsewhere, and what they are."""

RAW: Final = pa.schema(
    [
        pa.field("id", pa.string()),  # null: to be named after the content
        pa.field("path", pa.string(), nullable=False),  # of the file, relative to the source
        pa.field("row", pa.int64(), nullable=False),  # within the file; -1 for a whole file
        pa.field("role", pa.string(), nullable=False),  # data | reference
        pa.field("source", pa.string()),
        pa.field("split", pa.string()),
        pa.field("time", pa.string()),
        pa.field("quality", pa.float64()),
        pa.field("label", pa.string()),
        pa.field("code", pa.string()),  # set: the record can't be read, and this is why
        pa.field("detail", pa.string()),
        pa.field("remote", pa.list_(REMOTE)),
        pa.field("outside", pa.bool_()),  # true: what it holds does not depend on the bytes of `path` alone
    ]
)
"""What is said of a record that `records` hands to `fingerprint`."""


HANDLE: Final = pa.struct(
    [
        pa.field("path", pa.string()),  # of the file, absolute; null: the bytes are here
        pa.field("data", pa.large_binary()),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("sha256", DIGEST, nullable=False),
    ]
)
"""Where the bytes of a part are."""


def raw_schema(parts: Mapping[str, str]) -> pa.Schema:
    """Return RAW and a column for each part, given with its modality: its bytes, or where they are (HANDLE).

    A batch of it is never written to disk.
    """
    payload = ((name, HANDLE if modality in STREAMED else pa.large_binary()) for name, modality in parts.items())
    return pa.schema([*RAW, *(pa.field(*each) for each in payload)])


RECORD: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("parts", pa.list_(PART), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        *(pa.field(size, pa.int64(), nullable=False) for size in SIZES),
        pa.field("source", pa.string()),
        pa.field("split", pa.string()),
        pa.field("time", pa.string()),
        pa.field("quality", pa.float64()),
        pa.field("label", pa.string()),
        pa.field("code", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""A record without its payload. `code` and `detail` are set for the quarantined alone."""

BROUGHT: Final = pa.schema([*RECORD, pa.field("version", pa.string())])
"""A record, and the version that brought its content; null: the one being built."""

UNNAMED: Final = pa.schema([f.with_nullable(True) if f.name == "id" else f for f in RECORD])
"""Records of which some are yet to be named after their content."""

CONTENT: Final = pa.schema(
    [
        pa.field("modality", pa.string(), nullable=False),
        pa.field("sha256", DIGEST, nullable=False),
        pa.field("content", DIGEST, nullable=False),
        *(pa.field(size, pa.int64(), nullable=False) for size in SIZES),
    ]
)
"""Distinct byte strings and the normalised content each holds."""

MATCH: Final = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),  # a key of EVIDENCE; where a rule asks for it, also `joint`
        pa.field("left", DIGEST, nullable=False),  # the newer content, or the greater digest
        pa.field("right", DIGEST, nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # a similarity in [0, 1]
    ]
)
"""Verified matches of distinct contents at or above the floor."""

HOT: Final = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("group", pa.uint64(), nullable=False),
        pa.field("content", DIGEST, nullable=False),
    ]
)
"""Members of buckets too large for all their pairs; `resolve` verifies what it needs of them."""

_MILLIS: Final = ("left_start", "left_stop", "right_start", "right_stop")

SPAN: Final = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("left", DIGEST, nullable=False),
        pa.field("right", DIGEST, nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in _MILLIS),  # from the beginning of each
        pa.field("score", pa.float32(), nullable=False),  # the share of bits that agree
    ]
)
"""What two distinct contents of a structure over time share for a while, whatever their wholes are."""

RECALL: Final = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("left", DIGEST, nullable=False),
        pa.field("right", DIGEST, nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("found", pa.bool_(), nullable=False),
    ]
)
"""True matches of a fixed sample, by brute force, and whether the search found each."""

FIT: Final = pa.schema(
    [
        pa.field("media", DIGEST, nullable=False),  # an image, a video or a sound
        pa.field("text", DIGEST, nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # a similarity in [0, 1]
        pa.field("millis", pa.int64()),  # when a video shows what fits best; null: it is no video
    ]
)
"""Contents and texts that fit each other in a joint space, at or above the floor."""

CAPTIONED: Final = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("part", pa.string()),  # what the caption is of
        pa.field("score", pa.float64()),
        pa.field("millis", pa.int64()),  # as in FIT
    ]
)
"""How well the caption of a kept record fits its image, video or sound; the worst first."""

OUTCOME: Final = [
    pa.field("version", pa.string(), nullable=False),  # that brought this content of the record
    pa.field("action", pa.string(), nullable=False),  # keep | drop | quarantine | gone
    pa.field("reason", pa.string(), nullable=False),
    pa.field("representative", pa.string()),
    pa.field("method", pa.string()),
    pa.field("score", pa.float64()),
    pa.field("threshold", pa.float64()),
    pa.field("evidence", pa.string()),
    pa.field("rule", pa.string()),
    pa.field("decided", pa.string(), nullable=False),  # the version that decided
    pa.field("decided_at", pa.string(), nullable=False),  # that version's time, from params
]

SAID: Final = pa.schema(
    [f for f in OUTCOME if f.name in {"reason", "method", "score", "threshold", "evidence", "rule"}]
)
"""What is said of a record that is dropped."""

DECISION: Final = pa.schema([*RECORD, *OUTCOME])
"""A record and what was decided of it: the manifest's table, and the audit trail."""

MOVED: Final = pa.schema([f for f in RECORD if f.name in {"id", "path", "row"}])
"""Where a record lies that is what it was, but not where it was."""

REPORTED: Final = pa.schema(
    [
        ("case", pa.string()),
        ("left", pa.string()),
        ("right", pa.string()),
        ("kind", pa.string()),
        ("score", pa.float64()),
        ("millis", pa.int64()),  # of what fits a text: when a video shows it
    ]
)
"""Pairs of kept records that resemble each other in a way that drops neither."""

REPEATED: Final = pa.schema(
    [
        ("kind", pa.string()),
        ("left", pa.string()),
        ("right", pa.string()),
        *((name, pa.int64()) for name in _MILLIS),
        ("score", pa.float64()),
    ]
)
"""Spans that two kept records share, in milliseconds; nothing is dropped for them."""

LEAK: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # of the side that is to go
        pa.field("split", pa.string()),
        pa.field("from", pa.string(), nullable=False),  # the protected record that it resembles most
        pa.field("protected", pa.string(), nullable=False),  # its split, or `reference`
        pa.field("method", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
    ]
)
"""Kept records that match a kept one of a protected split, or a reference."""

ASSIGNED: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("why", pa.string(), nullable=False),  # given | joined | balanced
        pa.field("stratum", pa.string(), nullable=False),  # JSON: the values of split.by, in their order
        pa.field("unit", pa.string(), nullable=False),  # the least id of the kept records that it was assigned with
        pa.field("content", DIGEST, nullable=False),  # of the record's parts: it is known by this where it is renamed
        pa.field("version", pa.string(), nullable=False),  # that assigned it
    ]
)
"""A record and its split, by the version that assigned it; each id once over all versions."""

EXCEPTION: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        pa.field("case", pa.string(), nullable=False),  # bridge | straddles | given_otherwise
        pa.field("split", pa.string()),  # its own; null: it has none
        pa.field("others", pa.list_(pa.string()), nullable=False),  # those that it is tied to, or that the data gives
    ]
)
"""Records whose cluster lies in several splits, or that the data gives another split."""

SHARED: Final = pa.schema(
    [
        pa.field("what", pa.string(), nullable=False),  # the name of a part
        pa.field("content", pa.binary(), nullable=False),  # its digest
        pa.field("records", pa.int64(), nullable=False),  # of the kept, how many hold it
        pa.field("chars", pa.int64()),  # that are repeated: all but those of one record; null where nobody counted them
        pa.field("example", pa.string(), nullable=False),  # the kept record of the least id that holds it
    ]
)
"""What several kept records of the dataset hold alike, though they are no duplicates as wholes."""

INVALID: Final = (
    *("missing_value", "failed_schema", "out_of_range", "bad_length", "bad_pattern", "not_allowed"),
    *("unknown_reference", "not_unique"),
)
"""Why a record that can be read is quarantined: what a rule of `validate` asks, in the order in which it is asked."""

FAILURE: Final = pa.schema(
    [
        *(RECORD.field(name) for name in ("id", "path", "row")),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),  # quarantine | report: a rule of `fail` ends the run
        pa.field("code", pa.string(), nullable=False),  # one of INVALID
        pa.field("detail", pa.string(), nullable=False),
    ]
)
"""Records that fail a rule of `validate`, each once for each rule; sorted by id and rule."""

REVIEW: Final = pa.schema(
    [
        pa.field("left", pa.string(), nullable=False),
        pa.field("right", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),  # same | different
    ]
)


class DedupverError(Exception):
    """Something the user can mend. `exit_code` is what the command line ends with."""

    exit_code = 1


class ParamsError(DedupverError):
    """params.yaml, or a choice in it that disagrees with the data or the base."""

    exit_code = 3


class ModelError(DedupverError):
    """A model that can't be loaded: a missing package or file."""

    exit_code = 3


class SourceError(DedupverError):
    """The raw data can't be taken as a whole: duplicate ids, a column that is gone."""

    exit_code = 4


class IntegrityError(DedupverError):
    """A file of ours is not what its digest says, or an invariant does not hold."""

    exit_code = 5


class StateError(DedupverError):
    """The repository is not in the state that a command needs."""

    exit_code = 6


class GateError(DedupverError):
    """A version that was built is not what params ask of one, so it is not written."""

    exit_code = 7


class Unreadable(Exception):  # noqa: N818 - a verdict on one record, not an error of the program
    """One record that must be quarantined."""

    def __init__(self, code: str, reason: str) -> None:
        """Keep the code (a stable word) and the reason (for people)."""
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
