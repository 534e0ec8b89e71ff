"""Does a pipeline keep its score when the texts, the seed or the batches change? (slides 50-54)"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, median, stdev
from time import perf_counter
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from threadpoolctl import threadpool_limits

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import Estimate
from ie.core.text import names_in
from ie.data.docs import from_doc
from ie.data.records import Record
from ie.evaluation import scoring
from ie.evaluation.perturbations import Perturbed
from ie.evaluation.scoring import ALL
from ie.training import jobs, loop

# (documents, labels, 3) by name of the perturbation
Counts = dict[str, np.ndarray]


@dataclass(frozen=True)
class Change:
    """F under a perturbation, and how far that is from F on the texts as they are.

    `difference`: perturbed minus original, paired on the same documents. `p`: of no difference, by paired
    randomisation; `holm` is corrected for all that were tested together, NaN where nothing was.
    """

    f: Estimate
    difference: Estimate
    p: float = float("nan")
    holm: float = float("nan")

    def verdict(self) -> str:
        """`falls`, `rises`, `not told apart`, or that nothing can be said."""
        if not self.f.value > 0 and not abs(self.difference.value) > 0:
            return "finds nothing either way"
        if np.isnan(self.holm) or self.holm >= 1 - stats.CONFIDENCE:
            return "not told apart"
        return "falls" if self.difference.value < 0 else "rises"


@dataclass(frozen=True)
class BatchScore:
    """Predictions in batches of `size`, against those in the first size that was tried.

    `texts`: how many differ. `f`: by how much F does. `vectors`: largest difference of a number in the token
    vectors, None where the pipeline has none. `seconds`: of each timed run over all texts.
    """

    size: int
    texts: int
    f: float
    vectors: float | None
    seconds: list[float]


@dataclass
class Robustness:
    """All that was measured; by system, then by perturbation ("original" first).

    `labels` are the changes of the inspected system by perturbation and label; `seeds` the scores of each
    seed by perturbation; `seedless` why there is none but the system's own, "" if that was wanted.
    """

    gold: list[Record]
    inspected: str
    titles: dict[str, str]
    missing: dict[str, str]
    perturbed: list[Perturbed]
    changes: dict[str, dict[str, Change]]
    labels: dict[str, dict[str, Change]]
    seeds: dict[str, list[float]]
    first_seed: int
    batches: list[BatchScore]
    words: int
    notes: list[str] = field(default_factory=list)
    seedless: str = ""


def parse_sizes(text: str) -> list[int]:
    """`"1,8,64"` as numbers.

    Raises:
        UserError: something isn't a whole number above 0, or there is none.
    """
    parts = names_in(text)
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise UserError(f"--batch-sizes {text!r} must be whole numbers above 0, such as 1,8,64.")
    return list(dict.fromkeys(map(int, parts)))


def counts(nlp: Language, perturbed: Sequence[Perturbed], labels: Sequence[str]) -> Counts:
    """Hits and misses of a pipeline on the texts, as they are and perturbed."""
    found = {}
    for each in perturbed:
        answers = each.divided([from_doc(doc) for doc in nlp.pipe(each.texts())])
        found[each.name] = scoring.count(each.records, answers, labels)
    return found


def changes(systems: Mapping[str, Counts], *, seed: int = 0) -> dict[str, dict[str, Change]]:
    """Each system's micro F under each perturbation, Holm-corrected over all systems and perturbations."""
    found: dict[str, dict[str, Change]] = {}
    p: dict[tuple[str, str], float] = {}
    for system, by_name in systems.items():
        original = by_name["original"].sum(axis=1)
        found[system] = {}
        for name, table in by_name.items():
            found[system][name] = _change(table.sum(axis=1), original, seed)
            if name != "original":
                p[system, name] = stats.randomisation(table.sum(axis=1), original, seed=seed)
    for (system, name), holm in zip(p, stats.holm(list(p.values())), strict=True):
        measured = found[system][name]
        found[system][name] = Change(measured.f, measured.difference, p[system, name], holm)
    return found


def by_label(found: Counts, labels: Sequence[str], *, seed: int = 0) -> dict[str, dict[str, Change]]:
    """F of each label under each perturbation, with intervals and without a test."""
    original = found["original"]
    return {
        name: {label: _change(table[:, i], original[:, i], seed) for i, label in enumerate(labels)}
        for name, table in found.items()
    }


def _change(perturbed: np.ndarray, original: np.ndarray, seed: int) -> Change:
    f = stats.intervals(perturbed, seed=seed)[2]
    # a label that neither side has anything of: no difference, and nothing known of it
    if not perturbed.any() and not original.any():
        return Change(f, Estimate(float("nan"), float("nan"), float("nan")))
    return Change(f, stats.difference(perturbed, original, seed=seed))


def over_seeds(
    config: Path,
    train: Path,
    dev: Path,
    perturbed: Sequence[Perturbed],
    labels: Sequence[str],
    *,
    seeds: Sequence[int],
    overrides: dict[str, Any],
    gpu_id: int = -1,
    workers: int = 0,
    progress: Callable[[], Any] = lambda: None,
) -> dict[int, Counts]:
    """Train the config once a seed, as many at a time as there are cores, and count each on all texts.

    Raises:
        UserError: a training failed, or was killed.
    """
    if not seeds:
        return {}
    workers = min(len(seeds), workers or jobs.default_workers(gpu_id, [train]))
    given = (config, train, dev, list(perturbed), list(labels), overrides, gpu_id)
    found: dict[int, Counts] = {}

    def done(seed: int, result: Counts) -> None:
        found[seed] = result
        progress()

    jobs.on_cores(
        ((seed, seed) for seed in seeds), workers, done, work=partial(_train_and_count, *given), kept=False
    )
    return {seed: found[seed] for seed in seeds}


def _train_and_count(
    config: Path,
    train: Path,
    dev: Path,
    perturbed: list[Perturbed],
    labels: list[str],
    overrides: dict[str, Any],
    gpu_id: int,
    seed: int,
) -> Counts:
    with tempfile.TemporaryDirectory(prefix="robustness-") as folder:
        loop.train(
            config,
            train=train,
            dev=dev,
            output=Path(folder),
            overrides=overrides,
            seed=seed,
            gpu_id=gpu_id,
        )
        with threadpool_limits(limits=1):
            return counts(spacy.load(Path(folder) / "model-best"), perturbed, labels)


def micro_f(found: Counts) -> dict[str, float]:
    """F of all labels together by perturbation; 0 where nothing was found and nothing was there."""
    return {name: float(np.nan_to_num(stats.prf(table.sum(axis=(0, 1)))[2])) for name, table in found.items()}


def batches(
    nlp: Language, gold: Sequence[Record], labels: Sequence[str], sizes: Sequence[int], *, repeats: int
) -> list[BatchScore]:
    """The same texts in batches of each size: do the answers stay, and how fast is it?"""
    texts = [record.text for record in gold]
    first: tuple[list[Record], list[np.ndarray], float] | None = None
    found = []
    with threadpool_limits(limits=1):
        for size in sizes:
            docs = list(nlp.pipe(texts, batch_size=size))
            answers = [from_doc(doc) for doc in docs]
            vectors = [np.asarray(doc.tensor) for doc in docs]
            f = micro_f({ALL: scoring.count(gold, answers, labels)})[ALL]
            first = first or (answers, vectors, f)
            seconds = []
            for _ in range(repeats):
                started = perf_counter()
                for _ in nlp.pipe(texts, batch_size=size):
                    pass
                seconds.append(perf_counter() - started)
            apart = [
                float(np.abs(a - b).max())
                for a, b in zip(vectors, first[1], strict=True)
                if a.size and a.shape == b.shape
            ]
            differ = sum(a.spans != b.spans for a, b in zip(answers, first[0], strict=True))
            found.append(BatchScore(size, differ, f - first[2], max(apart, default=None), seconds))
    return found


def words_per_second(batch: BatchScore, words: int) -> tuple[float, float, float] | None:
    """Median, slowest and fastest run; None if none was timed."""
    rates = [words / max(seconds, 1e-9) for seconds in batch.seconds]
    return (median(rates), min(rates), max(rates)) if rates else None


def spread(scores: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (over n - 1) of scores; the latter NaN for a single one."""
    return fmean(scores), stdev(scores) if len(scores) > 1 else float("nan")


def to_json(result: Robustness) -> dict[str, Any]:
    """Everything but the timings: the same inputs give the same bytes."""
    n = len(result.gold)

    def change(found: Change) -> dict[str, Any]:
        tested = {} if np.isnan(found.p) else {"p": round(found.p, 4), "holm": round(found.holm, 4)}
        return found.f.flat("f") | found.difference.flat("change") | tested

    seeds = {}
    for name, scores in result.seeds.items():
        mean, sd = spread(scores)
        seeds[name] = {
            "scores": [round(score, 4) for score in scores],
            "mean": round(mean, 4),
            "sd": None if np.isnan(sd) else round(sd, 4),
        }
    return {
        "documents": n,
        "spans": sum(len(record.spans) for record in result.gold),
        "inspected": result.inspected,
        "missing": result.missing,
        "perturbations": {
            each.name: {
                "title": each.title,
                "texts_changed": each.changed(result.gold),
                "systems": {s: change(by_name[each.name]) for s, by_name in result.changes.items()},
                "labels": {label: change(c) for label, c in result.labels.get(each.name, {}).items()},
            }
            for each in result.perturbed
        },
        "seeds": {"first": result.first_seed, "f": seeds},
        "batches": [
            {
                "size": batch.size,
                "texts_that_differ": batch.texts,
                "f_difference": round(batch.f, 6) + 0.0,
                "vectors_differ_by": None if batch.vectors is None else float(f"{batch.vectors:.0e}"),
            }
            for batch in result.batches
        ],
        "notes": result.notes,
    }


def speeds(result: Robustness) -> dict[str, Any]:
    """Words per second by batch size: median, slowest and fastest run."""
    return {
        str(batch.size): {
            "words_per_second": round(rates[0]),
            "slowest": round(rates[1]),
            "fastest": round(rates[2]),
            "runs": len(batch.seconds),
            "words": result.words,
        }
        for batch in result.batches
        if (rates := words_per_second(batch, result.words))
    }


def summary(result: Robustness) -> list[str]:
    """What the tables say, one sentence each."""
    n = len(result.gold)
    told = []
    own = {name: c for name, c in result.changes[result.inspected].items() if name != "original"}
    titles = {each.name: each.title for each in result.perturbed}
    falls = [name for name in own if own[name].verdict() == "falls"]
    start = f"{result.titles[result.inspected]} (n={n:,} texts)"
    if all(c.verdict() == "finds nothing either way" for c in own.values()):
        told.append(f"{start} finds nothing, so nothing can be said of its robustness.")
    elif falls:
        worst = min(falls, key=lambda name: own[name].difference.value)
        moved = stats.format_difference(own[worst].difference, n)
        told.append(
            f"{start} loses most to {titles[worst]}: F changes by {moved}. It falls beyond noise in "
            f"{len(falls)} of {len(own)} perturbations."
        )
    elif not stats.digits(n):
        told.append(f"{start}: so few texts can't show what a perturbation does; review more for test.")
    else:
        told.append(f"{start}: no perturbation lowers F by more than noise; fewer texts see less.")
    scores, places = result.seeds["original"], stats.fine_digits(n)
    if result.seedless:
        told.append(result.seedless)
    elif len(scores) > 1:
        mean, sd = spread(scores)
        told.append(
            f"Over {len(scores)} seeds F is {stats.decimals(mean, places)} with a standard deviation of "
            f"{stats.decimals(sd, places)}; two trainings that differ by no more may differ by luck."
        )
    else:
        told.append("One seed shows no spread: choose 3 or more with --seeds.")
    differing = [batch for batch in result.batches[1:] if batch.texts]
    if len(result.batches) > 1:
        sizes = ", ".join(str(batch.size) for batch in result.batches)
        told.append(
            f"Batches of {sizes}: the answers are the same on all {n:,} texts."
            if not differing
            else f"Batches of {sizes}: up to {max(b.texts for b in differing):,} of {n:,} texts are answered "
            "otherwise; look for padding or normalisation across a batch."
        )
    return told
