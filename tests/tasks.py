"""Functions that the engine's tests give to worker processes, which import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

Mark = tuple[str, int]
"""A folder to leave marks in, and a number."""


def square(number: int) -> int:
    """Return the square, the later the smaller the number is."""
    time.sleep(max(0, 5 - number) / 50)
    return number * number


def write(mark: Mark) -> str:
    """Write a file; return its name."""
    path = Path(mark[0]) / f"{mark[1]:03}.txt"
    path.write_text(f"{mark[1]}\n" * mark[1])
    return path.name


def die_once_by_signal(mark: Mark) -> int:
    """Kill the process at number 3, once."""
    if _first_time(mark, at=3):
        os.kill(os.getpid(), signal.SIGKILL)
    return mark[1]


def die_once_by_exit(mark: Mark) -> int:
    """End the process at number 3, once."""
    if _first_time(mark, at=3):
        os._exit(9)
    return mark[1]


def die_at_3(mark: Mark) -> int:
    """End every process that comes to number 3."""
    with (Path(mark[0]) / "tries").open("a") as file:
        file.write("x" if mark[1] == 3 else "")
    if mark[1] == 3:
        os._exit(9)
    return mark[1]


def fail_at_3(number: int) -> int:
    """Raise at number 3."""
    if number == 3:
        raise ValueError("three")
    return number


def process(_: int) -> int:
    """Return the id of the process that works."""
    return os.getpid()


def _first_time(mark: Mark, *, at: int) -> bool:
    path = Path(mark[0]) / "met"
    first = mark[1] == at and not path.exists()
    if first:
        path.touch()
    return first
