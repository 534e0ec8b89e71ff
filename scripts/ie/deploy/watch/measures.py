"""What is measured of a text and its annotation, and tallies of it that take constant memory."""

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from ie.core.stats import CONFIDENCE, Estimate
from ie.data.records import HAS_CATEGORY, Record

Kind = Literal["share", "amount"]
# A word has a letter in it. Chinese, Japanese and Thai are written without spaces: each character is a word.
WORD = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+"
)
# Bounds between the values that are told apart; beyond 60 words, each is 5 % above the one before.
SHARE = (0.5,)
COUNTS = tuple(n + 0.5 for n in range(60))
LENGTHS = (*COUNTS, *(60 * 1.05**k for k in range(1, 180)))
PERCENTS = tuple((n + 0.5) / 100 for n in range(100))


@dataclass(frozen=True)
class Measure:
    """A number that each text has, or that is true or false of it (a "share" of the texts).

    Attributes:
        name: key in files, such as "unknown words" or "label COMPANY".
        edges: bounds between the values that a tally tells apart.
    """

    name: str
    kind: Kind
    edges: tuple[float, ...]

    def bin(self, value: float) -> int:
        """The number of the interval that holds a value."""
        return bisect_right(self.edges, value)


def measures_of(labels: Iterable[str], categories: Iterable[str], *, confidence: bool) -> tuple[Measure, ...]:
    """The measures for a pipeline with these labels of entities, and categories.

    Args:
        confidence: whether entities have a confidence.
    """
    labels = list(labels)
    measures = [Measure("length", "amount", LENGTHS), Measure("unknown words", "amount", PERCENTS)]
    if labels:
        measures += [Measure("entities", "amount", COUNTS), Measure("no entity", "share", SHARE)]
        measures += [Measure(f"label {label}", "share", SHARE) for label in labels]
    measures += [Measure(f"category {name}", "share", SHARE) for name in categories]
    if confidence:
        measures.append(Measure("confidence", "amount", PERCENTS))
    return tuple(measures)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without numbers."""
    return WORD.findall(text.lower())


def values_of(record: Record, known_words: Collection[str]) -> dict[str, float]:
    """Each measure of an annotated text; one that isn't defined for it, or is 0, may be missing.

    Args:
        known_words: of the training texts.
    """
    words = words_of(record.text)
    values: dict[str, float] = {"length": len(words), "entities": len(record.spans)}
    values["no entity"] = float(not record.spans)
    if words:
        values["unknown words"] = sum(word not in known_words for word in words) / len(words)
    for span in record.spans:
        values[f"label {span.label}"] = 1.0
    for name, score in record.cats.items():
        values[f"category {name}"] = float(score >= HAS_CATEGORY)
    if sure := confidences(record):
        values["confidence"] = sum(sure) / len(sure)
    return values


def confidences(record: Record) -> list[float]:
    """The confidence of each entity that has one."""
    found = ((span.model_extra or {}).get("confidence") for span in record.spans)
    return [float(value) for value in found if value is not None]


@dataclass
class Tally:
    """How many texts have which value of each measure.

    Attributes:
        bins: by measure, the number of texts with a value in each interval of its edges.
        sums: by measure, the sum of the values and of their squares.
    """

    measures: tuple[Measure, ...]
    texts: int = 0
    bins: dict[str, np.ndarray] = field(default_factory=dict)
    sums: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for measure in self.measures:
            self.bins.setdefault(measure.name, np.zeros(len(measure.edges) + 1, dtype=np.int64))
            self.sums.setdefault(measure.name, np.zeros(2))

    def add(self, values: Mapping[str, float]) -> None:
        """Count a text."""
        self.texts += 1
        for measure in self.measures:
            # a label or category that isn't there is a no; a mean of nothing isn't counted
            value = values.get(measure.name, 0.0 if measure.kind == "share" else None)
            if value is not None:
                self.bins[measure.name][measure.bin(value)] += 1
                self.sums[measure.name] += (value, value * value)

    def __add__(self, other: "Tally") -> "Tally":
        names = [measure.name for measure in self.measures]
        return Tally(
            self.measures,
            self.texts + other.texts,
            {name: self.bins[name] + other.bins[name] for name in names},
            {name: self.sums[name] + other.sums[name] for name in names},
        )

    def counted(self, measure: Measure) -> int:
        """How many texts have a value of a measure."""
        return int(self.bins[measure.name].sum())

    def mean(self, measure: Measure) -> Estimate:
        """The mean or share with its 95 % interval (of a share Wilson's, 1927); NaN without texts."""
        n, (total, squares) = self.counted(measure), self.sums[measure.name]
        if not n:
            return Estimate(float("nan"), float("nan"), float("nan"))
        z, mean = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), float(total) / n
        if measure.kind == "share":
            centre, scale = mean + z * z / (2 * n), 1 + z * z / n
            half = z * sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
            return Estimate(
                mean, min(mean, max(0.0, (centre - half) / scale)), max(mean, (centre + half) / scale)
            )
        half = z * sqrt(max(0.0, float(squares) / n - mean * mean) / n)
        return Estimate(mean, max(0.0, mean - half), mean + half)

    def to_json(self) -> dict[str, Any]:
        """For a file; `from_json` reads it."""
        return {
            "texts": self.texts,
            "measures": {
                measure.name: {
                    "bins": np.trim_zeros(self.bins[measure.name], "b").tolist(),
                    "sums": self.sums[measure.name].tolist(),
                }
                for measure in self.measures
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], measures: Sequence[Measure]) -> "Tally":
        """The tally that `to_json` wrote; a KeyError or ValueError if it has other measures."""
        tally = cls(tuple(measures), int(content["texts"]))
        for measure in measures:
            stored, bins = content["measures"][measure.name], tally.bins[measure.name]
            if len(stored["bins"]) > len(bins):
                raise ValueError("other measures")
            bins[: len(stored["bins"])] = stored["bins"]
            tally.sums[measure.name] = np.array(stored["sums"], dtype=float).reshape(2)
        return tally
