"""Do the words predict the annotations? A linear model of tokens, always applied to texts it hasn't seen.

Features are those of a token and two neighbours on either side. It is a weak tagger, but a fast one, and
shows labels that are random, shifted, missing or swapped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import average_precision_score
from spacy.tokens import Doc

from ie.data.records import Record

OUTSIDE = 0
WINDOW = 2
BUCKETS = 2**16
FOLDS = 4


@dataclass
class Tokens:
    """The tokens of some texts, one after another.

    Attributes:
        docs: the tokenized records.
        own: hashed features of each token itself: its form, prefix, suffix and shape.
        label: 0 for no label, otherwise the index into `labels` plus 1.
        text: index of the text each token is in.
        span: index of the span within its text, -1 for none.
    """

    records: Sequence[Record]
    docs: Sequence[Doc]
    labels: tuple[str, ...]
    own: csr_matrix
    label: np.ndarray
    text: np.ndarray
    span: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Whether a token is labelled."""
        return self.label != OUTSIDE

    @property
    def several_labels(self) -> bool:
        return len(np.unique(self.label[self.inside])) > 1

    def neighbour(self, offset: int) -> np.ndarray:
        """For each token the index of the one `offset` further on in its text, -1 where the text ends."""
        index = np.arange(len(self.text)) + offset
        index[(index < 0) | (index >= len(self.text))] = -1
        index[self.text[index] != self.text] = -1
        return index

    def features_at(self, offset: int) -> csr_matrix:
        """For each token the features of the one `offset` further on; zeros where the text ends."""
        index = self.neighbour(offset)
        return self.own[index].multiply((index >= 0)[:, None]).tocsr()

    def window(self) -> csr_matrix:
        """Features of each token and its neighbours."""
        return hstack([self.features_at(offset) for offset in range(-WINDOW, WINDOW + 1)], format="csr")

    def lengths(self) -> np.ndarray:
        """Number of tokens of each span."""
        spans = np.stack([self.text, self.span])[:, self.span >= 0]
        return np.unique(spans, axis=1, return_counts=True)[1]


@dataclass
class Predictions:
    """Probability of each class for each token, from a model that was trained on other texts."""

    tokens: Tokens
    probability: np.ndarray

    def place_skill(self, offset: int = 0) -> float:
        """How well the labelled tokens are ranked, by the prediction for the token `offset` further on."""
        index = self.tokens.neighbour(offset)
        score = 1 - self.probability[:, OUTSIDE]
        return ranking_skill(self.tokens.inside, np.where(index >= 0, score[index], 0.0))

    def label_accuracy(self) -> float:
        """Share of the labelled tokens whose label is predicted, leaving "no label" aside."""
        inside = self.tokens.inside
        return float((self.probability[inside, 1:].argmax(axis=1) + 1 == self.tokens.label[inside]).mean())

    def surest(self, n: int) -> np.ndarray:
        """Whether each of the `n` tokens most probably labelled is labelled."""
        return self.tokens.inside[np.argsort(self.probability[:, OUTSIDE], kind="stable")[:n]]


def tokens(records: Sequence[Record], labels: Sequence[str], tokenize: Callable[[str], Doc]) -> Tokens:
    """Tokens of the records. A token has the label of the first span that it overlaps."""
    index = {label: i + 1 for i, label in enumerate(labels)}
    docs = [tokenize(record.text) for record in records]
    rows, label, text, span = [], [], [], []
    for number, (record, doc) in enumerate(zip(records, docs, strict=True)):
        spans = sorted(enumerate(record.spans), key=lambda pair: pair[1].start)
        for token in doc:
            start, end = token.idx, token.idx + len(token)
            inside = next(((i, s) for i, s in spans if s.start < end and start < s.end), None)
            form = token.lower_
            rows.append((f"w={form}", f"p={form[:3]}", f"s={form[-3:]}", f"x={token.shape_}"))
            label.append(index.get(inside[1].label, OUTSIDE) if inside else OUTSIDE)
            span.append(inside[0] if inside and inside[1].label in index else -1)
            text.append(number)
    hasher = FeatureHasher(BUCKETS, input_type="string", alternate_sign=False)
    own = hasher.transform(rows).tocsr() if rows else csr_matrix((0, BUCKETS))
    columns = (np.array(column, dtype=np.int64) for column in (label, text, span))
    return Tokens(records, docs, tuple(labels), own, *columns)


def out_of_fold(features: csr_matrix, target: np.ndarray, text: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probability of each class for each token, from models trained on the texts of the other folds.

    Returns:
        (tokens, highest class + 1); 0 for classes that a fold's training data didn't have.
    """
    texts = np.unique(text)
    fold_of = np.zeros(text.max() + 1, dtype=np.int64)
    fold_of[np.random.default_rng(seed).permutation(texts)] = np.arange(len(texts)) % FOLDS
    fold = fold_of[text]
    probability = np.zeros((len(target), int(target.max()) + 1))
    for held_out in range(FOLDS):
        out = fold == held_out
        if out.any():
            predict = train(features[~out], target[~out], seed)
            probability[out] = predict(features[out], probability.shape[1])
    return probability


def train(features: csr_matrix, target: np.ndarray, seed: int = 0) -> Callable[[csr_matrix, int], np.ndarray]:
    """Fit a classifier; it takes features and the number of classes, and returns probabilities."""
    known = np.unique(target)
    if len(known) == 1:
        return lambda rows, size: np.tile(np.eye(size)[known[0]], (rows.shape[0], 1))
    model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=5, tol=None, average=True, random_state=seed)
    model.fit(features, target)

    def predict(rows: csr_matrix, size: int) -> np.ndarray:
        probability = np.zeros((rows.shape[0], size))
        columns = [c for c in model.classes_ if c < size]
        probability[:, columns] = model.predict_proba(rows)[:, np.isin(model.classes_, columns)]
        # Tokens are ranked by it: differences in the last bits, as between processors, must not count.
        return probability.round(9)

    return predict


def ranking_skill(inside: np.ndarray, score: np.ndarray) -> float:
    """Average precision of the labelled tokens by `score`, rescaled from 0 (chance) to 1."""
    base = inside.mean()
    return float((average_precision_score(inside, score) - base) / (1 - base))
