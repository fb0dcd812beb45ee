"""Joint spaces that are told by hand: of colours, and the words for them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
"""The words that the space knows; an image's vector is its mean colour, a text's the mean of its words' colours."""


def colours(folder: Path) -> Path:
    """Write a pair of models in ONNX whose vectors can be told by hand: of pictures and of texts."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 16, 16])
    colour = helper.make_tensor_value_info("colour", TensorProto.FLOAT, [1, 3])
    mean = helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=[2, 3], keepdims=0)
    save(helper.make_graph([mean], "image", [pixels], [colour]), folder / "image.onnx")
    (folder / "image.onnx.json").write_text(json.dumps({"size": 16, "mean": [0, 0, 0], "std": [1, 1, 1]}))
    tokenizer = Tokenizer(models.WordLevel({"?": 0, "red": 1, "green": 2, "blue": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "words.json"))
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "n"])
    words = helper.make_tensor_value_info("words", TensorProto.FLOAT, [1, "n", 3])
    table = numpy_helper.from_array(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32), "table")
    gather = helper.make_node("Gather", ["table", "input_ids"], ["words"])
    save(helper.make_graph([gather], "text", [ids], [words], [table]), folder / "text.onnx")
    (folder / "text.onnx.json").write_text(json.dumps({"tokenizer": "words.json"}))
    return folder


def save(graph: onnx.GraphProto, path: Path) -> None:
    """Write a model."""
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def picture(*names: str, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Return stripes of these colours with some noise, so that they are not blank; each seed has pixels of its own."""
    wanted = np.array([COLOURS[name] for name in names], np.float64)
    stripes = np.repeat(wanted, 64 // len(names), axis=0)[None].repeat(64, axis=0)
    noise = np.random.default_rng(seed).normal(0, 20, stripes.shape)
    return np.clip(stripes + noise, 0, 255).astype(np.uint8)


def png(*names: str, seed: int = 0) -> bytes:
    """Return such a picture as a file."""
    file = io.BytesIO()
    Image.fromarray(picture(*names, seed=seed)).save(file, "PNG")
    return file.getvalue()
