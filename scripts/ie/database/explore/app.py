"""Web server of the explore page. Access control is in `ie.core.web`."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, StrictStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ie.core import web
from ie.core.errors import RequestError, UserError
from ie.core.settings import Section
from ie.data.documents.pictures import PagePictures
from ie.database import guard, row_confidence, sql_workers, sqlite_file
from ie.database.explore import lookups, opening
from ie.database.question_answerer import QuestionAnswerer

OWN = Path(__file__).parent / "static"
MAX_BODY = 100_000
# Maximum texts next to an answer, texts of an entity, and entities that a search offers.
TEXTS, MENTIONS, OFFERED = 20, 100, 20
# Deals that the page opens with.
NEWEST = 5
T = TypeVar("T")


class QuestionRequest(Section):
    """A question in words."""

    question: StrictStr = Field(min_length=1, max_length=1000)


class StatementRequest(Section):
    """An SQL statement written by the user."""

    sql: StrictStr = Field(min_length=1, max_length=guard.LONGEST_STATEMENT)


def make_app(
    database: Path, answerer: QuestionAnswerer, accept: Path, *, secret: str, port: int, hosts: str = ""
) -> Starlette:
    """Create the application.

    Args:
        accept: file of the threshold from which rows can go unread.
    """
    page = ExplorePage(database, answerer, accept)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        page.pictures.close()

    return Starlette(
        routes=[
            *web.files(OWN, "explore"),
            Route("/api/about", page.about),
            Route("/api/opening", page.opening),
            Route("/api/ask", page.question, methods=["POST"]),
            Route("/api/run", page.statement, methods=["POST"]),
            Route("/api/search", page.search),
            Route("/api/entity", page.entity),
            Route("/api/page", page.picture),
        ],
        lifespan=lifespan,
        middleware=[web.fence("explore", secret, port, hosts)],
        exception_handlers={RequestError: web.refused},
    )


class ExplorePage:
    """The endpoints. Each request opens the files again, because they may have been replaced."""

    def __init__(self, database: Path, answerer: QuestionAnswerer, accept: Path) -> None:
        self.database = database
        self.pictures = PagePictures()
        self.answerer = answerer
        self.accept = accept
        self.limits = answerer.settings.limits
        self._asking = asyncio.Lock()
        # Waiting requests hold no thread, so lookups still work while statements run.
        self._running = asyncio.Semaphore(sql_workers.MOST)

    async def about(self, request: Request) -> Response:
        """Tables, row counts and labels of the database."""

        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            schema = sqlite_file.schema_of(connection)
            counts = {name: n for name, n in sqlite_file.counts(connection).items() if name in schema}
            labels = connection.execute("SELECT DISTINCT label FROM mentions ORDER BY label").fetchall()
            return {"schema": schema, "counts": counts, "labels": [label for (label,) in labels]}

        return JSONResponse({"database": str(self.database), **await self._read(read)})

    async def opening(self, request: Request) -> Response:
        """Questions that have an answer here, and the newest deals."""

        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            found = opening.questions(connection, self.answerer.examples, self.limits)
            return {
                "questions": [{"question": question, "sql": sql} for question, sql in found],
                "deals": lookups.newest_deals(connection, NEWEST),
            }

        return JSONResponse(await self._read(read))

    async def question(self, request: Request) -> Response:
        """Answer a question with the language model."""
        body = await web.parse(request, QuestionRequest, MAX_BODY)
        if self._asking.locked():
            raise RequestError("Another question is being answered; wait for it.", 409)

        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            try:
                answer = self.answerer(body.question, connection)
            except (UserError, guard.StatementRefused, sqlite3.Error):
                raise
            except Exception as error:  # anything that a model, its server or the network may raise
                raise RequestError(
                    f"The language model failed ({type(error).__name__}); write SQL, or ask again.", 502
                ) from error
            if answer.sql is None and not answer.error:
                raise RequestError("The language model says that the tables can't answer this.", 422)
            return result_json(
                connection,
                answer.sql or "",
                answer.result,
                [(source.document_id, source.start, source.end) for source in answer.sources],
                error=answer.error or "",
                repaired=answer.repaired,
            ) | self._confidence(connection, answer.sql, answer.result)

        async with self._asking:
            return JSONResponse(await self._read(read))

    async def statement(self, request: Request) -> Response:
        """Run a statement written by the user."""
        body = await web.parse(request, StatementRequest, MAX_BODY)

        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            sql = guard.check(body.sql, sqlite_file.schema_of(connection))
            result = guard.run(connection, sql, self.limits)
            sources = lookups.sources(result.columns, result.rows, TEXTS)
            if not sources:
                texts = self.answerer.sources(connection, sql, result)
                sources = [(source.document_id, source.start, source.end) for source in texts]
            confidence = self._confidence(connection, sql, result)
            return result_json(connection, sql, result, sources) | confidence

        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._running.acquire()
        except TimeoutError:
            raise RequestError("Other statements are running; try again when they are done.", 503) from None
        try:
            return JSONResponse(await self._read(read))
        finally:
            self._running.release()

    async def search(self, request: Request) -> Response:
        """Entities whose name matches what was typed."""
        typed = request.query_params.get("q", "")[:200]
        entities, more = await self._read(lambda connection: lookups.search(connection, typed, OFFERED))
        return JSONResponse({"entities": entities, "more": more})

    async def entity(self, request: Request) -> Response:
        """One entity with its texts, relations and deals."""
        entity = lookups.Entity(request.query_params.get("id", ""), request.query_params.get("name", ""))
        details = await self._read(lambda connection: lookups.entity(connection, entity, MENTIONS))
        if details is None:
            raise RequestError("The database knows no such entity.", 404)
        return JSONResponse(details)

    def _confidence(
        self, connection: sqlite3.Connection, sql: str | None, result: guard.Result
    ) -> dict[str, Any]:
        """How sure each row is, as the page needs it."""
        threshold = row_confidence.read_threshold(self.accept)
        sure = self.answerer.confidence(connection, sql, result, threshold)
        return {
            "confidence": [row.confidence for row in sure.rows] if sure and sure.known else [],
            "aggregated": bool(sure and sure.aggregated),
            "unread": [[row.unread, row.rows] for row in sure.rows] if sure and threshold else [],
            "threshold": threshold.confidence if threshold else None,
            "certainty": sure.sentence() if sure else row_confidence.UNKNOWN if result.rows else "",
        }

    async def picture(self, request: Request) -> Response:
        """The picture of a page that a text stands on."""
        document, number = (request.query_params.get(name, "") for name in ("document", "page"))
        meta = await self._read(lambda connection: lookups.meta(connection, document))
        return Response(await asyncio.to_thread(self.pictures.get, meta, number), media_type="image/png")

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` with a connection, in a thread."""

        def connect() -> T:
            with closing(sqlite_file.open_readonly(self.database)) as connection:
                return work(connection)

        try:
            return await asyncio.to_thread(connect)
        except UserError as error:
            raise RequestError(str(error), 503) from None
        except guard.StatementRefused as error:
            raise RequestError(str(error), 422) from None
        except sqlite3.Error as error:
            raise RequestError(f"{self.database}: can't be read ({error}); fill it again.", 503) from None


def result_json(
    connection: sqlite3.Connection,
    sql: str,
    result: guard.Result,
    sources: list[tuple[str, int, int]],
    *,
    error: str = "",
    repaired: int = 0,
) -> dict[str, Any]:
    """The result of a statement as JSON, with its source texts."""
    focus: dict[str, list[lookups.Focus]] = {}
    for document, start, end in sources:
        if document in focus or len(focus) < TEXTS:
            focus.setdefault(document, []).append((start, end))
    return {
        "sql": sql,
        "columns": result.columns,
        "rows": [[json_cell(value) for value in row] for row in result.rows],
        "truncated": result.truncated,
        "repaired": repaired,
        "error": error,
        "texts": lookups.texts(connection, focus),
    }


def json_cell(value: Any) -> Any:
    """A cell that JSON and the browser can represent: bytes as hex, integers beyond 2^53 as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return str(value)
    return value
