"""A small HTTP server on loopback that plays a language model."""

import asyncio
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass
class Response:
    """What to send, and how badly.

    Attributes:
        status, body, headers: as in HTTP; a body that isn't bytes is sent as JSON.
        delay: seconds before the first byte.
        drip: seconds between single bytes of the body (0: all at once).
        cut: bytes of the body after which the connection is reset (None: none).
    """

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0
    cut: int | None = None


class Stub:
    """Serves `respond(path, request body)` in a thread of its own until closed.

    Attributes:
        url: address without a path.
        connections: how many were opened so far (keep-alive makes it small).
        active, most: requests being answered now, and at most so far.
    """

    def __init__(self, respond: Callable[[str, dict], Response], port: int = 0) -> None:
        self._respond = respond
        self.connections = self.active = self.most = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stub", daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._serve, "127.0.0.1", port, backlog=512)
        self._server = self._wait(start)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._wait(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def __enter__(self) -> "Stub":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, work: Awaitable):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _shut(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.active += 1
                self.most = max(self.most, self.active)
                try:
                    response = self._respond(head[0].split()[1], json.loads(body or b"{}"))
                    await self._send(writer, response)
                finally:
                    self.active -= 1
                if response.cut is not None:
                    writer.transport.abort()
                    return
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, response: Response) -> None:
        if response.delay:
            await asyncio.sleep(response.delay)
        body = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        headers = {"content-type": "application/json", "content-length": len(body), **response.headers}
        head = f"HTTP/1.1 {response.status} -\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        writer.write(head.encode("latin-1") + b"\r\n")
        body = body[: response.cut]
        if response.drip:
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(response.drip)
        else:
            writer.write(body)
            await writer.drain()


def prompt_of(request: dict) -> str:
    """The prompt in a request of OpenAI's chat or completion, or of Anthropic's protocol."""
    return request["messages"][-1]["content"] if "messages" in request else request["prompt"]


def answer_body(path: str, text: str | None, *, usage: bool = True, finish: str = "stop") -> dict:
    """A well-formed answer in the protocol of `path`; one token a word."""
    path = path.split("?")[0]
    written = len((text or "").split())
    if path.endswith("/messages"):
        reason = {"stop": "end_turn", "length": "max_tokens"}.get(finish, finish)
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "stub",
            "content": [{"type": "text", "text": text or ""}],
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": written},
        }
    choice: dict = {"index": 0, "finish_reason": finish, "logprobs": None}
    if path.endswith("/chat/completions"):
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    body = {"id": "1", "object": "completion", "created": 0, "model": "stub", "choices": [choice]}
    if usage:
        body["usage"] = {"prompt_tokens": 10, "completion_tokens": written, "total_tokens": 10 + written}
    return body


def main() -> None:
    """`python tests/llm_stub.py SECONDS TEXT`: answer with TEXT after SECONDS, until stdin ends."""
    seconds, text = float(sys.argv[1]), sys.argv[2]
    with Stub(lambda path, _: Response(answer_body(path, text), delay=seconds)) as stub:
        print(stub.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
