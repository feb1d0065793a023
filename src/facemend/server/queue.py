"""The same request from several clients is worked on once, and one that ended a worker is not tried again.

Who sends one photo from many connections holds up the queue no longer than with one.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from facemend.server.problems import Problem
from facemend.server.worker import Part

ReplyT = TypeVar("ReplyT")

_MOST_REFUSED = 1000
_QUICK_BYTES = 1_000_000  # hashing less takes about a millisecond


@dataclass(eq=False)
class _Work(Generic[ReplyT]):
    """Work that has begun, and how many wait for it."""

    task: "asyncio.Task[ReplyT]"
    waiters: int = 0


class Coalescer(Generic[ReplyT]):
    """Work by its key. Keys are hashes under a secret of this process: nothing of a photo is kept."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._begun: dict[bytes, _Work[ReplyT]] = {}
        self._refused: dict[bytes, tuple[float, Problem]] = {}

    async def key_of(self, *parts: Part) -> bytes:
        """What stands for these bytes."""
        if sum(map(len, parts)) <= _QUICK_BYTES:
            return self._hash(parts)
        return await asyncio.to_thread(self._hash, parts)

    async def share(self, key: bytes, begin: Callable[[], Coroutine[Any, Any, ReplyT]]) -> ReplyT:
        """The result of the work of this key, which begins unless somebody waits for it already.

        A caller that gives up leaves the others waiting; when the last one does, the work is cancelled.

        Raises:
            Problem: it was refused a short time ago.
            Exception: as the work does.
        """
        until, problem = self._refused.get(key, (0.0, None))
        if problem is not None and time.monotonic() < until:
            raise problem
        work = self._begun.get(key)
        if work is None:
            work = self._begun[key] = _Work(asyncio.ensure_future(begin()))
            work.task.add_done_callback(lambda _: self._forget(key, work))
        work.waiters += 1
        try:
            return await asyncio.shield(work.task)
        finally:
            work.waiters -= 1
            if not work.waiters:
                self._forget(key, work)
                work.task.cancel()

    def refuse(self, key: bytes, problem: Problem, for_s: float) -> None:
        """Has this problem be the result for a while."""
        if len(self._refused) >= _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = time.monotonic() + for_s, problem

    def _hash(self, parts: tuple[Part, ...]) -> bytes:
        found = hashlib.blake2b(key=self._secret, digest_size=32)
        for part in parts:
            found.update(len(part).to_bytes(8, "big"))
            found.update(part)
        return found.digest()

    def _forget(self, key: bytes, work: _Work[ReplyT] | None) -> None:
        if work is not None and self._begun.get(key) is work:
            del self._begun[key]
        if work is not None and work.task.done() and not work.task.cancelled():
            work.task.exception()  # looked at, so that nobody complains if its callers are gone
