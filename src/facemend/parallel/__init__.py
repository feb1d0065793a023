"""Engines do work in parallel: in processes of this machine, or in those of a Ray cluster.

The work is one function from an index (0, 1, 2 …) to a result, and both engines call the same one. Its
result may depend on the index alone. Then it does not matter where, how often or in which order it is
called. Results come in the order of their indices. What has to be written, the work writes whole.
"""

from collections.abc import Callable, Generator
from enum import StrEnum
from typing import Protocol, TypeVar

from facemend.errors import UsageError
from facemend.parallel.processes import LocalEngine, cores

Result = TypeVar("Result")

__all__ = ["Engine", "EngineName", "LocalEngine", "cores", "open_engine"]


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
    from facemend.parallel.ray import RayEngine

    return RayEngine(address, workers)
