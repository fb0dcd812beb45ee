"""What each kind finds beside other tools, out of all committed results: the tables of docs/kinds/README.md."""

from __future__ import annotations

from statistics import mean
from typing import TYPE_CHECKING, Any, Final

from benchmarks.kinds import shares
from benchmarks.kinds.beside import US, Found, best, compared, usual_and_best
from dedupver.params import Thresholds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULTS: Final = Thresholds()
"""A default that the results lack is an error: they have to be measured again."""

OF_WORDS: Final = {
    "MinHash": (US, f"{DEFAULTS.text}"),
    "MinHash at 0.6": (US, "0.6"),
    "datasketch": ("datasketch", "0.8"),
    "datasketch, letters": ("datasketch", "0.8, runs of four letters"),
    "text-dedup": ("text-dedup", "0.8"),
    "datatrove": ("datatrove", "16 bands of 8"),
}
OF_BITS: Final = {
    "SimHash": (US, f"{DEFAULTS.text_simhash}"),
    "SimHash, 3 bits": (US, "3 bits"),
    "simhash": ("simhash", "3 bits"),
    "text-dedup simhash": ("text-dedup", "3 bits"),
}
OF_VECTORS: Final = {
    "embedding": (US, f"{DEFAULTS.text_embedding}"),
    "embedding at 0.9": (US, "0.9"),
    "potion at 0.9": (f"{US}, semhash's model", "0.9"),
    "semhash": ("semhash", "0.9"),
}
OTHER_TOKENS: Final = {
    "MinHash, letters": (US, "0.8, `tokens: characters`"),
    "MinHash, code": (US, "0.8, `tokens: code`"),
}
CORPORA: Final = {
    "licences and documentation in English": ("licences", "documentation"),
    "documentation in Chinese, Japanese, Korean": ("zh_CN", "ja_JP", "ko_KR"),
    "code in C": ("code",),
}
DROPPED: Final = ("datasketch", "gaoya", "gaoya, 32 bands", "rensa, 32 bands")
PICTURES: Final = {
    "dedupver, phash": (US, "hashes"),
    "dedupver, embedding": (US, "hashes and embeddings"),
    "image-dedup-ai": ("image-dedup-ai", "default"),
    "czkawka 15": ("czkawka", "similarity 15"),
    "imagededup": ("imagededup", "PHash, default"),
    "fastdup": ("fastdup", "default"),
}
SEMHASH: Final = 0.9
FASTDUP: Final = 0.9
IMAGEDEDUP: Final = 0.84


def tables(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/README.md, of the results by their files' names."""
    return {
        "texts": compared(_dropped(results["full"]) | _texts(results["text"], results["embeddings"])),
        "images": compared(_pictures(results["images-subset"]) | _levels(results["embeddings"])),
        "sounds and videos": compared(_sounds(results["audio"]) | _videos(results["video"])),
        "rows": compared(_rows(results["row"])),
        "vectors": compared(_vectors(results["embeddings"])),
        "joint": shares.joint(results["joint"]),
        "parts": shares.parts(results["parts"]),
    }


# texts


def _dropped(full: dict[str, Any]) -> dict[str, list[Found]]:
    """Judge what is dropped against all pairs of Jaccard .8 and more."""
    said = {(row["task"], row["tool"]): row for row in full["table"]}
    return {
        f"`text`: what is dropped of {about['records']:,} {title}, by all pairs of Jaccard ≥ 0.8": [
            Found(tool, "0.8", said[task, tool]["recall"], said[task, tool]["precision"]) for tool in (US, *DROPPED)
        ]
        for task, about in full["tasks"].items()
        for title in ({"pieces": "pieces of the Linux source", "licences": "licence texts"}[task],)
    }


def _texts(text: dict[str, Any], embeddings: dict[str, Any]) -> dict[str, list[Found]]:
    english, scripts, code = CORPORA
    letters, signs = OTHER_TOKENS
    tools = {
        ("text", english): OF_WORDS,
        ("text", scripts): OF_WORDS | {letters: OTHER_TOKENS[letters]},
        ("text", code): OF_WORDS | {signs: OTHER_TOKENS[signs]},
        ("text_simhash", english): OF_BITS,
        ("text_embedding", english): OF_VECTORS,
        ("text_embedding", scripts): OF_VECTORS,
    }
    groups = {}
    for (kind, title), rows in tools.items():
        copies = sum(text["records"][corpus]["copies"] for corpus in CORPORA[title])
        found = [of_corpora(text["tools"][name], CORPORA[title], *row) for name, row in rows.items()]
        groups[f"`{kind}`: {copies:,} edited copies of {title}"] = sorted(found, key=lambda each: not _ours(each))
    verses = embeddings["verses"]
    count = verses["items"]["verses"]["other translation"]
    groups[f"`text_embedding`: {count:,} verses in another translation"] = [
        *usual_and_best(of_levels(verses["found"]["dedupver, wordllama"], US), DEFAULTS.text_embedding),
        best(of_levels(verses["found"]["dedupver, MiniLM"], f"{US}, MiniLM")),
        *usual_and_best(of_levels(verses["found"]["semhash, potion"], "semhash"), SEMHASH),
    ]
    return groups


def _ours(found: Found) -> bool:
    return found.tool.startswith(US)


def of_corpora(told: dict[str, Any], corpora: Sequence[str], tool: str, at: str) -> Found:
    """Return what a tool finds in some corpora; pairs of two of them count, and those with any other do not."""
    pairs, unlike = (
        sum(count for of, count in told[what].items() if set(of.split(" and ")) <= set(corpora))
        for what in ("pairs", "unlike")
    )
    recall = mean(share for corpus in corpora for share in told["recall"][corpus].values())
    return Found(tool, at, recall, 1 - unlike / pairs, unlike)


# images and vectors


def of_levels(told: dict[str, Any], tool: str) -> dict[float, Found]:
    """Return what a tool finds at each level, in all groups of items; pairs of two groups are false."""
    groups = [levels for group, levels in told.items() if group != "between"]
    found = {}
    for level, between in told["between"].items():
        recall = mean(share for levels in groups for share in levels[level]["recall"].values())
        true, false = (sum(levels[level][what] for levels in groups) for what in ("true", "false"))
        false += between
        found[float(level)] = Found(tool, level, recall, true / (true + false), false)
    return found


def _pictures(images: dict[str, Any]) -> dict[str, list[Found]]:
    scores = {run["tool"]: run["scores"] for run in images["runs"]}
    found = []
    for name, (tool, at) in PICTURES.items():
        said = scores[name]
        precision = 1 - said["false_pairs"] / said["pairs"]
        found.append(Found(tool, at, mean(said["recall"].values()), precision, said["false_pairs"]))
    copies = sum(count for made, count in images["files"].items() if made != "original")
    return {f"`image`: {copies:,} edited copies among {images['files']['original']:,} drawings and photographs": found}


def _levels(embeddings: dict[str, Any]) -> dict[str, list[Found]]:
    told = embeddings["pictures"]
    names = {"dedupver, phash": US, "dedupver, efficientnet-lite0": US}
    found = {name: of_levels(each, names.get(name, name)) for name, each in told["found"].items()}
    originals = sum(each["original"] for each in told["items"].values())
    copies = sum(sum(each.values()) for each in told["items"].values()) - originals
    title = f"{copies:,} edited copies among {originals:,} photographs, drawings and emoji"
    hashes = [usual_and_best(found[f"imagededup, {name}"], IMAGEDEDUP) for name in ("PHash", "DHash")]
    return {
        f"`image`: {title}": [
            *usual_and_best(found["dedupver, phash"], DEFAULTS.image),
            *(each for both in hashes for each in both),
        ],
        f"`image_embedding`: {title}": [
            *usual_and_best(found["dedupver, efficientnet-lite0"], DEFAULTS.image_embedding),
            *usual_and_best(found["fastdup"], FASTDUP),
        ],
    }


def _vectors(embeddings: dict[str, Any]) -> dict[str, list[Found]]:
    """Compare two tools that are given the same vectors, each at both levels."""
    verses = embeddings["verses"]
    ours, theirs = (of_levels(verses["found"][f"{tool}, potion"], tool) for tool in (US, "semhash"))
    count = verses["items"]["verses"]["other translation"]
    return {f"{count:,} verses, at {level}": [ours[level], theirs[level]] for level in (SEMHASH, 0.8)}


# sounds, videos, rows


def _sounds(audio: dict[str, Any]) -> dict[str, list[Found]]:
    ways = {"chromaprint, errors": "Chromaprint, bits", "chromaprint, codes": "Chromaprint, codes"}

    def at(levels: dict[str, Any], tool: str) -> dict[float, Found]:
        return {
            float(level): Found(
                tool, level, mean(said["recall"].values()), said["true"] / (said["true"] + said["false"]), said["false"]
            )
            for level, said in levels.items()
        }

    groups = {
        f"`audio`: {audio['printed']['files']:,} sounds that Chromaprint has a print of": (
            audio["long"]["dedupver"],
            audio["long"],
        ),
        f"`audio`: all {audio['files']:,} sounds": (audio["found"], audio["peers"]),
    }
    return {
        title: [
            *usual_and_best(at(own, US), DEFAULTS.audio),
            *(best(at(peers[way], tool)) for way, tool in ways.items()),
        ]
        for title, (own, peers) in groups.items()
    }


def _videos(video: dict[str, Any]) -> dict[str, list[Found]]:
    def found(said: dict[str, Any], tool: str, at: str) -> Found:
        false = sum(said["other pairs"].get(what, 0) for what in ("unrelated", "parts of one clip"))
        return Found(tool, at, mean(said["recall"].values()), said["precision"], false)

    ours = {float(level): found(said, US, str(float(level))) for level, said in video["dedupver"].items()}
    copies = sum(count for made, count in video["videos"].items() if made not in {"clip", "part", "splice"})
    theirs = [found(said, name, "its default") for name, said in video["peer"].items()]
    return {
        f"`video`: {copies:,} edited copies of {video['videos']['clip']} clips": [
            *usual_and_best(ours, DEFAULTS.video),
            *theirs,
        ]
    }


def _rows(row: dict[str, Any]) -> dict[str, list[Found]]:
    """Show of people the table in which each has the most duplicates, and of places both lists."""
    groups = {}
    for task in ("FEBRL 3", "FEBRL 3, no number", "airports", "cities"):
        told = row["tasks"][task]
        found = []
        for tool, said in told["tools"].items():
            at = said["at"][f"{said['threshold']:g}"]
            found.append(Found(tool, f"{said['threshold']:g}", at["recall"], at["precision"]))
        top = told["tools"]["splink, all columns"]["best"]
        found.append(Found("splink, all columns", f"{top['score']:g}, its best", top["recall"], top["precision"]))
        groups[f"`row`: {task}, {told['pairs']:,} true pairs of {told['records']:,} rows"] = found
    return groups
