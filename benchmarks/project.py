"""A dedupver project in a folder, as `dedupver init` and `dedupver next` lay it out: no git, no DVC, no encoder."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import yaml

from dedupver import repository, store, versions
from dedupver.schema import FORMAT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def lay_out(root: Path, data: Iterable[Path], settings: dict[str, Any]) -> None:
    """Make a first version of some files; `settings` go over the defaults, keys dotted."""
    store.write_json(root / "base/base.json", {"format": FORMAT, "version": None})
    (root / "params.yaml").write_text(yaml.safe_dump({"source": {"columns": {"id": "id"}}}), encoding="utf-8")
    plain = {"fingerprint.text.encoder": None, "fingerprint.image.encoder": None}
    change(root, {**plain, **settings})
    add(root, data)


def change(root: Path, settings: dict[str, Any]) -> None:
    """Set params, keys dotted."""
    repository.assign(root / "params.yaml", settings)


def add(root: Path, data: Iterable[Path]) -> None:
    """Put files into the source."""
    (root / "data/raw").mkdir(parents=True, exist_ok=True)
    for path in data:
        os.link(path, root / "data/raw" / path.name)


def open_next(root: Path, name: str) -> None:
    """Open the next version: what was built becomes the base; in append mode the source is emptied."""
    mode = repository.read_yaml(root / "params.yaml")["source"].get("mode")
    versions.build_base(root, root / "next-base")
    shutil.rmtree(root / "base")
    (root / "next-base").replace(root / "base")
    if mode == "append":
        shutil.rmtree(root / "data/raw")
    change(root, {"version.name": name})
