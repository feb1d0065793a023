"""Bodies of requests: received whole before any work begins, so that a slow client holds up nobody."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facemend.server.metrics import Metrics
from facemend.server.problems import Problem, busy
from facemend.server.settings import MEGABYTE, Limits

_DRAIN_S = 5.0  # a client that is still sending would not see the answer
_RETRY_S = 5


class ClientGone(Exception):
    """The client went away; there is nobody to answer."""


class Receiver:
    """Takes in a request's body, in bounded memory and time, and hands it on in one piece."""

    def __init__(
        self, app: ASGIApp, limits: Limits, metrics: Metrics, retry_after_s: Callable[[], int | None]
    ) -> None:
        """`retry_after_s`: None where there is room for one more request, else when to try again."""
        self._app, self._limits, self._metrics = app, limits, metrics
        self._retry_after_s = retry_after_s
        self.held = 0
        metrics.watch(metrics.held, lambda: float(self.held))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Raises Problem and ClientGone, for the guard to answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            try:
                async with asyncio.timeout(self._limits.receive_s):
                    await self._fill(body, scope, receive)
            except TimeoutError:
                raise Problem(
                    408,
                    "too_slow",
                    f"the request took more than {self._limits.receive_s:g} s to arrive; send less",
                    {"Connection": "close"},
                ) from None
            self._metrics.received.inc(len(body))
            await self._app(scope, _replay(body, receive), send)
        finally:
            self.held -= len(body)

    async def _fill(self, body: bytearray, scope: Scope, receive: Receive) -> None:
        said = _content_length(scope)
        problem = self._refusal(said or 0)
        if problem is not None:
            await self._drain(said, receive)
            raise problem
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            body += chunk
            self.held += len(chunk)
            more = message.get("more_body", False)
            problem = self._refusal(len(body)) if more or len(body) > self._limits.upload_bytes else None
            if problem is not None:
                self.held -= len(body)
                body.clear()
                await self._drain(said, receive)
                raise problem

    def _refusal(self, length: int) -> Problem | None:
        """Why a body of this length is not taken; None if it is."""
        if length > self._limits.upload_bytes:
            largest = self._limits.upload_bytes / MEGABYTE
            return Problem(
                413, "too_large", f"the upload is larger than {largest:g} MB; send a smaller photo", _CLOSE
            )
        if self.held > self._limits.held_bytes:
            return busy(_RETRY_S)
        if length and (retry_after_s := self._retry_after_s()) is not None:
            return busy(retry_after_s)
        return None

    async def _drain(self, said: int | None, receive: Receive) -> None:
        """Throws away what a refused client still sends, within reason."""
        if said is not None and said > 4 * self._limits.upload_bytes:
            return
        left = 4 * self._limits.upload_bytes
        try:
            async with asyncio.timeout(_DRAIN_S):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return


_CLOSE = {"Connection": "close"}


def _content_length(scope: Scope) -> int | None:
    """What the head says; the HTTP library has refused what is no number, or two of them."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None


def _replay(body: bytearray, receive: Receive) -> Receive:
    """A `receive` that gives the body once, and then what the client does: wait, or go."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return again
