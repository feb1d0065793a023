"""A server on a port: what uvicorn is told, and the clients that it would wait for too long."""

import asyncio
import logging
import socket
import warnings
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from facemend.errors import UsageError
from facemend.server.app import Server
from facemend.server.settings import Limits


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes on who does not send a head, or does not take an answer, in time."""

    def __init__(self, *arguments: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Gives the first head its time."""
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Gives every further head its time, too."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the timer."""
        super().connection_lost(exc)
        self._forget_head()

    def on_response_complete(self) -> None:
        """Gives the client its time to take what lies in the buffer."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self._limits.send_s, self._abort_if_stuck, self.cycle)

    def _watch_head(self) -> None:
        waits = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not waits:
            self._forget_head()
        elif self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(self._limits.head_s, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _abort_if_stuck(self, cycle: object) -> None:
        if self.cycle is cycle and self.transport.get_write_buffer_size():
            self.transport.abort()


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one.

    Raises:
        UsageError: there is no such address, or the port is taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port"
        ) from error
    return listener


def run(server: Server, listener: socket.socket, limits: Limits, *, quiet: bool = False) -> None:
    """Serves until a signal, then finishes what it began.

    Logs one line a photo: the status and the time. No address, name or path of a client is logged.
    """
    warnings.filterwarnings("ignore", module="PIL")  # about what is in a stranger's file
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("facemend.server").setLevel(logging.WARNING if quiet else logging.INFO)
    config = uvicorn.Config(
        server.app,
        http=partial(PatientProtocol, limits=limits),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.receive_s + limits.answer_s) + 5,
    )
    uvicorn.Server(config).run(sockets=[listener])
