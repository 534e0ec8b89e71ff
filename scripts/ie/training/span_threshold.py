"""The thresholds of a span classifier, chosen on dev: how sure it must be of a span."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span

from components.span_classifier import SpanClassifier, annotated_spans, without_overlaps
from ie.data.docs import read_docs

THRESHOLDS = [i / 20 for i in range(2, 19)]
# With fewer annotated spans on dev, the threshold stays as it is.
LEAST_SPANS = 20
# How often the labels' thresholds are chosen in turn, as the best one of each depends on the others.
ROUNDS = 3
ScoredSpans = Sequence[tuple[float, Span]]


@spacy.registry.callbacks("ie.span_threshold.v1")
def create_span_threshold(path: Path) -> Callable[[Language], Language]:
    """For `[training.before_to_disk]`: the thresholds with the highest F on the texts of a `.spacy` file.

    spaCy calls it before it saves a checkpoint. Spans that may overlap have a threshold for each label, as a
    component is less sure of long phrases than of names. Entities have one, as their labels compete.
    """

    def choose(nlp: Language) -> Language:
        gold = read_docs(path, nlp.vocab)
        for name, component in nlp.pipeline:
            if isinstance(component, SpanClassifier):
                with nlp.select_pipes(disable=name):
                    docs = list(nlp.pipe([doc.text for doc in gold]))
                scored = component.scored_spans(docs, component.predict(docs), THRESHOLDS[0])
                choose_thresholds(component, gold, scored)
        return nlp

    return choose


def choose_thresholds(component: SpanClassifier, gold: Sequence[Doc], scored: Sequence[ScoredSpans]) -> None:
    """Set the threshold to that with the highest F, then that of each label that has enough spans on dev.

    F is that of all labels together: for its sake, the rare spans of a difficult label are left out rather
    than found among many wrong ones.

    Args:
        scored: the candidates of each Doc with their scores, as `SpanClassifier.scored_spans` gives them.
    """
    overlapping, labels = component.cfg["overlapping"], component.labels
    expected: Counter[str] = Counter()
    # candidates above each threshold, and how many of them are annotated, by label
    counts = np.zeros((len(labels), len(THRESHOLDS), 2), dtype=np.int64)
    for doc, pairs in zip(gold, scored, strict=True):
        annotated = {(span.start_char, span.end_char, span.label_) for span in annotated_spans(doc)}
        expected.update(label for *_, label in annotated)
        # entities are chosen from the surest on, so a higher threshold only takes away the last ones
        kept = None if overlapping else {*without_overlaps(pairs)}
        for score, span in pairs:
            if kept is None or span in kept:
                place = span.start_char, span.end_char, span.label_
                reached = [score >= threshold for threshold in THRESHOLDS]
                counts[labels.index(span.label_), reached] += (1, place in annotated)
    component.cfg["thresholds"] = {}
    if expected.total() < LEAST_SPANS:
        return
    common = _best([counts[:, i].sum(axis=0) for i in range(len(THRESHOLDS))], expected.total())
    component.cfg["threshold"] = THRESHOLDS[common]
    chosen = np.full(len(labels), common)
    own = [k for k, label in enumerate(labels) if overlapping and expected[label] >= LEAST_SPANS]
    for k in own * ROUNDS:
        others = sum(counts[i, chosen[i]] for i in range(len(labels)) if i != k)
        chosen[k] = _best([others + of_label for of_label in counts[k]], expected.total())
    component.cfg["thresholds"] = {labels[k]: THRESHOLDS[chosen[k]] for k in own}


def _best(counts: Sequence[np.ndarray], expected: int) -> int:
    """The number of the threshold with the highest F; of equal ones that closest to 0.5.

    Args:
        counts: candidates above each threshold, and how many of them are annotated.
    """

    def quality(i: int) -> tuple[float, float]:
        candidates, right = map(int, counts[i])
        return round(2 * right / (candidates + expected), 4), -abs(THRESHOLDS[i] - 0.5)

    return max(range(len(THRESHOLDS)), key=quality)
