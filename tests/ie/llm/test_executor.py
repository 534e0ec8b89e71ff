"""The executor by itself, with a provider that answers from memory."""

import asyncio
import threading
import time
import tracemalloc

import pytest

from ie.core.errors import UserError
from ie.llm.cache import AnswerCache
from ie.llm.executor import BudgetReached, Interrupted, Model, Provider, Unavailable
from ie.llm.types import Answer, Prices, Prompt


class Memory(Provider):
    """Answers "re: prompt" after a delay that depends on the prompt, and remembers what it was asked."""

    name = "memory"

    def __init__(self, delay=lambda prompt: 0, fail=lambda prompt: None):
        self.identity = {"model": "memory"}
        self.delay, self.fail = delay, fail
        self.prompts = []
        self.active = self.most = 0

    async def ask(self, prompt):
        self.prompts.append(prompt)
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(self.delay(prompt))
            if error := self.fail(prompt):
                raise error
        finally:
            self.active -= 1
        return Answer(f"re: {prompt}", prompt_tokens=10, completion_tokens=5)

    @property
    def asked(self):
        return [str(prompt) for prompt in self.prompts]


def documents(n, start=0):
    return [[f"p{i}"] for i in range(start, start + n)]


def expected(n):
    return [[f"re: p{i}"] for i in range(n)]


@pytest.fixture
def cache(tmp_path):
    return AnswerCache(tmp_path / "answers.sqlite")


def test_answers_keep_the_order_of_documents_and_of_their_prompts(cache):
    provider = Memory(delay=lambda prompt: 0.03 if prompt.endswith(("0", "3")) else 0)
    model = Model(provider, cache, concurrency=8)
    shards = [[f"d{d}s{s}" for s in range(d % 4)] for d in range(40)]
    assert list(model(shards)) == [[f"re: {p}" for p in prompts] for prompts in shards]
    assert provider.most == 8


def test_documents_are_drawn_only_as_answers_are_taken(cache):
    drawn = 0

    def source():
        nonlocal drawn
        for document in documents(10_000):
            drawn += 1
            yield document

    model = Model(Memory(), cache, concurrency=4)
    answers = model(source())
    for _ in range(20):
        next(answers)
    assert 20 <= drawn <= 20 + 64
    answers.close()


def test_memory_does_not_grow_with_the_number_of_documents():
    model = Model(Memory(), None, concurrency=4)

    def peak(n):
        tracemalloc.start()
        for _ in model([f"{i} " + "x" * 2000] for i in range(n)):
            model.provider.prompts.clear()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(200)
    assert peak(4000) < 1.5 * peak(400) + 100_000


def test_a_second_run_asks_nothing(cache):
    assert list(Model(Memory(), cache)(documents(30))) == expected(30)
    model = Model(Memory(), cache)
    answers = list(model(documents(31)))
    assert answers == expected(31)
    assert model.provider.asked == ["p30"]
    assert (model.stats.hits, model.stats.misses) == (30, 1)
    assert [a[0].cached for a in answers] == [True] * 30 + [False]


def test_the_same_prompt_in_flight_is_asked_once(cache):
    model = Model(Memory(delay=lambda prompt: 0.02), cache, concurrency=8)
    assert list(model([["same"], ["other"], ["same", "same"]])) == [
        ["re: same"],
        ["re: other"],
        ["re: same", "re: same"],
    ]
    assert sorted(model.provider.asked) == ["other", "same"]
    assert (model.stats.misses, model.stats.shared) == (2, 2)


def test_every_answer_is_stored_before_it_is_given_out(cache):
    for answer, *_ in Model(Memory(), cache, concurrency=8)(documents(20)):
        assert AnswerCache(cache.path).get(answer.key) == answer


def test_giving_up_early_still_stores_what_was_sent(cache):
    model = Model(Memory(delay=lambda prompt: 0.02), cache, concurrency=8)
    answers = model(documents(100))
    next(answers)
    answers.close()
    assert len(model.provider.asked) < 100
    assert cache.count() == len(model.provider.asked)


def test_max_calls_stops_cleanly_and_the_next_run_goes_on(cache):
    model = Model(Memory(delay=lambda prompt: 0.01), cache, concurrency=4, max_calls=10)
    taken = []
    with pytest.raises(BudgetReached, match=r"10 calls spent of max_calls = 10.*run the same command again"):
        taken.extend(model(documents(30)))
    assert taken == expected(10)
    assert cache.count() == 10 == len(model.provider.asked)
    again = Model(Memory(), cache, max_calls=20)
    assert list(again(documents(30))) == expected(30)
    assert len(again.provider.asked) == 20


def test_max_calls_allows_exactly_as_many(cache):
    assert list(Model(Memory(), cache, max_calls=10)(documents(10))) == expected(10)


def test_max_cost_is_not_exceeded_by_calls_in_flight(cache):
    # 10 read and 5 written tokens a call: 20 cents.
    prices = Prices(input=10_000, output=20_000)
    model = Model(Memory(delay=lambda prompt: 0.01), cache, concurrency=16, prices=prices, max_cost=9.0)
    with pytest.raises(BudgetReached, match=r"\$6.8000 spent of max_cost = 9.0 .*may cost \$2.2300"):
        list(model([[Prompt(f"p{i:02}", max_tokens=10)] for i in range(100)]))
    # 3 bytes, the endpoint's template and 10 tokens written: 2.23 dollars at most for a call that takes .2
    assert model.stats.cost == pytest.approx(6.8)
    assert cache.count() == model.stats.calls == round(model.stats.cost / 0.2)


def test_a_dry_run_sends_nothing_and_estimates(cache):
    prices = Prices(input=1.0, output=1.0)
    list(Model(Memory(), cache, prices=prices)(documents(10)))
    model = Model(Memory(), cache, prices=prices)
    model.dry = True
    answers = [a for a, *_ in model(documents(30))]
    assert model.provider.asked == []
    assert [a.error for a in answers] == [None] * 10 + ["dry"] * 20
    assert (model.stats.hits, model.stats.misses) == (10, 20)
    assert model.stats.planned_prompt_tokens > 0
    assert model.stats.planned_cost > 0
    assert model.stats.hit_cost == pytest.approx(10 * 15 / 1_000_000)
    assert cache.count() == 10


def test_progress_is_reported_in_order_with_running_cost(cache):
    model = Model(Memory(), cache, prices=Prices(input=100_000, output=0))
    seen = []
    model.on_answer = lambda answer, stats: seen.append((str(answer), stats.hits + stats.misses, stats.cost))
    list(model(documents(5)))
    assert [s[:2] for s in seen] == [(f"re: p{i}", i + 1) for i in range(5)]
    assert seen[-1][2] == pytest.approx(5.0)


def test_a_fatal_error_stops_the_run_and_keeps_the_rest(cache):
    provider = Memory(
        delay=lambda prompt: 0.01, fail=lambda prompt: UserError("bad key") if prompt == "p5" else None
    )
    with pytest.raises(UserError, match="bad key"):
        list(Model(provider, cache, concurrency=2)(documents(50)))
    assert len(provider.asked) < 12
    assert cache.count() == len(provider.asked) - 1


def test_one_unavailable_prompt_is_an_error_of_its_own_and_is_asked_again(cache):
    provider = Memory(fail=lambda prompt: Unavailable("503") if prompt == "p5" else None)
    answers = [a for a, *_ in Model(provider, cache, concurrency=1)(documents(10))]
    assert [a.error for a in answers] == [None] * 5 + ["unavailable: 503"] + [None] * 4
    assert answers[5].transient
    assert answers[5] == ""
    again = Model(Memory(), cache)
    assert list(again(documents(10))) == expected(10)
    assert again.provider.asked == ["p5"]


def test_an_endpoint_that_stopped_answering_ends_the_run(cache):
    provider = Memory(fail=lambda prompt: Unavailable("503") if int(prompt[1:]) >= 5 else None)
    with pytest.raises(UserError, match=r"memory doesn't answer \(503\).*answers so far are kept"):
        list(Model(provider, cache, concurrency=1)(documents(100)))
    assert len(provider.asked) == 15
    assert cache.count() == 5


def test_half_a_character_is_an_error_of_its_own(cache):
    model = Model(Memory(), cache)
    answers = [a for a, *_ in model([["fine"], ["half \ud83d"], ["😀"]])]
    assert [a.error is None for a in answers] == [True, False, True]
    assert answers[1].error.startswith("refused")
    assert model.provider.asked == ["fine", "😀"]


def test_what_plain_prompts_share_is_found(cache):
    template = "You are an expert.\n" * 20

    def asked(model, prompts):
        list(model([prompt] for prompt in prompts))
        return [prompt.prefix for prompt in model.provider.prompts]

    texts = [f"{template}Text: {i}" for i in range(6)]
    assert asked(Model(Memory(), cache), [*texts[:4], "something else"]) == [0, *[len(template)] * 3, 0]
    # also when the first answers come from the store
    assert asked(Model(Memory(), cache), texts) == [len(template)] * 2


def test_two_threads_may_use_one_model(cache):
    model = Model(Memory(delay=lambda prompt: 0.001), cache, concurrency=4)
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: list(model(documents(50, 50 * n)))}))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers for n in range(4) for answers in results[n]] == expected(200)


def test_concurrency_zero_is_refused():
    with pytest.raises(UserError, match="concurrency = 0"):
        Model(Memory(), None, concurrency=0)


def test_as_fast_as_the_endpoint_allows(cache):
    model = Model(Memory(delay=lambda prompt: 0.1), cache, concurrency=32)
    list(model(documents(1)))
    started = time.perf_counter()
    list(model(documents(321, 1)))
    # Ten rounds of 0.1 s and one more; the rest is what the layer itself takes.
    assert time.perf_counter() - started < 2.2


def test_interrupted_is_a_users_error():
    assert issubclass(Interrupted, UserError)
    assert issubclass(BudgetReached, UserError)


def tried(n, bad):
    """Prompts whose answers are unreadable for some of their numbers."""
    return [[Prompt(f"p{i}", readable=lambda answer: int(answer[5:]) not in bad)] for i in range(n)]


def test_an_unreadable_answer_is_an_error_and_asked_for_again_by_the_next_run(cache):
    for _ in range(2):
        model = Model(Memory(), cache)
        answers = [a for a, *_ in model(tried(8, {3}))]
        assert [a.error for a in answers] == [None] * 3 + ["unreadable answer"] + [None] * 4
        assert answers[3] == "re: p3", "what it says is there to be looked at"
        assert model.provider.asked.count("p3") == 1
        assert model.stats.errors == {"unreadable answer": 1}
    assert cache.count() == 7
    assert list(Model(Memory(), cache)(documents(8))) == expected(8)


def test_an_unreadable_answer_in_the_store_is_asked_for_again(cache):
    list(Model(Memory(), cache)(documents(8)))
    plan = Model(Memory(), cache)
    plan.dry = True
    list(plan(tried(8, {3})))
    assert (plan.stats.hits, plan.stats.misses, cache.count()) == (7, 1, 8)
    model = Model(Memory(), cache)
    list(model(tried(8, {3})))
    assert model.provider.asked == ["p3"]
    assert cache.count() == 7


def test_a_model_that_would_say_the_same_again_is_not_asked_again(cache):
    provider = Memory()
    provider.deterministic = True
    for _ in range(2):
        answers = [a for a, *_ in Model(provider, cache)(tried(8, {3}))]
        assert [a.error for a in answers] == [None] * 3 + ["unreadable answer"] + [None] * 4
    assert len(provider.asked) == cache.count() == 8


def test_a_model_that_never_says_anything_readable_ends_the_run(cache):
    model = Model(Memory(), cache, concurrency=1)
    with pytest.raises(UserError, match=r"10 answers in a row that can't be read .*the last: 're: p9'"):
        list(model(tried(100, set(range(100)))))
    assert len(model.provider.asked) == 10
    # One that often does goes on: its other answers are worth having.
    answers = [a for a, *_ in Model(Memory(), cache, concurrency=1)(tried(40, set(range(5, 30))))]
    assert sum(a.error is not None for a in answers) == 25


def test_after_a_stop_nothing_is_tried_again(cache):
    provider = Memory(fail=lambda prompt: Unavailable("503", again=True) if prompt != "p0" else None)
    provider.max_retries = 10**6
    model = Model(provider, cache, concurrency=2)
    answers = model(documents(3))
    next(answers)
    answers.close()
    asked = len(provider.asked)
    time.sleep(0.1)
    assert len(provider.asked) == asked
