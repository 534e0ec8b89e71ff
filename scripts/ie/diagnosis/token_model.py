"""What a simple model of tokens makes of the annotations: are they where, and what, the words suggest?

A linear classifier on each token and two neighbours to either side, always asked about texts that it wasn't
trained on. It is no good tagger, but fast, and labels that are noise, shifted, missing or swapped show in it.
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
        own: features of each token itself (its form, prefix, suffix, shape), hashed.
        label: index of the label, 0 for none, else into `labels` plus 1.
        text: index of the text each token is in.
        span: index of the span within its text, -1 for none.
        start, end: characters.
    """

    records: Sequence[Record]
    labels: tuple[str, ...]
    own: csr_matrix
    label: np.ndarray
    text: np.ndarray
    span: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Whether a token is labelled."""
        return self.label != OUTSIDE

    def neighbour(self, offset: int) -> np.ndarray:
        """For each token the index of the one `offset` further on in its text, -1 where that ends."""
        index = np.arange(len(self.text)) + offset
        index[(index < 0) | (index >= len(self.text))] = -1
        index[self.text[index] != self.text] = -1
        return index

    def lengths(self) -> np.ndarray:
        """How many tokens each span has."""
        spans = np.stack([self.text, self.span])[:, self.span >= 0]
        return np.unique(spans, axis=1, return_counts=True)[1]

    def window(self) -> csr_matrix:
        """Features of each token and its neighbours."""
        parts = []
        for offset in range(-WINDOW, WINDOW + 1):
            index = self.neighbour(offset)
            part = self.own[index]
            parts.append(part.multiply((index >= 0)[:, None]).tocsr())
        return hstack(parts, format="csr")


def tokens(records: Sequence[Record], labels: Sequence[str], tokenize: Callable[[str], Doc]) -> Tokens:
    """Tokens of the records; one is labelled with the span that it overlaps first."""
    index = {label: i + 1 for i, label in enumerate(labels)}
    rows, label, text, span, start, end = [], [], [], [], [], []
    for number, record in enumerate(records):
        spans = sorted(enumerate(record.spans), key=lambda pair: pair[1].start)
        for token in tokenize(record.text):
            here, beyond = token.idx, token.idx + len(token)
            inside = next(((i, s) for i, s in spans if s.start < beyond and here < s.end), None)
            form = token.lower_
            rows.append((f"w={form}", f"p={form[:3]}", f"s={form[-3:]}", f"x={token.shape_}"))
            label.append(index.get(inside[1].label, OUTSIDE) if inside else OUTSIDE)
            span.append(inside[0] if inside and inside[1].label in index else -1)
            text.append(number)
            start.append(here)
            end.append(beyond)
    hasher = FeatureHasher(BUCKETS, input_type="string", alternate_sign=False)
    own = hasher.transform(rows).tocsr() if rows else csr_matrix((0, BUCKETS))
    return Tokens(
        records, tuple(labels), own, *(np.array(x, dtype=np.int64) for x in (label, text, span, start, end))
    )


def out_of_fold(features: csr_matrix, target: np.ndarray, text: np.ndarray, seed: int = 0) -> np.ndarray:
    """Probability of each class for each token, from models of the other folds' texts.

    Returns:
        (tokens, highest class + 1); 0 for classes that a fold's training didn't have.
    """
    texts = np.unique(text)
    fold_of = np.zeros(text.max() + 1, dtype=np.int64)
    fold_of[np.random.default_rng(seed).permutation(texts)] = np.arange(len(texts)) % FOLDS
    fold = fold_of[text]
    found = np.zeros((len(target), int(target.max()) + 1))
    for held in range(FOLDS):
        out = fold == held
        if out.any():
            found[out] = fitted(features[~out], target[~out], seed)(features[out], found.shape[1])
    return found


def fitted(
    features: csr_matrix, target: np.ndarray, seed: int = 0
) -> Callable[[csr_matrix, int], np.ndarray]:
    """A model of the classes: from features and number of classes to probabilities."""
    known = np.unique(target)
    if len(known) == 1:
        return lambda rows, size: np.tile(np.eye(size)[known[0]], (rows.shape[0], 1))
    model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=5, tol=None, average=True, random_state=seed)
    model.fit(features, target)

    def probabilities(rows: csr_matrix, size: int) -> np.ndarray:
        found = np.zeros((rows.shape[0], size))
        columns = [c for c in model.classes_ if c < size]
        found[:, columns] = model.predict_proba(rows)[:, np.isin(model.classes_, columns)]
        # Tokens are ranked by it: what differs in last bits, as it does between processors, is equal.
        return found.round(9)

    return probabilities


def ranked(inside: np.ndarray, score: np.ndarray) -> float:
    """Average precision of the labelled tokens by `score`, from 0 (chance) to 1."""
    base = inside.mean()
    return float((average_precision_score(inside, score) - base) / (1 - base))
