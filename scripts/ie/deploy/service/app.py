"""The annotation service: its routes, and the front, which refuses, times, counts and logs requests."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
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
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ie.core import web
from ie.core.errors import RequestError, UserError
from ie.data.tokenizer import stretch_fault
from ie.deploy.service import annotator, logs
from ie.deploy.service.batcher import Batcher
from ie.deploy.service.openapi import Batch, describe
from ie.deploy.service.settings import RequestLimits, ServiceSettings
from ie.deploy.service.workers import WorkerPool

OWN = Path(__file__).parent / "static"
LOADING = "The pipeline is still loading; try again in a moment."
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Metrics for Prometheus, in a registry of their own: two apps in one process don't mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

        def make(kind: Any, name: str, description: str, labels: Sequence[str] = (), **more: Any) -> Any:
            return kind(f"serve_{name}", description, labels, registry=self.registry, **more)

        self.requests = make(Counter, "requests", "Requests answered", ("path", "status"))
        self.seconds = make(Histogram, "request_seconds", "Time to answer", ("path",), buckets=SECONDS)
        self.texts = make(Counter, "texts", "Texts annotated")
        self.characters = make(Counter, "characters", "Their characters")
        self.batches = make(Histogram, "batch_texts", "Texts per batch", buckets=SIZES)
        self.memory = make(Gauge, "memory_bytes", "Resident memory of the server and its processes")
        self.waiting = make(Gauge, "waiting_texts", "Texts waiting for the pipeline")
        self.ready = make(Gauge, "ready", "1 if the pipeline is loaded and works")

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)


class AnnotationService:
    """The requests of the service.

    Args:
        example: a text for the page to try.
        failed: called with the reason if the pipeline can't be loaded.
        name, version: of the pipeline as it is announced; "" for those of its meta.json.
    """

    def __init__(
        self,
        workers: WorkerPool,
        settings: ServiceSettings,
        *,
        example: str,
        failed: Callable[[str], None],
        name: str = "",
        version: str = "",
    ) -> None:
        self.metrics = Metrics()
        self.routes = [
            *web.files(OWN, "serve"),
            Route("/annotate", self.annotate, methods=["POST"]),
            Route("/health", self.health),
            Route("/ready", self.ready),
            Route("/metrics", self.prometheus),
            Route("/openapi.json", self.openapi),
        ]
        self._workers, self._limits, self._example = workers, settings.limits, example
        self._interval = settings.watch.interval
        self._failed, self._announced = failed, {"name": name, "version": version}
        self._pipeline: dict[str, str] = {}
        self._batcher = Batcher(
            workers.run,
            slots=workers.slots,
            size=settings.work.batch,
            characters=settings.work.batch_characters,
            queue=settings.limits.queue,
            watch=self.metrics.batches.observe,
        )
        self.metrics.waiting.set_function(lambda: self._batcher.waiting)
        self.metrics.memory.set_function(workers.memory)
        self.metrics.ready.set_function(lambda: workers.ready)

    async def annotate(self, request: Request) -> Response:
        """Annotate texts."""
        batch = await read(request, self._limits)
        texts = batch.texts
        counts = request.scope["counts"]
        counts["texts"], counts["chars"] = len(texts), sum(map(len, texts))
        if not self._pipeline:
            raise RequestError(LOADING, 503)
        lines = await self._batcher.annotate(texts, self._limits.answer)
        for i, line in enumerate(lines):
            if line is None:
                raise RequestError(
                    f"The pipeline can't work on texts.{i}: it fails, or finds more than "
                    f"{self._limits.entities} entities.",
                    422,
                )
        if batch.min_confidence:
            lines = [annotator.at_least(str(line), batch.min_confidence) for line in lines]
        self.metrics.texts.inc(counts["texts"])
        self.metrics.characters.inc(counts["chars"])
        return Response(f'{{"records": [{", ".join(map(str, lines))}]}}', media_type="application/json")

    async def health(self, request: Request) -> Response:
        """Whether the server runs."""
        return JSONResponse({"alive": True})

    async def ready(self, request: Request) -> Response:
        """Whether the pipeline is loaded, and which it is."""
        if not self._pipeline or not self._workers.ready:
            raise RequestError(LOADING, 503)
        return JSONResponse({"ready": True, "pipeline": self._pipeline})

    async def openapi(self, request: Request) -> Response:
        """The description of the service."""
        return JSONResponse(describe(self._limits, self._example))

    async def prometheus(self, request: Request) -> Response:
        """The metrics."""
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _load(self) -> None:
        try:
            pipeline = await self._workers.load()
        except UserError as error:
            self._failed(str(error))
            return
        self._pipeline |= pipeline | {key: value for key, value in self._announced.items() if value}
        logs.log("ready", pipeline=self._pipeline["name"], version=self._pipeline["version"])

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Load the pipeline while the server already answers; stop the workers at the end."""
        tasks = [asyncio.create_task(self._load()), asyncio.create_task(self._write_counters())]
        yield
        for task in tasks:
            task.cancel()
        self._workers.stop()
        self._write_once()

    async def _write_counters(self) -> None:
        while self._workers.counters:
            await asyncio.sleep(self._interval)
            self._write_once()

    def _write_once(self) -> None:
        """Write the counters; a full disk doesn't end the service."""
        try:
            if self._workers.counters:
                self._workers.counters.write()
        except UserError as error:
            logs.LOGGER.error("fault", extra={"fields": {"message": str(error)}})

    async def refused(self, request: Request, error: Exception) -> Response:
        """The answer to a request that raised `RequestError`."""
        response = await web.refused(request, error)
        if response.status_code == 503:
            response.headers["Retry-After"] = str(self._limits.retry_after)
        return response


def make_app(workers: WorkerPool, settings: ServiceSettings, *, hosts: str = "", **options: Any) -> ASGIApp:
    """The application; it loads the pipeline when it starts and answers /ready when that is done.

    Args:
        hosts: host names of a proxy in front, separated by commas.
        options: see `AnnotationService`.
    """
    service = AnnotationService(workers, settings, **options)
    app = Starlette(
        routes=service.routes,
        exception_handlers={RequestError: service.refused, HTTPException: _unknown},
        lifespan=service.lifespan,
    )
    return Front(app, web.allowed(hosts), service.metrics, {route.path for route in service.routes})


async def read(request: Request, limits: RequestLimits) -> Batch:
    """The content of a request.

    Raises:
        RequestError: the request is not valid.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise RequestError("A request must be application/json.", 415)
    raw = await web.body(request, limits.body, limits.arrive)
    try:
        batch = Batch.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise RequestError(f"The request isn't JSON ({first['msg']}).", 400) from None
        # The name of an unknown key is content of the request, which is never repeated.
        place = ".".join(str(part) for part in first["loc"] if first["type"] != "extra_forbidden")
        where = f"{place}: " if place else ""
        raise RequestError(
            f'The request must be {{"texts": ["...", ...]}}: {where}{first["msg"]}.', 422
        ) from None
    texts = batch.texts
    if not 1 <= len(texts) <= limits.texts:
        raise RequestError(f"A request holds 1 to {limits.texts:,} texts; this one has {len(texts):,}.", 422)
    for i, text in enumerate(texts):
        if len(text) > limits.characters:
            raise RequestError(
                f"texts.{i} has {len(text):,} characters; the limit is {limits.characters:,}.", 422
            )
        if fault := stretch_fault(text, limits.stretch):
            raise RequestError(f"texts.{i} has {fault}.", 422)
        if "\0" in text:
            raise RequestError(f"texts.{i} has a null character; take it out.", 422)
    return batch


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reasons = {404: "There is nothing at this address; see /.", 405: "This method is not allowed here."}
    reason = reasons.get(error.status_code, error.detail)
    return JSONResponse({"error": reason}, error.status_code, headers=error.headers)


class Front:
    """Wraps the application: access control, the id of a request, its time, its line in the log."""

    def __init__(self, app: ASGIApp, hosts: set[str], metrics: Metrics, paths: set[str]) -> None:
        self._app, self._hosts, self._metrics, self._paths = app, hosts, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        client_id = Headers(scope=scope).get("x-request-id", "")
        request_id = client_id if REQUEST_ID.fullmatch(client_id) else uuid4().hex
        scope["counts"] = counts = {"texts": 0, "chars": 0}
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(web.HEADERS)
                headers["X-Request-ID"] = request_id
            await send(message)

        try:
            if response := web.refuse(Request(scope), self._hosts, needs_origin=False):
                response = JSONResponse({"error": bytes(response.body).decode()}, response.status_code)
                await response(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        except Exception as error:
            logs.LOGGER.error("fault", exc_info=error, extra={"fields": {"id": request_id}})
            if not status:
                response = JSONResponse({"error": "The server failed; the log says why."}, 500)
                await response(scope, receive, sending)
        seconds = time.perf_counter() - started
        # Unknown paths are content of the request, which must not reach metrics and logs.
        path = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        logs.log("request", id=request_id, path=path, status=status, ms=round(1000 * seconds, 1), **counts)
