"""Engines do work in parallel: in processes of this machine, or in those of a Ray cluster.

The work is one function from an index (0, 1, 2 …) to a result, and both engines call the same one. Its
result may depend on the index alone. Then it does not matter where, how often or in which order it is
called. Results come in the order of their indices. What has to be written, the work writes whole.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from facemend.errors import FacemendError, UsageError, reason_of

Result = TypeVar("Result")


class Engine(Protocol):
    """Something that calls the same work for many indices."""

    def run(
        self, open_work: Callable[[], Callable[[int], Result]], count: int, *, batch: int = 8
    ) -> Generator[Result, None, None]:
        """Yields work(0) to work(count - 1), in memory that does not grow with `count`.

        Close the generator to stop early.

        Args:
            open_work: gives the work. It is called once in every worker, so that a model is opened there
                once. It can be pickled.
            batch: how many indices travel to a worker together, at least 1.

        Raises:
            FacemendError: a worker or the cluster is lost for good. What the work raises passes through.
        """


class EngineName(StrEnum):
    """The engines, as a user names them."""

    LOCAL = "local"
    RAY = "ray"


def open_engine(name: EngineName, *, workers: int | None = None, address: str | None = None) -> Engine:
    """The engine of a name.

    Args:
        workers: processes; None: one a processor core, of this machine or of the whole cluster.
        address: of a Ray cluster. None starts a Ray of its own, on this machine.

    Raises:
        UsageError: fewer than one worker, or an address without Ray.
        FacemendError: the extra `scale` is not installed.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers cannot do anything; ask for 1 or more")
    if name is EngineName.LOCAL:
        if address is not None:
            raise UsageError("--ray-address is for --engine ray; add it, or leave the address out")
        return LocalEngine(workers)
    return RayEngine(address, workers)


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
    """Waits for the workers' last results. Ctrl-C has no effect meanwhile.

    Python 3.11 takes a thread for dead whose `join` was interrupted (CPython issue 90882). The queues
    would be closed under the thread that still reads them, and the workers would wait for ever.
    """
    if threading.current_thread() is not threading.main_thread():  # no signal arrives there
        pool.shutdown(cancel_futures=True)
        return
    while True:
        with suppress(KeyboardInterrupt):
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            break
    try:
        pool.shutdown(cancel_futures=True)
    finally:
        signal.signal(signal.SIGINT, before)


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


_Column = dict[str, npt.NDArray[Any]]

_MOST_BLOCKS = 2000
"""Ray Data plans every block before the first is done: more of them cost memory, not speed."""
_FEW_BLOCKS = 100
"""A block costs Ray some milliseconds: where there are more blocks than these, they are made larger …"""
_LARGEST = 4
"""… up to so many batches: what is lost with a worker is done again."""


@dataclass(frozen=True)
class RayEngine:
    """Does work on a Ray cluster: Ray Data streams the indices through a pool of actors.

    Ray itself restarts a worker that dies, and gives the indices of a lost node to the others. Moritz et
    al., "Ray: A Distributed Framework for Emerging AI Applications", OSDI 2018.

    Attributes:
        address: of a running cluster, for example "ray-head:6379" or "auto". None starts a Ray on this
            machine that ends with the work.
        workers: processes; None: one for every processor core of the cluster.
    """

    address: str | None = None
    workers: int | None = None

    def run(
        self, open_work: Callable[[], Callable[[int], Result]], count: int, *, batch: int = 8
    ) -> Generator[Result, None, None]:
        """See `Engine.run`."""
        if not count:
            return
        with _connected(self.address, self.workers) as ray:
            cores = int(ray.cluster_resources().get("CPU", 1))
            workers = max(1, min(self.workers or cores, cores))
            batches = min(_LARGEST, max(1, count // (batch * _FEW_BLOCKS)))
            size = max(batch * batches, -(-count // _MOST_BLOCKS))
            # The indices themselves, not a `range` of them: that is computed by processes of its own.
            indices = ray.data.from_items(list(range(count)), override_num_blocks=-(-count // size))
            results = indices.map_batches(
                _Worker,
                fn_constructor_args=(ray.put(open_work), str(Path.cwd())),
                batch_size=None,
                # All at once; fewer are enough to go on with where a node is lost.
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
            )
            try:
                for row in results.iter_rows():
                    done, result = pickle.loads(row["result"])
                    if not done:
                        raise result
                    yield result
            except ray.exceptions.RayError as error:
                raise FacemendError(f"Ray could not finish the work: {reason_of(error)}") from error


class _Worker:
    """An actor: opens the work once, and does it for block after block."""

    def __init__(self, open_work: Any, folder: str) -> None:
        import ray

        with suppress(OSError):  # paths may be relative to the command's folder
            os.chdir(folder)
        self._open_work: Callable[[], Callable[[int], Any]] = ray.get(open_work)
        self._work: Callable[[int], Any] | None = None

    def __call__(self, indices: _Column) -> _Column:
        return {"result": np.array([self._do(int(index)) for index in indices["item"]], dtype=object)}

    def _do(self, index: int) -> bytes:
        try:
            if self._work is None:
                self._work = self._open_work()
            return pickle.dumps((True, self._work(index)))
        except Exception as error:  # noqa: BLE001 - raised at home, as the local engine would
            return pickle.dumps((False, error))


@contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[Any]:
    """Ray, ready to be used: the caller's own connection where there is one, else ours, ended afterwards.

    Raises:
        FacemendError: Ray is not installed, or nobody answers at the address.
    """
    # Ray's own notes about its retries; what matters comes home as an error.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise FacemendError(
            "--engine ray needs Ray, which is not installed: pip install 'facemend[scale]'"
        ) from error
    began_here = not ray.is_initialized()
    if began_here:
        try:
            with _standing_in(Path(sys.prefix)):
                ray.init(
                    address or "local",
                    num_cpus=None if address else workers,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = f"reach a Ray cluster at {address}" if address else "start Ray on this machine"
            raise FacemendError(f"cannot {where}: {reason_of(error)}") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the command shows one bar for every engine
    context.execution_options.preserve_order = True
    try:
        yield ray
    finally:
        if began_here:
            ray.shutdown()


@contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    """Ray has its workers import out of the folder in which it was started, which may be a stranger's."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
