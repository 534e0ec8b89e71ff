"""Endpoints elsewhere, asked through their makers' own client libraries."""

import asyncio
import importlib
import ipaddress
import json
import os
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ie.errors import UserError
from ie.files import json_text
from ie.llm.client import Provider, Unavailable
from ie.llm.types import Answer, Prompt

OVERFLOW = re.compile(
    r"context[ _](length|size|window)|maximum context|prompt is too long|too many tokens"
    r"|exceed_context_size|reduce the length|input is too long",
    re.IGNORECASE,
)
FILTERED = re.compile(
    r"content[ _]?(filter|policy|management)|responsible ?ai|moderation|safety (system|filter)", re.IGNORECASE
)
KEY_LIKE = re.compile(r"\b(sk|pk|gsk|key|xai|AIza)[-_A-Za-z0-9*.]{12,}")


class RemoteProvider(Provider):
    """What OpenAI's and Anthropic's clients, made by one generator, have in common."""

    library: str

    def __init__(
        self, *, model: str, base_url: str, api_key_env: str, timeout: float, max_retries: int
    ) -> None:
        self.name = model
        self.base_url = base_url.rstrip("/")
        self.api_key_env = api_key_env
        self.timeout = timeout
        self.max_retries = max_retries
        self._client: Any = None
        self._key = ""
        self._answered = False

    def _make_client(self, module: Any, **options: Any) -> Any:
        raise NotImplementedError

    async def _send(self, client: Any, prompt: Prompt) -> Any:
        raise NotImplementedError

    def _read(self, response: Any) -> Answer:
        raise NotImplementedError

    async def ask(self, prompts: list[Prompt]) -> list[Answer]:
        """See `Provider.ask`."""
        if self._client is None:
            await self._connect()
        return [await self._ask(prompt) for prompt in prompts]

    async def close(self) -> None:
        """Close the connections kept alive."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connect(self) -> None:
        host = urlsplit(self.base_url).hostname
        if not host or urlsplit(self.base_url).scheme not in ("http", "https"):
            raise UserError(f"base_url = {self.base_url!r} is no address; it looks like https://host/v1.")
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
            return  # another prompt was faster
        module = importlib.import_module(self.library)
        # The library puts up with a lost connection; a name that doesn't exist was settled above.
        http = _client_class(module)(self)
        self._client = self._make_client(
            module,
            api_key=self._key,
            timeout=self.timeout,
            max_retries=self.max_retries,
            http_client=http,
        )

    async def _resolve(self, host: str) -> None:
        """Say at once that a name doesn't exist; the library would try it again and again."""
        scheme = urlsplit(self.base_url).scheme
        if scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
            return
        try:
            await asyncio.get_running_loop().getaddrinfo(host, None)
        except OSError as error:
            raise UserError(
                f"{host}: no such host ({error.strerror or error}); check base_url and the network."
            ) from error

    async def _ask(self, prompt: Prompt) -> Answer:
        started = time.monotonic()
        try:
            response = await self._send(self._client, prompt)
        except json.JSONDecodeError:
            return Answer(error="malformed")
        except Exception as error:
            return self._explained(error)
        try:
            answer = self._read(response)
        except (AttributeError, IndexError, KeyError, TypeError):
            # An error page of a proxy, or half an object: no answer of the protocol's form.
            return Answer(error="malformed")
        self._answered = True
        return answer.replace(seconds=time.monotonic() - started)

    def _explained(self, error: Exception) -> Answer:
        """A refusal that concerns this prompt; everything else is raised."""
        status = getattr(error, "status_code", None)
        text = self.redacted(_message(error))
        where = f"{self.name} at {self.base_url}"
        if status in (401, 403):
            raise UserError(
                f"{where} refuses the key ({status}: {text}); "
                f"check the environment variable {self.api_key_env}."
            ) from None
        if status == 404:
            raise UserError(
                f"{where} doesn't exist ({status}: {text}); check the model's name and base_url."
            ) from None
        if status == 402 or (status == 429 and "quota" in text.lower()):
            raise UserError(f"{where} wants to be paid first ({status}: {text}).") from None
        if status == 429:
            raise Unavailable(f"{status}: {text}", again=True) from None
        if status in (408, 409) or (status is not None and status >= 500):
            raise Unavailable(f"{status}: {text}") from None
        if status is not None:
            if status == 413 or OVERFLOW.search(text):
                return Answer(error="context_overflow")
            if FILTERED.search(text):
                return Answer(error="content_filter")
            if self._answered:
                return Answer(error=f"refused: {status}: {text}")
            raise UserError(
                f"{where} refuses the request ({status}: {text}); "
                "if it names a parameter, list it in drop_params."
            ) from None
        if type(error).__module__.split(".")[0] != self.library:
            raise error
        if type(error).__name__ == "APITimeoutError":
            raise Unavailable(f"no answer within {self.timeout:g} s") from None
        if type(error).__name__ == "APIResponseValidationError":
            return Answer(error="malformed")
        raise Unavailable(self.redacted(str(error.__cause__ or error))) from None

    def redacted(self, text: str) -> str:
        """`text` without the key and without anything that looks like one, on one line."""
        if self._key and self._key != "none":
            text = text.replace(self._key, "[key]")
        return " ".join(KEY_LIKE.sub("[key]", text).split())[:300]


class OpenAIProvider(RemoteProvider):
    """OpenAI's protocol, chat or completion."""

    library = "openai"

    def __init__(
        self,
        *,
        model: str,
        base_url: str,
        mode: str,
        system: str,
        params: dict[str, Any],
        drop_params: list[str],
        max_tokens_name: str,
        structured: str,
        api_version: str,
        **options: Any,
    ) -> None:
        super().__init__(model=model, base_url=base_url, **options)
        self.mode = mode
        self.system = system
        self.params = params
        self.drop_params = set(drop_params)
        self.max_tokens_name = max_tokens_name
        self.structured = structured
        self.api_version = api_version
        self.identity = {
            "provider": "openai",
            "base_url": self.base_url,
            "model": model,
            "mode": mode,
            "system": system,
            "params": params,
            "structured": structured,
        }

    def _make_client(self, module: Any, **options: Any) -> Any:
        if self.api_version:
            return module.AsyncAzureOpenAI(
                azure_endpoint=self.base_url, api_version=self.api_version, **options
            )
        return module.AsyncOpenAI(base_url=self.base_url, **options)

    async def _send(self, client: Any, prompt: Prompt) -> Any:
        request, extra = self.request(prompt)
        if self.mode == "completion":
            return await client.completions.create(prompt=str(prompt), extra_body=extra or None, **request)
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": str(prompt)})
        return await client.chat.completions.create(messages=messages, extra_body=extra or None, **request)

    def request(self, prompt: Prompt) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters of a request but the prompt itself: the protocol's, and an endpoint's own."""
        request = {"model": self.name, **self.params}
        extra = dict(request.pop("extra_body", {}))
        if prompt.stop:
            request["stop"] = list(prompt.stop)
        if prompt.max_tokens:
            request[self.max_tokens_name] = prompt.max_tokens
        if self.structured == "grammar" and prompt.grammar:
            extra["grammar"] = prompt.grammar
        elif self.structured == "json_schema" and prompt.schema:
            if self.mode == "completion":
                extra["json_schema"] = prompt.schema
            else:
                request["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "strict": True, "schema": prompt.schema},
                }
        elif self.structured == "json_object" and prompt.schema and self.mode == "chat":
            request["response_format"] = {"type": "json_object"}
        for name in self.drop_params:
            request.pop(name, None)
        # What this version of the library doesn't know as an argument still goes into the body.
        known = {"model", "stop", "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens",
                 "response_format", "frequency_penalty", "presence_penalty", "reasoning_effort", "logit_bias",
                 "service_tier", "user"}  # fmt: skip
        extra.update({name: request.pop(name) for name in set(request) - known})
        return request, extra

    def _read(self, response: Any) -> Answer:
        choice = response.choices[0]
        message = getattr(choice, "message", None)
        text = choice.text if self.mode == "completion" else message.content
        error = None
        if choice.finish_reason == "content_filter" or getattr(message, "refusal", None):
            text, error = "", "content_filter"
        usage = response.usage
        return Answer(
            text or "",
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else 0,
            finish_reason=choice.finish_reason or "stop",
            error=error,
        )


class AnthropicProvider(RemoteProvider):
    """Anthropic's Messages protocol."""

    library = "anthropic"

    def __init__(
        self,
        *,
        model: str,
        base_url: str,
        system: str,
        params: dict[str, Any],
        drop_params: list[str],
        structured: str,
        max_tokens: int,
        **options: Any,
    ) -> None:
        super().__init__(model=model, base_url=base_url, **options)
        self.system = system
        self.params = params
        self.drop_params = set(drop_params)
        self.structured = structured
        self.max_tokens = max_tokens
        self.identity = {
            "provider": "anthropic",
            "base_url": self.base_url,
            "model": model,
            "system": system,
            "params": params,
            "structured": structured,
            "max_tokens": max_tokens,
        }

    def _make_client(self, module: Any, **options: Any) -> Any:
        return module.AsyncAnthropic(base_url=self.base_url, **options)

    async def _send(self, client: Any, prompt: Prompt) -> Any:
        extra = dict(self.params)
        if self.system:
            extra["system"] = self.system
        # A stop sequence must hold something other than white space here; such stops are
        # cut off the answer afterwards.
        if stops := [stop for stop in prompt.stop if stop.strip()]:
            extra["stop_sequences"] = stops
        if self.structured == "json_schema" and prompt.schema:
            extra["output_config"] = {"format": {"type": "json_schema", "schema": prompt.schema}}
        for name in self.drop_params:
            extra.pop(name, None)
        message = await client.messages.create(
            model=self.name,
            max_tokens=prompt.max_tokens or self.max_tokens,
            messages=[{"role": "user", "content": str(prompt)}],
            extra_body=extra,
        )
        return message, prompt

    def _read(self, response: Any) -> Answer:
        message, prompt = response
        text = "".join(block.text for block in message.content if block.type == "text")
        for stop in prompt.stop:
            if not stop.strip():
                text = text.lstrip(stop).split(stop)[0]
        error = {"refusal": "content_filter", "model_context_window_exceeded": "context_overflow"}.get(
            message.stop_reason
        )
        usage = message.usage
        read = (
            usage.input_tokens
            + (usage.cache_read_input_tokens or 0)
            + (usage.cache_creation_input_tokens or 0)
        )
        return Answer(
            "" if error else text,
            prompt_tokens=read,
            completion_tokens=usage.output_tokens,
            finish_reason="length" if message.stop_reason == "max_tokens" else "stop",
            error=error,
        )


def _client_class(module: Any) -> Callable[[RemoteProvider], Any]:
    """The library's own HTTP client, which also sees what its retries hide: 429 and slow bodies."""

    import httpx2

    class Client(module.DefaultAsyncHttpxClient):
        def __init__(self, provider: RemoteProvider) -> None:
            super().__init__(base_url=provider.base_url, timeout=provider.timeout)
            self._provider = provider

        async def send(self, request: Any, **options: Any) -> Any:
            started = time.monotonic()
            # The timeouts of HTTP clients are per read: a byte a second would go on for ever.
            try:
                response = await asyncio.wait_for(super().send(request, **options), self._provider.timeout)
            except TimeoutError:
                raise httpx2.ReadTimeout("the whole answer took too long", request=request) from None
            if response.status_code == 429 and self._provider.on_limit:
                self._provider.on_limit(started, _seconds(response.headers.get("retry-after")))
            return response

    return Client


def _seconds(retry_after: str | None) -> float:
    try:
        return min(120.0, max(0.0, float(retry_after or 0)))
    except ValueError:
        return 0.0  # a date: the library waits for it


def _message(error: Exception) -> str:
    """What the endpoint said, from the usual places."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error", body)
        if isinstance(inner, dict):
            parts = [str(inner[name]) for name in ("message", "code", "type") if inner.get(name)]
            if parts:
                return " / ".join(parts)
        return json_text(body)
    return re.sub(r"<[^>]+>", " ", str(body or error))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
