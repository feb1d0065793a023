"""The outermost layer: who may ask, what every answer says to a browser, and what is counted and logged."""

import hmac
import logging
import time
import traceback
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facemend.server.metrics import Metrics
from facemend.server.problems import INTERNAL, Problem
from facemend.server.receiving import ClientGone
from facemend.server.settings import Settings

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
_ROUTES = frozenset({"/", "/v1/reconstruct", "/v1/models", "/healthz", "/readyz", "/metrics"})
"""Paths that are counted by name; a stranger's path is counted as `other`."""
GONE = 499
"""What is counted for a client that went away; none sees it."""


class Guard:
    """Lets a request in or not, and never lets an error out."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = GONE
        sent = False

        async def say(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status, sent = message["status"], True
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
                if not self._settings.origins:
                    headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        try:
            self._admit(scope)
            await self._app(scope, receive, say)
        except ClientGone:
            pass
        except Problem as problem:
            await problem.response()(scope, receive, say)
        except Exception as error:  # noqa: BLE001 - whatever it is, a client learns nothing of it
            log_failure(error)
            if not sent:
                await INTERNAL.response()(scope, receive, say)
        finally:
            self._count(scope, status, time.monotonic() - began)

    def _admit(self, scope: Scope) -> None:
        """Raises Problem for a request that may not be answered."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy before this server may have believed the other one (RFC 9112, 6.3).
            raise Problem(400, "bad_form", "the request has two lengths; send one", {"Connection": "close"})
        host = headers.get("host", "")
        if self._settings.hosts is not None and _name_of(host) not in self._settings.hosts:
            raise Problem(
                421,
                "wrong_host",
                "this server is not called by that name; whoever runs it can add --allow-host NAME",
            )
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            same = urlsplit(origin).netloc.lower() == host.lower()
            if not same and origin not in self._settings.origins:
                raise Problem(
                    403,
                    "wrong_origin",
                    "pages of other sites may not use this server; whoever runs it can add --allow-origin",
                )
        token = self._settings.token
        asks = scope["path"].startswith(("/v1/", "/metrics")) and scope["method"] != "OPTIONS"
        if token is not None and asks and not _same_token(headers.get("authorization", ""), token):
            raise Problem(
                401,
                "no_token",
                "this server asks for a token; send the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )

    def _count(self, scope: Scope, status: int, took_s: float) -> None:
        route = scope["path"] if scope["path"] in _ROUTES else "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_s.labels(route).observe(took_s)
        if route == "/v1/reconstruct":
            LOG.info("%s %d in %.3f s", route, status, took_s)


def log_failure(error: BaseException) -> None:
    """Logs what kind of error it was, and where; its message may hold what a client sent."""
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f"{where[0].name} at line {where[0].lineno} of {where[0].filename}" if where else "nowhere"
    LOG.error("%s in %s", type(error).__name__, place)


def _name_of(host: str) -> str:
    """The name in a Host header, in lower case and without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower()


def _same_token(said: str, token: str) -> bool:
    scheme, _, credentials = said.partition(" ")
    same = hmac.compare_digest(credentials.strip().encode("latin-1"), token.encode())
    return same and scheme.lower() == "bearer"
