"""The web server of the page over the database; who may speak to it is settled in `ie.core.web`."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ie.core import web
from ie.core.errors import RequestError, UserError
from ie.database import guard, sql_workers, sqlite_file
from ie.database.explore import lookups
from ie.database.explore.question_answerer import QuestionAnswerer

OWN = Path(__file__).parent / "static"
MAX_BODY = 100_000
# Texts shown beside an answer and for an entity, and entities that a search offers.
TEXTS, MENTIONS, OFFERED = 20, 100, 20
T = TypeVar("T")


class QuestionRequest(BaseModel):
    """A question in words."""

    model_config = ConfigDict(extra="forbid")
    question: StrictStr = Field(min_length=1, max_length=1000)


class StatementRequest(BaseModel):
    """A statement as somebody wrote it."""

    model_config = ConfigDict(extra="forbid")
    sql: StrictStr = Field(min_length=1, max_length=guard.LONGEST_STATEMENT)


def make_app(database: Path, *, ask: QuestionAnswerer, secret: str, port: int, hosts: str = "") -> Starlette:
    """The application.

    Args:
        ask: answers questions in words, and knows what rows rest on.
    """
    asking = asyncio.Lock()
    limits = ask.settings.bounds()
    # Waiting requests hold no thread, so that entities can be looked up meanwhile.
    running = asyncio.Semaphore(sql_workers.MOST)

    async def use(work: Callable[[sqlite3.Connection], T]) -> T:
        """Open the database anew for each request: it may have been filled again meanwhile."""

        def opened() -> T:
            with closing(sqlite_file.open_readonly(database)) as connection:
                return work(connection)

        try:
            return await asyncio.to_thread(opened)
        except UserError as error:
            raise RequestError(str(error), 503) from None
        except guard.StatementRefused as error:
            raise RequestError(str(error), 422) from None
        except sqlite3.Error as error:
            raise RequestError(f"{database}: can't be read ({error}); fill it again.", 503) from None

    def answer(
        connection: sqlite3.Connection,
        sql: str,
        found: guard.Result,
        named: list[tuple[str, int, int]],
        *,
        error: str = "",
        repaired: int = 0,
    ) -> dict[str, Any]:
        focus: dict[str, list[lookups.Focus]] = {}
        for document, start, end in named:
            if document in focus or len(focus) < TEXTS:
                focus.setdefault(document, []).append((start, end))
        return {
            "sql": sql,
            "columns": found.columns,
            "rows": found.rows,
            "truncated": found.truncated,
            "repaired": repaired,
            "error": error,
            "texts": lookups.texts(connection, focus),
        }

    async def about(request: Request) -> Response:
        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            schema = sqlite_file.schema_of(connection)
            counts = {name: n for name, n in sqlite_file.counts(connection).items() if name in schema}
            found = connection.execute("SELECT DISTINCT label FROM mentions ORDER BY label").fetchall()
            return {"schema": schema, "counts": counts, "labels": [label for (label,) in found]}

        return JSONResponse({"database": str(database), **await use(read)})

    async def question(request: Request) -> Response:
        given = await parse(request, QuestionRequest)
        if asking.locked():
            raise RequestError("Another question is being answered; wait for it.", 409)

        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            try:
                found = ask(given.question, connection)
            except (UserError, guard.StatementRefused, sqlite3.Error):
                raise
            except Exception as error:  # whatever a model, its server or the network may raise
                raise RequestError(
                    f"The language model failed ({type(error).__name__}); write SQL, or ask again.", 502
                ) from error
            if found.sql is None and not found.error:
                raise RequestError("The language model says that the tables can't answer this.", 422)
            return answer(
                connection,
                found.sql or "",
                guard.Result(found.columns, found.rows, found.truncated),
                [(source.document_id, source.start, source.end) for source in found.sources],
                error=found.error or "",
                repaired=found.repaired,
            )

        async with asking:
            return JSONResponse(shown(await use(read)))

    async def statement(request: Request) -> Response:
        given = await parse(request, StatementRequest)

        def read(connection: sqlite3.Connection) -> dict[str, Any]:
            sql = guard.check(given.sql, sqlite_file.schema_of(connection))
            found = guard.run(connection, sql, limits)
            named = lookups.sources(found.columns, found.rows, TEXTS)
            if not named:
                rest = ask.sources(connection, sql, found)
                named = [(source.document_id, source.start, source.end) for source in rest]
            return answer(connection, sql, found, named)

        try:
            async with asyncio.timeout(limits.seconds):
                await running.acquire()
        except TimeoutError:
            raise RequestError("Other statements are running; try again when they are done.", 503) from None
        try:
            return JSONResponse(shown(await use(read)))
        finally:
            running.release()

    async def search(request: Request) -> Response:
        typed = request.query_params.get("q", "")[:200]
        found, more = await use(lambda connection: lookups.search(connection, typed, OFFERED))
        return JSONResponse({"entities": found, "more": more})

    async def entity(request: Request) -> Response:
        wanted = lookups.Entity(request.query_params.get("id", ""), request.query_params.get("name", ""))
        found = await use(lambda connection: lookups.entity(connection, wanted, MENTIONS))
        if found is None:
            raise RequestError("The database knows no such entity.", 404)
        return JSONResponse(found)

    routes = [
        *web.files(OWN, "explore"),
        Route("/api/about", about),
        Route("/api/ask", question, methods=["POST"]),
        Route("/api/run", statement, methods=["POST"]),
        Route("/api/search", search),
        Route("/api/entity", entity),
    ]
    return Starlette(
        routes=routes,
        middleware=[web.fence("explore", secret, port, hosts)],
        exception_handlers={RequestError: web.refused},
    )


Given = TypeVar("Given", bound=BaseModel)


async def parse(request: Request, model: type[Given]) -> Given:
    """The body of a request.

    Raises:
        RequestError: it isn't what the page sends.
    """
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise RequestError("A request must be JSON.", 415)
    try:
        return model.model_validate_json(await web.body(request, MAX_BODY))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestError(f"The request can't be read: {place}: {first['msg']}.", 422) from None


def shown(found: dict[str, Any]) -> dict[str, Any]:
    """With cells that JSON and the browser hold: bytes as hexadecimal, whole numbers beyond 2^53 as text."""

    def cell(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, int) and abs(value) > 2**53:
            return str(value)
        if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
            return str(value)
        return value

    return found | {"rows": [[cell(value) for value in row] for row in found["rows"]]}
