"""The limits of a run hold by the endpoint's own count, whatever it answers."""

import asyncio
import random
from contextlib import suppress

import pytest
from fake_llm import FakeLLM, answers, hang, html, reset, status, truncated
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_stub import Response, answer_body

from ie.core.errors import UserError
from ie.llm import executor
from ie.llm.executor import BudgetReached, Model
from ie.llm.providers import OpenAIProvider
from ie.llm.types import Answer, Prices, Prompt

# Binary numbers can't hold these prices: limits must not depend on how sums are rounded.
PRICES = Prices(input=0.1, output=0.7)
CAP = 40
KINDS = ["good"] * 4 + ["empty", "full", "broken", "reset", "500", "429", "400", "late"]
UNCOUNTED = [None, {}, "many", {"prompt_tokens": None, "completion_tokens": 3}]


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(executor, "BACKOFF", (0.001, 0.001))
    monkeypatch.setattr(executor, "FAILURES_IN_A_ROW", 1000)


class Till:
    """Faults and answers at random, with a count of what an endpoint would ask to be paid for them.

    It is paid for every answer, however empty, late or broken, and for none that it refused.
    """

    def __init__(self, seed, usage):
        self.rng, self.usage, self.tokens = random.Random(seed), usage, [0, 0]

    def __call__(self, path, prompt):
        kind = self.rng.choice(
            ["good"] * 4 + ["empty", "full", "broken", "reset", "500", "429", "400", "late"]
        )
        if kind in ("429", "400"):
            return status(int(kind), "no")(path, prompt)
        read = self.rng.randint(1, len(prompt.encode()) + 150)
        written = {"empty": 0, "full": CAP}.get(kind, self.rng.randint(0, CAP))
        self.tokens[0] += read
        self.tokens[1] += written
        if kind in ("broken", "reset", "500", "late"):
            fault = {"broken": truncated, "reset": reset, "500": html(500), "late": hang(1)}[kind]
            return fault(path, prompt)
        body = answer_body(path, "" if kind == "empty" else "word " * written)
        body["usage"] = {"prompt_tokens": read, "completion_tokens": written}
        if self.rng.random() > self.usage:
            body["usage"] = self.rng.choice(
                [None, {}, "many", {"prompt_tokens": None, "completion_tokens": 3}]
            )
        return Response(body, delay=self.rng.random() / 100)

    @property
    def paid(self):
        return PRICES.exact(*self.tokens)


@pytest.mark.parametrize("seed", range(12))
def test_limits_are_never_passed(seed, openai, impatient):
    rng = random.Random(seed)
    till = Till(seed, usage=rng.choice([0, 0.5, 1]))
    prompts = [Prompt(f"text {i} " + "x" * rng.randint(0, 99), max_tokens=CAP) for i in range(400)]
    limits = {"max_calls": rng.choice([0, rng.randint(2, 60)]), "max_cost": rng.randint(1, 25) / 10_000}
    with FakeLLM(always=till) as server:
        model = openai(
            server.url,
            concurrency=rng.choice([1, 3, 16, 64]),
            max_retries=rng.randint(0, 3),
            tries=rng.randint(1, 4),
            timeout=0.3,
            prices=PRICES,
            **limits,
        )
        model._answered = True  # an endpoint that fails before its first answer ends a run at once
        with pytest.raises(BudgetReached):
            list(model([prompt] for prompt in prompts))
        if limits["max_calls"]:
            assert len(server.requests) <= limits["max_calls"]
    assert till.paid <= model.max_cost
    assert till.paid <= model.spending.cost
    assert model.spending.calls == model.stats.calls >= len(server.requests)
    assert (model.spending.reserved, model.spending.under_way) == (0, 0)


class Counting(executor.Provider):
    """In memory, so that hypothesis can try many: an answer a request, as long as it was told."""

    name = "counting"

    def __init__(self, lengths, failures):
        self.identity, self.max_retries = {}, 2
        self.lengths, self.failures = lengths, failures
        self.requests = 0
        self.tokens = [0, 0]

    async def ask(self, prompt):
        number = self.requests
        self.requests += 1
        written = self.lengths[number % len(self.lengths)]
        fails = self.failures[number % len(self.failures)]
        if fails == "refused":
            raise executor.PromptRefused("content_filter")
        self.tokens[0] += len(prompt)
        self.tokens[1] += written
        await asyncio.sleep(0)
        if fails == "lost":
            raise executor.Unavailable("lost", again=True)
        usage = {} if fails == "uncounted" else {"prompt_tokens": len(prompt), "completion_tokens": written}
        return Answer("" if fails == "empty" else "word", **usage)


OUTCOMES = ["", "", "empty", "lost", "refused", "uncounted"]


@given(
    lengths=st.lists(st.integers(0, CAP), min_size=1, max_size=8),
    failures=st.lists(
        st.sampled_from(["", "", "empty", "lost", "refused", "uncounted"]), min_size=1, max_size=8
    ),
    concurrency=st.sampled_from([1, 2, 8, 64]),
    max_calls=st.integers(0, 30),
    max_cost=st.integers(0, 40).map(lambda n: n / 20_000),
    tries=st.integers(1, 4),
)
@settings(max_examples=120, deadline=None)
def test_limits_hold_for_any_lengths_and_failures(lengths, failures, concurrency, max_calls, max_cost, tries):
    provider = Counting(lengths, failures)
    options = {"max_calls": max_calls, "max_cost": max_cost, "tries": tries, "prices": PRICES}
    model = Model(provider, None, concurrency=concurrency, **options)
    with pytest.MonkeyPatch.context() as patch, suppress(UserError):
        patch.setattr(executor, "BACKOFF", (0, 0))
        list(model([[Prompt(f"text {i}", max_tokens=CAP)] for i in range(40)]))
    assert provider.requests <= (max_calls or provider.requests)
    if max_cost:
        assert PRICES.exact(*provider.tokens) <= model.spending.cost <= model.max_cost


def test_empty_answers_count_each_time(openai, impatient):
    with FakeLLM(always=answers("")) as server:
        model = openai(server.url, concurrency=1, max_calls=2)
        with pytest.raises(BudgetReached):
            list(model([f"text {i}"] for i in range(8)))
        assert len(server.requests) == 2
    assert (model.stats.prompt_tokens, model.stats.completion_tokens) == (20, 0)


def test_all_of_the_budget_is_used(openai):
    # 10 tokens read and 1 written by the fake's count: .0000017 dollars a call; exactly 100 of them.
    prompts = [[Prompt(f"text {i}", max_tokens=1)] for i in range(100)]
    most = OpenAIProvider.most_tokens
    with FakeLLM(always=answers("one")) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenAIProvider, "most_tokens", lambda self, prompt: (10, most(self, prompt)[1]))
        model = openai(server.url, concurrency=16, prices=PRICES, max_cost=0.00017)
        assert len(list(model(prompts))) == 100
        assert model.spending.cost == model.max_cost
        with pytest.raises(BudgetReached, match=r"\$0.0002 spent of max_cost = 0.00017"):
            list(model([[Prompt("more", max_tokens=1)]]))


def test_without_a_limit_of_the_answer_a_budget_cannot_be_kept(openai):
    with FakeLLM() as server:
        with pytest.raises(UserError, match=r"can't be kept.*max_tokens"):
            list(openai(server.url, prices=PRICES, max_cost=1.0)([["text"]]))
        dropped = openai(server.url, prices=PRICES, max_cost=1.0, drop_params=["max_tokens"])
        with pytest.raises(UserError, match="can't be kept"):
            list(dropped([[Prompt("text", max_tokens=5)]]))
        assert server.requests == []
        assert list(openai(server.url, prices=PRICES, max_cost=1.0, params={"max_tokens": 9})([["text"]]))
        assert list(openai(server.url, prices=PRICES, max_cost=1.0, context_length=999)([["text 2"]]))


@pytest.mark.parametrize("body", ["chat", "completion"])
def test_the_most_that_a_request_can_take(body):
    provider = OpenAIProvider(
        model="m", base_url="http://127.0.0.1/v1", api_key_env="", timeout=1, max_retries=0, mode=body,
        system="s" * 50, params={"n": 3}, drop_params=[], max_tokens_name="max_completion_tokens",
        structured="json_schema", api_version="",
    )  # fmt: skip
    schema = {"type": "object", "description": "d" * 70}
    read, written = provider.most_tokens(Prompt("Ünï 文", max_tokens=20, schema=schema))
    assert written == 60
    assert read >= len("Ünï 文".encode()) + 70 + (50 if body == "chat" else 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_cost": -1.0}, "max_cost = -1"),
        ({"max_cost": float("nan")}, "max_cost = nan"),
        ({"max_calls": -1}, "max_calls = -1"),
    ],
)
def test_limits_that_are_none_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Model(Counting([1], [""]), None, **options)


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_prices_that_are_none_are_refused(price):
    with pytest.raises(UserError, match=r"prices.output"):
        Prices(input=1.0, output=price)
