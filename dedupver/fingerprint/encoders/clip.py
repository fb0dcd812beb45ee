"""Texts beside images or sounds by CLIP, SigLIP and CLAP of transformers: `clip:NAME_OR_PATH`, `siglip:…`, `clap:…`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dedupver.fingerprint.encoders import files
from dedupver.fingerprint.encoders.device import Device
from dedupver.fingerprint.encoders.model import as_pixels, as_samples, as_text, stacked, unit
from dedupver.fingerprint.encoders.pixels import of_transformers
from dedupver.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dedupver.fingerprint.encoders.model import Batch, Model, Vectors

FORMAT: Final = "transformers-clip/1"

_CHARACTERS: Final = 32
"""So many characters a token, at most, are tokenised at all."""


class Tower:
    """One side of a model of transformers; images are prepared by our own code, as preprocessor_config.json says."""

    def __init__(self, folder: Path, modality: str, digest: str) -> None:
        """Load the side of a modality."""
        self._device, self.modality, self.digest = Device(), modality, digest
        library = files.package("transformers")
        self._model = library.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model.eval().to(self._device.name)
        sides: dict[str, Callable[[Any, Path], Callable[[Any], dict[str, Any]]]] = {
            "text": self._texts,
            "image": self._images,
            "audio": self._sounds,
        }
        self.rate = 0
        self._inputs = sides[modality](library, folder)
        nothing = {"text": " ", "image": np.zeros((2, 2, 3), np.uint8), "audio": np.zeros(2, np.int16)}
        self.dim = len(self._run([nothing[modality]])[0])

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        rows = [unit(row) for block in self._device.blocks(batch) for row in self._run(block)]
        vectors = stacked(rows, self.dim)
        vectors[[at for at, item in enumerate(batch) if isinstance(item, str) and not item.strip()]] = np.nan
        return vectors

    def _run(self, block: Any) -> Vectors:
        torch = self._device.torch
        features = getattr(self._model, f"get_{self.modality}_features")
        with torch.inference_mode():
            given = {name: torch.as_tensor(value).to(self._device.name) for name, value in self._inputs(block).items()}
            found = features(**given)
        found = getattr(found, "pooler_output", found)  # since transformers 5
        vectors: Vectors = found.float().cpu().numpy()
        return vectors

    def _texts(self, library: Any, folder: Path) -> Callable[[Any], dict[str, Any]]:
        tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        longest = self._model.config.text_config.max_position_embeddings
        if self._model.config.model_type == "clap":  # RoBERTa counts positions from behind its padding's number
            longest -= self._model.config.text_config.pad_token_id + 1
        # SigLIP was trained on texts filled up to the full length, and without a mask
        padding = "max_length" if self._model.config.model_type.startswith("siglip") else True

        def inputs(block: Any) -> dict[str, Any]:
            texts = [as_text(item)[: _CHARACTERS * longest] for item in block]
            found = tokenizer(texts, padding=padding, truncation=True, max_length=longest, return_tensors="np")
            return {name: found[name] for name in ("input_ids", "attention_mask") if name in found}

        return inputs

    def _sounds(self, library: Any, folder: Path) -> Callable[[Any], dict[str, Any]]:
        prepare = library.ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
        self.rate = int(prepare.sampling_rate)
        longest = int(prepare.nb_max_samples)  # of a longer sound a stretch would be chosen at random

        def inputs(block: Any) -> dict[str, Any]:
            sounds = [as_samples(item)[:longest].astype(np.float32) / (1 << 15) for item in block]
            each = [prepare(sound, sampling_rate=self.rate, return_tensors="np") for sound in sounds]
            return {name: np.concatenate([found[name] for found in each]) for name in ("input_features", "is_longer")}

        return inputs

    @staticmethod
    def _images(_: Any, folder: Path) -> Callable[[Any], dict[str, Any]]:
        how = of_transformers(json.loads(files.read(folder / "preprocessor_config.json")))
        return lambda block: {"pixel_values": np.concatenate([how.apply(as_pixels(item)) for item in block])}


def clip(name: str, modality: str) -> Model:
    """Find a CLIP model by its folder or, in the hub's local cache, by its name."""
    return _find(name, modality, ("clip",))


def siglip(name: str, modality: str) -> Model:
    """Find a SigLIP model, of the first or the second kind."""
    return _find(name, modality, ("siglip", "siglip2"))


def clap(name: str, modality: str) -> Model:
    """Find a CLAP model, of texts and sounds."""
    return _find(name, modality, ("clap",))


def _find(name: str, modality: str, kinds: tuple[str, ...]) -> Model:
    files.require("transformers", "torch")
    folder = files.model_folder(name)
    kind = json.loads(files.read(folder / "config.json")).get("model_type")
    if kind not in kinds:
        raise ModelError(f"{folder} holds a model of type {kind!r}, not {' or '.join(kinds)}")
    digest = files.digest(FORMAT, {"modality": modality, **files.folder_digests(folder)})
    return files.model(digest, folder, lambda: Tower(folder, modality, digest))
