"""What corrections bought: the pipeline before and after them, on the same gold test texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ie.core import stats
from ie.core.stats import Estimate
from ie.data.records import Record
from ie.evaluation import scoring


@dataclass(frozen=True)
class Improvement:
    """F of both pipelines, by label and over all, and the difference (after minus before).

    `scores`: label ("all" for the micro average) to before, after, difference. `p`: two-sided, of the
    difference over all being none. `n`: test texts.
    """

    scores: dict[str, tuple[Estimate, Estimate, Estimate]]
    p: float
    n: int


def changes(old: Sequence[Record], new: Sequence[Record]) -> dict[str, int]:
    """How many texts of a side are new, have other spans, were left out, or stayed as they were."""
    before = {record.text: _annotation(record) for record in old}
    after = {record.text: _annotation(record) for record in new}
    both = before.keys() & after.keys()
    corrected = sum(before[text] != after[text] for text in both)
    return {
        "added": len(after.keys() - before.keys()),
        "corrected": corrected,
        "left out": len(before.keys() - after.keys()),
        "as before": len(both) - corrected,
    }


def _annotation(record: Record) -> Any:
    return sorted((span.start, span.end, span.label) for span in record.spans)


def compare(
    gold: Sequence[Record],
    before: Sequence[Record],
    after: Sequence[Record],
    labels: Sequence[str],
    *,
    seed: int = 0,
) -> Improvement:
    """Score both on the same texts: paired bootstrap for the difference, approximate randomisation for p."""
    first, second = (scoring.count(gold, answers, labels) for answers in (before, after))
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {
        label: (first[:, i], second[:, i]) for i, label in enumerate(labels)
    }
    columns["all"] = first.sum(axis=1), second.sum(axis=1)
    scores = {
        name: (
            stats.intervals(one, seed=seed)[2],
            stats.intervals(other, seed=seed)[2],
            stats.difference(other, one, seed=seed),
        )
        for name, (one, other) in columns.items()
    }
    return Improvement(scores, stats.randomisation(*columns["all"], seed=seed), len(gold))


def sentence(found: Improvement) -> str:
    """What the corrections bought, for people."""
    difference = found.scores["all"][2]
    moved = stats.format_difference(difference, found.n)
    told = f"The corrections moved F by {moved}, n={found.n:,} test texts, p={found.p:.4f}"
    if found.p >= 1 - stats.CONFIDENCE:
        return f"{told}: this may be noise."
    return f"{told}: {'better' if difference.value > 0 else 'worse'} by more than noise."
