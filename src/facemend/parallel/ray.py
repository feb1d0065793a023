"""The engine of many machines: Ray Data streams the indices through a pool of actors.

Ray itself restarts a worker that dies, and gives the indices of a lost node to the others. Moritz et al.,
"Ray: A Distributed Framework for Emerging AI Applications", OSDI 2018.
"""

import logging
import os
import pickle
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from facemend.errors import FacemendError, reason_of

Result = TypeVar("Result")
_Column = dict[str, npt.NDArray[Any]]

_MOST_BLOCKS = 2000
"""Ray Data plans every block before the first is done: more of them cost memory, not speed."""
_FEW_BLOCKS = 100
"""A block costs Ray some milliseconds: where there are more blocks than these, they are made larger …"""
_LARGEST = 4
"""… up to so many batches: what is lost with a worker is done again."""


@dataclass(frozen=True)
class RayEngine:
    """Does work on a Ray cluster.

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
