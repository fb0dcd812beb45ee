"""What a space of captions, parts of records, blocks and folders find, where no recall and precision of pairs says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import readme
from benchmarks.kinds.beside import FINDS, SAID, US, sign

if TYPE_CHECKING:
    from collections.abc import Iterable

ASKED: Final = {"text": "the caption of an image", "image": "the image of a caption"}
SAME: Final = {True: SAID[0], False: "not the same"}
BLOCKS: Final = {"fastcdc": "4,096", "zpaq": "65,536", "restic": "1,048,576"}
"""Bytes of a block, by the tool that was run with them."""


def joint(results: dict[str, Any]) -> list[str]:
    """Return how well captions fit the images that they are of, beside a draw."""
    recall, swapped = results["retrieval"]["drawings"]["recall"], results["swapped"]
    told = {
        f"{what} that was not fitted comes first, of {recall[of]['of']} drawings": (
            recall[of]["1"],
            recall[of]["chance"]["1"],
        )
        for of, what in ASKED.items()
    }
    worst, wrong = swapped["reported"]["caption_unlike_image"], swapped["kept_wrong"]
    told[f"of the {worst} captions that are reported so many are wrong"] = (
        swapped["worst_20"] / worst,
        wrong / swapped["kept"],
    )
    for share, found in swapped["found"].items():
        told[f"of {wrong} wrong captions so many are in the worst {float(share):.0%}"] = found, float(share)
    rows = [[what, f"{ours:.3f}", f"{chance:.3f}"] for what, (ours, chance) in told.items()]
    return readme.table(("measured on captioned drawings", US, "chance"), rows)


def parts(results: dict[str, Any]) -> list[str]:
    """Return what records, files and folders have in common."""
    rows = [*_lines(results["passages"]), *_captions(results["captions"])]
    rows += [*_blocks(results["blocks"]), *_folders(results["folders"])]
    return readme.table(("measured on", US, "other tool", "it", "beside dedupver"), rows)


def _lines(found: dict[str, Any]) -> Iterable[list[str]]:
    for name, each in found.items():
        ours, theirs = (sum(kind["contents"] for kind in each[what].values()) for what in ("counted", "true"))
        told = f"{ours:,}, {each['listed wrongly']:,} listed wrongly"
        title = f"lines and paragraphs in several of {each['kept']:,} {name}"
        yield [title, told, "a count in Python", f"{theirs:,}", SAME[ours == theirs]]
        counts = each["counted"]["line"]["chars"], each["datatrove"]["of long lines"]
        share, other = (count / each["characters"] for count in counts)
        title = f"share of the characters of {name} in such lines but the first of each"
        yield [title, f"{share:.3f}", "datatrove", f"{other:.3f}", FINDS[sign(other, share)]]


def _captions(found: dict[str, Any]) -> Iterable[list[str]]:
    over = sum(cap["over"] for cap in found["caps"].values())
    told = f"{found['repeated']:,}, {found['wrong']:,} wrong; {over:,} in more records than a cap lets"
    yield [f"captions that several of {found['records']:,} drawings have", told, "–", "–", ""]


def _blocks(found: dict[str, Any]) -> Iterable[list[str]]:
    for name, each in found.items():
        for peer, size in BLOCKS.items():
            left = (each["blocks"][f"{tool}, {size} bytes"] / each["bytes"] for tool in (US, peer))
            ours, theirs = left  # less is better
            title = f"share of the bytes of {name} that is left, blocks of {size}"
            yield [title, f"{ours:.3f}", peer, f"{theirs:.3f}", SAID[sign(ours, theirs)]]


def _folders(found: dict[str, Any]) -> Iterable[list[str]]:
    for name, each in found.items():
        told = [each["tools"][tool] for tool in (US, "rmlint")]
        ours, theirs = (f"{one['found']:,} of {each['equal pairs']:,}, {one['wrong']:,} wrong" for one in told)
        title = f"pairs of equal folders in {name}, of {each['folders']:,}"
        yield [title, ours, "rmlint", theirs, SAME[ours == theirs]]
