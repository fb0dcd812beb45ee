"""Functions that numba compiles, which is loaded when the first of them is called and not before.

Importing numba takes as long as all else that a stage imports, and making it ready as long again. A stage that computes
little calls none of its kernels, and does not wait for either.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOADING: Final = threading.RLock()
_INTERPRETED: Final = contextvars.ContextVar("interpreted", default=False)


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator like numba's, which waits for the first call."""
    return lambda function: Kernel(function, options)


def threads() -> int:
    """Return how many threads share a kernel's work: NUMBA_NUM_THREADS, or one for each core of this process."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return int(os.environ.get("NUMBA_NUM_THREADS") or len(os.sched_getaffinity(0)))
    return int(os.environ.get("NUMBA_NUM_THREADS") or os.cpu_count() or 1)


@contextlib.contextmanager
def interpreted(when: bool) -> Iterator[None]:
    """Run kernels as they are written, where that is done sooner than numba is loaded."""
    token = _INTERPRETED.set(when)
    try:
        yield
    finally:
        _INTERPRETED.reset(token)


class Kernel:
    """A function that is compiled, or read from numba's cache, when it is first called."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        """Take the function, and what numba's `njit` is to be given."""
        functools.update_wrapper(self, function)
        self._function, self._options, self._compiled = function, options, None

    def __call__(self, *given: Any) -> Any:
        """Call the compiled function."""
        if _INTERPRETED.get():
            return self._function(*given)
        return (self._compiled or self.compiled())(*given)

    def compiled(self) -> Any:
        """Return what numba makes of it; the kernels that it calls by name are compiled with it."""
        with _LOADING:
            names = self._function.__globals__
            for name in self._function.__code__.co_names:
                if isinstance(called := names.get(name), Kernel):
                    names[name] = called.compiled()
            self._compiled = self._compiled or _numba().njit(**self._options)(self._function)
            return self._compiled


@functools.cache
def _numba() -> Any:
    with _without("scipy"), _without("cffi"):
        numba = importlib.import_module("numba")
        for user in ("numba.np.arraymath", "numba.core.typing.cffi_utils"):
            with contextlib.suppress(ImportError):
                importlib.import_module(user)
    return numba


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Let a package seem not to be installed.

    Numba looks for products of matrices in scipy and for C functions in cffi, and loads them where they are: as long
    again, for what no kernel asks for.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment] # how Python itself marks what can not be imported
    try:
        yield
    finally:
        del sys.modules[package]
