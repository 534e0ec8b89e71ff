"""Who does the work: a thread of the server's process, or processes with a pipeline each."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psutil

from ie.core.errors import RequestError, UserError
from ie.deploy.service import annotator, logs
from ie.deploy.service.settings import ServiceSettings

_here: dict[str, Any] = {}


def _start(model: str, *limits: int) -> None:
    """In a process of its own: load the pipeline; the fault is kept for who asks first."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        # The server says when to end: Ctrl-C reaches the whole group, and what was accepted is finished.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    try:
        _here["annotate"], _here["about"] = annotator.start(model, *limits)
    except UserError as error:
        _here["fault"] = str(error)


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(0)


def _about() -> dict[str, str]:
    if "fault" in _here:
        raise UserError(_here["fault"])
    return _here["about"]


def _annotate(texts: list[str], seconds: float) -> list[str | None]:
    _about()  # fails if it couldn't be loaded
    if multiprocessing.parent_process() is None:  # a thread can't be ended
        return _here["annotate"](texts)
    # The kernel ends the process then: while spaCy's tokenizer works, no handler or thread has a say.
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return _here["annotate"](texts)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class PipelineWorker:
    """A process with a pipeline, or a thread of this one; begun anew when it died.

    Attributes:
        batches: how many it was given and hasn't answered yet; it works on one at a time, in their order.
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
    """Runs batches beside the event loop, each worker apart: one that dies takes no other with it.

    Args:
        number: processes; 0 for a thread of this process.
    """

    def __init__(self, model: str, number: int, settings: ServiceSettings) -> None:
        self.number = number
        # One batch more than can be worked on, so that nobody is idle while an answer is on its way.
        self.slots = max(1, number) + 1
        work = settings.work
        self._arguments = (model, settings.limits.entities, work.warm_texts, work.new_words)
        # When a batch takes so long, all who asked for something of it were refused, and it is for nobody.
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
        """Wait until all have the pipeline; its name and version.

        Raises:
            UserError: it can't be loaded.
        """
        self._over = False
        for worker in self._workers:
            worker.begin()
        try:
            found = await asyncio.gather(*(asyncio.wrap_future(worker.about) for worker in self._workers))
        except BrokenExecutor:
            raise UserError(
                "a process that loads the pipeline was killed; give it more memory, or use fewer workers."
            ) from None
        return found[0]

    @property
    def ready(self) -> bool:
        """Whether any of them has the pipeline."""
        return any(worker.ready for worker in self._workers)

    async def run(self, texts: Sequence[str]) -> list[str | None]:
        """The lines for a batch of texts.

        Raises:
            RequestError: the process that worked on it died, or has no pipeline any more.
        """
        worker = min(self._workers, key=lambda worker: worker.batches)
        worker.batches += 1
        loop = asyncio.get_running_loop()
        try:
            while True:
                executor = worker.executor
                try:
                    return await loop.run_in_executor(executor, _annotate, list(texts), self._seconds)
                except (BrokenExecutor, UserError) as error:
                    # Told in their order: the first is what it worked on; the next process takes the others.
                    if worker.executor is not executor:
                        continue
                    if not self._over:
                        worker.begin()
                    raise self._refusal(error) from None
        finally:
            worker.batches -= 1

    def _refusal(self, error: Exception) -> RequestError:
        if isinstance(error, UserError):
            logs.LOGGER.error("fault", extra={"told": {"message": str(error)}})
            return RequestError("The pipeline can't be loaded any more; the log says why.", 503)
        logs.LOGGER.warning("worker_ended")
        return RequestError("The process that worked on this died, or took too long; send it again.", 503)

    def memory(self) -> int:
        """Resident bytes of this process and those with a pipeline."""
        pids = [os.getpid(), *(process.pid for process in multiprocessing.active_children())]
        total = 0
        for pid in pids:
            with suppress(psutil.NoSuchProcess):  # it died a moment ago
                total += psutil.Process(pid).memory_info().rss
        return total

    def stop(self) -> None:
        """End; what is still worked on is for nobody any more."""
        self._over = True
        for process in multiprocessing.active_children():
            process.kill()
        for worker in self._workers:
            if worker.executor:
                # Python's own end trips over an executor of processes that is still closing.
                worker.executor.shutdown(wait=bool(self.number), cancel_futures=True)
