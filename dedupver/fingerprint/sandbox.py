"""A process of its own for what decodes hostile bytes: it may crash, and has a limit of time and of memory.

Requests and replies are bytes. One process answers one request after the other; what ends it is known, and the next
request starts another. Time is the processor's, so that a busy machine gives no other verdict than an idle one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

PATIENCE: Final = 20
"""A request may take so many times its seconds by the clock, for a process that waits and does not compute."""

TRIES: Final = 2
"""A process that was killed, perhaps by somebody else, is started so often for one request."""


class Killed(Exception):  # noqa: N818 - it is what happened
    """The process ended, or was ended, over a request; `limit` is `time`, or None where it crashed."""

    def __init__(self, limit: str | None) -> None:
        """Keep what was exceeded."""
        super().__init__(limit)
        self.limit = limit


class Sandbox:
    """Answers requests by a top-level function in a process of its own."""

    def __init__(self, answer: Callable[[bytes], bytes], seconds: int, memory: int) -> None:
        """Take the function, its seconds of processor time for a request, and the bytes of memory it may address."""
        self._answer, self._seconds, self._memory = answer, seconds, memory
        self._process: SpawnProcess | None = None
        self._pipe: Connection

    def ask(self, request: bytes) -> bytes:
        """Return the function's reply. Raises Killed where there is none."""
        limit = None
        for _ in range(TRIES):
            try:
                return self._once(request)
            except Killed as killed:
                if limit := killed.limit:
                    break
        raise Killed(limit)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None

    def _once(self, request: bytes) -> bytes:
        process = self._process or self._start()
        with contextlib.suppress(EOFError, OSError):
            self._pipe.send_bytes(request)
            if self._pipe.poll(self._seconds * PATIENCE):
                return self._pipe.recv_bytes()
            process.kill()
            raise Killed("time")
        process.join()
        code = process.exitcode
        self.close()
        raise Killed("time" if code == -getattr(signal, "SIGXCPU", 0) else None)

    def _start(self) -> SpawnProcess:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._answer, self._seconds, self._memory), daemon=True
        )
        self._process.start()
        theirs.close()
        return self._process


def _serve(pipe: Connection, answer: Callable[[bytes], bytes], seconds: int, memory: int) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # no such limits here
        _limit("RLIMIT_AS", memory)
        _limit("RLIMIT_CORE", 0)
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            request = pipe.recv_bytes()
            with contextlib.suppress(ImportError, ValueError, OSError):
                _limit("RLIMIT_CPU", _spent() + seconds)
            pipe.send_bytes(answer(request))


def _limit(name: str, soft: int) -> None:
    import resource  # noqa: PLC0415 - not on Windows

    kind = getattr(resource, name)
    resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))


def _spent() -> int:
    import resource  # noqa: PLC0415 - not on Windows

    used = resource.getrusage(resource.RUSAGE_SELF)
    return int(used.ru_utime + used.ru_stime) + 1
