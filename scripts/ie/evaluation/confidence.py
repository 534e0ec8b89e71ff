"""Answers of known confidence, and which of them may go unread."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from ie.core.stats import Estimate

# The chance that a threshold doesn't keep its promise. Low, so that it is also seen to be kept on test texts,
# where chance adds to it: chosen with the demo and fire in view (`benchmark-confidence`).
RISK = 0.02
# Thresholds that are tried. The first one accepts as many answers as it takes to promise with so many wrong
# ones, if that is at most a third of dev: a single error among few answers must not end the search.
TRIED, WRONG_AT_FIRST, OF_DEV = 30, (16, 8, 4, 2), 3


@dataclass(frozen=True)
class Answer:
    """An entity that a pipeline found in a text, and how sure a model that didn't see the text was.

    Attributes:
        text: number of the text.
        confidence: None for a label that wasn't calibrated.
        right: whether gold has this span with this label.
    """

    text: int
    label: str
    confidence: float | None
    right: bool


@dataclass(frozen=True)
class Answers:
    """Answers with a confidence, as arrays: number of the text, confidence, and whether it is right."""

    text: np.ndarray
    confidence: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, chosen: np.ndarray) -> "Answers":
        return Answers(self.text[chosen], self.confidence[chosen], self.right[chosen])

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Answers":
        """Those of some answers that have a confidence."""
        known = [answer for answer in answers if answer.confidence is not None]
        return cls(
            np.array([answer.text for answer in known], "int64"),
            np.array([answer.confidence for answer in known], "float64"),
            np.array([answer.right for answer in known], bool),
        )


@dataclass(frozen=True)
class Threshold:
    """Answers from `confidence` on can be accepted: on dev, `right` of `accepted` were right.

    Attributes:
        bound: lower confidence bound of their precision.
    """

    confidence: float
    accepted: int
    right: int
    bound: float


def estimate(
    answers: Answers,
    measure: Callable[[Answers], float],
    other: Answers | None = None,
    *,
    samples: int = 500,
    seed: int = 0,
) -> Estimate:
    """A figure with its 95 % bootstrap interval over texts; with `other`, the difference on these answers."""
    random = np.random.default_rng(seed)
    _, number = np.unique(answers.text, return_inverse=True)
    order = np.argsort(number, kind="stable")
    of_text = np.split(order, np.cumsum(np.bincount(number))[:-1])

    def figure(chosen: np.ndarray) -> float:
        return measure(answers[chosen]) - (measure(other[chosen]) if other else 0.0)

    drawn = [
        figure(np.concatenate([of_text[i] for i in random.integers(0, len(of_text), len(of_text))]))
        for _ in range(samples)
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(figure(np.arange(len(answers))), float(low), float(high))


def lower_bound(answers: Answers, risk: float = RISK) -> float:
    """A bound that the precision of such answers is above, but for a chance of `risk`.

    Clopper & Pearson (1934) with the number of answers that would be as informative if they were independent
    (Korn & Graubard 1998): answers of one text are not.
    """
    n, right = len(answers), int(answers.right.sum())
    if not right:
        return 0.0
    share = right / n
    _, number = np.unique(answers.text, return_inverse=True)
    texts = number.max() + 1
    residuals = np.bincount(number, weights=answers.right) - share * np.bincount(number)
    variance = texts / max(texts - 1, 1) * float((residuals**2).sum()) / n**2
    independent = share * (1 - share) / n
    effect = max(1.0, variance / independent) if independent else 1.0
    return float(beta.ppf(risk, right / effect, (n - right) / effect + 1))


def threshold(dev: Answers, target: float, risk: float = RISK) -> Threshold | None:
    """The lowest confidence from which on at least `target` of all answers are right; None if dev can't tell.

    Learn then test (Angelopoulos et al. 2021): thresholds are tested in a fixed order, from the highest to
    the lowest, each at level `risk`, until one fails. The last that passed keeps the promise for new texts
    like these, but for a chance of `risk`.
    """
    first = needed(target, 0, risk)
    if first > len(dev):
        return None
    larger = (needed(target, wrong, risk) for wrong in WRONG_AT_FIRST)
    first = next((size for size in larger if OF_DEV * size <= len(dev)), first)
    ordered = np.sort(dev.confidence)[::-1]
    best = None
    for size in np.unique(np.linspace(first, len(dev), TRIED).astype("int64")):
        confidence = float(ordered[size - 1])
        accepted = dev[dev.confidence >= confidence]
        bound = lower_bound(accepted, risk)
        if bound < target:
            break
        best = Threshold(confidence, len(accepted), int(accepted.right.sum()), bound)
    return best


def needed(target: float, wrong: int = 0, risk: float = RISK) -> int:
    """The number of answers of which so many may be wrong, with a bound that is still above the target."""
    size = wrong + 1
    while beta.ppf(risk, size - wrong, wrong + 1) < target:
        size += max(1, size // 100)
    return size
