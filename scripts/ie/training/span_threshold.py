"""The threshold of a span classifier, chosen on dev: how sure it must be of a span."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import spacy
from spacy.language import Language

from components.span_classifier import SpanClassifier, annotated_spans, without_overlaps
from ie.data.docs import read_docs

THRESHOLDS = [i / 20 for i in range(2, 19)]
# With fewer annotated spans on dev, the threshold stays as it is.
LEAST_SPANS = 20


@spacy.registry.callbacks("ie.span_threshold.v1")
def create_span_threshold(path: Path) -> Callable[[Language], Language]:
    """For `[training.before_to_disk]`: the threshold with the highest F on the texts of a `.spacy` file.

    spaCy calls it before it saves a checkpoint.
    """

    def choose(nlp: Language) -> Language:
        gold = read_docs(path, nlp.vocab)
        for name, component in nlp.pipeline:
            if isinstance(component, SpanClassifier) and sum(map(_count, gold)) >= LEAST_SPANS:
                with nlp.select_pipes(disable=name):
                    docs = list(nlp.pipe([doc.text for doc in gold]))
                scored = component.scored_spans(docs, component.predict(docs), THRESHOLDS[0])
                component.cfg["threshold"] = best_threshold(component, gold, scored)
        return nlp

    return choose


def _count(doc: spacy.tokens.Doc) -> int:
    return len(annotated_spans(doc))


def best_threshold(component: SpanClassifier, gold: list, scored: list) -> float:
    """The threshold with the highest F; of equal ones that closest to 0.5."""
    tables = []
    for doc, pairs in zip(gold, scored, strict=True):
        right = {(span.start_char, span.end_char, span.label_) for span in annotated_spans(doc)}
        if not component.cfg["overlapping"]:
            # spans are chosen from the surest on, so a higher threshold only takes away the last ones
            chosen = without_overlaps(pairs)
            pairs = [(score, span) for score, span in pairs if span in chosen]
        tables += [(score, (s.start_char, s.end_char, s.label_) in right) for score, s in pairs]
    scores = np.array([score for score, _ in tables])
    hits = np.array([hit for _, hit in tables], dtype=bool)
    expected = sum(map(_count, gold))

    def quality(threshold: float) -> tuple[float, float]:
        kept = scores >= threshold
        f = 2 * int(hits[kept].sum()) / max(1, int(kept.sum()) + expected)
        return round(f, 4), -abs(threshold - 0.5)

    return max(THRESHOLDS, key=quality) if tables else component.cfg["threshold"]
