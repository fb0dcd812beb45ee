"""`dedupver erase` and `dedupver erased`: ask, call, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer asks for it
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dedupver.erase.plan import Plan
    from dedupver.erase.run import Options

# ruff: noqa: PLC0415 - `--help` need not wait for Arrow and DVC

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def erase(  # noqa: PLR0913, PLR0917 - what can be said of an erasure
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID...", help="The records' ids.")] = None,
    listed: Annotated[Path | None, typer.Option("--from", metavar="FILE", help="Ids, one a line.")] = None,
    with_duplicates: Annotated[
        bool, typer.Option("--with-duplicates", help="Erase the duplicates that are listed as well.")
    ] = False,
    only: Annotated[bool, typer.Option("--only", help="Erase the records named and leave their duplicates.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="Rewrite earlier versions too, and move the tags.")
    ] = False,
    yes_erase: Annotated[
        int | None, typer.Option("--yes-erase", metavar="N", help="Confirm that N records are erased from history.")
    ] = None,
    drop_backup: Annotated[
        bool,
        typer.Option(
            "--drop-backup",
            help="Remove what history was, clean caches and remotes, and prove it. It can't be undone.",
        ),
    ] = False,
    remote: Annotated[
        list[str] | None,
        typer.Option("--remote", metavar="NAME", help="A remote of DVC's to clean and search; by default all."),
    ] = None,
    project: Annotated[
        list[Path] | None,
        typer.Option("--project", metavar="DIR", help="Another project that uses the same cache or remotes."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="The key of the certificate's hashes, outside of the repository."),
    ] = None,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on though other records are judged otherwise.")
    ] = False,
    accept_mentions: Annotated[
        bool, typer.Option("--accept-mentions", help="Go on though what stays holds some of it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase records, and prove that they are gone.

    Their duplicates, also those dropped, are listed first, to be decided on with them. Without --history the
    present version is built again without them, on one commit more. With it every version is; tags move, the old
    ones are kept until --drop-backup, which cleans caches and remotes, searches every object and writes a
    certificate.
    """
    from dedupver.erase.run import Options
    from dedupver.repository import dataset

    root = dataset(context.obj)
    lines = listed.read_text("utf-8").split("\n") if listed else []
    names = [*(ids or []), *(line.removesuffix("\r") for line in lines)]
    if drop_backup and names and not history:
        raise typer.BadParameter("--drop-backup goes with --history, or finishes what that began")
    options = Options(
        history=history,
        drop_backup=drop_backup,
        remotes=tuple(remote or ()),
        projects=tuple(project or ()),
        key=_key(key, root),
        accept_changes=accept_changes,
        accept_mentions=accept_mentions,
    )
    named = [name for name in names if name]
    done = _erased(root, named, options, with_duplicates=with_duplicates, only=only, yes=yes_erase)
    _print(done | ({"key": options.key} if "certificate" in done and not key else {}), as_json=as_json)


def erased(
    context: typer.Context,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The key of the certificates' hashes.")],
    as_json: Json = False,
) -> None:
    """Show which erased records have come back.

    Ids and contents of the version here are compared with the certificates that were made with the key. It ends
    with exit code 5 where one is there again.
    """
    from dedupver.repository import dataset

    _print_returned(dataset(context.obj), key, as_json=as_json)


def _erased(  # noqa: PLR0913 - what was asked for, and how it was decided
    root: Path, names: list[str], options: Options, *, with_duplicates: bool, only: bool, yes: int | None
) -> dict[str, Any]:
    from dedupver.erase import run

    done: dict[str, Any] = {}
    if names or run.pending(root) is None:
        run.require_none_pending(root)
        planned = _decided(root, names, with_duplicates=with_duplicates, only=only)
        if options.history:
            _confirm(planned, yes)
        done = run.begin(root, planned, options, _say)
    return done | (run.finish(root, options, _say) if options.drop_backup else {})


def _print_returned(root: Path, key: Path, *, as_json: bool) -> None:
    from dedupver.erase import certificate
    from dedupver.manifest import open_manifest
    from dedupver.plain import plain
    from dedupver.schema import StateError

    if not key.is_file():
        raise StateError(f"{key} is missing: name the file with the key that the erasures were certified with")
    found = certificate.returned(root, open_manifest(root / "manifest"), certificate.key_in(key, root))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for line in [plain(name) for name in found] or ["none of the erased records is here"]:
            typer.echo(line)
    if found:
        raise typer.Exit(5)


def _decided(root: Path, names: list[str], *, with_duplicates: bool, only: bool) -> Plan:
    """Return what is to be erased, after the duplicates were shown and decided on."""
    from dedupver.erase import plan as planning
    from dedupver.schema import StateError

    if not names:
        raise StateError("name the records to erase: `dedupver erase ID`, or --from FILE")
    if with_duplicates and only:
        raise typer.BadParameter("--with-duplicates and --only contradict each other")
    planned = planning.plan(root, names)
    for line in _listed(planned):
        _say(line)
    if planned.duplicates and not (with_duplicates or only):
        if not sys.stdin.isatty():
            raise StateError(
                f"{len(planned.duplicates)} other records are duplicates of these: say --with-duplicates to erase them "
                "too, or --only to leave them"
            )
        answer = typer.prompt("erase the duplicates too? (all/only/stop)", err=True)
        if answer not in {"all", "only"}:
            raise StateError("nothing was erased")
        with_duplicates = answer == "all"
    if with_duplicates:
        planned = planning.chosen(planned, {*planned.ids, *(each.id for each in planned.duplicates)})
    planning.require_whole(planned)
    return planned


def _confirm(planned: Plan, yes: int | None) -> None:
    from dedupver.schema import StateError

    count = len(planned.ids)
    if yes is None:
        if not sys.stdin.isatty():
            raise StateError(f"{count} records would be erased from all of history: say --yes-erase {count}")
        yes = typer.prompt(
            f"{count} records go from {planned.released[planned.first].name} and every later version, and tags move. "
            "Type their number",
            type=int,
            err=True,
        )
    if yes != count:
        raise StateError(f"not confirmed: these are {count} records, not {yes}; nothing was erased")


def _listed(planned: Plan) -> Iterator[str]:
    from dedupver.plain import columns

    yield f"to be erased: {len(planned.ids)} records"
    rows = [("duplicate" if each.duplicate else "alike", each.id, each.of, each.how) for each in planned.alike]
    if rows:
        yield from columns([("", "other record", "of", "how"), *rows])
    if any(not each.duplicate for each in planned.alike):
        yield "what is merely alike is left, unless you name it"


def _print(done: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(done, indent=1, sort_keys=True))
        return
    for line in _told(done):
        typer.echo(line)


def _told(done: dict[str, Any]) -> Iterable[str]:
    from dedupver.plain import columns, plain

    if "versions" in done:
        names = ("version", "erased", "decided alike", "judged again", "others", "files alike", "rows alike", "commit")
        rows = [
            (
                each["version"],
                each["records_erased"],
                each["decided_alike"],
                each["judged_again"],
                each["others_that_differ"],
                each["files_alike"],
                each["rows_alike"],
                f"{each['old'][:9]} → {each['new'][:9] if each['new'] else 'the next'}",
            )
            for each in done["versions"]
        ]
        yield from columns([names, *rows])
    for each in done.get("changed", ()):
        yield plain(f"{each['version']}: {each['id']} was {each['before']}, is {each['after']}")
    for url in done.get("elsewhere", ()):
        yield plain(f"not reached: {url}")
    if "searched" in done:
        yield from columns(
            [("searched", "objects", "bytes"), *((p, n["objects"], n["bytes"]) for p, n in done["searched"].items())]
        )
        yield f"found: {done['hits']}"
        for each in done["not_opened"]:
            yield plain(f"searched as it lies, not opened: {each['place']}: {each['name']} ({each['why']})")
        yield f"certificate: {done['certificate']}"
        if "key" in done:
            yield f"its key, which is kept nowhere: {done['key']}"
    elif "undo" in done:
        yield "the old history is kept beside. To put it back:"
        yield f"  {done['undo']}"
        yield "To remove it for good, clean DVC's cache and remotes and prove it:"
        yield "  dedupver erase --drop-backup"


def _key(path: Path | None, root: Path) -> str:
    from dedupver.erase import certificate

    return certificate.key_in(path, root) if path else certificate.new_key()


def _say(line: str) -> None:
    typer.echo(line, err=True)
