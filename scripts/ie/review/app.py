"""The web server of the review page: this machine alone, one secret, nothing from outside.

Who may speak: requests whose Host is this machine's (a page elsewhere that points its own name here is
refused), whose Origin, if any, is that host, and that bring the secret which the terminal printed.
"""

import asyncio
import hmac
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ie.errors import UserError
from ie.review.engine import Answer, Engine, Refused
from ie.review.store import Changed
from ie.scheme import Scheme

STATIC = Path(__file__).parent / "static"
FILES = {"/": "page.html", "/review.js": "review.js", "/review.css": "review.css", "/icon.svg": "icon.svg"}
LOCAL = ("127.0.0.1", "localhost")
MAX_BODY = 1_000_000
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def make_app(
    engine: Engine,
    scheme: Scheme,
    *,
    secret: str,
    port: int,
    hosts: Sequence[str] = (),
    annotator: str = "reviewer",
    progress: Callable[[], dict[str, Any]],
    faults: list[str],
    idle: Iterator[None],
) -> Starlette:
    """The application.

    Args:
        hosts: names beside this machine's own under which a proxy makes the page known.
        annotator: who answers if the address names nobody.
        faults: what went wrong in the background, shown on the page.
        idle: work to do, step by step, while nobody asks for anything.
    """

    def nothing_left(name: str) -> dict[str, Any]:
        return {"done": True, "annotator": name, "progress": progress(), "faults": faults}

    def shown(item: dict[str, Any] | None, name: str) -> JSONResponse:
        found = item | {"progress": progress(), "faults": faults} if item else nothing_left(name)
        return JSONResponse(found)

    async def static(request: Request, file: str) -> Response:
        return FileResponse(STATIC / file)

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
            raise Refused("There is no earlier answer.", 404)
        return shown(item, name)

    async def answer(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise Refused("An answer must be JSON.", 415)
        try:
            given = Answer.model_validate_json(await body(request))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise Refused(f"The answer can't be read: {place}: {first['msg']}.", 422) from None
        engine.answer(given)
        return shown(engine.next(given.annotator), given.annotator)

    async def work(app: Starlette) -> None:
        for _ in idle:
            await asyncio.sleep(0)
            if app.state.asked:  # somebody waits: let them go first
                await asyncio.sleep(0.02)
                app.state.asked = False

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.asked = False
        task = asyncio.create_task(work(app))
        yield
        task.cancel()

    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        request.app.state.asked = True
        response = refuse(request, {*LOCAL, *hosts}) or enter(request, secret, port)
        if response is None:
            response = await call(request)
        response.headers.update(HEADERS)
        return response

    routes = [Route(path, partial(static, file=file)) for path, file in FILES.items()]
    routes += [
        Route("/api/project", project),
        Route("/api/next", next_item),
        Route("/api/item", one),
        Route("/api/back", back),
        Route("/api/answer", answer, methods=["POST"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
        exception_handlers={Refused: _refused, Changed: _changed, UserError: _unsaved, OSError: _unsaved},
        lifespan=lifespan,
    )


async def body(request: Request) -> bytes:
    """The body of a request, unless it is larger than any answer.

    Raises:
        Refused: it is.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise Refused("The answer is too large.", 413)
        parts.append(part)
    return b"".join(parts)


def refuse(request: Request, hosts: set[str]) -> Response | None:
    """The refusal of a request that isn't ours; None if it is."""
    host = request.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname
    if name not in hosts:
        return PlainTextResponse(f"This server doesn't answer for the host {name!r}.", 403)
    origin = request.headers.get("origin")
    # the page itself sends none when it asks for something with GET
    if origin is not None and urlsplit(origin).netloc != host:
        return PlainTextResponse("Requests from other pages are refused.", 403)
    if request.method not in ("GET", "HEAD") and origin is None:
        return PlainTextResponse("A request without an Origin is refused.", 403)
    return None


def enter(request: Request, secret: str, port: int) -> Response | None:
    """Let in who brings the secret: in the address, which makes a cookie of it, or in that cookie."""
    cookie = f"review-{port}"  # cookies of this machine are shared by all its ports
    given = request.query_params.get("token")
    if given is not None and request.url.path == "/" and hmac.compare_digest(given.encode(), secret.encode()):
        rest = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
        response = RedirectResponse(f"/?{urlencode(rest)}" if rest else "/", 303)
        response.set_cookie(cookie, secret, httponly=True, samesite="strict", max_age=90 * 24 * 3600)
        return response
    if hmac.compare_digest(request.cookies.get(cookie, "").encode(), secret.encode()):
        return None
    return PlainTextResponse("Open the address that review printed in the terminal: it holds the key.", 403)


def listen(port: int) -> socket.socket:
    """A socket on this machine's loopback address.

    Raises:
        UserError: the port is taken, or not ours to take.
    """
    # Named, as asyncio lets small packets go at once (no 40 ms of Nagle's algorithm) for this protocol alone.
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((LOCAL[0], port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise UserError(
            f"port {port} can't be used ({error.strerror}); stop what is using it, or choose another one "
            "with --vars.review_port."
        ) from None
    return found


def session_secret(path: Path) -> str:
    """The secret of this project's page, kept so that open tabs outlive a restart; for its owner only."""
    try:
        found = path.read_text(encoding="utf-8").strip()
        if len(found) >= 20:
            return found
    except OSError:
        pass
    found = secrets.token_urlsafe(24)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(found)
    return found


def _labels(engine: Engine, task: str) -> Iterator[str]:
    for unit in engine.units:
        if unit.task == task:
            yield from unit.labels


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"error": str(error)}, error.status)


async def _changed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 500)


async def _unsaved(request: Request, error: Exception) -> Response:
    reason = getattr(error, "strerror", None) or str(error)
    return JSONResponse({"error": f"Not saved: {reason}."}, 507 if isinstance(error, OSError) else 500)
