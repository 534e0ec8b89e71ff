"""Does a pipeline keep its score when the texts or the seed change? (slides 50-54)"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from threadpoolctl import threadpool_limits

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.docs import from_doc
from ie.data.records import Record
from ie.evaluation import scoring
from ie.evaluation.perturbations import Perturbed
from ie.training import jobs, loop
from ie.training.jobs import Cell, TrainingJob

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
    seedless: str = ""

    @property
    def own(self) -> dict[str, Change]:
        """The changes of the inspected system, without that of the original texts."""
        return {name: c for name, c in self.changes[self.inspected].items() if name != "original"}

    @property
    def falls(self) -> list[str]:
        """The perturbations in which the inspected system falls beyond noise, the largest fall first."""
        falls = [name for name, change in self.own.items() if change.verdict() == "falls"]
        return sorted(falls, key=lambda name: self.own[name].difference.value)

    @property
    def blind(self) -> bool:
        """Whether the inspected system finds nothing, in the original texts and in the changed ones."""
        return all(change.verdict() == "finds nothing either way" for change in self.own.values())

    @property
    def notes(self) -> list[str]:
        """What the perturbations could not change."""
        return [f"{each.title}: {note}" for each in self.perturbed for note in each.notes]


def counts(nlp: Language, perturbed: Sequence[Perturbed], labels: Sequence[str]) -> Counts:
    """Hits and misses of a pipeline on the texts, as they are and perturbed."""
    tables = {}
    for each in perturbed:
        answers = each.divided([from_doc(doc) for doc in nlp.pipe(each.texts())])
        tables[each.name] = scoring.count(each.records, answers, labels)
    return tables


def changes(systems: Mapping[str, Counts], *, seed: int = 0) -> dict[str, dict[str, Change]]:
    """Each system's micro F under each perturbation, Holm-corrected over all systems and perturbations."""
    measured: dict[str, dict[str, Change]] = {}
    p: dict[tuple[str, str], float] = {}
    for system, by_name in systems.items():
        original = by_name["original"].sum(axis=1)
        measured[system] = {}
        for name, table in by_name.items():
            measured[system][name] = _change(table.sum(axis=1), original, seed)
            if name != "original":
                p[system, name] = stats.randomisation(table.sum(axis=1), original, seed=seed)
    for (system, name), holm in zip(p, stats.holm(list(p.values())), strict=True):
        change = measured[system][name]
        measured[system][name] = Change(change.f, change.difference, p[system, name], holm)
    return measured


def by_label(tables: Counts, labels: Sequence[str], *, seed: int = 0) -> dict[str, dict[str, Change]]:
    """F of each label under each perturbation, with intervals and without a test."""
    original = tables["original"]
    return {
        name: {label: _change(table[:, i], original[:, i], seed) for i, label in enumerate(labels)}
        for name, table in tables.items()
    }


def _change(perturbed: np.ndarray, original: np.ndarray, seed: int) -> Change:
    f = stats.intervals(perturbed, seed=seed)[2]
    # a label that neither gold nor predictions have: no difference, and nothing known of it
    if not perturbed.any() and not original.any():
        return Change(f, Estimate(float("nan"), float("nan"), float("nan")))
    return Change(f, stats.difference(perturbed, original, seed=seed))


def over_seeds(
    perturbed: Sequence[Perturbed], *, train: Path, seeds: Sequence[int], workers: int = 0, **shared: Any
) -> list[Counts]:
    """Train once per seed, several at a time, and count each pipeline's hits and misses on all texts.

    Args:
        shared: attributes of the trainings, as of `TrainingJob`.

    Raises:
        UserError: a training failed, or was killed.
    """
    if not seeds:
        return []
    examples = loop.count_examples(train)
    with tempfile.TemporaryDirectory(prefix="robustness-") as folder:
        trainings = [
            TrainingJob(Cell(100.0, examples, seed), train=train, model=Path(folder) / str(seed), **shared)
            for seed in seeds
        ]
        jobs.run(trainings, workers=workers)
        with threadpool_limits(limits=1):
            return [counts(spacy.load(job.model / "model-best"), perturbed, job.labels) for job in trainings]


def micro_f(tables: Counts) -> dict[str, float]:
    """F of all labels together by perturbation; 0 if there is no span in gold and none predicted."""
    return {
        name: float(np.nan_to_num(stats.prf(table.sum(axis=(0, 1)))[2])) for name, table in tables.items()
    }


def spread(scores: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation (over n - 1) of scores; the latter NaN for a single one."""
    return fmean(scores), stdev(scores) if len(scores) > 1 else float("nan")


def to_json(result: Robustness) -> dict[str, Any]:
    """The same inputs give the same bytes."""

    def change(one: Change) -> dict[str, Any]:
        tested = {} if np.isnan(one.p) else {"p": round(one.p, 4), "holm": round(one.holm, 4)}
        return one.f.flat("f") | one.difference.flat("change") | tested

    seeds = {}
    for name, scores in result.seeds.items():
        mean, sd = spread(scores)
        seeds[name] = {
            "scores": [round(score, 4) for score in scores],
            "mean": round(mean, 4),
            "sd": None if np.isnan(sd) else round(sd, 4),
        }
    return {
        "documents": len(result.gold),
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
        "notes": result.notes,
    }


def summary(result: Robustness) -> list[str]:
    """What the tables say, one sentence each."""
    n = len(result.gold)
    titles = {each.name: each.title for each in result.perturbed}
    start = f"{result.titles[result.inspected]} (n={n:,} texts)"
    if result.blind:
        sentences = [f"{start} finds nothing, so nothing can be said of its robustness."]
    elif falls := result.falls:
        moved = stats.format_difference(result.own[falls[0]].difference, n)
        sentences = [
            f"{start} loses most to {titles[falls[0]]}: F changes by {moved}. It falls beyond noise in "
            f"{len(falls)} of {len(result.own)} perturbations."
        ]
    elif not stats.digits(n):
        sentences = [f"{start}: so few texts can't show what a perturbation does; review more for test."]
    else:
        sentences = [f"{start}: no perturbation lowers F by more than noise; fewer texts see less."]
    scores, places = result.seeds["original"], stats.fine_digits(n)
    if result.seedless:
        sentences.append(result.seedless)
    elif len(scores) > 1 and len({*scores}) == 1:
        sentences.append(f"F is the same with {len(scores)} seeds.")
    elif len(scores) > 1:
        mean, sd = spread(scores)
        sentences.append(
            f"Over {len(scores)} seeds F is {stats.decimals(mean, places)} with a standard deviation of "
            f"{stats.decimals(sd, places)}; two trainings that differ by no more may differ by luck."
        )
    else:
        sentences.append("One seed shows no spread: choose 3 or more with --seeds.")
    return sentences
