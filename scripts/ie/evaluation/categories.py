"""Categories of texts: the most frequent ones, macro F and accuracy."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.corpora import category_of
from ie.data.records import Record
from ie.data.scheme import Scored
from ie.evaluation import scoring

# Of the TF-IDF baseline: shortest and longest character n-gram, and the inverse of L2 regularisation.
NGRAMS, STRENGTH = (2, 5), 10.0


def tfidf_regression(train: Sequence[Record], texts: Sequence[str], exclusive: bool) -> list[Record]:
    """The texts with the categories that a logistic regression on TF-IDF of character n-grams predicts.

    Args:
        train: texts to learn from; without `exclusive`, a category that is not named is absent.
        exclusive: each text gets the likeliest category; otherwise those above one half.
    """
    # Here, as all trainings import this module and only this function needs scikit-learn.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train = [record for record in train if category_of(record)] if exclusive else train
    labels = sorted({label for record in train for label in record.categories})
    if not labels or not texts:
        return [Record(text=text) for text in texts]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True)
    known = vectorizer.fit_transform([record.text for record in train])
    unknown = vectorizer.transform(texts)
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=1000)
    if exclusive and len(labels) > 1:
        likeliest = model.fit(known, [category_of(record) for record in train]).predict(unknown)
        return [Record(text=t, cats={str(label): 1.0}) for t, label in zip(texts, likeliest, strict=True)]
    answers = []
    for label in labels:
        present = [label in record.categories for record in train]
        answers.append([True] * len(texts) if all(present) else model.fit(known, present).predict(unknown))
    return [
        Record(
            text=text, cats={label: float(answer[row]) for label, answer in zip(labels, answers, strict=True)}
        )
        for row, text in enumerate(texts)
    ]


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
