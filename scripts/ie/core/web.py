"""The basis of all servers: access from this machine alone, limits on connections, and shutdown.

A request is accepted if its Host is this machine's (which stops DNS rebinding), its Origin, if any, is that
host, and it has the secret that the terminal printed, where a server has one. Pages also refuse requests that
a browser sends for another page, such as one on another port.
"""

import asyncio
import hmac
import os
import resource
import secrets
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import uvicorn
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from ie.core.cli import runner
from ie.core.errors import RequestError, UserError
from ie.core.text import names_in

# weasel forwards no SIGTERM to its child, so a server that weasel started stops when weasel has ended.
# Other servers may outlive the process that started them. Read at import, as loading takes seconds.
PARENT = os.getppid() if runner() else None
PARENT_CHECK_SECONDS = 0.2
STATIC = Path(__file__).parents[1] / "reports" / "static"
Body = TypeVar("Body", bound=BaseModel)
LOCAL = ("127.0.0.1", "localhost")
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
CLOSED = 499  # nginx's status for a client that closed the connection
BUSY = "This server is handling too many requests; try again in a moment."
# Of a body that is too large, so much is received and discarded: a connection that is closed while data
# arrives is reset, and its client would not see the answer.
DISCARDED_BYTES = 64_000_000


async def refused(request: Request, error: Exception) -> Response:
    """The answer to a `RequestError`."""
    assert isinstance(error, RequestError)
    # the rest of such a body isn't read
    headers = {"connection": "close"} if error.status in (408, 413) else None
    return JSONResponse({"error": str(error)}, error.status, headers)


def allowed(hosts: str) -> set[str]:
    """Names of this machine, and its names behind a proxy, separated by commas."""
    return {*LOCAL, *names_in(hosts.lower())}


def refuse(request: Request, hosts: Iterable[str], *, needs_origin: bool = True) -> Response | None:
    """The refusal of a request from elsewhere; None if it is accepted.

    Args:
        needs_origin: whether only a page may send data; programs send no Origin.
    """
    host = request.headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname
        origin = request.headers.get("origin")
        foreign = origin is not None and urlsplit(origin).netloc != host
    except ValueError:  # such as an unclosed [
        return PlainTextResponse("The Host or Origin of the request can't be read.", 400)
    if name not in hosts:
        return PlainTextResponse(f"This server doesn't answer for the host {name!r}.", 403)
    # the page itself sends none with GET
    if foreign:
        return PlainTextResponse("Requests from other pages are refused.", 403)
    # All ports of this machine share cookies, and a GET has no Origin. Only browsers send this header.
    if needs_origin and request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return PlainTextResponse("Links from other pages are refused; type or paste the address.", 403)
    if needs_origin and request.method not in ("GET", "HEAD") and origin is None:
        return PlainTextResponse("A request without an Origin is refused.", 403)
    return None


def enter(request: Request, secret: str, port: int, command: str) -> Response | None:
    """None if the cookie has the secret; a redirect that sets the cookie if the address has it."""
    cookie = f"{command}-{port}"  # cookies of this machine are shared by all its ports
    token = request.query_params.get("token")
    if token is not None and request.url.path == "/" and hmac.compare_digest(token.encode(), secret.encode()):
        rest = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
        response = RedirectResponse(f"/?{urlencode(rest)}" if rest else "/", 303)
        response.set_cookie(cookie, secret, httponly=True, samesite="strict", max_age=90 * 24 * 3600)
        return response
    if hmac.compare_digest(request.cookies.get(cookie, "").encode(), secret.encode()):
        return None
    return PlainTextResponse(
        f"Open the address that {command} printed in the terminal: it holds the key.", 403
    )


def files(folder: Path, name: str, *more: str) -> list[Route]:
    """The routes of a page, its script and style, `more` files, and those that all pages share."""

    async def static(request: Request, file: Path) -> Response:
        return FileResponse(file)

    paths = {
        "/": folder / "page.html",
        f"/{name}.js": folder / f"{name}.js",
        f"/{name}.css": folder / f"{name}.css",
        **{f"/{file}": folder / file for file in more},
        "/base.css": STATIC / "base.css",
        "/document.js": STATIC / "document.js",
        "/icon.svg": STATIC / "icon.svg",
    }
    return [Route(path, partial(static, file=file)) for path, file in paths.items()]


def fence(
    command: str,
    secret: str,
    port: int,
    hosts: str,
    on_request: Callable[[Request], None] = lambda request: None,
) -> Middleware:
    """Accept requests from this machine with the secret, and set the headers of all answers.

    Args:
        on_request: called with each request first.
    """
    known = allowed(hosts)

    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        on_request(request)
        response = refuse(request, known) or enter(request, secret, port, command)
        if response is None:
            response = await call(request)
        response.headers.update(HEADERS)
        return response

    return Middleware(BaseHTTPMiddleware, dispatch=guard)


async def body(request: Request, limit: int, seconds: float = 10) -> bytes:
    """The body of a request; a RequestError if it is larger than `limit` bytes, too slow or incomplete.

    Args:
        seconds: how long it may take to arrive.
    """
    length = request.headers.get("content-length", "")
    too_large = RequestError(f"The request is too large; the limit is {limit:,} bytes.", 413)
    if length.isdecimal() and int(length) > limit and "expect" in request.headers:
        raise too_large  # a client that expects "100 Continue" hasn't sent the body yet
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size <= limit:
                    parts.append(part)
                elif size > limit + DISCARDED_BYTES:
                    break
    except TimeoutError:
        raise RequestError(f"The request took longer than {seconds:g} seconds to arrive.", 408) from None
    except ClientDisconnect:
        raise RequestError("The client disconnected.", CLOSED) from None
    if size > limit:
        raise too_large
    return b"".join(parts)


async def parse(request: Request, model: type[Body], limit: int) -> Body:
    """The JSON body of a request from a page, as a model; a RequestError if it can't be read."""
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise RequestError("A request must be JSON.", 415)
    try:
        return model.model_validate_json(await body(request, limit))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestError(f"The request can't be read: {place}: {first['msg']}.", 422) from None


class Connection(AutoHTTPProtocol):
    """A connection with time limits, which can be closed in favour of a new one.

    uvicorn limits only the time between two requests, and its `limit_concurrency` counts idle connections.
    Here headers must arrive within `seconds`, and a client must take some of its answer in every `seconds`.
    Above `most` connections, the one that has waited longest for its client is closed; if none is waiting,
    the new one gets 503.
    """

    seconds = 10.0
    # Each takes a file descriptor, of which a process often may have no more than 1,024 or 256.
    most = min(512, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 % 2**31)

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._left: float = 0
        self._since = self.loop.time()
        others = [c for c in self.connections if c is not self and not c.transport.is_closing()]
        if len(others) >= self.most:
            idle = [other for other in others if other._waits]
            if idle:
                min(idle, key=lambda other: other._since).transport.abort()
            else:
                head = f"HTTP/1.1 503 Service Unavailable\r\ncontent-length: {len(BUSY)}\r\nconnection: close"
                transport.write(f"{head}\r\n\r\n{BUSY}".encode())
                transport.close()
        self._start()

    @property
    def _between(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _waits(self) -> bool:
        """Whether the client has not sent a whole request."""
        return self._between or self.cycle.more_body

    def data_received(self, data: bytes) -> None:
        # the time for headers runs on, however slowly they arrive
        super().data_received(data)
        if not self._between and not self.flow.write_paused:
            self._stop()
        elif self._timer is None:
            self._start()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()
        if self.transport.is_closing():
            self._start()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._start()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._stop()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()

    def _start(self, left: float = float("inf")) -> None:
        self._stop()
        self._left = left
        self._timer = self.loop.call_later(self.seconds, self._expire)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        left = self.transport.get_write_buffer_size()
        if 0 < left < self._left:
            self._start(left)
        else:
            self.transport.abort()


def make_server(app: ASGIApp, **options: Any) -> uvicorn.Server:
    """A server for an application, with limits on its connections; `options` of uvicorn."""
    config = uvicorn.Config(app, http=Connection, ws="none", access_log=False, server_header=False, **options)
    return uvicorn.Server(config)


def listen(port: int, script: str) -> socket.socket:
    """A socket on this machine's loopback address.

    Args:
        script: the command, for the error if the port can't be used.
    """
    # asyncio sends small packets at once (without 40 ms of Nagle's algorithm) only for this protocol.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOCAL[0], port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise UserError(
            f"port {port} can't be used ({error.strerror}); stop what is using it, or choose another one: "
            f"`python {script} --port 9000`."
        ) from None
    return sock


def run_page(
    page: Starlette,
    sock: socket.socket,
    secret: str,
    note: str,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Print the address of a page and a note, and serve it until it is stopped, as `run_server` does.

    Args:
        on_stop: called, in its own thread, when the server begins to stop, so that requests can end soon.
    """
    # msg would break a long address
    address = (
        f"\nOpen  http://localhost:{sock.getsockname()[1]}/?token={secret}\n\n{note} Ctrl-C stops the server."
    )
    server = make_server(page, log_level="warning")
    handle_exit = server.handle_exit

    def handle(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=on_stop, daemon=True).start()
        handle_exit(number, frame)

    server.handle_exit = handle
    run_server(server, sock, address)


def run_server(server: uvicorn.Server, sock: socket.socket, address: str, grace: float = 15) -> None:
    """Print an address and serve until Ctrl-C, SIGTERM, or the end of the weasel that started this process.

    Args:
        grace: seconds to finish requests after weasel ended, before the process ends.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    # Ctrl-C may come before uvicorn handles signals. After it stopped, uvicorn raises the signal again, for
    # these handlers: a requested stop is no failure.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        print(address)
        threading.Thread(target=_follow_parent, args=(grace,), daemon=True).start()
        server.run(sockets=[sock])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _follow_parent(grace: float) -> None:
    if PARENT is None:
        return
    while os.getppid() == PARENT:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os._exit(1)


def session_secret(path: Path) -> str:
    """The secret of a page, stored so that open tabs work after a restart; readable by its owner only."""
    try:
        secret = path.read_text(encoding="utf-8").strip()
        if len(secret) >= 20:
            return secret
    except OSError:
        pass
    secret = secrets.token_urlsafe(24)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
    return secret
