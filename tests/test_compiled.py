"""Kernels that wait for their first call: what is loaded when, and that the compiled function is what runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dedupver import compiled
from dedupver.compiled import njit


@njit()
def _double(value: int) -> int:
    return 2 * value


@njit()
def _twice(value: int) -> int:
    return _double(_double(value))


def test_a_kernel_and_those_it_calls_are_compiled_when_it_is_called() -> None:
    """Numba has a signature of both afterwards, and the name that it calls stands for the compiled one."""
    assert isinstance(_double, compiled.Kernel)
    assert (_twice(5), _twice.compiled().nopython_signatures[0].args[0].name) == (20, "int64")
    assert _double.nopython_signatures


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        (
            "import dedupver.pipeline, dedupver.history, dedupver.match, dedupver.publish, dedupver.fingerprint.batch",
            [],
        ),
        ("from dedupver.index.minhash import permutations; permutations(4, 1)", []),
        (
            "import numpy as np; from dedupver.index.sets import shift_of; shift_of(np.zeros(5, np.int64))",
            ["numba"],
        ),
    ],
)
def test_numba_is_loaded_with_the_first_call_and_scipy_never(code: str, loaded: list[str]) -> None:
    """A stage that calls no kernel does not wait for numba, and one that does not for what numba asks for in vain."""
    script = f"{code}\nimport sys; print(*({{'numba', 'scipy'}} & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert said.stdout.split() == loaded


def test_threads_are_as_many_as_numba_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that numba reads says it, or else the cores."""
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert compiled.threads() == 3
    monkeypatch.delenv("NUMBA_NUM_THREADS")
    assert compiled.threads() >= 1
