"""Videos and sounds beside texts, on real ones: what a space without CLIP's or CLAP's weights retrieves, and what not.

    python -m benchmarks.kinds.joint_media

Clips of Python and Debian packages, each with a sentence that says what it shows, in a space that was aligned on emoji,
drawings and the stamps of Tux Paint with what was written of them; none of the clips was fitted. The score of a clip is
the best of its pictures', or their mean's. Sounds: the stamps' spoken names and the prompts of Asterisk, in the space of
the words that pocketsphinx hears; and the noises of the stamps' animals and things with the stamps' texts, by a ridge
regression of these on the sounds' spectra, cross-validated: what an aligned space of sounds would be. Downloads are kept
in benchmarks/.work.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import readme
from benchmarks.bench import tell
from benchmarks.kinds import captioned, joint, video_tasks
from benchmarks.kinds import results as runs
from benchmarks.tasks import Source
from dedupver import align, params
from dedupver.fingerprint import audio, video
from dedupver.fingerprint.encoders import open_encoder
from dedupver.fingerprint.encoders.spoken import RATE
from dedupver.project import Project
from dedupver.records.payload import Handle
from dedupver.schema import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

APT: Final = ("apt-get", "-q", "download")
STAMPS: Final = Source("tuxpaint-stamps-default", APT)
PROMPTS: Final = Source("asterisk-core-sounds-en-wav", APT)
FRAMES: Final = (1, 4, 8, 16)
EACH: Final = 8
"""Pictures of a video by default."""

TOP: Final = (1, 3, 10)
LONGEST: Final = 2_500  # milliseconds of a prompt: half are shorter
BANDS: Final = 64
RIDGE: Final = 100.0

WORDS: Final = {"best": "the best", "mean": "their mean"}

CAPTIONS: Final = {
    "display-dual-monitors.webm": "a computer desktop with a settings window for displays and monitors",
    "a.mp4": "a mathematical animation with a letter or curve drawn on a dark background",
    "world.mp4": "the planet earth seen from space at night with city lights",
    "cityCC0.mpg": "tall office buildings and skyscrapers of a city at night",
    "Megamind.avi": "a cartoon woman in a purple dress with a glass of wine in a restaurant",
    "box.mp4": "a hand holds a yellow cardboard box over a table",
    "cup.mp4": "a hand holds a black cup or flask",
    "tree.avi": "a green tree in front of a window",
    "vtest.avi": "people walk on a street and on the grass between buildings",
    "obama_speech.mp4": "the president in a suit gives a speech beside a flag",
    "park.mp4": "a green park with grass and trees under a blue sky",
    "shot_change.mp4": "a digital alarm clock shows the time",
    "small.mp4": "a robot made of orange lego toy bricks",
    "Bullseye_grey.mov": "black and white circles, the bull's eye of a target",
    "jwpIntro.mp4": "a man with a beard talks in front of book shelves",
    "bigbuckbunny.mp4": "a cartoon rabbit in its burrow on a green meadow",
    "bikes.mp4": "bicycles and a car on a road seen from above",
    "carphone_pristine.mp4": "a man in a suit with a bow tie sits in a car",
}
"""What clips show, of those that are no copies of each other: written for this benchmark, before it was run."""


def main() -> None:
    """Parse and run."""
    asked = runs.parser(__doc__).parse_args()
    (asked.work / "joint").mkdir(parents=True, exist_ok=True)
    encoders = {m: joint.Memory(spec, m, asked.work / "joint" / f"{m}.npz") for m, spec in joint.SPECS.items()}
    stamps = unpacked(asked.work, STAMPS) / "usr/share/tuxpaint/stamps"
    results: dict[str, Any] = {**runs.begun(), "encoders": joint.SPECS, "sounds": "pocketsphinx"}
    results["videos"] = videos(asked.work, stamps, encoders)
    tell(f"videos: {results['videos']}")
    results["spoken"] = {"stamps": spoken(named(stamps, "_desc")), "prompts": spoken(prompts(asked.work))}
    tell(f"spoken: {results['spoken']}")
    results["noises"] = regressed(list(named(stamps, "")))
    tell(f"noises: {results['noises']}")
    runs.write(asked.out, "joint_media", results, markdown(results), in_order=False)


def unpacked(work: Path, source: Source) -> Path:
    """Return where a Debian package is unpacked."""
    place = work / "unpacked" / source.package
    if not place.exists():
        building = place.with_name(f".{place.name}")
        subprocess.run(["dpkg-deb", "-x", str(source.fetch(work)), str(building)], check=True, stdout=sys.stderr)
        building.rename(place)
    return place


def told(path: Path) -> str:
    """Return what is written of a stamp, in English."""
    return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()


def videos(work: Path, stamps: Path, encoders: dict[str, joint.Memory]) -> dict[str, Any]:
    """Align, and compare every clip with every caption, by so many pictures of each."""
    drawn = [
        captioned.Pair("stamps", path.with_suffix(".png"), told(path))
        for path in sorted(stamps.rglob("*.txt"))
        if path.with_suffix(".png").exists()
    ]
    pairs = [*captioned.drawings(work), *captioned.emoji(work), *drawn]
    read = align.read(Project(joint.project(work / "joint" / "media", pairs)), encoders, joint.MOST)
    made, about = align.best(read)
    encoders["image"].save()
    encoders["text"].save()
    sees, reads = (open_encoder(spec, m) for m, spec in joint.SPECS.items())
    texts = made.of_texts(reads.encode(list(CAPTIONS.values())).astype(np.float64))
    found: dict[str, Any] = {"pairs": about["pairs"], "recall": about["recall"], "clips": len(CAPTIONS)}
    clips = dict(video_tasks.packaged(work / "downloads" / "video"))
    for count in FRAMES:
        shown = [made.of_images(_seen(clips[name], count, sees)) for name in CAPTIONS]
        best = np.stack([(each @ texts.T).max(axis=0) for each in shown])
        mean = np.stack([each.mean(axis=0) / np.linalg.norm(each.mean(axis=0)) @ texts.T for each in shown])
        found[str(count)] = {"best": retrieved(best), "mean": retrieved(mean)}
        if 2 * count == EACH:
            found["joined"] = joined(shown, texts)
    return found


def joined(shown: list[Matrix], texts: Matrix) -> dict[str, float]:
    """Return how often a caption of one of two clips that are joined fits better than another clip's, for all pairs.

    Of each clip the joined one has half of its pictures.
    """
    wins: dict[str, list[float]] = {"best": [], "mean": []}
    for a, b in itertools.combinations(range(len(shown)), 2):
        both = np.concatenate([shown[a], shown[b]])
        middle = both.mean(axis=0)
        for how, scores in (
            ("best", (both @ texts.T).max(axis=0)),
            ("mean", middle / np.linalg.norm(middle) @ texts.T),
        ):
            others = np.delete(scores, [a, b])
            wins[how] += [float((scores[own] > others).mean()) for own in (a, b)]
    return {how: round(float(np.mean(each)), 4) for how, each in wins.items()}


def _seen(data: bytes, count: int, sees: Any) -> Matrix:
    film = video.watch(Handle(None, data, len(data), b""), params.Video(sound=False), count)
    vectors: Matrix = sees.encode([frame.data for frame in film.frames]).astype(np.float64)
    return vectors


def retrieved(scores: Matrix, true: npt.NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Return the share of rows whose own column is among the best k, and how often an own one beats another's.

    `true` is the column of each row, by default that of its number.
    """
    rows, columns = np.arange(len(scores)), np.arange(len(scores)) if true is None else true
    own = scores[rows, columns][:, None]
    others = np.ones(scores.shape, np.bool_)
    others[rows, columns] = False
    ranks = ((scores > own) + 0.5 * ((scores == own) & others)).sum(axis=1)
    wins = np.where(others, (own > scores) + 0.5 * (own == scores), 0).sum() / others.sum()
    width = scores.shape[1]
    return {
        "recall": {str(k): round(float((ranks < k).mean()), 4) for k in TOP},
        "chance": {str(k): round(min(k / width, 1), 4) for k in TOP},
        "own_above_other": round(float(wins), 4),
        "of": width,
    }


def named(stamps: Path, suffix: str) -> Iterator[tuple[npt.NDArray[np.int16], str]]:
    """Yield the sounds of stamps and what is written of these: spoken names end in `_desc`, noises in nothing."""
    for path in sorted(stamps.rglob("*.txt")):
        sound = next((p for s in (".ogg", ".wav") if (p := path.with_name(f"{path.stem}{suffix}{s}")).exists()), None)
        if sound is not None and (samples := _samples(sound)) is not None:
            yield samples, told(path)


def prompts(work: Path) -> Iterator[tuple[npt.NDArray[np.int16], str]]:
    """Yield the shorter prompts of Asterisk and the words that their files are called by, which are not all they say."""
    folder = unpacked(work, PROMPTS) / "usr/share/asterisk/sounds/en_US_f_Allison"
    for path in sorted(folder.glob("*.wav")):
        samples = _samples(path)
        if samples is not None and len(samples) <= LONGEST * RATE // 1000:
            yield samples, " ".join(re.findall(r"[a-z]+|\d+", path.stem.removeprefix("vm-")))


def _samples(path: Path) -> npt.NDArray[np.int16] | None:
    """Return what a sound's encoder is given of it first; None where the sound can't be read."""
    try:
        asked = audio.asked(path.read_bytes(), audio.Asked(path.suffix, 600, 1, RATE))
        moments = audio.replied(audio.answer(asked)).moments
    except Unreadable:
        return None
    return moments[0].data if moments else None


def spoken(pairs: Any) -> dict[str, Any]:
    """Look each sound's text up by the words that are heard in it, among the distinct texts."""
    sounds, texts = zip(*pairs, strict=True)
    hears, reads = (open_encoder("pocketsphinx", side) for side in ("audio", "text"))
    distinct = sorted(set(texts))
    scores = np.nan_to_num(hears.encode(list(sounds)).astype(np.float64)) @ reads.encode(distinct).T
    return retrieved(scores, np.array([distinct.index(text) for text in texts])) | {"sounds": len(sounds)}


def regressed(pairs: list[tuple[npt.NDArray[np.int16], str]]) -> dict[str, Any]:
    """Fit texts' vectors on sounds' spectra, of nine tenths of the texts, and look the others up; the mean of the ten."""
    texts = np.array([text for _, text in pairs])
    spectra = np.stack([spectrum(samples) for samples, _ in pairs])
    vectors = open_encoder(joint.SPECS["text"], "text").encode(texts.tolist()).astype(np.float64)
    tenth = np.array([hashlib.sha256(text.encode()).digest()[0] % 10 for text in texts])
    folds = []
    for held in range(10):
        seen, asked = tenth != held, tenth == held
        x, y = spectra[seen], vectors[seen] - vectors[seen].mean(axis=0)
        scale = x.std(axis=0) + 1e-9
        x, probe = (x - x.mean(axis=0)) / scale, (spectra[asked] - x.mean(axis=0)) / scale
        matrix = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)
        distinct, first, true = np.unique(texts[asked], return_index=True, return_inverse=True)
        there = vectors[asked][first] - vectors[seen].mean(axis=0)
        folds.append(retrieved(_unit(probe @ matrix) @ _unit(there).T, true) | {"texts": len(distinct)})
    mean: dict[str, Any] = {
        each: {str(k): round(float(np.mean([fold[each][str(k)] for fold in folds])), 4) for k in TOP}
        for each in ("recall", "chance")
    }
    beaten = round(float(np.mean([fold["own_above_other"] for fold in folds])), 4)
    return {**mean, "own_above_other": beaten, "of": [fold["texts"] for fold in folds], "sounds": len(pairs)}


def _unit(rows: Matrix) -> Matrix:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def spectrum(samples: npt.NDArray[np.int16]) -> Matrix:
    """Return means, spreads, changes and peaks of the logarithms of the energy in BANDS mel bands."""
    sound = np.pad(samples / 32768, (0, max(0, 1024 - len(samples))))
    windows = np.lib.stride_tricks.sliding_window_view(sound, 512)[::256] * np.hanning(512)
    energy = np.log(np.abs(np.fft.rfft(windows, axis=1)) ** 2 @ _mel().T + 1e-8)
    change = np.diff(energy, axis=0)
    return np.concatenate([energy.mean(0), energy.std(0), change.std(0), np.percentile(energy, 90, axis=0)])


@functools.cache
def _mel() -> Matrix:
    """Return triangles over the bins of a window of 512 samples."""
    mel = 2595 * np.log10(1 + np.linspace(0, RATE / 2, 257) / 700)
    edges = np.linspace(mel[2], mel[-1], BANDS + 2)
    rising = (mel - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - mel) / (edges[2:] - edges[1:-1])[:, None]
    return np.clip(np.minimum(rising, falling), 0, None)


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/joint_media.md."""
    head = ("", "of", *(f"{what}@{k}" for k in TOP for what in ("recall", "chance")), "own above another's")
    shown = [
        _row(f"{count} picture{'s' * (count > 1)}, {words}", results["videos"][str(count)][how])
        for count in FRAMES
        for how, words in WORDS.items()
    ]
    heard = [
        _row(f"{results['spoken']['stamps']['sounds']} spoken names of stamps", results["spoken"]["stamps"]),
        _row(f"{results['spoken']['prompts']['sounds']} prompts, by their files' names", results["spoken"]["prompts"]),
        _row(f"{results['noises']['sounds']} noises, by a ridge on their spectra", results["noises"]),
    ]
    both = [[words, f"{results['videos']['joined'][how]:.3f}"] for how, words in WORDS.items()]
    return {
        "videos": readme.table(head, shown),
        "joined": readme.table((f"two clips joined, {EACH} pictures", "own above another's"), both),
        "sounds": readme.table(head, heard),
    }


def _row(name: str, found: dict[str, Any]) -> list[str]:
    of = found["of"]
    among = f"{of:,}" if isinstance(of, int) else f"{min(of)} to {max(of)}"
    shares = (f"{found[what][str(k)]:.3f}" for k in TOP for what in ("recall", "chance"))
    return [name, among, *shares, f"{found['own_above_other']:.3f}"]


def markdown(results: dict[str, Any]) -> str:
    """Return the page."""
    made, shown = tables(results), results["videos"]
    about = (
        f"{results['machine']['processor']}; {results['date']}. {joint.SPECS['image']} to {joint.SPECS['text']}, aligned on "
        f"{shown['pairs']:,} pairs; {shown['clips']} clips and a caption each, none of them fitted."
    )
    lines = [
        "# Videos and sounds beside texts",
        "",
        about,
        "",
        *made["videos"],
        "",
        *made["joined"],
        "",
        "Sounds and their texts: the words that pocketsphinx hears, and a regression on spectra, cross-validated.",
        "",
        *made["sounds"],
    ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
