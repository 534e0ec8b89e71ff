"""How good the pipeline is on the applied texts: a random sample is reviewed, without its answers in view.

The sample has the texts with the smallest hashes, so it is random over all distinct texts, takes constant
memory, and changes little when more texts are applied.
"""

import heapq
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
from ie.deploy.watch.measures import values_of
from ie.deploy.watch.reference import Reference
from ie.evaluation import history, scoring

# Reviewed texts of the sample from which on a score is given.
FEWEST = 10


class RandomSample:
    """A random sample of the texts that are added, each text once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._heap: list[int] = []  # hashes, negated, as the largest one goes first
        self._kept: dict[int, AppliedText] = {}

    def add(self, applied: AppliedText) -> None:
        """Take in a text, or not."""
        rank = int(text_hash(applied.record.text), 16)
        if rank in self._kept:
            return
        heapq.heappush(self._heap, -rank)
        self._kept[rank] = applied
        if len(self._heap) > self.size:
            del self._kept[-heapq.heappop(self._heap)]

    def texts(self) -> list[AppliedText]:
        """The sample, in random order."""
        return [self._kept[rank] for rank in sorted(self._kept)]


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
) -> ProductionScore | None:
    """The score on the texts of the sample that people accepted; None if these are fewer than `FEWEST`.

    Args:
        kinds: of each text of the sample (see `kinds_of`).
    """
    answers = {record.text: record for record in records.accepted(list(gold))}
    pairs = [(answers[record.text], record) for record in sample if record.text in answers]
    of_pairs = [kind for record, kind in zip(sample, kinds, strict=False) if record.text in answers]
    if len(pairs) < FEWEST or not len(reference.counts):
        return None
    right, predicted = (scoring.view(side, scheme.scored) for side in zip(*pairs, strict=True))
    counts = scoring.count(right, predicted, reference.labels)
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
