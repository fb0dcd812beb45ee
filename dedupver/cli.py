"""The command line: parse, call, print, exit. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dedupver import __version__
from dedupver.erase.cli import erase, erased
from dedupver.review.cli import app as review

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dedupver.manifest import Log
    from dedupver.query import Explanation

HELP: Final = """Versions of a clean dataset: each deduplicated against itself and all before it, each drop explained.

DVC runs the pipeline (`dvc repro`); these commands open versions and answer questions about them.

Exit codes: 0 done, 1 another error, 2 wrong usage, 3 params or a model, 4 the source data, 5 a damaged file or an
invariant that does not hold, 6 the repository is not in the state that the command needs, 7 a gate that fails, 8 a leak
that remains.
"""

app = typer.Typer(
    help=HELP,
    epilog="Example: dedupver -C my-dataset diff v1 v2",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

NGRAMS: Final = "ngram"
ALIGNED: Final = Path("models/joint")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def main() -> None:
    """Run the command line; end with the exit code of what went wrong."""
    try:
        app()
    except Exception as error:
        from dedupver.plain import plain  # noqa: PLC0415
        from dedupver.schema import DedupverError  # noqa: PLC0415 - imports Arrow, which `--help` need not wait for

        if not isinstance(error, DedupverError):
            raise
        typer.echo("error: " + "\n".join(map(plain, str(error).split("\n"))), err=True)
        sys.exit(error.exit_code)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"dedupver {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root", "-C", metavar="DIR", help="The dataset's folder; by default the nearest with a params.yaml."
        ),
    ] = None,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.obj = root


@app.command(epilog="Example: dedupver init")
def init(
    context: typer.Context,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Rewrite dvc.yaml and stages/ for this release.")] = False,
) -> None:
    """Write the pipeline into a git and DVC repository.

    That is dvc.yaml, params.yaml and stages/.
    """
    from dedupver import versions  # noqa: PLC0415

    _say(versions.init((context.obj or _repository()).resolve(), upgrade=upgrade))


@app.command("next", epilog="Example: dedupver next v2")
def next_version(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new version's name.")],
    time: Annotated[str | None, typer.Option(metavar="TIME", help="Its time, as 2026-01-31T12:00:00Z.")] = None,
) -> None:
    """Open the next version.

    What is released becomes the base that the next version is compared with.
    """
    from dedupver import versions  # noqa: PLC0415

    _say(versions.next_version(_root(context), name, time=time))


@app.command(epilog="Example: dedupver compact")
def compact(context: typer.Context) -> None:
    """Merge the base's small segments.

    Between `dedupver next` and `dvc repro`, where there have been many small versions. Decisions stay the same wherever
    searches are exact.
    """
    from dedupver.compact import compact as merge  # noqa: PLC0415

    _say(merge(_root(context)))


@app.command(epilog="Example: dedupver replay stricter -S dedup.thresholds.text=0.85")
def replay(
    context: typer.Context,
    branch: Annotated[str, typer.Argument(metavar="BRANCH", help="The new branch that holds the replayed versions.")],
    set_param: Annotated[
        list[str] | None, typer.Option("--set-param", "-S", metavar="KEY=VALUE", help="A param to change throughout.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build all versions again, on a new branch.

    At the same params nothing is computed twice; at others it shows what history would have been.
    """
    from dedupver.replay import replay as again  # noqa: PLC0415

    rows = again(_root(context), branch, dict(map(_key_and_value, set_param or [])))
    _answer(rows, _replayed(rows), as_json=as_json)


@app.command(epilog="Example: dedupver run match")
def run(
    context: typer.Context,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A stage of dvc.yaml, such as match.")],
) -> None:
    """Run one stage without DVC, for debugging.

    Versions are built by `dvc repro`.
    """
    from dedupver import pipeline  # noqa: PLC0415

    if stage not in pipeline.STAGES:
        raise typer.BadParameter(f"{stage!r} is none of {', '.join(pipeline.STAGES)}")
    pipeline.run(stage, _root(context))


@app.command("list", epilog="Example: dedupver list s3://bucket/photos data/raw/photos.jsonl")
def list_objects(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="What the objects lie below: s3://, gs://, https:// …")],
    table: Annotated[Path, typer.Argument(metavar="FILE", help="The table to write, below the source.")],
) -> None:
    """List objects that lie elsewhere in a table of the source.

    A row names each part of a sample by its URL, its size and its sha256. DVC tracks the table; the objects stay where
    they are and are fetched when they are fingerprinted. Tables and archives are for `dvc import-url`.
    """
    from dedupver import params  # noqa: PLC0415
    from dedupver.listing import write_listing  # noqa: PLC0415
    from dedupver.state import require_idle  # noqa: PLC0415

    root = _root(context)
    require_idle(root)
    found = write_listing(url, table, params.load(root / "params.yaml").source)
    lines = [f"{found.samples} samples of {found.objects} objects, {found.bytes} bytes, in {table}"]
    lines += [f"left out: {each} (use `dvc import-url`)" for each in found.left_out]
    _say(map(str, lines))


@app.command(epilog="Example: dedupver align --out models/joint")
def align(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the model goes, in the repository.")] = ALIGNED,
    pairs: Annotated[int, typer.Option(metavar="N", help="Use at most so many captioned images.")] = 20_000,
    as_json: Json = False,
) -> None:
    """Make a joint space of images and captions.

    A linear map from the image encoder to the text encoder is fitted on the captioned images of the source, measured
    on a tenth of them that it has not seen, and tracked by DVC.
    """
    from dedupver import align as aligning  # noqa: PLC0415
    from dedupver import terminal  # noqa: PLC0415
    from dedupver.project import Project  # noqa: PLC0415
    from dedupver.repository import dvc  # noqa: PLC0415
    from dedupver.state import require_idle  # noqa: PLC0415

    root = _root(context)
    require_idle(root)
    told = aligning.align(Project(root), root / out, pairs)
    dvc(root, "add", "--quiet", str(root / out))
    _answer(told, terminal.alignment(told, str(out)), as_json=as_json)


@app.command(epilog="Example: dedupver diff v1 v2")
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="A", help="A git revision, or `workspace`.")],
    new: Annotated[str, typer.Argument(metavar="B", help="The other; by default the working tree.")] = "workspace",
    everything: Annotated[bool, typer.Option("--all", help="List the added and kept as well.")] = False,
    as_json: Json = False,
) -> None:
    """Show which records differ between two versions.

    A record was added, is gone, was edited, dropped, restored, rehomed (dropped for another representative) or
    quarantined; and each change has its cause: new data, a threshold, rules, a review, a representative that left or
    moved.
    """
    from dedupver import causes, query, terminal  # noqa: PLC0415
    from dedupver.revision import at_revision  # noqa: PLC0415

    root = _root(context)
    _speak_of(root, old, new)
    with at_revision(root, old) as a, at_revision(root, new) as b:
        sides = causes.Side.of(a), causes.Side.of(b)
    changes = causes.with_causes(query.diff(*(side.live for side in sides)), *sides)
    if as_json:
        sys.stdout.writelines(terminal.changes_json(changes))
    else:
        _say(terminal.changes(changes, everything=everything), err=False)


@app.command(epilog="Example: dedupver explain photos/0042.jpg")
def explain(
    context: typer.Context,
    record: Annotated[str, typer.Argument(metavar="ID", help="The record's id.")],
    revision: Annotated[str, typer.Option("--rev", metavar="REV", help="The git revision to ask.")] = "workspace",
    as_json: Json = False,
) -> None:
    """Show why a record is kept or dropped.

    What each version did to it, its representative, the scores, the rule, and what would have to change for the
    opposite: of the version here that is asked of the index, for every record that resembles it.
    """
    from dedupver import query, terminal  # noqa: PLC0415
    from dedupver.revision import at_revision  # noqa: PLC0415

    root = _root(context)
    _speak_of(root, revision)
    with at_revision(root, revision) as log:
        found = query.explain(log, record)
        if revision == "workspace" and (root / "index").is_dir():
            found = _with_opposite(root, log, found)
    if revision == "workspace" and found.chain:
        found = dataclasses.replace(
            found,
            fields=_fields(root, found.decision, found.chain[0]),
            overlap=_overlap(root, found.decision, found.chain[0]),
        )
    _answer(dataclasses.asdict(found), terminal.explanation(found), as_json=as_json)


@app.command(epilog="Example: dedupver audit --since v3 --source camera-2 --action drop")
def audit(  # noqa: PLR0913, PLR0917 - each is an option
    context: typer.Context,
    since: Annotated[str | None, typer.Option(metavar="VERSION", help="The first version to tell of.")] = None,
    until: Annotated[str | None, typer.Option(metavar="VERSION", help="The last.")] = None,
    action: Annotated[str | None, typer.Option(metavar="WORD", help="drop, restore, quarantine or gone.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="WORD", help="Such as near_duplicate_of.")] = None,
    method: Annotated[str | None, typer.Option(metavar="WORD", help="Such as minhash, phash, sha256, review.")] = None,
    representative: Annotated[str | None, typer.Option(metavar="ID", help="Dropped for this record.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="Records of this source.")] = None,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Records with this label.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="List so many at most; as text 20 by default, else all.")
    ] = None,
    revision: Annotated[str, typer.Option("--rev", metavar="REV", help="The git revision to ask.")] = "workspace",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
    as_json: Json = False,
) -> None:
    """List removals and restorations of all versions.

    With the reason, the representative, method, scores, threshold, rule, version, time and job of each, the oldest
    first; and how many there are by reason.
    """
    from collections import Counter  # noqa: PLC0415

    from dedupver import terminal, trail  # noqa: PLC0415
    from dedupver.plain import plain  # noqa: PLC0415
    from dedupver.revision import at_revision  # noqa: PLC0415

    root, counted = _root(context), Counter[str]()
    asked = trail.Asked(since, until, action, reason, method, representative, source, label)
    _speak_of(root, revision)
    with at_revision(root, revision) as log:
        found = trail.events(log, asked)
        if as_json:
            sys.stdout.writelines(trail.as_json(found, limit))
        elif as_csv:
            sys.stdout.writelines(trail.as_csv(found, limit, counted))
            _say([plain(trail.summary(counted))])
        else:
            _say(terminal.trail(found, terminal.LISTED if limit is None else limit), err=False)


@app.command(epilog="Example: dedupver undo photos/0042.jpg")
def undo(
    context: typer.Context,
    records: Annotated[list[str], typer.Argument(metavar="ID...", help="Dropped records.")],
    other: Annotated[
        str | None, typer.Option("--from", metavar="REP", help="Tell them apart from this record alone.")
    ] = None,
    redo: Annotated[bool, typer.Option("--redo", help="Take back what undo wrote of them.")] = False,
    as_json: Json = False,
) -> None:
    """Take a drop back, by a review that the next run hears.

    Each record is called different from every kept one that drops it under the present rules. `dvc repro` restores it,
    also where an earlier version had dropped it.
    """
    from dedupver import undo as undoing  # noqa: PLC0415
    from dedupver.params import load  # noqa: PLC0415
    from dedupver.plain import plain  # noqa: PLC0415

    root = _root(context)
    found = (undoing.redo if redo else undoing.undo)(root, records, other)
    lines = undoing.told(found, load(root / "params.yaml").dedup.reviews)
    _answer(found, map(plain, lines), as_json=as_json)


@app.command(epilog="Example: dedupver show --rev v1 --json")
def show(
    context: typer.Context,
    revision: Annotated[str, typer.Option("--rev", metavar="REV", help="The git revision to show.")] = "workspace",
    as_json: Json = False,
) -> None:
    """Show what each version brought.

    The counts of each version and of the whole, the largest clusters, and the files.
    """
    from dedupver import query, terminal  # noqa: PLC0415
    from dedupver.revision import at_revision  # noqa: PLC0415

    root = _root(context)
    _speak_of(root, revision)
    with at_revision(root, revision) as log:
        found = query.show(log)
    _answer(found, terminal.summary(found), as_json=as_json)


@app.command(epilog="Example: dedupver shared --most 50")
def shared(
    context: typer.Context,
    most: Annotated[int, typer.Option(min=1, help="How many of each kind to show.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what kept records have in common.

    Captions and other parts that several hold, and, with `fingerprint.text.passages`, lines and paragraphs of texts:
    how many records hold each, how many characters are repeated, and the beginning of it, read from the source.
    """
    from dedupver import preview, terminal  # noqa: PLC0415
    from dedupver.project import Project  # noqa: PLC0415

    root = _root(context)
    _speak_of(root, "workspace")
    project = Project(root)
    found, counted = preview.shared(project, most), project.params.fingerprint.text.passages is not None
    _answer(found, terminal.common(found, passages=counted), as_json=as_json)


@app.command(epilog="Example: dedupver leaks --rev v2 --json")
def leaks(
    context: typer.Context,
    revision: Annotated[str, typer.Option("--rev", metavar="REV", help="The git revision to ask.")] = "workspace",
    as_json: Json = False,
) -> None:
    """Show the leak certificate of a version.

    What was compared with what, how many records leaked from a protected split or a reference, which went and which
    remain, with the worst of them. It ends with exit code 8 where a leak remains.
    """
    from dedupver import leakage, terminal  # noqa: PLC0415
    from dedupver.revision import at_revision  # noqa: PLC0415

    root = _root(context)
    _speak_of(root, revision)
    with at_revision(root, revision) as log:
        found = leakage.certificate(log)
    _answer(found, terminal.leaks(found), as_json=as_json)
    if found["remaining"]["records"]:
        raise typer.Exit(8)


@app.command(epilog="Example: dedupver validate --source data/raw/airports.csv")
def validate(
    context: typer.Context,
    source: Annotated[Path | None, typer.Option(metavar="FILE", help="Try the rules on this table alone.")] = None,
    most: Annotated[int, typer.Option(min=0, help="How many records that fail a rule to show.")] = 5,
    as_json: Json = False,
) -> None:
    """Show what the rules of params say of the records.

    Each rule of `validate` with how many records it is about, how many fail it, how many of these are kept, and the
    first that fail, with their values. Rules can be tried so before `dvc repro` runs the stage again.
    """
    from dedupver import terminal, trial  # noqa: PLC0415
    from dedupver.project import Project  # noqa: PLC0415
    from dedupver.state import require_idle  # noqa: PLC0415

    root = _root(context)
    require_idle(root)
    found = trial.tried(Project(root), most, source)
    _answer(found, terminal.validation(found), as_json=as_json)


@app.command(epilog="Example: dedupver splits --write out")
def splits(
    context: typer.Context,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write each split's records below this empty folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how many records are in which split.

    By split and stratum, how far that is from the ratios, the largest units that are assigned as a whole, and who could
    not be: records that tie several splits.
    """
    from dedupver import splits as module  # noqa: PLC0415

    root = _root(context)
    _speak_of(root, "workspace")
    found = module.splits(root)
    if write is not None:
        found |= {"written": module.write(root, write)}
    _answer(found, module.text(found), as_json=as_json)


@app.command(epilog="Example: dedupver check --history")
def check(
    context: typer.Context,
    history: Annotated[bool, typer.Option("--history", help="Check every released version instead.")] = False,
    as_json: Json = False,
) -> None:
    """Check digests and invariants of the version here, or the chain of all versions.

    Of the version here: that no file of the working tree is damaged, and every decision is as it must be. With
    `--history`: that each version's manifest, params, source and release of dedupver are those its commit has, that its
    parent is the version before it, and that it changed nothing of what that one wrote. It ends with exit code 5 where
    something does not hold.
    """
    from dedupver import terminal  # noqa: PLC0415
    from dedupver.state import require_idle  # noqa: PLC0415

    root = _root(context)
    require_idle(root)
    if history:
        from dedupver import lineage  # noqa: PLC0415

        links, found = lineage.verify(root)
        told = {
            "versions": [dataclasses.asdict(each) for each in links],
            "findings": list(map(dataclasses.asdict, found)),
        }
        _answer(told, terminal.lineage(links, found), as_json=as_json)
    else:
        from dedupver import check as checks  # noqa: PLC0415

        found = checks.check(root)
        _answer([dataclasses.asdict(finding) for finding in found], terminal.findings(found), as_json=as_json)
    if found:
        raise typer.Exit(5)


@app.command(epilog="Example: dedupver gates --json")
def gates(context: typer.Context, as_json: Json = False) -> None:
    """Show how far a version is from its gates.

    Each gate's value, bound and margin, of what is decided in build/dedup, be it written or not; of one that fails also
    what brought it about. It ends with exit code 7 where one fails.
    """
    from dedupver.gates import told  # noqa: PLC0415
    from dedupver.pipeline import judged  # noqa: PLC0415
    from dedupver.project import Project  # noqa: PLC0415
    from dedupver.state import require_idle  # noqa: PLC0415

    require_idle(_root(context))
    found = judged(Project(_root(context)))
    _answer(
        told.values(found.cases, found.offenders),
        told.table(found.version, found.cases, found.offenders),
        as_json=as_json,
    )
    if found.failed:
        raise typer.Exit(7)


app.add_typer(review, name="review")
app.command(epilog="Example: dedupver erase photos/0042.jpg --with-duplicates --history")(erase)
app.command(epilog="Example: dedupver erased --key ~/erasures.key")(erased)


@app.command(epilog="Example: dedupver blocks old.tar new.tar photos/")
def blocks(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, and folders with all that is below.")],
    size: Annotated[int, typer.Option(min=256, max=4 << 20, help="Bytes of a block on average.")] = 4096,
    as_json: Json = False,
) -> None:
    """Show what files and folders share, as they lie.

    Equal folders, equal files, and blocks that differing files have in common, with the bytes that storing each once
    would save. It needs no project and changes nothing.
    """
    from dedupver import blocks as shared  # noqa: PLC0415
    from dedupver import terminal  # noqa: PLC0415

    found = shared.shared(paths, size)
    _answer(dataclasses.asdict(found), terminal.shared(found), as_json=as_json)


def _root(context: typer.Context) -> Path:
    from dedupver.repository import dataset  # noqa: PLC0415

    return dataset(context.obj)


def _speak_of(root: Path, *revisions: str) -> None:
    """Refuse to speak of a workspace that is partly built; say where it is not what params.yaml says."""
    from dedupver import state  # noqa: PLC0415
    from dedupver.plain import plain  # noqa: PLC0415

    _say(f"note: {plain(line)}" for line in (state.as_built(root) if "workspace" in revisions else ()))


def _repository() -> Path:
    here = Path.cwd()
    return next((folder for folder in [here, *here.parents] if (folder / ".git").exists()), here)


def _with_opposite(root: Path, log: Log, found: Explanation) -> Explanation:
    """Return what would have to change, from the index: of one that was built with params that are known here."""
    from pydantic import ValidationError  # noqa: PLC0415

    from dedupver import remedies  # noqa: PLC0415
    from dedupver.project import Project  # noqa: PLC0415
    from dedupver.rivals import rivals_of  # noqa: PLC0415

    if found.decision["action"] not in {"keep", "drop"}:
        return found
    try:
        rivals = rivals_of(Project(root), log, found.decision["id"], log.reviews())
        opposite = remedies.opposite(found.decision, rivals)
    except ValidationError:
        return found
    words = remedies.in_words(found.decision, opposite, log.header["params"]["dedup"], log.header["version"])
    return dataclasses.replace(found, opposite=opposite, remedies=words)


def _fields(root: Path, mine: dict[str, Any], its: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of two records that have rows of tables, where the index is here."""
    if not any(part["modality"] == "row" for part in mine["parts"]) or not (root / "index").is_dir():
        return []
    from dedupver.compared import beside  # noqa: PLC0415
    from dedupver.index.segment import Index  # noqa: PLC0415
    from dedupver.project import Project  # noqa: PLC0415

    return beside(Project(root), Index.open(root / "index"), mine, its)


def _overlap(root: Path, mine: dict[str, Any], its: dict[str, Any]) -> list[dict[str, Any]]:
    """Return where one text stands in the other, if that is why a record went, as the source has them."""
    if f".{NGRAMS}=" not in (mine["evidence"] or ""):
        return []
    from dedupver.overlap import overlap  # noqa: PLC0415
    from dedupver.project import Project  # noqa: PLC0415

    return overlap(Project(root), mine, its)


def _replayed(rows: list[dict[str, Any]]) -> Iterable[str]:
    from dedupver.plain import columns  # noqa: PLC0415

    shown = [[", ".join(cell) if isinstance(cell, list) else cell for cell in row.values()] for row in rows]
    return columns([list(rows[0]), *shown]) if rows else ()


def _key_and_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE")
    return key, value


def _say(lines: Iterable[str], *, err: bool = True) -> None:
    for line in lines:
        typer.echo(line, err=err)


def _answer(value: object, lines: Iterable[str], *, as_json: bool) -> None:
    if as_json:  # ASCII: a name can't steer the terminal
        typer.echo(json.dumps(value, indent=1, sort_keys=True))
        return
    _say(lines, err=False)
