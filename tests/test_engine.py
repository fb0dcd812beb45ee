"""`engine.map`: results in the order of the items, whatever becomes of the processes."""

from __future__ import annotations

import functools
import io
import os
import sys
from typing import TYPE_CHECKING

import projects
import pytest
import tasks

from dedupver import engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def name(item: object) -> str:
    """Name an item as no error does by itself."""
    return f"item <{item}>"


@pytest.mark.parametrize("asked", [1, 2])
def test_results_come_in_the_order_of_the_items(asked: int) -> None:
    """Though the last are done first."""
    assert engine.map(tasks.square, range(6), asked=asked, label="test") == [0, 1, 4, 9, 16, 25]


def test_workers_write_what_one_process_writes(tmp_path: Path) -> None:
    """The number of workers changes neither results nor files."""
    found = []
    for asked in (1, 2):
        folder = tmp_path / str(asked) / "out"
        folder.mkdir(parents=True)
        results = engine.map(tasks.write, [(str(folder), n) for n in range(20)], asked=asked, label="test")
        found.append((results, projects.tree(folder)))
    assert found[0] == found[1]


def test_one_item_and_none_need_no_process() -> None:
    """They are done here."""
    assert engine.map(tasks.process, [0], asked=2, label="test") == [os.getpid()]
    assert engine.map(tasks.process, [], asked=2, label="test") == []
    assert engine.map(tasks.process, [0, 1, 2], asked=1, label="test") == [os.getpid()] * 3


@pytest.mark.parametrize("asked", [1, 2])
def test_progress_is_in_bytes_and_records(monkeypatch: pytest.MonkeyPatch, asked: int) -> None:
    """Where it is known how many bytes an item has, and what the results count."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(engine, "tqdm", functools.partial(engine.tqdm, mininterval=0, miniters=1))
    sizes = [1_000_000] * 4
    engine.map(tasks.square, range(50, 54), asked=asked, label="test", sizes=sizes, counting="records")
    told = sys.stderr.getvalue()
    assert "4.00M" in told
    assert f"{sum(n * n for n in range(50, 54)):,} records" in told


def test_as_many_workers_as_asked() -> None:
    """0 stands for every core that this process may use."""
    assert (engine.workers(3), engine.workers(0)) == (3, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("task", [tasks.die_once_by_signal, tasks.die_once_by_exit])
def test_a_worker_that_dies_is_replaced(tmp_path: Path, task: Callable[[tasks.Mark], int]) -> None:
    """Its items are tried again, and all results are there."""
    assert engine.map(task, [(str(tmp_path), n) for n in range(8)], asked=2, label="test") == list(range(8))
    assert (tmp_path / "met").exists()


def test_an_item_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    """After the first time it is tried alone, a fixed number of times."""
    with pytest.raises(engine.TaskKilledError, match=r"item <.*, 3\)> died 3 times"):
        engine.map(tasks.die_at_3, [(str(tmp_path), n) for n in range(8)], asked=2, label="test", name=name)
    assert (tmp_path / "tries").read_text() == "x" * (1 + engine.TRIES)


@pytest.mark.parametrize("asked", [1, 2])
def test_an_exception_names_its_item(asked: int) -> None:
    """It is the one that the function raised, with a note."""
    with pytest.raises(ValueError, match="three") as raised:
        engine.map(tasks.fail_at_3, range(6), asked=asked, label="test", name=name)
    assert raised.value.__notes__ == ["while working on item <3>"]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_goes_to_a_terminal_on_stderr(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And nowhere else."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    monkeypatch.setattr(sys, "stderr", Terminal())
    engine.map(tasks.fail_at_3, [0, 1], asked=1, label="some work")
    assert ("some work" in sys.stderr.getvalue()) is terminal
    assert capsys.readouterr().out == ""
