"""The workers of the service: processes with a pipeline each, or a thread of the server's process."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from ie.core.errors import RequestError, UserError
from ie.deploy.service import annotator, logs
from ie.deploy.service.settings import ServiceSettings
from ie.deploy.watch.counters import ServedCounters

_here: dict[str, Any] = {}


Measured = list[dict[str, float] | None]


def _start(model: str, corpus: Path | None, *limits: int) -> None:
    """Load the pipeline in a worker; an error is kept and raised by the first call."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # The server ends its workers. Ctrl-C reaches the whole group, but accepted requests are finished.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    try:
        _here["annotate"], _here["about"] = annotator.start(model, corpus, *limits)
    except UserError as error:
        _here["fault"] = str(error)


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(0)


def _about() -> dict[str, str]:
    if "fault" in _here:
        raise UserError(_here["fault"])
    return _here["about"]


def _annotate(texts: list[str], seconds: float) -> tuple[list[str | None], Measured]:
    _about()  # fails if it couldn't be loaded
    annotate = _here["annotate"]
    if multiprocessing.parent_process() is None:  # a thread can't be killed
        return annotate(texts), annotate.measured()
    # The kernel kills the process then: no handler or thread runs while spaCy's tokenizer works.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return annotate(texts), annotate.measured()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class PipelineWorker:
    """A process with a pipeline, or a thread of this one; it is started again if it dies.

    Attributes:
        batches: number of unanswered batches; it works on one at a time, in order.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self.batches = 0
        self.executor: Executor | None = None
        self.about: Future[dict[str, str]] | None = None

    def begin(self) -> None:
        """Start it, which loads the pipeline."""
        if self.executor:
            self.executor.shutdown(wait=False)
        self.executor = self._make()
        self.about = self.executor.submit(_about)

    @property
    def ready(self) -> bool:
        """Whether it has the pipeline."""
        about = self.about
        return about is not None and about.done() and not (about.cancelled() or about.exception())


class WorkerPool:
    """Runs batches outside the event loop. Each worker has an executor of its own, so one can die alone.

    Args:
        number: processes; 0 for a thread of this process.
        corpus: folder of the split, for `counters`. counters: None to count nothing.
    """

    def __init__(
        self,
        model: str,
        number: int,
        settings: ServiceSettings,
        corpus: Path | None = None,
        counters: ServedCounters | None = None,
    ) -> None:
        self.number, self.counters = number, counters
        # One batch more than workers, so that none is idle while an answer is sent back.
        self.slots = max(1, number) + 1
        work = settings.work
        measured = corpus if counters else None
        self._arguments = (model, measured, settings.limits.entities, work.warm_texts, work.new_words)
        # After this time all requests of a batch have been refused.
        self._seconds = settings.limits.answer
        self._workers = [PipelineWorker(self._make) for _ in range(max(1, number))]
        self._over = False

    def _make(self) -> Executor:
        if not self.number:
            return ThreadPoolExecutor(1, "pipeline", initializer=_start, initargs=self._arguments)
        return ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=_start, initargs=self._arguments
        )

    async def load(self) -> dict[str, str]:
        """Wait until all workers have the pipeline; returns its name and version.

        Raises:
            UserError: it can't be loaded.
        """
        self._over = False
        for worker in self._workers:
            worker.begin()
        try:
            loading = [asyncio.wrap_future(worker.about) for worker in self._workers]
            return (await asyncio.gather(*loading))[0]
        except BrokenExecutor:
            raise UserError(
                "a process that loads the pipeline was killed; give it more memory, or use fewer workers."
            ) from None

    @property
    def ready(self) -> bool:
        """Whether any worker has the pipeline."""
        return any(worker.ready for worker in self._workers)

    async def run(self, texts: Sequence[str]) -> list[str | None]:
        """The lines for a batch of texts.

        Raises:
            RequestError: the worker died, or can't load the pipeline any more.
        """
        worker = min(self._workers, key=lambda worker: worker.batches)
        worker.batches += 1
        loop = asyncio.get_running_loop()
        try:
            while True:
                executor = worker.executor
                try:
                    lines, measured = await loop.run_in_executor(
                        executor, _annotate, list(texts), self._seconds
                    )
                    if self.counters:
                        self.counters.add(measured)
                    return lines
                except (BrokenExecutor, UserError) as error:
                    # The first failure is the batch that it worked on; the next process takes the others.
                    if worker.executor is not executor:
                        continue
                    if not self._over:
                        worker.begin()
                    raise self._refusal(error) from None
        finally:
            worker.batches -= 1

    def _refusal(self, error: Exception) -> RequestError:
        if isinstance(error, UserError):
            logs.LOGGER.error("fault", extra={"fields": {"message": str(error)}})
            return RequestError("The pipeline can't be loaded any more; the log says why.", 503)
        logs.LOGGER.warning("worker_ended")
        return RequestError("The process that worked on this died or took too long; send it again.", 503)

    def memory(self) -> int:
        """Resident bytes of this process and its workers."""
        pids = [os.getpid(), *(process.pid for process in multiprocessing.active_children())]
        total = 0
        for pid in pids:
            with suppress(psutil.NoSuchProcess):  # it has just died
                total += psutil.Process(pid).memory_info().rss
        return total

    def stop(self) -> None:
        """Kill the workers; the requests that they work on have been refused by now."""
        self._over = True
        for process in multiprocessing.active_children():
            process.kill()
        for worker in self._workers:
            if worker.executor:
                # Python's own shutdown fails on an executor of processes that is still closing.
                worker.executor.shutdown(wait=bool(self.number), cancel_futures=True)
