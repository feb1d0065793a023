"""The application: its routes, its page and its middleware."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from facemend import __version__
from facemend.errors import FacemendError
from facemend.parallel import cores
from facemend.reconstruction.options import Remove
from facemend.reconstruction.provenance import NOTICE
from facemend.server.bodies import (
    BODY,
    DEADLINE,
    RESERVATION,
    BodyMiddleware,
    ClientGone,
    PacedResponse,
    Reservation,
)
from facemend.server.form import Form, read_form
from facemend.server.metrics import MEDIA_TYPE, Metrics
from facemend.server.middleware import GONE, LOG, AccessMiddleware, response_of
from facemend.server.problems import INTERNAL, Problem, busy, out_of_time
from facemend.server.schemas import FORMATS, MODELS, RECONSTRUCT, error_responses
from facemend.server.settings import Settings
from facemend.server.worker import Part, setup_message
from facemend.server.worker_pool import Coalescer, WorkerLost, WorkerPool

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


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
        path = "/" if entry.name == "index.html" else f"/page/{entry.name}"
        found[path] = PageFile(data, media_type, tag)
    return found


_OUT_OF_TIME_S, _LOST_S = 600.0, 60.0
"""How long a photo is not tried again. A worker may also be lost for want of memory that others took."""
WorkerResponse = tuple[dict[str, Any], bytes]
"""The head and the body of a worker's response."""


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
            lifespan=self._life,
        )
        api.add_api_route(
            "/v1/reconstruct", self._reconstruct, methods=["POST"], response_class=Response, **RECONSTRUCT
        )
        api.add_api_route("/v1/models", self._models, methods=["GET"], **MODELS)
        for path, handler, summary in (
            ("/healthz", self._health, "Whether the server runs."),
            ("/readyz", self._readiness, "Whether it can take one more photo."),
        ):
            api.add_api_route(path, handler, summary=summary, responses=error_responses(503))
        api.add_api_route(
            "/metrics", self._prometheus, summary="Prometheus metrics.", response_class=Response
        )
        for path, file in read_page().items():
            api.add_api_route(path, partial(_page_file, file), include_in_schema=False)
        api.add_exception_handler(Problem, _problem_response)
        api.add_exception_handler(HTTPException, _http_response)
        api.add_exception_handler(ClientGone, _gone_response)
        api.add_exception_handler(Exception, _failure_response)
        return api

    async def _reconstruct(self, request: Request) -> Response:
        form = read_form(request.scope[BODY], request.headers.get("content-type", ""))
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
        options = {"options": form.options.model_dump(mode="json")}
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

    async def _models(self) -> dict[str, Any]:
        limits = self._limits
        return {
            "models": [self._model],
            "notice": NOTICE,
            "remove": [str(remove) for remove in Remove],
            "formats": list(FORMATS),
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
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)


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
    message = "there is nothing here; /openapi.json lists all"
    return response_of(Problem(error.status_code, "not_found", message))
