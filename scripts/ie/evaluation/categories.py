"""Categories of texts: what a classifier says, scored by category, macro and as accuracy."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from spacy.language import Language

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.corpora import category_of
from ie.data.records import Record
from ie.data.scheme import Scored
from ie.evaluation import scoring

ACCURACY, MACRO = "accuracy", "macro"


def predict(nlp: Language, records: Sequence[Record]) -> list[str]:
    """The likeliest category of each text; of equals the first by name."""
    docs = nlp.pipe(record.text for record in records)
    return [min(doc.cats, key=lambda label: (-doc.cats[label], label)) for doc in docs]


def majority(train: Sequence[Record], n: int) -> list[str]:
    """The most frequent category of the training texts, n times."""
    counts = Counter(filter(None, map(category_of, train)))
    return [min(counts, key=lambda label: (-counts[label], label))] * n


def count(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """(documents, labels, 3): true positives, false positives, false negatives of single categories."""
    counts = np.zeros((len(gold), len(labels), 3), dtype=np.int64)
    column = {label: i for i, label in enumerate(labels)}
    for row, (right, answer) in enumerate(zip(gold, predicted, strict=True)):
        if right == answer:
            counts[row, column[right], stats.TP] = 1
        else:
            counts[row, column[right], stats.FN] = 1
            if answer in column:
                counts[row, column[answer], stats.FP] = 1
    return counts


def macro(counts: np.ndarray, seed: int = 0) -> Estimate:
    """The mean of the categories' F with its bootstrap interval; a category never right counts 0."""
    value = float(np.nan_to_num(stats.prf(counts.sum(axis=0))[:, 2]).mean())
    drawn = np.nan_to_num(stats.bootstrap(counts, seed=seed)[..., 2]).mean(axis=1)
    tail = (1 - stats.CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value, min(float(low), value), max(float(high), value))


def most_frequent(train: Sequence[Record], scored: Scored) -> tuple[str, ...]:
    """The categories that most training texts have, as a set; of equals the first by name."""
    counts = Counter(
        tuple(sorted(span.label for span in record.spans)) for record in scoring.view(train, scored)
    )
    return min(counts, key=lambda said: (-counts[said], said), default=())


def accuracy(counts: np.ndarray, seed: int = 0) -> Estimate:
    """The share of texts of whose categories none is wrong and none is missing, with its bootstrap interval.

    Args:
        counts: (documents, labels, 3).
    """
    wrong = counts[..., stats.FP].sum(axis=1) + counts[..., stats.FN].sum(axis=1) > 0
    shares = np.stack([~wrong, np.ones_like(wrong)], axis=-1)
    return stats.interval(shares, lambda sums: sums[:, 0] / sums[:, 1], seed=seed)


def table(counts: np.ndarray, labels: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """By category `(n, (P, R, F))`, then macro F and accuracy as `(n, estimate)`.

    Accuracy is the micro F of single categories: each text has one right and one answer.
    """
    rows: dict[str, Any] = {}
    for i, label in enumerate(labels):
        n = int(counts[:, i, stats.TP].sum() + counts[:, i, stats.FN].sum())
        rows[label] = n, stats.intervals(counts[:, i], seed=seed)
    rows[MACRO] = len(counts), macro(counts, seed)
    rows[ACCURACY] = len(counts), stats.intervals(counts.sum(axis=1), seed=seed)[2]
    return rows
