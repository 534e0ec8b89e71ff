"""The executor: prompts in, answers out, in order, many in flight, each stored as it arrives."""

import asyncio
import concurrent.futures
import os
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import takewhile

# spacy-llm compares annotations by name and knows those of typing only.
from typing import Iterable  # noqa: UP035

from ie.errors import UserError
from ie.llm.cache import AnswerCache
from ie.llm.types import Answer, Prices, Prompt, estimate_tokens

FAILURES_IN_A_ROW = 10
BACKOFF = (0.5, 8.0)  # seconds before the second try of an empty or broken answer, and at most
WORTH_SHARING = 200  # characters
GUESSED_ANSWER = 64  # tokens, while nothing is known about the model's answers


class BudgetReached(UserError):
    """The next call might cost more than was allowed; all answers so far are stored."""


class Interrupted(UserError):
    """Ctrl-C; the calls in flight were finished and stored."""


class Unavailable(Exception):
    """The endpoint did not answer a prompt, after the client library's own retries.

    Attributes:
        again: worth some more tries, as the endpoint only asked for patience.
    """

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


class Provider(ABC):
    """One model behind one endpoint: how to ask it, and what makes its answers its own.

    Attributes:
        name: for messages and reports.
        identity: all that can change an answer but the prompt; part of the cache key. No secrets.
        group_size: prompts sent together as one request.
        empty_is_answer: asking again would give the same nothing.
        on_limit: called with the start time of a request that was answered 429 and the seconds to
            wait that came with it (0: unknown); set by the executor.
    """

    name: str
    identity: dict
    group_size: int = 1
    empty_is_answer: bool = False
    on_limit: Callable[[float, float], None] | None = None

    def bucket(self, prompt: Prompt) -> Hashable:
        """Prompts may go together in one request when their buckets are equal."""
        return None

    @abstractmethod
    async def ask(self, prompts: list[Prompt]) -> list[Answer]:
        """Answers to a group of prompts, in order, without keys.

        Raises:
            Unavailable: no answer, but there may be one on another day.
            UserError: no prompt will be answered (key, model, address, parameters).
        """

    async def close(self) -> None:  # noqa: B027 (nothing to close is fine)
        """Give connections and memory back; the next `ask` may open them again."""


@dataclass
class Stats:
    """What a model did: counts, tokens as reported (or estimated), US dollars, seconds."""

    hits: int = 0
    shared: int = 0
    misses: int = 0
    calls: int = 0
    retries: int = 0
    limited: int = 0
    errors: Counter = field(default_factory=Counter)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    hit_prompt_tokens: int = 0
    hit_completion_tokens: int = 0
    estimated: int = 0
    cost: float = 0.0
    hit_cost: float = 0.0
    planned_prompt_tokens: int = 0
    planned_completion_tokens: int = 0
    planned_cost: float = 0.0
    seconds: float = 0.0

    @property
    def answers(self) -> int:
        """Prompts that got an answer or an error, from the endpoint or from the store."""
        return self.hits + self.shared + self.misses

    def as_dict(self) -> dict:
        """For JSON, errors by reason."""
        return {**asdict(self), "errors": dict(sorted(self.errors.items()))}


@dataclass
class Ledger:
    """What a run has spent over all its models; `reserved` are the dollars expected of calls in flight."""

    calls: int = 0
    cost: float = 0.0
    reserved: float = 0.0


class _Limiter:
    """At most `limit` requests at a time; halved when the endpoint says 429, grown back by answers."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.limit = float(maximum)
        self.active = 0
        self._waiting: deque[tuple[asyncio.Future, _Run]] = deque()
        self._halved = 0.0
        self._resume = 0.0

    async def acquire(self, run: "_Run") -> None:
        """Wait for one's turn, first come, first served; raises the reason if the run is stopped."""
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
            # About one more request for each round of answers: slow enough to settle.
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
        """Let those of a stopped run wait no longer."""
        for turn, theirs in self._waiting:
            if theirs is run and not turn.done():
                turn.set_exception(run.stop)

    def halve(self, started: float, wait: float) -> None:
        now = time.monotonic()
        self._resume = max(self._resume, now + wait)
        # A burst is one event: requests sent before the last halving say nothing about the new limit.
        if started >= self._halved:
            self.limit = max(1.0, self.limit / 2)
            self._halved = now


@dataclass(eq=False)
class _Job:
    """One distinct prompt under way."""

    prompt: Prompt
    key: str
    bucket: Hashable = None
    answer: Answer | None = None
    future: concurrent.futures.Future | None = None
    place: int = 0


@dataclass(eq=False)
class _Run:
    """One call of the model: its jobs, and the reason to start no more of them."""

    stop: UserError | None = None
    jobs: dict[str, _Job] = field(default_factory=dict)
    buckets: dict[Hashable, list[_Job]] = field(default_factory=dict)
    futures: set[concurrent.futures.Future] = field(default_factory=set)


class Model:
    """A provider with a store, a limit of requests in flight, and a budget: a spacy-llm model.

    Called with an iterable of prompts per document, it yields a list of `Answer` per document, in
    order. Documents are drawn only as answers are taken, so memory doesn't depend on their number.

    Args:
        provider: whom to ask.
        cache: the store, or None to keep nothing.
        concurrency: requests in flight at most.
        tries: how often an empty or broken answer is asked for.
        context_length: tokens the model can read, or None if unknown; tasks that split long texts
            ask for it.
        prices: for the running cost and the budget.
        max_cost, max_calls: stop before more than this is spent in one run (0: no limit).

    Attributes:
        ledger: what counts against the limits; the models of one pipeline share it.
        stats: counts since the model was made.
        dry: look into the store, count what would be asked and what it would cost, send nothing.
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
        self.provider = provider
        self.cache = cache
        self.concurrency = concurrency
        self.tries = tries
        self.prices = prices or Prices()
        self.max_cost = max_cost
        self.max_calls = max_calls
        self.stats = Stats()
        self.dry = False
        self.on_answer: Callable[[Answer, Stats], None] | None = None
        self._context_length = context_length
        self._window = max(64, 4 * concurrency * provider.group_size)
        self._limiter = _Limiter(concurrency)
        self._answered = False
        self._failed_in_a_row = 0
        self.ledger = Ledger()
        self._seen = self._written = 0  # answers and their tokens, to guess the next one's
        self._first: Prompt | None = None
        self._prefix: str | None = None
        self._unwritten: list[tuple[list[Answer], asyncio.Future]] = []
        self._writer: asyncio.Task | None = None
        provider.on_limit = self._limited

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
                    # The order of drawing and sending must not depend on when answers come: groups
                    # of prompts are then the same in every run, and so are a local model's answers.
                    while more and size < self._window and run.stop is None:
                        document = next(source, None)
                        if document is None:
                            more = False
                            for bucket in list(run.buckets):
                                self._dispatch(run, bucket)
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
                # Also when the caller gave up: what was sent is paid for and must be stored.
                run.stop = run.stop or Interrupted("The caller took no more answers.")
                self._drain(run, wait=not isinstance(sys.exc_info()[1], KeyboardInterrupt))

    def _shared(self, prompt: Prompt) -> Prompt:
        """Find what prompts share that don't say so, such as those of spacy-llm's own tasks.

        That is what the first two have in common, up to the end of a line. All prompts are looked at,
        also those the store answers, so that it is the same whenever a run was interrupted.
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
        job = run.jobs[key] = _Job(prompt, key)
        job.answer = self.cache.get(key) if self.cache is not None else None
        if job.answer is None and not _is_unicode(prompt):
            job.answer = Answer(key=key, error="refused: half a character (a lone surrogate)")
            self.stats.errors["refused"] += 1
        if job.answer is None and self.dry:
            job.answer = self._plan(job)
        if job.answer is None:
            job.bucket = self.provider.bucket(prompt)
            waiting = run.buckets.setdefault(job.bucket, [])
            waiting.append(job)
            if len(waiting) == self.provider.group_size:
                self._dispatch(run, job.bucket)
        return job, True

    def _dispatch(self, run: _Run, bucket: Hashable) -> None:
        jobs = run.buckets.pop(bucket)
        future = asyncio.run_coroutine_threadsafe(self._run(run, jobs), _loop())
        run.futures.add(future)
        future.add_done_callback(run.futures.discard)
        for place, job in enumerate(jobs):
            job.future, job.place = future, place

    def _result(self, run: _Run, job: _Job, first: bool) -> Answer:
        if job.answer is None:
            if job.future is None:
                self._dispatch(run, job.bucket)
            job.answer = job.future.result()[job.place]
        answer = job.answer
        run.jobs.pop(job.key, None)
        if not first:
            self.stats.shared += 1
            answer = answer.replace(cached=True)
        elif answer.cached:
            self.stats.hits += 1
            self.stats.hit_prompt_tokens += answer.prompt_tokens
            self.stats.hit_completion_tokens += answer.completion_tokens
            self.stats.hit_cost += self.prices.cost(answer.prompt_tokens, answer.completion_tokens)
            self._seen += 1
            self._written += answer.completion_tokens
        else:
            self.stats.misses += 1
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
        """Tokens a prompt will probably take: read, written."""
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
        """Let the first Ctrl-C stop new calls only; the second one is the usual one."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.getsignal(signal.SIGINT)

        def stop(*_: object) -> None:
            signal.signal(signal.SIGINT, previous)
            kept = f"{self.cache.path} keeps every answer" if self.cache is not None else "there is no store"
            run.stop = run.stop or Interrupted(
                f"Interrupted; the calls in flight were finished and {kept}: "
                "run the same command again to go on from there."
            )
            _loop().call_soon_threadsafe(self._limiter.abandon, run)
            # Not print: the interrupted code may be in the middle of a print itself.
            os.write(2, b"\nFinishing the calls in flight; Ctrl-C again drops them.\n")

        signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) is stop:
                signal.signal(signal.SIGINT, previous)

    # In the event loop's thread

    async def _run(self, run: _Run, jobs: list[_Job]) -> list[Answer]:
        try:
            answers = await self._called(run, jobs)
            return answers if self.cache is None else await self._store(answers)
        except UserError as error:
            self._halt(run, error)
            raise

    def _halt(self, run: _Run, error: UserError) -> None:
        """Whatever it is, it would hit the next prompt too."""
        if run.stop is None:
            run.stop = error
            self._limiter.abandon(run)

    async def _called(self, run: _Run, jobs: list[_Job]) -> list[Answer]:
        """The answers, with one place of the limited number taken for as long as the endpoint works."""
        answered = False
        reserved = 0.0
        await self._limiter.acquire(run)
        try:
            reserved = sum(self.prices.cost(*self._expect(job.prompt)) for job in jobs)
            self.ledger.reserved += reserved
            self._check_budget(len(jobs))
            self.stats.calls += len(jobs)
            self.ledger.calls += len(jobs)
            started = time.perf_counter()
            answers = await self._ask(jobs)
            seconds = time.perf_counter() - started
            self.stats.seconds += seconds
            answered = True
            return [
                self._counted(answer, job, seconds / len(jobs))
                for answer, job in zip(answers, jobs, strict=True)
            ]
        except UserError as error:
            self._halt(run, error)  # before another call gets this one's place
            raise
        finally:
            self.ledger.reserved -= reserved
            self._limiter.release(answered=answered)

    async def _ask(self, jobs: list[_Job]) -> list[Answer]:
        pause = BACKOFF[0]
        answers: list[Answer] = []
        for attempt in range(self.tries):
            if attempt:
                self.stats.retries += 1
                await asyncio.sleep(pause)
                pause = min(BACKOFF[1], 2 * pause)
            try:
                answers = await self.provider.ask([job.prompt for job in jobs])
            except Unavailable as error:
                answers = [Answer(error=f"unavailable: {error}") for _ in jobs]
                if error.again:
                    continue
                break
            answers = [self._judged(answer) for answer in answers]
            if not any(answer.error in ("empty", "malformed") for answer in answers):
                break
        if any(answer.error and answer.error.startswith("unavailable") for answer in answers):
            self._failed_in_a_row += 1
            if not self._answered or self._failed_in_a_row >= FAILURES_IN_A_ROW:
                reason = answers[0].error.removeprefix("unavailable: ")
                raise UserError(
                    f"{self.provider.name} doesn't answer ({reason}); "
                    "check the address and the network, then run it again: answers so far are kept."
                )
        else:
            self._answered = True
            self._failed_in_a_row = 0
        return answers

    def _judged(self, answer: Answer) -> Answer:
        if answer.error is None and not answer.strip() and not self.provider.empty_is_answer:
            return answer.replace(error="empty")
        return answer

    def _counted(self, answer: Answer, job: _Job, seconds: float) -> Answer:
        read, written = answer.prompt_tokens, answer.completion_tokens
        estimated = answer.estimated
        if not read and answer.error is None:
            read, written, estimated = estimate_tokens(job.prompt), estimate_tokens(answer), True
        self.stats.prompt_tokens += read
        self.stats.completion_tokens += written
        self.stats.estimated += estimated
        cost = self.prices.cost(read, written)
        self.stats.cost += cost
        self.ledger.cost += cost
        if answer.error:
            self.stats.errors[answer.error.split(":")[0]] += 1
        else:
            self._seen += 1
            self._written += written
        return answer.replace(
            key=job.key,
            prompt_tokens=read,
            completion_tokens=written,
            estimated=estimated,
            seconds=round(answer.seconds or seconds, 4),
        )

    def _check_budget(self, calls: int) -> None:
        if self.max_calls and self.ledger.calls + calls > self.max_calls:
            spent, option = f"{self.ledger.calls} calls", f"max_calls = {self.max_calls}"
        elif self.max_cost and self.ledger.cost + self.ledger.reserved > self.max_cost:
            spent, option = f"${self.ledger.cost:.4f}", f"max_cost = {self.max_cost}"
        else:
            return
        raise BudgetReached(
            f"The budget is reached: {spent} spent of {option}; all answers are stored, "
            "raise the limit and run the same command again to go on."
        )

    async def _store(self, answers: list[Answer]) -> list[Answer]:
        """Return when the good answers are on disk; answers that arrive together share a commit."""
        good = [answer for answer in answers if answer.error is None]
        if not good:
            return answers
        done = asyncio.get_running_loop().create_future()
        self._unwritten.append((good, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        stored = iter(await done)
        return [next(stored) if answer.error is None else answer for answer in answers]

    async def _write(self) -> None:
        while self._unwritten:
            batch, self._unwritten = self._unwritten, []
            try:
                flat = [answer for answers, _ in batch for answer in answers]
                stored = iter(await asyncio.to_thread(self.cache.put, flat, self.provider.name))
            except Exception as error:
                for _, done in batch:
                    done.set_exception(error)
            else:
                for answers, done in batch:
                    done.set_result([next(stored) for _ in answers])

    def _limited(self, started: float, wait: float) -> None:
        self.stats.limited += 1
        self._limiter.halve(started, wait)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


_background: dict[int, asyncio.AbstractEventLoop] = {}
_background_lock = threading.Lock()


def _loop() -> asyncio.AbstractEventLoop:
    """One event loop in a thread of its own; another one after a fork."""
    with _background_lock:
        if os.getpid() not in _background:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="llm", daemon=True).start()
            _background.clear()
            _background[os.getpid()] = loop
        return _background[os.getpid()]
