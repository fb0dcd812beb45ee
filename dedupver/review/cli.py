"""`dedupver review`: parse, call, print. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer(
    help="""Have people label pairs of records near a threshold.

    Their labels overrule decisions, and say how precise and complete each threshold is.
    """,
    epilog="Example: dedupver review export --html review.html",
    no_args_is_help=True,
    rich_markup_mode=None,
)

EXPORTED: Final = Path("review.csv")
PLOT: Final = Path("plots/review.csv")

Kind = Annotated[str | None, typer.Option(metavar="KIND", help="A kind of evidence, as in dedup.thresholds.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command(epilog="Example: dedupver review export --kind text --count 200 --html review.html")
def export(  # noqa: PLR0913, PLR0917 - options
    context: typer.Context,
    kind: Kind = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="So many pairs.")] = 200,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where they go: .csv or .jsonl.")] = EXPORTED,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also a page to label them on.")] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Draw others of equal worth.")] = 0,
    as_json: Json = False,
) -> None:
    """Draw pairs to label, the most informative first.

    They are drawn from each band of scores, near the threshold more of them, and never twice. Fill in the column label
    with `same` or `different`, or leave it empty; or open the page, press s or d, and save.
    """
    from dedupver.review import export as drawing  # noqa: PLC0415 - imports Arrow, which `--help` need not wait for
    from dedupver.review.page import page  # noqa: PLC0415
    from dedupver.store import write_bytes  # noqa: PLC0415

    found = drawing.export(_project(context), _known(kind), count, seed)
    drawing.write(out, found.rows)
    if html:
        write_bytes(html, page(found).encode())
    said = ", ".join(f"{n} of {name}" for name, n in found.drawn.items())
    told = {"pairs": len(found.rows), "kinds": found.drawn, "file": str(out), "page": str(html) if html else None}
    lines = [f"{len(found.rows)} pairs in {out} ({said}){f', and on {html}' if html else ''}"]
    _answer(told, [*lines, f"label them, then: dedupver review import {out}"], as_json=as_json)


@app.command("import", epilog="Example: dedupver review import review.csv")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="CSV, or .jsonl.")],
    as_json: Json = False,
) -> None:
    """Add labels to the project's reviews.

    All or none: a label that contradicts another is refused with its line. What has no label is passed over, and ids
    that the version does not hold are named.
    """
    from dedupver import reviews  # noqa: PLC0415
    from dedupver.manifest import open_manifest  # noqa: PLC0415
    from dedupver.plain import plain  # noqa: PLC0415
    from dedupver.review import labels  # noqa: PLC0415
    from dedupver.state import require_whole  # noqa: PLC0415

    project = _project(context)
    require_whole(project.root)
    path = project.root / project.params.dedup.reviews
    ids = open_manifest(project.manifest).live(["id"])["id"].to_pylist()
    took = labels.take(file, reviews.read(path), labels.read(file), ids)
    if took.added:
        reviews.add(path, took.added)
    counts = {word: sum(r.label == word for r in took.added) for word in reviews.LABELS}
    told = {**counts, "repeated": took.repeated, "unlabelled": took.open, "unknown": took.unknown}
    lines = [", ".join(f"{n} {word}" for word, n in told.items() if word != "unknown") + f": {path.name}"]
    lines += [f"line {line}: no record {plain(name)!r} in this version, passed over" for line, name in took.unknown]
    _answer(told, [*lines, *(["now run: dvc repro"] if took.added else [])], as_json=as_json)


@app.command(epilog="Example: dedupver review estimate --kind text --precision 0.99")
def estimate(
    context: typer.Context,
    kind: Kind = None,
    precision: Annotated[
        float | None, typer.Option(metavar="SHARE", min=0, max=1, help="Propose a threshold of this precision.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help=f"Write a CSV as well, such as {PLOT}.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate precision and recall at each threshold.

    From the labels of pairs that `review export` drew, each with its 95 % interval. Recall is of the true pairs at or
    above `match.floor`: below, nobody looked.
    """
    from dedupver.review import told  # noqa: PLC0415

    found = told.estimate(_project(context), _known(kind), precision)
    if plot:
        told.write_plot(plot, found)
    _answer(found, told.lines(found), as_json=as_json)


def _known(kind: str | None) -> str | None:
    from dedupver.schema import EVIDENCE  # noqa: PLC0415

    if kind is not None and kind not in EVIDENCE:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(EVIDENCE)}", param_hint="--kind")
    return kind


def _project(context: typer.Context) -> Any:
    from dedupver.project import Project  # noqa: PLC0415
    from dedupver.repository import dataset  # noqa: PLC0415

    return Project(dataset(context.obj))


def _answer(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:
        lines = [json.dumps(value, indent=1, sort_keys=True)]
    for line in lines:
        typer.echo(line)
