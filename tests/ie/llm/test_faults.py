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
from llm_stub import Response

from ie.core.errors import UserError
from ie.llm import models
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
        (status(402, "no credit"), "requires payment"),
        (status(403, "no credit", code_name="insufficient_quota"), "requires payment"),
        (status(429, "You exceeded your current quota", code_name="insufficient_quota"), "requires payment"),
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
    with pytest.raises(UserError, match=r"fake-1 at http.* doesn't answer .*check the address"):
        run(openai(url, max_retries=1))


@pytest.mark.parametrize("url", ["api.openai.com", "file:///etc", "https://"])
def test_an_address_that_is_none(openai, url):
    with pytest.raises(UserError, match="isn't an address"):
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
        assert model.stats.prompt_tokens == 30


def sends(body, **options):
    """A response with this body, or with this JSON."""
    return lambda path, prompt: Response(body, **options)


def chat(content, finish="stop", usage=None):
    """OpenAI's form of an answer, with any content and usage."""
    message = {"role": "assistant", "content": content}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    return sends(
        body | {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}
    )


NULLS = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (chat("", usage=NULLS), "empty"),
        (chat(None, "content_filter", NULLS), "content_filter"),
        (chat(None, "content_filter", {}), "content_filter"),
        (sends(b"[" * 200_000), "malformed: [["),
        (sends(b"{" * 900_000, status=400), "refused: 400"),
        (sends([1, 2]), "malformed: [1, 2]"),
        (sends(b""), "malformed: an empty body"),
        (sends({"choices": []}), "malformed"),
        (sends({"choices": [{"message": {"content": 5}}]}), "malformed"),
        (sends({"choices": [{"message": {"content": ["a"]}}]}), "malformed"),
        (sends({"choices": [{"message": None}]}), "malformed"),
        (sends(b"x" * 1_000_001), "malformed: more than 1 MB"),
        (sends(b"\xff\xfe<html>"), "malformed"),
    ],
)
def test_whatever_one_answer_is_the_run_goes_on(openai, monkeypatch, fault, error):
    monkeypatch.setattr("ie.llm.executor.BACKOFF", (0, 0))
    with FakeLLM(per_prompt={"text 3": [fault] * 9}) as server:
        found = run(openai(server.url, concurrency=1))
        assert found[3].error.startswith(error)
        assert [a for a in found if a.error is None] == [reply(p) for p in PROMPTS if p != "text 3"]


@pytest.mark.parametrize(
    "usage",
    ["many", 5, [], {}, NULLS, {"prompt_tokens": "ten", "completion_tokens": 2}, {"prompt_tokens": 10},
     {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": 1e999, "completion_tokens": 2},
     {"prompt_tokens": 2**63, "completion_tokens": 1}, {"prompt_tokens": True, "completion_tokens": True}],
)  # fmt: skip
def test_usage_that_is_none_is_estimated(openai, usage):
    with FakeLLM(always=chat("one two", usage=usage)) as server:
        (answer,) = run(openai(server.url), ["a " * 40])
    assert (answer, answer.error) == ("one two", None)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.estimated) == (20, 2, True)


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "{draft}"}]}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([THINKING, {"type": "text", "text": "{\n}"}], "{\n}"),
        ([{"type": "text", "text": "Macy's"}], "Macy's"),
        ([{"type": "text", "text": "a"}, {"type": "reference"}, {"type": "text", "text": "b"}], "ab"),
    ],
)
def test_chunks_of_text_are_joined_and_others_left_out(openai, content, text):
    with FakeLLM(always=chat(content)) as server:
        assert run(openai(server.url), ["text"]) == [text]


def test_an_answer_cut_off_before_its_first_word_is_asked_for_once(openai):
    usage = {"prompt_tokens": 9, "completion_tokens": 256}
    with FakeLLM(per_prompt={"text 3": [chat("", "length", usage)] * 9}) as server:
        for _ in range(2):
            answer = run(openai(server.url, concurrency=1))[3]
            assert (answer, answer.error, answer.fault) == ("", None, "answer cut off at max_tokens")
        assert server.prompts.count("text 3") == 1


@pytest.mark.parametrize(
    ("fault", "message", "most"),
    [
        (html(200), r"doesn't answer by its protocol \(.*Bad gateway.*base_url, which often ends in /v1", 2),
        (sends({"error": {"message": "no such model", "code": 404}}), "doesn't exist .*no such model", 1),
        (sends({"error": {"message": "limited upstream", "code": 429}}), "429: limited upstream", 4),
        (sends({"error": "out of order"}), "refuses the request .*out of order", 3),
        (status(400, "so not"), "refuses the request .*so not.*drop_params", 3),
        (chat("", "length"), "10 answers in a row.*cut off at max_tokens.*raise max_tokens", 10),
        (answers(""), "10 answers in a row that are empty", 20),
        (sends(b"[" * 200_000), "doesn't answer by its protocol", 2),
    ],
)  # fmt: skip
def test_an_endpoint_that_says_nothing_useful_ends_the_run(openai, monkeypatch, fault, message, most):
    monkeypatch.setattr("ie.llm.executor.BACKOFF", (0, 0))
    with FakeLLM(always=fault) as server:
        model = openai(server.url, concurrency=1, max_retries=0)
        with pytest.raises(UserError, match=message):
            run(model, [f"text {i}" for i in range(200)])
        assert len(server.requests) <= 2 * most
        assert len(set(server.prompts)) <= most


@pytest.mark.parametrize("fault", [html(200), answers(""), status(400, "no"), sends({"hello": "world"})])
def test_an_endpoint_that_turns_useless_ends_the_run(openai, monkeypatch, fault):
    monkeypatch.setattr("ie.llm.executor.BACKOFF", (0, 0))
    with FakeLLM([None] * 5, always=fault) as server:
        model = openai(server.url, concurrency=1)
        with pytest.raises(UserError, match="answers so far are kept"):
            run(model, [f"text {i}" for i in range(200)])
        assert len(set(server.prompts)) == 15
        assert model.cache.count() == 5


def test_what_an_earlier_run_left_over_does_not_end_the_next_one(openai, monkeypatch):
    """Some prompts never get an answer: one after the other they would look like a dead endpoint."""
    monkeypatch.setattr("ie.llm.executor.BACKOFF", (0, 0))
    prompts = [f"text {i}" for i in range(60)]
    faults = {prompt: [answers("")] * 99 for prompt in prompts[::4]}
    with FakeLLM(per_prompt=faults) as server:
        for _ in range(2):
            found = run(openai(server.url, concurrency=4), prompts)
            assert [a.error for a in found] == ["empty", None, None, None] * 15


def test_a_filter_with_another_name_concerns_one_prompt(openai):
    refused = status(400, "Input data may contain inappropriate content.", code_name="data_inspection_failed")
    with FakeLLM(per_prompt={"text 0": [refused], "text 1": [status(400, "whatever it is")]}) as server:
        found = run(openai(server.url, concurrency=1))
    assert [a.error for a in found[:3]] == ["content_filter", "refused: 400: whatever it is / error", None]


def test_azures_rate_limit_is_none_of_the_bill(openai, monkeypatch):
    monkeypatch.setattr("ie.llm.executor.BACKOFF", (0, 0))
    text = "Requests have exceeded the token rate limit of your pricing tier. To increase your quota, see"
    with FakeLLM(per_prompt={"text 3": [status(429, text, code_name="429")] * 6}) as server:
        model = openai(server.url)
        assert run(model) == [reply(prompt) for prompt in PROMPTS]
    assert model.stats.limited == 6


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_redirects_are_not_followed(protocol, code, request):
    with FakeLLM() as elsewhere:
        moved = sends({}, status=code, headers={"location": elsewhere.url + "/v1/chat/completions"})
        with FakeLLM(always=moved) as server:
            with pytest.raises(UserError, match=rf"redirects to 127.0.0.1 \({code}\).*set base_url"):
                run(request.getfixturevalue(protocol)(server.url, concurrency=1))
            assert len(server.requests) == 1
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret-1@host.example/v1",
        "https://secret-1@host.example",
        "https://host.example/v1?api_key=secret-1",
        "https://host.example/v1#secret-1",
        "me:secret-1@host.example/v1",
        "https://[secret-1/v1",
    ],
)
@pytest.mark.parametrize("make", [models.openai_model, models.anthropic_model])
def test_an_address_with_a_secret_is_refused(make, url):
    with pytest.raises(UserError, match="base_url") as caught:
        make("m", base_url=url, cache="")
    assert "secret-1" not in str(caught.value)
