"""Relations: counts by label, baselines, and the choice of the threshold."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from spacy.language import Language

from ie.core import stats
from ie.data.docs import entities_doc, pipeline_record
from ie.data.records import Record, Relation
from ie.evaluation import scoring

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
Types = tuple[str, str]


def keys(record: Record) -> set[tuple]:
    """The record's relations, each as (head, child, label), the ends as (start, end, label)."""
    ends = [(span.start, span.end, span.label) for span in record.spans]
    return {(ends[r.head], ends[r.child], r.label) for r in record.relations}


def count(gold: Sequence[Record], predicted: Sequence[Record], labels: Sequence[str]) -> np.ndarray:
    """`scoring.count_keys` of exact relations: the label and both ends (edges and labels) must be right."""
    return scoring.count_keys(map(keys, gold), map(keys, predicted), labels)


def predict(nlp: Language, records: Sequence[Record]) -> list[Record]:
    """The relations that a pipeline predicts between the entities of records."""
    return [pipeline_record(doc) for doc in nlp.pipe(entities_doc(record, nlp) for record in records)]


def best_threshold(
    gold: Sequence[Record], scored: Sequence[Record], labels: Sequence[str]
) -> tuple[float, float]:
    """The threshold (of `THRESHOLDS`) with the highest micro F, and that F; of equals the nearest to a half.

    Args:
        scored: relations of any probability, each with its `score`.
    """

    def f_at(threshold: float) -> float:
        accepted = [
            record.model_copy(update={"relations": [r for r in record.relations if r.score >= threshold]})
            for record in scored
        ]
        f = stats.prf(count(gold, accepted, labels).sum(axis=(0, 1)))[2]
        return 0.0 if np.isnan(f) else float(f)

    scores = {threshold: f_at(threshold) for threshold in THRESHOLDS}
    best = max(scores, key=lambda t: (round(scores[t], 6), -abs(t - 0.5)))
    return best, scores[best]


def set_threshold(nlp: Language, gold: Sequence[Record]) -> float:
    """Set the threshold of a pipeline's relations to the best for these records; returns it."""
    component = nlp.get_pipe("relations")
    component.threshold = 0.0
    component.threshold, _ = best_threshold(gold, predict(nlp, gold), component.labels)
    return component.threshold


@dataclass(frozen=True)
class Habits:
    """How pairs of entities are related in a training set, by their labels (head, child) alone.

    Attributes:
        majority: the most frequent answer for such a pair; "" for no relation.
        label: the most frequent relation of such a pair.
        forward: whether the head of that relation mostly precedes the child.
    """

    majority: dict[Types, str]
    label: dict[Types, str]
    forward: dict[Types, bool]


def habits(train: Iterable[Record]) -> Habits:
    """The `Habits` of a training set."""
    seen: dict[Types, Counter[str]] = defaultdict(Counter)
    order: dict[tuple[Types, str], int] = Counter()
    for record in train:
        related = defaultdict(set)
        for relation in record.relations:
            related[relation.head, relation.child].add(relation.label)
        for head, one in enumerate(record.spans):
            for child, other in enumerate(record.spans):
                if head != child:
                    types = one.label, other.label
                    seen[types].update(related[head, child] or {""})
                    for label in related[head, child]:
                        order[types, label] += 1 if one.start < other.start else -1

    def first(counts: Counter[str]) -> str:
        return min(counts, key=lambda label: (-counts[label], label))

    label = {
        types: first(named)
        for types, c in seen.items()
        if (named := Counter({k: n for k, n in c.items() if k}))
    }
    return Habits(
        majority={types: first(counts) for types, counts in seen.items()},
        label=label,
        forward={types: order[types, name] >= 0 for types, name in label.items()},
    )


def by_majority(record: Record, known: Habits) -> Record:
    """Every pair has the most frequent relation of its entity labels, often none."""
    relations = [
        Relation(head=head, child=child, label=label)
        for head, one in enumerate(record.spans)
        for child, other in enumerate(record.spans)
        if head != child and (label := known.majority.get((one.label, other.label)))
    ]
    return record.model_copy(update={"relations": relations})


def by_rule(record: Record, known: Habits) -> Record:
    """Each entity is the child of the nearest entity that it can be the child of.

    Nearest in characters; for two entities of one label the head is on the side where it mostly is.
    """
    spans = record.spans
    relations = []
    for child, other in enumerate(spans):
        near = [
            (max(one.start, other.start) - min(one.end, other.end), head)
            for head, one in enumerate(spans)
            if head != child
            and (types := (one.label, other.label)) in known.label
            and (one.label != other.label or known.forward[types] == (one.start < other.start))
        ]
        if near:
            head = min(near)[1]
            relations.append(
                Relation(head=head, child=child, label=known.label[spans[head].label, other.label])
            )
    return record.model_copy(update={"relations": relations})
