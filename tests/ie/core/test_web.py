"""What the servers share: how they stop, how long they wait for a client, and how many they take."""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import ROOT, stops_with_weasel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ie.core import web
from ie.core.errors import RequestError

PAGE = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
from starlette.applications import Starlette
from ie.core import web
web.run_page(Starlette(), web.listen(0, "server.py"), "key", "A page.")
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_stops_with_the_weasel_that_started_it(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "page.py").write_text(PAGE, encoding="utf-8")
    stops_with_weasel(tmp_path, tmp_path / "page.py", [], how)


class Page:
    """An application on a thread: /echo tells how long the body was, /large gives 40 MB."""

    def __init__(self) -> None:
        async def echo(request: Request) -> Response:
            return PlainTextResponse(str(len(await web.body(request, 1000))))

        async def large(request: Request) -> Response:
            return Response(bytes(40_000_000))

        async def slow(request: Request) -> Response:
            await asyncio.sleep(60)
            return PlainTextResponse("slow")

        routes = [Route("/echo", echo, methods=["POST"]), Route("/large", large), Route("/slow", slow)]
        app = Starlette(
            routes=routes,
            middleware=[web.fence("page", "key", 0, "")],
            exception_handlers={RequestError: web.refused},
        )
        self.sock = web.listen(0, "server.py")
        self.port = self.sock.getsockname()[1]
        self.server = web.make_server(app, log_level="critical", timeout_graceful_shutdown=1)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.sock]})
        self.thread.start()
        self.clients: list[socket.socket] = []

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), 60)
        self.clients.append(client)
        client.sendall(data)
        return client

    def stop(self) -> None:
        for client in self.clients:
            client.close()
        self.server.should_exit = True
        self.thread.join()


HEAD = "Host: localhost\r\nOrigin: http://localhost\r\nCookie: page-0=key\r\n"
ECHO = f"POST /echo HTTP/1.1\r\n{HEAD}".encode()
SMALL = ECHO + b"Content-Length: 3\r\n\r\nabc"


@pytest.fixture
def page() -> Iterator[Page]:
    started = Page()
    yield started
    started.stop()


def answer(client: socket.socket) -> bytes:
    """All that the server sends until it closes."""
    found = b""
    while part := client.recv(65536):
        found += part
    return found


def closed(client: socket.socket) -> bool:
    """Wait until the server has closed a connection, or reset it."""
    try:
        return answer(client) is not None
    except ConnectionResetError:
        return True


def cut_off(client: socket.socket, part: bytes) -> bool:
    """Send the same part again and again until the server has closed the connection."""
    try:
        while True:
            client.sendall(part)
            time.sleep(0.01)
    except (BrokenPipeError, ConnectionResetError):
        return True


WAITING = {
    "idle": b"",
    "half the headers": b"GET / HTTP/1.1\r\nHost: lo",
    "half the body": ECHO + b"Content-Length: 300\r\n\r\nabc",
    "a chunk of a body": ECHO + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "between two requests": SMALL,
}


@pytest.mark.parametrize("sent", WAITING.values(), ids=WAITING)
def test_clients_that_wait_keep_no_client_out(
    page: Page, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(web.Connection, "most", 10)
    waiting = [page.connect(sent) for _ in range(30)]
    assert b"200 OK" in page.connect(SMALL).recv(65536)
    assert closed(waiting[0])
    assert len(page.server.server_state.connections) <= 10


def test_requests_at_work_are_finished_before_others_begin(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web.Connection, "most", 3)
    for _ in range(3):
        page.connect(f"GET /slow HTTP/1.1\r\n{HEAD}\r\n".encode())
    while len(page.server.server_state.tasks) < 3:
        time.sleep(0.01)
    refused = answer(page.connect())
    assert b"503 Service Unavailable" in refused
    assert refused.endswith(b"try again in a moment.")


@pytest.mark.parametrize("name", ["idle", "half the headers", "between two requests"])
def test_headers_must_arrive_in_time(page: Page, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(web.Connection, "seconds", 0.3)
    client = page.connect(WAITING[name])
    if name == "between two requests":
        assert b"200 OK" in client.recv(65536)
        client.sendall(WAITING["half the headers"])
    assert closed(client)


def test_headers_that_drip_must_arrive_in_time_too(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.Connection, "seconds", 0.3)
    client = page.connect(WAITING["half the headers"])
    assert cut_off(client, b"o")


def test_who_takes_none_of_an_answer_is_left(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.Connection, "seconds", 0.3)
    for more in ("", "Connection: close\r\n"):
        client = page.connect(f"GET /large HTTP/1.1\r\n{more}{HEAD}\r\n".encode())
        assert client.recv(4) == b"HTTP"
    while page.server.server_state.connections:
        time.sleep(0.01)


def test_who_takes_an_answer_slowly_gets_all_of_it(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.Connection, "seconds", 0.3)
    client = page.connect(f"GET /large HTTP/1.1\r\nConnection: close\r\n{HEAD}\r\n".encode())
    size = 0
    while part := client.recv(1_000_000):
        size += len(part)
        time.sleep(0.02)
    assert size > 40_000_000


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_large_body_is_refused_where_its_client_can_read_it(page: Page, connection: str) -> None:
    head = ECHO + f"Connection: {connection}\r\nContent-Length: 20000000\r\n\r\n".encode()
    told = answer(page.connect(head + bytes(20_000_000)))
    assert told.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in told.lower()


def test_of_a_body_without_end_only_so_much_is_taken(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "DISCARDED_BYTES", 1_000_000)
    client = page.connect(ECHO + b"Transfer-Encoding: chunked\r\n\r\n")
    assert cut_off(client, b"ffff\r\n" + bytes(0xFFFF) + b"\r\n")


def test_a_refused_client_that_expects_to_be_asked_sends_nothing(page: Page) -> None:
    client = page.connect(ECHO + b"Expect: 100-continue\r\nContent-Length: 20000000\r\n\r\n")
    assert answer(client).startswith(b"HTTP/1.1 413")
