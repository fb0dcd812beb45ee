"""`dedupver splits`: what is in which split, who could not be put into one, and each split as a dataset of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dedupver import publish, store
from dedupver.manifest import open_manifest
from dedupver.plain import columns, plain
from dedupver.project import Project
from dedupver.schema import StateError
from dedupver.split.assigned import EXCEPTIONS, HEADER, Earlier, read_exceptions
from dedupver.split.divide import kept_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOWN: Final = 20
"""So many strata, and records that tie splits, are shown."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What can be the name of a split's folder."""


def splits(root: Path) -> dict[str, Any]:
    """Return the version, what the split stage told of it, and its exceptions.

    Raises StateError where there are no splits, or where they are another version's.
    """
    place = _opened(root)
    header = store.read_json(place / HEADER)
    exceptions = read_exceptions(place / EXCEPTIONS)
    return {"version": header["version"], **header["told"], "exceptions": exceptions, "params": header["params"]}


def text(found: dict[str, Any]) -> Iterator[str]:
    """Yield the text of `dedupver splits`."""
    ratios, sizes = _by_ratio(found), found["sizes"]
    basis = "" if ratios else ", as the data gives them: split.ratios is empty"
    yield f"{plain(found['version'])}: {found['records']} kept records{basis}"
    rows = [("split", "records", "share", *(("ratio",) if ratios else ()))]
    total = max(sum(sizes.get(name, 0) for name in ratios) if ratios else sum(sizes.values()), 1)
    for name in [*ratios, *(name for name in sizes if name not in ratios)]:
        share = f"{sizes.get(name, 0) / total:.4f}"
        rows.append((name, str(sizes.get(name, 0)), share, *((str(ratios.get(name, "")),) if ratios else ())))
    if found["unassigned"]:
        rows.append(("(none)", str(found["unassigned"]), "", *(("",) if ratios else ())))
    yield from columns(rows)
    yield from _strata(found)
    if ratios:
        yield from _units(found)
    yield from _exceptions(found["exceptions"])


def _by_ratio(found: dict[str, Any]) -> dict[str, float]:
    """Return the ratios, the largest first."""
    return dict(sorted(found["ratios"].items(), key=lambda item: (-item[1], item[0])))


def _strata(found: dict[str, Any]) -> Iterator[str]:
    names = [*_by_ratio(found), *(name for name in found["sizes"] if name not in found["ratios"])]
    largest = found["largest_strata"][:SHOWN]
    yield f"strata, by {', '.join(found['params']['by']) or 'nothing'}: {found['strata']}, the largest:"
    off = ("off",) if found["ratios"] else ()
    head = ("  stratum", "records", *names, *off)
    rows = [
        (
            f"  {each['stratum']}",
            each["records"],
            *(each["sizes"].get(n, 0) for n in names),
            *([each["off"]] if off else ()),
        )
        for each in largest
    ]
    yield from columns([head, *rows])


def _units(found: dict[str, Any]) -> Iterator[str]:
    worst = found["worst_stratum"]
    if worst:
        yield f"furthest from its ratios: {plain(worst['stratum'])}, by {worst['off']} records"
    several = [each for each in found["largest_units"] if each["records"] > 1]
    yield f"units: {found['units']}" + (", the largest of several records:" if several else ", each one record")
    yield from columns([(f"  {each['unit']}", each["records"], each["split"]) for each in several])


CASES: Final = {
    "bridge": "tie several splits, and are in none",
    "straddles": "are alike to records of another split, and stay where they were",
    "given_otherwise": "are in another split than the data gives",
}


def _exceptions(exceptions: list[dict[str, Any]]) -> Iterator[str]:
    for case, words in CASES.items():
        mine = [row for row in exceptions if row["case"] == case]
        if mine:
            yield f"{len(mine)} records {words}:"
            rows = [
                (
                    f"  {row['id']}",
                    {"keep": "kept", "drop": "dropped"}[row["action"]],
                    row["split"],
                    ", ".join(row["others"]),
                )
                for row in mine[:SHOWN]
            ]
            yield from columns([("  id", "", "split", "others"), *rows])


def write(root: Path, target: Path) -> dict[str, int]:
    """Write each split's records below `target`, in the form they came in; return how many, by split.

    Raises StateError where `target` holds something, where there are no splits, or for one that can't name a folder;
    SourceError where the source is no longer what was read.
    """
    place, project = _opened(root), Project(root)
    kept = _kept(root, place)
    names = sorted(pc.unique(kept["split"]).drop_null().to_pylist())
    if bad := [name for name in names if not NAME.fullmatch(name)]:
        raise StateError(f"the split {bad[0]!r} can't name a folder: rename it in the data, or set split.ratios")
    if target.exists() and any(target.iterdir()):
        raise StateError(f"{target} holds something: name an empty folder")
    return {name: _publish(project, target / name, kept.filter(pc.equal(kept["split"], name))) for name in names}


def _publish(project: Project, target: Path, rows: pa.Table) -> int:
    source, link = project.params.source, project.params.manifest.link
    if source.mode == "snapshot":
        target.mkdir(parents=True)
        return publish.publish(project.raw, target, rows, source, link)
    written = 0
    for version in pc.unique(rows["version"]).to_pylist():
        (target / version).mkdir(parents=True)
        mine = rows.filter(pc.equal(rows["version"], version))
        written += publish.publish(project.batch(version), target / version, mine, source, link)
    return written


def _kept(root: Path, place: Path) -> pa.Table:
    """Return the kept records of the data, where they lie, and their splits."""
    live = open_manifest(root / "manifest").live(("id", "path", "row", "role", "action", "version", "split"))
    live = live.filter(pa.array(kept_of(live)))
    if not store.read_json(place / HEADER)["params"]["ratios"]:
        return live
    return live.set_column(live.schema.get_field_index("split"), "split", Earlier.open(place).by_id(live["id"]))


def _opened(root: Path) -> Path:
    """Return the splits' directory, checked, if it is of the manifest that is here."""
    place = root / "splits"
    if not (place / HEADER).is_file():
        raise StateError("splits/ is missing: run `dvc repro`, or `dvc checkout` for a version that was built")
    store.verified(place)
    if store.read_json(place / HEADER)["manifest"] != store.sha256_file(root / "manifest" / store.LISTING):
        raise StateError("splits/ is not of the manifest that is here: run `dvc repro`")
    return place
