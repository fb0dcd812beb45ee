"""Texts by tables of token vectors, which packages and folders of model2vec hold: `wordllama`, `model2vec:DIR`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.fingerprint.bpe import open_bpe
from dedupver.fingerprint.encoders import files
from dedupver.fingerprint.encoders.files import package
from dedupver.fingerprint.encoders.model import as_text, stacked, unit

if TYPE_CHECKING:
    from dedupver.fingerprint.encoders.model import Batch, Model, Vector, Vectors

FORMAT: Final = "static-mean/1"

MAX_TOKENS: Final = 4096
"""Of a text, the tokens from the start that count; a mean of more hardly moves."""

MAX_CHARACTERS: Final = 8 * MAX_TOKENS
"""What is tokenised at all, so that a huge text costs no more than a long one."""


def wordllama(_: str, __: str) -> Model:
    """Find the table that the package wordllama holds."""
    folder = files.installed("wordllama", "wordllama")
    tokenizer = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
    return _static(tokenizer, folder / "weights" / "l2_supercat_256.safetensors")


def model2vec(directory: str, _: str) -> Model:
    """Find a folder of model2vec (model.safetensors, tokenizer.json), or of sentence-transformers that holds one."""
    nested = Path(directory) / "0_StaticEmbedding"
    folder = nested if nested.is_dir() else Path(directory)
    return _static(folder / "tokenizer.json", folder / "model.safetensors")


class StaticEncoder:
    """A table with a vector for each token; a text is the mean of its tokens' vectors.

    The sum is taken in float64, where half-precision and 8-bit tables add up without rounding, so the order and width
    of a machine's additions do not matter. Source: model2vec's StaticModel and wordllama's WordLlamaInference.
    """

    modality = "text"

    def __init__(self, tokenizer: bytes, tensors: bytes, digest: str) -> None:
        """Build from the bytes of a tokenizers JSON file and of a safetensors file.

        The file holds `embeddings` or `embedding.weight` (rows, dim) and, where several tokens share a row, `mapping`
        (token → row) and `weights` (a factor for each token).
        """
        loaded = package("safetensors.numpy").load(tensors)
        table = loaded["embeddings"] if "embeddings" in loaded else loaded["embedding.weight"]
        self._table = np.ascontiguousarray(table, np.float32)
        self._tokenizer = package("tokenizers").Tokenizer.from_buffer(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        described = json.loads(tokenizer)
        self._pairs = open_bpe(described)
        self._unknown = _unknown_token(described["model"])
        tokens = 1 + max(self._tokenizer.get_vocab().values())
        self._rows = np.asarray(loaded.get("mapping", np.arange(tokens)), np.int64)[:tokens]
        self._weights = np.asarray(loaded.get("weights", np.ones(tokens)), np.float64)[:tokens]
        held = len(self._rows) == len(self._weights) == tokens and 0 <= self._rows.min() <= self._rows.max() < len(
            table
        )
        if not held:
            raise ValueError(f"{tokens} tokens, but not a row of {len(table)} and a weight for each")
        self.dim = int(table.shape[1])
        self.digest = digest

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        return stacked([self._encode(as_text(item)) for item in batch], self.dim)

    def _encode(self, text: str) -> Vector:
        tokens = self._tokens(text[:MAX_CHARACTERS])
        known = (tokens if self._unknown is None else tokens[tokens != self._unknown])[:MAX_TOKENS]
        return unit(_add_rows(known, self._table, self._rows, self._weights) / max(len(known), 1))

    def _tokens(self, text: str) -> npt.NDArray[np.int32]:
        tokens = self._pairs.encode(text) if self._pairs else None
        if tokens is None:
            tokens = np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        return tokens


def _static(tokenizer: Path, tensors: Path) -> Model:
    held = files.read(tokenizer), files.read(tensors)
    files.require("safetensors", "tokenizers")
    digest = files.digest(FORMAT, {"tokens": MAX_TOKENS, "characters": MAX_CHARACTERS}, *held)
    return files.model(digest, tensors, lambda: StaticEncoder(*held, digest))


def _unknown_token(model: dict[str, Any]) -> int | None:
    """The number of the token that stands for anything unknown; None where a tokenizer knows every byte."""
    number: int | None = model["unk_id"] if "unk_id" in model else model["vocab"].get(model.get("unk_token"))
    return number


@njit(cache=True, nogil=True)
def _add_rows(tokens: npt.NDArray[np.int32], table: Any, rows: Any, weights: Any) -> Any:
    """Add the tokens' rows, each times its weight, one after the other in float64."""
    total = np.zeros(table.shape[1], np.float64)
    for token in tokens:
        row, weight = table[rows[token]], weights[token]
        for i in range(len(total)):
            total[i] += row[i] * weight
    return total
