"""Training configs side by side, on the same examples and seeds: what each scores, and what it costs."""

import math
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc
from threadpoolctl import threadpool_limits

from ie.core import stats
from ie.core.errors import UserError
from ie.core.settings import read_config
from ie.core.stats import Estimate, Pair
from ie.core.text import names_in
from ie.evaluation import systems
from ie.evaluation.baselines import predict_with
from ie.training import jobs, loop
from ie.training.curve import learning_curve
from ie.training.jobs import Cell, Result

TIMED_RUNS = 5


@dataclass(frozen=True)
class VariantCost:
    """What a variant costs.

    Attributes:
        mb: size of the pipeline, in 10^6 bytes.
        rates: words per second of each timed run.
        train_seconds, peak_mb: processor seconds of a training on most examples and its peak of memory in
            10^6 bytes, medians over the seeds.
    """

    mb: float
    rates: tuple[float, ...]
    train_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class VariantComparison:
    """Variants trained on one portion.

    Attributes:
        rows: of each variant the row of `learning_curve.rows` for the portion, scored on dev.
        drops: change of F when the dev texts are in lower case; interval over texts.
        pairs: every two variants; `p` and interval hold the noise of texts and of seeds.
    """

    percent: float
    examples: int
    rows: dict[str, dict[str, Any]]
    drops: dict[str, Estimate]
    pairs: list[Pair]

    @property
    def best(self) -> str:
        """The variant with the highest mean F; of equals the one listed first."""
        return max(self.rows, key=lambda name: self.rows[name]["score"])

    @property
    def candidates(self) -> list[str]:
        """The variants that can't be told apart from the best, itself among them, in the order given."""
        apart = {
            name
            for pair in self.pairs
            if pair.differs()
            for name in (pair.first, pair.second)
            if self.best in (pair.first, pair.second)
        }
        return [name for name in self.rows if name == self.best or name not in apart]

    def letters(self, name: str) -> str:
        """Letters of the groups a variant is in; variants that share one can't be told apart."""
        ordered = sorted(self.rows, key=lambda other: -self.rows[other]["score"])
        groups = stats.groups(ordered, self.pairs)
        return "".join(chr(ord("a") + i) for i, group in enumerate(groups) if name in group)


@dataclass(frozen=True)
class Tested:
    """The variant that dev chose, and the first one listed, on test.

    Attributes:
        documents: number of test texts.
        scores: mean F over the seeds of the chosen one and, where that is another, of the first one listed.
        pair: the chosen one against the first; None where they are the same.
    """

    documents: int
    scores: dict[str, Estimate]
    pair: Pair | None


def parse_variants(text: str, folder: Path) -> dict[str, Path]:
    """`"efficient,vectors"` as names with the training config of each in `folder`.

    Raises:
        UserError: no name, one twice, one that trains no entity recogniser, or one whose vectors or weights
            don't exist yet.
    """
    names = names_in(text)
    known = sorted(path.stem for path in folder.glob("*.cfg") if _is_training(path))
    remedy = f"--variants takes some of: {', '.join(known) or 'nothing, as there is none'}."
    if not names:
        raise UserError(f"--variants names no config of {folder}; {remedy}")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--variants names {name!r} twice; {remedy}")
        if name not in known:
            fault = "trains no entity recogniser" if (folder / f"{name}.cfg").exists() else "doesn't exist"
            raise UserError(f"{folder / name}.cfg {fault}; {remedy}")
    variants = {name: folder / f"{name}.cfg" for name in names}
    for path in variants.values():
        loop.check_beginnings(path, read_config(path, interpolate=False))
    return variants


def _is_training(path: Path) -> bool:
    """Whether it trains an entity recogniser: configs of other components are no variants of it."""
    try:
        config = read_config(path, interpolate=False)
    except UserError:  # a broken one is no choice
        return False
    return "training" in config and "ner" in config.get("components", {})


def train_variants(
    variants: Mapping[str, Path],
    portions: Mapping[Cell, Sequence[int]],
    docs: Sequence[Doc],
    *,
    cache: Path,
    workers: int = 0,
    **shared: Any,
) -> tuple[dict[str, list[Result]], dict[str, Path]]:
    """Train every cell of every variant, each in a new process, several at a time.

    Args:
        variants: name to config.
        portions: indices into `docs` of each cell's examples.
        cache: folder that keeps results and pipelines, so that a run that was killed continues.
        workers: as in `jobs.run`. shared: attributes of all trainings, as of `TrainingJob`.

    Returns:
        By variant the results in the order of `portions`, and the pipeline of the first seed on all examples.

    Raises:
        UserError: as `jobs.run`.
    """
    largest = max(portions, key=lambda cell: (cell.examples, -cell.seed))
    trainings = {}
    with tempfile.TemporaryDirectory(prefix="portions-") as folder:
        for name, config in variants.items():
            for job in jobs.portion_jobs(portions, docs, Path(folder), config=config, cache=cache, **shared):
                model = cache / job.key() if job.cell == largest else None
                trainings[name, job.cell] = replace(job, model=model)
        results = jobs.run(list(trainings.values()), workers=workers, fresh=True)
    by_cell = dict(zip(trainings, results, strict=True))
    return (
        {name: [by_cell[name, cell] for cell in portions] for name in variants},
        {name: trainings[name, largest].model / "model-best" for name in variants},
    )


def compare(
    portions: Mapping[Cell, Sequence[int]], results: Mapping[str, Sequence[Result]], labels: Sequence[str]
) -> list[VariantComparison]:
    """The variants side by side, one comparison per portion, from the smallest."""
    cells = list(portions)
    rows = {
        name: {row["percent"]: row for row in learning_curve.rows(cells, measured, labels)}
        for name, measured in results.items()
    }
    comparisons = []
    for percent in sorted({cell.percent for cell in cells}):
        chosen = {name: by_percent[percent] for name, by_percent in rows.items()}
        drops = {
            name: stats.difference(
                sum(_micro(results[name], "lowered", percent)), sum(chosen[name]["counts"])
            )
            for name in results
        }
        comparisons.append(
            VariantComparison(
                percent=percent,
                examples=next(iter(chosen.values()))["examples"],
                rows=chosen,
                drops=drops,
                pairs=pairs({name: row["counts"] for name, row in chosen.items()}),
            )
        )
    return comparisons


def _micro(results: Sequence[Result], name: str, percent: float) -> list[np.ndarray]:
    """(documents, 3) of each training on that portion."""
    return [
        np.array(result[name], dtype=np.int64).sum(axis=1)
        for result in results
        if result["cell"]["percent"] == percent
    ]


def on_test(chosen: str, results: Mapping[str, Sequence[Result]]) -> Tested:
    """What the chosen variant scores on test when trained on most examples, and the first one listed.

    Nothing is chosen by it: the others' counts on test are not looked at.
    """
    largest = max(result["cell"]["percent"] for result in results[chosen])
    counts = {
        name: _micro(results[name], "test", largest) for name in dict.fromkeys((chosen, next(iter(results))))
    }
    compared = pairs(counts)
    return Tested(
        documents=len(counts[chosen][0]),
        scores={name: stats.mean_over_seeds(tables) for name, tables in counts.items()},
        pair=compared[0] if compared else None,
    )


def pairs(
    counts: Mapping[str, Sequence[np.ndarray]],
    chosen: Sequence[tuple[str, str]] | None = None,
    fixed: Collection[str] = (),
) -> list[Pair]:
    """Every two variants on the same texts, Holm-corrected: is the difference beyond noise?

    There are two p: that of texts and seeds together (`stats.difference_over_seeds`), with the noise of the
    seeds pooled over all variants (for a single seed `learning_curve.ONE_SEED`), and that of a paired
    approximate randomisation of the texts, where a text's outputs of all seeds are exchanged together. The
    larger one counts, as the bootstrap is too sure of few texts.

    Args:
        counts: of each variant the (documents, 3) of each seed.
        chosen: the pairs that are asked about; None for all.
        fixed: systems that have no seeds, with the same counts for each.
    """
    noise = stats.seed_noise(tables for name, tables in counts.items() if name not in fixed)
    compared = []
    for first, second in combinations(counts, 2) if chosen is None else chosen:
        trained = sum(name not in fixed for name in (first, second))
        difference, p = stats.difference_over_seeds(
            counts[first], counts[second], noise or learning_curve.ONE_SEED, trained=trained
        )
        by_text = stats.randomisation(*(np.sum(counts[name], axis=0) for name in (first, second)))
        compared.append(Pair(first, second, difference, max(p, by_text)))
    corrected = stats.holm([pair.p for pair in compared])
    return [replace(pair, holm=p) for pair, p in zip(compared, corrected, strict=True)]


def measure(
    models: Mapping[str, Path],
    results: Mapping[str, Sequence[Result]],
    texts: Sequence[str],
    words: int,
) -> dict[str, VariantCost]:
    """What each variant costs.

    Speeds are measured in this process, the variants in turn, so that all see the same load of the machine.

    Args:
        results: of all cells; the trainings with the most examples count.
        texts, words: of the test set.
    """
    predicts = {name: predict_with(spacy.load(folder)) for name, folder in models.items()}
    rates: dict[str, list[float]] = {name: [] for name in models}
    with threadpool_limits(limits=1):
        for turn in range(TIMED_RUNS + 1):
            for name, predict in predicts.items():
                started = perf_counter()
                predict(texts)
                if turn:  # the first run warms up
                    rates[name].append(words / max(perf_counter() - started, 1e-9))
    costs = {}
    for name, cells in results.items():
        most = max(result["cell"]["examples"] for result in cells)
        full = [result["measured"] for result in cells if result["cell"]["examples"] == most]
        costs[name] = VariantCost(
            mb=systems.megabytes(models[name]),
            rates=tuple(rates[name]),
            train_seconds=median(measured["seconds"] for measured in full),
            peak_mb=median(measured["peak_mb"] for measured in full),
        )
    return costs


def recommended(comparison: VariantComparison, mb: Mapping[str, float]) -> str:
    """The smallest (to .1 MB) of those that can't be told from the best; of equals the first listed."""
    return min(comparison.candidates, key=lambda name: round(mb[name], 1))


def front(comparison: VariantComparison, value: Mapping[str, float], *, less: bool) -> list[str]:
    """The Pareto front, from the cheapest: no other variant is better in one of mean F and `value`, and at
    least as good in the other.

    Args:
        less: whether less of `value` is better (megabytes) or more (words per second).
    """
    sign = -1 if less else 1
    points = {name: (row["score"], sign * value[name]) for name, row in comparison.rows.items()}
    best = [
        name
        for name, (f, v) in points.items()
        if not any(of >= f and ov >= v and (of, ov) != (f, v) for of, ov in points.values())
    ]
    return sorted(best, key=lambda name: -points[name][1])


def to_json(
    compared: Sequence[VariantComparison], mb: Mapping[str, float], dev: int, tested: Tested
) -> dict[str, Any]:
    """The comparison as a JSON object, without timings: the same inputs give the same bytes."""
    return {
        "dev": {"documents": dev},
        "mb": {name: round(size, 1) for name, size in mb.items()},
        "portions": [
            {
                "percent": c.percent,
                "examples": c.examples,
                "variants": {
                    name: row["f"].flat("f")
                    | {
                        "sd": None if math.isnan(row["sd"]) else round(row["sd"], 4),
                        "seeds": [round(score, 4) for score in row["scores"]],
                        "labels": {label: estimate.flat("f") for label, estimate in row["labels"].items()},
                        **c.drops[name].flat("lower_case"),
                        "unfinished": row["unfinished"],
                    }
                    for name, row in c.rows.items()
                },
                "pairs": [_pair(pair, holm=round(pair.holm, 4)) for pair in c.pairs],
                "best": c.best,
                "not_told_from_best": c.candidates,
            }
            for c in compared
        ],
        "recommended": recommended(compared[-1], mb),
        "test": {
            "documents": tested.documents,
            "variants": {name: f.flat("f") for name, f in tested.scores.items()},
            "difference": tested.pair and _pair(tested.pair),
        },
    }


def _pair(pair: Pair, **holm: float) -> dict[str, Any]:
    names = {"first": pair.first, "second": pair.second, "p": round(pair.p, 4)}
    return names | holm | pair.difference.flat("difference")


def costs_json(costs: Mapping[str, VariantCost]) -> dict[str, Any]:
    """Speeds, seconds and memory as a JSON object."""
    return {
        name: {
            "words_per_second": round(median(cost.rates)),
            "slowest": round(min(cost.rates)),
            "fastest": round(max(cost.rates)),
            "runs": len(cost.rates),
            "train_seconds": round(cost.train_seconds, 1),
            "peak_mb": round(cost.peak_mb),
        }
        for name, cost in costs.items()
    }
