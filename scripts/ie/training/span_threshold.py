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
    """Set the threshold, and those of labels that have enough spans on dev, to those with the highest F.

    Args:
        scored: the candidates of each Doc with their scores, as `SpanClassifier.scored_spans` gives them.
    """
    overlapping = component.cfg["overlapping"]
    hits: list[tuple[str, float, bool]] = []
    expected: Counter[str] = Counter()
    for doc, pairs in zip(gold, scored, strict=True):
        annotated = {(span.start_char, span.end_char, span.label_) for span in annotated_spans(doc)}
        expected.update(label for *_, label in annotated)
        # entities are chosen from the surest on, so a higher threshold only takes away the last ones
        kept = None if overlapping else {*without_overlaps(pairs)}
        hits += [
            (span.label_, score, (span.start_char, span.end_char, span.label_) in annotated)
            for score, span in pairs
            if kept is None or span in kept
        ]
    component.cfg["thresholds"] = {}
    if expected.total() >= LEAST_SPANS:
        component.cfg["threshold"] = best_threshold([hit[1:] for hit in hits], expected.total())
    for label in component.labels if overlapping else ():
        if expected[label] >= LEAST_SPANS:
            of_label = [hit[1:] for hit in hits if hit[0] == label]
            component.cfg["thresholds"][label] = best_threshold(of_label, expected[label])


def best_threshold(hits: Sequence[tuple[float, bool]], expected: int) -> float:
    """The threshold with the highest F; of equal ones that closest to 0.5.

    Args:
        hits: score of each candidate, and whether it is annotated. expected: number of annotated spans.
    """
    scores = np.array([score for score, _ in hits])
    right = np.array([is_right for _, is_right in hits], dtype=bool)

    def quality(threshold: float) -> tuple[float, float]:
        kept = scores >= threshold
        f = 2 * int(right[kept].sum()) / (int(kept.sum()) + expected)
        return round(f, 4), -abs(threshold - 0.5)

    return max(THRESHOLDS, key=quality)
