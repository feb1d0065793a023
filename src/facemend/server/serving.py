"""Runs the server on a port with uvicorn, and closes connections of clients that take too long."""

import asyncio
import logging
import socket
from collections.abc import MutableMapping
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from facemend.errors import UsageError
from facemend.server.app import Server
from facemend.server.bodies import ABORT
from facemend.server.settings import Limits


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with time limits, and a limit for connections.

    A head, a request's whole life and the taking of a response have their times. Where there are too many
    connections, the one that has waited longest for its client is closed.
    """

    def __init__(self, *arguments: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limits = limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._life_timer: asyncio.TimerHandle | None = None
        self._watched: object = None
        self._since_s = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Gives the first head its time."""
        super().connection_made(transport)
        self._make_room()
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Gives every further head its time."""
        super().data_received(data)
        self._watch_head()

    def handle_events(self) -> None:
        """Gives every request the time of its life."""
        super().handle_events()
        if self.cycle is not self._watched:
            self._watched, self._since_s = self.cycle, self.loop.time()
            scope: MutableMapping[str, Any] = self.cycle.scope  # type: ignore[assignment]
            scope[ABORT] = self.transport.abort
            self._forget(self._life_timer)
            life_s = self._limits.request_s + self._limits.linger_s
            self._life_timer = self.loop.call_later(life_s, self._abort_if_unfinished)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the timers."""
        super().connection_lost(exc)
        self._forget(self._head_timer)
        self._forget(self._life_timer)

    def on_response_complete(self) -> None:
        """Gives the client its time to take what lies in the buffer."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(self._limits.send_s, self._abort_if_stuck, self.cycle)

    @property
    def waits_for_client(self) -> bool:
        """Whether the client has to do something next: send, or take what lies in the buffer."""
        sends = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        return not self.transport.is_closing() and (sends or self.transport.get_write_buffer_size() > 0)

    def _make_room(self) -> None:
        if len(self.connections) <= self._limits.connections:
            return
        ours = [each for each in self.connections if isinstance(each, PatientProtocol) and each is not self]
        waiting = [each for each in ours if each.waits_for_client]
        if waiting:
            min(waiting, key=lambda each: each._since_s).transport.abort()

    def _watch_head(self) -> None:
        waits = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not waits:
            self._forget(self._head_timer)
            self._head_timer = None
        elif self._head_timer is None and self.timeout_keep_alive_task is None:
            self._head_timer = self.loop.call_later(self._limits.head_s, self.transport.abort)

    def _forget(self, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

    def _abort_if_unfinished(self) -> None:
        done = self.cycle.response_complete and self.conn.their_state is not h11.SEND_BODY
        if not done or self.transport.get_write_buffer_size():
            self.transport.abort()

    def _abort_if_stuck(self, cycle: object) -> None:
        if self.cycle is cycle and self.transport.get_write_buffer_size():
            self.transport.abort()


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Port 0 takes any free one.

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

    A signal ends it in bounded time: what is not done by then is cut off.

    Logs one line a photo: the status and the time. No address, name or path of a client is logged.
    """
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
        limit_concurrency=2 * limits.connections,  # the protocol closes some long before
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.work_s) + 5,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        server.close()
