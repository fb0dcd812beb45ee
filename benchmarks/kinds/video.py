"""What the kind `video` finds: recall by change, precision, spans, and a peer, on clips from packages.

    python -m benchmarks.kinds.video
    python -m benchmarks.kinds.video --peer       the peer alone, beside the results that are there

Downloads, copies and environments are kept in benchmarks/.work; results go to benchmarks/results/kinds.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from benchmarks import project, readme
from benchmarks.bench import HERE, tell
from benchmarks.kinds import results as runs
from benchmarks.kinds import video_tasks
from benchmarks.tools import Tool, environment
from dedupver import pipeline
from dedupver.params import Thresholds

Pair = tuple[str, str]
Scores = dict[Pair, float]
LEVELS: Final = (0.75, 0.8, 0.85, 0.9, 0.95)
SLIP: Final = 0.5  # seconds by which a span may be beside its place
FLOOR: Final = 0.65
PEER: Final = Tool("videohash", "videohash")


def main() -> None:
    """Parse and run."""
    parser = runs.parser(__doc__)
    parser.add_argument("--peer", action="store_true", help="run the peer alone")
    asked = parser.parse_args()
    videos = video_tasks.prepare(asked.work)
    results = json.loads((asked.out / "video.json").read_text()) if asked.peer else ours(videos, asked.work)
    results["peer"] = {"videohash 3.0.1": judged(videos, *peer(videos, asked.work))}
    runs.write(asked.out, "video", results, table(results))
    tell(table(results))


def ours(videos: video_tasks.Videos, work: Path) -> dict[str, Any]:
    """Run dedupver, and judge what it finds."""
    root = work / "video" / "project"
    shutil.rmtree(root, ignore_errors=True)
    project.lay_out(root, [videos.place / name for name in videos.family], {"source.columns.id": None})
    for stage in ("fingerprint", "match"):
        pipeline.run(stage, root)
    scores, level = _scores(root), Thresholds().video
    return {
        **runs.begun(),
        "videos": {made: list(videos.made.values()).count(made) for made in dict.fromkeys(videos.made.values())},
        "minutes": round(sum(videos.seconds.values()) / 60, 1),
        "threshold": level,
        "dedupver": {f"{at:.2f}": judged(videos, {p for p, s in scores.items() if s >= at}) for at in LEVELS},
        "scores": spread(videos, scores),
        "spans": spans(videos, root),
        "recall": pipeline.store.read_json(root / "metrics/match.json")["recall"].get("video"),
    }


def _names(root: Path) -> dict[bytes, list[str]]:
    """Return the files of each content."""
    names = defaultdict(list)
    for row in pq.read_table(root / "build/fingerprint/records.parquet").to_pylist():
        for part in row["parts"]:
            names[part["content"]].append(row["id"])
    return names


def _scores(root: Path) -> Scores:
    """Return the score of each pair of files that was found."""
    names = _names(root)
    found = {}
    for row in pq.read_table(root / "index/segments/v1/matches.parquet").to_pylist():
        if row["kind"] == "video":
            for pair in itertools.product(names[row["left"]], names[row["right"]]):
                found[_pair(*pair)] = row["score"]
    return found


def _pair(a: str, b: str) -> Pair:
    return min(a, b), max(a, b)


def judged(videos: video_tasks.Videos, found: set[Pair], unread: int = 0) -> dict[str, Any]:
    """Return which share of the copies is found to be one of its clip, by change; and what else was found."""
    recall, counts = defaultdict(int), defaultdict(int)
    for name, made in videos.made.items():
        clip = videos.family[name] if made != "faster" else "Megamind.avi"
        if made not in {"clip", "part", "splice"} and clip not in video_tasks.SILENT:
            counts[made] += 1
            recall[made] += _pair(name, clip) in found
    wrong = defaultdict(int)
    for a, b in found:
        if videos.family[a] != videos.family[b]:
            wrong[_wrong(videos, a, b)] += 1
    false = sum(n for case, n in wrong.items() if case in {"unrelated", "parts of one clip"})
    true = sum(videos.family[a] == videos.family[b] for a, b in found)
    return {
        "recall": {made: round(recall[made] / counts[made], 3) for made in counts},
        "other pairs": dict(sorted(wrong.items())),
        "precision": round(true / max(true + false, 1), 4),
        "unread": unread,
    }


def _wrong(videos: video_tasks.Videos, a: str, b: str) -> str:
    """Say what two videos of different families have to do with each other."""
    clips = {videos.family[x].partition(" part ")[0] for x in (a, b)}
    if {videos.made[a], videos.made[b]} == {"part"} and len(clips) == 1:
        return "parts of one clip"
    if "part" in {videos.made[a], videos.made[b]} and len(clips) == 1:
        return "a part and the whole"
    if "splice" in {videos.made[a], videos.made[b]}:
        return "spliced"
    return "a faster copy" if "faster" in {videos.made[a], videos.made[b]} else "unrelated"


def spread(videos: video_tasks.Videos, scores: Scores) -> dict[str, Any]:
    """Return the lowest and the median score by change, and the highest between what is unrelated."""
    by = defaultdict(list)
    for name, made in videos.made.items():
        if made not in {"clip", "part", "splice", "faster"} and videos.family[name] not in video_tasks.SILENT:
            by[made].append(scores.get(_pair(name, videos.family[name]), 0.0))
    apart = defaultdict(float)
    for (a, b), score in scores.items():
        if videos.family[a] != videos.family[b]:
            case = _wrong(videos, a, b)
            apart[case] = max(apart[case], score)
    each = {m: {"lowest": round(min(s), 3), "median": round(sorted(s)[len(s) // 2], 3)} for m, s in by.items()}
    return {"copies": each, "highest": {case: round(score, 3) for case, score in sorted(apart.items())}}


def spans(videos: video_tasks.Videos, root: Path) -> dict[str, Any]:
    """Return how many of the spliced segments are among the spans, how far off; and spans of what is unrelated."""
    names, found = _names(root), defaultdict(list)
    for row in pq.read_table(root / "index/segments/v1/spans.parquet").to_pylist():
        if row["kind"] == "video":
            left = (row["left_start"], row["left_stop"])
            right = (row["right_start"], row["right_stop"])
            for a, b in itertools.product(names[row["left"]], names[row["right"]]):
                found[a, b].append((left, right))
                found[b, a].append((right, left))
    hits, slips = 0, []
    for pair, (at, begin, length) in videos.splices.items():
        offset = at - begin
        slip = [abs((s[0] - c[0]) / 1000 - offset) for s, c in found[pair] if _overlaps(s, at, length)]
        if slip and min(slip) <= SLIP:
            hits += 1
            slips.append(min(slip))
    free = {_pair(a, b) for a, b in found if _wrong_span(videos, a, b)}
    return {
        "segments": len(videos.splices),
        "found": hits,
        "seconds off at most": round(max(slips, default=0), 2),
        "pairs of unrelated videos with a span": len(free),
        "examples": sorted(free)[:8],
    }


def _overlaps(span: tuple[int, int], at: float, length: float) -> bool:
    return min(span[1] / 1000, at + length) - max(span[0] / 1000, at) >= length / 2


def _wrong_span(videos: video_tasks.Videos, a: str, b: str) -> bool:
    plain = all(videos.made[x] not in {"splice", "faster"} for x in (a, b))
    a, b = (videos.family[x].partition(" part ")[0] for x in (a, b))
    return plain and video_tasks.EXCERPTS.get(a, a) != video_tasks.EXCERPTS.get(b, b)


def peer(videos: video_tasks.Videos, work: Path) -> tuple[set[Pair], int]:
    """Return the pairs of which videohash says that they are similar, and of how many videos it makes no hash."""
    python, script = environment(PEER, work), HERE / "peers/videohash.py"
    files = [str(videos.place / name) for name in videos.family]
    told = subprocess.run([str(python), "-P", str(script), *files], check=True, capture_output=True, text=True).stdout
    said = json.loads(told.splitlines()[-1])
    return {_pair(Path(a).name, Path(b).name) for a, b in said["pairs"]}, len(files) - said["hashed"]


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    tools = {f"dedupver at {at}": found for at, found in results["dedupver"].items()} | results["peer"]
    lines = ["| change | " + " | ".join(tools) + " | lowest score | median |", "|---|" + "---:|" * (len(tools) + 2)]
    for made in next(iter(tools.values()))["recall"]:
        of = results["scores"]["copies"].get(made, {"lowest": "", "median": ""})
        cells = [f"{found['recall'][made]:.2f}" for found in tools.values()]
        lines.append(f"| {made} | " + " | ".join([*cells, str(of["lowest"]), str(of["median"])]) + " |")
    cases = sorted({case for found in tools.values() for case in found["other pairs"]})
    for case in cases:
        cells = [str(found["other pairs"].get(case, 0)) for found in tools.values()]
        highest = str(results["scores"]["highest"].get(case, ""))
        lines.append(f"| pairs: {case} | " + " | ".join(cells) + f" | {highest} (highest) | |")
    lines.append("| precision | " + " | ".join(f"{found['precision']:.3f}" for found in tools.values()) + " | | |")
    lines += [
        "",
        (
            f"{sum(results['videos'].values())} videos, {results['minutes']} minutes. Recall is the share of copies matched with "
            "their clip; precision counts unrelated videos and parts of one clip as false."
        ),
        "",
        spliced(results["spans"]),
    ]
    return "\n".join(lines) + "\n"


def spliced(told: dict[str, Any]) -> str:
    """Return what is found of the segments, in a sentence."""
    return (
        f"Of {told['segments']} segments of 5 s spliced into other videos {told['found']} are found, at most "
        f"{told['seconds off at most']} s beside their place; {told['pairs of unrelated videos with a span']} pairs of "
        "unrelated videos share a span."
    )


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/video.md."""
    tools = {f"≥ {level}": results["dedupver"][level] for level in ("0.75", "0.85", "0.95")} | results["peer"]
    rows = [
        [made, *(f"{found['recall'][made]:.2f}" for found in tools.values())]
        for made in results["dedupver"]["0.85"]["recall"]
    ]
    rows.append(["*precision*", *(f"{found['precision']:.3f}" for found in tools.values())])
    return {"video": readme.table(("copy", *tools), rows), "spans": [spliced(results["spans"])]}


if __name__ == "__main__":
    main()
