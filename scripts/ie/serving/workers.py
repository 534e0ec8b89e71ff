"""Who does the work: a thread of the server's process, or processes with a pipeline each."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ie.errors import Refused, UserError
from ie.serving import annotating
from ie.serving.settings import Settings

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
        _here["annotate"], _here["about"] = annotating.start(model, *limits)
    except UserError as error:
        _here["fault"] = str(error)


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(0)


def _about() -> dict[str, str]:
    if "fault" in _here:
        raise UserError(_here["fault"])
    return _here["about"]


def _annotate(texts: list[str]) -> list[str | None]:
    return _here["annotate"](texts)


class Workers:
    """Runs batches beside the event loop.

    Args:
        number: processes; 0 for a thread of this process.
    """

    def __init__(self, model: str, number: int, settings: Settings) -> None:
        self.number = number
        # One batch more than can be worked on, so that nobody is idle while an answer is on its way.
        self.slots = max(1, number) + 1
        work = settings.work
        self._arguments = (model, settings.limits.entities, work.warm_texts, work.new_words)
        self._executor: Executor = self._make()

    def _make(self) -> Executor:
        if not self.number:
            return ThreadPoolExecutor(1, "pipeline", initializer=_start, initargs=self._arguments)
        return ProcessPoolExecutor(
            self.number, multiprocessing.get_context("spawn"), initializer=_start, initargs=self._arguments
        )

    async def load(self) -> dict[str, str]:
        """Wait until all have the pipeline; its name and version.

        Raises:
            UserError: it can't be loaded.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.gather(
                *(loop.run_in_executor(self._executor, _about) for _ in range(max(1, self.number)))
            )
        except BrokenProcessPool:
            raise UserError(
                "a process that loads the pipeline was killed; give it more memory, or use fewer workers."
            ) from None
        return found[0]

    async def run(self, texts: Sequence[str]) -> list[str | None]:
        """The lines for a batch of texts.

        Raises:
            Refused: the process that worked on it died.
        """
        executor = self._executor
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, _annotate, list(texts))
        except BrokenProcessPool:
            if self._executor is executor:  # the first who notices
                self._executor = self._make()
            raise Refused("The process that worked on this died; send it again.", 503) from None

    def stop(self) -> None:
        """End; what is still worked on is for nobody any more."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.kill()
