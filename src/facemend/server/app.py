"""The application: its routes, and the layers that a request goes through."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from facemend import __version__
from facemend.errors import FacemendError
from facemend.images import Image
from facemend.reconstruction.options import Remove
from facemend.reconstruction.provenance import NOTICE
from facemend.reconstruction.reconstructor import Reconstructor
from facemend.server.answering import json_answer, picture_answer
from facemend.server.asking import FORMATS, read_asked
from facemend.server.guard import GONE, LOG, Guard
from facemend.server.mending import Mended, mend
from facemend.server.metrics import MEDIA_TYPE, Metrics
from facemend.server.openapi import MODELS, RECONSTRUCT, error_answers
from facemend.server.page_files import PageFile, read_page
from facemend.server.problems import INTERNAL, Problem, busy, problem_of
from facemend.server.receiving import ClientGone, Receiver
from facemend.server.settings import Settings
from facemend.server.turns import Turns


class Server:
    """One model, its queue and its counters, and the routes to them.

    Attributes:
        app: the ASGI application, with all its layers.
    """

    def __init__(self, reconstructor: Reconstructor, settings: Settings | None = None) -> None:
        self._reconstructor = reconstructor
        self._settings = settings or Settings()
        self._limits = self._settings.limits
        self._metrics = Metrics()
        self._turns = Turns(self._settings.workers, self._limits.waiting)
        self._ready = False
        self._metrics.watch(self._metrics.waiting, lambda: float(self._turns.waiting))
        self._metrics.watch(self._metrics.running, lambda: float(self._turns.running))
        self.app = self._layered(self._routes())

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
        return self._turns.retry_after_s() if self._turns.full else None

    @asynccontextmanager
    async def _life(self, _: FastAPI) -> AsyncIterator[None]:
        """Warms the model up before the first request, and lets the last ones finish."""
        await self._turns.take(partial(warm_up, self._reconstructor))
        self._ready = True
        yield
        self._ready = False
        await self._turns.close()

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
            api.add_api_route(
                path, partial(_page_file, file), methods=["GET", "HEAD"], include_in_schema=False
            )
        api.add_exception_handler(Problem, _answer_problem)
        api.add_exception_handler(HTTPException, _answer_http)
        api.add_exception_handler(ClientGone, _answer_nobody)
        api.add_exception_handler(Exception, _answer_failure)
        return api

    async def _reconstruct(self, request: Request) -> Response:
        asked = await read_asked(request)
        work = partial(mend, self._reconstructor, asked, self._limits)
        try:
            mended = await self._while_there(request, self._turns.take(work))
        except FacemendError as error:
            problem = problem_of(error)
            if problem is INTERNAL:
                LOG.error("%s", error)
            raise problem from error
        self._measure(mended)
        answer = json_answer if asked.options.answer == "json" else picture_answer
        return await asyncio.to_thread(answer, mended)

    async def _while_there(self, request: Request, work: Coroutine[None, None, Mended]) -> Mended:
        """Waits for a turn's result, as long as the client does, and not for ever."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait(
                (task, gone), timeout=self._limits.answer_s, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                mended: Mended = task.result()
                return mended
            if gone.done():
                raise ClientGone
            raise Problem(
                503,
                "too_slow",
                f"the photo was not done after {self._limits.answer_s:g} s; send a smaller one",
                {"Retry-After": str(self._turns.retry_after_s())},
            )
        finally:
            task.cancel()
            gone.cancel()

    def _measure(self, mended: Mended) -> None:
        height_px, width_px = mended.photo.pixels.shape[:2]
        self._metrics.megapixels.observe(height_px * width_px / 1e6)
        self._metrics.mend_s.observe(mended.work_s)
        for face in mended.faces:
            self._metrics.faces.labels("reconstructed" if face.changed else "unchanged").inc()

    async def _models(self) -> dict[str, Any]:
        model, limits = self._reconstructor.model, self._limits
        described = model.description
        return {
            "models": [
                {
                    "name": described.name,
                    "sha256": model.sha256,
                    "size_px": described.size_px,
                    "finds_occlusion": described.finds_occlusion,
                    "takes_mask": described.takes_hint,
                    "data": described.data,
                    "images_seen": described.images_seen,
                }
            ],
            "notice": NOTICE,
            "remove": [str(remove) for remove in Remove],
            "formats": list(FORMATS),
            "limits": {
                "upload_bytes": limits.upload_bytes,
                "pixels": limits.pixels,
                "side_px": limits.side_px,
                "answer_s": limits.answer_s,
            },
        }

    async def _health(self) -> dict[str, str]:
        return {"status": "ok"}

    async def _readiness(self) -> dict[str, str]:
        if not self._ready:
            raise Problem(503, "not_ready", "the model is not warm yet; try again in a second")
        if self._turns.full:
            full = busy(self._turns.retry_after_s())
            raise Problem(503, full.code, full.message, full.headers)
        return {"status": "ready"}

    async def _counts(self) -> Response:
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)


def warm_up(reconstructor: Reconstructor) -> None:
    """Runs both networks once: the first run is the slow one."""
    side_px = reconstructor.model.description.size_px
    gray: Image = np.full((side_px, side_px, 3), 127, dtype=np.uint8)
    reconstructor(gray, aligned=True)
    reconstructor(gray)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _page_file(file: PageFile, request: Request) -> Response:
    return file.response(request.headers.get("if-none-match"))


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _answer_nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=GONE)


async def _answer_failure(request: Request, error: Exception) -> Response:
    """What was not foreseen; it is raised again for the guard, who logs it."""
    return INTERNAL.response()


async def _answer_http(request: Request, error: Exception) -> Response:
    """FastAPI's own refusals: no such path, or not this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return Problem(405, "wrong_method", "this path takes another method", error.headers).response()
    return Problem(
        error.status_code, "not_found", "there is nothing here; /openapi.json lists all"
    ).response()
