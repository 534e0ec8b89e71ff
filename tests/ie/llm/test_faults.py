"""Everything an endpoint can do wrong, against a faithful fake."""

import logging
import time

import pytest
from fake_llm import (
    FakeLLM,
    answers,
    hang,
    html,
    reply,
    reset,
    slow_loris,
    status,
    truncated,
    wrong_shape,
)

from ie.errors import UserError
from ie.llm.types import Prompt

PROMPTS = [f"text {i}" for i in range(8)]
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz123456"

TEMPORARY = {
    "429": status(429),
    "429 with Retry-After": status(429, retry_after="0.3"),
    "408": status(408),
    "409": status(409),
    "500": status(500),
    "502": status(502),
    "503": status(503),
    "504": status(504),
    "529": status(529, "overloaded"),
    "time-out": hang(3),
    "connection reset in the body": reset,
    "truncated JSON": truncated,
    "JSON of something else": wrong_shape,
    "empty answer": answers(""),
    "null answer": answers(None),
    "white space only": answers(" \n"),
    "HTML instead of JSON": html(200),
    "HTML error page": html(502),
    "slow loris": slow_loris,
}


def run(model, prompts=PROMPTS):
    return [answer for answer, *_ in model([prompt] for prompt in prompts)]


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", TEMPORARY.values(), ids=TEMPORARY)
def test_a_passing_fault_loses_and_repeats_nothing(fault, protocol, request):
    make = request.getfixturevalue(protocol)
    with FakeLLM(per_prompt={"text 3": [fault]}) as server:
        model = make(server.url, concurrency=4, timeout=1.0)
        assert run(model) == [reply(prompt) for prompt in PROMPTS]
        assert model.stats.errors == {}
        assert dict(server.answered) == dict.fromkeys(PROMPTS, 1), "no answered call was repeated"
        sent = len(server.requests)
        again = make(server.url)
        assert run(again) == [reply(prompt) for prompt in PROMPTS]
        assert len(server.requests) == sent, "the second run asks nothing"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (answers(""), "empty"),
        (truncated, "malformed"),
        (status(503), "unavailable: 503"),
        (html(500), "unavailable: 500"),
        (status(400, "The prompt was filtered", code_name="content_filter"), "content_filter"),
        (status(400, "maximum context length is 8192 tokens"), "context_overflow"),
        (status(413, "request too large"), "context_overflow"),
        (answers("half a", finish="content_filter"), "content_filter"),
        (status(400, "invalid surrogate"), "refused: 400"),
    ],
)
def test_a_lasting_fault_of_one_prompt_concerns_only_that_one_and_is_not_stored(openai, fault, error):
    with FakeLLM(per_prompt={"text 3": [fault] * 50}) as server:
        model = openai(server.url, concurrency=1, max_retries=0, tries=2)
        found = run(model)
        assert [a for a in found if a.error is None] == [reply(p) for p in PROMPTS if p != "text 3"]
        assert found[3] == ""
        assert found[3].error.startswith(error)
        assert sum(model.stats.errors.values()) == 1
        server.per_prompt.clear()
        before = len(server.requests)
        assert run(openai(server.url)) == [reply(prompt) for prompt in PROMPTS]
        assert server.prompts[before:] == ["text 3"]


def test_anthropics_refusals(anthropic):
    refusals = [
        answers("I can't", finish="refusal"),
        answers("half", finish="model_context_window_exceeded"),
        status(400, "prompt is too long: 210000 tokens > 200000 maximum"),
    ]
    with FakeLLM([None, *refusals]) as server:
        found = run(anthropic(server.url, concurrency=1), PROMPTS[:5])
        assert [a.error for a in found] == [
            None,
            "content_filter",
            "context_overflow",
            "context_overflow",
            None,
        ]


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(401, f"Incorrect API key provided: {KEY}"), "refuses the key .*_API_KEY"),
        (status(403, "not for you"), "refuses the key"),
        (
            status(404, "The model `fake-1` does not exist"),
            "fake-1 .*does not exist.*model's name and base_url",
        ),
        (status(400, "Unsupported parameter: 'temperature'"), "temperature.*drop_params"),
        (status(402, "no credit"), "wants to be paid"),
        (status(429, "You exceeded your current quota", code_name="insufficient_quota"), "wants to be paid"),
    ],
)
def test_a_fault_of_every_prompt_stops_at_once(fault, message, protocol, request, monkeypatch):
    variable = "OPENAI_API_KEY" if protocol == "openai" else "ANTHROPIC_API_KEY"
    monkeypatch.setenv(variable, KEY)
    with FakeLLM(always=fault) as server:
        model = request.getfixturevalue(protocol)(server.url, concurrency=2, max_retries=0, tries=1)
        with pytest.raises(UserError, match=message) as caught:
            run(model, [f"text {i}" for i in range(100)])
        assert len(server.requests) <= 4
        assert KEY not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert model.cache.count() == 0


def test_a_host_that_does_not_exist_stops_at_once(openai, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    started = time.monotonic()
    with pytest.raises(UserError, match=r"no-such-host.invalid: no such host .*check base_url"):
        run(openai("http://no-such-host.invalid"))
    assert time.monotonic() - started < 10


def test_nobody_listens(openai):
    with FakeLLM() as server:
        url = server.url
    with pytest.raises(UserError, match=r"fake-1 doesn't answer .*check the address"):
        run(openai(url, max_retries=1))


@pytest.mark.parametrize("url", ["api.openai.com", "file:///etc", "https://"])
def test_an_address_that_is_none(openai, url):
    with pytest.raises(UserError, match="is no address"):
        run(openai(url))


def test_a_key_is_asked_for_only_when_one_is_needed(openai, monkeypatch):
    with FakeLLM() as server:
        assert run(openai(server.url)) == [reply(prompt) for prompt in PROMPTS]
    monkeypatch.setattr("ie.llm.providers._is_loopback", lambda host: False)
    # The store answers, so neither key nor endpoint are missed.
    assert run(openai(server.url)) == [reply(prompt) for prompt in PROMPTS]
    with pytest.raises(UserError, match="set the environment variable OPENAI_API_KEY"):
        run(openai(server.url), ["another"])


def test_a_key_reaches_the_endpoint_and_nothing_else(openai, monkeypatch, caplog, capfd):
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    with FakeLLM([status(500, f"key {KEY} is fine")] * 20) as server:
        model = openai(server.url, api_key_env="MY_KEY", max_retries=1)
        with pytest.raises(UserError) as caught:
            run(model)
    assert KEY not in str(caught.value)
    assert "[key]" in str(caught.value)
    assert KEY not in caplog.text
    assert KEY not in "".join(capfd.readouterr())
    assert KEY not in str(model.provider.identity)


def test_after_429_fewer_calls_are_in_flight_and_then_more_again(openai):
    prompts = [f"text {i}" for i in range(150)]
    with FakeLLM([status(429, retry_after="0.2")] * 4, latency=0.02) as server:
        model = openai(server.url, concurrency=16)
        limits = []
        model.on_answer = lambda answer, stats: limits.append(int(model._limiter.limit))
        assert run(model, prompts) == [reply(prompt) for prompt in prompts]
    assert model.stats.limited == 4
    assert min(limits) <= 12, "halved to 8; the first answers have it grown a little before we look"
    assert max(limits[-20:]) > min(limits), "grown back"


def test_a_retry_after_is_waited_for(openai):
    with FakeLLM([status(429, retry_after="1")]) as server:
        started = time.monotonic()
        run(openai(server.url, concurrency=1), PROMPTS[:2])
        assert 1.0 <= time.monotonic() - started < 4
        assert len(server.requests) == 3


def test_connections_are_kept_and_concurrency_is_held(openai):
    with FakeLLM(latency=0.01) as server:
        run(openai(server.url, concurrency=5), [f"text {i}" for i in range(100)])
        assert server.most == 5
        assert server.connections <= 6


def test_a_full_disk_stops_the_run_and_keeps_what_was_stored(openai, tmp_path):
    import resource

    prompts = [f"text {i} " + "x" * 50 for i in range(400)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with FakeLLM(always=lambda path, prompt: None) as server:
        model = openai(server.url, concurrency=2)
        run(model, prompts[:5])
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
        try:
            with pytest.raises(UserError, match=r"answers.sqlite: the disk is full or failing"):
                run(model, prompts)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        stored = model.cache.count()
        assert 5 <= stored < 400
        again = openai(server.url)
        assert run(again, prompts) == [reply(prompt) for prompt in prompts]
        assert again.stats.hits == stored


def test_what_is_sent(openai, anthropic):
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    prompt = Prompt("hello", stop=("\n", "END"), max_tokens=7, schema=schema)
    with FakeLLM() as server:
        run(openai(server.url, system="Be brief.", params={"temperature": 0.0, "top_k": 3}), [prompt])
        run(openai(server.url, mode="completion", structured="none"), [prompt])
        run(openai(server.url, drop_params=["temperature", "stop"], structured="json_object"), [prompt])
        run(openai(server.url, max_tokens_name="max_completion_tokens", structured="grammar"), [prompt])
        run(anthropic(server.url, system="Be brief."), [prompt])
        (chat, completion, dropped, renamed, messages) = (body for _, body in server.requests)
        paths = [path for path, _ in server.requests]
    assert paths == ["/v1/chat/completions", "/v1/completions", *["/v1/chat/completions"] * 2, "/v1/messages"]
    assert chat == {
        "model": "fake-1",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}],
        "temperature": 0.0,
        "top_k": 3,
        "stop": ["\n", "END"],
        "max_tokens": 7,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        },
    }
    assert completion == {
        "model": "fake-1", "prompt": "hello", "temperature": 0.0, "stop": ["\n", "END"], "max_tokens": 7,
    }  # fmt: skip
    assert "temperature" not in dropped
    assert "stop" not in dropped
    assert dropped["response_format"] == {"type": "json_object"}
    assert renamed["max_completion_tokens"] == 7
    assert "max_tokens" not in renamed
    assert "response_format" not in renamed
    assert messages == {
        "model": "fake-1",
        "messages": [{"role": "user", "content": "hello"}],
        "system": "Be brief.",
        "temperature": 0.0,
        "stop_sequences": ["END"],
        "max_tokens": 7,
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
    }


def test_usage_is_counted_or_estimated(openai):
    with FakeLLM([answers("one two three"), answers("one two three four", usage=False)]) as server:
        model = openai(server.url, concurrency=1)
        counted, guessed = run(model, ["a " * 40, "b " * 40])
        assert (counted.prompt_tokens, counted.completion_tokens, counted.estimated) == (10, 3, False)
        assert (guessed.prompt_tokens, guessed.completion_tokens, guessed.estimated) == (20, 4, True)
        assert (model.stats.prompt_tokens, model.stats.estimated) == (30, 1)
