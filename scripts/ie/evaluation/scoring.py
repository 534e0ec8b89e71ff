"""Exact spans counted by document and label, scores by label, and the errors by kind.

Where categories are scored, `view` first turns them into spans over the whole text.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ie.core import stats
from ie.core.errors import UserError
from ie.core.stats import FN, TP, Estimate
from ie.core.text import counted
from ie.data.records import Record, Span
from ie.data.scheme import Scored

ALL = "all"
KINDS = ("boundary", "type", "both", "missing", "spurious")
Known = set[tuple[str, str]]
# Shown wherever the LLM's score on dev stands alone.
LLM_ON_DEV = (
    "If the LLM's prompt was chosen on dev, as by tune-prompt, its score there is too high; evaluate "
    "gives it on test."
)


class Error(NamedTuple):
    """A difference between gold and prediction.

    `kind`: "boundary" (same label, overlapping, other edges), "type" (same edges, other label), "both",
    "missing" (nothing predicted there), "spurious" (nothing annotated there).
    """

    kind: str
    gold: Span | None
    predicted: Span | None

    @property
    def label(self) -> str:
        """The label it counts for: the annotated one where there is one."""
        span = self.gold or self.predicted
        assert span is not None
        return span.label


@dataclass(frozen=True)
class Slice:
    """Some of the test documents, by index, and what they have in common."""

    name: str
    documents: np.ndarray


def view(records: Iterable[Record], scored: Scored) -> list[Record]:
    """Records that hold what is scored of them as their spans.

    Args:
        scored: "spans" leaves them as they are. "category" has one span over the whole text instead, with
            the likeliest category (of equals the first by name; none where all are 0), "categories" one
            with each category of at least one half.
    """
    if scored == "spans":
        return list(records)
    return [
        record.model_copy(
            update={
                "spans": [
                    Span(start=0, end=len(record.text), label=label) for label in _categories(record, scored)
                ],
                "relations": [],
            }
        )
        for record in records
    ]


def _categories(record: Record, scored: Scored) -> list[str]:
    if scored == "categories":
        return sorted(record.categories)
    likeliest = min(record.cats, key=lambda label: (-record.cats[label], label), default=None)
    return [likeliest] if likeliest is not None and record.cats[likeliest] > 0 else []


def labels_of(records: Iterable[Record], known: Sequence[str] = ()) -> tuple[str, ...]:
    """`known`, then whatever other span labels occur, sorted."""
    occurring = {span.label for record in records for span in record.spans}
    return (*known, *sorted(occurring - set(known)))


def count(gold: Sequence[Record], predicted: Sequence[Record], labels: Sequence[str]) -> np.ndarray:
    """`count_keys` of exact spans (edges and label)."""
    pairs = list(_aligned(gold, predicted))
    return count_keys([_keys(g.spans) for g, _ in pairs], [_keys(p.spans) for _, p in pairs], labels)


def count_keys(
    gold: Iterable[set[tuple]], predicted: Iterable[set[tuple]], labels: Sequence[str]
) -> np.ndarray:
    """True positives, false positives and false negatives of keys, the last part of which is their label.

    Keys with other labels than `labels` aren't counted.

    Returns:
        (documents, labels, 3), integers. Sum over axis 1 for the micro average.
    """
    index = {label: i for i, label in enumerate(labels)}
    pairs = list(zip(gold, predicted, strict=True))
    counts = np.zeros((len(pairs), len(labels), 3), dtype=np.int64)
    for row, (right, answer) in enumerate(pairs):
        for column, keys in enumerate((right & answer, answer - right, right - answer)):
            for *_, label in keys:
                if label in index:
                    counts[row, index[label], column] += 1
    return counts


@dataclass(frozen=True)
class LabelScores:
    """Systems on the same texts: counts (documents, 3) and P, R, F, by system and by label or "all"."""

    counts: dict[str, dict[str, np.ndarray]]
    scores: dict[str, dict[str, tuple[Estimate, Estimate, Estimate]]]

    def annotated(self, system: str, label: str) -> int:
        """How many spans, relations or texts gold has."""
        return int(self.counts[system][label][:, [TP, FN]].sum())

    def rows(self) -> list[list[str]]:
        """Rows for a terminal: system, label, n (annotated spans, relations or texts), P, R, F."""
        return [
            [
                system if i == 0 else "",
                label,
                f"{self.annotated(system, label):,}",
                *(stats.format_score(e, documents=len(self.counts[system][label])) for e in estimates),
            ]
            for system, by_label in self.scores.items()
            for i, (label, estimates) in enumerate(by_label.items())
        ]

    def groups(self) -> list[tuple[str, ...]]:
        """The systems, two or more, whose micro F can't be told apart (see `stats.groups`)."""
        pairs = stats.compare({system: by_label[ALL] for system, by_label in self.counts.items()})
        return [group for group in stats.groups(list(self.counts), pairs) if len(group) > 1]

    def figures(self) -> dict[str, dict[str, dict[str, Any]]]:
        """For a JSON file: by system and label `p`, `r`, `f` as [value, low, high]."""
        return {
            system: {label: stats.prf_figures(estimates) for label, estimates in by_label.items()}
            for system, by_label in self.scores.items()
        }


def score_labels(tables: Mapping[str, np.ndarray], labels: Sequence[str], seed: int = 0) -> LabelScores:
    """P, R and F by label and micro, with intervals, of systems with counts (documents, labels, 3)."""
    counts = {
        system: {label: table[:, i] for i, label in enumerate(labels)} | {ALL: table.sum(axis=1)}
        for system, table in tables.items()
    }
    scores = {
        system: {label: stats.intervals(c, seed=seed) for label, c in by_label.items()}
        for system, by_label in counts.items()
    }
    return LabelScores(counts, scores)


def count_by_text(results: Iterable[Any], count: Callable[[Any], Sequence[int]]) -> np.ndarray:
    """Sums of `count`, (texts, 3), over results that each have a `record`."""
    counts: dict[str, np.ndarray] = {}
    for result in results:
        row = counts.setdefault(result.record.text, np.zeros(3, dtype=np.int64))
        row += np.array(count(result), dtype=np.int64)
    return np.array(list(counts.values())).reshape(-1, 3)


def share_right(results: Iterable[Any], seed: int = 0) -> Estimate:
    """The share of results that are `right`, with its bootstrap interval over texts."""
    return stats.intervals(count_by_text(results, lambda r: (r.right, 0, not r.right)), seed=seed)[1]


def errors(gold: Record, predicted: Record) -> list[Error]:
    """The differences in one document, each span in one of them at most, by position.

    Exact spans are right. Of the rest, same edges are paired first, then overlaps with the same label, then
    other overlaps, the longest overlap first.
    """
    gold_keys, predicted_keys = _keys(gold.spans), _keys(predicted.spans)
    missing = [span for span in gold.spans if _key(span) not in predicted_keys]
    spurious = [span for span in predicted.spans if _key(span) not in gold_keys]
    candidates = []
    for g, right in enumerate(missing):
        for p, answer in enumerate(spurious):
            overlap = min(right.end, answer.end) - max(right.start, answer.start)
            if overlap <= 0:
                continue
            same_edges = (right.start, right.end) == (answer.start, answer.end)
            kind = "type" if same_edges else "boundary" if right.label == answer.label else "both"
            candidates.append((("type", "boundary", "both").index(kind), -overlap, g, p, kind))
    paired_gold: set[int] = set()
    paired_answers: set[int] = set()
    result = []
    for _, _, g, p, kind in sorted(candidates):
        if g not in paired_gold and p not in paired_answers:
            paired_gold.add(g)
            paired_answers.add(p)
            result.append(Error(kind, missing[g], spurious[p]))
    result += [Error("missing", span, None) for i, span in enumerate(missing) if i not in paired_gold]
    result += [Error("spurious", None, span) for i, span in enumerate(spurious) if i not in paired_answers]
    return sorted(result, key=lambda e: min(span.start for span in (e.gold, e.predicted) if span))


def error_counts(
    gold: Sequence[Record], predicted: Sequence[Record], labels: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Number of errors of each kind, by label; kinds and labels without errors have 0."""
    seen = Counter((error.label, error.kind) for pair in _aligned(gold, predicted) for error in errors(*pair))
    return {label: {kind: seen[label, kind] for kind in KINDS} for label in labels}


def known_strings(train: Iterable[Record]) -> Known:
    """(string, label) of every annotated span; case and runs of whitespace don't count."""
    return {(normal_string(record, span), span.label) for record in train for span in record.spans}


def new_names(
    gold: Sequence[Record], predicted: Sequence[Record], label: str, train: Sequence[Record], listed: set[str]
) -> np.ndarray:
    """Counts (documents, 3) of the spans of a label whose string is in no list and in no training text.

    Annotated and predicted spans count by their own string; case and runs of whitespace make no difference.

    Args:
        listed: names and aliases of the list.
    """
    names = {_folded(name) for name in listed}
    texts = "\n".join(_folded(record.text) for record in train)
    strings = {
        normal_string(record, span)
        for record in (*gold, *predicted)
        for span in record.spans
        if span.label == label
    }
    known = {(string, label) for string in strings if string in names or string in texts}
    return by_novelty(gold, predicted, [label], known)["unseen"]


def by_novelty(
    gold: Sequence[Record], predicted: Sequence[Record], labels: Sequence[str], known: Known
) -> dict[str, np.ndarray]:
    """Counts of the spans whose string had this label in training ("seen"), and of the others.

    Returns:
        Two arrays (documents, 3), micro over `labels`; predictions count by their own string.
    """

    def only(record: Record, seen: bool) -> Record:
        spans = [s for s in record.spans if ((normal_string(record, s), s.label) in known) == seen]
        return Record(text=record.text, spans=spans)

    return {
        name: count([only(r, seen) for r in gold], [only(r, seen) for r in predicted], labels).sum(axis=1)
        for name, seen in (("seen", True), ("unseen", False))
    }


def by_length(lengths: Sequence[int], parts: int = 3) -> list[Slice]:
    """Documents in `parts` of about equal number, from the shortest; equal lengths stay together.

    Args:
        lengths: words of each document.
    """
    sizes = np.asarray(lengths)
    if not len(sizes):
        return []
    ordered = np.sort(sizes)
    uppers = sorted({int(ordered[-(-len(sizes) * k // parts) - 1]) for k in range(1, parts + 1)})
    slices, low = [], int(ordered[0])
    for high in uppers:
        documents = np.flatnonzero((sizes >= low) & (sizes <= high))
        slices.append(Slice(f"{low}-{high} words" if low < high else f"{high} words", documents))
        low = high + 1
    return slices


def by_meta(records: Sequence[Record], key: str) -> list[Slice]:
    """Documents by a value of their `meta` (writer, source), most frequent first; [] if none has it."""
    values = [str(record.meta[key]) if record.meta.get(key) is not None else None for record in records]
    frequency = Counter(value for value in values if value is not None)
    ordered: list[str | None] = sorted(frequency, key=lambda value: (-frequency[value], value))
    if ordered and None in values:
        ordered.append(None)
    return [
        Slice(f"{key} {value or 'not given'}", np.array([i for i, v in enumerate(values) if v == value]))
        for value in ordered
    ]


def by_category(records: Sequence[Record]) -> list[Slice]:
    """Documents by category (such as genre), most frequent first; one with two is in both."""
    indices: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        for name in record.categories:
            indices.setdefault(name, []).append(i)
    ordered = sorted(indices, key=lambda name: (-len(indices[name]), name))
    return [Slice(f"category {name}", np.array(indices[name])) for name in ordered]


def kinds_by_slice(
    gold: Sequence[Record], predicted: Sequence[Record], slices: Sequence[Slice], known: Known
) -> dict[str, dict[str, int]]:
    """Number of errors of each kind among strings seen in training and unseen, and in each slice.

    A string is that of the gold span, or of the prediction where there is no gold.
    """

    def seen(i: int, error: Error) -> bool:
        span = error.gold or error.predicted
        assert span is not None
        return (normal_string(gold[i], span), span.label) in known

    numbered = [(i, e) for i, pair in enumerate(_aligned(gold, predicted)) for e in errors(*pair)]
    parts = {
        "seen in training": Counter(e.kind for i, e in numbered if seen(i, e)),
        "unseen in training": Counter(e.kind for i, e in numbered if not seen(i, e)),
    }
    for cut in slices:
        inside = set(cut.documents.tolist())
        parts[cut.name] = Counter(e.kind for i, e in numbered if i in inside)
    return {name: {kind: counter[kind] for kind in KINDS} for name, counter in parts.items()}


def worst(gold: Sequence[Record], predicted: Sequence[Record], n: int = 30) -> list[int]:
    """Indices of the documents with the most errors; of equals, those with less right, then by id."""
    ranked = []
    for i, (right, answer) in enumerate(_aligned(gold, predicted)):
        wrong = len(errors(right, answer))
        if wrong:
            ranked.append((-wrong, len(_keys(right.spans) & _keys(answer.spans)), right.id, i))
    return [i for *_, i in sorted(ranked)[:n]]


def require_scorable(gold: Sequence[Record], path: Path) -> None:
    """Refuse a set of gold records on which nothing can be measured: no record, or no span in any."""
    if not gold:
        raise UserError(
            f"{path}: holds no accepted example to test on; review some, then run `weasel run split`."
        )
    if fault := unlabelled(gold, path):
        raise UserError(fault)


def unlabelled(gold: Sequence[Record], path: Path) -> str:
    """Why no score means anything, a sentence; "" if a gold record has a span or category."""
    if any(record.spans for record in gold):
        return ""
    return (
        f"{path}: {counted(len(gold), 'text')} without any span or category, so nothing can be scored; "
        "review more texts, then run `weasel run split`."
    )


def _aligned(gold: Sequence[Record], predicted: Sequence[Record]) -> Iterable[tuple[Record, Record]]:
    for right, answer in zip(gold, predicted, strict=True):
        if right.text != answer.text:
            raise ValueError(f"gold and prediction are of different texts: {right.id}, {answer.id}")
        yield right, answer


def _key(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.label


def _keys(spans: Iterable[Span]) -> set[tuple[int, int, str]]:
    return set(map(_key, spans))


def normal_string(record: Record, span: Span) -> str:
    """The text of a span in one case, with single spaces."""
    return _folded(record.text[span.start : span.end])


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
