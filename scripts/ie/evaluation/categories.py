"""Categories of texts: the most frequent ones, macro F and accuracy."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.records import Record
from ie.data.scheme import Scored
from ie.evaluation import scoring


def macro(counts: np.ndarray, seed: int = 0) -> Estimate:
    """The mean of the categories' F with its bootstrap interval; F counts as 0 where it isn't defined."""
    value = float(np.nan_to_num(stats.prf(counts.sum(axis=0))[:, 2]).mean())
    drawn = np.nan_to_num(stats.bootstrap(counts, seed=seed)[..., 2]).mean(axis=1)
    tail = (1 - stats.CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value))


def most_frequent(train: Sequence[Record], scored: Scored) -> tuple[str, ...]:
    """The most frequent set of categories in training; of equals the first by name."""
    counts = Counter(
        tuple(sorted(span.label for span in record.spans)) for record in scoring.view(train, scored)
    )
    return min(counts, key=lambda names: (-counts[names], names), default=())


def accuracy(counts: np.ndarray, seed: int = 0) -> Estimate:
    """The share of texts of whose categories none is wrong and none is missing, with its bootstrap interval.

    Args:
        counts: (documents, labels, 3).
    """
    wrong = counts[..., stats.FP].sum(axis=1) + counts[..., stats.FN].sum(axis=1) > 0
    shares = np.stack([~wrong, np.ones_like(wrong)], axis=-1)
    return stats.interval(shares, lambda sums: sums[:, 0] / sums[:, 1], seed=seed)
