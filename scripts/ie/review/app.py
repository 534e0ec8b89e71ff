"""The web server of the review page; `ie.core.web` checks who may send requests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ie.core import web
from ie.core.errors import RequestError, UserError
from ie.data.documents.pictures import PagePictures
from ie.data.scheme import Scheme
from ie.review.answer_files import Changed
from ie.review.answers import ReviewAnswer
from ie.review.state import ReviewState

OWN = Path(__file__).parent / "static"
MAX_BODY = 1_000_000
REFRESH_SECONDS = 5


class SimilarTo(BaseModel):
    """A request for texts that are similar to one."""

    annotator: str
    text: str


class ReviewPage:
    """The requests of the page, answered from the state of the review."""

    def __init__(
        self,
        engine: ReviewState,
        scheme: Scheme,
        *,
        annotator: str,
        progress: Callable[[], dict[str, Any]],
        faults: list[str],
        pictures: PagePictures,
    ) -> None:
        self._pictures = pictures
        self._engine, self._scheme, self._annotator = engine, scheme, annotator
        self._progress, self._faults = progress, faults
        self.routes = [
            *web.files(OWN, "review", "lanes.js"),
            Route("/api/project", self.project),
            Route("/api/next", self.next_question),
            Route("/api/item", self.question),
            Route("/api/back", self.earlier_question),
            Route("/api/texts", self.texts),
            Route("/api/jump", self.jump),
            Route("/api/page", self.page),
            Route("/api/similar", self.similar, methods=["POST"]),
            Route("/api/answer", self.answer, methods=["POST"]),
        ]

    def _name(self, request: Request) -> str:
        return request.query_params.get("annotator") or self._annotator

    def _shown(self, item: dict[str, Any] | None, annotator: str) -> JSONResponse:
        """A question, or that none is left, with progress, faults and session."""
        around = {"progress": self._progress(), "faults": self._faults}
        around["session"] = self._engine.session(annotator)
        return JSONResponse((item or {"done": True, "annotator": annotator}) | around)

    async def project(self, request: Request) -> Response:
        """What doesn't change while the page is open."""
        engine = self._engine
        labels: dict[str, list[str]] = {}
        for unit in engine.units:
            labels.setdefault(unit.task, []).extend(unit.labels)
        guidelines = engine.guidelines
        return JSONResponse(
            {
                "units": [unit.name for unit in engine.units],
                "labels": labels,
                "definitions": self._scheme.definitions,
                "guidelines": {
                    "version": guidelines.version,
                    "blocks": [{"html": html, "labels": named} for html, named in guidelines.blocks],
                },
                "oneCategory": engine.settings.review.one_category,
                "annotator": self._annotator,
                "selection": engine.selection,
                "direction": engine.direction,
                "overlapping": engine.overlapping,
                "sources": engine.sources.names,
            }
        )

    async def next_question(self, request: Request) -> Response:
        """The next question of an annotator."""
        name = self._name(request)
        return self._shown(self._engine.next(name), name)

    async def question(self, request: Request) -> Response:
        """A question about a text, answered or not."""
        name = self._name(request)
        text, unit = request.query_params.get("text", ""), request.query_params.get("unit", "")
        return self._shown(self._engine.item(name, text, unit), name)

    async def earlier_question(self, request: Request) -> Response:
        """The question that was answered a number of steps ago."""
        name = self._name(request)
        steps = request.query_params.get("steps", "1")
        item = self._engine.back(name, int(steps) if steps.isdecimal() and len(steps) < 6 else 0)
        if item is None:
            raise RequestError("There is no earlier answer.", 404)
        return self._shown(item, name)

    async def texts(self, request: Request) -> Response:
        """The texts of a search."""
        words, mine = request.query_params.get("find", ""), request.query_params.get("which") == "mine"
        return JSONResponse(self._engine.find(self._name(request), words, mine=mine))

    async def jump(self, request: Request) -> Response:
        """A text that the annotator opens."""
        name = self._name(request)
        return self._shown(self._engine.jump(name, request.query_params.get("text", "")), name)

    async def page(self, request: Request) -> Response:
        """The picture of a page that a text stands on."""
        meta = self._engine.meta(request.query_params.get("text", ""))
        number = request.query_params.get("page", "")
        return Response(await run_in_threadpool(self._pictures.get, meta, number), media_type="image/png")

    async def similar(self, request: Request) -> Response:
        """Continue with texts like another one."""
        wish = await web.parse(request, SimilarTo, MAX_BODY)
        await run_in_threadpool(self._engine.prepare_similar)
        return JSONResponse({"texts": self._engine.more_like(wish.annotator, wish.text)})

    async def answer(self, request: Request) -> Response:
        """Take an answer; returns the next question."""
        answer = await web.parse(request, ReviewAnswer, MAX_BODY)
        engine, name = self._engine, answer.annotator
        engine.answer(answer)
        # a row is corrected in the other questions about its text
        wrong = answer.row == "correct"
        item = engine.item(name, answer.text, engine.units[0].name) if wrong else engine.next(name)
        return self._shown(item, name)


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
    refresh: Callable[[], None] = lambda: None,
) -> Starlette:
    """The application.

    Args:
        hosts: names, separated by commas, of a proxy in front of this server.
        annotator: name of the annotator if the address has none.
        faults: what went wrong in the background, shown on the page.
        idle: work to do, step by step, while there are no requests.
        refresh: called every few seconds, in a thread.
    """

    async def work(app: Starlette) -> None:
        for _ in idle:
            await asyncio.sleep(0)
            if app.state.asked:  # a request came in: let it go first
                await asyncio.sleep(0.02)
                app.state.asked = False

    async def watch() -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await run_in_threadpool(refresh)

    def asked(request: Request) -> None:
        request.app.state.asked = True

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.asked = False
        tasks = [asyncio.create_task(work(app)), asyncio.create_task(watch())]
        yield
        for task in tasks:
            task.cancel()
        pictures.close()

    pictures = PagePictures()
    page = ReviewPage(
        engine, scheme, annotator=annotator, progress=progress, faults=faults, pictures=pictures
    )
    return Starlette(
        routes=page.routes,
        middleware=[web.fence("review", secret, port, hosts, on_request=asked)],
        exception_handlers={
            RequestError: web.refused,
            Changed: _changed,
            UserError: _unsaved,
            OSError: _unsaved,
        },
        lifespan=lifespan,
    )


async def _changed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 500)


async def _unsaved(request: Request, error: Exception) -> Response:
    reason = getattr(error, "strerror", None) or str(error)
    return JSONResponse({"error": f"Not saved: {reason}."}, 507 if isinstance(error, OSError) else 500)
