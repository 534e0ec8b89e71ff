"""How fast texts are annotated: plain `nlp.pipe`, `apply` with workers on this machine, and on Ray; one run.

Each way is a command of its own that is timed from its start to its end on a few and on many texts. Their
difference is what a text takes; what is left of the time is what the start takes, however many there are.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import srsly

from ie.core.errors import UserError
from ie.core.files import atomic_write, json_text
from ie.core.processes import THREADS
from ie.deploy.apply import shard_runner
from ie.deploy.apply.pipeline_worker import ApplySettings, PipelineWorker, peak_mb
from ie.training import assembly

PLAIN = "plain nlp.pipe"
# Shares of the texts that the shorter command gets.
FEW = 0.25


@dataclass(frozen=True)
class Way:
    """A way to annotate texts; `executor` "" for plain nlp.pipe."""

    executor: str
    workers: int

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.executor}, {self.workers}" if self.executor else PLAIN


@dataclass
class Measured:
    """What a way took, a value for each round.

    Attributes:
        few, many: seconds of the two commands.
        peak_mb: memory of one worker at most.
    """

    texts: tuple[int, int]
    words: tuple[int, int] = (0, 0)
    few: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    def rates(self) -> list[float]:
        """Texts a second once it runs, by round."""
        more = self.texts[1] - self.texts[0]
        return [more / max(b - a, 1e-9) for a, b in zip(self.few, self.many, strict=True)]

    def words_a_text(self) -> float:
        """Words of a text on average."""
        return self.words[1] / self.texts[1]

    def starts(self) -> list[float]:
        """Seconds that aren't spent on texts, by round."""
        return [b - self.texts[1] / rate for b, rate in zip(self.many, self.rates(), strict=True)]


def ways(workers: Sequence[int], ray: bool) -> list[Way]:
    """What is compared, the plain pipeline first."""
    executors = ("local", "ray") if ray else ("local",)
    return [Way("", 1), *(Way(executor, n) for executor in executors for n in workers)]


def measure(
    compared: Sequence[Way],
    model: Path,
    texts: Sequence[str],
    *,
    n: int,
    rounds: int,
    shard: int,
    batch_size: int,
    progress: Callable[[], Any] = lambda: None,
) -> dict[Way, Measured]:
    """Time every way in turn, `rounds` times, on `n` texts: those given, again and again.

    Raises:
        UserError: fewer texts than a comparison needs, or a command failed.
    """
    # Whole shards, and as many for each of two workers, or one of them would wait at the end.
    step = 2 * shard
    sizes = max(step, round(n * FEW / step) * step), n // step * step
    if sizes[0] >= sizes[1]:
        raise UserError(f"--n {n}: too few to tell speeds; take {4 * step:,} at least.")
    found = {way: Measured(sizes) for way in compared}
    with tempfile.TemporaryDirectory(prefix="benchmark-apply-") as folder:
        files = [write(Path(folder) / f"{size}.jsonl", texts, size) for size in sizes]
        for _ in range(rounds):
            for way, kept in found.items():
                words = []
                for file, seconds in zip(files, (kept.few, kept.many), strict=True):
                    took, told = timed(way, model, file, shard, batch_size)
                    seconds.append(took)
                    words.append(told["words"])
                kept.words = tuple(words)
                kept.peak_mb.append(told["peak_mb"])
                progress()
    return found


def write(path: Path, texts: Sequence[str], n: int) -> Path:
    """A JSONL file of `n` texts."""
    with atomic_write(path) as file:
        for text in islice(cycle(texts), n):
            file.write(json_text({"text": text}) + "\n")
    return path


def timed(way: Way, model: Path, texts: Path, shard: int, batch_size: int) -> tuple[float, dict[str, Any]]:
    """Seconds of a command, and what it says: `words`, `peak_mb`."""
    command = [sys.executable, "-m", "benchmarks.apply", way.executor, way.workers, model, texts]
    tests = Path(__file__).parents[1]
    path = os.pathsep.join((str(tests.parent / "scripts"), str(tests)))
    # Ray's workers give way to all other processes, which on a busy machine would be measured as their cost.
    equal = {"PYTHONPATH": path, "RAY_worker_niceness": "0"}
    environment = os.environ | dict.fromkeys(THREADS, "1") | equal
    began = time.perf_counter()
    done = subprocess.run(
        list(map(str, [*command, shard, batch_size])),
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        reason = " ".join((done.stdout + done.stderr).split())[-500:]
        raise UserError(f"{way.name}: the command failed ({reason}); fix that first.")
    return seconds, json.loads(done.stdout.splitlines()[-1])


def annotate(way: Way, model: Path, texts: Path, shard: int, batch_size: int) -> dict[str, Any]:
    """Annotate all texts of a file in one way: the `words`, and the memory of a process at most."""
    if not way.executor:
        nlp = assembly.load(model, "train")
        lines = (record["text"] for record in srsly.read_jsonl(texts))
        words = sum(len(doc) for doc in nlp.pipe(lines, batch_size=batch_size))
        return {"words": words, "peak_mb": peak_mb()}
    with tempfile.TemporaryDirectory(prefix="benchmark-apply-") as folder:
        settings = ApplySettings(shard=shard, batch_size=batch_size)
        worker = PipelineWorker(model, settings, way.executor, way.workers)
        summary = shard_runner.run(texts, Path(folder), settings, worker, worker.depends())
        return {"words": summary.words, "peak_mb": max(summary.peak_mb.values())}


def ratio(one: Measured, other: Measured) -> list[float]:
    """How many times as many texts a second `one` does as `other`, by round."""
    return [a / b for a, b in zip(one.rates(), other.rates(), strict=True)]


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, with the least and the greatest value."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def rows(found: dict[Way, Measured]) -> list[tuple[str, ...]]:
    """A row a way for a terminal: texts/s, words/s, times the plain pipeline, start, memory."""
    plain = next(iter(found.values()))
    return [
        (
            way.name,
            spread(m.rates()),
            f"{median(m.rates()) * m.words_a_text():,.0f}",
            spread(ratio(m, plain), 2),
            spread(m.starts(), 1),
            f"{max(m.peak_mb):,.0f}",
        )
        for way, m in found.items()
    ]


def sentences(found: dict[Way, Measured]) -> list[str]:
    """What the ratios say: are two workers twice one, and what does Ray cost beside the plain pipeline?"""
    told = []
    for executor in ("local", "ray"):
        mine = {way.workers: m for way, m in found.items() if way.executor == executor}
        told += [
            f"{executor}: {n} workers do {spread(ratio(m, mine[1]), 2)} times the texts of 1."
            for n, m in mine.items()
            if n > 1 and 1 in mine
        ]
    plain, one = next(iter(found.values())), found.get(Way("ray", 1))
    if one:
        more = [100 * (1 / value - 1) for value in ratio(one, plain)]
        start = [a - b for a, b in zip(one.starts(), plain.starts(), strict=True)]
        told.append(
            f"ray: a text takes {spread(more)} % more than in the plain pipeline, and the start "
            f"{spread(start, 1)} s more."
        )
    return told


def estimate(rate: float, texts: int, *, machines: int, cores: int, price: float | None) -> str:
    """On paper: what so many texts take on machines that each do `rate` texts a second.

    Args:
        price: of a core for an hour, in any currency; None tells no cost.
    """
    hours = texts / rate / 3600

    def two(value: float) -> str:
        """Two digits, as a speed that was measured a few times bears no more."""
        return f"{float(f'{value:.2g}'):,g}"

    told = (
        f"On paper, {texts:.0e} such texts at {two(rate)} texts/s a machine take {two(hours)} machine-hours "
        f"({cores} cores each): {two(hours / machines)} hours on {machines:,} machines"
    )
    if price is None:
        return f"{told}."
    return f"{told}, {two(hours * cores)} core-hours at {price:g}: {two(hours * cores * price)}."


def to_json(found: dict[Way, Measured]) -> dict[str, Any]:
    """All figures, for a file."""
    return {
        way.name: {
            "texts": m.texts,
            "words": m.words,
            "seconds_few": m.few,
            "seconds_many": m.many,
            "texts_per_second": m.rates(),
            "start_seconds": m.starts(),
            "peak_mb": m.peak_mb,
        }
        for way, m in found.items()
    }


if __name__ == "__main__":
    executor, workers, model, texts, shard, batch_size = sys.argv[1:]
    told = annotate(Way(executor, int(workers)), Path(model), Path(texts), int(shard), int(batch_size))
    print(json_text(told))
