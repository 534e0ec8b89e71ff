"""Relations outside the component: scores by label, what they have to beat, the threshold."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from spacy.language import Language

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.docs import entities_doc, pipeline_record
from ie.data.records import Record, Relation
from ie.evaluation.scoring import ALL

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
Types = tuple[str, str]


def keys(record: Record) -> set[tuple]:
    """The record's relations, each as (head, child, label), the ends as (start, end, label)."""
    ends = [(span.start, span.end, span.label) for span in record.spans]
    return {(ends[r.head], ends[r.child], r.label) for r in record.relations}


def count(gold: Sequence[Record], predicted: Sequence[Record], labels: Sequence[str]) -> np.ndarray:
    """True positives, false positives and false negatives of exact relations.

    A relation is right if its label and both its ends (edges and labels) are.

    Returns:
        (documents, labels, 3), integers. Sum over axis 1 for the micro average.
    """
    column = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(gold), len(labels), 3), dtype=np.int64)
    for row, (right, answer) in enumerate(zip(gold, predicted, strict=True)):
        gold_keys, predicted_keys = keys(right), keys(answer)
        for kind, some in enumerate(
            (gold_keys & predicted_keys, predicted_keys - gold_keys, gold_keys - predicted_keys)
        ):
            for key in some:
                if key[2] in column:
                    counts[row, column[key[2]], kind] += 1
    return counts


def predict(nlp: Language, records: Sequence[Record]) -> list[Record]:
    """The relations that a pipeline finds between the entities of records."""
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
            record.model_copy(update={"relations": [r for r in record.relations if score_of(r) >= threshold]})
            for record in scored
        ]
        f = stats.prf(count(gold, accepted, labels).sum(axis=(0, 1)))[2]
        return 0.0 if np.isnan(f) else float(f)

    scores = {threshold: f_at(threshold) for threshold in THRESHOLDS}
    best = max(scores, key=lambda t: (round(scores[t], 6), -abs(t - 0.5)))
    return best, scores[best]


def set_threshold(nlp: Language, gold: Sequence[Record]) -> float:
    """Give a pipeline's relations the threshold that is best for these records; returns it."""
    component = nlp.get_pipe("relations")
    component.threshold = 0.0
    component.threshold, _ = best_threshold(gold, predict(nlp, gold), component.labels)
    return component.threshold


def score_of(relation: Relation) -> float:
    """The probability a component gave it."""
    return (relation.model_extra or {})["score"]


@dataclass(frozen=True)
class Habits:
    """What a training set says of pairs of entities, without a look at their words.

    Attributes:
        majority: what most pairs of such entity labels (head, child) are; "" for no relation.
        label: the most frequent relation between such a pair.
        forward: whether the head of that mostly stands before the child.
    """

    majority: dict[Types, str]
    label: dict[Types, str]
    forward: dict[Types, bool]


def habits(train: Iterable[Record]) -> Habits:
    """Learn `Habits` of a training set."""
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
    """Every pair has the relation that most pairs of its entity labels have, often none."""
    relations = [
        Relation(head=head, child=child, label=label)
        for head, one in enumerate(record.spans)
        for child, other in enumerate(record.spans)
        if head != child and (label := known.majority.get((one.label, other.label)))
    ]
    return record.model_copy(update={"relations": relations})


def by_rule(record: Record, known: Habits) -> Record:
    """Each entity is the child of the nearest entity that it can be the child of.

    Nearest in characters; for two entities of one label the head stands on the side where it mostly does.
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


@dataclass(frozen=True)
class RelationScores:
    """Systems on the same texts: counts (documents, 3) and P, R, F, by system and by label or "all"."""

    counts: dict[str, dict[str, np.ndarray]]
    scores: dict[str, dict[str, tuple[Estimate, Estimate, Estimate]]]


def score(
    gold: Sequence[Record], systems: dict[str, Sequence[Record]], labels: Sequence[str], seed: int = 0
) -> RelationScores:
    """P, R and F of each system with intervals, by label and micro."""
    counts = {}
    for name, predicted in systems.items():
        table = count(gold, predicted, labels)
        counts[name] = {label: table[:, i] for i, label in enumerate(labels)} | {ALL: table.sum(axis=1)}
    scores = {
        name: {label: stats.intervals(c, seed=seed) for label, c in by_label.items()}
        for name, by_label in counts.items()
    }
    return RelationScores(counts, scores)


def rows(scored: RelationScores, documents: int) -> list[list[str]]:
    """A row a system and label for a terminal: name, label, n, P, R, F; n = annotated relations."""
    table = []
    for name, by_label in scored.scores.items():
        for i, (label, estimates) in enumerate(by_label.items()):
            tp, _, fn = scored.counts[name][label].sum(axis=0)
            cells = (stats.format_score(e, documents=documents) for e in estimates)
            table.append([name if not i else "", label, f"{tp + fn:,}", *cells])
    return table


def figures(scored: RelationScores) -> dict[str, Any]:
    """The same for a JSON file: system, label, then `p`, `r`, `f` as [value, low, high] and the counts."""
    return {
        name: {
            label: {metric: e.rounded() for metric, e in zip(stats.METRICS, estimates, strict=True)}
            | dict(
                zip(
                    ("correct", "spurious", "missing"),
                    map(int, scored.counts[name][label].sum(axis=0)),
                    strict=True,
                )
            )
            for label, estimates in by_label.items()
        }
        for name, by_label in scored.scores.items()
    }
