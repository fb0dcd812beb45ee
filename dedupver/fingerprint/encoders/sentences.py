"""Texts by a model of sentence-transformers: `sentence-transformers:NAME_OR_PATH`, the extra of that name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from dedupver.fingerprint.encoders import files
from dedupver.fingerprint.encoders.device import Device
from dedupver.fingerprint.encoders.model import as_text, stacked, unit

if TYPE_CHECKING:
    from dedupver.fingerprint.encoders.model import Batch, Model, Vectors

FORMAT: Final = "sentence-transformers/1"


class Sentences:
    """A pipeline of sentence-transformers as its folder declares it: tokens, model, pooling, and what follows."""

    modality = "text"

    def __init__(self, folder: Path, digest: str) -> None:
        """Load from a folder; a model that brings code of its own is refused by the library."""
        library, self._device = files.package("sentence_transformers"), Device()
        safe = {"use_safetensors": True}
        self._model = library.SentenceTransformer(
            str(folder), device=self._device.name, local_files_only=True, trust_remote_code=False, model_kwargs=safe
        )
        self.digest = digest
        self.dim = len(self._raw(["a"])[0])

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        texts = [as_text(item) for item in batch]
        rows = [unit(row) for row in self._raw(texts)] if texts else []
        empty = [at for at, text in enumerate(texts) if not text or text.isspace()]
        vectors = stacked(rows, self.dim)
        vectors[empty] = np.nan
        return vectors

    def _raw(self, texts: list[str]) -> Vectors:
        vectors: Vectors = self._model.encode(
            texts, batch_size=self._device.batch, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, np.float32)


def find(name: str, _: str) -> Model:
    """Find a model by its folder or, in the hub's local cache, by its name."""
    files.require("sentence_transformers", "torch")
    named = name if "/" in name or Path(name).is_dir() else f"sentence-transformers/{name}"  # as the library has it
    folder = files.model_folder(named)
    digest = files.digest(FORMAT, files.folder_digests(folder))
    return files.model(digest, folder, lambda: Sentences(folder, digest))
