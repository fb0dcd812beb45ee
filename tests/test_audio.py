"""Sounds: equal contents in any container, codes that survive codecs and noise, hostile bytes, and the whole pipeline."""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import signal
import struct
import sys
import time
import wave
from typing import TYPE_CHECKING, Any

import numpy as np
import projects
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sounds

from dedupver import records
from dedupver.check import check
from dedupver.fingerprint import audio, spectrum
from dedupver.fingerprint.ragged import Ragged
from dedupver.fingerprint.sandbox import Killed, Sandbox
from dedupver.index.sequences import similarity
from dedupver.pipeline import DECIDING
from dedupver.schema import ModelError, Unreadable

if TYPE_CHECKING:
    from pathlib import Path

SONG = sounds.song(3, 1)
GSM = b"".join(bytes([0xD0 | k % 16, *np.random.default_rng(k).integers(0, 256, 32).tolist()]) for k in range(100))


def seen(data: bytes, suffix: str = "", max_seconds: int = 60) -> tuple[bytes, int, Any]:
    """Return digest, milliseconds and codes of a sound."""
    found = audio.replied(audio.answer(audio.asked(data, audio.Asked(suffix, max_seconds))))
    return found.content, found.millis, found.codes


def wav(frames: bytes, rate: int = 8000, channels: int = 1) -> bytes:
    """Return a WAV file of 16-bit samples."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(frames)
    return out.getvalue()


def alike(a: Any, b: Any) -> float:
    """Return the score of two rows of codes."""
    return float(similarity(Ragged.of_rows([a]), np.array([0]), Ragged.of_rows([b]), np.array([0]))[0])


# contents


def test_lossless_files_of_one_recording_have_one_content() -> None:
    """16 and 24 bits, floats, FLAC, either order of bytes: the samples count. Another rate, or a second channel, differs."""
    one = {seen(sounds.encoded(SONG, name))[0] for name in ("wav", "wav24", "float", "flac", "aiff", "au")}
    assert len(one) == 1
    others = (sounds.encoded(SONG, rate=8000), sounds.encoded(SONG, channels=2), sounds.encoded(SONG[:-1]))
    assert len(one | {seen(other)[0] for other in others}) == 4


@pytest.mark.parametrize("name", ["mp3", "m4a", "flac"])
def test_tags_do_not_count(name: str) -> None:
    """Files that differ in their title alone have one content, and different bytes."""
    plain, titled = sounds.encoded(SONG, name), sounds.encoded(SONG, name, title="A title of some length")
    assert plain != titled
    assert seen(plain)[0] == seen(titled)[0]


@pytest.mark.parametrize("name", sounds.ENCODED)
def test_every_format_is_read_whatever_the_file_is_called(name: str) -> None:
    """Its length to a packet's, and codes near those of the original; G.722 alone needs its suffix."""
    _, millis, codes = seen(sounds.encoded(SONG, name), ".g722" if name == "g722" else ".wrong")
    assert 2950 <= millis <= 3150
    assert alike(seen(sounds.encoded(SONG))[2], codes) > 0.85


def test_gsm_is_read_by_its_frames_or_its_suffix() -> None:
    """100 frames of 20 ms, and one alone, too short to be recognised."""
    assert [seen(GSM, suffix)[1] for suffix in ("", ".gsm")] == [2000, 2000]
    assert seen(GSM[:33], ".gsm")[1] == 20


# codes


def test_codes_are_the_signs_of_differences_of_energies() -> None:
    """Each bit by its definition, from sums over the bins of a transform."""
    samples = sounds.song(1, 4)[: spectrum.RATE // 2]
    sound = np.pad(samples.astype(float), (1024, 4096))
    edges = np.geomspace(300, 2000, 34) * 2048 / 5512
    energy = []
    for at in range(0, len(samples) // 128 * 128 + 256, 128):
        power = np.abs(np.fft.rfft(sound[at : at + 2048] * np.hanning(2048))) ** 2
        upto = [sum(power[: int(e)]) + power[int(e)] * (e - int(e)) for e in edges]
        energy.append([b - a for a, b in itertools.pairwise(upto)])
    difference = [[a - b for a, b in itertools.pairwise(row)] for row in energy]
    bits = [[b > a for a, b in zip(*rows, strict=True)] for rows in itertools.pairwise(difference)]
    wanted = [int("".join(str(int(bit)) for bit in row), 2) for row in bits]
    got = spectrum.codes(samples).tolist()
    assert len(got) == len(wanted) == len(samples) // 128 + 1
    assert sum((a ^ b).bit_count() for a, b in zip(got, wanted, strict=True) if a) <= 2  # rounding near a tie


@pytest.mark.parametrize(
    ("edit", "least"),
    [
        (lambda s: (s * 0.2).astype(np.int16), 0.95),
        (lambda s: sounds.noisy(s, 20), 0.85),
        (lambda s: s[len(s) // 10 :], 0.82),
        (lambda s: np.pad(s, 8000), 0.9),
    ],
)
def test_codes_survive_edits(edit: Any, least: float) -> None:
    """Gain, noise 20 dB below, a tenth cut off, half a second of silence around."""
    assert alike(seen(sounds.encoded(SONG))[2], seen(sounds.encoded(edit(SONG)))[2]) >= least


def test_different_songs_are_unlike() -> None:
    """Of six, no two are nearer than the floor."""
    codes = [seen(sounds.encoded(sounds.song(3, seed)))[2] for seed in range(6)]
    assert max(alike(a, b) for n, a in enumerate(codes) for b in codes[:n]) < 0.7


def test_silence_has_no_code() -> None:
    """A second of it between two sounds is 0, but for what the sounds reach; samples make one code each 128, and one."""
    whole = spectrum.codes(np.concatenate([SONG[:5512], np.zeros(5512, np.int16), SONG[:5512]]))
    assert (whole[46:84] == 0).all()
    assert (whole[:40] != 0).all()
    assert [len(spectrum.codes(SONG[:n])) for n in (1, 127, 128, 5512)] == [1, 1, 2, 44]


# hostile bytes

BAD = {
    "unreadable_audio": (b"no sound at all " * 100, ".wav"),
    "empty_audio": (b"", ".wav"),
    "silent_audio": (wav(bytes(16_000)), ".wav"),
    "absurd_audio": (wav(SONG.tobytes(), rate=10), ".wav"),
    "truncated_audio": (sounds.encoded(SONG, "flac")[:30_000], ".flac"),
    "audio_bomb": (sounds.encoded(np.tile(SONG, 30), "flac"), ".flac"),
}


@pytest.mark.parametrize("code", BAD)
def test_bad_sounds_are_told_by_a_code(code: str) -> None:
    """Each with a reason of one line that names no path and no address."""
    with pytest.raises(Unreadable) as caught:
        seen(*BAD[code])
    assert caught.value.code == code
    assert "\n" not in caught.value.reason
    assert "0x" not in caught.value.reason


@pytest.mark.parametrize("name", ["wav", "wav24", "flac", "aiff", "au", "mp3", "opus"])
def test_half_a_file_is_truncated(name: str) -> None:
    """Wherever a header or a last page says how much there should be."""
    data = sounds.encoded(SONG, name)
    with pytest.raises(Unreadable, match="truncated_audio"):
        seen(data[: len(data) // 2])


def test_a_wav_that_was_never_closed_is_whole() -> None:
    """Recorders write a size of all ones before they know better."""
    data = bytearray(wav(SONG.tobytes()))
    struct.pack_into("<I", data, data.index(b"data") + 4, 0xFFFFFFFF)
    assert seen(bytes(data))[1] == 6000


def test_packets_that_can_not_be_decoded_are_corruption() -> None:
    """A stretch of an AAC file overwritten; the header stands."""
    data = bytearray(sounds.encoded(np.tile(SONG, 4), "m4a"))
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(k * 7919 % 251 for k in range(4000))
    with pytest.raises(Unreadable, match="corrupt_audio"):
        seen(bytes(data))


def test_a_film_without_sound_has_no_audio() -> None:
    """A container with another stream alone."""
    import av  # noqa: PLC0415

    out: Any = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream: Any = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode(None))
    with pytest.raises(Unreadable, match="no_audio"):
        seen(out.getvalue(), ".m4a")


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n", "ffconcat version 1.0\nfile '{}'\n"]
)
def test_playlists_open_no_other_file(text: str, tmp_path: Path) -> None:
    """Whatever suffix they have."""
    (tmp_path / "other.wav").write_bytes(sounds.encoded(SONG))
    for suffix in (".mp3", ".wav", ".m4a"):
        with pytest.raises(Unreadable, match="unreadable_audio"):
            seen(text.format(tmp_path / "other.wav").encode(), suffix)


def test_random_damage_never_raises_anything_else() -> None:
    """A hundred files, each with some bytes overwritten: a verdict or a sound."""
    random = np.random.default_rng(5)
    files = [sounds.encoded(SONG, name) for name in ("wav", "flac", "mp3", "opus", "m4a")]
    for number in range(100):
        data = bytearray(files[number % len(files)])
        for at in random.integers(0, min(len(data), 4000), 8):
            data[at] = random.integers(256)
        try:
            assert len(seen(bytes(data))[2])
        except Unreadable as verdict:
            assert verdict.code.endswith("audio") or verdict.code == "audio_bomb"  # noqa: PT017


# the process that decodes


def behave(request: bytes) -> bytes:
    """Do as asked."""
    if request == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if request == b"spin":
        while True:
            pass
    if request == b"eat":
        try:
            return bytes(8 << 30)
        except MemoryError:
            return b"no memory"
    return request[::-1] + str(os.getpid()).encode()


def test_a_sandbox_survives_what_it_is_given() -> None:
    """A crash, an endless loop and a huge allocation end one request alone; time is the processor's."""
    box = Sandbox(behave, seconds=1, memory=4 << 30)
    first = box.ask(b"abc")
    assert first.startswith(b"cba")
    assert box.ask(b"abc") == first
    with pytest.raises(Killed) as crashed:
        box.ask(b"crash")
    assert crashed.value.limit is None
    started = time.monotonic()
    with pytest.raises(Killed) as slow:
        box.ask(b"spin")
    assert slow.value.limit == "time"
    assert time.monotonic() - started < 20
    assert box.ask(b"eat") == b"no memory"
    assert box.ask(b"abc").startswith(b"cba")
    box.close()


@pytest.mark.parametrize("name", ["b.wav", "b.mp4"])
def test_a_missing_package_is_named_before_anything_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a quarantine of every sound, nor an error after hours of texts."""
    root = projects.create(tmp_path, {"a.txt": "a text of five words", name: b"RIFF"}, source__columns__id=None)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(records, "read", lambda *_: pytest.fail("a record was read"))
    extra = "audio" if name == "b.wav" else "video"
    with pytest.raises(ModelError, match=rf"{re.escape(name)}: .*pip install 'dedupver\[{extra}\]'"):
        projects.build(root, "fingerprint")


def test_a_missing_package_is_named_where_a_table_holds_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tables hold shows when they are read; that is no quarantine either."""
    pq.write_table(pa.table({"id": ["1"], "audio": [b"RIFF"]}), tmp_path / "a.parquet")
    root = projects.create(tmp_path, {"a.parquet": (tmp_path / "a.parquet").read_bytes()})
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModelError, match=r"dedupver\[audio\]"):
        projects.build(root, "fingerprint")


# the pipeline


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project of songs in several codecs, a jingle in two longer sounds, and bad files."""
    songs = {n: sounds.song(3, n) for n in range(1, 6)}
    files: projects.Files = {f"{n}.wav": sounds.encoded(song) for n, song in songs.items()}
    for name in ("mp3", "opus", "flac", "g722"):
        files |= {f"{n}-{name}.{'ogg' if name == 'opus' else name}": sounds.encoded(songs[n], name) for n in (1, 2)}
    files["3-long.wav"] = sounds.encoded(np.pad(songs[3], (0, 4000)))
    jingle = sounds.song(4, 50)
    for name, before, seed in (("talk", 5, 60), ("show", 9, 70)):
        around = sounds.song(before, seed), jingle, sounds.song(6, seed + 1)
        files[f"{name}.mp3"] = sounds.encoded(np.concatenate(around), "mp3")
    files |= {f"bad/{code}{suffix}": data for code, (data, suffix) in BAD.items() if code != "audio_bomb"}
    root = projects.create(tmp_path_factory.mktemp("audio"), files, source__columns__id=None)
    return projects.build(root)


def test_copies_in_other_codecs_go_for_the_largest(built: Path) -> None:
    """The songs stay once each; a WAV stays and its MP3 goes; equal samples are an exact duplicate."""
    found = projects.decisions(built)
    kept = {name for name, row in found.items() if row["action"] == "keep"}
    assert kept == {"1.wav", "2.wav", "3-long.wav", "4.wav", "5.wav", "talk.mp3", "show.mp3"}
    assert found["1-flac.flac"]["reason"] == "exact_duplicate_of"
    assert found["1-opus.ogg"]["reason"] == "near_duplicate_of"
    assert found["1-opus.ogg"]["evidence"].startswith("audio.spectrum=0.")
    assert found["1-g722.g722"]["representative"] == "1.wav"
    assert found["3.wav"]["representative"] == "3-long.wav"
    assert found["1.wav"]["millis"] == 3000
    assert projects.metrics(built, "match")["recall"]["audio"] == 1


def test_scores_are_those_that_the_index_gives_again(built: Path) -> None:
    """Whatever was asked at the time of the search; and nothing else is wrong with the version."""
    assert check(built) == []


def test_the_longest_stays_where_params_say_so(tmp_path: Path) -> None:
    """Of a larger file and one that lasts longer."""
    short, long = sounds.song(3, 1), np.pad(sounds.song(3, 1), (0, 4000))
    files = {"short.wav": sounds.encoded(short), "long.mp3": sounds.encoded(long, "mp3")}
    for keep, wanted in ((["largest", "first"], "short.wav"), (["longest", "first"], "long.mp3")):
        root = projects.create(tmp_path / wanted, files, source__columns__id=None, dedup={"keep": keep})
        assert projects.kept(projects.build(root, *DECIDING)) == {wanted}


def test_bad_sounds_are_quarantined_with_their_codes(built: Path) -> None:
    """And none of them ends the run."""
    found = {name: row["code"] for name, row in projects.decisions(built).items() if row["action"] == "quarantine"}
    assert found == {f"bad/{code}{suffix}": code for code, (_, suffix) in BAD.items() if code != "audio_bomb"}


def test_a_sound_in_two_files_is_reported_with_its_places(built: Path) -> None:
    """The jingle starts after 5 and after 9 seconds, and lasts 4; both files stay."""
    rows = pq.read_table(built / "build/dedup/repeated.parquet").to_pylist()
    assert [{row["left"], row["right"]} for row in rows] == [{"talk.mp3", "show.mp3"}]
    place = {row[end]: (row[f"{end}_start"], row[f"{end}_stop"]) for row in rows for end in ("left", "right")}
    assert place["talk.mp3"] == pytest.approx((5000, 9000), abs=200)
    assert place["show.mp3"] == pytest.approx((9000, 13_000), abs=200)
    assert rows[0]["score"] > 0.85
    assert projects.metrics(built, "match")["span_recall"]["audio"] == 1
    assert projects.metrics(built, "dedup")["repeated"]["audio"] == {"spans": 1, "records": 2}


def test_a_second_version_matches_the_base(built: Path, tmp_path: Path) -> None:
    """A further copy goes for the base's, a further jingle is found in both earlier files; the base is not decoded again."""
    root = shutil.copytree(built, tmp_path / "p")
    projects.advance(root)
    old = {f"{p.relative_to(root / 'data/raw')}": p.read_bytes() for p in (root / "data/raw").rglob("*") if p.is_file()}
    third = np.concatenate([sounds.song(7, 90), sounds.song(4, 50)])
    new = {"again.ogg": sounds.encoded(sounds.song(3, 4), "opus"), "third.wav": sounds.encoded(third)}
    projects.build(projects.reopen(root, old | new, "v2", source__columns__id=None))
    found = projects.decisions(root)
    assert found["again.ogg"]["representative"] == "4.wav"
    assert found["third.wav"]["action"] == "keep"
    assert projects.metrics(root, "fingerprint")["new_audio_contents"] == 2
    rows = pq.read_table(root / "build/dedup/repeated.parquet").to_pylist()
    assert sorted(tuple(sorted((row["left"], row["right"]))) for row in rows) == [
        ("show.mp3", "talk.mp3"),
        ("show.mp3", "third.wav"),
        ("talk.mp3", "third.wav"),
    ]


def test_sounds_in_parquet_are_read_as_hugging_face_stores_them(tmp_path: Path) -> None:
    """A column `audio` of {bytes, path}: with the bytes, or with a path beside the table."""
    rows = [
        {"audio": {"bytes": sounds.encoded(sounds.song(2, 1)), "path": "a.wav"}},
        {"audio": {"bytes": sounds.encoded(sounds.song(2, 1), "flac"), "path": None}},
        {"audio": {"bytes": None, "path": "b.wav"}},
    ]
    out = io.BytesIO()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([("audio", kind)])), out)
    files = {"rows.parquet": out.getvalue(), "b.wav": sounds.encoded(sounds.song(2, 2))}
    files |= {"folder/metadata.csv": "file_name,text\nc.wav,the words that are said in it are these five\n"}
    files |= {"folder/c.wav": sounds.encoded(sounds.song(2, 3))}
    root = projects.build(projects.create(tmp_path, files, source__columns__id=None))
    found = list(projects.decisions(root).values())
    assert sorted(row["action"] for row in found) == ["drop", "keep", "keep", "keep"]
    assert sorted(len(row["parts"]) for row in found) == [1, 1, 1, 2]
    assert all(row["millis"] == 2000 for row in found)


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    """One process, and two, each with a decoder of its own."""
    files = {f"{n}.wav": sounds.encoded(sounds.song(1, n)) for n in range(6)}
    files |= {f"{n}.mp3": sounds.encoded(sounds.song(1, n), "mp3") for n in range(6)}
    files["rows.jsonl"] = projects.jsonl([{"text": "one two three four five six"}])
    built = [
        projects.build(projects.create(tmp_path / str(n), files, engine__workers=n, source__columns__id=None))
        for n in (1, 2)
    ]
    assert projects.outputs(built[0]) == projects.outputs(built[1])
