"""Parts of records: lines, paragraphs and captions in common, and folders, files and blocks of files.

    python -m benchmarks.kinds.parts

`parts_texts` and `parts_files` say what is measured. Downloads and environments are kept in benchmarks/.work; results go to
benchmarks/results/kinds and docs/kinds.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from benchmarks import readme
from benchmarks.kinds import parts_files, parts_texts
from benchmarks.kinds import results as runs

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Parse and run."""
    asked = runs.parser(__doc__).parse_args()
    results = runs.begun() | parts_texts.measured(asked.work) | parts_files.measured(asked.work)
    runs.write(asked.out, "parts", results, markdown(results))
    readme.main()
    sys.stdout.write(markdown(results))


def tables(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return the tables by the names of their places in docs/kinds/parts.md."""
    texts = {name: results["passages"][name] for name in parts_texts.COLLECTIONS}
    return {
        "passages": _passages(texts),
        "cut": _cut(texts),
        "captions": _captions(results["captions"]),
        "blocks": _blocks({name: results["blocks"][name] for name in parts_files.DATA}),
        "folders": _folders({name: results["folders"][name] for name in parts_files.TREES}),
    }


def _passages(found: dict[str, Any]) -> list[str]:
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "texts that are kept": lambda each: f"{each['kept']:,}",
        "lines in several of them": lambda each: f"{each['counted']['line']['contents']:,}",
        "paragraphs in several of them": lambda each: f"{each['counted']['paragraph']['contents']:,}",
        "the same by a count in Python": lambda each: " + ".join(f"{n['contents']:,}" for n in each["true"].values()),
        "most texts of one": lambda each: f"{max(n['most'] for n in each['counted'].values()):,}",
        "listed, of these wrong": lambda each: f"{each['listed']:,}, {each['listed wrongly']:,}",
        "**share of all characters**": lambda _: "",
        "in such a line or paragraph": lambda each: _share(each["covered"]["in passages"], each),
        f"in any run of {parts_texts.LEAST} that another text has": lambda each: _share(
            each["covered"]["in runs"], each
        ),
        "of lines that another text had before": lambda each: _share(each["counted"]["line"]["chars"], each),
        "of lines that the same or another had": lambda each: _share(each["lines"], each),
        "of lines that datatrove removes": lambda each: _share(each["datatrove"]["of long lines"], each),
        f"the same with those under {parts_texts.LEAST} characters": lambda each: _share(
            each["datatrove"]["characters"], each
        ),
    }
    return readme.table(("", *found), [[title, *map(cell, found.values())] for title, cell in rows.items()])


def _share(characters: int, of: dict[str, Any]) -> str:
    return f"{characters / of['characters']:.3f}"


def _cut(found: dict[str, Any]) -> list[str]:
    columns = (
        "cut what so many texts have",
        "texts cut",
        "characters",
        "then empty",
        f"under {parts_texts.LEAST} characters",
        "dropped again",
    )
    rows = []
    for name, each in found.items():
        for often in parts_texts.OFTEN:
            cut_ = each["cut"][str(often)]
            counts = (f"{cut_[what]:,}" for what in ("empty", "short", "dropped again"))
            rows.append([f"{name}: {often}", f"{cut_['texts']:,}", _share(cut_["characters"], each), *counts])
    return readme.table(columns, rows)


def _captions(found: dict[str, Any]) -> list[str]:
    rows = [["none", f"{found['kept']:,}", f"{found['captions']:,}", f"{found['most']:,}"]]
    rows += [[most, f"{cap['kept']:,}", f"{cap['captions']:,}", most] for most, cap in _by_number(found["caps"])]
    return readme.table(("`dedup.caps.caption`", "drawings kept", "captions", "drawings of one caption at most"), rows)


def _by_number(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(found.items(), key=lambda each: -int(each[0]))


def _blocks(found: dict[str, Any]) -> list[str]:
    """Return a table of what is left of the bytes; the mean is of all blocks of the first, the largest data."""
    mean = next(iter(found.values()))["mean"]
    rows = [["all files", "", *(f"{each['bytes'] / 1e6:,.0f} MB" for each in found.values())]]
    rows.append(["equal files once", "", *(f"{each['distinct files'] / each['bytes']:.3f}" for each in found.values())])
    for name in parts_files.TOOLS:
        left = (each["blocks"][name] / each["bytes"] for each in found.values())
        rows.append([name, f"{mean[name]:,}" if name in mean else "", *(f"{share:.3f}" for share in left)])
    return readme.table(("share of the bytes that is left", "bytes of a block, mean", *found), rows)


def _folders(found: dict[str, Any]) -> list[str]:
    rows = []
    for name, each in found.items():
        for tool, told in each["tools"].items():
            counts = (each["folders"], each["equal pairs"], told["found"], told["wrong"], told["groups"])
            rows.append([f"{name}: {tool}", *(f"{count:,}" for count in counts)])
    return readme.table(("", "folders", "equal pairs", "found", "wrong", "told as groups"), rows)


def markdown(results: dict[str, Any]) -> str:
    """Return the page of results."""
    titles = {
        "passages": f"Lines and paragraphs of {parts_texts.LEAST} characters and more",
        "cut": "Texts without the lines and paragraphs that many have",
        "captions": "Captions of drawings",
        "blocks": "Blocks of files",
        "folders": "Equal folders",
    }
    lines = ["# Parts of records"]
    for name, table in tables(results).items():
        lines += ["", f"## {titles[name]}", "", *table]
    for module in (parts_texts, parts_files):
        lines += ["", *str(module.__doc__).strip().splitlines()[2:]]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
