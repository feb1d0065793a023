"""The outermost middleware: access, security headers, error responses, counts and logs."""

import asyncio
import hmac
import logging
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facemend.server.bodies import DEADLINE, ClientGone, announces_body
from facemend.server.metrics import Metrics
from facemend.server.problems import INTERNAL, Problem, where_failed
from facemend.server.settings import Limits, Settings

LOG = logging.getLogger("facemend.server")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "media-src blob:",
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
        if self._settings.hosts is not None and _name_of(host) not in self._settings.hosts:
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
    return (name if colon and port.isdigit() else host).lower()


def _same_token(header: str, token: str) -> bool:
    scheme, _, credentials = header.partition(" ")
    same = hmac.compare_digest(credentials.strip().encode("latin-1"), token.encode())
    return same and scheme.lower() == "bearer"
