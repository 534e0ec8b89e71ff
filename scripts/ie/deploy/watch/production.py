"""How good the pipeline is on the applied texts: a random sample is reviewed, without its answers in view.

The sample has the texts with the smallest ranks, made from their hashes, so it is random over all distinct
texts, takes constant memory, and changes little when more texts are applied. It may have more of the less
sure texts, in which there is more to correct; the score is weighted then, so that it is that of all texts.
"""

import heapq
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from ie.core import stats
from ie.core.files import write_jsonl
from ie.core.stats import Estimate
from ie.core.text import counted, text_hash
from ie.data import records
from ie.data.records import Record
from ie.data.scheme import Scheme
from ie.deploy.watch.applied import AppliedText
from ie.deploy.watch.measures import confidences, values_of
from ie.deploy.watch.reference import Reference
from ie.evaluation import history, scoring

# Reviewed texts of the sample from which on a score is given.
FEWEST = 10
# A text is drawn at least this often, relative to one of which all is doubted.
LEAST_DOUBT = 0.1


class RandomSample:
    """A random sample of the texts that are added, each text once.

    Args:
        by_confidence: draw less sure texts more often. Scores must be weighted with `weights` then.
    """

    def __init__(self, size: int, *, by_confidence: bool = False) -> None:
        self.size, self.by_confidence = size, by_confidence
        # Negated ranks, as the largest one goes first. One more text than the sample: its rank is the limit.
        self._heap: list[tuple[float, str]] = []
        self._kept: dict[str, tuple[AppliedText, float]] = {}

    def add(self, applied: AppliedText) -> None:
        """Take in a text, or not."""
        key = text_hash(applied.record.text)
        chance = doubt(applied.record) if self.by_confidence else 1.0
        # Exponentially distributed with this rate, as the hash is uniform.
        uniform = (int(key, 16) + 0.5) / 16 ** len(key)
        rank = -math.log1p(-uniform) / chance
        if key in self._kept or not self.size or (len(self._heap) > self.size and -rank < self._heap[0][0]):
            return
        heapq.heappush(self._heap, (-rank, key))
        self._kept[key] = applied, chance
        if len(self._heap) > self.size + 1:
            _, gone = heapq.heappop(self._heap)
            del self._kept[gone]

    def _drawn(self) -> list[tuple[AppliedText, float]]:
        return [self._kept[key] for _, key in sorted(self._heap, reverse=True)[: self.size]]

    def texts(self) -> list[AppliedText]:
        """The sample, in random order."""
        return [applied for applied, _ in self._drawn()]

    def weights(self) -> list[float]:
        """How many texts each text of the sample stands for, relative to the others.

        It is the inverse of its probability to be drawn, given the rank of the first text that wasn't (Cohen
        and Kaplan 2007).
        """
        if not self.by_confidence or len(self._heap) <= self.size:
            return [1.0] * len(self._drawn())
        limit = -self._heap[0][0]
        return [1 / -math.expm1(-chance * limit) for _, chance in self._drawn()]


def doubt(record: Record) -> float:
    """Mean doubt about the entities of a text; without any of known confidence, as much as in a coin toss."""
    sure = confidences(record)
    return max(LEAST_DOUBT, 1 - sum(sure) / len(sure)) if sure else 0.5


def write_sample(path: Path, results: Path, sample: Sequence[AppliedText]) -> None:
    """Write the texts that `review` asks about, each with its answer by the pipeline and its origin."""
    write_jsonl(
        path,
        (
            applied.record.model_dump(exclude_unset=True)
            | {"meta": {"watch": {"results": results.as_posix(), "file": applied.file, "row": applied.row}}}
            for applied in sample
        ),
    )


@dataclass(frozen=True)
class LabelDifference:
    """F of a label on the sample minus F on test. `holm`: p of no difference, corrected for all labels."""

    label: str
    difference: Estimate
    holm: float


@dataclass(frozen=True)
class KindDifference:
    """F on one kind of text of the sample minus F on its other texts. `holm`: corrected for all kinds."""

    kind: str
    texts: int
    difference: Estimate
    holm: float


@dataclass(frozen=True)
class ProductionScore:
    """The pipeline on the reviewed part of the sample, beside its score on test.

    Attributes:
        texts: reviewed texts. sample: all texts of the sample.
        difference: F on the sample minus F on test. holm: p of no difference, corrected for all labels.
        labels: of each label, the largest loss first.
        kinds: of each kind of text, the worst first.
    """

    texts: int
    sample: int
    f: Estimate
    test_texts: int
    test: Estimate
    difference: Estimate
    holm: float
    labels: tuple[LabelDifference, ...]
    kinds: tuple[KindDifference, ...] = ()

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `noise`."""
        if not self.holm < 1 - stats.CONFIDENCE:
            return "noise"
        return "better" if self.difference.value > 0 else "worse"

    def worse_labels(self) -> list[LabelDifference]:
        """The labels that are worse beyond noise."""
        return [one for one in self.labels if one.holm < 1 - stats.CONFIDENCE and one.difference.value < 0]

    def worst_kinds(self) -> list[KindDifference]:
        """The kinds of text that are worse than the others beyond noise."""
        return [one for one in self.kinds if one.holm < 1 - stats.CONFIDENCE and one.difference.value < 0]


def kinds_of(sample: Sequence[AppliedText], words: Collection[str]) -> list[frozenset[str]]:
    """The kinds that each text is of: its file or day, its category, and in which half of the sample it is by
    length and by unknown words.

    Args:
        words: of the training texts.
    """
    values = [values_of(one.record, words) for one in sample]
    halves = {
        name: median([of_text.get(name, 0.0) for of_text in values]) if values else 0.0
        for name in ("length", "unknown words")
    }
    named = {"length": ("longer texts", "shorter texts")}
    named["unknown words"] = ("texts with more unknown words", "texts with fewer unknown words")
    kinds = []
    for one, of_text in zip(sample, values, strict=True):
        kind = {f"texts of {one.period}"}
        kind |= {f"texts of the category {name}" for name in one.record.categories}
        kind |= {named[name][of_text.get(name, 0.0) <= middle] for name, middle in halves.items()}
        kinds.append(frozenset(kind))
    return kinds


def _compared(counts: np.ndarray, kinds: Sequence[Collection[str]]) -> tuple[KindDifference, ...]:
    """Each kind against the other texts, where both are enough for a score."""
    measured = {}
    for kind in sorted({kind for of_text in kinds for kind in of_text}):
        inside = np.array([kind in of_text for of_text in kinds])
        if min(inside.sum(), (~inside).sum()) >= FEWEST:
            measured[kind] = int(inside.sum()), stats.unpaired_difference(counts[inside], counts[~inside])
    corrected = stats.holm([p for _, (_, p) in measured.values()])
    differences = [
        KindDifference(kind, n, difference, holm)
        for (kind, (n, (difference, _))), holm in zip(measured.items(), corrected, strict=True)
    ]
    return tuple(sorted(differences, key=lambda one: one.difference.value))


def score(
    sample: Sequence[Record],
    gold: Iterable[Record],
    reference: Reference,
    scheme: Scheme,
    kinds: Sequence[Collection[str]] = (),
    weights: Sequence[float] = (),
) -> ProductionScore | None:
    """The score on the texts of the sample that people accepted; None if these are fewer than `FEWEST`.

    Args:
        kinds: of each text of the sample (see `kinds_of`). weights: see `RandomSample.weights`.
    """
    answers = {record.text: record for record in records.accepted(list(gold))}
    pairs = [(answers[record.text], record) for record in sample if record.text in answers]
    of_pairs = [kind for record, kind in zip(sample, kinds, strict=False) if record.text in answers]
    if len(pairs) < FEWEST or not len(reference.counts):
        return None
    right, predicted = (scoring.view(side, scheme.scored) for side in zip(*pairs, strict=True))
    counts = scoring.count(right, predicted, reference.labels)
    if of_weights := [w for record, w in zip(sample, weights, strict=False) if record.text in answers]:
        counts = counts * np.array(of_weights)[:, None, None] / np.mean(of_weights)
    (_, _, f), (_, _, test) = (stats.intervals(c.sum(axis=1)) for c in (counts, reference.counts))
    both = {scoring.ALL: (counts.sum(axis=1), reference.counts.sum(axis=1))}
    if len(reference.labels) > 1:
        both |= {label: (counts[:, i], reference.counts[:, i]) for i, label in enumerate(reference.labels)}
    measured = {
        label: stats.unpaired_difference(first, second)
        for label, (first, second) in both.items()
        if label == scoring.ALL or (first.any() and second.any())
    }
    corrected = stats.holm([p for _, p in measured.values()])
    everything, *labels = (
        LabelDifference(label, difference, holm)
        for (label, (difference, _)), holm in zip(measured.items(), corrected, strict=True)
    )
    return ProductionScore(
        texts=len(pairs),
        sample=len(sample),
        f=f,
        test_texts=len(reference.counts),
        test=test,
        difference=everything.difference,
        holm=everything.holm,
        labels=tuple(sorted(labels, key=lambda one: one.difference.value)),
        kinds=_compared(counts.sum(axis=1), of_pairs) if of_pairs else (),
    )


def sentences(score: ProductionScore) -> list[str]:
    """The score in words, the labels that fell, and the kind of text that is worst."""
    f = stats.format_score(score.f, documents=score.texts)
    test = stats.format_score(score.test, documents=score.test_texts)
    n = min(score.texts, score.test_texts)
    verdicts = {
        "noise": "the difference is noise",
        "worse": f"worse beyond noise: {stats.format_difference(score.difference, n)}",
        "better": f"better beyond noise: {stats.format_difference(score.difference, n)}",
    }
    lines = [
        f"F on {counted(score.texts, 'reviewed text')} of these is {f}, on "
        f"{counted(score.test_texts, 'test text')} {test}; {verdicts[score.verdict]}."
    ]
    if worse := score.worse_labels():
        changes = "; ".join(
            f"{one.label} by {stats.format_difference(one.difference.absolute(), n)}" for one in worse
        )
        lines.append(f"Worse beyond noise, by label: {changes}.")
    if worst := score.worst_kinds():
        one = worst[0]
        smaller = min(one.texts, score.texts - one.texts)
        lines.append(
            f"Worse than the others of the sample: {one.kind}, by "
            f"{stats.format_difference(one.difference.absolute(), smaller)}."
        )
    return lines


def log(path: Path, score: ProductionScore, reference: Reference, results: Path, date: str) -> bool:
    """Add a score to the file that `history` reads, unless the same one is there; whether it was added.

    `counts` are those on test, by which `history` finds the result of the same pipeline.
    """
    past = history.read_production(path)
    new = {
        "counts": history.pack(reference.counts.sum(axis=1)),
        "results": results.as_posix(),
        "texts": score.texts,
        **score.f.flat("f"),
        "verdict": score.verdict,
    }
    if any({**old, "date": ""} == {**new, "date": ""} for old in past):
        return False
    write_jsonl(path, [*past, {"date": date, **new}])
    return True
