"""Tests of the training: does it learn what it should, do its weights move, are its settings sane?"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_config
from spacy.vocab import Vocab

from components.span_classifier import annotated_spans
from ie.core import stats
from ie.core.stats import Estimate
from ie.core.text import counted
from ie.diagnosis import recorded_training, thresholds
from ie.diagnosis.findings import Finding, ProjectData, grade, untested
from ie.training import loop

TINY = {
    "name": "tiny",
    "group": "training",
    "hypothesis": "Training doesn't work at all.",
    "question": "It can't even learn a handful of texts by heart.",
    "test": f"Train on {thresholds.TINY} texts for up to {thresholds.TINY_STEPS} steps, score on the same.",
}
RATE = {
    "name": "learning-rate",
    "group": "training",
    "hypothesis": "The learning rate is wrong.",
    "question": "With a smaller or larger one the loss falls much further in the same steps.",
    "test": f"{thresholds.SWEEP_STEPS} steps each, with 0.01 to 100 times the config's learning rate "
    f"({thresholds.SWEEP_SEEDS} seeds).",
}
CLIP = {
    "name": "clipping",
    "group": "training",
    "hypothesis": "Gradients are clipped to nothing.",
    "question": "Gradients are far longer than grad_clip, and with 1.0 the loss falls much further.",
    "test": f"Norms of the gradients over {thresholds.WATCH_STEPS} steps against grad_clip.",
}
WEIGHTS = {
    "name": "weights",
    "group": "training",
    "hypothesis": "Some layers don't learn: frozen or dead.",
    "question": "Their weights don't change.",
    "test": f"Relative change of each layer's weights after {thresholds.WATCH_STEPS} steps.",
}
GRADIENTS = {
    "name": "gradients",
    "group": "training",
    "hypothesis": "Gradients vanish, explode or aren't numbers.",
    "question": "Norms near 0 in the lower layers, norms that grow a thousandfold, NaN.",
    "test": f"Mean, variance and norm of each layer's gradients over {thresholds.WATCH_STEPS} steps.",
}
SHUFFLED = {
    "name": "shuffled",
    "group": "training",
    "hypothesis": "The dev score doesn't come from the labels.",
    "question": "A model trained on the same texts with random spans and labels scores above chance on dev.",
    "test": f"Train for {thresholds.SHUFFLED_STEPS} steps on shuffled annotations, score on dev.",
}
BATCHES = {
    "name": "batches",
    "group": "training",
    "hypothesis": "Training is unstable with small batches.",
    "question": "With few texts per batch the score depends on the seed.",
    "test": f"{' and '.join(map(str, thresholds.BATCHES))} texts per batch, {thresholds.SEEDS} seeds each, "
    "scored on dev.",
}
DROPOUT = {
    "name": "dropout",
    "group": "training",
    "hypothesis": "Dropout drowns the signal.",
    "question": "Without it the pipeline scores far better on dev after the same steps.",
    "test": f"{max(thresholds.BATCHES)} texts per batch, with the config's dropout and with none; "
    "scored on dev.",
}
# What to do where numbers run out of bounds.
OVERFLOW = "Lower the learning rate, keep grad_clip at 1.0, or take layers out of the model."
HYPOTHESES = (TINY, RATE, CLIP, WEIGHTS, GRADIENTS, SHUFFLED, BATCHES, DROPOUT)


def run(project: ProjectData, progress: Callable[[str], Any] = lambda name: None) -> Iterator[Finding]:
    """All tests of training; none can be run without annotations."""
    docs = project.docs("train", Vocab(), thresholds.TRAIN_TEXTS)
    dev = project.docs("dev", Vocab(), thresholds.CHECK_TEXTS)
    if not any(annotated_spans(doc) for doc in docs):
        reason = "The training corpus has no annotation to learn from."
        yield from (untested(hypothesis, reason) for hypothesis in HYPOTHESES)
        return
    if not loop.learns_by_updates(project.config, project.overrides):
        reason = (
            "The pipeline learns from all examples at once, without updates that could be followed; "
            "`--vars.config efficient` tests a neural one."
        )
        yield from (untested(hypothesis, reason) for hypothesis in HYPOTHESES)
        return
    progress("tiny data")
    yield tiny(project, docs)
    progress("weights and gradients")
    watched = recorded_training.run(project, docs, thresholds.WATCH_STEPS)
    yield clipping(project, docs, watched)
    progress("learning rates")
    yield learning_rate(project, docs)
    yield weights(project, watched)
    yield gradients(watched)
    if not any(annotated_spans(doc) for doc in dev):
        reason = f"No span in {len(dev):,} dev texts to score on." if dev else "There is no dev to score on."
        yield from (untested(hypothesis, reason) for hypothesis in (SHUFFLED, BATCHES, DROPOUT))
        return
    progress("shuffled labels")
    yield shuffled(project, docs, dev)
    progress("batch sizes")
    by_batch = batches(project, docs, dev)
    yield by_batch
    progress("dropout")
    yield dropout(project, docs, dev, by_batch.figures[str(max(thresholds.BATCHES))])


def f_of(counts: np.ndarray) -> Estimate:
    """F with its interval; 0 where nothing was predicted."""
    f = stats.intervals(counts)[2]
    return Estimate(0.0, 0.0, 0.0) if np.isnan(f.value) else f


def train_and_score(
    project: ProjectData, docs: Sequence[Doc], dev: Sequence[Doc], steps: int, **options: Any
) -> Estimate:
    """F on dev after a short training."""
    nlp = recorded_training.run(project, docs, steps, **options).nlp
    return f_of(recorded_training.score(nlp, dev, project.labels))


def shorthand(value: float) -> str:
    """A number for people: `3.2`, `1e-05`."""
    return f"{value:.2g}"


def several(names: Sequence[str]) -> str:
    """`a, b, c, d and 11 more`."""
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(names[:4] if more else names) + more


def tiny(project: ProjectData, docs: Sequence[Doc]) -> Finding:
    """Can it learn a few texts by heart?"""
    # Short texts are quick; texts without a span are too easy.
    few = sorted((doc for doc in docs if annotated_spans(doc)), key=lambda doc: (len(doc), doc.text))
    skipped = len(few) // 4 if len(few) >= 2 * thresholds.TINY else 0
    few = few[skipped:][: thresholds.TINY]
    reached = 0.0

    def learned(nlp: Language) -> bool:
        nonlocal reached
        reached = max(reached, f_of(recorded_training.score(nlp, few, project.labels)).value)
        return reached >= thresholds.TOO_GOOD

    training = recorded_training.run(
        project, few, thresholds.TINY_STEPS, batch=len(few), dropout=False, stop=learned
    )
    if not training.failed:
        learned(training.nlp)
    n = f"{counted(len(few), 'text')} ({counted(sum(len(annotated_spans(doc)) for doc in few), 'span')})"
    return Finding(
        **TINY,
        observation=f"{training.failed or f'F {reached:.2f}'} after {len(training.losses)} steps on {n}.",
        verdict=grade(training.failed or reached < thresholds.TINY_F),
        cause=f"training fails: {training.failed}"
        if training.failed
        else "it can't learn even a handful of texts",
        remedy="Look at learning rate, gradients and frozen components below, and whether the spans lie on "
        "tokens.",
        figures={"texts": len(few), "steps": len(training.losses), "f": round(reached, 4)},
    )


class LossSweep:
    """Short trainings on the same few texts, compared by how far the loss falls below the untrained one.

    A rate that is too high first drives the loss up. A fall measured from there looks like learning, so all
    trainings with the same seed are measured from the same point: the loss of one round at rate 0.
    """

    def __init__(self, project: ProjectData, docs: Sequence[Doc]) -> None:
        self.project = project
        self.docs = [doc for doc in docs if annotated_spans(doc)][: thresholds.SWEEP_TEXTS]
        self.seeds = [project.seed + i for i in range(thresholds.SWEEP_SEEDS)]
        self.untrained = [self._run(seed, thresholds.SWEEP_ROUND, rate=0.0) for seed in self.seeds]

    def _run(self, seed: int, steps: int, **options: Any) -> recorded_training.Run:
        batch = max(1, len(self.docs) // thresholds.SWEEP_ROUND)
        return recorded_training.run(self.project, self.docs, steps, batch=batch, seed=seed, **options)

    def runs(self, **options: Any) -> list[recorded_training.Run]:
        """A training per seed.

        Args:
            options: of `recorded_training.run`: `rate` or `overrides`.
        """
        return [self._run(seed, thresholds.SWEEP_STEPS, **options) for seed in self.seeds]

    def fall(self, runs: Sequence[recorded_training.Run]) -> float:
        """Mean over the seeds of 1 - final loss / untrained loss; minus infinity if a training diverged."""
        losses = [
            (untrained.final_loss(thresholds.SWEEP_ROUND), run.final_loss(thresholds.SWEEP_ROUND))
            for untrained, run in zip(self.untrained, runs, strict=True)
        ]
        return float(
            np.mean([1 - final / start if 0 < start < np.inf else -np.inf for start, final in losses])
        )


def learning_rate(project: ProjectData, docs: Sequence[Doc]) -> Finding:
    """The config's learning rate among smaller and larger ones."""
    sweep = LossSweep(project, docs)
    own = sweep.runs()
    configured = max(own[0].rates)
    falls = {configured: sweep.fall(own)}
    for factor in thresholds.SWEEP if configured else ():
        if factor != 1:
            falls[configured * factor] = sweep.fall(sweep.runs(rate=factor))
    if max(falls.values()) <= thresholds.FALL:
        for rate in thresholds.USUAL_RATES:
            falls[rate] = sweep.fall(sweep.runs(overrides={"training.optimizer.learn_rate": rate}))
    best = max(falls, key=lambda rate: (falls[rate], -rate))
    mine, most = falls[configured], falls[best]
    learns = most > thresholds.FALL
    wrong = not configured or (learns and mine < thresholds.LEARNS * most)
    table = ", ".join(f"{shorthand(rate)} {_fall(fall)}" for rate, fall in sorted(falls.items()))
    return Finding(
        **RATE,
        observation=f"The loss fell by: {table}; the config's is {shorthand(configured)}"
        + ("." if learns else ", but none makes it learn."),
        verdict="broken" if wrong else "fine" if learns else "watch",
        cause="no learning rate helps"
        if not wrong
        else "the learning rate is 0"
        if not configured
        else f"the learning rate {shorthand(configured)} is too {'high' if best < configured else 'low'}",
        remedy=f"Set [training.optimizer] learn_rate to about {shorthand(best)}."
        if wrong
        else "Look for another cause first.",
        figures={"configured": configured, "best": best}
        | {shorthand(rate): _number(fall) for rate, fall in sorted(falls.items())},
    )


def _fall(fall: float) -> str:
    return "diverged" if np.isinf(fall) else "rose" if fall < 0 else f"{100 * fall:.0f} %"


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None


def clipping(project: ProjectData, docs: Sequence[Doc], watched: recorded_training.Run) -> Finding:
    """The gradients against the config's grad_clip."""
    layers = np.stack([layer.gradients[:, 2] for layer in watched.layers.values()])
    norms = np.sqrt(np.nansum(layers**2, axis=0))  # of all gradients of each step
    typical = float(np.median(norms)) if len(norms) else 0.0
    suspect = bool(watched.clip) and watched.clip < thresholds.CLIPPED * typical
    clip = shorthand(watched.clip) if watched.clip else "off"
    observation = f"Median norm {shorthand(typical)}, grad_clip {clip}."
    broken = False
    if suspect:
        sweep = LossSweep(project, docs)
        mine = sweep.fall(sweep.runs())
        other = sweep.fall(sweep.runs(overrides={"training.optimizer.grad_clip": 1.0}))
        broken = mine < thresholds.LEARNS * other and other > thresholds.FALL
        observation += f" The loss fell by {_fall(mine)}, with 1.0 by {_fall(other)}."
    return Finding(
        **CLIP,
        observation=observation,
        verdict=grade(broken, suspect),
        cause=f"gradients are clipped to {clip}, next to nothing",
        remedy="Set [training.optimizer] grad_clip to 1.0.",
        figures={"median_norm": _significant(typical), "clip": watched.clip},
    )


def _significant(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def weights(project: ProjectData, watched: recorded_training.Run) -> Finding:
    """The layers whose weights didn't change, or are no longer numbers."""
    figures = {name: _significant(layer.change) for name, layer in watched.layers.items()}
    # NaN is neither below nor above any limit.
    lost = [name for name, layer in watched.layers.items() if not np.isfinite(layer.change)]
    if lost:
        return Finding(
            **WEIGHTS,
            observation=f"{len(lost)} of {len(watched.layers)} layers are no longer numbers "
            f"({several(lost)}).",
            verdict="broken",
            cause="the weights overflow",
            remedy=OVERFLOW,
            figures=figures,
        )
    still = [name for name, layer in watched.layers.items() if layer.change < thresholds.STILL]
    n = len(watched.layers)
    config = load_config(project.config, overrides=project.overrides, interpolate=True)
    frozen = config["training"].get("frozen_components") or []
    # Freezing pretrained weights is a choice; freezing random ones is a mistake.
    pretrained = bool(config["initialize"].get("init_tok2vec")) or any(
        "source" in config["components"].get(name, {}) for name in frozen
    )
    changes = [layer.change for layer in watched.layers.values()]
    if changes and not still:
        observation = f"All {n} layers changed, by {shorthand(min(changes))} to {shorthand(max(changes))}."
    else:
        freezes = f"; the config freezes {', '.join(frozen)}" if frozen else ""
        observation = f"{len(still)} of {n} layers didn't change ({several(still)}){freezes}."
    excused = pretrained and all(name.split(":")[0] in frozen for name in still)
    return Finding(
        **WEIGHTS,
        observation=observation,
        verdict=grade(still and not excused, still),
        cause="no weight changes at all"
        if still and len(still) == n
        else f"layers are frozen or dead: {several(still)}",
        remedy="Take the component out of [training] frozen_components, or load weights worth keeping "
        "([initialize] init_tok2vec)."
        if frozen
        else "Look at what stops the gradient on its way to these layers, and at the learning rate.",
        figures=figures,
    )


def gradients(watched: recorded_training.Run) -> Finding:
    """NaN, vanishing, exploding gradients."""
    table, faults = {}, []
    for name, layer in watched.layers.items():
        steps = layer.gradients[~np.isnan(layer.gradients[:, 2])]
        if not len(steps):
            continue
        means, variances, norms = steps.T
        part = max(1, len(norms) // 4)
        first, last = np.median(norms[:part]), np.median(norms[-part:])
        table[name] = {
            "mean": _significant(np.mean(means)),
            "variance": _significant(np.mean(variances)),
            "norm_first": _significant(first),
            "norm_last": _significant(last),
            "steps": {
                key: [_significant(value) for value in values]
                for key, values in zip(("mean", "variance", "norm"), steps.T, strict=True)
            },
        }
        # A layer above that starts at 0 lets nothing through at first: growth from 0 is no explosion.
        if not np.isfinite(norms).all() or (first > 1e-6 and last > thresholds.EXPLODING * first):
            faults.append(f"explode in {name}")
    highest = max((entry["norm_last"] or 0 for entry in table.values()), default=0)
    faults += [
        f"vanish in {name}"
        for name, entry in table.items()
        if highest and (entry["norm_last"] or 0) < thresholds.VANISHING * highest
    ]
    if not table and not watched.failed:
        return untested(GRADIENTS, "No layer got a gradient.")
    norms = [entry["norm_last"] or 0.0 for entry in table.values()]
    observation = "No layer got a gradient that is a number."
    if norms:
        observation = (
            f"In the last quarter norms are {shorthand(min(norms))} to {shorthand(max(norms))} over "
            f"{len(table)} layers" + (f"; they {several(faults)}." if faults else ".")
        )
    if watched.failed:
        step = max(1, len(watched.losses))
        observation = f"At step {step} {watched.failed.rstrip('.')}. {observation}"
    return Finding(
        **GRADIENTS,
        observation=observation,
        verdict=grade(faults or watched.failed),
        cause=f"training fails: {watched.failed}" if watched.failed else f"gradients {several(faults)}",
        remedy=OVERFLOW,
        figures=table,
    )


def shuffled(project: ProjectData, docs: Sequence[Doc], dev: Sequence[Doc]) -> Finding:
    """A model of noise must score like noise."""
    noise = recorded_training.shuffled(docs, project.seed)
    estimate = train_and_score(project, noise, dev, thresholds.SHUFFLED_STEPS)
    return Finding(
        **SHUFFLED,
        observation=f"F {stats.format_score(estimate, len(dev))} on dev.",
        verdict=grade(estimate.low > thresholds.CHANCE),
        cause="the dev score doesn't come from the training labels",
        remedy="Look for a component that annotates by itself (rules, a pretrained one), or that sees dev's "
        "answers.",
        figures={"f": round(estimate.value, 4), "low": round(estimate.low, 4), "dev": len(dev)},
    )


def batches(project: ProjectData, docs: Sequence[Doc], dev: Sequence[Doc]) -> Finding:
    """The spread between seeds with small and large batches."""
    seeds = [project.seed + i for i in range(thresholds.SEEDS)]
    scores = {
        size: [train_and_score(project, docs, dev, steps, batch=size, seed=seed).value for seed in seeds]
        for size, steps in thresholds.BATCHES.items()
    }
    parts = (f"{size} texts: F {' and '.join(f'{x:.2f}' for x in values)}" for size, values in scores.items())
    unstable = any(max(values) - min(values) > thresholds.UNSTABLE for values in scores.values())
    return Finding(
        **BATCHES,
        observation=f"{'; '.join(parts)} (dev n={len(dev):,}).",
        verdict=grade(False, unstable),
        cause="the score depends on the seed with small batches",
        remedy="Use larger batches, a lower learning rate, or a smaller model.",
        figures={str(size): [round(value, 4) for value in values] for size, values in scores.items()},
    )


def dropout(
    project: ProjectData, docs: Sequence[Doc], dev: Sequence[Doc], scores: Sequence[float]
) -> Finding:
    """The config's dropout, with which F was `scores`, against none."""
    config = load_config(project.config, overrides=project.overrides, interpolate=True)
    rate = config["training"].get("dropout", 0.0)
    if not rate:
        return untested(DROPOUT, "The config has none.")
    size = max(thresholds.BATCHES)
    without = train_and_score(project, docs, dev, thresholds.BATCHES[size], batch=size, dropout=False).value
    best = max(scores)
    drowned = without > 2 * thresholds.CHANCE and best < thresholds.DROWNED * without
    return Finding(
        **DROPOUT,
        observation=f"F {best:.2f} with {shorthand(rate)}, {without:.2f} without (dev n={len(dev):,}).",
        verdict=grade(drowned),
        cause=f"dropout {shorthand(rate)} drowns the signal",
        remedy="Set [training] dropout to 0.1 or 0.2.",
        figures={"dropout": rate, "with": best, "without": round(without, 4)},
    )
