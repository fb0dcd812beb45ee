"""Run a command; how much memory it and all the processes it started took, over time."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERVAL: Final = 0.1  # seconds between two looks at the memory


class Failed(Exception):  # noqa: N818 - it is what happened
    """The command ended with another status than 0; holds the end of what it printed."""


def run(command: list[str], env: Mapping[str, str], log: Path) -> list[tuple[float, int]]:
    """Run to the end; return (monotonic seconds, bytes resident) of the session's processes, added up.

    Of a page that processes share each counts its part.
    """
    samples: list[tuple[float, int]] = []
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(process.pid, samples, ended))
        watch.start()
        try:
            status = process.wait()
        finally:
            ended.set()
            watch.join()
    if status:
        raise Failed(f"{' '.join(command)} ended with {status}:\n{log.read_text(errors='replace')[-3000:]}")
    return samples


def tenths(samples: list[tuple[float, int]]) -> list[int]:
    """Return the most bytes in each tenth of the time between the first and the last sample; 0 where there is none."""
    if not samples:
        return [0] * 10
    start, span = samples[0][0], max(samples[-1][0] - samples[0][0], 1e-9)
    most = [0] * 10
    for at, size in samples:
        part = min(int(10 * (at - start) / span), 9)
        most[part] = max(most[part], size)
    return most


def _watch(session: int, samples: list[tuple[float, int]], ended: threading.Event) -> None:
    while not ended.wait(INTERVAL):
        samples.append((time.monotonic(), resident(session)))


def resident(session: int) -> int:
    """Return the bytes resident of all processes of a session (Linux)."""
    total = 0
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(entry.path, "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == session:
                total += _proportional(Path(entry.path, "smaps_rollup").read_text(encoding="ascii"))
        except OSError:
            continue  # it ended meanwhile
    return total


def _proportional(told: str) -> int:
    """Return the bytes of what Linux tells as `Pss: N kB`; 0 of a process that has ended."""
    return next((int(line.split()[1]) << 10 for line in told.splitlines() if line.startswith("Pss:")), 0)
