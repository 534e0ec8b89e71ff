"""Configs side by side: what each costs and what it scores, trained alike on the same examples and seeds."""

import math
import resource
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, product
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import spacy
from spacy.tokens import Doc
from threadpoolctl import threadpool_limits

from ie.core import stats
from ie.core.errors import UserError
from ie.core.files import sha256_file
from ie.core.settings import read_config
from ie.core.stats import Estimate, Pair
from ie.core.text import names_in
from ie.data import records
from ie.data.docs import from_doc, read_docs
from ie.data.records import Record
from ie.evaluation import perturbations, scoring, systems
from ie.evaluation.baselines import predict_with
from ie.training import jobs, loop
from ie.training.curve import learning_curve
from ie.training.jobs import Cell, Result, TrainingJob


@dataclass(frozen=True)
class VariantJob(TrainingJob):
    """A cell of one variant, scored on dev and test; folder `model` keeps the pipeline, None for nowhere."""

    test: Path = Path()
    model: Path | None = None


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
        rows: of each variant the row of `curves.rows` for the portion, scored on dev.
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
        UserError: no name, one twice, or one that trains no entity recogniser.
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
    return {name: folder / f"{name}.cfg" for name in names}


def require_prepared(variants: Mapping[str, Path]) -> None:
    """Refuse a variant whose vectors or weights haven't been made, before any other is trained.

    Raises:
        UserError: naming the config and what it lacks.
    """
    for path in variants.values():
        loop.check_beginnings(path, read_config(path, interpolate=False))


def _is_training(path: Path) -> bool:
    """Whether it trains an entity recogniser: configs of other components are no variants of it."""
    try:
        config = read_config(path, interpolate=False)
    except UserError:  # a broken one is no choice
        return False
    return "training" in config and "ner" in config.get("components", {})


def read_gold(path: Path) -> list[Record]:
    """The accepted records of a test file.

    Raises:
        UserError: none, or none with a span; no such file.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file; run `weasel run split` first.")
    gold = records.accepted(records.read_records(path, allow_empty=True))
    scoring.require_scorable(gold, path)
    return gold


def train_variant(job: VariantJob) -> Result:
    """Train one cell in this process, which must do nothing else, and score it on dev and test.

    Returns:
        Beside what `grid.train_cell` returns, with `counts` on dev: `lowered` ((documents, 3) on dev in lower
        case), `test` ((documents, 3)), `seconds` of this process for the training, and its `peak_mb`.
    """
    with tempfile.TemporaryDirectory(prefix="variant-") as temporary:
        folder = job.model or Path(temporary)
        started = process_time()
        scores = jobs.train_to(job, folder)
        seconds = process_time() - started
        predict = predict_with(spacy.load(folder / "model-best"))
        dev = [from_doc(doc) for doc in read_docs(job.dev)]
        small = [perturbations.recased(record, str.lower) for record in dev]
        counts, lower, test = (
            scoring.count(wanted, predict([record.text for record in wanted]), job.labels)
            for wanted in (dev, small, read_gold(job.test))
        )
    # Linux counts in KB, macOS in bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    result = {
        "cell": asdict(job.cell),
        "unfinished": jobs.unfinished(scores),
        "labels": list(job.labels),
        "counts": counts.tolist(),
        "lowered": lower.sum(axis=1).tolist(),
        "test": test.sum(axis=1).tolist(),
        "seconds": seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }
    jobs.keep(job, result)
    return result


def train_all(
    variants: Mapping[str, Path],
    portions: Mapping[Cell, Sequence[int]],
    docs: Sequence[Doc],
    *,
    dev: Path,
    test: Path,
    labels: Sequence[str],
    cache: Path,
    overrides: dict[str, Any] | None = None,
    gpu_id: int = -1,
    workers: int = 0,
    started: Callable[[int], Any] = lambda reused: None,
    progress: Callable[[], Any] = lambda: None,
) -> tuple[dict[str, list[Result]], dict[str, Path]]:
    """Train every cell of every variant, each in a fresh process, several at a time.

    Args:
        variants: name to config.
        portions: indices into `docs` of each cell's examples.
        cache: folder that keeps what was finished, so that a run that was killed goes on where it was.
        workers: processes; 0 for one a core as far as the memory goes.
        started, progress: told the number of kept cells, and when another is done.

    Returns:
        By variant the results in the order of `portions`, and the pipeline of the first seed on all examples.

    Raises:
        UserError: a training failed, was killed, or the user interrupted; what was finished is kept.
    """
    largest = max(portions, key=lambda cell: (cell.examples, -cell.seed))
    also = (sha256_file(test),)
    with tempfile.TemporaryDirectory(prefix="portions-") as folder:
        trainings: dict[tuple[str, Cell], VariantJob] = {}
        for (name, config), (cell, chosen) in product(variants.items(), portions.items()):
            job = VariantJob(
                cell=cell,
                config=config,
                train=jobs.write_portion(Path(folder), docs, chosen),
                dev=dev,
                labels=tuple(labels),
                overrides=overrides or {},
                gpu_id=gpu_id,
                cache=cache,
                also=also,
                test=test,
            )
            if cell == largest:
                job = replace(job, model=cache / jobs.key(job))
            trainings[name, cell] = job
        found = {key: result for key, job in trainings.items() if (result := _kept(job))}
        started(len(found))
        # The largest go first, so that no core is left waiting for one that started last.
        left = sorted((key for key in trainings if key not in found), key=lambda key: -key[1].examples)

        def done(i: int, result: Result) -> None:
            found[left[i]] = result
            progress()

        todo = [(i, trainings[key]) for i, key in enumerate(left)]
        try:
            if todo:
                trains = [job.train for _, job in todo]
                processes = min(workers or jobs.default_workers(gpu_id, trains), len(todo))
                jobs.on_cores(todo, processes, done, work=train_variant, cells_per_worker=1)
        except KeyboardInterrupt:
            raise UserError(
                f"interrupted: {len(found)} of {len(trainings)} trainings are done and kept in {cache}; run "
                "the same command again to go on."
            ) from None
    results = {name: [found[name, cell] for cell in portions] for name in variants}
    return results, {name: trainings[name, largest].model / "model-best" for name in variants}


def _kept(job: VariantJob) -> Result | None:
    if job.model and not (job.model / "model-best" / "meta.json").exists():
        return None
    return jobs.kept(job)


def compare(
    portions: Mapping[Cell, Sequence[int]], results: Mapping[str, Sequence[Result]], labels: Sequence[str]
) -> list[VariantComparison]:
    """The variants side by side, one comparison a portion, from the smallest."""
    cells = list(portions)
    rows = {
        name: {row["percent"]: row for row in learning_curve.rows(cells, found, labels)}
        for name, found in results.items()
    }
    compared = []
    for percent in sorted({cell.percent for cell in cells}):
        chosen = {name: by_percent[percent] for name, by_percent in rows.items()}
        drops = {}
        for name, found in results.items():
            small = [
                np.array(r["lowered"])
                for cell, r in zip(cells, found, strict=True)
                if cell.percent == percent
            ]
            drops[name] = stats.difference(sum(small), sum(chosen[name]["counts"]))
        compared.append(
            VariantComparison(
                percent=percent,
                examples=next(iter(chosen.values()))["examples"],
                rows=chosen,
                drops=drops,
                pairs=pairs({name: row["counts"] for name, row in chosen.items()}),
            )
        )
    return compared


def on_test(
    chosen: str, portions: Mapping[Cell, Sequence[int]], results: Mapping[str, Sequence[Result]]
) -> Tested:
    """What the chosen variant scores on test when trained on most examples, and the first one listed.

    Nothing is chosen by it: the others' counts on test are not looked at.
    """
    largest = max(cell.percent for cell in portions)
    counts = {
        name: [
            np.array(result["test"], dtype=np.int64)
            for cell, result in zip(portions, results[name], strict=True)
            if cell.percent == largest
        ]
        for name in dict.fromkeys((chosen, next(iter(results))))
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

    The p of texts and seeds together (`statistics.combined`), with the noise of the seeds pooled over all
    variants (a single seed gets what others measured, `curves.ONE_SEED`), or that of paired approximate
    randomisation of the texts, where a text's outputs of all seeds are exchanged together: the larger one,
    as the bootstrap is too sure of few texts.

    Args:
        counts: of each variant the (documents, 3) of each seed.
        chosen: the pairs that are asked about; None for all.
        fixed: systems that have no seeds, with the same counts for each.
    """
    noise = stats.seed_noise(tables for name, tables in counts.items() if name not in fixed)
    found = []
    for first, second in combinations(counts, 2) if chosen is None else chosen:
        trained = sum(name not in fixed for name in (first, second))
        difference, p = stats.difference_over_seeds(
            counts[first], counts[second], noise or learning_curve.ONE_SEED, trained=trained
        )
        by_text = stats.randomisation(*(np.sum(counts[name], axis=0) for name in (first, second)))
        found.append(Pair(first, second, difference, max(p, by_text)))
    corrected = stats.holm([pair.p for pair in found])
    return [replace(pair, holm=p) for pair, p in zip(found, corrected, strict=True)]


def measure(
    models: Mapping[str, Path],
    results: Mapping[str, Sequence[Result]],
    texts: Sequence[str],
    words: int,
    *,
    repeats: int,
) -> dict[str, VariantCost]:
    """What each variant costs; speeds are taken in this process, the variants in turn, so that all of them
    see the same load of the machine.

    Args:
        results: of all cells; the trainings with the most examples count.
        texts, words: of the test set.
        repeats: timed runs of each variant, after one that warms up.
    """
    predicts = {name: predict_with(spacy.load(folder)) for name, folder in models.items()}
    rates: dict[str, list[float]] = {name: [] for name in models}
    with threadpool_limits(limits=1):
        for turn in range(repeats + 1):
            for name, predict in predicts.items():
                started = perf_counter()
                predict(texts)
                if turn:
                    rates[name].append(words / max(perf_counter() - started, 1e-9))
    found = {}
    for name, cells in results.items():
        most = max(result["cell"]["examples"] for result in cells)
        full = [result for result in cells if result["cell"]["examples"] == most]
        found[name] = VariantCost(
            mb=systems.megabytes(models[name]),
            rates=tuple(rates[name]),
            train_seconds=median(result["seconds"] for result in full),
            peak_mb=median(result["peak_mb"] for result in full),
        )
    return found


def recommended(comparison: VariantComparison, mb: Mapping[str, float]) -> str:
    """The smallest (to .1 MB) of those that can't be told from the best; of equals the first listed."""
    return min(comparison.candidates, key=lambda name: round(mb[name], 1))


def front(comparison: VariantComparison, value: Mapping[str, float], *, less: bool) -> list[str]:
    """The Pareto front: variants than which none is better in mean F and at least as good in `value`, or
    the other way round; from the cheapest.

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
                "pairs": [
                    {"first": p.first, "second": p.second, "p": round(p.p, 4), "holm": round(p.holm, 4)}
                    | p.difference.flat("difference")
                    for p in c.pairs
                ],
                "best": c.best,
                "not_told_from_best": c.candidates,
            }
            for c in compared
        ],
        "recommended": recommended(compared[-1], mb),
        "test": {
            "documents": tested.documents,
            "variants": {name: f.flat("f") for name, f in tested.scores.items()},
            "difference": tested.pair
            and {"first": tested.pair.first, "second": tested.pair.second, "p": round(tested.pair.p, 4)}
            | tested.pair.difference.flat("difference"),
        },
    }


def costs_json(found: Mapping[str, VariantCost]) -> dict[str, Any]:
    """Speeds, seconds and memory as a JSON object."""
    return {
        name: {
            "words_per_second": round(median(cost.rates)) if cost.rates else None,
            "slowest": round(min(cost.rates)) if cost.rates else None,
            "fastest": round(max(cost.rates)) if cost.rates else None,
            "runs": len(cost.rates),
            "train_seconds": round(cost.train_seconds, 1),
            "peak_mb": round(cost.peak_mb),
        }
        for name, cost in found.items()
    }
