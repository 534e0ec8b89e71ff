"""The web server of the review page; who may speak to it is settled in `ie.core.web`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ie.core import web
from ie.core.errors import RequestError, UserError
from ie.data.scheme import Scheme
from ie.review.answer_files import Changed
from ie.review.state import ReviewAnswer, ReviewState

OWN = Path(__file__).parent / "static"
MAX_BODY = 1_000_000


def make_app(
    engine: ReviewState,
    scheme: Scheme,
    *,
    secret: str,
    port: int,
    hosts: str = "",
    annotator: str = "reviewer",
    progress: Callable[[], dict[str, Any]],
    faults: list[str],
    idle: Iterator[None],
) -> Starlette:
    """The application.

    Args:
        hosts: names, with commas, beside this machine's own under which a proxy makes the page known.
        annotator: who answers if the address names nobody.
        faults: what went wrong in the background, shown on the page.
        idle: work to do, step by step, while nobody asks for anything.
    """

    def nothing_left(name: str) -> dict[str, Any]:
        return {"done": True, "annotator": name, "progress": progress(), "faults": faults}

    def shown(item: dict[str, Any] | None, name: str) -> JSONResponse:
        found = item | {"progress": progress(), "faults": faults} if item else nothing_left(name)
        return JSONResponse(found)

    async def project(request: Request) -> Response:
        settings = engine.settings.review
        return JSONResponse(
            {
                "units": [u.name for u in engine.units],
                "labels": {u.task: [*_labels(engine, u.task)] for u in engine.units},
                "definitions": scheme.definitions,
                "guidelines": {
                    "version": engine.guidelines.version,
                    "blocks": [{"html": html, "labels": named} for html, named in engine.guidelines.blocks],
                },
                "oneCategory": settings.one_category,
                "annotator": annotator,
                "selection": engine.selection,
                "sources": engine.sources.names,
            }
        )

    async def next_item(request: Request) -> Response:
        name = request.query_params.get("annotator") or annotator
        return shown(engine.next(name), name)

    async def one(request: Request) -> Response:
        name = request.query_params.get("annotator") or annotator
        text, unit = request.query_params.get("text", ""), request.query_params.get("unit", "")
        return shown(engine.item(name, text, unit), name)

    async def back(request: Request) -> Response:
        name = request.query_params.get("annotator") or annotator
        steps = request.query_params.get("steps", "1")
        item = engine.back(name, int(steps) if steps.isdecimal() and len(steps) < 6 else 0)
        if item is None:
            raise RequestError("There is no earlier answer.", 404)
        return shown(item, name)

    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise RequestError("An answer must be JSON.", 415)
        try:
            given = ReviewAnswer.model_validate_json(await web.body(request, MAX_BODY))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RequestError(f"The answer can't be read: {place}: {first['msg']}.", 422) from None
        engine.answer(given)
        return shown(engine.next(given.annotator), given.annotator)

    async def work(app: Starlette) -> None:
        for _ in idle:
            await asyncio.sleep(0)
            if app.state.asked:  # somebody waits: let them go first
                await asyncio.sleep(0.02)
                app.state.asked = False

    def asked(request: Request) -> None:
        request.app.state.asked = True

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.asked = False
        task = asyncio.create_task(work(app))
        yield
        task.cancel()

    routes = [
        *web.files(OWN, "review"),
        Route("/api/project", project),
        Route("/api/next", next_item),
        Route("/api/item", one),
        Route("/api/back", back),
        Route("/api/answer", answer, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[web.fence("review", secret, port, hosts, met=asked)],
        exception_handlers={
            RequestError: web.refused,
            Changed: _changed,
            UserError: _unsaved,
            OSError: _unsaved,
        },
        lifespan=lifespan,
    )


def _labels(engine: ReviewState, task: str) -> Iterator[str]:
    for unit in engine.units:
        if unit.task == task:
            yield from unit.labels


async def _changed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 500)


async def _unsaved(request: Request, error: Exception) -> Response:
    reason = getattr(error, "strerror", None) or str(error)
    return JSONResponse({"error": f"Not saved: {reason}."}, 507 if isinstance(error, OSError) else 500)
