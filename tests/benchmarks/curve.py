"""Benchmark of the learning curve: is its projection right on real data, and its grid of trainings fast?

From each real set n examples are taken, as if a user had no more. Portions of them are trained with several
seeds, and the curve is projected to 2n, where the true score is known, as the set has more examples. Sets,
labels and several n give many such cases.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import srsly
from spacy.tokens import Doc, DocBin
from thinc.api import Config

from ie.core import stats
from ie.core.errors import UserError
from ie.core.processes import THREADS
from ie.data import records, splits
from ie.data.docs import to_doc
from ie.data.records import Record
from ie.training import jobs
from ie.training.curve import learning_curve, projection
from ie.training.jobs import Cell

ALL = "all"
PERCENTS = (25.0, 50.0, 75.0, 100.0)
# A score moves when it moves by more than seeds move it.
MOVED = 0.01
# Where a rise is asked for: a label with fewer spans in dev has scores too coarse to be right about.
SPANS = 100


@dataclass(frozen=True)
class CurveDataset:
    """A real set, the numbers of examples that are tried as all that a user has, and texts to score on.

    `tuning`: the method's settings were chosen on it, so it proves nothing.
    """

    name: str
    starts: tuple[int, ...]
    tuning: bool
    dev: int = 200


@dataclass(frozen=True)
class ProjectionCase:
    """One question: from the scores of each seed at `sizes`, what will it be at twice the last?

    `truth`: scores of the seeds there. `spans`: annotated spans of the label in dev.
    """

    source: str
    label: str
    sizes: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]
    truth: tuple[float, ...]
    spans: int
    tuning: bool

    @property
    def last(self) -> float:
        """The mean score with all the examples there are."""
        return float(np.mean(self.scores[-1]))

    @property
    def before(self) -> float:
        """The mean score of the portion before it."""
        return float(np.mean(self.scores[-2]))

    @property
    def answer(self) -> float:
        """The mean score with twice as many."""
        return float(np.mean(self.truth))


SOURCES = (
    # Three of four texts of fashion_brands hold no brand: it takes more of them to score on.
    CurveDataset("fire", (144, 288, 576, 1152), True),
    CurveDataset("demo", (92, 184, 368), True),
    CurveDataset("fashion_brands", (152, 304, 608), False, dev=500),
    CurveDataset("crossner_politics", (88, 176, 352), False),
)


def load(source: CurveDataset, data: Path, reviewed: Path, lang: str = "en") -> tuple[list[Doc], list[Doc]]:
    """Training examples in an order of their own, and texts to score them on.

    A set's dev part is for training, its test part for scoring; of the demo corpus dev and test are both for
    scoring. The order is that of a hash of the text.

    Raises:
        UserError: the files aren't there.
    """
    nlp = records.blank(lang)

    def read(path: Path) -> list[Record]:
        return records.accepted(
            records.read_records(
                path,
                tokenizer=nlp.tokenizer,
                misaligned="snap",
                duplicates="first",
                bad_relations="drop",
                report=records.ReadReport(),
            )
        )

    if source.name == "demo":
        split = splits.assign(read(reviewed), [], test_percent=37, dev_percent=10)
        train, checks = split.train, [*split.dev, *split.test]
    else:
        checks = read(data / source.name / "test.jsonl")
        train = [*read(data / source.name / "train.jsonl"), *read(data / source.name / "dev.jsonl")]
    known = {record.text for record in checks}
    unique = {record.text: record for record in train if record.text not in known}
    return (
        [to_doc(record, nlp) for record in _shuffled(list(unique.values()), "a")],
        [to_doc(record, nlp) for record in _shuffled(checks, "dev")[: source.dev]],
    )


def _shuffled(found: Sequence[Record], salt: str) -> list[Record]:
    return sorted(found, key=lambda record: hashlib.sha256(f"{salt} {record.text}".encode()).digest())


def measure(
    source: CurveDataset,
    train: Sequence[Doc],
    dev: Sequence[Doc],
    *,
    seeds: int,
    progress: Callable[[], Any] = lambda: None,
    **options: Any,
) -> dict[str, Any]:
    """Train all cells of a set; F of each, by label, as a JSON object.

    Args:
        options: of `jobs.train_portions` (config, overrides, cache, workers).
    """
    docs = list(train[: 2 * source.starts[-1]])
    texts = [doc.text for doc in docs]
    held = [{ent.label_ for ent in doc.ents} for doc in docs]
    labels = sorted(set().union(*held, *({ent.label_ for ent in doc.ents} for doc in dev)))
    wanted: dict[tuple[int, Cell], list[int]] = {}
    for n in source.starts:
        cells = learning_curve.grid(texts[:n], held[:n], PERCENTS, range(seeds))
        wanted |= {(n, cell): chosen for cell, chosen in cells.items()}
    whole = 2 * source.starts[-1]
    wanted |= {(whole, Cell(100.0, whole, seed)): list(range(whole)) for seed in range(seeds)}
    with tempfile.TemporaryDirectory(prefix="curve-benchmark-") as folder:
        path = Path(folder) / "dev.spacy"
        DocBin(attrs=["ENT_IOB", "ENT_TYPE", "ENT_KB_ID"], store_user_data=False, docs=dev).to_disk(path)
        found = []
        for n in (*source.starts, whole):
            portions = {cell: chosen for (of, cell), chosen in wanted.items() if of == n}
            results = jobs.train_portions(
                portions, docs, dev=path, labels=labels, progress=progress, **options
            )
            found += [_scores(n, cell, result) for cell, result in zip(portions, results, strict=True)]
    gold = [label for doc in dev for label in (ent.label_ for ent in doc.ents)]
    return {
        "dev": len(dev),
        "spans": {ALL: len(gold), **{label: gold.count(label) for label in labels}},
        "cells": found,
    }


def _scores(n: int, cell: Cell, result: dict[str, Any]) -> dict[str, Any]:
    counts = np.array(result["counts"])
    by_label = {label: counts[:, i] for i, label in enumerate(result["labels"])}
    f = {
        label: round(float(np.nan_to_num(stats.prf(table.sum(axis=0))[2])), 5)
        for label, table in {ALL: counts.sum(axis=1), **by_label}.items()
    }
    return {"of": n, "examples": cell.examples, "seed": cell.seed, "f": f}


def cases(measured: dict[str, Any]) -> list[ProjectionCase]:
    """Every case that the measured sets give, micro-averaged and by label."""
    found = []
    for source in SOURCES:
        if source.name not in measured:
            continue
        cells: dict[tuple[int, int], list[dict[str, float]]] = {}
        for cell in measured[source.name]["cells"]:
            cells.setdefault((cell["of"], cell["examples"]), []).append(cell["f"])
        for n in source.starts:
            sizes = tuple(learning_curve.sizes(PERCENTS, n).values())
            if (2 * n, 2 * n) not in cells or not all((n, size) in cells for size in sizes):
                continue
            by_label = measured[source.name]["spans"]
            for label in by_label if len(by_label) > 2 else (ALL,):  # with one label both are the same
                scores = tuple(tuple(f[label] for f in cells[n, size]) for size in sizes)
                truth = tuple(f[label] for f in cells[2 * n, 2 * n])
                found.append(
                    ProjectionCase(source.name, label, sizes, scores, truth, by_label[label], source.tuning)
                )
    return found


@dataclass(frozen=True)
class PredictionErrors:
    """Errors of a predictor: mean absolute error, mean error, share of true scores inside the interval.

    `n`: cases it predicted; `refused`: those it didn't. `half`: mean half-width of the interval.
    """

    name: str
    n: int
    refused: int
    error: float
    bias: float
    coverage: float | None = None
    half: float | None = None


def judge(
    chosen: Sequence[ProjectionCase], settings: projection.ProjectionSettings = projection.SETTINGS
) -> list[PredictionErrors]:
    """The projection and two naive predictors on the same cases: those that the projection doesn't refuse.

    With `settings.widest` at infinity it refuses none for the width of its interval.
    """
    answered = []
    for case in chosen:
        further = projection.project(case.sizes, case.scores, [2 * case.sizes[-1]], settings=settings)
        if not further.refused:
            answered.append((case, further.points[0]))
    refused = len(chosen) - len(answered)
    if not answered:
        return []
    truth = np.array([case.answer for case, _ in answered])
    inside = [point.low <= case.answer <= point.high for case, point in answered]
    # A straight line in the number of examples from the last two points: 75 to 100 %, then on to 200 %.
    slope = [
        (case.last - case.before) / (case.sizes[-1] - case.sizes[-2]) * case.sizes[-1] for case, _ in answered
    ]
    predicted = {
        "projection": np.array([point.f for _, point in answered]),
        "last value": np.array([case.last for case, _ in answered]),
        "line through the last two": np.clip(
            [c.last + s for (c, _), s in zip(answered, slope, strict=True)], 0, 1
        ),
    }
    result = []
    for name, values in predicted.items():
        ours = name == "projection"
        result.append(
            PredictionErrors(
                name,
                len(answered),
                refused if ours else 0,
                float(np.abs(values - truth).mean()),
                float((values - truth).mean()),
                float(np.mean(inside)) if ours else None,
                float(np.mean([(p.high - p.low) / 2 for _, p in answered])) if ours else None,
            )
        )
    return result


def signals(chosen: Sequence[ProjectionCase]) -> dict[str, tuple[int, int]]:
    """How often each signal was right about whether twice the data moves F by more than .01, of how many.

    "the last segment rose" is the rule of thumb; the projection says yes if it expects such a rise.
    """
    right = {"the last segment rose": 0, "projection": 0}
    n = 0
    for case in chosen:
        further = projection.project(case.sizes, case.scores, [2 * case.sizes[-1]])
        if further.refused:
            continue
        n += 1
        moved = case.answer - case.last > MOVED
        right["the last segment rose"] += (case.last > case.before) == moved
        right["projection"] += (further.points[0].f - case.last > MOVED) == moved
    return {name: (hits, n) for name, hits in right.items()}


@dataclass(frozen=True)
class TrainingSpeed:
    """Seconds and memory of the same cells trained both ways; `apart`: largest difference in F."""

    cells: int
    spacy: float
    grid: float
    workers: int
    apart: float
    spacy_mb: float
    worker_mb: float


def race(
    portions: dict[Cell, list[int]],
    docs: Sequence[Doc],
    dev: Path,
    labels: Sequence[str],
    *,
    config: Path,
    overrides: dict[str, Any],
    workers: int,
    progress: Callable[[], Any] = lambda: None,
) -> TrainingSpeed:
    """Time `python -m spacy train` once a cell, one after another, then the grid on the same cells.

    Both on one thread of linear algebra a process, so that cores are used by processes alone.
    """
    alone: list[float] = []
    with tempfile.TemporaryDirectory(prefix="curve-speed-") as folder, peak_memory() as first:
        plain = Config().from_disk(config, interpolate=False)
        # wandb would only slow it down
        plain["training"]["logger"] = {"@loggers": "spacy.ConsoleLogger.v1", "progress_bar": False}
        plain.to_disk(Path(folder) / "plain.cfg")
        spacy_seconds = 0.0
        for cell, chosen in portions.items():
            path = Path(folder) / "train.spacy"
            portion = [docs[i] for i in sorted(chosen)]
            DocBin(attrs=["ENT_IOB", "ENT_TYPE", "ENT_KB_ID"], store_user_data=False, docs=portion).to_disk(
                path
            )
            start = time.perf_counter()
            _spacy_train(Path(folder), dev, cell.seed, overrides)
            spacy_seconds += time.perf_counter() - start
            meta = srsly.read_json(Path(folder) / "out" / "model-best" / "meta.json")
            alone.append(meta["performance"]["ents_f"])
            progress()
    start = time.perf_counter()
    with peak_memory() as second:
        results = jobs.train_portions(
            portions,
            docs,
            config=config,
            dev=dev,
            labels=labels,
            overrides=overrides,
            workers=workers,
            progress=progress,
        )
    grid_seconds = time.perf_counter() - start
    ours = [_scores(0, cell, result)["f"][ALL] for cell, result in zip(portions, results, strict=True)]
    apart = max(abs(a - b) for a, b in zip(alone, ours, strict=True))
    used = workers or jobs.default_workers()
    return TrainingSpeed(len(portions), spacy_seconds, grid_seconds, used, apart, first[0], second[0])


def _spacy_train(folder: Path, dev: Path, seed: int, overrides: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "spacy", "train", str(folder / "plain.cfg")]
    # spaCy takes one file of code, and its config names functions of several of our modules.
    code = folder / "code.py"
    code.write_text("import ie.data.augmentation, ie.data.tokenizer\n", encoding="utf-8")
    command += ["--output", str(folder / "out"), "--code", str(code)]
    given = {"paths.train": folder / "train.spacy", "paths.dev": dev, "system.seed": seed, **overrides}
    command += [part for name, value in given.items() for part in (f"--{name}", str(value))]
    environment = os.environ | dict.fromkeys(THREADS, "1")
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(Path(__file__).parents[2] / "scripts"), os.environ.get("PYTHONPATH")])
    )
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise UserError(f"spacy train failed: {' '.join((done.stderr or done.stdout).split()[-40:])}")


@contextmanager
def peak_memory(every: float = 0.2):
    """A list whose only number is the most resident memory, in MB, of any child process in the block."""
    most, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            for child in psutil.Process().children(recursive=True):
                try:
                    most[0] = max(most[0], child.memory_info().rss / 1e6)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()
