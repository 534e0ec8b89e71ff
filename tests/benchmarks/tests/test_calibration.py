"""Calibration error, and risk by coverage."""

import numpy as np
import pytest
from benchmarks import calibration

from ie.evaluation import confidence
from ie.evaluation.confidence import Answers


def simulated(n: int, seed: int, of_text: int = 1) -> Answers:
    """Answers that are right with exactly their confidence."""
    random = np.random.default_rng(seed)
    p = random.beta(4, 1, n)
    return Answers(np.arange(n) // of_text, p, random.random(n) < p)


def test_the_error_is_that_of_a_calculation_by_hand() -> None:
    p = np.repeat([0.9, 0.6], 50)
    right = np.concatenate([np.arange(50) < 40, np.arange(50) < 35])
    # .9 against 40 of 50, .6 against 35 of 50
    assert calibration.calibration_error(Answers(np.arange(100), p, right)) == pytest.approx(0.1)
    assert calibration.calibration_error(simulated(20_000, 0)) < 0.01


def test_risk_is_that_of_a_calculation_by_hand_and_ties_have_no_order() -> None:
    right = np.array([True, False, True, True])
    answers = Answers(np.arange(4), np.array([0.9, 0.5, 0.5, 0.1]), right)
    assert calibration.risk_by_coverage(answers) == pytest.approx([0, 0.25, 1 / 3, 0.25])
    assert calibration.area_under_risk_coverage(answers) == pytest.approx((0.25 + 1 / 3 + 0.25) / 4)


def test_a_difference_has_an_interval() -> None:
    answers = simulated(400, 0)
    chance = Answers(answers.text, np.ones(400), answers.right)
    worse = confidence.estimate(chance, calibration.area_under_risk_coverage, answers, samples=50)
    assert 0 < worse.low < worse.value < worse.high
