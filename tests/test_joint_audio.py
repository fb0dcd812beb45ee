"""Sounds beside texts in a space of their own: some moments, the best of which is what a text fits; and spoken words."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import pyarrow.parquet as pq
import pytest

from dedupver import params
from dedupver.check import check
from dedupver.fingerprint import audio, look
from dedupver.fingerprint.encoders import FAMILIES, Family, find_model, open_encoder
from dedupver.fingerprint.encoders.model import Model, stacked, unit
from dedupver.index.segment import Index
from dedupver.schema import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    from dedupver.fingerprint.encoders.model import Batch, Vectors

RATE = 4000
NAMES = ("low", "middle", "high")
PITCHES = {"low": 200, "middle": 600, "high": 1500}


class Tones:
    """A sound's vector is its energy below 400, below 1000 and below 2000 Hz; a text's how often it names these."""

    rate, dim = RATE, 3

    def __init__(self, modality: str) -> None:
        self.modality, self.digest = modality, f"tones of {modality}"

    def encode(self, batch: Batch) -> Vectors:
        """See `Encoder.encode`."""
        return stacked([unit(self._text(b) if isinstance(b, str) else self._sound(b)) for b in batch], 3)

    @staticmethod
    def _text(text: str) -> npt.NDArray[Any]:
        return np.array([text.split().count(name) for name in NAMES], np.float64)

    @staticmethod
    def _sound(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
        energy, at = np.abs(np.fft.rfft(samples)) ** 2, np.fft.rfftfreq(len(samples), 1 / RATE)
        return np.array(
            [energy[(at >= low) & (at < high)].sum() for low, high in ((9, 400), (400, 1000), (1000, 2000))]
        )


@pytest.fixture
def _tones(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def find(_: str, modality: str) -> Model:
        return Model(f"tones of {modality}", lambda: Tones(modality))

    monkeypatch.setitem(FAMILIES, "tones", Family(find, ("text", "audio"), ""))
    look.encoder.cache_clear()
    yield
    look.encoder.cache_clear()


def wav(*tones: str, seconds: float = 4, seed: int = 0) -> bytes:
    """A sound of some tones, one after the other, with a little noise, at 8000 samples a second."""
    time = np.arange(int(8000 * seconds)) / 8000
    parts = [0.3 * np.sin(2 * np.pi * PITCHES[tone] * time) if tone else 0 * time for tone in tones]
    sound = np.concatenate(parts)
    sound += np.where(sound, np.random.default_rng(seed).normal(0, 0.01, len(sound)), 0)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes((32767 * sound).astype("<i2").tobytes())
    return file.getvalue()


def settings(**more: Any) -> dict[str, Any]:
    """Params with a space of sounds."""
    given = {"fingerprint__joint": {"sounds": "tones", "frames": 3}, "source__columns": {"id": None}}
    thresholds = {"match__floor": {"joint": 0.6}, "dedup__thresholds": {"joint": 0.9}}
    return {**given, **thresholds, "dedup__rules": [{"content": "exact"}], **more}


@pytest.mark.usefixtures("_tones")
def test_captions_and_sounds_are_compared(tmp_path: Path) -> None:
    """Each sound with its caption, the worst first, and when it fits; and texts that say what another lets hear."""
    files: projects.Files = {"a.wav": wav("low"), "a.txt": "a low tone", "b.wav": wav("high", seed=1), "b.txt": "low"}
    files |= {"c.wav": wav("low", "high", seconds=20, seed=2), "c.txt": "it is high", "p/m.txt": "high up"}
    root = projects.build(projects.create(tmp_path, files, **settings()))
    fits = pq.read_table(root / "build/dedup/captions.parquet").to_pylist()
    assert [(row["id"], row["part"]) for row in fits[:1]] == [("b.wav", "audio")]
    assert fits[0]["score"] < 0.1
    assert all(row["score"] > 0.95 for row in fits[1:])
    assert {row["id"]: row["millis"] for row in fits}["c.wav"] in {20_000, 30_000}
    rows = pq.read_table(root / "build/dedup/reported.parquet").to_pylist()
    assert {(r["case"], r["left"], r["right"]) for r in rows if r["left"] != r["right"] and r["kind"] == "joint"} == {
        ("caption_fits_other_audio", "a.wav", "b.wav"),
        ("caption_fits_other_audio", "c.wav", "a.wav"),
        ("caption_fits_other_audio", "c.wav", "b.wav"),
        ("caption_fits_other_audio", "b.wav", "c.wav"),
        ("text_fits_other_audio", "b.wav", "p/m.txt"),
        ("text_fits_other_audio", "c.wav", "p/m.txt"),
    }
    assert "caption_unlike_image" not in projects.metrics(root, "dedup")["reported"]
    assert projects.metrics(root, "match")["recall"]["joint"] == 1
    assert check(root) == []


@pytest.mark.usefixtures("_tones")
@pytest.mark.parametrize("first", [["a.wav", "c.txt"], ["b.txt", "c.txt"]])
def test_a_rule_drops_a_text_for_a_sound(tmp_path: Path, first: list[str]) -> None:
    """What was published stays."""
    files: projects.Files = {"a.wav": wav("low"), "b.txt": "a low tone", "c.txt": "so very high"}
    given = settings(dedup__rules=[{"joint": 0.9}], source__samples="file")
    root = projects.build(projects.create(tmp_path, {name: files[name] for name in first}, **given))
    projects.advance(root)
    projects.reopen(root, files, "v2", **given)
    projects.build(root)
    assert projects.kept(root) == set(first)
    (gone,) = [row for row in projects.decisions(root).values() if row["action"] == "drop"]
    assert gone["reason"] == "cross_modal_match_of"
    assert gone["evidence"] == f"audio~text.joint={gone['score']:.6g}"
    assert check(root) == []
    assert set(Index.open(root / "index").built_with["models"]) == {"text", "image", "heard"}


@pytest.mark.usefixtures("_tones")
def test_what_can_not_be_heard_has_no_vector(tmp_path: Path) -> None:
    """Silence is quarantined as ever, a silent moment is no moment, and one sample is heard."""
    files: projects.Files = {"s.wav": wav(""), "s.txt": "low", "q.wav": wav("", "low", seconds=10), "q.txt": "low"}
    files |= {
        "cut.wav": wav("low")[:-9000],
        "cut.txt": "low",
        "short.wav": wav("low", seconds=0.05),
        "short.txt": "low",
    }
    root = projects.build(projects.create(tmp_path, files, **settings()))
    fits = pq.read_table(root / "build/dedup/captions.parquet").to_pylist()
    assert {(row["id"], row["millis"]) for row in fits} == {("q.wav", 10_000), ("short.wav", 0)}


def test_moments_are_the_sound() -> None:
    """Ten seconds each at the rate that is asked for, spread over it; none where none is asked for."""
    data = wav("low", "high", seconds=35)
    heard = audio.replied(audio.answer(audio.asked(data, audio.Asked(".wav", 600, 4, RATE))))
    assert [moment.millis for moment in heard.moments] == [0, 20_000, 40_000, 60_000]
    assert [len(moment.data) for moment in heard.moments] == [10 * RATE] * 4
    vectors = Tones("audio").encode([moment.data for moment in heard.moments])
    assert vectors.argmax(axis=1).tolist() == [0, 0, 2, 2]
    plain = audio.replied(audio.answer(audio.asked(data, audio.Asked(".wav", 600))))
    assert plain.moments == ()
    assert plain.codes.tobytes() == heard.codes.tobytes()
    assert plain.content == heard.content


def test_sides_are_those_that_parts_need() -> None:
    """A space of pictures is none of sounds, nor the other way round; a rule needs either."""
    with pytest.raises(ModelError, match="efficientnet-lite0 is an encoder of image, not of audio"):
        find_model("efficientnet-lite0", "audio")
    with pytest.raises(ModelError, match="pocketsphinx is an encoder of text and audio, not of image"):
        find_model("pocketsphinx", "image")
    rule = {"dedup": {"rules": [{"joint": 0.9}]}}
    assert params.Params.model_validate({**rule, "fingerprint": {"joint": {"sounds": "pocketsphinx"}}})
    with pytest.raises(ValueError, match=r"needs a joint space: set fingerprint\.joint\.encoder"):
        params.Params.model_validate(rule)


def test_words_are_heard() -> None:
    """Two sides of one length; noise says what it says, and the same whatever was heard before."""
    hears, reads = (open_encoder("pocketsphinx", modality) for modality in ("audio", "text"))
    assert hears.dim == reads.dim == 256
    assert hears.digest != reads.digest
    noise = np.random.default_rng(0).normal(0, 3000, (3, 16_000)).astype(np.int16)
    several = hears.encode(list(noise))
    assert hears.encode([noise[2]]).tobytes() == several[2:].tobytes()
    assert np.isnan(hears.encode([np.zeros(1600, np.int16)])).all()
    with pytest.raises(ModelError, match="takes sounds"):
        hears.encode(["a text"])
