"""The executor: many requests in flight, answers in the order of the prompts, each stored as it arrives."""

import asyncio
import concurrent.futures
import os
import random
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import takewhile

# spacy-llm compares annotations by name, and knows only those of typing.
from typing import Iterable  # noqa: UP035

from ie.core.errors import UserError
from ie.llm.cache import AnswerCache
from ie.llm.types import CUT_OFF, UNREADABLE, Answer, Prices, Prompt, estimate_tokens

FAILURES_IN_A_ROW = 10
REFUSALS_AT_FIRST = 3  # of different prompts: one may be refused because of its text
BACKOFF = (0.5, 8.0)  # seconds before the second try, and at most
# Tokens that an endpoint may put around a request (chat template, default system message)
TEMPLATE_TOKENS = 200
WORTH_SHARING = 200  # characters
GUESSED_ANSWER = 64  # tokens, while nothing is known about the model's answers


class BudgetReached(UserError):
    """The next call might exceed the budget; all answers so far are stored."""


class Interrupted(UserError):
    """Ctrl-C; the calls in flight were finished and stored."""


class Unavailable(Exception):
    """The endpoint did not answer a request.

    Attributes:
        again: whether to retry.
        limited: the endpoint asks for fewer requests at a time (429).
        wait: seconds before the next try; 0 if the endpoint doesn't say.
        free: the endpoint did no work. After a time-out it may have, and may charge for it.
    """

    def __init__(
        self, reason: str, *, again: bool = False, limited: bool = False, wait: float = 0, free: bool = False
    ) -> None:
        super().__init__(reason)
        self.again, self.limited, self.wait, self.free = again, limited, wait, free


class PromptRefused(Exception):
    """The endpoint refused a prompt, for the reason in `error`, and did no work."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class Provider(ABC):
    """One model behind one endpoint.

    Attributes:
        name: for messages and reports.
        where: name and address, for messages.
        identity: everything except the prompt that can change an answer; part of the cache key. No secrets.
        deterministic: asking again gives the same answer, even if it is empty or unreadable.
        max_retries: retries for rate limits, server errors, time-outs and lost connections.
    """

    name: str
    identity: dict
    deterministic: bool = False
    max_retries: int = 0

    @property
    def megabytes(self) -> float | None:
        """Size of the weights if they are on this machine."""
        return None

    @property
    def where(self) -> str:
        return self.name

    @abstractmethod
    async def ask(self, prompt: Prompt) -> Answer:
        """The answer to a prompt, without its key: one request, without retries.

        An answer without reported usage has no tokens.

        Raises:
            PromptRefused: the endpoint accepts requests, but not this one.
            Unavailable: no answer now, perhaps later.
            UserError: no prompt will be answered (key, model, address).
        """

    def most_tokens(self, prompt: Prompt) -> tuple[int, int | None]:
        """Tokens that a request can take at most: read, and written (None: no limit is sent)."""
        return len(prompt.encode("utf-8", "replace")) + TEMPLATE_TOKENS, prompt.max_tokens

    async def close(self) -> None:  # noqa: B027 (nothing to close is fine)
        """Release connections and memory; the next `ask` may open them again."""


@dataclass
class Stats:
    """What a model did: counts, tokens as reported (or estimated), US dollars."""

    hits: int = 0
    shared: int = 0
    misses: int = 0
    calls: int = 0
    limited: int = 0
    errors: Counter = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    hit_cost: float = 0.0
    miss_cost: float = 0.0  # of the answers that were used; `cost` includes other tries
    planned_prompt_tokens: int = 0
    planned_completion_tokens: int = 0
    planned_cost: float = 0.0


@dataclass
class Spending:
    """What the models of a run have spent, in US dollars; it never exceeds the limit.

    Before a request is sent, the most it can cost is reserved. Its actual cost replaces that when the answer
    is there. A request whose cost stays unknown counts as the most.

    Attributes:
        calls: requests sent.
        cost: of the finished requests.
        reserved: the most that the requests in flight can cost.
        under_way: number of requests in flight.
    """

    calls: int = 0
    cost: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    under_way: int = 0
    _waiting: list[asyncio.Future] = field(default_factory=list, repr=False)

    def book(self, most: Decimal) -> None:
        """Count a request that is about to be sent."""
        self.calls += 1
        self.reserved += most
        self.under_way += 1

    def settle(self, most: Decimal, cost: Decimal) -> None:
        """Replace what was reserved for a request by its cost."""
        self.reserved -= most
        self.cost += cost
        self.under_way -= 1
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    async def settled(self) -> None:
        """Wait until the cost of a request in flight is known."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn


class _Limiter:
    """At most `limit` requests at a time; halved on status 429, and raised again with every answer."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.limit = float(maximum)
        self.active = 0
        self._waiting: deque[tuple[asyncio.Future, _Run]] = deque()
        self._halved = 0.0
        self._resume = 0.0

    async def acquire(self, run: "_Run") -> None:
        """Wait in line; raises the reason if the run is stopped."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, run))
        self.wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(answered=False)
            raise

    def release(self, *, answered: bool) -> None:
        self.active -= 1
        if answered:
            # About one more request per round of answers, slow enough to be stable.
            self.limit = min(self.maximum, self.limit + 1 / self.limit)
        self.wake()

    def wake(self) -> None:
        pause = self._resume - time.monotonic()
        if pause > 0:
            asyncio.get_running_loop().call_later(pause, self.wake)
            return
        while self._waiting and self.active < int(self.limit):
            turn, run = self._waiting.popleft()
            if turn.done():
                continue
            if run.stop is not None:
                turn.set_exception(run.stop)
            else:
                self.active += 1
                turn.set_result(None)

    def abandon(self, run: "_Run") -> None:
        """Raise the reason in the waiting requests of a stopped run."""
        for turn, theirs in self._waiting:
            if theirs is run and not turn.done():
                turn.set_exception(run.stop)

    def halve(self, started: float, wait: float) -> None:
        now = time.monotonic()
        self._resume = max(self._resume, now + wait)
        # Requests sent before the last halving say nothing about the new limit.
        if started >= self._halved:
            self.limit = max(1.0, self.limit / 2)
            self._halved = now


@dataclass(eq=False)
class _Job:
    """One distinct prompt in flight."""

    prompt: Prompt
    key: str
    hits: int = 0  # stored answers before it
    answer: Answer | None = None
    future: concurrent.futures.Future | None = None


@dataclass(eq=False)
class _Run:
    """One call of the model: its jobs, and the reason to start no more."""

    stop: UserError | None = None
    jobs: dict[str, _Job] = field(default_factory=dict)
    futures: set[concurrent.futures.Future] = field(default_factory=set)


class Model:
    """A provider with a store, a limit of requests in flight, and a budget: a spacy-llm model.

    Called with an iterable of prompts per document, it yields a list of `Answer` per document, in order.
    Documents are drawn as answers are taken, so memory doesn't depend on their number.

    Args:
        provider: the endpoint.
        cache: the store, or None to store nothing.
        concurrency: requests in flight at most.
        tries: number of tries for an empty or malformed answer.
        context_length: tokens the model can read, or None if unknown; needed by tasks that split long texts.
        prices: for the running cost and the budget.
        max_cost, max_calls: limits of one run in dollars and requests, including retries; 0 for none.

    Attributes:
        spending: what counts towards the limits, shared by the models of a pipeline.
        stats: counts since the model was created.
        dry: count what would be asked and its cost, and send nothing.
        on_answer: called with each answer and the stats, in order, in the caller's thread.
    """

    def __init__(
        self,
        provider: Provider,
        cache: AnswerCache | None = None,
        *,
        concurrency: int = 8,
        tries: int = 4,
        context_length: int | None = None,
        prices: Prices | None = None,
        max_cost: float = 0.0,
        max_calls: int = 0,
    ) -> None:
        if concurrency < 1:
            raise UserError(f"concurrency = {concurrency} sends nothing; set it to 1 or more.")
        if not max_cost >= 0 or max_calls < 0:
            raise UserError(f"max_cost = {max_cost}, max_calls = {max_calls}: both must be 0 or more.")
        self.provider = provider
        self.cache = cache
        self.concurrency = concurrency
        self.tries = tries
        self.prices = prices or Prices()
        self.max_cost = Decimal(str(max_cost))
        self.max_calls = max_calls
        self.stats = Stats()
        self.dry = False
        self.on_answer: Callable[[Answer, Stats], None] | None = None
        self._context_length = context_length
        self._window = max(64, 4 * concurrency)
        self._limiter = _Limiter(concurrency)
        self._answered = False  # the endpoint has answered something
        self._readable = False  # there was a readable answer, perhaps stored
        self._found = 0  # stored answers
        self._failed_in_a_row = self._failed_after = 0
        self.spending = Spending()
        self._seen = self._written = 0  # answers and their tokens, to estimate the next one's
        self._first: Prompt | None = None
        self._prefix: str | None = None
        self._unwritten: list[tuple[Answer, asyncio.Future]] = []
        self._writer: asyncio.Task | None = None

    @property
    def context_length(self) -> int | None:
        """Tokens the model can read at once, prompt and answer together; None if unknown."""
        return self._context_length

    def __call__(self, prompts: Iterable[Iterable[str]]) -> Iterable[Iterable[str]]:
        """Yield, per document, the answers to its prompts.

        Raises:
            BudgetReached, Interrupted, UserError: the run stopped; what was in flight is stored.
        """
        return self._stream(prompts)

    def close(self) -> None:
        """Close the provider's connections (and its server) and the store's file."""
        asyncio.run_coroutine_threadsafe(self.provider.close(), _loop()).result()
        if self.cache is not None:
            self.cache.close()

    # In the caller's thread

    def _stream(self, prompts: Iterable[Iterable[str]]) -> Iterator[list[Answer]]:
        run = _Run()
        source = iter(prompts)
        window: deque[list[tuple[_Job, bool]]] = deque()
        size, more = 0, True
        with self._interruptible(run):
            try:
                while True:
                    while more and size < self._window and run.stop is None:
                        document = next(source, None)
                        if document is None:
                            more = False
                            break
                        window.append([self._submit(run, Prompt.of(prompt)) for prompt in document])
                        size += max(1, len(window[-1]))
                    if not window:
                        break
                    jobs = window.popleft()
                    size -= max(1, len(jobs))
                    yield [self._result(run, job, first) for job, first in jobs]
                if run.stop is not None:
                    raise run.stop
            finally:
                # Even if the caller stopped: what was sent is paid for and must be stored.
                run.stop = run.stop or Interrupted("The caller took no more answers.")
                self._drain(run, wait=not isinstance(sys.exc_info()[1], KeyboardInterrupt))

    def _shared(self, prompt: Prompt) -> Prompt:
        """Find the shared prefix of prompts that don't state it, such as those of spacy-llm's own tasks.

        That is the common prefix of the first two, up to the end of a line. Prompts with stored answers count
        too, so that it is the same in interrupted runs.
        """
        if prompt.prefix:
            return prompt
        if self._first is None:
            self._first = prompt
        elif self._prefix is None and prompt != self._first:
            lines = zip(self._first.splitlines(True), prompt.splitlines(True), strict=False)
            common = "".join(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], lines))
            self._prefix = common if len(common) >= WORTH_SHARING else ""
        if not self._prefix or not prompt.startswith(self._prefix) or len(prompt) == len(self._prefix):
            return prompt
        return Prompt(prompt, **{**vars(prompt), "prefix": len(self._prefix)})

    def _submit(self, run: _Run, prompt: Prompt) -> tuple[_Job, bool]:
        prompt = self._shared(prompt)
        key = prompt.key(self.provider.identity)
        if key in run.jobs:
            return run.jobs[key], False
        job = run.jobs[key] = _Job(prompt, key, hits=self._found)
        job.answer = self._stored(prompt, key)
        if job.answer is None and not _is_unicode(prompt):
            job.answer = Answer(key=key, error="refused: half a character (a lone surrogate)")
            self.stats.errors["refused"] += 1
        if job.answer is None and self.dry:
            job.answer = self._plan(job)
        if job.answer is None:
            job.future = asyncio.run_coroutine_threadsafe(self._run(run, job), _loop())
            run.futures.add(job.future)
            job.future.add_done_callback(run.futures.discard)
        return job, True

    def _stored(self, prompt: Prompt, key: str) -> Answer | None:
        """The stored answer; None if it can't be read and asking again may help."""
        answer = self.cache.get(key) if self.cache is not None else None
        if answer is None:
            return None
        answer = self._judged(answer, prompt)
        if not answer.error:
            self._readable = True
            self._found += 1
        elif not self.provider.deterministic:
            if not self.dry:
                self.cache.discard(answer)
            return None
        return answer

    def _result(self, run: _Run, job: _Job, first: bool) -> Answer:
        if job.answer is None:
            job.answer = job.future.result()
        answer = job.answer
        run.jobs.pop(job.key, None)
        if not first:
            self.stats.shared += 1
            answer = answer.replace(cached=True)
        elif answer.cached:
            self.stats.hits += 1
            self.stats.hit_cost += self.prices.cost(answer.prompt_tokens, answer.completion_tokens)
            self._seen += 1
            self._written += answer.completion_tokens
        else:
            self.stats.misses += 1
            self.stats.miss_cost += self.prices.cost(answer.prompt_tokens, answer.completion_tokens)
        if self.on_answer:
            self.on_answer(answer, self.stats)
        return answer

    def _plan(self, job: _Job) -> Answer:
        read, written = self._expect(job.prompt)
        self.stats.planned_prompt_tokens += round(read)
        self.stats.planned_completion_tokens += round(written)
        self.stats.planned_cost += self.prices.cost(read, written)
        return Answer(
            key=job.key,
            prompt_tokens=round(read),
            completion_tokens=round(written),
            estimated=True,
            error="dry",
        )

    def _expect(self, prompt: Prompt) -> tuple[float, float]:
        """Tokens a prompt will probably take: input and output."""
        if self._seen:
            written = self._written / self._seen
        else:
            written = min(prompt.max_tokens or GUESSED_ANSWER, GUESSED_ANSWER)
        return estimate_tokens(prompt), written

    def _drain(self, run: _Run, wait: bool) -> None:
        futures = set(run.futures)
        if futures:
            _loop().call_soon_threadsafe(self._limiter.abandon, run)
        if wait:
            concurrent.futures.wait(futures)
        for future in futures:
            future.cancel()

    @contextmanager
    def _interruptible(self, run: _Run) -> Iterator[None]:
        """Let the first Ctrl-C stop new calls only; the second one interrupts as usual."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.getsignal(signal.SIGINT)

        def stop(*_: object) -> None:
            signal.signal(signal.SIGINT, previous)
            storage = (
                f"{self.cache.path} keeps every answer" if self.cache is not None else "there is no store"
            )
            run.stop = run.stop or Interrupted(
                f"Interrupted; the calls in flight were finished and {storage}: "
                "run the same command again to go on from there."
            )
            _loop().call_soon_threadsafe(self._limiter.abandon, run)
            # Not print, as the interrupted code may be printing.
            os.write(2, b"\nFinishing the calls in flight; Ctrl-C again drops them.\n")

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) is stop:
                signal.signal(signal.SIGINT, previous)

    # In the event loop's thread

    async def _run(self, run: _Run, job: _Job) -> Answer:
        try:
            answer = await self._called(run, job)
            return answer if self.cache is None else await self._store(answer)
        except UserError as error:
            self._halt(run, error)
            raise

    def _halt(self, run: _Run, error: UserError) -> None:
        """Start no more jobs: the error would hit the next prompt too."""
        if run.stop is None:
            run.stop = error
            self._limiter.abandon(run)

    async def _called(self, run: _Run, job: _Job) -> Answer:
        """Ask within the limit of requests in flight."""
        answered = False
        await self._limiter.acquire(run)
        try:
            answer = await self._ask(run, job)
            answered = True
            self._watch(job, answer)
            return answer
        except UserError as error:
            self._halt(run, error)  # before another call starts
            raise
        finally:
            self._limiter.release(answered=answered)

    async def _ask(self, run: _Run, job: _Job) -> Answer:
        """Ask until there is an answer, or no reason for another try."""
        pause = BACKOFF[0]
        failures = broken = 0
        while True:
            answer, failure = await self._attempt(run, job)
            if failure is not None:
                failures += 1
                # Rate limits pass, but may take minutes.
                most = self.provider.max_retries
                again = failure.again and failures <= (
                    (most + 1) * self.tries - 1 if failure.limited else most
                )
            else:
                broken += answer.transient
                # An endpoint that has never answered properly gets fewer tries.
                tries = self.tries if self._answered else min(2, self.tries)
                again = answer.transient and broken < tries
            if not again or run.stop is not None:
                return answer
            await asyncio.sleep(failure.wait if failure and failure.wait else pause * random.uniform(0.75, 1))
            pause = min(BACKOFF[1], 2 * pause)

    async def _attempt(self, run: _Run, job: _Job) -> tuple[Answer, Unavailable | None]:
        """Send one request; returns its answer, and the failure if there is none."""
        most = cost = await self._book(run, job)
        failure = None
        started, begun = time.monotonic(), time.perf_counter()
        try:
            answer = await self.provider.ask(job.prompt)
        except PromptRefused as error:
            answer, cost = Answer(error=error.error), Decimal(0)
        except Unavailable as error:
            failure = error
            answer = Answer(error=f"unavailable: {error}")
            if error.free:
                cost = Decimal(0)
            if error.limited:
                self.stats.limited += 1
                self._limiter.halve(started, error.wait)
        except UserError:
            cost = Decimal(0)
            raise
        else:
            cost = self._cost(answer, most)
        finally:
            self.spending.settle(most, cost)
            seconds = time.perf_counter() - begun
        return self._counted(self._judged(answer, job.prompt), job, seconds), failure

    def _judged(self, answer: Answer, prompt: Prompt) -> Answer:
        # Cut off before its first word, for example because of reasoning: an answer that is paid for, and
        # would be the same again.
        if answer.error is not None or answer.finish_reason == "length":
            return answer
        if not answer.strip():
            return answer if self.provider.deterministic else answer.replace(error="empty")
        if prompt.readable is not None and not prompt.readable(answer):
            return answer.replace(error=UNREADABLE)
        return answer

    def _counted(self, answer: Answer, job: _Job, seconds: float) -> Answer:
        read, written = answer.prompt_tokens, answer.completion_tokens
        estimated = answer.estimated
        if not read and (answer or answer.error is None):
            read, written, estimated = estimate_tokens(job.prompt), estimate_tokens(answer), True
        self.stats.prompt_tokens += read
        self.stats.completion_tokens += written
        self.stats.cost += self.prices.cost(read, written)
        if not answer.error:
            self._seen += 1
            self._written += written
        return answer.replace(
            key=job.key,
            prompt_tokens=read,
            completion_tokens=written,
            estimated=estimated,
            seconds=round(answer.seconds or seconds, 4),
        )

    def _watch(self, job: _Job, answer: Answer) -> None:
        """Count the outcome of a prompt, and stop if the endpoint is of no use.

        Raises:
            UserError: it doesn't answer, or none of its answers can be used.
        """
        kind, _, reason = (answer.error or "").partition(": ")
        if answer.error:
            self.stats.errors[kind] += 1
        if answer.error is None and not answer and not self.provider.deterministic:
            kind = CUT_OFF
        if kind == "" or kind in ("content_filter", "context_overflow"):
            self._answered = True
            self._readable = self._readable or not kind
            self._failed_in_a_row = 0
            return
        if kind == UNREADABLE:
            # Some models do that for some texts; one that always does is of no use.
            self._answered = True
            if self._readable or self.provider.deterministic:
                return
        if self._failed_after != job.hits and kind not in ("unavailable", "malformed"):
            # There are stored answers in between: these prompts are left from an earlier run.
            self._failed_in_a_row, self._failed_after = 0, job.hits
        self._failed_in_a_row += 1
        at_first = {"unavailable": 1, "malformed": 1, "refused": REFUSALS_AT_FIRST}
        enough = FAILURES_IN_A_ROW if self._answered else at_first.get(kind, FAILURES_IN_A_ROW)
        if self._failed_in_a_row >= enough:
            raise UserError(_useless(self.provider.where, kind, reason, answer))

    def _cost(self, answer: Answer, most: Decimal) -> Decimal:
        """The cost of a request by the reported usage; without it, the most it can cost."""
        if answer.estimated or not answer.prompt_tokens:
            return most
        return self.prices.exact(answer.prompt_tokens, answer.completion_tokens)

    async def _book(self, run: _Run, job: _Job) -> Decimal:
        """Check the limits and book a request; returns the most that it can cost.

        Raises:
            BudgetReached: it might cost too much, even after all others have finished.
        """
        most = self._most(job.prompt)
        spending = self.spending
        while True:
            if run.stop is not None:
                raise run.stop
            if self.max_calls and spending.calls >= self.max_calls:
                spent, limit = f"{spending.calls} calls", f"max_calls = {self.max_calls}"
                break
            if not self.max_cost or spending.cost + spending.reserved + most <= self.max_cost:
                spending.book(most)
                self.stats.calls += 1
                return most
            if not spending.under_way:
                spent = f"${spending.cost:.4f}"
                limit = f"max_cost = {self.max_cost} (the next request may cost ${most:.4f})"
                break
            await spending.settled()
        raise BudgetReached(
            f"The budget is reached: {spent} spent of {limit}; all answers are stored, "
            "raise the limit and run the same command again to go on."
        )

    def _most(self, prompt: Prompt) -> Decimal:
        if not self.max_cost:
            return Decimal(0)
        read, written = self.provider.most_tokens(prompt)
        if written is None:
            written = self.context_length
        if written is None:
            raise UserError(
                f"max_cost = {self.max_cost} can't be kept, as nothing limits the length of an answer; set "
                "max_tokens in the task or in the model's params, or the model's context_length."
            )
        return self.prices.exact(read, written)

    async def _store(self, answer: Answer) -> Answer:
        """Return when a usable answer is on disk; answers that arrive together share a commit."""
        # An unreadable answer is stored only if asking again would give the same.
        if answer.error and not (answer.error == UNREADABLE and self.provider.deterministic):
            return answer
        done = asyncio.get_running_loop().create_future()
        self._unwritten.append((answer.replace(error=None), done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return (await done).replace(error=answer.error)

    async def _write(self) -> None:
        while self._unwritten:
            batch, self._unwritten = self._unwritten, []
            try:
                answers = [answer for answer, _ in batch]
                stored = await asyncio.to_thread(self.cache.put, answers, self.provider.name)
            except Exception as error:
                for _, done in batch:
                    done.set_exception(error)
            else:
                for (_, done), answer in zip(batch, stored, strict=True):
                    done.set_result(answer)


def _useless(where: str, kind: str, reason: str, answer: Answer) -> str:
    """Why a run was stopped: one sentence with the endpoint's message and a remedy."""
    many = f"{where} gave {FAILURES_IN_A_ROW} answers in a row that"
    last = " ".join(answer.split())[:200]
    explanations = {
        "unavailable": f"{where} doesn't answer ({reason}); check the address and the network",
        "malformed": f"{where} doesn't answer by its protocol ({reason}); check base_url, which often ends "
        "in /v1",
        "refused": f"{where} refuses the request ({reason}); if it names a parameter, list it in drop_params",
        CUT_OFF: f"{many} were cut off at max_tokens before their first word, as when a model reasons "
        "first; raise max_tokens in [prompt] or turn reasoning off in the model's params",
        UNREADABLE: f"{many} can't be read as the prompt asks for (the last: {last!r}); "
        "choose another model or another form in [prompt]",
    }
    explanation = explanations.get(kind, f"{many} are empty; check the model's name and its params")
    return f"{explanation}, then run it again: answers so far are kept."


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_background: dict[int, asyncio.AbstractEventLoop] = {}
_background_lock = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """The event loop in a thread of its own; a new one after a fork."""
    with _background_lock:
        if os.getpid() not in _background:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="llm", daemon=True).start()
            _background.clear()
            _background[os.getpid()] = loop
        return _background[os.getpid()]
