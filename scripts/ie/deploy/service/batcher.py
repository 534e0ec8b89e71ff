"""Puts texts of several requests into one batch for the pipeline, behind a bounded queue."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from ie.core.errors import RequestError


@dataclass(eq=False)
class PendingRequest:
    """A request; the first `taken` texts are in the pipeline or done, `left` are not done."""

    texts: Sequence[str]
    done: asyncio.Future[list[str | None]]
    taken: int = 0
    left: int = 0
    lines: list[str | None] = field(default_factory=list)


class Batcher:
    """Works on requests in turn, taking at most one batch of texts from each at a time.

    So small requests share a batch, and a large one doesn't delay those behind it until it is done. A batch
    is whatever waits when the pipeline is free: it is never delayed to fill up.

    Args:
        run: annotates a batch.
        slots: maximum number of batches in progress.
        size, characters: maximum texts and characters in a batch; a longer text is a batch of its own.
        queue: maximum number of waiting texts.
        watch: called with the number of texts of each batch.
    """

    def __init__(
        self,
        run: Callable[[list[str]], Awaitable[list[str | None]]],
        *,
        slots: int,
        size: int,
        characters: int,
        queue: int,
        watch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._run, self._size, self._characters, self._queue = run, size, characters, queue
        self._watch = watch
        self._free = slots
        self._jobs: deque[PendingRequest] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self.waiting = 0

    async def annotate(self, texts: Sequence[str], seconds: float) -> list[str | None]:
        """The lines for the texts of a request.

        Raises:
            RequestError: the queue is full, the time is over, or the work failed.
        """
        if self.waiting + len(texts) > self._queue:
            raise RequestError(f"{self.waiting:,} texts are waiting already; try again in a moment.", 503)
        job = PendingRequest(texts, asyncio.get_running_loop().create_future(), left=len(texts))
        job.lines = [None] * len(texts)
        self._jobs.append(job)
        self.waiting += len(texts)
        self._start_batches()
        try:
            return await asyncio.wait_for(job.done, seconds)
        except TimeoutError:
            raise RequestError(
                f"Not done within {seconds:g} seconds; send fewer texts, or try again.", 503
            ) from None
        finally:
            if job in self._jobs:  # refused: drop the texts that haven't been started
                self._jobs.remove(job)
                self.waiting -= len(texts) - job.taken

    def _start_batches(self) -> None:
        while self._free and self._jobs:
            self._free -= 1
            task = asyncio.create_task(self._work(self._take()))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _take(self) -> list[tuple[PendingRequest, int]]:
        batch: list[tuple[PendingRequest, int]] = []
        characters = 0
        while self._jobs and len(batch) < self._size:
            job = self._jobs[0]
            while job.taken < len(job.texts) and len(batch) < self._size:
                characters += len(job.texts[job.taken])
                if batch and characters > self._characters:
                    return batch
                batch.append((job, job.taken))
                job.taken += 1
                self.waiting -= 1
            self._jobs.popleft()
            if job.taken < len(job.texts):
                self._jobs.append(job)  # to the end: the others first
        return batch

    async def _work(self, batch: list[tuple[PendingRequest, int]]) -> None:
        self._watch(len(batch))
        try:
            lines = await self._run([job.texts[i] for job, i in batch])
        except Exception as error:
            for job, _ in batch:
                if not job.done.done():
                    job.done.set_exception(error)
        else:
            for (job, i), line in zip(batch, lines, strict=True):
                job.lines[i] = line
                job.left -= 1
                if not job.left and not job.done.done():
                    job.done.set_result(job.lines)
        finally:
            self._free += 1
            self._start_batches()
