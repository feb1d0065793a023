"""Bodies of requests and responses: received whole before any work begins, sent in pieces, in bounded
memory.

Only a route that takes a body is sent one. A slow client holds up nobody: where memory runs short, the
request that has waited longest for its client is ended to make room.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from facemend.server.metrics import Metrics
from facemend.server.problems import Problem, busy
from facemend.server.settings import MEGABYTE, Limits

TAKE_BODIES = frozenset({("POST", "/v1/reconstruct"), ("POST", "/v1/find")})
"""Methods and paths whose requests have bodies."""
DEADLINE, BODY = "facemend.deadline", "facemend.body"
RESERVATION, ABORT = "facemend.reservation", "facemend.abort"
"""Keys of a request's scope: the end of its life by the event loop's clock, its body, its `Reservation`,
and a function that ends its connection at once."""
_RETRY_S = 5
_PIECE_BYTES = 65_536


class ClientGone(Exception):
    """The client went away, or does not take its response. There is nobody to send one to."""


class Reservation:
    """The bytes that one request holds in memory.

    Attributes:
        length: how many bytes.
        evicted: whether it was ended to make room.
    """

    def __init__(self, memory: "Memory") -> None:
        self._memory = memory
        self._waits: asyncio.Timeout | None = None
        self.length = 0
        self.evicted = False

    def resize(self, length: int) -> None:
        """Sets how many bytes the request holds. Raises Problem if no room can be made."""
        self._memory.total += length - self.length
        self.length = length
        if not self._memory.make_room():
            raise busy(_RETRY_S)

    def waits_for_client(self, timer: asyncio.Timeout | None) -> None:
        """Marks it as waiting for its client until this timer ends. None: it no longer waits."""
        self._waits = timer

    def evict(self) -> bool:
        """Ends the wait for the client. Returns False if it does not wait."""
        if self._waits is None:
            return False
        self._waits.reschedule(asyncio.get_running_loop().time())
        self.evicted = True
        return True


class Memory:
    """The memory of all bodies together.

    Attributes:
        total: bytes.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._holders: dict[Reservation, None] = {}  # the oldest first
        self.total = 0

    def open(self) -> Reservation:
        """A reservation for one more request, which holds nothing yet."""
        reservation = Reservation(self)
        self._holders[reservation] = None
        return reservation

    def close(self, reservation: Reservation) -> None:
        """Frees what a request holds."""
        self.total -= reservation.length
        del self._holders[reservation]

    def make_room(self) -> bool:
        """Makes room if need be. Returns whether all bodies then are within the limit."""
        left = self.total - sum(reservation.length for reservation in self._holders if reservation.evicted)
        for reservation in self._holders:
            if left <= self._limit_bytes:
                break
            if not reservation.evicted and reservation.length and reservation.evict():
                left -= reservation.length
        return left <= self._limit_bytes


class BodyMiddleware:
    """Takes in a request's body, in bounded memory and time, and hands it on in one piece."""

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, retry_after_s: Callable[[], int | None]
    ) -> None:
        """`retry_after_s`: None where there is room for one more request, else when to try again."""
        self._app, self._limits, self._metrics = app, limits, metrics
        self._retry_after_s = retry_after_s
        self._memory = Memory(limits.held_bytes)
        metrics.watch(metrics.held, lambda: float(self._memory.total))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request. Raises Problem and ClientGone, for AccessMiddleware to handle."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (scope["method"], scope["path"]) not in TAKE_BODIES:
            if scope["method"] == "GET" and announces_body(scope):
                raise Problem(400, "no_body", "this path takes no body; send the request without one")
            await self._app(scope, receive, send)
            return
        reservation = self._memory.open()
        scope[RESERVATION], scope[BODY] = reservation, bytearray()
        try:
            await self._receive(scope, receive, reservation)
            await self._app(scope, receive, send)
        finally:
            scope[BODY] = b""
            self._memory.close(reservation)

    async def _receive(self, scope: Scope, receive: Receive, reservation: Reservation) -> None:
        """Fills the scope's body."""
        until = min(scope[DEADLINE], asyncio.get_running_loop().time() + self._limits.receive_s)
        try:
            async with asyncio.timeout_at(until) as timer:
                reservation.waits_for_client(timer)
                await self._fill(scope, receive, reservation)
        except TimeoutError:
            if reservation.evicted:
                raise busy(_RETRY_S) from None
            message = f"the request took more than {self._limits.receive_s:g} s to arrive; send less"
            raise Problem(408, "too_slow", message) from None
        finally:
            reservation.waits_for_client(None)
        self._metrics.received.inc(reservation.length)

    async def _fill(self, scope: Scope, receive: Receive, reservation: Reservation) -> None:
        body: bytearray = scope[BODY]
        self._refuse(_content_length(scope) or 0)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if more or len(body) > self._limits.upload_bytes:
                self._refuse(len(body))
            reservation.resize(len(body))

    def _refuse(self, length: int) -> None:
        """Raises Problem if a body of this length is not taken."""
        if length > self._limits.upload_bytes:
            largest = self._limits.upload_bytes / MEGABYTE
            raise Problem(
                413, "too_large", f"the upload is larger than {largest:g} MB; send a smaller photo"
            )
        if length and (retry_after_s := self._retry_after_s()) is not None:
            raise busy(retry_after_s)


class PacedResponse(Response):
    """A response whose body leaves in pieces, as fast as its client takes them, within a time limit."""

    def __init__(self, body: bytes, send_s: float, **options: Any) -> None:
        super().__init__(body, **options)
        self._send_s = send_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it. Raises ClientGone: it was not taken in time."""
        reservation: Reservation = scope[RESERVATION]
        until = min(scope[DEADLINE], asyncio.get_running_loop().time() + self._send_s)
        try:
            async with asyncio.timeout_at(until) as timer:
                reservation.waits_for_client(timer)
                await send(
                    {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
                )
                view = memoryview(self.body)
                for start in range(0, len(view), _PIECE_BYTES):
                    piece = bytes(view[start : start + _PIECE_BYTES])
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            scope.get(ABORT, _nothing)()
            await asyncio.sleep(0)  # what is still in the connection's buffer goes with it
            raise ClientGone from None
        finally:
            reservation.waits_for_client(None)


def _nothing() -> None:
    """There is no connection to end."""


def announces_body(scope: Scope) -> bool:
    """Whether a request says that a body follows its head."""
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    return chunked or bool(_content_length(scope))


def _content_length(scope: Scope) -> int | None:
    """The Content-Length. The HTTP library has refused what is not one number."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None
