"""One function over many tasks, in several processes that each open what it needs once."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

from facemend.errors import FacemendError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_all(
    opening: Callable[[], Callable[[TaskT], ResultT]], tasks: Sequence[TaskT], workers: int
) -> Iterator[ResultT]:
    """Yields what a function makes of each task, in their order. Close the iterator to stop early.

    Args:
        opening: can be pickled; called once in each process, it returns the function.
        workers: processes.

    Raises:
        FacemendError: a process died; and whatever the function raises.
    """
    # Not forked: a copy of a process whose threads hold locks may wait for ever.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(opening,))
    try:
        yield from pool.map(_call, tasks)
    except BrokenProcessPool as error:
        raise FacemendError(
            "a worker died (out of memory?); the same command with fewer --jobs goes on where it stopped"
        ) from error
    finally:
        _close(pool)


def _close(pool: ProcessPoolExecutor) -> None:
    """Waits for the workers' last results. A second Ctrl-C in between would leave them waiting for ever."""
    while True:
        with suppress(KeyboardInterrupt):
            pool.shutdown(cancel_futures=True)
            return


_opening: Callable[[], Callable[[Any], Any]] | None = None
_work: Callable[[Any], Any] | None = None


def _start(opening: Callable[[], Callable[[Any], Any]]) -> None:
    global _opening
    _opening = opening
    # Ctrl-C reaches every process; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent cannot end its workers; without this they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(task: Any) -> Any:
    global _work
    if _work is None:
        # Here and not as the process starts, so that an error reaches the parent as what it is.
        assert _opening is not None
        _work = _opening()
    return _work(task)
