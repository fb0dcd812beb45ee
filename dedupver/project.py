"""A project on disk: its params, the paths of what stages read and write, and the base."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from dedupver import manifest, params, store
from dedupver.index.segment import Index
from dedupver.schema import BROUGHT, FAILURE, INVALID, ParamsError, SourceError, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Unread = Mapping[str, Sequence[tuple[int, int]]]

LOCK: Final = "build/.running"
"""The process id of the stage that runs."""

UNREAD: Final = "unread.json"
"""The file of the rows that only the base has read: by path the first, and the one after the last, of each piece."""


class Project:
    """The paths of a project and its params."""

    def __init__(self, root: Path) -> None:
        """Read params.yaml below `root`."""
        self.root = root
        self.params = params.load(root / "params.yaml")
        self.build, self.index = root / "build", root / "index"
        self.manifest, self.clean = root / "manifest", root / "clean"
        self.splits = root / "splits"
        self.metrics, self.plots = root / "metrics", root / "plots"
        self.raw = root / self.params.source.path
        self.catalogues = root / "data" / "catalogues"

    @property
    def forgets(self) -> bool:
        """Whether all is judged from raw, whatever was released before."""
        return self.params.version.base == "none"

    @property
    def base(self) -> Path | None:
        """The released version that this one is compared with; None for the first, or where params say so."""
        return None if self.forgets or self._stated()["version"] is None else self.root / "base"

    def base_index(self, wanted: dict[str, Any]) -> Index:
        """Open the base's index, checked and built with the `wanted` settings; an empty one where there is no base."""
        index = Index((), {}) if self.forgets else Index.open(self.root / "base" / "index")
        index.require(wanted)
        return index

    def base_log(self) -> manifest.Log:
        """Return what the base decided; an empty log where there is no base.

        Raises ParamsError in mode append on a base of mode snapshot: it holds no batches to publish again.
        """
        if self.base is None:
            return manifest.EMPTY
        log = manifest.open_manifest(self.base / "manifest")
        if self.params.source.mode == "append" and log.header["mode"] == "snapshot":
            raise ParamsError(
                f"source.mode is append, and {log.header['version']} was a snapshot: put all data into "
                f"{self.params.source.path} and set `version.base: none` for this version, or go on with snapshot"
            )
        return log

    def read(self) -> tuple[pa.Table, Unread]:
        """Return the records that were read (schema BROUGHT, no version null), and the rows that only the base has."""
        return brought(self.build / "fingerprint", self.params.version.name)

    def read_before(self) -> dict[str, Any]:
        """Return what the base says of what it has read (records.earlier); nothing where there is no base."""
        return dict(store.read_json(store.Sealed(self.base / "manifest").file(manifest.READ))) if self.base else {}

    def invalid(self) -> pa.Table:
        """Return the id of each record that validation takes out, and why (code, detail), sorted by id."""
        if not self.params.validation.rules:
            return verdicts(FAILURE.empty_table())
        return verdicts(store.read_table(store.Sealed(self.build / "validate").file("failed.parquet"), FAILURE))

    def decided(self) -> manifest.Log:
        """Return what the base decided, and after it what dedup decided for this version."""
        sealed = store.Sealed(self.build / "dedup")
        return self.base_log().then(self.params.version.name, lambda name: sealed.file(f"{name}.parquet"))

    def batches(self) -> dict[str, Path]:
        """Return the version → folder of each batch to read, oldest first: the source; without a base all so far.

        Raises SourceError where the source is missing, StateError where an earlier batch is.
        """
        if not self.raw.is_dir():
            raise SourceError(f"{self.raw} is no directory: run `dvc checkout`, or put the data there and `dvc add` it")
        earlier: list[str] = []
        if self.forgets and self.params.source.mode == "append":
            earlier = [each["version"] for each in self._stated().get("batches", [])]
            if {p.name for p in (self.root / "base" / "raw").glob("*")} != set(earlier):
                raise StateError(
                    "base/raw does not hold the batches that base/base.json states: run `dvc checkout base`"
                )
        return {version: self.batch(version) for version in [*earlier, self.params.version.name]}

    def batch(self, version: str) -> Path:
        """Return the folder of a version's own raw data in mode append."""
        return self.raw if version == self.params.version.name else self.root / "base" / "raw" / version

    def require_dep(self, stage: str, path: str) -> None:
        """Raise StateError where dvc.yaml does not say that a stage reads a path: a change of it would go unseen."""
        if not (self.root / "dvc.yaml").exists():  # run without DVC
            return
        stages = yaml.safe_load((self.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        if path not in stages[stage]["deps"]:
            raise StateError(f"dvc.yaml: add the line `- {path}` to the deps of the stage {stage}, which reads it")

    def printed_with(self) -> dict[str, Any]:
        """Return the settings and the models that decide what a fingerprint is."""
        from dedupver.fingerprint.encoders import find_model  # noqa: PLC0415 - only two of the stages ask

        joint = self.params.fingerprint.joint
        models: dict[str, Any] = {
            modality: find_model(spec, modality).digest if spec else None
            for modality, spec in (
                ("text", self.params.fingerprint.text.encoder),
                ("image", self.params.fingerprint.image.encoder),
            )
        }
        spaces = {"joint": (joint.encoder, "image"), "heard": (joint.sounds, "audio")}
        for name, (spec, modality) in spaces.items():
            if spec:
                models[name] = [find_model(spec, side).digest for side in (modality, "text")]
        return {"fingerprint": self.params.fingerprint.model_dump(mode="json"), "models": models}

    def built_with(self) -> dict[str, Any]:
        """Return all the settings that must not change under an index."""
        settings = self.params.match.model_dump(mode="json", exclude={"recall_sample"})
        for name in ("ef", "neighbours"):  # these change no file of it
            del settings["hnsw"][name]
        return {**self.printed_with(), "match": settings}

    def _stated(self) -> dict[str, Any]:
        """Return what the base says of itself."""
        path = self.root / "base" / "base.json"
        if not path.exists():
            raise StateError(f"{path} is missing: run `dvc checkout base`, or `dedupver init` in a new repository")
        stated: dict[str, Any] = store.read_json(path)
        return stated


def running(root: Path) -> int | None:
    """Return the id of the other process that runs a stage in the project at `root`, None where there is none."""
    try:
        owner = (root / LOCK).read_bytes().strip()
    except FileNotFoundError:
        return None
    there = owner.isdigit() and int(owner) != os.getpid() and Path(f"/proc/{int(owner)}").exists()
    return int(owner) if there else None


def brought(prints: Path, version: str) -> tuple[pa.Table, Unread]:
    """Return what fingerprint wrote of the records of a version: see `Project.read`."""
    sealed = store.Sealed(prints)
    records = store.read_table(sealed.file("records.parquet"), BROUGHT)
    named = pc.fill_null(records["version"], version)
    return records.set_column(records.num_columns - 1, BROUGHT.field("version"), named), store.read_json(
        sealed.file(UNREAD)
    )


def verdicts(failed: pa.Table) -> pa.Table:
    """Return the first reason for which each record that fails goes: id, code, detail, sorted by id."""
    goes = failed.filter(pc.equal(failed["action"], "quarantine"))
    goes = goes.append_column("order", pc.index_in(goes["code"], pa.array(INVALID)))
    goes = goes.sort_by([(name, "ascending") for name in ("id", "order", "rule")])
    first = pc.index_in(pc.unique(goes["id"]), goes["id"])
    return goes.select(["id", "code", "detail"]).take(first)
