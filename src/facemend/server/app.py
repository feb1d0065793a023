"""The server's routes and layers."""

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
from facemend.reconstruction.options import Remove
from facemend.reconstruction.provenance import NOTICE
from facemend.server.bodies import BODY, DEADLINE, HELD, ClientGone, Held, PacedResponse, Receiver
from facemend.server.form import Form, read_form
from facemend.server.metrics import MEDIA_TYPE, Metrics
from facemend.server.middleware import GONE, LOG, Guard, response_of
from facemend.server.openapi import MODELS, RECONSTRUCT, error_answers
from facemend.server.problems import INTERNAL, Problem, busy, out_of_time
from facemend.server.queue import Coalescer
from facemend.server.schemas import FORMATS
from facemend.server.settings import Settings
from facemend.server.worker import Part, setup_message
from facemend.server.worker_pool import WorkerLost, WorkerPool

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
        """The file, or word that the browser has it already."""
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
Reply = tuple[dict[str, Any], bytes]
"""What a worker answers: a head, and a body."""


class Server:
    """One model, its queue and its counters, and the routes to them.

    Attributes:
        app: the ASGI application, with all its layers.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._limits = limits = self._settings.limits
        self._metrics = Metrics()
        chosen = self._settings
        setup = partial(
            setup_message, limits=limits, model=chosen.model, device=chosen.device, threads=chosen.threads
        )
        self._workers = WorkerPool(
            setup("reconstruct"), chosen.workers, limits.waiting, limits.response_bytes
        )
        # Who waits for a look at the photo's head is bounded by the memory for uploads.
        self._inspection = WorkerPool(setup("inspect"), 1, limits.connections, limits.response_bytes)
        self._coalescer: Coalescer[Reply] = Coalescer()
        self._pools = (self._inspection, self._workers)
        self._model: dict[str, Any] | None = None
        self._ready = False
        self._metrics.watch(self._metrics.waiting, lambda: float(sum(p.waiting for p in self._pools)))
        self._metrics.watch(self._metrics.running, lambda: float(sum(p.running for p in self._pools)))
        self._metrics.watch(self._metrics.workers_lost, lambda: float(sum(p.lost for p in self._pools)))
        self.app = self._layered(self._routes())

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

    def _layered(self, api: FastAPI) -> ASGIApp:
        app: ASGIApp = Receiver(api, self._limits, self._metrics, self._retry_after_s)
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
        return Guard(app, self._settings, self._metrics)

    def _retry_after_s(self) -> int | None:
        return self._workers.retry_after_s() if self._workers.full else None

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        """Has workers before the first request, and none after the last."""
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
        for path, answer, says in (
            ("/healthz", self._health, "Whether the server runs."),
            ("/readyz", self._readiness, "Whether it can take one more photo."),
        ):
            api.add_api_route(path, answer, summary=says, responses=error_answers(503))
        api.add_api_route("/metrics", self._counts, summary="Prometheus metrics.", response_class=Response)
        for path, file in read_page().items():
            api.add_api_route(path, partial(_page_file, file), include_in_schema=False)
        api.add_exception_handler(Problem, _answer_problem)
        api.add_exception_handler(HTTPException, _answer_http)
        api.add_exception_handler(ClientGone, _answer_nobody)
        api.add_exception_handler(Exception, _answer_failure)
        return api

    async def _reconstruct(self, request: Request) -> Response:
        form = read_form(request.scope[BODY], request.headers.get("content-type", ""))
        said, body = await self._while_there(request, self._answer(form))
        held: Held = request.scope[HELD]
        request.scope[BODY] = b""
        held.resize(len(body))
        self._measure(said)
        return PacedResponse(
            body, self._limits.send_s, media_type=said["media_type"], headers=said["headers"]
        )

    async def _answer(self, form: Form) -> Reply:
        """Has the photo inspected, and then worked on; once for all who ask the same at the same time."""
        options = {"options": form.options.model_dump(mode="json")}
        parts: tuple[Part, ...] = (form.photo,) if form.mask is None else (form.photo, form.mask)
        key = await self._coalescer.key_of(json.dumps(options).encode(), *parts)

        async def work() -> Reply:
            try:
                await self._ask(self._inspection, {}, parts, self._limits.inspect_s)
                return await self._ask(self._workers, options, parts, self._limits.work_s)
            except WorkerLost as lost:
                LOG.warning("a worker was %s", "ended: out of time" if lost.out_of_time else "lost")
                problem = _problem_of_loss(lost)
                self._coalescer.refuse(key, problem, _OUT_OF_TIME_S if lost.out_of_time else _LOST_S)
                raise problem from lost

        return await self._coalescer.share(key, work)

    async def _ask(
        self, pool: WorkerPool, head: dict[str, Any], parts: tuple[Part, ...], limit_s: float
    ) -> Reply:
        """Has a worker answer. Raises Problem as the worker does, and WorkerLost."""
        said, body = await pool.submit(head, parts, limit_s)
        problem = said.get("problem")
        if problem is None:
            return said, body
        if said["log"]:
            LOG.error("%s", said["log"])
        raise Problem(problem["status"], problem["code"], problem["message"], problem["headers"])

    async def _while_there(self, request: Request, work: Coroutine[None, None, Reply]) -> Reply:
        """Waits for an answer, as long as the client does, and as long as the request lives."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_disconnected(request))
        left_s = request.scope[DEADLINE] - asyncio.get_running_loop().time()
        try:
            await asyncio.wait((task, gone), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                reply: Reply = task.result()
                return reply
            if gone.done():
                raise ClientGone
            raise out_of_time(self._limits.request_s, self._workers.retry_after_s())
        finally:
            task.cancel()
            gone.cancel()

    def _measure(self, said: dict[str, Any]) -> None:
        self._metrics.megapixels.observe(said["pixels"] / 1e6)
        self._metrics.mend_s.observe(said["work_s"])
        for changed in said["changed"]:
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

    async def _counts(self) -> Response:
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)


def _problem_of_loss(lost: WorkerLost) -> Problem:
    if lost.out_of_time:
        return Problem(422, "too_slow", "the photo takes too long to work on; send a smaller one")
    return Problem(422, "bad_picture", "the photo ends whatever reads it; save it anew and send that")


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _page_file(file: PageFile, request: Request) -> Response:
    return file.response(request.headers.get("if-none-match"))


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response_of(error)


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=GONE)


async def _answer_failure(request: Request, error: Exception) -> Response:
    """What was not foreseen; it is raised again for the guard, who logs it."""
    return response_of(INTERNAL)


async def _answer_http(request: Request, error: Exception) -> Response:
    """FastAPI's own refusals: no such path, or not this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return response_of(Problem(405, "wrong_method", "this path takes another method", error.headers))
    message = "there is nothing here; /openapi.json lists all"
    return response_of(Problem(error.status_code, "not_found", message))
