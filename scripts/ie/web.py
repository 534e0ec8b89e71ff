"""What the servers of this project share: this machine alone, nothing from outside, and one way to end.

Who may speak: requests whose Host is this machine's (a page elsewhere that points its own name here is
refused), whose Origin, if any, is that host, and that bring the secret which the terminal printed, where a
server has one. Pages also refuse what a browser sends for any other page, such as one on another port.
"""

import asyncio
import hmac
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ie.cli import runner
from ie.errors import Refused, UserError

# weasel forwards no SIGTERM to its child, so a server that weasel started stops when weasel is gone.
# Servers that a shell or a service manager started may outlive it. Read at import: loading takes seconds.
PARENT = os.getppid() if runner() else None
PARENT_CHECK_SECONDS = 0.2
STATIC = Path(__file__).parent / "static"
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


async def refused(request: Request, error: Exception) -> Response:
    """The answer to a request that was `Refused`."""
    assert isinstance(error, Refused)
    return JSONResponse({"error": str(error)}, error.status)


def allowed(hosts: str) -> set[str]:
    """Names of this machine, and those of a proxy (with commas between) under which it is known."""
    return {*LOCAL, *(name.strip().lower() for name in hosts.split(",") if name.strip())}


def refuse(request: Request, hosts: Iterable[str], *, needs_origin: bool = True) -> Response | None:
    """The refusal of a request that isn't ours; None if it is.

    Args:
        needs_origin: whether only a page may send data; programs name no Origin.
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
    # the page itself sends none when it asks for something with GET
    if foreign:
        return PlainTextResponse("Requests from other pages are refused.", 403)
    # All ports of this machine share cookies, and a GET names no Origin. Only browsers send this header.
    if needs_origin and request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return PlainTextResponse("Links from other pages are refused; type or paste the address.", 403)
    if needs_origin and request.method not in ("GET", "HEAD") and origin is None:
        return PlainTextResponse("A request without an Origin is refused.", 403)
    return None


def enter(request: Request, secret: str, port: int, command: str) -> Response | None:
    """Let in who brings the secret: in the address, which makes a cookie of it, or in that cookie."""
    cookie = f"{command}-{port}"  # cookies of this machine are shared by all its ports
    given = request.query_params.get("token")
    if given is not None and request.url.path == "/" and hmac.compare_digest(given.encode(), secret.encode()):
        rest = [(k, v) for k, v in request.query_params.multi_items() if k != "token"]
        response = RedirectResponse(f"/?{urlencode(rest)}" if rest else "/", 303)
        response.set_cookie(cookie, secret, httponly=True, samesite="strict", max_age=90 * 24 * 3600)
        return response
    if hmac.compare_digest(request.cookies.get(cookie, "").encode(), secret.encode()):
        return None
    return PlainTextResponse(
        f"Open the address that {command} printed in the terminal: it holds the key.", 403
    )


def files(folder: Path, name: str) -> list[Route]:
    """The routes of a page, its script and its style, and of what all pages share."""

    async def static(request: Request, file: Path) -> Response:
        return FileResponse(file)

    found = {
        "/": folder / "page.html",
        f"/{name}.js": folder / f"{name}.js",
        f"/{name}.css": folder / f"{name}.css",
        "/base.css": STATIC / "base.css",
        "/icon.svg": STATIC / "icon.svg",
    }
    return [Route(path, partial(static, file=file)) for path, file in found.items()]


def fence(
    command: str, secret: str, port: int, hosts: str, met: Callable[[Request], None] = lambda request: None
) -> Middleware:
    """Let requests through that are ours and bring the secret, and put the headers on all answers.

    Args:
        met: is told of each request first.
    """
    known = allowed(hosts)

    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        met(request)
        response = refuse(request, known) or enter(request, secret, port, command)
        if response is None:
            response = await call(request)
        response.headers.update(HEADERS)
        return response

    return Middleware(BaseHTTPMiddleware, dispatch=guard)


async def body(request: Request, limit: int, seconds: float | None = None) -> bytes:
    """The body of a request, unless it is larger than `limit` bytes.

    Args:
        seconds: how long it may take to come; None for any time.

    Raises:
        Refused: it is too large or too slow.
    """
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size <= limit:
                    parts.append(part)
                elif size > 16 * limit:
                    break
                # A little more is read and dropped: who is cut off while sending never sees the answer.
    except TimeoutError:
        raise Refused(f"The request took longer than {seconds:g} seconds to arrive.", 408) from None
    if size > limit:
        raise Refused(f"The request is too large; {limit:,} bytes are taken at most.", 413)
    return b"".join(parts)


def listen(port: int, option: str) -> socket.socket:
    """A socket on this machine's loopback address.

    Args:
        option: what chooses the port, for the remedy.

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
            f"with {option}."
        ) from None
    return found


def run_page(page: Starlette, sock: socket.socket, secret: str, note: str) -> None:
    """Print the address of a page, and a note, and serve it until it is stopped, as `run_server` does."""
    # msg would break a long line in two, and the address with it
    address = (
        f"\nOpen  http://localhost:{sock.getsockname()[1]}/?token={secret}\n\n{note} Ctrl-C stops the server."
    )
    config = uvicorn.Config(page, log_level="warning", access_log=False, server_header=False)
    run_server(uvicorn.Server(config), sock, address)


def run_server(server: uvicorn.Server, sock: socket.socket, address: str, grace: float = 15) -> None:
    """Print an address and serve until Ctrl-C, SIGTERM, or the end of the weasel that started this process.

    Args:
        grace: seconds to finish requests after weasel ended; then the process ends anyway.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    # A user who reads the address may press Ctrl-C before uvicorn handles signals. uvicorn raises the signal
    # again after it stopped, to these handlers: a requested stop is no failure.
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
    """The secret of a page, kept so that open tabs outlive a restart; for its owner only."""
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
