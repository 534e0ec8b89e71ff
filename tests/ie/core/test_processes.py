import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

import pytest

from ie.core.processes import AHEAD, pool, unordered


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_items_are_taken_as_they_are_needed():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(-20, 0):
            taken.append(i)
            yield i

    done = []
    for result in unordered(abs, items(), 2):
        done.append(result)
        assert len(taken) <= len(done) + 2 * AHEAD
    assert sorted(done) == list(range(1, 21))


@pytest.mark.slow
def test_a_worker_that_was_killed_is_no_silence():
    with pytest.raises(BrokenProcessPool):
        list(unordered(die, [1, 2], 1))


def test_a_block_that_fails_ends_its_workers():
    with suppress(KeyboardInterrupt), pool(1) as executor:
        executor.submit(time.sleep, 60)
        workers = list(executor._processes.values())
        raise KeyboardInterrupt
    assert [worker.exitcode for worker in workers] == [-signal.SIGTERM]
