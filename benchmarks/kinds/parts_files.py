"""Files that share blocks and folders that are equal, found by `dedupver blocks` and by others.

Two releases of the Linux source (Debian: linux-source-6.1), as archives and, the folder arch, as trees; ten releases of
airportsdata. Of each tool the bytes of distinct blocks are counted before compression: what the package fastcdc cuts at
the same setting, where its blocks are smaller, as those of 3,072 bytes here; what a restic repository holds (Debian;
`restic stats --mode raw-data`, compression off), names and folders included; and the size of a zpaq archive that is not
compressed (Debian; `-method 0`), its index included. Equal folders are compared with digests of whole trees in plain
Python, and with rmlint (Debian), which is told to honour names (`--honour-dir-layout`) and to see hidden files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bench import HERE, tell
from benchmarks.tasks import Source
from benchmarks.tools import Tool, environment
from dedupver.blocks import cut, shared
from dedupver.blocks.pairs import shared as common

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

APT: Final = ("apt-get", "-q", "download")
PIP: Final = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps")
LINUX: Final = "linux-source-6.1"
TREE: Final = "arch"  # the folder of the source that is read as a tree
AIRPORTS: Final = (
    *("20240207", "20240309", "20240415", "20240728", "20241001"),
    *("20250224", "20250622", "20250909", "20260315", "20260905"),
)
TREES: Final = ("trees", "airports")
DATA: Final = ("archives", *TREES)
SIZES: Final = (3072, 4096, 65536, 1 << 20)
OTHERS: Final = ("restic", "zpaq", "rmlint", "libjson-glib-1.0-0")
FASTCDC: Final = Tool("fastcdc", "fastcdc")
OURS: Final = {size: f"dedupver, {size:,} bytes" for size in SIZES}
CUT: Final = "fastcdc, 4,096 bytes"
ZPAQ: Final = "zpaq, 65,536 bytes"
RESTIC: Final = "restic, 1,048,576 bytes"
TOOLS: Final = (OURS[3072], OURS[4096], CUT, OURS[65536], ZPAQ, OURS[1 << 20], RESTIC)


def measured(work: Path) -> dict[str, Any]:
    """Return what blocks would save, and how the folders that are found compare with those that are equal."""
    place = work / "parts"
    place.mkdir(parents=True, exist_ok=True)
    archives, trees = linux(work)
    data = dict(zip(DATA, (archives, trees, airports(work)), strict=True))
    programs = unpacked(work)
    blocks = {}
    for name, paths in data.items():
        tell(f"blocks: {name}")
        blocks[name] = {"bytes": sum(file.stat().st_size for file in _files(paths)), **saved(paths, programs, work)}
        blocks[name]["files"] = sum(1 for _ in _files(paths))
    tell("folders")
    return {"blocks": blocks, "folders": {name: folders(data[name], programs) for name in TREES}}


# the data


def linux(work: Path) -> tuple[list[Path], list[Path]]:
    """Return the archives of the oldest and the newest release that Debian has, or that were fetched, and TREE of each."""
    place = work / "parts" / "linux"
    place.mkdir(parents=True, exist_ok=True)
    if len(list(place.glob("*.tar"))) < 2:
        listed = subprocess.run(["apt-cache", "madison", LINUX], check=True, capture_output=True, text=True).stdout
        versions = [line.split("|")[1].strip() for line in listed.splitlines()]
        for version in (versions[0], versions[-1]):
            _write_tar(Source(f"{LINUX}={version}", APT).fetch(work), place / f"{version}.tar")
    archives = sorted(place.glob("*.tar"))
    for archive in archives:
        if not archive.with_suffix("").exists():
            with tarfile.open(archive) as members:
                wanted = (member for member in members if f"/{TREE}/" in member.name)
                members.extractall(archive.with_suffix(""), members=wanted, filter="data")
    return archives, [next(archive.with_suffix("").glob(f"*/{TREE}")) for archive in archives]


def _write_tar(package: Path, target: Path) -> None:
    """Take the archive of the source out of a package, uncompressed."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpack:
        with tarfile.open(fileobj=unpack.stdout, mode="r|") as members:
            for member in members:
                inner = members.extractfile(member) if re.fullmatch(r".*\.tar\.xz", member.name) else None
                if inner:
                    xz = target.with_suffix(".xz")
                    with xz.open("wb") as out:
                        shutil.copyfileobj(inner, out)
                    with target.open("wb") as out:
                        subprocess.run(["xz", "--decompress", "--stdout", str(xz)], check=True, stdout=out)
                    xz.unlink()
        unpack.kill()


def airports(work: Path) -> list[Path]:
    """Return the folder of each release."""
    place = work / "parts" / "airports"
    for version in AIRPORTS:
        if not (place / version).exists():
            with zipfile.ZipFile(Source(f"airportsdata=={version}", PIP).fetch(work)) as wheel:
                wheel.extractall(place / version)  # noqa: S202 - a wheel of PyPI
    return [place / version for version in AIRPORTS]


def unpacked(work: Path) -> Path:
    """Return where the programs of Debian packages are unpacked."""
    place = work / "unpacked" / "parts"
    if not place.exists():
        for package in OTHERS:
            subprocess.run(["dpkg-deb", "-x", str(Source(package, APT).fetch(work)), str(place)], check=True)
    return place / "usr"


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        for folder, _, names in os.walk(path):
            yield from (at for at in (Path(folder, name) for name in names) if at.is_file() and not at.is_symlink())


# blocks


def saved(paths: Sequence[Path], programs: Path, work: Path) -> dict[str, Any]:
    """Return of each tool the bytes of distinct blocks, of some the bytes of a block on average; and of equal files once."""
    found, mean = {}, {}
    for size, name in OURS.items():
        files, _, _ = cut.read(paths, size)
        found[name] = common(files)
        mean[name] = sum(int(file.sizes.sum()) for file in files) / sum(len(file.sizes) for file in files)
    script = [str(environment(FASTCDC, work)), "-P", str(HERE / "peers/fastcdc.py"), str(cut.SIZE)]
    told = json.loads(subprocess.run([*script, *map(str, paths)], check=True, capture_output=True, text=True).stdout)
    mean[CUT] = told["bytes"] / told["count"]
    others = {CUT: told["blocks"], ZPAQ: zpaq(paths, programs, work), RESTIC: restic(paths, programs, work)}
    return {
        "distinct files": found[OURS[cut.SIZE]].distinct,
        "blocks": {name: each.blocks for name, each in found.items()} | others,
        "mean": {name: round(size) for name, size in mean.items()},
    }


def zpaq(paths: Sequence[Path], programs: Path, work: Path) -> int:
    """Return the size of an archive of files that is not compressed."""
    target = work / "parts" / "archive.zpaq"
    target.unlink(missing_ok=True)
    command = [str(programs / "bin/zpaq"), "add", str(target), *map(str, paths), "-method", "0"]
    subprocess.run(command, check=True, capture_output=True)
    size = target.stat().st_size
    target.unlink()
    return size


def restic(paths: Sequence[Path], programs: Path, work: Path) -> int:
    """Return the bytes of blocks in a repository of files."""
    place = work / "parts" / "restic"
    shutil.rmtree(place, ignore_errors=True)
    env = {
        **os.environ,
        "RESTIC_REPOSITORY": str(place),
        "RESTIC_PASSWORD": "-",
        "RESTIC_CACHE_DIR": str(place / "cache"),
    }

    def run(*words: str) -> str:
        command = [str(programs / "bin/restic"), "--no-cache", "--compression", "off", *words]
        return subprocess.run(command, check=True, env=env, capture_output=True, text=True).stdout

    run("init")
    run("backup", "--quiet", *map(str, paths))
    size = json.loads(run("stats", "--mode", "raw-data", "--json"))["total_size"]
    shutil.rmtree(place)
    return int(size)


# folders


def folders(paths: Sequence[Path], programs: Path) -> dict[str, Any]:
    """Return how many pairs of folders are equal, by digests of whole trees, and what of it is found."""
    digests = {folder: digest for path in paths for folder, digest in trees(path).items()}
    true = pairs(digests)
    told = {
        "dedupver": [list(map(Path, group.paths)) for group in shared(paths).folders],
        "rmlint": rmlint(paths, programs),
    }
    found = {}
    for name, groups in told.items():
        implied = implied_by(groups, digests)
        found[name] = {"groups": len(groups), "found": len(true & implied), "wrong": len(implied - true)}
    return {"folders": len(digests), "equal pairs": len(true), "tools": found}


def trees(root: Path) -> dict[Path, bytes]:
    """Return a digest of all that lies below each folder that holds a file, names and contents."""
    found: dict[Path, bytes] = {}
    for name, below, files in os.walk(root, topdown=False):
        folder = Path(name)
        held = {at: found.get(folder / at, b"") for at in below if not (folder / at).is_symlink()}
        for at in (*files, *(each for each in below if (folder / each).is_symlink())):
            path = folder / at
            linked = path.is_symlink() and path.is_dir()
            held[at] = hashlib.sha256(os.fsencode(path.readlink()) if linked else path.read_bytes()).digest()
        if any(held.values()):
            told = b"".join(os.fsencode(at) + b"\0" + what for at, what in sorted(held.items()) if what)
            found[folder] = hashlib.sha256(told).digest()
    return found


def pairs(digests: Mapping[Path, bytes]) -> set[tuple[Path, Path]]:
    """Return the pairs of equal folders."""
    groups = defaultdict(list)
    for folder, digest in digests.items():
        groups[digest].append(folder)
    return {pair for members in groups.values() for pair in itertools.combinations(sorted(members), 2)}


def implied_by(groups: Iterable[Sequence[Path]], digests: Mapping[Path, bytes]) -> set[tuple[Path, Path]]:
    """Return the pairs of folders that are equal if the groups are right: their members, and what lies below alike."""
    same: dict[Path, Path] = {}  # folder → another that equals it

    def root(path: Path) -> Path:
        while path in same:
            path = same[path]
        return path

    below = defaultdict(list)
    for folder in digests:
        for above in (folder, *folder.parents):
            below[above].append(folder)
    for first, *others in groups:
        for other in others:
            for folder in below[first]:
                a, b = root(folder), root(other / folder.relative_to(first))
                if a != b:
                    same[a] = b
    return pairs({folder: os.fsencode(root(folder)) for folder in digests})


def rmlint(paths: Sequence[Path], programs: Path) -> list[list[Path]]:
    """Return the groups of equal folders that rmlint tells of, each at the top of what is equal."""
    library = next(programs.glob("lib/*/libjson-glib-1.0.so.0")).parent
    options = ["--types=dd", "--honour-dir-layout", "--hidden", "--see-symlinks", "-o", "json:stdout"]
    done = subprocess.run(
        [str(programs / "bin/rmlint"), *options, *map(str, paths)],
        check=False,  # it ends with 1 where it found something
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(library)},
    )
    groups = defaultdict(list)
    for row in json.loads(done.stdout):
        if row.get("type") == "duplicate_dir":
            groups[row["checksum"]].append(Path(row["path"]))
    return [sorted(members) for members in groups.values()]
