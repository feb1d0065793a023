"""The engine of one machine: this process, or several of them."""

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from facemend.errors import FacemendError

Result = TypeVar("Result")

_BATCHES_WAITING = 4
"""Batches that wait for each worker or for the reader: enough that nobody is idle, and no more."""


@dataclass(frozen=True)
class LocalEngine:
    """Does work in processes of this machine.

    Attributes:
        workers: how many, 1 for this very process; None: one a processor core.
        method: how Python starts a process. Use "spawn" where this one has threads whose locks a copy would
            wait for, None for Python's own choice.
    """

    workers: int | None = None
    method: str | None = None

    def run(
        self, open_work: Callable[[], Callable[[int], Result]], count: int, *, batch: int = 8
    ) -> Generator[Result, None, None]:
        """See `Engine.run`."""
        workers = self.workers or cores()
        if workers == 1:
            yield from map(open_work(), range(count))
            return
        context = multiprocessing.get_context(self.method)
        pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(open_work,))
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for start in range(0, count, batch):
                waiting.append(pool.submit(_call, range(start, min(start + batch, count))))
                if len(waiting) > workers * _BATCHES_WAITING:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool as error:
            raise FacemendError(
                "a worker died (out of memory?); the same command with fewer of them goes on from here"
            ) from error
        finally:
            _close(pool)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _close(pool: ProcessPoolExecutor) -> None:
    """Waits for the workers' last results. A second Ctrl-C in between would leave them waiting for ever."""
    while True:
        with suppress(KeyboardInterrupt):
            pool.shutdown(cancel_futures=True)
            return


_open_work: Callable[[], Callable[[int], Any]] | None = None
_work: Callable[[int], Any] | None = None


def _start(open_work: Callable[[], Callable[[int], Any]]) -> None:
    global _open_work
    _open_work = open_work
    # Ctrl-C reaches every process; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    warnings.filterwarnings("ignore", module="PIL")  # of what is in a stranger's file


def _die_with_parent() -> None:
    """A killed parent cannot end its workers; without this they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(indices: range) -> list[Any]:
    global _work
    if _work is None:  # here, not at the start: what it raises is then the caller's to see
        assert _open_work is not None
        _work = _open_work()
    return list(map(_work, indices))
