"""Remote endpoints, through their makers' own client libraries."""

import asyncio
import importlib
import ipaddress
import json
import os
import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from ie.core.errors import UserError
from ie.core.files import json_text
from ie.llm.executor import TEMPLATE_TOKENS, PromptRefused, Provider, Unavailable
from ie.llm.types import Answer, Prompt

OVERFLOW = re.compile(
    r"context[ _](length|size|window)|maximum context|prompt is too long|too many tokens"
    r"|exceed_context_size|reduce the length|input is too long",
    re.IGNORECASE,
)
FILTERED = re.compile(
    r"content[ _]?(filter|policy|management)|responsible ?ai|moderation|safety (system|filter)"
    r"|data[ _]?inspection|inappropriate content",
    re.IGNORECASE,
)
# Codes and types of errors that waiting doesn't fix. (Messages of ordinary rate limits mention quotas, too.)
UNPAID = {
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_not_active",
    "billing_hard_limit_reached",
    "billing_error",
}
KEY_LIKE = re.compile(r"\b(sk|pk|gsk|key|xai|AIza)[-_A-Za-z0-9*.]{12,}")
# Of one answer: a hundred times a long one. All answers in flight are in memory.
MAX_BYTES = 1_000_000
# A larger number isn't a count of tokens.
MAX_TOKENS = 100_000_000


@dataclass(eq=False, kw_only=True)
class RemoteProvider(Provider):
    """What OpenAI's and Anthropic's generated clients have in common.

    The fields are the arguments of `ie.OpenAI.v1` and `ie.Anthropic.v1`.

    Raises:
        UserError: base_url isn't an address, or may contain a secret.
    """

    model: str
    base_url: str
    api_key_env: str
    system: str
    params: dict[str, Any]
    drop_params: list[str]
    structured: str
    timeout: float
    max_retries: int
    library: ClassVar[str]

    def __post_init__(self) -> None:
        self.name = self.model
        self.base_url = _checked(self.base_url).rstrip("/")
        self._client: Any = None
        self._key = ""

    @property
    def where(self) -> str:
        return f"{self.name} at {self.base_url}"

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request, as it is sent."""
        raise NotImplementedError

    def _make_client(self, module: Any, **options: Any) -> Any:
        raise NotImplementedError

    def _read(self, reply: dict[str, Any], prompt: Prompt) -> Answer:
        """Read the body of a response; errors of a wrong shape may be raised."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections kept alive."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connect(self) -> None:
        host = urlsplit(self.base_url).hostname or ""
        self._key = os.environ.get(self.api_key_env, "") if self.api_key_env else ""
        if not self._key:
            if self.api_key_env and not _is_loopback(host):
                raise UserError(
                    f"{self.name} needs a key: set the environment variable {self.api_key_env}, "
                    "or name another one in api_key_env."
                )
            self._key = "none"
        await self._resolve(host)
        if self._client is not None:
            return  # another prompt has connected
        module = importlib.import_module(self.library)
        # Every request is checked against the budget, so the library must not repeat any.
        self._client = self._make_client(
            module,
            api_key=self._key,
            timeout=self.timeout,
            max_retries=0,
            http_client=_http_client(module, self.base_url, self.timeout),
        )

    async def _resolve(self, host: str) -> None:
        """Refuse a host that doesn't exist at once, as the library would try it again and again."""
        scheme = urlsplit(self.base_url).scheme
        if scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
            return
        try:
            await asyncio.get_running_loop().getaddrinfo(host, None)
        except OSError as error:
            raise UserError(
                f"{host}: no such host ({error.strerror or error}); check base_url and the network."
            ) from error

    async def ask(self, prompt: Prompt) -> Answer:
        """See `Provider.ask`."""
        import httpx2

        if self._client is None:
            await self._connect()
        started = time.monotonic()
        try:
            response = await self._client.post(self.path, cast_to=httpx2.Response, body=self.body(prompt))
        except _TooLarge:
            return Answer(error=f"malformed: more than {MAX_BYTES // 1_000_000} MB")
        except Exception as error:
            raise self._explained(error) from None
        try:
            reply = json.loads(response.content)
            if reply.get("error") and not (reply.get("choices") or reply.get("content")):
                raise self._refusal(_status_in(reply["error"]), reply, response.headers) from None
            answer = self._read(reply, prompt)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError):
            # A proxy's page, part of an object, or another protocol
            text = self.redacted(_without_tags(response.text[:2000]))
            return Answer(error=f"malformed: {text[:200] or 'an empty body'}")
        return answer.replace(seconds=time.monotonic() - started)

    def _explained(self, error: Exception) -> Exception:
        """What to raise for an exception of the client library."""
        if type(error).__module__.split(".")[0] != self.library:
            return error
        if (status := getattr(error, "status_code", None)) is not None:
            return self._refusal(status, getattr(error, "body", None) or str(error), error.response.headers)
        if type(error).__name__ == "APITimeoutError":
            return Unavailable(f"no answer within {self.timeout:g} s", again=True)
        return Unavailable(self.redacted(str(error.__cause__ or error)), again=True)

    def _refusal(self, status: int, body: Any, headers: Mapping[str, str]) -> Exception:
        """What to raise for an error that the endpoint sent, with any HTTP status."""
        names, text = _message(body)
        text = self.redacted(text)
        if status == 402 or names & UNPAID:
            return UserError(f"{self.where} requires payment ({status}: {text}).")
        if 300 <= status < 400:
            target = urlsplit(headers.get("location", "")).hostname or "elsewhere"
            return UserError(
                f"{self.where} redirects to {target} ({status}), and redirects are not followed, as prompts "
                "and key would go there; set base_url to the address that answers."
            )
        if status in (401, 403):
            return UserError(
                f"{self.where} refuses the key ({status}: {text}); "
                f"check the environment variable {self.api_key_env}."
            )
        if status == 404:
            return UserError(
                f"{self.where} doesn't exist ({status}: {text}); check the model's name and base_url."
            )
        if status in (408, 409, 429):
            wait = _seconds(headers)
            return Unavailable(f"{status}: {text}", again=True, limited=status == 429, wait=wait, free=True)
        if status >= 500:
            # The model may have answered, and a gateway lost the answer.
            return Unavailable(f"{status}: {text}", again=True, wait=_seconds(headers))
        if status == 413 or OVERFLOW.search(text):
            return PromptRefused("context_overflow")
        if FILTERED.search(text):
            return PromptRefused("content_filter")
        return PromptRefused(f"refused: {status}: {text}")

    def redacted(self, text: str) -> str:
        """`text` without the key and without anything that looks like one, on one line."""
        if self._key and self._key != "none":
            text = text.replace(self._key, "[key]")
        return " ".join(KEY_LIKE.sub("[key]", text).split())[:300]


@dataclass(eq=False, kw_only=True)
class OpenAIProvider(RemoteProvider):
    """OpenAI's protocol, chat or completion."""

    mode: str
    max_tokens_name: str
    api_version: str
    library = "openai"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.path = "/chat/completions" if self.mode == "chat" else "/completions"
        names = ("base_url", "model", "mode", "system", "params", "structured")
        self.identity = {"provider": "openai", **{name: getattr(self, name) for name in names}}
        # Only what changes the request, so that the keys of stored answers stay the same.
        own = {"model", "stop", self.max_tokens_name, "response_format", "grammar", "json_schema"}
        if dropped := {*self.drop_params} & (own | self.params.get("extra_body", {}).keys()):
            self.identity["dropped"] = sorted(dropped)
        if self.max_tokens_name != "max_tokens":
            self.identity["max_tokens_name"] = self.max_tokens_name
        if self.api_version:
            self.identity["api_version"] = self.api_version

    def _make_client(self, module: Any, **options: Any) -> Any:
        if self.api_version:
            return module.AsyncAzureOpenAI(
                azure_endpoint=self.base_url, api_version=self.api_version, **options
            )
        return module.AsyncOpenAI(base_url=self.base_url, **options)

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request, as it is sent."""
        params = {name: value for name, value in self.params.items() if name != "extra_body"}
        body = {"model": self.name, **params}
        if prompt.stop:
            body["stop"] = list(prompt.stop)
        if prompt.max_tokens:
            body[self.max_tokens_name] = prompt.max_tokens
        if self.structured == "grammar" and prompt.grammar:
            body["grammar"] = prompt.grammar
        elif self.structured == "json_schema" and prompt.schema:
            if self.mode == "completion":
                body["json_schema"] = prompt.schema
            else:
                body["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "strict": True, "schema": prompt.schema},
                }
        elif self.structured == "json_object" and prompt.schema and self.mode == "chat":
            body["response_format"] = {"type": "json_object"}
        body |= self.params.get("extra_body", {})
        body = {name: value for name, value in body.items() if name not in self.drop_params}
        if self.mode == "completion":
            return body | {"prompt": str(prompt)}
        messages = [{"role": "system", "content": self.system}] if self.system else []
        return body | {"messages": [*messages, {"role": "user", "content": str(prompt)}]}

    def most_tokens(self, prompt: Prompt) -> tuple[int, int | None]:
        """See `Provider.most_tokens`: no token of a prompt is shorter than a byte."""
        body = self.body(prompt)
        limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if _is_count(body.get(name))]
        answers = [body[name] for name in ("n", "best_of") if _is_count(body.get(name))]
        return _most_read(body), max([1, *answers]) * max(limits) if limits else None

    def _read(self, reply: dict[str, Any], prompt: Prompt) -> Answer:
        """See `RemoteProvider._read`."""
        choice = reply["choices"][0]
        message = choice if self.mode == "completion" else choice["message"]
        text = _joined(message.get("text" if self.mode == "completion" else "content"))
        finish = choice.get("finish_reason")
        filtered = finish == "content_filter" or bool(message.get("refusal"))
        usage = _counts(reply.get("usage"), ("prompt_tokens",), "completion_tokens")
        return Answer(
            "" if filtered else text,
            prompt_tokens=usage[0],
            completion_tokens=usage[1],
            finish_reason=finish if isinstance(finish, str) else "stop",
            error="content_filter" if filtered else None,
        )


@dataclass(eq=False, kw_only=True)
class AnthropicProvider(RemoteProvider):
    """Anthropic's Messages protocol."""

    max_tokens: int
    library = "anthropic"
    path = "/v1/messages"

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("base_url", "model", "system", "params", "structured", "max_tokens")
        self.identity = {"provider": "anthropic", **{name: getattr(self, name) for name in names}}
        if dropped := {*self.drop_params} & {"system", "stop_sequences", "output_config"}:
            self.identity["dropped"] = sorted(dropped)

    def _make_client(self, module: Any, **options: Any) -> Any:
        return module.AsyncAnthropic(base_url=self.base_url, **options)

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The body of a request, as it is sent."""
        body = dict(self.params)
        if self.system:
            body["system"] = self.system
        # This protocol refuses stop sequences of whitespace; the answer is cut at those afterwards.
        if stops := [stop for stop in prompt.stop if stop.strip()]:
            body["stop_sequences"] = stops
        if self.structured == "json_schema" and prompt.schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": prompt.schema}}
        body = {name: value for name, value in body.items() if name not in self.drop_params}
        return {
            "model": self.name,
            "max_tokens": prompt.max_tokens or self.max_tokens,
            "messages": [{"role": "user", "content": str(prompt)}],
            **body,
        }

    def most_tokens(self, prompt: Prompt) -> tuple[int, int | None]:
        """See `Provider.most_tokens`."""
        body = self.body(prompt)
        return _most_read(body), body["max_tokens"]

    def _read(self, reply: dict[str, Any], prompt: Prompt) -> Answer:
        """See `RemoteProvider._read`."""
        text = _joined(reply["content"])
        for stop in prompt.stop:
            if not stop.strip():
                text = text.lstrip(stop).split(stop)[0]
        reason = reply.get("stop_reason")
        reason = reason if isinstance(reason, str) else ""
        error = {"refusal": "content_filter", "model_context_window_exceeded": "context_overflow"}.get(reason)
        read = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        usage = _counts(reply.get("usage"), read, "output_tokens")
        return Answer(
            "" if error else text,
            prompt_tokens=usage[0],
            completion_tokens=usage[1],
            finish_reason="length" if reason == "max_tokens" else "stop",
            error=error,
        )


class _TooLarge(Exception):
    """A body has more than MAX_BYTES."""


def _http_client(module: Any, base_url: str, timeout: float) -> Any:
    """The library's own HTTP client, with limits of time and size, and without redirects."""
    import httpx2

    class LimitedClient(module.DefaultAsyncHttpxClient):
        async def send(self, request: Any, **options: Any) -> Any:
            # The timeouts of HTTP clients are per read: with a byte per second they would never end.
            try:
                return await asyncio.wait_for(self._send_whole(request, **options), timeout)
            except TimeoutError:
                raise httpx2.ReadTimeout("the whole answer took too long", request=request) from None

        async def _send_whole(self, request: Any, **options: Any) -> Any:
            response = await super().send(request, **(options | {"stream": True}))
            body = bytearray()
            try:
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise _TooLarge
            finally:
                await response.aclose()
            headers = [
                (name, value)
                for name, value in response.headers.multi_items()
                if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
            ]
            return httpx2.Response(
                response.status_code, headers=headers, content=bytes(body), request=request
            )

    return LimitedClient(base_url=base_url, timeout=timeout, follow_redirects=False)


def _checked(base_url: str) -> str:
    """`base_url` itself. It is part of results and messages, so it must not contain a secret.

    Raises:
        UserError: not an address, or one with a user name, password, query or fragment.
    """
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UserError("base_url isn't an address; one looks like https://host/v1.") from None
    if "@" in base_url:
        raise UserError(
            "base_url has a user name or a password, which would end up in results; remove everything up to "
            "the @, and put the key into the environment variable that api_key_env names."
        )
    if "?" in base_url or "#" in base_url:
        raise UserError(
            f"base_url has something after the path of {host}, which may be a key and would end up in "
            "results; remove everything from the ? or # on, and put a key into the environment variable that "
            "api_key_env names."
        )
    if not host or parts.scheme not in ("http", "https"):
        raise UserError(f"base_url = {base_url!r} isn't an address; one looks like https://host/v1.")
    return base_url


def _most_read(body: dict[str, Any]) -> int:
    return len(json_text(body).encode("utf-8", "replace")) + TEMPLATE_TOKENS


def _joined(content: Any) -> str:
    """The text of an answer that is a string, nothing, or a list of chunks, some of them reasoning."""
    if content is None or isinstance(content, str):
        return content or ""
    chunks = [chunk for chunk in content if chunk["type"] == "text"]
    return "".join(chunk["text"] for chunk in chunks)


def _counts(usage: Any, read: tuple[str, ...], written: str) -> tuple[int, int]:
    """Tokens read and written as the endpoint reports them; (0, 0) unless both are numbers."""
    if not isinstance(usage, dict):
        return 0, 0
    counts = [usage.get(name) for name in (read[0], written)]
    counts += [usage.get(name) or 0 for name in read[1:]]
    return (counts[0] + sum(counts[2:]), counts[1]) if all(map(_is_count, counts)) else (0, 0)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_TOKENS


def _status_in(error: Any) -> int:
    """The status inside an error that was sent with status 200; 400 if there is none."""
    for name in ("code", "status", "status_code") if isinstance(error, dict) else ():
        try:
            if 300 <= (status := int(error.get(name))) < 600:
                return status
        except (TypeError, ValueError):
            continue
    return 400


def _seconds(headers: Mapping[str, str]) -> float:
    """Seconds to wait according to Retry-After (seconds or a date); at most two minutes."""
    header = headers.get("retry-after") or ""
    try:
        seconds = float(header)
    except ValueError:
        try:
            until = parsedate_to_datetime(header)
            seconds = (until - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return min(120.0, max(0.0, seconds))


def _message(body: Any) -> tuple[set[str], str]:
    """Codes and types of an error, and its message, from the usual keys."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict):
        names = {str(inner[name]) for name in ("code", "type", "status") if inner.get(name)}
        parts = [str(inner[name]) for name in ("message", "code", "type") if inner.get(name)]
        return names, " / ".join(parts) or json_text(inner)
    return set(), _without_tags(str(inner))


def _without_tags(text: str) -> str:
    return re.sub(r"<[^>]*>", " ", text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
