"""Texts and images in one space by OpenCLIP: `open_clip:MODEL/PRETRAINED`, or `open_clip:DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from PIL import Image

from dedupver.fingerprint.encoders import files
from dedupver.fingerprint.encoders.device import Device
from dedupver.fingerprint.encoders.model import as_pixels, as_text, stacked, unit
from dedupver.schema import ModelError
from dedupver.store import sha256_file

if TYPE_CHECKING:
    from dedupver.fingerprint.encoders.model import Batch, Model, Vectors

FORMAT: Final = "open-clip/1"

_CHARACTERS: Final = 32 * 256


class Place(NamedTuple):
    """The name that the library knows a model by, the weights on this machine, and all files that decide."""

    name: str
    weights: Path
    digests: dict[str, Any]


class Tower:
    """One side of a model of OpenCLIP; items are prepared by the library, as the model's configuration says."""

    def __init__(self, place: Place, modality: str, digest: str) -> None:
        """Load the side of a modality."""
        self._device, self.modality, self.digest = Device(), modality, digest
        library = files.package("open_clip")
        self._model, _, self._prepare = library.create_model_and_transforms(
            place.name, pretrained=str(place.weights), device=self._device.name
        )
        self._model.eval()
        self._tokenizer = library.get_tokenizer(place.name)
        self.dim = len(self._run(["a"] if modality == "text" else [np.zeros((2, 2, 3), np.uint8)])[0])

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        rows = [unit(row) for block in self._device.blocks(batch) for row in self._run(block)]
        vectors = stacked(rows, self.dim)
        vectors[[at for at, item in enumerate(batch) if isinstance(item, str) and not item.strip()]] = np.nan
        return vectors

    def _run(self, block: Any) -> Vectors:
        torch = self._device.torch
        with torch.inference_mode():
            if self.modality == "text":
                tokens = self._tokenizer([as_text(item)[:_CHARACTERS] for item in block])
                found = self._model.encode_text(tokens.to(self._device.name))
            else:
                images = [self._prepare(Image.fromarray(as_pixels(item))) for item in block]
                found = self._model.encode_image(torch.stack(images).to(self._device.name))
        vectors: Vectors = found.float().cpu().numpy()
        return vectors


def find(argument: str, modality: str) -> Model:
    """Find a model by MODEL/PRETRAINED, where PRETRAINED is one of the library's tags or a file of weights.

    Of a tag the weights must be in the hub's local cache. A folder with open_clip_config.json is a model as well.
    """
    files.require("open_clip", "torch")
    place = _of_folder(Path(argument)) if Path(argument).is_dir() else _of_tag(*argument.partition("/")[::2])
    digest = files.digest(FORMAT, {"modality": modality, **place.digests})
    return files.model(digest, place.weights, lambda: Tower(place, modality, digest))


def _of_folder(folder: Path) -> Place:
    weights = folder / f"open_clip_model{files.WEIGHTS}"
    files.read(folder / "open_clip_config.json")
    return Place(f"local-dir:{folder}", _safe(weights), files.folder_digests(folder))


def _of_tag(name: str, pretrained: str) -> Place:
    library = files.package("open_clip")
    config = library.get_model_config(name)
    if config is None:
        raise ModelError(f"open_clip knows no model {name!r}: `python -m open_clip.list_models` lists those it knows")
    weights = Path(pretrained) if Path(pretrained).is_file() else _cached(library, name, pretrained)
    told = {"model": name, "config": config, "weights": sha256_file(_safe(weights))}
    return Place(name, weights, told)


def _cached(library: Any, name: str, tag: str) -> Path:
    """Return where the weights of a tag are in the hub's local cache."""
    stated = library.pretrained.get_pretrained_cfg(name, tag) or {}
    repository = str(stated.get("hf_hub", "")).rstrip("/")
    wanted = f"open_clip_model{files.WEIGHTS}"
    if repository:
        return _safe(files.model_folder(repository) / wanted)
    tags = ", ".join(library.list_pretrained_tags_by_model(name)) or "none"
    raise ModelError(
        f"{tag!r} is no file, and {name} has no such pretrained tag with a repository on the hub: it has {tags}. "
        f"Put the weights into a {files.WEIGHTS} file and name it: open_clip:{name}/FILE"
    )


def _safe(weights: Path) -> Path:
    if weights.suffix != files.WEIGHTS or not weights.is_file():
        raise ModelError(f"the encoder needs weights in a {files.WEIGHTS} file, which {weights} is not")
    return weights
