"""Is a confidence calibrated, and does it rank right answers first?"""

import numpy as np

from ie.evaluation.confidence import Answers

# Answers in a bin of the calibration error, and the most bins: with fewer answers, bins show noise.
IN_BIN, BINS = 50, 10


def reliability(answers: Answers) -> list[tuple[float, float, int]]:
    """Mean confidence, share of right answers and their number, in bins with equally many answers."""
    order = np.argsort(answers.confidence, kind="stable")
    bins = np.array_split(order, min(BINS, max(2, len(answers) // IN_BIN)))
    return [
        (float(answers.confidence[of_bin].mean()), float(answers.right[of_bin].mean()), len(of_bin))
        for of_bin in bins
        if len(of_bin)
    ]


def calibration_error(answers: Answers) -> float:
    """Expected calibration error: how far confidence is from the share of right answers, mean over bins."""
    bins = reliability(answers)
    return sum(n * abs(p - share) for p, share, n in bins) / max(len(answers), 1)


def risk_by_coverage(answers: Answers) -> np.ndarray:
    """The share of wrong answers among the n most confident ones, for each n; ties are in random order."""
    order = np.argsort(-answers.confidence, kind="stable")
    _, tie = np.unique(-answers.confidence[order], return_inverse=True)
    wrong = (~answers.right[order]).astype("float64")
    expected = (np.bincount(tie, weights=wrong) / np.bincount(tie))[tie]
    return np.cumsum(expected) / np.arange(1, len(answers) + 1)


def area_under_risk_coverage(answers: Answers) -> float:
    """Mean share of wrong answers over all coverages (Geifman & El-Yaniv 2017); the lower the better."""
    return float(risk_by_coverage(answers).mean())
