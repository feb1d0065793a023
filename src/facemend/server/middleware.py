"""What every request passes: access, bounded bodies, security headers, counts and logs.

Only a route that takes a body is sent one. A slow client holds up nobody: where memory runs short, the
request that has waited longest for its client is ended to make room.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facemend.server.schemas import INTERNAL, Problem, busy, where_failed
from facemend.server.settings import MEGABYTE, Limits, Settings

METRICS_MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MEGAPIXELS = (0.1, 0.3, 1, 3, 6, 12, 24, 50)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "facemend_requests", "Responses.", ("route", "status"), registry=self._registry
        )
        self.request_s = Histogram(
            "facemend_request_seconds",
            "From the request's head to the end of the response.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.received = Counter("facemend_received_bytes", "Bytes of bodies.", registry=self._registry)
        self.reconstruct_s = Histogram(
            "facemend_reconstruct_seconds", "Work on a photo.", buckets=_SECONDS, registry=self._registry
        )
        self.megapixels = Histogram(
            "facemend_photo_megapixels", "Size of photos.", buckets=_MEGAPIXELS, registry=self._registry
        )
        self.faces = Counter(
            "facemend_faces", "Faces, by what was done.", ("outcome",), registry=self._registry
        )
        self.waiting = Gauge("facemend_waiting", "Photos in the queue.", registry=self._registry)
        self.running = Gauge("facemend_running", "Photos being worked on.", registry=self._registry)
        self.workers_lost = Gauge(
            "facemend_workers_lost",
            "Workers that ended over a photo and were started again.",
            registry=self._registry,
        )
        self.held = Gauge("facemend_held_bytes", "Bytes of bodies in memory.", registry=self._registry)

    def watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Reads a gauge's value from a function."""
        gauge.set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' format."""
        return generate_latest(self._registry)


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


LOG = logging.getLogger("facemend.server")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "media-src blob:",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ROUTES = frozenset({"/", "/v1/reconstruct", "/v1/find", "/v1/models", "/healthz", "/readyz", "/metrics"})
"""Paths that are counted by name. A stranger's path is counted as `other`."""
GONE = 499
"""The status that is counted for a client that went away. No client sees it."""


_HEALTH = frozenset({"/healthz", "/readyz"})


class AccessMiddleware:
    """Admits or refuses requests, and turns every error into a response."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        life_s = self._settings.limits.request_s
        exchange = _Exchange(scope, receive, send, self._headers(), self._settings.limits)
        inner_scope = {
            **scope,
            "method": "GET" if scope["method"] == "HEAD" else scope["method"],
            DEADLINE: asyncio.get_running_loop().time() + life_s,
        }
        try:
            self._admit(scope)
            await self._app(inner_scope, exchange.receive, exchange.send)
        except ClientGone:
            pass
        except Problem as problem:
            await response_of(problem)(scope, exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - whatever it is, a client learns nothing of it
            LOG.error("%s", where_failed(error))
            if exchange.status is None:
                await response_of(INTERNAL)(scope, exchange.receive, exchange.send)
        finally:
            self._count(scope, exchange.status or GONE, time.monotonic() - began)

    def _headers(self) -> dict[str, str]:
        """The headers of every response."""
        if self._settings.origins:
            return _HEADERS
        return {**_HEADERS, "Cross-Origin-Resource-Policy": "same-origin"}

    def _admit(self, scope: Scope) -> None:
        """Raises Problem for a request that is refused."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy before this server may have believed the other one (RFC 9112, 6.3).
            raise Problem(400, "bad_form", "the request has two lengths; send one")
        host = headers.get("host", "")
        known = self._settings.hosts is None or _name_of(host) in self._settings.hosts
        # Balancers ask by an address, or by no name at all, and the response says nothing.
        if not known and scope["path"] not in _HEALTH:
            raise Problem(
                421,
                "wrong_host",
                "this server does not go by that name; whoever runs it can add --allow-host NAME",
            )
        origin = headers.get("origin")
        foreign = origin is not None and _address_of(origin) != host.lower()
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if foreign and changes and origin not in self._settings.origins:
            raise Problem(
                403,
                "wrong_origin",
                "pages of other sites may not use this server; whoever runs it can add --allow-origin",
            )
        token = self._settings.token
        guarded = scope["path"].startswith(("/v1/", "/metrics")) and scope["method"] != "OPTIONS"
        if token is not None and guarded and not _same_token(headers.get("authorization", ""), token):
            raise Problem(
                401,
                "no_token",
                "this server requires a token; send the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    def _count(self, scope: Scope, status: int, took_s: float) -> None:
        route = scope["path"] if scope["path"] in _ROUTES else "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_s.labels(route).observe(took_s)
        if route in ("/v1/reconstruct", "/v1/find"):
            LOG.info("%s %d in %.3f s", route, status, took_s)


class _Exchange:
    """A request and its response, as they pass AccessMiddleware.

    Attributes:
        status: of the response. None before it begins.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str], limits: Limits
    ) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._headers, self._limits = headers, limits
        self._arrived = not announces_body(scope)
        self.status: int | None = None

    async def receive(self) -> Message:
        """The next message of the client."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._arrived = True
        return message

    async def send(self, message: Message) -> None:
        """Sends a message. After the response to a body that was not taken, the connection ends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(self._headers)
            headers.setdefault("Cache-Control", "no-store")
            if not self._arrived:
                headers["Connection"] = "close"
        elif self._scope["method"] == "HEAD":
            message = {**message, "body": b""}
        if self._arrived or message["type"] == "http.response.start" or message.get("more_body", False):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._linger()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _linger(self) -> None:
        """Throws away what a refused client still sends for a while, so that it sees the response."""
        left = 4 * self._limits.upload_bytes
        try:
            async with asyncio.timeout(self._limits.linger_s):
                while left > 0 and not self._arrived:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def response_of(problem: Problem) -> JSONResponse:
    """A problem as JSON."""
    fields = {"code": problem.code, "message": problem.message}
    return JSONResponse(fields, problem.status, headers=problem.headers)


def _address_of(origin: str) -> str:
    """Host and port of an origin, in lower case. Empty if it is not an origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name_of(host: str) -> str:
    """The name in a Host header, in lower case and without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _same_token(header: str, token: str) -> bool:
    scheme, _, credentials = header.partition(" ")
    same = hmac.compare_digest(credentials.strip(" \t").encode("latin-1"), token.encode())
    return same and scheme.lower() == "bearer"
