"""One function over many indices, in this process or in several; the results come in order."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, TypeVar

from facemend.errors import FacemendError

Result = TypeVar("Result")


def run_all(work: Callable[[int], Result], count: int, workers: int) -> Generator[Result, None, None]:
    """Yields work(0) to work(count - 1). Close the generator to stop early.

    Args:
        work: can be pickled; each process gets it once, then indices travel.
        workers: processes, 1 for this one.

    Raises:
        FacemendError: a process died; and whatever `work` raises.
    """
    if workers == 1:
        yield from map(work, range(count))
        return
    pool = ProcessPoolExecutor(workers, initializer=_start, initargs=(work,))
    try:
        yield from pool.map(_call, range(count), chunksize=8)
    except BrokenProcessPool as error:
        raise FacemendError("a worker died (out of memory?); try again with fewer --workers") from error
    finally:
        _close(pool)


def _close(pool: ProcessPoolExecutor) -> None:
    """Waits for the workers' last results. A second Ctrl-C in between would leave them waiting for ever."""
    while True:
        with suppress(KeyboardInterrupt):
            pool.shutdown(cancel_futures=True)
            return


_work: Callable[[int], Any] | None = None


def _start(work: Callable[[int], Any]) -> None:
    global _work
    _work = work
    # Ctrl-C reaches every process; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """A killed parent cannot end its workers; without this they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _call(index: int) -> Any:
    assert _work is not None
    return _work(index)
