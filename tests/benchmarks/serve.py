"""Figures of the service, from the real command on loopback: its speed beside `nlp.pipe`, and its memory."""

import asyncio
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import psutil
from spacy.language import Language

from ie.core.errors import UserError

COMMAND = Path(__file__).parents[2] / "scripts" / "serve.py"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class ServiceProcess:
    """The command in a process of its own; `url` is what it printed, `log` the file that it logs to."""

    def __init__(
        self, model: str, settings: Path, folder: Path, *, port: int = 0, workers: int = 1, **more: object
    ) -> None:
        self.log = folder / "log"
        options = ["--model", model, "--settings", settings, "--workers", workers, "--port", port]
        options += [word for name, value in more.items() for word in (f"--{name}", value)]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(COMMAND), *map(str, options)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout
        told = self.process.stdout.readline()
        found = re.search(r"http://localhost:(\d+)", told)
        if not found:
            rest = told + self.process.communicate()[0] + self.log.read_text("utf-8")
            raise UserError(f"the service didn't start: {' '.join(rest.split())}")
        self.url, self.port = found[0], int(found[1])

    def wait(self, seconds: float = 300) -> None:
        """Until it is ready.

        Raises:
            UserError: it never is.
        """
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            if httpx2.get(f"{self.url}/ready").status_code == 200:
                return
            time.sleep(0.1)
        raise UserError(f"the service isn't ready: {self.log.read_text('utf-8')[-500:]}")

    def _all(self) -> list[psutil.Process]:
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def cpu(self) -> float:
        """Seconds of processor time that its processes took: what a busy machine changes least."""
        return sum(sum(process.cpu_times()[:2]) for process in self._all())

    def memory(self) -> float:
        """Resident MB of its processes."""
        return sum(process.memory_info().rss for process in self._all()) / 1e6

    def stop(self) -> int:
        """Its exit status after SIGTERM."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            if self.process.stdout:
                self.process.stdout.close()


async def load(
    url: str, requests: Iterator[list[str]], connections: int, seconds: float
) -> tuple[list[float], int, float]:
    """Ask one request after the other on each connection.

    Returns:
        The seconds of each answer, the texts annotated, and the seconds of all.

    Raises:
        UserError: a request was refused.
    """
    times: list[float] = []
    texts = 0
    begun = time.perf_counter()

    async def ask(client: httpx2.AsyncClient) -> None:
        nonlocal texts
        while time.perf_counter() - begun < seconds:
            sent = next(requests)
            at = time.perf_counter()
            answer = await client.post("/annotate", json={"texts": sent})
            times.append(time.perf_counter() - at)
            if answer.status_code != 200:
                raise UserError(f"the service refused a request: {answer.text}")
            texts += len(sent)

    limits = httpx2.Limits(max_connections=connections)
    async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=120) as client:
        await asyncio.gather(*(ask(client) for _ in range(connections)))
    return times, texts, time.perf_counter() - begun


def inside(nlp: Language, texts: Sequence[str], batch: int, seconds: float) -> tuple[float, float]:
    """Texts per second of `nlp.pipe` in this process, and milliseconds of processor time a text."""
    begun, busy, n = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < seconds:
        n += sum(1 for _ in nlp.pipe(texts[: 4 * batch], batch_size=batch))
        texts = [*texts[4 * batch :], *texts[: 4 * batch]]
    return n / (time.perf_counter() - begun), 1000 * (time.process_time() - busy) / n


def measure(
    nlp: Language,
    server: ServiceProcess,
    texts: Sequence[str],
    *,
    sizes: Sequence[int],
    batch: int,
    connections: int,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Speed: rounds of `nlp.pipe` here and of requests of each size take turns, so that a machine that has
    other work slows all alike.
    """
    here: list[tuple[float, float]] = []
    asked: dict[int, list[tuple[list[float], float, float]]] = {size: [] for size in sizes}
    ratios: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(rounds + 1):
        here.append(inside(nlp, texts, batch, seconds))
        for size in sizes:
            source = cycle(texts)
            requests = iter(lambda size=size, source=source: list(islice(source, size)), None)
            before = server.cpu()
            times, n, taken = asyncio.run(load(server.url, requests, connections, seconds))
            asked[size].append((times, n / taken, 1000 * (server.cpu() - before) / n))
        if number == 0:  # caches are filled
            here.clear()
            for found in asked.values():
                found.clear()
    found: dict[str, Any] = {"pipe_texts_per_s": median(speed for speed, _ in here)}
    found["pipe_cpu_ms_per_text"] = median(cpu for _, cpu in here)
    for size, runs in asked.items():
        ratios[size] = sorted(speed / own for (_, speed, _), (own, _) in zip(runs, here, strict=True))
        times = sorted(t for part, _, _ in runs for t in part)
        found[f"size_{size}"] = {
            "texts_per_s": median(speed for _, speed, _ in runs),
            "ratio": median(ratios[size]),
            "ratio_low": ratios[size][0],
            "ratio_high": ratios[size][-1],
            "cpu_ms_per_text": median(cpu for _, _, cpu in runs),
            "p50_ms": 1000 * times[len(times) // 2],
            "p99_ms": 1000 * times[int(0.99 * len(times))],
            "requests": len(times),
        }
    return found


def soak(
    server: ServiceProcess,
    texts: Sequence[str],
    *,
    size: int,
    connections: int,
    minutes: float,
    seed: int,
    told: Callable[[float], object],
) -> dict[str, Any]:
    """Memory while every text brings words that were never seen.

    Args:
        told: called with the seconds of each step.

    Returns:
        MB when ready, after a tenth of the time, at the end and at most; and the number of texts.
    """
    rng = random.Random(seed)

    def make() -> list[str]:
        made = []
        for text in rng.choices(texts, k=size):
            words = text.split()
            for place in rng.sample(range(len(words)), k=max(1, len(words) // 3)):
                words[place] = "".join(rng.choices(LETTERS, k=9)).title()
            made.append(" ".join(words))
        return made

    requests = iter(make, None)
    at_start = server.memory()
    steps, n = [], 0
    begun = time.monotonic()
    while (left := 60 * minutes - (time.monotonic() - begun)) > 0:
        _, done, taken = asyncio.run(load(server.url, requests, connections, min(left, 6 * minutes)))
        n += done
        steps.append(server.memory())
        told(taken)
    return {
        "ready_mb": at_start,
        "start_mb": steps[0],
        "end_mb": steps[-1],
        "most_mb": max(steps),
        "minutes": minutes,
        "texts": n,
    }
