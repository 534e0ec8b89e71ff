"""The service: its routes, and the front that every request passes, which refuses, times, counts and logs."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ie.core import web
from ie.core.errors import RequestError, UserError
from ie.data.tokenizer import stretch_fault
from ie.deploy.service import logs
from ie.deploy.service.batcher import Batcher
from ie.deploy.service.openapi import Batch, describe
from ie.deploy.service.settings import RequestLimits, ServiceSettings
from ie.deploy.service.workers import WorkerPool

OWN = Path(__file__).parent / "static"
FILES = {
    "/": OWN / "page.html",
    "/serve.js": OWN / "serve.js",
    "/serve.css": OWN / "serve.css",
    "/base.css": web.STATIC / "base.css",
    "/icon.svg": web.STATIC / "icon.svg",
}
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """What Prometheus may ask for; a registry of its own, so that two apps in a process don't mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def make(kind: Any, name: str, told: str, labels: Sequence[str] = (), **more: Any) -> Any:
            return kind(f"serve_{name}", told, labels, registry=self.registry, **more)

        self.requests = make(Counter, "requests", "Requests answered", ("path", "status"))
        self.seconds = make(Histogram, "request_seconds", "Time to answer", ("path",), buckets=SECONDS)
        self.texts = make(Counter, "texts", "Texts annotated")
        self.characters = make(Counter, "characters", "Their characters")
        self.batches = make(Histogram, "batch_texts", "Texts a batch", buckets=SIZES)
        self.memory = make(Gauge, "memory_bytes", "Resident memory of the server and its processes")
        self.waiting = make(Gauge, "waiting_texts", "Texts that wait for the pipeline")
        self.ready = make(Gauge, "ready", "1 if the pipeline is loaded and was tried")

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


def make_app(
    workers: WorkerPool,
    settings: ServiceSettings,
    *,
    hosts: str = "",
    example: str,
    failed: Callable[[str], None],
    name: str = "",
    version: str = "",
) -> ASGIApp:
    """The application; it loads the pipeline when it starts and answers /ready when that is done.

    Args:
        hosts: names, with commas, under which a proxy makes the service known.
        example: a text to try it on.
        failed: told why, if the pipeline can't be loaded.
        name, version: of the pipeline as it is announced; "" for those of its meta.json.
    """
    limits, metrics = settings.limits, Metrics()
    batcher = Batcher(
        workers.run,
        slots=workers.slots,
        size=settings.work.batch,
        characters=settings.work.batch_characters,
        queue=limits.queue,
        watch=metrics.batches.observe,
    )
    metrics.waiting.set_function(lambda: batcher.waiting)
    metrics.memory.set_function(workers.memory)
    metrics.ready.set_function(lambda: workers.ready)
    about: dict[str, str] = {}

    async def annotate(request: Request) -> Response:
        texts = await read(request, limits)
        told = request.scope["told"]
        told["texts"], told["chars"] = len(texts), sum(map(len, texts))
        if not about:
            raise RequestError("The pipeline is still being loaded; come again in a moment.", 503)
        lines = await batcher.annotate(texts, limits.answer)
        for i, line in enumerate(lines):
            if line is None:
                raise RequestError(
                    f"The pipeline can't work on texts.{i}: it fails, or finds more than {limits.entities} "
                    "entities.",
                    422,
                )
        metrics.texts.inc(told["texts"])
        metrics.characters.inc(told["chars"])
        return Response(f'{{"records": [{", ".join(map(str, lines))}]}}', media_type="application/json")

    async def health(request: Request) -> Response:
        return JSONResponse({"alive": True})

    async def ready(request: Request) -> Response:
        if not about or not workers.ready:
            raise RequestError("The pipeline is still being loaded; come again in a moment.", 503)
        return JSONResponse({"ready": True, "pipeline": about})

    async def openapi(request: Request) -> Response:
        return JSONResponse(describe(limits, example))

    async def figures(request: Request) -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def static(request: Request, file: Path) -> Response:
        return FileResponse(file)

    async def prepare() -> None:
        try:
            found = await workers.load()
            given = {"name": name, "version": version}
            about.update(found | {key: value for key, value in given.items() if value})
        except UserError as error:
            failed(str(error))
        else:
            logs.tell("ready", pipeline=about["name"], version=about["version"])

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(prepare())
        yield
        task.cancel()
        workers.stop()

    async def refused(request: Request, error: Exception) -> Response:
        response = await web.refused(request, error)
        if response.status_code == 503:
            response.headers["Retry-After"] = str(limits.retry_after)
        return response

    routes = [Route(path, partial(static, file=file)) for path, file in FILES.items()]
    routes += [
        Route("/annotate", annotate, methods=["POST"]),
        Route("/health", health),
        Route("/ready", ready),
        Route("/metrics", figures),
        Route("/openapi.json", openapi),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={RequestError: refused, HTTPException: _unknown},
        lifespan=lifespan,
    )
    return Front(app, web.allowed(hosts), metrics, {route.path for route in routes})


async def read(request: Request, limits: RequestLimits) -> list[str]:
    """The texts of a request.

    Raises:
        RequestError: whatever is wrong with it.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise RequestError("A request must be application/json.", 415)
    raw = await web.body(request, limits.body, limits.arrive)
    try:
        texts = Batch.model_validate_json(raw).texts
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise RequestError(f"The request isn't JSON ({first['msg']}).", 400) from None
        # Of a key that nobody knows the name came from outside, too.
        place = ".".join(str(part) for part in first["loc"] if first["type"] != "extra_forbidden")
        where = f"{place}: " if place else ""
        raise RequestError(
            f'The request must be {{"texts": ["...", ...]}}: {where}{first["msg"]}.', 422
        ) from None
    if not 1 <= len(texts) <= limits.texts:
        raise RequestError(f"A request holds 1 to {limits.texts:,} texts; this one has {len(texts):,}.", 422)
    for i, text in enumerate(texts):
        if len(text) > limits.characters:
            raise RequestError(
                f"texts.{i} has {len(text):,} characters; {limits.characters:,} are taken at most.", 422
            )
        if fault := stretch_fault(text, limits.stretch):
            raise RequestError(f"texts.{i} has {fault}.", 422)
        if "\0" in text:
            raise RequestError(f"texts.{i} has a null character; take it out.", 422)
    return texts


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {404: "There is nothing at this address; see /.", 405: "This address doesn't take that method."}
    return JSONResponse(
        {"error": told.get(error.status_code, error.detail)}, error.status_code, headers=error.headers
    )


class Front:
    """Wraps the application: who may speak, the id of a request, its time, its line in the log."""

    def __init__(self, app: ASGIApp, hosts: set[str], metrics: Metrics, paths: set[str]) -> None:
        self._app, self._hosts, self._metrics, self._paths = app, hosts, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope["told"] = told = {"texts": 0, "chars": 0}
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(web.HEADERS)
                headers["X-Request-ID"] = name
            await send(message)

        try:
            if response := web.refuse(Request(scope), self._hosts, needs_origin=False):
                response = JSONResponse({"error": bytes(response.body).decode()}, response.status_code)
                await response(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        except Exception as error:
            logs.LOGGER.error("fault", exc_info=error, extra={"told": {"id": name}})
            if not status:
                response = JSONResponse({"error": "Something went wrong here; it is in the log."}, 500)
                await response(scope, receive, sending)
        seconds = time.perf_counter() - begun
        # Others' paths may be anything, and metrics and logs shall hold nothing that was sent.
        path = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        logs.tell("request", id=name, path=path, status=status, ms=round(1000 * seconds, 1), **told)
