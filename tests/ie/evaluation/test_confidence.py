"""Thresholds whose promise holds on new texts."""

import numpy as np
import pytest

from ie.evaluation import confidence
from ie.evaluation.confidence import Answer, Answers


def simulated(n: int, seed: int, of_text: int = 1) -> Answers:
    """Answers that are right with exactly their confidence."""
    random = np.random.default_rng(seed)
    p = random.beta(4, 1, n)
    return Answers(np.arange(n) // of_text, p, random.random(n) < p)


def test_answers_without_a_confidence_are_left_out() -> None:
    answers = Answers.of([Answer(0, "A", None, True), Answer(1, "A", 0.5, False)])
    assert answers.text.tolist() == [1]


def test_answers_of_one_text_are_worth_less() -> None:
    apart = Answers(np.arange(100), np.full(100, 0.9), np.arange(100) % 10 > 0)
    together = Answers(np.arange(100) % 10, apart.confidence, apart.right)
    bound = confidence.lower_bound(apart, risk=0.05)
    assert bound == pytest.approx(0.8364, abs=1e-3)  # Clopper-Pearson
    assert confidence.lower_bound(together, risk=0.05) < bound < 0.9
    nothing = Answers(np.arange(3), np.ones(3), np.zeros(3, bool))
    assert confidence.lower_bound(nothing) == 0


def test_the_promise_holds_in_nearly_all_draws() -> None:
    kept = promised = 0
    for seed in range(100):
        threshold = confidence.threshold(simulated(600, seed, of_text=2), 0.85)
        if threshold:
            promised += 1
            new = simulated(20_000, 1000 + seed)
            kept += new.right[new.confidence >= threshold.confidence].mean() >= 0.85
    assert promised > 80
    assert kept / promised >= 0.93


def test_too_few_or_wrong_answers_promise_nothing() -> None:
    sure = Answers(np.arange(76), np.full(76, 0.99), np.ones(76, bool))
    assert confidence.needed(0.95, risk=0.05) == 59
    assert confidence.needed(0.95) == 77
    assert confidence.threshold(sure, 0.95) is None
    many = Answers(np.arange(400), np.linspace(0.5, 0.99, 400), np.arange(400) % 2 == 0)
    assert confidence.threshold(many, 0.95) is None
