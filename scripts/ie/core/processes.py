"""Parallel work in processes of this machine, which end when their parent does."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
# Linear algebra on one thread per worker, so that workers don't compete for the cores.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
# Items handed out per worker: one to work on, and one that waits, so that no worker waits.
AHEAD = 2


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def unordered(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    *,
    tasks_per_worker: int | None = None,
) -> Iterator[Result]:
    """`work` for each item in that many processes; results as they come.

    Items are taken as they are needed, so that millions of them needn't fit into memory. A killed worker is a
    BrokenProcessPool.

    Args:
        tasks_per_worker: a worker is replaced after so many items; None for never.
    """
    left = iter(items)
    with one_thread_each(), pool(processes, tasks_per_worker) as executor:
        waiting = {executor.submit(work, item) for item in islice(left, AHEAD * processes)}
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in finished:
                result = future.result()
                waiting |= {executor.submit(work, item) for item in islice(left, 1)}
                yield result


@contextmanager
def pool(
    workers: int, tasks_per_worker: int | None = None, *, abandon: bool = False
) -> Iterator[ProcessPoolExecutor]:
    """Processes that are ended at once if the block fails or is interrupted.

    Args:
        abandon: end them at once at the end of the block too, whatever they are working on.
    """
    # A new interpreter each: a fork of a process with threads (tqdm's, BLAS's) may hang.
    executor = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_follow_parent,
        max_tasks_per_child=tasks_per_worker,
    )
    finished = False
    try:
        yield executor
        finished = not abandon
    finally:
        if not finished:
            for process in list((executor._processes or {}).values()):
                process.terminate()
        executor.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, which ends its workers with one sentence; end with it if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that start inside the block use one thread for linear algebra."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
