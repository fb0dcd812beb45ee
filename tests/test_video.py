"""Videos: codes over time that survive re-encoding, verdicts on what can't be read, memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import av
import films
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from projects import advance, build, create, decisions, jsonl, kept, reopen

from dedupver import params, records
from dedupver.fingerprint import image, pictures, video
from dedupver.records.payload import Handle
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HOW = params.Video()
CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


def watch(path: Path, **how: Any) -> video.Film:
    """Look at a file."""
    return video.watch(films.stream(path), params.Video(**how))


def distance(a: video.Film, b: video.Film) -> NDArray[np.uint8]:
    """Return how many bits differ at each tick that both have."""
    n = min(len(a.codes), len(b.codes))
    return np.bitwise_count(a.codes[:n] ^ b.codes[:n])


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two scenes of three seconds."""
    place = tmp_path_factory.mktemp("films") / "clip.mp4"
    return films.encode(place, films.cut(films.scene(1, 3), films.scene(2, 3)))


def test_a_code_a_tick_from_the_luma(tmp_path: Path) -> None:
    """Of a still picture all codes are the hash that an image of its luma has."""
    path = films.encode(tmp_path / "still.mkv", ((n / 10, films.still()) for n in range(30)), codec="ffv1")
    film = watch(path)
    expected = image.phash(np.repeat(films.still()[:, :, None], 3, axis=2))
    assert film.codes.tolist() == expected.tolist() * len(film.codes)
    assert (len(film.codes), film.pixels) == (12, films.WIDTH * films.HEIGHT)
    assert abs(film.millis - 3000) <= 100


@pytest.mark.parametrize(("rate", "count"), [(1, 6), (4, 24), (8, 48)])
def test_ticks_have_the_rate_that_params_name(clip: Path, rate: int, count: int) -> None:
    """A code every 1/rate seconds."""
    assert len(watch(clip, rate=rate).codes) == count


def test_max_seconds_are_looked_at(clip: Path) -> None:
    """Of a longer video there are the codes of its beginning, and its whole length."""
    film = watch(clip, max_seconds=2)
    assert film.codes.tolist() == watch(clip).codes[:8].tolist()
    assert abs(film.millis - 6000) <= 100


@pytest.mark.parametrize("name", ["mkv", "webm", "avi", "mov"])
def test_other_encodings_have_nearly_the_same_codes(clip: Path, tmp_path: Path, name: str) -> None:
    """Other codecs and containers at low quality."""
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(name, "libx264")
    pictures = films.cut(films.scene(1, 3), films.scene(2, 3))
    copy = films.encode(tmp_path / f"copy.{name}", pictures, codec=codec, crf=36)
    assert np.median(distance(watch(clip), watch(copy))) <= 4


def test_another_container_changes_no_code(clip: Path, tmp_path: Path) -> None:
    """The same packets in Matroska and in MPEG-TS."""
    for name in ("copy.mkv", "copy.ts"):
        assert (
            distance(watch(clip), watch(films.remux(clip, tmp_path / name))).max() <= 24
        )  # at a cut: a tick's rounding
        assert np.median(distance(watch(clip), watch(tmp_path / name))) == 0


def test_slides_and_their_copy_of_many_pictures_are_equal(tmp_path: Path) -> None:
    """Timestamps say what is shown, however few pictures there are."""
    stills = [films.still(seed) for seed in (1, 2, 3)]
    slides = films.encode(tmp_path / "slides.mkv", ((3.0 * n, s) for n, s in enumerate(stills)), codec="ffv1")
    many = films.encode(tmp_path / "many.mkv", ((n / 10, stills[n // 30]) for n in range(90)), codec="ffv1")
    few = watch(slides).codes
    assert len(few) >= 25
    assert few.tolist() == watch(many).codes[: len(few)].tolist()


@pytest.mark.parametrize("bars", [((24, 24), (0, 0)), ((0, 0), (32, 32)), ((16, 16), (24, 24))])
def test_black_bars_are_cut_off(tmp_path: Path, bars: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """Above and below, left and right, and all around."""
    shown = [(n / 10, films.still()) for n in range(20)]
    plain = watch(films.encode(tmp_path / "plain.mp4", shown))
    framed = watch(films.encode(tmp_path / "framed.mp4", shown, change=lambda picture: np.pad(picture, bars)))
    assert distance(plain, framed).max() <= 4
    assert abs(framed.pixels - plain.pixels) <= 0.05 * plain.pixels


def test_a_dark_sky_is_no_bar() -> None:
    """What is dark on one side alone stays, and so does what is black as a whole."""
    night = films.still().copy()
    night[:40] = 16
    assert pictures.border(night) == (0, 0)
    assert pictures.border(np.full((10, 12), 16, np.uint8)) is None
    assert pictures.border(np.pad(films.still(), ((3, 5), (7, 2)), constant_values=16)) == (3, 2)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_rotation_is_honoured(tmp_path: Path, turns: int) -> None:
    """A video that is stored lying and is to be turned by players has the codes of one that is stored upright."""
    shown = [(n / 10, films.still()) for n in range(20)]
    upright = watch(films.encode(tmp_path / "upright.mp4", shown, crf=10))
    lying = films.encode(
        tmp_path / "lying.mp4", shown, crf=10, turn=90 * turns, change=lambda picture: np.rot90(picture, -turns)
    )
    assert distance(upright, watch(lying)).max() <= 4


def test_pictures_that_say_too_little_have_no_code(tmp_path: Path) -> None:
    """Black, and one colour."""
    black = ((n / 10, np.full((64, 64), 16 + 100 * (n > 9), np.uint8)) for n in range(20))
    film = watch(films.encode(tmp_path / "black.mp4", films.cut(black, films.scene(1, 1))))
    assert (film.codes == 0).tolist() == [True] * 8 + [False] * 4


def test_one_picture_has_one_code(tmp_path: Path) -> None:
    """A video of a single picture."""
    assert len(watch(films.encode(tmp_path / "one.mp4", [(0.0, films.still())])).codes) == 1


def test_hours_of_one_picture_are_bounded(tmp_path: Path) -> None:
    """A picture every ten minutes for days, and one whose time leaps by years."""
    slow = films.encode(tmp_path / "slow.mkv", ((600.0 * n, films.still()) for n in range(500)), codec="ffv1")
    leap = films.encode(tmp_path / "leap.mkv", [(0.0, films.still()), (3e7, films.still(2))], codec="ffv1")
    assert len(watch(slow).codes) == len(watch(leap).codes) == 4 * 7200
    assert len(watch(slow, max_seconds=60).codes) == 240


def test_work_is_bounded_by_pixels(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of large pictures fewer seconds are looked at."""
    monkeypatch.setattr(video, "WORK", films.WIDTH * films.HEIGHT)
    assert len(watch(clip, max_seconds=20).codes) < len(watch(clip).codes)


def scrambled(data: bytes) -> bytes:
    """Return the bytes with all but the ends changed."""
    body = np.frombuffer(data, np.uint8).copy()
    body[300:-600] = (body[300:-600].astype(int) * 7 + np.arange(len(body) - 900)) % 256
    return body.tobytes()


def hostile(name: str, clip: Path, place: Path) -> Path:
    """Make a file that can't be read as a video."""
    path = place / f"{name}.mp4"
    data = clip.read_bytes()
    if name == "cover":
        return films.remux(_sound(place), path)
    if name == "encrypted":
        return films.encode(path, films.scene(1, 2), **CENC)
    if name == "picture":
        Image.fromarray(films.still()).save(path, "jpeg")
        return path
    if name == "cut after the header":
        data = films.remux(clip, place / "fast.mp4", movflags="faststart").read_bytes()
        data = data[: len(data) * 6 // 10]
    if name in {"mkv", "webm", "flv", "avi"}:
        codec = {"webm": "libvpx", "avi": "mpeg4"}.get(name, "libx264")
        cut = films.encode(place / f"cut.{name}", films.cut(films.scene(1, 3), films.scene(2, 3)), codec=codec)
        data = cut.read_bytes()[: cut.stat().st_size * 6 // 10]
    given = {
        "nothing": b"",
        "text": b"no video at all\n" * 100,
        "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        "cut before the header": data[: len(data) * 6 // 10],
        "codec": data.replace(b"avc1", b"zzzz"),
        "scrambled": scrambled(data),
    }
    path.write_bytes(given.get(name, data))
    return path


def _sound(place: Path) -> Path:
    path = place / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        ear = out.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), "fltp", "mono")
        frame.sample_rate = 44_100
        out.mux([*ear.encode(frame), *ear.encode(None)])
    return path


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nothing", "unreadable_video"),
        ("text", "unreadable_video"),
        ("picture", "unreadable_video"),
        ("playlist", "unreadable_video"),
        ("scrambled", "unreadable_video"),
        ("encrypted", "encrypted_video"),
        ("cut before the header", "unreadable_video"),
        ("cut after the header", "truncated_video"),
        ("mkv", "truncated_video"),
        ("webm", "truncated_video"),
        ("flv", "truncated_video"),
        ("avi", "truncated_video"),
        ("cover", "no_video"),
        ("codec", "unsupported_codec"),
    ],
)
def test_what_cannot_be_read_has_a_code(clip: Path, tmp_path: Path, name: str, code: str) -> None:
    """The code and the reason are the same in every run, and hold no path."""
    path = hostile(name, clip, tmp_path)
    verdicts = []
    for _ in range(2):
        with pytest.raises(Unreadable) as caught:
            watch(path)
        verdicts.append(str(caught.value))
    assert verdicts[0] == verdicts[1]
    assert caught.value.code == code
    assert str(tmp_path) not in verdicts[0]


def test_a_picture_too_large_is_refused_by_the_header(clip: Path, tmp_path: Path) -> None:
    """The limit of params, and a header that lies."""
    with pytest.raises(Unreadable, match="pixel_bomb"):
        watch(clip, max_pixels=1000)
    size = films.HEIGHT.to_bytes(2, "big") + films.WIDTH.to_bytes(2, "big")
    small = films.encode(tmp_path / "a.mkv", films.scene(1, 1), codec="mjpeg").read_bytes()
    assert small.count(size) == 10
    (tmp_path / "b.mkv").write_bytes(small.replace(size, b"\xff\x00\xff\x00"))
    with pytest.raises(Unreadable, match="no picture can be decoded"):
        watch(tmp_path / "b.mkv")


def test_mostly_damaged_packets_are_corrupt(tmp_path: Path) -> None:
    """Pictures of which one in three can't be decoded."""
    path = films.encode(tmp_path / "a.mkv", films.scene(1, 4), codec="mjpeg")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    for at, size in packets[::3]:
        data[at + 16 : at + size] = bytes(size - 16)
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="corrupt_video"):
        watch(path)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=30), st.floats(0.2, 1))
def test_no_bytes_break_a_look(clip: Path, changes: list[tuple[float, int]], share: float) -> None:
    """Some bytes changed, and the end cut off: a film, or a verdict."""
    data = bytearray(clip.read_bytes())
    for where, value in changes:
        data[int(where * (len(data) - 1))] = value
    try:
        film = video.watch(Handle.of_bytes(bytes(data[: int(share * len(data))])), HOW)
    except Unreadable:
        return
    assert 0 < len(film.codes) <= 4 * 7200


MEASURE = """
import multiprocessing, re, sys
from pathlib import Path
from dedupver import params, records
from dedupver.fingerprint import batch
from dedupver.records.record import Task

root, out = Path(sys.argv[1]), Path(sys.argv[2])
source = params.Source()
for number, task in enumerate(records.plan(root, source)):
    batch.fingerprint(batch.Chunk(root, task, source, params.Fingerprint(), (), out / str(number)))
pids = ["self", *(process.pid for process in multiprocessing.active_children())]
assert len(pids) == 2
print(sum(int(re.search(r"VmHWM:\\s*(\\d+)", Path(f"/proc/{pid}/status").read_text())[1]) for pid in pids))
"""


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    """A folder of videos of 5 MB, and one of videos of 150 MB, uncompressed: what is read is never held."""
    frame, peaks = bytes(range(256)) * 450, []  # 320 x 240 in 4:2:0
    for name, count in (("short", 45), ("long", 1350)):
        for n in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            frames = (np.roll(np.frombuffer(frame, np.uint8), k * n).tobytes() for k in range(count))
            films.y4m(tmp_path / name / f"{n}.mkv", 320, 240, frames)
        call = [sys.executable, "-c", MEASURE, tmp_path / name, tmp_path / f"{name}.out"]
        peaks.append(int(subprocess.run(call, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] - peaks[0] < 30 << 10  # kilobytes


def test_a_part_is_where_its_bytes_are(clip: Path, tmp_path: Path) -> None:
    """A file, a file that a row names, and bytes within a table."""
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "b.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "rows.jsonl").write_text(jsonl([{"video": "b.mp4", "text": "a clip"}, {"video": "c.mp4"}]))
    pq.write_table(pa.table({"video": [clip.read_bytes(), None], "text": [None, "no clip"]}), tmp_path / "rows.parquet")
    source = params.Source(max_video_bytes=clip.stat().st_size)
    found = [
        row
        for task in records.plan(tmp_path, source)
        for batch in records.read(tmp_path, task, source)
        for row in batch.to_pylist()
    ]
    sha256 = films.stream(clip).sha256
    held = {row["path"] + f"#{row['row']}": row["video"] for row in found}
    assert {name for name, part in held.items() if part} == {"a.mp4#-1", "rows.jsonl#0", "rows.parquet#0"}
    assert {part["sha256"] for part in held.values() if part} == {sha256}
    assert {part["size"] for part in held.values() if part} == {clip.stat().st_size}
    assert [held["rows.jsonl#0"]["path"], held["rows.jsonl#0"]["data"]] == [str(tmp_path / "b.mp4"), None]
    assert [held["rows.parquet#0"]["path"], held["rows.parquet#0"]["data"]] == [None, clip.read_bytes()]
    assert [row["code"] for row in found if row["path"] == "rows.jsonl"] == [None, "missing_video"]


def test_a_video_of_too_many_bytes_is_refused(clip: Path, tmp_path: Path) -> None:
    """As a file and in a table, before it is read."""
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    pq.write_table(pa.table({"video": [clip.read_bytes()]}), tmp_path / "rows.parquet")
    source = params.Source(max_video_bytes=clip.stat().st_size - 1)
    for task in records.plan(tmp_path, source):
        for batch in records.read(tmp_path, task, source):
            assert batch["code"].to_pylist() == ["huge_video"]


def test_a_folder_of_videos_is_built(clip: Path, tmp_path: Path) -> None:
    """Copies of the bytes go, what can't be read is quarantined, the rest is published."""
    root = create(
        tmp_path,
        {"a.mp4": clip.read_bytes(), "b.mp4": clip.read_bytes(), "c.mp4": b"", "d.mp4": clip.read_bytes()[:5000]},
        source__columns={"id": None},
    )
    build(root)
    assert kept(root) == {"a.mp4"}
    assert {name: row["code"] for name, row in decisions(root).items() if row["code"]} == {
        "c.mp4": "unreadable_video",
        "d.mp4": "unreadable_video",
    }
    assert (root / "clean/a.mp4").read_bytes() == clip.read_bytes()


def test_bars_are_cut_off_after_black(tmp_path: Path) -> None:
    """A picture that is black as a whole says nothing of the bars of the next."""
    shown = films.cut(
        [(n / 10, np.full((films.HEIGHT, films.WIDTH), 16, np.uint8)) for n in range(10)], films.scene(1, 2)
    )
    framed = films.encode(tmp_path / "framed.mp4", shown, change=lambda picture: np.pad(picture, ((24, 24), (0, 0))))
    plain = films.encode(tmp_path / "plain.mp4", films.scene(1, 2))
    assert np.median(np.bitwise_count(watch(framed).codes[4:8] ^ watch(plain).codes[:4])) <= 8


def _seconds(rows: list[dict[str, Any]], left: str, right: str) -> list[tuple[float, ...]]:
    """Return the spans of a pair, whichever way round it is listed."""
    found = []
    for row in rows:
        ends = [row[f"{side}_{edge}"] / 1000 for side in ("left", "right") for edge in ("start", "stop")]
        if (row["left"], row["right"]) == (left, right):
            found.append(tuple(ends))
        if (row["left"], row["right"]) == (right, left):
            found.append((*ends[2:], *ends[:2]))
    return found


def _noise(seed: int, seconds: float) -> NDArray[np.float32]:
    """Return a sound that changes all the time, and that no other seed has."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * 44_100)) / 44_100
    tones = random.uniform(300, 2000, (len(t) // 4410 + 1, 4)).repeat(4410, axis=0)[: len(t)]
    return (np.sin(2 * np.pi * np.cumsum(tones / 44_100, axis=0)).sum(axis=1) / 8).astype(np.float32)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a version of videos of which some are copies, some share a scene, and some a sound."""
    place, root = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("project")

    def scenes(*seeds: int) -> Any:
        return films.cut(*(films.scene(seed, 6) for seed in seeds))

    made = {
        "a.mp4": films.encode(place / "a.mp4", scenes(11, 12, 13), sound=_noise(1, 18)),
        "copy.mkv": films.encode(place / "copy.mkv", scenes(11, 12, 13), crf=34, change=_letterbox),
        "shares.mp4": films.encode(place / "shares.mp4", scenes(21, 12, 22)),
        "sound.mp4": films.encode(place / "sound.mp4", scenes(31, 32, 33), sound=_noise(1, 18)),
        "mirror.mp4": films.encode(place / "mirror.mp4", scenes(11, 12, 13), change=np.fliplr),
        "other.mp4": films.encode(place / "other.mp4", scenes(41, 42, 43), sound=_noise(2, 18)),
    }
    create(root, {name: path.read_bytes() for name, path in made.items()}, source__columns={"id": None})
    return build(root)


def _letterbox(picture: films.Picture) -> films.Picture:
    return np.pad(picture, ((16, 16), (0, 0)))


def test_a_copy_goes_and_a_mirror_stays(built: Path) -> None:
    """Re-encoded between black bars it is the same film; what shares a scene or the sound, or is mirrored, is not."""
    rows = decisions(built)
    assert kept(built) == {"a.mp4", "shares.mp4", "sound.mp4", "mirror.mp4", "other.mp4"}
    gone = rows["copy.mkv"]
    assert (gone["representative"], gone["method"]) == ("a.mp4", "frames")
    assert gone["evidence"].startswith("video.frames=0.9")


def test_a_scene_that_two_videos_share_is_found_where_it_is(built: Path) -> None:
    """From six seconds on, for six seconds, in both; nothing of the others."""
    rows = pq.read_table(built / "build/dedup/repeated.parquet").to_pylist()
    of_pictures = [row for row in rows if row["kind"] == "video"]
    assert {frozenset((row["left"], row["right"])) for row in of_pictures} == {frozenset({"a.mp4", "shares.mp4"})}
    (span,) = _seconds(of_pictures, "a.mp4", "shares.mp4")
    assert np.abs(np.array(span) - (6, 12, 6, 12)).max() <= 0.5


def test_one_sound_in_several_videos_is_found(built: Path) -> None:
    """From end to end."""
    rows = pq.read_table(built / "build/dedup/repeated.parquet").to_pylist()
    of_sound = [row for row in rows if row["kind"] == "video_sound"]
    assert {frozenset((row["left"], row["right"])) for row in of_sound} == {frozenset({"a.mp4", "sound.mp4"})}
    span = max(_seconds(of_sound, "a.mp4", "sound.mp4"), key=lambda s: s[1] - s[0])
    assert span[1] - span[0] >= 16
    assert abs(span[0] - span[2]) <= 0.1


def test_a_rule_can_name_the_sound(built: Path, tmp_path: Path) -> None:
    """What sounds alike goes, and what looks alike where it has no sound stays."""
    root = create(
        tmp_path,
        {path.name: path.read_bytes() for path in (built / "data/raw").iterdir()},
        source__columns={"id": None},
        dedup__rules=[{"video.sound": 0.9}],
    )
    build(root)
    (gone,) = {"a.mp4", "sound.mp4"} - kept(root)
    assert len(kept(root)) == 5
    assert decisions(root)[gone]["method"] == "sound"
    assert decisions(root)[gone]["evidence"].startswith(("video.sound=0.9", "video.sound=1"))


def test_a_later_version_is_matched_with_the_base(clip: Path, built: Path, tmp_path: Path) -> None:
    """A copy that comes in the next version goes for the video of the version before."""
    root = create(tmp_path / "p", {"a.mp4": clip.read_bytes()}, source__columns={"id": None})
    build(root)
    advance(root)
    copy = films.encode(tmp_path / "copy.mkv", films.cut(films.scene(1, 3), films.scene(2, 3)), crf=30)
    reopen(root, {"a.mp4": clip.read_bytes(), "b.mkv": copy.read_bytes()}, "v2", source__columns={"id": None})
    build(root)
    assert decisions(root)["b.mkv"]["representative"] == "a.mp4"
