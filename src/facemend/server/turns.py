"""Who is next: so many photos at once, so many waiting, first come, first served."""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from facemend.server.problems import busy

ResultT = TypeVar("ResultT")

_MEMORY = 0.8  # of the running mean of how long a turn takes
_LONGEST_RETRY_S = 60


class Turns:
    """Threads that work, and a bounded queue before them.

    A caller that gives up while it waits leaves the queue at once. One that gives up while its work runs
    frees nobody's place: a thread cannot be stopped, so the next one waits until it is done.
    """

    def __init__(self, workers: int, max_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="facemend")
        self._free = asyncio.Semaphore(workers)
        self._workers, self._max_waiting = workers, max_waiting
        self._mean_s = 1.0
        self.waiting = 0
        self.running = 0

    @property
    def full(self) -> bool:
        """Whether the next one would be turned away."""
        return self._free.locked() and self.waiting >= self._max_waiting

    def retry_after_s(self) -> int:
        """When a place should be free, by how long turns took lately."""
        expected_s = self._mean_s * (self.waiting + 1) / self._workers
        return max(1, min(_LONGEST_RETRY_S, math.ceil(expected_s)))

    async def take(self, work: Callable[[], ResultT]) -> ResultT:
        """Waits for a turn and does the work in a thread.

        Raises:
            Problem: too many wait already.
        """
        if self.full:
            raise busy(self.retry_after_s())
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        began = time.monotonic()
        running = asyncio.get_running_loop().run_in_executor(self._executor, work)
        running.add_done_callback(lambda done: self._end(began, done))
        return await asyncio.shield(running)

    def _end(self, began: float, done: "asyncio.Future[ResultT]") -> None:
        self.running -= 1
        self._free.release()
        self._mean_s = _MEMORY * self._mean_s + (1 - _MEMORY) * (time.monotonic() - began)
        if not done.cancelled():
            done.exception()  # looked at, so that nobody complains if its caller is gone

    async def close(self) -> None:
        """Ends the threads, once what they began is done."""
        await asyncio.to_thread(self._executor.shutdown)
