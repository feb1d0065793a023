"""The application with its routes and its page, and the port that it is served on."""

import asyncio
import hashlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Coroutine, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from facemend import __version__
from facemend.errors import FacemendError, UsageError
from facemend.parallel import cores
from facemend.reconstruction.options import Remove
from facemend.reconstruction.provenance import NOTICE
from facemend.server.middleware import (
    ABORT,
    BODY,
    DEADLINE,
    GONE,
    LOG,
    METRICS_MEDIA_TYPE,
    RESERVATION,
    AccessMiddleware,
    BodyMiddleware,
    ClientGone,
    Metrics,
    PacedResponse,
    Reservation,
    response_of,
)
from facemend.server.schemas import (
    FIND,
    FORMATS,
    INTERNAL,
    MODELS,
    RECONSTRUCT,
    FindOptions,
    Form,
    FormOptions,
    Problem,
    busy,
    error_responses,
    out_of_time,
    read_form,
)
from facemend.server.settings import Limits, Settings
from facemend.server.workers import Coalescer, Part, WorkerLost, WorkerPool, WorkerResponse, setup_message

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "jpg": "image/jpeg",
    "png": "image/png",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
}
_PATHS = {"index.html": "/", "docs.html": "/docs"}
_EXAMPLE = "/page/example-mask.jpg"
"""The photo that the page shows with its reconstruction beside it."""


@dataclass(frozen=True)
class PageFile:
    """A file of the page.

    Attributes:
        data: its bytes.
        media_type: what they are.
        tag: changes when they do.
    """

    data: bytes
    media_type: str
    tag: str

    def response(self, known: str | None) -> Response:
        """The file, or 304 if the browser has it already."""
        headers = {"Cache-Control": "no-cache", "ETag": self.tag}
        if known == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.data, media_type=self.media_type, headers=headers)


def read_page() -> dict[str, PageFile]:
    """Every file by the path that it is served under."""
    found = {}
    for entry in files("facemend.server").joinpath("page").iterdir():
        media_type = _MEDIA_TYPES.get(entry.name.rpartition(".")[2])
        if media_type is None:
            continue
        data = entry.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
        path = _PATHS.get(entry.name, f"/page/{entry.name}")
        found[path] = PageFile(data, media_type, tag)
    return found


_OUT_OF_TIME_S, _LOST_S = 600.0, 60.0
"""How long a photo is not tried again. A worker may also be lost for want of memory that others took."""


class Server:
    """One model, its queue and its counters, and the routes to them.

    Attributes:
        app: the ASGI application, with its middleware.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._limits = limits = self._settings.limits
        self._metrics = Metrics()
        chosen = self._settings
        threads = chosen.threads or max(1, cores() // chosen.workers)
        setup = partial(
            setup_message, limits=limits, model=chosen.model, device=chosen.device, threads=threads
        )
        self._workers = WorkerPool(
            setup("reconstruct"), chosen.workers, limits.waiting, limits.response_bytes
        )
        # How many wait for an inspection is bounded by the memory for uploads.
        self._inspection = WorkerPool(setup("inspect"), 1, limits.connections, limits.response_bytes)
        self._coalescer: Coalescer[WorkerResponse] = Coalescer()
        self._pools = (self._inspection, self._workers)
        self._model: dict[str, Any] | None = None
        self._ready = False
        self._example_after: bytes | None = None
        self._metrics.watch(self._metrics.waiting, lambda: float(sum(p.waiting for p in self._pools)))
        self._metrics.watch(self._metrics.running, lambda: float(sum(p.running for p in self._pools)))
        self._metrics.watch(self._metrics.workers_lost, lambda: float(sum(p.lost for p in self._pools)))
        self.app = self._with_middleware(self._routes())

    def start(self) -> None:
        """Starts the workers, and waits until their model is warm.

        Raises:
            ModelError, UsageError: the model cannot be opened.
            FacemendError: a worker cannot be started.
        """
        try:
            self._inspection.start()
            self._model = self._workers.start()
        except FacemendError:
            self.close()
            raise

    def close(self) -> None:
        """Ends the workers at once."""
        for pool in self._pools:
            pool.close()

    def _with_middleware(self, api: FastAPI) -> ASGIApp:
        app: ASGIApp = BodyMiddleware(api, self._limits, self._metrics, self._retry_after_s)
        if self._settings.origins:
            app = CORSMiddleware(
                app,
                allow_origins=sorted(self._settings.origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization"],
                expose_headers=[
                    "Facemend-Outcome",
                    "Facemend-Faces",
                    "Facemend-Reconstructed",
                    "Retry-After",
                ],
            )
        return AccessMiddleware(app, self._settings, self._metrics)

    def _retry_after_s(self) -> int | None:
        return self._workers.retry_after_s() if self._workers.full else None

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        """Starts the workers before the first request, and ends them after the last."""
        if self._model is None:
            await asyncio.to_thread(self.start)
        self._ready = True
        yield
        self._ready = False
        self.close()

    def _routes(self) -> FastAPI:
        api = FastAPI(
            title="facemend",
            version=__version__,
            description=f"Finds what hides the faces of a photo and reconstructs it. {NOTICE}",
            docs_url=None,  # they would load scripts from elsewhere
            redoc_url=None,
            redirect_slashes=False,  # a redirect would name http behind a proxy, and send the photo there
            lifespan=self._life,
        )
        api.add_api_route(
            "/v1/reconstruct", self._reconstruct, methods=["POST"], response_class=Response, **RECONSTRUCT
        )
        api.add_api_route("/v1/find", self._find, methods=["POST"], response_class=Response, **FIND)
        api.add_api_route("/v1/models", self._models, methods=["GET"], **MODELS)
        for path, handler, summary in (
            ("/healthz", self._health, "Whether the server runs."),
            ("/readyz", self._readiness, "Whether it can take one more photo."),
        ):
            api.add_api_route(path, handler, summary=summary, responses=error_responses(503))
        api.add_api_route(
            "/metrics", self._prometheus, summary="Prometheus metrics.", response_class=Response
        )
        page = read_page()
        for path, file in page.items():
            api.add_api_route(path, partial(_page_file, file), include_in_schema=False)
        api.add_api_route(
            "/page/example-after.jpg", partial(self._example, page[_EXAMPLE]), include_in_schema=False
        )
        api.add_exception_handler(Problem, _problem_response)
        api.add_exception_handler(HTTPException, _http_response)
        api.add_exception_handler(ClientGone, _gone_response)
        api.add_exception_handler(Exception, _failure_response)
        return api

    async def _reconstruct(self, request: Request) -> Response:
        return await self._work(request, FormOptions)

    async def _find(self, request: Request) -> Response:
        return await self._work(request, FindOptions)

    async def _work(self, request: Request, schema: type[FormOptions | FindOptions]) -> Response:
        form = read_form(request.scope[BODY], request.headers.get("content-type", ""), schema)
        head, body = await self._while_there(request, self._respond(form))
        reservation: Reservation = request.scope[RESERVATION]
        request.scope[BODY] = b""
        reservation.resize(len(body))
        self._measure(head)
        return PacedResponse(
            body, self._limits.send_s, media_type=head["media_type"], headers=head["headers"]
        )

    async def _respond(self, form: Form) -> WorkerResponse:
        """Inspects the photo and reconstructs it. Equal requests at the same time share the work."""
        task = "reconstruct" if isinstance(form.options, FormOptions) else "find"
        options = {"task": task, "options": form.options.model_dump(mode="json")}
        parts: tuple[Part, ...] = (form.photo,) if form.mask is None else (form.photo, form.mask)
        key = await self._coalescer.key_of(json.dumps(options).encode(), *parts)

        async def work() -> WorkerResponse:
            try:
                await self._submit(self._inspection, {}, parts, self._limits.inspect_s)
                return await self._submit(self._workers, options, parts, self._limits.work_s)
            except WorkerLost as lost:
                LOG.warning("a worker was %s", "ended: out of time" if lost.out_of_time else "lost")
                problem = _problem_of_loss(lost)
                self._coalescer.refuse(key, problem, _OUT_OF_TIME_S if lost.out_of_time else _LOST_S)
                raise problem from lost

        return await self._coalescer.share(key, work)

    async def _submit(
        self, pool: WorkerPool, head: dict[str, Any], parts: tuple[Part, ...], limit_s: float
    ) -> WorkerResponse:
        """Sends a request to a worker. Raises Problem as the worker does, and WorkerLost."""
        response, body = await pool.submit(head, parts, limit_s)
        problem = response.get("problem")
        if problem is None:
            return response, body
        if response["log"]:
            LOG.error("%s", response["log"])
        raise Problem(problem["status"], problem["code"], problem["message"], problem["headers"])

    async def _while_there(
        self, request: Request, work: Coroutine[None, None, WorkerResponse]
    ) -> WorkerResponse:
        """Waits for a response, as long as the client does and the request lives."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_disconnected(request))
        left_s = request.scope[DEADLINE] - asyncio.get_running_loop().time()
        try:
            await asyncio.wait((task, gone), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                response: WorkerResponse = task.result()
                return response
            if gone.done():
                raise ClientGone
            raise out_of_time(self._limits.request_s, self._workers.retry_after_s())
        finally:
            task.cancel()
            gone.cancel()

    def _measure(self, head: dict[str, Any]) -> None:
        self._metrics.megapixels.observe(head["pixels"] / 1e6)
        self._metrics.reconstruct_s.observe(head["work_s"])
        for changed in head["changed"]:
            self._metrics.faces.labels("reconstructed" if changed else "unchanged").inc()

    async def _example(self, before: PageFile) -> Response:
        """The page's example as this server's model reconstructs it, worked on once."""
        if self._example_after is None:
            _, body = await self._respond(
                Form(memoryview(before.data), None, FormOptions.model_validate({}))
            )
            self._example_after = body
        headers = {"Cache-Control": "no-cache"}
        return Response(self._example_after, media_type=before.media_type, headers=headers)

    async def _models(self) -> dict[str, Any]:
        limits = self._limits
        return {
            "models": [self._model],
            "notice": NOTICE,
            "remove": [str(remove) for remove in Remove],
            "formats": [name for name in FORMATS if name != "heic" or find_spec("pillow_heif")],
            "limits": {
                "upload_bytes": limits.upload_bytes,
                "pixels": limits.pixels,
                "side_px": limits.side_px,
                "answer_s": limits.request_s,
            },
        }

    async def _health(self) -> dict[str, str]:
        return {"status": "ok"}

    async def _readiness(self) -> dict[str, str]:
        if not self._ready:
            raise Problem(503, "not_ready", "the model is not warm yet; try again in a second")
        if self._workers.full:
            full = busy(self._workers.retry_after_s())
            raise Problem(503, full.code, full.message, full.headers)
        return {"status": "ready"}

    async def _prometheus(self) -> Response:
        return Response(self._metrics.text(), media_type=METRICS_MEDIA_TYPE)


def _problem_of_loss(lost: WorkerLost) -> Problem:
    if lost.out_of_time:
        return Problem(422, "too_slow", "the photo takes too long to work on; send a smaller one")
    return Problem(
        422, "bad_picture", "a worker ended as it read the photo; save the photo anew and send that"
    )


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _page_file(file: PageFile, request: Request) -> Response:
    return file.response(request.headers.get("if-none-match"))


async def _problem_response(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response_of(error)


async def _gone_response(request: Request, error: Exception) -> Response:
    return Response(status_code=GONE)


async def _failure_response(request: Request, error: Exception) -> Response:
    """An unexpected error. Starlette raises it again, and AccessMiddleware logs it."""
    return response_of(INTERNAL)


async def _http_response(request: Request, error: Exception) -> Response:
    """FastAPI's own errors: no such path, or not this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return response_of(Problem(405, "wrong_method", "this path takes another method", error.headers))
    message = "there is nothing here; /docs and /openapi.json list all"
    return response_of(Problem(error.status_code, "not_found", message))


_PIECE_BYTES, _MOST_HEAD_BYTES, _MOST_HEADERS = 8192, 16_384, 100
_FEW_CHUNKS, _CHUNK_BYTES = 100, 128
"""So many chunks a body may have, and one more for each of these bytes."""


class BoundedConnection(h11.Connection):
    """HTTP/1.1 with few lines in a head and no tiny chunks: each of them takes time of its own."""

    _chunks = _body_bytes = 0

    def next_event(self) -> Any:
        """As h11 does. Raises RemoteProtocolError also for a request with too many headers or chunks."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._body_bytes = 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._body_bytes += len(event.data)
        few = len(getattr(event, "headers", ())) <= _MOST_HEADERS
        if not few or self._chunks > _FEW_CHUNKS + self._body_bytes // _CHUNK_BYTES:
            raise h11.RemoteProtocolError("too many headers or chunks", error_status_hint=431)
        return event


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with time limits, and a limit for connections.

    A head, a request's whole life and the taking of a response have their times. Where there are too many
    connections, the one that has waited longest for its client is closed.
    """

    def __init__(self, *arguments: Any, limits: Limits, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = BoundedConnection(h11.SERVER, _MOST_HEAD_BYTES)
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
        """Gives every further head its time. The parser sees pieces, and refuses a large head early."""
        for start in range(0, len(data), _PIECE_BYTES):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + _PIECE_BYTES])
        self._watch_head()

    def _should_upgrade(self) -> bool:
        """No request becomes a WebSocket, and none fills the log with advice on how it could."""
        return False

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP. In the middle of a response there is nothing to say."""
        if self.conn.our_state is h11.SEND_RESPONSE or self.conn.our_state is h11.IDLE:
            super().send_400_response(msg)
        else:
            self.transport.abort()

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
