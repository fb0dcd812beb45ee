"""Sounds: what is found of known copies and of snippets in longer files, by dedupver, by Chromaprint, and by digests.

    python -m benchmarks.kinds.audio

Asterisk's English prompts (Debian: asterisk-core-sounds-en-wav, -gsm, -g722) are 568 recordings in three codecs each, half
of them shorter than 1.4 s; beside them stand the five pieces of asterisk-moh-opsound-wav, and edited copies of all music
and of some prompts. Two files are a true pair where they are of one recording; recordings
that correlate at .999 and more are one (two have two names each).
Snippets of the music, 5 s each, lie at known places in two files each, between French prompts that are nowhere else.

Chromaprint is what `fpcalc -raw` prints (Debian: libchromaprint-tools, if it is installed), compared in the two ways that
are usual: by the bits that agree at the best offset, out of the longer; and as pyacoustid does, by the codes that differ in
at most 2 bits, out of the shorter. What is shorter than 2.6 s has no print, so the last table is of those that have one,
as has their original. `md5` is of decoded samples.
"""

from __future__ import annotations

import collections
import io
import itertools
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import readme
from benchmarks.bench import machine
from benchmarks.kinds import chromaprint
from benchmarks.kinds import results as runs
from benchmarks.project import lay_out
from benchmarks.tasks import Source
from dedupver import pipeline
from dedupver.digests import numbered
from dedupver.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Samples = npt.NDArray[np.int16]
Pair = tuple[str, str]

WORK: Final = Path(__file__).parent.parent / ".work"
RESULTS: Final = Path(__file__).parent.parent / "results" / "kinds"
PACKAGES: Final = (
    *("asterisk-core-sounds-en-wav", "asterisk-core-sounds-en-gsm", "asterisk-core-sounds-en-g722"),
    *("asterisk-core-sounds-fr-wav", "asterisk-moh-opsound-wav"),
)
RATE: Final = 8000
EDITED: Final = 120  # prompts that have edited copies
SNIPPETS: Final = 40
SNIPPET: Final = 5  # seconds
FLOOR: Final = 0.7
THRESHOLDS: Final = (0.7, 0.75, 0.8, 0.85, 0.9)
WAYS: Final = {"errors": THRESHOLDS, "codes": (0.3, 0.4, 0.5, 0.6, 0.7)}


def main() -> None:
    """Make the files, run, and write the results."""
    data, truth, placed = prepare()
    results: dict[str, Any] = {"machine": machine(), "files": len(truth), "snippets": len(placed) // 2}
    results["made"] = dict(collections.Counter(made for _, made in truth.values()))
    told, scores = ours(data, truth, placed)
    results |= told
    results["peers"] = {"md5 of samples": by_samples(truth)}
    if shutil.which("fpcalc"):
        found = chromaprint.compared([data / name for name in truth])
        long = _printed(truth, set(found["printed"]))
        results["printed"] = {"of": len(found["printed"]), "files": len(long), "seconds": found["seconds"]}
        results["long"] = {"dedupver": _counted(scores, long)}
        for way, levels in WAYS.items():
            results["peers"][f"chromaprint, {way}"] = _counted(found["scores"][way], truth, levels)
            results["long"][f"chromaprint, {way}"] = _counted(found["scores"][way], long, levels)
    runs.write(RESULTS, "audio", results, markdown(results))
    sys.stdout.write(markdown(results))


# the data


def prepare() -> tuple[Path, dict[str, tuple[str, str]], dict[str, tuple[int, int, int]]]:
    """Return the folder, of each file its family and what was made of it, and of each mixed file a snippet's place."""
    place = WORK / "audio"
    if not (place / "truth.json").exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "data").mkdir(parents=True)
        truth = dict(_make(place / "data", _unpacked()))
        placed = dict(_mixed(place / "data", _unpacked()))
        (place / "truth.json").write_text(json.dumps([truth, placed]), encoding="utf-8")
    truth, placed = json.loads((place / "truth.json").read_text())
    return place / "data", {name: tuple(said) for name, said in truth.items()}, placed


def _unpacked() -> Path:
    place = WORK / "unpacked" / "asterisk"
    if not place.exists():
        place.mkdir(parents=True)
        for package in PACKAGES:
            archive = Source(package, ("apt-get", "-q", "download")).fetch(WORK)
            subprocess.run(["dpkg-deb", "-x", str(archive), str(place)], check=True)
    return place / "usr/share/asterisk"


def _make(data: Path, source: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    voices = source / "sounds/en_US_f_Allison"
    prompts = sorted(p.relative_to(voices).with_suffix("") for p in voices.rglob("*.wav") if p.parent.name != "silence")
    families: dict[int, list[tuple[str, Samples]]] = collections.defaultdict(list)
    chosen = set(random.Random(0).sample(prompts, EDITED))  # noqa: S311 - a fixed choice
    for prompt in prompts:
        stem, wav = "-".join(prompt.parts), voices / prompt.with_suffix(".wav")
        samples = _samples(wav)
        family = next((name for name, s in families[len(samples)] if np.corrcoef(s, samples)[0, 1] >= 0.999), stem)
        families[len(samples)].append((family, samples))
        for suffix in (".wav", ".gsm", ".g722"):
            if (voices / prompt.with_suffix(suffix)).exists():
                shutil.copyfile(voices / prompt.with_suffix(suffix), data / f"{stem}{suffix}")
                yield f"{stem}{suffix}", (family, "original" if suffix == ".wav" else suffix[1:])
        if prompt in chosen:
            yield from _edited(data, stem, family, samples)
    for wav in sorted((source / "moh").glob("*.wav")):
        shutil.copyfile(wav, data / wav.name)
        yield wav.name, (wav.stem, "original")
        yield from _edited(data, wav.stem, wav.stem, _samples(wav))


def _noisy(decibels: float) -> Callable[[Samples], Samples]:
    def edit(samples: Samples) -> Samples:
        deviation = np.sqrt(np.mean(samples.astype(float) ** 2) / 10 ** (decibels / 10))
        return _clipped(samples + np.random.default_rng(len(samples)).normal(size=len(samples)) * deviation)

    return edit


def _faster(by: float) -> Callable[[Samples], Samples]:
    return lambda samples: _clipped(np.interp(np.arange(0, len(samples) - 1, by), np.arange(len(samples)), samples))


def _clipped(samples: npt.NDArray[Any]) -> Samples:
    return np.clip(np.rint(samples), -(2**15), 2**15 - 1).astype(np.int16)


EDITS: Final[dict[str, tuple[str, Callable[[Samples], Samples]]]] = {
    "mp3 64k": ("mp3", lambda s: s),
    "opus 24k": ("ogg", lambda s: s),
    "gain -12 dB": ("wav", lambda s: _clipped(s / 4)),
    "noise 30 dB": ("wav", _noisy(30)),
    "noise 20 dB": ("wav", _noisy(20)),
    "noise 10 dB": ("wav", _noisy(10)),
    "first tenth cut": ("wav", lambda s: s[len(s) // 10 :]),
    "padded 2 x 0.5 s": ("wav", lambda s: np.pad(s, RATE // 2)),
    "1 % faster": ("wav", _faster(1.01)),
    "3 % faster": ("wav", _faster(1.03)),
}
ENCODERS: Final = {
    "mp3": ("mp3", "libmp3lame", 64_000),
    "ogg": ("ogg", "libopus", 24_000),
    "wav": ("wav", "pcm_s16le", 0),
}


def _edited(data: Path, stem: str, family: str, samples: Samples) -> Iterator[tuple[str, tuple[str, str]]]:
    for made, (suffix, edit) in EDITS.items():
        name = f"{stem}~{made.replace(' ', '_')}.{suffix}"
        (data / name).write_bytes(_encoded(edit(samples), suffix))
        yield name, (family, made)


def _mixed(data: Path, source: Path) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield files of a French prompt, a snippet, a prompt; each snippet is in two. With its number, from and to (ms)."""
    draw = random.Random(1)  # noqa: S311 - a fixed choice
    music = [_samples(p) for p in sorted((source / "moh").glob("*.wav"))]
    around = [s for p in sorted((source / "sounds/fr_CA_f_June").glob("*.wav")) if len(s := _samples(p)) > 2 * RATE]
    draw.shuffle(around)
    fillers = iter(around)
    for number in range(SNIPPETS):
        piece = music[number % len(music)]
        start = (number // len(music)) * SNIPPET * RATE + RATE  # no two overlap
        snippet = piece[start : start + SNIPPET * RATE]
        for copy in "ab":
            before, after = next(fillers), next(fillers)
            name = f"mixed-{number:02}-{copy}.{'mp3' if copy == 'a' else 'ogg'}"
            whole = np.concatenate([before, snippet, after])
            (data / name).write_bytes(_encoded(whole, name[-3:]))
            begin = round(1000 * len(before) / RATE)
            yield name, (number, begin, begin + 1000 * SNIPPET)


def _samples(path: Path) -> Samples:
    with av.open(str(path)) as file:
        down = av.AudioResampler("s16", "mono", RATE)
        frames = [f for frame in [*file.decode(audio=0), None] for f in down.resample(frame)]
    return np.concatenate([np.ravel(frame.to_ndarray()) for frame in frames])


def _encoded(samples: Samples, suffix: str) -> bytes:
    container, codec, rate = ENCODERS[suffix]
    out: Any = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        options = {"b": str(rate)} if rate else {}
        stream: Any = file.add_stream(codec, rate=RATE if suffix != "ogg" else 48_000, layout="mono", options=options)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        context = stream.codec_context
        fit: Any = av.AudioResampler(context.format, "mono", context.sample_rate, context.frame_size or 1024)
        for part in [*fit.resample(frame), *fit.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return out.getvalue()


# what is found


def ours(
    data: Path, truth: dict[str, tuple[str, str]], placed: dict[str, Any]
) -> tuple[dict[str, Any], dict[Pair, float]]:
    """Run dedupver with a low floor, and count at every threshold; also the scores."""
    root = WORK / "audio" / "project"
    shutil.rmtree(root, ignore_errors=True)
    given = {"match.floor.audio": FLOOR, "source.columns.id": None, "engine.workers": 2}
    lay_out(root, sorted(data.iterdir()), given)
    seconds = {}
    for stage in pipeline.DECIDING:
        started = time.monotonic()
        pipeline.run(stage, root)
        seconds[stage] = round(time.monotonic() - started, 1)
    decisions = Project(root).decided().live()
    names = decisions["id"].to_pylist()
    digests, content = numbered(decisions["parts"], ["audio"])
    by_digest = {bytes(d): n for n, d in enumerate(digests)}
    holders = collections.defaultdict(list)
    for name, number in zip(names, content[:, 0].tolist(), strict=True):
        holders[number].append(name)
    segment = root / "index/segments/v1"
    scores = {pair: 1.0 for held in holders.values() for pair in itertools.combinations(held, 2)}
    for row in pq.read_table(segment / "matches.parquet").to_pylist():
        for a, b in itertools.product(*(holders[by_digest[row[end]]] for end in ("left", "right"))):
            scores[a, b] = row["score"]
    metrics = json.loads((root / "metrics/match.json").read_text())
    spans = _spans(pq.read_table(segment / "spans.parquet"), by_digest, holders, placed)
    told = {
        "seconds": seconds,
        "index_bytes": sum(p.stat().st_size for p in segment.rglob("*") if p.is_file()),
        "hours": round(pc.sum(decisions["millis"]).as_py() / 3.6e6, 3),
        "quarantined": dict(collections.Counter(decisions["code"].drop_null().to_pylist())),
        "found": _counted(scores, truth),
        "recall_of_search": metrics["recall"]["audio"],
        "recall_of_spans": metrics["span_recall"]["audio"],
        "decisions": _decided(decisions, truth),
        "spans": spans,
    }
    return told, scores


def _counted(
    scores: dict[Pair, float], truth: dict[str, tuple[str, str]], levels: tuple[float, ...] = THRESHOLDS
) -> dict[str, Any]:
    """Count at each threshold the edits whose original is found, the pairs that are false, and precision."""
    best: dict[str, float] = collections.defaultdict(float)
    true, false = [], []
    for (a, b), score in scores.items():
        if a in truth and b in truth:
            (true if truth[a][0] == truth[b][0] else false).append(score)
            for one, other in ((a, b), (b, a)):
                if truth[other] == (truth[one][0], "original"):
                    best[one] = max(best[one], score)
    made = collections.defaultdict(list)
    for name, (_, what) in truth.items():
        if what != "original":
            made[what].append(best[name])
    table = {}
    for threshold in levels:
        right, wrong = (sum(score >= threshold for score in found) for found in (true, false))
        recall = {what: round(float(np.mean(np.array(found) >= threshold)), 4) for what, found in made.items()}
        table[str(threshold)] = {"recall": recall, "true": right, "false": wrong}
    return table


def _decided(decisions: Any, truth: dict[str, tuple[str, str]]) -> dict[str, int]:
    """Count the dropped, those that went for another recording, and recordings of which nothing stays."""
    rows = [row for row in decisions.select(["id", "action", "representative"]).to_pylist() if row["id"] in truth]
    family = {name: said[0] for name, said in truth.items()}
    dropped = [row for row in rows if row["action"] == "drop"]
    kept = {family[row["id"]] for row in rows if row["action"] == "keep"}
    lost = {family[row["id"]] for row in dropped} - kept
    wrong = [row for row in dropped if family[row["id"]] != family.get(row["representative"])]
    return {"dropped": len(dropped), "for another recording": len(wrong), "recordings lost": len(lost)}


def _spans(table: Any, by_digest: dict[bytes, int], holders: Any, placed: dict[str, Any]) -> dict[str, Any]:
    """Compare the spans between mixed files with the places of their snippets."""
    found: dict[int, int] = {}
    errors: list[float] = []
    wrong = 0  # most of it true as well: the music repeats itself
    for row in table.to_pylist():
        ends = [holders[by_digest[row[end]]][0] for end in ("left", "right")]
        if not all(name in placed for name in ends):
            continue
        (number, *left), (other, *right) = (placed[name] for name in ends)
        if number != other:
            wrong += 1
            continue
        stated = (row["left_start"], row["left_stop"], row["right_start"], row["right_stop"])
        off = [abs(a - b) for a, b in zip(stated, (*left, *right), strict=True)]
        if max(off) < 1000 * SNIPPET / 2:
            found[number] = found.get(number, 0) + 1
            errors += off
    at = {f"{p} %": round(float(np.percentile(errors, p))) for p in (50, 95, 100)} if errors else {}
    return {"found": len(found), "of": len(placed) // 2, "between others": wrong, "error_ms": at}


# the others


def by_samples(truth: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """What equal samples alone would find."""
    digests: dict[bytes, list[str]] = collections.defaultdict(list)
    data = WORK / "audio" / "data"
    for name in truth:
        if not name.endswith((".gsm", ".g722")):
            digests[_samples(data / name).tobytes()].append(name)
    return _counted({pair: 1.0 for held in digests.values() for pair in itertools.combinations(held, 2)}, truth)


def _printed(truth: dict[str, tuple[str, str]], printed: set[str]) -> dict[str, tuple[str, str]]:
    """Return the files that have a print, and whose original has one."""
    originals = {said[0] for name, said in truth.items() if said[1] == "original" and name in printed}
    return {name: said for name, said in truth.items() if name in printed and said[0] in originals}


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/audio.md."""
    long, files = results["long"], f"{results['printed']['files']:,} files"
    tools = [(f"≥ {level}", results["found"], level) for level in ("0.7", "0.8", "0.9")]
    tools += [(f"{files} ≥ 0.8", long["dedupver"], "0.8")]
    tools += [("Chromaprint, bits ≥ 0.8", long["chromaprint, errors"], "0.8")]
    tools += [("Chromaprint, codes ≥ 0.5", long["chromaprint, codes"], "0.5")]
    head = [name for name, _, _ in tools]
    rows = [
        [made, *(f"{found[level]['recall'][made]:.2f}" for _, found, level in tools)]
        for made in results["found"]["0.8"]["recall"]
    ]
    rows.append(["*false pairs*", *(f"{found[level]['false']:,}" for _, found, level in tools)])
    spans = results["spans"]
    told = (
        f"Of {spans['of']} snippets of {SNIPPET} s that lie in two files each, {spans['found']} are found in both, and half of "
        f"the edges are within {spans['error_ms']['50 %']} ms."
    )
    return {"audio": readme.table(("copy", *head), rows), "sounds spans": [told]}


def markdown(results: dict[str, Any]) -> str:
    """Return the page."""
    lines = [f"# Sounds: {results['files']:,} files, {results['hours']} hours; {results['machine']['processor']}", ""]
    tools = {"dedupver": results["found"], **results["peers"]}
    for name, found in results.get("long", {}).items():
        tools[f"{name}: {results['printed']['files']:,} files with a print"] = found
    for tool, found in tools.items():
        shown = list(found)[-1 if tool.startswith("md5") else 0 :]
        lines += [f"## {tool}", ""]
        lines += ["| recall of | " + " | ".join(f"≥ {t}" for t in shown) + " |", "|---" + "|---:" * len(shown) + "|"]
        lines += [
            f"| {what} | " + " | ".join(f"{found[t]['recall'][what]:.3f}" for t in shown) + " |"
            for what in found[shown[0]]["recall"]
        ]
        lines.append("| **true pairs** | " + " | ".join(f"{found[t]['true']:,}" for t in shown) + " |")
        lines.append("| **false pairs** | " + " | ".join(f"{found[t]['false']:,}" for t in shown) + " |")
        lines.append("")
    spans, decided = results["spans"], results["decisions"]
    error = ", ".join(f"{ms} ms ({share})" for share, ms in spans["error_ms"].items())
    told = [
        ("dropped at the default threshold", f"{decided['dropped']:,}"),
        ("dropped for another recording", decided["for another recording"]),
        ("recordings of which nothing stays", decided["recordings lost"]),
        (f"recall of the search at the floor of {FLOOR}, against brute force", results["recall_of_search"]),
        ("the same of spans", results["recall_of_spans"]),
        (f"snippets of {SNIPPET} s found in both files", f"{spans['found']} of {spans['of']}"),
        ("spans between files that share no snippet, but music that repeats itself", spans["between others"]),
        ("edges of spans are off by (share of them)", error),
        ("seconds of fingerprint, match, dedup", " + ".join(map(str, results["seconds"].values()))),
        ("MB of index for an hour", round(results["index_bytes"] / results["hours"] / 1e6, 1)),
    ]
    lines += ["| | |", "|---|---:|", *(f"| {what} | {value} |" for what, value in told)]
    lines += [
        "",
        *str(__doc__).strip().splitlines()[4:],
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
