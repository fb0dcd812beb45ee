"""`map` a top-level function over items on a pool of processes that survives a killed worker.

The engine never decides how work is cut or in which order results come: items are the caller's, results keep their
order, so the number of workers changes no byte of any output.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypeVar

from tqdm import tqdm

from dedupver.schema import DedupverError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES: Final = 3


class TaskKilledError(DedupverError):
    """A task whose process died each time it was tried."""


def workers(asked: int) -> int:
    """Return the number of processes: `asked`, or for 0 one for each core this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return asked or len(os.sched_getaffinity(0))
    return asked or os.cpu_count() or 1


def map(  # noqa: A001, PLR0913 - engine.map is the name every caller reads; what can be told of it is optional
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    asked: int,
    label: str,
    name: Callable[[Item], str] = str,
    sizes: Sequence[int] | None = None,
    counting: str = "",
) -> list[Result]:
    """Return `[function(item) for item in items]`, computed by `workers(asked)` processes.

    Progress is in items, or in bytes where `sizes` says how many each item has; where results are numbers of something,
    `counting` is what that is called, and how many there are so far is shown.

    `function` must be importable by name and idempotent. An exception it raises is raised here, with a note that names
    the item. A process that dies (killed, out of memory) is replaced and its item tried again, alone; TaskKilledError
    names the item that kills each process it is given. Progress goes to stderr when that is a terminal.
    """
    results: dict[int, Result] = {}
    with _Bar(len(items), label, sizes, counting) as bar:
        if workers(asked) == 1 or len(items) <= 1:
            for index, item in enumerate(items):
                with _naming(name, item):
                    results[index] = function(item)
                bar.done(index, results[index])
        else:
            for index in _together(function, items, results, min(workers(asked), len(items)), bar, name):
                with _naming(name, items[index]):
                    results[index] = _alone(function, items[index], name)
                bar.done(index, results[index])
    return [results[index] for index in range(len(items))]


@contextlib.contextmanager
def _naming(name: Callable[[Item], str], item: Item) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"while working on {name(item)}")
        raise


def _together(  # noqa: PLR0913, PLR0917 - the state of one map
    function: Callable[[Item], Result],
    items: Sequence[Item],
    results: dict[int, Result],
    count: int,
    bar: _Bar,
    name: Callable[[Item], str],
) -> list[int]:
    """Run every item, two in flight a process; return those in flight whenever a process died."""
    waiting = list(reversed(range(len(items))))
    suspects: list[int] = []
    while waiting:
        flying: dict[Future[Result], int] = {}
        with _pool(count) as pool:
            try:
                while waiting or flying:
                    while waiting and len(flying) < 2 * count:
                        future = pool.submit(function, items[waiting[-1]])  # which may raise: then it still waits
                        flying[future] = waiting.pop()
                    for future in wait(flying, return_when=FIRST_COMPLETED).done:
                        with _naming(name, items[flying[future]]):
                            results[flying[future]] = future.result()
                        bar.done(flying[future], results[flying[future]])
                        del flying[future]
            except BrokenProcessPool:
                suspects += sorted(flying.values())
    return suspects


def _alone(function: Callable[[Item], Result], item: Item, name: Callable[[Item], str]) -> Result:
    for _ in range(TRIES):
        with _pool(1) as pool:
            try:
                return pool.submit(function, item).result()
            except BrokenProcessPool:
                continue
    raise TaskKilledError(
        f"the process that works on {name(item)} died {TRIES} times: it is out of memory, or a record in it crashes a "
        "library. Set the record aside, or lower the limits in `source` and `fingerprint`"
    )


def _pool(count: int) -> ProcessPoolExecutor:
    # spawn: a fork would inherit the locks of Arrow's and ONNX Runtime's threads
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """End this process when its parent is killed: an orphan would go on writing where the next run writes."""
    threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Bar:
    """How far a map is, on stderr."""

    def __init__(self, items: int, label: str, sizes: Sequence[int] | None, counting: str) -> None:
        self._sizes, self._counting, self._count = sizes or [1] * items, counting, 0
        unit = {"unit": "task"} if sizes is None else {"unit": "B", "unit_scale": True}
        self._bar: tqdm[NoReturn] = tqdm(
            total=sum(self._sizes), desc=label, file=sys.stderr, disable=None, leave=False, **unit
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def done(self, index: int, result: object) -> None:
        """Count an item."""
        if self._counting and isinstance(result, int):
            self._count += result
            self._bar.set_postfix_str(f"{self._count:,} {self._counting}", refresh=False)
        self._bar.update(self._sizes[index])
